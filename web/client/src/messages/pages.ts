/** The part of a conversation that is loaded: a window of its messages, kept current by the stream. */
import type { ListMessagesResponse, Message, ParleyEvent } from "@parley-im/sdk";
import { effect, signal } from "@preact/signals";
import { onEvent, onReset } from "../state/feed";
import { client, sdk } from "../state/session";
import { timestamp } from "../ui/format";

export type PagesState = "loading" | "ready" | "failed";

/** Messages asked for at a time, and how many are kept before those at the far end are dropped. */
const page = 60;
const most = 240;
/** Windows that are kept for coming back. */
const kept = 12;

type Place = { before: bigint } | { after: bigint } | { around: bigint } | { at: Date } | { newest: number };

export class Pages {
  readonly peer: string;
  readonly items = signal<readonly Message[]>([]);
  readonly state = signal<PagesState>("loading");
  readonly moreBefore = signal(false);
  readonly moreAfter = signal(false);
  /** The last page in one direction did not come. */
  readonly stuck = signal<"before" | "after" | undefined>(undefined);
  /** The view is at the end: what is above may be dropped. */
  following = true;
  /** Changes that a page on its way may not have in it. */
  #recent: ParleyEvent[] = [];
  #turn = 0;
  #loading: "before" | "after" | undefined;

  constructor(peer: string) {
    this.peer = peer;
  }

  /** Loads the newest messages, at least so many. */
  newest(atLeast = 0): Promise<void> {
    return this.#fresh({ newest: Math.min(200, Math.max(page, atLeast)) });
  }

  around(position: bigint): Promise<void> {
    return this.#fresh({ around: position });
  }

  from(at: Date): Promise<void> {
    return this.#fresh({ at });
  }

