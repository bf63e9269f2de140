import type { ParleyEvent } from "@parley-im/sdk";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { resume } from "../src/state/session";
import { forgetTyping, isTyping, sayTyping, typingEvent } from "../src/state/typing";
import { bob, type Pipe, pipe, session } from "./pipe";

let server: Pipe;
const told = () =>
  server.asked.filter((one) => one.name === "SetTyping").map((one) => (one.request as { active?: boolean }).active);
const event = (type: string, value: unknown) => ({ type, value, position: 0n }) as unknown as ParleyEvent;

beforeEach(async () => {
  vi.useFakeTimers();
  server = pipe({ GetSession: session, SetTyping: () => ({}) });
  await resume();
});
afterEach(() => {
  forgetTyping();
  vi.useRealTimers();
});

test("somebody writes until it is said, said to be over, or forgotten", async () => {
  const writes = () => typingEvent(event("typing", { conversation: bob, active: true }));
  writes();
  expect(isTyping(bob)).toBe(true);
  typingEvent(event("message", { conversation: bob, from: bob }));
  expect(isTyping(bob)).toBe(false);
  writes();
  await vi.advanceTimersByTimeAsync(14_000);
  writes();
  await vi.advanceTimersByTimeAsync(14_000);
  expect(isTyping(bob)).toBe(true);
  await vi.advanceTimersByTimeAsync(2_000);
  expect(isTyping(bob)).toBe(false);
});

test("writing is said again every 10 s, and its end once", async () => {
  for (let second = 0; second < 21; second++) {
    sayTyping(bob, true);
    await vi.advanceTimersByTimeAsync(1000);
  }
  expect(told()).toEqual([true, true, true]);
  await vi.advanceTimersByTimeAsync(6_000);
  expect(told()).toEqual([true, true, true, false]);
  sayTyping(bob, false);
  await vi.runAllTimersAsync();
  expect(told()).toHaveLength(4);
});
