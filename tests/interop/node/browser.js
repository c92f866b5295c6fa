// Two people on the chat page in headless Chromium: `node browser.js ORIGIN CHROMIUM PICTURES`. One comes through a proxy
// that passes no WebSocket on, so that the page has to use BOSH. Prints `ok: …` for each thing seen, and `done`.

import http from 'node:http';

import { failed, faults, fill, launch, login, ok, shows, visit } from './page.js';

const [origin, executablePath, pictures] = process.argv.slice(2);
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

const picture = (page, name) => page.screenshot({ path: `${pictures}/${name}.png` });

const without = proxy();
const port = await without.open(0);
const browser = await launch(executablePath);
let step = 'the page opens';
try {
  const anna = await visit(browser, origin);
  const ben = await visit(browser, `http://localhost:${port}`);
  await picture(anna, 'login');

  step = 'a wrong password is refused';
  await login(anna, 'anna', 'wrong');
  await shows(anna, '#refusal', 'password is wrong');
  await picture(anna, 'login-refused');
  ok(step);

  step = 'one is there by WebSocket';
  await login(anna, 'anna', process.env.ANNA_PASSWORD);
  await shows(anna, '#way', 'WebSocket');
  ok(step);
  step = 'the other, where no WebSocket comes through, by BOSH';
  await login(ben, `ben@${server.hostname}`, process.env.BEN_PASSWORD);
  await shows(ben, '#way', 'BOSH');
  ok(step);

  step = 'one asks for the other, who accepts';
  await fill(anna, '#add-address', 'ben');
  await shows(ben, '#asking', 'anna');
  await picture(ben, 'asked');
  await ben.locator('#askers button').click();
  await shows(anna, '#contacts li', 'online');
  await shows(ben, '#contacts li', 'online');
  ok(step);

  step = 'both are heard, and what is said is only text';
  await fill(anna, '#words', '<b>bold</b> & <script>alert(1)</script> 🌻');
  await ben.locator('#contacts .peer').click();
  await shows(ben, '#lines .text', '<b>bold</b> & <script>alert(1)</script> 🌻');
  if (await ben.$('#lines b, #lines script')) throw new Error('markup became markup');
  await fill(ben, '#words', 'Good evening, Anna. This one is rather longer, so that it has to be broken into several lines wherever it is shown, on a phone at the latest.');
  await shows(anna, '#lines .text', 'Good evening');
  ok(step);
  await picture(anna, 'chat');

  step = 'both are in a room and talk there';
  for (const page of [anna, ben]) {
    await page.type('#join-room', 'garden');
    await page.keyboard.press('Enter');
    await shows(page, '#lines .event', 'You are in the room');
  }
  for (const page of [anna, ben]) {
    await shows(page, '#occupants', 'anna');
    await shows(page, '#occupants', 'ben');
  }
  await fill(anna, '#words', 'Who waters the tomatoes?');
  await shows(ben, '#lines .theirs', 'tomatoes');
  await fill(ben, '#words', 'I do.');
  await shows(anna, '#lines .theirs', 'I do.');
  await shows(ben, '#lines .mine', 'I do.');
  ok(step);
  await picture(anna, 'room');

  step = 'a lost connection is told and comes back';
  await without.close();
  await shows(ben, '#banner', 'The connection is lost');
  await picture(ben, 'lost');
  await without.open(port);
  await ben.waitForFunction(() => document.querySelector('#banner').hidden);
  await shows(ben, '#way', 'BOSH');
  await shows(ben, '#occupants', 'anna');
  await fill(anna, '#words', 'Are you back?');
  await shows(ben, '#lines .theirs', 'Are you back?');
  ok(step);

  step = 'it fits a phone';
  await ben.setViewport({ width: 390, height: 760, deviceScaleFactor: 2 });
  await picture(ben, 'phone-room');
  const isWide = () => ben.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  if (await isWide()) throw new Error('the room is wider than the phone');
  await ben.locator('#back').click();
  await shows(ben, '#contacts .peer', 'anna');
  await picture(ben, 'phone-list');
  if (await isWide()) throw new Error('the list is wider than the phone');
  await ben.locator('#contacts .peer').click();
  await ben.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: 'dark' }]);
  await picture(ben, 'phone-chat-dark');
  await ben.locator('#back').click();
  ok(step);

  step = 'a conversation with a stranger says so';
  await anna.setViewport({ width: 390, height: 760 });
  await anna.locator('#back').click();
  await anna.setViewport({ width: 1100, height: 720 });
  await anna.locator('#contacts .peer').click();
  await anna.locator('#close').click();
  await anna.waitForFunction(() => document.querySelectorAll('#contacts li').length === 0);
  await ben.locator('#contacts .peer').click();
  await fill(ben, '#words', 'Still there?');
  await shows(anna, '#contacts .peer', 'ben');
  await anna.locator('#contacts .peer').click();
  await shows(anna, '#stranger', 'not among your contacts');
  await picture(anna, 'stranger');
  ok(step);

  step = 'both log out';
  await anna.locator('#leave').click();
  await shows(anna, '#login', 'Log in');
  ok(step);
  step = 'nothing failed in the page';
  if (faults.length) throw new Error(faults.join('; '));
  ok(step);
  console.log('done');
} catch (error) {
  await failed(browser, pictures, step, error);
} finally {
  await browser.close();
  await without.close();
}
