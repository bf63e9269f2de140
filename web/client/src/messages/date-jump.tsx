import { useState } from "preact/hooks";
import { t } from "../i18n";
import { Dialog } from "../ui/dialog";
import { Field } from "../ui/parts";

interface Props {
  onChoose: (day: Date) => void;
  onClose: () => void;
}

/** Asks for a day to go to. */
export function DateJump({ onChoose, onClose }: Props) {
  const [value, setValue] = useState("");
  return (
    <Dialog title={t("message.jump-date")} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          const day = new Date(`${value}T00:00:00`);
          if (!Number.isNaN(day.getTime())) onChoose(day);
        }}
      >
        <Field label={t("message.date")}>
          {(ids) => (
            <input
              {...ids}
              type="date"
              class="input"
              required
              max={new Date().toLocaleDateString("sv-SE")}
              value={value}
              onInput={(event) => setValue(event.currentTarget.value)}
            />
          )}
        </Field>
        <footer class="dialog-foot">
          <button type="submit" class="button button-main">
            {t("message.go")}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}
