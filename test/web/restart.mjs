// A server of the test's own that is killed and started again under the page.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openTalk, patience, say, visit } from "./people.mjs";

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** A server with Alice and Bob that keeps its data and its address when it is started again. */
async function own(program) {
  const folder = mkdtempSync(join(tmpdir(), "parley-web-"));
  const file = join(folder, "parley.toml");
  const [web, sip, metrics] = [await freePort(), await freePort(), await freePort()];
  writeFileSync(
    file,
    `data = "${join(folder, "data")}"\ndomains = ["parley.test"]\n[sip]\nudp = []\ntls = []\ntcp = ["127.0.0.1:${sip}"]\n` +
      `[http]\nlisten = "127.0.0.1:${web}"\ntls = "off"\n[metrics]\nlisten = "127.0.0.1:${metrics}"\n`,
  );
  const url = `http://localhost:${web}`;
  let child;
  const started = async () => {
    child = spawn(program, ["serve", "-c", file], { stdio: "ignore" });
    for (const end = Date.now() + patience; ; ) {
      try {
        await fetch(url);
        return;
      } catch (error) {
        if (Date.now() > end || child.exitCode !== null) throw new Error("the server does not start", { cause: error });
        await new Promise((next) => setTimeout(next, 100));
      }
    }
  };
  const ended = async (signal) => {
    const exit = once(child, "exit");
    child.kill(signal);
    await exit;
  };
  await started();
  const password = "a long enough password";
  for (const name of ["alice", "bob"]) {
    const add = spawn(program, ["user", "add", `${name}@parley.test`, "-c", file, "--password-stdin", "--name", `${name} x`], {
      stdio: ["pipe", "ignore", "inherit"],
    });
    add.stdin.end(`${password}\n`);
    const [code] = await once(add, "exit");
    if (code !== 0) throw new Error(`${name} was not added: ${code}`);
  }
  return {
    url,
    password,
    started,
    kill: () => ended("SIGKILL"),
    async stop() {
      if (child.exitCode === null && child.signalCode === null) await ended("SIGINT");
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export function restarts({ program, browser, until, must }) {
  const enter = async (server, name, password = server.password) => {
    const { page, context } = await visit(browser, server.url);
    await page.getByLabel("Address").fill(name);
    await page.getByLabel("Password").fill(password);
    await page.keyboard.press("Enter");
    await page.getByRole("navigation", { name: "Main" }).waitFor();
    return { page, context };
  };
  return {
    async "a password is changed: this session goes on, the others end, and the new one enters"() {
      const server = await own(program);
      try {
        const [first, second] = [await enter(server, "alice"), await enter(server, "alice")];
        await first.page.goto(`${server.url}/settings/profile`);
        await first.page.getByLabel("Office").fill("4.01");
        await first.page.getByRole("button", { name: "Save" }).click();
        await first.page.getByText("Saved").waitFor();
        const fresh = "quite another password";
        await first.page.getByLabel("Current password").fill("not the one");
        await first.page.getByLabel("New password", { exact: true }).fill(fresh);
        await first.page.getByLabel("New password again").fill(fresh);
        await first.page.getByRole("button", { name: "Change password" }).click();
        await first.page.locator(".toast-failed").waitFor();
        await first.page.getByLabel("Current password").fill(server.password);
        await first.page.getByRole("button", { name: "Change password" }).click();
        await first.page.getByText("Your password is changed").waitFor();
        await second.page.getByText("You were signed out").waitFor();
        await first.page.reload();
        await first.page.getByLabel("Office").waitFor();
        must((await first.page.getByLabel("Office").inputValue()) === "4.01", "the office is kept");
        const third = await enter(server, "alice", fresh);
        await Promise.all([first, second, third].map((one) => one.context.close()));
      } finally {
        await server.stop();
      }
    },

    async "a server that is killed: a banner, what was written waits, and nothing is lost or doubled"() {
      const server = await own(program);
      try {
        const [alice, bob] = [await enter(server, "alice"), await enter(server, "bob@parley.test")];
        await openTalk(alice.page, "bob");
        await openTalk(bob.page, "alice");
        const main = (one) => one.page.getByRole("main");
        await say(alice.page, "before");
        await main(bob).getByText("before", { exact: true }).waitFor();
        await server.kill();
        for (const one of [alice, bob]) await one.page.getByText("No connection.").waitFor();
        await say(alice.page, "said while the server was down");
        await server.started();
        await main(bob).getByText("said while the server was down").waitFor();
        for (const one of [alice, bob]) await one.page.getByText("No connection.").waitFor({ state: "detached" });
        await say(bob.page, "after");
        await main(alice).getByText("after", { exact: true }).waitFor();
        for (const one of [alice, bob]) {
          for (const text of ["before", "said while the server was down", "after"]) {
            const count = () => main(one).getByText(text, { exact: true }).count();
            await until(`${text} is there once`, async () => (await count()) >= 1);
            must((await count()) === 1, `${text}: ${await count()} times`);
          }
        }
        await Promise.all([alice.context.close(), bob.context.close()]);
      } finally {
        await server.stop();
      }
    },
  };
}
