"""People fill their accounts on another server; later they are looked for on ours, under their old passwords.

Prints one line beginning with "ok: " for each thing seen, and "done" at the end; the caller judges by these.
Exits with 1 and says why as soon as something awaited does not come.

    moving.py fill  PREFIX HOST ADDRESS PORT
    moving.py check PREFIX HOST ADDRESS PORT CA OLD_HOST

The accounts are PREFIXmover, PREFIXfriend and PREFIXasker; their password comes from the environment: OLD_PASSWORD.
Filling is done without TLS, on loopback; looking is done over STARTTLS, the certificate verified.
"""

import asyncio
import logging
import os
import ssl
import sys
import xml.etree.ElementTree as ET

from slixmpp import ClientXMPP

DEADLINE = 20  # seconds for anything awaited
PRIVATE = "<query xmlns='jabber:iq:private'>%s</query>"
NOTES = "<notes xmlns='urn:example:notes'><note of='you'>1 &lt; 2</note></notes>"


class Failed(Exception):
    """Something awaited did not come."""


class Account(ClientXMPP):
    """A client that keeps what it hears until somebody asks."""

    def __init__(self, name, host, ca=None):
        # Without TLS only on loopback, to fill accounts; never to look at them.
        without_tls = {"feature_mechanisms": {"unencrypted_scram": True}} if ca is None else {}
        super().__init__(f"{name}@{host}/move", os.environ["OLD_PASSWORD"], plugin_config=without_tls)
        if ca:
            self.ca_certs = ca
            self.ssl_context.check_hostname = True
            self.ssl_context.verify_mode = ssl.CERT_REQUIRED
        self.enable_plaintext = ca is None
        self.enable_direct_tls = False
        self.enable_starttls = ca is not None
        self.auto_authorize = None
        self.auto_subscribe = False
        self.register_plugin("xep_0030")
        self.heard = asyncio.Queue()
        self.started = asyncio.get_event_loop().create_future()
        self.add_event_handler("session_start", lambda _: self.settle(None))
        for event in ("failed_all_auth", "ssl_invalid_chain", "connection_failed"):
            self.add_event_handler(event, lambda what, event=event: self.settle(f"{event}: {what}"))
        self.add_event_handler("message", lambda stanza: self.heard.put_nowait(("message", stanza)))
        for kind in ("subscribe", "subscribed", "available"):
            self.add_event_handler(
                f"presence_{kind}", lambda stanza, kind=kind: self.heard.put_nowait((kind, stanza))
            )

    def settle(self, why):
        if self.started.done():
            return
        if why is None:
            self.started.set_result(None)
        else:
            self.started.set_exception(Failed(f"{self.boundjid.bare}: {why}"))

    async def enter(self, address, port):
        """Logs in and fetches the roster."""
        self.connect(address, port)
        await within(self.started, f"{self.boundjid.bare} to log in")
        await within(self.get_roster(), "the roster")

    async def leave(self):
        await within(self.disconnect(), "the end of the stream")

    async def ask(self, type_, payload):
        iq = self.make_iq(itype=type_)
        iq.append(ET.fromstring(payload))
        return await within(iq.send(), payload)

    async def hear(self, kind, what):
        async def search():
            while True:
                found, stanza = await self.heard.get()
                if found == kind:
                    return stanza

        return await within(search(), what)


async def within(event, what):
    try:
        return await asyncio.wait_for(event, DEADLINE)
    except asyncio.TimeoutError as error:
        raise Failed(f"waited for {what} in vain") from error


def ok(text):
    print(f"ok: {text}", flush=True)


