//! What each store keeps and gives back, over real files.

use std::time::Duration;

use crate::stage::{Stage, alice, contact, jid, message, put};
use storage::{
    Batch, Credential, LastSeen, OfflineLimits, OfflineMessage, PrivateData, Role, RosterChange,
    RosterItem, StorageError, Stored, Subscription,
};
use xmpp::BareJid;

fn credential(kind: &str) -> Credential {
    Credential {
        kind: kind.to_owned(),
        parameters: b"i=1".to_vec(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_made_read_and_removed() {
    let stage = Stage::open().await;
    let accounts = stage.storage.accounts.clone();
    assert_eq!(accounts.exists(&alice()).await, Ok(false));
    assert!(accounts.credentials(&alice()).await.unwrap().is_none());
    assert_eq!(
        accounts
            .create(&alice(), vec![credential("one"), credential("two")])
            .await,
        Ok(true)
    );
    assert_eq!(
        accounts.create(&alice(), vec![]).await,
        Ok(false),
        "it exists"
    );
    let account = accounts.credentials(&alice()).await.unwrap().unwrap();
    assert_eq!(account.credentials.len(), 2);
    assert!(
        account
            .credential("two")
            .is_some_and(|credential| credential.parameters == b"i=1")
    );
    assert_eq!((account.role, account.disabled), (Role::User, false));
    assert_eq!(account.created, stage.system.clock().wall());

    assert_eq!(accounts.set_role(&alice(), Role::HostAdmin).await, Ok(true));
    assert_eq!(accounts.set_disabled(&alice(), true).await, Ok(true));
    assert_eq!(
        accounts
            .set_credentials(&alice(), vec![credential("three")])
            .await,
        Ok(true)
    );
    let account = accounts.credentials(&alice()).await.unwrap().unwrap();
    assert_eq!((account.role, account.disabled), (Role::HostAdmin, true));
    assert_eq!(account.credentials.len(), 1);
    let upgrade = async |seen: &str| {
        let new = vec![credential("three"), credential("four")];
        accounts
            .upgrade_credentials(&alice(), credential(seen), new)
            .await
    };
    assert_eq!(accounts.any_lacks("a.example", "four").await, Ok(true));
    assert_eq!(upgrade("one").await, Ok(false), "it was changed meanwhile");
    assert_eq!(upgrade("three").await, Ok(true));
    assert_eq!(accounts.any_lacks("a.example", "four").await, Ok(false));
    assert_eq!(accounts.any_lacks("b.example", "four").await, Ok(false));
    assert_eq!(accounts.role(&alice()).await, Ok(Some(Role::HostAdmin)));

    stage.hand.advance(Duration::from_secs(60)).await;
    assert_eq!(accounts.remove(&alice()).await, Ok(true));
    assert_eq!(accounts.remove(&alice()).await, Ok(false));
    assert_eq!(accounts.exists(&alice()).await, Ok(false));
    assert_eq!(
        accounts.removed(&alice()).await,
        Ok(Some(stage.system.clock().wall()))
    );
    assert_eq!(accounts.role(&alice()).await, Ok(None));
    assert_eq!(accounts.set_role(&alice(), Role::Admin).await, Ok(false));
    assert_eq!(accounts.set_disabled(&alice(), true).await, Ok(false));
    assert_eq!(accounts.set_credentials(&alice(), vec![]).await, Ok(false));

    assert_eq!(accounts.release(&alice()).await, Ok(true));
    assert_eq!(accounts.create(&alice(), vec![]).await, Ok(true));
    let account = accounts.credentials(&alice()).await.unwrap().unwrap();
    assert_eq!(
        (account.credentials.len(), account.role, account.disabled),
        (0, Role::User, false)
    );
    assert_eq!(accounts.removed(&alice()).await, Ok(None));
    let refused = accounts.create(&jid("a.example"), vec![]).await;
    assert!(
        matches!(refused, Err(StorageError::Invalid { .. })),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_listed_by_host_in_pages() {
    let stage = Stage::open().await;
    let accounts = stage.storage.accounts.clone();
    for name in [
        "d@a.example",
        "b@a.example",
        "c@b.example",
        "a@a.example",
        "c@a.example",
    ] {
        assert_eq!(accounts.create(&jid(name), vec![]).await, Ok(true));
    }
    accounts.remove(&jid("c@a.example")).await.unwrap();
    let first = accounts.list("a.example", None, 2).await.unwrap();
    assert_eq!(first, [jid("a@a.example"), jid("b@a.example")]);
    let second = accounts.list("a.example", Some("b"), 2).await.unwrap();
    assert_eq!(second, [jid("d@a.example")]);
    assert_eq!(accounts.count("a.example").await, Ok(3));
    assert_eq!(accounts.count("b.example").await, Ok(1));
    assert_eq!(accounts.count("c.example").await, Ok(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_account_leaves_nothing_to_its_successor() {
    let stage = Stage::open().await;
    let storage = &stage.storage;
    let neighbour = jid("alice@b.example");
    for owner in [alice(), neighbour.clone()] {
        storage
            .accounts
            .create(&owner, vec![credential("one")])
            .await
            .unwrap();
        let mut batch = Batch::new();
        batch.put_roster_item(&owner, RosterItem::new(contact(1)));
        batch.put_roster_item(&owner, RosterItem::asking(contact(2), "<presence/>".into()));
        batch.remove_roster_item(&owner, &contact(1));
        batch.put_roster_item(&owner, RosterItem::new(contact(3)));
        batch.store_offline(
            &owner,
            message(&stage.system, "<message/>"),
            OfflineLimits::NONE,
        );
        storage.commit(batch).await.unwrap();
    }
    storage.accounts.remove(&alice()).await.unwrap();
    // Written by somebody who had not heard of it yet.
    let late = storage
        .commit(put(&alice(), RosterItem::new(contact(4))))
        .await;
    assert!(
        matches!(&late, Err(StorageError::Invalid { detail, .. }) if detail == "the account was removed"),
        "{late:?}"
    );
    let late = message(&stage.system, "late");
    let late = storage
        .offline
        .store(&alice(), late, OfflineLimits::NONE)
        .await;
    assert!(
        matches!(late, Err(StorageError::Invalid { .. })),
        "{late:?}"
    );

    assert_eq!(
        storage.accounts.create(&alice(), vec![]).await,
        Ok(false),
        "the name is not free"
    );
    assert_eq!(storage.accounts.release(&alice()).await, Ok(true));
    assert_eq!(storage.accounts.release(&alice()).await, Ok(false));
    assert_eq!(storage.accounts.removed(&alice()).await, Ok(None));
    assert_eq!(storage.accounts.release(&neighbour).await, Ok(false));
    assert_eq!(storage.accounts.create(&alice(), vec![]).await, Ok(true));
    let roster = storage.roster.get(&alice()).await.unwrap();
    assert_eq!(roster.items, []);
    assert_eq!(storage.roster.pending(&alice()).await, Ok(vec![]));
    assert_eq!(storage.offline.count(&alice()).await, Ok(0));
    assert_eq!(storage.offline.page(&alice(), None, 10).await, Ok(vec![]));
    assert!(
        roster.version > 3,
        "a version of the old roster must not be met again"
    );
    assert_eq!(storage.roster.changes_since(&alice(), 3).await, Ok(None));
    assert_eq!(
        storage.roster.changes_since(&alice(), roster.version).await,
        Ok(Some(vec![]))
    );

    assert_eq!(storage.roster.get(&neighbour).await.unwrap().items.len(), 1);
    assert_eq!(storage.offline.count(&neighbour).await, Ok(1));
    assert!(storage.accounts.exists(&neighbour).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roster_item_comes_back_as_it_was_put() {
    let stage = Stage::open().await;
    let item = RosterItem {
        jid: contact(1),
        name: Some("Romeo & \"Juliet\"".into()),
        groups: vec!["Friends".into(), String::new(), "Verona".into()],
        subscription: Subscription::From,
        ask: true,
        approved: true,
        pending_in: Some("<presence type='subscribe'/>".into()),
        listed: true,
    };
    stage
        .storage
        .commit(put(&alice(), item.clone()))
        .await
        .unwrap();
    let stage = stage.reopen().await;
    let roster = stage.storage.roster.get(&alice()).await.unwrap();
    assert_eq!((roster.version, roster.items), (1, vec![item.clone()]));
    assert_eq!(
        stage.storage.roster.item(&alice(), &contact(1)).await,
        Ok(Some(item))
    );
    assert_eq!(
        stage
            .storage
            .roster
            .shows_presence(&alice(), &contact(1))
            .await,
        Ok(true)
    );
    assert_eq!(
        stage
            .storage
            .roster
            .shows_presence(&alice(), &contact(2))
            .await,
        Ok(false)
    );
    assert_eq!(
        stage
            .storage
            .roster
            .get(&jid("alice@b.example"))
            .await
            .unwrap()
            .items,
        []
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_only_asked_is_kept_but_not_in_the_roster() {
    let stage = Stage::open().await;
    let storage = &stage.storage;
    let mut batch = Batch::new();
    for number in [2, 1] {
        batch.put_roster_item(
            &alice(),
            RosterItem::asking(contact(number), format!("<presence id='{number}'/>")),
        );
    }
    let committed = storage.commit(batch).await.unwrap();
    assert!(
        committed
            .roster
            .iter()
            .all(|change| !change.changed && change.version == 0)
    );
    assert_eq!(storage.roster.get(&alice()).await.unwrap().items, []);
    let pending = storage.roster.pending(&alice()).await.unwrap();
    assert_eq!(
        pending,
        [
            (contact(2), "<presence id='2'/>".into()),
            (contact(1), "<presence id='1'/>".into())
        ],
        "the oldest first"
    );
    let item = storage
        .roster
        .item(&alice(), &contact(2))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        item,
        RosterItem::asking(contact(2), "<presence id='2'/>".into())
    );

    // Listing it keeps the request; settling the request keeps the version.
    let listed = RosterItem {
        listed: true,
        ..item
    };
    assert_eq!(
        storage
            .commit(put(&alice(), listed.clone()))
            .await
            .unwrap()
            .version(&alice()),
        Some(1)
    );
    let settled = RosterItem {
        pending_in: None,
        ..listed
    };
    let committed = storage.commit(put(&alice(), settled)).await.unwrap();
    assert_eq!(
        (committed.roster[0].version, committed.roster[0].changed),
        (1, false)
    );
    assert_eq!(storage.roster.pending(&alice()).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_since_a_version_are_final_states_in_order() {
    let stage = Stage::open().await;
    let storage = &stage.storage;
    for number in 1..=3 {
        storage
            .commit(put(&alice(), RosterItem::new(contact(number))))
            .await
            .unwrap();
    }
    let renamed = RosterItem {
        name: Some("First".into()),
        ..RosterItem::new(contact(1))
    };
    let mut batch = Batch::new();
    batch.remove_roster_item(&alice(), &contact(2));
    batch.put_roster_item(&alice(), renamed.clone());
    batch.remove_roster_item(&alice(), &contact(9));
    let committed = storage.commit(batch).await.unwrap();
    let versions: Vec<_> = committed
        .roster
        .iter()
        .map(|change| (change.version, change.changed))
        .collect();
    assert_eq!(versions, [(4, true), (5, true), (5, false)]);
    assert_eq!(committed.version(&alice()), Some(5));

    let owner = alice();
    let since = |version| storage.roster.changes_since(&owner, version);
    assert_eq!(since(5).await, Ok(Some(vec![])));
    assert_eq!(
        since(2).await,
        Ok(Some(vec![
            RosterChange::Put(RosterItem::new(contact(3)), 3),
            RosterChange::Removed(contact(2), 4),
            RosterChange::Put(renamed, 5),
        ]))
    );
    assert_eq!(since(6).await, Ok(None), "that version never was");
    assert_eq!(since(u64::MAX).await, Ok(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_come_in_order_and_page_by_page() {
    let stage = Stage::open().await;
    let offline = stage.storage.offline.clone();
    let mut ids = Vec::new();
    for number in 0..5 {
        let stored = offline
            .store(
                &alice(),
                message(&stage.system, &number.to_string()),
                OfflineLimits::NONE,
            )
            .await;
        let Ok(Stored::Yes(id)) = stored else {
            panic!("{stored:?}");
        };
        ids.push(id);
    }
    let bodies = |page: Vec<storage::OfflineEntry>| {
        page.into_iter()
            .map(|entry| entry.message.stanza)
            .collect::<String>()
    };
    let first = offline.page(&alice(), None, 2).await.unwrap();
    assert_ne!(first[0].public_id, first[1].public_id);
    assert_eq!(first[0].message.received, stage.system.clock().wall());
    assert_eq!(first[1].id, ids[1]);
    assert_eq!(bodies(first), "01");
    assert_eq!(
        bodies(offline.page(&alice(), Some(ids[1]), 9).await.unwrap()),
        "234"
    );
    assert_eq!(
        offline.remove(&jid("bob@a.example"), &ids).await,
        Ok(0),
        "not his"
    );
    assert_eq!(offline.remove(&alice(), &ids[1..3]).await, Ok(2));
    assert_eq!(offline.remove(&alice(), &ids[1..3]).await, Ok(0));
    assert_eq!(
        bodies(offline.page(&alice(), None, 9).await.unwrap()),
        "034"
    );
    assert_eq!(offline.clear(&alice()).await, Ok(3));
    assert_eq!(offline.count(&alice()).await, Ok(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_under_concurrent_senders() {
    let stage = Stage::open().await;
    let offline = stage.storage.offline.clone();
    let limits = OfflineLimits {
        messages: 10,
        bytes: 1000,
    };
    let sending: Vec<_> = (0..100)
        .map(|_| {
            let (offline, message) = (offline.clone(), message(&stage.system, "0123456789"));
            tokio::spawn(async move { offline.store(&alice(), message, limits).await.unwrap() })
        })
        .collect();
    let mut stored = 0;
    for one in sending {
        stored += usize::from(one.await.unwrap() != Stored::Full);
    }
    assert_eq!(stored, 10);
    assert_eq!(offline.count(&alice()).await, Ok(10));
    let bob = jid("bob@a.example");
    let big = message(&stage.system, &"x".repeat(600));
    assert!(matches!(
        offline.store(&bob, big.clone(), limits).await,
        Ok(Stored::Yes(_))
    ));
    assert_eq!(
        offline.store(&bob, big.clone(), limits).await,
        Ok(Stored::Full)
    );
    offline.clear(&bob).await.unwrap();
    assert!(matches!(
        offline.store(&bob, big, limits).await,
        Ok(Stored::Yes(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_expired_is_not_read_not_counted_and_gives_room() {
    let stage = Stage::open().await;
    let offline = stage.storage.offline.clone();
    let now = stage.system.clock().wall();
    let limits = OfflineLimits {
        messages: 2,
        bytes: u64::MAX,
    };
    let fleeting = OfflineMessage {
        expires: Some(now + Duration::from_secs(10)),
        ..message(&stage.system, "fleeting")
    };
    for owner in [alice(), jid("bob@b.example")] {
        offline
            .store(&owner, fleeting.clone(), limits)
            .await
            .unwrap();
        offline
            .store(&owner, message(&stage.system, "lasting"), limits)
            .await
            .unwrap();
    }
    assert_eq!(
        offline
            .store(&alice(), message(&stage.system, "more"), limits)
            .await,
        Ok(Stored::Full)
    );
    assert_eq!(
        offline.page(&alice(), None, 9).await.unwrap()[0].message,
        fleeting
    );
    stage.hand.advance(Duration::from_secs(10)).await;
    assert_eq!(offline.count(&alice()).await, Ok(1));
    assert_eq!(offline.page(&alice(), None, 9).await.unwrap().len(), 1);
    let stored = offline
        .store(&alice(), message(&stage.system, "more"), limits)
        .await;
    assert!(matches!(stored, Ok(Stored::Yes(_))), "{stored:?}");
    assert_eq!(
        offline.expire(stage.system.clock().wall()).await,
        Ok(1),
        "bob's"
    );
    assert_eq!(offline.expire(stage.system.clock().wall()).await, Ok(0));

    let old = stage.system.clock().wall();
    assert_eq!(offline.remove_older("a.example", old).await, Ok(1));
    assert_eq!(offline.count(&alice()).await, Ok(1), "what came just now");
    assert_eq!(
        offline.count(&jid("bob@b.example")).await,
        Ok(1),
        "another host"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_one_portion_expires() {
    let stage = Stage::open().await;
    let now = stage.system.clock().wall();
    let mut batch = Batch::new();
    for number in 0..2500 {
        let fleeting = OfflineMessage {
            expires: Some(now),
            ..message(&stage.system, "fleeting")
        };
        batch.store_offline(&contact(number % 3), fleeting, OfflineLimits::NONE);
    }
    stage.storage.commit(batch).await.unwrap();
    assert_eq!(stage.storage.offline.expire(now).await, Ok(2500));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_spans_stores() {
    let stage = Stage::open().await;
    let mut batch = Batch::new();
    batch
        .put_roster_item(&alice(), RosterItem::new(contact(1)))
        .store_offline(
            &contact(1),
            message(&stage.system, "one"),
            OfflineLimits::NONE,
        )
        .store_offline(
            &contact(1),
            message(&stage.system, "two"),
            OfflineLimits {
                messages: 1,
                bytes: 99,
            },
        );
    let committed = stage.storage.commit(batch).await.unwrap();
    let [Stored::Yes(id), Stored::Full] = committed.offline[..] else {
        panic!("{committed:?}");
    };
    let mut batch = Batch::new();
    batch
        .remove_offline(&contact(1), &[id])
        .remove_roster_item(&alice(), &contact(1));
    let committed = stage.storage.commit(batch).await.unwrap();
    assert_eq!(committed.offline_removed, [1]);
    assert_eq!(committed.version(&alice()), Some(2));
    let nothing = stage.storage.commit(Batch::new()).await.unwrap();
    assert_eq!(nothing, storage::Committed::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_made_once() {
    let stage = Stage::open().await;
    let one = stage.storage.secrets.get_or_create("one").await.unwrap();
    let two = stage.storage.secrets.get_or_create("two").await.unwrap();
    assert_eq!(one.expose().len(), 32);
    assert!(one != two);
    let stage = stage.reopen().await;
    assert!(stage.storage.secrets.get_or_create("one").await.unwrap() == one);
}

#[tokio::test(flavor = "multi_thread")]
async fn private_data_are_replaced_by_name_and_bounded() {
    let stage = Stage::open().await;
    let private = &stage.storage.private;
    let data = |name: &str, namespace: &str, xml: &str| PrivateData {
        name: name.into(),
        namespace: namespace.into(),
        xml: xml.into(),
    };
    let (one, two) = (data("x", "urn:one", "<1/>"), data("x", "urn:two", "<22/>"));
    assert_eq!(
        private
            .put(&alice(), vec![one.clone(), two.clone()], 9)
            .await,
        Ok(true)
    );
    assert_eq!(private.all(&alice()).await, Ok(vec![one.clone(), two]));
    let larger = data("x", "urn:two", "<333/>");
    assert_eq!(
        private.put(&alice(), vec![larger.clone()], 9).await,
        Ok(false)
    );
    assert_eq!(
        private.get(&alice(), "x", "urn:two").await,
        Ok(Some("<22/>".into()))
    );
    assert_eq!(
        private.put(&alice(), vec![larger.clone()], 10).await,
        Ok(true)
    );
    assert_eq!(private.all(&alice()).await, Ok(vec![one, larger]));
    assert_eq!(private.get(&alice(), "y", "urn:two").await, Ok(None));
    assert_eq!(private.all(&jid("bob@a.example")).await, Ok(vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_personal_is_kept_for_those_who_exist() {
    let stage = Stage::open().await;
    let storage = &stage.storage;
    let seen = LastSeen {
        at: stage.system.clock().wall(),
        status: Some("bye".into()),
    };
    storage.last.remember(&alice(), seen.clone()).await.unwrap();
    assert_eq!(storage.last.seen(&alice()).await, Ok(None), "nobody yet");
    assert_eq!(storage.last.welcome(&alice()).await, Ok(false));
    storage.accounts.create(&alice(), vec![]).await.unwrap();
    storage.last.remember(&alice(), seen.clone()).await.unwrap();
    assert_eq!(storage.last.seen(&alice()).await, Ok(Some(seen.clone())));
    let later = LastSeen {
        status: None,
        ..seen
    };
    storage
        .last
        .remember(&alice(), later.clone())
        .await
        .unwrap();
    assert_eq!(storage.last.seen(&alice()).await, Ok(Some(later)));
    assert_eq!(storage.last.welcome(&alice()).await, Ok(true));
    assert_eq!(storage.last.welcome(&alice()).await, Ok(false));

    assert_eq!(storage.vcard.get(&alice()).await, Ok(None));
    for card in ["<vCard/>", "<vCard>2</vCard>"] {
        storage.vcard.put(&alice(), card.into()).await.unwrap();
        assert_eq!(storage.vcard.get(&alice()).await, Ok(Some(card.into())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn capabilities_not_used_for_longest_are_forgotten() {
    let stage = Stage::open().await;
    let caps = &stage.storage.caps;
    for ver in ["1", "2", "3"] {
        stage.hand.advance(Duration::from_secs(1)).await;
        caps.keep("sha-1", ver, format!("<{ver}/>"), 3)
            .await
            .unwrap();
    }
    stage.hand.advance(Duration::from_secs(1)).await;
    assert_eq!(caps.find("sha-1", "1").await, Ok(Some("<1/>".into())));
    assert_eq!(caps.find("sha-256", "1").await, Ok(None));
    stage.hand.advance(Duration::from_secs(1)).await;
    caps.keep("sha-1", "4", "<4/>".into(), 3).await.unwrap();
    assert_eq!(caps.count().await, Ok(3));
    assert_eq!(caps.find("sha-1", "2").await, Ok(None), "the oldest");
    assert_eq!(caps.find("sha-1", "1").await, Ok(Some("<1/>".into())));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sees_whom_follows_from_the_groups() {
    let stage = Stage::open().await;
    let (accounts, groups) = (&stage.storage.accounts, &stage.storage.groups);
    let [bob, carol] = ["bob@a.example", "carol@a.example"].map(jid);
    for account in [&alice(), &bob, &carol] {
        accounts.create(account, vec![]).await.unwrap();
    }
    let of = async |account: &xmpp::BareJid| {
        let contacts = groups.contacts(account, None).await.unwrap();
        let shown = |c: storage::SharedContact| (c.jid.to_string(), c.labels, c.subscription);
        contacts.into_iter().map(shown).collect::<Vec<_>>()
    };
    let contact = |name: &BareJid, labels: &[&str], subscription| {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        (name.to_string(), labels, subscription)
    };
    let put = |name, label, displays: &[&str]| {
        let displays = displays.iter().map(|name| (*name).to_owned()).collect();
        groups.put("a.example", name, label, displays)
    };
    assert_eq!(put("two", "Second", &["one"]).await, Ok(true));
    assert_eq!(put("one", "First", &[]).await, Ok(true));
    assert_eq!(put("one", "First", &["one"]).await, Ok(false));
    assert_eq!(groups.add("three", &bob).await, Ok(false));
    assert_eq!(groups.add("one", &alice()).await, Ok(true));
    assert_eq!(groups.add("one", &bob).await, Ok(true));
    assert_eq!(groups.add("two", &carol).await, Ok(true));
    assert_eq!(
        of(&alice()).await,
        [
            contact(&bob, &["First"], Subscription::Both),
            contact(&carol, &[], Subscription::From)
        ]
    );
    assert_eq!(
        of(&carol).await,
        [
            contact(&alice(), &["First"], Subscription::To),
            contact(&bob, &["First"], Subscription::To)
        ]
    );
    let one = groups.contacts(&carol, Some(&bob)).await.unwrap();
    assert_eq!(one.len(), 1, "only the one that is asked about");
    let elsewhere = jid("bob@b.example");
    assert_eq!(groups.contacts(&carol, Some(&elsewhere)).await, Ok(vec![]));
    assert_eq!(of(&jid("alice@b.example")).await, []);

    assert_eq!(
        groups.set_everybody("a.example", "two", true).await,
        Ok(true)
    );
    assert_eq!(
        of(&alice()).await,
        [
            contact(&bob, &["First"], Subscription::Both),
            contact(&carol, &[], Subscription::From)
        ]
    );
    assert_eq!(put("two", "Second", &["two"]).await, Ok(false));
    assert_eq!(
        of(&carol).await,
        [
            contact(&alice(), &["Second"], Subscription::Both),
            contact(&bob, &["Second"], Subscription::Both)
        ]
    );
    assert_eq!(accounts.remove(&bob).await, Ok(true));
    assert_eq!(
        of(&carol).await,
        [contact(&alice(), &["Second"], Subscription::Both)]
    );
    let all = groups.all("a.example").await.unwrap();
    let members: Vec<usize> = all.iter().map(|group| group.members.len()).collect();
    assert_eq!(members, [1, 1], "the removed one is in none");
    assert_eq!(groups.take("one", &alice()).await, Ok(true));
    assert_eq!(groups.take("one", &alice()).await, Ok(false));
    assert_eq!(groups.remove("a.example", "two").await, Ok(true));
    assert_eq!(groups.remove("a.example", "two").await, Ok(false));
    assert_eq!(of(&carol).await, []);
}
