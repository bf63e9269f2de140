/** Web Push: notifications while no page is open. */
import { me, sdk } from "./session";
import { setting } from "./settings";

/** This browser and this server can. */
export function pushPossible(): boolean {
  return Boolean(me.value?.server?.pushKey) && "serviceWorker" in navigator && "PushManager" in window;
}

async function registration(): Promise<ServiceWorkerRegistration | undefined> {
  return "serviceWorker" in navigator ? navigator.serviceWorker.getRegistration() : undefined;
}

export async function pushOn(): Promise<boolean> {
  const worker = await registration();
  return Boolean(await worker?.pushManager?.getSubscription());
}

export async function turnPush(on: boolean): Promise<void> {
  const worker = await registration();
  if (!worker) throw new Error("no service worker");
  const old = await worker.pushManager.getSubscription();
  if (!on) {
    if (!old) return;
    await sdk().settings.removePush({ endpoint: old.endpoint });
    await old.unsubscribe();
    return;
  }
  const fresh =
    old ??
    (await worker.pushManager.subscribe({
      userVisibleOnly: true,
      applicationServerKey: me.peek()?.server?.pushKey ?? "",
    }));
  const { endpoint, keys } = fresh.toJSON();
  await sdk().settings.addPush({
    endpoint: endpoint ?? "",
    p256dh: keys?.p256dh ?? "",
    auth: keys?.auth ?? "",
    preview: setting("preview") === "on",
  });
}

/** The server forgets subscriptions with the session, and when the password changes; the browser keeps its own. */
export async function renewPush(): Promise<void> {
  if (pushPossible() && (await pushOn())) await turnPush(true);
}

/** A session that ends takes its subscription along. */
export async function forgetPush(): Promise<void> {
  const worker = await registration();
  await (await worker?.pushManager?.getSubscription())?.unsubscribe();
}
