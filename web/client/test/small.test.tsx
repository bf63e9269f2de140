import { effect } from "@preact/signals";
import { render } from "preact";
import { afterEach, expect, test, vi } from "vitest";
import { useLanguage } from "../src/i18n";
import { around, marked } from "../src/lists/marked";
import { endOf } from "../src/pages/presence-dialog";
import { fits } from "../src/pages/switcher";
import { Keyed } from "../src/state/keyed";
import { comboOf, onKey, press } from "../src/state/keys";
import { thisDevice } from "../src/state/session";
import { hue, initials } from "../src/ui/avatar";
import { date, day, daysAgo, duration, short, since, size, timestamp } from "../src/ui/format";

afterEach(() => vi.useRealTimers());

test("initials", () => {
  expect(initials("Alice Adams")).toBe("AA");
  expect(initials("bob")).toBe("B");
  expect(initials("Ana María de la Cruz")).toBe("AC");
  expect(initials("(ext) Zoë")).toBe("EZ");
  expect(initials("  ")).toBe("?");
  expect(hue("bob@x.org")).toBe(hue("BOB@x.org"));
});

test("stamps come back as they went", () => {
  for (const ms of [0, 1, 1700000000123, -1]) expect(date(timestamp(new Date(ms))).getTime()).toBe(ms);
});

test("days by the calendar", async () => {
  await useLanguage("en");
  const now = new Date(2026, 2, 30, 0, 10); // the day after the clocks change in Europe
  expect(daysAgo(new Date(2026, 2, 29, 23, 59), now)).toBe(1);
  expect(daysAgo(new Date(2026, 2, 28, 12), now)).toBe(2);
  expect(day(new Date(2026, 2, 30, 0, 1), now)).toBe("Today");
  expect(day(new Date(2026, 2, 29, 1), now)).toBe("Yesterday");
  expect(day(new Date(2026, 2, 26), now)).toBe("Thursday");
  expect(day(new Date(2025, 2, 26), now)).toContain("2025");
  expect(short(new Date(2026, 2, 28), now)).toBe("Sat");
  expect(since(new Date(now.getTime() - 90 * 60_000), now)).toBe("2 hours");
});

test("sizes and durations", () => {
  expect(size(0)).toMatch(/^0 /);
  expect(size(1234n)).toMatch(/^1\.2 ?kB$/i);
  expect(size(99_960_000)).toMatch(/^100 ?MB$/i);
  expect(duration(42_000)).toBe("0:42");
  expect(duration(3_727_000n)).toBe("1:02:07");
});

test("when a state ends", () => {
  const now = new Date(2026, 0, 5, 14, 30);
  expect(endOf("", "", now)).toBeUndefined();
  expect(endOf("30", "", now)).toEqual(new Date(2026, 0, 5, 15, 0));
  expect(endOf("evening", "", now)).toEqual(new Date(2026, 0, 5, 18));
  expect(endOf("evening", "", new Date(2026, 0, 5, 19))).toEqual(new Date(2026, 0, 5, 23));
  expect(endOf("tomorrow", "", now)).toEqual(new Date(2026, 0, 6, 8));
  expect(endOf("at", "2026-01-07T09:15", now)).toEqual(new Date(2026, 0, 7, 9, 15));
});

test("words are marked where they begin a word", () => {
  const root = document.createElement("div");
  render(<p>{marked("The build rebuilt <b>Build</b>", "build*")}</p>, root);
  expect([...root.querySelectorAll("mark")].map((one) => one.textContent)).toEqual(["build", "Build"]);
  expect(root.textContent).toBe("The build rebuilt <b>Build</b>");
  expect(root.querySelector("b")).toBeNull();
  render(<p>{marked("a+b (c)", "(c) a+")}</p>, root);
  expect(root.querySelectorAll("mark")).toHaveLength(2);
  expect(around(`${"x ".repeat(200)}needle${" y".repeat(200)}`, "needle")).toMatch(/^….*needle.*…$/);
});

test("the switcher finds by the beginnings of words", () => {
  expect(fits("br bo", "Bob Brown bob@x.org")).toBe(true);
  expect(fits("rown", "Bob Brown bob@x.org")).toBe(false);
  expect(fits("x.org", "Bob Brown bob@x.org")).toBe(true);
});

test("keys do nothing while somebody writes, unless they have a modifier", () => {
  const seen: string[] = [];
  const offs = [onKey("?", () => seen.push("?")), onKey("ctrl+k", () => seen.push("k"))];
  const field = document.createElement("textarea");
  document.body.append(field);
  const type = (target: HTMLElement, init: KeyboardEventInit) => {
    const event = new KeyboardEvent("keydown", { bubbles: true, cancelable: true, ...init });
    Object.defineProperty(event, "target", { value: target });
    press(event);
    return event.defaultPrevented;
  };
  expect(type(field, { key: "?", shiftKey: true })).toBe(false);
  expect(type(document.body, { key: "?", shiftKey: true })).toBe(true);
  expect(type(field, { key: "k", metaKey: true })).toBe(true);
  expect(seen).toEqual(["?", "k"]);
  for (const off of offs) off();
  expect(type(document.body, { key: "?" })).toBe(false);
  expect(comboOf(new KeyboardEvent("keydown", { key: "ArrowUp", altKey: true }))).toBe("alt+arrowup");
});

test("what the list of devices shows", () => {
  expect(thisDevice("Mozilla/5.0 (X11; Linux x86_64; rv:150.0) Gecko/20100101 Firefox/150.0")).toEqual({
    device: "Firefox on Linux",
    kind: "desktop",
  });
  expect(
    thisDevice("Mozilla/5.0 (Linux; Android 16; Pixel) AppleWebKit/537.36 Chrome/150.0 Mobile Safari/537.36"),
  ).toEqual({
    device: "Chrome on Android",
    kind: "phone",
  });
  expect(thisDevice("")).toEqual({ device: "Browser", kind: "desktop" });
});

test("whoever reads one key hears of that key only", () => {
  const map = new Keyed<number>();
  const heard: (number | undefined)[] = [];
  const stop = effect(() => {
    heard.push(map.get("a"));
  });
  map.set("b", 1);
  map.set("a", 2);
  map.set("a", 2);
  map.clear();
  expect(heard).toEqual([undefined, 2, undefined]);
  expect(map.peek("c")).toBeUndefined();
  stop();
});
