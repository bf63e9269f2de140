/** Who is writing. Nothing of this is recorded, and all of it is forgotten soon. */
import type { ParleyEvent } from "@parley-im/sdk";
import { Keyed } from "./keyed";
import { sdk } from "./session";

const forget = 15_000;
const repeat = 10_000;
const pause = 5_000;

const writing = new Keyed<boolean>();
const ends = new Map<string, ReturnType<typeof setTimeout>>();

export function isTyping(peer: string): boolean {
  return writing.get(peer) ?? false;
}

function set(peer: string, active: boolean): void {
  clearTimeout(ends.get(peer));
  ends.delete(peer);
  if (active)
    ends.set(
      peer,
      setTimeout(() => set(peer, false), forget),
    );
  writing.set(peer, active);
}

export function typingEvent(event: ParleyEvent): void {
  if (event.type === "typing") set(event.value.conversation, event.value.active);
  // Who has said it has stopped writing it.
  else if (event.type === "message" && event.value.from === event.value.conversation) {
    set(event.value.from, false);
  }
}

let current: { peer: string; said: number; end: ReturnType<typeof setTimeout> } | undefined;

/** To be called at each key. It is said again every 10 s, and ends by itself 5 s after the last call. */
export function sayTyping(peer: string, active: boolean): void {
  if (current && (current.peer !== peer || !active)) {
    clearTimeout(current.end);
    tell(current.peer, false);
    current = undefined;
  }
  if (!active) return;
  const end = setTimeout(() => sayTyping(peer, false), pause);
  const now = Date.now();
  if (current && now - current.said < repeat) {
    clearTimeout(current.end);
    current.end = end;
    return;
  }
  if (current) clearTimeout(current.end);
  current = { peer, said: now, end };
  tell(peer, true);
}

function tell(peer: string, active: boolean): void {
  sdk()
    .messages.setTyping({ conversation: peer, active })
    .catch(() => {}); // nobody waits for it
}

export function forgetTyping(): void {
  for (const end of ends.values()) clearTimeout(end);
  ends.clear();
  if (current) clearTimeout(current.end);
  current = undefined;
  writing.clear();
}
