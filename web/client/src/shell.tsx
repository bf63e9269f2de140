/** The app of somebody who is signed in: rail, list, main view and details. */
import { useEffect, useRef } from "preact/hooks";
import { t } from "./i18n";
import { ListPane } from "./lists/list-pane";
import { Details } from "./pages/details";
import { MessageLink } from "./pages/message-link";
import { OfflineBanner } from "./pages/offline";
import { PresenceDialog, presenceOpen } from "./pages/presence-dialog";
import { Shortcuts, shortcutsOpen } from "./pages/shortcuts";
import { Switcher, switcherOpen } from "./pages/switcher";
import { TalkPage } from "./pages/talk";
import { Welcome } from "./pages/welcome";
import { Rail } from "./rail";
import { SettingsPage } from "./settings/page";
import { talkList } from "./state/conversations";
import { link } from "./state/feed";
import { onKey } from "./state/keys";
import { back, go, type Route, route, talkPath } from "./state/router";
import { setting } from "./state/settings";
import { medium, wide } from "./ui/media";

export function Shell() {
  const now = route.value;
  const view = useRef<HTMLElement>(null);
  // On a narrow screen the list is a page of its own.
  const listOnly = now.page === "list" || (now.page === "settings" && !now.section);
  const peer = shownPeer(now);
  const details = peer !== undefined && wide.value && setting("details") === "on";
  useShortcuts();
  useFocus(now);
  return (
    <div
      class={`shell ${link.value === "offline" ? "shell-offline" : ""} ${listOnly ? "shell-list" : "shell-main"} ${details ? "shell-details" : ""}`}
    >
      <a class="skip" href="#main">
        {t("nav.skip")}
      </a>
      <Rail />
      <ListPane alone={listOnly} />
      <main class="main" id="main" tabIndex={-1} ref={view}>
        <OfflineBanner />
        <Main now={now} />
      </main>
      {details && (
        <aside class="details" aria-label={t("details.title")}>
          <Details key={peer} peer={peer} />
        </aside>
      )}
      {switcherOpen.value && <Switcher />}
      {shortcutsOpen.value && <Shortcuts />}
      {presenceOpen.value && <PresenceDialog />}
    </div>
  );
}

/** Who the conversation in the main view is with: it stays beside the list in which it is searched. */
function shownPeer(now: Route): string | undefined {
  if (now.page === "talk") return now.peer;
  return now.page === "list" && now.within && medium.value ? now.within : undefined;
}

function Main({ now }: { now: Route }) {
  const peer = shownPeer(now);
  if (peer) return <TalkPage key={peer} peer={peer} jump={now.page === "talk" ? now.jump : undefined} />;
  switch (now.page) {
    case "settings":
      return <SettingsPage section={now.section ?? "profile"} />;
    case "message":
      return <MessageLink key={now.id} id={now.id} />;
    default:
      return <Welcome />;
  }
}

/** The focus follows what the person asked for: the text field, or the heading of the page. */
function useFocus(now: Route): void {
  const first = useRef(true);
  const place =
    now.page === "talk" ? `talk ${now.peer}` : now.page === "settings" ? `settings ${now.section}` : now.page;
  useEffect(() => {
    if (first.current) {
      first.current = false;
      return;
    }
    // Whoever types a search or a name keeps the field.
    if (document.querySelector("dialog[open]")) return;
    if (now.page === "talk") {
      if (medium.peek()) document.querySelector<HTMLElement>("[data-composer]")?.focus();
      else document.querySelector<HTMLElement>("main h1")?.focus();
    } else if (now.page === "settings") {
      document.querySelector<HTMLElement>(now.section ? "main h1" : ".list-pane h1")?.focus();
    } else if (now.page === "list" && now.pane !== "search") {
      document.querySelector<HTMLElement>(".list-pane h1")?.focus();
    }
  }, [place]);
}

function useShortcuts(): void {
  useEffect(() => {
    const step = (by: number) => () => {
      const all = talkList.peek();
      const here = route.peek();
      const at = here.page === "talk" ? all.findIndex((talk) => talk.id === here.peer) : -1;
      const next = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : at + by];
      if (next) go(talkPath(next.id));
    };
    const unread = () => {
      const next = talkList.peek().find((talk) => talk.unread > 0);
      if (next) go(talkPath(next.id));
    };
    const offs = [
      onKey("ctrl+k", () => {
        switcherOpen.value = !switcherOpen.peek();
      }),
      onKey("?", () => {
        shortcutsOpen.value = true;
      }),
      onKey("ctrl+f", () => {
        const here = route.peek();
        go(here.page === "talk" ? `/search?in=${encodeURIComponent(here.peer)}` : "/search");
      }),
      onKey("alt+arrowdown", step(1)),
      onKey("alt+arrowup", step(-1)),
      onKey("alt+u", unread),
      onKey("alt+1", () => go("/")),
      onKey("alt+2", () => go("/contacts")),
      onKey("alt+3", () => go("/search")),
      onKey("alt+p", () => {
        presenceOpen.value = true;
      }),
      onKey("ctrl+,", () => go("/settings")),
      onKey("escape", () => {
        if (document.querySelector("dialog[open]")) return false;
        if (route.peek().page === "list") return false;
        back();
      }),
    ];
    return () => {
      for (const off of offs) off();
    };
  }, []);
}
