/** A message that is not recorded yet. */
import { t } from "../i18n";
import { clock, size } from "../ui/format";
import { Icon } from "../ui/icon";
import { discard, type Parcel, tryAgain } from "./outgoing";
import { Text } from "./text";

export function ParcelRow({ parcel, first }: { parcel: Parcel; first: boolean }) {
  const { requestId, state, file, preview, done = 0 } = parcel;
  const failed = state === "failed";
  return (
    <article
      class={`m-row m-own m-last m-parcel ${first ? "m-first" : ""} ${failed ? "m-failed" : ""}`}
      data-row={requestId}
      tabIndex={-1}
    >
      <p class="unseen">{t("message.you")}</p>
      <div class="m-line">
        <div class="m-bubble">
          {preview && <img class="m-preview" src={preview} alt={file?.name ?? ""} />}
          {file && !preview && (
            <span class="m-file">
              <span class="m-file-icon">
                <Icon name="file" size={22} />
              </span>
              <span class="m-file-words">
                <bdi class="m-file-name">{file.name}</bdi>
                <span class="m-file-size">{size(file.size)}</span>
              </span>
            </span>
          )}
          {state === "uploading" && (
            <div class="m-progress">
              <progress max={1} value={done} aria-label={t("file.uploading", { name: file?.name ?? "" })} />
              <button
                type="button"
                class="icon-button icon-small"
                aria-label={t("file.stop")}
                onClick={() => discard(requestId)}
              >
                <Icon name="close" size={16} />
              </button>
            </div>
          )}
          <div class="m-said">
            {(parcel.text || parcel.html) && <Text text={parcel.text} html={parcel.html} />}
            <p class="m-meta">
              <time>{clock(new Date(parcel.at))}</time>
              {!failed && (
                <span role="img" aria-label={t("message.pending")} title={t("message.pending")}>
                  <Icon name="clock" size={16} />
                </span>
              )}
            </p>
          </div>
        </div>
      </div>
      {failed && (
        <div class="m-failure" role="alert">
          <Icon name="warning" size={16} />
          <span>{t("message.not-sent", { why: parcel.why })}</span>
          <button type="button" class="link-button" onClick={() => tryAgain(requestId)}>
            {t("message.try-again")}
          </button>
          <button type="button" class="link-button" onClick={() => discard(requestId)}>
            {t("message.discard")}
          </button>
        </div>
      )}
    </article>
  );
}
