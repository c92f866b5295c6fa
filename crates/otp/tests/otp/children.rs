//! supervisor: starts that fail, children added, stopped, restarted, deleted.

use otp::{
    ChildCount, ChildError, ChildSpec, ChildState, ExitReason, Name, Restart, Shards, Shutdown,
    StartChildError, StartError, Strategy, Supervisor,
};

use crate::common::*;
use crate::supervisor::{child, patient};

#[tokio::test]
async fn children_start_in_order_and_stop_in_reverse() {
    let (system, _hand) = world();
    let log = Log::default();
    let names = ["a", "b", "c", "d"];
    let mut sup = patient(Strategy::OneForOne);
    for name in names {
        sup = sup.child(Plan::new(name, &log).child());
    }
    let sup = sup.start(&system, "root").await.unwrap();
    assert_eq!(log.take(), names.map(|name| format!("{name} up")));
    soon(sup.stop()).await;
    let mut stops = names.map(|name| format!("{name} terminate shutdown"));
    stops.reverse();
    assert_eq!(log.take(), stops);
    assert!(!sup.is_alive());
}

#[tokio::test]
async fn a_start_that_fails_stops_those_started_before_and_fails_the_supervisor() {
    let (system, _hand) = world();
    for begin in [Begin::Stop(ExitReason::error("no")), Begin::Panic] {
        let log = Log::default();
        let failed = patient(Strategy::OneForOne)
            .child(Plan::new("a", &log).child())
            .child(Plan::new("b", &log).child())
            .child(Plan::new("c", &log).begins([begin]).child())
            .child(Plan::new("d", &log).child())
            .start(&system, "root")
            .await
            .unwrap_err();
        let StartError::Failed(ExitReason::Error(why)) = failed else {
            panic!("{failed:?}")
        };
        assert!(why.starts_with("child c did not start"), "{why}");
        let lines = log.take();
        assert_eq!(lines[..2], ["a up", "b up"]);
        assert_eq!(lines[3..], ["b terminate shutdown", "a terminate shutdown"]);
        assert_eq!(system.observe().count(), 0);
    }
}

#[tokio::test]
async fn a_child_that_ignores_its_start_keeps_its_spec() {
    let (system, _hand) = world();
    let log = Log::default();
    let sup = patient(Strategy::OneForOne)
        .child(Plan::new("a", &log).begins([Begin::Ignore]).child())
        .child(Plan::new("b", &log).child())
        .start(&system, "root")
        .await
        .unwrap();
    assert_eq!(log.take(), ["a ignored", "b up"]);
    let children = sup.which_children().await.unwrap();
    assert_eq!(children[0].state, ChildState::Down);
    // It can be started later.
    sup.restart_child("a").await.unwrap();
    assert_eq!(log.take(), ["a up"]);
}

#[tokio::test]
async fn one_that_ignores_its_restart_stays_down() {
    let (system, _hand) = world();
    let log = Log::default();
    let plan = Plan::new("a", &log).begins([Begin::Ok, Begin::Ignore]);
    let sup = patient(Strategy::OneForOne)
        .child(plan.child())
        .start(&system, "root")
        .await
        .unwrap();
    child(&sup, "a").await.kill();
    assert_eq!(log.take_n(2).await, ["a up", "a ignored"]);
    let children = sup.which_children().await.unwrap();
    assert_eq!(children[0].state, ChildState::Down);
}

#[tokio::test]
async fn a_restart_that_fails_is_tried_again() {
    let (system, _hand) = world();
    let log = Log::default();
    let no = || Begin::Stop(ExitReason::error("no"));
    let plan = Plan::new("a", &log).begins([Begin::Ok, no(), Begin::Panic, no()]);
    // One restart and three more attempts.
    let sup = Supervisor::new(Strategy::OneForOne)
        .intensity(4, secs(1))
        .child(plan.child())
        .start(&system, "root")
        .await
        .unwrap();
    child(&sup, "a").await.kill();
    let lines = log.take_n(5).await;
    assert_eq!(
        lines,
        ["a up", "a failed", "a panicked", "a failed", "a up"]
    );
    let children = sup.which_children().await.unwrap();
    assert_eq!(children[0].restarts, 4);
}

#[tokio::test]
async fn attempts_to_restart_count_against_the_intensity() {
    let (system, _hand) = world();
    for strategy in [
        Strategy::OneForOne,
        Strategy::OneForAll,
        Strategy::RestForOne,
    ] {
        let log = Log::default();
        let no = || Begin::Stop(ExitReason::error("no"));
        let plan = Plan::new("a", &log).begins([Begin::Ok, no(), no(), no(), no()]);
        let sup = Supervisor::new(strategy)
            .intensity(3, secs(1))
            .child(plan.child())
            .child(Plan::new("b", &log).child())
            .start(&system, "root")
            .await
            .unwrap();
        child(&sup, "a").await.kill();
        assert_eq!(soon(sup.watch()).await, ExitReason::Shutdown);
        let lines = log.take();
        let tries = lines.iter().filter(|line| *line == "a failed").count();
        assert_eq!(tries, 3, "{strategy:?}");
        assert_eq!(
            lines
                .iter()
                .filter(|line| line.starts_with("b term"))
                .count(),
            1
        );
    }
}

