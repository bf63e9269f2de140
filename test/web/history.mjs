// Long conversations: pages both ways, dates, search, and tens of thousands of messages.
import { composer, log, middle, said, talkPath } from "./world.mjs";

/** So many in the long conversation; 50000 by hand. */
const many = Number(process.env.PARLEY_WEB_MESSAGES ?? 5000);

const words = "the printer on the second floor is out of paper again and nobody knows who has the key to the room with the toner".split(" ");

/** Two people say so many messages, each with its number. */
async function talk(ada, ben, count) {
  let next = 0;
  const work = async () => {
    for (let n = next++; n < count; n = next++) {
      const [from, to] = n % 3 ? [ada, ben] : [ben, ada];
      await from.say(to, `number ${n}. ${words.slice(0, 1 + ((n * 7) % words.length)).join(" ")}${n % 17 ? "" : "\nsecond line\nthird"}`);
    }
  };
  await Promise.all(Array.from({ length: 16 }, work));
}

/** All messages of a conversation, as the server has them. */
async function all(ada, ben) {
  const list = [];
  for (let before = 0, more = true; more; before = list[0].position) {
    const page = await ada.api("ConversationService/ListMessages", { conversation: ben.address, before, limit: 200 });
    list.unshift(...page.messages);
    more = page.moreBefore ?? false;
  }
  return list;
}

/**
 * Goes through the list in steps of a view, in one direction, until it ends or so many steps are done. At each step what
 * stands in the list must be a part of the conversation without a gap; returns the positions that were seen on the screen.
 */
const pass = (page, { wanted, way, steps = Number.POSITIVE_INFINITY, patience }) =>
  log(page).evaluate(
    async (box, given) => {
      const frame = () => new Promise(requestAnimationFrame);
      const places = new Map(given.wanted.map((position, at) => [position, at]));
      const seen = new Set();
      const frames = [];
      let quiet = performance.now();
      let most = 0;
      for (let step = 0; step < given.steps; step++) {
        const rows = [...box.querySelectorAll("article[data-position]")];
        most = Math.max(most, rows.length);
        const first = places.get(rows[0].dataset.position);
        rows.forEach((row, at) => {
          if (places.get(row.dataset.position) !== first + at) throw new Error(`a gap before ${row.textContent.slice(0, 60)}`);
        });
        const view = box.getBoundingClientRect();
        for (const row of rows) {
          const own = row.getBoundingClientRect();
          if (own.bottom > view.top && own.top < view.bottom) seen.add(row.dataset.position);
        }
        const last = given.way < 0 ? given.wanted[0] : given.wanted.at(-1);
        const before = box.scrollTop;
        box.scrollTop += given.way * view.height * 0.7;
        const began = performance.now();
        await frame();
        frames.push(performance.now() - began);
        if (box.scrollTop !== before) quiet = performance.now();
        else if (seen.has(last)) break;
        else if (performance.now() - quiet > given.patience) throw new Error("it stands still before the end");
      }
      return { seen: [...seen], most, frames };
    },
    { wanted, way, steps: Math.min(steps, 1e6), patience },
  );

