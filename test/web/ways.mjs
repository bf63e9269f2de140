// The message view by keyboard alone, on a small screen, in German, and for screen readers.
import { desktop, look, phone, visit } from "./people.mjs";
import { composer, log, said, talkPath, tool, write } from "./world.mjs";

/** Presses a key until something has the focus. */
async function focusBy(page, key, what, is) {
  for (let presses = 0; presses < 60; presses++) {
    if (await is()) return;
    await page.keyboard.press(key);
  }
  throw new Error(`${key} does not lead to ${what}`);
}
const focused = (locator) => locator.evaluate((element) => element === document.activeElement, undefined, { timeout: 1000 }).catch(() => false);

/** Lets two people say one of each kind. */
async function everyKind(ada, ben, picture) {
  await ada.say(ben, "a plain text\nof two lines");
  const { message } = await ben.say(ada, "see https://example.org/notes and mail ben@example.org");
  await ada.api("MessageService/Send", {
    conversation: ben.address,
    html: "<p><strong>strong</strong> <em>em</em> <code>code()</code></p><blockquote>quoted</blockquote><p>after</p>",
    replyTo: message.id,
  });
  await ada.api("MessageService/React", { id: message.id, emoji: "👍" });
  await ben.api("MessageService/React", { id: message.id, emoji: "👍" });
  await ben.api("MessageService/React", { id: message.id, emoji: "🎉" });
  const edited = await ben.say(ada, "befor");
  await ben.api("MessageService/Edit", { id: edited.message.id, text: "before" });
  const gone = await ada.say(ben, "not this");
  await ada.api("MessageService/Retract", { id: gone.message.id });
  await ben.say(ada, "now!", { priority: "urgent" });
  await ben.say(ada, "🎉");
  const file = await ben.upload(ada, "minutes.pdf", "application/pdf", Buffer.from("%PDF-1.4 minutes"));
  await ben.say(ada, "", { file: file.id });
  const image = await ada.upload(ben, "lake.png", "image/png", picture);
  await ada.say(ben, "the lake", { file: image.id });
  await ben.say(ada, "the last word");
}

