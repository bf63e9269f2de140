/** One message, and what can be done with it. */
import type { Message, Quote, Reaction } from "@parley-im/sdk";
import { useState } from "preact/hooks";
import { type Key, t } from "../i18n";
import { nameOf } from "../state/people";
import { clock, duration, full } from "../ui/format";
import { Icon } from "../ui/icon";
import type { IconName } from "../ui/icons";
import { memo } from "../ui/memo";
import { Menu, type MenuItem } from "../ui/menu";
import { Attachment } from "./attachment";
import { EmojiPicker } from "./emoji";
import { onlyEmoji, Text } from "./text";

/** How far an own message has come. */
export type Reached = "" | "stored" | "delivered" | "read";

export interface Actions {
  reply(message: Message): void;
  edit(message: Message): void;
  remove(message: Message): void;
  react(message: Message, emoji: string): void;
  copy(message: Message): void;
  link(message: Message): void;
  details(message: Message): void;
  goTo(quote: Quote): void;
}

interface Props {
  message: Message;
  own: string;
  first: boolean;
  last: boolean;
  reached: Reached;
  /** The pointer or the focus is on it. */
  active: boolean;
  flash: boolean;
  words: string;
  actions: Actions;
}

export function editable(message: Message, own: string): boolean {
  return message.from === own && !message.retracted && !message.call && !message.file;
}

function Plain({ message, own, first, last, reached, active, flash, words, actions }: Props) {
  const mine = message.from === own;
  if (message.call) return <CallRow message={message} mine={mine} flash={flash} />;
  const group = `${first ? "m-first" : ""} ${last ? "m-last" : ""} ${flash ? "m-flash" : ""}`;
  const big = !message.html && !message.file && !message.replyTo && onlyEmoji(message.text);
  return (
    <article
      class={`m-row ${mine ? "m-own" : "m-other"} ${group}`}
      data-row={message.id}
      data-position={String(message.position)}
      data-id={message.id}
      tabIndex={-1}
      aria-labelledby={`w-${message.id} b-${message.id}`}
    >
      {/* There are two people, and the side says which of them it is. */}
      <p class="unseen" id={`w-${message.id}`}>
        <bdi>{mine ? t("message.you") : nameOf(message.from)}</bdi>
      </p>
      <div class="m-line">
        <div class={`m-bubble ${big ? "m-big" : ""} ${message.retracted ? "m-gone" : ""}`} id={`b-${message.id}`}>
          <Priority priority={message.priority} />
          {message.replyTo && <QuoteBlock quote={message.replyTo} own={own} onClick={actions.goTo} />}
          {message.subject && (
            <p class="m-subject" dir="auto">
              {message.subject}
            </p>
          )}
          {message.file && <Attachment file={message.file} />}
          <div class="m-said">
            {message.retracted && (
              <p class="m-text m-retracted">
                <Icon name="trash" size={16} /> {t("message.retracted")}
              </p>
            )}
            {(message.text || message.html) && <Text text={message.text} html={message.html} words={words} />}
            <p class="m-meta">
              {message.edited && !message.retracted && <span title={full(message.edited)}>{t("message.edited")}</span>}
              {message.at && <time title={full(message.at)}>{clock(message.at)}</time>}
              {reached && <Reach reached={reached} onClick={() => actions.details(message)} />}
            </p>
          </div>
        </div>
        {active && !message.retracted && <Tools message={message} mine={mine} own={own} actions={actions} />}
      </div>
      {message.reactions.length > 0 && (
        <Reactions reactions={message.reactions} own={own} onPick={(emoji) => actions.react(message, emoji)} />
      )}
    </article>
  );
}

export const MessageRow = memo(Plain);

function Priority({ priority }: { priority: string }) {
  if (priority !== "urgent" && priority !== "emergency") return null;
  return (
    <p class="m-urgent">
      <Icon name="warning" size={16} /> {t(`message.priority.${priority}`)}
    </p>
  );
}

interface QuoteProps {
  quote: Quote;
  own: string;
  onClick: (quote: Quote) => void;
}

function QuoteBlock({ quote, own, onClick }: QuoteProps) {
  return (
    <button type="button" class="m-quote" onClick={() => onClick(quote)} title={t("message.quote-go")}>
      <span class="m-quote-who">
        <bdi>{quote.from === own ? t("message.you") : nameOf(quote.from)}</bdi>
      </span>
      <span class="m-quote-text" dir="auto">
        {quote.text || t("message.quote-empty")}
      </span>
    </button>
  );
}

