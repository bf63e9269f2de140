import { t } from "../i18n";
import { SettingsNav } from "../settings/nav";
import { pane, route } from "../state/router";
import { medium } from "../ui/media";
import { ContactList } from "./contacts";
import { SearchList } from "./search";
import { TalkList } from "./talks";

/** The left pane. Where it is all that is seen, it is the main part of the page. */
export function ListPane({ alone }: { alone: boolean }) {
  const { title, list } = shown();
  return (
    <section class="list-pane" role={alone && !medium.value ? "main" : undefined} aria-label={title}>
      {list}
    </section>
  );
}

function shown() {
  const now = route.value;
  if (now.page === "settings") return { title: t("nav.settings"), list: <SettingsNav section={now.section} /> };
  switch (pane.value) {
    case "chats":
      return { title: t("nav.chats"), list: <TalkList /> };
    case "contacts":
      return { title: t("nav.contacts"), list: <ContactList /> };
    case "search":
      return { title: t("nav.search"), list: <SearchList /> };
  }
}
