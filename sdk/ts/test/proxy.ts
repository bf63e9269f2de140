// A TCP proxy that breaks what goes through it.
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

export class FaultyProxy {
	readonly #target: number;
	readonly #server: Server;
	readonly #pairs = new Set<{ near: Socket; far: Socket; frozen: boolean }>();
	/** How many connections were cut. */
	cuts = 0;
	/** How many connections were made. */
	connections = 0;
	/** After how many bytes of the server's answer each connection is cut; undefined: never. */
	cutAfter: (() => number) | undefined;
	/** New connections are refused. */
	down = false;
	url = "";

	private constructor(target: number) {
		this.#target = target;
		this.#server = createServer((near) => this.#join(near));
	}

	static async start(target: number): Promise<FaultyProxy> {
		const proxy = new FaultyProxy(target);
		await once(proxy.#server.listen(0, "127.0.0.1"), "listening");
		proxy.url = `http://127.0.0.1:${(proxy.#server.address() as { port: number }).port}`;
		return proxy;
	}

	#join(near: Socket): void {
		near.on("error", () => {});
		if (this.down) {
			near.destroy();
			return;
		}
		this.connections++;
		const far = connect(this.#target, "127.0.0.1");
		const pair = { near, far, frozen: false };
		this.#pairs.add(pair);
		let left = this.cutAfter?.() ?? Number.POSITIVE_INFINITY;
		near.on("data", (data) => {
			if (!pair.frozen) {
				far.write(data);
			}
		});
		far.on("data", (data: Buffer) => {
			if (pair.frozen) {
				return;
			}
			near.write(data.subarray(0, left));
			left -= data.length;
			if (left <= 0) {
				this.#cut(pair);
			}
		});
		for (const [one, other] of [
			[near, far],
			[far, near],
		] as const) {
			one.on("error", () => {});
			one.on("close", () => {
				this.#pairs.delete(pair);
				if (!pair.frozen) {
					other.end();
				}
			});
			one.on("end", () => {
				if (!pair.frozen) {
					other.end();
				}
			});
		}
	}

	#cut(pair: { near: Socket; far: Socket; frozen: boolean }): void {
		this.cuts++;
		this.#pairs.delete(pair);
		// What was written before goes out first: the cut is in the middle of an answer, as in life.
		pair.near.end(() => pair.near.destroy());
		pair.far.destroy();
	}

	/** Cuts all connections that there are. */
	cutAll(): void {
		for (const pair of [...this.#pairs]) {
			this.#cut(pair);
		}
	}

	/** Nothing comes through the connections that there are any more, and nobody is told: a laptop that left the room. */
	freezeAll(): void {
		for (const pair of this.#pairs) {
			pair.frozen = true;
		}
	}

	async stop(): Promise<void> {
		this.down = true;
		for (const { near, far } of this.#pairs) {
			near.destroy();
			far.destroy();
		}
		await once(this.#server.close(), "close");
	}
}
