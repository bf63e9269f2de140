import { render } from "preact";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/controls.css";
import "./styles/layout.css";
import "./styles/lists.css";
import "./styles/pages.css";
import { App } from "./app";
import { startKeys } from "./state/keys";
import { startLife } from "./state/life";
import { go, startRouter } from "./state/router";
import { applySettings } from "./state/settings";

applySettings();
startRouter();
startKeys();
startLife();

const root = document.getElementById("app");
if (root) render(<App />, root);

// A new build has replaced the parts that this page would load later.
addEventListener("vite:preloadError", (event) => {
  event.preventDefault();
  location.reload();
});

if ("serviceWorker" in navigator && import.meta.env.PROD) {
  // Without one (a certificate that the browser does not trust) everything but push and starting offline works.
  navigator.serviceWorker.register("/sw.js").catch(() => {});
  // A notification was clicked while this page was there.
  navigator.serviceWorker.addEventListener("message", (event: MessageEvent<{ open?: string }>) => {
    if (event.data?.open) go(event.data.open);
  });
}
