// Two accounts, each with a client, over HTTPS or WSS with its certificate verified: `node chat.js HOST ORIGIN CLIENT-A CLIENT-B`,
// a client being `strophe-websocket`, `strophe-bosh` or `xmpp.js`. Prints `ok: …` for each thing seen, and `done`.

import { createRequire } from 'node:module';

const [host, origin, ...kinds] = process.argv.slice(2);
const require = createRequire(`${process.env.INTEROP_NODE}/`);
const { DOMParser } = require('@xmldom/xmldom');
/** Node has none, and strophe.js needs one that parses XML as a browser's does. */
globalThis.XMLHttpRequest = class extends require('xhr2') {
  get responseXML() { return this.responseText ? new DOMParser().parseFromString(this.responseText, 'text/xml') : null; }
  set responseXML(_) { /* Said by the getter. */ }
};
const { Strophe, $iq, $msg, $pres } = require('strophe.js');
Strophe.setLogLevel(Strophe.LogLevel.ERROR);
const { client: xmpp, xml } = require('@xmpp/client');

const PATIENCE = 30_000;
const socket = origin.replace(/^http/, 'ws');

function within(promise, what) {
  const late = new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`nothing of ${what} in ${PATIENCE} ms`)), PATIENCE).unref();
  });
  return Promise.race([promise, late]);
}

/** What is heard, and what waits for it. */
class Heard {
  #all = [];
  #waiting = [];
  put(text) {
    this.#all.push(text);
    this.#waiting = this.#waiting.filter(({ part, resolve }) => !text.includes(part) || resolve(text));
  }
  until(part) {
    const known = this.#all.find((text) => text.includes(part));
    return within(known ?? new Promise((resolve) => { this.#waiting.push({ part, resolve }); }), part);
  }
}

async function strophe(url, user, password) {
  const connection = new Strophe.Connection(url);
  const heard = new Heard();
  connection.rawInput = (text) => heard.put(text);
  await within(new Promise((resolve, reject) => {
    connection.connect(`${user}@${host}`, password, (status, condition, element) => {
      if (status === Strophe.Status.CONNECTED) resolve();
      if (status === Strophe.Status.AUTHFAIL) reject(new Error(`refused: ${condition ?? element?.tagName}`));
      if (status === Strophe.Status.CONNFAIL) reject(new Error(`failed: ${condition}`));
      if (status === Strophe.Status.DISCONNECTED) reject(new Error('disconnected'));
    });
  }), `a login of ${user}`).catch((error) => {
    connection.reset();
    throw error;
  });
  return {
    heard,
    jid: connection.jid,
    available: () => connection.send($pres()),
    roster: () => within(new Promise((resolve, reject) => {
      const ask = $iq({ type: 'get' }).c('query', { xmlns: 'jabber:iq:roster' });
      connection.sendIQ(ask, (answer) => resolve(answer.toString()), reject);
    }), 'the roster'),
    say: (to, body) => connection.send($msg({ to, type: 'chat' }).c('body').t(body)),
    end: () => within(new Promise((resolve) => {
      connection.connect_callback = (status) => { if (status === Strophe.Status.DISCONNECTED) resolve(); };
      connection.disconnect();
    }), 'the end'),
  };
}

async function xmppjs(url, user, password) {
  const client = xmpp({ service: url, domain: host, username: user, password });
  client.reconnect.stop();
  const heard = new Heard();
  client.on('element', (element) => heard.put(element.toString()));
  const failed = new Promise((_, reject) => { client.on('error', reject); });
  failed.catch(() => {});
  let jid;
  try {
    jid = await within(Promise.race([client.start(), failed]), `a login of ${user}`);
  } catch (error) {
    await client.stop().catch(() => {});
    throw new Error(error.condition === 'not-authorized' ? `refused: ${error.condition}` : `failed: ${error}`);
  }
  return {
    heard,
    jid: jid.toString(),
    available: () => client.send(xml('presence')),
    roster: async () => {
      const ask = xml('iq', { type: 'get' }, xml('query', { xmlns: 'jabber:iq:roster' }));
      return (await within(client.iqCaller.request(ask), 'the roster')).toString();
    },
    say: (to, body) => client.send(xml('message', { to, type: 'chat' }, xml('body', {}, body))),
    end: () => within(client.stop(), 'the end'),
  };
}

const clients = {
  'strophe-websocket': (user, password) => strophe(`${socket}/ws`, user, password),
  'strophe-bosh': (user, password) => strophe(`${origin}/bosh`, user, password),
  'xmpp.js': (user, password) => xmppjs(`${socket}/ws`, user, password),
};
const enter = (kind, user, password) => clients[kind](user, password);
const ok = (text) => console.log(`ok: ${text}`);

try {
  for (const kind of new Set(kinds)) {
    const refused = await enter(kind, 'alice', 'wrong').then(() => 'let in', (error) => error.message);
    if (!refused.startsWith('refused')) throw new Error(`${kind}, a wrong password: ${refused}`);
    ok(`${kind} is refused with a wrong password`);
  }
  const [alice, bob] = [
    await enter(kinds[0], 'alice', process.env.ALICE_PASSWORD),
    await enter(kinds[1], 'bob', process.env.BOB_PASSWORD),
  ];
  ok(`${kinds[0]} and ${kinds[1]} log in`);
  await Promise.all([alice.roster(), bob.roster()]);
  ok('both have their rosters');
  alice.available();
  bob.available();
  await alice.heard.until(`from="${alice.jid}"`).catch(() => alice.heard.until(alice.jid));
  for (const [one, other, words] of [[alice, bob, 'there & back'], [bob, alice, 'and again']]) {
    one.say(other.jid, words);
    await other.heard.until(words.replace('&', '&amp;'));
    ok(`${one.jid.split('@')[0]} is heard`);
  }
  for (let number = 0; number < 50; number += 1) alice.say(bob.jid, `number ${number} of many`);
  for (let number = 0; number < 50; number += 1) await bob.heard.until(`number ${number} of many`);
  ok('fifty messages at once come');
  await Promise.all([alice.end(), bob.end()]);
  ok('both leave');
  console.log('done');
  process.exit(0);
} catch (error) {
  console.log(`failed: ${error.message}`);
  process.exit(1);
}
