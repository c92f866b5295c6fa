//! Who falls, and what is left: a room, all rooms, the service, the store.

use std::time::Duration;

use otp::Fault;
use xmpp::{Kind, PresenceType, Stanza, ns};

use crate::rig::{ROOM, Rig, statuses};

const ALICE: &str = "alice@a.example/desk";
const BOB: &str = "bob@b.example/phone";

/// Alice and Bob in a room that lasts.
async fn together() -> Rig {
    let mut rig = Rig::start(&[]).await;
    rig.command(&[
        "create_room",
        "coven",
        "a.example",
        "owner=alice@a.example",
        "roomname=Cave",
    ])
    .await
    .expect("created");
    rig.enter(ALICE, "Al").await;
    rig.enter(BOB, "Bob").await;
    say(&rig, ALICE, "before").await;
    rig.settle().await;
    rig
}

async fn say(rig: &Rig, from: &str, text: &str) {
    rig.send(&format!(
        "<message type='groupchat' id='{text}' from='{from}' to='{ROOM}'><body>{text}</body></message>"
    ))
    .await;
}

fn bodies(heard: &[Stanza]) -> Vec<String> {
    heard
        .iter()
        .filter_map(|stanza| stanza.child_text("body", ns::CLIENT))
        .collect()
}

fn told_333(heard: &[Stanza]) -> usize {
    let is = |stanza: &&Stanza| {
        stanza.kind() == Kind::Presence
            && stanza.presence_type() == PresenceType::Unavailable
            && statuses(stanza) == ["110", "333"]
    };
    heard.iter().filter(is).count()
}

async fn a_room_falls(fall: impl Fn(&otp::AnyPid)) {
    let mut rig = together().await;
    rig.crowd.take(ALICE);
    rig.crowd.take(BOB);
    let room = rig.process("room", ROOM).expect("the room is open");
    fall(&room);
    room.watch().await;
    let mut heard = (Vec::new(), Vec::new());
    for _ in 0..1_000_000 {
        heard.0.extend(rig.crowd.take(ALICE));
        heard.1.extend(rig.crowd.take(BOB));
        if !heard.0.is_empty() && !heard.1.is_empty() {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!((told_333(&heard.0), told_333(&heard.1)), (1, 1));
    // The next stanza opens it as it was: configuration, affiliations, what was said.
    rig.enter(ALICE, "Al").await;
    rig.settle().await;
    let heard = rig.crowd.take(ALICE);
    assert_eq!(told_333(&heard), 0, "nobody who came back is told to go");
    assert_eq!(bodies(&heard), ["before"]);
    let own = heard[0]
        .dom()
        .get_child("x", "http://jabber.org/protocol/muc#user");
    let item = own.and_then(|x| x.children().next());
    assert_eq!(
        item.and_then(|item| item.attr("affiliation")),
        Some("owner")
    );
    assert!(rig.crowd.take(BOB).is_empty());
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_is_killed_tells_its_people_and_opens_again() {
    a_room_falls(otp::AnyPid::kill).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_panics_tells_its_people_and_opens_again() {
    a_room_falls(|room| room.fault(Fault::Panic)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_to_a_fallen_room_waits_for_the_next() {
    let mut rig = together().await;
    let room = rig.process("room", ROOM).expect("the room is open");
    room.kill();
    // At once, before anybody noticed: it opens the room again.
    rig.enter(ALICE, "Al").await;
    rig.settle().await;
    let heard = rig.crowd.take(ALICE);
    let came = heard.iter().rposition(|stanza| statuses(stanza) == ["110"]);
    let went = heard
        .iter()
        .rposition(|stanza| statuses(stanza) == ["110", "333"]);
    assert!(went.is_some() && went < came, "{heard:?}");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_outlive_their_service() {
    let mut rig = together().await;
    for kind in ["module", "room_keeper"] {
        let process = rig.process(kind, "").expect("it runs");
        process.kill();
        process.watch().await;
        rig.restarted(kind, &process).await;
        rig.crowd.take(ALICE);
        rig.crowd.take(BOB);
        say(&rig, BOB, kind).await;
        rig.settle().await;
        assert_eq!(bodies(&rig.crowd.take(ALICE)), [kind]);
        let heard = rig.crowd.take(BOB);
        assert_eq!(
            (bodies(&heard), told_333(&heard)),
            (vec![kind.to_owned()], 0)
        );
    }
    // The keeper that came back watches the rooms it found.
    let room = rig.process("room", ROOM).expect("the room is open");
    room.kill();
    rig.until("they are told", |rig| told_333(&rig.crowd.take(ALICE)) == 1)
        .await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_ends_tells_everybody() {
    let rig = together().await;
    rig.crowd.take(ALICE);
    let crowd = rig.crowd.clone();
    rig.stop().await;
    let heard = crowd.take(ALICE);
    let last = heard.last().expect("something is heard");
    assert_eq!(statuses(last), ["110", "332"]);
    assert_eq!(heard.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn ghosts_are_taken_out() {
    let mut rig = together().await;
    rig.crowd.lose(BOB);
    rig.crowd.take(ALICE);
    say(&rig, ALICE, "hello").await;
    rig.settle().await;
    rig.settle().await;
    let heard = rig.crowd.take(ALICE);
    let gone: Vec<&Stanza> = heard
        .iter()
        .filter(|stanza| stanza.kind() == Kind::Presence)
        .collect();
    assert_eq!(gone.len(), 1);
    assert_eq!(gone[0].presence_type(), PresenceType::Unavailable);
    assert_eq!(statuses(gone[0]), ["333"]);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_without_occupants_ends_and_is_there_again() {
    let mut rig = together().await;
    for (who, nick) in [(ALICE, "Al"), (BOB, "Bob")] {
        rig.send(&format!(
            "<presence type='unavailable' from='{who}' to='{ROOM}/{nick}'/>"
        ))
        .await;
    }
    rig.settle().await;
    assert!(rig.process("room", ROOM).is_some());
    rig.hand.advance(Duration::from_secs(601)).await;
    rig.until("it ends", |rig| rig.process("room", ROOM).is_none())
        .await;
    rig.crowd.take(ALICE);
    rig.enter(ALICE, "Al").await;
    rig.settle().await;
    assert_eq!(bodies(&rig.crowd.take(ALICE)), ["before"]);
    rig.stop().await;
}
