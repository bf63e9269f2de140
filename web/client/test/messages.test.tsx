import type { Message, ParleyEvent } from "@parley-im/sdk";
import { type ComponentChild, render } from "preact";
import { describe, expect, test } from "vitest";
import { fromHTML, mark, toHTML } from "../src/messages/markers";
import { changed, inserted } from "../src/messages/pages";
import { firstUnread, rowsOf } from "../src/messages/rows";
import { formatted, linked, onlyEmoji, target } from "../src/messages/text";
import { timestamp } from "../src/ui/format";

function drawn(children: ComponentChild[]): HTMLElement {
  const root = document.createElement("div");
  render(children, root);
  return root;
}

describe("what is typed", () => {
  test.each([
    ["plain text", ""],
    ["a **strong** word", "<p>a <strong>strong</strong> word</p>"],
    ["_so_ and `x < y`", "<p><em>so</em> and <code>x &lt; y</code></p>"],
    ["**both _at_ once**", "<p><strong>both <em>at</em> once</strong></p>"],
    ["> said before\n> twice\nand now", "<blockquote>said before<br>twice</blockquote><p>and now</p>"],
    ["snake_case_name and 2**3**4", ""],
    ["`**not strong**`", "<p><code>**not strong**</code></p>"],
    ["** not ** strong", ""],
    ["**<b>&amp;**", "<p><strong>&lt;b&gt;&amp;amp;</strong></p>"],
    ["line\n**two**", "<p>line<br><strong>two</strong></p>"],
  ])("%s", (typed, html) => {
    expect(toHTML(typed)).toBe(html);
    if (html) expect(fromHTML(html)).toBe(typed);
  });

  test("marks go around a selection and away again", () => {
    const once = mark({ text: "make this strong", start: 5, end: 9 }, "strong");
    expect(once).toEqual({ text: "make **this** strong", start: 7, end: 11 });
    expect(mark(once, "strong")).toEqual({ text: "make this strong", start: 5, end: 9 });
    const quoted = mark({ text: "one\ntwo", start: 0, end: 7 }, "blockquote");
    expect(quoted.text).toBe("> one\n> two");
    expect(mark(quoted, "blockquote").text).toBe("one\ntwo");
    expect(mark({ text: "a b ", start: 2, end: 4 }, "em").text).toBe("a _b_ ");
  });

  test("a text made to take long takes no longer than others", () => {
    expect(toHTML(`${"**a ".repeat(4000)}${"_b ".repeat(1000)}`)).toBe("");
    expect(toHTML("**a** ".repeat(10_000))).toBe("");
  });
});

describe("what is shown", () => {
  test("only the six elements, none of their attributes, and no scripts", () => {
    const root = drawn(
      formatted(
        '<p onclick="x()" style="color:red">a <em class="y">b</em></p><img src=x onerror=alert(1)><script>alert(1)</script>' +
          '<a href="javascript:alert(1)">link</a><svg onload=alert(1)><circle/></svg><object></object><b>bold</b><style>*{}</style>',
      ),
    );
    expect([...root.querySelectorAll("*")].map((e) => e.localName)).toEqual(["p", "em"]);
    expect([...root.querySelectorAll("*")].flatMap((e) => e.getAttributeNames())).toEqual(["dir"]);
    expect(root.textContent).toBe("a blinkbold");
  });

  test("links to six schemes and no others", () => {
    const root = drawn(
      linked(
        "https://a.example/x?y=1 javascript:alert(1) www.parley.org c@d.org sip:e@f.example tel:+4930123 data:text/html,x file:///etc/passwd vbscript:x",
      ),
    );
    const links = [...root.querySelectorAll("a")];
    expect(links.map((a) => a.getAttribute("href"))).toEqual([
      "https://a.example/x?y=1",
      "https://www.parley.org/",
      "mailto:c@d.org",
      "sip:e@f.example",
      "tel:+4930123",
    ]);
    for (const a of links) expect([a.rel, a.target]).toEqual(["noopener noreferrer", "_blank"]);
    expect(root.textContent).toContain("javascript:alert(1)");
    for (const bad of [
      "javascript:alert(1)",
      "data:text/html,x",
      " javascript:x",
      "file:///x",
      "//x",
      "blob:https://x/1",
    ]) {
      expect(target(bad)).toBeUndefined();
    }
  });

  test("markup in plain text stays text, and words are marked", () => {
    const root = drawn(linked("<img src=x onerror=alert(1)> printer room", "print*"));
    expect(root.querySelectorAll("img")).toHaveLength(0);
    expect(root.querySelector("mark")?.textContent).toBe("print");
    expect(root.textContent).toBe("<img src=x onerror=alert(1)> printer room");
  });

  test("deep nesting is not followed for ever", () => {
    const root = drawn(formatted(`${"<blockquote>".repeat(5000)}x`));
    expect(root.querySelectorAll("blockquote").length).toBeLessThan(20);
  });

  test("emoji alone", () => {
    expect(["👍", "❤️ 😂", "👩‍💻", "👍🏽"].map(onlyEmoji)).toEqual([true, true, true, true]);
    expect(["1", "ok 👍", "👍👍👍👍", ""].map(onlyEmoji)).toEqual([false, false, false, false]);
  });
});

