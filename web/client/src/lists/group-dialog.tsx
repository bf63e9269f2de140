import type { ContactGroup } from "@parley-im/sdk";
import { useState } from "preact/hooks";
import { t } from "../i18n";
import { addGroup, renameGroup } from "../state/contacts";
import { Dialog } from "../ui/dialog";
import { attempt } from "../ui/failure";
import { Field } from "../ui/parts";

export type GroupTask =
  | { kind: "add" }
  | { kind: "rename"; group: ContactGroup }
  | { kind: "remove"; group: ContactGroup };

interface Props {
  task: Exclude<GroupTask, { kind: "remove" }>;
  onClose: () => void;
}

/** Asks for the name of a group. */
export function GroupDialog({ task, onClose }: Props) {
  const [name, setName] = useState(task.kind === "rename" ? task.group.name : "");
  const [busy, setBusy] = useState(false);
  const save = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    const done = await attempt(() =>
      task.kind === "add" ? addGroup(name.trim()) : renameGroup(task.group, name.trim()),
    );
    setBusy(false);
    if (done) onClose();
  };
  return (
    <Dialog title={task.kind === "add" ? t("contacts.add-group") : t("contacts.rename-group")} onClose={onClose}>
      <form class="form" onSubmit={save}>
        <Field label={t("contacts.group-name")}>
          {(ids) => (
            <input
              {...ids}
              class="input"
              required
              maxLength={100}
              autofocus
              value={name}
              onInput={(event) => setName(event.currentTarget.value)}
            />
          )}
        </Field>
        <footer class="dialog-foot">
          <button type="button" class="button" onClick={onClose}>
            {t("action.cancel")}
          </button>
          <button type="submit" class="button button-main" disabled={busy || !name.trim()}>
            {t("action.save")}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}
