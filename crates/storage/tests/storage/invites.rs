//! Invitations: used so often and no more, for so long and no longer.

use std::time::Duration;

use crate::stage::{Stage, alice, jid};
use storage::{Invite, InviteKind, StorageError};

const HOST: &str = "a.example";

fn invite(stage: &Stage, token: &str, kind: InviteKind) -> Invite {
    let now = stage.system.clock().wall();
    Invite {
        token: token.to_owned(),
        host: HOST.to_owned(),
        inviter: Some(alice()),
        kind,
        created: now,
        expires: now + Duration::from_secs(60),
        max_uses: 2,
        uses: 0,
    }
}

fn account(name: Option<&str>) -> InviteKind {
    InviteKind::Account {
        name: name.map(str::to_owned),
        befriend: true,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_is_used_as_often_as_it_says() {
    let stage = Stage::open().await;
    let store = stage.storage.invites.clone();
    let one = invite(&stage, "one", InviteKind::Contact { may_register: true });
    store.create(one.clone()).await.unwrap();
    assert_eq!(store.get(HOST, "one").await, Ok(Some(one.clone())));
    assert_eq!(store.get("b.example", "one").await, Ok(None));
    assert_eq!(store.take("b.example", "one").await, Ok(false));
    assert_eq!(store.take(HOST, "two").await, Ok(false));
    assert_eq!(store.take(HOST, "one").await, Ok(true));
    assert_eq!(store.take(HOST, "one").await, Ok(true));
    assert_eq!(store.take(HOST, "one").await, Ok(false));
    let now = stage.system.clock().wall();
    assert!(!store.get(HOST, "one").await.unwrap().unwrap().is_good(now));
    store.give_back(HOST, "one").await.unwrap();
    assert_eq!(store.take(HOST, "one").await, Ok(true));
    assert_eq!(store.remove(HOST, "one").await, Ok(true));
    assert_eq!(store.remove(HOST, "one").await, Ok(false));
    let foreign = Invite {
        inviter: Some(jid("alice@b.example")),
        ..one
    };
    let refused = store.create(foreign).await;
    assert!(
        matches!(refused, Err(StorageError::Invalid { .. })),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_kept_until_the_invitation_ends() {
    let stage = Stage::open().await;
    let store = stage.storage.invites.clone();
    let now = stage.system.clock().wall();
    let operator = Invite {
        inviter: None,
        max_uses: 1,
        ..invite(&stage, "op", account(Some("juliet")))
    };
    store.create(operator.clone()).await.unwrap();
    store
        .create(invite(&stage, "any", account(None)))
        .await
        .unwrap();
    assert_eq!(store.list(HOST).await.unwrap().len(), 2);
    assert_eq!(store.reserves(HOST, "juliet", now).await, Ok(true));
    assert_eq!(store.reserves(HOST, "romeo", now).await, Ok(false));
    assert_eq!(store.reserves("b.example", "juliet", now).await, Ok(false));
    assert_eq!(
        store.reserves(HOST, "juliet", operator.expires).await,
        Ok(false)
    );
    assert_eq!(store.take(HOST, "op").await, Ok(true));
    assert_eq!(store.reserves(HOST, "juliet", now).await, Ok(false));
    assert_eq!(store.expire(now).await, Ok(0));
    assert_eq!(store.expire(operator.expires).await, Ok(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn invitations_go_with_the_account_that_made_them() {
    let stage = Stage::open().await;
    let (accounts, store) = (&stage.storage.accounts, &stage.storage.invites);
    accounts.create(&alice(), vec![]).await.unwrap();
    store
        .create(invite(&stage, "hers", account(None)))
        .await
        .unwrap();
    let operators = Invite {
        inviter: None,
        ..invite(&stage, "op", account(None))
    };
    store.create(operators.clone()).await.unwrap();
    accounts.remove(&alice()).await.unwrap();
    assert_eq!(store.list(HOST).await, Ok(vec![operators]));
}
