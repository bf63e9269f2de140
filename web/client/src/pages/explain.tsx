import type { ExplainPresenceResponse } from "@parley-im/sdk";
import { useEffect, useState } from "preact/hooks";
import { type Key, t } from "../i18n";
import { said } from "../i18n/server";
import { nameOf } from "../state/people";
import { ownAddress, sdk } from "../state/session";
import { Dialog } from "../ui/dialog";
import { Dot, stateText } from "../ui/dot";
import { failureText } from "../ui/failure";
import { until } from "../ui/format";
import { SkeletonRows } from "../ui/parts";
import { levelName } from "./level-select";

/** What somebody sees of the person now, and why. */
export function Explain({ watcher, onClose }: { watcher: string; onClose: () => void }) {
  const [answer, setAnswer] = useState<ExplainPresenceResponse>();
  const [failure, setFailure] = useState("");
  useEffect(() => {
    sdk()
      .presence.explainPresence({ owner: ownAddress(), watcher })
      .then(setAnswer, (error: unknown) => setFailure(failureText(error, "error.address")));
  }, [watcher]);
  return (
    <Dialog title={t("privacy.explain-title", { name: nameOf(watcher) })} onClose={onClose}>
      {failure && <p class="note note-danger">{failure}</p>}
      {!answer && !failure && <SkeletonRows rows={2} />}
      {answer && <Seen answer={answer} />}
    </Dialog>
  );
}

function Seen({ answer }: { answer: ExplainPresenceResponse }) {
  const seen = answer.seen;
  const state = stateText(seen?.availability ?? "") || t("sight.nothing");
  const sight = answer.sight;
  return (
    <>
      <div class="seen-card">
        <Dot state={seen?.availability ?? ""} />
        <div>
          <p class="row-name">{seen?.until ? t("presence.until", { state, time: until(seen.until) }) : state}</p>
          {seen?.note && <p>{seen.note}</p>}
          {seen && seen.devices.length > 0 && (
            <p class="hint">{t("privacy.sees-devices", { count: seen.devices.length })}</p>
          )}
        </div>
      </div>
      <dl class="facts">
        <div>
          <dt>{t("privacy.level")}</dt>
          <dd>
            {levelName(answer.level)}
            <p class="hint">{said(answer.levelReason)}</p>
          </dd>
        </div>
        {sight && (
          <>
            <Fact label="sight.state" value={detail(sight.state)} />
            <Fact label="sight.note" value={sight.note ? "sight.yes" : "sight.no"} />
            <Fact label="sight.device" value={sight.device ? "sight.yes" : "sight.no"} />
            <Fact label="sight.calendar" value={detail(sight.calendar)} />
            <Fact label="sight.interrupt" value={sight.interrupt ? "sight.yes" : "sight.no"} />
          </>
        )}
        {answer.state && (
          <div>
            <dt>{t("privacy.really")}</dt>
            <dd>
              {stateText(answer.state.availability)}
              {answer.state.reason && <p class="hint">{said(answer.state.reason)}</p>}
            </dd>
          </div>
        )}
      </dl>
    </>
  );
}

export function detail(value: string): Key {
  if (value === "full") return "sight.full";
  return value === "basic" ? "sight.basic" : "sight.no";
}

function Fact({ label, value }: { label: Key; value: Key }) {
  return (
    <div>
      <dt>{t(label)}</dt>
      <dd>{t(value)}</dd>
    </div>
  );
}
