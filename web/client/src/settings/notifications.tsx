import { useEffect, useState } from "preact/hooks";
import { t } from "../i18n";
import { notificationsOn, turnNotifications } from "../state/notify";
import { pushOn, pushPossible, turnPush } from "../state/push";
import { set, setting } from "../state/settings";
import { chime } from "../state/tone";
import { attempt } from "../ui/failure";
import { Switch } from "../ui/parts";
import { toast } from "../ui/toast";

export function Notifications() {
  const [page, setPage] = useState(notificationsOn());
  const [push, setPush] = useState(false);
  useEffect(() => {
    pushOn().then(setPush, () => {}); // no push here
  }, []);
  const turn = async (on: boolean) => {
    const allowed = await turnNotifications(on);
    setPage(notificationsOn());
    if (!allowed) toast(t("notifications.refused"), { failed: true });
  };
  const turnAway = async (on: boolean) => {
    if (on && !(await turnNotifications(true))) {
      toast(t("notifications.refused"), { failed: true });
      return;
    }
    setPage(notificationsOn());
    await attempt(() => turnPush(on));
    setPush(await pushOn());
  };
  return (
    <>
      <section class="card">
        <h2>{t("notifications.here")}</h2>
        <Switch
          label={t("notifications.page")}
          hint={t("notifications.page-hint")}
          checked={page}
          onChange={(on) => void turn(on)}
        />
        <Switch
          label={t("notifications.push")}
          hint={pushPossible() ? t("notifications.push-hint") : t("notifications.push-none")}
          checked={push}
          disabled={!pushPossible()}
          onChange={(on) => void turnAway(on)}
        />
      </section>
      <section class="card">
        <h2>{t("notifications.everywhere")}</h2>
        <Switch
          label={t("notifications.sound")}
          hint={t("notifications.sound-hint")}
          checked={setting("sound") === "on"}
          onChange={(on) => {
            if (on) chime();
            void attempt(() => set("sound", on ? "on" : "off"));
          }}
        />
        <Switch
          label={t("notifications.preview")}
          checked={setting("preview") === "on"}
          onChange={(on) => void attempt(() => set("preview", on ? "on" : "off"))}
        />
        <Switch
          label={t("notifications.receipts")}
          hint={t("notifications.receipts-hint")}
          checked={setting("receipts") !== "off"}
          onChange={(on) => void attempt(() => set("receipts", on ? "on" : "off"))}
        />
      </section>
    </>
  );
}
