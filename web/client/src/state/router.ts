/** Where the person is, as the address bar has it. */
import { signal } from "@preact/signals";

/** Where to go in a conversation. A new object means: go there, also if it is the same place again. */
export interface Jump {
  position?: bigint;
  id?: string;
  words?: string; // to be marked
}

export const panes = ["chats", "contacts", "search"] as const;
/** What the left pane shows. */
export type Pane = (typeof panes)[number];

export const settingsSections = ["profile", "privacy", "notifications", "appearance", "devices", "about"] as const;
export type SettingsSection = (typeof settingsSections)[number];

export type Route =
  | { page: "list"; pane: Pane; query?: string; within?: string }
  | { page: "talk"; peer: string; jump?: Jump }
  | { page: "message"; id: string }
  | { page: "settings"; section: SettingsSection | undefined };

/** Reads a path of this app; undefined for one that is not. */
export function parse(path: string, search = ""): Route | undefined {
  const parts = path.split("/").filter(Boolean).map(decode);
  const query = new URLSearchParams(search);
  const [first, second] = parts;
  if (parts.length > 2) return undefined;
  switch (first) {
    case undefined:
      return { page: "list", pane: "chats" };
    case "contacts":
      return second === undefined ? { page: "list", pane: "contacts" } : undefined;
    case "search":
      return second === undefined
        ? { page: "list", pane: "search", query: query.get("q") ?? "", within: query.get("in") ?? "" }
        : undefined;
    case "settings":
      if (second === undefined) return { page: "settings", section: undefined };
      return settingsSections.includes(second as SettingsSection)
        ? { page: "settings", section: second as SettingsSection }
        : undefined;
    case "c": {
      if (!second) return undefined;
      const jump = jumpOf(query);
      return jump ? { page: "talk", peer: second, jump } : { page: "talk", peer: second };
    }
    case "m":
      return second ? { page: "message", id: second } : undefined;
    default:
      return undefined;
  }
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function jumpOf(query: URLSearchParams): Jump | undefined {
  const at = query.get("at");
  const id = query.get("id");
  const jump: Jump = {};
  if (at && /^[1-9]\d{0,18}$/.test(at)) jump.position = BigInt(at);
  if (id) jump.id = id;
  const words = query.get("words");
  if (words) jump.words = words;
  return jump.position !== undefined || jump.id ? jump : undefined;
}

/** The path of a conversation, at the message with a position if one is given. */
export function talkPath(peer: string, at?: bigint, words?: string): string {
  const query = new URLSearchParams();
  if (at !== undefined) query.set("at", String(at));
  if (words) query.set("words", words);
  const search = query.toString();
  return `/c/${encodeURIComponent(peer).replaceAll("%40", "@")}${search ? `?${search}` : ""}`;
}

export function searchPath(query: string, within = ""): string {
  const params = new URLSearchParams();
  if (query) params.set("q", query);
  if (within) params.set("in", within);
  const search = params.toString();
  return `/search${search ? `?${search}` : ""}`;
}

const home: Route = { page: "list", pane: "chats" };

function here(): Route {
  return parse(location.pathname, location.search) ?? home;
}

export const route = signal<Route>(here());
/** The left pane stays what it was while a conversation or the settings are open. */
export const pane = signal<Pane>("chats");

function enter(next: Route): void {
  if (next.page === "list") pane.value = next.pane;
  route.value = next;
}

/** Goes to a path of this app. */
export function go(path: string, how: { replace?: boolean } = {}): void {
  const same = location.pathname + location.search === path;
  if (how.replace || same) history.replaceState(null, "", path);
  else history.pushState(null, "", path);
  enter(here());
}

/** One step back, or home when there is none in this app. */
export function back(): void {
  go(pane.value === "chats" ? "/" : `/${pane.value}`);
}

/** Follows the browser's buttons and plain clicks on links of this app. Returns what ends it. */
export function startRouter(): () => void {
  enter(here());
  const moved = () => enter(here());
  const clicked = (event: MouseEvent) => {
    if (event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin || link.hash) return;
    if (!parse(link.pathname, link.search)) return;
    event.preventDefault();
    go(link.pathname + link.search);
  };
  addEventListener("popstate", moved);
  document.addEventListener("click", clicked);
  return () => {
    removeEventListener("popstate", moved);
    document.removeEventListener("click", clicked);
  };
}
