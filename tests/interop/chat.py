"""Two slixmpp accounts meet on a server whose certificate a private authority signed.

Prints one line beginning with "ok: " for each thing seen, and "done" at the end; the caller judges by these.
Exits with 1 and says why as soon as something awaited does not come.

    chat.py HOST ADDRESS PORT CA [--direct] [--echo DOMAIN] [--listen TEXT]

Passwords come from the environment: ALICE_PASSWORD, BOB_PASSWORD. With --listen, bob only waits for a message
whose text is TEXT, from whoever it is, and prints it.
"""

import argparse
import asyncio
import logging
import os
import ssl
import sys

from slixmpp import ClientXMPP

DEADLINE = 30  # seconds for anything awaited


class Failed(Exception):
    """Something awaited did not come."""


class Account(ClientXMPP):
    """A client that keeps what it hears until somebody asks."""

    def __init__(self, jid, password, options):
        super().__init__(jid, password)
        self.options = options
        self.heard = asyncio.Queue()
        self.started = asyncio.get_event_loop().create_future()
        self.ca_certs = options.ca
        # The name on the certificate counts, not only who signed it.
        self.ssl_context.check_hostname = True
        self.ssl_context.verify_mode = ssl.CERT_REQUIRED
        self.enable_plaintext = False
        self.enable_direct_tls = options.direct
        self.enable_starttls = not options.direct
        self.auto_authorize = None
        self.auto_subscribe = False
        self.register_plugin("xep_0030")
        self.register_plugin("xep_0199")
        self.register_plugin("xep_0092")
        self.add_event_handler("session_start", self.begun)
        for event in ("failed_all_auth", "ssl_invalid_chain", "connection_failed", "ssl_invalid_cert"):
            self.add_event_handler(event, lambda what, event=event: self.refused(event, what))
        self.add_event_handler("message", lambda stanza: self.heard.put_nowait(("message", stanza)))
        for kind in ("subscribe", "subscribed", "unsubscribe", "unsubscribed"):
            name = f"presence_{kind}"
            self.add_event_handler(name, lambda stanza, kind=kind: self.heard.put_nowait((kind, stanza)))
        # slixmpp names the event after <show/> where there is one.
        for event in ("available", "away", "chat", "dnd", "xa", "unavailable"):
            self.add_event_handler(f"presence_{event}", lambda stanza: self.heard.put_nowait(("presence", stanza)))
        self.add_event_handler("roster_update", lambda stanza: self.heard.put_nowait(("roster", stanza)))

    def begun(self, _):
        if not self.started.done():
            self.started.set_result(None)

    def refused(self, event, what):
        if not self.started.done():
            self.started.set_exception(Failed(f"{self.boundjid.bare}: {event}: {what}"))

    async def enter(self):
        """Logs in, fetches the roster, becomes available."""
        self.connect(self.options.address, self.options.port)
        await within(self.started, f"{self.boundjid.bare} to log in")
        self.started = asyncio.get_event_loop().create_future()
        await within(self.get_roster(), "the roster")
        self.send_presence()

    async def hear(self, kind, wanted, what):
        """The next thing heard of this kind that is wanted; others are forgotten."""

        async def search():
            while True:
                found, stanza = await self.heard.get()
                if found == kind and wanted(stanza):
                    return stanza

        return await within(search(), what)


def item_of(account, jid):
    """What an account's roster says of a contact; pushes and versions are slixmpp's business."""
    if jid not in account.client_roster.keys():
        raise Failed(f"{jid} is not among {list(account.client_roster.keys())}")
    return account.client_roster[jid]


async def within(event, what):
    try:
        return await asyncio.wait_for(event, DEADLINE)
    except asyncio.TimeoutError as error:
        raise Failed(f"waited for {what} in vain") from error


def ok(text):
    print(f"ok: {text}", flush=True)


async def befriend(alice, bob):
    """Both ways, as people do it."""
    alice_jid, bob_jid = alice.boundjid.bare, bob.boundjid.bare
    alice.send_presence_subscription(bob_jid, ptype="subscribe")
    await bob.hear("subscribe", lambda stanza: stanza["from"].bare == alice_jid, "alice's request")
    ok("bob hears alice's request")
    bob.send_presence_subscription(alice_jid, ptype="subscribed")
    bob.send_presence_subscription(alice_jid, ptype="subscribe")
    await alice.hear("subscribed", lambda stanza: stanza["from"].bare == bob_jid, "bob's consent")
    ok("alice hears bob's consent")
    await alice.hear("subscribe", lambda stanza: stanza["from"].bare == bob_jid, "bob's request")
    alice.send_presence_subscription(bob_jid, ptype="subscribed")
    await bob.hear("subscribed", lambda stanza: stanza["from"].bare == alice_jid, "alice's consent")
    ok("bob hears alice's consent")


