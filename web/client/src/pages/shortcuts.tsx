import { signal } from "@preact/signals";
import { type Key, t } from "../i18n";
import { Dialog } from "../ui/dialog";

export const shortcutsOpen = signal(false);

/** Keys as they are pressed, and what they do. Those of the message view are its own. */
const list: readonly { title: Key; keys: readonly (readonly [string, Key])[] }[] = [
  {
    title: "shortcuts.everywhere",
    keys: [
      ["Ctrl K", "shortcuts.switch"],
      ["Ctrl F", "shortcuts.search"],
      ["Alt P", "shortcuts.presence"],
      ["Ctrl ,", "shortcuts.settings"],
      ["?", "shortcuts.help"],
      ["Esc", "shortcuts.back"],
    ],
  },
  {
    title: "shortcuts.lists",
    keys: [
      ["Alt 1", "shortcuts.chats"],
      ["Alt 2", "shortcuts.contacts"],
      ["Alt ↓", "shortcuts.next"],
      ["Alt ↑", "shortcuts.previous"],
      ["Alt U", "shortcuts.unread"],
      ["↑ ↓", "shortcuts.rows"],
      ["Alt Shift ↓", "shortcuts.move"],
    ],
  },
  {
    title: "shortcuts.writing",
    keys: [
      ["Enter", "shortcuts.send"],
      ["Shift Enter", "shortcuts.line"],
      ["↑", "shortcuts.edit-last"],
      ["Ctrl B", "shortcuts.strong"],
      ["Ctrl I", "shortcuts.em"],
      ["Ctrl E", "shortcuts.code"],
    ],
  },
  {
    title: "shortcuts.message",
    keys: [
      ["R", "shortcuts.reply"],
      ["E", "shortcuts.edit"],
      ["+", "shortcuts.react"],
      ["C", "shortcuts.copy"],
      ["I", "shortcuts.details"],
      ["Del", "shortcuts.delete"],
      ["Enter", "shortcuts.actions"],
    ],
  },
];

export function Shortcuts() {
  const close = () => {
    shortcutsOpen.value = false;
  };
  return (
    <Dialog title={t("shortcuts.title")} onClose={close} wide>
      <div class="shortcuts">
        {list.map((part) => (
          <section key={part.title}>
            <h3>{t(part.title)}</h3>
            <dl>
              {part.keys.map(([combo, what]) => (
                <div key={combo}>
                  <dt>
                    {combo.split(" ").map((key) => (
                      <kbd key={key}>{keyName(key)}</kbd>
                    ))}
                  </dt>
                  <dd>{t(what)}</dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
      </div>
    </Dialog>
  );
}

const mac = /Mac|iP/.test(navigator.platform);

function keyName(key: string): string {
  if (key === "Ctrl") return mac ? "⌘" : t("key.ctrl");
  if (key === "Alt") return mac ? "⌥" : "Alt";
  if (key === "Del") return t("key.del");
  if (key === "Shift") return mac ? "⇧" : t("key.shift");
  return key;
}
