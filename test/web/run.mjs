// The shell of the web client in Chromium, against a real server: node run.mjs PROGRAM [part of a name]
import { files } from "./files.mjs";
import { history } from "./history.mjs";
import { notices } from "./notices.mjs";
import { hostile } from "./hostile.mjs";
import { messages } from "./messages.mjs";
import { enter, launch, look, openTalk, patience, phone, say, visit } from "./people.mjs";
import { restarts } from "./restart.mjs";
import { demo } from "./server.mjs";
import { ways } from "./ways.mjs";
import { world as started } from "./world.mjs";

const [program, only = ""] = process.argv.slice(2);
const server = await demo(program);
const browser = await launch();
const results = [];

function must(truth, what) {
  if (!truth) throw new Error(what);
}

/** Waits until something is so. */
async function until(what, is) {
  const end = Date.now() + patience;
  for (;;) {
    const value = await is();
    if (value) return value;
    if (Date.now() > end) throw new Error(`never: ${what}`);
    await new Promise((next) => setTimeout(next, 50));
  }
}

/** Opens the page for people of the demo. */
async function people(...names) {
  const all = [];
  for (const name of names) {
    const one = await visit(browser, server.url);
    await enter(one.page, name);
    all.push(one);
  }
  return all;
}

const row = (page, name) => page.locator(".list-pane .row", { hasText: name }).first();
const title = (page, wanted) => until(`the title ${wanted}`, async () => wanted.test(await page.title()));
const state = (page, name, wanted) =>
  page.locator(".list-pane .row", { hasText: name }).filter({ hasText: wanted }).first().waitFor();

