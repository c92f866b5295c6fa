// A session of XMPP: how it comes about, stays, and what is said in it. The protocol is Strophe's.
//
// Events, each with `detail`: state, refused, contacts, presence, asks, message, undelivered, room, occupants.

const { Strophe, $iq, $msg, $pres } = globalThis;
const { Status } = Strophe;

const NS = {
  roster: 'jabber:iq:roster',
  items: 'http://jabber.org/protocol/disco#items',
  info: 'http://jabber.org/protocol/disco#info',
  muc: 'http://jabber.org/protocol/muc',
  user: 'http://jabber.org/protocol/muc#user',
  owner: 'http://jabber.org/protocol/muc#owner',
  delay: 'urn:xmpp:delay',
};

/** How long one way may take to say whether it works. */
const PATIENCE = 10_000;
/** The longest wait before the next try. */
const LONGEST = 30_000;

/** The ways to the server at this origin, the better one first. */
function ways() {
  const base = location.origin;
  return [
    { name: 'WebSocket', url: `${base.replace(/^http/, 'ws')}/ws` },
    { name: 'BOSH', url: `${base}/bosh` },
  ];
}

export const bare = (address) => Strophe.getBareJidFromJid(address);
export const resource = (address) => Strophe.getResourceFromJid(address) ?? '';

const child = (element, name, namespace) =>
  [...(element?.children ?? [])].find((one) => one.localName === name && (!namespace || one.namespaceURI === namespace));
const text = (element, name) => child(element, name)?.textContent ?? '';

/** An error's condition in words. */
function reason(stanza) {
  const error = child(stanza, 'error');
  const said = text(error, 'text');
  const condition = [...(error?.children ?? [])].find((one) => one.localName !== 'text');
  return said || (condition?.localName ?? 'no reason given').replaceAll('-', ' ');
}

export class Session extends EventTarget {
  #connection = null;
  #address = '';
  #password = '';
  #wanted = false;
  #way = 0;
  #turn = 0;
  #tries = 0;
  #retry = 0;
  #next = 0;
  /** Rooms that were joined, with the name used in each. */
  #rooms = new Map();
  /** The roster: address to { name, subscription, asks }. */
  contacts = new Map();
  /** Who is there: bare address to resource to { show, status }. */
  presences = new Map();
  /** Occupants: room to nickname to { role }. */
  occupants = new Map();
  /** Where rooms are; none known yet. */
  service = '';

