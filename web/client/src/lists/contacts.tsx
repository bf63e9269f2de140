import type { Contact } from "@parley-im/sdk";
import { signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { locale, t } from "../i18n";
import { AddPeople } from "../pages/add-people";
import { EditContact } from "../pages/edit-contact";
import {
  changeContact,
  contacts,
  contactsState,
  groups,
  loadContacts,
  moved,
  moveGroup,
  type Place,
  removeContact,
  removeGroup,
} from "../state/contacts";
import { nameOf, userOf, wantName } from "../state/people";
import { availabilityOf, noteOf, presenceOf } from "../state/presence";
import { route, talkPath } from "../state/router";
import { Avatar } from "../ui/avatar";
import { Confirm } from "../ui/dialog";
import { stateText } from "../ui/dot";
import { attempt } from "../ui/failure";
import { until } from "../ui/format";
import { Icon } from "../ui/icon";
import { memo } from "../ui/memo";
import { Menu } from "../ui/menu";
import { Empty, Failed, SkeletonRows } from "../ui/parts";
import { announce } from "../ui/toast";
import { GroupDialog, type GroupTask } from "./group-dialog";
import { rowKeys } from "./rows";

interface Section {
  key: string;
  title: string;
  people: Contact[];
  place: Place;
}

/** The contact that is dragged, and the section from which. */
const dragged = signal<{ contact: Contact; from: Place } | undefined>(undefined);
/** How many groups the menu of a contact offers; the dialog has all. */
const offered = 8;

/** Favourites first, then the groups, then everybody who is in none. */
function sections(words: string): Section[] {
  const wanted = words.trim().toLocaleLowerCase();
  const fits = (one: Contact) =>
    !wanted || `${nameOf(one.address)} ${one.address}`.toLocaleLowerCase().includes(wanted);
  const { compare } = new Intl.Collator(locale.value);
  const all = contacts.value
    .filter(fits)
    .map((contact) => ({ contact, name: nameOf(contact.address) }))
    .sort((a, b) => compare(a.name, b.name))
    .map(({ contact }) => contact);
  const out: Section[] = [
    {
      key: "favourites",
      title: t("contacts.favourites"),
      people: all.filter((one) => one.favourite),
      place: "favourites",
    },
    ...groups.value.map((group) => ({
      key: String(group.id),
      title: group.name,
      place: group.id,
      people: all.filter((one) => one.groups.includes(group.id)),
    })),
    {
      key: "others",
      title: groups.value.length > 0 || all.some((one) => one.favourite) ? t("contacts.others") : t("contacts.all"),
      people: all.filter((one) => !one.favourite && one.groups.length === 0),
      place: "others",
    },
  ];
  const target = (place: Place) => typeof place === "bigint" || (place === "others" && dragged.value !== undefined);
  return out.filter((one) => one.people.length > 0 || (target(one.place) && !wanted));
}

type Task =
  | { kind: "add" }
  | { kind: "edit"; contact: Contact }
  | { kind: "remove"; contact: Contact }
  | { kind: "group"; task: GroupTask }
  | undefined;

export function ContactList() {
  const [words, setWords] = useState("");
  const [task, setTask] = useState<Task>();
  const state = contactsState.value;
  const none = contacts.value.length === 0 && groups.value.length === 0;
  const shown = sections(words);
  return (
    <>
      <header class="list-head">
        <h1 tabIndex={-1}>{t("nav.contacts")}</h1>
        <button
          type="button"
          class="icon-button"
          aria-label={t("contacts.add-group")}
          title={t("contacts.add-group")}
          onClick={() => setTask({ kind: "group", task: { kind: "add" } })}
        >
          <Icon name="folderAdd" />
        </button>
        <button
          type="button"
          class="icon-button"
          aria-label={t("contacts.add")}
          title={t("contacts.add")}
          onClick={() => setTask({ kind: "add" })}
        >
          <Icon name="personAdd" />
        </button>
      </header>
      {!none && (
        <div class="list-filter">
          <Icon name="search" size={18} />
          <input
            type="search"
            class="input"
            placeholder={t("contacts.filter")}
            aria-label={t("contacts.filter")}
            value={words}
            onInput={(event) => setWords(event.currentTarget.value)}
          />
        </div>
      )}
      {/* biome-ignore lint/a11y/noStaticElementInteractions: arrow keys only move the focus between the links inside */}
      <div class="list-body" onKeyDown={rowKeys}>
        {none && state === "loading" && <SkeletonRows />}
        {none && state === "failed" && <Failed onRetry={() => void loadContacts().catch(() => {})} />}
        {none && state === "ready" && (
          <Empty icon="group" title={t("contacts.empty.title")} text={t("contacts.empty.text")}>
            <button type="button" class="button button-main" onClick={() => setTask({ kind: "add" })}>
              {t("contacts.add")}
            </button>
          </Empty>
        )}
        {!none && shown.length === 0 && <Empty icon="search" title={t("contacts.nobody")} />}
        {shown.map((section) => (
          <ContactSection key={section.key} section={section} onTask={setTask} />
        ))}
      </div>
      <Tasks task={task} onDone={() => setTask(undefined)} />
    </>
  );
}

/** What is folded stays so while the page is open. */
const folded = signal<ReadonlySet<string>>(new Set());

function fold(key: string): void {
  const next = new Set(folded.peek());
  if (!next.delete(key)) next.add(key);
  folded.value = next;
}

function ContactSection({ section, onTask }: { section: Section; onTask: (task: Task) => void }) {
  const group = groups.value.find((one) => one.id === section.place);
  const [over, setOver] = useState(false);
  const takes = () => dragged.value !== undefined && dragged.value.from !== section.place;
  const open = !folded.value.has(section.key);
  return (
    <section
      class={over && takes() ? "section section-over" : "section"}
      data-section={section.key}
      aria-label={section.title}
      onDragOver={(event) => {
        if (!takes()) return;
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={(event) => {
        if (!(event.relatedTarget instanceof Node && event.currentTarget.contains(event.relatedTarget))) setOver(false);
      }}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        const what = dragged.peek();
        if (what) void move(what.contact, what.from, section);
      }}
    >
      <div class="section-head">
        <h2>
          <button type="button" class="section-fold" aria-expanded={open} onClick={() => fold(section.key)}>
            <Icon name="chevron" size={16} />
            <span class="section-name">{section.title}</span>
            <span class="section-count">{section.people.length}</span>
          </button>
        </h2>
        {group && (
          <Menu
            label={t("contacts.group-menu", { name: group.name })}
            class="icon-button icon-small"
            items={[
              {
                label: t("contacts.group-up"),
                icon: "arrowUp",
                disabled: group === groups.value[0],
                onSelect: () => void attempt(() => moveGroup(group, -1)),
              },
              {
                label: t("contacts.group-down"),
                icon: "arrowDown",
                disabled: group === groups.value.at(-1),
                onSelect: () => void attempt(() => moveGroup(group, 1)),
              },
              "line",
              {
                label: t("action.rename"),
                icon: "edit",
                onSelect: () => onTask({ kind: "group", task: { kind: "rename", group } }),
              },
              {
                label: t("contacts.remove-group"),
                icon: "trash",
                danger: true,
                onSelect: () => onTask({ kind: "group", task: { kind: "remove", group } }),
              },
            ]}
          />
        )}
      </div>
      {open && section.people.length === 0 && <p class="section-empty">{t("contacts.group-empty")}</p>}
      {open && (
        <ul class="rows">
          {section.people.map((contact) => (
            <ContactRow key={String(contact.id)} contact={contact} place={section.place} onTask={onTask} />
          ))}
        </ul>
      )}
    </section>
  );
}

/** Puts a contact from one section into another, and says so. */
async function move(contact: Contact, from: Place, to: Pick<Section, "key" | "title" | "place">): Promise<void> {
  const change = moved(contact, from, to.place);
  if (!change || !(await attempt(() => changeContact(contact, change)))) return;
  announce(t("contacts.moved", { name: nameOf(contact.address), group: to.title }));
  requestAnimationFrame(() => {
    const row = `[data-section="${to.key}"] a[href="${CSS.escape(talkPath(contact.address))}"]`;
    document.querySelector<HTMLElement>(row)?.focus();
  });
}

/** By keyboard: to the section before or behind. */
function moveBy(event: KeyboardEvent, contact: Contact, from: Place): void {
  if (!event.altKey || !event.shiftKey || (event.key !== "ArrowDown" && event.key !== "ArrowUp")) return;
  event.preventDefault();
  event.stopPropagation();
  const all = places();
  const at = all.findIndex((one) => one.place === from);
  const next = all[at + (event.key === "ArrowDown" ? 1 : -1)];
  if (next) void move(contact, from, next);
}

/** Where a contact can be moved to. */
function places(): Pick<Section, "key" | "title" | "place">[] {
  return [
    { key: "favourites", title: t("contacts.favourites"), place: "favourites" },
    ...groups.value.map((group) => ({ key: String(group.id), title: group.name, place: group.id })),
    { key: "others", title: t("contacts.others"), place: "others" },
  ];
}

/** What a contact's row says under the name: the note, else the state and until when. */
function stateLine(address: string): string {
  const state = stateText(availabilityOf(address));
  const note = noteOf(address);
  const end = presenceOf(address)?.until;
  const timed = state && end ? t("presence.until", { state, time: until(end) }) : state;
  return note ? (timed ? `${timed} · ${note}` : note) : timed;
}

interface RowProps {
  contact: Contact;
  place: Place;
  onTask: (task: Task) => void;
}

const ContactRow = memo(function ContactRow({ contact, place, onTask }: RowProps) {
  const name = nameOf(contact.address);
  useEffect(() => {
    if (!contact.name && name === userOf(contact.address)) wantName(contact.address);
  }, [contact.address]);
  const now = route.value;
  const current = now.page === "talk" && now.peer === contact.address;
  const targets = places()
    .filter(
      (to) => to.place !== place && to.place !== "favourites" && (to.place !== "others" || place !== "favourites"),
    )
    .slice(0, offered);
  return (
    <li class="row-frame">
      <a
        class="row row-small"
        href={talkPath(contact.address)}
        aria-current={current ? "page" : undefined}
        aria-keyshortcuts="Alt+Shift+ArrowDown Alt+Shift+ArrowUp"
        onKeyDown={(event) => moveBy(event, contact, place)}
        onDragStart={(event) => {
          event.dataTransfer?.setData("text/plain", name);
          // The list may change for it, but not before the browser has drawn what is dragged.
          requestAnimationFrame(() => {
            dragged.value = { contact, from: place };
          });
        }}
        onDragEnd={() => {
          dragged.value = undefined;
        }}
      >
        <Avatar address={contact.address} name={name} size={40} dot />
        <span class="row-text">
          <span class="row-name">{name}</span>
          <span class="row-preview">{stateLine(contact.address) || contact.address}</span>
        </span>
      </a>
      <Menu
        label={t("contacts.menu", { name })}
        class="icon-button icon-small row-menu"
        items={[
          {
            label: contact.favourite ? t("contacts.no-favourite") : t("contacts.favourite"),
            icon: "star",
            onSelect: () => void attempt(() => changeContact(contact, { favourite: !contact.favourite })),
          },
          { label: t("contacts.edit"), icon: "edit", onSelect: () => onTask({ kind: "edit", contact }) },
          "line",
          ...targets.map((to) => ({
            label: t("contacts.move-to", { group: to.title }),
            icon: "folder" as const,
            onSelect: () => void move(contact, place, to),
          })),
          ...(targets.length > 0 ? (["line"] as const) : []),
          {
            label: t("contacts.remove"),
            icon: "trash",
            danger: true,
            onSelect: () => onTask({ kind: "remove", contact }),
          },
        ]}
      />
    </li>
  );
});

function Tasks({ task, onDone }: { task: Task; onDone: () => void }) {
  switch (task?.kind) {
    case "add":
      return <AddPeople onClose={onDone} />;
    case "edit":
      return <EditContact contact={task.contact} onClose={onDone} />;
    case "remove":
      return (
        <Confirm
          title={t("contacts.remove")}
          text={t("contacts.remove-text", { name: nameOf(task.contact.address) })}
          action={t("action.remove")}
          onConfirm={() => void attempt(() => removeContact(task.contact))}
          onClose={onDone}
        />
      );
    case "group": {
      const { task: what } = task;
      if (what.kind !== "remove") return <GroupDialog task={what} onClose={onDone} />;
      return (
        <Confirm
          title={t("contacts.remove-group")}
          text={t("contacts.remove-group-text", { name: what.group.name })}
          action={t("action.remove")}
          onConfirm={() => void attempt(() => removeGroup(what.group))}
          onClose={onDone}
        />
      );
    }
    default:
      return null;
  }
}
