/** Shortcuts: one listener, the newest binding first. */

type Handler = (event: KeyboardEvent) => unknown;
interface Binding {
  combo: string;
  run: Handler;
  global: boolean;
}

const bindings: Binding[] = [];

/** "ctrl+k", "alt+arrowup", "?", "escape". On a Mac the command key is ctrl, too. */
export function comboOf(event: KeyboardEvent): string {
  const key = event.key.toLowerCase();
  const parts: string[] = [];
  if (event.ctrlKey || event.metaKey) parts.push("ctrl");
  if (event.altKey) parts.push("alt");
  // For a character the shift key is part of it: "?" is "?" on every keyboard.
  if (event.shiftKey && key.length > 1) parts.push("shift");
  return [...parts, key].join("+");
}

/**
 * Runs something at a key until the returned function is called. Bindings without a modifier do nothing while somebody
 * types, unless where is "global". A handler that returns false leaves the key to the others.
 */
export function onKey(combo: string, run: Handler, where?: "global"): () => void {
  const binding = { combo, run, global: where === "global" };
  bindings.unshift(binding);
  return () => {
    const at = bindings.indexOf(binding);
    if (at >= 0) bindings.splice(at, 1);
  };
}

/** Whether keys that are pressed there write something. */
export function writesIn(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  return (
    target.isContentEditable ||
    target instanceof HTMLTextAreaElement ||
    target instanceof HTMLSelectElement ||
    (target instanceof HTMLInputElement && !["checkbox", "radio", "button", "submit"].includes(target.type))
  );
}

export function press(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.isComposing) return;
  const combo = comboOf(event);
  const modified = combo.startsWith("ctrl+") || combo.startsWith("alt+");
  for (const binding of [...bindings]) {
    if (binding.combo !== combo) continue;
    if (!modified && !binding.global && writesIn(event.target)) continue;
    if (binding.run(event) === false) continue;
    event.preventDefault();
    return;
  }
}

export function startKeys(): () => void {
  document.addEventListener("keydown", press);
  return () => document.removeEventListener("keydown", press);
}
