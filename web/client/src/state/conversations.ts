/** The list of conversations: the newest message, what is unread, drafts. The messages themselves are the message view's. */
import type { Conversation, Message, ParleyEvent } from "@parley-im/sdk";
import { batch, computed, signal } from "@preact/signals";
import { Keyed } from "./keyed";
import { me, sdk } from "./session";

export interface Talk {
  id: string; // address of the other side
  name: string; // in the directory; empty when unknown
  last: Message | undefined;
  unread: number;
  read: bigint;
  peerRead: bigint;
  peerDelivered: bigint;
  draft: string;
  known: boolean;
}

export type Loading = "loading" | "ready" | "failed";

/** All of them, for what is said of all; and each by itself. */
const talks = signal<ReadonlyMap<string, Talk>>(new Map());
const each = new Keyed<Talk>();
export const talksState = signal<Loading>("loading");
/** before of the next page; undefined: there is none. */
const next = signal<bigint | undefined>(undefined);

const order = (talk: Talk) => talk.last?.position ?? 0n;

/** Those in which something was said or is being written, the newest first. */
export const talkList = computed<Talk[]>(() =>
  [...talks.value.values()]
    .filter((talk) => talk.last || talk.draft)
    .sort((a, b) => (order(a) > order(b) ? -1 : order(a) < order(b) ? 1 : a.id < b.id ? -1 : 1)),
);
export const moreTalks = computed(() => next.value !== undefined);
export const unreadTotal = computed(() => {
  let sum = 0;
  for (const talk of talks.value.values()) sum += talk.unread;
  return sum;
});

/** One conversation; undefined until it is loaded. */
export function talk(peer: string): Talk | undefined {
  return each.get(peer);
}

function put(...changed: Talk[]): void {
  const map = new Map(talks.peek());
  for (const one of changed) map.set(one.id, one);
  replace(map);
}

function replace(map: ReadonlyMap<string, Talk>): void {
  batch(() => {
    for (const id of talks.peek().keys()) if (!map.has(id)) each.set(id, undefined);
    for (const [id, one] of map) each.set(id, one);
    talks.value = map;
  });
}

function change(peer: string, fields: (old: Talk) => Partial<Talk>): void {
  const old = talks.peek().get(peer);
  if (old) put({ ...old, ...fields(old) });
}

export function talkOf(from: Conversation): Talk {
  return {
    id: from.id,
    name: from.name,
    last: from.last,
    unread: from.unread,
    read: from.read,
    peerRead: from.peerRead,
    peerDelivered: from.peerDelivered,
    draft: from.draft?.text ?? "",
    known: from.known,
  };
}

/** Loads the newest page and returns the position from which the events go on. */
export async function loadTalks(): Promise<bigint> {
  if (talks.peek().size === 0) talksState.value = "loading";
  try {
    const page = await sdk().conversations.listConversations({ limit: 50 });
    const fresh = new Map(page.conversations.map((c) => [c.id, talkOf(c)]));
    const open = [...talks.peek().keys()].filter((id) => !fresh.has(id));
    replace(new Map([...talks.peek(), ...fresh]));
    next.value = page.more ? page.next : undefined;
    talksState.value = "ready";
    // Those that were opened beside the page stay, and are asked for again.
    for (const id of open) void openTalk(id, true).catch(() => {});
    return page.position;
  } catch (error) {
    if (talks.peek().size === 0) talksState.value = "failed";
    throw error;
  }
}

export async function loadMoreTalks(): Promise<void> {
  const before = next.peek();
  if (before === undefined) return;
  const page = await sdk().conversations.listConversations({ before, limit: 50 });
  next.value = page.more ? page.next : undefined;
  put(...page.conversations.filter((c) => !talks.peek().has(c.id)).map(talkOf));
}

const asked = new Map<string, Promise<void>>();

/** Makes sure that a conversation is there, also when nothing was said in it yet. */
export function openTalk(peer: string, anew = false): Promise<void> {
  if (!anew && talks.peek().has(peer)) return Promise.resolve();
  const running = asked.get(peer);
  if (running) return running;
  const request = sdk()
    .conversations.getConversation({ id: peer })
    .then((answer) => {
      if (answer.conversation) put(talkOf(answer.conversation));
    })
    .finally(() => asked.delete(peer));
  asked.set(peer, request);
  return request;
}

