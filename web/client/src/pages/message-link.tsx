import { useEffect, useState } from "preact/hooks";
import { t } from "../i18n";
import { go, talkPath } from "../state/router";
import { sdk } from "../state/session";
import { Empty, SkeletonRows } from "../ui/parts";

/** A link to a message: it opens the conversation there. */
export function MessageLink({ id }: { id: string }) {
  const [failed, setFailed] = useState(false);
  useEffect(() => {
    sdk()
      .conversations.getMessage({ id })
      .then(({ message }) => {
        if (message) go(talkPath(message.conversation, message.position), { replace: true });
        else setFailed(true);
      })
      .catch(() => setFailed(true));
  }, [id]);
  return failed ? (
    <Empty icon="link" title={t("link.unknown.title")} text={t("link.unknown.text")}>
      <a class="button" href="/">
        {t("link.home")}
      </a>
    </Empty>
  ) : (
    <SkeletonRows rows={7} />
  );
}
