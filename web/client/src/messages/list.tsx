/** The messages of a conversation, in a window that moves with what is looked at. */
import type { Message } from "@parley-im/sdk";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { t, tn } from "../i18n";
import { attentive, onReturn } from "../state/activity";
import { markRead, talk } from "../state/conversations";
import { nameOf } from "../state/people";
import type { Jump } from "../state/router";
import { ownAddress, sdk } from "../state/session";
import { attempt } from "../ui/failure";
import { day } from "../ui/format";
import { Icon } from "../ui/icon";
import { Empty, Failed, SkeletonRows } from "../ui/parts";
import { DateJump } from "./date-jump";
import { type Actions, MessageRow, type Reached } from "./message";
import { parcelsTo } from "./outgoing";
import { type Pages, pagesOf, resets } from "./pages";
import { ParcelRow } from "./parcel";
import { firstUnread, rowsOf } from "./rows";
import { useScroll } from "./scroll";

interface Props {
  peer: string;
  jump: Jump | undefined;
  actions: Omit<Actions, "goTo">;
}

interface Aim {
  id?: string;
  position?: bigint;
  words: string;
}

/** Loads what the conversation should begin with: what is new, or the end. */
async function begin(pages: Pages, own: string): Promise<bigint | undefined> {
  const now = talk(pages.peer);
  const unread = now?.unread ?? 0;
  if (unread >= 100 && now && now.read > 0n) {
    await pages.around(now.read);
    return pages.items.peek().find((m) => m.position > now.read && m.from !== own)?.position;
  }
  await pages.newest(unread * 2);
  return firstUnread(pages.items.peek(), unread, own);
}

