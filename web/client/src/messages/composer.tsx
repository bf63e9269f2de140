/** What is being written. */
import type { Message } from "@parley-im/sdk";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { t } from "../i18n";
import { saveDraft, talk } from "../state/conversations";
import { writesIn } from "../state/keys";
import { nameOf } from "../state/people";
import { me, sdk } from "../state/session";
import { setting } from "../state/settings";
import { sayTyping } from "../state/typing";
import { attempt } from "../ui/failure";
import { Icon } from "../ui/icon";
import type { IconName } from "../ui/icons";
import { medium } from "../ui/media";
import { announce, toast } from "../ui/toast";
import { EmojiPicker } from "./emoji";
import { fromHTML, type Mark, mark, toHTML } from "./markers";
import { say } from "./outgoing";
import { type Enclosure, enclose, release, Tray } from "./tray";

/** What the text is for, if not for a new message. */
export type Purpose = { reply: Message } | { edit: Message } | undefined;

interface Props {
  peer: string;
  purpose: Purpose;
  onPurpose: (purpose: Purpose) => void;
  files: readonly Enclosure[];
  onFiles: (change: (old: readonly Enclosure[]) => readonly Enclosure[]) => void;
  /** The own message that ArrowUp in an empty field edits. */
  lastOwn: () => Message | undefined;
  /** The focus belongs to a message that is looked for. */
  jumped: boolean;
}

const marks: readonly {
  mark: Mark;
  icon: IconName;
  key: "composer.strong" | "composer.em" | "composer.code" | "composer.quote";
}[] = [
  { mark: "strong", icon: "bold", key: "composer.strong" },
  { mark: "em", icon: "italic", key: "composer.em" },
  { mark: "code", icon: "code", key: "composer.code" },
  { mark: "blockquote", icon: "quote", key: "composer.quote" },
];

const bytes = (text: string) => new TextEncoder().encode(text).length;

