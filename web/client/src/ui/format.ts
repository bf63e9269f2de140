/** Times, dates and sizes in words. */
import { locale, t } from "../i18n";

/** A protobuf Timestamp. */
export interface Stamp {
  seconds: bigint;
  nanos: number;
}

export function date(stamp: Stamp): Date {
  return new Date(Number(stamp.seconds) * 1000 + Math.floor(stamp.nanos / 1e6));
}

export function timestamp(from: Date): Stamp {
  const ms = from.getTime();
  const seconds = Math.floor(ms / 1000);
  return { seconds: BigInt(seconds), nanos: (ms - seconds * 1000) * 1e6 };
}

const formats = new Map<string, Intl.DateTimeFormat>();

function format(name: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = `${locale.value} ${name}`;
  let made = formats.get(key);
  if (!made) {
    made = new Intl.DateTimeFormat(locale.value, options);
    formats.set(key, made);
  }
  return made;
}

/** "14:05" or "2:05 PM". */
export function clock(at: Stamp | Date): string {
  return format("clock", { hour: "numeric", minute: "2-digit" }).format(at instanceof Date ? at : date(at));
}

/** Midnight that began the day. */
export function dayStart(at: Date): number {
  return new Date(at.getFullYear(), at.getMonth(), at.getDate()).getTime();
}

/** How many days ago, by the calendar: 0 today, 1 yesterday. */
export function daysAgo(at: Date, now = new Date()): number {
  return Math.round((dayStart(now) - dayStart(at)) / 86_400_000);
}

/** "Today", "Yesterday", "Tuesday", "12 March", "12 March 2024". */
export function day(at: Stamp | Date, now = new Date()): string {
  const when = at instanceof Date ? at : date(at);
  const ago = daysAgo(when, now);
  if (ago === 0) return t("time.today");
  if (ago === 1) return t("time.yesterday");
  if (ago > 1 && ago < 7) return format("weekday", { weekday: "long" }).format(when);
  if (when.getFullYear() === now.getFullYear()) return format("day", { day: "numeric", month: "long" }).format(when);
  return format("date", { day: "numeric", month: "long", year: "numeric" }).format(when);
}

/** Short, for lists: the time today, "Yesterday", "Tue", "12 Mar", "12/03/2024". */
export function short(at: Stamp | Date, now = new Date()): string {
  const when = at instanceof Date ? at : date(at);
  const ago = daysAgo(when, now);
  if (ago <= 0) return clock(when);
  if (ago === 1) return t("time.yesterday");
  if (ago < 7) return format("weekday-short", { weekday: "short" }).format(when);
  if (when.getFullYear() === now.getFullYear())
    return format("day-short", { day: "numeric", month: "short" }).format(when);
  return format("date-short", { dateStyle: "short" }).format(when);
}

/** All of it: "Tuesday, 12 March 2024 at 14:05". */
export function full(at: Stamp | Date): string {
  return format("full", { dateStyle: "full", timeStyle: "short" }).format(at instanceof Date ? at : date(at));
}

/** All of it with seconds, where the order of things counts. */
export function exact(at: Stamp | Date): string {
  return format("exact", { dateStyle: "medium", timeStyle: "medium" }).format(at instanceof Date ? at : date(at));
}

/** When something ends: the time today, else with the day. */
export function until(at: Stamp | Date, now = new Date()): string {
  const when = at instanceof Date ? at : date(at);
  if (daysAgo(when, now) === 0) return clock(when);
  return format("until", {
    weekday: "short",
    day: "numeric",
    month: "short",
    hour: "numeric",
    minute: "2-digit",
  }).format(when);
}

/** "5 minutes", "2 hours", "3 days" since then. */
export function since(at: Stamp | Date, now = new Date()): string {
  const when = at instanceof Date ? at : date(at);
  const minutes = Math.max(1, Math.round((now.getTime() - when.getTime()) / 60_000));
  const [count, unit] =
    minutes < 60
      ? [minutes, "minute"]
      : minutes < 1440
        ? [Math.round(minutes / 60), "hour"]
        : [Math.round(minutes / 1440), "day"];
  return new Intl.NumberFormat(locale.value, { style: "unit", unit, unitDisplay: "long" }).format(count);
}

/** "1.2 MB". */
export function size(bytes: bigint | number): string {
  let value = Number(bytes);
  let unit = "byte";
  for (const larger of ["kilobyte", "megabyte", "gigabyte"]) {
    if (value < 1000) break;
    value /= 1000;
    unit = larger;
  }
  const digits = unit === "byte" || value >= 100 ? 0 : 1;
  return new Intl.NumberFormat(locale.value, {
    style: "unit",
    unit,
    unitDisplay: unit === "byte" ? "long" : "short",
    maximumFractionDigits: digits,
  }).format(value);
}

/** A duration on the clock: "0:42", "1:02:07". */
export function duration(ms: bigint | number): string {
  const all = Math.round(Number(ms) / 1000);
  const [h, m, s] = [Math.floor(all / 3600), Math.floor((all % 3600) / 60), all % 60];
  const two = (n: number) => String(n).padStart(2, "0");
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}
