// Rosa on the chat page, in a room with people who use other clients: `node room.js ORIGIN CHROMIUM PICTURES ROOM`. Prints
// `ok: …` for each thing seen, and `done`.

import { failed, faults, fill, launch, login, ok, shows, visit } from './page.js';

const [origin, chromium, pictures, room] = process.argv.slice(2);

const browser = await launch(chromium);
let step = 'rosa is there';
try {
  const rosa = await visit(browser, origin);
  await login(rosa, 'rosa', process.env.ROSA_PASSWORD);
  await shows(rosa, '#way', 'WebSocket');
  ok(step);

  const isThere = (nick) => rosa.waitForFunction(
    (name) => [...document.querySelectorAll('#occupants li')].some((one) => one.textContent.split(' ')[0] === name), {}, nick,
  );
  const isNot = (nick) => rosa.waitForFunction(
    (name) => [...document.querySelectorAll('#occupants li')].every((one) => one.textContent.split(' ')[0] !== name), {}, nick,
  );

  step = 'rosa joins and sees who is there';
  await fill(rosa, '#join-room', room);
  await shows(rosa, '#lines .event', 'You are in the room');
  for (const nick of ['Alice', 'toni', 'rosa']) await isThere(nick);
  await shows(rosa, '#occupants li', 'Alice (moderator)');
  ok(step);

  step = 'rosa hears the others';
  await shows(rosa, '#lines .theirs', 'hello from slixmpp');
  await fill(rosa, '#words', 'hello from the browser');
  await shows(rosa, '#lines .theirs', 'hello from the terminal');
  await shows(rosa, '#lines .mine', 'hello from the browser');
  ok(step);

  step = 'rosa sees the subject';
  await shows(rosa, '#talk-state', 'Apples and pears');
  ok(step);

  step = 'rosa sees toni become tony';
  await isThere('tony');
  await isNot('toni');
  await fill(rosa, '#words', 'tony it is');
  ok(step);

  step = 'rosa sees tony thrown out';
  await isNot('tony');
  await isThere('Alice');
  await fill(rosa, '#words', 'tony is gone');
  ok(step);

  step = 'rosa sees tony come back and alice leave';
  await isThere('tony');
  await isNot('Alice');
  ok(step);
  await rosa.screenshot({ path: `${pictures}/orchard.png` });

  step = 'nothing failed in the page';
  if (faults.length) throw new Error(faults.join('; '));
  ok(step);
  console.log('done');
} catch (error) {
  await failed(browser, pictures, step, error);
} finally {
  await browser.close();
}
