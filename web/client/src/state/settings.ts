/** What the person has set: the same on every device, with a copy here for the time before sign-in. */
import { signal } from "@preact/signals";
import { useLanguage } from "../i18n";
import { sdk } from "./session";

/** All settings with what they are when nobody set them. */
export const defaults = {
  theme: "", // light, dark; empty: as the system
  language: "", // en, de; empty: as the browser
  sound: "on",
  receipts: "on", // the server reads it: off: nobody hears what the person has read
  enterSends: "on",
  details: "on", // the right pane on wide screens
  preview: "on", // text in notifications
};

export type SettingName = keyof typeof defaults;

const copy = "parley.settings";
const values = signal<Readonly<Record<string, string>>>(read());

function read(): Record<string, string> {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(copy) ?? "{}");
    if (typeof kept !== "object" || kept === null) return {};
    return Object.fromEntries(Object.entries(kept).filter(([, value]) => typeof value === "string"));
  } catch {
    return {};
  }
}

export function setting(name: SettingName): string {
  return values.value[name] ?? defaults[name];
}

function take(next: Record<string, string>): void {
  values.value = next;
  localStorage.setItem(copy, JSON.stringify(next));
  applySettings();
}

/** Makes what is set true: the theme and the language. */
export function applySettings(): void {
  const theme = setting("theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  void useLanguage(setting("language"));
}

export async function loadSettings(): Promise<void> {
  take((await sdk().settings.getSettings({})).settings);
}

/** Sets one at once, and takes it back when the server does not. */
export async function set(name: SettingName, value: string): Promise<void> {
  const before = values.peek();
  take({ ...before, [name]: value });
  try {
    take((await sdk().settings.setSettings({ settings: { [name]: value === defaults[name] ? "" : value } })).settings);
  } catch (error) {
    take({ ...before });
    throw error;
  }
}

/** Only how the page looks stays for the next person at this device. */
export function forgetSettings(): void {
  const { theme, language } = values.peek();
  take({ ...(theme ? { theme } : {}), ...(language ? { language } : {}) });
}
