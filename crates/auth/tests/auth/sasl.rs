//! Whole authentications against a real store (RFC 6120 §6, RFC 5802, RFC 4616).

use crate::stage::{Client, HOST, Stage, alice, bound, jid, protected, stage};
use auth::{Auth, AuthOptions, Channel, RegisterError, SaslCondition, Step};

pub(crate) const SCRAM: [&str; 3] = ["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1"];

pub(crate) fn condition(step: &Step) -> Option<SaslCondition> {
    match step {
        Step::Failure(failure) => Some(failure.condition),
        _ => None,
    }
}

pub(crate) async fn plain(stage: &Stage, message: &str) -> Step {
    let mut exchange = stage.auth.start(HOST, "PLAIN", protected()).unwrap();
    exchange.begin(Some(message.as_bytes())).await
}

pub(crate) fn scram_success() -> impl Fn(&Step) -> bool {
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
