import { type Key, t } from "../i18n";
import { back, type SettingsSection, settingsSections } from "../state/router";
import { Icon } from "../ui/icon";
import type { IconName } from "../ui/icons";
import { medium } from "../ui/media";

export const sectionNames: Record<SettingsSection, { title: Key; icon: IconName }> = {
  profile: { title: "settings.profile", icon: "person" },
  privacy: { title: "settings.privacy", icon: "shield" },
  notifications: { title: "settings.notifications", icon: "bell" },
  appearance: { title: "settings.appearance", icon: "palette" },
  devices: { title: "settings.devices", icon: "device" },
  about: { title: "settings.about", icon: "info" },
};

export function SettingsNav({ section }: { section: SettingsSection | undefined }) {
  const current = section ?? (medium.value ? "profile" : undefined);
  return (
    <>
      <header class="list-head">
        <button type="button" class="icon-button" aria-label={t("action.back")} onClick={back}>
          <Icon name="back" />
        </button>
        <h1 tabIndex={-1}>{t("nav.settings")}</h1>
      </header>
      <nav class="list-body" aria-label={t("nav.settings")}>
        <ul class="rows">
          {settingsSections.map((one) => (
            <li key={one}>
              <a class="row row-nav" href={`/settings/${one}`} aria-current={one === current ? "page" : undefined}>
                <Icon name={sectionNames[one].icon} />
                <span>{t(sectionNames[one].title)}</span>
              </a>
            </li>
          ))}
        </ul>
      </nav>
    </>
  );
}
