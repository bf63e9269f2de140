/** A small choice of emoji, by keyboard too. The system draws them. */
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { type Key, t } from "../i18n";
import { useFloating } from "../ui/floating";

const groups: readonly { key: Key; emoji: string }[] = [
  {
    key: "emoji.faces",
    emoji:
      "😀 😃 😄 😁 😆 😅 😂 🤣 😊 🙂 😉 😍 🥰 😘 😋 😜 🤔 🤨 😐 🙄 😏 😴 🤒 🤯 😎 🥳 😕 😟 😮 😢 😭 😤 😠 😱 😳 🥺 🤗 🤝 🤷",
  },
  { key: "emoji.hands", emoji: "👍 👎 👌 ✌️ 🤞 👏 🙌 🙏 💪 👋 ✋ 👉 👈 👆 👇 ✍️ 👀 🧠" },
  { key: "emoji.hearts", emoji: "❤️ 🧡 💛 💚 💙 💜 🖤 💔 💯 ✨ 🔥 ⭐ 🎉 🎂 🎁 🏆 🌈 ☀️ 🌧️ ❄️ 🌸 🌱" },
  { key: "emoji.things", emoji: "☕ 🍵 🍺 🍷 🍕 🍰 🍎 🥐 🏠 🏢 🚗 🚲 🚆 ✈️ ⏰ 📅 📞 💻 🖨️ 📎 📌 🔑 🔒 💡 🔧 📈 📦 💶" },
  { key: "emoji.signs", emoji: "✅ ❌ ❓ ❗ ⚠️ ⛔ ♻️ ➡️ ⬅️ ⬆️ ⬇️ 🔴 🟡 🟢 🔵 🆗 🆕 🔔 🔕" },
];

const kept = "parley.emoji";
const quick = ["👍", "❤️", "😂", "😮", "😢", "🙏"];
const columns = 8;

/** Those used last here, filled up with the usual ones. */
function recent(): string[] {
  try {
    const own: unknown = JSON.parse(localStorage.getItem(kept) ?? "[]");
    const list = Array.isArray(own)
      ? own.filter((one): one is string => typeof one === "string" && one.length < 20)
      : [];
    return [...new Set([...list, ...quick])].slice(0, columns);
  } catch {
    return quick;
  }
}

interface Props {
  onPick: (emoji: string) => void;
  onClose: () => void;
  /** Where it opens from its button, if there is room. */
  place?: "above" | "below";
}

export function EmojiPicker({ onPick, onClose, place = "above" }: Props) {
  const root = useRef<HTMLDivElement>(null);
  const [own] = useState(recent);
  useFloating(root, () => root.current?.parentElement, true, { place });
  // Before the next key: whoever types fast is not ahead of it.
  useLayoutEffect(() => {
    const before = document.activeElement;
    root.current?.querySelector("button")?.focus();
    const outside = (event: Event) => {
      if (!root.current?.contains(event.target as Node)) onClose();
    };
    document.addEventListener("pointerdown", outside);
    return () => {
      document.removeEventListener("pointerdown", outside);
      const lost = document.activeElement === document.body || !document.activeElement;
      if (lost && before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  const pick = (emoji: string) => {
    localStorage.setItem(kept, JSON.stringify([emoji, ...own.filter((one) => one !== emoji)].slice(0, columns)));
    onPick(emoji);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    event.stopPropagation();
    const all = [...(root.current?.querySelectorAll("button") ?? [])];
    const at = all.indexOf(document.activeElement as HTMLButtonElement);
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
    if (event.key === "Escape") onClose();
    else if (event.key === "Home") all[0]?.focus();
    else if (event.key === "End") all.at(-1)?.focus();
    else if (step) all[Math.max(0, Math.min(all.length - 1, at + step))]?.focus();
    else return;
    event.preventDefault();
  };
  const row = (list: string[]) =>
    list.map((emoji) => (
      <button type="button" key={emoji} class="m-emoji" onClick={() => pick(emoji)}>
        {emoji}
      </button>
    ));
  return (
    <div class="m-picker floating" role="dialog" aria-label={t("composer.emoji")} ref={root} onKeyDown={onKeyDown}>
      <div class="m-picker-row">{row(own)}</div>
      {groups.map(({ key, emoji }) => (
        <section key={key} aria-label={t(key)}>
          <h2 class="m-picker-head">{t(key)}</h2>
          <div class="m-picker-row">{row(emoji.split(" "))}</div>
        </section>
      ))}
    </div>
  );
}
