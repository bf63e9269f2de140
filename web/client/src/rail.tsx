import { t } from "./i18n";
import { presenceOpen } from "./pages/presence-dialog";
import { unreadTotal } from "./state/conversations";
import { ownState } from "./state/presence";
import { pane, route } from "./state/router";
import { me } from "./state/session";
import { Avatar } from "./ui/avatar";
import { stateText } from "./ui/dot";
import { Icon } from "./ui/icon";
import type { IconName } from "./ui/icons";
import { Logo } from "./ui/logo";

/** The way to everything: at the left, or at the bottom of a narrow screen. */
export function Rail() {
  const now = route.value;
  const own = me.value;
  const inSettings = now.page === "settings";
  const unread = unreadTotal.value;
  const state = stateText(ownState.value?.availability ?? "");
  return (
    <nav class="rail" aria-label={t("nav.main")}>
      <span class="rail-logo">
        <Logo size={36} />
      </span>
      <RailLink
        path="/"
        icon="chat"
        label={t("nav.chats")}
        current={!inSettings && pane.value === "chats"}
        count={unread}
      />
      <RailLink
        path="/contacts"
        icon="group"
        label={t("nav.contacts")}
        current={!inSettings && pane.value === "contacts"}
      />
      <RailLink path="/search" icon="search" label={t("nav.search")} current={!inSettings && pane.value === "search"} />
      <span class="rail-space" />
      <RailLink path="/settings" icon="settings" label={t("nav.settings-short")} current={inSettings} />
      {own && (
        <button
          type="button"
          class="rail-me"
          aria-label={t("nav.presence", { name: own.name || own.address, state })}
          title={t("nav.presence", { name: own.name || own.address, state })}
          onClick={() => {
            presenceOpen.value = true;
          }}
        >
          <Avatar address={own.address} name={own.name || own.address} size={40} dot />
        </button>
      )}
    </nav>
  );
}

interface LinkProps {
  path: string;
  icon: IconName;
  label: string;
  current: boolean;
  count?: number;
}

function RailLink({ path, icon, label, current, count = 0 }: LinkProps) {
  return (
    <a class="rail-link" href={path} aria-current={current ? "page" : undefined}>
      <span class="rail-icon">
        <Icon name={icon} size={22} />
        {count > 0 && (
          <span class="badge rail-badge" aria-hidden="true">
            {count > 99 ? "99+" : count}
          </span>
        )}
      </span>
      <span class="rail-label">{label}</span>
      {count > 0 && <span class="unseen">{t("list.unread-total", { count })}</span>}
    </a>
  );
}
