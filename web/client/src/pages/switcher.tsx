import type { Person } from "@parley-im/sdk";
import { signal } from "@preact/signals";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { t } from "../i18n";
import { about } from "../lists/search";
import { contacts } from "../state/contacts";
import { talkList } from "../state/conversations";
import { findPeople, nameOf, personOf } from "../state/people";
import { go, talkPath } from "../state/router";
import { ownAddress } from "../state/session";
import { Avatar } from "../ui/avatar";
import { Dialog } from "../ui/dialog";

export const switcherOpen = signal(false);

const most = 8;

/** Every beginning of a word counts, in any order. */
export function fits(words: string, text: string): boolean {
  const have = text.toLocaleLowerCase();
  return words
    .toLocaleLowerCase()
    .split(/\s+/u)
    .filter(Boolean)
    .every((word) => have.startsWith(word) || have.includes(` ${word}`) || have.includes(`@${word}`));
}

/** Conversations and contacts that are here already, the newest conversations first. */
function known(words: string): string[] {
  const all = new Set([...talkList.value.map((talk) => talk.id), ...contacts.value.map((contact) => contact.address)]);
  return [...all].filter((address) => fits(words, `${nameOf(address)} ${address}`)).slice(0, most);
}

/** Goes to a conversation, or begins one with anybody in the directory. */
export function Switcher() {
  const [words, setWords] = useState("");
  const [found, setFound] = useState<Person[]>([]);
  const [chosen, setChosen] = useState(0);
  const list = useRef<HTMLDivElement>(null);
  const id = useId();

  useEffect(() => {
    const wanted = words.trim();
    if (!wanted) {
      setFound([]);
      return;
    }
    const stop = new AbortController();
    const timer = setTimeout(() => {
      findPeople(wanted, most, stop.signal).then(setFound, () => {}); // what is known is shown
    }, 150);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [words]);

  const near = known(words);
  const far = found
    .map((person) => person.address)
    .filter((address) => !near.includes(address) && address !== ownAddress());
  const rows = [...near, ...far];
  const typed = words.trim();
  // An address that no directory here knows: somebody at another organisation.
  if (/^[^\s@]+@[^\s@]+$/.test(typed) && !rows.includes(typed)) rows.push(typed);
  const at = Math.min(chosen, rows.length - 1);

  const close = () => {
    switcherOpen.value = false;
  };
  const open = (address: string | undefined) => {
    if (!address) return;
    close();
    go(talkPath(address));
  };
  useEffect(() => {
    list.current?.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
  }, [at]);

  return (
    <Dialog title={t("switcher.title")} onClose={close} class="switcher">
      <input
        class="input"
        type="text"
        role="combobox"
        aria-expanded={rows.length > 0}
        aria-controls={`${id}-list`}
        aria-activedescendant={at >= 0 ? `${id}-${at}` : undefined}
        aria-autocomplete="list"
        aria-label={t("switcher.placeholder")}
        placeholder={t("switcher.placeholder")}
        autocomplete="off"
        spellcheck={false}
        autofocus
        value={words}
        onInput={(event) => {
          setWords(event.currentTarget.value);
          setChosen(0);
        }}
        onKeyDown={(event) => {
          if (event.isComposing) return;
          if (event.key === "ArrowDown") setChosen((at + 1) % Math.max(rows.length, 1));
          else if (event.key === "ArrowUp") setChosen((at + rows.length - 1) % Math.max(rows.length, 1));
          else if (event.key === "Enter") open(rows[at]);
          else return;
          event.preventDefault();
        }}
      />
      <div class="switcher-list" id={`${id}-list`} role="listbox" aria-label={t("switcher.title")} ref={list}>
        {rows.map((address, index) => (
          // biome-ignore lint/a11y/useKeyWithClickEvents: the field above has the keys
          // biome-ignore lint/a11y/useFocusableInteractive: the field keeps the focus and names the active option
          <div
            key={address}
            id={`${id}-${index}`}
            class="switcher-row"
            role="option"
            aria-selected={index === at}
            onClick={() => open(address)}
            onPointerMove={() => setChosen(index)}
          >
            <Avatar address={address} name={nameOf(address)} size={32} dot />
            <span class="row-text">
              <span class="row-name">{nameOf(address)}</span>
              <span class="row-preview">{describe(address)}</span>
            </span>
          </div>
        ))}
      </div>
      {rows.length === 0 && <p class="hint switcher-none">{typed ? t("switcher.none") : t("switcher.start")}</p>}
    </Dialog>
  );
}

function describe(address: string): string {
  const person = personOf(address);
  return person ? about(person) : address;
}