/** Takes in what the stream tells. */
export function talkEvent(event: ParleyEvent): void {
  const own = me.peek()?.address;
  switch (event.type) {
    case "message": {
      const message = event.value;
      const old = talks.peek().get(message.conversation);
      if (!old) {
        void openTalk(message.conversation).catch(() => {});
        return;
      }
      put(said(old, message, own));
      return;
    }
    case "edited": {
      const { id, conversation, text, html, at } = event.value;
      change(conversation, ({ last }) =>
        last?.id === id && !last.retracted ? { last: { ...last, text, html, edited: at } } : {},
      );
      return;
    }
    case "retracted": {
      const { id, conversation } = event.value;
      change(conversation, (old) =>
        old.last?.id === id ? { last: { ...old.last, text: "", html: "", file: undefined, retracted: true } } : {},
      );
      return;
    }
    case "callEnded": {
      const { id, conversation, call } = event.value;
      change(conversation, (old) => (old.last?.id === id ? { last: { ...old.last, call } } : {}));
      return;
    }
    case "read": {
      const { conversation, by, read } = event.value;
      if (by === own) wasRead(conversation, read);
      else change(conversation, (old) => (read > old.peerRead ? { peerRead: read } : {}));
      return;
    }
    case "delivery": {
      const { conversation, what, messagePosition } = event.value;
      if (what !== "delivered") return;
      change(conversation, (old) => (messagePosition > old.peerDelivered ? { peerDelivered: messagePosition } : {}));
      return;
    }
    case "draft": {
      const draft = event.value;
      if (typing.has(draft.conversation)) return; // what is being written here is newer
      if (talks.peek().has(draft.conversation)) change(draft.conversation, () => ({ draft: draft.text }));
      else if (draft.text) void openTalk(draft.conversation).catch(() => {});
      return;
    }
  }
}

/** What a new message makes of a conversation. */
export function said(old: Talk, message: Message, own: string | undefined): Talk {
  if (old.last && message.position <= old.last.position) return old; // it came with the list
  const mine = message.from === own;
  return {
    ...old,
    last: message,
    // Who answers has read; a call is nothing to read.
    unread: mine ? 0 : message.call ? old.unread : Math.min(old.unread + 1, 100),
  };
}

/** The caller has read up to a position, here or on another device. */
function wasRead(peer: string, position: bigint): void {
  const old = talks.peek().get(peer);
  if (!old || position <= old.read) return;
  const all = !old.last || position >= old.last.position;
  put({ ...old, read: position, unread: all ? 0 : old.unread });
  // How many are left is for the server to count.
  if (!all && old.unread > 0) void openTalk(peer, true).catch(() => {});
}

interface Reading {
  position: bigint;
  timer: ReturnType<typeof setTimeout>;
}
const reading = new Map<string, Reading>();

/** Says that all up to a position has been read: once for each position, only forward. */
export function markRead(peer: string, position: bigint): void {
  const old = talks.peek().get(peer);
  if (old && position <= old.read && old.unread === 0) return;
  const waiting = reading.get(peer);
  if (waiting) {
    if (position <= waiting.position) return;
    clearTimeout(waiting.timer);
  }
  const timer = setTimeout(() => {
    reading.delete(peer);
    wasRead(peer, position);
    change(peer, (now) => ({ unread: !now.last || position >= now.last.position ? 0 : now.unread }));
    sdk()
      .messages.markRead({ conversation: peer, position })
      .catch(() => {}); // the next one says it too
  }, 300);
  reading.set(peer, { position, timer });
}

const typing = new Map<string, { text: string; timer: ReturnType<typeof setTimeout> }>();

/** Keeps what is written but not sent, a second after the last key, on all devices. */
export function saveDraft(peer: string, text: string): void {
  const waiting = typing.get(peer);
  if (waiting) clearTimeout(waiting.timer);
  if (!waiting && (talks.peek().get(peer)?.draft ?? "") === text) return;
  const timer = setTimeout(() => void sendDraft(peer), text ? 1000 : 0);
  typing.set(peer, { text, timer });
}

async function sendDraft(peer: string): Promise<void> {
  const waiting = typing.get(peer);
  if (!waiting) return;
  clearTimeout(waiting.timer);
  typing.delete(peer);
  if (talks.peek().get(peer)?.draft === waiting.text) return;
  change(peer, () => ({ draft: waiting.text }));
  await sdk()
    .conversations.setDraft({ conversation: peer, text: waiting.text })
    .catch(() => {}); // it is still in the text field
}

/** Sends what waits, at once: the page is being left. */
export function flushDrafts(): void {
  for (const peer of typing.keys()) void sendDraft(peer);
}

export function forgetTalks(): void {
  for (const { timer } of reading.values()) clearTimeout(timer);
  for (const { timer } of typing.values()) clearTimeout(timer);
  reading.clear();
  typing.clear();
  asked.clear();
  replace(new Map());
  talksState.value = "loading";
  next.value = undefined;
}
