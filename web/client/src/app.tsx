import { t } from "./i18n";
import { SignIn } from "./pages/sign-in";
import { Shell } from "./shell";
import { phase, resume } from "./state/session";
import { Logo } from "./ui/logo";
import { Toasts } from "./ui/toast";

export function App() {
  return (
    <>
      <Page />
      <Toasts />
    </>
  );
}

function Page() {
  switch (phase.value) {
    case "starting":
      return (
        <main class="splash" aria-busy="true" aria-label={t("loading")}>
          <Logo size={56} />
        </main>
      );
    case "unreachable":
      return (
        <main class="splash">
          <Logo size={56} />
          <h1>{t("unreachable.title")}</h1>
          <p>{t("unreachable.text")}</p>
          <button type="button" class="button button-main" onClick={() => void resume()}>
            {t("action.retry")}
          </button>
        </main>
      );
    case "signed-out":
      return <SignIn />;
    case "signed-in":
      return <Shell />;
  }
}
