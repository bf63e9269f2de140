// Drives Parley's own web client as a person does: what is not seen by eye or screen reader is not looked at. Every action
// returns when the page shows what came of it.
import { writeFileSync } from 'node:fs';

/** One step of a page may take as long as one step of any other client. */
const patience = 60_000;

/** The words of the page for the states of the run. */
const states = { available: 'Available', busy: 'Busy', 'on-the-phone': 'In a call', offline: 'Offline' };

const nameOf = (address) => address.split('@')[0];
const literal = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
const exactly = (text) => new RegExp(`^\\s*${literal(text)}\\s*$`);

/** Opens the page in a browser of its own and signs in through the form. */
export async function openWeb(browser, url, address, password, complain) {
  // The server's certificate is from its own new CA.
  const context = await browser.newContext({ locale: 'en-GB', viewport: { width: 1360, height: 840 }, ignoreHTTPSErrors: true, acceptDownloads: true });
  context.setDefaultTimeout(patience);
  const page = await context.newPage();
  page.on('console', (line) => complain(`${line.type()}: ${line.text()}`));
  page.on('pageerror', (error) => complain(`error: ${error.stack ?? error}`));
  await page.goto(url);
  await page.getByLabel('Address').fill(address);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  await page.getByRole('navigation', { name: 'Main' }).waitFor();
  return new Web(context, page);
}

class Web {
  #context;
  #page;
  #last = Promise.resolve();

  constructor(context, page) {
    this.#context = context;
    this.#page = page;
  }

  /** One person does one thing after the other; only the eyes may be at several places. */
  act(action, ...args) {
    if (action === 'sees') return this.sees(...args);
    const next = this.#last.then(() => this[action](...args));
    this.#last = next.catch(() => {});
    return next;
  }

