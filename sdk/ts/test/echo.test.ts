// The bot of the README, as its readers run it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { alice, bob, Ear, password, signedIn } from "./people.js";
import { TestServer } from "./server.js";

const folder = resolve(import.meta.dirname, "..");
let server: TestServer;
beforeAll(async () => {
	server = await TestServer.start(password, [alice, bob]);
});
afterAll(() => server?.stop());

test("the echo bot answers, also after a restart of the server", async () => {
	const bot = spawn(process.execPath, ["build/examples/echo.js"], {
		cwd: folder,
		env: { PATH: process.env.PATH, PARLEY_URL: server.url, PARLEY_ADDRESS: bob, PARLEY_PASSWORD: password },
		stdio: ["ignore", "pipe", "inherit"],
	});
	const gone = once(bot, "exit");
	const open = async () => {
		for await (const line of bot.stdout.setEncoding("utf8").iterator({ destroyOnReturn: false })) {
			if (String(line).includes("open")) {
				return;
			}
		}
		throw new Error("the bot has ended");
	};
	try {
		await open();
		const a = await signedIn(server.url, alice);
		const ear = new Ear(a.events({ pause: { shortest: 5, longest: 100 } }));
		await ear.open();
		await a.send({ conversation: bob, text: "hello" });
		await ear.until(() => ear.texts.includes("You said: hello"), "the answer");
		await server.pause();
		await server.resume();
		await a.send({ conversation: bob, text: "still there?" });
		await ear.until(() => ear.texts.includes("You said: still there?"), "the second answer");
		expect(ear.texts).toEqual(["hello", "You said: hello", "still there?", "You said: still there?"]);
		await ear.stream.close();
	} finally {
		bot.kill("SIGTERM");
	}
	expect((await gone)[0]).toBe(0);
});

test("the README shows the bot that is tested", async () => {
	const readme = await readFile(resolve(folder, "README.md"), "utf8");
	const bot = await readFile(resolve(folder, "examples/echo.ts"), "utf8");
	const code = bot.slice(bot.indexOf("import "));
	expect(readme).toContain(`\`\`\`ts\n${code}\`\`\``);
	expect(code.trim().split("\n").length).toBeLessThanOrEqual(20);
});
