import type { Contact } from "@parley-im/sdk";
import { useState } from "preact/hooks";
import { t } from "../i18n";
import { addGroup, changeContact, groups } from "../state/contacts";
import { Dialog } from "../ui/dialog";
import { attempt } from "../ui/failure";
import { Field, Switch } from "../ui/parts";

/** Changes what the person calls a contact, notes of them, and where they are in the list. */
export function EditContact({ contact, onClose }: { contact: Contact; onClose: () => void }) {
  const [name, setName] = useState(contact.name);
  const [note, setNote] = useState(contact.note);
  const [favourite, setFavourite] = useState(contact.favourite);
  const [chosen, setChosen] = useState<readonly bigint[]>(contact.groups);
  const [fresh, setFresh] = useState("");
  const [busy, setBusy] = useState(false);

  const save = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    const done = await attempt(async () => {
      const made = fresh.trim() ? await addGroup(fresh.trim()) : undefined;
      const ids = made ? [...chosen, made.id] : [...chosen];
      await changeContact(contact, { name: name.trim(), note: note.trim(), favourite, groups: ids });
    });
    setBusy(false);
    if (done) onClose();
  };

  return (
    <Dialog title={t("contacts.edit")} onClose={onClose}>
      <form class="form" onSubmit={save}>
        <Field label={t("contacts.name")} hint={t("contacts.name-hint")}>
          {(ids) => (
            <input
              {...ids}
              class="input"
              maxLength={64}
              autofocus
              value={name}
              onInput={(event) => setName(event.currentTarget.value)}
            />
          )}
        </Field>
        <Field label={t("contacts.note")} hint={t("contacts.note-hint")}>
          {(ids) => (
            <textarea
              {...ids}
              class="input"
              rows={3}
              maxLength={250}
              value={note}
              onInput={(event) => setNote(event.currentTarget.value)}
            />
          )}
        </Field>
        <fieldset class="checks">
          <legend>{t("contacts.groups")}</legend>
          {groups.value.map((group) => (
            <label key={String(group.id)} class="check">
              <input
                type="checkbox"
                checked={chosen.includes(group.id)}
                onChange={(event) =>
                  setChosen(
                    event.currentTarget.checked ? [...chosen, group.id] : chosen.filter((id) => id !== group.id),
                  )
                }
              />
              <span>{group.name}</span>
            </label>
          ))}
          <input
            class="input"
            aria-label={t("contacts.new-group")}
            placeholder={t("contacts.new-group")}
            maxLength={64}
            value={fresh}
            onInput={(event) => setFresh(event.currentTarget.value)}
          />
        </fieldset>
        <Switch label={t("contacts.favourite-short")} checked={favourite} onChange={setFavourite} />
        <footer class="dialog-foot">
          <button type="button" class="button" onClick={onClose}>
            {t("action.cancel")}
          </button>
          <button type="submit" class="button button-main" disabled={busy}>
            {t("action.save")}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}
