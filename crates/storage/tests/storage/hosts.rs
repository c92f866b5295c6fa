//! What hosts keep: messages of the day, lists of addresses, and who is what.

use crate::stage::{Stage, alice, jid};
use storage::{HostList, Role};
use xmpp::parse_jid;

const HOST: &str = "a.example";

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_the_day_is_seen_once_by_each() {
    let stage = Stage::open().await;
    let store = stage.storage.hosts.clone();
    assert_eq!(store.motd(HOST).await, Ok(None));
    assert_eq!(store.delete_motd(HOST).await, Ok(false));
    let first = store
        .set_motd(HOST, None, "one".into(), true)
        .await
        .unwrap();
    assert_eq!(store.motd(HOST).await, Ok(Some(first.clone())));
    assert_eq!(store.motd("b.example").await, Ok(None));
    assert_eq!(store.see_motd(&alice(), first.number).await, Ok(true));
    assert_eq!(store.see_motd(&alice(), first.number).await, Ok(false));
    assert_eq!(
        store.see_motd(&jid("bob@a.example"), first.number).await,
        Ok(true)
    );
    // A correction is not shown again, another message is, and so is one after none.
    let subject = Some("s".to_owned());
    let better = store
        .set_motd(HOST, subject, "1".into(), false)
        .await
        .unwrap();
    assert_eq!(better.number, first.number);
    assert_eq!(store.see_motd(&alice(), better.number).await, Ok(false));
    let second = store
        .set_motd(HOST, None, "two".into(), true)
        .await
        .unwrap();
    assert_eq!(store.see_motd(&alice(), second.number).await, Ok(true));
    assert_eq!(store.delete_motd(HOST).await, Ok(true));
    assert_eq!(store.motd(HOST).await, Ok(None));
    let third = store
        .set_motd(HOST, None, "three".into(), false)
        .await
        .unwrap();
    assert_eq!(store.see_motd(&alice(), third.number).await, Ok(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_replaced_as_a_whole() {
    let stage = Stage::open().await;
    let store = stage.storage.hosts.clone();
    let jids: Vec<_> = ["b.example", "x@c.example", "y@c.example/r"]
        .map(|text| parse_jid(text).unwrap())
        .to_vec();
    store
        .set_addresses(HOST, HostList::Black, jids.clone())
        .await
        .unwrap();
    store
        .set_addresses(HOST, HostList::White, jids[..1].to_vec())
        .await
        .unwrap();
    assert_eq!(
        store.addresses(HOST, HostList::Black).await,
        Ok(jids.clone())
    );
    assert_eq!(
        store.addresses("b.example", HostList::Black).await,
        Ok(vec![])
    );
    store
        .set_addresses(HOST, HostList::Black, vec![])
        .await
        .unwrap();
    assert_eq!(store.addresses(HOST, HostList::Black).await, Ok(vec![]));
    assert_eq!(
        store.addresses(HOST, HostList::White).await,
        Ok(jids[..1].to_vec())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_found_by_what_they_may() {
    let stage = Stage::open().await;
    let (accounts, store) = (&stage.storage.accounts, &stage.storage.hosts);
    for name in [
        "alice@a.example",
        "bob@a.example",
        "carol@b.example",
        "dave@a.example",
    ] {
        accounts.create(&jid(name), vec![]).await.unwrap();
    }
    assert_eq!(store.disabled(HOST).await, Ok(vec![]));
    assert_eq!(store.privileged().await, Ok(vec![]));
    accounts
        .set_disabled(&jid("bob@a.example"), true)
        .await
        .unwrap();
    accounts.set_role(&alice(), Role::Admin).await.unwrap();
    accounts
        .set_role(&jid("carol@b.example"), Role::HostAdmin)
        .await
        .unwrap();
    assert_eq!(store.disabled(HOST).await, Ok(vec![jid("bob@a.example")]));
    assert_eq!(store.disabled("b.example").await, Ok(vec![]));
    let expected = vec![
        (alice(), Role::Admin),
        (jid("carol@b.example"), Role::HostAdmin),
    ];
    assert_eq!(store.privileged().await, Ok(expected));
}
