//! Who falls, and what is left: a room, all rooms, the service, the store.

use std::time::Duration;

use otp::Fault;
use storage::{Fault as StoreFault, FaultPoint};
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
    // It rests ten minutes after the last thing it did, which may be done only now.
    for _ in 0..10_000 {
        rig.hand.advance(Duration::from_secs(60)).await;
        if rig.process("room", ROOM).is_none() {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(rig.process("room", ROOM).is_none(), "it never ends");
    rig.crowd.take(ALICE);
    rig.enter(ALICE, "Al").await;
    rig.settle().await;
    assert_eq!(bodies(&rig.crowd.take(ALICE)), ["before"]);
    rig.stop().await;
}

/// What somebody has heard, collected.
#[derive(Default)]
struct Ears(parking_lot::Mutex<Vec<Stanza>>);

impl Ears {
    /// Whether something heard until now is so.
    fn any(&self, rig: &Rig, who: &str, is: impl Fn(&Stanza) -> bool) -> bool {
        let mut heard = self.0.lock();
        heard.extend(rig.crowd.take(who));
        heard.iter().any(is)
    }
}

fn failed(id: &str) -> impl Fn(&Stanza) -> bool {
    move |stanza| {
        let error = stanza
            .dom()
            .children()
            .find(|child| child.name() == "error");
        stanza.is_error()
            && stanza.id() == Some(id)
            && error.is_some_and(|error| error.has_child("internal-server-error", ns::STANZAS))
    }
}

async fn set(rig: &Rig, from: &str, id: &str, payload: &str) {
    rig.send(&format!(
        "<iq type='set' id='{id}' from='{from}' to='{ROOM}'>{payload}</iq>"
    ))
    .await;
}

const BAN_BOB: &str = "<query xmlns='http://jabber.org/protocol/muc#admin'>\
                       <item affiliation='outcast' jid='bob@b.example'/></query>";

/// A write that does not return: what waits for it is told as failed, other rooms and the service answer meanwhile,
/// and the room goes on when the store does. What was told as failed was heard by nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_hangs_in_the_store_is_told_and_the_room_goes_on() {
    let mut rig = together().await;
    rig.command(&["create_room", "den", "a.example"])
        .await
        .expect("created");
    let (alice, bob) = (Ears::default(), Ears::default());
    let hung = rig
        .storage
        .fault(StoreFault::Hang, FaultPoint::BeforeCommit);
    say(&rig, ALICE, "held").await;
    hung.reached().await;
    say(&rig, BOB, "behind").await;
    for (id, to) in [
        ("den", "den@conference.a.example"),
        ("service", "conference.a.example"),
    ] {
        rig.send(&format!(
            "<iq type='get' id='{id}' from='{BOB}' to='{to}'>\
             <query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
        ))
        .await;
        let answered = |stanza: &Stanza| {
            stanza.id() == Some(id) && stanza.kind() == Kind::Iq && !stanza.is_error()
        };
        rig.until("others answer", |rig| bob.any(rig, BOB, answered))
            .await;
    }
    rig.in_time("alice is told", |rig| alice.any(rig, ALICE, failed("held")))
        .await;
    rig.in_time("bob is told", |rig| bob.any(rig, BOB, failed("behind")))
        .await;
    hung.release();
    // Time goes on when the store's thread has: else each try is one more that comes too late.
    let mut probe = 0;
    loop {
        probe += 1;
        let account = xmpp::BareJid::new(&format!("probe{probe}@a.example")).expect("an address");
        if rig
            .storage
            .accounts
            .create(&account, Vec::new())
            .await
            .is_ok()
        {
            break;
        }
        tokio::task::yield_now().await;
    }
    let said = |stanza: &Stanza| stanza.child_text("body", ns::CLIENT).as_deref() == Some("after");
    // The store may need a moment; whoever is refused says it again, as people do.
    let mut number = 0;
    while !bob.any(&rig, BOB, said) {
        number += 1;
        let id = format!("after{number}");
        rig.send(&format!(
            "<message type='groupchat' id='{id}' from='{ALICE}' to='{ROOM}'><body>after</body></message>"
        ))
        .await;
        rig.in_time("it is said or refused", |rig| {
            bob.any(rig, BOB, said) || alice.any(rig, ALICE, failed(&id))
        })
        .await;
    }
    rig.settle().await;
    let everybody = [(&alice, ALICE), (&bob, BOB)];
    for (ears, who) in everybody {
        let lost = |stanza: &Stanza| {
            let body = stanza.child_text("body", ns::CLIENT);
            !stanza.is_error() && body.is_some_and(|body| body == "held" || body == "behind")
        };
        assert!(!ears.any(&rig, who, lost), "{who} heard what had failed");
    }
    // What was heard is there when the room is opened anew.
    rig.process("room", ROOM).expect("it is open").kill();
    rig.until("alice is told", |rig| {
        alice.any(rig, ALICE, |stanza| statuses(stanza) == ["110", "333"])
    })
    .await;
    rig.enter(ALICE, "Al").await;
    rig.settle().await;
    let history = bodies(&rig.crowd.take(ALICE));
    assert!(history.contains(&"before".to_owned()), "{history:?}");
    assert!(history.contains(&"after".to_owned()), "{history:?}");
    rig.stop().await;
}

