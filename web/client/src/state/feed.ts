/** The stream of what happens, and what of it the rest of the app sees. */
import { type EventStream, ParleyError, type ParleyEvent } from "@parley-im/sdk";
import { type ReadonlySignal, signal } from "@preact/signals";
import { loadContacts } from "./contacts";
import { loadTalks, talkEvent } from "./conversations";
import { loadOwn, presenceEvent, watched } from "./presence";
import { leave, sdk } from "./session";
import { loadSettings } from "./settings";
import { askForRoom, onRoom } from "./tabs";
import { typingEvent } from "./typing";

export type LinkState = "connecting" | "online" | "offline";
const current = signal<LinkState>("connecting");
export const link: ReadonlySignal<LinkState> = current;

/** Milliseconds in which tabs that nobody sees have given up their streams for this one. */
const roomWithin = 300;

const listeners = new Set<(event: ParleyEvent) => void>();
const resets = new Set<() => void>();
let stream: EventStream | undefined;
/** Each sign-in has its own; what an older one still waits for comes to nothing. */
let run = 0;

/** Calls back for each event, once and in order. Returns what ends that. */
export function onEvent(listener: (event: ParleyEvent) => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Calls back when too much was missed: what is kept of conversations is out of date. */
export function onReset(listener: () => void): () => void {
  resets.add(listener);
  return () => resets.delete(listener);
}

export async function followPeople(people: string[]): Promise<void> {
  await stream?.follow(...people).catch(() => {}); // the next connection brings them along
}

/** Tries at once, instead of when the pause is over. */
export function reconnect(): void {
  wakeFirst();
  if (stream?.state === "ended") void startFeed();
  else stream?.wake();
}

let wakeFirst = () => {};

/** Loads everything once, then follows. It goes on by itself until stopFeed. */
export async function startFeed(): Promise<void> {
  const turn = ++run;
  current.value = "connecting";
  void loadContacts().catch(() => {});
  void loadSettings().catch(() => {});
  void loadOwn().catch(() => {});
  for (let pause = 1000; ; pause = Math.min(pause * 2, 30_000)) {
    try {
      const position = await loadTalks();
      if (turn === run) follow(position);
      return;
    } catch (error) {
      if (turn !== run || ended(error)) return;
      current.value = "offline";
      await new Promise<void>((resolve) => {
        wakeFirst = resolve;
        setTimeout(resolve, pause);
      });
      if (turn !== run) return;
    }
  }
}

/** The session is over: the person has to sign in. */
function ended(error: unknown): boolean {
  if (!(error instanceof ParleyError) || error.code !== "unauthenticated") return false;
  leave("");
  return true;
}

function follow(position: bigint): void {
  const own = sdk().events({ position, presence: true, follow: watched() });
  stream = own;
  let opened = false;
  onRoom(() => {
    if (document.hidden && stream === own) own.pause();
  });
  own.onState((state) => {
    if (stream !== own) return;
    if (state === "open") {
      if (opened) void catchUp();
      opened = true;
      current.value = "online";
    } else if (state === "waiting") {
      current.value = own.retryAt === 0 ? "connecting" : "offline";
      if (own.error?.code === "resource_exhausted" && !document.hidden) {
        askForRoom();
        setTimeout(() => own.wake(), roomWithin);
      }
    } else if (state === "ended") {
      if (!ended(own.error)) current.value = "offline";
    }
  });
  own.on((event) => {
    if (stream === own) take(event);
  });
}

/** What has no position is asked for again after a pause. */
async function catchUp(): Promise<void> {
  await Promise.allSettled([loadContacts(), loadSettings(), loadOwn()]);
}

function take(event: ParleyEvent): void {
  switch (event.type) {
    case "reset":
      for (const listener of [...resets]) listener();
      void loadTalks().catch(() => {});
      void catchUp();
      break;
    case "contacts":
      void loadContacts().catch(() => {});
      break;
    case "settings":
      void loadSettings().catch(() => {});
      break;
    case "sessionEnded":
      leave(event.value.reason);
      return;
    case "presence":
    case "ownPresence":
      presenceEvent(event);
      break;
    case "typing":
      typingEvent(event);
      break;
    default:
      typingEvent(event);
      talkEvent(event);
  }
  for (const listener of [...listeners]) listener(event);
}

export function stopFeed(): void {
  run++;
  wakeFirst();
  const old = stream;
  stream = undefined;
  void old?.close();
  current.value = "connecting";
}
