import { type Key, t } from "../i18n";

const shapes: Record<string, string> = {
  available: "here",
  busy: "busy",
  "in-call": "busy",
  "in-meeting": "busy",
  dnd: "dnd",
  brb: "away",
  away: "away",
  offline: "gone",
};

/** A state as a dot. Its shape says it too, not only the colour. */
export function Dot({ state }: { state: string }) {
  const shape = shapes[state];
  if (!shape) return null;
  return (
    <svg class={`dot dot-${shape}`} viewBox="0 0 12 12" aria-hidden="true">
      <circle class="dot-edge" cx="6" cy="6" r="6" />
      {shape === "gone" ? (
        <circle class="dot-ring" cx="6" cy="6" r="3" />
      ) : (
        <circle class="dot-fill" cx="6" cy="6" r="4.2" />
      )}
      {shape === "dnd" && <path class="dot-sign" d="M4 6h4" />}
      {shape === "away" && <path class="dot-sign" d="M6 3.8V6l1.5 1" />}
      {shape === "here" && <path class="dot-sign" d="M4.2 6.1l1.3 1.3 2.4-2.6" />}
    </svg>
  );
}

const words: Record<string, Key> = {
  available: "presence.available",
  busy: "presence.busy",
  "in-call": "presence.in-call",
  "in-meeting": "presence.in-meeting",
  dnd: "presence.dnd",
  brb: "presence.brb",
  away: "presence.away",
  offline: "presence.offline",
};

/** The state in words; "" when it is not known. */
export function stateText(state: string): string {
  const key = words[state];
  return key ? t(key) : "";
}
