import { signal } from "@preact/signals";
import { t } from "../i18n";
import { Icon } from "./icon";

interface Toast {
  id: number;
  text: string;
  failed: boolean;
  action?: { label: string; run: () => void } | undefined;
}

const toasts = signal<readonly Toast[]>([]);
const said = signal("");
let count = 0;

interface Options {
  failed?: boolean;
  action?: { label: string; run: () => void };
  /** Milliseconds; longer when there is something to press. */
  stays?: number;
}

/** Says something for a while, at the edge. */
export function toast(text: string, { failed = false, action, stays }: Options = {}): void {
  const id = ++count;
  toasts.value = [...toasts.peek().slice(-2), { id, text, failed, action }];
  setTimeout(() => drop(id), stays ?? (action || failed ? 8000 : 4000));
}

function drop(id: number): void {
  toasts.value = toasts.peek().filter((one) => one.id !== id);
}

/** Says something to screen readers only. */
export function announce(text: string): void {
  // The same words twice are a change, too.
  said.value = said.peek() === text ? `${text}\u00a0` : text;
}

export function Toasts() {
  return (
    <>
      <div class="toasts" role="status">
        {toasts.value.map((one) => (
          <div key={one.id} class={one.failed ? "toast toast-failed" : "toast"}>
            {one.failed && <Icon name="warning" size={18} />}
            <span>{one.text}</span>
            {one.action && (
              <button
                type="button"
                class="toast-action"
                onClick={() => {
                  drop(one.id);
                  one.action?.run();
                }}
              >
                {one.action.label}
              </button>
            )}
            <button
              type="button"
              class="icon-button icon-small"
              aria-label={t("action.close")}
              onClick={() => drop(one.id)}
            >
              <Icon name="close" size={16} />
            </button>
          </div>
        ))}
      </div>
      <div class="unseen" aria-live="polite">
        {said.value}
      </div>
    </>
  );
}