const tests = {
  async "a cold load is usable at once, and nothing is inline or from elsewhere"() {
    const { context, page, complaints } = await visit(browser, "about:blank");
    const others = [];
    page.on("request", (request) => {
      if (!request.url().startsWith(server.url)) others.push(request.url());
    });
    const begin = Date.now();
    const answer = await page.goto(server.url);
    await page.getByLabel("Address").waitFor();
    console.log(`  sign-in page after ${Date.now() - begin} ms`);
    const csp = answer.headers()["content-security-policy"] ?? "";
    must(/default-src 'self'|script-src 'self'/.test(csp) && !/unsafe-inline|unsafe-eval/.test(csp), `policy: ${csp}`);
    await enter(page, "Alice");
    const again = Date.now();
    await page.goto(server.url);
    await page.getByRole("heading", { name: "Chats" }).waitFor();
    console.log(`  conversations after ${Date.now() - again} ms`);
    must(others.length === 0, `asked elsewhere: ${others}`);
    must(complaints.length === 0, complaints.join("\n"));
    await context.close();
  },

  async "a wrong password is explained, the right one enters by keyboard"() {
    const { context, page } = await visit(browser, server.url);
    const { password } = await page.evaluate(() => fetch("/demo.json").then((answer) => answer.json()));
    await page.getByLabel("Address").waitFor();
    await page.keyboard.type("alice@parley.test");
    await page.keyboard.press("Tab");
    await page.keyboard.type("wrong");
    await page.keyboard.press("Enter");
    await page.getByRole("alert").getByText("wrong").waitFor();
    await page.getByLabel("Password").fill(password);
    await page.keyboard.press("Enter");
    await page.getByRole("navigation", { name: "Main" }).waitFor();
    await page.keyboard.press("Enter");
    await page.getByRole("navigation", { name: "Main" }).waitFor();
    await context.close();
  },

  async "two people chat: unread, title, typing, draft"() {
    const [alice, bob] = await people("Alice", "Bob");
    await openTalk(alice.page, "Bob");
    await say(alice.page, "first word");
    await row(bob.page, "Alice").getByText("first word").waitFor();
    await title(bob.page, /^\(\d+\) Parley$/);
    await row(bob.page, "Alice").getByText(/\d unread message/).waitFor({ state: "attached" });
    await row(bob.page, "Alice").click();
    await bob.page.getByRole("main").getByText("first word").waitFor();
    await row(bob.page, "Alice").getByText(/\d unread message/).waitFor({ state: "detached" });
    await bob.page.locator("[data-composer]").click();
    await bob.page.keyboard.type("half a");
    await row(alice.page, "Bob").getByText("is typing").waitFor();
    // What is written stays when the conversation is left, on every device.
    await bob.page.getByRole("link", { name: "Contacts" }).click();
    await bob.page.getByRole("link", { name: "Chats" }).click();
    await row(bob.page, "Alice").getByText("Draft:").waitFor();
    await row(bob.page, "Alice").click();
    await until("the draft is there", async () => /half a/.test(await bob.page.locator("[data-composer]").evaluate((e) => e.value ?? e.textContent)));
    await say(bob.page, " sentence");
    await alice.page.getByRole("main").getByText("half a sentence").waitFor();
    await Promise.all([alice.context.close(), bob.context.close()]);
  },

  async "presence: do not disturb until, a note, and back"() {
    const [alice, bob] = await people("Alice", "Bob");
    await bob.page.getByRole("link", { name: "Contacts" }).click();
    await state(bob.page, "Alice", "Available");
    await alice.page.keyboard.press("Alt+p");
    const dialog = alice.page.getByRole("dialog");
    await dialog.getByLabel("Do not disturb").check({ force: true });
    await dialog.getByLabel("Note").fill("writing <b>slides</b>");
    await dialog.getByLabel("Until").selectOption("60");
    await dialog.getByRole("button", { name: "Save" }).click();
    await dialog.waitFor({ state: "detached" });
    await state(bob.page, "Alice", "Do not disturb until");
    await state(bob.page, "Alice", "writing <b>slides</b>");
    await alice.page.keyboard.press("Alt+p");
    await dialog.getByLabel("Automatic").check({ force: true });
    await dialog.getByLabel("Note").fill("");
    await dialog.getByRole("button", { name: "Save" }).click();
    await state(bob.page, "Alice", "Available");
    await Promise.all([alice.context.close(), bob.context.close()]);
  },

  async "contacts: favourite, group, name, remove, and add from the directory by title"() {
    const [{ context, page }] = await people("Alice");
    await page.getByRole("link", { name: "Contacts" }).click();
    await row(page, "Carol").hover();
    await page.getByRole("button", { name: "Actions for Carol Clark" }).click();
    await page.getByRole("menuitem", { name: "Add to favourites" }).click();
    await page.getByRole("heading", { name: /^Favourites/ }).waitFor();
    await page.getByRole("button", { name: "Actions for Carol Clark" }).focus();
    await page.keyboard.press("Enter");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Name", { exact: true }).fill("Caro <script>");
    await dialog.getByLabel("New group…").fill("IT");
    await dialog.getByRole("button", { name: "Save" }).click();
    await page.getByRole("heading", { name: /^IT/ }).waitFor();
    await row(page, "Caro <script>").waitFor();
    await page.getByRole("button", { name: "Actions for Caro" }).first().click();
    await page.getByRole("menuitem", { name: "Remove contact" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Remove", exact: true }).click();
    await row(page, "Caro <script>").waitFor({ state: "detached" });
    await page.getByRole("button", { name: "Add people" }).click();
    await dialog.getByLabel("Who are you looking for?").fill("head it");
    await dialog.getByRole("button", { name: "Add Carol Clark" }).click();
    await dialog.getByText("Added").waitFor();
    await page.keyboard.press("Escape");
    await row(page, "Carol Clark").waitFor();
    await context.close();
  },

  async "who sees what: a rule, and what it comes to"() {
    const [{ context, page }] = await people("Alice");
    await page.goto(`${server.url}/settings/privacy`);
    await page.getByRole("heading", { name: "Add a rule" }).waitFor();
    const form = page.locator(".rule-form");
    await form.getByLabel("Person").fill("bob@parley.test");
    await form.getByLabel("Level").selectOption("blocked");
    await form.getByRole("button", { name: "Add" }).click();
    await page.getByLabel("Level of Bob Brown").waitFor();
    await page.locator("form", { has: page.getByRole("button", { name: "Show" }) }).getByLabel("Person").fill("bob@parley.test");
    await page.getByRole("button", { name: "Show" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByText("Blocked").waitFor();
    await dialog.getByText("there is a rule for bob@parley.test").waitFor();
    await page.keyboard.press("Escape");
    await page.getByLabel("Level of Bob Brown").selectOption("");
    await page.getByLabel("Level of Bob Brown").waitFor({ state: "detached" });
    await context.close();
  },

  async "search finds a message and jumps to it; a link to a message opens it"() {
    const [{ context, page }] = await people("Alice");
    await openTalk(page, "Carol");
    await say(page, "the zebra crossing");
    await page.getByRole("main").getByText("the zebra crossing").waitFor();
    await page.keyboard.press("Control+f");
    await page.getByText("In Carol Clark").waitFor();
    const hit = page.locator(".list-pane .row-hit").first();
    await until("the search has it", async () => {
      await page.getByRole("searchbox").fill("");
      await page.getByRole("searchbox").fill("zeb");
      await page.waitForTimeout(600);
      return hit.isVisible();
    });
    must((await hit.locator("mark").textContent()).toLowerCase() === "zeb", "the words are marked");
    await hit.click();
    await page.waitForURL(/\/c\/carol@parley\.test\?at=\d+/);
    await page.getByRole("main").getByText("the zebra crossing").first().waitFor();
    await hit.waitFor(); // the hits stay
    await page.goto(`${server.url}/m/nonsense`);
    await page.getByText("This message is not there").waitFor();
    await context.close();
  },

  async "a connection that breaks: a banner, and all that was missed afterwards"() {
    const [alice, bob] = await people("Alice", "Bob");
    await openTalk(bob.page, "Alice");
    await openTalk(alice.page, "Bob");
    await bob.context.setOffline(true);
    await bob.page.evaluate(() => dispatchEvent(new Event("online"))); // the stream that is open does not notice by itself
    await bob.page.getByText("No connection.").waitFor();
    await say(alice.page, "while you were away");
    await alice.page.getByRole("main").getByText("while you were away").waitFor();
    await bob.context.setOffline(false);
    await bob.page.getByRole("main").getByText("while you were away").first().waitFor();
    await bob.page.getByText("No connection.").waitFor({ state: "detached" });
    await Promise.all([alice.context.close(), bob.context.close()]);
  },

  async "the printed address opens a window for each person"() {
    const { context, page } = await visit(browser, server.printed);
    if (new URL(server.printed).hostname !== "localhost") return context.close(); // a server that runs elsewhere
    const own = {};
    for (const name of ["Alice", "Bob"]) {
      const opened = context.waitForEvent("page");
      await page.getByRole("link", { name: new RegExp(name) }).click();
      own[name] = await opened;
      await own[name].getByRole("navigation", { name: "Main" }).waitFor();
    }
    await own.Alice.bringToFront();
    await openTalk(own.Alice, "Bob");
    await say(own.Alice, "from window to window");
    await row(own.Bob, "Alice").getByText("from window to window").waitFor();
    // Each stays who it is, and the first page goes on offering all of them.
    await own.Alice.reload();
    await own.Alice.getByRole("main").getByText("from window to window").waitFor();
    await page.reload();
    await page.getByRole("link", { name: /Carol/ }).waitFor();
    await context.close();
  },

  async "seven tabs: those that nobody sees leave the line to the one that is looked at"() {
    const [{ context, page }] = await people("Alice");
    const [bob] = await people("Bob");
    const hide = (tab) =>
      tab.evaluate(() => {
        Object.defineProperty(document, "hidden", { configurable: true, get: () => true });
        Object.defineProperty(document, "visibilityState", { configurable: true, get: () => "hidden" });
      });
    await hide(page);
    let last = page;
    for (let n = 0; n < 6; n++) {
      last = await context.newPage();
      await last.goto(server.url);
      await last.getByRole("heading", { name: "Chats" }).waitFor();
      if (n < 5) await hide(last);
    }
    await openTalk(bob.page, "Alice");
    await say(bob.page, "to the seventh tab");
    await row(last, "Bob").getByText("to the seventh tab").waitFor();
    // Who comes back to the first one finds there what came meanwhile.
    await page.evaluate(() => {
      delete document.hidden;
      delete document.visibilityState;
      document.dispatchEvent(new Event("visibilitychange"));
    });
    await row(page, "Bob").getByText("to the seventh tab").waitFor();
    await Promise.all([context.close(), bob.context.close()]);
  },

  async "two tabs: signing out in one signs out both"() {
    const [{ context, page }] = await people("Carol");
    const second = await context.newPage();
    await second.goto(`${server.url}/contacts`);
    await second.getByRole("navigation", { name: "Main" }).waitFor();
    await page.keyboard.press("Alt+p");
    await page.getByRole("dialog").getByRole("button", { name: "Sign out" }).click();
    for (const one of [page, second]) await one.getByRole("button", { name: "Sign in", exact: true }).waitFor();
    await second.reload();
    await second.getByRole("button", { name: "Sign in", exact: true }).waitFor();
    await context.close();
  },

  async "devices: another session is revoked, a SIP password is shown once"() {
    const [first, second] = await people("Carol", "Carol");
    await first.page.goto(`${server.url}/settings/devices`);
    await first.page.getByText("This browser").waitFor();
    await first.page.getByRole("button", { name: /^Revoke / }).first().click();
    await first.page.getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
    await second.page.getByRole("button", { name: "Sign in", exact: true }).waitFor();
    await first.page.getByLabel("Name of the device").fill("Desk <i>phone</i>");
    await first.page.getByRole("button", { name: "Make password" }).click();
    await first.page.getByText("shown once").waitFor();
    const codes = await first.page.locator(".facts-copy code").allTextContents();
    must(codes.length === 4 && codes.every(Boolean), `what to type: ${codes.length}`);
    await first.page.getByRole("button", { name: "Done" }).click();
    await first.page.getByText("Desk <i>phone</i>").waitFor();
    await Promise.all([first.context.close(), second.context.close()]);
  },

  async "settings: German and dark, and they stay"() {
    const [{ context, page }] = await people("Carol");
    await page.goto(`${server.url}/settings/appearance`);
    await page.getByLabel("Deutsch").check({ force: true });
    await page.getByRole("heading", { name: "Darstellung" }).waitFor();
    await page.getByLabel("Dunkel").check({ force: true });
    await until("it is dark", () => page.evaluate(() => getComputedStyle(document.body.parentElement).colorScheme === "dark"));
    await page.reload();
    await page.getByRole("heading", { name: "Darstellung" }).waitFor();
    must((await page.evaluate(() => document.documentElement.lang)) === "de", "the page says its language");
    await page.getByLabel("Browser", { exact: true }).check({ force: true });
    await page.getByRole("heading", { name: "Appearance" }).waitFor();
    await page.getByLabel("System", { exact: true }).check({ force: true });
    await context.close();
  },

  async "shortcuts: the list, the switcher, from conversation to conversation"() {
    const [{ context, page }] = await people("Alice");
    await page.keyboard.press("?");
    await page.getByRole("dialog", { name: "Keyboard shortcuts" }).waitFor();
    await page.keyboard.press("Escape");
    await openTalk(page, "Bob");
    await page.keyboard.type("a ? stays a question mark");
    must((await page.getByRole("dialog").count()) === 0, "? opened something while somebody wrote");
    await openTalk(page, "Carol");
    await page.keyboard.press("Alt+2");
    await page.getByRole("heading", { name: "Contacts", exact: true }).waitFor();
    await page.keyboard.press("Escape");
    await context.close();
  },

  async "the service worker: the app starts without a network"() {
    const [{ context, page }] = await people("Carol");
    await page.evaluate(() => navigator.serviceWorker.ready.then(() => true));
    await until("the app is kept", () => page.evaluate(async () => (await caches.keys()).some((name) => name.startsWith("parley-"))));
    const kept = await page.evaluate(async () => {
      const cache = await caches.open((await caches.keys())[0]);
      return (await cache.keys()).map((request) => new URL(request.url).pathname);
    });
    must(kept.includes("/") && kept.every((path) => !path.startsWith("/files/") && !path.startsWith("/parley.")), `kept: ${kept}`);
    await context.setOffline(true);
    await page.reload();
    await page.getByText("The server cannot be reached").waitFor();
    await context.setOffline(false);
    await page.getByRole("button", { name: "Try again" }).click();
    await page.getByRole("navigation", { name: "Main" }).waitFor();
    const manifest = await page.evaluate(() => fetch("/manifest.webmanifest").then((answer) => answer.json()));
    must(manifest.icons.length >= 3 && manifest.display === "standalone", "installable");
    await context.close();
  },

  async "360 pixels: one pane at a time, and back"() {
    const { context, page } = await visit(browser, server.url, { ...phone, viewport: { width: 360, height: 640 } });
    await enter(page, "Alice");
    await page.getByRole("link", { name: "Contacts" }).tap();
    await row(page, "Bob").tap();
    await page.locator("[data-composer]").waitFor();
    must(!(await page.getByRole("navigation", { name: "Main" }).isVisible()), "the list is away");
    await page.getByRole("button", { name: "Details" }).first().tap();
    await page.getByRole("dialog", { name: "Details" }).waitFor();
    await page.getByRole("dialog").getByRole("button", { name: "Close" }).tap();
    await page.getByRole("button", { name: "Back" }).tap();
    await page.getByRole("heading", { name: "Contacts", exact: true }).waitFor();
    const overflow = () => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    for (const path of ["/", "/contacts", "/settings", "/settings/privacy", "/settings/devices", "/c/bob@parley.test"]) {
      await page.goto(server.url + path);
      await page.locator("h1:visible").first().waitFor();
      must((await overflow()) <= 0, `${path} is wider than the screen by ${await overflow()}`);
    }
    await context.close();
  },

  async "axe finds nothing"() {
    const [{ context, page }] = await people("Alice");
    const found = [];
    for (const path of ["/", "/contacts", "/search", "/c/bob@parley.test", "/settings/profile", "/settings/privacy", "/settings/notifications", "/settings/devices"]) {
      await page.goto(server.url + path);
      await page.locator("main h1").first().waitFor();
      for (const line of await look(page)) found.push(`${path}: ${line}`);
    }
    must(found.length === 0, found.join("\n"));
    await context.close();
  },
};

Object.assign(tests, restarts({ program, browser, until, must }));
Object.assign(tests, notices({ server, people, until, must, row }));
const world = await started(program, browser);
for (const more of [messages, history, files, hostile, ways]) Object.assign(tests, more({ browser, world, until, must }));

for (const [name, run] of Object.entries(tests)) {
  if (!name.includes(only)) continue;
  let passed = false;
  // What fails is tried once more, and its first failure stays in the output.
  for (let round = 0; round < 2 && !passed; round++) {
    const begin = Date.now();
    try {
      await run();
      passed = true;
      console.log(`${round === 0 ? "ok   " : "FLAKY"} ${name} (${((Date.now() - begin) / 1000).toFixed(1)} s)`);
    } catch (error) {
      console.log(`FAIL  ${name}\n${String(error.stack ?? error).replace(/^/gm, "      ")}`);
      for (const context of browser.contexts()) await context.close();
    }
  }
  results.push(passed);
}
await browser.close();
await Promise.all([server.stop(), world.stop()]);
const failed = results.filter((ok) => !ok).length;
console.log(`${results.length - failed} of ${results.length}`);
process.exitCode = failed === 0 && results.length > 0 ? 0 : 1;
