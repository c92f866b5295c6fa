//! The offline queue is handed out in order, each message once, whoever falls.

use std::time::Duration;

use router::Flow;
use session::hooks::UserSendPacket;
use xmpp::{Kind, PresenceType};

use crate::client::Client;
use crate::rig::*;

#[tokio::test]
async fn the_queue_comes_in_order_and_before_what_is_said_meanwhile() {
    let rig = Rig::start().await.with_queue().await;
    rig.queue.fill(0..35);
    let mut bob = rig.login("bob", "phone").await;
    let mut alice = rig.login("alice", "desk").await;
    rig.queue.reading.shut();
    bob.says("<presence/>").await;
    rig.until("the queue is being read", |rig| {
        rig.queue.reading.arrived() == 1
    })
    .await;
    for number in 35..40 {
        alice.says(&chat("bob@a.example/phone", number)).await;
    }
    alice.sync().await;
    rig.queue.reading.open();
    let mut heard = String::new();
    for _ in 0..40 {
        heard += &bob.hears("</message>").await;
    }
    assert_eq!(numbers(&heard), (0..40).collect::<Vec<_>>());
    rig.until("the queue is empty", |rig| rig.queue.numbers().is_empty())
        .await;
    assert!(numbers(&bob.sync().await).is_empty());
    rig.stop().await;
}

#[tokio::test]
async fn what_is_stored_during_a_flush_is_handed_out_too() {
    let rig = Rig::start().await.with_queue().await;
    rig.queue.fill(0..5);
    let mut bob = rig.login("bob", "phone").await;
    rig.queue.deleting.shut();
    bob.says("<presence/>").await;
    rig.until("the first are written", |rig| {
        rig.queue.deleting.arrived() == 1
    })
    .await;
    rig.queue.fill(5..8);
    rig.sessions
        .flush_offline(&xmpp::parse_bare("bob@a.example").expect("a JID"));
    rig.queue.deleting.open();
    let mut heard = String::new();
    for _ in 0..8 {
        heard += &bob.hears("</message>").await;
    }
    assert_eq!(numbers(&heard), (0..8).collect::<Vec<_>>());
    rig.until("the queue is empty", |rig| rig.queue.numbers().is_empty())
        .await;
    assert!(numbers(&bob.sync().await).is_empty());
    rig.stop().await;
}

#[tokio::test]
async fn a_session_that_falls_between_written_and_deleted_doubles_nothing() {
    let rig = Rig::start().await.with_queue().await;
    rig.queue.fill(0..15);
    let mut bob = rig.login("bob", "phone").await;
    rig.queue.deleting.shut();
    bob.says("<presence/>").await;
    rig.until("the first page is written", |rig| {
        rig.queue.deleting.arrived() == 1
    })
    .await;
    rig.entry("bob@a.example/phone").expect("open").pid.kill();
    let first = numbers(&bob.hears_all().await);
    assert_eq!(first, (0..10).collect::<Vec<_>>());
    // Another session comes before the manager has done what the fallen one could not.
    rig.until("the manager deletes in its place", |rig| {
        rig.queue.deleting.arrived() == 2
    })
    .await;
    let mut bob = rig.available("bob", "desk", 1).await;
    assert!(numbers(&bob.sync().await).is_empty(), "it waits");
    rig.queue.deleting.open();
    let mut heard = String::new();
    for _ in 0..5 {
        heard += &bob.hears("</message>").await;
    }
    assert_eq!(numbers(&heard), (10..15).collect::<Vec<_>>());
    rig.until("the queue is empty", |rig| rig.queue.numbers().is_empty())
        .await;
    assert!(numbers(&bob.sync().await).is_empty());
    rig.stop().await;
}

#[tokio::test]
async fn a_session_that_leaves_keeps_what_it_could_not_write() {
    let rig = Rig::start().await.with_queue().await;
    rig.queue.fill(0..200);
    // Room for a part of a page only, in the connection and in the outbox.
    let mut bob = rig.connect(512, 1024).await;
    bob.login("bob", "phone").await;
    bob.says("<presence/>").await;
    let mut heard = String::new();
    for _ in 0..25 {
        heard += &bob.hears("</message>").await;
    }
    bob.says("</stream:stream>").await;
    heard += &bob.hears_all().await;
    let first = numbers(&heard);
    assert_eq!(
        first,
        (0..first.len()).collect::<Vec<_>>(),
        "in order, each once"
    );
    rig.until_no_sessions().await;
    let mut bob = rig.login("bob", "phone").await;
    bob.says("<presence/>").await;
    let mut heard = String::new();
    for _ in first.len()..200 {
        heard += &bob.hears("</message>").await;
    }
    assert_eq!(
        numbers(&heard),
        (first.len()..200).collect::<Vec<_>>(),
        "the rest, each once"
    );
    rig.until("the queue is empty", |rig| rig.queue.numbers().is_empty())
        .await;
    rig.stop().await;
}

#[tokio::test]
async fn another_resource_goes_on_when_the_first_takes_no_more() {
    let rig = Rig::start().await.with_queue().await;
    rig.queue.fill(0..15);
    let mut phone = rig.login("bob", "phone").await;
    rig.queue.deleting.shut();
    phone.says("<presence/>").await;
    rig.until("the first page is written", |rig| {
        rig.queue.deleting.arrived() == 1
    })
    .await;
    let mut desk = rig.available("bob", "desk", 1).await;
    assert!(numbers(&desk.sync().await).is_empty(), "one at a time");
    // Negative: it does not want them any more. Heard once it is done with the page.
    phone
        .says("<presence><priority>-1</priority></presence>")
        .await;
    rig.until("the table shows it", |rig| {
        rig.queue.deleting.open();
        rig.entry("bob@a.example/phone")
            .and_then(|entry| entry.priority())
            == Some(-1)
    })
    .await;
    let mut heard = String::new();
    let mut left = rig.queue.numbers();
    rig.until("the queue is empty", |rig| rig.queue.numbers().is_empty())
        .await;
    for _ in 0..left.len() {
        heard += &desk.hears("</message>").await;
        if numbers(&heard).len() == left.len() {
            break;
        }
    }
    left.retain(|number| !numbers(&heard).contains(number));
    let phone = numbers(&phone.sync().await);
    assert!(
        left.iter().all(|number| phone.contains(number)),
        "{left:?} {phone:?}"
    );
    rig.stop().await;
}

