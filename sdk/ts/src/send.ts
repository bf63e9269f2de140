import { ParleyError } from "./errors.js";
import type { Message } from "./gen/parley/v1/messages_pb.js";
import type { CallOptions } from "./transport.js";

/** Draft is a message to be sent. */
export interface Draft {
	/** Address of the other side. */
	conversation: string;
	/** Plain text; "" or absent when html or file is given. */
	text?: string;
	/** em, strong, blockquote, br, p and code; the rest is taken out. */
	html?: string;
	/** Id of the message that this one answers. */
	replyTo?: string;
	/** Id of an upload; text is its caption. */
	file?: string;
	priority?: "emergency" | "urgent" | "normal" | "non-urgent";
}

export interface SendOptions {
	/** Makes repeating safe: the server records one message for one id. Default: a new one. */
	requestId?: string;
	/** Milliseconds for which a server that cannot be reached is asked again; default 120,000. */
	patience?: number;
	signal?: AbortSignal;
}

export interface Sent {
	message: Message;
	/** A device of the other side has it already. */
	delivered: boolean;
}

/** What sending needs of a client. */
export interface Sender {
	readonly messages: {
		send(
			request: {
				conversation: string;
				text: string;
				html: string;
				replyTo: string;
				file: string;
				priority: string;
				requestId: string;
			},
			options?: CallOptions,
		): Promise<{ message?: Message; delivered: boolean }>;
	};
}

/** A name for something that is said once, however often it is sent. */
export function newRequestId(): string {
	const bytes = crypto.getRandomValues(new Uint8Array(16));
	return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}

export async function send(client: Sender, draft: Draft, options: SendOptions = {}): Promise<Sent> {
	const request = {
		conversation: draft.conversation,
		text: draft.text ?? "",
		html: draft.html ?? "",
		replyTo: draft.replyTo ?? "",
		file: draft.file ?? "",
		priority: draft.priority ?? "",
		requestId: options.requestId ?? newRequestId(),
	};
	const call: CallOptions = options.signal === undefined ? {} : { signal: options.signal };
	const { message, delivered } = await patiently(() => client.messages.send(request, call), options);
	if (message === undefined) {
		throw new ParleyError("internal", "the server told nothing of the message", { reason: "protocol" });
	}
	return { message, delivered };
}

/** Does something again while its errors are temporary, with growing pauses, up to options.patience. */
export async function patiently<T>(
	act: () => Promise<T>,
	options: { patience?: number; signal?: AbortSignal; wake?: (now: () => void) => void },
): Promise<T> {
	const until = Date.now() + (options.patience ?? 120_000);
	for (let pause = 250; ; pause = Math.min(2 * pause, 8000)) {
		try {
			return await act();
		} catch (err) {
			if (!(err instanceof ParleyError) || !err.temporary || options.signal?.aborted) {
				throw err;
			}
			const milliseconds = Math.max((pause * (1 + Math.random())) / 2, err.retryAfter * 1000);
			if (Date.now() + milliseconds > until) {
				throw err;
			}
			await rest(milliseconds, options);
		}
	}
}

async function rest(milliseconds: number, options: { signal?: AbortSignal; wake?: (now: () => void) => void }) {
	await new Promise<void>((resolve) => {
		const over = () => {
			clearTimeout(timer);
			options.signal?.removeEventListener("abort", over);
			resolve();
		};
		const timer = setTimeout(over, milliseconds);
		options.signal?.addEventListener("abort", over, { once: true });
		options.wake?.(over);
	});
}
