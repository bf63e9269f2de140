import { timestampMs } from "@parley-im/sdk";
import { afterAll, beforeAll, expect, test } from "vitest";
import { alice, bob, Ear, password, signedIn } from "./people.js";
import { TestServer } from "./server.js";

let server: TestServer;
beforeAll(async () => {
	server = await TestServer.start(password, [alice, bob]);
});
afterAll(() => server?.stop());

test("what one says the other one hears, and the sender's other devices too", async () => {
	const [a, a2, b] = await Promise.all([
		signedIn(server.url, alice),
		signedIn(server.url, alice, "second"),
		signedIn(server.url, bob),
	]);
	const ears = [a, a2, b].map((client) => new Ear(client.events()));
	const [mine, second, his] = ears as [Ear, Ear, Ear];
	await Promise.all(ears.map((e) => e.open()));
	const { message } = await a.send({ conversation: bob, html: "<p>good <em>morning</em></p>" }, { requestId: "once" });
	const again = await a.send({ conversation: bob, html: "<p>good <em>morning</em></p>" }, { requestId: "once" });
	expect(again.message.id).toBe(message.id);
	await Promise.all(ears.map((e) => e.until(() => e.of("message").length > 0, "the message")));
	for (const [ear, other] of [
		[mine, bob],
		[second, bob],
		[his, alice],
	] as const) {
		const said = ear.of("message")[0]?.value;
		expect(said).toMatchObject({ id: message.id, from: alice, conversation: other, text: "good morning" });
		expect(said?.html).toContain("<em>morning</em>");
		expect(ear.of("message")[0]?.position).toBe(message.position);
	}
	// The stream has said that it arrived, so the sender hears that it was delivered.
	await mine.until(
		() => mine.of("delivery").some((e) => e.value.id === message.id || e.value.messagePosition >= message.position),
		"the delivery",
	);

	await a.messages.edit({ id: message.id, text: "good evening" });
	await b.messages.react({ id: message.id, emoji: "👍" });
	await b.messages.markRead({ conversation: alice, position: message.position });
	await b.messages.setTyping({ conversation: alice, active: true });
	await mine.until(() => mine.of("typing").length > 0 && mine.of("read").length > 0, "typing and the receipt");
	expect(his.of("edited").map((e) => e.value.text)).toEqual(["good evening"]);
	expect(mine.of("reaction").map((e) => [e.value.from, e.value.emoji, e.value.removed])).toEqual([[bob, "👍", false]]);
	expect(mine.of("read").map((e) => [e.value.by, e.value.read])).toContainEqual([bob, message.position]);
	const { message: now, fates } = await a.conversations.getMessage({ id: message.id });
	expect(now?.text).toBe("good evening");
	expect(now?.reactions.map((r) => [r.emoji, r.from])).toEqual([["👍", [bob]]]);
	expect(fates.map((f) => f.what)).toEqual(expect.arrayContaining(["stored", "delivered", "read"]));
	expect(now?.edited && timestampMs(now.edited)).toBeGreaterThan(0);
	await a.messages.retract({ id: message.id });
	await his.until(() => his.of("retracted").length > 0, "the retraction");
	await Promise.all(ears.map((e) => e.stream.close()));
});

test("for await takes one at a time, and what was not taken comes again", async () => {
	const [a, b] = await Promise.all([signedIn(server.url, alice), signedIn(server.url, bob)]);
	const { position } = await b.conversations.listConversations({});
	for (const text of ["one", "two", "three"]) {
		await a.send({ conversation: bob, text });
	}
	const first = b.events({ position });
	const heard: string[] = [];
	for await (const event of first) {
		if (event.type === "message") {
			if (event.value.text === "two") {
				break;
			}
			heard.push(event.value.text);
		}
	}
	await first.close();
	expect(first.state).toBe("ended");
	for await (const event of b.events({ position: first.position })) {
		if (event.type === "message") {
			heard.push(event.value.text);
		}
		if (heard.length === 3) {
			break;
		}
	}
	expect(heard).toEqual(["one", "two", "three"]);
});

test("the stream ends with the session, for good", async () => {
	const [one, other] = await Promise.all([signedIn(server.url, bob), signedIn(server.url, bob, "other")]);
	const ear = new Ear(one.events());
	await ear.open();
	const { devices } = await one.devices.listOwnDevices({});
	const own = devices.find((d) => d.current);
	await other.devices.revokeDevice({ kind: "session", id: own?.id ?? "" });
	await ear.until(() => ear.stream.state === "ended", "the end");
	expect(ear.of("sessionEnded").length).toBe(1);
	const late = new Ear(one.events());
	await late.until(() => late.stream.state === "ended", "the end of a stream without session");
	expect(late.stream.error?.code).toBe("unauthenticated");
	await expect(
		(async () => {
			for await (const _ of one.events());
		})(),
	).rejects.toMatchObject({ code: "unauthenticated" });
});

test("presence of those who are followed", async () => {
	const [a, b] = await Promise.all([signedIn(server.url, alice), signedIn(server.url, bob)]);
	const ear = new Ear(a.events({ presence: true }));
	await ear.open();
	await ear.stream.follow(bob);
	await ear.until(() => ear.of("presence").some((e) => e.value.owner === bob), "what bob is now");
	await b.presence.setPresence({ owner: bob, manual: { availability: "busy", note: "in the workshop" } });
	await ear.until(
		() => ear.of("presence").some((e) => e.value.availability === "busy" && e.value.note === "in the workshop"),
		"bob to be busy",
	);
	await ear.stream.close();
});
