import type { GetLevelResponse, SeenPresence, Sight } from "@parley-im/sdk";
import { useEffect, useState } from "preact/hooks";
import { t } from "../i18n";
import { addContact, changeContact, contactOf, groups, levelRule, relations } from "../state/contacts";
import { askFor, nameOf, personOf } from "../state/people";
import { availabilityOf, noteOf, presenceOf } from "../state/presence";
import { me, ownAddress, sdk } from "../state/session";
import { Avatar } from "../ui/avatar";
import { Dot, stateText } from "../ui/dot";
import { attempt } from "../ui/failure";
import { since, until } from "../ui/format";
import { Icon } from "../ui/icon";
import { toast } from "../ui/toast";
import { EditContact } from "./edit-contact";
import { Explain } from "./explain";
import { LevelSelect, levelName } from "./level-select";

/** Who somebody is: presence, what the directory says, and what the person is to them. */
export function Details({ peer }: { peer: string }) {
  useEffect(() => {
    askFor(peer).catch(() => {}); // the rest is shown
  }, [peer]);
  const name = nameOf(peer);
  const profile = personOf(peer)?.profile;
  const state = availabilityOf(peer);
  const note = noteOf(peer);
  const seen = presenceOf(peer);
  return (
    <div class="details-body">
      <div class="details-card">
        <Avatar address={peer} name={name} size={72} />
        <h2>{name}</h2>
        {profile?.title && (
          <p class="details-title">{[profile.title, profile.department].filter(Boolean).join(", ")}</p>
        )}
        <p class="details-address">{peer}</p>
        {state && (
          <p class="details-state">
            <Dot state={state} />
            <span>{stateDetail(state, seen)}</span>
          </p>
        )}
        {note && <p class="details-note">{note}</p>}
      </div>
      <ContactPart peer={peer} name={name} />
      {profile && <Profile profile={profile} department={profile.title ? "" : profile.department} />}
      <Devices seen={seen} />
      {peer !== me.value?.address && <SightPart peer={peer} />}
    </div>
  );
}

function stateDetail(state: string, seen: SeenPresence | undefined): string {
  const words = stateText(state);
  if (seen?.until) return t("presence.until", { state: words, time: until(seen.until) });
  if (seen?.idleSince) return t("presence.idle", { state: words, time: since(seen.idleSince) });
  return words;
}

function ContactPart({ peer, name }: { peer: string; name: string }) {
  const [editing, setEditing] = useState(false);
  const contact = contactOf(peer);
  if (peer === me.value?.address) return null;
  if (!contact) {
    return (
      <div class="details-actions">
        <button
          type="button"
          class="button"
          onClick={() =>
            void attempt(() => addContact(peer, ""), "error.address").then(
              (done) => done && toast(t("contacts.added", { name })),
            )
          }
        >
          <Icon name="personAdd" size={18} />
          {t("contacts.add-one")}
        </button>
      </div>
    );
  }
  const names = groups.value.filter((group) => contact.groups.includes(group.id)).map((group) => group.name);
  return (
    <>
      <div class="details-actions">
        <button
          type="button"
          class="button"
          aria-pressed={contact.favourite}
          onClick={() => void attempt(() => changeContact(contact, { favourite: !contact.favourite }))}
        >
          <Icon name="star" size={18} filled={contact.favourite} />
          {t("contacts.favourite-short")}
        </button>
        <button type="button" class="button" onClick={() => setEditing(true)}>
          <Icon name="edit" size={18} />
          {t("action.edit")}
        </button>
      </div>
      {(contact.note || names.length > 0) && (
        <section class="details-part">
          <h3>{t("details.contact")}</h3>
          {names.length > 0 && <p>{names.join(", ")}</p>}
          {contact.note && <p class="details-own-note">{contact.note}</p>}
        </section>
      )}
      {editing && <EditContact contact={contact} onClose={() => setEditing(false)} />}
    </>
  );
}

interface ProfileProps {
  profile: { office: string; phone: string; mobile: string; email: string };
  department: string;
}

function Profile({ profile, department }: ProfileProps) {
  const rows = [
    [t("profile.department"), department, ""],
    [t("profile.office"), profile.office, ""],
    [t("profile.phone"), profile.phone, "tel:"],
    [t("profile.mobile"), profile.mobile, "tel:"],
    [t("profile.email"), profile.email, "mailto:"],
  ].filter((row) => row[1]) as [string, string, string][];
  if (rows.length === 0) return null;
  return (
    <section class="details-part">
      <h3>{t("details.profile")}</h3>
      <dl class="facts">
        {rows.map(([label, value, scheme]) => (
          <div key={label}>
            <dt>{label}</dt>
            <dd>{scheme ? <a href={scheme + encodeURI(value.replace(/\s/g, ""))}>{value}</a> : value}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

const classes: Record<string, () => string> = {
  desktop: () => t("device.desktop"),
  phone: () => t("device.phone"),
  tablet: () => t("device.tablet"),
  "desk-phone": () => t("device.desk-phone"),
  browser: () => t("device.browser"),
};

function Devices({ seen }: { seen: SeenPresence | undefined }) {
  const devices = seen?.devices ?? [];
  if (devices.length === 0) return null;
  return (
    <section class="details-part">
      <h3>{t("details.devices")}</h3>
      <ul class="details-devices">
        {devices.map((device) => (
          <li key={device.id}>
            <Icon name={device.class === "phone" || device.class === "desk-phone" ? "phone" : "device"} size={18} />
            <span>
              {classes[device.class]?.() ?? t("device.other")}
              {device.line?.throughput === "slow" && <span class="hint"> · {t("device.slow")}</span>}
              {device.idleSince && <span class="hint"> · {t("device.idle", { time: since(device.idleSince) })}</span>}
            </span>
          </li>
        ))}
      </ul>
    </section>
  );
}

function SightPart({ peer }: { peer: string }) {
  const [explaining, setExplaining] = useState(false);
  const [level, setLevel] = useState<GetLevelResponse>();
  const contact = contactOf(peer);
  useEffect(() => {
    const stop = new AbortController();
    sdk()
      .contacts.getLevel({ owner: ownAddress(), person: peer }, { signal: stop.signal })
      .then(setLevel, () => {}); // the rule is shown
    return () => stop.abort();
  }, [peer, relations.value, contact?.groups.join()]);
  const ruled = levelRule("person", peer) !== "";
  return (
    <section class="details-part">
      <h3>{t("details.sight")}</h3>
      <LevelSelect
        kind="person"
        subject={peer}
        label={t("privacy.level-of", { name: nameOf(peer) })}
        otherwise={level && !ruled && level.basis !== "person" ? level.level : ""}
      />
      {level && <p class="hint">{`${levelName(level.level)}: ${sightText(level.sight)}`}</p>}
      <button type="button" class="button button-plain" onClick={() => setExplaining(true)}>
        <Icon name="eye" size={18} />
        {t("privacy.explain-one", { name: nameOf(peer) })}
      </button>
      {explaining && <Explain watcher={peer} onClose={() => setExplaining(false)} />}
    </section>
  );
}

/** What a level lets somebody see, in a line. */
function sightText(sight: Sight | undefined): string {
  const all = [
    sight && sight.state !== "nothing" && t("sight.state"),
    sight?.note && t("sight.note"),
    sight?.device && t("sight.device"),
    sight && sight.calendar !== "nothing" && t("sight.calendar"),
    sight?.interrupt && t("sight.interrupt"),
  ].filter((one) => typeof one === "string" && one !== "");
  return all.length > 0 ? all.join(", ") : t("sight.nothing");
}