async def play(options):
    host = options.host
    alice = Account(f"alice@{host}/slix", os.environ["ALICE_PASSWORD"], options)
    bob = Account(f"bob@{host}/slix", os.environ["BOB_PASSWORD"], options)
    await alice.enter()
    tls = alice.transport.get_extra_info("ssl_object")
    ok(f"alice logs in over {tls.version()}, certificate verified")
    await bob.enter()
    ok("bob logs in")

    await within(alice.update_roster(f"bob@{host}", name="Bobby", groups=["Friends"]), "the roster set")
    await within(alice.get_roster(), "the roster")
    item = item_of(alice, f"bob@{host}")
    if item["name"] != "Bobby" or "Friends" not in item["groups"]:
        raise Failed(f"not what the roster was set to: {item}")
    ok("alice's roster keeps bob's name and group")

    await befriend(alice, bob)
    await within(alice.get_roster(), "the roster")
    if item_of(alice, f"bob@{host}")["subscription"] != "both":
        raise Failed("not friends on both sides")
    ok("alice's roster says both")

    bob.send_presence(pshow="away", pstatus="at tea")
    await alice.hear("presence", lambda stanza: stanza["status"] == "at tea", "bob's presence")
    ok("alice sees bob at tea")

    alice.send_message(mto=f"bob@{host}", mbody="hello bob ☺ <&>", mtype="chat")
    await bob.hear("message", lambda stanza: stanza["body"] == "hello bob ☺ <&>", "alice's message")
    ok("bob hears alice")
    bob.send_message(mto=alice.boundjid.full, mbody="hello alice", mtype="chat")
    await alice.hear("message", lambda stanza: stanza["body"] == "hello alice", "bob's message")
    ok("alice hears bob")

    await within(alice.plugin["xep_0199"].ping(host, timeout=DEADLINE), "a pong")
    ok("the server answers a ping")
    info = await within(alice.plugin["xep_0030"].get_info(jid=host), "disco#info")
    if "urn:xmpp:ping" not in info["disco_info"]["features"]:
        raise Failed(f"no ping among {info['disco_info']['features']}")
    ok("the server says it knows pings")
    version = await within(alice.plugin["xep_0092"].get_version(host), "the version")
    ok(f"the server calls itself {version['software_version']['name']}")

    bob.send_presence(ptype="unavailable")
    bob.disconnect()
    await alice.hear("presence", lambda stanza: stanza["type"] == "unavailable", "bob's goodbye")
    ok("alice sees bob go")
    alice.send_message(mto=f"bob@{host}", mbody="for later", mtype="chat")
    again = Account(f"bob@{host}/again", os.environ["BOB_PASSWORD"], options)
    again.register_plugin("xep_0203")
    # The server has the message before bob is back: it answers alice's ping after it.
    await within(alice.plugin["xep_0199"].ping(host, timeout=DEADLINE), "a pong")
    await again.enter()
    kept = await again.hear("message", lambda stanza: stanza["body"] == "for later", "the kept message")
    if not kept["delay"]["stamp"]:
        raise Failed(f"a kept message without its time: {kept}")
    ok("bob comes back and hears what was kept")

    if options.echo:
        alice.send_message(mto=options.echo, mbody="is there an echo?", mtype="chat")
        heard = await alice.hear("message", lambda stanza: stanza["from"].bare == options.echo, "the echo")
        if heard["body"] != "is there an echo?":
            raise Failed(f"not what was said: {heard}")
        ok("the echo answers")
    for account in (alice, again):
        account.disconnect()


async def listen(options):
    bob = Account(f"bob@{options.host}/listens", os.environ["BOB_PASSWORD"], options)
    await bob.enter()
    await within(bob.plugin["xep_0199"].ping(options.host, timeout=DEADLINE), "a pong")
    print("listening", flush=True)
    heard = await bob.hear("message", lambda stanza: stanza["body"].strip() == options.listen, "the message")
    ok(f"bob hears {heard['from'].bare} say {heard['body'].strip()}")
    bob.disconnect()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("ca")
    parser.add_argument("--direct", action="store_true")
    parser.add_argument("--echo")
    parser.add_argument("--listen")
    options = parser.parse_args()
    logging.basicConfig(level=os.environ.get("INTEROP_LOG", "CRITICAL"), stream=sys.stderr)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(listen(options) if options.listen else play(options))
    except Failed as why:
        print(f"failed: {why}", flush=True)
        sys.exit(1)
    print("done", flush=True)


if __name__ == "__main__":
    main()
