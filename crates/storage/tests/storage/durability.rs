//! What an answer is worth when threads, processes and disks fail.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::stage::{Stage, alice, contact, crash_image, jid, message, put, start};
use futures_util::FutureExt;
use futures_util::future::join_all;
use otp::{Clock, System};
use storage::{
    Batch, Fault, FaultPoint, OfflineLimits, RosterItem, Storage, StorageError, StorageOptions,
    Stored,
};

/// Which of the numbered contacts are in the roster.
async fn contacts(storage: &Storage) -> BTreeSet<String> {
    let roster = storage.roster.get(&alice()).await.unwrap();
    roster
        .items
        .iter()
        .map(|item| item.jid.to_string())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_there_after_a_crash() {
    let stage = Stage::open().await;
    for number in 0..20 {
        stage
            .storage
            .commit(put(&alice(), RosterItem::new(contact(number))))
            .await
            .unwrap();
    }
    let image = crash_image(stage.folder.path());
    let system = System::new("after", Clock::real());
    let storage = Storage::open(image.path(), &system).unwrap();
    let processes = start(&storage, &system).await;
    assert_eq!(contacts(&storage).await.len(), 20);
    assert_eq!(storage.roster.version(&alice()).await, Ok(20));
    processes.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_fails_undoes_itself_alone() {
    let stage = Stage::open().await;
    let storage = &stage.storage;
    let impossible = RosterItem {
        groups: vec!["\u{1f}".into()],
        ..RosterItem::new(contact(99))
    };
    let mut half = put(&alice(), RosterItem::new(contact(2)));
    half.put_roster_item(&alice(), impossible);
    // Held back until all three wait, so that they share a transaction.
    let held = storage.fault(Fault::Hang, FaultPoint::BeforeBegin);
    let (first, second, third, ()) = tokio::join!(
        storage.commit(put(&alice(), RosterItem::new(contact(1)))),
        storage.commit(half),
        storage.commit(put(&alice(), RosterItem::new(contact(3)))),
        async { held.release() },
    );
    assert_eq!(first.unwrap().version(&alice()), Some(1));
    assert!(
        matches!(second, Err(StorageError::Invalid { .. })),
        "{second:?}"
    );
    assert_eq!(third.unwrap().version(&alice()), Some(2));
    let expected = [contact(1), contact(3)].map(|contact| contact.to_string());
    assert_eq!(contacts(storage).await, BTreeSet::from(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_writers_share_one_order_of_versions() {
    let stage = Stage::open().await;
    let writing: Vec<_> = (0..100)
        .map(|number| {
            let storage = stage.storage.clone();
            tokio::spawn(async move {
                let committed = storage
                    .commit(put(&alice(), RosterItem::new(contact(number))))
                    .await
                    .unwrap();
                (
                    committed.roster[0].version,
                    committed.roster[0].contact.clone(),
                )
            })
        })
        .collect();
    let mut told = Vec::new();
    for one in writing {
        told.push(one.await.unwrap());
    }
    told.sort();
    let versions: Vec<u64> = told.iter().map(|(version, _)| *version).collect();
    assert_eq!(versions, (1..=100).collect::<Vec<_>>());
    let changes = stage
        .storage
        .roster
        .changes_since(&alice(), 0)
        .await
        .unwrap()
        .unwrap();
    for (change, (version, contact)) in changes.iter().zip(told) {
        let storage::RosterChange::Put(item, at) = change else {
            panic!("{change:?}");
        };
        assert_eq!((*at, &item.jid), (version, &contact));
    }
    assert_eq!(changes.len(), 100);
}

/// How the writer is brought down, again and again.
#[derive(Clone, Copy, Debug)]
enum Blow {
    Kill,
    Panic,
    Thread(FaultPoint),
}

/// 1,000 numbered commits by 20 writers while the writer is brought down after every tenth answer.
async fn commits_under(blow: Blow) {
    const COMMITS: usize = 1000;
    let stage = Stage::open().await;
    let answered = Arc::new(AtomicUsize::new(0));
    let writing: Vec<_> = (0..20)
        .map(|writer| {
            let (storage, answered) = (stage.storage.clone(), Arc::clone(&answered));
            tokio::spawn(async move {
                let mut outcomes = Vec::new();
                for number in (writer..COMMITS).step_by(20) {
                    let outcome = storage
                        .commit(put(&alice(), RosterItem::new(contact(number))))
                        .await;
                    answered.fetch_add(1, Ordering::Relaxed);
                    outcomes.push((number, outcome));
                }
                outcomes
            })
        })
        .collect();
    let mut next = 10;
    let mut blows = 0;
    let mut pending_fault = None;
    while writing.iter().any(|writer| !writer.is_finished()) {
        if answered.load(Ordering::Relaxed) < next {
            tokio::task::yield_now().await;
            continue;
        }
        next += 10;
        blows += 1;
        match blow {
            Blow::Kill => stage.writer().await.kill(),
            Blow::Panic => stage.writer().await.fault(otp::Fault::Panic),
            Blow::Thread(at) => pending_fault = Some(stage.storage.fault(Fault::Panic, at)),
        }
    }
    drop(pending_fault);
    assert!(blows >= 10, "only {blows} blows fell");
    let stage = stage.reopen().await;
    let there = contacts(&stage.storage).await;
    let mut unknown = 0;
    for writer in writing {
        for (number, outcome) in writer.await.unwrap() {
            let is_there = there.contains(contact(number).as_str());
            match outcome {
                Ok(_) => assert!(is_there, "{number} was answered and is lost"),
                Err(StorageError::Unknown { .. }) => unknown += 1,
                Err(error) => assert!(!is_there, "{number} was applied in spite of {error}"),
            }
        }
    }
    assert!(unknown < COMMITS, "nothing was ever answered");
    assert_eq!(
        stage.storage.roster.version(&alice()).await,
        Ok(there.len() as u64)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_answered_is_lost_when_the_writer_is_killed() {
    commits_under(Blow::Kill).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_answered_is_lost_when_the_writer_panics() {
    commits_under(Blow::Panic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_answered_is_lost_when_the_thread_panics() {
    for at in [
        FaultPoint::BeforeBegin,
        FaultPoint::BeforeCommit,
        FaultPoint::AfterCommit,
    ] {
        commits_under(Blow::Thread(at)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_that_dies_is_replaced_and_what_waits_is_served() {
    let stage = Stage::open().await;
    let storage = &stage.storage;
    let writer = stage.writer().await;
    let _fault = storage.fault(Fault::Panic, FaultPoint::BeforeBegin);
    // Not begun when the thread died, so the next one serves it.
    storage
        .commit(put(&alice(), RosterItem::new(contact(1))))
        .await
        .unwrap();
    let why = writer.watch().await;
    assert!(
        matches!(&why, otp::ExitReason::Error(text) if text.contains("panicked")),
        "{why:?}"
    );
    let _fault = storage.fault(Fault::Panic, FaultPoint::BeforeCommit);
    let lost = storage
        .commit(put(&alice(), RosterItem::new(contact(2))))
        .await;
    assert!(
        matches!(lost, Err(StorageError::Unknown { .. })),
        "{lost:?}"
    );
    let _fault = storage.fault(Fault::Panic, FaultPoint::AfterCommit);
    let applied = storage
        .commit(put(&alice(), RosterItem::new(contact(3))))
        .await;
    assert!(applied.unwrap_err().may_have_been_applied());
    storage
        .commit(put(&alice(), RosterItem::new(contact(4))))
        .await
        .unwrap();
    let expected = [1, 3, 4].map(|number| contact(number).to_string());
    assert_eq!(contacts(storage).await, BTreeSet::from(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_that_hangs_is_replaced_and_cannot_change_the_past() {
    let options = StorageOptions {
        // So long that no turn of the clock's hand can use it up.
        deadline: Duration::from_secs(86_400),
        hang_after: Duration::from_secs(1),
        ..StorageOptions::default()
    };
    let stage = Stage::with(options).await;
    let storage = &stage.storage;
    let writer = stage.writer().await;
    let hung = storage.fault(Fault::Hang, FaultPoint::BeforeBegin);
    let name = |name: &str| RosterItem {
        name: Some(name.into()),
        ..RosterItem::new(contact(1))
    };
    let (first, ()) = tokio::join!(storage.commit(put(&alice(), name("first"))), async {
        hung.reached().await;
        stage.outlive(&writer).await;
    });
    first.unwrap();
    storage.commit(put(&alice(), name("second"))).await.unwrap();
    hung.release();
    storage
        .commit(put(&alice(), RosterItem::new(contact(2))))
        .await
        .unwrap();
    let item = storage
        .roster
        .item(&alice(), &contact(1))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(item.name.as_deref(), Some("second"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_hangs_is_answered_unknown_and_then_writing_goes_on() {
    let options = StorageOptions {
        deadline: Duration::from_secs(5),
        hang_after: Duration::from_secs(30),
        ..StorageOptions::default()
    };
    let stage = Stage::with(options).await;
    let storage = &stage.storage;
    let writer = stage.writer().await;
    let hung = storage.fault(Fault::Hang, FaultPoint::BeforeCommit);
    let (begun, ()) = tokio::join!(
        storage.commit(put(&alice(), RosterItem::new(contact(1)))),
        async {
            hung.reached().await;
            stage.hand.advance(Duration::from_secs(5)).await;
        }
    );
    assert!(
        matches!(begun, Err(StorageError::Unknown { .. })),
        "{begun:?}"
    );
    // Reading does not wait for writing.
    assert_eq!(contacts(storage).await.len(), 0);
    stage.outlive(&writer).await;
    let next = stage.writer().await;
    assert_ne!(next, writer);
    hung.release();
    storage
        .commit(put(&alice(), RosterItem::new(contact(2))))
        .await
        .unwrap();
    assert_eq!(
        contacts(storage).await.len(),
        2,
        "the hanging one was applied, as may be"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_nobody_waits_for_is_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, hand) = Clock::manual();
    let system = System::new("storage", clock);
    let storage = Storage::open(folder.path(), &system).unwrap();
    // Nobody serves the queue yet.
    let (late, ()) = tokio::join!(
        storage.commit(put(&alice(), RosterItem::new(contact(1)))),
        hand.advance(Duration::from_secs(5)),
    );
    let expected = StorageError::Timeout {
        what: "commit",
        after: Duration::from_secs(5),
    };
    assert_eq!(late, Err(expected));
    let mut dropped = Box::pin(storage.commit(put(&alice(), RosterItem::new(contact(2)))));
    assert!((&mut dropped).now_or_never().is_none());
    drop(dropped);
    let waiting = storage.commit(put(&alice(), RosterItem::new(contact(3))));
    let (served, processes) = tokio::join!(waiting, start(&storage, &system));
    assert_eq!(served.unwrap().version(&alice()), Some(1));
    assert_eq!(
        contacts(&storage).await,
        BTreeSet::from([contact(3).to_string()])
    );
    processes.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_told_at_once() {
    for options in [
        StorageOptions {
            queued_requests: 2,
            ..StorageOptions::default()
        },
        StorageOptions {
            queued_bytes: 2000,
            ..StorageOptions::default()
        },
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (clock, _hand) = Clock::manual();
        let system = System::new("storage", clock);
        let storage = Storage::open_with(folder.path(), &system, options).unwrap();
        let owner = alice();
        let big = || message(&system, &"x".repeat(700));
        let mut first = storage.offline.store(&owner, big(), OfflineLimits::NONE);
        let mut second = storage.offline.store(&owner, big(), OfflineLimits::NONE);
        assert!((&mut first).now_or_never().is_none());
        assert!((&mut second).now_or_never().is_none());
        let third = storage
            .offline
            .store(&owner, big(), OfflineLimits::NONE)
            .await;
        assert!(matches!(third, Err(StorageError::Busy { .. })), "{third:?}");
        let processes = start(&storage, &system).await;
        assert!(matches!(first.await, Ok(Stored::Yes(_))));
        assert!(matches!(second.await, Ok(Stored::Yes(_))));
        assert!(matches!(
            storage
                .offline
                .store(&owner, big(), OfflineLimits::NONE)
                .await,
            Ok(Stored::Yes(_))
        ));
        processes.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_are_killed_are_replaced() {
    let stage = Stage::open().await;
    stage
        .storage
        .commit(put(&alice(), RosterItem::new(contact(1))))
        .await
        .unwrap();
    let reading: Vec<_> = (0..10)
        .map(|_| {
            let storage = stage.storage.clone();
            tokio::spawn(async move {
                for _ in 0..100 {
                    // A thread finishes what it is at; what waits is read by its successors.
                    assert_eq!(contacts(&storage).await.len(), 1);
                }
            })
        })
        .collect();
    for _ in 0..10 {
        let readers = stage.child("storage_readers").await;
        readers.kill();
        readers.watch().await;
    }
    for one in reading {
        one.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_serves_what_waits_and_refuses_the_rest() {
    let stage = Stage::open().await;
    let storage = &stage.storage;
    let held = storage.fault(Fault::Hang, FaultPoint::BeforeBegin);
    let writes = join_all(
        (0..100).map(|number| storage.commit(put(&alice(), RosterItem::new(contact(number))))),
    );
    let (outcomes, (), ()) = tokio::join!(writes, stage.processes.stop(), async { held.release() });
    for outcome in outcomes {
        outcome.unwrap();
    }
    let late = storage
        .commit(put(&alice(), RosterItem::new(contact(100))))
        .await;
    assert!(matches!(late, Err(StorageError::Closed { .. })), "{late:?}");
    let read = storage.roster.get(&alice()).await;
    assert!(matches!(read, Err(StorageError::Closed { .. })), "{read:?}");
    let stage = stage.reopen().await;
    assert_eq!(contacts(&stage.storage).await.len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_room_is_used_again() {
    let options = StorageOptions {
        max_bytes: Some(1024 * 1024),
        ..StorageOptions::default()
    };
    let stage = Stage::with(options).await;
    let offline = stage.storage.offline.clone();
    let big = || message(&stage.system, &"x".repeat(50_000));
    let mut ids = Vec::new();
    let full = loop {
        match offline.store(&alice(), big(), OfflineLimits::NONE).await {
            Ok(Stored::Yes(id)) => ids.push(id),
            Ok(Stored::Full) => panic!("no limit was set"),
            Err(error) => break error,
        }
    };
    assert!(matches!(full, StorageError::Full { .. }), "{full:?}");
    assert!(ids.len() > 5);
    // Those that fit share a transaction with those that do not.
    let held = stage.storage.fault(Fault::Hang, FaultPoint::BeforeBegin);
    let (removed, refused, small, ()) = tokio::join!(
        offline.remove(&ALICE, &ids[..1]),
        async { stage.storage.commit(three(&big())).await },
        stage
            .storage
            .commit(put(&alice(), RosterItem::new(contact(1)))),
        async { held.release() },
    );
    assert_eq!(removed, Ok(1));
    assert!(
        matches!(refused, Err(StorageError::Full { .. })),
        "{refused:?}"
    );
    assert_eq!(small.unwrap().version(&alice()), Some(1));
    let stored = offline
        .store(
            &alice(),
            message(&stage.system, &"x".repeat(10_000)),
            OfflineLimits::NONE,
        )
        .await;
    assert!(matches!(stored, Ok(Stored::Yes(_))), "{stored:?}");
    assert_eq!(offline.count(&alice()).await, Ok(ids.len() as u64));
}

static ALICE: std::sync::LazyLock<xmpp::BareJid> = std::sync::LazyLock::new(alice);

/// Three times what one removal makes room for.
fn three(message: &storage::OfflineMessage) -> Batch {
    let mut batch = Batch::new();
    for _ in 0..3 {
        batch.store_offline(&ALICE, message.clone(), OfflineLimits::NONE);
    }
    batch
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_one_moment_and_can_be_restored() {
    let stage = Stage::open().await;
    let storage = &stage.storage;
    storage.accounts.create(&alice(), vec![]).await.unwrap();
    storage
        .commit(put(&alice(), RosterItem::new(contact(1))))
        .await
        .unwrap();
    let folder = stage.folder.path().join("backups/today");
    let file = storage.backup(&folder).await.unwrap();
    assert_eq!(file, folder.join("natter.db"));

    storage
        .commit(put(&alice(), RosterItem::new(contact(2))))
        .await
        .unwrap();
    storage
        .accounts
        .create(&jid("bob@a.example"), vec![])
        .await
        .unwrap();
    let saved = storage.restore(&folder).await.unwrap();
    assert!(saved.is_file(), "{saved:?}");
    assert_eq!(
        contacts(storage).await,
        BTreeSet::from([contact(1).to_string()])
    );
    assert_eq!(storage.accounts.count("a.example").await, Ok(1));
    // Writing goes on, and what is restored stays.
    storage
        .commit(put(&alice(), RosterItem::new(contact(3))))
        .await
        .unwrap();
    let stage = stage.reopen().await;
    assert_eq!(contacts(&stage.storage).await.len(), 2);
    let left: Vec<_> = std::fs::read_dir(stage.folder.path())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("partial"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_is_whole() {
    let stage = Stage::open().await;
    let storage = stage.storage.clone();
    let writing = tokio::spawn(async move {
        for number in 0..300 {
            let mut batch = put(&alice(), RosterItem::new(contact(number)));
            batch.put_roster_item(&jid("bob@a.example"), RosterItem::new(contact(number)));
            storage.commit(batch).await.unwrap();
        }
    });
    let folder = stage.folder.path().join("backup");
    let mut backups = 0;
    while !writing.is_finished() || backups == 0 {
        stage.storage.backup(&folder).await.unwrap();
        backups += 1;
    }
    writing.await.unwrap();
    let system = System::new("copy", Clock::real());
    let copy = Storage::open(&folder, &system).unwrap();
    let processes = start(&copy, &system).await;
    let one = copy.roster.version(&alice()).await.unwrap();
    let other = copy.roster.version(&jid("bob@a.example")).await.unwrap();
    assert_eq!(one, other, "both halves of each batch or none");
    processes.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_none_changes_nothing() {
    let stage = Stage::open().await;
    let storage = &stage.storage;
    storage
        .commit(put(&alice(), RosterItem::new(contact(1))))
        .await
        .unwrap();
    let folder = stage.folder.path().join("backup");
    let missing = storage.restore(&folder).await;
    assert!(
        matches!(missing, Err(StorageError::Open { .. })),
        "{missing:?}"
    );
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(
        folder.join("natter.db"),
        "no database, but of some length ".repeat(100),
    )
    .unwrap();
    let damaged = storage.restore(&folder).await;
    assert!(
        matches!(damaged, Err(StorageError::Corrupt { .. })),
        "{damaged:?}"
    );
    assert_eq!(contacts(storage).await.len(), 1);
}
