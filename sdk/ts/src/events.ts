import { ParleyError } from "./errors.js";
import type { Event } from "./gen/parley/v1/events_pb.js";
import type { CallOptions } from "./transport.js";

type Cases = Exclude<Event["event"], { case: undefined; value?: undefined }>;
/** Pings and the end of what was missed are the stream's own affair. */
type Told = Exclude<Cases["case"], "ping" | "ready">;

/**
 * ParleyEvent is something that happened. `type` tells what, and with it the type of `value`:
 *
 *     if (event.type === "message") console.log(event.value.text);
 *
 * `position` is its place in the log, 0n for what is not recorded (presence, typing, …).
 * "reset": more was missed than is sent again; load what you show anew. "sessionEnded" is the last event.
 */
export type ParleyEvent = {
	[K in Told]: { readonly type: K; readonly value: Extract<Cases, { case: K }>["value"]; readonly position: bigint };
}[Told];

/** connecting: asking the server; open: events come as they happen; waiting: for the next try; ended: for good. */
export type StreamState = "connecting" | "open" | "waiting" | "ended";

export interface EventOptions {
	/** Position of the last event that is known; default: only what comes from now on. */
	position?: bigint;
	/** Also tell the presence of the caller and of everybody in the caller's contacts. */
	presence?: boolean;
	/** Addresses of more people whose presence is told. */
	follow?: Iterable<string>;
	/** Say to the server that events have arrived, so that messages count as delivered; default true. */
	acknowledge?: boolean;
	/** Milliseconds without a sign of the server after which the connection counts as dead; default 45,000. */
	silence?: number;
	/** Shortest and longest pause between tries in milliseconds; default 500 and 30,000. */
	pause?: { shortest: number; longest: number };
	/** Ends the stream. */
	signal?: AbortSignal;
}

/** What the stream needs of a client. */
export interface EventSource {
	stream(
		request: { position: bigint; presence: boolean; follow: string[] },
		options: CallOptions,
	): AsyncIterable<Event>;
	follow(request: { stream: string; people: string[] }): Promise<unknown>;
	acknowledge(request: { position: bigint }): Promise<unknown>;
}

type Listener = (event: ParleyEvent) => void;
type StateListener = (state: StreamState) => void;

/** Milliseconds between two acknowledgements. */
const acknowledgeEvery = 1000;
/** Milliseconds between two looks at the clock. */
const look = 5000;
/** Milliseconds without a sign of the server after which a stream is not trusted across a sleep: it pings every 20 s. */
const silenceAsleep = 25_000;

/**
 * EventStream tells what happens, each event once and in order, across lost connections and restarts of the server. It
 * begins with the first listener or the first `for await`, and ends with close(), the signal or the session.
 *
 * An event has arrived, and is acknowledged, when all listeners have returned. `for await` takes one event at a time:
 * it has arrived when the next one is asked for, so the one in which the loop was left comes again to whoever goes on
 * from `position`. Use one of the two forms.
 */
export class EventStream implements AsyncIterable<ParleyEvent> {
	readonly #source: EventSource;
	readonly #options: EventOptions;
	#state: StreamState = "connecting";
	#position: bigint;
	#error: ParleyError | undefined;
	#retryAt = 0;
	#id = "";
	readonly #people: Set<string>;
	readonly #listeners = new Set<Listener>();
	readonly #stateListeners = new Set<StateListener>();
	#running: Promise<void> | undefined;
	#take: ((event: ParleyEvent) => Promise<boolean>) | undefined;
	#heard = 0; // when the server last gave a sign, by the clock on the wall
	#telling = false; // a reader takes its time with an event, which says nothing of the connection
	#try: AbortController | undefined; // the connection that is open or being made
	#wake: (() => void) | undefined; // ends the pause between tries
	#paused = false; // until wake()
	#acknowledged: bigint;
	#acknowledging = false;
	readonly #end = new AbortController();

	constructor(source: EventSource, options: EventOptions = {}) {
		this.#source = source;
		this.#options = options;
		this.#position = options.position ?? 0n;
		this.#acknowledged = this.#position;
		this.#people = new Set(options.follow);
		if (options.signal?.aborted) {
			this.close();
		}
		options.signal?.addEventListener("abort", () => this.close(), { once: true });
	}

	get state(): StreamState {
		return this.#state;
	}

	/** Of the last event that has arrived: what EventOptions.position wants, also in another run of the program. */
	get position(): bigint {
		return this.#position;
	}

	/** Why the stream is waiting or has ended; undefined when close() ended it. */
	get error(): ParleyError | undefined {
		return this.#error;
	}

	/** When the next try comes, in milliseconds since 1970, while the state is waiting; 0: when it is told to. */
	get retryAt(): number {
		return this.#retryAt;
	}

	/** Calls back for every event; returns what takes the listener away again. A listener must not throw. */
	on(listener: Listener): () => void {
		this.#listeners.add(listener);
		this.start();
		return () => this.#listeners.delete(listener);
	}

