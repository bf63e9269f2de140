import { useEffect, useState } from "preact/hooks";
import { t, tn } from "../i18n";
import { switcherOpen } from "../pages/switcher";
import { loadMoreTalks, loadTalks, moreTalks, type Talk, talkList, talksState } from "../state/conversations";
import { summary } from "../state/notify";
import { nameOf } from "../state/people";
import { availabilityOf, watch } from "../state/presence";
import { route, talkPath } from "../state/router";
import { me } from "../state/session";
import { isTyping } from "../state/typing";
import { Avatar } from "../ui/avatar";
import { stateText } from "../ui/dot";
import { attempt } from "../ui/failure";
import { date, full, short } from "../ui/format";
import { Icon } from "../ui/icon";
import { memo } from "../ui/memo";
import { Empty, Failed, SkeletonRows } from "../ui/parts";
import { rowKeys } from "./rows";

/** The conversations, the newest first. */
export function TalkList() {
  const all = talkList.value;
  const now = route.value;
  const open = now.page === "talk" ? now.peer : "";
  const state = talksState.value;
  return (
    <>
      <header class="list-head">
        <h1 tabIndex={-1}>{t("nav.chats")}</h1>
        <button
          type="button"
          class="icon-button"
          aria-label={t("list.new")}
          title={t("list.new")}
          onClick={() => {
            switcherOpen.value = true;
          }}
        >
          <Icon name="edit" />
        </button>
      </header>
      <div class="list-body">
        {all.length === 0 && state === "loading" && <SkeletonRows />}
        {all.length === 0 && state === "failed" && <Failed onRetry={() => void loadTalks().catch(() => {})} />}
        {all.length === 0 && state === "ready" && (
          <Empty icon="chat" title={t("list.empty.title")} text={t("list.empty.text")}>
            <button
              type="button"
              class="button button-main"
              onClick={() => {
                switcherOpen.value = true;
              }}
            >
              {t("list.new")}
            </button>
          </Empty>
        )}
        {all.length > 0 && (
          <ul class="rows" onKeyDown={rowKeys}>
            {all.map((talk) => (
              <TalkRow key={talk.id} talk={talk} current={talk.id === open} />
            ))}
          </ul>
        )}
        {moreTalks.value && <More />}
      </div>
    </>
  );
}

function More() {
  const [busy, setBusy] = useState(false);
  return (
    <button
      type="button"
      class="button list-more"
      disabled={busy}
      onClick={() => {
        setBusy(true);
        void attempt(loadMoreTalks).then(() => setBusy(false));
      }}
    >
      {t("action.more")}
    </button>
  );
}

const TalkRow = memo(function TalkRow({ talk, current }: { talk: Talk; current: boolean }) {
  useEffect(() => watch(talk.id), [talk.id]);
  const name = nameOf(talk.id);
  const state = stateText(availabilityOf(talk.id));
  const last = talk.last;
  return (
    <li>
      <a
        class={talk.unread > 0 ? "row row-unread" : "row"}
        href={talkPath(talk.id)}
        aria-current={current ? "page" : undefined}
      >
        <Avatar address={talk.id} name={name} size={48} dot />
        <span class="row-text">
          <span class="row-top">
            <span class="row-name">
              {name}
              {state && <span class="unseen">{`, ${state}`}</span>}
            </span>
            {last?.at && (
              <time class="row-time" dateTime={date(last.at).toISOString()} title={full(last.at)}>
                {short(last.at)}
              </time>
            )}
          </span>
          <span class="row-bottom">
            <Preview talk={talk} current={current} />
            {talk.unread > 0 && (
              <span class="badge">
                <span aria-hidden="true">{talk.unread > 99 ? "99+" : talk.unread}</span>
                <span class="unseen">{tn("list.unread", talk.unread)}</span>
              </span>
            )}
          </span>
        </span>
      </a>
    </li>
  );
});

function Preview({ talk, current }: { talk: Talk; current: boolean }) {
  if (isTyping(talk.id)) return <span class="row-preview row-typing">{t("list.typing")}</span>;
  if (talk.draft && !current) {
    return (
      <span class="row-preview">
        <span class="row-draft">{t("list.draft")}</span> {talk.draft}
      </span>
    );
  }
  const last = talk.last;
  if (!last) return <span class="row-preview" />;
  const mine = last.from === me.value?.address && !last.call;
  return (
    <span class={last.retracted ? "row-preview row-quiet" : "row-preview"}>
      {mine && !last.retracted && <span>{t("list.you")} </span>}
      {last.file && <span aria-hidden="true">📎 </span>}
      {summary(last)}
    </span>
  );
}
