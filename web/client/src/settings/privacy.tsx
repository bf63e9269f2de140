import { useEffect, useState } from "preact/hooks";
import { type Key, t } from "../i18n";
import { Explain } from "../pages/explain";
import { LevelSelect, levelName } from "../pages/level-select";
import { contacts, groups, type Level, type RelationKind, relations, setLevel } from "../state/contacts";
import { askFor, nameOf } from "../state/people";
import { attempt } from "../ui/failure";
import { Icon } from "../ui/icon";
import { Field } from "../ui/parts";

/** What each level sees, as the server decides it (docs/presence.md). */
export const table: readonly { level: Level; cells: readonly [Key, Key, Key, Key, Key] }[] = [
  { level: "close", cells: ["sight.full", "sight.yes", "sight.yes", "sight.full", "sight.yes"] },
  { level: "team", cells: ["sight.full", "sight.yes", "sight.yes", "sight.full", "sight.no"] },
  { level: "colleague", cells: ["sight.full", "sight.yes", "sight.yes", "sight.basic", "sight.no"] },
  { level: "outside", cells: ["sight.basic", "sight.no", "sight.no", "sight.no", "sight.no"] },
  { level: "blocked", cells: ["sight.no", "sight.no", "sight.no", "sight.no", "sight.no"] },
];
const columns: readonly Key[] = ["sight.state", "sight.note", "sight.device", "sight.calendar", "sight.interrupt"];

/** Who sees what of the person. */
export function Privacy() {
  return (
    <>
      <section class="card">
        <h2>{t("privacy.levels-title")}</h2>
        <p class="hint">{t("privacy.levels-text")}</p>
        <LevelTable />
      </section>
      <section class="card">
        <h2>{t("privacy.ask")}</h2>
        <p class="hint">{t("privacy.ask-text")}</p>
        <Ask />
      </section>
      <section class="card">
        <h2>{t("privacy.rules")}</h2>
        <p class="hint">{t("privacy.rules-text")}</p>
        <Rules />
        <AddRule />
      </section>
    </>
  );
}