#[tokio::test]
async fn rest_for_one_goes_on_from_the_one_that_failed_to_restart() {
    let (system, _hand) = world();
    let log = Log::default();
    let b = Plan::new("b", &log).begins([Begin::Ok, Begin::Panic]);
    let sup = patient(Strategy::RestForOne)
        .child(Plan::new("a", &log).child())
        .child(b.child())
        .child(Plan::new("c", &log).child())
        .start(&system, "root")
        .await
        .unwrap();
    log.take();
    child(&sup, "a").await.kill();
    let lines = log.take_n(6).await;
    let stops = ["c terminate shutdown", "b terminate shutdown"];
    assert_eq!(lines[..2], stops);
    assert_eq!(lines[2..], ["a up", "b panicked", "b up", "c up"]);
}

#[tokio::test]
async fn start_child_adds_a_child_and_knows_its_own() {
    let (system, _hand) = world();
    let log = Log::default();
    let sup = patient(Strategy::OneForOne)
        .start(&system, "root")
        .await
        .unwrap();
    let spec = Plan::new("a", &log).child();
    let pid = sup.start_child(spec.clone()).await.unwrap();
    let again = sup.start_child(spec.clone()).await;
    assert_eq!(again, Err(StartChildError::AlreadyStarted(pid)));
    sup.terminate_child("a").await.unwrap();
    let again = sup.start_child(spec.clone()).await;
    assert_eq!(again, Err(StartChildError::AlreadyPresent));
    sup.delete_child("a").await.unwrap();
    sup.start_child(spec).await.unwrap();
    let lines = log.take();
    assert_eq!(lines, ["a up", "a terminate shutdown", "a up"]);
}

#[tokio::test]
async fn a_child_that_does_not_start_is_not_kept() {
    let (system, _hand) = world();
    let log = Log::default();
    let sup = patient(Strategy::OneForOne)
        .start(&system, "root")
        .await
        .unwrap();
    let plan = Plan::new("a", &log).begins([Begin::Panic]);
    let failed = sup.start_child(plan.child()).await;
    let panic = ExitReason::Panic("no init".into());
    assert_eq!(
        failed,
        Err(StartChildError::Failed(StartError::Failed(panic)))
    );
    assert_eq!(sup.which_children().await.unwrap(), []);
    // One that ignores is kept, unless it is temporary.
    let plan = Plan::new("b", &log).begins([Begin::Ignore]);
    let ignored = sup.start_child(plan.child()).await;
    assert_eq!(ignored, Err(StartChildError::Ignored));
    let plan = Plan::new("c", &log).begins([Begin::Ignore]);
    let ignored = sup
        .start_child(plan.child().restart(Restart::Temporary))
        .await;
    assert_eq!(ignored, Err(StartChildError::Ignored));
    let kept = sup.which_children().await.unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].id, "b");
}

#[tokio::test]
async fn terminate_restart_and_delete_know_running_stopped_and_unknown_children() {
    let (system, _hand) = world();
    let log = Log::default();
    let sup = patient(Strategy::OneForOne)
        .child(Plan::new("a", &log).child())
        .child(Plan::new("t", &log).child().restart(Restart::Temporary))
        .start(&system, "root")
        .await
        .unwrap();
    log.take();
    assert_eq!(sup.restart_child("a").await, Err(ChildError::Running));
    assert_eq!(sup.delete_child("a").await, Err(ChildError::Running));
    sup.terminate_child("a").await.unwrap();
    assert_eq!(log.take(), ["a terminate shutdown"]);
    // Not restarted though permanent; to stop it again is no error.
    assert_eq!(log.take(), [""; 0]);
    sup.terminate_child("a").await.unwrap();
    sup.restart_child("a").await.unwrap();
    assert_eq!(log.take(), ["a up"]);
    sup.terminate_child("a").await.unwrap();
    sup.delete_child("a").await.unwrap();
    // A temporary child's spec goes with it.
    sup.terminate_child("t").await.unwrap();
    for id in ["a", "t", "x"] {
        assert_eq!(sup.terminate_child(id).await, Err(ChildError::NotFound));
        assert_eq!(sup.restart_child(id).await, Err(ChildError::NotFound));
        assert_eq!(sup.delete_child(id).await, Err(ChildError::NotFound));
    }
}

