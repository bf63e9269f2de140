import type { Contact } from "@parley-im/sdk";
import { signal } from "@preact/signals";
import { useState } from "preact/hooks";
import { locale, t } from "../i18n";
import { AddPeople } from "../pages/add-people";
import { EditContact } from "../pages/edit-contact";
import {
  changeContact,
  contacts,
  contactsState,
  groups,
  loadContacts,
  removeContact,
  removeGroup,
} from "../state/contacts";
import { nameOf } from "../state/people";
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
import { GroupDialog, type GroupTask } from "./group-dialog";
import { rowKeys } from "./rows";

interface Section {
  key: string;
  title: string;
  people: Contact[];
  group?: bigint;
}

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
    { key: "favourites", title: t("contacts.favourites"), people: all.filter((one) => one.favourite) },
    ...groups.value.map((group) => ({
      key: String(group.id),
      title: group.name,
      group: group.id,
      people: all.filter((one) => one.groups.includes(group.id)),
    })),
    {
      key: "others",
      title: groups.value.length > 0 || all.some((one) => one.favourite) ? t("contacts.others") : t("contacts.all"),
      people: all.filter((one) => !one.favourite && one.groups.length === 0),
    },
  ];
  return out.filter((one) => one.people.length > 0 || (one.group !== undefined && !wanted));
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
          <Icon name="group" />
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
  const group = groups.value.find((one) => one.id === section.group);
  const open = !folded.value.has(section.key);
  return (
    <section class="section">
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
            <ContactRow key={String(contact.id)} contact={contact} onTask={onTask} />
          ))}
        </ul>
      )}
    </section>
  );
}

/** What a contact's row says under the name: the note, else the state and until when. */
function stateLine(address: string): string {
  const state = stateText(availabilityOf(address));
  const note = noteOf(address);
  const end = presenceOf(address)?.until;
  const timed = state && end ? t("presence.until", { state, time: until(end) }) : state;
  return note ? (timed ? `${timed} · ${note}` : note) : timed;
}

const ContactRow = memo(function ContactRow({ contact, onTask }: { contact: Contact; onTask: (task: Task) => void }) {
  const name = nameOf(contact.address);
  const now = route.value;
  const current = now.page === "talk" && now.peer === contact.address;
  return (
    <li class="row-frame">
      <a class="row row-small" href={talkPath(contact.address)} aria-current={current ? "page" : undefined}>
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