const start = new Date(2026, 2, 1, 9, 0).getTime();
function message(position: number, from: string, minutes: number, more: Partial<Message> = {}): Message {
  return {
    $typeName: "parley.v1.Message",
    id: `m${position}`,
    position: BigInt(position),
    at: { $typeName: "google.protobuf.Timestamp", ...timestamp(new Date(start + minutes * 60_000)) },
    conversation: "bob@x",
    from,
    device: "",
    text: `text ${position}`,
    html: "",
    retracted: false,
    reactions: [],
    requestId: "",
    priority: "",
    subject: "",
    ...more,
  };
}

describe("the list", () => {
  const list = [message(1, "bob@x", 0), message(3, "bob@x", 1), message(5, "me@x", 2), message(9, "bob@x", 60 * 24)];

  test("days, groups and the line before what is new", () => {
    const rows = rowsOf(list, 5n);
    expect(rows.map((r) => (r.kind === "message" ? r.message.id : r.kind))).toEqual([
      "day",
      "m1",
      "m3",
      "new",
      "m5",
      "day",
      "m9",
    ]);
    expect(rows.map((r) => (r.kind === "message" ? [r.first, r.last] : 0)).filter(Boolean)).toEqual([
      [true, false],
      [false, true],
      [true, true],
      [true, true],
    ]);
  });

  test("where the unread ones begin", () => {
    expect(firstUnread(list, 0, "me@x")).toBeUndefined();
    expect(firstUnread(list, 2, "me@x")).toBe(3n);
    expect(firstUnread(list, 9, "me@x")).toBeUndefined();
  });

  test("a message comes once, at its place", () => {
    const more = inserted(inserted(list, message(7, "me@x", 3)), message(7, "me@x", 3));
    expect(more.map((m) => m.position)).toEqual([1n, 3n, 5n, 7n, 9n]);
  });

  test("edits, deletions and reactions change what they are about, again without harm", () => {
    const about = { id: "m3", conversation: "bob@x" };
    const event = (type: string, value: object) =>
      ({ type, value: { ...about, ...value }, position: 10n }) as ParleyEvent;
    const edited = changed(list, event("edited", { text: "new", html: "" }));
    expect(edited[1]?.text).toBe("new");
    expect(edited[0]).toBe(list[0]);
    const like = event("reaction", { from: "me@x", emoji: "👍", removed: false });
    const liked = changed(changed(list, like), like);
    expect(liked[1]?.reactions.map((r) => [r.emoji, r.from])).toEqual([["👍", ["me@x"]]]);
    expect(changed(liked, event("reaction", { from: "me@x", emoji: "👍", removed: true }))[1]?.reactions).toEqual([]);
    expect(changed(list, event("retracted", {}))[1]).toMatchObject({ retracted: true, text: "", html: "" });
    const gone = changed(list, event("retracted", {}));
    expect(changed(gone, event("edited", { text: "back again", html: "" }))[1]).toMatchObject({
      retracted: true,
      text: "",
    });
    expect(changed(list, event("edited", { id: "unknown" }))).toBe(list);
  });
});
