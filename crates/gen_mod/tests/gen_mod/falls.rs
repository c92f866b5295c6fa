//! What happens when a module, the loader or their supervisors fall.

use std::time::Duration;

use gen_mod::{State, modules_sup_name};
use otp::Fault;

use crate::cast::CATALOG;
use crate::rig::{HOST, Rig, section};

/// Makes the process of `mod_all` panic and waits for what comes of it.
async fn fall(rig: &Rig, what: &str, then: impl Fn(&Rig) -> bool) {
    let process = rig.process("mod_all");
    process.fault(Fault::Panic);
    process.watch().await;
    rig.until(what, then).await;
}

fn is_back(rig: &Rig) -> bool {
    rig.row("mod_all").is_some_and(|row| row.process.is_some()) && rig.registered().len() == 5
}

#[tokio::test]
async fn a_module_that_fell_is_back_with_all_it_registered() {
    let rig = Rig::start(CATALOG, &["mod_all", "mod_base"]).await;
    rig.modules
        .reload("mod_all", section(&["grade=7"]))
        .await
        .expect("live");
    let base = rig.process("mod_base").id();
    rig.script.take();
    fall(&rig, "it is back", is_back).await;
    assert_eq!(
        rig.script.take(),
        ["mod_all starts with grade 7"],
        "with the options that hold"
    );
    assert_eq!(rig.process("mod_base").id(), base);
    rig.stop().await;
}

#[tokio::test]
async fn one_that_falls_too_often_is_given_up_alone_and_restart_module_brings_it_back() {
    let rig = Rig::start(CATALOG, &["mod_all", "mod_base"]).await;
    let (base, loader) = (
        rig.process("mod_base").id(),
        rig.loader().expect("runs").id(),
    );
    for _ in 0..5 {
        fall(&rig, "it is back", is_back).await;
    }
    fall(&rig, "it is given up", |rig| {
        matches!(rig.state("mod_all"), Some(State::Failed(_)))
    })
    .await;
    rig.until("nothing of it is left but its place", |rig| {
        rig.registered() == ["all.a.example down"]
    })
    .await;
    assert_eq!(rig.process("mod_base").id(), base);
    assert_eq!(rig.loader().map(|pid| pid.id()), Some(loader));
    rig.modules.restart("mod_all").await.expect("comes back");
    assert!(is_back(&rig));
    rig.stop().await;
}

#[tokio::test]
async fn one_that_is_given_up_can_be_stopped_started_or_given_other_options() {
    for order in ["stop", "start", "reload"] {
        let rig = Rig::start(CATALOG, &["mod_all"]).await;
        for _ in 0..5 {
            fall(&rig, "it is back", is_back).await;
        }
        fall(&rig, "it is given up", |rig| {
            matches!(rig.state("mod_all"), Some(State::Failed(_)))
        })
        .await;
        match order {
            "stop" => {
                rig.modules.stop("mod_all").await.expect("stops");
                assert_eq!(rig.state("mod_all"), None);
                assert!(!rig.host.router.is_local("all.a.example"));
            }
            "start" => {
                rig.modules
                    .start("mod_all", section(&["domain=new.@HOST@"]))
                    .await
                    .expect("starts");
                assert_eq!(rig.state("mod_all"), Some(State::Running));
                assert!(
                    !rig.host.router.is_local("all.a.example"),
                    "the old domain is given up"
                );
                assert!(rig.host.router.is_local("new.a.example"));
            }
            _ => {
                rig.modules
                    .reload("mod_all", section(&["grade=2"]))
                    .await
                    .expect("starts");
                assert!(is_back(&rig));
            }
        }
        rig.stop().await;
    }
}

#[tokio::test]
async fn five_falls_in_half_a_minute_are_forgiven() {
    let rig = Rig::start(CATALOG, &["mod_all"]).await;
    for _ in 0..4 {
        for _ in 0..5 {
            fall(&rig, "it is back", is_back).await;
        }
        rig.hand.advance(Duration::from_secs(31)).await;
    }
    assert_eq!(rig.state("mod_all"), Some(State::Running));
    rig.stop().await;
}

#[tokio::test]
async fn a_restarted_loader_leaves_what_runs_and_what_was_stopped() {
    let rig = Rig::start(CATALOG, &["mod_base", "mod_after"]).await;
    rig.modules.stop("mod_after").await.expect("stops");
    rig.modules
        .start("mod_all", section(&[]))
        .await
        .expect("starts");
    let before = (rig.process("mod_base").id(), rig.process("mod_all").id());
    for fault in ["panic", "kill"] {
        let loader = rig.loader().expect("runs");
        match fault {
            "panic" => loader.fault(Fault::Panic),
            _ => loader.kill(),
        }
        loader.watch().await;
        rig.until("the loader is back", |rig| {
            rig.loader().is_some_and(|new| new.id() != loader.id())
        })
        .await;
        // It answers, so it has begun.
        rig.modules
            .stop("mod_soft_a")
            .await
            .expect_err("does not run");
        assert_eq!(
            (rig.process("mod_base").id(), rig.process("mod_all").id()),
            before
        );
        assert_eq!(rig.running(), ["mod_all", "mod_base"]);
    }
    // And it still hears of a module that is given up.
    for _ in 0..5 {
        fall(&rig, "it is back", is_back).await;
    }
    fall(&rig, "it is given up", |rig| {
        matches!(rig.state("mod_all"), Some(State::Failed(_)))
    })
    .await;
    rig.stop().await;
}

