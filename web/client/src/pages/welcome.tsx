import { t } from "../i18n";
import { Logo } from "../ui/logo";
import { shortcutsOpen } from "./shortcuts";
import { switcherOpen } from "./switcher";

/** The main view while nothing is open. */
export function Welcome() {
  return (
    <div class="welcome">
      <Logo size={64} />
      <h1>{t("welcome.title")}</h1>
      <p>{t("welcome.text")}</p>
      <div class="welcome-actions">
        <button
          type="button"
          class="button button-main"
          onClick={() => {
            switcherOpen.value = true;
          }}
        >
          {t("list.new")}
        </button>
        <button
          type="button"
          class="button"
          onClick={() => {
            shortcutsOpen.value = true;
          }}
        >
          {t("shortcuts.title")}
        </button>
      </div>
    </div>
  );
}
