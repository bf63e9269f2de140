/** What is on its way to the server: messages, and files before they become messages. */
import { type Letter, newRequestId, type Outbox, ParleyError } from "@parley-im/sdk";
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

/** How many may wait or have failed at a time: as many as the outbox of the SDK takes. */
const most = 200;
/** Uploads at a time. More would not be faster, and the browser has six connections for all that the page does. */
const lanes = 3;
/** Milliseconds without progress after which an upload has failed, so that what waits behind it goes on. */
const patience = 150_000;

const parcels = signal<ReadonlyMap<string, Parcel>>(new Map());
/** By conversation, what has not been handed over for sending: it is, in this order, once it is complete. */
const lines = new Map<string, string[]>();
const stops = new Map<string, AbortController>();
let uploading = 0;
const parked: (() => void)[] = [];
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

/** Hands over what is complete, up to the first file that is still on its way. One that failed holds nobody up. */
function advance(peer: string): void {
  const line = lines.get(peer);
  while (line?.length) {
    const parcel = parcels.peek().get(line[0] ?? "");
    if (parcel?.state === "uploading") return;
    line.shift();
    if (parcel?.state === "pending") handOver(parcel);
  }
  lines.delete(peer);
}

function queue(parcel: Parcel): void {
  put(parcel);
  lines.set(parcel.peer, [...(lines.get(parcel.peer) ?? []), parcel.requestId]);
}

function handOver({ requestId, peer, text, html, replyTo }: Parcel): void {
  const file = uploads.get(requestId);
  const what = html ? { html } : { text };
  try {
    box().add({ conversation: peer, ...what, ...(replyTo && { replyTo }), ...(file && { file }) }, requestId);
  } catch (error) {
    change(requestId, { state: "failed", why: failureText(error) });
  }
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
  lines.clear();
  for (const stop of stops.values()) stop.abort();
  for (const one of parcels.peek().values()) drop(one.requestId);
});
addEventListener("beforeunload", (event) => {
  if (sending.peek()) event.preventDefault();
});

/** What somebody says at once. */
export interface Saying {
  text: string;
  html: string;
  replyTo: string;
  /** The text becomes the caption of the first. */
  files: readonly (Blob & { name: string })[];
}

/** Sends a text, or files of which the first has the text. Throws when too much waits already; then nothing is sent. */
export function say(peer: string, { text, html, replyTo, files }: Saying): void {
  if (parcels.peek().size + Math.max(1, files.length) > most) {
    throw new ParleyError("resource_exhausted", "too many messages wait to be sent", { reason: "outbox" });
  }
  const begun = { peer, at: Date.now(), why: "" };
  if (files.length === 0) queue({ ...begun, requestId: newRequestId(), text, html, replyTo, state: "pending" });
  for (const [at, file] of files.entries()) {
    const requestId = newRequestId();
    queue({
      ...begun,
      requestId,
      ...(at === 0 ? { text, replyTo } : { text: "", replyTo: "" }),
      html: "",
      file,
      ...(file.type.startsWith("image/") && { preview: URL.createObjectURL(file) }),
      done: 0,
      state: "uploading",
    });
    void upload(requestId);
  }
  advance(peer);
}

async function upload(requestId: string): Promise<void> {
  if (uploading >= lanes) await new Promise<void>((go) => parked.push(go));
  uploading++;
  const parcel = parcels.peek().get(requestId); // it may have been stopped meanwhile
  if (parcel?.file) await transfer(parcel, parcel.file);
  uploading--;
  parked.shift()?.();
}

async function transfer({ requestId, peer }: Parcel, file: Blob & { name: string }): Promise<void> {
  const stop = new AbortController();
  stops.set(requestId, stop);
  const giveUp = () => stop.abort(new ParleyError("deadline_exceeded", "no answer came", { reason: "timeout" }));
  let stalled = setTimeout(giveUp, patience);
  const progress = (done: number, total: number) => {
    clearTimeout(stalled);
    stalled = setTimeout(giveUp, patience);
    change(requestId, { done: total > 0 ? done / total : 1 });
  };
  try {
    const { id } = await sdk().upload(file, { conversation: peer, name: file.name, signal: stop.signal, progress });
    if (parcels.peek().has(requestId)) uploads.set(requestId, id);
    change(requestId, { state: "pending" });
  } catch (error) {
    change(requestId, { state: "failed", why: failureText(error, "error.file") });
  } finally {
    clearTimeout(stalled);
    stops.delete(requestId);
    advance(peer);
  }
}

/** Sends one that failed again, behind what was said meanwhile. */
export function tryAgain(requestId: string): void {
  const parcel = parcels.peek().get(requestId);
  if (parcel?.state !== "failed") return;
  if (outbox?.letters().some((letter) => letter.requestId === requestId)) {
    outbox.retry(requestId);
    return;
  }
  const whole = !parcel.file || uploads.has(requestId);
  queue({ ...parcel, state: whole ? "pending" : "uploading", why: "", ...(!whole && { done: 0 }) });
  if (!whole) void upload(requestId);
  advance(parcel.peer);
}

/** Gives up on one that failed, or stops an upload. */
export function discard(requestId: string): void {
  const peer = parcels.peek().get(requestId)?.peer ?? "";
  stops.get(requestId)?.abort();
  outbox?.discard(requestId);
  drop(requestId);
  advance(peer);
}
