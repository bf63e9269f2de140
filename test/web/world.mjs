// A server of the test's own with people who have said nothing yet, and what tests of the message view do with them.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { desktop, visit } from "./people.mjs";

/** A slow machine gets the time it needs. */
export const patience = 60_000;

const password = "a long enough password";
/** Bytes of the largest file that the server takes. */
export const largestFile = 64 << 20;

export const nasty = "<img src=x onerror=window.__pwned=1>";

const firsts = "Ada Ben Cleo Dan Ella Finn Gina Hugo Ida Jan Kim Leo Mia Nils Olga Paul Quin Rosa Sven Tara Uwe Vera Willi Xenia".split(" ");
const lasts = ["Abel", "Bock", "Cole", "Diaz"];
/** Two for each test. */
const names = lasts.flatMap((last) => firsts.map((first) => `${first} ${last}`));

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** The API as curl has it. */
async function call(url, token, method, body) {
  const answer = await fetch(`${url}/parley.v1.${method}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify(body),
  });
  const text = await answer.text();
  if (!answer.ok) throw Object.assign(new Error(`${method}: ${answer.status} ${text}`), { status: answer.status });
  return JSON.parse(text);
}

/** Starts a server without limits of rate. program: path of the binary. */
export async function world(program, browser) {
  const folder = mkdtempSync(join(tmpdir(), "parley-web-"));
  const file = join(folder, "parley.toml");
  const [web, metrics] = [await freePort(), await freePort()];
  writeFileSync(
    file,
    `data = "${join(folder, "data")}"\ndomains = ["parley.test"]\n[sip]\nudp = []\ntls = []\ntcp = []\n` +
      `[http]\nlisten = "127.0.0.1:${web}"\ntls = "off"\nrate = 0\nsign_in_rate = 0\n[metrics]\nlisten = "127.0.0.1:${metrics}"\n` +
      `[message]\nrate = 0\n[files]\nmax_size = ${largestFile}\n`,
  );
  const url = `http://localhost:${web}`;
  const child = spawn(program, ["serve", "-c", file], { stdio: "ignore" });
  const exited = once(child, "exit");
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGINT");
    await exited;
    rmSync(folder, { recursive: true, force: true });
  };
  for (const end = Date.now() + patience; ; ) {
    const there = await fetch(url).catch(() => undefined);
    if (there) break;
    if (Date.now() > end || child.exitCode !== null) throw new Error("the server does not start");
    await new Promise((next) => setTimeout(next, 50));
  }
  const address = (name) => `${name.toLowerCase().replace(" ", ".")}@parley.test`;
  const quoted = (text) => `"${text.replaceAll('"', '""')}"`;
  const rows = names.map((name) => [address(name), name, password, "Tester"]);
  rows.push(["mallory@parley.test", `Mallory ${nasty}`, password, nasty], ["trudy@parley.test", "Trudy \u202eabc", password, "\u202eabc"]);
  const list = join(folder, "people.csv");
  writeFileSync(list, `address,name,password,title\n${rows.map((row) => row.map(quoted).join(",")).join("\n")}\n`);
  const add = spawn(program, ["user", "add", "-c", file, "--csv", list], { stdio: ["ignore", "ignore", "pipe"] });
  let why = "";
  add.stderr.on("data", (piece) => {
    why += piece;
  });
  const [code] = await once(add, "close");
  if (code !== 0) {
    await stop();
    throw new Error(`the people were not added: ${code} ${why}`);
  }

  const tokens = new Map();
  const person = (name) => {
    const own = address(name);
    return {
      name,
      address: own,
      /** Calls the API: method like "MessageService/Send". */
      async api(method, body = {}) {
        if (!tokens.has(own)) {
          tokens.set(own, call(url, "", "SessionService/SignIn", { address: own, password, device: "test" }));
        }
        return call(url, (await tokens.get(own)).token, method, body);
      },
      /** Uploads a file for a conversation and returns what the server made of it. */
      async upload(to, name, type, bytes) {
        const { id, url: place } = await this.api("FileService/CreateUpload", { conversation: to.address, name, type, size: bytes.length });
        const { token } = await tokens.get(own);
        const put = await fetch(url + place, { method: "PUT", headers: { "upload-offset": "0", authorization: `Bearer ${token}` }, body: bytes });
        if (!put.ok) throw new Error(`upload: ${put.status} ${await put.text()}`);
        return (await this.api("FileService/CompleteUpload", { id })).file;
      },
      say(to, text, more = {}) {
        return this.api("MessageService/Send", { conversation: to.address, text, ...more });
      },
    };
  };
  let next = 0;
  return {
    url,
    password,
    stop,
    /** Two people who have said nothing to each other. */
    pair() {
      if (next + 2 > names.length) throw new Error("there are too few people for so many tests");
      return [person(names[next++]), person(names[next++])];
    },
    person,
    /** Opens a path for somebody who is signed in. What breaks the page's rules is an error of leave. */
    async enter(who, path = "/", options = desktop) {
      const one = await visit(browser, "about:blank", options);
      const { context, page, complaints } = one;
      context.setDefaultTimeout(patience);
      page.on("dialog", (dialog) => {
        if (dialog.type() !== "beforeunload") complaints.push(`a dialog: ${dialog.message()}`);
        void dialog.accept();
      });
      await context.addInitScript(() => {
        globalThis.violations = [];
        addEventListener("securitypolicyviolation", (event) => globalThis.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
      });
      const answer = await context.request.post(`${url}/parley.v1.SessionService/SignIn`, {
        headers: { origin: url },
        data: { address: who.address, password, device: "Chromium", cookie: true },
      });
      if (!answer.ok()) throw new Error(`signing in: ${answer.status()} ${await answer.text()}`);
      await page.goto(url + path);
      return one;
    },
    /** Closes pages, which have nothing to complain about. */
    async leave(...ones) {
      for (const { context, page, complaints } of ones) {
        complaints.push(...(await page.evaluate(() => globalThis.violations)));
        if (await page.evaluate(() => "__pwned" in globalThis)) complaints.push("something of another person ran");
        await context.close();
        if (complaints.length > 0) throw new Error(`the browser complains:\n${complaints.join("\n")}`);
      }
    },
  };
}

export const talkPath = (to) => `/c/${to.address}`;
export const composer = (page) => page.getByRole("textbox", { name: /^(Message to|Nachricht an) / });
export const log = (page) => page.getByRole("log");
/** Messages with a text in them. */
export const said = (page, text) => log(page).getByRole("article").filter({ hasText: text });
/** Writes and sends, as people do. */
export async function write(page, text) {
  await composer(page).click();
  for (const [at, line] of text.split("\n").entries()) {
    if (at > 0) await page.keyboard.press("Shift+Enter");
    await page.keyboard.type(line);
  }
  await page.keyboard.press("Enter");
}
/** A button of a message, which is there while the pointer is on it. */
export async function tool(page, text, name) {
  const message = said(page, text).last();
  await message.locator(".m-bubble").hover();
  const button = message.getByRole("toolbar", { name: "Actions for this message" }).getByRole("button", { name, exact: true });
  await button.click();
  return message;
}
export async function menu(page, text, item) {
  const message = await tool(page, text, "More");
  await message.getByRole("menuitem", { name: item }).click();
}

export const middle = (list, part = 0.5) => [...list].sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * part))];
