/** What the page says, in the person's language. English is part of the program, others are loaded when they are wanted. */
import { signal } from "@preact/signals";
import en from "./en.json";

export type Key = keyof typeof en;
/** A key without "_one" and "_other". */
export type PluralKey = Key extends infer K ? (K extends `${infer Base}_other` ? Base : never) : never;

const languages = {
  en: async () => en,
  de: async () => (await import("./de.json")).default,
};

export type Language = keyof typeof languages;
export const languageNames: Record<Language, string> = { en: "English", de: "Deutsch" };

const messages = signal<Record<string, string>>(en);
/** BCP 47, for Intl. */
export const locale = signal("en");

/** The language wanted: one of ours, or "" for the browser's. */
export async function useLanguage(wanted: string): Promise<void> {
  const language = choose(wanted, navigator.languages);
  const loaded = await languages[language]();
  messages.value = loaded;
  // The region of the browser decides how dates look, if it speaks the same language.
  locale.value = navigator.languages.find((tag) => tag.split("-")[0] === language) ?? language;
  document.documentElement.lang = language;
}

export function choose(wanted: string, browser: readonly string[]): Language {
  for (const tag of [wanted, ...browser]) {
    const language = tag.split("-")[0] ?? "";
    if (Object.hasOwn(languages, language)) return language as Language;
  }
  return "en";
}

function fill(text: string, values?: Record<string, string | number>): string {
  if (!values) return text;
  return text.replace(/\{(\w+)\}/g, (all, name: string) => String(values[name] ?? all));
}

/** The text of a key, with "{name}" replaced. */
export function t(key: Key, values?: Record<string, string | number>): string {
  return fill(messages.value[key] ?? en[key] ?? key, values);
}

/** The text for a number of things: key + "_one" or "_other", with "{count}". */
export function tn(key: PluralKey, count: number, values?: Record<string, string | number>): string {
  const form = new Intl.PluralRules(locale.value).select(count) === "one" ? "one" : "other";
  return t(`${key}_${form}` as Key, { ...values, count: new Intl.NumberFormat(locale.value).format(count) });
}
