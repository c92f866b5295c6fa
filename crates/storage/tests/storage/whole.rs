//! Accounts as a whole: all that one owns goes from one store into another, in one commit or not at all.

use std::time::{Duration, UNIX_EPOCH};

use crate::stage::{Stage, alice, jid};
use storage::{
    Brought, Credential, IfThere, LastSeen, OfflineMessage, PrivacyAction, PrivacyItem,
    PrivacyKinds, PrivacyList, PrivacyLists, PrivacyWho, PrivateData, Role, RosterItem,
    StorageError, Subscription, WholeAccount,
};

fn message(text: &str, received: u64) -> OfflineMessage {
    OfflineMessage {
        stanza: format!("<message><body>{text}</body></message>"),
        received: UNIX_EPOCH + Duration::from_secs(received),
        expires: None,
        place: None,
    }
}

fn credential(kind: &str) -> Credential {
    Credential {
        kind: kind.to_owned(),
        parameters: b"i=1,s=".to_vec(),
    }
}

/// An account with something in every store.
fn whole() -> WholeAccount {
    let asking = RosterItem::asking(jid("mallory@b.example"), "<presence/>".to_owned());
    let bob = RosterItem {
        name: Some("Bob".to_owned()),
        groups: vec!["Friends".to_owned(), "Work".to_owned()],
        subscription: Subscription::To,
        ask: true,
        approved: true,
        pending_in: Some("<presence id='1'/>".to_owned()),
        ..RosterItem::new(jid("bob@b.example"))
    };
    let item = PrivacyItem {
        order: 3,
        who: PrivacyWho::Group("Work".to_owned()),
        action: PrivacyAction::Deny,
        kinds: PrivacyKinds::ALL,
    };
    WholeAccount {
        credentials: vec![credential("SCRAM-SHA-1"), credential("SCRAM-SHA-256")],
        created: Some(UNIX_EPOCH + Duration::from_millis(1_234_567)),
        disabled: true,
        last: Some(LastSeen {
            at: UNIX_EPOCH + Duration::from_secs(99),
            status: Some("gone".to_owned()),
        }),
        roster: vec![bob, asking],
        offline: vec![message("one", 5), message("two", 4)],
        private: vec![PrivateData {
            name: "storage".to_owned(),
            namespace: "storage:bookmarks".to_owned(),
            xml: "<storage xmlns='storage:bookmarks'/>".to_owned(),
        }],
        vcard: Some("<vCard xmlns='vcard-temp'/>".to_owned()),
        privacy: PrivacyLists {
            default: Some("l".to_owned()),
            lists: vec![PrivacyList {
                name: "l".to_owned(),
                items: vec![item],
            }],
        },
        ..WholeAccount::new(alice())
    }
}

async fn read(stage: &Stage) -> WholeAccount {
    let found = stage.storage.whole(&alice()).await.unwrap();
    found.expect("alice is there")
}

#[tokio::test]
async fn an_account_moves_with_all_it_owns() {
    let stage = Stage::open().await;
    assert!(stage.storage.whole(&alice()).await.unwrap().is_none());
    let brought = stage.storage.bring(whole(), IfThere::Keep).await.unwrap();
    assert_eq!(brought, Brought::Made);
    assert!(read(&stage).await == whole());
    assert_eq!(stage.storage.next_place(), 3);
    let pending = stage.storage.roster.pending(&alice()).await.unwrap();
    assert_eq!(pending.len(), 2);
}

#[tokio::test]
async fn what_is_there_is_kept_unless_it_is_to_be_replaced() {
    let stage = Stage::open().await;
    let accounts = &stage.storage.accounts;
    accounts
        .create(&alice(), vec![credential("SCRAM-SHA-512")])
        .await
        .unwrap();
    accounts.set_role(&alice(), Role::Admin).await.unwrap();
    let mut batch = storage::Batch::new();
    batch.put_roster_item(&alice(), RosterItem::new(jid("old@b.example")));
    stage.storage.commit(batch).await.unwrap();
    let before = read(&stage).await;

    let brought = stage.storage.bring(whole(), IfThere::Keep).await.unwrap();
    assert_eq!(brought, Brought::Exists);
    assert!(read(&stage).await == before);

    for _ in 0..2 {
        let brought = stage
            .storage
            .bring(whole(), IfThere::Replace)
            .await
            .unwrap();
        assert_eq!(brought, Brought::Replaced);
        assert!(read(&stage).await == whole());
    }
    assert_eq!(accounts.role(&alice()).await.unwrap(), Some(Role::Admin));
    // Who comes back with a version of the old roster is given the whole of the new one.
    let changes = stage.storage.roster.changes_since(&alice(), 1).await;
    assert_eq!(changes.unwrap(), None);

    accounts.remove(&alice()).await.unwrap();
    for if_there in [IfThere::Keep, IfThere::Replace] {
        let brought = stage.storage.bring(whole(), if_there).await.unwrap();
        assert_eq!(brought, Brought::Removed);
    }
    assert!(stage.storage.whole(&alice()).await.unwrap().is_none());
    accounts.release(&alice()).await.unwrap();
    let brought = stage.storage.bring(whole(), IfThere::Keep).await.unwrap();
    assert_eq!(brought, Brought::Made);
    assert_eq!(accounts.role(&alice()).await.unwrap(), Some(Role::User));
}

#[tokio::test]
async fn nothing_of_an_account_is_half_put() {
    let stage = Stage::open().await;
    let mut account = whole();
    account.roster[1].listed = true;
    account.roster[1].groups.push("a\u{1f}b".to_owned());
    let refused = stage.storage.bring(account, IfThere::Keep).await;
    assert!(matches!(refused, Err(StorageError::Invalid { .. })));
    assert!(!stage.storage.accounts.exists(&alice()).await.unwrap());
    let roster = stage.storage.roster.get(&alice()).await.unwrap();
    assert!(roster.items.is_empty());
    assert_eq!(stage.storage.offline.count(&alice()).await.unwrap(), 0);
}
