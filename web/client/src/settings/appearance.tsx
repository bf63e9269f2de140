import { languageNames, t } from "../i18n";
import { set, setting } from "../state/settings";
import { attempt } from "../ui/failure";
import { Segmented, Switch } from "../ui/parts";

export function Appearance() {
  return (
    <>
      <section class="card">
        <Segmented
          legend={t("appearance.theme")}
          value={setting("theme")}
          options={[
            { value: "", label: t("appearance.system") },
            { value: "light", label: t("appearance.light") },
            { value: "dark", label: t("appearance.dark") },
          ]}
          onChange={(value) => void attempt(() => set("theme", value))}
        />
        <Segmented
          legend={t("appearance.language")}
          value={setting("language")}
          options={[
            { value: "", label: t("appearance.browser") },
            ...Object.entries(languageNames).map(([value, label]) => ({ value, label })),
          ]}
          onChange={(value) => void attempt(() => set("language", value))}
        />
      </section>
      <section class="card">
        <Switch
          label={t("appearance.enter")}
          hint={t("appearance.enter-hint")}
          checked={setting("enterSends") === "on"}
          onChange={(on) => void attempt(() => set("enterSends", on ? "on" : "off"))}
        />
        <Switch
          label={t("appearance.details")}
          checked={setting("details") === "on"}
          onChange={(on) => void attempt(() => set("details", on ? "on" : "off"))}
        />
      </section>
    </>
  );
}
