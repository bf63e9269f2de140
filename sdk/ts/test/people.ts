import { type Client, connect, type EventStream, type ParleyEvent } from "@parley-im/sdk";

export const password = "correct horse battery";
export const alice = "alice@example.com";
export const bob = "bob@example.com";
export const carol = "carol@example.com";

export async function signedIn(url: string, address: string, device = "test"): Promise<Client> {
	const client = connect({ url });
	await client.signIn({ address, password, device });
	return client;
}

/** What a stream tells, kept, with a way to wait for it. */
export class Ear {
	readonly events: ParleyEvent[] = [];
	readonly #waiting = new Set<() => void>();

	readonly stream: EventStream;

	constructor(stream: EventStream) {
		this.stream = stream;
		stream.onState(() => this.#look());
		stream.on((event) => {
			this.events.push(event);
			this.#look();
		});
	}

	#look(): void {
		for (const look of [...this.#waiting]) {
			look();
		}
	}

	/** Waits until something is so. Nobody waits for time here, only for the test to be given up. */
	until(so: (ear: Ear) => boolean, what: string, limit = 60_000): Promise<void> {
		return new Promise((resolve, reject) => {
			const timer = setTimeout(() => {
				this.#waiting.delete(look);
				reject(
					new Error(
						`waited in vain for ${what}; ${this.events.length} events came, the stream is ${this.stream.state}`,
					),
				);
			}, limit);
			const look = () => {
				if (so(this)) {
					clearTimeout(timer);
					this.#waiting.delete(look);
					resolve();
				}
			};
			this.#waiting.add(look);
			look();
		});
	}

	open(): Promise<void> {
		return this.until(() => this.stream.state === "open", "the stream to open");
	}

	of<T extends ParleyEvent["type"]>(type: T): Extract<ParleyEvent, { type: T }>[] {
		return this.events.filter((e): e is Extract<ParleyEvent, { type: T }> => e.type === type);
	}

	get texts(): string[] {
		return this.of("message").map((e) => e.value.text);
	}
}
