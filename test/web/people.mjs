// A browser, people in it, and what they do on the page.
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const flags = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** A slow machine gets the time it needs. */
export const patience = 30_000;

export function launch() {
  const paths = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser"];
  const executablePath = paths.find((path) => path && existsSync(path));
  if (!executablePath) throw new Error("no Chromium: apt-get install chromium, or set CHROMIUM");
  return chromium.launch({ executablePath, args: flags });
}

export const desktop = { viewport: { width: 1360, height: 840 } };
export const tablet = { viewport: { width: 900, height: 1000 } };
export const phone = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };

/** Opens the page for somebody. What the browser complains about is an error of the test. */
export async function visit(browser, url, options = desktop) {
  const context = await browser.newContext({ locale: "en-GB", colorScheme: "light", ignoreHTTPSErrors: true, ...options });
  context.setDefaultTimeout(patience);
  const page = await context.newPage();
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(String(error.stack ?? error)));
  page.on("console", (line) => {
    if (line.type() !== "error") return;
    const text = line.text();
    // Before sign-in the page asks whether there is a session: 401 is the answer. Without a demo there is no demo.json.
    if (/GetSession|demo\.json/.test(line.location().url) || /ERR_(CONNECTION|INTERNET|NETWORK)/.test(text)) return;
    complaints.push(`${text} (${line.location().url})`);
  });
  await page.goto(url);
  return { context, page, complaints };
}

/** Signs in as one of the people that the demo offers. */
export async function enter(page, name) {
  await page.getByRole("button", { name: new RegExp(name) }).click();
  await page.getByRole("navigation", { name: "Main" }).waitFor();
}

export async function openTalk(page, name) {
  await page.keyboard.press("Control+k");
  await page.getByRole("dialog").getByRole("combobox").fill(name);
  await page.getByRole("option", { name: new RegExp(name) }).first().waitFor();
  await page.keyboard.press("Enter");
  await page.getByRole("main").getByRole("heading", { level: 1, name: new RegExp(name) }).waitFor();
  await page.locator("[data-composer]").waitFor();
}

export async function say(page, text) {
  const field = page.locator("[data-composer]");
  await field.click();
  await page.keyboard.type(text);
  await page.keyboard.press("Enter");
}

/** Runs axe on the page and returns what it found, a line each. */
export async function look(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  return violations.map((one) => `${one.id}: ${one.help}: ${one.nodes.map((node) => node.target.join(" ")).slice(0, 4).join(" | ")}`);
}
