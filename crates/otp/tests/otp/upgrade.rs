//! code_change: a process becomes a newer version of itself, in place.

use otp::{
    ChildError, ChildSpec, Ctx, ExitReason, Flow, From, GenServer, Info, Init, Name, OldState, Pid,
    Refusal, Restart, Shutdown, Strategy, Supervisor, UpgradeError,
};

use crate::common::*;
use crate::supervisor::patient;

/// Counts; version 1.
struct CounterV1 {
    count: u32,
}

/// Counts, and knows by how much; version 2.
struct CounterV2 {
    count: u32,
    step: u32,
}

/// What both are told.
enum Tell {
    Add,
    Wait(tokio::sync::oneshot::Receiver<()>),
    Ring(std::time::Duration),
}

impl GenServer for CounterV1 {
    const KIND: &'static str = "counter";
    type Args = u32;
    type Call = ();
    type Reply = String;
    type Cast = Tell;
    type Info = ();

    async fn init(count: u32, _ctx: &mut Ctx<Self>) -> Init<Self> {
        Init::Ok(CounterV1 { count })
    }

    async fn handle_call(&mut self, (): (), from: From<String>, _ctx: &mut Ctx<Self>) -> Flow {
        from.reply(format!("v1 {}", self.count));
        Flow::Go
    }

    async fn handle_cast(&mut self, tell: Tell, ctx: &mut Ctx<Self>) -> Flow {
        match tell {
            Tell::Add => self.count += 1,
            Tell::Wait(gate) => drop(gate.await),
            Tell::Ring(d) => {
                ctx.send_after(d, ());
            }
        }
        Flow::Go
    }
}

impl GenServer for CounterV2 {
    const KIND: &'static str = "counter";
    const VERSION: u32 = 2;
    type Args = u32;
    type Call = ();
    type Reply = String;
    type Cast = Tell;
    type Info = ();

    async fn init(count: u32, _ctx: &mut Ctx<Self>) -> Init<Self> {
        Init::Ok(CounterV2 { count, step: 10 })
    }

    async fn handle_call(&mut self, (): (), from: From<String>, _ctx: &mut Ctx<Self>) -> Flow {
        from.reply(format!("v2 {}", self.count));
        Flow::Go
    }

    async fn handle_cast(&mut self, tell: Tell, _ctx: &mut Ctx<Self>) -> Flow {
        if let Tell::Add = tell {
            self.count += self.step;
        }
        Flow::Go
    }

    async fn handle_info(&mut self, info: Info<()>, _ctx: &mut Ctx<Self>) -> Flow {
        if let Info::Message(()) = info {
            self.count += 1000;
        }
        Flow::Go
    }

    async fn code_change(old: OldState, _ctx: &mut Ctx<Self>) -> Result<Self, Refusal> {
        assert_eq!(old.version(), 1);
        let old = match old.take::<CounterV1>() {
            Ok(old) => old,
            Err(old) => return Err(Refusal::keep(old, "not a counter")),
        };
        match old.count {
            13 => Err(Refusal::keep(OldState::of(old), "unlucky")),
            14 => Err(Refusal::lost(ExitReason::error("dropped it"))),
            15 => panic!("fell"),
            count => Ok(CounterV2 { count, step: 10 }),
        }
    }
}

/// Another behaviour with the same messages.
struct Impostor;

impl GenServer for Impostor {
    const KIND: &'static str = "impostor";
    type Args = u32;
    type Call = ();
    type Reply = String;
    type Cast = Tell;
    type Info = ();

    async fn init(_count: u32, _ctx: &mut Ctx<Self>) -> Init<Self> {
        Init::Ignore
    }
}

