import type { Message, Person } from "@parley-im/sdk";
import { useEffect, useRef, useState } from "preact/hooks";
import { t, tn } from "../i18n";
import { contacts } from "../state/contacts";
import { summary } from "../state/notify";
import { findPeople, nameOf } from "../state/people";
import { go, route, searchPath, talkPath } from "../state/router";
import { me, sdk } from "../state/session";
import { Avatar } from "../ui/avatar";
import { failureText } from "../ui/failure";
import { date, full, short } from "../ui/format";
import { Icon } from "../ui/icon";
import { Empty, SkeletonRows } from "../ui/parts";
import { announce } from "../ui/toast";
import { around, marked } from "./marked";
import { rowKeys } from "./rows";

interface Found {
  words: string;
  people: Person[];
  messages: Message[];
  next: bigint;
  state: "idle" | "searching" | "done" | "failed";
  failure: string;
}

const nothing: Found = { words: "", people: [], messages: [], next: 0n, state: "idle", failure: "" };

/** Finds people and what was said, everywhere or in one conversation. The hits stay while they are looked at. */
export function SearchList() {
  const now = route.value;
  const onPage = now.page === "list" && now.pane === "search";
  const [words, setWords] = useState(onPage ? (now.query ?? "") : "");
  const [within, setWithin] = useState(onPage ? (now.within ?? "") : "");
  const field = useRef<HTMLInputElement>(null);
  const { found, more } = useSearch(words, within);

  useEffect(() => {
    if (!onPage) return;
    if (now.within) setWithin(now.within);
    if (now.query) setWords(now.query);
    field.current?.focus();
  }, [now]);

  const clearWithin = () => {
    setWithin("");
    if (onPage) go(searchPath(words), { replace: true });
    field.current?.focus();
  };
  const some = found.people.length + found.messages.length > 0;
  return (
    <>
      <header class="list-head">
        <h1 tabIndex={-1}>{t("nav.search")}</h1>
      </header>
      <search class="list-filter">
        <Icon name="search" size={18} />
        <input
          ref={field}
          type="search"
          class="input"
          placeholder={t("search.placeholder")}
          aria-label={t("search.placeholder")}
          value={words}
          autocomplete="off"
          onInput={(event) => setWords(event.currentTarget.value)}
        />
      </search>
      {within && (
        <p class="chips">
          <span class="chip">
            {t("search.within", { name: nameOf(within) })}
            <button
              type="button"
              class="icon-button icon-small"
              aria-label={t("search.everywhere")}
              onClick={clearWithin}
            >
              <Icon name="close" size={14} />
            </button>
          </span>
        </p>
      )}
      {/* biome-ignore lint/a11y/noStaticElementInteractions: arrow keys only move the focus between the links inside */}
      <div class="list-body" onKeyDown={rowKeys}>
        {found.state === "idle" && <Empty icon="search" title={t("search.idle.title")} text={t("search.idle.text")} />}
        {found.state === "searching" && !some && <SkeletonRows rows={4} />}
        {found.state === "failed" && <Empty icon="cloudOff" title={t("failed.title")} text={found.failure} />}
        {found.state === "done" && !some && (
          <Empty icon="search" title={t("search.none.title")} text={t("search.none.text", { words: found.words })} />
        )}
        {found.people.length > 0 && (
          <section>
            <h2 class="list-title">{t("search.people")}</h2>
            <ul class="rows">
              {found.people.map((person) => (
                <li key={person.address}>
                  <a class="row row-small" href={talkPath(person.address)}>
                    <Avatar address={person.address} name={person.name || person.address} size={40} dot />
                    <span class="row-text">
                      <span class="row-name">{nameOf(person.address)}</span>
                      <span class="row-preview">{about(person)}</span>
                    </span>
                  </a>
                </li>
              ))}
            </ul>
          </section>
        )}
        {found.messages.length > 0 && (
          <section>
            <h2 class="list-title">{t("search.messages")}</h2>
            <ul class="rows">
              {found.messages.map((message) => (
                <Hit key={message.id} message={message} words={found.words} />
              ))}
            </ul>
            {found.next > 0n && (
              <button type="button" class="button list-more" onClick={more} disabled={found.state === "searching"}>
                {t("action.more")}
              </button>
            )}
          </section>
        )}
      </div>
    </>
  );
}

/** "Head of Sales, Sales", or the address. */
export function about(person: Person): string {
  return [person.profile?.title, person.profile?.department].filter(Boolean).join(", ") || person.address;
}

function Hit({ message, words }: { message: Message; words: string }) {
  const name = nameOf(message.conversation);
  const mine = message.from === me.value?.address;
  const now = route.value;
  const current = now.page === "talk" && now.peer === message.conversation && now.jump?.position === message.position;
  return (
    <li>
      <a
        class="row row-hit"
        href={talkPath(message.conversation, message.position, words)}
        aria-current={current ? "page" : undefined}
      >
        <Avatar address={message.conversation} name={name} size={32} />
        <span class="row-text">
          <span class="row-top">
            <span class="row-name">{name}</span>
            {message.at && (
              <time class="row-time" dateTime={date(message.at).toISOString()} title={full(message.at)}>
                {short(message.at)}
              </time>
            )}
          </span>
          <span class="row-snippet">
            {mine && <span>{t("list.you")} </span>}
            {marked(around(summary(message), words), words)}
          </span>
        </span>
      </a>
    </li>
  );
}

/** Searches 250 ms after the last key; an older answer never replaces a newer one. */
function useSearch(words: string, within: string): { found: Found; more: () => void } {
  const [found, setFound] = useState<Found>(nothing);
  const turn = useRef(0);
  const wanted = words.trim();

  const messages = async (before: bigint) => {
    const { messages: hits, next } = await sdk().conversations.searchMessages({
      // What is being typed is the beginning of a word.
      words: wanted.replace(/([\p{L}\p{N}])$/u, "$1*"),
      conversation: within,
      before,
      limit: 30,
    });
    return { hits, next };
  };

  useEffect(() => {
    const mine = ++turn.current;
    if (!wanted) {
      setFound(nothing);
      return;
    }
    const timer = setTimeout(async () => {
      setFound((old) => ({ ...old, state: "searching" }));
      try {
        const [people, said] = await Promise.all([within ? [] : somebody(wanted), messages(0n)]);
        if (mine !== turn.current) return;
        setFound({ words: wanted, people, messages: said.hits, next: said.next, state: "done", failure: "" });
        announce(tn("search.found", people.length + said.hits.length));
      } catch (error) {
        if (mine === turn.current) setFound({ ...nothing, state: "failed", failure: failureText(error) });
      }
    }, 250);
    return () => clearTimeout(timer);
  }, [wanted, within]);

  const more = () => {
    const mine = turn.current;
    setFound((old) => ({ ...old, state: "searching" }));
    messages(found.next)
      .then(({ hits, next }) => {
        if (mine !== turn.current) return;
        setFound((old) => ({ ...old, messages: [...old.messages, ...hits], next, state: "done" }));
      })
      .catch(() => setFound((old) => ({ ...old, state: "done" })));
  };
  return { found, more };
}

/** Contacts by the names that the person gave them, then the directory. */
async function somebody(words: string): Promise<Person[]> {
  const people = await findPeople(words, 6);
  const low = words.toLocaleLowerCase();
  const known = contacts.peek().filter((one) => one.name.toLocaleLowerCase().includes(low));
  const extra = known.filter((one) => !people.some((person) => person.address === one.address));
  return [...extra.slice(0, 3).map((one) => ({ address: one.address, name: one.name }) as Person), ...people];
}
