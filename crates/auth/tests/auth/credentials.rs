//! What is stored of a password, and when it is made anew.

use crate::sasl::*;
use crate::stage::{Client, HOST, Stage, alice, jid, protected, stage};
use auth::{Auth, AuthOptions, Password, RegisterError, SaslCondition, Step};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Leaves an account with the credentials of one kind alone, as an import from elsewhere does.
async fn keep_only(stage: &Stage, account: &xmpp::BareJid, kind: &str) {
    let found = stage.storage.accounts.credentials(account).await;
    let mut credentials = found.unwrap().unwrap().credentials;
    credentials.retain(|credential| credential.kind == kind);
    assert_eq!(credentials.len(), 1, "{kind}");
    let accounts = &stage.storage.accounts;
    assert_eq!(
        accounts.set_credentials(account, credentials).await,
        Ok(true)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_seen_makes_the_missing_credentials() {
    let stage = stage().await;
    let kinds = async || {
        let found = stage.storage.accounts.credentials(&alice()).await;
        let found = found.unwrap().unwrap().credentials;
        found.iter().map(|c| c.kind.clone()).collect::<Vec<_>>()
    };
    keep_only(&stage, &alice(), "SCRAM-SHA-1").await;
    let step = plain(&stage, "\0alice\0pen").await;
    assert_eq!(condition(&step), Some(SaslCondition::NotAuthorized));
    assert_eq!(kinds().await, ["SCRAM-SHA-1"], "not from a wrong password");
    let step = plain(&stage, "\0alice\0pencil").await;
    assert!(matches!(step, Step::Success { .. }), "{step:?}");
    assert_eq!(
        kinds().await,
        ["SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"]
    );
    for mechanism in SCRAM {
        let step = Client::new(mechanism, "alice", "pencil").run(&stage).await;
        assert!(scram_success()(&step), "{mechanism}: {step:?}");
    }
    keep_only(&stage, &alice(), "SCRAM-SHA-256").await;
    assert_eq!(
        stage.auth.check_password(&alice(), &"pencil".into()).await,
        Ok(true)
    );
    assert_eq!(kinds().await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_with_too_few_iterations_are_made_anew() {
    let stage = stage().await;
    let options = AuthOptions {
        iterations: 5000,
        ..AuthOptions::default()
    };
    let stronger = Auth::new(stage.storage.clone(), &stage.system, options);
    let mut exchange = stronger.start(HOST, "PLAIN", protected()).unwrap();
    let step = exchange.step(b"\0alice\0pencil").await;
    assert!(matches!(step, Step::Success { .. }), "{step:?}");
    let found = stage.storage.accounts.credentials(&alice()).await;
    for credential in &found.unwrap().unwrap().credentials {
        assert!(
            credential.parameters.starts_with(b"i=5000,"),
            "{}",
            credential.kind
        );
    }
    let step = Client::new("SCRAM-SHA-1", "alice", "pencil")
        .run(&stage)
        .await;
    assert!(scram_success()(&step), "{step:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mechanism_that_an_account_has_no_keys_for_is_not_offered() {
    let stage = stage().await;
    let bob = jid("bob@a.example");
    stage.auth.register(&bob, "secret".into()).await.unwrap();
    keep_only(&stage, &bob, "SCRAM-SHA-1").await;
    stage.auth.survey(HOST).await.unwrap();
    let offered = |host| stage.auth.mechanisms(host, &protected());
    assert_eq!(offered(HOST), ["SCRAM-SHA-1", "PLAIN"]);
    assert_eq!(offered("b.example").len(), 4, "a host of its own");
    assert!(matches!(
        plain(&stage, "\0bob\0secret").await,
        Step::Success { .. }
    ));
    assert_eq!(offered(HOST).len(), 4, "the last one has them now");
    // One that came unseen is noticed at its first login, which looks as with a wrong password.
    keep_only(&stage, &bob, "SCRAM-SHA-256").await;
    let step = Client::new("SCRAM-SHA-512", "bob", "secret")
        .run(&stage)
        .await;
    assert_eq!(condition(&step), Some(SaslCondition::NotAuthorized));
    assert_eq!(offered(HOST), ["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"]);
    stage.auth.set_password(&bob, "other".into()).await.unwrap();
    assert_eq!(offered(HOST).len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_made_changed_and_removed() {
    let stage = stage().await;
    let auth = &stage.auth;
    assert_eq!(
        auth.register(&alice(), "other".into()).await,
        Err(RegisterError::Exists)
    );
    assert_eq!(
        auth.check_password(&alice(), &"pencil".into()).await,
        Ok(true),
        "nothing changed"
    );
    let bob = jid("bob@a.example");
    for password in ["", "\u{ad}", "a\u{7}b"] {
        let refused = auth.register(&bob, password.into()).await;
        assert!(
            matches!(refused, Err(RegisterError::NotAcceptable(_))),
            "{password:?}"
        );
        let refused = auth.set_password(&alice(), password.into()).await;
        assert!(
            matches!(refused, Err(RegisterError::NotAcceptable(_))),
            "{password:?}"
        );
    }
    assert_eq!(auth.exists(&bob).await, Ok(false));
    let refused = auth.register(&jid("a.example"), "secret".into()).await;
    assert!(
        matches!(refused, Err(RegisterError::NotAcceptable(_))),
        "{refused:?}"
    );
    assert_eq!(
        auth.set_password(&bob, "secret".into()).await,
        Err(RegisterError::NoAccount)
    );
    assert_eq!(
        auth.set_password(&alice(), Password::new("crayon".to_owned()))
            .await,
        Ok(())
    );
    assert!(scram_success()(
        &Client::new("SCRAM-SHA-1", "alice", "crayon")
            .run(&stage)
            .await
    ));
    assert_eq!(
        condition(
            &Client::new("SCRAM-SHA-1", "alice", "pencil")
                .run(&stage)
                .await
        ),
        Some(SaslCondition::NotAuthorized)
    );
    assert_eq!(auth.remove(&alice()).await, Ok(true));
    assert_eq!(auth.remove(&alice()).await, Ok(false));
    assert_eq!(
        condition(&plain(&stage, "\0alice\0crayon").await),
        Some(SaslCondition::NotAuthorized)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_name_at_two_hosts_is_two_accounts() {
    let stage = stage().await;
    stage
        .auth
        .register(&jid("alice@b.example"), "crayon".into())
        .await
        .unwrap();
    let mut exchange = stage.auth.start("b.example", "PLAIN", protected()).unwrap();
    assert_eq!(
        condition(&exchange.step(b"\0alice\0pencil").await),
        Some(SaslCondition::NotAuthorized)
    );
    let mut exchange = stage.auth.start("b.example", "PLAIN", protected()).unwrap();
    let step = exchange.step(b"\0alice\0crayon").await;
    assert!(matches!(step, Step::Success { account, .. } if account == jid("alice@b.example")));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_keys_are_stored() {
    let stage = stage().await;
    let account = stage
        .storage
        .accounts
        .credentials(&alice())
        .await
        .unwrap()
        .unwrap();
    let kinds: Vec<&str> = account
        .credentials
        .iter()
        .map(|credential| credential.kind.as_str())
        .collect();
    assert_eq!(kinds, ["SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"]);
    for credential in &account.credentials {
        let text = String::from_utf8(credential.parameters.clone()).unwrap();
        assert!(text.starts_with("i=4096,s="), "{}", credential.kind);
        assert!(
            !text.contains("pencil") && !text.contains(&STANDARD.encode("pencil")),
            "{}",
            credential.kind
        );
    }
}