export function MessageList({ peer, jump, actions }: Props) {
  const pages = useMemo(() => pagesOf(peer), [peer, resets.value]);
  const own = ownAddress();
  const scroller = useRef<HTMLDivElement>(null);
  const [newAt, setNewAt] = useState<bigint>();
  const [aim, setAim] = useState<Aim>();
  const [active, setActive] = useState("");
  const [atEnd, setAtEnd] = useState(true);
  const [choosing, setChoosing] = useState(false);
  const [seen, setSeen] = useState(0n); // position of the newest message that was shown at the end
  const items = pages.items.value;
  const complete = !pages.moreAfter.value;
  const now = talk(peer);
  const parcels = parcelsTo(peer).filter((p) => !items.some((m) => m.requestId === p.requestId));
  const rows = useMemo(() => rowsOf(items, newAt), [items, newAt]);
  const newest = items.at(-1)?.position ?? 0n;

  const scroll = useScroll({
    scroller,
    rows: `${rows.length} ${items[0]?.id} ${newest} ${parcels.length} ${newAt}`,
    complete,
    onEdge: (way) => void pages.more(way),
    onMove: (end) => {
      pages.following = end;
      setAtEnd(end);
      if (end) setSeen(pages.items.peek().at(-1)?.position ?? 0n);
      readSeen();
    },
  });

  const readSeen = () => {
    if (document.hidden || !document.hasFocus() || !attentive()) return;
    const position = scroll.lowest()?.dataset.position;
    if (position) markRead(peer, BigInt(position));
  };

  useEffect(() => {
    const gone = { current: false };
    const known = pages.items.peek().length > 0 && !pages.moreAfter.peek() && pages.state.peek() === "ready";
    if (jump) return;
    const unread = talk(peer)?.unread ?? 0;
    const start = known && unread === 0 ? Promise.resolve(undefined) : begin(pages, own);
    start.then(
      (at) => {
        if (gone.current) return;
        setNewAt(at);
        if (at !== undefined) requestAnimationFrame(() => scroll.toRow('[data-row="new"]', "top"));
        else scroll.toEnd();
      },
      () => {}, // the state says it
    );
    return () => {
      gone.current = true;
    };
  }, [pages]);

  const goTo = async (to: Aim) => {
    let { position } = to;
    const there = pages.items.peek().find((m) => m.id === to.id || m.position === position);
    if (!there) {
      const worked = await attempt(async () => {
        if (position === undefined && to.id) {
          position = (await sdk().conversations.getMessage({ id: to.id })).message?.position;
        }
        if (position !== undefined) await pages.around(position);
      });
      if (!worked || position === undefined) return;
    }
    const id = there?.id ?? pages.items.peek().find((m) => m.position === position)?.id ?? to.id;
    setAim(id ? { ...to, id } : to);
    requestAnimationFrame(() => {
      if (!id || !scroll.toRow(`[data-id="${CSS.escape(id)}"]`, "center")) return;
      scroller.current?.querySelector<HTMLElement>(`[data-id="${CSS.escape(id)}"]`)?.focus({ preventScroll: true });
    });
  };
  useEffect(() => {
    if (jump)
      void goTo({
        words: jump.words ?? "",
        ...(jump.id && { id: jump.id }),
        ...(jump.position && { position: jump.position }),
      });
  }, [jump, pages]);

  // What comes while nobody looks begins below a line.
  const before = useRef({ newest: 0n, complete: false });
  useEffect(() => {
    const last = items.at(-1);
    // Not what was there before and has only now been loaded.
    const fresh =
      before.current.complete && before.current.newest > 0n && last && last.position > before.current.newest;
    if (fresh && last.from === own) {
      setNewAt(undefined);
      scroll.toEnd();
    } else if (fresh && newAt === undefined && (document.hidden || !document.hasFocus())) {
      setNewAt(items.find((m) => m.position > before.current.newest)?.position);
    }
    before.current = { newest: last?.position ?? 0n, complete };
    readSeen();
  }, [newest, complete]);
  const toEnd = async () => {
    if (pages.moreAfter.peek()) await attempt(() => pages.newest());
    requestAnimationFrame(() => scroll.toEnd());
  };
  // Who sends wants to see it, wherever the view was.
  const waiting = useRef(0);
  useEffect(() => {
    if (parcels.length > waiting.current) void toEnd();
    waiting.current = parcels.length;
  }, [parcels.length]);
  useEffect(() => {
    addEventListener("focus", readSeen);
    document.addEventListener("visibilitychange", readSeen);
    const off = onReturn(readSeen);
    return () => {
      off();
      removeEventListener("focus", readSeen);
      document.removeEventListener("visibilitychange", readSeen);
    };
  }, [pages]);

  const all = useMemo<Actions>(
    () => ({ ...actions, goTo: (quote) => void goTo({ id: quote.id, words: "" }) }),
    [actions, pages],
  );
  const below = items.filter((m) => m.position > seen && m.from !== own).length;

  if (pages.state.value === "failed") return <Failed onRetry={() => void begin(pages, own).then(setNewAt, () => {})} />;
  return (
    <div class="m-list">
      <div
        class="m-scroller"
        ref={scroller}
        role="log"
        aria-live="off"
        aria-busy={pages.state.value === "loading"}
        aria-label={t("message.list", { name: nameOf(peer) })}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
        tabIndex={0}
        onKeyDown={(event) => onListKey(event, items, all, own)}
        // Letters act on a message that was reached by keys. Whoever has clicked on one and types wants to write.
        onPointerDown={(event) => {
          event.currentTarget.dataset.pointed = "";
        }}
        onPointerOver={(event) => {
          if (!opened(event.currentTarget)) setActive(rowId(event.target) ?? active);
        }}
        onPointerLeave={(event) => {
          if (!opened(event.currentTarget)) setActive(rowId(document.activeElement) ?? "");
        }}
        onFocusIn={(event) => setActive(rowId(event.target) ?? "")}
      >
        <div class="m-rows">
          {pages.state.value === "loading" && <SkeletonRows rows={7} />}
          {pages.state.value === "ready" && !pages.moreBefore.value && items.length > 0 && (
            <p class="m-beginning">{t("message.beginning", { name: nameOf(peer) })}</p>
          )}
          {pages.moreBefore.value && <Edge way="before" pages={pages} />}
          {pages.state.value === "ready" && items.length === 0 && parcels.length === 0 && (
            <Empty
              icon="chat"
              title={t("message.empty.title")}
              text={t("message.empty.text", { name: nameOf(peer) })}
            />
          )}
          {rows.map((row) => {
            if (row.kind === "day") {
              return (
                <div key={row.key} class="m-day" data-row={row.key}>
                  <button type="button" onClick={() => setChoosing(true)} title={t("message.jump-date")}>
                    {day(row.at)}
                  </button>
                </div>
              );
            }
            if (row.kind === "new") {
              return (
                <div key="new" class="m-new" data-row="new" role="separator" aria-label={t("message.new")}>
                  <span aria-hidden="true">{t("message.new")}</span>
                </div>
              );
            }
            const { message } = row;
            return (
              <MessageRow
                key={row.key}
                message={message}
                own={own}
                first={row.first}
                last={row.last}
                reached={reachedBy(message, own, now?.peerDelivered ?? 0n, now?.peerRead ?? 0n)}
                active={active === message.id}
                flash={aim?.id === message.id}
                words={aim?.id === message.id ? aim.words : ""}
                actions={all}
              />
            );
          })}
          {!complete && <Edge way="after" pages={pages} />}
          {complete &&
            parcels.map((parcel, at) => (
              <ParcelRow key={parcel.requestId} parcel={parcel} first={at === 0 && items.at(-1)?.from !== own} />
            ))}
        </div>
      </div>
      {(!atEnd || !complete) && items.length > 0 && (
        <button type="button" class="m-to-end" onClick={() => void toEnd()}>
          <Icon name="arrowDown" size={18} />
          {below > 0 && complete ? tn("message.below", below) : <span class="unseen">{t("message.to-end")}</span>}
        </button>
      )}
      {choosing && (
        <DateJump
          onClose={() => setChoosing(false)}
          onChoose={(when) => {
            setChoosing(false);
            void attempt(async () => {
              await pages.from(when);
              const hit = pages.items.peek().find((m) => m.at && Number(m.at.seconds) * 1000 >= when.getTime());
              if (hit) await goTo({ id: hit.id, words: "" });
              else scroll.toEnd();
            });
          }}
        />
      )}
    </div>
  );
}

