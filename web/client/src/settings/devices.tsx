import type { MakeDevicePasswordResponse, OwnDevice } from "@parley-im/sdk";
import { useEffect, useState } from "preact/hooks";
import { t } from "../i18n";
import { sdk } from "../state/session";
import { Confirm } from "../ui/dialog";
import { attempt } from "../ui/failure";
import { full, short } from "../ui/format";
import { Icon } from "../ui/icon";
import { Failed, Field, SkeletonRows } from "../ui/parts";
import { toast } from "../ui/toast";

const kinds = ["session", "sip", "password"] as const;
type Kind = (typeof kinds)[number];

/** Everything that is signed in as the person, and passwords for SIP devices. */
export function Devices() {
  const [devices, setDevices] = useState<OwnDevice[]>();
  const [failed, setFailed] = useState(false);
  const [leaving, setLeaving] = useState<OwnDevice>();
  const load = async () => {
    setFailed(false);
    try {
      setDevices((await sdk().devices.listOwnDevices({})).devices);
    } catch {
      setFailed(true);
    }
  };
  useEffect(() => {
    void load();
  }, []);
  const revoke = async (device: OwnDevice) => {
    if (await attempt(() => sdk().devices.revokeDevice({ kind: device.kind, id: device.id })))
      toast(t("devices.revoked"));
    await load();
  };
  const titles: Record<Kind, string> = {
    session: t("devices.sessions"),
    sip: t("devices.sip"),
    password: t("devices.passwords"),
  };
  return (
    <>
      {!devices && !failed && <SkeletonRows rows={3} />}
      {failed && <Failed onRetry={() => void load()} />}
      {devices &&
        kinds.map((kind) => {
          const some = devices.filter((device) => device.kind === kind);
          if (some.length === 0) return null;
          return (
            <section class="card" key={kind}>
              <h2>{titles[kind]}</h2>
              <ul class="device-list">
                {some.map((device) => (
                  <DeviceRow key={device.id} device={device} onRevoke={() => setLeaving(device)} />
                ))}
              </ul>
            </section>
          );
        })}
      <section class="card">
        <h2>{t("devices.make")}</h2>
        <MakePassword onMade={() => void load()} />
      </section>
      {leaving && (
        <Confirm
          title={t("devices.revoke")}
          text={t("devices.revoke-text", { name: leaving.label || t("device.other") })}
          action={t("devices.revoke")}
          onConfirm={() => void revoke(leaving)}
          onClose={() => setLeaving(undefined)}
        />
      )}
    </>
  );
}

function DeviceRow({ device, onRevoke }: { device: OwnDevice; onRevoke: () => void }) {
  const facts = [
    device.current ? t("devices.this") : device.online ? t("devices.online") : "",
    device.seen && !device.online && !device.current ? t("devices.seen", { time: short(device.seen) }) : "",
    device.address,
    device.kind === "session" ? "" : device.transport.toUpperCase(),
  ].filter(Boolean);
  return (
    <li class="device">
      <Icon name={device.kind === "password" ? "key" : device.kind === "sip" ? "phone" : "device"} />
      <span class="row-text">
        <span class="row-name">{device.label || t("device.other")}</span>
        <span class="row-preview" title={device.created ? full(device.created) : ""}>
          {facts.join(" · ")}
        </span>
      </span>
      {!device.current && (
        <button
          type="button"
          class="button button-small"
          aria-label={t("devices.revoke-named", { name: device.label })}
          onClick={onRevoke}
        >
          {t("devices.revoke")}
        </button>
      )}
    </li>
  );
}

function MakePassword({ onMade }: { onMade: () => void }) {
  const [label, setLabel] = useState("");
  const [made, setMade] = useState<MakeDevicePasswordResponse>();
  const [busy, setBusy] = useState(false);
  const make = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    const done = await attempt(async () => setMade(await sdk().devices.makeDevicePassword({ label: label.trim() })));
    setBusy(false);
    if (!done) return;
    setLabel("");
    onMade();
  };
  if (made) return <Made made={made} onDone={() => setMade(undefined)} />;
  return (
    <form class="form" onSubmit={make}>
      <p class="hint">{t("devices.make-text")}</p>
      <div class="form-line">
        <Field label={t("devices.label")}>
          {(ids) => (
            <input
              {...ids}
              class="input"
              required
              maxLength={100}
              placeholder={t("devices.label-example")}
              value={label}
              onInput={(event) => setLabel(event.currentTarget.value)}
            />
          )}
        </Field>
        <button type="submit" class="button button-main" disabled={busy || !label.trim()}>
          {t("devices.make-action")}
        </button>
      </div>
    </form>
  );
}

/** What to type into the SIP client. The password is shown this once. */
function Made({ made, onDone }: { made: MakeDevicePasswordResponse; onDone: () => void }) {
  const rows = [
    [t("devices.user"), made.user],
    [t("devices.domain"), made.domain],
    [t("sign-in.password"), made.password],
    [t("devices.proxy"), made.proxy],
  ] as const;
  const copy = (value: string) =>
    navigator.clipboard.writeText(value).then(
      () => toast(t("copied")),
      () => toast(t("error.unknown"), { failed: true }),
    );
  return (
    <div role="status">
      <p class="note note-warn">
        <Icon name="info" size={18} />
        <span>{t("devices.once")}</span>
      </p>
      <dl class="facts facts-copy">
        {rows.map(([label, value]) => (
          <div key={label}>
            <dt>{label}</dt>
            <dd>
              <code>{value}</code>
              <button
                type="button"
                class="icon-button icon-small"
                aria-label={t("action.copy", { what: label })}
                onClick={() => void copy(value)}
              >
                <Icon name="copy" size={16} />
              </button>
            </dd>
          </div>
        ))}
      </dl>
      <p class="hint">{t("devices.trust")}</p>
      <button type="button" class="button" onClick={onDone}>
        {t("action.done")}
      </button>
    </div>
  );
}