#[tokio::test]
async fn when_their_supervisor_falls_everything_that_ran_is_started_again() {
    for kill in [true, false] {
        let rig = Rig::start(CATALOG, &["mod_needs", "mod_base", "mod_after"]).await;
        rig.modules.stop("mod_after").await.expect("stops");
        rig.modules
            .start("mod_all", section(&["grade=4"]))
            .await
            .expect("starts");
        rig.script.take();
        let old = rig.process("mod_base").id();
        let sup = rig
            .host
            .system
            .registry()
            .supervisor(&modules_sup_name(HOST))
            .expect("runs")
            .any();
        if kill {
            sup.kill();
        } else {
            sup.fault(Fault::Panic);
        }
        sup.watch().await;
        rig.until("all are back", |rig| {
            rig.running() == ["mod_all", "mod_base", "mod_needs"]
                && is_back(rig)
                && rig
                    .row("mod_base")
                    .and_then(|row| row.process)
                    .is_some_and(|new| new.id() != old)
        })
        .await;
        rig.modules
            .stop("mod_after")
            .await
            .expect_err("it was stopped, and is not back");
        let said = rig.script.take();
        assert!(
            said.contains(&"mod_all starts with grade 4".to_owned()),
            "{said:?}"
        );
        assert!(!said.contains(&"mod_after".to_owned()), "{said:?}");
        rig.stop().await;
    }
}

#[tokio::test]
async fn one_that_does_not_come_back_with_the_others_is_shown_as_failed() {
    let rig = Rig::start(CATALOG, &["mod_all", "mod_base"]).await;
    rig.script.order("refuse to start");
    let sup = rig
        .host
        .system
        .registry()
        .supervisor(&modules_sup_name(HOST))
        .expect("runs")
        .any();
    sup.kill();
    sup.watch().await;
    let failed = State::Failed("mod_all did not start: ordered to refuse".into());
    rig.until("it is shown", |rig| {
        rig.state("mod_all") == Some(failed.clone()) && rig.running() == ["mod_base"]
    })
    .await;
    assert_eq!(rig.registered(), ["all.a.example down"]);
    rig.stop().await;
}

#[tokio::test]
async fn a_loader_that_falls_in_the_middle_of_a_start_leaves_no_orphan() {
    let rig = Rig::start(CATALOG, &["mod_base"]).await;
    let (loader, modules) = (rig.loader().expect("runs"), rig.modules.clone());
    // The router hangs, so the start cannot be finished.
    let router = rig
        .host
        .system
        .registry()
        .whereis_any(&router::owner_name())
        .expect("runs");
    router.fault(Fault::Hang);
    let starting = tokio::spawn(async move { modules.start("mod_all", section(&[])).await });
    rig.until("it is being started", |rig| !rig.script.take().is_empty())
        .await;
    loader.kill();
    router.kill();
    assert!(starting.await.expect("no panic").is_err());
    rig.until("the loader is back", |rig| {
        rig.loader().is_some_and(|new| new.id() != loader.id())
    })
    .await;
    rig.modules
        .stop("mod_all")
        .await
        .expect_err("nobody was told that it runs");
    assert_eq!(rig.running(), ["mod_base"]);
    assert!(
        !rig.registered().contains(&"all.a.example actor".to_owned()),
        "{:?}",
        rig.registered()
    );
    rig.modules
        .start("mod_all", section(&[]))
        .await
        .expect("starts");
    assert!(is_back(&rig));
    rig.stop().await;
}

#[tokio::test]
async fn a_module_has_timers_monitors_and_tasks_of_its_own() {
    let rig = Rig::start(CATALOG, &["mod_base"]).await;
    rig.script.order("use its process");
    let watched = rig.process("mod_base");
    rig.script.watch(watched.clone());
    rig.modules
        .start("mod_all", section(&[]))
        .await
        .expect("starts");
    rig.until("the task speaks", |rig| {
        rig.script
            .take()
            .contains(&"message: from a task".to_owned())
    })
    .await;
    rig.hand.advance(Duration::from_secs(3)).await;
    rig.until("the timer rings", |rig| {
        rig.script.take() == ["message: tick"]
    })
    .await;
    watched.kill();
    rig.until("the death is heard", |rig| {
        rig.script.take().contains(&"down: killed".to_owned())
    })
    .await;
    rig.stop().await;
}
