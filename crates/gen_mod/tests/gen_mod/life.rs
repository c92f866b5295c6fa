//! Start, stop, restart, reload.

use gen_mod::State;

use crate::cast::CATALOG;
use crate::rig::{Rig, section};

const ALL: &[&str] = &[
    "all.a.example actor",
    "hook heard",
    "feature urn:all",
    "command all",
    "extra",
];

#[tokio::test]
async fn modules_start_behind_what_they_depend_on() {
    let rig = Rig::start(CATALOG, &["mod_after", "mod_needs", "mod_base"]).await;
    assert_eq!(rig.script.take(), ["mod_base", "mod_needs", "mod_after"]);
    rig.stop().await;
    let rig = Rig::start(CATALOG, &["mod_soft_a", "mod_soft_b"]).await;
    assert_eq!(
        rig.running(),
        ["mod_soft_a", "mod_soft_b"],
        "a soft circle is broken"
    );
    rig.stop().await;
    let error = Rig::try_start(CATALOG, &["mod_hard_a", "mod_hard_b"])
        .await
        .err()
        .expect("a hard circle");
    assert!(
        error.contains("mod_hard_a needs mod_hard_b, which is not running"),
        "{error}"
    );
}

#[tokio::test]
async fn what_depends_is_told() {
    let rig = Rig::start(CATALOG, &[]).await;
    let error = rig
        .modules
        .start("mod_needs", section(&[]))
        .await
        .expect_err("nothing runs");
    assert_eq!(
        error.to_string(),
        "mod_needs needs mod_base, which is not running; start mod_base first"
    );
    rig.modules
        .start("mod_base", section(&[]))
        .await
        .expect("starts");
    rig.modules
        .start("mod_needs", section(&[]))
        .await
        .expect("starts");
    let error = rig.modules.stop("mod_base").await.expect_err("needed");
    assert_eq!(
        error.to_string(),
        "mod_base is needed by mod_needs; stop mod_needs first"
    );
    rig.modules.stop("mod_needs").await.expect("stops");
    rig.modules.stop("mod_base").await.expect("stops");
    assert!(rig.host.modules.list().is_empty());
    rig.stop().await;
}

#[tokio::test]
async fn orders_that_cannot_be_followed_say_why() {
    let rig = Rig::start(CATALOG, &["mod_base"]).await;
    for (name, words, why) in [
        (
            "mod_bass",
            &[] as &[&str],
            "unknown module `mod_bass`; did you mean `mod_base`?",
        ),
        (
            "mod_base",
            &[],
            "mod_base is already running; `restart_module` starts it anew",
        ),
    ] {
        let error = rig
            .modules
            .start(name, section(words))
            .await
            .expect_err(why);
        assert_eq!(error.to_string(), why);
    }
    for (words, part) in [
        (&["grade=12"] as &[&str], "grade"),
        (&["grad=1"], "did you mean `grade`"),
        (&["domain=a b"], "is not a domain"),
    ] {
        let error = rig
            .modules
            .start("mod_all", section(words))
            .await
            .expect_err(part);
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!(rig.state("mod_all"), None);
    }
    for why in [
        rig.modules.stop("mod_all").await.expect_err("does not run"),
        rig.modules
            .restart("mod_all")
            .await
            .expect_err("does not run"),
        rig.modules
            .reload("mod_all", section(&[]))
            .await
            .expect_err("does not run"),
    ] {
        assert_eq!(why.to_string(), "mod_all is not running");
    }
    assert!(rig.registered().is_empty());
    rig.stop().await;
}

#[tokio::test]
async fn a_module_registers_all_and_takes_all_back_before_the_answer() {
    let rig = Rig::start(CATALOG, &[]).await;
    rig.modules
        .start("mod_all", section(&["grade=3"]))
        .await
        .expect("starts");
    assert_eq!(rig.registered(), ALL);
    rig.modules.stop("mod_all").await.expect("stops");
    assert!(rig.registered().is_empty(), "{:?}", rig.registered());
    assert_eq!(
        rig.script.take(),
        [
            "mod_all starts with grade 3",
            "mod_all stops (shutdown) with []"
        ]
    );
    assert!(
        !rig.host.router.is_local("all.a.example"),
        "its domain is anybody's again"
    );
    rig.stop().await;
}