export function Composer({ peer, purpose, onPurpose, files, onFiles, lastOwn, jumped }: Props) {
  const [text, setText] = useState(() => talk(peer)?.draft ?? "");
  const [picking, setPicking] = useState(false);
  const [formatting, setFormatting] = useState(false);
  const field = useRef<HTMLTextAreaElement>(null);
  const chooser = useRef<HTMLInputElement>(null);
  const own = useRef(text); // what this field last knew of the draft
  const editing = purpose && "edit" in purpose ? purpose.edit : undefined;
  const replying = purpose && "reply" in purpose ? purpose.reply : undefined;
  const limit = Number(me.value?.server?.maxMessage ?? 0n) || 65_536;
  const tooLong = text.length > limit / 4 && bytes(text) > limit;

  const write = (next: string) => {
    setText(next);
    if (editing) return;
    own.current = next;
    saveDraft(peer, next);
    sayTyping(peer, next !== "");
  };

  // Another device wrote on: here it is, unless somebody writes here.
  const draft = talk(peer)?.draft ?? "";
  useEffect(() => {
    if (editing || draft === own.current || document.activeElement === field.current) return;
    own.current = draft;
    setText(draft);
  }, [draft]);

  // Before anybody sees it: a quick hand writes at once.
  useLayoutEffect(() => {
    if (editing) setText(editing.html ? fromHTML(editing.html) : editing.text);
    else setText(own.current);
    if (purpose) field.current?.focus();
  }, [purpose]);

  useLayoutEffect(() => {
    const area = field.current;
    if (!area) return;
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight}px`;
  }, [text]);
  useEffect(() => () => sayTyping(peer, false), [peer]);
  useEffect(() => {
    // It may come long after the click that asked for it. Whoever types elsewhere by then goes on there.
    const now = document.activeElement;
    const free = !now || now === document.body || now.matches("a.row, h1, main");
    if (medium.peek() && free && !jumped && !document.querySelector("dialog[open]")) field.current?.focus();
    document.addEventListener("keydown", takeKeys);
    return () => document.removeEventListener("keydown", takeKeys);
  }, []);
  /** What is typed beside the field goes into it, unless it means something there. */
  const takeKeys = (event: KeyboardEvent) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if ([...event.key].length !== 1 || event.key === " " || event.key === "?") return;
    const target = event.target instanceof Element ? event.target : null;
    if (writesIn(target) || target?.closest("dialog, [popover], [role=log]:not([data-pointed]) [data-row]")) return;
    field.current?.focus();
  };

  const select = (start: number, end: number) =>
    requestAnimationFrame(() => {
      field.current?.focus();
      field.current?.setSelectionRange(start, end);
    });
  const format = (as: Mark) => {
    const area = field.current;
    if (!area) return;
    const next = mark({ text, start: area.selectionStart, end: area.selectionEnd }, as);
    write(next.text);
    select(next.start, next.end);
  };
  const insert = (what: string) => {
    const area = field.current;
    const start = area?.selectionStart ?? text.length;
    write(text.slice(0, start) + what + text.slice(area?.selectionEnd ?? start));
    select(start + what.length, start + what.length);
  };

  const clear = () => {
    own.current = "";
    setText("");
    saveDraft(peer, "");
    sayTyping(peer, false);
    onPurpose(undefined);
  };
  const send = () => {
    const said = text.trim();
    if (tooLong || (said === "" && files.length === 0)) return;
    const html = toHTML(said);
    if (editing) {
      if (said === "") return;
      const { id } = editing;
      onPurpose(undefined);
      void attempt(() => sdk().messages.edit({ id, ...(html ? { html } : { text: said }) }));
      return;
    }
    void attempt(async () => {
      say(peer, { text: said, html, replyTo: replying?.id ?? "", files: files.map(({ file }) => file) });
      release(files);
      onFiles(() => []);
      clear();
      announce(t("composer.sent"));
    });
    field.current?.focus();
  };

  const add = (chosen: Iterable<File>) => onFiles((old) => [...old, ...enclose(peer, chosen, old.length)]);
  const onPaste = (event: ClipboardEvent) => {
    const data = event.clipboardData;
    if (!data) return;
    const pasted = data.getData("text/plain");
    if (data.files.length > 0 && pasted === "") {
      event.preventDefault();
      add(data.files);
    } else if (pasted.length > limit) {
      // A text field with megabytes in it would hang the page, and no message takes it: it becomes a file.
      event.preventDefault();
      add([new File([pasted], t("composer.pasted-name"), { type: "text/plain" })]);
      toast(t("composer.pasted"));
    }
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.isComposing) return;
    const command = event.ctrlKey || event.metaKey;
    const marked =
      command && !event.shiftKey && !event.altKey
        ? { b: "strong", i: "em", e: "code" }[event.key.toLowerCase()]
        : undefined;
    if (marked) {
      format(marked as Mark);
    } else if (
      event.key === "Enter" &&
      !event.shiftKey &&
      !event.altKey &&
      (command || setting("enterSends") === "on")
    ) {
      send();
    } else if (event.key === "ArrowUp" && text === "" && !purpose && files.length === 0) {
      const last = lastOwn();
      if (!last) return;
      onPurpose({ edit: last });
    } else if (event.key === "Escape" && purpose) {
      onPurpose(undefined);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  };

  const ready = !tooLong && (text.trim() !== "" || (files.length > 0 && !editing));
  return (
    <div class="m-composer">
      {(editing || replying) && (
        <div class="m-purpose">
          <Icon name={editing ? "edit" : "reply"} size={18} />
          <div class="m-purpose-words">
            <p class="m-purpose-title">
              {editing
                ? t("composer.editing")
                : t("composer.replying", { name: replying ? nameOf(replying.from) : "" })}
            </p>
            <p class="m-purpose-text" dir="auto">
              {(editing ?? replying)?.text || (editing ?? replying)?.file?.name}
            </p>
          </div>
          <button
            type="button"
            class="icon-button icon-small"
            aria-label={t("action.cancel")}
            onClick={() => {
              onPurpose(undefined);
              field.current?.focus();
            }}
          >
            <Icon name="close" size={18} />
          </button>
        </div>
      )}
      {!editing && <Tray peer={peer} files={files} onFiles={onFiles} />}
      {formatting && (
        <div class="m-formats" role="toolbar" aria-label={t("composer.format")}>
          {marks.map(({ mark: as, icon, key }) => (
            <button
              key={as}
              type="button"
              class="icon-button icon-small"
              aria-label={t(key)}
              title={t(key)}
              onClick={() => format(as)}
            >
              <Icon name={icon} size={18} />
            </button>
          ))}
        </div>
      )}
      <form
        class="m-compose"
        onSubmit={(event) => {
          event.preventDefault();
          send();
        }}
      >
        <input
          ref={chooser}
          type="file"
          multiple
          hidden
          aria-label={t("composer.attach")}
          onChange={(event) => {
            add(event.currentTarget.files ?? []);
            event.currentTarget.value = "";
            field.current?.focus();
          }}
        />
        <button
          type="button"
          class="icon-button"
          aria-label={t("composer.attach")}
          title={t("composer.attach")}
          disabled={editing !== undefined}
          onClick={() => chooser.current?.click()}
        >
          <Icon name="attach" />
        </button>
        <textarea
          ref={field}
          data-composer
          class="m-field"
          rows={1}
          dir="auto"
          value={text}
          placeholder={t("composer.placeholder")}
          aria-label={t("composer.label", { name: nameOf(peer) })}
          aria-invalid={tooLong}
          aria-describedby={tooLong ? "m-too-long" : undefined}
          enterkeyhint={setting("enterSends") === "on" ? "send" : "enter"}
          onInput={(event) => write(event.currentTarget.value)}
          onKeyDown={onKeyDown}
          onPaste={onPaste}
        />
        <button
          type="button"
          class="icon-button m-format-toggle"
          aria-label={t("composer.format")}
          title={t("composer.format")}
          aria-pressed={formatting}
          onClick={() => setFormatting(!formatting)}
        >
          <Icon name="format" />
        </button>
        <div class="m-emoji-root">
          <button
            type="button"
            class="icon-button"
            aria-label={t("composer.emoji")}
            title={t("composer.emoji")}
            aria-expanded={picking}
            onClick={() => setPicking(!picking)}
          >
            <Icon name="smile" />
          </button>
          {picking && (
            <EmojiPicker
              onClose={() => setPicking(false)}
              onPick={(emoji) => {
                setPicking(false);
                insert(emoji);
              }}
            />
          )}
        </div>
        <button
          type="submit"
          class="icon-button m-send"
          aria-label={t("composer.send")}
          title={t("composer.send")}
          disabled={!ready}
        >
          <Icon name={editing ? "check" : "send"} />
        </button>
      </form>
      {tooLong && (
        <p class="m-too-long" id="m-too-long" role="alert">
          {t("composer.too-long")}
        </p>
      )}
    </div>
  );
}
