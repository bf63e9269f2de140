// Messages between two people: what is said, done to it, and heard of it.
import { composer, log, menu, middle, said, talkPath, tool, write } from "./world.mjs";

/**
 * Makes the first times of a protobuf answer a day earlier: Message.at is field 3, its seconds are field 1 and take five
 * bytes until the year 2106 and beyond.
 */
function dayEarlier(body, count) {
  const bytes = Buffer.from(body);
  const now = Date.now() / 1000;
  for (let at = 0, left = count; left > 0 && at + 8 <= bytes.length; at++) {
    if (bytes[at] !== 0x1a || bytes[at + 2] !== 0x08) continue;
    let seconds = 0;
    for (let n = 4; n >= 0; n--) seconds = seconds * 128 + (bytes[at + 3 + n] & 127);
    if (Math.abs(now - seconds) > 3600) continue;
    seconds -= 86_400;
    for (let n = 0; n < 5; n++, seconds = Math.floor(seconds / 128)) bytes[at + 3 + n] = (seconds % 128) | (n < 4 ? 128 : 0);
    left--;
  }
  return bytes;
}

export function messages({ world, until, must }) {
  const both = async () => {
    const [ada, ben] = world.pair();
    const [a, b] = await Promise.all([world.enter(ada, talkPath(ben)), world.enter(ben, talkPath(ada))]);
    await Promise.all([composer(a.page).waitFor(), composer(b.page).waitFor()]);
    return { ada, ben, a, b };
  };
  /** What is typed goes into the text field. */
  const focused = (page) =>
    until("the text field has the focus", () => composer(page).evaluate((field) => field === document.activeElement));
  const holds = (page, text) => until(`the text field holds "${text}"`, async () => (await composer(page).inputValue()) === text);
  return {
    async "send and receive: lines, formatting, links"() {
      const { ben, ada, a, b } = await both();
      await log(a.page).getByText(`Say hello to ${ben.name}.`).waitFor();
      await write(a.page, "one\ntwo\n\nfour");
      const lines = said(b.page, "four").locator(".m-text");
      await lines.waitFor();
      must((await lines.innerText()) === "one\ntwo\n\nfour", `lines: ${JSON.stringify(await lines.innerText())}`);
      await write(b.page, "**strong** _em_ `co<b>de` and 2*3*4 snake_case_name\n> what was said\nafter");
      for (const one of [a, b]) {
        const text = said(one.page, "what was said");
        await text.locator("strong", { hasText: /^strong$/ }).waitFor();
        await text.locator("em", { hasText: /^em$/ }).waitFor();
        await text.locator("code", { hasText: /^co<b>de$/ }).waitFor();
        await text.locator("blockquote", { hasText: /^what was said$/ }).waitFor();
        await text.getByText("2*3*4 snake_case_name").waitFor();
      }
      await write(a.page, "see https://example.org/a?b=c&d#e, www.example.net or mail carol@example.org. tel:+49301234 javascript:alert(1)");
      const links = said(b.page, "see https").getByRole("link");
      await links.first().waitFor();
      const targets = await links.evaluateAll((all) => all.map((link) => `${link.href} ${link.target} ${link.rel}`));
      const wanted = ["https://example.org/a?b=c&d#e", "https://www.example.net/", "mailto:carol@example.org", "tel:+49301234"];
      must(targets.join("\n") === wanted.map((href) => `${href} _blank noopener noreferrer`).join("\n"), `links: ${targets}`);
      // What stands in the field can be marked by keys.
      await composer(a.page).fill("bold words");
      await composer(a.page).evaluate((field) => field.setSelectionRange(0, 4));
      await a.page.keyboard.press("Control+b");
      await until("bold is marked", async () => (await composer(a.page).inputValue()) === "**bold** words");
      await a.page.getByRole("button", { name: "Formatting" }).click();
      await a.page.getByRole("button", { name: "Bold (Ctrl+B)" }).click();
      await until("bold is marked no more", async () => (await composer(a.page).inputValue()) === "bold words");
      await a.page.getByRole("button", { name: "Emoji" }).click();
      await a.page.getByRole("dialog", { name: "Emoji" }).getByRole("button", { name: "🎉" }).first().click();
      await until("the emoji is there", async () => (await composer(a.page).inputValue()).includes("🎉"));
      await a.page.getByRole("button", { name: "Send" }).click();
      await said(b.page, "🎉").waitFor();
      must((await said(b.page, ada.name).count()) > 0, "it says who wrote");
      await world.leave(a, b);
    },

    async "a click on a conversation leads into the text field, what is typed beside it goes there, and menus stay in the window"() {
      const [ada, ben] = world.pair();
      await ben.say(ada, `a text as wide as there is room for: ${"wide ".repeat(40)}`);
      const a = await world.enter(ada, "/", { viewport: { width: 1280, height: 800 } });
      const { page } = a;
      await page.getByRole("link", { name: new RegExp(ben.name) }).click();
      await focused(page);
      await page.keyboard.type("typed at once");
      await holds(page, "typed at once");
      // After a click on a message letters are text; on one that was reached by keys they are its shortcuts.
      await said(page, "a text as wide").locator(".m-bubble").click();
      await page.keyboard.type(", cool");
      await holds(page, "typed at once, cool");
      const inside = (box) => box.evaluate((element) => {
        const { left, top, right, bottom } = element.getBoundingClientRect();
        const seen = [[left + 3, top + 3], [right - 3, top + 3], [left + 3, bottom - 3], [right - 3, bottom - 3]];
        return left >= 0 && top >= 0 && right <= innerWidth && bottom <= innerHeight && seen.every(([x, y]) => element.contains(document.elementFromPoint(x, y)));
      });
      for (const [name, role] of [["React", "dialog"], ["More", "menu"]]) {
        const row = await tool(page, "a text as wide", name);
        const box = row.getByRole(role);
        await until(`${name} is seen whole`, () => inside(box));
        await page.keyboard.press("Escape");
        await box.waitFor({ state: "detached" });
      }
      await world.leave(a);
    },

    async "reply, edit by ArrowUp, react and take back, retract"() {
      const { ada, ben, a, b } = await both();
      await write(a.page, "is the door open");
      await said(b.page, "is the door open").waitFor();
      await tool(b.page, "is the door open", "Reply");
      await b.page.getByText(`Reply to ${ada.name}`).waitFor();
      await focused(b.page);
      await b.page.keyboard.type("it is not");
      await b.page.keyboard.press("Enter");
      const quote = said(a.page, "it is not").getByRole("button", { name: /is the door open/ });
      await quote.waitFor();
      await quote.click();
      await until("the quoted message has the focus", () =>
        said(a.page, "is the door open").first().evaluate((row) => row === document.activeElement));

      await composer(a.page).click();
      await focused(a.page);
      await a.page.keyboard.press("ArrowUp");
      await a.page.getByText("Edit message").waitFor();
      await holds(a.page, "is the door open");
      await a.page.keyboard.press("Escape");
      await holds(a.page, "");
      await a.page.keyboard.press("ArrowUp");
      await a.page.getByText("Edit message").waitFor();
      await holds(a.page, "is the door open");
      await focused(a.page);
      await a.page.keyboard.press("End");
      await a.page.keyboard.type("ing?");
      await a.page.keyboard.press("Enter");
      for (const one of [a, b]) await said(one.page, "is the door opening?").first().getByText("edited").waitFor();
      await menu(b.page, "is the door opening?", "Details");
      const dialog = b.page.getByRole("dialog", { name: "Details" });
      await dialog.getByRole("heading", { name: "Earlier texts" }).waitFor();
      await dialog.getByText("is the door open", { exact: true }).waitFor();
      await b.page.keyboard.press("Escape");

      await tool(b.page, "is the door opening?", "React");
      await b.page.getByRole("dialog", { name: "Emoji" }).getByRole("button", { name: "👍" }).first().click();
      const own = said(a.page, "is the door opening?").first();
      await own.getByRole("button", { name: `👍 by ${ben.name}` }).click();
      await own.getByRole("button", { name: `👍 by ${ben.name}, You` }).waitFor();
      await said(b.page, "is the door opening?").first().getByRole("button", { name: /^👍 by/ }).click();
      await own.getByRole("button", { name: "👍 by You" }).waitFor();

      await menu(a.page, "is the door opening?", "Delete for everyone");
      await a.page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
      await menu(a.page, "is the door opening?", "Delete for everyone");
      await a.page.getByRole("dialog").getByRole("button", { name: "Delete for everyone" }).click();
      for (const one of [a, b]) {
        const gone = said(one.page, "This message was deleted");
        await gone.waitFor();
        must((await gone.getByRole("button", { name: /👍/ }).count()) === 0, "reactions go with it");
        must((await said(one.page, "is the door opening?").count()) === 0, "the text is away");
      }
      // The same after a reload: it is the record that says so.
      await b.page.reload();
      await said(b.page, "This message was deleted").waitFor();
      await said(b.page, "it is not").waitFor();
      await world.leave(a, b);
    },

    async "receipts: stored, delivered, read, and when"() {
      const [ada, ben] = world.pair();
      const a = await world.enter(ada, talkPath(ben));
      await write(a.page, "are you there");
      const mine = said(a.page, "are you there");
      await mine.getByRole("button", { name: "Stored" }).waitFor();
      const b = await world.enter(ben, "/contacts");
      await mine.getByRole("button", { name: "Delivered" }).waitFor();
      await b.page.goto(world.url + talkPath(ada));
      await mine.getByRole("button", { name: "Read" }).click();
      const dialog = a.page.getByRole("dialog", { name: "Details" });
      for (const what of ["Stored", "Delivered", "Read"]) await dialog.getByRole("listitem").filter({ hasText: what }).first().waitFor();
      await dialog.getByText(ada.address).waitFor();
      await a.page.keyboard.press("Escape");
      await dialog.waitFor({ state: "detached" });
      await world.leave(a, b);
    },

    async "typing is shown and ends; the same in two tabs, also what is sent from the other"() {
      const { ada, ben, a, b } = await both();
      const tab = await a.context.newPage();
      await tab.goto(world.url + talkPath(ben));
      await composer(tab).waitFor();
      await composer(b.page).pressSequentially("I wri");
      const typing = (page) => page.getByRole("main").getByText(`${ben.name} is typing`);
      for (const page of [a.page, tab]) await typing(page).waitFor();
      await composer(b.page).fill("");
      for (const page of [a.page, tab]) await typing(page).waitFor({ state: "detached" });
      await write(tab, "from the second tab");
      await write(a.page, "from the first tab");
      for (const page of [a.page, tab, b.page]) {
        for (const text of ["from the second tab", "from the first tab"]) {
          await said(page, text).first().waitFor();
          must((await said(page, text).count()) === 1, `${text}: more than once`);
        }
      }
      await tab.close();
      // A phone of the same person that was away has it all, too.
      const other = await world.enter(ada, talkPath(ben));
      await said(other.page, "from the second tab").waitFor();
      await world.leave(a, b, other);
    },

    async "days; what is new begins below a line, is counted and jumped to"() {
      const [ada, ben] = world.pair();
      for (let n = 0; n < 40; n++) await ben.say(ada, `old ${n}`);
      const a = await world.enter(ada, talkPath(ben));
      await said(a.page, "old 39").waitFor();
      await log(a.page).getByRole("button", { name: "Today", exact: true }).waitFor();
      const unread = async () => (await ada.api("ConversationService/GetConversation", { id: ben.address })).conversation.unread ?? 0;
      await until("the server counts nothing unread", async () => (await unread()) === 0);
      await a.page.getByRole("link", { name: "Contacts" }).first().click();
      await a.page.goto(`${world.url}/contacts`);
      await a.page.getByRole("heading", { name: "Contacts", exact: true }).waitFor();
      for (let n = 0; n < 60; n++) await ben.say(ada, `fresh ${n}`);
      await a.page.getByRole("link", { name: "Chats" }).first().click();
      const row = a.page.getByRole("link", { name: new RegExp(ben.name) });
      await row.getByText("60 unread messages").waitFor({ state: "attached" });
      await row.click();
      const line = log(a.page).getByRole("separator", { name: "New" });
      await line.waitFor();
      must((await line.evaluate((e) => e.nextElementSibling.textContent)).includes("fresh 0"), "the line stands before the first");
      await until("the first new one is in view", () => line.evaluate((e) => {
        const box = e.parentElement.parentElement.getBoundingClientRect();
        const own = e.getBoundingClientRect();
        return own.top >= box.top && own.bottom <= box.bottom;
      }));
      await a.page.getByRole("button", { name: /new message|To the newest message/ }).click();
      await until("all is read", async () => (await unread()) === 0);
      await row.getByText(/unread message/).waitFor({ state: "detached" });
      // Nobody looks at the page: what comes begins below a line, too.
      await a.page.evaluate(() => {
        document.hasFocus = () => false;
      });
      await ben.say(ada, "while you looked away");
      await said(a.page, "while you looked away").waitFor();
      await until("the line moved", async () => {
        const next = await line.evaluateAll((all) => all[0]?.nextElementSibling?.textContent ?? "");
        return next.includes("while you looked away") || next.includes("fresh 0");
      });
      // Yesterday and today are two days: the page is told that the first of them came a day earlier.
      await a.page.route("**/parley.v1.ConversationService/ListMessages", async (route) => {
        const answer = await route.fetch();
        await route.fulfill({ response: answer, body: dayEarlier(await answer.body(), 40) });
      });
      await a.page.reload();
      await log(a.page).getByRole("button", { name: "Today", exact: true }).waitFor();
      await until("both days are there", async () => {
        await log(a.page).hover();
        await a.page.mouse.wheel(0, -1500);
        return log(a.page).getByRole("button", { name: "Yesterday", exact: true }).isVisible();
      });
      await a.page.unroute("**/parley.v1.ConversationService/ListMessages");
      await world.leave(a);
    },

    async "a draft outlives a reload and is on the other device"() {
      const [ada, ben] = world.pair();
      const first = await world.enter(ada, talkPath(ben));
      const draft = async () => (await ada.api("ConversationService/GetConversation", { id: ben.address })).conversation.draft?.text ?? "";
      await composer(first.page).pressSequentially("half a thought");
      await until("the server has the draft", async () => (await draft()) === "half a thought");
      await first.page.reload();
      await until("it is there after a reload", async () => (await composer(first.page).inputValue()) === "half a thought");
      const second = await world.enter(ada, talkPath(ben));
      await until("it is on the other device", async () => (await composer(second.page).inputValue()) === "half a thought");
      await second.page.getByRole("heading", { level: 1, name: ben.name }).click();
      await composer(first.page).click();
      await first.page.keyboard.press("End");
      await first.page.keyboard.type(" and the rest");
      await until("the other device follows", async () => (await composer(second.page).inputValue()) === "half a thought and the rest");
      await composer(first.page).press("Enter");
      await said(second.page, "half a thought and the rest").waitFor();
      await until("what was sent is no draft", async () => (await composer(second.page).inputValue()) === "");
      await until("nor on the server", async () => (await draft()) === "");
      await world.leave(first, second);
    },

    async "a message that is refused says why and is sent on another try, or discarded"() {
      const { a, b } = await both();
      const sending = "**/parley.v1.MessageService/Send";
      await a.page.route(sending, (route) =>
        route.fulfill({ status: 403, json: { code: "permission_denied", message: "you may not" } }));
      await write(a.page, "may I");
      await write(a.page, "never mind");
      const failed = (text) => said(a.page, text).filter({ hasText: "Not sent." });
      await failed("never mind").getByRole("button", { name: "Discard" }).click();
      await said(a.page, "never mind").waitFor({ state: "detached" });
      await failed("may I").getByRole("alert").waitFor();
      await a.page.unroute(sending);
      await failed("may I").getByRole("button", { name: "Try again" }).click();
      await said(b.page, "may I").waitFor();
      await failed("may I").waitFor({ state: "detached" });
      must((await said(a.page, "may I").count()) === 1, "it stands there once");
      must((await said(b.page, "never mind").count()) === 0, "what was discarded was not sent");
      a.complaints.splice(0, a.complaints.length, ...a.complaints.filter((line) => !/403/.test(line)));
      await world.leave(a, b);
    },

    async "offline: a banner, what is written waits, and all that was missed comes in order"() {
      const { ada, ben, a, b } = await both();
      await write(a.page, "before");
      await said(b.page, "before").waitFor();
      await a.context.setOffline(true);
      await a.page.evaluate(() => dispatchEvent(new Event("online"))); // the stream that is open does not notice by itself
      await a.page.getByText("No connection.").waitFor();
      await write(a.page, "written offline");
      await said(a.page, "written offline").getByRole("img", { name: "On its way" }).waitFor();
      for (let n = 0; n < 30; n++) await ben.say(ada, `missed ${n}.`);
      await a.context.setOffline(false);
      await said(b.page, "written offline").waitFor();
      await said(a.page, "missed 29.").waitFor();
      await a.page.getByText("No connection.").waitFor({ state: "detached" });
      await said(a.page, "written offline").getByRole("img", { name: "On its way" }).waitFor({ state: "detached" });
      const texts = (page) => log(page).getByRole("article").locator(".m-text").allInnerTexts();
      const wanted = ["before", ...Array.from({ length: 30 }, (_, n) => `missed ${n}.`), "written offline"].join();
      for (const one of [a, b]) await until(`order: ${wanted}`, async () => (await texts(one.page)).join() === wanted);
      await world.leave(a, b);
    },

    async "how long a message takes from page to page"() {
      const { a, b } = await both();
      const times = [];
      for (let n = 0; n < 30; n++) {
        const text = `lap ${n}.`;
        await composer(a.page).fill(text);
        const seen = b.page.evaluate(
          (wanted) =>
            new Promise((done) => {
              const list = document.querySelector("[role=log]");
              const watch = new MutationObserver(() => {
                if (!list.textContent.includes(wanted)) return;
                watch.disconnect();
                done(performance.timeOrigin + performance.now());
              });
              watch.observe(list, { childList: true, subtree: true, characterData: true });
              globalThis.armed = wanted;
            }),
          text,
        );
        await b.page.waitForFunction((wanted) => globalThis.armed === wanted, text);
        const began = await composer(a.page).evaluate((field) => {
          const now = performance.timeOrigin + performance.now();
          field.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true }));
          return now;
        });
        times.push((await seen) - began);
      }
      const ms = (value) => `${value.toFixed(1)} ms`;
      console.log(`  a message from page to page: median ${ms(middle(times))}, ${ms(middle(times, 0))} to ${ms(middle(times, 1))}, of ${times.length}`);
      await world.leave(a, b);
    },
  };
}
