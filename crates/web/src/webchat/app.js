// The page: what is shown of a session, and what is done with it. Text is only ever text.

import { Session } from './session.js';

const $ = (id) => document.getElementById(id);

let session = new Session();
let domain = location.hostname;
/** Conversations: address to { address, isRoom, title, lines, unread, subject, nick, isJoined }. */
const talks = new Map();
const askers = new Set();
let current = null;
let countdown = 0;

/** An element with text and attributes. */
function make(tag, { text = '', ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  if (text) element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function announce(words) { $('announce').textContent = words; }

function show(element, words) {
  element.textContent = words;
  element.hidden = !words;
}

/** `alice`, or a whole address, as an address of this host. */
function addressOf(typed) {
  const address = typed.trim().toLowerCase();
  return address.includes('@') || !address ? address : `${address}@${domain}`;
}

const isAddress = (address) => /^[^@/\s]+@[^@/\s]+$/.test(address);
const short = (address) => ([domain, session.service].includes(address.split('@')[1]) ? address.split('@')[0] : address);

// The door.

$('login').addEventListener('submit', (event) => {
  event.preventDefault();
  const address = addressOf($('address').value);
  if (!isAddress(address)) return refuse('This is no address: write your name, or name@host.', 'address');
  if (!$('password').value) return refuse('Write your password.', 'password');
  show($('refusal'), '');
  busy(true);
  listen();
  session.login(address, $('password').value);
  return undefined;
});

function busy(is) {
  $('enter').disabled = is;
  $('enter').textContent = is ? 'Logging in …' : 'Log in';
}

function refuse(words, field) {
  busy(false);
  show($('refusal'), words);
  $(field).setAttribute('aria-invalid', 'true');
  $(field).focus();
}

for (const field of ['address', 'password']) {
  $(field).addEventListener('input', () => $(field).removeAttribute('aria-invalid'));
}

function toDoor(words) {
  clearInterval(countdown);
  $('house').hidden = true;
  $('door').hidden = false;
  document.title = 'Chat';
  busy(false);
  if (words) refuse(words, 'password');
  else $('address').focus();
}

function toHouse() {
  if (!$('house').hidden) return;
  $('door').hidden = true;
  $('house').hidden = false;
  $('house').dataset.view = 'list';
  $('password').value = '';
  $('me').textContent = session.address;
  $('add-address').focus();
}

$('leave').addEventListener('click', () => {
  session.logout();
  session = new Session();
  talks.clear();
  askers.clear();
  current = null;
  draw();
  toDoor('');
});

// What the session tells.

function listen() {
  session = new Session();
  const mine = session;
  const hear = (type, act) => session.addEventListener(type, ({ detail }) => mine === session && act(detail ?? {}));
  hear('state', stateChanged);
  hear('refused', ({ condition }) => {
    const words = {
      'not-authorized': 'The address or the password is wrong.',
      'account-disabled': 'This account is closed.',
      'temporary-auth-failure': 'The server cannot check passwords now, or there were too many wrong ones. Try again in a while.',
    };
    toDoor(words[condition] ?? `The server refuses the login: ${condition.replaceAll('-', ' ') || 'it gives no reason'}.`);
  });
  hear('contacts', draw);
  hear('presence', draw);
  hear('asks', ({ address }) => {
    askers.add(address);
    announce(`${address} wants to see whether you are there.`);
    draw();
  });
  hear('message', heard);
  hear('undelivered', ({ peer, id, why }) => {
    const talk = talks.get(peer);
    const line = talk?.lines.find((one) => one.id === id && id);
    if (line) line.why = `Not delivered: ${why}.`;
    else if (talk) talk.lines.push({ event: why, at: new Date() });
    else show($('list-error'), why);
    announce(`Not delivered: ${why}`);
    draw();
  });
  hear('room', roomChanged);
  hear('occupants', ({ room }) => current?.address === room && drawCrowd());
}

function stateChanged({ state, way, wait, failure }) {
  clearInterval(countdown);
  const isOnline = state === 'online';
  $('way').textContent = isOnline ? way : 'offline';
  $('words').disabled = !isOnline;
  document.querySelector('#say button').disabled = !isOnline;
  // Rooms are joined again, and say so, when the connection is back.
  for (const talk of talks.values()) talk.isJoined = false;
  switch (state) {
    case 'online':
      toHouse();
      $('banner').hidden = true;
      announce(`Connected by ${way}.`);
      break;
    case 'unreachable':
      toDoor(`The server does not answer, neither by WebSocket nor by BOSH. Is it running, and are you connected?${failure ? ` (${failure})` : ''}`);
      break;
    case 'replaced':
      toDoor('You were logged out: the same session was opened elsewhere.');
      break;
    case 'lost': {
      const until = Date.now() + wait;
      const tell = () => {
        const seconds = Math.max(0, Math.round((until - Date.now()) / 1000));
        $('banner-text').textContent = `The connection is lost. Next try ${seconds ? `in ${seconds} s` : 'now'}.`;
      };
      $('banner').hidden = false;
      tell();
      countdown = setInterval(tell, 1000);
      break;
    }
    default:
      if (!$('house').hidden) $('banner-text').textContent = `Connecting by ${way} …`;
  }
  draw();
}

$('again').addEventListener('click', () => session.again());
addEventListener('online', () => session.again());

function talkWith(address, isRoom = false) {
  let talk = talks.get(address);
  if (!talk) {
    talk = { address, isRoom, lines: [], unread: 0, subject: '', nick: '', isJoined: false };
    talks.set(address, talk);
  }
  return talk;
}

function heard({ peer, body, at, id, isRoom, nick, isMine }) {
  const talk = talkWith(peer, isRoom);
  // What a room says again after a reconnection.
  if (isRoom && id && talk.lines.some((line) => line.id === id && line.nick === nick)) return;
  talk.lines.push({ body, at, id, nick, isMine });
  if (!isMine && (current !== talk || document.hidden)) {
    talk.unread += 1;
    announce(`Message from ${isRoom ? `${nick} in ${short(peer)}` : short(peer)}`);
  }
  draw();
}

function roomChanged({ room, what, nick, why, subject }) {
  const talk = talkWith(room, true);
  const event = (words) => talk.lines.push({ event: words, at: new Date() });
  switch (what) {
    case 'joined':
      if (!talk.isJoined) event(`You are in the room as ${nick}.`);
      talk.isJoined = true;
      talk.nick = nick;
      break;
    case 'came': if (talk.isJoined) event(`${nick} came.`); break;
    case 'went': event(`${nick} left.`); break;
    case 'subject': talk.subject = subject; break;
    case 'left':
      talk.isJoined = false;
      event(why);
      break;
    case 'refused':
      talk.isJoined = false;
      event(`The room cannot be joined: ${why}.`);
      announce(`The room cannot be joined: ${why}.`);
      break;
    default:
  }
  draw();
}

// The list.

/** How somebody is there, as a class and in words. */
function presenceOf(address) {
  const there = [...(session.presences.get(address)?.values() ?? [])];
  if (there.length === 0) return ['gone', 'offline'];
  const best = there.find((one) => one.show === '' || one.show === 'chat') ?? there[0];
  const words = { '': 'online', chat: 'free to chat', away: 'away', xa: 'away for long', dnd: 'busy' }[best.show] ?? best.show;
  const isHere = best.show === '' || best.show === 'chat';
  return [isHere ? 'here' : 'away', best.status ? `${words}, ${best.status}` : words];
}

function row(talk, kind, words, remove) {
  const { address, unread } = talk;
  const button = make('button', { type: 'button', class: 'peer', 'data-address': address });
  if (current?.address === address) button.setAttribute('aria-current', 'true');
  button.append(make('span', { class: `dot ${kind}`, 'aria-hidden': 'true' }), make('span', { class: 'name', text: short(address) }));
  button.append(make('span', { class: 'unseen', text: words }));
  if (unread) button.append(make('span', { class: 'count', text: String(unread), 'aria-label': `${unread} unread` }));
  button.addEventListener('click', () => open(address, talk.isRoom));
  const line = make('li', {}, button);
  if (remove) line.append(remove);
  return line;
}

function draw() {
  const focused = document.activeElement?.dataset?.address;
  const contacts = [...session.contacts.keys()];
  const strangers = [...talks.values()].filter((talk) => !talk.isRoom && !session.contacts.has(talk.address));
  const people = [...contacts.map((address) => talks.get(address) ?? { address, isRoom: false, unread: 0 }), ...strangers];
  people.sort((one, other) => one.address.localeCompare(other.address));
  $('contacts').replaceChildren(...people.map((talk) => {
    const [kind, words] = presenceOf(talk.address);
    const known = session.contacts.get(talk.address);
    const state = known && known.subscription !== 'both' && known.subscription !== 'to' ? 'has not agreed yet' : words;
    return row(talk, kind, known ? state : 'not a contact');
  }));
  $('no-contacts').hidden = people.length > 0;
  const rooms = [...talks.values()].filter((talk) => talk.isRoom).sort((one, other) => one.address.localeCompare(other.address));
  $('rooms').replaceChildren(...rooms.map((talk) => row(talk, talk.isJoined ? 'here' : 'gone', talk.isJoined ? 'joined' : 'not joined')));
  $('asking').hidden = askers.size === 0;
  $('askers').replaceChildren(...[...askers].map((address) => {
    const answer = (words, act) => {
      const button = make('button', { type: 'button', text: words, 'aria-label': `${words} ${address}` });
      button.addEventListener('click', () => {
        askers.delete(address);
        act();
        draw();
      });
      return button;
    };
    return make('li', { class: 'asker' }, make('span', { class: 'name', text: short(address) }),
      answer('Accept', () => session.accept(address).catch((error) => show($('list-error'), error.message))),
      answer('Decline', () => session.decline(address)));
  }));
  const unread = [...talks.values()].reduce((sum, talk) => sum + talk.unread, 0);
  if (!$('house').hidden) document.title = unread ? `(${unread}) Chat` : 'Chat';
  if (focused) document.querySelector(`[data-address="${CSS.escape(focused)}"]`)?.focus();
  drawTalk();
}

$('add').addEventListener('submit', async (event) => {
  event.preventDefault();
  const address = addressOf($('add-address').value);
  if (!isAddress(address)) return show($('list-error'), 'This is no address.');
  if (address === session.address) return show($('list-error'), 'This is your own address.');
  show($('list-error'), '');
  try {
    await session.add(address);
    askers.delete(address);
    $('add-address').value = '';
    open(address, false);
  } catch (error) {
    show($('list-error'), `${address} cannot be added: ${error.message}.`);
  }
  return undefined;
});

$('join').addEventListener('submit', (event) => {
  event.preventDefault();
  const name = $('join-room').value.trim();
  const room = name && session.roomAddress(name);
  if (!room || !isAddress(room)) {
    return show($('list-error'), session.service ? 'This is no name of a room.' : 'There are no rooms at this server: write the whole address.');
  }
  show($('list-error'), '');
  $('join-room').value = '';
  talkWith(room, true);
  session.join(room, session.address.split('@')[0]);
  open(room, true);
  return undefined;
});

// The conversation.

function open(address, isRoom) {
  current = talkWith(address, isRoom);
  current.unread = 0;
  drawn = null;
  $('house').dataset.view = 'talk';
  draw();
  $('words').focus();
}

$('back').addEventListener('click', () => {
  $('house').dataset.view = 'list';
  const address = current?.address;
  current = null;
  draw();
  document.querySelector(`[data-address="${CSS.escape(address ?? '')}"]`)?.focus();
});

$('close').addEventListener('click', () => {
  const talk = current;
  if (!talk.isRoom && !confirm(`Remove ${talk.address} from your contacts? You will not see each other any more.`)) return;
  if (talk.isRoom) session.part(talk.address);
  else session.remove(talk.address).catch((error) => show($('list-error'), error.message));
  talks.delete(talk.address);
  current = null;
  $('house').dataset.view = 'list';
  draw();
  $(talk.isRoom ? 'join-room' : 'add-address').focus();
});

$('befriend').addEventListener('click', () => {
  session.add(current.address).catch((error) => show($('list-error'), error.message));
});

/** What is on the page: the conversation and how many of its lines. */
let drawn = null;

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });

function lineOf(line, talk) {
  if (line.event) return make('li', { class: 'event', text: line.event });
  const who = line.isMine ? 'You' : line.nick || short(talk.address);
  const meta = make('div', { class: 'meta' }, make('span', { class: 'who', text: who }), make('time', { datetime: line.at.toISOString(), text: clock.format(line.at) }));
  const item = make('li', { class: line.isMine ? 'mine' : 'theirs' }, meta, make('div', { class: 'text', dir: 'auto', text: line.body }));
  if (line.why) {
    item.classList.add('failed');
    item.append(make('div', { class: 'why', text: line.why }));
  }
  return item;
}

function drawTalk() {
  $('nothing').hidden = current !== null;
  $('open').hidden = current === null;
  if (!current) return;
  const talk = current;
  if (!document.hidden) talk.unread = 0;
  $('talk-title').textContent = talk.isRoom ? talk.address.split('@')[0] : short(talk.address);
  const known = session.contacts.get(talk.address);
  $('talk-state').textContent = talk.isRoom ? talk.subject || talk.address : known ? presenceOf(talk.address)[1] : 'not a contact';
  $('close').textContent = talk.isRoom ? 'Leave room' : 'Remove';
  $('close').hidden = !talk.isRoom && !known;
  $('stranger').hidden = talk.isRoom || Boolean(known) || !session.isOnline;
  $('stranger-text').textContent = `${talk.address} is not among your contacts: you do not see whether they are there.`;
  const lines = $('lines');
  const isAtEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 60;
  const failed = talk.lines.filter((line) => line.why).length;
  if (drawn?.talk !== talk || drawn.failed !== failed || drawn.count > talk.lines.length) {
    lines.replaceChildren(...talk.lines.map((line) => lineOf(line, talk)));
  } else {
    lines.append(...talk.lines.slice(drawn.count).map((line) => lineOf(line, talk)));
  }
  if (isAtEnd || drawn?.talk !== talk) lines.scrollTop = lines.scrollHeight;
  drawn = { talk, failed, count: talk.lines.length };
  drawCrowd();
}