#[tokio::test]
async fn a_start_that_fails_leaves_nothing() {
    let rig = Rig::start(CATALOG, &[]).await;
    for (order, why) in [
        (
            "refuse to start",
            "mod_all did not start: ordered to refuse",
        ),
        (
            "refuse to install",
            "mod_all did not start: the second is taken",
        ),
    ] {
        rig.script.order(order);
        let error = rig
            .modules
            .start("mod_all", section(&[]))
            .await
            .expect_err(order);
        assert_eq!(error.to_string(), why);
        assert!(
            rig.registered().is_empty(),
            "{order}: {:?}",
            rig.registered()
        );
        assert!(!rig.host.router.is_local("all.a.example"));
        rig.script.revoke(order);
    }
    rig.script.order("panic at start");
    let error = rig
        .modules
        .start("mod_all", section(&[]))
        .await
        .expect_err("panics");
    assert!(error.to_string().contains("ordered"), "{error}");
    rig.script.revoke("panic at start");
    rig.modules
        .start("mod_all", section(&[]))
        .await
        .expect("starts");
    // The thief's own domain, and its hook, are not left behind when it finds the other taken.
    let error = rig
        .modules
        .start("mod_thief", section(&[]))
        .await
        .expect_err("taken");
    assert_eq!(
        error.to_string(),
        "mod_thief did not start: domain all.a.example is already routed to mod_all of a.example"
    );
    assert_eq!(rig.registered(), ALL);
    rig.stop().await;
}

#[tokio::test]
async fn new_options_are_taken_live_or_by_a_restart_or_not_at_all() {
    let rig = Rig::start(CATALOG, &["mod_all"]).await;
    let process = rig.process("mod_all").id();
    rig.modules
        .reload("mod_all", section(&["grade=5"]))
        .await
        .expect("live");
    assert_eq!(rig.process("mod_all").id(), process);
    assert_eq!(
        rig.script.take(),
        ["mod_all starts with grade 1", "reloads to grade 5"]
    );

    let error = rig
        .modules
        .reload("mod_all", section(&["grade=10"]))
        .await
        .expect_err("out of range");
    assert!(error.to_string().contains("grade"), "{error}");
    assert_eq!(rig.process("mod_all").id(), process);
    assert!(rig.script.take().is_empty());

    rig.modules
        .reload("mod_all", section(&["domain=other.@HOST@"]))
        .await
        .expect("by a restart");
    assert_ne!(rig.process("mod_all").id(), process);
    assert!(
        rig.registered()
            .contains(&"other.a.example actor".to_owned())
    );
    assert!(!rig.host.router.is_local("all.a.example"));

    // The new options cannot be used: the old ones hold again.
    rig.script.take();
    let error = rig
        .modules
        .reload("mod_all", section(&["domain=no domain"]))
        .await
        .expect_err("no domain");
    assert!(error.to_string().contains("is not a domain"), "{error}");
    assert_eq!(rig.state("mod_all"), Some(State::Running));
    assert!(
        rig.registered()
            .contains(&"other.a.example actor".to_owned())
    );
    rig.stop().await;
}

#[tokio::test]
async fn a_restart_that_fails_shows_it_and_keeps_the_domain() {
    let rig = Rig::start(CATALOG, &["mod_all"]).await;
    rig.script.order("refuse to start");
    let error = rig.modules.restart("mod_all").await.expect_err("ordered");
    assert_eq!(
        error.to_string(),
        "mod_all did not start: ordered to refuse"
    );
    assert_eq!(
        rig.state("mod_all"),
        Some(State::Failed(
            "mod_all did not start: ordered to refuse".into()
        ))
    );
    assert_eq!(rig.registered(), ["all.a.example down"]);
    rig.script.revoke("refuse to start");
    rig.modules.restart("mod_all").await.expect("starts again");
    assert_eq!(rig.registered(), ALL);
    rig.stop().await;
}
