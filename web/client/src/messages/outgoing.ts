/** What is on its way to the server: messages, and files before they become messages. */
import { type Letter, type MessageDraft, newRequestId, type Outbox, ParleyError } from "@parley-im/sdk";
import { computed, effect, signal } from "@preact/signals";
import { link } from "../state/feed";
import { client, sdk } from "../state/session";
import { failureText } from "../ui/failure";
import { pagesOf } from "./pages";

/** A message or file that is not recorded yet. */
export interface Parcel {
  requestId: string;
  peer: string;
  text: string;
  html: string;
  at: number;
  state: "uploading" | "pending" | "failed";
  why: string;
  replyTo: string;
  file?: Blob & { name: string };
  /** blob: address of a picture. */
  preview?: string;
  /** Of the upload, 0 to 1. */
  done?: number;
}

const parcels = signal<ReadonlyMap<string, Parcel>>(new Map());
const stops = new Map<string, AbortController>();
/** Id of the upload of a file whose message failed. */
const uploads = new Map<string, string>();
let outbox: Outbox | undefined;

/** What is on its way to somebody, oldest first. */
export function parcelsTo(peer: string): Parcel[] {
  return [...parcels.value.values()].filter((one) => one.peer === peer);
}

export const sending = computed(() => [...parcels.value.values()].some((one) => one.state !== "failed"));

function put(parcel: Parcel): void {
  parcels.value = new Map(parcels.peek()).set(parcel.requestId, parcel);
}

function drop(requestId: string): void {
  const old = parcels.peek().get(requestId);
  if (!old) return;
  if (old.preview) URL.revokeObjectURL(old.preview);
  const next = new Map(parcels.peek());
  next.delete(requestId);
  uploads.delete(requestId);
  parcels.value = next;
}

function change(requestId: string, fields: Partial<Parcel>): void {
  const old = parcels.peek().get(requestId);
  if (old) put({ ...old, ...fields });
}

function box(): Outbox {
  if (!outbox) {
    outbox = sdk().outbox();
    outbox.on(settled);
  }
  return outbox;
}

function settled(letter: Letter): void {
  if (letter.state === "sent" && letter.message) {
    pagesOf(letter.conversation).put(letter.message);
    drop(letter.requestId);
  } else {
    const failed = letter.state === "failed";
    change(letter.requestId, { state: failed ? "failed" : "pending", why: failed ? failureText(letter.error) : "" });
  }
}

effect(() => {
  if (link.value === "online") outbox?.wake();
});
effect(() => {
  if (client.value) return;
  outbox?.close();
  outbox = undefined;
  for (const stop of stops.values()) stop.abort();
  for (const one of parcels.peek().values()) drop(one.requestId);
});
addEventListener("beforeunload", (event) => {
  if (sending.peek()) event.preventDefault();
});

/** Sends a text. Throws when too much waits already. */
export function sendText(peer: string, text: string, html: string, replyTo: string): void {
  const requestId = newRequestId();
  put({ requestId, peer, text, html, replyTo, at: Date.now(), state: "pending", why: "" });
  try {
    box().add(draft(peer, { text, html, replyTo }), requestId);
  } catch (error) {
    drop(requestId);
    throw error;
  }
}

function draft(
  conversation: string,
  fields: { text: string; html: string; replyTo: string; file?: string },
): MessageDraft {
  const { text, html, replyTo, file } = fields;
  return { conversation, ...(html ? { html } : { text }), ...(replyTo && { replyTo }), ...(file && { file }) };
}

/** Uploads a file and says it. */
export function sendFile(peer: string, file: Blob & { name: string }, caption: string, replyTo: string): void {
  const requestId = newRequestId();
  const preview = file.type.startsWith("image/") ? { preview: URL.createObjectURL(file) } : {};
  put({
    requestId,
    peer,
    text: caption,
    html: "",
    replyTo,
    file,
    done: 0,
    at: Date.now(),
    state: "uploading",
    why: "",
    ...preview,
  });
  void upload(requestId);
}

async function upload(requestId: string): Promise<void> {
  const parcel = parcels.peek().get(requestId);
  if (!parcel?.file) return;
  const stop = new AbortController();
  stops.set(requestId, stop);
  change(requestId, { state: "uploading", why: "" });
  try {
    const file = await sdk().upload(parcel.file, {
      conversation: parcel.peer,
      name: parcel.file.name,
      signal: stop.signal,
      progress: (done, total) => change(requestId, { done: total > 0 ? done / total : 1 }),
    });
    uploads.set(requestId, file.id);
    change(requestId, { state: "pending" });
    box().add(draft(parcel.peer, { text: parcel.text, html: "", replyTo: parcel.replyTo, file: file.id }), requestId);
  } catch (error) {
    if (error instanceof ParleyError && error.code === "canceled") drop(requestId);
    else change(requestId, { state: "failed", why: failureText(error) });
  } finally {
    stops.delete(requestId);
  }
}

export function tryAgain(requestId: string): void {
  const parcel = parcels.peek().get(requestId);
  if (parcel?.file && !uploads.has(requestId)) void upload(requestId);
  else box().retry(requestId);
}

/** Gives up on one that failed, or stops an upload. */
export function discard(requestId: string): void {
  const stop = stops.get(requestId);
  if (stop) {
    stop.abort();
    return;
  }
  outbox?.discard(requestId);
  drop(requestId);
}
