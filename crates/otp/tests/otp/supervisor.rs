//! supervisor: strategies, restart types, intensity.

use std::time::Duration;

use otp::{
    ChildSpec, ChildState, ExitReason, Pid, Restart, Shutdown, StartChildError, Strategy, SupPid,
    Supervisor, System,
};

use crate::common::*;

/// A supervisor that gives up late.
pub fn patient(strategy: Strategy) -> Supervisor {
    Supervisor::new(strategy).intensity(1000, secs(1))
}

/// The running child of that id.
pub async fn child(sup: &SupPid, id: &str) -> Pid<Worker> {
    let children = soon(sup.which_children()).await.expect("it lives");
    let child = children.into_iter().find(|child| child.id == id);
    match child.expect("there is such a child").state {
        ChildState::Running(pid) => pid.downcast().expect("children are workers"),
        other => panic!("{id} is {other:?}"),
    }
}

/// `a`, `b`, `c` under `strategy`.
async fn three(system: &System, log: &Log, strategy: Strategy) -> SupPid {
    let mut sup = patient(strategy);
    for name in ["a", "b", "c"] {
        sup = sup.child(Plan::new(name, log).child());
    }
    let sup = sup.start(system, "root").await.unwrap();
    assert_eq!(log.take(), ["a up", "b up", "c up"]);
    sup
}

#[tokio::test]
async fn one_for_one_restarts_only_the_child_that_ended() {
    let (system, _hand) = world();
    let log = Log::default();
    let sup = three(&system, &log, Strategy::OneForOne).await;
    let (a, c) = (child(&sup, "a").await, child(&sup, "c").await);
    child(&sup, "b").await.cast(Do::Panic).unwrap();
    assert_eq!(log.take_n(1).await, ["b up"]);
    assert_eq!((child(&sup, "a").await, child(&sup, "c").await), (a, c));
    assert_eq!(log.take(), [""; 0]);
}

#[tokio::test]
async fn one_for_all_stops_the_others_in_reverse_and_starts_all_in_order() {
    let (system, _hand) = world();
    let log = Log::default();
    let sup = three(&system, &log, Strategy::OneForAll).await;
    child(&sup, "b").await.cast(Do::Panic).unwrap();
    let lines = log.take_n(5).await;
    let stops = ["c terminate shutdown", "a terminate shutdown"];
    assert_eq!(lines[..2], stops);
    assert_eq!(lines[2..], ["a up", "b up", "c up"]);
}

#[tokio::test]
async fn rest_for_one_restarts_those_started_after() {
    let (system, _hand) = world();
    let log = Log::default();
    let sup = three(&system, &log, Strategy::RestForOne).await;
    let a = child(&sup, "a").await;
    child(&sup, "b").await.cast(Do::Panic).unwrap();
    let lines = log.take_n(3).await;
    assert_eq!(lines, ["c terminate shutdown", "b up", "c up"]);
    assert_eq!(child(&sup, "a").await, a);
}

#[tokio::test]
async fn temporary_siblings_fall_with_the_others_but_do_not_return() {
    let (system, _hand) = world();
    let log = Log::default();
    let sup = patient(Strategy::OneForAll)
        .child(Plan::new("a", &log).child().restart(Restart::Temporary))
        .child(Plan::new("b", &log).child())
        .start(&system, "root")
        .await
        .unwrap();
    log.take();
    child(&sup, "b").await.kill();
    assert_eq!(log.take_n(2).await, ["a terminate shutdown", "b up"]);
    assert_eq!(sup.count_children().await.unwrap().specs, 1);
}

/// Ends a child in one of the five ways.
fn end(pid: &Pid<Worker>, reason: &ExitReason) {
    match reason {
        ExitReason::Panic(_) => pid.cast(Do::Panic).unwrap(),
        ExitReason::Killed => pid.kill(),
        reason => pid.cast(Do::Stop(reason.clone())).unwrap(),
    }
}

