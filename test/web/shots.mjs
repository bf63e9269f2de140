// Signs in two people, lets them talk, and takes pictures of every page: desktop and phone, light and dark, into a folder.
//   node shots.mjs PROGRAM FOLDER
import { mkdirSync } from "node:fs";
import { demo } from "./server.mjs";
import { desktop, enter, launch, look, openTalk, phone, say, tablet, visit } from "./people.mjs";

const [program, folder = "out"] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const server = await demo(program);
const browser = await launch();
let faults = 0;

const sizes = { desktop, tablet, phone };
/** Gives the page a moment for pictures and transitions, which a picture should not catch half way. */
const settle = (page) => page.waitForTimeout(500);

async function shot(page, name) {
  await settle(page);
  await page.screenshot({ path: `${folder}/${name}.png` });
  for (const line of await look(page)) {
    faults++;
    console.log(`${name}: axe: ${line}`);
  }
}

async function talkAbout(alice, bob) {
  await openTalk(alice, "Bob");
  await openTalk(bob, "Alice");
  const lines = [
    [alice, "Morning, Bob! Did the build go through?"],
    [bob, "Almost. One test waits for a clock that nobody winds."],
    [bob, "I look at it after the stand-up."],
    [alice, "No hurry. The notes for the customer are at https://example.com/notes if you want to add something."],
    [bob, "Will do 👍"],
    [alice, "And bring the pictures from Tuesday, please. The one with the whiteboard is what we need for the slides, the rest can wait until next week."],
  ];
  for (const [page, text] of lines) {
    await say(page, text);
    for (const one of [alice, bob]) await one.getByRole("main").getByText(text.split("https")[0].trim().slice(0, 40)).first().waitFor();
  }
}

async function pages(page, url, tag) {
  const step = async (path, name, come) => {
    await page.goto(url + path);
    await come(page);
    await shot(page, `${tag}-${name}`);
  };
  const ready = (p) => p.getByRole("main").getByRole("heading", { level: 1 }).waitFor();
  await step("/", "chats", (p) => p.getByRole("link", { name: /Bob Brown/ }).waitFor());
  await step("/c/bob@parley.test", "talk", (p) => p.getByRole("main").getByText("whiteboard").waitFor());
  await step("/contacts", "contacts", (p) => p.getByRole("link", { name: /Bob Brown/ }).waitFor());
  await step("/search?q=build", "search", (p) => p.locator("mark").first().waitFor());
  await step("/settings", "settings", (p) => p.getByRole("link", { name: /Appearance/ }).waitFor());
  for (const section of ["profile", "privacy", "notifications", "appearance", "devices", "about"]) {
    await step(`/settings/${section}`, `settings-${section}`, ready);
  }
  await page.goto(`${url}/c/bob@parley.test`);
  await page.getByRole("main").getByText("whiteboard").waitFor();
  await page.keyboard.press("Alt+p");
  await page.getByRole("dialog").waitFor();
  await shot(page, `${tag}-presence`);
  await page.keyboard.press("Escape");
  await page.keyboard.press("Control+k");
  await page.getByRole("dialog").getByRole("combobox").fill("c");
  await page.getByRole("option", { name: /Carol/ }).waitFor();
  await shot(page, `${tag}-switcher`);
  await page.keyboard.press("Escape");
  await page.getByRole("main").getByRole("heading", { level: 1 }).first().click();
  await page.keyboard.press("?");
  await page.getByRole("dialog").waitFor();
  await shot(page, `${tag}-shortcuts`);
  await page.keyboard.press("Escape");
}

try {
  const bob = await visit(browser, server.url);
  await enter(bob.page, "Bob");
  const guest = await visit(browser, server.url);
  await guest.page.getByRole("button", { name: /Alice/ }).waitFor();
  await shot(guest.page, "desktop-light-sign-in");
  await enter(guest.page, "Alice");
  await talkAbout(guest.page, bob.page);
  const people = [bob, guest];
  const german = await visit(browser, server.url, { ...desktop, locale: "de-DE", storageState: await guest.context.storageState() });
  for (const path of ["c/bob@parley.test", "contacts", "settings/profile", "settings/privacy", "settings/notifications"]) {
    await german.page.goto(`${server.url}/${path}`);
    await german.page.locator("main h1").first().waitFor();
    await shot(german.page, `german-${path.replace(/.*\//, "")}`);
  }
  people.push(german);
  for (const [size, options] of Object.entries(sizes)) {
    for (const colorScheme of ["light", "dark"]) {
      const state = await guest.context.storageState();
      const one = await visit(browser, server.url, { ...options, colorScheme, storageState: state });
      await one.page.getByRole("navigation", { name: "Main" }).waitFor();
      await pages(one.page, server.url, `${size}-${colorScheme}`);
      people.push(one);
      await one.context.close();
    }
  }
  for (const { complaints } of people) {
    for (const line of complaints) {
      faults++;
      console.log(`console: ${line}`);
    }
  }
} finally {
  await browser.close();
  await server.stop();
}
console.log(faults === 0 ? "no faults" : `${faults} faults`);
process.exitCode = faults === 0 ? 0 : 1;
