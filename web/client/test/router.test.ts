import { expect, test } from "vitest";
import { back, go, pane, parse, route, searchPath, startRouter, talkPath } from "../src/state/router";

test.each([
  ["/", "", { page: "list", pane: "chats" }],
  ["/contacts", "", { page: "list", pane: "contacts" }],
  ["/search", "?q=two+words&in=bob%40x.org", { page: "list", pane: "search", query: "two words", within: "bob@x.org" }],
  ["/c/bob@x.org", "", { page: "talk", peer: "bob@x.org" }],
  ["/c/bob%40x.org", "", { page: "talk", peer: "bob@x.org" }],
  ["/c/bob@x.org", "?at=17&words=a", { page: "talk", peer: "bob@x.org", jump: { position: 17n, words: "a" } }],
  ["/c/bob@x.org", "?at=-1", { page: "talk", peer: "bob@x.org" }],
  ["/c/bob@x.org", "?at=99999999999999999999", { page: "talk", peer: "bob@x.org" }],
  ["/c/tel:+49%2F30", "", { page: "talk", peer: "tel:+49/30" }],
  ["/c/%zz", "", { page: "talk", peer: "%zz" }],
  ["/m/01HX", "", { page: "message", id: "01HX" }],
  ["/settings", "", { page: "settings", section: undefined }],
  ["/settings/devices", "", { page: "settings", section: "devices" }],
  ["/settings/nothing", "", undefined],
  ["/c/", "", undefined],
  ["/c/a/b", "", undefined],
  ["/files/1/x", "", undefined],
  ["/other", "", undefined],
])("parse %s%s", (path, search, want) => {
  expect(parse(path, search)).toEqual(want);
});

test("paths come back as they went", () => {
  for (const peer of ["bob@x.org", "tel:+49/30", "ü ß@x.org", "a?b#c@x.org"]) {
    const url = new URL(talkPath(peer, 5n), "http://here");
    expect(parse(url.pathname, url.search)).toEqual({ page: "talk", peer, jump: { position: 5n } });
  }
  expect(searchPath("a b", "bob@x.org")).toBe("/search?q=a+b&in=bob%40x.org");
});

test("the left pane stays while a conversation is open", () => {
  const stop = startRouter();
  go("/contacts");
  go(talkPath("bob@x.org"));
  expect(route.value).toEqual({ page: "talk", peer: "bob@x.org" });
  expect(pane.value).toBe("contacts");
  back();
  expect(route.value).toEqual({ page: "list", pane: "contacts" });
  stop();
});

test("plain clicks on links of the app stay in it", () => {
  const stop = startRouter();
  go("/");
  const click = (href: string, init: MouseEventInit = {}, change = (_: HTMLAnchorElement) => {}) => {
    const link = document.createElement("a");
    link.href = href;
    change(link);
    document.body.append(link);
    const event = new MouseEvent("click", { bubbles: true, cancelable: true, ...init });
    // Nothing may leave the page of the test.
    const stay = (e: Event) => e.preventDefault();
    let taken = false;
    addEventListener(
      "click",
      () => {
        taken = event.defaultPrevented;
      },
      { once: true },
    );
    addEventListener("click", stay, { once: true });
    link.dispatchEvent(event);
    link.remove();
    return taken;
  };
  expect(click("/c/bob@x.org")).toBe(true);
  expect(route.value).toMatchObject({ peer: "bob@x.org" });
  expect(click("/files/1/picture.png")).toBe(false);
  expect(click("/contacts", { ctrlKey: true })).toBe(false);
  expect(click("https://example.org/contacts")).toBe(false);
  expect(click("/contacts", {}, (link) => link.setAttribute("download", ""))).toBe(false);
  stop();
});
