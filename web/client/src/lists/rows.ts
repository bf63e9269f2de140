/** Arrow keys go from row to row in a list of links. */
export function rowKeys(event: KeyboardEvent & { currentTarget: HTMLElement }): void {
  if (!["ArrowDown", "ArrowUp", "Home", "End"].includes(event.key) || event.altKey || event.ctrlKey || event.metaKey)
    return;
  if (event.target instanceof HTMLInputElement) return;
  const rows = [...event.currentTarget.querySelectorAll<HTMLElement>("a.row")];
  const active = document.activeElement?.closest(".row-frame, li")?.querySelector<HTMLElement>("a.row");
  const at = active ? rows.indexOf(active) : -1;
  const next =
    event.key === "Home" ? 0 : event.key === "End" ? rows.length - 1 : at + (event.key === "ArrowDown" ? 1 : -1);
  const row = rows[Math.max(0, Math.min(rows.length - 1, next))];
  if (!row) return;
  event.preventDefault();
  row.focus();
}
