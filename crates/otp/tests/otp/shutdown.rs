//! supervisor: how children are stopped, and that none is left behind.

use otp::{
    App, CallError, ChildSpec, ChildState, ExitReason, Fault, Name, Restart, Shutdown, Strategy,
    SupPid, Supervisor, System,
};

use crate::common::*;
use crate::supervisor::{child, patient};

async fn one(system: &System, spec: ChildSpec) -> SupPid {
    let sup = patient(Strategy::OneForOne).child(spec);
    sup.start(system, "root").await.unwrap()
}

#[tokio::test]
async fn a_child_that_does_not_stop_in_time_is_killed() {
    let (system, hand) = world();
    let log = Log::default();
    let plan = Plan::new("w", &log).ends(End::Never);
    let spec = plan.child().shutdown(Shutdown::Timeout(secs(7)));
    let sup = one(&system, spec).await;
    let w = child(&sup, "w").await;
    let stopping = sup.clone();
    let stopping = tokio::spawn(async move { stopping.stop().await });
    assert_eq!(log.take_n(2).await, ["w up", "w terminate shutdown"]);
    hand.advance(secs(6)).await;
    assert!(!stopping.is_finished());
    hand.advance(secs(1)).await;
    soon(stopping).await.unwrap();
    assert_eq!(soon(w.watch()).await, ExitReason::Killed);
}

#[tokio::test]
async fn a_child_that_hangs_in_a_handler_is_killed_after_its_time() {
    let (system, hand) = world();
    let log = Log::default();
    let sup = one(&system, Plan::new("w", &log).child()).await;
    let w = child(&sup, "w").await;
    w.any().fault(Fault::Hang);
    let stopping = sup.clone();
    let stopping = tokio::spawn(async move { stopping.stop().await });
    hand.advance(secs(5)).await;
    soon(stopping).await.unwrap();
    assert_eq!(soon(w.watch()).await, ExitReason::Killed);
    assert_eq!(log.take(), ["w up"]);
}

#[tokio::test]
async fn brutal_kill_does_not_ask() {
    let (system, _hand) = world();
    let log = Log::default();
    let spec = Plan::new("w", &log).child().shutdown(Shutdown::BrutalKill);
    let sup = one(&system, spec).await;
    let w = child(&sup, "w").await;
    soon(sup.stop()).await;
    assert_eq!(soon(w.watch()).await, ExitReason::Killed);
    assert_eq!(log.take(), ["w up"]);
}

#[tokio::test]
async fn infinity_waits_for_a_supervisor_below() {
    let (system, hand) = world();
    let log = Log::default();
    let plan = Plan::new("w", &log).ends(End::Never);
    let below = move || {
        let spec = plan.clone().child().shutdown(Shutdown::Timeout(secs(3600)));
        Supervisor::new(Strategy::OneForOne).child(spec)
    };
    let sup = one(&system, ChildSpec::supervisor("below", below)).await;
    let stopping = sup.clone();
    let stopping = tokio::spawn(async move { stopping.stop().await });
    assert_eq!(log.take_n(2).await, ["w up", "w terminate shutdown"]);
    hand.advance(secs(3599)).await;
    assert!(!stopping.is_finished());
    hand.advance(secs(1)).await;
    soon(stopping).await.unwrap();
    assert_eq!(system.observe().count(), 0);
}

