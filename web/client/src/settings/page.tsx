import { t } from "../i18n";
import { go, type SettingsSection } from "../state/router";
import { Icon } from "../ui/icon";
import { About } from "./about";
import { Appearance } from "./appearance";
import { Devices } from "./devices";
import { sectionNames } from "./nav";
import { Notifications } from "./notifications";
import { Privacy } from "./privacy";
import { ProfilePage } from "./profile";

const pages = {
  profile: ProfilePage,
  privacy: Privacy,
  notifications: Notifications,
  appearance: Appearance,
  devices: Devices,
  about: About,
};

export function SettingsPage({ section }: { section: SettingsSection }) {
  const Page = pages[section];
  return (
    <div class="page">
      <header class="page-head">
        <button
          type="button"
          class="icon-button page-back"
          aria-label={t("action.back")}
          onClick={() => go("/settings")}
        >
          <Icon name="back" />
        </button>
        <h1 tabIndex={-1}>{t(sectionNames[section].title)}</h1>
      </header>
      <div class="page-body">
        <Page />
      </div>
    </div>
  );
}
