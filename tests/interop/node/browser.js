// Two people on the chat page in headless Chromium: `node browser.js ORIGIN CHROMIUM PICTURES`. One comes through a proxy
// that passes no WebSocket on, so that the page has to use BOSH. Prints `ok: …` for each thing seen, and `done`.

import http from 'node:http';
import { createRequire } from 'node:module';

const [origin, executablePath, pictures] = process.argv.slice(2);
const require = createRequire(`${process.env.INTEROP_NODE}/`);
const puppeteer = require('puppeteer-core');

const ok = (text) => console.log(`ok: ${text}`);
const server = new URL(origin);

/** A proxy that knows nothing of upgrades. */
function proxy() {
  const sockets = new Set();
  const listener = http.createServer((ask, answer) => {
    const { method, url: path, headers } = ask;
    const onward = http.request({ host: server.hostname, port: server.port, method, path, headers }, (told) => {
      answer.writeHead(told.statusCode, told.headers);
      told.pipe(answer);
    });
    onward.on('error', () => answer.destroy());
    answer.on('close', () => onward.destroy());
    ask.pipe(onward);
  });
  listener.on('upgrade', (_, socket) => socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n'));
  listener.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  return {
    open: (port) => new Promise((resolve) => { listener.listen(port, 'localhost', () => resolve(listener.address().port)); }),
    close: () => new Promise((resolve) => {
      listener.close(resolve);
      for (const socket of sockets) socket.destroy();
    }),
  };
}

const faults = [];
async function visit(browser, url) {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  await page.setViewport({ width: 1100, height: 720 });
  page.setDefaultTimeout(40_000);
  page.on('dialog', (dialog) => dialog.accept());
  page.on('pageerror', (error) => faults.push(`${error}`));
  page.on('console', (line) => {
    if (/Content Security Policy|Uncaught/.test(line.text())) faults.push(line.text());
  });
  await page.goto(`${url}/chat/`);
  return page;
}

async function login(page, name, password) {
  for (const [field, text] of [['#address', name], ['#password', password]]) {
    await page.$eval(field, (input) => { input.value = ''; });
    await page.type(field, text);
  }
  await page.keyboard.press('Enter');
}

const picture = (page, name) => page.screenshot({ path: `${pictures}/${name}.png` });
const shows = (page, selector, text) => page.waitForFunction(
  (where, what) => [...document.querySelectorAll(where)].some((one) => one.checkVisibility() && one.textContent.includes(what)),
  {}, selector, text,
);
async function fill(page, field, text) {
  await page.type(field, text);
  await page.keyboard.press('Enter');
}

const without = proxy();
const port = await without.open(0);
const browser = await puppeteer.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
let step = 'the page opens';
try {
  const alice = await visit(browser, origin);
  const bob = await visit(browser, `http://localhost:${port}`);
  await picture(alice, 'login');

  step = 'a wrong password is refused';
  await login(alice, 'alice', 'wrong');
  await shows(alice, '#refusal', 'password is wrong');
  await picture(alice, 'login-refused');
  ok(step);

  step = 'one is there by WebSocket';
  await login(alice, 'alice', process.env.ALICE_PASSWORD);
  await shows(alice, '#way', 'WebSocket');
  ok(step);
  step = 'the other, where no WebSocket comes through, by BOSH';
  await login(bob, `bob@${server.hostname}`, process.env.BOB_PASSWORD);
  await shows(bob, '#way', 'BOSH');
  ok(step);

  step = 'one asks for the other, who accepts';
  await fill(alice, '#add-address', 'bob');
  await shows(bob, '#asking', 'alice');
  await picture(bob, 'asked');
  await bob.locator('#askers button').click();
  await shows(alice, '#contacts li', 'online');
  await shows(bob, '#contacts li', 'online');
  ok(step);

  step = 'both are heard, and what is said is only text';
  await fill(alice, '#words', '<b>bold</b> & <script>alert(1)</script> 🌻');
  await bob.locator('#contacts .peer').click();
  await shows(bob, '#lines .text', '<b>bold</b> & <script>alert(1)</script> 🌻');
  if (await bob.$('#lines b, #lines script')) throw new Error('markup became markup');
  await fill(bob, '#words', 'Good evening, Alice. This one is rather longer, so that it has to be broken into several lines wherever it is shown, on a phone at the latest.');
  await shows(alice, '#lines .text', 'Good evening');
  ok(step);
  await picture(alice, 'chat');

  step = 'both are in a room and talk there';
  for (const page of [alice, bob]) {
    await page.type('#join-room', 'garden');
    await page.keyboard.press('Enter');
    await shows(page, '#lines .event', 'You are in the room');
  }
  for (const page of [alice, bob]) {
    await shows(page, '#occupants', 'alice');
    await shows(page, '#occupants', 'bob');
  }
  await fill(alice, '#words', 'Who waters the tomatoes?');
  await shows(bob, '#lines .theirs', 'tomatoes');
  await fill(bob, '#words', 'I do.');
  await shows(alice, '#lines .theirs', 'I do.');
  await shows(bob, '#lines .mine', 'I do.');
  ok(step);
  await picture(alice, 'room');

  step = 'a lost connection is told and comes back';
  await without.close();
  await shows(bob, '#banner', 'The connection is lost');
  await picture(bob, 'lost');
  await without.open(port);
  await bob.waitForFunction(() => document.querySelector('#banner').hidden);
  await shows(bob, '#way', 'BOSH');
  await shows(bob, '#occupants', 'alice');
  await fill(alice, '#words', 'Are you back?');
  await shows(bob, '#lines .theirs', 'Are you back?');
  ok(step);

  step = 'it fits a phone';
  await bob.setViewport({ width: 390, height: 760, deviceScaleFactor: 2 });
  await picture(bob, 'phone-room');
  const isWide = () => bob.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  if (await isWide()) throw new Error('the room is wider than the phone');
  await bob.locator('#back').click();
  await shows(bob, '#contacts .peer', 'alice');
  await picture(bob, 'phone-list');
  if (await isWide()) throw new Error('the list is wider than the phone');
  await bob.locator('#contacts .peer').click();
  await bob.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: 'dark' }]);
  await picture(bob, 'phone-chat-dark');
  await bob.locator('#back').click();
  ok(step);

  step = 'a conversation with a stranger says so';
  await alice.setViewport({ width: 390, height: 760 });
  await alice.locator('#back').click();
  await alice.setViewport({ width: 1100, height: 720 });
  await alice.locator('#contacts .peer').click();
  await alice.locator('#close').click();
  await alice.waitForFunction(() => document.querySelectorAll('#contacts li').length === 0);
  await bob.locator('#contacts .peer').click();
  await fill(bob, '#words', 'Still there?');
  await shows(alice, '#contacts .peer', 'bob');
  await alice.locator('#contacts .peer').click();
  await shows(alice, '#stranger', 'not among your contacts');
  await picture(alice, 'stranger');
  ok(step);

  step = 'both log out';
  await alice.locator('#leave').click();
  await shows(alice, '#login', 'Log in');
  ok(step);
  step = 'nothing failed in the page';
  if (faults.length) throw new Error(faults.join('; '));
  ok(step);
  console.log('done');
} catch (error) {
  console.log(`failed: ${step}: ${error.message}`);
  for (const [at, context] of browser.browserContexts().entries()) {
    for (const page of await context.pages()) await picture(page, `failed-${at}`).catch(() => {});
  }
  process.exitCode = 1;
} finally {
  await browser.close();
  await without.close();
}