#[tokio::test]
async fn restart_types_against_exit_reasons() {
    let error = ExitReason::error("broken");
    let panic = ExitReason::Panic("told to".into());
    let reasons = [
        (ExitReason::Normal, false),
        (ExitReason::Shutdown, false),
        (error, true),
        (panic, true),
        (ExitReason::Killed, true),
    ];
    for (reason, abnormal) in reasons {
        for restart in [Restart::Permanent, Restart::Transient, Restart::Temporary] {
            let (system, _hand) = world();
            let log = Log::default();
            let sup = patient(Strategy::OneForOne)
                .child(Plan::new("w", &log).child().restart(restart))
                .start(&system, "root")
                .await
                .unwrap();
            let pid = child(&sup, "w").await;
            end(&pid, &reason);
            assert_eq!(soon(pid.watch()).await, reason);
            // The supervisor heard of the end before anybody who waited for it could ask.
            let children = soon(sup.which_children()).await.unwrap();
            let case = format!("{restart:?} after {reason}");
            let returns = match restart {
                Restart::Permanent => true,
                Restart::Transient => abnormal,
                Restart::Temporary => {
                    assert_eq!(children, [], "{case}");
                    continue;
                }
            };
            assert_eq!(children.len(), 1, "{case}");
            assert_eq!(children[0].last_exit, Some(reason.clone()), "{case}");
            assert_eq!(children[0].restarts, u32::from(returns), "{case}");
            match &children[0].state {
                ChildState::Running(new) => assert!(returns && new.id() != pid.id(), "{case}"),
                state => assert!(!returns && *state == ChildState::Down, "{case}"),
            }
        }
    }
}

#[tokio::test]
async fn simple_one_for_one_restarts_each_alone_with_its_own_arguments() {
    let (system, _hand) = world();
    let log = Log::default();
    let shutdown = Shutdown::Timeout(secs(5));
    let sup = Supervisor::simple_one_for_one::<Worker>(Restart::Transient, shutdown)
        .intensity(10, secs(1))
        .start(&system, "root")
        .await
        .unwrap();
    let mut pids = Vec::new();
    for name in ["a", "b", "c"] {
        let plan = Plan::new(name, &log);
        let pid = sup.start_one_from::<Worker>(move || plan.clone()).await;
        pids.push(pid.unwrap());
    }
    log.take();
    pids[1].cast(Do::Panic).unwrap();
    assert_eq!(log.take_n(1).await, ["b up"]);
    pids[2].cast(Do::Stop(ExitReason::Normal)).unwrap();
    soon(pids[2].watch()).await;
    let children = sup.which_children().await.unwrap();
    assert_eq!(children.len(), 2);
    assert!(pids[0].is_alive());
    let count = sup.count_children().await.unwrap();
    assert_eq!((count.specs, count.active, count.workers), (1, 2, 2));
}

#[tokio::test]
async fn simple_one_for_one_takes_arguments_not_specs() {
    let (system, _hand) = world();
    let log = Log::default();
    let simple = |restart| {
        Supervisor::simple_one_for_one::<Worker>(restart, Shutdown::BrutalKill)
            .start(&system, "root")
    };
    let sup = simple(Restart::Temporary).await.unwrap();
    let spec = Plan::new("a", &log).child();
    let refused = sup.start_child(spec).await;
    assert_eq!(refused, Err(StartChildError::WrongStrategy));
    let wrong = otp::ChildError::WrongStrategy;
    assert_eq!(sup.terminate_child("a").await, Err(wrong.clone()));
    assert_eq!(sup.restart_child("a").await, Err(wrong.clone()));
    assert_eq!(sup.delete_child("a").await, Err(wrong));
    let pid = sup.start_one::<Worker>(Plan::new("a", &log)).await.unwrap();
    sup.terminate_one(&pid.any()).await.unwrap();
    assert!(!pid.is_alive());
    let again = sup.terminate_one(&pid.any()).await;
    assert_eq!(again, Err(otp::ChildError::NotFound));
    // Arguments that are used up cannot start a child again.
    let sup = simple(Restart::Permanent).await.unwrap();
    let refused = sup.start_one::<Worker>(Plan::new("b", &log)).await;
    assert_eq!(refused, Err(StartChildError::NotRestartable));
}

/// Crashes `w` and waits until it is back.
async fn crash(sup: &SupPid, log: &Log) {
    child(sup, "w").await.cast(Do::Panic).unwrap();
    assert_eq!(log.take_n(1).await, ["w up"]);
}

/// `first`, `w`, `last`, with three restarts in ten seconds.
async fn three_in_ten(system: &System, log: &Log) -> SupPid {
    let sup = Supervisor::new(Strategy::OneForOne)
        .intensity(3, secs(10))
        .child(Plan::new("first", log).child())
        .child(Plan::new("w", log).child())
        .child(Plan::new("last", log).child())
        .start(system, "root")
        .await
        .unwrap();
    log.take();
    sup
}

