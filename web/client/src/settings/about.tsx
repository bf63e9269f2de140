import { t } from "../i18n";
import { shortcutsOpen } from "../pages/shortcuts";
import { me } from "../state/session";
import { size } from "../ui/format";
import { Icon } from "../ui/icon";

export function About() {
  const server = me.value?.server;
  const facts: [string, string][] = [
    [t("about.version"), server?.version ?? ""],
    [t("about.domains"), server?.domains.join(", ") ?? ""],
    [t("about.max-file"), server && server.maxFile > 0n ? size(server.maxFile) : ""],
    [t("about.account"), me.value?.address ?? ""],
  ];
  return (
    <section class="card">
      <dl class="facts">
        {facts
          .filter(([, value]) => value)
          .map(([label, value]) => (
            <div key={label}>
              <dt>{label}</dt>
              <dd>{value}</dd>
            </div>
          ))}
      </dl>
      <button
        type="button"
        class="button"
        onClick={() => {
          shortcutsOpen.value = true;
        }}
      >
        <Icon name="keyboard" size={18} />
        {t("shortcuts.title")}
      </button>
    </section>
  );
}