	/** Calls back for every change of the state, from then on; returns what takes the listener away again. */
	onState(listener: StateListener): () => void {
		this.#stateListeners.add(listener);
		return () => this.#stateListeners.delete(listener);
	}

	/** Begins, when nobody listens yet. */
	start(): void {
		if (this.#running === undefined && !this.#end.signal.aborted) {
			this.#running = this.#run();
		}
	}

	/** Ends the stream. The promise is there for programs that exit: by then what has arrived is acknowledged. */
	close(): Promise<void> {
		this.#end.abort();
		this.#try?.abort();
		this.#wake?.();
		if (this.#running === undefined) {
			this.#become("ended");
		}
		return this.#running ?? Promise.resolve();
	}

	/**
	 * Gives the connection up until wake(), which in browsers comes by itself when the page is shown: a session has five at
	 * most, and the page that somebody looks at needs one.
	 */
	pause(): void {
		this.#paused = this.#state !== "waiting";
		this.#try?.abort();
	}

	/** Tries at once when the stream waits, and makes sure of a connection that was quiet: for a page that is shown again. */
	wake(): void {
		this.#wake?.();
		this.#mistrust(silenceAsleep);
	}

	/** Follows the presence of more people. */
	async follow(...people: string[]): Promise<void> {
		const added = people.filter((p) => !this.#people.has(p));
		for (const p of added) {
			this.#people.add(p);
		}
		if (added.length > 0 && this.#id !== "") {
			await this.#source.follow({ stream: this.#id, people: added }).catch((err: unknown) => {
				if (this.#state === "open") {
					throw err;
				} // else the next connection brings them along
			});
		}
	}

	async *[Symbol.asyncIterator](): AsyncGenerator<ParleyEvent, void, undefined> {
		let wakeReader: (() => void) | undefined;
		let waiting: { event: ParleyEvent; taken: (arrived: boolean) => void } | undefined;
		this.#take = (event) =>
			new Promise((taken) => {
				waiting = { event, taken };
				wakeReader?.();
			});
		this.start();
		const ended = this.#running ?? Promise.resolve();
		let over = false;
		ended.then(() => {
			over = true;
			wakeReader?.();
		});
		try {
			for (;;) {
				if (waiting !== undefined) {
					yield waiting.event;
					const { taken } = waiting;
					waiting = undefined;
					taken(true);
				} else if (over) {
					break;
				} else {
					await new Promise<void>((resolve) => {
						wakeReader = resolve;
					});
				}
			}
		} finally {
			this.#take = undefined;
			waiting?.taken(false);
			this.close();
		}
		if (this.#error !== undefined) {
			throw this.#error;
		}
	}

	async #run(): Promise<void> {
		const unwatch = this.#watch();
		let tries = 0;
		while (!this.#end.signal.aborted) {
			const connection = new AbortController();
			this.#try = connection;
			this.#become("connecting");
			this.#heard = Date.now();
			try {
				if (await this.#connection(connection.signal, () => (tries = 0))) {
					break;
				}
				this.#error = undefined; // the server ended it: it restarts, or wants us elsewhere
			} catch (err) {
				if (this.#end.signal.aborted) {
					break;
				}
				const failed = err instanceof ParleyError ? err : new ParleyError("internal", String(err), { cause: err });
				this.#error = this.#paused ? undefined : failed;
				if (this.#error && forGood(failed)) {
					this.#end.abort();
					break;
				}
			} finally {
				connection.abort();
				this.#id = "";
			}
			await this.#rest(tries++);
			this.#paused = false;
		}
		unwatch();
		this.#end.abort();
		this.#become("ended");
		if (this.#options.acknowledge !== false && this.#position > this.#acknowledged) {
			await this.#source.acknowledge({ position: this.#position }).catch(() => {}); // then they come again
		}
	}

	/** One connection, until it ends. True: there will be no other. */
	async #connection(signal: AbortSignal, opened: () => void): Promise<boolean> {
		const request = { position: this.#position, presence: this.#options.presence ?? false, follow: [...this.#people] };
		for await (const { position, event } of this.#source.stream(request, { signal })) {
			this.#heard = Date.now();
			switch (event.case) {
				case undefined: // of a newer server
					break;
				case "ping":
					this.#moveTo(position); // all up to there has been sent, though none of it was for this stream
					break;
				case "ready":
					opened();
					this.#id = event.value.stream;
					this.#moveTo(event.value.position);
					this.#error = undefined;
					this.#become("open");
					this.#followLate(request.follow);
					break;
				default: {
					if (position !== 0n && position <= this.#position) {
						continue;
					}
					if (!(await this.#tell({ type: event.case, value: event.value, position } as ParleyEvent))) {
						return true;
					}
					if (event.case === "reset") {
						this.#position = event.value.position;
						this.#acknowledged = min(this.#acknowledged, this.#position);
					} else if (event.case === "sessionEnded") {
						this.#error = undefined;
						return true;
					}
					if (position !== 0n) {
						this.#moveTo(position);
						this.#acknowledge();
					}
				}
			}
			if (this.#end.signal.aborted) {
				return true;
			}
		}
		return false;
	}

	/** False: the reader has gone away without it. */
	async #tell(event: ParleyEvent): Promise<boolean> {
		for (const listener of [...this.#listeners]) {
			try {
				listener(event);
			} catch (err) {
				// One listener's mistake is not another one's loss; the mistake is seen where programs look for such.
				queueMicrotask(() => {
					throw err;
				});
			}
		}
		if (this.#take === undefined) {
			return true;
		}
		this.#telling = true;
		const taken = await this.#take(event);
		this.#telling = false;
		this.#heard = Date.now();
		return taken;
	}

	#moveTo(position: bigint): void {
		if (position > this.#position) {
			this.#position = position;
		}
	}

	/** Says at once how far events have come, and then once a second while they come. */
	#acknowledge(): void {
		if (this.#acknowledging || this.#options.acknowledge === false || this.#position <= this.#acknowledged) {
			return;
		}
		const position = this.#position;
		this.#acknowledging = true;
		this.#source.acknowledge({ position }).then(
			() => {
				this.#acknowledged = position;
				this.#acknowledgeLater();
			},
			() => this.#acknowledgeLater(), // the next one says it too
		);
	}

	#acknowledgeLater(): void {
		if (this.#end.signal.aborted) {
			return;
		}
		setTimeout(() => {
			this.#acknowledging = false;
			this.#acknowledge();
		}, acknowledgeEvery);
	}

	/** Those who were followed while the connection was being made. */
	#followLate(known: string[]): void {
		const late = [...this.#people].filter((p) => !known.includes(p));
		if (late.length > 0) {
			this.#source.follow({ stream: this.#id, people: late }).catch(() => {}); // the next connection brings them along
		}
	}

	async #rest(tries: number): Promise<void> {
		if (this.#end.signal.aborted || (this.#error?.reason === "silence" && !this.#paused)) {
			return;
		}
		const { shortest, longest } = this.#options.pause ?? { shortest: 500, longest: 30_000 };
		const most = Math.min(longest, shortest * 2 ** Math.min(tries, 20));
		const milliseconds = Math.max((most * (1 + Math.random())) / 2, (this.#error?.retryAfter ?? 0) * 1000);
		this.#retryAt = this.#paused ? 0 : Date.now() + milliseconds;
		const over = new Promise<void>((resolve) => {
			const timer = this.#paused ? undefined : setTimeout(resolve, milliseconds);
			this.#wake = () => {
				clearTimeout(timer);
				resolve();
			};
		});
		this.#become("waiting");
		await over;
		this.#wake = undefined;
		this.#retryAt = 0;
	}

	/** Notices connections that are dead, sleep, and what browsers tell of the network and the page. */
	#watch(): () => void {
		let looked = Date.now();
		const timer = setInterval(
			() => {
				const now = Date.now();
				const slept = now - looked > 3 * look;
				looked = now;
				this.#mistrust(slept ? Math.min(silenceAsleep, this.#silence) : this.#silence);
			},
			Math.min(look, this.#silence / 4),
		);
		const shown = () => {
			if (globalThis.document?.visibilityState !== "hidden") {
				this.wake();
			}
		};
		const online = () => {
			this.#wake?.();
			this.#mistrust(0); // another network: the connection of before is gone, whether it knows or not
		};
		globalThis.document?.addEventListener("visibilitychange", shown);
		globalThis.window?.addEventListener("pageshow", shown);
		globalThis.window?.addEventListener("online", online);
		return () => {
			clearInterval(timer);
			globalThis.document?.removeEventListener("visibilitychange", shown);
			globalThis.window?.removeEventListener("pageshow", shown);
			globalThis.window?.removeEventListener("online", online);
		};
	}

	get #silence(): number {
		return this.#options.silence ?? 45_000;
	}

	/** Ends the connection when the server gave no sign for so long. The next try follows. */
	#mistrust(silence: number): void {
		const now = Date.now();
		if (this.#heard > now) {
			this.#heard = now; // somebody set the clock back
		}
		if (this.#telling || now - this.#heard < silence) {
			return;
		}
		this.#try?.abort(new ParleyError("unavailable", "the server has fallen silent", { reason: "silence" }));
	}

	#become(state: StreamState): void {
		if (state === this.#state) {
			return;
		}
		this.#state = state;
		for (const listener of [...this.#stateListeners]) {
			listener(state);
		}
	}
}

/** Trying again would bring the same answer. */
function forGood(err: ParleyError): boolean {
	return (
		err.code === "unauthenticated" ||
		err.code === "permission_denied" ||
		err.code === "invalid_argument" ||
		err.reason === "protocol"
	);
}

function min(a: bigint, b: bigint): bigint {
	return a < b ? a : b;
}