#[tokio::test]
async fn state_name_mailbox_timers_and_monitors_live_on() {
    let (system, hand) = world();
    let name = Name::new("counter", "");
    let v1 = system.start::<CounterV1>(Some(&name), 5).await.unwrap();
    let end = v1.watch();
    v1.cast(Tell::Ring(secs(9))).unwrap();
    let (open, gate) = tokio::sync::oneshot::channel();
    v1.cast(Tell::Wait(gate)).unwrap();
    // Queued behind the handler; the upgrade overtakes both.
    v1.cast(Tell::Add).unwrap();
    let asker = v1.clone();
    let asked = tokio::spawn(async move { asker.call((), LONG).await });
    let old = v1.clone();
    let upgraded = tokio::spawn(async move { old.upgrade::<CounterV2>(LONG).await });
    tokio::task::yield_now().await;
    open.send(()).unwrap();
    let v2 = soon(upgraded).await.unwrap().unwrap();
    assert_eq!(v2.id(), v1.id());
    assert_eq!(soon(asked).await.unwrap().unwrap(), "v2 15");
    // Old handles reach the new version; so does its name.
    v1.cast(Tell::Add).unwrap();
    assert_eq!(soon(v1.call((), LONG)).await.unwrap(), "v2 25");
    let named: Pid<CounterV2> = system.registry().whereis(&name).unwrap();
    assert_eq!(named, v2);
    hand.advance(secs(9)).await;
    assert_eq!(soon(v2.call((), LONG)).await.unwrap(), "v2 1025");
    v2.kill();
    assert_eq!(soon(end).await, ExitReason::Killed);
    assert!(system.registry().whereis_any(&name).is_none());
}

#[tokio::test]
async fn a_refused_upgrade_leaves_the_process_as_it_was() {
    let (system, _hand) = world();
    let v1 = system.start::<CounterV1>(None, 13).await.unwrap();
    let refused = soon(v1.upgrade::<CounterV2>(LONG)).await;
    let unlucky = ExitReason::error("unlucky");
    assert_eq!(refused, Err(UpgradeError::Refused(unlucky)));
    v1.cast(Tell::Add).unwrap();
    assert_eq!(soon(v1.call((), LONG)).await.unwrap(), "v1 14");
}

#[tokio::test]
async fn an_upgrade_that_fails_ends_the_process() {
    let (system, _hand) = world();
    for (count, reason) in [
        (14, ExitReason::error("dropped it")),
        (15, ExitReason::Panic("fell".into())),
    ] {
        let v1 = system.start::<CounterV1>(None, count).await.unwrap();
        let failed = soon(v1.upgrade::<CounterV2>(LONG)).await;
        assert_eq!(failed, Err(UpgradeError::Failed(reason.clone())));
        assert_eq!(soon(v1.watch()).await, reason);
    }
    assert_eq!(system.observe().count(), 0);
}

#[tokio::test]
async fn only_a_version_of_the_same_behaviour_will_do() {
    let (system, hand) = world();
    let v1 = system.start::<CounterV1>(None, 1).await.unwrap();
    let wrong = soon(v1.upgrade::<Impostor>(LONG)).await.unwrap_err();
    let (found, wanted) = ("counter", "impostor");
    assert_eq!(wrong, UpgradeError::NotAVersion { found, wanted });
    // Unless written, code_change takes its own state only.
    soon(v1.upgrade::<CounterV1>(LONG)).await.unwrap();
    assert_eq!(soon(v1.call((), LONG)).await.unwrap(), "v1 1");
    let v2 = soon(v1.upgrade::<CounterV2>(LONG)).await.unwrap();
    let back = soon(v2.upgrade::<CounterV1>(LONG)).await.unwrap_err();
    assert!(matches!(back, UpgradeError::Refused(_)));
    assert_eq!(soon(v2.call((), LONG)).await.unwrap(), "v2 1");
    // A process that does not come to it.
    let v1 = system.start::<CounterV1>(None, 1).await.unwrap();
    let (_shut, gate) = tokio::sync::oneshot::channel();
    v1.cast(Tell::Wait(gate)).unwrap();
    let old = v1.clone();
    let late = tokio::spawn(async move { old.upgrade::<CounterV2>(secs(5)).await });
    hand.advance(secs(5)).await;
    assert_eq!(soon(late).await.unwrap(), Err(UpgradeError::Timeout));
    v1.kill();
    soon(v1.watch()).await;
    let dead = v1.upgrade::<CounterV2>(LONG).await;
    assert_eq!(dead, Err(UpgradeError::NoProc));
}

