//! A backup under load, restored elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::UNIX_EPOCH;

use storage::{OfflineLimits, OfflineMessage};

use crate::house::House;
use crate::peer::Peer;

fn numbered(number: usize) -> OfflineMessage {
    OfflineMessage {
        stanza: format!("<message xmlns='jabber:client' id='{number}'/>"),
        received: UNIX_EPOCH,
        expires: None,
        place: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_is_one_moment_and_is_restored_elsewhere() {
    let old = House::start("").await;
    old.done("register alice a.example secret").await;
    old.done("register bob a.example secret").await;
    old.done("module_start a.example mod_echo").await;
    old.done("motd_set a.example Hello").await;
    let bob = xmpp::parse_bare("bob@a.example").expect("an address");
    let (stored, goes_on) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(true)),
    );
    let load = tokio::spawn({
        let (storage, bob) = (old.server.node().storage.clone(), bob.clone());
        let (stored, goes_on) = (Arc::clone(&stored), Arc::clone(&goes_on));
        async move {
            while goes_on.load(Ordering::SeqCst) {
                let number = stored.load(Ordering::SeqCst);
                let kept = storage
                    .offline
                    .store(&bob, numbered(number), OfflineLimits::NONE)
                    .await;
                kept.expect("stored");
                stored.store(number + 1, Ordering::SeqCst);
            }
        }
    });
    while stored.load(Ordering::SeqCst) < 20 {
        tokio::task::yield_now().await;
    }
    let before = stored.load(Ordering::SeqCst);
    let folder = tempfile::tempdir().expect("a folder");
    let backup = folder.path().join("backup");
    let written = old.done(&format!("backup {}", backup.display())).await;
    // One more may be stored and not counted yet.
    let after = stored.load(Ordering::SeqCst) + 1;
    goes_on.store(false, Ordering::SeqCst);
    load.await.expect("it ends");
    assert!(
        written.contains("natter.db") && written.contains("overrides.toml"),
        "{written}"
    );

    let new = House::start("").await;
    new.done("register alice a.example other").await;
    new.done("register eve a.example secret").await;
    new.done("module_start b.example mod_echo").await;
    let at = new.server.addresses()[0].at;
    let mut eve = Peer::dial(at).await;
    eve.logs_in("eve", "a.example", "secret").await;
    let restore = format!("restore {}", backup.display());
    let goes = async move { eve.hears("</stream:stream>").await };
    let (done, goodbye) = tokio::join!(new.done(&restore), goes);
    assert!(goodbye.contains("<reset"), "{goodbye}");
    assert!(done.contains("before-restore"), "{done}");
    // Accounts and credentials are those of the backup.
    assert_eq!(
        new.done("registered_users a.example").await,
        r#"["alice","bob"]"#
    );
    let mut alice = Peer::dial(at).await;
    alice.logs_in("alice", "a.example", "secret").await;
    drop(alice);
    // What modules keep in mind is what the backup holds.
    assert_eq!(
        new.done("motd a.example").await,
        old.done("motd a.example").await
    );
    // Hot changes, too.
    assert!(new.has_route("echo.a.example").await && !new.has_route("echo.b.example").await);
    // The messages are the first so many, without a gap.
    let node = new.server.node();
    let kept = node
        .storage
        .offline
        .page(&bob, None, usize::MAX >> 1)
        .await
        .expect("read");
    assert!(
        (before..=after).contains(&kept.len()),
        "{before} {} {after}",
        kept.len()
    );
    for (number, entry) in kept.iter().enumerate() {
        assert_eq!(entry.message, numbered(number));
    }
    // What comes now comes behind them.
    let last = kept.last().expect("there are some").id.place();
    let next = node.router.meta(router::Origin::Server).trace;
    assert!(next > last.unsigned_abs(), "{next} after {last}");

    let new = new.again().await;
    assert!(new.has_route("echo.a.example").await);
    assert_eq!(
        new.done("registered_users a.example").await,
        r#"["alice","bob"]"#
    );
    new.stop().await;
    old.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_without_a_backup_changes_nothing() {
    let house = House::start("").await;
    house.done("register alice a.example secret").await;
    house.done("module_start a.example mod_echo").await;
    let empty = tempfile::tempdir().expect("a folder");
    house
        .refused(&format!("restore {}", empty.path().display()))
        .await;
    assert_eq!(
        house.done("registered_users a.example").await,
        r#"["alice"]"#
    );
    assert!(house.overrides().contains("mod_echo"));
    house.stop().await;
}
