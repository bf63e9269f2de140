import { type IconName, icons } from "./icons";

interface Props {
  name: IconName;
  size?: number;
  /** Drawn full, as for a star that is set. */
  filled?: boolean;
}

/** A drawing beside words or in a labelled button: it says nothing itself. */
export function Icon({ name, size = 20, filled = false }: Props) {
  return (
    <svg class={filled ? "icon icon-filled" : "icon"} width={size} height={size} viewBox="0 0 24 24" aria-hidden="true">
      <path d={icons[name]} />
    </svg>
  );
}
