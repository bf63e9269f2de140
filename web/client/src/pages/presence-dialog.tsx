import { signal } from "@preact/signals";
import { useState } from "preact/hooks";
import { t } from "../i18n";
import { said } from "../i18n/server";
import { signOutEverywhere } from "../state/life";
import { type Choice, choices, ownManual, ownState, setOwn } from "../state/presence";
import { me } from "../state/session";
import { Avatar } from "../ui/avatar";
import { Dialog } from "../ui/dialog";
import { Dot, stateText } from "../ui/dot";
import { attempt } from "../ui/failure";
import { date, until } from "../ui/format";
import { Icon } from "../ui/icon";
import { Field } from "../ui/parts";
import { announce } from "../ui/toast";

export const presenceOpen = signal(false);

/** When what is said by hand ends. */
export const ends = ["", "30", "60", "120", "evening", "tomorrow", "at"] as const;
export type End = (typeof ends)[number];

/** The moment of a choice; undefined: when it is changed. */
export function endOf(end: End, at: string, now = new Date()): Date | undefined {
  const clock = (hours: number, days = 0) => new Date(now.getFullYear(), now.getMonth(), now.getDate() + days, hours);
  switch (end) {
    case "":
      return undefined;
    case "evening":
      return clock(18) > now ? clock(18) : clock(23);
    case "tomorrow":
      return clock(8, 1);
    case "at":
      return at ? new Date(at) : undefined;
    default:
      return new Date(now.getTime() + Number(end) * 60_000);
  }
}

/** A moment as a datetime-local field has it. */
function local(at: Date): string {
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/** The full hour that comes next, but not within minutes. */
function nextHour(now: Date): Date {
  const soon = new Date(now.getTime() + 15 * 60_000);
  return new Date(soon.getFullYear(), soon.getMonth(), soon.getDate(), soon.getHours() + 1);
}

/** Says by hand how the person is, with a note and an end: "do not disturb until", "back at". */
export function PresenceDialog() {
  const manual = ownManual.value;
  const now = ownState.value;
  const own = me.value;
  const [choice, setChoice] = useState<Choice>((manual?.availability ?? "") as Choice);
  const [note, setNote] = useState(manual?.note ?? "");
  const [end, setEnd] = useState<End>(manual?.until ? "at" : "");
  const [at, setAt] = useState(manual?.until ? local(date(manual.until)) : "");
  const [busy, setBusy] = useState(false);
  const close = () => {
    presenceOpen.value = false;
  };
  const chooseEnd = (next: End) => {
    setEnd(next);
    if (next === "at" && !at) setAt(local(nextHour(new Date())));
  };
  const save = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    const done = await attempt(() => setOwn(choice, note.trim(), endOf(end, at)), "error.end");
    setBusy(false);
    if (!done) return;
    announce(t("presence.set", { state: stateText(ownState.peek()?.availability ?? "") }));
    close();
  };
  const timed = choice !== "" || note.trim() !== "";
  return (
    <Dialog title={t("presence.title")} onClose={close}>
      <form class="form" onSubmit={save}>
        {own && (
          <div class="presence-me">
            <Avatar address={own.address} name={own.name || own.address} size={48} dot />
            <div>
              <p class="row-name">{own.name || own.address}</p>
              <p class="row-preview">
                {now
                  ? now.until
                    ? t("presence.until", { state: stateText(now.availability), time: until(now.until) })
                    : stateText(now.availability)
                  : own.address}
                {now?.reason && ` · ${said(now.reason)}`}
              </p>
            </div>
          </div>
        )}
        <fieldset class="states">
          <legend class="unseen">{t("presence.title")}</legend>
          {choices.map((one) => (
            <label key={one} class="state">
              <input
                type="radio"
                name="state"
                value={one}
                checked={one === choice}
                autofocus={one === choice}
                onChange={() => setChoice(one)}
              />
              <span class="state-face">
                {one === "" ? <Icon name="device" size={16} /> : <Dot state={one} />}
                <span>
                  {one === ""
                    ? t("presence.automatic")
                    : one === "offline"
                      ? t("presence.appear-offline")
                      : stateText(one)}
                </span>
              </span>
            </label>
          ))}
        </fieldset>
        <Field label={t("presence.note")}>
          {(ids) => (
            <input
              {...ids}
              class="input"
              maxLength={250}
              placeholder={t("presence.note-example")}
              value={note}
              onInput={(event) => setNote(event.currentTarget.value)}
            />
          )}
        </Field>
        {timed && (
          <Field label={choice === "brb" || choice === "away" ? t("presence.back-at") : t("presence.ends")}>
            {(ids) => (
              <select
                {...ids}
                class="input"
                value={end}
                onChange={(event) => chooseEnd(event.currentTarget.value as End)}
              >
                <option value="">{t("presence.end.never")}</option>
                <option value="30">{t("presence.end.30")}</option>
                <option value="60">{t("presence.end.60")}</option>
                <option value="120">{t("presence.end.120")}</option>
                <option value="evening">{until(endOf("evening", "") ?? new Date())}</option>
                <option value="tomorrow">
                  {t("presence.end.tomorrow", { time: until(endOf("tomorrow", "") ?? new Date()) })}
                </option>
                <option value="at">{t("presence.end.at")}</option>
              </select>
            )}
          </Field>
        )}
        {timed && end === "at" && (
          <Field label={t("presence.end.time")}>
            {(ids) => (
              <input
                {...ids}
                class="input"
                type="datetime-local"
                required
                min={local(new Date())}
                value={at}
                onInput={(event) => setAt(event.currentTarget.value)}
              />
            )}
          </Field>
        )}
        <footer class="dialog-foot">
          <button
            type="button"
            class="button button-plain dialog-foot-start"
            onClick={() => void attempt(signOutEverywhere).then(close)}
          >
            <Icon name="signOut" size={18} />
            {t("action.sign-out")}
          </button>
          <button type="button" class="button" onClick={close}>
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