  get #main() {
    return this.#page.getByRole('main');
  }

  get #composer() {
    return this.#main.getByRole('textbox', { name: /^Message to / });
  }

  get #log() {
    return this.#main.getByRole('log');
  }

  /** The newest message of somebody with a text, word for word. */
  async #find(who, text) {
    const found = await this.#page.waitForFunction(({ who, text }) => {
      for (const row of [...document.querySelectorAll('main [role=log] article[data-id]')].reverse()) {
        const shown = row.querySelector('.m-text')?.innerText.trimEnd();
        if (row.querySelector('p')?.innerText.trim() === who && shown === text) return row;
      }
      return undefined;
    }, { who, text: text.trimEnd() }, { polling: 100 });
    return this.#log.locator(`[data-id="${await found.evaluate((row) => row.dataset.id)}"]`);
  }

  /** Goes to a conversation as one does from the keyboard. */
  async talk(address) {
    const path = decodeURIComponent(new URL(this.#page.url()).pathname);
    if (path !== `/c/${address}`) {
      await this.#page.keyboard.press('Control+k');
      const dialog = this.#page.getByRole('dialog');
      await dialog.getByRole('combobox').fill(address);
      await dialog.getByRole('option').filter({ hasText: nameOf(address) }).first().waitFor();
      await this.#page.keyboard.press('Enter');
      await dialog.waitFor({ state: 'detached' });
    }
    await this.#main.getByRole('heading', { level: 1, name: nameOf(address), exact: true }).waitFor();
    await this.#composer.waitFor();
  }

  /** Writes a text and returns when the server has it. */
  async send(address, text) {
    await this.talk(address);
    await this.#write(text);
    await this.reached(text, 'Stored|Delivered|Read');
  }

  async #write(text) {
    await this.#composer.fill(text);
    await this.#composer.press('Enter');
  }

  async read(address, text) {
    await this.talk(address);
    await this.#find(nameOf(address), text);
  }

  /** Waits until an own message has come as far as one of some words says. */
  async reached(text, words) {
    const row = await this.#find('You', text);
    await row.getByRole('button', { name: new RegExp(`^(${words})$`) }).waitFor();
  }

  /** Waits until the list of conversations says how many messages of somebody are unread, without opening any. */
  async unread(address, count) {
    await this.#page.getByRole('link', { name: /^Chats/ }).click();
    const row = this.#page.getByRole('region', { name: 'Chats' }).getByRole('link')
      .filter({ has: this.#page.getByText(new RegExp(`^${literal(nameOf(address))}(,|$)`)) }); // the state follows for who listens
    await row.getByText(count === '1' ? '1 unread message' : `${count} unread messages`, { exact: true }).waitFor({ state: 'attached' });
  }

  /** Begins to write, and leaves it at that. */
  async typing(address) {
    await this.talk(address);
    await this.#composer.pressSequentially('Hm');
  }

  async clear(address) {
    await this.talk(address);
    await this.#composer.fill('');
  }

  async composing(address) {
    await this.talk(address);
    await this.#main.getByRole('status').filter({ hasText: `${nameOf(address)} is typing` }).waitFor();
  }

  async #tool(who, text, name) {
    const row = await this.#find(who, text);
    await row.hover();
    await row.getByRole('toolbar', { name: 'Actions for this message' }).getByRole('button', { name, exact: true }).click();
    return row;
  }

  async edit(address, text, next) {
    await this.talk(address);
    await this.#tool('You', text, 'More');
    await this.#page.getByRole('menuitem', { name: 'Edit', exact: true }).click();
    await this.#main.getByText('Edit message', { exact: true }).waitFor();
    await this.#write(next);
    const row = await this.#find('You', next);
    await row.getByText('edited', { exact: true }).waitFor();
  }

  async retract(address, text) {
    await this.talk(address);
    const row = await this.#tool('You', text, 'More');
    await this.#page.getByRole('menuitem', { name: 'Delete for everyone' }).click();
    await this.#page.getByRole('dialog').getByRole('button', { name: 'Delete for everyone' }).click();
    await row.getByText('This message was deleted').waitFor();
  }

  async react(address, text, emoji) {
    await this.talk(address);
    const row = await this.#tool(nameOf(address), text, 'React');
    await row.getByRole('dialog', { name: 'Emoji' }).getByRole('button', { name: emoji, exact: true }).first().click();
    await row.getByRole('list', { name: 'Reactions' }).getByRole('button', { name: `${emoji} by You` }).waitFor();
  }

  async reply(address, text, next) {
    await this.talk(address);
    await this.#tool(nameOf(address), text, 'Reply');
    await this.#main.getByText(`Reply to ${nameOf(address)}`, { exact: true }).waitFor();
    await this.#write(next);
    const row = await this.#find('You', next);
    await row.getByTitle('Go to this message').waitFor();
  }

  /** Sends a file with words to it. */
  async file(address, path, text) {
    await this.talk(address);
    await this.#main.getByLabel('Attach files').and(this.#page.locator('input')).setInputFiles(path);
    await this.#main.getByRole('list', { name: 'Files to send' }).getByRole('listitem').waitFor();
    await this.#write(text);
    await this.reached(text, 'Stored|Delivered|Read');
  }

  /** Saves a file that somebody has sent. */
  async save(address, name, path) {
    await this.talk(address);
    const link = this.#log.getByRole('link').filter({ hasText: name }).last();
    await link.waitFor();
    const [download] = await Promise.all([this.#page.waitForEvent('download'), link.click()]);
    const failure = await download.failure();
    if (failure) throw new Error(`download: ${failure}`);
    await download.saveAs(path);
    return download.suggestedFilename();
  }

  /** Shows the contacts, with all of these among them. */
  async contacts(...addresses) {
    await this.#page.getByRole('link', { name: /^Contacts/ }).first().click();
    const list = this.#page.getByRole('region', { name: 'Contacts' });
    await list.getByRole('heading', { name: 'Contacts', exact: true }).waitFor();
    await list.getByRole('button', { name: 'Add people' }).first().click();
    const dialog = this.#page.getByRole('dialog');
    for (const address of addresses) {
      await dialog.getByLabel('Who are you looking for?').fill(address);
      const person = dialog.getByRole('listitem').filter({ has: this.#page.getByText(new RegExp(`^${literal(nameOf(address))}(@.*)?$`)) }).first();
      const add = person.getByRole('button', { name: /^Add / });
      const there = person.getByText('Added', { exact: true });
      await add.or(there).first().waitFor();
      if (await add.isVisible()) await add.click();
      await there.waitFor();
    }
    await dialog.getByRole('button', { name: 'Close' }).click();
    await dialog.waitFor({ state: 'detached' });
  }

  /** Waits until a contact is shown in a state. */
  async sees(address, state, limit) {
    const row = this.#page.getByRole('region', { name: 'Contacts' }).getByRole('link')
      .filter({ has: this.#page.getByText(nameOf(address), { exact: true }) });
    try {
      await row.getByText(exactly(states[state])).waitFor({ timeout: Number(limit) });
    } catch (error) {
      throw new Error(`the row says ${JSON.stringify(await row.allInnerTexts())}: ${error}`);
    }
  }

  /** Says by hand how the person is: a choice of the dialog. */
  async presence(choice) {
    await this.#page.keyboard.press('Alt+p');
    const dialog = this.#page.getByRole('dialog');
    await dialog.getByLabel(choice, { exact: true }).check({ force: true });
    await dialog.getByRole('button', { name: 'Save' }).click();
    await dialog.waitFor({ state: 'detached' });
  }

  /** Takes a picture: what the person had before her when a row failed. */
  async picture(path) {
    writeFileSync(path, await this.#page.screenshot());
  }

  /** Closes the window without signing out. */
  async close() {
    await this.#context.close();
  }
}