function drawCrowd() {
  $('crowd').hidden = !current.isRoom || !current.isJoined;
  const names = [...(session.occupants.get(current.address) ?? new Map())].sort(([one], [other]) => one.localeCompare(other));
  $('occupants').replaceChildren(...names.map(([nick, { role }]) => make('li', { text: role === 'moderator' ? `${nick} (moderator)` : nick })));
}

$('say').addEventListener('submit', (event) => {
  event.preventDefault();
  const body = $('words').value.trim();
  if (!body || !current || !session.isOnline) return;
  if (current.isRoom && !current.isJoined) {
    session.join(current.address, current.nick || session.address.split('@')[0]);
    return;
  }
  const id = session.say(current.address, body, current.isRoom);
  // A room says it back; a person does not.
  if (!current.isRoom) current.lines.push({ body, at: new Date(), id, nick: '', isMine: true });
  $('words').value = '';
  fit();
  $('lines').scrollTop = $('lines').scrollHeight;
  draw();
});

$('words').addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $('say').requestSubmit();
  } else if (event.key === 'Escape') $('back').click();
});

/** The field grows with what is written. */
function fit() { $('words').rows = Math.min(5, $('words').value.split('\n').length); }
$('words').addEventListener('input', fit);

document.addEventListener('visibilitychange', () => !document.hidden && draw());

// Whose page this is.
fetch('site.json').then((answer) => answer.json()).then((site) => {
  domain = site.domain;
  $('example').textContent = `alice@${domain}`;
}).catch(() => { $('example').textContent = `alice@${domain}`; });
$('example').textContent = `alice@${domain}`;
