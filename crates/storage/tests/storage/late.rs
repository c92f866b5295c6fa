//! Last activity: heard at once, on the disk a little later.

use std::time::Duration;

use storage::{LastSeen, Storage};

use crate::stage::{Stage, alice, crash_image, jid};

fn seen(stage: &Stage, status: &str) -> LastSeen {
    LastSeen {
        at: stage.system.clock().wall(),
        status: Some(status.to_owned()),
    }
}

async fn with_alice() -> Stage {
    let stage = Stage::open().await;
    let made = stage.storage.accounts.create(&alice(), vec![]).await;
    assert_eq!(made, Ok(true));
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn it_comes_to_the_disk_by_itself() {
    let stage = with_alice().await;
    let bye = seen(&stage, "bye");
    let commits = stage.storage.commits();
    stage
        .storage
        .last
        .remember(&alice(), bye.clone())
        .await
        .unwrap();
    assert_eq!(
        stage.storage.last.seen(&alice()).await,
        Ok(Some(bye.clone()))
    );
    let wait = async {
        while stage.storage.commits() == commits {
            tokio::task::yield_now().await;
        }
    };
    let clock = otp::Clock::real();
    let written = clock.timeout(Duration::from_secs(60), wait);
    assert!(written.await.is_ok(), "never written");
    let image = crash_image(stage.folder.path());
    let after = Storage::open(image.path(), &stage.system).unwrap();
    let processes = crate::stage::start(&after, &stage.system).await;
    assert_eq!(after.last.seen(&alice()).await, Ok(Some(bye)));
    processes.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_written_with_whatever_else_is_and_when_the_store_stops() {
    let stage = with_alice().await;
    // A second may pass between the two on a busy machine; not each time.
    let mut together = false;
    for number in 0..100 {
        let commits = stage.storage.commits();
        let first = seen(&stage, "first");
        stage.storage.last.remember(&alice(), first).await.unwrap();
        let other = jid(&format!("other{number}@a.example"));
        stage.storage.accounts.create(&other, vec![]).await.unwrap();
        together |= stage.storage.commits() == commits + 1;
        if together {
            break;
        }
    }
    assert!(together, "never one commit for both");
    let last = seen(&stage, "last");
    stage
        .storage
        .last
        .remember(&alice(), last.clone())
        .await
        .unwrap();
    let stage = stage.reopen().await;
    assert_eq!(stage.storage.last.seen(&alice()).await, Ok(Some(last)));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_with_its_account_and_into_what_is_exported() {
    let stage = with_alice().await;
    let storage = &stage.storage;
    let bye = seen(&stage, "bye");
    storage.last.remember(&alice(), bye.clone()).await.unwrap();
    let whole = storage.whole(&alice()).await.unwrap().unwrap();
    assert_eq!(whole.last, Some(bye));
    assert!(storage.accounts.remove(&alice()).await.unwrap());
    assert_eq!(storage.last.seen(&alice()).await, Ok(None));
    assert!(storage.accounts.release(&alice()).await.unwrap());
    assert!(storage.accounts.create(&alice(), vec![]).await.unwrap());
    assert_eq!(
        storage.last.seen(&alice()).await,
        Ok(None),
        "another person"
    );
}
