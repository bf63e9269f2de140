/** What begins at sign-in and ends at sign-out. */
import { effect } from "@preact/signals";
import { startActivity } from "./activity";
import { forgetContacts } from "./contacts";
import { flushDrafts, forgetTalks } from "./conversations";
import { startFeed, stopFeed } from "./feed";
import { startNotify } from "./notify";
import { forgetPeople } from "./people";
import { forgetPresence } from "./presence";
import { forgetPush, renewPush } from "./push";
import { go } from "./router";
import { leave, phase, resume, signOut } from "./session";
import { forgetSettings } from "./settings";
import { saySignedOut, startTabs } from "./tabs";
import { forgetTyping } from "./typing";

let ends: (() => void)[] = [];

function begin(): void {
  void startFeed();
  renewPush().catch(() => {}); // the settings show that it is off
  ends = [startActivity(), startNotify()];
}

function end(): void {
  for (const one of ends) one();
  ends = [];
  stopFeed();
  forgetTalks();
  forgetContacts();
  forgetPeople();
  forgetPresence();
  forgetTyping();
  forgetSettings();
}

/** Ties everything to the session, and asks whether there is one. */
export function startLife(): void {
  let signedIn = false;
  effect(() => {
    const now = phase.value === "signed-in";
    if (now === signedIn) return;
    signedIn = now;
    // The parts read signals of their own, which are none of this effect's business.
    queueMicrotask(now ? begin : end);
  });
  startTabs(() => {
    if (phase.peek() === "signed-in") leave("");
  });
  addEventListener("pagehide", flushDrafts);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) flushDrafts();
  });
  void resume();
}

/** Signs out in all tabs of this browser. */
export async function signOutEverywhere(): Promise<void> {
  flushDrafts();
  await forgetPush().catch(() => {});
  await signOut();
  saySignedOut();
  go("/", { replace: true });
}
