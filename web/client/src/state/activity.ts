/** Tells the server whether somebody is at this device: it is part of the person's presence. */
import { effect } from "@preact/signals";
import { timestamp } from "../ui/format";
import { link } from "./feed";
import { sdk } from "./session";
import { onUsed, sayUsed } from "./tabs";

const idleAfter = 5 * 60_000;
const look = 30_000;
/** The tabs of a browser are one device. So often one that is used tells the others. */
const share = 10_000;
/** Who has not touched this tab for so long does not read what comes. */
const attention = 60_000;

let touchedAt = Date.now();
const returns = new Set<() => void>();

/** Somebody sits in front of this tab. */
export function attentive(): boolean {
  return Date.now() - touchedAt < attention;
}

/** Calls back when somebody is in front of this tab again. Returns what ends that. */
export function onReturn(run: () => void): () => void {
  returns.add(run);
  return () => returns.delete(run);
}

/** Watches keys and pointers until the returned function is called. */
export function startActivity(): () => void {
  let last = Date.now();
  touchedAt = last;
  let shared = 0;
  /** What the server knows: since when nobody is here, 0 for somebody is; undefined: not known. */
  let told: number | undefined;
  let telling = false;
  const now = () => (Date.now() - last < idleAfter ? 0 : last);
  // One request at a time, then what is so by now: two under way could arrive in the other order.
  const tell = async () => {
    if (telling) return;
    telling = true;
    try {
      while (told !== now()) {
        const since = now();
        told = undefined;
        await sdk().sessions.setActivity(since === 0 ? {} : { idleSince: timestamp(new Date(since)) });
        told = since;
      }
    } catch {
      // It is said again at the next look.
    } finally {
      telling = false;
    }
  };
  const here = () => {
    last = Date.now();
    if (told !== undefined && told !== 0) void tell();
  };
  const touched = () => {
    const away = !attentive();
    touchedAt = Date.now();
    here();
    if (away) for (const run of [...returns]) run();
    if (last - shared > share) {
      shared = last;
      sayUsed();
    }
  };
  const shown = () => {
    if (!document.hidden) touched();
  };
  const events = ["pointerdown", "pointermove", "keydown", "wheel"] as const;
  for (const name of events) addEventListener(name, touched, { passive: true });
  document.addEventListener("visibilitychange", shown);
  // The tab that is used may not know that this one has said otherwise.
  onUsed(here);
  const timer = setInterval(() => void tell(), look);
  // After a break nobody knows what the server has kept.
  const off = effect(() => {
    if (link.value !== "online") return;
    told = undefined;
    void tell();
  });
  return () => {
    off();
    clearInterval(timer);
    onUsed(() => {});
    for (const name of events) removeEventListener(name, touched);
    document.removeEventListener("visibilitychange", shown);
  };
}
