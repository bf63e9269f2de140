/** Small parts of pages: what is empty, loading or failed, and fields. */
import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";
import { t } from "../i18n";
import { Icon } from "./icon";
import type { IconName } from "./icons";

interface EmptyProps {
  icon: IconName;
  title: string;
  text?: string;
  children?: ComponentChildren;
}

export function Empty({ icon, title, text, children }: EmptyProps) {
  return (
    <div class="empty">
      <span class="empty-icon">
        <Icon name={icon} size={28} />
      </span>
      <p class="empty-title">{title}</p>
      {text && <p class="empty-text">{text}</p>}
      {children}
    </div>
  );
}

/** Something did not load. */
export function Failed({ onRetry }: { onRetry: () => void }) {
  return (
    <Empty icon="cloudOff" title={t("failed.title")} text={t("failed.text")}>
      <button type="button" class="button" onClick={onRetry}>
        {t("action.retry")}
      </button>
    </Empty>
  );
}

/** Rows of a list that are on their way. */
export function SkeletonRows({ rows = 6 }: { rows?: number }) {
  return (
    <div class="skeletons" role="status" aria-label={t("loading")}>
      {Array.from({ length: rows }, (_, at) => (
        <div class="skeleton-row" key={at} aria-hidden="true">
          <span class="skeleton skeleton-face" />
          <span class="skeleton-lines">
            <span class={`skeleton skeleton-line skeleton-w${at % 3}`} />
            <span class={`skeleton skeleton-line skeleton-w${(at + 1) % 3}`} />
          </span>
        </div>
      ))}
    </div>
  );
}

interface FieldProps {
  label: string;
  hint?: string | undefined;
  children: (ids: { id: string; "aria-describedby"?: string }) => ComponentChildren;
}

/** A labelled field; children get the id that ties them together. */
export function Field({ label, hint, children }: FieldProps) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children(hint ? { id, "aria-describedby": `${id}-hint` } : { id })}
      {hint && (
        <p class="hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
    </div>
  );
}

interface SwitchProps {
  label: string;
  hint?: string | undefined;
  checked: boolean;
  disabled?: boolean;
  onChange: (checked: boolean) => void;
}

export function Switch({ label, hint, checked, disabled = false, onChange }: SwitchProps) {
  const id = useId();
  return (
    <div class="switch-row">
      <div>
        <label for={id}>{label}</label>
        {hint && (
          <p class="hint" id={`${id}-hint`}>
            {hint}
          </p>
        )}
      </div>
      <input
        id={id}
        type="checkbox"
        role="switch"
        class="switch"
        checked={checked}
        aria-checked={checked}
        disabled={disabled}
        aria-describedby={hint ? `${id}-hint` : undefined}
        onChange={(event) => onChange(event.currentTarget.checked)}
      />
    </div>
  );
}

interface ChoiceProps<T extends string> {
  legend: string;
  value: T;
  options: readonly { value: T; label: string }[];
  onChange: (value: T) => void;
}

/** A few choices side by side. */
export function Segmented<T extends string>({ legend, value, options, onChange }: ChoiceProps<T>) {
  const name = useId();
  return (
    <fieldset class="segmented">
      <legend>{legend}</legend>
      <div class="segments">
        {options.map((option) => (
          <label key={option.value} class="segment">
            <input
              type="radio"
              name={name}
              value={option.value}
              checked={option.value === value}
              onChange={() => onChange(option.value)}
            />
            <span>{option.label}</span>
          </label>
        ))}
      </div>
    </fieldset>
  );
}
