import type { Message, ParleyEvent } from "@parley-im/sdk";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import {
  forgetTalks,
  loadMoreTalks,
  loadTalks,
  markRead,
  moreTalks,
  saveDraft,
  talk,
  talkEvent,
  talkList,
  talksState,
  unreadTotal,
} from "../src/state/conversations";
import { resume } from "../src/state/session";
import { alice, bob, type Pipe, pipe, session } from "./pipe";

const carol = "carol@example.com";
let server: Pipe;

const said = (position: bigint, from: string, conversation: string, text = "hello") => ({
  id: `m${position}`,
  position,
  from,
  conversation,
  text,
});
const event = (type: string, value: unknown, position = 0n) => ({ type, value, position }) as unknown as ParleyEvent;
const arrives = (position: bigint, from: string, conversation: string, text?: string) =>
  talkEvent(event("message", said(position, from, conversation, text) as Partial<Message>, position));

beforeEach(async () => {
  vi.useFakeTimers();
  server = pipe({
    GetSession: session,
    ListConversations: () => ({
      conversations: [
        {
          id: bob,
          name: "Bob",
          last: said(10n, bob, bob),
          unread: 1,
          read: 5n,
          peerRead: 4n,
          peerDelivered: 4n,
          known: true,
        },
        { id: carol, name: "Carol", last: said(7n, alice, carol), known: true },
      ],
      position: 12n,
    }),
    GetConversation: () => ({
      conversation: {
        id: "dave@example.com",
        name: "Dave",
        last: said(20n, "dave@example.com", "dave@example.com"),
        unread: 1,
      },
    }),
    MarkRead: () => ({}),
    SetDraft: () => ({}),
  });
  await resume();
  expect(await loadTalks()).toBe(12n);
});

afterEach(() => {
  forgetTalks();
  vi.useRealTimers();
});

test("the newest conversation is first", () => {
  expect(talkList.value.map((one) => one.id)).toEqual([bob, carol]);
  arrives(13n, carol, carol);
  expect(talkList.value.map((one) => one.id)).toEqual([carol, bob]);
  expect(unreadTotal.value).toBe(2);
});

test("what came with the list does not count again", () => {
  arrives(10n, bob, bob);
  expect(talk(bob)?.unread).toBe(1);
});

test("who answers has read", () => {
  arrives(13n, alice, bob);
  expect(talk(bob)?.unread).toBe(0);
});

test("a conversation that nobody knew is asked for", async () => {
  arrives(20n, "dave@example.com", "dave@example.com");
  await vi.runAllTimersAsync();
  expect(talk("dave@example.com")?.name).toBe("Dave");
  expect(talkList.value[0]?.id).toBe("dave@example.com");
});

test("edits and retractions change the last message only if it is the one", () => {
  talkEvent(event("edited", { id: "m9", conversation: bob, text: "other" }));
  expect(talk(bob)?.last?.text).toBe("hello");
  talkEvent(event("edited", { id: "m10", conversation: bob, text: "other", html: "" }));
  expect(talk(bob)?.last?.text).toBe("other");
  talkEvent(event("retracted", { id: "m10", conversation: bob }));
  expect(talk(bob)?.last).toMatchObject({ retracted: true, text: "" });
  talkEvent(event("edited", { id: "m10", conversation: bob, text: "back again", html: "", at: new Date() }));
  expect(talk(bob)?.last).toMatchObject({ retracted: true, text: "" });
});

test("receipts only go forward", () => {
  talkEvent(event("read", { conversation: carol, by: carol, read: 7n }));
  talkEvent(event("read", { conversation: carol, by: carol, read: 3n }));
  expect(talk(carol)?.peerRead).toBe(7n);
  talkEvent(event("delivery", { conversation: carol, what: "refused", messagePosition: 9n }));
  expect(talk(carol)?.peerDelivered).toBe(0n);
  talkEvent(event("delivery", { conversation: carol, what: "delivered", messagePosition: 7n }));
  expect(talk(carol)?.peerDelivered).toBe(7n);
});

test("reading on another device counts here", () => {
  talkEvent(event("read", { conversation: bob, by: alice, read: 10n }));
  expect(talk(bob)).toMatchObject({ unread: 0, read: 10n });
});

test("marking as read is said once, for the furthest", async () => {
  markRead(bob, 8n);
  markRead(bob, 10n);
  markRead(bob, 9n);
  await vi.runAllTimersAsync();
  const told = server.asked.filter((one) => one.name === "MarkRead");
  expect(told.map((one) => one.request)).toMatchObject([{ conversation: bob, position: 10n }]);
  expect(talk(bob)?.unread).toBe(0);
  markRead(bob, 10n);
  await vi.runAllTimersAsync();
  expect(server.asked.filter((one) => one.name === "MarkRead")).toHaveLength(1);
});

test("a draft is sent when the typing rests, and what comes meanwhile does not replace it", async () => {
  saveDraft(bob, "I th");
  saveDraft(bob, "I think");
  talkEvent(event("draft", { conversation: bob, text: "old" }));
  await vi.runAllTimersAsync();
  const told = server.asked.filter((one) => one.name === "SetDraft");
  expect(told.map((one) => one.request)).toMatchObject([{ conversation: bob, text: "I think" }]);
  expect(talk(bob)?.draft).toBe("I think");
  talkEvent(event("draft", { conversation: bob, text: "" }));
  expect(talk(bob)?.draft).toBe("");
});

test("a page that fails leaves what was there", async () => {
  server.answers.ListConversations = () => {
    throw new TypeError("no network");
  };
  await expect(loadTalks()).rejects.toMatchObject({ code: "unavailable" });
  expect(talksState.value).toBe("ready");
  expect(talkList.value).toHaveLength(2);
});

test("the next page comes after the first", async () => {
  server.answers.ListConversations = () => ({ conversations: [], position: 12n, more: true, next: 7n });
  await loadTalks();
  await vi.runAllTimersAsync();
  expect(moreTalks.value).toBe(true);
  server.answers.ListConversations = (request: { before: bigint }) => ({
    conversations: [{ id: "eve@example.com", last: said(request.before - 1n, alice, "eve@example.com") }],
  });
  await loadMoreTalks();
  expect(moreTalks.value).toBe(false);
  expect(talk("eve@example.com")?.last?.position).toBe(6n);
});
