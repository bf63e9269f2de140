import { connect, ParleyError } from "@parley-im/sdk";
import { afterAll, beforeAll, expect, test } from "vitest";
import { alice, bob, password, signedIn } from "./people.js";
import { TestServer } from "./server.js";

let server: TestServer;
beforeAll(async () => {
	server = await TestServer.start(password, [alice, bob]);
});
afterAll(() => server?.stop());

const failure = async (what: Promise<unknown>): Promise<ParleyError> => {
	const err: unknown = await what.then(
		() => "it succeeded",
		(e: unknown) => e,
	);
	expect(err).toBeInstanceOf(ParleyError);
	return err as ParleyError;
};

test("signing in, going on with the token, and signing out", async () => {
	const client = connect({ url: `${server.url}/` });
	const session = await client.signIn({ address: alice, password, device: "vitest", kind: "desktop" });
	expect(session.address).toBe(alice);
	expect(session.server?.domains).toEqual(["example.com"]);
	expect(client.token).not.toBe("");
	const again = connect({ url: server.url, token: client.token });
	expect((await again.session()).id).toBe(session.id);
	const { devices } = await again.devices.listOwnDevices({});
	expect(devices.filter((d) => d.current).map((d) => [d.id, d.label])).toEqual([[session.id, "vitest"]]);
	await client.signOut();
	expect(client.token).toBe("");
	expect((await failure(again.session())).code).toBe("unauthenticated");
});

test("a wrong password and an unknown person are told alike", async () => {
	const wrong = await failure(connect({ url: server.url }).signIn({ address: bob, password: "wrong" }));
	const unknown = await failure(
		connect({ url: server.url }).signIn({ address: "nobody@example.com", password: "wrong" }),
	);
	expect(wrong.code).toBe("unauthenticated");
	expect(wrong.message).not.toBe("");
	expect([unknown.code, unknown.message]).toEqual([wrong.code, wrong.message]);
	expect(wrong.temporary).toBe(false);
});

test("errors have codes and words", async () => {
	const client = await signedIn(server.url, alice);
	expect((await failure(client.messages.send({ conversation: "nobody@example.com", text: "?" }))).code).toBe(
		"not_found",
	);
	expect((await failure(client.messages.send({ conversation: bob }))).code).toBe("invalid_argument");
	expect((await failure(client.archive.search({}))).code).toBe("permission_denied");
	const nobody = connect({ url: server.url });
	expect((await failure(nobody.session())).code).toBe("unauthenticated");
	const stranger = connect({ url: server.url, token: "x".repeat(40) });
	expect((await failure(stranger.conversations.listConversations({}))).code).toBe("unauthenticated");
});

test("a server that is not there, one that is none, and one that takes too long", async () => {
	const gone = await failure(connect({ url: "http://127.0.0.1:1" }).session());
	expect([gone.code, gone.reason, gone.temporary]).toEqual(["unavailable", "network", true]);
	const none = connect({ url: server.url, fetch: async () => new Response("<html>", { status: 200 }) });
	expect((await failure(none.session())).reason).toBe("protocol");
	const between = connect({
		url: server.url,
		fetch: async () => new Response("Bad Gateway", { status: 502, headers: { "retry-after": "7" } }),
	});
	const bad = await failure(between.session());
	expect([bad.code, bad.retryAfter]).toEqual(["unavailable", 7]);
	const slow = connect({
		url: server.url,
		fetch: (_, init) =>
			new Promise((_resolve, reject) => init?.signal?.addEventListener("abort", () => reject(init.signal?.reason))),
	});
	expect((await failure(slow.sessions.getSession({}, { timeout: 20 }))).code).toBe("deadline_exceeded");
	const patience = new AbortController();
	const waiting = failure(slow.sessions.getSession({}, { signal: patience.signal }));
	patience.abort();
	expect((await waiting).code).toBe("canceled");
});
