import type { ComponentChildren } from "preact";
import { useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { useFloating } from "./floating";
import { Icon } from "./icon";
import type { IconName } from "./icons";

export interface MenuItem {
  label: string;
  icon?: IconName;
  onSelect: () => void;
  checked?: boolean;
  danger?: boolean;
  disabled?: boolean;
}

interface Props {
  /** What the button says to who cannot see it, and as its tip. */
  label: string;
  items: readonly (MenuItem | "line")[];
  /** What the button shows; the usual three dots when absent. */
  children?: ComponentChildren;
  class?: string;
  align?: "start" | "end";
  /** Where it opens, if there is room there. */
  place?: "above" | "below";
}

/** A button with a menu: arrows, Home, End, first letters and Escape work as in every menu. */
export function Menu({ label, items, children, class: extra = "icon-button", align = "end", place = "below" }: Props) {
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const list = useRef<HTMLDivElement>(null);
  const id = useId();

  const entries = () => [...(root.current?.querySelectorAll<HTMLElement>("[role^=menuitem]:not([disabled])") ?? [])];
  const move = (to: number) => {
    const all = entries();
    all[(to + all.length) % all.length]?.focus();
  };
  const close = (back: boolean) => {
    setOpen(false);
    if (back) button.current?.focus();
  };

  useFloating(list, () => button.current, open, { align, place });
  // Before the next key: whoever types fast is not ahead of the menu.
  useLayoutEffect(() => {
    if (!open) return;
    move(0);
    const outside = (event: Event) => {
      if (!root.current?.contains(event.target as Node)) close(false);
    };
    document.addEventListener("pointerdown", outside);
    document.addEventListener("focusin", outside);
    return () => {
      document.removeEventListener("pointerdown", outside);
      document.removeEventListener("focusin", outside);
    };
  }, [open]);

  const onKeyDown = (event: KeyboardEvent) => {
    if (!open) return;
    const at = entries().indexOf(document.activeElement as HTMLElement);
    switch (event.key) {
      case "ArrowDown":
        move(at + 1);
        break;
      case "ArrowUp":
        move(at - 1);
        break;
      case "Home":
        move(0);
        break;
      case "End":
        move(-1);
        break;
      case "Escape":
        close(true);
        break;
      default: {
        if (event.key.length !== 1) return;
        const all = entries();
        const rest = [...all.slice(at + 1), ...all.slice(0, at + 1)];
        rest.find((one) => one.textContent?.trim().toLowerCase().startsWith(event.key.toLowerCase()))?.focus();
      }
    }
    if (event.key !== " " && event.key !== "Enter") event.preventDefault();
    event.stopPropagation();
  };

  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: the keys are those of the menu inside
    <div class="menu-root" ref={root} onKeyDown={onKeyDown}>
      <button
        type="button"
        ref={button}
        class={extra}
        aria-label={label}
        title={label}
        aria-haspopup="menu"
        aria-expanded={open}
        aria-controls={open ? id : undefined}
        onClick={() => setOpen(!open)}
        onKeyDown={(event) => {
          if (!open && event.key === "ArrowDown") {
            event.preventDefault();
            setOpen(true);
          }
        }}
      >
        {children ?? <Icon name="more" />}
      </button>
      {open && (
        <div id={id} ref={list} class="menu floating" role="menu" aria-label={label}>
          {items.map((item, at) =>
            item === "line" ? (
              <hr key={`line ${at}`} />
            ) : (
              // biome-ignore lint/a11y/useAriaPropsSupportedByRole: both roles that it may have support it, or it is absent
              <button
                type="button"
                key={item.label}
                class={item.danger ? "menu-item menu-danger" : "menu-item"}
                role={item.checked === undefined ? "menuitem" : "menuitemradio"}
                aria-checked={item.checked}
                tabIndex={-1}
                disabled={item.disabled}
                onClick={() => {
                  close(true);
                  item.onSelect();
                }}
              >
                {item.icon && <Icon name={item.icon} size={18} />}
                <span class="menu-label">{item.label}</span>
                {item.checked && <Icon name="check" size={16} />}
              </button>
            ),
          )}
        </div>
      )}
    </div>
  );
}
