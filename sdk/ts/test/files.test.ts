import { randomBytes, randomInt } from "node:crypto";
import { ParleyError } from "@parley-im/sdk";
import { afterAll, beforeAll, expect, test } from "vitest";
import { alice, bob, carol, password, signedIn } from "./people.js";
import { FaultyProxy } from "./proxy.js";
import { TestServer } from "./server.js";

let server: TestServer;
let proxy: FaultyProxy;
beforeAll(async () => {
	server = await TestServer.start(password, [alice, bob, carol]);
	proxy = await FaultyProxy.start(server.port);
});
afterAll(async () => {
	await proxy?.stop();
	await server?.stop();
});

test("a file goes to the other side, and to nobody else", async () => {
	const [a, b, c] = await Promise.all([alice, bob, carol].map((who) => signedIn(server.url, who)));
	if (a === undefined || b === undefined || c === undefined) {
		throw new Error("three people were expected");
	}
	const bytes = randomBytes(1_500_000);
	const told: number[] = [];
	const file = await a.upload(new Blob([bytes]), {
		conversation: bob,
		name: "numbers.bin",
		progress: (done, total) => told.push(done / total),
	});
	expect(file).toMatchObject({ name: "numbers.bin", size: 1_500_000n });
	expect(told[0]).toBe(0);
	expect(told.at(-1)).toBe(1);
	expect(told).toEqual(told.toSorted((x, y) => x - y));
	await expect(b.download(file)).rejects.toBeInstanceOf(ParleyError); // nobody has said it yet
	const { message } = await a.send({ conversation: bob, file: file.id, text: "the numbers" });
	expect(message.file?.id).toBe(file.id);
	const there = await b.download(message.file as NonNullable<typeof message.file>);
	expect(Buffer.from(await there.arrayBuffer()).equals(bytes)).toBe(true);
	await expect(c.download(file)).rejects.toBeInstanceOf(ParleyError);
});

test("an upload goes on where it broke off", async () => {
	const a = await signedIn(proxy.url, alice);
	const bytes = randomBytes(6_000_000);
	const cutter = setInterval(() => proxy.cutAll(), 40 + randomInt(40));
	let last = 0;
	const file = await a.upload(new Blob([bytes]), {
		conversation: bob,
		progress: (done) => {
			last = done;
			if (done > 3_000_000) {
				clearInterval(cutter);
			}
		},
	});
	clearInterval(cutter);
	expect(last).toBe(bytes.length);
	expect(file.size).toBe(BigInt(bytes.length));
	await a.send({ conversation: bob, file: file.id });
	const back = await (await signedIn(server.url, bob)).download(file);
	expect(Buffer.from(await back.arrayBuffer()).equals(bytes)).toBe(true);
});

test("cancelling", async () => {
	const a = await signedIn(server.url, alice);
	const stop = new AbortController();
	const upload = a.upload(new Blob([randomBytes(3_000_000)]), {
		conversation: bob,
		signal: stop.signal,
		progress: (done) => {
			if (done > 0) {
				stop.abort();
			}
		},
	});
	await expect(upload).rejects.toMatchObject({ code: "canceled" });
});

test("a path is on this server, whatever a message says", async () => {
	const a = await signedIn(server.url, alice);
	expect(a.href("/files/x/y")).toBe(`${server.url}/files/x/y`);
	for (const path of [
		"https://elsewhere.example/x",
		"//elsewhere.example/x",
		"javascript:alert(1)",
		"x",
		"/\\elsewhere.example",
	]) {
		expect(() => a.href(path), path).toThrow(ParleyError);
	}
});
