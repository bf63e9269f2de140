import { availabilityOf } from "../state/presence";
import { Dot } from "./dot";

/** Up to two letters of a name. */
export function initials(name: string): string {
  const words = name
    .replace(/[^\p{L}\p{N}\s]/gu, " ")
    .split(/\s+/u)
    .filter(Boolean);
  const first = [...(words[0] ?? "?")][0] ?? "?";
  const last = words.length > 1 ? ([...(words.at(-1) ?? "")][0] ?? "") : "";
  return (first + last).toLocaleUpperCase();
}

/** One of eight colours, the same for an address everywhere. */
export function hue(address: string): number {
  let sum = 7;
  for (const char of address.toLowerCase()) sum = (sum * 31 + (char.codePointAt(0) ?? 0)) >>> 0;
  return sum % 8;
}

interface Props {
  address: string;
  name: string;
  size?: 24 | 32 | 40 | 48 | 72;
  /** With the state of the person in the corner. */
  dot?: boolean;
}

/**
 * A person's letters on the person's colour: a picture, which the style sheet draws. The name stands beside it, so it is silent.
 */
export function Avatar({ address, name, size = 40, dot = false }: Props) {
  return (
    <span class={`avatar avatar-${size}`} aria-hidden="true">
      <span class={`avatar-face av-${hue(address)}`} data-letters={initials(name)} />
      {dot && <Dot state={availabilityOf(address)} />}
    </span>
  );
}