#[tokio::test]
async fn infinity_waits_for_a_worker() {
    let (system, hand) = world();
    let log = Log::default();
    let spec = Plan::new("w", &log).child().shutdown(Shutdown::Infinity);
    let sup = one(&system, spec).await;
    let w = child(&sup, "w").await;
    let gate = gate(&w).await;
    let stopping = sup.clone();
    let stopping = tokio::spawn(async move { stopping.stop().await });
    hand.advance(secs(100_000)).await;
    assert!(!stopping.is_finished());
    drop(gate);
    soon(stopping).await.unwrap();
    assert_eq!(log.take(), ["w up", "w terminate shutdown"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_children_stop_in_reverse_order_with_every_terminate() {
    let (system, _hand) = world();
    let log = Log::default();
    let mut sup = patient(Strategy::OneForOne);
    for n in 0..1000 {
        sup = sup.child(Plan::new(n.to_string(), &log).child());
    }
    let sup = sup.start(&system, "root").await.unwrap();
    assert_eq!(log.take().len(), 1000);
    soon(sup.stop()).await;
    let lines = log.take();
    assert_eq!(lines.len(), 1000);
    for (n, line) in lines.iter().rev().enumerate() {
        assert_eq!(*line, format!("{n} terminate shutdown"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_dynamic_children_stop_with_every_terminate() {
    let (system, _hand) = world();
    let log = Log::default();
    let shutdown = Shutdown::Timeout(secs(5));
    let sup = Supervisor::simple_one_for_one::<Worker>(Restart::Temporary, shutdown)
        .start(&system, "root")
        .await
        .unwrap();
    for n in 0..1000 {
        let plan = Plan::new(n.to_string(), &log);
        sup.start_one::<Worker>(plan).await.unwrap();
    }
    assert_eq!(log.take().len(), 1000);
    soon(sup.stop()).await;
    let mut lines = log.take();
    lines.sort();
    lines.dedup();
    assert_eq!(lines.len(), 1000);
    assert_eq!(system.observe().count(), 0);
}

/// What ends a supervisor without its `terminate`.
fn hit(sup: &SupPid, panic: bool) {
    if panic {
        sup.any().fault(Fault::Panic);
    } else {
        sup.any().kill();
    }
}

#[tokio::test]
async fn no_child_outlives_a_supervisor_that_falls() {
    for panic in [true, false] {
        let (system, _hand) = world();
        let log = Log::default();
        let (deep, dynamic) = (Plan::new("deep", &log), Plan::new("dynamic", &log));
        let below = move || Supervisor::new(Strategy::OneForOne).child(deep.clone().child());
        let simple =
            || Supervisor::simple_one_for_one::<Worker>(Restart::Temporary, Shutdown::BrutalKill);
        let sup = patient(Strategy::OneForOne)
            .child(Plan::new("w", &log).child())
            .child(ChildSpec::supervisor("below", below))
            .child(ChildSpec::supervisor("simple", simple).registered(Name::new("simple", "")))
            .start(&system, "root")
            .await
            .unwrap();
        let simple = system
            .registry()
            .supervisor(&Name::new("simple", ""))
            .unwrap();
        simple.start_one::<Worker>(dynamic).await.unwrap();
        log.take();
        hit(&sup, panic);
        let reason = soon(sup.watch()).await;
        assert_eq!(matches!(reason, ExitReason::Panic(_)), panic, "{reason}");
        // All are gone when the end is told, and those that may have terminated.
        assert_eq!(system.observe().count(), 0);
        let mut lines = log.take();
        lines.sort();
        assert_eq!(lines, ["deep terminate shutdown", "w terminate shutdown"]);
    }
}

#[tokio::test]
async fn a_supervisor_that_falls_is_restarted_with_all_its_children_under_their_names() {
    for panic in [true, false] {
        let (system, _hand) = world();
        let log = Log::default();
        let name = Name::new("worker", "");
        let (plan, its) = (Plan::new("w", &log), name.clone());
        let below = move || {
            let spec = plan.clone().child().registered(its.clone());
            Supervisor::new(Strategy::OneForOne).child(spec)
        };
        let below_name = Name::new("below", "");
        let spec = ChildSpec::supervisor("below", below).registered(below_name.clone());
        let sup = one(&system, spec).await;
        let w = system.registry().whereis::<Worker>(&name).unwrap();
        let below = system.registry().supervisor(&below_name).unwrap();
        hit(&below, panic);
        assert_eq!(
            log.take_n(3).await,
            ["w up", "w terminate shutdown", "w up"]
        );
        assert!(!w.is_alive());
        // Asking the supervisor above waits until the restart is done.
        assert_eq!(sup.count_children().await.unwrap().active, 1);
        let named = system.registry().named::<Worker>(name.clone());
        assert_eq!(soon(named.call(Ask::Echo(3), LONG)).await, Ok(3));
        assert_ne!(named.pid(), Some(w));
    }
}

#[tokio::test]
async fn a_supervisor_killed_while_it_starts_a_child_leaves_nothing() {
    let (system, _hand) = world();
    let log = Log::default();
    struct Stuck;
    impl otp::GenServer for Stuck {
        const KIND: &'static str = "stuck";
        type Args = Log;
        type Call = ();
        type Reply = ();
        type Cast = ();
        type Info = ();
        async fn init(log: Log, _ctx: &mut otp::Ctx<Self>) -> otp::Init<Self> {
            log.say("stuck");
            std::future::pending().await
        }
    }
    let stuck = log.clone();
    let sup = patient(Strategy::OneForOne)
        .child(Plan::new("w", &log).child())
        .child(ChildSpec::worker::<Stuck>("stuck", move || stuck.clone()));
    let in_world = system.clone();
    let starting = tokio::spawn(async move { sup.start(&in_world, "root").await });
    assert_eq!(log.take_n(2).await, ["w up", "stuck"]);
    // Who waited for the start goes away: the supervisor, the stuck child and its sibling end.
    let root = system.observe().processes().remove(0);
    starting.abort();
    assert_eq!(soon(root.watch()).await, ExitReason::Killed);
    assert_eq!(log.take_n(1).await, ["w terminate shutdown"]);
    for left in system.observe().processes() {
        soon(left.watch()).await;
    }
    assert_eq!(system.observe().count(), 0);
}

#[tokio::test]
async fn a_call_to_a_supervisor_that_is_gone_is_an_error() {
    let (system, _hand) = world();
    let sup = patient(Strategy::OneForOne)
        .start(&system, "root")
        .await
        .unwrap();
    soon(sup.stop()).await;
    assert_eq!(sup.which_children().await, Err(CallError::NoProc));
    soon(sup.stop()).await;
}

#[tokio::test]
async fn an_application_stops_as_a_whole() {
    let (system, _hand) = world();
    let log = Log::default();
    let root = patient(Strategy::OneForOne)
        .child(Plan::new("a", &log).child())
        .child(Plan::new("b", &log).child());
    let app = App::start(root, &system, "app").await.unwrap();
    let end = app.watch();
    log.take();
    soon(app.stop(secs(60))).await.unwrap();
    assert_eq!(log.take(), ["b terminate shutdown", "a terminate shutdown"]);
    assert_eq!(soon(end).await, ExitReason::Shutdown);
}

#[tokio::test]
async fn an_application_that_hangs_is_killed_and_others_live() {
    let (system, hand) = world();
    let log = Log::default();
    let bystander = worker(&system, &log, "bystander").await;
    let below = || Supervisor::new(Strategy::OneForOne);
    let root = patient(Strategy::OneForOne)
        .child(Plan::new("a", &log).child())
        .child(ChildSpec::supervisor("below", below));
    let app = App::start(root, &system, "app").await.unwrap();
    let ChildState::Running(below) = app.root().which_children().await.unwrap()[1].state.clone()
    else {
        panic!("below runs")
    };
    below.fault(Fault::Hang);
    let stopping = app.clone();
    let stopping = tokio::spawn(async move { stopping.stop(secs(60)).await });
    hand.advance(secs(60)).await;
    assert_eq!(soon(stopping).await.unwrap(), Err(otp::Elapsed));
    soon(app.watch()).await;
    assert_eq!(system.observe().processes(), [bystander.any()]);
}

#[tokio::test]
async fn an_application_tells_when_its_root_gives_up() {
    let (system, _hand) = world();
    let log = Log::default();
    let root = Supervisor::new(Strategy::OneForOne)
        .intensity(0, secs(1))
        .child(Plan::new("a", &log).child());
    let app = App::start(root, &system, "app").await.unwrap();
    child(app.root(), "a").await.kill();
    assert_eq!(soon(app.watch()).await, ExitReason::Shutdown);
}
