import { ParleyError } from "@parley-im/sdk";
import { afterAll, beforeAll, expect, test } from "vitest";
import api from "../../../docs/api.md?raw";
import level from "../../../policy/level.go?raw";
import browsers from "../../../server/browsers.go?raw";
import compose from "../../../service/presence/compose/compose.go?raw";
import { useLanguage } from "../src/i18n";
import de from "../src/i18n/de.json";
import en from "../src/i18n/en.json";
import { said, sentences } from "../src/i18n/server";
import { failureText, reasons } from "../src/ui/failure";

const between = (text: string, from: string, to: string) => {
  const begin = text.indexOf(from);
  expect(begin, from).toBeGreaterThan(0);
  return text.slice(begin, text.indexOf(to, begin));
};

beforeAll(() => useLanguage("de"));
afterAll(() => useLanguage("en"));

test("every reason that the API documents has words of its own in German", () => {
  const errors = between(api, "| reason | with", "Requests are limited");
  const documented = [
    ...[...errors.matchAll(/^\| `([\w-]+)` \|/gm)].map((row) => row[1] ?? ""),
    ...[...between(errors, "Else the reason is", ".\u0020").matchAll(/`([\w-]+)`/g)].map((word) => word[1] ?? ""),
  ];
  expect(documented.length).toBeGreaterThanOrEqual(15);
  for (const reason of documented) {
    const text = failureText(new ParleyError("internal", "english", { reason, retryAfter: 60 }));
    expect(text, reason).not.toMatch(/english/i);
    expect(text, reason).not.toBe(de["error.unknown"]);
    expect(Object.values(en), reason).not.toContain(text);
  }
  for (const [reason, key] of Object.entries(reasons)) expect(de[key], reason).not.toBe(en[key]);
});

test("what is typed wrongly is explained where it was typed, and an unknown reason by the server", async () => {
  const wrong = new ParleyError("invalid_argument", "an address looks like alice@example.com", { reason: "invalid" });
  expect(failureText(wrong)).toBe(de["error.invalid"]);
  expect(failureText(wrong, "error.address")).toBe(de["error.address"]);
  expect(failureText(new ParleyError("aborted", "the moon is full", { reason: "moon" }))).toBe("The moon is full.");
  await useLanguage("en");
  expect(failureText(wrong)).toBe("An address looks like alice@example.com.");
  await useLanguage("de");
});

test("every sentence with which the server explains itself is said in German", () => {
  const returned = (source: string, from: string) =>
    [...between(source, from, "\n}").matchAll(/return (".*)/g)].map((line) =>
      [...(line[1] ?? "").matchAll(/"([^"]*)"|r\.Subject/g)].map((part) => part[1] ?? "somebody").join(""),
    );
  const all = [
    ...returned(compose, "func (r Reason) String() string"),
    ...returned(level, "func (r Reason) String() string"),
    ...[...between(browsers, "var sessionReasons", "\n}").matchAll(/: *"(.*)",/g)].map((m) => m[1] ?? ""),
  ];
  expect(all.length).toBeGreaterThanOrEqual(24);
  for (const sentence of all) expect(said(sentence), sentence).not.toBe(sentence);
  expect(said("there is a rule for the group Friends")).toBe("es gibt eine Regel für die Gruppe Friends");
  expect(said("something else")).toBe("something else");
  for (const [pattern, key] of sentences) expect(en[key].replaceAll(/\{\d\}/g, "(.+)")).toBe(pattern);
});
