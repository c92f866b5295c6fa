//! What is known without reading is what a read would find: whatever was read before, and while others read, an
//! answered write is seen by all that is asked after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use otp::System;
use storage::{
    Batch, IfThere, OfflineLimits, PrivacyAction, PrivacyItem, PrivacyKinds, PrivacyList,
    PrivacyLists, PrivacyWho, RosterItem, Storage,
};
use xmpp::BareJid;

use crate::stage::{Stage, jid, message, put};

/// Changes of each kind that are looked at while others read.
const ROUNDS: usize = 60;

/// All that can be known of an account, once.
async fn read(storage: &Storage, account: &BareJid) -> String {
    let exists = storage.accounts.exists(account).await.unwrap();
    let lists = storage.privacy.get(account).await.unwrap().lists.len();
    let requests = storage.roster.pending(account).await.unwrap().len();
    let offline = storage.offline.page(account, None, 9).await.unwrap().len();
    let shared = storage.groups.contacts(account, None).await.unwrap().len();
    let roster = storage.roster.get(account).await.unwrap();
    let roster = (roster.version, roster.items.len());
    format!("{exists} {lists} {requests} {offline} {shared} {roster:?}")
}

fn one_list() -> PrivacyLists {
    let rule = PrivacyItem {
        order: 1,
        who: PrivacyWho::Everyone,
        action: PrivacyAction::Deny,
        kinds: PrivacyKinds::default(),
    };
    let list = PrivacyList {
        name: "foes".to_owned(),
        items: vec![rule],
    };
    PrivacyLists {
        default: None,
        lists: vec![list],
    }
}

/// Goes through every change there is, and looks after each.
async fn live(storage: &Storage, system: &System, account: &BareJid) {
    let friend = jid("friend@b.example");
    let host = account.domain().to_string();
    let mut version = 0;
    for _ in 0..ROUNDS {
        let seen = async |what: &str| assert_eq!(read(storage, account).await, what);
        assert!(storage.accounts.create(account, vec![]).await.unwrap());
        // A name that was used before goes on counting its roster's versions.
        let start = storage.roster.get(account).await.unwrap().version;
        assert!(start >= version);
        version = start;
        seen(&format!("true 0 0 0 0 {:?}", (version, 0))).await;

        storage.privacy.put(account, one_list()).await.unwrap();
        seen(&format!("true 1 0 0 0 {:?}", (version, 0))).await;
        let none = PrivacyLists::default();
        storage.privacy.put(account, none).await.unwrap();
        seen(&format!("true 0 0 0 0 {:?}", (version, 0))).await;

        let asks = RosterItem {
            pending_in: Some("<presence type='subscribe'/>".to_owned()),
            listed: false,
            ..RosterItem::new(friend.clone())
        };
        storage.commit(put(account, asks)).await.unwrap();
        seen(&format!("true 0 1 0 0 {:?}", (version, 0))).await;
        let listed = put(account, RosterItem::new(friend.clone()));
        storage.commit(listed).await.unwrap();
        version += 1;
        seen(&format!("true 0 0 0 0 {:?}", (version, 1))).await;
        let mut batch = Batch::new();
        batch.remove_roster_item(account, &friend);
        storage.commit(batch).await.unwrap();
        version += 1;
        seen(&format!("true 0 0 0 0 {:?}", (version, 0))).await;

        let limits = OfflineLimits::NONE;
        let (alone, together) = (message(system, "alone"), message(system, "together"));
        storage.offline.store(account, alone, limits).await.unwrap();
        seen(&format!("true 0 0 1 0 {:?}", (version, 0))).await;
        storage.offline.clear(account).await.unwrap();
        seen(&format!("true 0 0 0 0 {:?}", (version, 0))).await;
        let mut batch = Batch::new();
        batch.store_offline(account, together, limits);
        storage.commit(batch).await.unwrap();
        seen(&format!("true 0 0 1 0 {:?}", (version, 0))).await;

        let other = BareJid::new(&format!("other@{host}")).unwrap();
        let groups = &storage.groups;
        let displays = vec!["all".to_owned()];
        groups.put(&host, "all", "All", displays).await.unwrap();
        assert!(groups.add("all", account).await.unwrap());
        assert!(groups.add("all", &other).await.unwrap());
        seen(&format!("true 0 0 1 1 {:?}", (version, 0))).await;
        assert!(groups.remove(&host, "all").await.unwrap());
        seen(&format!("true 0 0 1 0 {:?}", (version, 0))).await;

        assert!(storage.accounts.remove(account).await.unwrap());
        let gone = read(storage, account).await;
        assert!(gone.starts_with("false 0 0 0 0 "), "{gone}");
        assert!(storage.accounts.release(account).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_answered_write_is_seen_whoever_reads_meanwhile() {
    let stage = Stage::open().await;
    let accounts = ["a@one.example", "a@two.example"].map(jid);
    let done = Arc::new(AtomicBool::new(false));
    let readers = accounts.clone().map(|account| {
        let (storage, done) = (stage.storage.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            while !done.load(Ordering::Relaxed) {
                read(&storage, &account).await;
            }
        })
    });
    let writers = accounts.map(|account| {
        let (storage, system) = (stage.storage.clone(), stage.system.clone());
        tokio::spawn(async move { live(&storage, &system, &account).await })
    });
    for writer in writers {
        writer.await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_restored_or_brought_is_seen() {
    let stage = Stage::open().await;
    let storage = &stage.storage;
    let alice = jid("alice@a.example");
    storage.accounts.create(&alice, vec![]).await.unwrap();
    storage.privacy.put(&alice, one_list()).await.unwrap();
    let (limits, kept) = (OfflineLimits::NONE, message(&stage.system, "kept"));
    storage.offline.store(&alice, kept, limits).await.unwrap();
    let before = read(storage, &alice).await;
    let whole = storage.whole(&alice).await.unwrap().unwrap();
    let folder = stage.folder.path().join("backup");
    storage.backup(&folder).await.unwrap();

    assert!(storage.accounts.remove(&alice).await.unwrap());
    let gone = read(storage, &alice).await;
    storage.restore(&folder).await.unwrap();
    assert_eq!(read(storage, &alice).await, before);

    assert!(storage.accounts.remove(&alice).await.unwrap());
    assert_eq!(read(storage, &alice).await, gone);
    assert!(storage.accounts.release(&alice).await.unwrap());
    storage.bring(whole, IfThere::Keep).await.unwrap();
    // A name that was used before goes on counting its roster's versions.
    assert_eq!(
        read(storage, &alice).await,
        before.replace("(0, 0)", "(1, 0)")
    );
}
