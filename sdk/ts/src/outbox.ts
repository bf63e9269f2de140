import { ParleyError } from "./errors.js";
import type { Message } from "./gen/parley/v1/messages_pb.js";
import { type Draft, newRequestId, patiently, type Sender, send } from "./send.js";

/** pending: on its way, or waiting for the server; sent: recorded; failed: somebody must decide. */
export type LetterState = "pending" | "sent" | "failed";

/** Letter is a message in the outbox. A change of it is a new object. */
export interface Letter extends Draft {
	/** Also in Message.requestId, by which the event of an own message is known. */
	readonly requestId: string;
	readonly state: LetterState;
	/** When it was added, in milliseconds since 1970. */
	readonly at: number;
	/** Once it is sent. */
	readonly message?: Message;
	readonly delivered?: boolean;
	/** Once it has failed. */
	readonly error?: ParleyError;
}

export interface OutboxOptions {
	/** Milliseconds for which a server that cannot be reached is asked again before a message fails; default 300,000. */
	patience?: number;
	/** How many messages may wait; add throws beyond it. Default 200. */
	most?: number;
}

type Listener = (letter: Letter) => void;

/**
 * Outbox sends messages, those of one conversation in the order in which they were added. A message that failed holds up
 * the others of its conversation no longer. It is in memory: what must survive the page is kept by the caller.
 */
export class Outbox {
	readonly #client: Sender;
	readonly #options: OutboxOptions;
	readonly #letters = new Map<string, Letter>();
	readonly #queues = new Map<string, string[]>();
	readonly #waiting = new Set<() => void>();
	readonly #listeners = new Set<Listener>();
	readonly #end = new AbortController();

	constructor(client: Sender, options: OutboxOptions = {}) {
		this.#client = client;
		this.#options = options;
	}

	/** Calls back for every letter that is added or changes; returns what takes the listener away again. */
	on(listener: Listener): () => void {
		this.#listeners.add(listener);
		return () => this.#listeners.delete(listener);
	}

	/** All that are pending or have failed, in the order in which they were added. */
	letters(conversation?: string): Letter[] {
		return [...this.#letters.values()].filter((l) => conversation === undefined || l.conversation === conversation);
	}

	add(draft: Draft, requestId = newRequestId()): Letter {
		if (this.#letters.size >= (this.#options.most ?? 200)) {
			throw new ParleyError("resource_exhausted", "too many messages wait to be sent", { reason: "outbox" });
		}
		const letter: Letter = { ...draft, requestId, state: "pending", at: Date.now() };
		this.#change(letter);
		this.#queue(letter);
		return letter;
	}

	/** Sends one that failed again: the same message, recorded once even if it did arrive. */
	retry(requestId: string): void {
		const letter = this.#letters.get(requestId);
		if (letter?.state !== "failed") {
			return;
		}
		const { error: _, ...rest } = letter;
		const again: Letter = { ...rest, state: "pending" };
		this.#change(again);
		this.#queue(again);
	}

	/** Forgets one that failed. */
	discard(requestId: string): void {
		if (this.#letters.get(requestId)?.state === "failed") {
			this.#letters.delete(requestId);
		}
	}

	/** Tries at once: the server can be reached again. */
	wake(): void {
		for (const now of [...this.#waiting]) {
			now();
		}
	}

	/** Ends all; what is pending fails. */
	close(): void {
		this.#end.abort();
	}

	#queue(letter: Letter): void {
		const queue = this.#queues.get(letter.conversation);
		if (queue !== undefined) {
			queue.push(letter.requestId);
			return;
		}
		const fresh = [letter.requestId];
		this.#queues.set(letter.conversation, fresh);
		void this.#work(letter.conversation, fresh);
	}

	async #work(conversation: string, queue: string[]): Promise<void> {
		for (let id = queue.shift(); id !== undefined; id = queue.shift()) {
			const letter = this.#letters.get(id);
			if (letter !== undefined) {
				await this.#send(letter);
			}
		}
		this.#queues.delete(conversation);
	}

	async #send(letter: Letter): Promise<void> {
		const signal = this.#end.signal;
		let woken: (() => void) | undefined;
		try {
			const sent = await patiently(
				() => send(this.#client, letter, { requestId: letter.requestId, patience: 0, signal }),
				{
					patience: this.#options.patience ?? 300_000,
					signal,
					wake: (now) => {
						this.#waiting.delete(woken ?? now);
						woken = now;
						this.#waiting.add(now);
					},
				},
			);
			this.#letters.delete(letter.requestId);
			this.#tell({ ...letter, state: "sent", ...sent });
		} catch (err) {
			const error = err instanceof ParleyError ? err : new ParleyError("internal", String(err), { cause: err });
			this.#change({ ...letter, state: "failed", error });
		} finally {
			if (woken !== undefined) {
				this.#waiting.delete(woken);
			}
		}
	}

	#change(letter: Letter): void {
		this.#letters.set(letter.requestId, letter);
		this.#tell(letter);
	}

	#tell(letter: Letter): void {
		for (const listener of [...this.#listeners]) {
			listener(letter);
		}
	}
}
