import { afterEach, beforeEach, expect, test, vi } from "vitest";

vi.mock("../src/state/session", () => ({ sdk: () => ({ sessions: { setActivity: async () => ({}) } }) }));
vi.mock("../src/state/feed", async () => ({ link: (await import("@preact/signals")).signal("online") }));
vi.mock("../src/state/tabs", () => ({ onUsed: () => {}, sayUsed: () => {} }));

const { attentive, onReturn, startActivity } = await import("../src/state/activity");

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

test("who has not touched the page for a minute does not read, until the next touch", () => {
  const stop = startActivity();
  const back = vi.fn();
  const off = onReturn(back);
  vi.advanceTimersByTime(59_000);
  expect(attentive()).toBe(true);
  dispatchEvent(new Event("keydown"));
  vi.advanceTimersByTime(59_000);
  expect(attentive()).toBe(true);
  expect(back).not.toHaveBeenCalled();
  vi.advanceTimersByTime(2_000);
  expect(attentive()).toBe(false);
  dispatchEvent(new Event("pointermove"));
  expect(attentive()).toBe(true);
  expect(back).toHaveBeenCalledTimes(1);
  dispatchEvent(new Event("pointermove"));
  expect(back).toHaveBeenCalledTimes(1);
  off();
  stop();
});