  async #fresh(place: Place): Promise<void> {
    const turn = ++this.#turn;
    this.#loading = undefined;
    this.stuck.value = undefined;
    if (this.items.peek().length === 0) this.state.value = "loading";
    try {
      const got = await this.#ask(place);
      if (turn !== this.#turn) return;
      this.moreBefore.value = got.moreBefore;
      this.moreAfter.value = got.moreAfter;
      this.#take(got.messages, got.position);
      this.state.value = "ready";
    } catch (error) {
      if (turn !== this.#turn) return;
      if (this.items.peek().length === 0) this.state.value = "failed";
      throw error;
    }
  }

  /** Loads the page before or after what is there, if there is one. */
  async more(way: "before" | "after"): Promise<void> {
    const items = this.items.peek();
    const edge = way === "before" ? items[0] : items.at(-1);
    const there = way === "before" ? this.moreBefore : this.moreAfter;
    if (!edge || !there.peek() || this.#loading) return;
    this.#loading = way;
    const turn = this.#turn;
    try {
      const got = await this.#ask(way === "before" ? { before: edge.position } : { after: edge.position });
      if (turn !== this.#turn) return;
      this.stuck.value = undefined;
      this.#loading = undefined;
      if (way === "before") {
        const all = [...got.messages, ...this.items.peek()];
        this.moreBefore.value = got.moreBefore;
        if (all.length > most) this.moreAfter.value = true;
        this.#take(all.slice(0, most), got.position);
      } else {
        const all = [...this.items.peek(), ...got.messages];
        this.moreAfter.value = got.moreAfter;
        if (all.length > most) this.moreBefore.value = true;
        this.#take(all.slice(-most), got.position);
      }
    } catch {
      if (turn === this.#turn) this.stuck.value = way;
    } finally {
      if (turn === this.#turn) this.#loading = undefined;
    }
  }

  #ask(place: Place): Promise<ListMessagesResponse> {
    const conversation = this.peer;
    const list = sdk().conversations.listMessages;
    if ("newest" in place) return list({ conversation, limit: place.newest });
    if ("at" in place) return list({ conversation, at: timestamp(place.at), limit: page });
    return list({ conversation, ...place, limit: page });
  }

  /** Shows messages, with what happened to them while they were on their way. */
  #take(messages: readonly Message[], position: bigint): void {
    let items = messages;
    for (const event of this.#recent) {
      if (event.position > position) items = this.#applied(items, event);
    }
    this.items.value = items;
  }

  apply(event: ParleyEvent): void {
    this.#recent = [...this.#recent.slice(-199), event];
    const before = this.items.peek();
    const after = this.#applied(before, event);
    if (after !== before) this.items.value = after;
  }

  /** Takes in an own message that was recorded: its event may come earlier or later. */
  put(message: Message): void {
    const items = this.items.peek();
    if (!this.moreAfter.peek()) this.items.value = inserted(items, message);
  }

  #applied(items: readonly Message[], event: ParleyEvent): readonly Message[] {
    if (event.type !== "message") return changed(items, event);
    if (this.moreAfter.peek()) return items; // it comes with its page
    const all = inserted(items, event.value);
    if (all.length > most + page && this.following) {
      this.moreBefore.value = true;
      return all.slice(-most);
    }
    return all;
  }

  find(id: string): Message | undefined {
    return this.items.peek().find((m) => m.id === id);
  }
}

/** Puts a message where its position says. One that is there already stays: events change it, this does not. */
export function inserted(items: readonly Message[], message: Message): readonly Message[] {
  let at = items.length;
  while (at > 0 && (items[at - 1] as Message).position > message.position) at--;
  if (items[at - 1]?.position === message.position || items[at - 1]?.id === message.id) return items;
  return [...items.slice(0, at), message, ...items.slice(at)];
}

/** What an event makes of the messages it is about. The same list when it is about none of them. */
export function changed(items: readonly Message[], event: ParleyEvent): readonly Message[] {
  switch (event.type) {
    case "edited": {
      const { id, text, html, at } = event.value;
      // An edit on another node may come behind the retraction: it does not bring the text back.
      return one(items, id, (m) => (m.retracted ? m : { ...m, text, html, edited: at }));
    }
    case "retracted":
      return one(items, event.value.id, (m) => ({
        ...m,
        text: "",
        html: "",
        subject: "",
        file: undefined,
        reactions: [],
        retracted: true,
      }));
    case "callEnded": {
      const { id, call } = event.value;
      return one(items, id, (m) => ({ ...m, call }));
    }
    case "reaction": {
      const { id, from, emoji, removed } = event.value;
      return one(items, id, (m) => {
        const old = m.reactions.find((r) => r.emoji === emoji);
        const others = (old?.from ?? []).filter((who) => who !== from);
        const now = removed ? others : old?.from.includes(from) ? old.from : [...others, from];
        const next = { $typeName: "parley.v1.Reaction" as const, emoji, from: now };
        const reactions = old ? m.reactions.map((r) => (r === old ? next : r)) : [...m.reactions, next];
        return { ...m, reactions: reactions.filter((r) => r.from.length > 0) };
      });
    }
    default:
      return items;
  }
}

function one(items: readonly Message[], id: string, change: (old: Message) => Message): readonly Message[] {
  const at = items.findIndex((m) => m.id === id);
  if (at < 0) return items;
  const copy = [...items];
  copy[at] = change(items[at] as Message);
  return copy;
}

const cache = new Map<string, Pages>();

/** The window of a conversation, as it was left if it is still there. */
export function pagesOf(peer: string): Pages {
  const there = cache.get(peer);
  cache.delete(peer);
  const pages = there ?? new Pages(peer);
  cache.set(peer, pages);
  for (const old of cache.keys()) {
    if (cache.size <= kept) break;
    cache.delete(old);
  }
  return pages;
}

onEvent((event) => {
  if (event.type === "reset" || event.type === "sessionEnded") return;
  if ("conversation" in event.value) cache.get(event.value.conversation)?.apply(event);
});

/** Counts how often what was loaded became worthless: a view that is open loads anew. */
export const resets = signal(0);
onReset(() => {
  cache.clear();
  resets.value++;
});
effect(() => {
  if (!client.value) cache.clear();
});
