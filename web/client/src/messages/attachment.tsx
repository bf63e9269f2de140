/** Files and pictures in messages. */
import type { File as ParleyFile } from "@parley-im/sdk";
import { useState } from "preact/hooks";
import { t } from "../i18n";
import { sdk } from "../state/session";
import { Dialog } from "../ui/dialog";
import { size } from "../ui/format";
import { Icon } from "../ui/icon";

/** Pixels of the longer side of a picture in a message. */
const longest = 320;

/** Pictures of which the server makes no small ones, but which browsers draw. */
const drawn = new Set(["image/webp", "image/avif", "image/bmp", "image/png", "image/jpeg", "image/gif"]);
/** Bytes up to which such a picture is shown itself. */
const small = 8n << 20n;

/** What to show of a picture in its message; undefined: it is a file like others. */
function pictureOf(file: ParleyFile): string | undefined {
  if (file.thumbnail) return address(file.thumbnail);
  return drawn.has(file.type) && file.size <= small ? address(file.url) : undefined;
}

/** The address of a file, if it is on this server. */
function address(path: string): string | undefined {
  try {
    return sdk().href(path);
  } catch {
    return undefined;
  }
}

export function Attachment({ file }: { file: ParleyFile }) {
  const [large, setLarge] = useState(false);
  const [broken, setBroken] = useState(false);
  // A picture that the server did not measure has its own size once it is there.
  const [measured, measure] = useState({ width: file.width, height: file.height });
  const url = address(file.url);
  const shown = pictureOf(file);
  if (!url || !shown || broken) return <FileCard file={file} url={url} />;
  const known = measured.width > 0 && measured.height > 0;
  const scale = Math.min(1, longest / Math.max(measured.width, measured.height, 1));
  const side = (pixels: number) => Math.max(48, Math.round(pixels * scale));
  return (
    <>
      <button
        type="button"
        class="m-picture"
        onClick={() => setLarge(true)}
        aria-label={t("file.picture", { name: file.name })}
      >
        <img
          src={shown}
          alt=""
          width={known ? side(measured.width) : longest}
          height={known ? side(measured.height) : (longest * 3) / 4}
          loading="lazy"
          decoding="async"
          onLoad={({ currentTarget: { naturalWidth: width, naturalHeight: height } }) => {
            if (!known) measure({ width, height });
          }}
          onError={() => setBroken(true)}
        />
      </button>
      {large && <Lightbox file={file} url={url} onClose={() => setLarge(false)} />}
    </>
  );
}

function FileCard({ file, url }: { file: ParleyFile; url: string | undefined }) {
  const inner = (
    <>
      <span class="m-file-icon">
        <Icon name="file" size={22} />
      </span>
      <span class="m-file-words">
        <bdi class="m-file-name">{file.name}</bdi>
        <span class="m-file-size">{file.size > 0n ? size(file.size) : file.type}</span>
      </span>
      {url && (
        <>
          <span class="unseen">{t("file.save")}</span>
          <Icon name="download" size={18} />
        </>
      )}
    </>
  );
  if (!url) return <span class="m-file">{inner}</span>;
  return (
    <a class="m-file" href={url} download={file.name}>
      {inner}
    </a>
  );
}

function Lightbox({ file, url, onClose }: { file: ParleyFile; url: string; onClose: () => void }) {
  return (
    <Dialog title={file.name} class="m-lightbox" wide onClose={onClose}>
      <img class="m-lightbox-picture" src={url} alt={file.name} />
      <footer class="m-lightbox-foot">
        <span>{size(file.size)}</span>
        <a class="button" href={url} download={file.name}>
          <Icon name="download" size={18} />
          {t("file.save")}
        </a>
      </footer>
    </Dialog>
  );
}