#[tokio::test]
async fn a_supervised_child_is_upgraded_and_restarts_as_the_new_version() {
    let (system, _hand) = world();
    let name = Name::new("counter", "");
    let v1 = ChildSpec::worker::<CounterV1>("counter", || 5).registered(name.clone());
    let sup = patient(Strategy::OneForOne)
        .child(v1)
        .start(&system, "root")
        .await
        .unwrap();
    let named = system.registry().named::<CounterV2>(name.clone());
    let before = named.pid().unwrap();
    let v2 =
        || ChildSpec::worker::<CounterV2>("counter", || 7).registered(Name::new("counter", ""));
    sup.upgrade_child(v2(), LONG).await.unwrap();
    assert_eq!(soon(named.call((), LONG)).await.unwrap(), "v2 5");
    assert_eq!(named.pid().unwrap(), before);
    before.kill();
    soon(before.watch()).await;
    assert_eq!(sup.count_children().await.unwrap().active, 1);
    assert_eq!(soon(named.call((), LONG)).await.unwrap(), "v2 7");
    // What cannot be: no such child, another behaviour, other messages.
    let stranger = ChildSpec::worker::<CounterV2>("stranger", || 7);
    let refused = sup.upgrade_child(stranger, LONG).await;
    assert_eq!(refused, Err(ChildError::NotFound));
    let log = Log::default();
    let other = ChildSpec::worker::<Worker>("counter", move || Plan::new("w", &log));
    let below = ChildSpec::supervisor("counter", || Supervisor::new(Strategy::OneForOne));
    for spec in [ChildSpec::worker::<Impostor>("counter", || 1), other, below] {
        let refused = sup.upgrade_child(spec, LONG).await;
        let not = matches!(
            refused,
            Err(ChildError::Upgrade(UpgradeError::NotAVersion { .. }))
        );
        assert!(not, "{refused:?}");
    }
    assert_eq!(soon(named.call((), LONG)).await.unwrap(), "v2 7");
    // One that does not run just gets its new spec.
    sup.terminate_child("counter").await.unwrap();
    sup.upgrade_child(v2(), LONG).await.unwrap();
    sup.restart_child("counter").await.unwrap();
    assert_eq!(soon(named.call((), LONG)).await.unwrap(), "v2 7");
}

#[tokio::test]
async fn dynamic_children_are_upgraded_together() {
    let (system, _hand) = world();
    let shutdown = Shutdown::Timeout(secs(5));
    let sup = Supervisor::simple_one_for_one::<CounterV1>(Restart::Temporary, shutdown)
        .start(&system, "root")
        .await
        .unwrap();
    let mut pids = Vec::new();
    for count in [1, 2, 13] {
        pids.push(sup.start_one::<CounterV1>(count).await.unwrap());
    }
    let wrong = sup.upgrade_ones::<Impostor>(LONG).await;
    assert!(matches!(wrong, Err(ChildError::Upgrade(_))), "{wrong:?}");
    let left = soon(sup.upgrade_ones::<CounterV2>(LONG)).await.unwrap();
    let unlucky = UpgradeError::Refused(ExitReason::error("unlucky"));
    assert_eq!(left, [(pids[2].any(), unlucky)]);
    for (pid, says) in pids.iter().zip(["v2 1", "v2 2", "v1 13"]) {
        assert_eq!(soon(pid.call((), LONG)).await.unwrap(), says);
    }
    let new = sup.start_one::<CounterV2>(7).await.unwrap();
    assert_eq!(soon(new.call((), LONG)).await.unwrap(), "v2 7");
    assert_eq!(sup.count_children().await.unwrap().active, 4);
}

#[tokio::test]
async fn a_kill_during_an_upgrade_ends_the_process() {
    let (system, _hand) = world();
    struct Forever;
    impl GenServer for Forever {
        const KIND: &'static str = "counter";
        type Args = u32;
        type Call = ();
        type Reply = String;
        type Cast = Tell;
        type Info = ();
        async fn init(_: u32, _ctx: &mut Ctx<Self>) -> Init<Self> {
            Init::Ignore
        }
        async fn code_change(_old: OldState, _ctx: &mut Ctx<Self>) -> Result<Self, Refusal> {
            std::future::pending().await
        }
    }
    let v1 = system.start::<CounterV1>(None, 1).await.unwrap();
    let old = v1.clone();
    let upgrade = tokio::spawn(async move { old.upgrade::<Forever>(LONG).await });
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    v1.kill();
    assert_eq!(soon(v1.watch()).await, ExitReason::Killed);
    let failed = UpgradeError::Failed(ExitReason::Killed);
    assert_eq!(soon(upgrade).await.unwrap().unwrap_err(), failed);
}