#[tokio::test]
async fn restart_child_tells_why_the_child_does_not_start() {
    let (system, _hand) = world();
    let log = Log::default();
    let plan = Plan::new("a", &log).begins([Begin::Ok, Begin::Panic, Begin::Ignore]);
    let sup = patient(Strategy::OneForOne)
        .child(plan.child())
        .start(&system, "root")
        .await
        .unwrap();
    sup.terminate_child("a").await.unwrap();
    let failed = StartError::Failed(ExitReason::Panic("no init".into()));
    assert_eq!(sup.restart_child("a").await, Err(ChildError::Start(failed)));
    let ignored = sup.restart_child("a").await;
    assert_eq!(ignored, Err(ChildError::Start(StartError::Ignored)));
    sup.restart_child("a").await.unwrap();
}

#[tokio::test]
async fn arguments_that_cannot_be_made_fail_the_child_not_the_supervisor() {
    let (system, _hand) = world();
    let sup = patient(Strategy::OneForOne)
        .start(&system, "root")
        .await
        .unwrap();
    let spec = ChildSpec::worker::<Worker>("a", || panic!("no arguments"));
    let panic = ExitReason::Panic("no arguments".into());
    let failed = sup.start_child(spec).await;
    assert_eq!(
        failed,
        Err(StartChildError::Failed(StartError::Failed(panic)))
    );
    let shutdown = Shutdown::BrutalKill;
    let simple = Supervisor::simple_one_for_one::<Worker>(Restart::Permanent, shutdown);
    let sup = simple.start(&system, "simple").await.unwrap();
    let failed = sup
        .start_one_from::<Worker>(|| panic!("no arguments"))
        .await;
    assert!(
        matches!(failed, Err(StartChildError::Failed(_))),
        "{failed:?}"
    );
    assert!(sup.is_alive());
}

#[tokio::test]
async fn the_same_id_twice_does_not_start() {
    let (system, _hand) = world();
    let log = Log::default();
    let failed = patient(Strategy::OneForOne)
        .child(Plan::new("a", &log).child())
        .child(Plan::new("a", &log).child())
        .start(&system, "root")
        .await;
    assert!(matches!(
        failed,
        Err(StartError::Failed(ExitReason::Error(_)))
    ));
    assert_eq!(system.observe().count(), 0);
}

#[tokio::test]
async fn which_and_count_children() {
    let (system, _hand) = world();
    let log = Log::default();
    let below = || Supervisor::new(Strategy::OneForOne);
    let sup = patient(Strategy::OneForOne)
        .child(Plan::new("a", &log).child())
        .child(ChildSpec::supervisor("s", below))
        .child(Plan::new("b", &log).begins([Begin::Ignore]).child())
        .start(&system, "root")
        .await
        .unwrap();
    let children = sup.which_children().await.unwrap();
    let ids: Vec<_> = children.iter().map(|child| child.id.as_str()).collect();
    assert_eq!(ids, ["a", "s", "b"]);
    assert_eq!(
        sup.count_children().await.unwrap(),
        ChildCount {
            specs: 3,
            active: 2,
            supervisors: 1,
            workers: 2
        }
    );
}

#[tokio::test]
async fn a_name_taken_fails_the_start() {
    let (system, _hand) = world();
    let log = Log::default();
    let name = Name::new("worker", "x");
    let holder = worker(&system, &log, "holder").await;
    system.registry().register(&name, &holder).unwrap();
    let sup = patient(Strategy::OneForOne)
        .start(&system, "root")
        .await
        .unwrap();
    let spec = Plan::new("a", &log).child().registered(name.clone());
    let failed = sup.start_child(spec.clone()).await;
    let Err(StartChildError::Failed(StartError::NameTaken(taken))) = failed else {
        panic!("{failed:?}")
    };
    assert_eq!((taken.name, taken.by), (name.clone(), holder.id()));
    holder.kill();
    soon(holder.watch()).await;
    let pid = sup.start_child(spec).await.unwrap();
    assert_eq!(system.registry().whereis_any(&name), Some(pid));
}

#[tokio::test]
async fn shards_take_children_in_turn() {
    let (system, _hand) = world();
    let log = Log::default();
    let shards = Shards::new(&system, "worker_sup", 3);
    let shutdown = Shutdown::Timeout(secs(5));
    let sup = shards
        .supervisor::<Worker>(Restart::Temporary, shutdown, 5, secs(30))
        .start(&system, "shards")
        .await
        .unwrap();
    for n in 0..6 {
        let plan = Plan::new(n.to_string(), &log);
        shards.start_one::<Worker>(plan).await.unwrap();
    }
    let tree = system.observe().tree();
    let sizes: Vec<_> = tree[0].children.iter().map(|s| s.children.len()).collect();
    assert_eq!(sizes, [2, 2, 2]);
    soon(sup.stop()).await;
    assert_eq!(log.take().len(), 12);
    let gone = shards.start_one::<Worker>(Plan::new("x", &log)).await;
    assert!(matches!(gone, Err(StartChildError::Supervisor(_))));
}