async def fill(prefix, host, address, port):
    mover, friend, asker = (Account(f"{prefix}{name}", host) for name in ("mover", "friend", "asker"))
    for account in (mover, friend, asker):
        await account.enter(address, port)
        account.send_presence()
    await within(mover.update_roster(friend.boundjid.bare, name="Old friend", groups=["Moved"]), "the roster set")
    mover.send_presence_subscription(friend.boundjid.bare, ptype="subscribe")
    await friend.hear("subscribe", "the mover's request")
    friend.send_presence_subscription(mover.boundjid.bare, ptype="subscribed")
    friend.send_presence_subscription(mover.boundjid.bare, ptype="subscribe")
    await mover.hear("subscribe", "the friend's request")
    mover.send_presence_subscription(friend.boundjid.bare, ptype="subscribed")
    await friend.hear("subscribed", "the mover's consent")
    await mover.ask("set", "<vCard xmlns='vcard-temp'><FN>The Mover</FN></vCard>")
    await mover.ask("set", PRIVATE % NOTES)
    await mover.ask("set", f"<block xmlns='urn:xmpp:blocking'><item jid='foe@{host}'/></block>")
    asker.send_presence_subscription(mover.boundjid.bare, ptype="subscribe")
    await mover.hear("subscribe", "the asker's request")
    await mover.leave()
    for text in ("first", "second"):
        friend.send_message(mto=mover.boundjid.bare, mbody=text, mtype="chat")
    # An answer to a later request says that the messages were taken.
    await friend.ask("get", "<query xmlns='jabber:iq:roster'/>")
    await friend.leave()
    await asker.leave()
    ok(f"{prefix}mover has a friend, somebody asking, a card, notes, a block and two messages")


async def check(prefix, host, address, port, ca, old):
    mover = Account(f"{prefix}mover", host, ca)
    await mover.enter(address, port)
    mechanism = mover.plugin["feature_mechanisms"].mech.name
    if not mechanism.startswith("SCRAM-"):
        raise Failed(f"logged in by {mechanism}")
    ok(f"{prefix}mover logs in by {mechanism} with the old password")
    item = mover.client_roster[f"{prefix}friend@{old}"]
    if (item["subscription"], item["name"], list(item["groups"])) != ("both", "Old friend", ["Moved"]):
        raise Failed(f"not what the roster was: {item}")
    ok("the friend is in the roster, with name, group and subscription")
    card = (await mover.ask("get", "<vCard xmlns='vcard-temp'/>")).xml.find(".//{vcard-temp}FN")
    if card is None or card.text != "The Mover":
        raise Failed(f"not the card: {card}")
    ok("the vCard is there")
    kept = await mover.ask("get", PRIVATE % "<notes xmlns='urn:example:notes'/>")
    note = kept.xml.find(".//{urn:example:notes}note")
    if note is None or note.text != "1 < 2" or note.get("of") != "you":
        raise Failed(f"not the notes: {kept}")
    ok("the private data are there")
    blocked = await mover.ask("get", "<blocklist xmlns='urn:xmpp:blocking'/>")
    blocked = [item.get("jid") for item in blocked.xml.iter("{urn:xmpp:blocking}item")]
    if blocked != [f"foe@{old}"]:
        raise Failed(f"not whom the mover had blocked: {blocked}")
    ok("the foe is blocked")
    mover.send_presence()
    for text in ("first", "second"):
        message = await mover.hear("message", f"the {text} message")
        delay = message.xml.find("{urn:xmpp:delay}delay")
        if message["body"] != text or delay is None or delay.get("from") != host:
            raise Failed(f"not the {text} message with its time: {message}")
        if message["from"].bare != f"{prefix}friend@{old}":
            raise Failed(f"not from the friend: {message}")
    ok("both messages come, in order, with their time")
    await mover.leave()


async def look_for_request(prefix, host, address, port, ca, old):
    mover = Account(f"{prefix}mover", host, ca)
    await mover.enter(address, port)
    mover.send_presence()
    request = await mover.hear("subscribe", "the asker's request")
    if request["from"].bare != f"{prefix}asker@{old}":
        raise Failed(f"somebody else's request: {request}")
    await mover.leave()
    ok("the asker still asks")


async def play(words):
    if words[0] == "fill":
        prefix, host, address, port = words[1:]
        await fill(prefix, host, address, int(port))
    else:
        prefix, host, address, port, ca, old = words[1:]
        await check(prefix, host, address, int(port), ca, old)
        await look_for_request(prefix, host, address, int(port), ca, old)


def main():
    logging.basicConfig(level=logging.ERROR)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(play(sys.argv[1:]))
    except Failed as error:
        print(f"failed: {error}", flush=True)
        sys.exit(1)
    print("done", flush=True)


main()