  get address() { return this.#address; }
  get isOnline() { return this.#connection?.authenticated === true && this.#connection?.connected === true; }

  #tell(type, detail) { this.dispatchEvent(new CustomEvent(type, { detail })); }

  login(address, password) {
    this.#address = address;
    this.#password = password;
    this.#wanted = true;
    this.#way = 0;
    this.#tries = 0;
    this.#dial(false);
  }

  logout() {
    this.#wanted = false;
    clearTimeout(this.#retry);
    this.#password = '';
    this.#rooms.clear();
    this.#connection?.flush();
    this.#connection?.disconnect('logout');
    this.#forget();
  }

  /** Tries again now instead of later. */
  again() {
    if (this.#wanted && !this.isOnline) {
      clearTimeout(this.#retry);
      this.#dial(true);
    }
  }

  #forget() {
    this.contacts.clear();
    this.presences.clear();
    this.occupants.clear();
  }

  #dial(wasOnline) {
    const way = ways()[this.#way];
    const turn = ++this.#turn;
    const isLatest = () => turn === this.#turn;
    let isOnline = false;
    let failure = '';
    this.#tell('state', { state: 'connecting', way: way.name });
    const connection = new Strophe.Connection(way.url);
    this.#connection = connection;
    // A request of BOSH that is lost is made again at once and after 8 s; then the session is given up.
    connection.maxRetries = 2;
    // What never answers is as good as what fails.
    const patience = setTimeout(() => isLatest() && !isOnline && gone(), PATIENCE);
    const gone = () => {
      if (!isLatest()) return;
      clearTimeout(patience);
      this.#turn++;
      connection.reset();
      this.#gone(wasOnline || isOnline, isOnline, failure);
    };
    const heard = (status, condition, element) => {
      if (!isLatest()) return undefined;
      switch (status) {
        case Status.CONNECTED:
          isOnline = true;
          clearTimeout(patience);
          this.#online(connection, way.name);
          break;
        case Status.AUTHFAIL:
          clearTimeout(patience);
          this.#turn++;
          this.#wanted = false;
          connection.disconnect();
          this.#tell('refused', { condition: condition ?? (element?.localName === 'failure' ? element.firstElementChild?.localName : '') ?? '' });
          break;
        case Status.CONNFAIL:
        case Status.CONNTIMEOUT:
        case Status.ERROR:
          failure = condition ?? '';
          break;
        case Status.DISCONNECTED:
          gone();
          break;
        default:
      }
      return undefined;
    };
    const token = crypto.getRandomValues(new Uint32Array(1))[0].toString(36);
    connection.connect(`${this.#address}/webchat-${token}`, this.#password, heard, 50);
  }

  #gone(everOnline, wasNow, failure) {
    this.presences.clear();
    this.occupants.clear();
    if (!this.#wanted) return;
    if (wasNow && failure === 'conflict') {
      this.#wanted = false;
      this.#tell('state', { state: 'replaced' });
      return;
    }
    // A way that has worked is tried again; one that has not makes room for the other.
    if (!wasNow) this.#way = (this.#way + 1) % ways().length;
    if (!wasNow && this.#way !== 0) {
      this.#dial(everOnline);
      return;
    }
    if (!everOnline) {
      this.#wanted = false;
      this.#tell('state', { state: 'unreachable', failure });
      return;
    }
    const wait = Math.min(LONGEST, 1000 * 2 ** this.#tries++);
    this.#tell('state', { state: 'lost', wait });
    this.#retry = setTimeout(() => this.#dial(true), wait);
  }

  async #online(connection, way) {
    this.#tries = 0;
    connection.addHandler((iq) => this.#pushed(iq), NS.roster, 'iq', 'set');
    connection.addHandler((presence) => this.#presence(presence), null, 'presence');
    connection.addHandler((message) => this.#message(message), null, 'message');
    this.#tell('state', { state: 'online', way });
    try {
      const roster = await this.#ask($iq({ type: 'get' }).c('query', { xmlns: NS.roster }));
      this.contacts.clear();
      for (const item of child(roster, 'query')?.children ?? []) this.#keep(item);
    } catch (error) {
      this.#tell('undelivered', { peer: '', id: '', why: `The contacts cannot be read: ${error.message}.` });
    }
    this.#tell('contacts');
    connection.send($pres());
    for (const [room, nick] of this.#rooms) this.#enter(room, nick);
    this.#findRooms().catch(() => {});
  }

  #ask(iq) {
    return new Promise((resolve, reject) => {
      if (!this.isOnline) {
        reject(new Error('not connected'));
        return;
      }
      this.#connection.sendIQ(iq, resolve, (answer) => {
        reject(new Error(answer ? reason(answer) : 'no answer'));
      }, 20_000);
    });
  }

  async #findRooms() {
    const domain = Strophe.getDomainFromJid(this.#address);
    const listed = await this.#ask($iq({ type: 'get', to: domain }).c('query', { xmlns: NS.items }));
    for (const item of child(listed, 'query')?.children ?? []) {
      const to = item.getAttribute('jid');
      const told = await this.#ask($iq({ type: 'get', to }).c('query', { xmlns: NS.info }));
      const identities = [...(child(told, 'query')?.children ?? [])].filter((one) => one.localName === 'identity');
      if (identities.some((one) => one.getAttribute('category') === 'conference')) {
        this.service = to;
        return;
      }
    }
  }

  // Contacts.

  #keep(item) {
    const address = item.getAttribute('jid');
    const subscription = item.getAttribute('subscription');
    if (subscription === 'remove') {
      this.contacts.delete(address);
      this.presences.delete(address);
      return;
    }
    const asks = item.getAttribute('ask') === 'subscribe';
    this.contacts.set(address, { name: item.getAttribute('name') ?? '', subscription, asks });
  }

  #pushed(iq) {
    const from = iq.getAttribute('from');
    if (from && bare(from) !== this.#address) return true;
    for (const item of child(iq, 'query')?.children ?? []) this.#keep(item);
    this.#connection.send($iq({ type: 'result', id: iq.getAttribute('id') }));
    this.#tell('contacts');
    return true;
  }

  async add(address) {
    await this.#ask($iq({ type: 'set' }).c('query', { xmlns: NS.roster }).c('item', { jid: address }));
    this.#connection.send($pres({ to: address, type: 'subscribe' }));
  }

  async remove(address) {
    await this.#ask($iq({ type: 'set' }).c('query', { xmlns: NS.roster }).c('item', { jid: address, subscription: 'remove' }));
  }

  async accept(address) {
    this.#connection.send($pres({ to: address, type: 'subscribed' }));
    const known = this.contacts.get(address);
    if (!known || known.subscription === 'none' || known.subscription === 'from') await this.add(address);
  }

  decline(address) { this.#connection.send($pres({ to: address, type: 'unsubscribed' })); }

  #presence(presence) {
    const from = presence.getAttribute('from') ?? this.#address;
    const type = presence.getAttribute('type') ?? '';
    if (this.#rooms.has(bare(from))) {
      this.#occupant(presence, bare(from), resource(from), type);
      return true;
    }
    if (type === 'subscribe') {
      // Who was asked first has agreed already.
      const known = this.contacts.get(bare(from));
      if (known && (known.asks || known.subscription === 'to')) this.#connection.send($pres({ to: bare(from), type: 'subscribed' }));
      else this.#tell('asks', { address: bare(from) });
    } else if (type === '' || type === 'unavailable') {
      const there = this.presences.get(bare(from)) ?? new Map();
      if (type === '') there.set(resource(from), { show: text(presence, 'show'), status: text(presence, 'status') });
      else there.delete(resource(from));
      this.presences.set(bare(from), there);
      this.#tell('presence', { address: bare(from) });
    } else if (type === 'error') {
      this.#tell('undelivered', { peer: bare(from), id: '', why: `${bare(from)} cannot be asked: ${reason(presence)}.` });
    }
    return true;
  }

  // Messages.

  /** Says something to somebody; the id by which a refusal names it. */
  say(to, body, isRoom) {
    const id = `m${Date.now().toString(36)}-${++this.#next}`;
    this.#connection.send($msg({ to, id, type: isRoom ? 'groupchat' : 'chat' }).c('body').t(body));
    return id;
  }

  #message(message) {
    const from = message.getAttribute('from') ?? this.#address;
    const type = message.getAttribute('type') ?? 'normal';
    const id = message.getAttribute('id') ?? '';
    if (type === 'error') {
      this.#tell('undelivered', { peer: bare(from), id, why: reason(message) });
      return true;
    }
    const stamp = child(message, 'delay', NS.delay)?.getAttribute('stamp');
    const at = stamp ? new Date(stamp) : new Date();
    const isRoom = type === 'groupchat';
    const subject = child(message, 'subject');
    const body = text(message, 'body');
    if (isRoom && subject && !child(message, 'body')) {
      this.#tell('room', { room: bare(from), what: 'subject', subject: subject.textContent });
    } else if (body) {
      const nick = isRoom ? resource(from) : '';
      const isMine = isRoom && nick === this.#rooms.get(bare(from));
      this.#tell('message', { peer: bare(from), body, at, id, isRoom, nick, isMine });
    }
    return true;
  }

  // Rooms.

  /** The address of a room that somebody named. */
  roomAddress(name) {
    if (name.includes('@')) return name.toLowerCase();
    return this.service ? `${name.toLowerCase().replaceAll(/\s+/g, '-')}@${this.service}` : '';
  }

  join(room, nick) {
    this.#rooms.set(room, nick);
    this.#enter(room, nick);
  }

  #enter(room, nick) {
    this.occupants.set(room, new Map());
    const presence = $pres({ to: `${room}/${nick}` }).c('x', { xmlns: NS.muc }).c('history', { maxstanzas: '30' });
    this.#connection.send(presence);
  }

  part(room) {
    const nick = this.#rooms.get(room);
    this.#rooms.delete(room);
    this.occupants.delete(room);
    if (nick && this.isOnline) this.#connection.send($pres({ to: `${room}/${nick}`, type: 'unavailable' }));
  }

  #occupant(presence, room, nick, type) {
    const about = child(presence, 'x', NS.user);
    const codes = [...(about?.children ?? [])].filter((one) => one.localName === 'status').map((one) => one.getAttribute('code'));
    const here = this.occupants.get(room) ?? new Map();
    const isMe = codes.includes('110') || nick === this.#rooms.get(room);
    if (type === 'error') {
      if (child(child(presence, 'error'), 'conflict')) {
        const other = `${this.#rooms.get(room)}_`;
        this.#rooms.set(room, other);
        this.#enter(room, other);
        return;
      }
      this.#rooms.delete(room);
      this.#tell('room', { room, what: 'refused', why: reason(presence) });
      return;
    }
    if (type === 'unavailable') {
      here.delete(nick);
      const isRenamed = codes.includes('303');
      const renamed = child(about, 'item')?.getAttribute('nick');
      if (isMe && isRenamed && renamed) this.#rooms.set(room, renamed);
      else if (isMe) {
        this.#rooms.delete(room);
        const why = codes.includes('301') ? 'You were banned.' : codes.includes('307') ? 'You were removed.' : 'You are no longer in the room.';
        this.#tell('room', { room, what: 'left', why });
      } else this.#tell('room', { room, what: 'went', nick });
    } else {
      const isNew = !here.has(nick);
      here.set(nick, { role: child(about, 'item')?.getAttribute('role') ?? '' });
      this.occupants.set(room, here);
      if (isMe) this.#tell('room', { room, what: 'joined', nick });
      else if (isNew) this.#tell('room', { room, what: 'came', nick });
      // A new room is ours to open (XEP-0045 §10.1.2).
      if (codes.includes('201')) {
        const form = $iq({ type: 'set', to: room }).c('query', { xmlns: NS.owner }).c('x', { xmlns: 'jabber:x:data', type: 'submit' });
        this.#ask(form).catch(() => {});
      }
    }
    this.#tell('occupants', { room });
  }
}
