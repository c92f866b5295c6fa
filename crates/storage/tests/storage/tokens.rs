//! Tokens: found by their hash, gone with their account or their time.

use std::time::Duration;

use crate::stage::{Stage, alice, jid};
use storage::ApiToken;

const HOST: &str = "a.example";

fn token(stage: &Stage, id: &str) -> ApiToken {
    let now = stage.system.clock().wall();
    ApiToken {
        id: id.to_owned(),
        hash: id.as_bytes().to_owned(),
        account: alice(),
        commands: Some(vec!["status".to_owned(), "tree".to_owned()]),
        created: now,
        expires: now + Duration::from_secs(60),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_found_until_it_is_taken_back() {
    let stage = Stage::open().await;
    let store = stage.storage.tokens.clone();
    let one = token(&stage, "one");
    let other = ApiToken {
        commands: None,
        created: one.created + Duration::from_secs(1),
        ..token(&stage, "other")
    };
    store.create(one.clone()).await.unwrap();
    store.create(other.clone()).await.unwrap();
    assert_eq!(store.find(b"one").await, Ok(Some(one.clone())));
    assert_eq!(store.find(b"none").await, Ok(None));
    assert_eq!(store.list(HOST).await, Ok(vec![one, other.clone()]));
    assert_eq!(store.list("b.example").await, Ok(vec![]));
    assert_eq!(store.remove("b.example", "one").await, Ok(false));
    assert_eq!(store.remove(HOST, "one").await, Ok(true));
    assert_eq!(store.remove(HOST, "one").await, Ok(false));
    assert_eq!(store.find(b"one").await, Ok(None));
    assert_eq!(store.find(b"other").await, Ok(Some(other)));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_go_with_time_and_with_their_account() {
    let stage = Stage::open().await;
    let (accounts, store) = (&stage.storage.accounts, &stage.storage.tokens);
    let bob = jid("bob@a.example");
    for account in [&alice(), &bob] {
        accounts.create(account, vec![]).await.unwrap();
    }
    let old = ApiToken {
        expires: stage.system.clock().wall(),
        account: bob.clone(),
        ..token(&stage, "old")
    };
    let bobs = ApiToken {
        account: bob.clone(),
        ..token(&stage, "bobs")
    };
    store.create(old).await.unwrap();
    assert!(store.find(b"old").await.unwrap().is_some());
    store.create(token(&stage, "hers")).await.unwrap();
    assert_eq!(
        store.find(b"old").await,
        Ok(None),
        "the next one removes it"
    );
    store.create(bobs.clone()).await.unwrap();
    assert_eq!(accounts.remove(&alice()).await, Ok(true));
    assert_eq!(store.list(HOST).await, Ok(vec![bobs]));
    let late = store.create(token(&stage, "late")).await;
    assert!(late.is_err(), "nothing is kept for a removed account");
}
