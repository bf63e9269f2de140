import { t } from "../i18n";
import { SettingsNav } from "../settings/nav";
import { pane, route } from "../state/router";
import { ContactList } from "./contacts";
import { SearchList } from "./search";
import { TalkList } from "./talks";

/** The left pane. */
export function ListPane() {
  const now = route.value;
  if (now.page === "settings") {
    return (
      <section class="list-pane" aria-label={t("nav.settings")}>
        <SettingsNav section={now.section} />
      </section>
    );
  }
  switch (pane.value) {
    case "chats":
      return (
        <section class="list-pane" aria-label={t("nav.chats")}>
          <TalkList />
        </section>
      );
    case "contacts":
      return (
        <section class="list-pane" aria-label={t("nav.contacts")}>
          <ContactList />
        </section>
      );
    case "search":
      return (
        <section class="list-pane" aria-label={t("nav.search")}>
          <SearchList />
        </section>
      );
  }
}
