/** One conversation: its messages, and the composer below. */
import type { Message } from "@parley-im/sdk";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { t } from "../i18n";
import { nameOf } from "../state/people";
import type { Jump } from "../state/router";
import { ownAddress, sdk } from "../state/session";
import { isTyping } from "../state/typing";
import { Confirm } from "../ui/dialog";
import { attempt } from "../ui/failure";
import { Icon } from "../ui/icon";
import { announce, toast } from "../ui/toast";
import { Composer, type Purpose } from "./composer";
import { MessageDetails } from "./details";
import { MessageList } from "./list";
import { type Actions, editable } from "./message";
import { pagesOf } from "./pages";
import { type Enclosure, enclose, release } from "./tray";

interface Props {
  /** Address of the other side; a change of it is a new instance. */
  peer: string;
  /** Where to go; a new object is a new wish. */
  jump: Jump | undefined;
}

export function MessageView({ peer, jump }: Props) {
  const [purpose, setPurpose] = useState<Purpose>();
  const [files, setFiles] = useState<readonly Enclosure[]>([]);
  const [shown, setShown] = useState<Message>();
  const [leaving, setLeaving] = useState<Message>();
  const own = ownAddress();

  const actions = useMemo<Omit<Actions, "goTo">>(
    () => ({
      reply: (message) => setPurpose({ reply: message }),
      edit: (message) => setPurpose({ edit: message }),
      remove: setLeaving,
      details: setShown,
      react: (message, emoji) => {
        const remove = message.reactions.some((r) => r.emoji === emoji && r.from.includes(own));
        void attempt(() => sdk().messages.react({ id: message.id, emoji, remove }));
      },
      copy: (message) => void copy(message.text, t("message.copied")),
      link: (message) => void copy(`${location.origin}/m/${encodeURIComponent(message.id)}`, t("message.link-copied")),
    }),
    [peer],
  );
  const lastOwn = () =>
    pagesOf(peer)
      .items.peek()
      .findLast((m) => editable(m, own));

  // Previews go with the view.
  const current = useRef(files);
  current.current = files;
  useEffect(() => () => release(current.current), []);

  return (
    <Dropping
      name={nameOf(peer)}
      onDrop={(dropped) => setFiles((old) => [...old, ...enclose(peer, dropped, old.length)])}
    >
      <MessageList peer={peer} jump={jump} actions={actions} />
      <p class="m-typing" role="status">
        {isTyping(peer) && (
          <>
            <span class="m-dots" aria-hidden="true">
              <i />
              <i />
              <i />
            </span>
            {t("message.typing", { name: nameOf(peer) })}
          </>
        )}
      </p>
      <Composer
        peer={peer}
        purpose={purpose}
        onPurpose={setPurpose}
        files={files}
        onFiles={setFiles}
        lastOwn={lastOwn}
        jumped={jump !== undefined}
      />
      {shown && <MessageDetails message={shown} onClose={() => setShown(undefined)} />}
      {leaving && (
        <Confirm
          title={t("message.delete-title")}
          text={t("message.delete-text")}
          action={t("message.delete")}
          onClose={() => setLeaving(undefined)}
          onConfirm={() =>
            void attempt(async () => {
              await sdk().messages.retract({ id: leaving.id });
              announce(t("message.retracted"));
            })
          }
        />
      )}
    </Dropping>
  );
}

async function copy(text: string, said: string): Promise<void> {
  if (await attempt(() => navigator.clipboard.writeText(text))) toast(said);
}

interface DroppingProps {
  name: string;
  onDrop: (files: FileList) => void;
  children: preact.ComponentChildren;
}

/** Takes files that are dropped anywhere on the conversation. */
function Dropping({ name, onDrop, children }: DroppingProps) {
  const [over, setOver] = useState(false);
  const depth = useRef(0);
  const withFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
  return (
    <section
      class="m-view"
      aria-label={t("message.list", { name })}
      onDragEnter={(event) => {
        if (!withFiles(event)) return;
        depth.current++;
        setOver(true);
      }}
      onDragLeave={(event) => {
        if (withFiles(event) && --depth.current === 0) setOver(false);
      }}
      onDragOver={(event) => {
        if (withFiles(event)) event.preventDefault();
      }}
      onDrop={(event) => {
        if (!withFiles(event)) return;
        event.preventDefault();
        depth.current = 0;
        setOver(false);
        if (event.dataTransfer) onDrop(event.dataTransfer.files);
      }}
    >
      {children}
      {over && (
        <div class="m-drop" aria-hidden="true">
          <Icon name="attach" size={32} />
          <span>{t("file.drop", { name })}</span>
        </div>
      )}
    </section>
  );
}
