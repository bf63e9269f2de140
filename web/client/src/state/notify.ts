/** What tells the person that somebody wrote: a sound, a notification of the page, the number in the title. */
import type { Message, ParleyEvent } from "@parley-im/sdk";
import { effect } from "@preact/signals";
import { t } from "../i18n";
import { announce } from "../ui/toast";
import { unreadTotal } from "./conversations";
import { onEvent } from "./feed";
import { nameOf } from "./people";
import { ownState } from "./presence";
import { go, route, talkPath } from "./router";
import { me } from "./session";
import { setting } from "./settings";
import { leads, lookAt, lookedAt } from "./tabs";
import { chime } from "./tone";

/** Per device, because each browser is asked for itself. */
const wanted = "parley.notifications";

export function notificationsOn(): boolean {
  return "Notification" in window && Notification.permission === "granted" && localStorage.getItem(wanted) !== "off";
}

/** Asks the browser for leave. False: the person or the browser said no. */
export async function turnNotifications(on: boolean): Promise<boolean> {
  localStorage.setItem(wanted, on ? "on" : "off");
  if (!on || !("Notification" in window)) return !on;
  return (await Notification.requestPermission()) === "granted";
}

/** A message in a line: for the list and for notifications. */
export function summary(message: Message): string {
  if (message.retracted) return t("preview.retracted");
  if (message.call) return message.call.outcome === "missed" ? t("preview.missed-call") : t("preview.call");
  const file = message.file;
  if (file) return message.text ? `${file.name}: ${message.text}` : file.name;
  return message.text.replace(/\s+/gu, " ").trim();
}

function quiet(): boolean {
  const state = ownState.peek()?.availability;
  return state === "dnd" || state === "in-meeting";
}

function arrived(event: ParleyEvent): void {
  if (event.type !== "message") return;
  const message = event.value;
  if (message.from === me.peek()?.address || message.call) return;
  const name = nameOf(message.from);
  if (!document.hidden) announce(t("announce.message", { name, text: summary(message) }));
  if (quiet() || !leads() || lookedAt(message.conversation)) return;
  if (setting("sound") === "on") chime();
  if (document.hidden && notificationsOn()) show(message, name);
}

function show(message: Message, name: string): void {
  const body = setting("preview") === "on" ? summary(message) : t("notification.no-preview");
  const shown = new Notification(name, { body, tag: message.conversation, icon: "/icon-192.png", silent: true });
  shown.onclick = () => {
    window.focus();
    go(talkPath(message.conversation));
    shown.close();
  };
}

/** Begins; the returned function ends it. */
export function startNotify(): () => void {
  const offEvents = onEvent(arrived);
  const offTitle = effect(() => {
    const count = unreadTotal.value;
    document.title = count > 0 ? `(${count > 99 ? "99+" : count}) Parley` : "Parley";
    if ("setAppBadge" in navigator)
      void (count > 0 ? navigator.setAppBadge(count) : navigator.clearAppBadge()).catch(() => {});
  });
  const looked = () => {
    const now = route.value;
    lookAt(now.page === "talk" && document.hasFocus() && !document.hidden ? now.peer : "");
  };
  const offLook = effect(looked);
  addEventListener("focus", looked);
  addEventListener("blur", looked);
  document.addEventListener("visibilitychange", looked);
  return () => {
    offEvents();
    offTitle();
    offLook();
    removeEventListener("focus", looked);
    removeEventListener("blur", looked);
    document.removeEventListener("visibilitychange", looked);
    lookAt("");
    document.title = "Parley";
  };
}
