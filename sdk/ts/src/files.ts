import { ParleyError } from "./errors.js";
import type { CompleteUploadResponse, CreateUploadResponse } from "./gen/parley/v1/files_pb.js";
import type { File as ParleyFile } from "./gen/parley/v1/messages_pb.js";
import { patiently } from "./send.js";
import { type CallOptions, refused, type Wire } from "./transport.js";

export interface UploadOptions {
	/** Address of the other side of the conversation for which the file is. */
	conversation: string;
	/** Default: the name of a File, else "file". */
	name?: string;
	/** Media type; default: that of the Blob. The server looks for itself. */
	type?: string;
	/** Called with the bytes that the server has, and how many there are. */
	progress?: (done: number, total: number) => void;
	/** Milliseconds for which a server that cannot be reached is asked again; default 120,000 since the last progress. */
	patience?: number;
	/** Cancels the upload, also on the server. */
	signal?: AbortSignal;
}

export interface DownloadOptions {
	progress?: (done: number, total: number) => void;
	signal?: AbortSignal;
}

/** What files need of a client. */
export interface FileWire extends Wire {
	readonly files: {
		createUpload(
			request: { conversation: string; name: string; size: bigint; type: string },
			options?: CallOptions,
		): Promise<CreateUploadResponse>;
		completeUpload(request: { id: string; sha256: string }, options?: CallOptions): Promise<CompleteUploadResponse>;
		cancelUpload(request: { id: string }): Promise<unknown>;
	};
}

const offsetHeader = "upload-offset";
/** Bytes of the first piece; pieces grow while they take less than a second, so that progress is seen on slow lines. */
const firstPiece = 128 << 10;
const largestPiece = 8 << 20;
/**
 * Bytes up to which the hash is checked from end to end: the browser's SHA-256 wants a file in one piece. Larger ones are
 * checked by size, and by the server against itself.
 */
const largestHashed = 32 << 20;

export async function upload(client: FileWire, data: Blob, options: UploadOptions): Promise<ParleyFile> {
	const call: CallOptions = options.signal === undefined ? {} : { signal: options.signal };
	const retry = { ...call, ...(options.patience === undefined ? {} : { patience: options.patience }) };
	const name =
		options.name ?? ("name" in data && typeof data.name === "string" && data.name !== "" ? data.name : "file");
	const { id, url } = await patiently(
		() =>
			client.files.createUpload(
				{ conversation: options.conversation, name, size: BigInt(data.size), type: options.type ?? data.type },
				call,
			),
		retry,
	);
	try {
		const hash = sha256(data);
		await pieces(client, url, data, options, retry);
		const sum = await hash;
		const { file } = await patiently(() => client.files.completeUpload({ id, sha256: sum }, call), retry);
		if (file === undefined) {
			throw new ParleyError("internal", "the server told nothing of the file", { reason: "protocol" });
		}
		return file;
	} catch (err) {
		if (options.signal?.aborted) {
			client.files.cancelUpload({ id }).catch(() => {}); // the server removes it after a day
		}
		throw err;
	}
}

async function pieces(
	client: FileWire,
	url: string,
	data: Blob,
	options: UploadOptions,
	retry: { patience?: number; signal?: AbortSignal },
): Promise<void> {
	let done = 0;
	let size = firstPiece;
	let known = true; // how many bytes the server has
	options.progress?.(0, data.size);
	while (done < data.size) {
		done = await patiently(async () => {
			if (!known) {
				const has = await offset(client, url, retry.signal);
				known = true;
				if (has !== done) {
					return has;
				}
			}
			const piece = data.slice(done, done + size);
			const began = Date.now();
			known = false;
			const answer = await client.fetch(url, {
				method: "PUT",
				headers: new Headers({ "upload-offset": String(done), "content-type": "application/octet-stream" }),
				body: piece,
				signal: retry.signal ?? null,
			});
			if (answer.status !== 409 && !answer.ok) {
				throw await refused(answer);
			}
			await answer.body?.cancel();
			known = true;
			if (answer.status === 409) {
				return offsetIn(answer);
			}
			size = Date.now() - began < 1000 ? Math.min(2 * size, largestPiece) : size;
			return done + piece.size;
		}, retry);
		if (done > data.size) {
			throw new ParleyError("internal", "the server has more bytes than the file", { reason: "protocol" });
		}
		options.progress?.(done, data.size);
	}
}

async function offset(client: FileWire, url: string, signal?: AbortSignal): Promise<number> {
	const answer = await client.fetch(url, { method: "HEAD", headers: new Headers(), signal: signal ?? null });
	if (!answer.ok) {
		throw await refused(answer);
	}
	return offsetIn(answer);
}

function offsetIn(answer: Response): number {
	const n = Number(answer.headers.get(offsetHeader) ?? Number.NaN);
	if (!Number.isSafeInteger(n) || n < 0) {
		throw new ParleyError("internal", "the server does not say how much it has", { reason: "protocol" });
	}
	return n;
}

/** Hexadecimal; "" when it cannot be told: the file is too large, or the page did not come over HTTPS. */
async function sha256(data: Blob): Promise<string> {
	if (data.size > largestHashed || globalThis.crypto?.subtle === undefined) {
		return "";
	}
	const sum = await crypto.subtle.digest("SHA-256", await data.arrayBuffer());
	return Array.from(new Uint8Array(sum), (b) => b.toString(16).padStart(2, "0")).join("");
}

export async function download(client: Wire, path: string, options: DownloadOptions = {}): Promise<Blob> {
	const answer = await client.fetch(path, { headers: new Headers(), signal: options.signal ?? null });
	if (!answer.ok || answer.body === null) {
		throw await refused(answer);
	}
	const total = Number(answer.headers.get("content-length") ?? 0);
	const parts: Uint8Array<ArrayBuffer>[] = [];
	let done = 0;
	const reader = answer.body.getReader();
	for (;;) {
		const { done: over, value } = await reader.read().catch((cause: unknown) => {
			throw options.signal?.aborted
				? new ParleyError("canceled", "cancelled", { cause })
				: new ParleyError("unavailable", "the connection broke", { reason: "network", cause });
		});
		if (over) {
			break;
		}
		parts.push(value);
		done += value.length;
		options.progress?.(done, total);
	}
	if (total > 0 && done !== total) {
		throw new ParleyError("unavailable", "the connection broke", { reason: "network" });
	}
	return new Blob(parts, { type: answer.headers.get("content-type") ?? "" });
}
