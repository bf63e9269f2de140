/** Files that go with the message that is being written. */
import { useEffect } from "preact/hooks";
import { t } from "../i18n";
import { nameOf } from "../state/people";
import { me, sdk } from "../state/session";
import { size } from "../ui/format";
import { Icon } from "../ui/icon";
import { toast } from "../ui/toast";

export interface Enclosure {
  key: string;
  file: File;
  /** blob: address of a picture. */
  preview?: string;
  /** About how many seconds it takes the other side's devices to fetch it; 0: long, but nobody knows how long. */
  slow?: number;
}

/** Bytes from which the other side's line is asked after. */
const large = 1 << 20;
const most = 10;
let count = 0;

/** Takes files in, or says why not. */
export function enclose(peer: string, files: Iterable<File>, already: number): Enclosure[] {
  const limit = me.peek()?.server?.maxFile ?? 0n;
  const out: Enclosure[] = [];
  for (const file of files) {
    if (limit === 0n) toast(t("file.none"), { failed: true });
    else if (BigInt(file.size) > limit)
      toast(t("file.too-large", { name: file.name, limit: size(limit) }), { failed: true });
    else if (file.size === 0) toast(t("file.empty", { name: file.name }), { failed: true });
    else if (already + out.length >= most) {
      toast(t("file.too-many", { count: most }), { failed: true });
      break;
    } else {
      const preview = file.type.startsWith("image/") ? { preview: URL.createObjectURL(file) } : {};
      out.push({ key: `${peer} ${++count}`, file, ...preview });
    }
  }
  return out;
}

/** Gives the memory of previews back. */
export function release(files: readonly Enclosure[]): void {
  for (const one of files) if (one.preview) URL.revokeObjectURL(one.preview);
}

interface Props {
  peer: string;
  files: readonly Enclosure[];
  onFiles: (change: (old: readonly Enclosure[]) => readonly Enclosure[]) => void;
}

export function Tray({ peer, files, onFiles }: Props) {
  const asked = files.filter((one) => one.file.size >= large && one.slow === undefined);
  useEffect(() => {
    for (const { key, file } of asked) {
      sdk()
        .files.checkLine({ conversation: peer, size: BigInt(file.size) })
        .then(
          ({ slow, seconds }) => {
            if (slow) onFiles((old) => old.map((one) => (one.key === key ? { ...one, slow: Number(seconds) } : one)));
          },
          () => {}, // then nobody is warned
        );
    }
  }, [asked.map((one) => one.key).join()]);
  if (files.length === 0) return null;
  return (
    <ul class="m-tray" aria-label={t("file.tray")}>
      {files.map(({ key, file, preview, slow }) => (
        <li key={key} class="m-enclosure">
          {preview ? (
            <img class="m-thumb" src={preview} alt="" />
          ) : (
            <span class="m-file-icon">
              <Icon name="file" size={22} />
            </span>
          )}
          <span class="m-file-words">
            <bdi class="m-file-name">{file.name}</bdi>
            <span class="m-file-size">{size(file.size)}</span>
            {slow !== undefined && (
              <span class="m-slow" role="status">
                <Icon name="warning" size={16} />
                {slow > 0
                  ? t("file.slow", { name: nameOf(peer), time: lasting(slow) })
                  : t("file.slow-unknown", { name: nameOf(peer) })}
              </span>
            )}
          </span>
          <button
            type="button"
            class="icon-button icon-small"
            aria-label={t("file.remove", { name: file.name })}
            onClick={() => {
              release([{ key, file, ...(preview && { preview }) }]);
              onFiles((old) => old.filter((one) => one.key !== key));
              // This button goes with its file: the focus must not be lost.
              document.querySelector<HTMLElement>("[data-composer]")?.focus();
            }}
          >
            <Icon name="close" size={16} />
          </button>
        </li>
      ))}
    </ul>
  );
}

function lasting(seconds: number): string {
  return seconds < 90 ? t("file.seconds", { count: seconds }) : t("file.minutes", { count: Math.round(seconds / 60) });
}
