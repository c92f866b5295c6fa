//! Whole authentications against a real store (RFC 6120 §6, RFC 5802, RFC 4616).

mod stage;

use std::time::Duration;

use auth::{
    Auth, AuthOptions, Channel, Password, RegisterError, SaslCondition, SaslFailure, Step,
    decode_initial,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use stage::{Client, HOST, Stage, alice, bound, jid, protected, stage};
use storage::Storage;

const SCRAM: [&str; 3] = ["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1"];

fn condition(step: &Step) -> Option<SaslCondition> {
    match step {
        Step::Failure(failure) => Some(failure.condition),
        _ => None,
    }
}

async fn plain(stage: &Stage, message: &str) -> Step {
    let mut exchange = stage.auth.start(HOST, "PLAIN", protected()).unwrap();
    exchange.begin(Some(message.as_bytes())).await
}

fn scram_success() -> impl Fn(&Step) -> bool {
    |step| matches!(step, Step::Success { account, data: Some(_) } if *account == alice())
}

//
#[tokio::test(flavor = "multi_thread")]
async fn mechanisms_are_offered_best_first_and_plain_only_where_allowed() {
    let stage = stage().await;
    let with_plain = ["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"];
    assert_eq!(stage.auth.mechanisms(HOST, &protected()), with_plain);
    assert_eq!(stage.auth.mechanisms(HOST, &Channel::default()), SCRAM);
    assert_eq!(stage.auth.mechanisms("b.example", &protected()), with_plain);
    let refused = |mechanism, protected| {
        let channel = Channel {
            protected,
            ..Channel::default()
        };
        stage
            .auth
            .start(HOST, mechanism, channel)
            .err()
            .map(|failure| failure.condition)
    };
    assert_eq!(
        refused("PLAIN", false),
        Some(SaslCondition::EncryptionRequired)
    );
    for unknown in [
        "",
        "plain",
        "SCRAM-SHA-256-PLUS",
        "SCRAM-SHA-384",
        "ANONYMOUS",
        "EXTERNAL",
    ] {
        assert_eq!(
            refused(unknown, true),
            Some(SaslCondition::InvalidMechanism),
            "{unknown}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_password_logs_in_by_every_mechanism() {
    let stage = stage().await;
    for mechanism in SCRAM {
        let step = Client::new(mechanism, "alice", "pencil").run(&stage).await;
        assert!(scram_success()(&step), "{mechanism}: {step:?}");
        // Names are prepared: case is folded.
        let step = Client::new(mechanism, "Alice", "pencil").run(&stage).await;
        assert!(scram_success()(&step), "{mechanism}: {step:?}");
    }
    let success = Step::Success {
        account: alice(),
        data: None,
    };
    assert_eq!(plain(&stage, "\0alice\0pencil").await, success);
    // RFC 6120 §6.4.2: without an initial response the server asks for it.
    let mut exchange = stage.auth.start(HOST, "PLAIN", protected()).unwrap();
    assert_eq!(exchange.begin(None).await, Step::Challenge(Vec::new()));
    assert_eq!(exchange.step(b"\0alice\0pencil").await, success);
    let again = exchange.step(b"\0alice\0pencil").await;
    assert_eq!(
        condition(&again),
        Some(SaslCondition::MalformedRequest),
        "it is over"
    );
}

//
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_an_unknown_account_look_alike() {
    let stage = stage().await;
    for mechanism in SCRAM {
        let mut answers = Vec::new();
        for (user, password) in [
            ("alice", "pen"),
            ("nobody", "pencil"),
            ("no@body", "pencil"),
            ("\u{7}", "pencil"),
        ] {
            let client = Client::new(mechanism, user, password);
            let (_, Step::Challenge(challenge)) = client.start(&stage).await else {
                panic!("{user} is told apart at the first step");
            };
            let challenge = String::from_utf8(challenge).unwrap();
            let (_, of_salt) = challenge.split_once(",s=").unwrap();
            let (_, Step::Challenge(again)) = client.start(&stage).await else {
                panic!("{user} is told apart at the first step");
            };
            let again = String::from_utf8(again).unwrap();
            assert_eq!(
                again.split_once(",s=").unwrap().1,
                of_salt,
                "the salt of {user} changes"
            );
            assert_ne!(again, challenge, "the nonce does not");
            answers.push((of_salt.len(), client.run(&stage).await));
        }
        let first = &answers[0];
        assert_eq!(first.1, Step::Failure(SaslCondition::NotAuthorized.into()));
        assert!(answers.iter().all(|answer| answer == first), "{answers:?}");
    }
    let wrong = plain(&stage, "\0alice\0pen").await;
    assert_eq!(wrong, Step::Failure(SaslCondition::NotAuthorized.into()));
    assert_eq!(plain(&stage, "\0nobody\0pencil").await, wrong);
    assert_eq!(plain(&stage, "\0no@body\0pencil").await, wrong);
    assert_eq!(plain(&stage, "\0alice@a.example\0pencil").await, wrong);
}

//
#[tokio::test(flavor = "multi_thread")]
async fn made_up_salts_are_the_same_for_all_writings_of_a_name_and_after_a_restart() {
    let stage = stage().await;
    let salt = async |auth: &Auth, user: &str| {
        let mut exchange = auth.start(HOST, "SCRAM-SHA-256", protected()).unwrap();
        let Step::Challenge(challenge) = exchange.step(format!("n,,n={user},r=x").as_bytes()).await
        else {
            panic!("no challenge");
        };
        String::from_utf8(challenge)
            .unwrap()
            .split_once(",s=")
            .unwrap()
            .1
            .to_owned()
    };
    let nobody = salt(&stage.auth, "nobody").await;
    assert_eq!(salt(&stage.auth, "NoBody").await, nobody);
    assert_ne!(salt(&stage.auth, "somebody").await, nobody);
    let options = AuthOptions {
        iterations: 4096,
        ..AuthOptions::default()
    };
    let restarted = Auth::new(stage.storage.clone(), &stage.system, options);
    assert_eq!(salt(&restarted, "nobody").await, nobody);
}

//
#[tokio::test(flavor = "multi_thread")]
async fn nobody_can_act_as_another() {
    let stage = stage().await;
    stage
        .auth
        .register(&jid("bob@a.example"), "secret".into())
        .await
        .unwrap();
    for own in ["alice@a.example", "ALICE@A.EXAMPLE"] {
        let step = plain(&stage, &format!("{own}\0alice\0pencil")).await;
        assert!(matches!(step, Step::Success { .. }), "{own}: {step:?}");
    }
    for foreign in [
        "bob@a.example",
        "alice@a.example/desk",
        "alice@b.example",
        "a.example",
        "alice",
        "@",
        "alice@a.example/",
    ] {
        let step = plain(&stage, &format!("{foreign}\0alice\0pencil")).await;
        assert_eq!(
            condition(&step),
            Some(SaslCondition::InvalidAuthzid),
            "{foreign}"
        );
    }
    for (gs2_header, expected) in [
        ("n,a=alice@a.example,", None),
        ("n,a=bob@a.example,", Some(SaslCondition::InvalidAuthzid)),
        (
            "n,a=alice@a.example/desk,",
            Some(SaslCondition::InvalidAuthzid),
        ),
    ] {
        let client = Client {
            gs2_header,
            ..Client::new("SCRAM-SHA-256", "alice", "pencil")
        };
        assert_eq!(
            condition(&client.run(&stage).await),
            expected,
            "{gs2_header}"
        );
    }
}

//
#[tokio::test(flavor = "multi_thread")]
async fn channel_binding_flags_are_judged() {
    let stage = stage().await;
    let (malformed, refused) = (
        Some(SaslCondition::MalformedRequest),
        Some(SaslCondition::NotAuthorized),
    );
    let cases = [
        // mechanism, flag, binding data, over a channel without bindings, over one with
        ("SCRAM-SHA-256", "n,,", "", None, None),
        ("SCRAM-SHA-256", "y,,", "", None, refused),
        (
            "SCRAM-SHA-256",
            "p=tls-exporter,,",
            "exported",
            malformed,
            malformed,
        ),
        ("SCRAM-SHA-256", "p=tls-unique,,", "", malformed, malformed),
        (
            "SCRAM-SHA-512-PLUS",
            "p=tls-exporter,,",
            "exported",
            None,
            None,
        ),
        (
            "SCRAM-SHA-256-PLUS",
            "p=tls-exporter,,",
            "exported",
            None,
            None,
        ),
        (
            "SCRAM-SHA-1-PLUS",
            "p=tls-server-end-point,,",
            "hash",
            None,
            None,
        ),
        (
            "SCRAM-SHA-1-PLUS",
            "p=tls-server-end-point,,",
            "exported",
            None,
            refused,
        ),
        ("SCRAM-SHA-1-PLUS", "p=tls-exporter,,", "", None, refused),
        (
            "SCRAM-SHA-1-PLUS",
            "p=tls-exporter,,",
            "exported!",
            None,
            refused,
        ),
        (
            "SCRAM-SHA-1-PLUS",
            "p=tls-unique,,",
            "exported",
            None,
            refused,
        ),
        (
            "SCRAM-SHA-1-PLUS",
            "p=TLS-EXPORTER,,",
            "exported",
            None,
            refused,
        ),
        ("SCRAM-SHA-1-PLUS", "n,,", "", None, malformed),
        ("SCRAM-SHA-1-PLUS", "y,,", "", None, malformed),
    ];
    for (mechanism, gs2_header, binding, without, with) in cases {
        let client = |channel: Channel| Client {
            gs2_header,
            binding,
            channel,
            ..Client::new(mechanism, "alice", "pencil")
        };
        let told = format!("{mechanism} {gs2_header} {binding}");
        let step = client(bound()).run(&stage).await;
        assert_eq!(condition(&step), with, "{told}: {step:?}");
        if mechanism.ends_with("-PLUS") {
            let refused = stage.auth.start(HOST, mechanism, Channel::default()).err();
            let refused = refused.map(|failure| failure.condition);
            assert_eq!(refused, Some(SaslCondition::InvalidMechanism), "{told}");
        } else {
            let step = client(Channel::default()).run(&stage).await;
            assert_eq!(condition(&step), without, "{told}: {step:?}");
        }
    }
    let unknown = Client {
        gs2_header: "p=tls-unique,,",
        channel: bound(),
        ..Client::new("SCRAM-SHA-256-PLUS", "alice", "pencil")
    };
    let failure = SaslCondition::NotAuthorized.text("unsupported-channel-binding-type");
    assert_eq!(unknown.run(&stage).await, Step::Failure(failure));
}

//
#[tokio::test(flavor = "multi_thread")]
async fn mechanisms_with_binding_come_first_where_there_is_one() {
    let stage = stage().await;
    assert_eq!(
        stage.auth.mechanisms(HOST, &bound()),
        [
            "SCRAM-SHA-512-PLUS",
            "SCRAM-SHA-256-PLUS",
            "SCRAM-SHA-1-PLUS",
            "SCRAM-SHA-512",
            "SCRAM-SHA-256",
            "SCRAM-SHA-1",
            "PLAIN"
        ]
    );
}

/// A channel whose client's certificate names these addresses.
fn certified(addresses: &[&str]) -> Channel {
    Channel {
        certified: addresses.iter().map(|a| (*a).to_owned()).collect(),
        ..protected()
    }
}

//
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_logs_in_the_accounts_it_names() {
    let stage = stage().await;
    let bob = jid("bob@a.example");
    stage.auth.register(&bob, "secret".into()).await.unwrap();
    stage
        .storage
        .accounts
        .set_disabled(&bob, true)
        .await
        .unwrap();
    let (foreign, malformed) = (
        Err(SaslCondition::InvalidAuthzid),
        Err(SaslCondition::MalformedRequest),
    );
    let alice = Ok("alice@a.example");
    let one: &[&str] = &["alice@a.example"];
    let several: &[&str] = &[
        "alice@a.example",
        "bob@a.example",
        "nobody@a.example",
        "carol@b.example",
    ];
    let long = "x".repeat(1025);
    type Case<'a> = (&'a [&'a str], &'a [u8], Result<&'a str, SaslCondition>);
    let cases: [Case<'_>; 19] = [
        (one, b"", alice),
        (one, b"alice@a.example", alice),
        (one, "ALICE@A.example".as_bytes(), alice),
        (&["Alice@A.EXAMPLE"], b"", alice),
        (&["alice@a.example", "carol@b.example"], b"", alice),
        (&["alice@a.example", "ALICE@a.example"], b"", alice),
        (one, b"bob@a.example", foreign),
        (one, b"alice@a.example/desk", foreign),
        (one, b"alice", foreign),
        (one, b"a.example", foreign),
        (one, b"alice@b.example", foreign),
        (several, b"", foreign),
        (several, b"alice@a.example", alice),
        (several, b"carol@b.example", foreign),
        (
            several,
            b"bob@a.example",
            Err(SaslCondition::AccountDisabled),
        ),
        (
            several,
            b"nobody@a.example",
            Err(SaslCondition::NotAuthorized),
        ),
        (one, b"alice@a.example\0", malformed),
        (one, b"\xff", malformed),
        (one, long.as_bytes(), malformed),
    ];
    for (named, authzid, expected) in cases {
        let told = format!("{named:?} {}", String::from_utf8_lossy(authzid));
        let mut exchange = stage
            .auth
            .start(HOST, "EXTERNAL", certified(named))
            .unwrap();
        let step = exchange.begin(Some(authzid)).await;
        match (&step, expected) {
            (
                Step::Success {
                    account,
                    data: None,
                },
                Ok(name),
            ) => assert_eq!(*account, jid(name), "{told}"),
            (Step::Failure(failure), Err(condition)) => {
                assert_eq!(failure.condition, condition, "{told}")
            }
            _ => panic!("{told}: {step:?}"),
        }
    }
    // Asked for, it may be empty as well.
    let mut exchange = stage.auth.start(HOST, "EXTERNAL", certified(one)).unwrap();
    assert_eq!(exchange.begin(None).await, Step::Challenge(Vec::new()));
    assert!(matches!(exchange.step(b"").await, Step::Success { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn external_is_offered_only_to_a_certificate_with_an_account_of_the_host() {
    let stage = stage().await;
    let offered = |channel: &Channel| stage.auth.mechanisms(HOST, channel)[0] == "EXTERNAL";
    assert!(offered(&certified(&["alice@a.example"])));
    assert!(offered(&certified(&["carol@b.example", "alice@a.example"])));
    for useless in [
        &[][..],
        &["alice@b.example"],
        &["a.example"],
        &["alice@a.example/desk"],
        &["@"],
    ] {
        assert!(!offered(&certified(useless)), "{useless:?}");
        let refused = stage.auth.start(HOST, "EXTERNAL", certified(useless)).err();
        let refused = refused.map(|failure| failure.condition);
        assert_eq!(
            refused,
            Some(SaslCondition::InvalidMechanism),
            "{useless:?}"
        );
    }
    stage.processes.stop().await;
    let mut exchange = stage
        .auth
        .start(HOST, "EXTERNAL", certified(&["alice@a.example"]))
        .unwrap();
    let step = exchange.begin(Some(b"")).await;
    assert_eq!(condition(&step), Some(SaslCondition::TemporaryAuthFailure));
}

//
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_final_message_fails() {
    let stage = stage().await;
    let client = Client::new("SCRAM-SHA-256", "alice", "pencil");
    type Change = fn(String) -> String;
    let changes: [(Change, SaslCondition); 6] = [
        (
            |last| last.replace("c=biws", "c=eSws"),
            SaslCondition::NotAuthorized,
        ),
        (
            |last| last.replace("r=clientnonce", "r=clientnoncf"),
            SaslCondition::NotAuthorized,
        ),
        (
            |last| last.replace(",r=", ",x=1,r="),
            SaslCondition::MalformedRequest,
        ),
        (
            |last| last.replace(",p=", ",x=1,p="),
            SaslCondition::NotAuthorized,
        ),
        (
            |last| last.split(",p=").next().unwrap_or_default().to_owned(),
            SaslCondition::MalformedRequest,
        ),
        (
            |last| {
                format!(
                    "{}AAAA",
                    last.split("p=").next().unwrap_or_default().to_owned() + "p="
                )
            },
            SaslCondition::NotAuthorized,
        ),
    ];
    for (number, (change, expected)) in changes.into_iter().enumerate() {
        let (mut exchange, Step::Challenge(challenge)) = client.start(&stage).await else {
            panic!("no challenge");
        };
        let (last, _) = client.last(std::str::from_utf8(&challenge).unwrap());
        let step = exchange.step(change(last.clone()).as_bytes()).await;
        assert_eq!(
            condition(&step),
            Some(expected),
            "change {number}: {step:?}"
        );
        let step = exchange.step(last.as_bytes()).await;
        assert_eq!(
            condition(&step),
            Some(SaslCondition::MalformedRequest),
            "one attempt each"
        );
    }
    // An old proof does not fit a new challenge.
    let (_, Step::Challenge(old)) = client.start(&stage).await else {
        panic!("no challenge");
    };
    let (last, _) = client.last(std::str::from_utf8(&old).unwrap());
    let (mut exchange, _) = client.start(&stage).await;
    assert_eq!(
        condition(&exchange.step(last.as_bytes()).await),
        Some(SaslCondition::NotAuthorized)
    );
}

//
#[tokio::test(flavor = "multi_thread")]
async fn passwords_typed_differently_are_equal_both_ways() {
    let stage = stage().await;
    let (spaced, accented) = (jid("spaced@a.example"), jid("accented@a.example"));
    stage
        .auth
        .register(&spaced, "a\u{a0}b".into())
        .await
        .unwrap();
    stage
        .auth
        .register(&accented, "caf\u{e9}".into())
        .await
        .unwrap();
    for (account, password) in [
        (&spaced, "a b"),
        (&spaced, "a\u{a0}b"),
        (&accented, "cafe\u{301}"),
        (&accented, "caf\u{e9}"),
    ] {
        assert_eq!(
            stage.auth.check_password(account, &password.into()).await,
            Ok(true),
            "{password}"
        );
        let step = plain(
            &stage,
            &format!("\0{}\0{password}", account.node().unwrap()),
        )
        .await;
        assert!(matches!(step, Step::Success { .. }), "{password}: {step:?}");
    }
    // A SCRAM client prepares by itself.
    let step = Client::new("SCRAM-SHA-256", "spaced", "a b")
        .run(&stage)
        .await;
    assert!(matches!(step, Step::Success { .. }), "{step:?}");
    assert_eq!(
        stage.auth.check_password(&accented, &"cafe".into()).await,
        Ok(false)
    );
    assert_eq!(
        stage.auth.check_password(&accented, &"\u{7}".into()).await,
        Ok(false)
    );
    assert_eq!(
        stage
            .auth
            .check_password(&jid("nobody@a.example"), &"x".into())
            .await,
        Ok(false)
    );
}

//
#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_account_is_told_so_only_with_its_password() {
    let stage = stage().await;
    stage
        .storage
        .accounts
        .set_disabled(&alice(), true)
        .await
        .unwrap();
    for mechanism in SCRAM {
        let right = Client::new(mechanism, "alice", "pencil").run(&stage).await;
        assert_eq!(condition(&right), Some(SaslCondition::AccountDisabled));
        let wrong = Client::new(mechanism, "alice", "pen").run(&stage).await;
        assert_eq!(condition(&wrong), Some(SaslCondition::NotAuthorized));
    }
    assert_eq!(
        condition(&plain(&stage, "\0alice\0pencil").await),
        Some(SaslCondition::AccountDisabled)
    );
    assert_eq!(
        condition(&plain(&stage, "\0alice\0pen").await),
        Some(SaslCondition::NotAuthorized)
    );
}

//
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_answer_is_neither_yes_nor_no() {
    let stage = stage().await;
    stage.processes.stop().await;
    let temporary = Some(SaslCondition::TemporaryAuthFailure);
    assert_eq!(
        condition(&plain(&stage, "\0alice\0pencil").await),
        temporary
    );
    assert_eq!(
        condition(&plain(&stage, "\0nobody\0pencil").await),
        temporary
    );
    for mechanism in SCRAM {
        assert_eq!(
            condition(&Client::new(mechanism, "alice", "pencil").run(&stage).await),
            temporary
        );
    }
    let refused = stage
        .auth
        .register(&jid("bob@a.example"), "secret".into())
        .await;
    assert!(
        matches!(refused, Err(RegisterError::Store(_))),
        "{refused:?}"
    );
    assert!(
        stage
            .auth
            .check_password(&alice(), &"pencil".into())
            .await
            .is_err()
    );
}

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

#[test]
fn an_abort_has_its_answer() {
    assert_eq!(
        SaslFailure::from(SaslCondition::Aborted).condition.as_str(),
        "aborted"
    );
    assert_eq!(
        SaslFailure::from(SaslCondition::Aborted).to_string(),
        "aborted"
    );
}

/// Messages that come close to the grammar, and bytes that do not.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let field = prop_oneof![
        Just("n".to_owned()),
        Just("y".to_owned()),
        Just("n=alice".to_owned()),
        Just("r=clientnonce".to_owned()),
        Just("c=biws".to_owned()),
        Just("p=AAAA".to_owned()),
        Just(String::new()),
        "[a-z]=[ -~]{0,8}",
        "\\PC{0,6}",
    ];
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        proptest::collection::vec(field.clone(), 0..8)
            .prop_map(|fields| fields.join(",").into_bytes()),
        proptest::collection::vec(field, 0..4).prop_map(|fields| fields.join("\0").into_bytes()),
    ]
}

/// Whatever is sent at whichever step is answered, and nobody gets in by it.
#[test]
fn nonsense_is_answered_with_a_failure() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let stage = runtime.block_on(stage());
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(128)
    };
    proptest!(config, |(messages in proptest::collection::vec(message(), 1..4), proper_start: bool, which in 0..5_usize)| {
        let mechanism = ["PLAIN", "SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "SCRAM-SHA-256-PLUS"][which];
        let ends = runtime.block_on(async {
            let mut exchange = stage.auth.start(HOST, mechanism, bound()).unwrap();
            if proper_start && mechanism != "PLAIN" {
                let flag = if mechanism.ends_with("-PLUS") { "p=tls-exporter" } else { "n" };
                let step = exchange.step(format!("{flag},,n=alice,r=clientnonce").as_bytes()).await;
                assert!(matches!(step, Step::Challenge(_)));
            }
            let mut steps = Vec::new();
            for message in &messages {
                steps.push(exchange.step(message).await);
            }
            steps
        });
        for step in ends {
            let is_success = matches!(step, Step::Success { .. });
            prop_assert!(!is_success);
        }
    });
    runtime.block_on(stage.processes.stop());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// The text of an element is read or refused, never a panic, and what is read is what was meant.
    #[test]
    fn any_text_is_decoded_or_refused(text in "\\PC{0,40}", bytes in proptest::collection::vec(any::<u8>(), 1..40)) {
        if let Err(failure) = decode_initial(&text) {
            prop_assert_eq!(failure.condition, SaslCondition::IncorrectEncoding);
        }
        let read = decode_initial(&STANDARD.encode(&bytes)).unwrap().unwrap();
        prop_assert_eq!(read.as_slice(), bytes.as_slice());
    }
}