export function history({ world, until, must }) {
  let short;
  /** A conversation of 600 messages, made once. */
  const sixHundred = () => {
    short ??= (async () => {
      const [ada, ben] = world.pair();
      await talk(ada, ben, 600);
      return { ada, ben, list: await all(ada, ben) };
    })();
    return short;
  };
  const number = (message) => /number \d+\./.exec(message.text)[0];
  const inView = (row) =>
    row.evaluate((element) => {
      const box = element.closest("[role=log]").getBoundingClientRect();
      const own = element.getBoundingClientRect();
      return own.top >= box.top && own.bottom <= box.bottom;
    });
  const ordered = (list) => [...list].sort((a, b) => Number(a) - Number(b)).join();

  return {
    async "600 messages come page by page, both ways, each once and in order"() {
      const { ada, ben, list } = await sixHundred();
      must(list.length === 600, `there are ${list.length}`);
      const wanted = list.map((m) => m.position);
      const one = await world.enter(ada, talkPath(ben));
      await said(one.page, number(list[599])).waitFor();
      const up = await pass(one.page, { wanted, way: -1, patience: 60_000 });
      must(ordered(up.seen) === wanted.join(), `${up.seen.length} were seen on the way up`);
      await one.page.getByText(`This is the beginning of your conversation with ${ben.name}.`).waitFor();
      const down = await pass(one.page, { wanted, way: 1, patience: 60_000 });
      must(ordered(down.seen) === wanted.join(), `${down.seen.length} were seen on the way down`);
      must(up.most < 400 && down.most < 400, `${Math.max(up.most, down.most)} stand in the page at once`);
      await world.leave(one);
    },

    async "what comes while older messages are read does not move them"() {
      const { ada, ben, list } = await sixHundred();
      const one = await world.enter(ada, `${talkPath(ben)}?at=${list[300].position}`);
      const row = said(one.page, number(list[300]));
      await until("it is in view", () => inView(row).catch(() => false));
      const place = () => row.evaluate((element) => Math.round(element.getBoundingClientRect().top));
      const before = await place();
      const draft = composer(one.page);
      await draft.fill("one\ntwo\nthree"); // the field grows
      await draft.fill("");
      await until("it stays", async () => Math.abs((await place()) - before) <= 1);
      await one.page.getByRole("button", { name: "To the newest message" }).click();
      await said(one.page, number(list[599])).waitFor();
      await until("the end is in view", () => inView(said(one.page, number(list[599]))));
      await world.leave(one);
    },

    async "a date is jumped to"() {
      const { ada, ben, list } = await sixHundred();
      const one = await world.enter(ada, talkPath(ben));
      await said(one.page, number(list[599])).waitFor();
      const day = log(one.page).getByRole("button", { name: /^(Today|Yesterday)$/ }).first();
      await day.click();
      const dialog = one.page.getByRole("dialog", { name: "Go to a date" });
      const first = await one.page.evaluate((at) => new Date(at).toLocaleDateString("sv-SE"), list[0].at);
      await dialog.getByLabel("Date").fill(first);
      await dialog.getByRole("button", { name: "Go" }).click();
      await dialog.waitFor({ state: "detached" });
      const row = said(one.page, number(list[0]));
      await until("the first message of the day is in view", () => inView(row).catch(() => false));
      await until("it has the focus", () => row.evaluate((element) => element === document.activeElement));
      await world.leave(one);
    },

    async "search in a conversation: hits, more of them, and a jump far back with the words marked"() {
      const { ada, ben, list } = await sixHundred();
      const one = await world.enter(ada, talkPath(ben));
      await said(one.page, number(list[599])).waitFor();
      await one.page.getByRole("button", { name: "Search in this conversation" }).click();
      const field = one.page.getByRole("searchbox", { name: "Search messages and people" });
      const hits = () => one.page.getByRole("link").filter({ has: one.page.locator("mark") });
      await until("the server has them in its index", async () => {
        const { messages } = await ada.api("ConversationService/SearchMessages", { words: "third", conversation: ben.address, limit: 100 });
        return (messages ?? []).length === 36;
      });
      await field.fill("third");
      await one.page.getByText(`In ${ben.name}`).waitFor();
      await until("the first page of hits", async () => (await hits().count()) === 30);
      await one.page.getByRole("button", { name: "Show more" }).click();
      await until("all hits", async () => (await hits().count()) === 36);
      const oldest = list.find((m) => m.text.includes("third"));
      await hits().last().click();
      const row = said(one.page, number(oldest));
      await until("the oldest hit is in view", () => inView(row).catch(() => false));
      await row.locator("mark", { hasText: "third" }).waitFor();
      await until("the hits stay", async () => (await hits().count()) >= 36);
      await field.fill("nothinglikethis");
      await one.page.getByText("Nothing has “nothinglikethis” in it.").waitFor();
      await world.leave(one);
    },

    async "tens of thousands of messages: the page stays small, and jumps from end to end"() {
      const [ada, ben] = world.pair();
      const began = Date.now();
      await talk(ada, ben, many);
      console.log(`  ${many} messages said in ${((Date.now() - began) / 1000).toFixed(1)} s`);
      const one = await world.enter(ada);
      const { page } = one;
      const newest = (await ada.api("ConversationService/ListMessages", { conversation: ben.address, limit: 1 })).messages[0];
      const open = Date.now();
      await page.getByRole("link", { name: new RegExp(ben.name) }).click();
      await said(page, number(newest)).waitFor();
      console.log(`  opened in ${Date.now() - open} ms`);
      const wanted = (await all(ada, ben)).map((m) => m.position);
      must(wanted.length === many, `there are ${wanted.length}`);
      const up = await pass(page, { wanted, way: -1, steps: many > 5000 ? 1500 : 200, patience: 60_000 });
      must(up.most < 400, `${up.most} stand in the page at once`);
      const nodes = await page.evaluate(() => document.querySelectorAll("*").length);
      must(nodes < 15_000, `${nodes} elements in the page`);
      const ms = (part) => `${middle(up.frames, part).toFixed(1)} ms`;
      console.log(`  ${up.frames.length} frames of 0.7 views each through ${up.seen.length} messages: median ${ms(0.5)}, 95 % ${ms(0.95)}, 99 % ${ms(0.99)}, longest ${ms(1)}; ${nodes} elements`);
      const first = (await ada.api("ConversationService/ListMessages", { conversation: ben.address, at: "2000-01-01T00:00:00Z", limit: 1 })).messages[0];
      const jump = Date.now();
      // As a hit of the search does it: without loading the page anew.
      await page.evaluate((path) => {
        history.pushState(null, "", path);
        dispatchEvent(new PopStateEvent("popstate"));
      }, `${talkPath(ben)}?at=${first.position}`);
      const oldest = log(page).locator(`article[data-position="${first.position}"]`);
      await until("the oldest is in view", () => inView(oldest).catch(() => false));
      console.log(`  jumped to the oldest in ${Date.now() - jump} ms`);
      const back = Date.now();
      await page.getByRole("button", { name: "To the newest message" }).click();
      await until("the newest is in view", () => inView(said(page, number(newest))).catch(() => false));
      console.log(`  and back in ${Date.now() - back} ms; heap ${await page.evaluate(() => Math.round(performance.memory.usedJSHeapSize / 1e6))} MB`);
      const state = await one.context.storageState();
      await world.leave(one);
      // Cold: another browser, nothing kept, straight into the conversation.
      const cold = await page.context().browser().newContext({ storageState: state, viewport: { width: 1360, height: 840 } });
      const fresh = await cold.newPage();
      const load = Date.now();
      await fresh.goto(world.url + talkPath(ben));
      await said(fresh, number(newest)).waitFor();
      await composer(fresh).waitFor();
      console.log(`  cold load to the newest of ${many} messages: ${Date.now() - load} ms`);
      await cold.close();
    },
  };
}
