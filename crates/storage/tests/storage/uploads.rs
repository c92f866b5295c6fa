//! Uploads: slots within what an account may have, files that end, gone with their account.

use std::time::{Duration, SystemTime};

use storage::{Reserved, Upload, UploadLimits};

use crate::stage::{Stage, alice, jid};

const HOST: &str = "a.example";

const LIMITS: UploadLimits = UploadLimits {
    bytes: 100,
    daily: 60,
    files: 3,
};

const HOUR: Duration = Duration::from_secs(3600);

fn slot(at: SystemTime, id: &str, size: u64) -> Upload {
    Upload {
        id: id.to_owned(),
        owner: alice(),
        name: "très cool.jpg".to_owned(),
        media: "image/jpeg".to_owned(),
        size,
        created: at,
        deadline: at + Duration::from_secs(300),
        stored: None,
        expires: at + HOUR * 48,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_is_filled_once() {
    let stage = Stage::open().await;
    let store = stage.storage.uploads.clone();
    let now = stage.system.clock().wall();
    let one = slot(now, "one", 10);
    assert_eq!(store.reserve(one.clone(), LIMITS).await, Ok(Reserved::Yes));
    assert_eq!(store.find("one").await, Ok(Some(one.clone())));
    assert_eq!(store.find("none").await, Ok(None));
    assert_eq!(store.stored("none", now).await, Ok(false));
    assert_eq!(store.stored("one", now).await, Ok(true));
    assert_eq!(store.stored("one", now).await, Ok(false));
    let full = Upload {
        stored: Some(now),
        ..one
    };
    assert_eq!(store.find("one").await, Ok(Some(full.clone())));
    let stage = stage.reopen().await;
    let store = stage.storage.uploads.clone();
    assert_eq!(store.list(HOST, None, None, 9).await, Ok(vec![full]));
    assert_eq!(store.list(HOST, None, Some("one"), 9).await, Ok(vec![]));
    assert_eq!(store.list("b.example", None, None, 9).await, Ok(vec![]));
    let ids = vec!["one".to_owned(), "two".to_owned()];
    assert_eq!(store.unknown(ids.clone()).await, Ok(vec!["two".to_owned()]));
    assert_eq!(store.remove("b.example", ids.clone()).await, Ok(0));
    assert_eq!(store.remove(HOST, ids).await, Ok(1));
    assert_eq!(store.find("one").await, Ok(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_account_may_have_is_told_with_the_time_when_there_is_room() {
    let stage = Stage::open().await;
    let store = stage.storage.uploads.clone();
    let now = stage.system.clock().wall();
    let reserve = async |at: SystemTime, id: &str, size: u64| {
        let asked = store.reserve(slot(at, id, size), LIMITS).await;
        asked.expect("the store answers")
    };
    assert_eq!(reserve(now, "big", 61).await, Reserved::Full(None));
    assert_eq!(reserve(now, "a", 50).await, Reserved::Yes);
    store.stored("a", now).await.unwrap();
    let tomorrow = now + HOUR * 24;
    assert_eq!(reserve(now, "b", 11).await, Reserved::Full(Some(tomorrow)));
    let next = tomorrow + Duration::from_secs(1);
    assert_eq!(reserve(next, "c", 45).await, Reserved::Yes);
    store.stored("c", next).await.unwrap();
    let first_ends = Reserved::Full(Some(now + HOUR * 48));
    assert_eq!(reserve(next, "d", 10).await, first_ends);
    assert_eq!(reserve(next, "e", 1).await, Reserved::Yes);
    let slot_lapses = Reserved::Full(Some(next + Duration::from_secs(300)));
    assert_eq!(reserve(next, "f", 1).await, slot_lapses, "three files");
    let lapsed = next + Duration::from_secs(300);
    assert_eq!(reserve(lapsed, "f", 1).await, Reserved::Yes);

    let over = async |by| {
        let over = store.over(HOST, by, 9).await.expect("the store answers");
        let mut ids: Vec<String> = over.into_iter().map(|upload| upload.id).collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(over(next).await, Vec::<String>::new());
    assert_eq!(over(lapsed).await, ["e"]);
    assert_eq!(over(now + HOUR * 48).await, ["a", "e", "f"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_go_with_their_account() {
    let stage = Stage::open().await;
    let (accounts, store) = (&stage.storage.accounts, &stage.storage.uploads);
    let bob = jid("bob@a.example");
    let now = stage.system.clock().wall();
    for (account, id) in [(&alice(), "hers"), (&bob, "his")] {
        accounts.create(account, vec![]).await.unwrap();
        let owner = account.clone();
        let slot = Upload {
            owner,
            ..slot(now, id, 10)
        };
        assert_eq!(store.reserve(slot, LIMITS).await, Ok(Reserved::Yes));
    }
    let hers = store.list(HOST, Some(&alice()), None, 9).await.unwrap();
    assert_eq!(hers.len(), 1);
    assert_eq!(accounts.remove(&alice()).await, Ok(true));
    let left = store.list(HOST, None, None, 9).await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].id, "his");
    let late = store.reserve(slot(now, "late", 10), LIMITS).await;
    assert!(late.is_err(), "nothing is kept for a removed account");
}