function LevelTable() {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
    <div class="table-scroll" tabIndex={0} role="region" aria-label={t("privacy.levels")}>
      <table class="levels">
        <thead>
          <tr>
            <th scope="col">{t("privacy.level")}</th>
            {columns.map((column) => (
              <th scope="col" key={column}>
                {t(column)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {table.map(({ level, cells }) => (
            <tr key={level}>
              <th scope="row">{levelName(level)}</th>
              {cells.map((cell, at) => (
                <td key={columns[at]} class={cell === "sight.no" ? "cell-no" : "cell-yes"}>
                  {t(cell)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Ask() {
  const [who, setWho] = useState("");
  const [asking, setAsking] = useState("");
  return (
    <form
      class="form-line"
      onSubmit={(event) => {
        event.preventDefault();
        setAsking(who.trim());
      }}
    >
      <PersonField label={t("privacy.person")} value={who} onChange={setWho} />
      <button type="submit" class="button" disabled={!who.includes("@")}>
        <Icon name="eye" size={18} />
        {t("privacy.look")}
      </button>
      {asking && <Explain watcher={asking} onClose={() => setAsking("")} />}
    </form>
  );
}

interface PersonFieldProps {
  label: string;
  value: string;
  onChange: (value: string) => void;
}

/** An address, with the contacts offered. */
function PersonField({ label, value, onChange }: PersonFieldProps) {
  return (
    <Field label={label}>
      {(ids) => (
        <>
          <input
            {...ids}
            class="input"
            list={`${ids.id}-people`}
            autocomplete="off"
            spellcheck={false}
            required
            placeholder={t("privacy.person-example")}
            value={value}
            onInput={(event) => onChange(event.currentTarget.value)}
          />
          <datalist id={`${ids.id}-people`}>
            {contacts.value.map((contact) => (
              <option key={contact.address} value={contact.address}>
                {nameOf(contact.address)}
              </option>
            ))}
          </datalist>
        </>
      )}
    </Field>
  );
}

function ruleName(kind: string, subject: string): string {
  if (kind === "group") return groups.value.find((group) => String(group.id) === subject)?.name ?? subject;
  return kind === "person" ? nameOf(subject) : subject;
}

const kindNames: Record<RelationKind, Key> = {
  person: "privacy.kind.person",
  group: "privacy.kind.group",
  domain: "privacy.kind.domain",
};

function Rules() {
  const all = relations.value;
  useEffect(() => {
    for (const rule of all) {
      if (rule.key?.kind === "person") askFor(rule.key.subject).catch(() => {}); // the address is shown
    }
  }, [all]);
  if (all.length === 0) return <p class="rules-none">{t("privacy.no-rules")}</p>;
  return (
    <ul class="device-list">
      {all.map((rule) => {
        const kind = (rule.key?.kind ?? "person") as RelationKind;
        const subject = rule.key?.subject ?? "";
        const name = ruleName(kind, subject);
        return (
          <li class="device" key={`${kind} ${subject}`}>
            <Icon name={kind === "group" ? "group" : kind === "domain" ? "shield" : "person"} />
            <span class="row-text">
              <span class="row-name">{name}</span>
              <span class="row-preview">{kind === "person" ? subject : t(kindNames[kind])}</span>
            </span>
            <LevelSelect kind={kind} subject={subject} label={t("privacy.level-of", { name })} />
          </li>
        );
      })}
    </ul>
  );
}

function AddRule() {
  const [kind, setKind] = useState<RelationKind>("person");
  const [subject, setSubject] = useState("");
  const [level, setLevelTo] = useState<Level>("team");
  const [busy, setBusy] = useState(false);
  const chosen = kind === "group" ? subject || String(groups.value[0]?.id ?? "") : subject.trim();
  const add = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    const done = await attempt(
      () => setLevel(kind, chosen, level),
      kind === "domain" ? "error.domain" : "error.address",
    );
    setBusy(false);
    if (done) setSubject("");
  };
  return (
    <form class="form rule-form" onSubmit={add}>
      <h3>{t("privacy.add")}</h3>
      <div class="form-line">
        <Field label={t("privacy.kind")}>
          {(ids) => (
            <select
              {...ids}
              class="input"
              value={kind}
              onChange={(event) => {
                setKind(event.currentTarget.value as RelationKind);
                setSubject("");
              }}
            >
              <option value="person">{t("privacy.kind.person")}</option>
              {groups.value.length > 0 && <option value="group">{t("privacy.kind.group")}</option>}
              <option value="domain">{t("privacy.kind.domain")}</option>
            </select>
          )}
        </Field>
        {kind === "person" && <PersonField label={t("privacy.person")} value={subject} onChange={setSubject} />}
        {kind === "group" && (
          <Field label={t("contacts.group-name")}>
            {(ids) => (
              <select {...ids} class="input" value={chosen} onChange={(event) => setSubject(event.currentTarget.value)}>
                {groups.value.map((group) => (
                  <option key={String(group.id)} value={String(group.id)}>
                    {group.name}
                  </option>
                ))}
              </select>
            )}
          </Field>
        )}
        {kind === "domain" && (
          <Field label={t("privacy.domain")}>
            {(ids) => (
              <input
                {...ids}
                class="input"
                required
                placeholder="example.com"
                value={subject}
                onInput={(event) => setSubject(event.currentTarget.value)}
              />
            )}
          </Field>
        )}
        <Field label={t("privacy.level")}>
          {(ids) => (
            <select
              {...ids}
              class="input"
              value={level}
              onChange={(event) => setLevelTo(event.currentTarget.value as Level)}
            >
              {table.map((row) => (
                <option key={row.level} value={row.level}>
                  {levelName(row.level)}
                </option>
              ))}
            </select>
          )}
        </Field>
        <button type="submit" class="button" disabled={busy || !chosen}>
          {t("action.add")}
        </button>
      </div>
    </form>
  );
}
