// Drives JsSIP and Parley's web client in Chromium: one browser, a page for each user. JsSIP's pages are served from the
// given port of 127.0.0.1. Commands come in on standard input, fields separated by tabs in which \\, \n and \t stand for
// themselves; events leave on standard output as one JSON object a line.
//
//   open NAME SERVER USER@DOMAIN PASSWORD INSTANCE    message NAME URI TEXT    dial NAME URI    watch NAME URI
//   hangUp NAME    stats NAME    close NAME    quit
//   web NAME ID open URL USER@DOMAIN PASSWORD    web NAME ID ACTION …    Parley's web client, see web.mjs
//
// Each "web" is answered by an event "done" with its ID.
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';
import { bundle } from './bundle.mjs';
import { openWeb } from './web.mjs';

const flags = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--use-fake-device-for-media-stream',
  '--use-fake-ui-for-media-stream', '--allow-loopback-in-peer-connection',
];

const tell = (event) => process.stdout.write(`${JSON.stringify(event)}\n`);

// serve gives the pages to the browser, from loopback: a secure context, so that the microphone is allowed.
async function serve(port) {
  const local = (name) => readFileSync(new URL(name, import.meta.url), 'utf8');
  const pages = {
    '/': ['text/html', local('page.html')],
    '/page.js': ['text/javascript', local('page.js')],
    '/jssip.js': ['text/javascript', bundle('jssip', 'JsSIP')],
  };
  const server = http.createServer((request, response) => {
    const [type, body] = pages[request.url] ?? [];
    response.writeHead(body ? 200 : 404, { 'Content-Type': `${type ?? 'text/plain'}; charset=utf-8` });
    response.end(body);
  });
  await new Promise((done) => server.listen(port, '127.0.0.1', done));
  return `http://127.0.0.1:${port}/`;
}

const address = await serve(Number(process.argv[2]));
const server = await chromium.launchServer({ executablePath: process.env.CHROMIUM, args: flags });
const browser = await chromium.connect(server.wsEndpoint());
const pages = new Map();
const webs = new Map();
tell({ event: 'browser', state: 'Ok', code: server.process().pid });

const commands = {
  async open(name, ...signIn) {
    // The server's certificate is from its own new CA.
    const context = await browser.newContext({ ignoreHTTPSErrors: true, permissions: ['microphone'] });
    const page = await context.newPage();
    page.on('console', (line) => process.stderr.write(`${name}: ${line.text()}\n`));
    page.on('pageerror', (error) => tell({ event: 'error', client: name, text: String(error) }));
    await page.exposeFunction('tell', (event) => tell({ ...event, client: name }));
    await page.goto(address);
    pages.set(name, page);
    await page.evaluate((values) => phone.signIn(...values), signIn);
  },
  message: (name, to, text) => pages.get(name).evaluate(([t, x]) => phone.message(t, x), [to, text]),
  dial: (name, to) => pages.get(name).evaluate((t) => phone.dial(t), to),
  watch: (name, to) => pages.get(name).evaluate((t) => phone.subscribe(t), to),
  hangUp: (name) => pages.get(name).evaluate(() => phone.hangUp()),
  stats: (name) => pages.get(name).evaluate(() => phone.stats()),
  async close(name) {
    const page = pages.get(name);
    await page.evaluate(() => phone.signOut());
    await page.waitForTimeout(200);
    await page.context().close();
    tell({ event: 'closed', client: name });
  },
  async web(name, id, action, ...args) {
    const done = (state, text) => tell({ event: 'done', client: name, code: Number(id), state, text: String(text ?? '') });
    const log = (line) => process.stderr.write(`${name}: ${line}\n`);
    try {
      if (action === 'open') done('Ok', webs.set(name, await openWeb(browser, ...args, log)).size);
      else done('Ok', await webs.get(name).act(action, ...args));
    } catch (error) {
      done('Failed', `${action}: ${String(error).replace(/\x1b\[\d*m/g, '')}`);
    }
  },
  async quit() {
    await server.close();
    process.exit(0);
  },
};

const unescape = (field) => field.replace(/\\(.)/g, (_, c) => ({ n: '\n', t: '\t' })[c] ?? c);
createInterface({ input: process.stdin }).on('line', async (line) => {
  const [command, ...fields] = line.split('\t').map(unescape);
  try {
    await commands[command](...fields);
  } catch (error) {
    tell({ event: 'error', client: fields[0], text: `${command}: ${error}` });
  }
}).on('close', commands.quit);
