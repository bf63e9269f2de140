import { expect, test } from "vitest";
import { choose, locale, t, tn, useLanguage } from "../src/i18n";
import de from "../src/i18n/de.json";
import en from "../src/i18n/en.json";

const files = import.meta.glob<string>("../src/**/*.{ts,tsx}", { query: "?raw", import: "default", eager: true });
const code = Object.values(files).join("\n");

test("both languages say the same things", () => {
  expect(Object.keys(de).sort()).toEqual(Object.keys(en).sort());
});

test("both languages fill in the same values", () => {
  const values = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1]).sort();
  for (const [key, text] of Object.entries(en)) {
    expect(values(de[key as keyof typeof de]), key).toEqual(values(text));
    expect(text.trim(), key).not.toBe("");
    expect(de[key as keyof typeof de].trim(), key).not.toBe("");
  }
});

test("every message is used", () => {
  // `message.reached.${what}` uses all that begin so.
  const prefixes = [...code.matchAll(/`([\w-]+\.[\w.-]*)\$\{/g)].map((match) => match[1] ?? "");
  const unused = Object.keys(en).filter((key) => {
    const base = key.replace(/_(one|other)$/, "");
    if (prefixes.some((prefix) => key.startsWith(prefix))) return false;
    return !code.includes(`"${key}"`) && !code.includes(`"${base}"`);
  });
  expect(unused).toEqual([]);
});

test("the first language that there is", () => {
  expect(choose("", ["fr-FR", "de-AT", "en"])).toBe("de");
  expect(choose("en", ["de"])).toBe("en");
  expect(choose("", ["fr"])).toBe("en");
  expect(choose("constructor", [])).toBe("en");
});

test("values and numbers", async () => {
  await useLanguage("en");
  expect(tn("list.unread", 1)).toBe("1 unread message");
  expect(tn("list.unread", 1200)).toMatch(/^1.?200 unread messages$/);
  expect(t("contacts.added", { name: "{name}" })).toContain("{name}");
  await useLanguage("de");
  expect(tn("list.unread", 2)).toBe("2 ungelesene Nachrichten");
  expect(locale.value).toMatch(/^de/);
  await useLanguage("en");
});
