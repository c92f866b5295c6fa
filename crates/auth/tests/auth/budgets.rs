//! Failure budgets: who has failed too often waits (RFC 6120 §6.4.5, §13.12).

use std::time::Duration;

use crate::sasl::*;
use crate::stage::{Client, HOST, Stage, alice, protected, stage};
use auth::{Auth, AuthOptions, Channel, SaslCondition, Step};
use storage::Storage;

/// A channel from that address.
fn from(address: &str) -> Channel {
    Channel {
        address: Some(std::net::SocketAddr::new(address.parse().unwrap(), 5222)),
        ..protected()
    }
}

async fn plain_over(stage: &Stage, channel: Channel, message: &str) -> Step {
    let mut exchange = stage.auth.start(HOST, "PLAIN", channel).unwrap();
    exchange.begin(Some(message.as_bytes())).await
}

fn waits(seconds: u32) -> Step {
    let text = format!("too many failed logins; try again in {seconds} s");
    Step::Failure(SaslCondition::TemporaryAuthFailure.text(text))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_budget_refuses_unknown_and_known_accounts_alike_until_the_wait_is_over() {
    let stage = stage().await;
    for name in ["alice", "nobody"] {
        let wrong = format!("\0{name}\0wrong");
        for number in 0..11 {
            let step = plain_over(&stage, from(&format!("192.0.2.{number}")), &wrong).await;
            assert_eq!(
                condition(&step),
                Some(SaslCondition::NotAuthorized),
                "{name} {number}"
            );
        }
        // Also with the right password, by every mechanism, and that is not counted.
        let right = format!("\0{name}\0pencil");
        for _ in 0..3 {
            assert_eq!(
                plain_over(&stage, from("198.51.100.1"), &right).await,
                waits(2)
            );
        }
        for mechanism in SCRAM {
            let client = Client {
                channel: from("198.51.100.1"),
                ..Client::new(mechanism, name, "pencil")
            };
            assert_eq!(client.run(&stage).await, waits(2), "{mechanism}");
        }
        // This machine itself never waits.
        let step = plain_over(&stage, from("127.0.0.1"), &right).await;
        assert_ne!(condition(&step), Some(SaslCondition::TemporaryAuthFailure));
    }
    assert_eq!(
        stage
            .auth
            .budgets()
            .list()
            .iter()
            .filter(|row| row.failures == 11)
            .count(),
        2
    );
    stage.hand.advance(Duration::from_secs(1)).await;
    let step = plain_over(&stage, from("198.51.100.1"), "\0alice\0pencil").await;
    assert!(matches!(step, Step::Success { .. }), "{step:?}");
    let left = stage.auth.budgets().list();
    assert!(
        !left.iter().any(|row| row.who == "alice@a.example"),
        "forgiven"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn exchanges_begun_before_the_budget_was_spent_do_not_escape_it() {
    let stage = stage().await;
    let client = Client {
        channel: from("192.0.2.1"),
        ..Client::new("SCRAM-SHA-256", "alice", "wrong")
    };
    let mut begun = Vec::new();
    for _ in 0..20 {
        let (exchange, Step::Challenge(challenge)) = client.start(&stage).await else {
            panic!("no challenge");
        };
        begun.push((exchange, challenge));
    }
    let mut judged = 0;
    for (mut exchange, challenge) in begun {
        let (last, _) = client.last(std::str::from_utf8(&challenge).unwrap());
        let step = exchange.step(last.as_bytes()).await;
        judged += usize::from(condition(&step) == Some(SaslCondition::NotAuthorized));
    }
    assert_eq!(judged, 11);
}

//
#[tokio::test(flavor = "multi_thread")]
async fn only_wrong_credentials_are_counted() {
    let stage = stage().await;
    let channel = || from("192.0.2.1");
    for message in ["", "\0alice", "bob@a.example\0alice\0pencil"] {
        plain_over(&stage, channel(), message).await;
    }
    assert!(stage.auth.start(HOST, "ROT13", channel()).is_err());
    stage
        .storage
        .accounts
        .set_disabled(&alice(), true)
        .await
        .unwrap();
    let step = plain_over(&stage, channel(), "\0alice\0pencil").await;
    assert_eq!(condition(&step), Some(SaslCondition::AccountDisabled));
    stage.processes.stop().await;
    for _ in 0..20 {
        let step = plain_over(&stage, channel(), "\0alice\0wrong").await;
        assert_eq!(condition(&step), Some(SaslCondition::TemporaryAuthFailure));
    }
    assert_eq!(stage.auth.budgets().list(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_silent_is_given_up_after_its_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let stage = stage().await;
    let silent = Storage::open(folder.path(), &stage.system).unwrap();
    let auth = Auth::new(silent, &stage.system, AuthOptions::default());
    let mut exchange = auth.start(HOST, "PLAIN", protected()).unwrap();
    let (step, ()) = tokio::join!(
        exchange.step(b"\0alice\0pencil"),
        stage.hand.advance(Duration::from_secs(5))
    );
    assert_eq!(condition(&step), Some(SaslCondition::TemporaryAuthFailure));
}
