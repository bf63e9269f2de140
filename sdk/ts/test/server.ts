// A real server for tests: the binary of this repository, on free ports, in a folder that is removed at the end.
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const root = resolve(import.meta.dirname, "../../..");

/** The program under test: PARLEY_BIN, or what vitest.setup.ts has built. */
export function binary(): string {
	return process.env.PARLEY_BIN ?? join(root, "bin", "parley");
}

export class TestServer {
	readonly url: string;
	readonly port: number;
	readonly folder: string;
	readonly #config: string;
	readonly #ready: string;
	#process: ChildProcess | undefined;
	#said = "";

	private constructor(folder: string, port: number, metrics: number) {
		this.folder = folder;
		this.port = port;
		this.url = `http://127.0.0.1:${port}`;
		this.#config = join(folder, "parley.toml");
		this.#ready = `http://127.0.0.1:${metrics}/ready`;
	}

	/** Starts a server with people, who all have the same password. */
	static async start(password: string, people: string[], more = ""): Promise<TestServer> {
		const folder = await mkdtemp(join(tmpdir(), "parley-sdk-"));
		const [port, metrics] = await freePorts(2);
		const server = new TestServer(folder, port as number, metrics as number);
		await writeFile(
			server.#config,
			`data = ${JSON.stringify(join(folder, "data"))}
domains = ["example.com"]
[sip]
udp = []
tcp = []
tls = []
[http]
listen = "127.0.0.1:${port}"
tls = "off"
[metrics]
listen = "127.0.0.1:${metrics}"
${more}`,
		);
		for (const person of people) {
			await server.#addUser(person, password);
		}
		await server.resume();
		return server;
	}

	async #addUser(address: string, password: string): Promise<void> {
		const added = run(binary(), ["user", "add", address, "--password-stdin", "-c", this.#config]);
		added.child.stdin?.end(`${password}\n`);
		await added;
	}

	async command(...args: string[]): Promise<string> {
		return (await run(binary(), [...args, "-c", this.#config])).stdout;
	}

	/** Starts it again on the same folder and ports. */
	async resume(): Promise<void> {
		this.#said = "";
		const child = spawn(binary(), ["serve", "-c", this.#config], { stdio: ["ignore", "ignore", "pipe"] });
		this.#process = child;
		child.stderr?.on("data", (text: Buffer) => {
			this.#said += text;
		});
		for (const until = Date.now() + 60_000; ; ) {
			const answer = await fetch(this.#ready).catch(() => undefined);
			if (answer?.ok) {
				return;
			}
			if (child.exitCode !== null || Date.now() > until) {
				throw new Error(`the server does not come up:\n${this.#said}`);
			}
			await new Promise((over) => setTimeout(over, 25));
		}
	}

	/** Ends it, with time to say goodbye or without. */
	async pause(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
		const child = this.#process;
		if (child !== undefined && child.exitCode === null && child.signalCode === null) {
			const gone = once(child, "exit");
			child.kill(signal);
			await gone;
		}
		this.#process = undefined;
	}

	async stop(): Promise<void> {
		await this.pause("SIGKILL");
		await rm(this.folder, { recursive: true, force: true });
	}

	/** What it has logged. */
	get log(): string {
		return this.#said;
	}
}

/** Ports that nobody has at the moment. */
async function freePorts(count: number): Promise<number[]> {
	const servers = Array.from({ length: count }, () => createServer());
	await Promise.all(servers.map((s) => once(s.listen(0, "127.0.0.1"), "listening")));
	const ports = servers.map((s) => (s.address() as { port: number }).port);
	await Promise.all(servers.map((s) => once(s.close(), "close")));
	return ports;
}
