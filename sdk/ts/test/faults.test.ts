// Connections that break, at random and at the worst moments: no event may be lost or told twice.
import { randomInt } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { alice, bob, carol, Ear, password, signedIn } from "./people.js";
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
afterEach(() => {
	proxy.cutAfter = undefined;
	proxy.down = false;
});

const pause = { shortest: 5, longest: 100 };

test("streams that are cut at random tell each event once, in order", async () => {
	const [a, b] = await Promise.all([signedIn(server.url, alice), signedIn(proxy.url, bob)]);
	const { position } = await b.conversations.listConversations({});
	proxy.cutAfter = () => randomInt(100, 6000);
	proxy.cutAll(); // also what was opened before
	const ear = new Ear(b.events({ position, pause }));
	await ear.open();
	const texts = Array.from({ length: 400 }, (_, i) => `random ${i}`);
	const before = proxy.cuts;
	for (let i = 0; i < texts.length; i += 20) {
		await Promise.all(texts.slice(i, i + 20).map((text) => a.send({ conversation: bob, text })));
		await ear.until(() => ear.texts.length >= i + 10, `message ${i + 10}`);
	}
	await ear.until(() => ear.texts.length >= texts.length, "all messages");
	const positions = ear.of("message").map((e) => e.position);
	expect(positions).toEqual([...positions].sort((x, y) => Number(x - y)));
	expect(ear.texts.toSorted()).toEqual(texts.toSorted());
	expect(proxy.cuts - before).toBeGreaterThan(5);
	proxy.cutAfter = undefined;
	await ear.stream.close();
});

test("restarts of the server, kind and unkind, while both sides go on", async () => {
	const [a, b] = await Promise.all([signedIn(proxy.url, alice), signedIn(proxy.url, carol)]);
	const { position } = await b.conversations.listConversations({});
	const ear = new Ear(b.events({ position, pause }));
	await ear.open();
	const total = 300;
	const sent: Promise<unknown>[] = [];
	const outbox = a.outbox();
	const failed: string[] = [];
	outbox.on((letter) => {
		if (letter.state === "failed") {
			failed.push(`${letter.text}: ${letter.error?.message}`);
		}
	});
	for (let i = 0; i < total; i++) {
		if (i % 3 === 0) {
			outbox.add({ conversation: carol, text: `queued ${i}` });
		} else {
			sent.push(a.send({ conversation: carol, text: `sent ${i}` }));
		}
		if (i % 100 === 50) {
			await ear.until(() => ear.texts.length > i / 2, "half of them");
			await server.pause(i === 150 ? "SIGKILL" : "SIGTERM");
			await server.resume();
		}
	}
	await Promise.all(sent);
	await ear.until(() => ear.texts.length >= total, "all of them");
	expect(failed).toEqual([]);
	const expected = Array.from({ length: total }, (_, i) => (i % 3 === 0 ? `queued ${i}` : `sent ${i}`));
	expect(ear.texts.toSorted()).toEqual(expected.toSorted());
	// What one outbox sends to one conversation keeps its order.
	expect(ear.texts.filter((t) => t.startsWith("queued"))).toEqual(expected.filter((t) => t.startsWith("queued")));
	await ear.stream.close();
});

test("answers that are lost: sent again under the same id, recorded once", async () => {
	const [a, b] = await Promise.all([signedIn(proxy.url, bob), signedIn(server.url, carol)]);
	const ear = new Ear(b.events({ pause }));
	await ear.open();
	let broken = 0;
	for (let i = 0; i < 15; i++) {
		// The request arrives whole; the answer is cut in its first bytes, every second time.
		proxy.cutAll();
		proxy.cutAfter = () => (broken++ % 2 === 0 ? 10 : Number.POSITIVE_INFINITY);
		await a.send({ conversation: carol, text: `answer ${i}` });
	}
	await ear.until(() => ear.texts.length >= 15, "all");
	await b.send({ conversation: bob, text: "last" });
	await ear.until(() => ear.texts.includes("last"), "the last one");
	expect(ear.texts).toEqual([...Array.from({ length: 15 }, (_, i) => `answer ${i}`), "last"]);
	await ear.stream.close();
});

test("a connection that dies without a word is noticed", async () => {
	const [a, b] = await Promise.all([signedIn(server.url, alice), signedIn(proxy.url, bob)]);
	const ear = new Ear(b.events({ pause, silence: 2000 }));
	await ear.open();
	proxy.freezeAll();
	await a.send({ conversation: bob, text: "into the void" });
	await ear.until(() => ear.texts.includes("into the void"), "what was said meanwhile");
	expect(ear.texts).toEqual(["into the void"]);
	await ear.stream.close();
});

test("a laptop that slept asks at once, and does not wait for the connection of before", async () => {
	const [a, b] = await Promise.all([signedIn(server.url, alice), signedIn(proxy.url, bob)]);
	const ear = new Ear(b.events({ pause, silence: 3_600_000 }));
	await ear.open();
	proxy.freezeAll();
	await a.send({ conversation: bob, text: "while asleep" });
	vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 600_000 });
	try {
		await ear.until(() => ear.texts.includes("while asleep"), "what was said during sleep");
	} finally {
		vi.useRealTimers();
	}
	await ear.stream.close();
});

test("waiting for a server that is away, and trying at once when told", async () => {
	const b = await signedIn(proxy.url, bob);
	const ear = new Ear(b.events({ pause: { shortest: 3_600_000, longest: 3_600_000 } }));
	await ear.open();
	proxy.down = true;
	proxy.cutAll();
	await ear.until(() => ear.stream.state === "waiting", "the stream to wait");
	expect(ear.stream.error?.reason).toBe("network");
	expect(ear.stream.retryAt).toBeGreaterThan(Date.now());
	proxy.down = false;
	ear.stream.wake();
	await ear.open();
	await ear.stream.close();
});

test("a stream that pauses leaves its place to another, and misses nothing", async () => {
	const [a, b] = await Promise.all([signedIn(server.url, alice), signedIn(server.url, bob)]);
	const ears = Array.from({ length: 5 }, () => new Ear(b.events({ pause })));
	await Promise.all(ears.map((e) => e.open()));
	const late = new Ear(b.events({ pause }));
	await late.until(() => late.stream.error?.code === "resource_exhausted", "the refusal");
	const first = ears[0] as Ear;
	first.stream.pause();
	await late.open();
	expect(first.stream.state).toBe("waiting");
	expect(first.stream.retryAt).toBe(0);
	await a.send({ conversation: bob, text: "while it paused" });
	await late.until(() => late.texts.includes("while it paused"), "the message");
	expect(first.texts).toEqual([]);
	late.stream.pause();
	first.stream.wake();
	await first.until(() => first.texts.includes("while it paused"), "what it missed");
	await Promise.all([late, ...ears].map((e) => e.stream.close()));
});
