/** The service worker: the app starts without a network, and notifications come without a page. */
/// <reference lib="webworker" />
export {};

declare const self: ServiceWorkerGlobalScope;

// These are put in by the build.
const files: readonly string[] = "__SHELL_FILES__" as unknown as readonly string[];
const version: string = "__SHELL_VERSION__";
const newMessage = "__NEW_MESSAGE__" as unknown as Readonly<Record<string, string>>;

const cacheName = `parley-${version}`;
const others = ["/icon.svg", "/icon-192.png", "/manifest.webmanifest"];

self.addEventListener("install", (event) => {
  event.waitUntil(
    caches
      .open(cacheName)
      .then((cache) => cache.addAll(["/", ...others, ...files]))
      .then(() => self.skipWaiting()),
  );
});

self.addEventListener("activate", (event) => {
  event.waitUntil(
    caches
      .keys()
      .then((names) => Promise.all(names.filter((name) => name !== cacheName).map((name) => caches.delete(name))))
      .then(() => self.clients.claim()),
  );
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== self.location.origin) return;
  // What is said and sent is never kept here.
  if (url.pathname.startsWith("/files/") || url.pathname.startsWith("/parley.v1.") || url.pathname === "/demo.json")
    return;
  if (request.mode === "navigate") event.respondWith(page(request));
  else if (files.includes(url.pathname) || others.includes(url.pathname)) event.respondWith(kept(request));
});

/** The page of the server, so that a new build is seen at once; without a network the one that is kept. */
async function page(request: Request): Promise<Response> {
  try {
    const answer = await fetch(request);
    if (answer.ok) return answer;
    throw new Error(String(answer.status));
  } catch {
    return (await caches.match("/", { cacheName })) ?? Response.error();
  }
}

async function kept(request: Request): Promise<Response> {
  return (await caches.match(request, { cacheName, ignoreSearch: true })) ?? fetch(request);
}

/** What the server pushes: title and text only for those who want to see them. */
interface Pushed {
  title?: string;
  body?: string;
  conversation?: string;
}

function pushed(data: PushMessageData | null): Pushed {
  try {
    const value: unknown = data?.json();
    return typeof value === "object" && value !== null ? (value as Pushed) : {};
  } catch {
    return {};
  }
}

self.addEventListener("push", (event) => {
  const words = newMessage[navigator.language.split("-")[0] ?? ""] ?? newMessage.en;
  const { title = "Parley", body = words ?? "", conversation = "" } = pushed(event.data);
  event.waitUntil(
    self.registration.showNotification(title, {
      body,
      tag: conversation || "parley",
      icon: "/icon-192.png",
      data: { conversation },
    }),
  );
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const { conversation = "" } = (event.notification.data ?? {}) as Pushed;
  const path = conversation ? `/c/${encodeURIComponent(conversation)}` : "/";
  event.waitUntil(open(path));
});

/** Shows a path in the window that is there, or in a new one. */
async function open(path: string): Promise<void> {
  const windows = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  const one = windows[0];
  if (!one) {
    await self.clients.openWindow(path);
    return;
  }
  await one.focus();
  one.postMessage({ open: path });
}