/// A change that does not return is told as failed; when the store made it all the same, the room finds out.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_was_made_after_all_is_found_out() {
    let mut rig = together().await;
    let (alice, bob) = (Ears::default(), Ears::default());
    let hung = rig
        .storage
        .fault(StoreFault::Hang, FaultPoint::BeforeCommit);
    set(&rig, ALICE, "ban", BAN_BOB).await;
    hung.reached().await;
    rig.in_time("alice is told", |rig| alice.any(rig, ALICE, failed("ban")))
        .await;
    let banned = |stanza: &Stanza| statuses(stanza) == ["110", "301"];
    assert!(!bob.any(&rig, BOB, banned), "nothing has changed yet");
    hung.release();
    rig.in_time("the room is as it is stored", |rig| {
        bob.any(rig, BOB, banned)
    })
    .await;
    rig.enter(BOB, "Bob").await;
    rig.settle().await;
    let forbidden = |stanza: &Stanza| {
        let error = stanza
            .dom()
            .children()
            .find(|child| child.name() == "error");
        error.is_some_and(|error| error.has_child("forbidden", ns::STANZAS))
    };
    assert!(bob.any(&rig, BOB, forbidden));
    // The room goes on: the next change is made and answered.
    let back = BAN_BOB.replace("outcast", "none");
    set(&rig, ALICE, "unban", &back).await;
    rig.settle().await;
    let done = |stanza: &Stanza| stanza.id() == Some("unban") && !stanza.is_error();
    assert!(alice.any(&rig, ALICE, done));
    rig.stop().await;
}

/// A change that the store never made stays what it was told to be: failed.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_fell_with_the_store_is_not_there() {
    let mut rig = together().await;
    let alice = Ears::default();
    let fallen = rig
        .storage
        .fault(StoreFault::Panic, FaultPoint::BeforeCommit);
    set(&rig, ALICE, "ban", BAN_BOB).await;
    fallen.reached().await;
    rig.until("alice is told", |rig| alice.any(rig, ALICE, failed("ban")))
        .await;
    rig.crowd.take(BOB);
    // Behind whatever the room asks the store.
    rig.in_time("the store is back", |rig| {
        rig.process("storage_writer", "").is_some()
    })
    .await;
    say(&rig, BOB, "still here").await;
    rig.settle().await;
    let heard = rig.crowd.take(BOB);
    assert_eq!(bodies(&heard), ["still here"]);
    assert!(heard.iter().all(|stanza| statuses(stanza).is_empty()));
    rig.stop().await;
}
