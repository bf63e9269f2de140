/** What became of a message, and what it said before. */
import type { GetMessageResponse, Message } from "@parley-im/sdk";
import { useEffect, useState } from "preact/hooks";
import { type Key, t } from "../i18n";
import { nameOf } from "../state/people";
import { sdk } from "../state/session";
import { Dialog } from "../ui/dialog";
import { failureText } from "../ui/failure";
import { exact } from "../ui/format";
import { Text } from "./text";

const whats: Record<string, Key> = {
  stored: "message.fate.stored",
  delivered: "message.fate.delivered",
  refused: "message.fate.refused",
  expired: "message.fate.expired",
  read: "message.fate.read",
};

export function MessageDetails({ message, onClose }: { message: Message; onClose: () => void }) {
  const [got, setGot] = useState<GetMessageResponse>();
  const [failed, setFailed] = useState("");
  useEffect(() => {
    const stop = new AbortController();
    sdk()
      .conversations.getMessage({ id: message.id }, { signal: stop.signal })
      .then(setGot, (error: unknown) => {
        if (!stop.signal.aborted) setFailed(failureText(error));
      });
    return () => stop.abort();
  }, [message.id]);
  return (
    <Dialog title={t("message.details")} onClose={onClose}>
      <dl class="m-facts">
        <dt>{t("message.from")}</dt>
        <dd>
          <bdi>{nameOf(message.from)}</bdi> <span class="m-faint">{message.from}</span>
        </dd>
        <dt>{t("message.at")}</dt>
        <dd>{message.at && exact(message.at)}</dd>
      </dl>
      {failed && <p role="alert">{failed}</p>}
      {!got && !failed && <p role="status">{t("loading")}</p>}
      {got && (
        <ul class="m-fates">
          {got.fates.map((fate, at) => (
            <li key={at}>
              <strong>{t(whats[fate.what] ?? "message.fate.other")}</strong>
              {(fate.label || fate.device) && <bdi> {fate.label || fate.device}</bdi>}
              {fate.reason && <span> — {fate.reason}</span>}
              <br />
              <span class="m-faint">{fate.at && exact(fate.at)}</span>
            </li>
          ))}
        </ul>
      )}
      {got && got.versions.length > 1 && (
        <>
          <h3>{t("message.versions")}</h3>
          <ol class="m-versions">
            {got.versions.slice(0, -1).map((version, at) => (
              <li key={at}>
                <Text text={version.text} html={version.html} />
                <span class="m-faint">{version.at && exact(version.at)}</span>
              </li>
            ))}
          </ol>
        </>
      )}
    </Dialog>
  );
}
