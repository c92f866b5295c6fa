//! Rooms and archives: what was written is there, in its order, after a fall as well.

use std::time::{Duration, SystemTime};

use crate::stage::{Stage, alice, crash_image, jid};
use storage::{
    Affiliated, Affiliation, ArchiveFilter, ArchiveMessage, ArchivePlace, Batch, RoomFace, Storage,
    StorageError, StoredRoom,
};
use xmpp::{BareJid, Jid};

const SERVICE: &str = "conference.a.example";

fn room(name: &str, public: bool, persistent: bool) -> StoredRoom {
    StoredRoom {
        service: SERVICE.to_owned(),
        face: RoomFace {
            name: name.to_owned(),
            title: format!("The {name}"),
            description: String::new(),
            language: "en".to_owned(),
            public,
            persistent,
            open: true,
            nonanonymous: false,
            used: at(10),
        },
        config: "<x/>".to_owned(),
        subject: None,
        created: at(5),
        version: 0,
        affiliations: Vec::new(),
    }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn address(name: &str) -> BareJid {
    jid(&format!("{name}@{SERVICE}"))
}

fn affiliated(who: BareJid, affiliation: Affiliation, version: i64) -> Affiliated {
    Affiliated {
        jid: who,
        affiliation,
        nick: Some(format!("nick{version}")),
        reason: None,
        version,
    }
}

fn message(number: u64, peer: &str, is_history: bool) -> ArchiveMessage {
    ArchiveMessage {
        id: format!("id{number}"),
        at: at(number * 10),
        peer: Jid::new(peer).expect("an address"),
        is_history,
        stanza: format!("<message id='{number}'/>"),
    }
}

async fn put(storage: &Storage, rooms: Vec<StoredRoom>) {
    let mut batch = Batch::new();
    for room in rooms {
        batch.put_room(room);
    }
    storage.commit(batch).await.expect("stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_is_read_as_it_was_written() {
    let stage = Stage::open().await;
    let storage = &stage.storage;
    let cave = address("cave");
    assert_eq!(storage.rooms.get(&cave).await, Ok(None));
    let mut batch = Batch::new();
    batch.put_room(room("cave", true, true));
    batch.set_affiliation(&cave, affiliated(alice(), Affiliation::Owner, 1));
    batch.set_affiliation(
        &cave,
        affiliated(jid("evil.example"), Affiliation::Outcast, 2),
    );
    batch.set_subject(&cave, Some("<message/>".to_owned()));
    batch.set_vcard(&cave, Some("<vCard/>".to_owned()));
    storage.commit(batch).await.expect("stored");
    let found = storage
        .rooms
        .get(&cave)
        .await
        .expect("read")
        .expect("there");
    assert_eq!(
        found,
        StoredRoom {
            subject: Some("<message/>".to_owned()),
            version: 2,
            affiliations: vec![
                affiliated(alice(), Affiliation::Owner, 1),
                affiliated(jid("evil.example"), Affiliation::Outcast, 2)
            ],
            ..room("cave", true, true)
        }
    );
    assert_eq!(
        storage.rooms.vcard(&cave).await,
        Ok(Some("<vCard/>".to_owned()))
    );
    // Configured anew, it keeps what is set one by one.
    put(
        storage,
        vec![StoredRoom {
            config: "<y/>".to_owned(),
            version: 2,
            ..room("cave", false, true)
        }],
    )
    .await;
    let again = storage
        .rooms
        .get(&cave)
        .await
        .expect("read")
        .expect("there");
    assert_eq!(
        (again.config.as_str(), again.subject.as_deref()),
        ("<y/>", Some("<message/>"))
    );
    assert_eq!(again.affiliations.len(), 2);
    // What it knew of somebody stays as a mark, and counts no more.
    let mut batch = Batch::new();
    batch.set_affiliation(&cave, affiliated(alice(), Affiliation::None, 3));
    storage.commit(batch).await.expect("stored");
    assert_eq!(
        storage.rooms.of_user(SERVICE, &alice()).await,
        Ok(Vec::new())
    );
    let found = storage
        .rooms
        .get(&cave)
        .await
        .expect("read")
        .expect("there");
    assert_eq!((found.version, found.affiliations.len()), (3, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_are_listed_in_pages_and_by_use() {
    let stage = Stage::open().await;
    let storage = &stage.storage;
    put(
        storage,
        vec![
            room("bear", true, true),
            room("ape", true, false),
            room("dog", true, true),
            room("cat", false, true),
        ],
    )
    .await;
    let list = async |public, after, limit| {
        let faces = storage.rooms.list(SERVICE, public, after, limit).await;
        let names = faces.expect("read").into_iter().map(|face| face.name);
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(list(true, None, 10).await, "ape bear dog");
    assert_eq!(list(true, Some("ape"), 1).await, "bear");
    assert_eq!(list(false, None, 10).await, "ape bear cat dog");
    let count = storage.rooms.count(SERVICE, true, Some("dog")).await;
    assert_eq!(count, Ok((3, 2)));
    assert_eq!(
        storage.rooms.temporary(SERVICE).await,
        Ok(vec!["ape".to_owned()])
    );
    storage
        .rooms
        .touch(&address("bear"), at(100))
        .await
        .expect("noted");
    let unused = storage.rooms.unused(SERVICE, at(50)).await.expect("read");
    let names: Vec<String> = unused.into_iter().map(|face| face.name).collect();
    assert_eq!(names, ["ape", "cat", "dog"]);
    assert!(
        storage
            .rooms
            .list("other.example", false, None, 10)
            .await
            .expect("read")
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_goes_with_all_that_hangs_on_it() {
    let stage = Stage::open().await;
    let storage = &stage.storage;
    let (cave, den) = (address("cave"), address("den"));
    for (name, address) in [("cave", &cave), ("den", &den)] {
        let mut batch = Batch::new();
        batch.put_room(room(name, true, true));
        batch.set_affiliation(address, affiliated(alice(), Affiliation::Owner, 1));
        batch.archive(address, message(1, "alice@a.example", true));
        storage.commit(batch).await.expect("stored");
    }
    let mut batch = Batch::new();
    batch.remove_room(&cave);
    storage.commit(batch).await.expect("removed");
    assert_eq!(storage.rooms.get(&cave).await, Ok(None));
    assert_eq!(storage.archive.count(&cave).await, Ok(0));
    assert_eq!(storage.archive.count(&den).await, Ok(1));
    let of = storage.rooms.of_user(SERVICE, &alice()).await;
    assert_eq!(of, Ok(vec![("den".to_owned(), Affiliation::Owner)]));
    // Nothing is left of an account that is removed.
    storage
        .accounts
        .create(&alice(), Vec::new())
        .await
        .expect("created");
    storage.accounts.remove(&alice()).await.expect("removed");
    assert_eq!(
        storage.rooms.of_user(SERVICE, &alice()).await,
        Ok(Vec::new())
    );
    // Nor does it get an archive any more.
    let mut batch = Batch::new();
    batch.archive(&alice(), message(2, "bob@a.example", false));
    let refused = storage.commit(batch).await;
    assert!(
        matches!(refused, Err(StorageError::Invalid { .. })),
        "{refused:?}"
    );
}

async fn ids(
    storage: &Storage,
    filter: ArchiveFilter,
    place: ArchivePlace,
    limit: usize,
) -> String {
    let page = storage
        .archive
        .page(&address("cave"), filter, place, limit)
        .await;
    match page.expect("read") {
        None => "none".to_owned(),
        Some(page) => {
            let ids: Vec<&str> = page.messages.iter().map(|m| m.id.as_str()).collect();
            let end = if page.complete { "." } else { "…" };
            format!("{}/{} {}{end}", page.index, page.count, ids.join(" "))
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_read_in_pages() {
    let stage = Stage::open().await;
    let storage = &stage.storage;
    let mut batch = Batch::new();
    for number in 1..=5 {
        let peer = if number % 2 == 0 {
            "bob@b.example/x"
        } else {
            "alice@a.example/y"
        };
        batch.archive(&address("cave"), message(number, peer, number != 3));
    }
    batch.archive(&address("den"), message(6, "bob@b.example", true));
    storage.commit(batch).await.expect("stored");
    use ArchivePlace::{After, Before, First, Index, Last};
    let all = ArchiveFilter::default;
    let id = |id: &str| id.to_owned();
    assert_eq!(
        ids(storage, all(), First, 10).await,
        "0/5 id1 id2 id3 id4 id5."
    );
    assert_eq!(ids(storage, all(), First, 2).await, "0/5 id1 id2…");
    assert_eq!(
        ids(storage, all(), After(id("id2")), 2).await,
        "2/5 id3 id4…"
    );
    assert_eq!(ids(storage, all(), After(id("id4")), 2).await, "4/5 id5.");
    assert_eq!(ids(storage, all(), After(id("id5")), 2).await, "0/5 .");
    assert_eq!(ids(storage, all(), Last, 2).await, "3/5 id4 id5…");
    assert_eq!(
        ids(storage, all(), Before(id("id3")), 2).await,
        "0/5 id1 id2."
    );
    assert_eq!(ids(storage, all(), Index(3), 9).await, "3/5 id4 id5.");
    assert_eq!(ids(storage, all(), First, 0).await, "0/5 …");
    assert_eq!(ids(storage, all(), After(id("id6")), 2).await, "none");
    let with = |jid: &str| ArchiveFilter {
        with: Jid::new(jid).ok(),
        ..all()
    };
    assert_eq!(
        ids(storage, with("bob@b.example"), First, 9).await,
        "0/2 id2 id4."
    );
    assert_eq!(
        ids(storage, with("alice@a.example/y"), Last, 1).await,
        "2/3 id5…"
    );
    assert_eq!(
        ids(storage, with("alice@a.example/z"), First, 9).await,
        "0/0 ."
    );
    let between = ArchiveFilter {
        start: Some(at(20)),
        end: Some(at(40)),
        ..all()
    };
    assert_eq!(ids(storage, between, First, 9).await, "0/3 id2 id3 id4.");
    let inside = ArchiveFilter {
        after_id: Some(id("id1")),
        before_id: Some(id("id4")),
        ..all()
    };
    assert_eq!(ids(storage, inside, First, 9).await, "0/2 id2 id3.");
    let some = ArchiveFilter {
        ids: vec![id("id5"), id("id1")],
        ..all()
    };
    assert_eq!(ids(storage, some, First, 9).await, "0/2 id1 id5.");
    let wrong = ArchiveFilter {
        ids: vec![id("id5"), id("x")],
        ..all()
    };
    assert_eq!(ids(storage, wrong, First, 9).await, "none");
    let ends = storage.archive.ends(&address("cave")).await;
    assert_eq!(ends, Ok(Some([(id("id1"), at(10)), (id("id5"), at(50))])));
    assert_eq!(storage.archive.ends(&address("empty")).await, Ok(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn history_forgets_what_is_taken_back_and_what_is_old() {
    let stage = Stage::open().await;
    let storage = &stage.storage;
    let cave = address("cave");
    let mut batch = Batch::new();
    for number in 1..=5 {
        batch.archive(&cave, message(number, "alice@a.example", number != 3));
    }
    batch.replace_archived(
        &cave,
        "id4",
        "<message id='4'><retracted/></message>".to_owned(),
    );
    storage.commit(batch).await.expect("stored");
    let history = async |limit| {
        let past = storage.archive.history(&cave, limit).await.expect("read");
        past.into_iter().map(|m| m.id).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(history(10).await, "id1 id2 id5");
    assert_eq!(history(2).await, "id2 id5");
    let stone = storage
        .archive
        .get(&cave, "id4")
        .await
        .expect("read")
        .expect("there");
    assert!(stone.stanza.contains("retracted"));
    assert_eq!(storage.archive.get(&cave, "x").await, Ok(None));
    let mut batch = Batch::new();
    batch.trim_archive(&cave, 2);
    storage.commit(batch).await.expect("trimmed");
    assert_eq!(
        ids(storage, ArchiveFilter::default(), ArchivePlace::First, 9).await,
        "0/2 id4 id5."
    );
    assert_eq!(storage.archive.remove_older(SERVICE, at(45)).await, Ok(1));
    assert_eq!(storage.archive.count(&cave).await, Ok(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_outlives_a_fall() {
    let stage = Stage::open().await;
    let cave = address("cave");
    let mut batch = Batch::new();
    batch.put_room(room("cave", true, true));
    batch.archive(&cave, message(1, "alice@a.example", true));
    stage.storage.commit(batch).await.expect("stored");
    // As the disk is at this moment, with nothing closed.
    let image = crash_image(stage.folder.path());
    let storage = Storage::open(image.path(), &stage.system).expect("opens");
    let _running = crate::stage::start(&storage, &stage.system).await;
    assert!(storage.rooms.get(&cave).await.expect("read").is_some());
    assert_eq!(storage.archive.count(&cave).await, Ok(1));
}