export function ways({ browser, world, until, must }) {
  return {
    async "by keyboard alone: sign in, open, write, reply, react, edit, delete, search, presence"() {
      const [ada, ben] = world.pair();
      await ben.say(ada, "good morning");
      const b = await world.enter(ben, talkPath(ada));
      await composer(b.page).waitFor();
      const a = await visit(browser, world.url);
      const { page } = a;
      await page.getByLabel("Address").waitFor();
      await focusBy(page, "Tab", "the address", () => focused(page.getByLabel("Address")));
      await page.keyboard.type(ada.address);
      await focusBy(page, "Tab", "the password", () => focused(page.getByLabel("Password")));
      await page.keyboard.type(world.password);
      await page.keyboard.press("Enter");
      await page.getByRole("navigation", { name: "Main" }).waitFor();
      const row = page.getByRole("link", { name: new RegExp(ben.name) });
      await row.waitFor();
      await focusBy(page, "Tab", "the conversation", () => focused(row));
      await page.keyboard.press("Enter");
      await composer(page).waitFor();
      await said(page, "good morning").waitFor();
      await focusBy(page, "Tab", "the text field", () => focused(composer(page)));
      await page.keyboard.type("and to you");
      await page.keyboard.press("Enter");
      await said(b.page, "and to you").waitFor();
      const own = (text) => log(page).getByRole("article").filter({ has: page.locator(".m-text", { hasText: text }) }); // not its quotes
      const toMessage = async (text) => {
        await focusBy(page, "Shift+Tab", "the messages", () => focused(log(page)));
        await focusBy(page, "ArrowUp", text, () => focused(own(text)));
      };
      await toMessage("good morning");
      await page.keyboard.press("r");
      await until("the text field has the focus", () => focused(composer(page)));
      await page.keyboard.type("early, though");
      await page.keyboard.press("Enter");
      await said(b.page, "early, though").getByRole("button", { name: /good morning/ }).waitFor();
      await toMessage("good morning");
      await page.keyboard.press("+");
      const emoji = page.getByRole("dialog", { name: "Emoji" });
      await emoji.waitFor();
      await page.keyboard.press("ArrowRight");
      await page.keyboard.press("Enter");
      await said(b.page, "good morning").first().getByRole("button", { name: new RegExp(`by ${ada.name}`) }).waitFor();
      await toMessage("early, though");
      await page.keyboard.press("e");
      await page.getByText("Edit message").waitFor();
      await until("the text field has the focus", () => focused(composer(page)));
      await until("the old text is there", async () => (await composer(page).inputValue()) === "early, though");
      await page.keyboard.press("Control+a");
      await page.keyboard.type("rather late");
      await page.keyboard.press("Enter");
      await said(b.page, "rather late").waitFor();
      await toMessage("and to you");
      await page.keyboard.press("i");
      await page.getByRole("dialog", { name: "Details" }).waitFor();
      await page.keyboard.press("Escape");
      await until("the focus is back on the message", () => focused(own("and to you")));
      await page.keyboard.press("Delete");
      const question = page.getByRole("dialog", { name: "Delete this message?" });
      await focusBy(page, "Tab", "the answer", () => focused(question.getByRole("button", { name: "Delete for everyone" })));
      await page.keyboard.press("Enter");
      await said(b.page, "This message was deleted").waitFor();

      await page.keyboard.press("Control+f");
      await until("the search field has the focus", () => focused(page.getByRole("searchbox")));
      await page.keyboard.type("morning");
      const hit = page.getByRole("link").filter({ has: page.locator("mark") }).first();
      await hit.waitFor();
      await focusBy(page, "Tab", "the hit", () => focused(hit));
      await page.keyboard.press("Enter");
      await said(page, "good morning").locator("mark").first().waitFor();

      await page.keyboard.press("Alt+p");
      const presence = page.getByRole("dialog", { name: "Your presence" });
      await presence.waitFor();
      await focusBy(page, "ArrowDown", "busy", () => presence.getByRole("radio", { name: "Busy" }).isChecked());
      await focusBy(page, "Tab", "the note", () => focused(presence.getByLabel("Note")));
      await page.keyboard.type("at the keys");
      await page.keyboard.press("Enter");
      await presence.waitFor({ state: "detached" });
      await b.page.getByRole("main").getByText("Busy · at the keys").waitFor();
      must(a.complaints.length === 0, a.complaints.join("\n"));
      await a.context.close();
      await world.leave(b);
    },

    async "contacts go from group to group: dragged, by keyboard, by menu; groups have an order"() {
      const [ada, ben] = world.pair();
      await ada.api("ContactService/AddContacts", { owner: ada.address, contacts: [{ address: ben.address }] });
      for (const name of ["Friends", "Work"]) await ada.api("ContactService/AddGroup", { owner: ada.address, name });
      const one = await world.enter(ada, "/contacts");
      const { page } = one;
      const section = (name) => page.getByRole("region", { name, exact: true });
      const inside = (name) => section(name).getByRole("link", { name: new RegExp(ben.name) });
      await inside("Others").dragTo(section("Work").getByRole("heading"));
      await inside("Work").waitFor();
      await section("Others").waitFor({ state: "detached" });
      await until("the focus goes with it", () => focused(inside("Work")));
      await page.keyboard.press("Alt+Shift+ArrowUp");
      await inside("Friends").waitFor();
      await until("the focus goes with it", () => focused(inside("Friends")));
      await page.keyboard.press("Alt+Shift+ArrowUp");
      await inside("Favourites").waitFor();
      await until("the focus goes with it", () => focused(inside("Favourites")));
      await page.getByRole("button", { name: `Actions for ${ben.name}` }).focus();
      await page.keyboard.press("Enter");
      await page.getByRole("menuitem", { name: "Move to Work" }).click();
      await inside("Work").waitFor();
      const { contacts } = await ada.api("ContactService/ListContacts", { owner: ada.address });
      must(contacts[0].groups.length === 1 && !contacts[0].favourite, `in one place: ${JSON.stringify(contacts[0])}`);
      await page.getByRole("button", { name: "Actions for the group Work" }).click();
      await page.getByRole("menuitem", { name: "Move up" }).click();
      const names = () => page.locator(".section-name").allInnerTexts();
      await until("Work is first", async () => (await names()).join() === "Work,Friends");
      const found = await look(page);
      must(found.length === 0, found.join("\n"));
      await world.leave(one);
    },

    async "two tabs are one device: whoever is at one of them is not away"() {
      const [ada, ben] = world.pair();
      const b = await world.enter(ben, talkPath(ada));
      const head = b.page.locator(".talk-state");
      const a = await world.enter(ada, "/");
      await head.getByText("Available").waitFor();
      const other = await a.context.newPage();
      await other.clock.install();
      await other.goto(`${world.url}/contacts`);
      await other.getByRole("heading", { name: "Contacts" }).waitFor();
      await other.clock.fastForward("06:00");
      await head.getByText("Away").waitFor();
      await a.page.mouse.move(200, 200);
      await head.getByText("Available").waitFor();
      await other.close();
      await world.leave(a, b);
    },

    async "axe finds nothing in a conversation with one of each kind, in both themes and sizes"() {
      const [ada, ben] = world.pair();
      const blank = await visit(browser, "about:blank");
      const picture = Buffer.from(
        await blank.page.evaluate(() => {
          const canvas = document.createElement("canvas");
          canvas.width = 640;
          canvas.height = 360;
          canvas.getContext("2d").fillRect(0, 0, 640, 360);
          return canvas.toDataURL("image/png").split(",")[1];
        }),
        "base64",
      );
      await blank.context.close();
      await everyKind(ada, ben, picture);
      const found = [];
      for (const colorScheme of ["light", "dark"]) {
        for (const [size, options] of Object.entries({ desktop, phone })) {
          const one = await world.enter(ada, talkPath(ben), { ...options, colorScheme });
          const { page } = one;
          const check = async (what) => {
            // What is half way there has half of its contrast.
            await page.evaluate(() =>
              Promise.allSettled(
                document.getAnimations().filter((one) => one.effect?.getComputedTiming().endTime !== Number.POSITIVE_INFINITY).map((one) => one.finished),
              ));
            for (const line of await look(page)) {
              found.push(`${colorScheme} ${size} ${what}: ${line}`);
            }
          };
          await said(page, "the last word").waitFor();
          await page.getByRole("button", { name: "Show picture lake.png" }).waitFor();
          await check("messages");
          if (size === "desktop") {
            await tool(page, "the last word", "React");
            await page.getByRole("dialog", { name: "Emoji" }).waitFor();
            await check("emoji");
            await page.keyboard.press("Escape");
            await tool(page, "the last word", "Reply");
            await page.getByRole("button", { name: "Formatting" }).click();
            await page.getByLabel("Attach files").first().setInputFiles([{ name: "new.png", mimeType: "image/png", buffer: picture }]);
            await page.getByRole("list", { name: "Files to send" }).waitFor();
            await check("what is written");
            await page.getByRole("button", { name: "Remove new.png" }).click();
            await until("the text field has the focus", () => focused(composer(page)));
            await page.keyboard.press("Escape");
            await page.getByText(`Reply to ${ben.name}`).waitFor({ state: "detached" });
          }
          await page.getByRole("button", { name: "Show picture lake.png" }).click();
          await page.getByRole("dialog", { name: "lake.png" }).waitFor();
          await check("picture");
          await world.leave(one);
        }
      }
      must(found.length === 0, found.join("\n"));
    },

    async "360 pixels: write, the tools of a message by touch, no sideways scrolling"() {
      const [ada, ben] = world.pair();
      await ben.say(ada, `a word that is long: ${"donaudampfschifffahrt".repeat(12)} https://example.org/${"path/".repeat(40)}`);
      const file = await ben.upload(ada, `${"a-rather-long-name-".repeat(8)}.pdf`, "application/pdf", Buffer.from("%PDF-1.4"));
      await ben.say(ada, "", { file: file.id });
      await ben.say(ada, "tap here");
      const one = await world.enter(ada, talkPath(ben), { ...phone, viewport: { width: 360, height: 640 } });
      const { page } = one;
      const text = said(page, "tap here").first();
      await text.locator(".m-bubble").tap();
      await text.getByRole("button", { name: "Reply" }).tap();
      await page.getByText(`Reply to ${ben.name}`).waitFor();
      await composer(page).fill("from a phone");
      await page.getByRole("button", { name: "Send" }).tap();
      await said(page, "from a phone").getByRole("button", { name: "tap here" }).waitFor();
      const wide = () => page.evaluate(() => {
        const list = document.querySelector("[role=log]");
        return Math.max(document.documentElement.scrollWidth - innerWidth, list.scrollWidth - list.clientWidth);
      });
      must((await wide()) <= 0, `it is wider than the screen by ${await wide()}`);
      // The keyboard of the phone takes half of the screen: the newest message stays in view.
      await page.setViewportSize({ width: 360, height: 330 });
      const newest = said(page, "from a phone").last();
      await until("the newest is above the text field", async () => {
        const [row, field] = await Promise.all([newest.boundingBox(), composer(page).boundingBox()]);
        return row && field && row.y + row.height <= field.y + 1 && field.y + field.height <= 330;
      });
      await page.getByRole("button", { name: "Back" }).tap();
      await page.getByRole("link", { name: new RegExp(ben.name) }).waitFor();
      await world.leave(one);
    },

    async "in German: days, tools, receipts, and what is said of somebody who writes"() {
      const [ada, ben] = world.pair();
      const a = await world.enter(ada, talkPath(ben), { ...desktop, locale: "de-DE" });
      const b = await world.enter(ben, talkPath(ada));
      const { page } = a;
      await page.getByText(`Sag ${ben.name} Hallo.`).waitFor();
      await write(page, "guten Tag");
      await log(page).getByRole("button", { name: "Heute" }).waitFor();
      await said(page, "guten Tag").getByRole("button", { name: "Gelesen" }).waitFor();
      await composer(b.page).pressSequentially("hm");
      await page.getByRole("main").getByText(`${ben.name} schreibt`).waitFor();
      const english = await page.evaluate(() => {
        const words = /\b(Message|Send|Reply|React|Search|Details of|Attach|Formatting|Today|Delivered|Stored|Read)\b/;
        return [...document.querySelectorAll("[aria-label], [title], [placeholder]")]
          .flatMap((e) => ["aria-label", "title", "placeholder"].map((name) => e.getAttribute(name) ?? ""))
          .filter((label) => words.test(label));
      });
      must(english.length === 0, `English: ${english}`);
      // What the server says, too.
      await page.keyboard.press("Alt+p");
      await page.getByRole("dialog").getByText("ein Gerät ist angemeldet").waitFor();
      await page.keyboard.press("Escape");
      await page.getByRole("button", { name: `Sehen, was ${ben.name} sieht` }).click();
      await page.getByRole("dialog").getByText("es gibt keine Regel, und parley.test ist eine Domain dieses Servers").waitFor();
      await page.keyboard.press("Escape");
      await page.goto(`${world.url}/settings/privacy`);
      const form = page.locator(".rule-form");
      await form.getByLabel("Person").fill("not @n address");
      await form.getByRole("button", { name: "Hinzufügen" }).click();
      await page.locator(".toast-failed").getByText("Diese Adresse geht hier nicht.").waitFor();
      a.complaints.splice(0, a.complaints.length, ...a.complaints.filter((line) => !/SetLevel/.test(line)));
      await world.leave(a, b);
    },
  };
}
