import { ParleyError } from "@parley-im/sdk";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { t } from "../i18n";
import { said } from "../i18n/server";
import { endedBecause, signIn } from "../state/session";
import { Avatar } from "../ui/avatar";
import { failureText } from "../ui/failure";
import { Icon } from "../ui/icon";
import { Logo } from "../ui/logo";
import { Field } from "../ui/parts";

interface Demo {
  password: string; // of all of them
  people: { address: string; name: string; title: string }[];
}

/** The name that one of the demo's people has in addresses of pages. */
const ownHost = (address: string) => `${address.split("@")[0]}.localhost`;

/** Each of the demo's people has a window of one's own: all names under localhost are this machine (RFC 6761 §6.3), and browsers
 * keep a sign-in for each name. Safari does not know these names. */
const windows = () => location.hostname === "localhost" && /(Chrome|Firefox)\//.test(navigator.userAgent);

/** A server that is a demonstration says who may be tried. */
async function askDemo(): Promise<Demo | undefined> {
  const answer = await fetch("/demo.json", { headers: { Accept: "application/json" } });
  if (!answer.ok || !answer.headers.get("content-type")?.startsWith("application/json")) return undefined;
  return answer.json() as Promise<Demo>;
}

export function SignIn() {
  const [address, setAddress] = useState("");
  const [password, setPassword] = useState("");
  const [failure, setFailure] = useState("");
  const [busy, setBusy] = useState(false);
  const [demo, setDemo] = useState<Demo>();
  const secret = useRef<HTMLInputElement>(null);

  useEffect(() => {
    askDemo().then(setDemo, () => {}); // then it is no demo
  }, []);
  useLayoutEffect(() => {
    if (failure) secret.current?.select();
  }, [failure]);

  const enter = async (who: string, word: string) => {
    setBusy(true);
    setFailure("");
    try {
      await signIn(who.trim(), word);
    } catch (reason) {
      setBusy(false);
      setFailure(explain(reason));
    }
  };
  // The window of one of the demo's people.
  useEffect(() => {
    const self = demo?.people.find((one) => ownHost(one.address) === location.hostname);
    if (!demo || !self || location.hash !== "#demo") return;
    history.replaceState(null, "", location.pathname);
    void enter(self.address, demo.password);
  }, [demo]);
  const why = endedBecause.value;

  return (
    <main class="sign-in">
      <div class="sign-in-card">
        <header class="sign-in-head">
          <Logo size={48} />
          <h1>{t("sign-in.title")}</h1>
          <p>{t("sign-in.text")}</p>
        </header>
        {why && !failure && (
          <p class="note note-warn" role="status">
            <Icon name="info" size={18} />
            <span>{t("sign-in.ended", { reason: said(why) })}</span>
          </p>
        )}
        {failure && (
          <p class="note note-danger" role="alert">
            <Icon name="warning" size={18} />
            <span>{failure}</span>
          </p>
        )}
        <form
          class="form"
          onSubmit={(event) => {
            event.preventDefault();
            void enter(address, password);
          }}
        >
          <Field label={t("sign-in.address")}>
            {(ids) => (
              <input
                {...ids}
                class="input"
                name="username"
                autocomplete="username"
                autocapitalize="none"
                spellcheck={false}
                inputMode="email"
                placeholder={t("sign-in.address-example")}
                required
                autofocus
                value={address}
                onInput={(event) => setAddress(event.currentTarget.value)}
              />
            )}
          </Field>
          <Field label={t("sign-in.password")}>
            {(ids) => (
              <input
                {...ids}
                class="input"
                type="password"
                ref={secret}
                name="password"
                autocomplete="current-password"
                required
                value={password}
                onInput={(event) => setPassword(event.currentTarget.value)}
              />
            )}
          </Field>
          <button type="submit" class="button button-main button-wide" disabled={busy} aria-busy={busy}>
            {busy ? t("sign-in.busy") : t("sign-in.action")}
          </button>
        </form>
        {demo && demo.people.length > 0 && (
          <section class="demo" aria-labelledby="demo-title">
            <h2 id="demo-title">{t("sign-in.demo")}</h2>
            <p class="hint">{t(windows() ? "sign-in.demo-windows" : "sign-in.demo-text")}</p>
            <ul class="demo-people">
              {demo.people.map((person) => (
                <li key={person.address}>
                  <DemoPerson person={person} busy={busy} onEnter={() => void enter(person.address, demo.password)} />
                </li>
              ))}
            </ul>
          </section>
        )}
      </div>
    </main>
  );
}

function DemoPerson({ person, busy, onEnter }: { person: Demo["people"][number]; busy: boolean; onEnter: () => void }) {
  const content = (
    <>
      <Avatar address={person.address} name={person.name} size={40} />
      <span>
        <span class="row-name">{person.name}</span>
        <span class="row-preview">{person.title || person.address}</span>
      </span>
    </>
  );
  const host = ownHost(person.address);
  return windows() ? (
    <a class="demo-person" href={`${location.protocol}//${host}:${location.port}/#demo`} target={host}>
      {content}
    </a>
  ) : (
    <button type="button" class="demo-person" disabled={busy} onClick={onEnter}>
      {content}
    </button>
  );
}

function explain(reason: unknown): string {
  if (reason instanceof ParleyError && reason.code === "unauthenticated") return t("sign-in.wrong");
  return failureText(reason, "sign-in.wrong");
}
