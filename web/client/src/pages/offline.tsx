import { useEffect, useState } from "preact/hooks";
import { t } from "../i18n";
import { link, reconnect } from "../state/feed";
import { Icon } from "../ui/icon";

/** Says that the connection is gone, once that is more than a blink. */
export function OfflineBanner() {
  const state = link.value;
  const [long, setLong] = useState(false);
  useEffect(() => {
    if (state === "online") {
      setLong(false);
      return;
    }
    const timer = setTimeout(() => setLong(true), 1500);
    return () => clearTimeout(timer);
  }, [state]);
  return (
    <div role="status" class="banner-place">
      {long && state === "offline" && (
        <div class="banner">
          <Icon name="cloudOff" size={18} />
          <span>{t("offline.text")}</span>
          <button type="button" class="button button-small" onClick={reconnect}>
            {t("offline.retry")}
          </button>
        </div>
      )}
    </div>
  );
}