#[tokio::test]
async fn at_its_intensity_a_supervisor_goes_on() {
    let (system, _hand) = world();
    let log = Log::default();
    let sup = three_in_ten(&system, &log).await;
    for _ in 0..3 {
        crash(&sup, &log).await;
    }
    assert_eq!(sup.count_children().await.unwrap().active, 3);
}

#[tokio::test]
async fn one_above_its_intensity_it_stops_its_children_in_reverse_and_ends() {
    let (system, _hand) = world();
    let log = Log::default();
    let sup = three_in_ten(&system, &log).await;
    for _ in 0..3 {
        crash(&sup, &log).await;
    }
    child(&sup, "w").await.cast(Do::Panic).unwrap();
    assert_eq!(soon(sup.watch()).await, ExitReason::Shutdown);
    let stops = ["last terminate shutdown", "first terminate shutdown"];
    assert_eq!(log.take(), stops);
    assert_eq!(system.observe().count(), 0);
}

#[tokio::test]
async fn restarts_older_than_the_period_do_not_count() {
    let (system, hand) = world();
    let log = Log::default();
    let sup = three_in_ten(&system, &log).await;
    for _ in 0..10 {
        crash(&sup, &log).await;
        crash(&sup, &log).await;
        crash(&sup, &log).await;
        hand.advance(secs(10) + Duration::from_millis(1)).await;
    }
    // A restart exactly one period ago still counts.
    crash(&sup, &log).await;
    crash(&sup, &log).await;
    crash(&sup, &log).await;
    hand.advance(secs(10)).await;
    child(&sup, "w").await.cast(Do::Panic).unwrap();
    assert_eq!(soon(sup.watch()).await, ExitReason::Shutdown);
}

#[tokio::test]
async fn intensity_zero_allows_no_restart() {
    let (system, _hand) = world();
    let log = Log::default();
    let sup = Supervisor::new(Strategy::OneForOne)
        .intensity(0, secs(5))
        .child(Plan::new("w", &log).child())
        .start(&system, "root")
        .await
        .unwrap();
    child(&sup, "w").await.kill();
    assert_eq!(soon(sup.watch()).await, ExitReason::Shutdown);
}

#[tokio::test]
async fn giving_up_escalates_to_the_supervisor_above() {
    let (system, _hand) = world();
    let log = Log::default();
    let plan = Plan::new("w", &log);
    let below = move || {
        Supervisor::new(Strategy::OneForOne)
            .intensity(0, secs(5))
            .child(plan.clone().child())
    };
    let sup = Supervisor::new(Strategy::OneForAll)
        .intensity(1, secs(5))
        .child(Plan::new("sibling", &log).child())
        .child(ChildSpec::supervisor("below", below))
        .start(&system, "root")
        .await
        .unwrap();
    assert_eq!(log.take(), ["sibling up", "w up"]);
    for escalated in [false, true] {
        let w = system
            .observe()
            .processes()
            .into_iter()
            .filter_map(|pid| pid.downcast::<Worker>())
            .last();
        w.expect("w runs").cast(Do::Panic).unwrap();
        if escalated {
            assert_eq!(soon(sup.watch()).await, ExitReason::Shutdown);
            assert_eq!(log.take(), ["sibling terminate shutdown"]);
        } else {
            let lines = log.take_n(3).await;
            assert_eq!(lines, ["sibling terminate shutdown", "sibling up", "w up"]);
        }
    }
}

#[tokio::test]
async fn a_transient_supervisor_that_gives_up_is_not_restarted() {
    // It ends with `shutdown`, which is not abnormal.
    let (system, _hand) = world();
    let log = Log::default();
    let plan = Plan::new("w", &log);
    let below = move || {
        Supervisor::new(Strategy::OneForOne)
            .intensity(0, secs(5))
            .child(plan.clone().child())
    };
    let spec = ChildSpec::supervisor("below", below).restart(Restart::Transient);
    let sup = patient(Strategy::OneForOne)
        .child(spec)
        .start(&system, "root")
        .await
        .unwrap();
    let ChildState::Running(below) = sup.which_children().await.unwrap()[0].state.clone() else {
        panic!("below runs")
    };
    let w = system.observe().processes().pop().unwrap();
    w.kill();
    assert_eq!(soon(below.watch()).await, ExitReason::Shutdown);
    let children = sup.which_children().await.unwrap();
    assert_eq!(children[0].state, ChildState::Down);
}
