// The Connect protocol (https://connectrpc.com/docs/protocol) as far as this API uses it: unary calls and server streams,
// binary, over fetch. It does no more than that, so a page loads a third less than with the protocol's own library.
import {
	create,
	type DescMessage,
	type DescMethodServerStreaming,
	type DescMethodUnary,
	type DescService,
	fromBinary,
	type MessageInitShape,
	type MessageShape,
	toBinary,
} from "@bufbuild/protobuf";
import { errorFrom, errorFromAnswer, ParleyError } from "./errors.js";

export interface CallOptions {
	signal?: AbortSignal;
	/** Milliseconds after which a unary call fails with deadline_exceeded; default 30,000. Streams have no such limit. */
	timeout?: number;
}

/** The calls of one service. */
export type ServiceClient<S extends DescService> = {
	[K in keyof S["method"]]: S["method"][K] extends DescMethodUnary<infer I, infer O>
		? (request: MessageInitShape<I>, options?: CallOptions) => Promise<MessageShape<O>>
		: S["method"][K] extends DescMethodServerStreaming<infer I, infer O>
			? (request: MessageInitShape<I>, options?: CallOptions) => AsyncIterable<MessageShape<O>>
			: never;
};

/** How requests reach the server. */
export interface Wire {
	/** Address of the server without a slash at the end; empty: where the page came from. */
	readonly url: string;
	/** fetch with the session of the client. */
	fetch(path: string, init: RequestInit & { headers: Headers }): Promise<Response>;
}

const callTimeout = 30_000;
// An event is at most a message with its text; more is not one.
const maxEnvelope = 16 << 20;
const endOfStream = 2;
const compressed = 1;

/** Makes the client of one service. */
export function serviceClient<S extends DescService>(service: S, wire: Wire): ServiceClient<S> {
	const calls: Record<string, unknown> = {};
	for (const method of service.methods) {
		const path = `/${service.typeName}/${method.name}`;
		const { input, output } = method;
		if (method.methodKind === "unary") {
			calls[method.localName] = (request: MessageInitShape<DescMessage>, options: CallOptions = {}) =>
				unary(wire, path, input, output, request, options);
		} else if (method.methodKind === "server_streaming") {
			calls[method.localName] = (request: MessageInitShape<DescMessage>, options: CallOptions = {}) =>
				stream(wire, path, input, output, request, options);
		}
	}
	return calls as ServiceClient<S>;
}

async function unary<I extends DescMessage, O extends DescMessage>(
	wire: Wire,
	path: string,
	input: I,
	output: O,
	request: MessageInitShape<I>,
	options: CallOptions,
): Promise<MessageShape<O>> {
	const limit = deadline(options.timeout ?? callTimeout, options.signal);
	try {
		const answer = await wire.fetch(path, {
			method: "POST",
			headers: new Headers({ "content-type": "application/proto", "connect-protocol-version": "1" }),
			body: toBinary(input, create(input, request)) as Uint8Array<ArrayBuffer>,
			redirect: "error",
			signal: limit.signal,
		});
		if (!answer.ok || answer.headers.get("content-type") !== "application/proto") {
			throw await refused(answer);
		}
		return fromBinary(output, new Uint8Array(await answer.arrayBuffer()));
	} catch (err) {
		throw errorFrom(err, limit.signal);
	} finally {
		limit.clear();
	}
}

async function* stream<I extends DescMessage, O extends DescMessage>(
	wire: Wire,
	path: string,
	input: I,
	output: O,
	request: MessageInitShape<I>,
	options: CallOptions,
): AsyncGenerator<MessageShape<O>> {
	const abort = deadline(0, options.signal);
	let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
	try {
		const answer = await wire.fetch(path, {
			method: "POST",
			headers: new Headers({ "content-type": "application/connect+proto", "connect-protocol-version": "1" }),
			body: envelope(toBinary(input, create(input, request))),
			redirect: "error",
			signal: abort.signal,
		});
		if (!answer.ok || answer.body === null || answer.headers.get("content-type") !== "application/connect+proto") {
			throw await refused(answer);
		}
		reader = answer.body.getReader();
		for await (const { flags, data } of envelopes(reader)) {
			if (flags & compressed) {
				throw new ParleyError("internal", "the server compressed what nobody asked it to", { reason: "protocol" });
			}
			if (flags & endOfStream) {
				const end = JSON.parse(new TextDecoder().decode(data)) as {
					error?: unknown;
					metadata?: Record<string, string[]>;
				};
				if (end.error !== undefined) {
					const headers = new Headers();
					for (const [name, values] of Object.entries(end.metadata ?? {})) {
						headers.set(name, values.join(", "));
					}
					throw errorFromAnswer(500, headers, end.error);
				}
				return;
			}
			yield fromBinary(output, data);
		}
		throw new ParleyError("unavailable", "the connection broke", { reason: "network" });
	} catch (err) {
		throw errorFrom(err, abort.signal);
	} finally {
		abort.clear();
		reader?.cancel().catch(() => {}); // whoever stops reading in the middle closes the connection
	}
}

/** Splits what is read into flags and data. It ends where the bytes end, also in the middle of one. */
async function* envelopes(
	reader: ReadableStreamDefaultReader<Uint8Array>,
): AsyncGenerator<{ flags: number; data: Uint8Array }> {
	let rest = new Uint8Array(0);
	for (;;) {
		while (rest.length >= 5) {
			const size = new DataView(rest.buffer, rest.byteOffset).getUint32(1);
			if (size > maxEnvelope) {
				throw new ParleyError("internal", "what came is no event stream", { reason: "protocol" });
			}
			if (rest.length < 5 + size) {
				break;
			}
			yield { flags: rest[0] ?? 0, data: rest.subarray(5, 5 + size) };
			rest = rest.subarray(5 + size);
		}
		const { done, value } = await reader.read();
		if (done) {
			return;
		}
		if (rest.length === 0) {
			rest = new Uint8Array(value);
		} else {
			const both = new Uint8Array(rest.length + value.length);
			both.set(rest);
			both.set(value, rest.length);
			rest = both;
		}
	}
}

function envelope(data: Uint8Array): Uint8Array<ArrayBuffer> {
	const out = new Uint8Array(5 + data.length);
	new DataView(out.buffer).setUint32(1, data.length);
	out.set(data, 5);
	return out;
}

/** The error in an answer that is not what was asked for. */
export async function refused(answer: Response): Promise<ParleyError> {
	const text = await answer.text();
	let body: unknown;
	try {
		body = JSON.parse(text);
	} catch {
		// Something between here and the server answered in its own words: the status has to do.
	}
	if (answer.ok) {
		return new ParleyError("unknown", "what answered is not a Parley server", { reason: "protocol" });
	}
	return errorFromAnswer(answer.status, answer.headers, body);
}

/** A signal that follows another one, and ends by itself after some milliseconds (0: never). */
export function deadline(milliseconds: number, outer?: AbortSignal): { signal: AbortSignal; clear(): void } {
	const own = new AbortController();
	const follow = () => own.abort(outer?.reason);
	if (outer?.aborted) {
		follow();
	}
	outer?.addEventListener("abort", follow, { once: true });
	const timer =
		milliseconds > 0
			? setTimeout(
					() => own.abort(new ParleyError("deadline_exceeded", "the server took too long", { reason: "timeout" })),
					milliseconds,
				)
			: undefined;
	return {
		signal: own.signal,
		clear() {
			clearTimeout(timer);
			outer?.removeEventListener("abort", follow);
		},
	};
}
