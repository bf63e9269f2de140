import { type Key, t } from "../i18n";
import { type Level, levelRule, levels, type RelationKind, setLevel } from "../state/contacts";
import { attempt } from "../ui/failure";

const names: Record<Level, Key> = {
  blocked: "level.blocked",
  outside: "level.outside",
  colleague: "level.colleague",
  team: "level.team",
  close: "level.close",
};

export function levelName(level: string): string {
  const key = names[level as Level];
  return key ? t(key) : level;
}

interface Props {
  kind: RelationKind;
  subject: string;
  label: string;
  /** What holds without a rule, if that is known. */
  otherwise?: string;
}

/** Decides what a person, group or domain is; "by itself" takes the decision back. */
export function LevelSelect({ kind, subject, label, otherwise = "" }: Props) {
  const rule = levelRule(kind, subject);
  return (
    <select
      class="input"
      aria-label={label}
      value={rule}
      onChange={(event) => {
        const next = event.currentTarget.value as Level | "";
        void attempt(() => setLevel(kind, subject, next));
      }}
    >
      <option value="">{otherwise ? t("level.default", { level: levelName(otherwise) }) : t("level.none")}</option>
      {levels.map((level) => (
        <option key={level} value={level}>
          {levelName(level)}
        </option>
      ))}
    </select>
  );
}