function Edge({ way, pages }: { way: "before" | "after"; pages: Pages }) {
  if (pages.stuck.value !== way) return <div class="m-edge skeleton" aria-hidden="true" />;
  return (
    <p class="m-edge-failed">
      {t("message.stuck")}{" "}
      <button type="button" class="link-button" onClick={() => void pages.more(way)}>
        {t("action.retry")}
      </button>
    </p>
  );
}

function reachedBy(message: Message, own: string, delivered: bigint, read: bigint): Reached {
  if (message.from !== own || message.retracted || message.call) return "";
  if (message.position <= read) return "read";
  return message.position <= delivered ? "delivered" : "stored";
}

/** A menu of a message is open: the tools stay with it, wherever the pointer goes. */
function opened(box: Element): boolean {
  return box.querySelector('.m-tools [aria-expanded="true"]') !== null;
}

function rowId(target: EventTarget | null): string | undefined {
  return target instanceof Element ? (target.closest<HTMLElement>("[data-id]")?.dataset.id ?? undefined) : undefined;
}

/** Arrows go from message to message; letters act on the one that has the focus. */
function onListKey(event: KeyboardEvent, items: readonly Message[], actions: Actions, own: string): void {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  const box = event.currentTarget as HTMLElement;
  const target = event.target as HTMLElement;
  const onRow = target.matches("[data-row]");
  if (!onRow && target !== box) return;
  const rows = [...box.querySelectorAll<HTMLElement>("article[data-row]")];
  const at = rows.indexOf(target);
  const message = items.find((m) => m.id === target.dataset.id);
  const focus = (to: number) => {
    const row = rows[Math.max(0, Math.min(rows.length - 1, to))];
    delete box.dataset.pointed;
    row?.focus();
    row?.scrollIntoView({ block: "nearest" });
  };
  switch (event.key) {
    case "ArrowUp":
      focus(at < 0 ? rows.length - 1 : at - 1);
      break;
    case "ArrowDown":
      focus(at < 0 ? rows.length - 1 : at + 1);
      break;
    case "End":
      focus(rows.length - 1);
      break;
    default:
      if (box.dataset.pointed !== undefined && event.key.length === 1) return;
      if (!message || !letter(event.key, message, actions, own, target)) return;
  }
  event.preventDefault();
}

function letter(key: string, message: Message, actions: Actions, own: string, row: HTMLElement): boolean {
  if (message.retracted || message.call) return false;
  if (key === "r") actions.reply(message);
  else if (key === "c") actions.copy(message);
  else if (key === "i") actions.details(message);
  else if (key === "+") row.querySelector<HTMLElement>("[data-tool=react]")?.click();
  else if (key === "Enter") row.querySelector<HTMLElement>("[aria-haspopup=menu]")?.click();
  else if (key === "e" && message.from === own && !message.file) actions.edit(message);
  else if (key === "Delete" && message.from === own) actions.remove(message);
  else return false;
  return true;
}
