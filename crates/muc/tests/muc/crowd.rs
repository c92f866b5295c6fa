//! Many: in one room, and of rooms.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use storage::{Batch, RoomFace, StoredRoom};
use xmpp::Kind;

use crate::rig::{ROOM, Rig};

/// As many as a room takes unless it is told otherwise.
const CROWD: usize = 5000;

/// How many deliveries a room makes before it hears again, and what the last of them may have beside it.
const SLICE: u64 = 256 + 2;

fn guest(number: usize) -> String {
    format!("u{number}@b.example/x")
}

async fn fill(rig: &mut Rig, from: usize, to: usize) {
    for number in from..to {
        rig.enter(&guest(number), &format!("n{number}")).await;
        // As many as a mailbox holds, and no more.
        if number % 200 == 199 {
            rig.settle().await;
        }
    }
    rig.settle().await;
}

/// A join costs as many deliveries as there are people, and nothing that grows faster.
#[tokio::test(flavor = "multi_thread")]
async fn a_join_costs_its_presences_and_no_more() {
    let mut rig = Rig::start(&[]).await;
    rig.command(&["create_room", "coven", "a.example"])
        .await
        .expect("created");
    let mut before = rig.crowd.deliveries();
    for number in 0..150 {
        rig.enter(&guest(number), &format!("n{number}")).await;
        rig.settle().await;
        let now = rig.crowd.deliveries();
        // Each of the others: shown to it, and it to them. Itself, the subject, the answer to the probe.
        assert_eq!(now - before, 2 * number as u64 + 3, "join {number}");
        before = now;
    }
    rig.stop().await;
}

/// A crowd in a room: all hear what is said, in order, and the room hears others meanwhile: it never makes more
/// deliveries in a row than one slice.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_hears_everything_and_the_room_stays_awake() {
    let mut rig = Rig::start(&[]).await;
    // Only moderators are shown: a test of what is said, not of two million presences.
    rig.command(&[
        "create_room",
        "coven",
        "a.example",
        "presencebroadcast=moderator",
    ])
    .await
    .expect("created");
    fill(&mut rig, 0, CROWD).await;
    for number in 0..CROWD {
        rig.crowd.take(&guest(number));
    }
    let room = rig.process("room", ROOM).expect("it is open");
    let (system, id) = (rig.host.system.clone(), room.id());
    // Deliveries by how many messages the room had handled when it made them.
    let slices: Arc<Mutex<BTreeMap<u64, u64>>> = Arc::default();
    let counting = Arc::clone(&slices);
    rig.crowd.look(move || {
        let handled = Rig::handled(&system, id);
        *counting.lock().entry(handled).or_default() += 1;
    });
    let before = rig.crowd.deliveries();
    for text in ["one", "two", "three"] {
        rig.send(&format!(
            "<message type='groupchat' id='{text}' from='{}' to='{ROOM}'><body>{text}</body></message>",
            guest(0)
        ))
        .await;
    }
    rig.settle().await;
    assert_eq!(rig.crowd.deliveries() - before, 3 * CROWD as u64 + 1);
    let slices = std::mem::take(&mut *slices.lock());
    let most = slices.values().max().copied().unwrap_or_default();
    assert!(most <= SLICE, "{most} deliveries in one go: {slices:?}");
    assert!(
        slices.len() as u64 >= 3 * CROWD as u64 / SLICE,
        "{slices:?}"
    );
    for number in 0..CROWD {
        let heard = rig.crowd.take(&guest(number));
        let ids: Vec<&str> = heard.iter().filter_map(xmpp::Stanza::id).collect();
        assert_eq!(ids, ["one", "two", "three"], "{}", guest(number));
        assert!(heard.iter().all(|stanza| stanza.kind() == Kind::Message));
        assert!(
            heard
                .iter()
                .all(|s| s.to().is_some_and(|to| to.as_str() == guest(number)))
        );
    }
    rig.stop().await;
}

/// 25,000 stored rooms: none is opened at the start, each is there when it is wanted.
#[tokio::test(flavor = "multi_thread")]
async fn stored_rooms_cost_nothing_until_they_are_wanted() {
    let mut rig = Rig::start(&[]).await;
    let at = rig.host.clock.wall();
    for page in 0..25 {
        let mut batch = Batch::new();
        for number in page * 1000..(page + 1) * 1000 {
            batch.put_room(StoredRoom {
                service: "conference.a.example".into(),
                face: RoomFace {
                    name: format!("r{number:05}"),
                    title: String::new(),
                    description: String::new(),
                    language: String::new(),
                    public: true,
                    persistent: true,
                    open: true,
                    nonanonymous: false,
                    used: at,
                },
                config: "<x xmlns='jabber:x:data' type='submit'/>".into(),
                subject: None,
                created: at,
                version: 0,
                affiliations: Vec::new(),
            });
        }
        rig.storage.commit(batch).await.expect("stored");
    }
    // The service begins anew, and reads none of them.
    let module = rig.process("module", "").expect("it runs");
    module.kill();
    module.watch().await;
    rig.restarted("module", &module).await;
    assert!(rig.process("room", "").is_none());
    rig.send(
        "<iq type='get' id='i' from='alice@a.example/x' to='r12345@conference.a.example'>\
         <query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
    )
    .await;
    rig.until("it answers", |rig| {
        let heard = rig.crowd.take("alice@a.example/x");
        heard
            .iter()
            .any(|stanza| stanza.id() == Some("i") && !stanza.is_error())
    })
    .await;
    rig.settle().await;
    rig.stop().await;
}
