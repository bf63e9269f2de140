import { useState } from "preact/hooks";
import { t } from "../i18n";
import { presenceOpen } from "../pages/presence-dialog";
import { signOutEverywhere } from "../state/life";
import { renewPush } from "../state/push";
import { me, sdk, setProfile } from "../state/session";
import { Avatar } from "../ui/avatar";
import { attempt } from "../ui/failure";
import { Icon } from "../ui/icon";
import { Field } from "../ui/parts";
import { toast } from "../ui/toast";

/** What the person may say of themselves, and the password. */
export function ProfilePage() {
  const own = me.value;
  if (!own) return null;
  const profile = own.profile;
  const job = [profile?.title, profile?.department].filter(Boolean).join(", ");
  return (
    <>
      <section class="card card-me">
        <Avatar address={own.address} name={own.name || own.address} size={72} />
        <div>
          <h2>{own.name || own.address}</h2>
          <p class="row-preview">{own.address}</p>
          {job && <p>{job}</p>}
          <p class="hint">{t("profile.by-admin")}</p>
        </div>
      </section>
      <section class="card">
        <h2>{t("profile.reach")}</h2>
        <ReachForm />
      </section>
      <section class="card">
        <h2>{t("password.title")}</h2>
        <PasswordForm />
      </section>
      <section class="card card-row">
        <button
          type="button"
          class="button"
          onClick={() => {
            presenceOpen.value = true;
          }}
        >
          <Icon name="clock" size={18} />
          {t("presence.title")}
        </button>
        <button type="button" class="button" onClick={() => void attempt(signOutEverywhere)}>
          <Icon name="signOut" size={18} />
          {t("action.sign-out")}
        </button>
      </section>
    </>
  );
}

function ReachForm() {
  const profile = me.value?.profile;
  const [office, setOffice] = useState(profile?.office ?? "");
  const [phone, setPhone] = useState(profile?.phone ?? "");
  const [mobile, setMobile] = useState(profile?.mobile ?? "");
  const [busy, setBusy] = useState(false);
  const save = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    const done = await attempt(async () => {
      const answer = await sdk().sessions.setOwnProfile({ office, phone, mobile });
      setProfile(answer.profile);
    });
    setBusy(false);
    if (done) toast(t("saved"));
  };
  const fields = [
    ["office", t("profile.office"), office, setOffice, "text"],
    ["phone", t("profile.phone"), phone, setPhone, "tel"],
    ["mobile", t("profile.mobile"), mobile, setMobile, "tel"],
  ] as const;
  return (
    <form class="form" onSubmit={save}>
      {fields.map(([name, label, value, put, mode]) => (
        <Field key={name} label={label}>
          {(ids) => (
            <input
              {...ids}
              class="input"
              inputMode={mode}
              maxLength={100}
              value={value}
              onInput={(event) => put(event.currentTarget.value)}
            />
          )}
        </Field>
      ))}
      <button type="submit" class="button button-main form-action" disabled={busy}>
        {t("action.save")}
      </button>
    </form>
  );
}

function PasswordForm() {
  const [old, setOld] = useState("");
  const [fresh, setFresh] = useState("");
  const [again, setAgain] = useState("");
  const [busy, setBusy] = useState(false);
  const differ = again !== "" && again !== fresh;
  const save = async (event: Event) => {
    event.preventDefault();
    if (differ) return;
    setBusy(true);
    const done = await attempt(() => sdk().sessions.changePassword({ oldPassword: old, newPassword: fresh }));
    setBusy(false);
    if (!done) return;
    setOld("");
    setFresh("");
    setAgain("");
    toast(t("password.done"));
    renewPush().catch(() => {}); // the settings show that it is off
  };
  return (
    <form class="form" onSubmit={save}>
      <p class="hint">{t("password.text")}</p>
      <input
        class="unseen"
        name="username"
        autocomplete="username"
        value={me.value?.address}
        readOnly
        tabIndex={-1}
        aria-hidden="true"
      />
      <Field label={t("password.old")}>
        {(ids) => (
          <input
            {...ids}
            class="input"
            type="password"
            autocomplete="current-password"
            required
            value={old}
            onInput={(event) => setOld(event.currentTarget.value)}
          />
        )}
      </Field>
      <Field label={t("password.new")}>
        {(ids) => (
          <input
            {...ids}
            class="input"
            type="password"
            autocomplete="new-password"
            required
            minLength={8}
            value={fresh}
            onInput={(event) => setFresh(event.currentTarget.value)}
          />
        )}
      </Field>
      <Field label={t("password.again")} hint={differ ? t("password.differ") : undefined}>
        {(ids) => (
          <input
            {...ids}
            class="input"
            type="password"
            autocomplete="new-password"
            required
            aria-invalid={differ}
            value={again}
            onInput={(event) => setAgain(event.currentTarget.value)}
          />
        )}
      </Field>
      <button type="submit" class="button button-main form-action" disabled={busy || differ}>
        {t("password.action")}
      </button>
    </form>
  );
}