#[tokio::test]
async fn a_flush_that_a_slow_client_holds_up_is_bounded() {
    let rig = Rig::start().await.with_queue().await;
    rig.queue.fill(0..10);
    let mut bob = rig.connect(64 * 1024, 16 * 1024).await;
    bob.login("bob", "phone").await;
    rig.queue.reading.shut();
    bob.says("<presence/>").await;
    rig.until("the queue is being read", |rig| {
        rig.queue.reading.arrived() == 1
    })
    .await;
    let mut alice = rig.login("alice", "desk").await;
    for number in 10..200 {
        alice.says(&chat("bob@a.example/phone", number)).await;
    }
    alice.sync().await;
    rig.queue.deleting.shut();
    rig.queue.reading.open();
    let heard = bob.hears_all().await;
    assert!(heard.contains("<resource-constraint "), "{heard}");
    rig.queue.deleting.open();
    rig.until("each was written or is kept, once", |rig| {
        let mut all = numbers(&heard);
        all.extend(rig.queue.numbers());
        all.sort_unstable();
        all == (0..200).collect::<Vec<_>>()
    })
    .await;
    rig.stop().await;
}

#[tokio::test]
async fn what_is_stored_late_is_not_overtaken_by_what_the_leaving_session_was_given() {
    let rig = Rig::start().await.with_queue().await;
    let leaving = Gate::default();
    let gate = leaving.clone();
    rig.hook(move |fold: UserSendPacket| {
        let gate = gate.clone();
        async move {
            let is_presence = fold.stanza.kind() == Kind::Presence;
            if is_presence && fold.stanza.presence_type() == PresenceType::Unavailable {
                gate.pass().await;
            }
            Flow::Next(fold)
        }
    })
    .await;
    let mut bob = rig.login("bob", "phone").await;
    let mut alice = rig.login("alice", "desk").await;
    let mut other = rig.login("alice", "tablet").await;
    rig.queue.storing.shut();
    alice.says(&chat("bob@a.example", 1)).await;
    rig.until("the first is being stored", |rig| {
        rig.queue.storing.arrived() == 1
    })
    .await;
    bob.says("<presence/>").await;
    other.says(&chat("bob@a.example", 0)).await;
    let heard = bob.hears("</message>").await;
    assert_eq!(numbers(&heard), [0], "live messages come");
    leaving.shut();
    bob.says("<presence type='unavailable'/>").await;
    rig.until("he is about to leave", |_| leaving.arrived() == 1)
        .await;
    rig.queue.storing.open();
    alice.says(&chat("bob@a.example", 2)).await;
    alice.sync().await;
    leaving.open();
    bob.says("<presence/>").await;
    let mut heard = bob.hears("</message>").await;
    heard += &bob.hears("</message>").await;
    assert_eq!(numbers(&heard), [1, 2]);
    rig.until("the queue is empty", |rig| rig.queue.numbers().is_empty())
        .await;
    rig.stop().await;
}

/// A queue of five messages that cannot be read so many times, bob who was told so once, and a sixth message to him.
async fn asked_in_vain(times: usize) -> (Rig, Client) {
    let rig = Rig::start().await.with_queue().await;
    rig.queue.fill(0..5);
    rig.queue.unreadable.set(times);
    let mut bob = rig.login("bob", "phone").await;
    let mut alice = rig.login("alice", "desk").await;
    bob.says("<presence/>").await;
    rig.until("it was asked for", |rig| {
        rig.queue.unreadable.left() == times - 1
    })
    .await;
    alice.says(&chat("bob@a.example/phone", 5)).await;
    alice.sync().await;
    (rig, bob)
}

async fn ask_until_none_is_left(rig: &Rig) {
    for left in (0..rig.queue.unreadable.left()).rev() {
        rig.hand.advance(Duration::from_secs(1)).await;
        rig.until("it was asked for again", |rig| {
            rig.queue.unreadable.left() == left
        })
        .await;
    }
}

#[tokio::test]
async fn a_queue_that_cannot_be_read_keeps_its_turn_and_is_read_again() {
    let (rig, mut bob) = asked_in_vain(3).await;
    assert!(numbers(&bob.sync().await).is_empty(), "it waits its turn");
    ask_until_none_is_left(&rig).await;
    rig.hand.advance(Duration::from_secs(1)).await;
    let mut heard = String::new();
    for _ in 0..6 {
        heard += &bob.hears("</message>").await;
    }
    assert_eq!(numbers(&heard), (0..6).collect::<Vec<_>>());
    rig.stop().await;
}

#[tokio::test]
async fn a_queue_that_is_never_read_does_not_keep_live_messages_for_ever() {
    let (rig, mut bob) = asked_in_vain(31).await;
    ask_until_none_is_left(&rig).await;
    let heard = bob.hears("</message>").await;
    assert_eq!(numbers(&heard), [5]);
    assert_eq!(rig.queue.numbers(), [0, 1, 2, 3, 4], "nothing is lost");
    rig.stop().await;
}
