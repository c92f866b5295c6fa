"""A slixmpp account makes a room and keeps it: somebody on the chat page and somebody at a terminal come and talk.

    room.py HOST ADDRESS PORT CA ROOM

Prints one line beginning with "ok: " for each thing seen, and "done" at the end. The password is that of alice, in
ALICE_PASSWORD; the others are called rosa, who is on the page, and toni, who becomes tony.
"""

import argparse
import asyncio
import logging
import os
import sys

import chat
from chat import Account, Failed, ok, within

chat.DEADLINE = 90  # a browser has to start, and people have to come

NICK = "Alice"


async def hear_all(alice, kind, each):
    """Everything of `each` (what it is to the test that knows it), in whatever order it comes."""
    left = dict(each)
    while left:
        heard = await alice.hear(kind, lambda stanza: any(is_it(stanza) for is_it in left.values()), " and ".join(left))
        left = {what: is_it for what, is_it in left.items() if not is_it(heard)}


def comes(address):
    return lambda stanza: stanza["from"] == address and stanza["type"] != "unavailable"


def goes(address, status):
    return lambda stanza: (
        stanza["from"] == address and stanza["type"] == "unavailable" and status in stanza["muc"]["status_codes"]
    )


def says(address, text):
    return lambda stanza: stanza["from"] == address and stanza["type"] == "groupchat" and stanza["body"] == text


async def play(options):
    alice = Account(f"alice@{options.host}/room", os.environ["ALICE_PASSWORD"], options)
    alice.register_plugin("xep_0004")
    alice.register_plugin("xep_0045")
    # slixmpp keeps presence of rooms apart from that of contacts, and subjects from messages.
    for event, kind in (("groupchat_presence", "occupant"), ("groupchat_subject", "subject")):
        alice.add_event_handler(event, lambda stanza, kind=kind: alice.heard.put_nowait((kind, stanza)))
    rooms, room = alice.plugin["xep_0045"], options.room
    await alice.enter()

    own, subject, others, past = await rooms.join_muc_wait(room, NICK, timeout=chat.DEADLINE)
    alone = all(one["from"] == f"{room}/{NICK}" for one in others)
    if not {110, 201} <= set(own["muc"]["status_codes"]) or not alone or past or subject["subject"]:
        raise Failed(f"not what a new room is like: {own}, {subject}, {others}, {past}")
    ok("alice makes the room")
    form = await within(rooms.get_room_config(room), "the room's form")
    form.reply()
    answers = {"FORM_TYPE": form.get_fields()["FORM_TYPE"]["value"], "muc#roomconfig_roomname": "The orchard"}
    answers["muc#roomconfig_persistentroom"] = True
    form["values"] = answers
    await within(rooms.set_room_config(room, form), "the room's configuration")
    ok("alice configures the room")

    people = {name: comes(f"{room}/{name}") for name in ("rosa", "toni")}
    await hear_all(alice, "occupant", people)
    ok("alice sees rosa on the chat page and toni at the terminal come")
    alice.send_message(mto=room, mbody="hello from slixmpp", mtype="groupchat")
    words = {"rosa": "hello from the browser", "toni": "hello from the terminal"}
    await hear_all(alice, "message", {name: says(f"{room}/{name}", text) for name, text in words.items()})
    ok("alice hears both")

    rooms.set_subject(room, "Apples and pears")
    changed = f"{room}/{NICK}"
    await alice.hear(
        "subject",
        lambda stanza: stanza["from"] == changed and stanza["subject"] == "Apples and pears" and not stanza["body"],
        "the subject",
    )
    ok("alice changes the subject")
    gone = await alice.hear("occupant", goes(f"{room}/toni", 303), "toni's change of nickname")
    if gone["muc"]["item"]["nick"] != "tony":
        raise Failed(f"not tony: {gone}")
    await alice.hear("occupant", comes(f"{room}/tony"), "tony")
    ok("alice sees toni become tony")

    # Who is thrown out sees the room no more: first tony has to have seen what he said there.
    seen = {"rosa": says(f"{room}/rosa", "tony it is"), "tony": says(f"{room}/tony", "that is me")}
    await hear_all(alice, "message", seen)
    await within(rooms.set_role(room, "tony", "none", reason="windfall"), "the kick")
    gone = await alice.hear("occupant", goes(f"{room}/tony", 307), "tony's end")
    if gone["muc"]["item"]["role"] != "none":
        raise Failed(f"tony keeps a role: {gone}")
    ok("alice throws tony out and sees him go")
    await alice.hear("message", says(f"{room}/rosa", "tony is gone"), "rosa, who sees tony go")
    ok("alice hears that rosa sees it too")
    await alice.hear("occupant", comes(f"{room}/tony"), "tony again")
    ok("alice sees tony come back")
    rooms.leave_muc(room, NICK)
    await alice.hear("occupant", goes(f"{room}/{NICK}", 110), "her own end")
    ok("alice leaves")
    alice.disconnect()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("ca")
    parser.add_argument("room")
    options = parser.parse_args()
    options.direct = False
    logging.basicConfig(level=os.environ.get("INTEROP_LOG", "CRITICAL"), stream=sys.stderr)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(play(options))
    except Failed as why:
        print(f"failed: {why}", flush=True)
        sys.exit(1)
    print("done", flush=True)


main()
