//! Privacy lists: they come back as they were put, and go with their account.

use crate::stage::{Stage, alice, jid};
use storage::{
    PrivacyAction, PrivacyItem, PrivacyKinds, PrivacyList, PrivacyLists, PrivacyWho, Subscription,
};
use xmpp::parse_jid;

fn item(order: u32, who: PrivacyWho, kinds: [bool; 4]) -> PrivacyItem {
    PrivacyItem {
        order,
        who,
        action: if order.is_multiple_of(2) {
            PrivacyAction::Allow
        } else {
            PrivacyAction::Deny
        },
        kinds: PrivacyKinds {
            message: kinds[0],
            iq: kinds[1],
            presence_in: kinds[2],
            presence_out: kinds[3],
        },
    }
}

fn lists() -> PrivacyLists {
    let address = |text: &str| PrivacyWho::Jid(parse_jid(text).unwrap());
    let list = |name: &str, items| PrivacyList {
        name: name.to_owned(),
        items,
    };
    PrivacyLists {
        default: Some("b ' list".to_owned()),
        lists: vec![
            list("a", vec![item(7, PrivacyWho::Everyone, [false; 4])]),
            list(
                "b ' list",
                vec![
                    item(
                        0,
                        address("juliet@example.com/balcony"),
                        [true, false, false, false],
                    ),
                    item(1, address("example.com"), [false, true, false, false]),
                    item(
                        2,
                        PrivacyWho::Group("Foes & \"friends\"".into()),
                        [false, false, true, false],
                    ),
                    item(
                        3,
                        PrivacyWho::Subscription(Subscription::None),
                        [false, false, false, true],
                    ),
                    item(u32::MAX, PrivacyWho::Everyone, [true; 4]),
                ],
            ),
        ],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_back_as_they_were_put() {
    let stage = Stage::open().await;
    let store = stage.storage.privacy.clone();
    assert_eq!(store.get(&alice()).await, Ok(PrivacyLists::default()));
    store.put(&alice(), lists()).await.unwrap();
    let stage = stage.reopen().await;
    let store = stage.storage.privacy.clone();
    assert_eq!(store.get(&alice()).await, Ok(lists()));
    assert_eq!(
        store.get(&jid("alice@b.example")).await,
        Ok(PrivacyLists::default())
    );

    let mut fewer = lists();
    fewer.lists.pop();
    fewer.default = Some("a".to_owned());
    store.put(&alice(), fewer.clone()).await.unwrap();
    assert_eq!(store.get(&alice()).await, Ok(fewer.clone()));
    // A default that is not there is none.
    let lost = PrivacyLists {
        default: Some("b".to_owned()),
        ..fewer.clone()
    };
    store.put(&alice(), lost).await.unwrap();
    assert_eq!(store.get(&alice()).await.unwrap().default, None);
    store.put(&alice(), PrivacyLists::default()).await.unwrap();
    assert_eq!(store.get(&alice()).await, Ok(PrivacyLists::default()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_account_leaves_no_lists() {
    let stage = Stage::open().await;
    let (accounts, store) = (&stage.storage.accounts, &stage.storage.privacy);
    accounts.create(&alice(), vec![]).await.unwrap();
    store.put(&alice(), lists()).await.unwrap();
    accounts.remove(&alice()).await.unwrap();
    assert_eq!(store.get(&alice()).await, Ok(PrivacyLists::default()));
}
