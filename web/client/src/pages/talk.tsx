import { signal } from "@preact/signals";
import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { t } from "../i18n";
import { openTalk, talk } from "../state/conversations";
import { nameOf } from "../state/people";
import { availabilityOf, noteOf, presenceOf, watch } from "../state/presence";
import { back, go, type Jump, pane } from "../state/router";
import { set, setting } from "../state/settings";
import { Avatar } from "../ui/avatar";
import { Dialog } from "../ui/dialog";
import { stateText } from "../ui/dot";
import { until } from "../ui/format";
import { Icon } from "../ui/icon";
import { wide } from "../ui/media";
import { Empty, Failed, SkeletonRows } from "../ui/parts";
import { Details } from "./details";

interface MessagesProps {
  peer: string;
  jump: Jump | undefined;
}

/** The message view, which is loaded after the first view. */
const messages = signal<ComponentType<MessagesProps> | undefined>(undefined);
const broken = signal(false);

export function loadMessages(): void {
  if (messages.peek()) return;
  broken.value = false;
  import("../messages").then(
    (loaded) => {
      messages.value = loaded.MessageView;
    },
    () => {
      broken.value = true;
    },
  );
}

/** One conversation: who it is with, the place for calls, and the messages. */
export function TalkPage({ peer, jump }: MessagesProps) {
  const [failed, setFailed] = useState<"" | "unknown" | "unreachable">("");
  const load = () => {
    setFailed("");
    openTalk(peer).catch((error: { code?: string }) => {
      const gone =
        error.code === "not_found" || error.code === "invalid_argument" || error.code === "permission_denied";
      setFailed(gone ? "unknown" : "unreachable");
    });
  };
  useEffect(() => {
    loadMessages();
    watch(peer);
    load();
  }, [peer]);
  const View = messages.value;
  const ready = talk(peer) !== undefined;
  return (
    <div class="talk">
      <TalkHead peer={peer} />
      {/* Running calls with this person go here. */}
      <div class="call-bar" data-place="call" />
      {failed === "unknown" ? (
        <Empty icon="person" title={t("talk.unknown.title")} text={t("talk.unknown.text", { address: peer })} />
      ) : broken.value || (failed && !ready) ? (
        <Failed
          onRetry={() => {
            loadMessages();
            load();
          }}
        />
      ) : View && ready ? (
        <View peer={peer} jump={jump} />
      ) : (
        <SkeletonRows rows={7} />
      )}
    </div>
  );
}

function TalkHead({ peer }: { peer: string }) {
  const [drawer, setDrawer] = useState(false);
  const name = nameOf(peer);
  const shown = wide.value && setting("details") === "on";
  const toggle = () => {
    if (wide.peek()) void set("details", shown ? "off" : "on").catch(() => {});
    else setDrawer(true);
  };
  return (
    <header class="talk-head">
      <button type="button" class="icon-button talk-back" aria-label={t("action.back")} onClick={back}>
        <Icon name="back" />
      </button>
      <button
        type="button"
        class="talk-person"
        onClick={toggle}
        aria-label={t("details.of", { name })}
        title={t("details.of", { name })}
      >
        <Avatar address={peer} name={name} size={40} dot />
      </button>
      <div class="talk-title">
        <h1 tabIndex={-1}>{name}</h1>
        <p class="talk-state">{stateLine(peer) || peer}</p>
      </div>
      {/* Buttons for voice and video go here. */}
      <div class="call-controls" data-place="call-controls" />
      <button
        type="button"
        class="icon-button"
        aria-label={t("talk.search")}
        title={t("talk.search")}
        onClick={() => {
          pane.value = "search";
          go(`/search?in=${encodeURIComponent(peer)}`);
        }}
      >
        <Icon name="search" />
      </button>
      <button
        type="button"
        class="icon-button"
        aria-label={t("details.title")}
        title={t("details.title")}
        aria-pressed={shown}
        onClick={toggle}
      >
        <Icon name={wide.value ? "panel" : "info"} />
      </button>
      {drawer && !wide.value && (
        <Dialog title={t("details.title")} class="drawer" onClose={() => setDrawer(false)}>
          <Details peer={peer} />
        </Dialog>
      )}
    </header>
  );
}

function stateLine(peer: string): string {
  const state = stateText(availabilityOf(peer));
  const note = noteOf(peer);
  const end = presenceOf(peer)?.until;
  const timed = state && end ? t("presence.until", { state, time: until(end) }) : state;
  return [timed, note].filter(Boolean).join(" · ");
}