const reachIcons: Record<Exclude<Reached, "">, IconName> = { stored: "check", delivered: "checks", read: "checks" };

function Reach({ reached, onClick }: { reached: Exclude<Reached, "">; onClick: () => void }) {
  const label = t(`message.reached.${reached}`);
  return (
    <button
      type="button"
      class={`m-reach m-reach-${reached}`}
      aria-label={label}
      title={label}
      tabIndex={-1}
      onClick={onClick}
    >
      <Icon name={reachIcons[reached]} size={16} />
    </button>
  );
}

function Reactions({
  reactions,
  own,
  onPick,
}: {
  reactions: Reaction[];
  own: string;
  onPick: (emoji: string) => void;
}) {
  return (
    <ul class="m-reactions" aria-label={t("message.reactions")}>
      {reactions.map(({ emoji, from }) => {
        const names = from.map((who) => (who === own ? t("message.you") : nameOf(who))).join(", ");
        const label = t("message.reacted", { names, emoji });
        return (
          <li key={emoji}>
            <button
              type="button"
              class="m-reaction"
              aria-pressed={from.includes(own)}
              aria-label={label}
              title={label}
              onClick={() => onPick(emoji)}
            >
              {emoji} {from.length > 1 && <span class="m-count" data-count={from.length} />}
            </button>
          </li>
        );
      })}
    </ul>
  );
}

const outcomes: Record<string, Key> = {
  "": "message.call.running",
  answered: "message.call.answered",
  missed: "message.call.missed",
  declined: "message.call.declined",
};

function CallRow({ message, mine, flash }: { message: Message; mine: boolean; flash: boolean }) {
  const call = message.call;
  const key = outcomes[call?.outcome ?? ""] ?? "message.call.failed";
  const long = call && call.durationMs > 0n ? ` · ${duration(call.durationMs)}` : "";
  const missed = call?.outcome === "missed" && !mine;
  return (
    <article
      class={`m-row m-call ${missed ? "m-missed" : ""} ${flash ? "m-flash" : ""}`}
      data-row={message.id}
      data-position={String(message.position)}
      data-id={message.id}
      tabIndex={-1}
    >
      <Icon name="phone" size={16} />
      <span>
        {t(mine ? "message.call.out" : "message.call.in", { name: nameOf(message.from) })} — {t(key)}
        {long}
      </span>
      {message.at && <time title={full(message.at)}>{clock(message.at)}</time>}
    </article>
  );
}

interface ToolsProps {
  message: Message;
  mine: boolean;
  own: string;
  actions: Actions;
}

function Tools({ message, mine, own, actions }: ToolsProps) {
  const [picking, setPicking] = useState(false);
  const items: (MenuItem | "line")[] = [
    ...(message.text
      ? [{ label: t("message.copy"), icon: "copy", onSelect: () => actions.copy(message) } as const]
      : []),
    { label: t("message.link"), icon: "link", onSelect: () => actions.link(message) },
    { label: t("message.details"), icon: "info", onSelect: () => actions.details(message) },
    ...(editable(message, own)
      ? [{ label: t("message.edit"), icon: "edit", onSelect: () => actions.edit(message) } as const]
      : []),
    ...(message.from === own
      ? ([
          "line",
          { label: t("message.delete"), icon: "trash", danger: true, onSelect: () => actions.remove(message) },
        ] as const)
      : []),
  ];
  return (
    <div class="m-tools" role="toolbar" aria-label={t("message.actions")}>
      <button
        type="button"
        class="icon-button icon-small"
        aria-label={t("message.react")}
        title={t("message.react")}
        aria-expanded={picking}
        onClick={() => setPicking(!picking)}
        data-tool="react"
      >
        <Icon name="smile" size={18} />
      </button>
      <button
        type="button"
        class="icon-button icon-small"
        aria-label={t("message.reply")}
        title={t("message.reply")}
        onClick={() => actions.reply(message)}
      >
        <Icon name="reply" size={18} />
      </button>
      <Menu label={t("message.more")} items={items} class="icon-button icon-small" align={mine ? "end" : "start"} />
      {picking && (
        <EmojiPicker
          place="below"
          onClose={() => setPicking(false)}
          onPick={(emoji) => {
            setPicking(false);
            actions.react(message, emoji);
          }}
        />
      )}
    </div>
  );
}
