import type { Person } from "@parley-im/sdk";
import { useEffect, useState } from "preact/hooks";
import { t } from "../i18n";
import { about } from "../lists/search";
import { addContact, contactOf, groups } from "../state/contacts";
import { findPeople } from "../state/people";
import { ownAddress } from "../state/session";
import { Avatar } from "../ui/avatar";
import { Dialog } from "../ui/dialog";
import { attempt, failureText } from "../ui/failure";
import { Icon } from "../ui/icon";
import { Field } from "../ui/parts";
import { announce } from "../ui/toast";

/** Finds people in the directory by name, title or department, and puts them into the list of contacts. */
export function AddPeople({ onClose }: { onClose: () => void }) {
  const [words, setWords] = useState("");
  const [found, setFound] = useState<Person[]>([]);
  const [state, setState] = useState<"idle" | "busy" | "done">("idle");
  const [failure, setFailure] = useState("");
  const [group, setGroup] = useState("");
  const wanted = words.trim();

  useEffect(() => {
    const stop = new AbortController();
    setState("busy");
    const timer = setTimeout(() => {
      findPeople(wanted, 30, stop.signal).then(
        (people) => {
          setFound(people.filter((person) => person.address !== ownAddress()));
          setState("done");
          setFailure("");
        },
        (error: unknown) => {
          if (stop.signal.aborted) return;
          setState("done");
          setFailure(failureText(error));
        },
      );
    }, 200);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [wanted]);

  const outside =
    /^(sips?:|tel:)?[^\s@]+@[^\s@]+$|^tel:\+?[\d-]+$/.test(wanted) && !found.some((p) => p.address === wanted);
  const add = (address: string, name: string) =>
    attempt(() => addContact(address, "", group ? BigInt(group) : undefined), "error.address").then((done) => {
      if (done) announce(t("contacts.added", { name }));
    });

  return (
    <Dialog title={t("contacts.add")} onClose={onClose} class="add-people">
      <Field label={t("contacts.find")} hint={t("contacts.find-hint")}>
        {(ids) => (
          <input
            {...ids}
            class="input"
            type="search"
            autocomplete="off"
            spellcheck={false}
            autofocus
            value={words}
            onInput={(event) => setWords(event.currentTarget.value)}
          />
        )}
      </Field>
      {groups.value.length > 0 && (
        <Field label={t("contacts.into-group")}>
          {(ids) => (
            <select {...ids} class="input" value={group} onChange={(event) => setGroup(event.currentTarget.value)}>
              <option value="">{t("contacts.no-group")}</option>
              {groups.value.map((one) => (
                <option key={String(one.id)} value={String(one.id)}>
                  {one.name}
                </option>
              ))}
            </select>
          )}
        </Field>
      )}
      {failure && <p class="note note-danger">{failure}</p>}
      <ul class="people" aria-busy={state === "busy"} aria-label={t("search.people")}>
        {found.map((person) => (
          <PersonRow key={person.address} person={person} onAdd={() => add(person.address, person.name)} />
        ))}
        {outside && (
          <PersonRow person={{ address: wanted, name: wanted } as Person} onAdd={() => add(wanted, wanted)} />
        )}
      </ul>
      {state === "done" && found.length === 0 && !outside && !failure && <p class="hint">{t("contacts.nobody")}</p>}
    </Dialog>
  );
}

function PersonRow({ person, onAdd }: { person: Person; onAdd: () => Promise<void> }) {
  const [busy, setBusy] = useState(false);
  const there = contactOf(person.address) !== undefined;
  const name = person.name || person.address;
  return (
    <li class="person">
      <Avatar address={person.address} name={name} size={40} />
      <span class="row-text">
        <span class="row-name">{name}</span>
        <span class="row-preview">{about(person)}</span>
      </span>
      {there ? (
        <span class="person-there">
          <Icon name="check" size={16} />
          {t("contacts.there")}
        </span>
      ) : (
        <button
          type="button"
          class="button button-small"
          disabled={busy}
          aria-label={t("contacts.add-named", { name })}
          onClick={() => {
            setBusy(true);
            void onAdd().then(() => setBusy(false));
          }}
        >
          {t("action.add")}
        </button>
      )}
    </li>
  );
}
