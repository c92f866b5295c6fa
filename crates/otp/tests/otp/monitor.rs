//! Monitors and names.

use otp::{
    Ctx, ExitReason, Flow, From, GenServer, Info, Init, MonitorRef, Name, NoProc, Pid, System,
};

use crate::common::*;

/// Monitors whom it is told to and writes down what it hears.
struct Guard(Log);

enum Look {
    At(Pid<Worker>),
    Away(MonitorRef),
    /// At it and, before anything can be heard, away.
    Shortly(Pid<Worker>),
}

impl GenServer for Guard {
    const KIND: &'static str = "guard";
    type Args = Log;
    type Call = Look;
    type Reply = MonitorRef;
    type Cast = ();
    type Info = ();

    async fn init(log: Log, _ctx: &mut Ctx<Self>) -> Init<Self> {
        Init::Ok(Guard(log))
    }

    async fn handle_call(
        &mut self,
        look: Look,
        from: From<MonitorRef>,
        ctx: &mut Ctx<Self>,
    ) -> Flow {
        let monitor = match look {
            Look::At(worker) => ctx.monitor(&worker.any()),
            Look::Away(monitor) => {
                ctx.demonitor(monitor);
                monitor
            }
            Look::Shortly(worker) => {
                let monitor = ctx.monitor(&worker.any());
                worker.kill();
                worker.watch().await;
                ctx.demonitor(monitor);
                monitor
            }
        };
        from.reply(monitor);
        Flow::Go
    }

    async fn handle_info(&mut self, info: Info<()>, _ctx: &mut Ctx<Self>) -> Flow {
        if let Info::Down(down) = info {
            let line = format!("{:?} {} {}", down.monitor, down.process, down.reason);
            self.0.say(line);
        }
        Flow::Go
    }
}

async fn guard(system: &System) -> (Pid<Guard>, Log) {
    let log = Log::default();
    let guard = system.start::<Guard>(None, log.clone()).await.unwrap();
    (guard, log)
}

#[tokio::test]
async fn a_monitor_fires_exactly_once_with_the_reason() {
    let (system, hand) = world();
    let (guard, log) = guard(&system).await;
    for (reason, text) in [
        (ExitReason::Normal, "normal"),
        (ExitReason::error("no"), "error: no"),
        (ExitReason::Killed, "killed"),
        (ExitReason::Panic("told to".into()), "panic: told to"),
    ] {
        let w = worker(&system, &Log::default(), "w").await;
        let monitor = guard.call(Look::At(w.clone()), LONG).await.unwrap();
        match reason {
            ExitReason::Killed => w.kill(),
            ExitReason::Panic(_) => w.cast(Do::Panic).unwrap(),
            reason => w.stop(reason),
        }
        let line = format!("{monitor:?} {} {text}", w.id());
        assert_eq!(log.take_n(1).await, [line]);
        w.kill();
        hand.advance(secs(1)).await;
        assert_eq!(log.take(), [""; 0]);
    }
}

#[tokio::test]
async fn a_monitor_on_the_dead_fires_once_with_noproc() {
    let (system, hand) = world();
    let (guard, log) = guard(&system).await;
    let w = worker(&system, &Log::default(), "w").await;
    w.kill();
    soon(w.watch()).await;
    let monitor = guard.call(Look::At(w.clone()), LONG).await.unwrap();
    let line = format!("{monitor:?} {} noproc", w.id());
    assert_eq!(log.take_n(1).await, [line]);
    hand.advance(secs(1)).await;
    assert_eq!(log.take(), [""; 0]);
}

#[tokio::test]
async fn each_monitor_of_the_same_process_fires() {
    let (system, _hand) = world();
    let (guard, log) = guard(&system).await;
    let w = worker(&system, &Log::default(), "w").await;
    let mut wanted = Vec::new();
    for _ in 0..3 {
        let monitor = guard.call(Look::At(w.clone()), LONG).await.unwrap();
        wanted.push(format!("{monitor:?} {} killed", w.id()));
    }
    w.kill();
    assert_eq!(log.take_n(3).await, wanted);
}

#[tokio::test]
async fn a_monitor_taken_back_is_not_heard_even_if_it_has_fired() {
    let (system, hand) = world();
    let (guard, log) = guard(&system).await;
    let w = worker(&system, &Log::default(), "w").await;
    let monitor = guard.call(Look::At(w.clone()), LONG).await.unwrap();
    guard.call(Look::Away(monitor), LONG).await.unwrap();
    w.kill();
    soon(w.watch()).await;
    let w = worker(&system, &Log::default(), "w").await;
    soon(guard.call(Look::Shortly(w), LONG)).await.unwrap();
    hand.advance(secs(1)).await;
    assert_eq!(log.take(), [""; 0]);
}

#[tokio::test]
async fn those_who_are_not_processes_can_wait_for_an_end() {
    let (system, _hand) = world();
    let w = worker(&system, &Log::default(), "w").await;
    let (before, forgotten) = (w.watch(), w.watch());
    drop(forgotten);
    w.stop(ExitReason::Shutdown);
    assert_eq!(soon(before).await, ExitReason::Shutdown);
    assert_eq!(soon(w.watch()).await, ExitReason::Shutdown);
}

#[tokio::test]
async fn names_are_freed_on_death() {
    let (system, _hand) = world();
    let log = Log::default();
    let registry = system.registry();
    let (name, second) = (Name::new("worker", "a"), Name::new("worker", "b"));
    for end in 0..3 {
        let w = worker(&system, &log, "w").await;
        registry.register(&name, &w).unwrap();
        registry.register(&second, &w).unwrap();
        let other = worker(&system, &log, "other").await;
        let taken = registry.register(&name, &other).unwrap_err();
        assert_eq!((taken.name, taken.by), (name.clone(), w.id()));
        assert_eq!(registry.whereis::<Worker>(&name), Some(w.clone()));
        match end {
            0 => w.kill(),
            1 => w.stop(ExitReason::Normal),
            _ => w.cast(Do::Panic).unwrap(),
        }
        soon(w.watch()).await;
        assert_eq!(registry.names(), []);
        // The dead get no names.
        assert!(registry.register(&name, &w).is_err());
        registry.register(&name, &other).unwrap();
        assert!(registry.unregister(&name));
        assert!(!registry.unregister(&name));
        assert!(registry.whereis::<Worker>(&name).is_none());
    }
}

#[tokio::test]
async fn a_name_finds_only_its_own_kind_of_process() {
    let (system, _hand) = world();
    let name = Name::new("worker", "a");
    let w = worker(&system, &Log::default(), "w").await;
    system.registry().register(&name, &w).unwrap();
    assert!(system.registry().whereis::<Guard>(&name).is_none());
    assert!(system.registry().supervisor(&name).is_none());
    assert_eq!(system.registry().whereis_any(&name), Some(w.any()));
}

#[tokio::test]
async fn a_name_is_looked_up_at_each_use() {
    let (system, _hand) = world();
    let log = Log::default();
    let name = Name::new("worker", "a");
    let named = system.registry().named::<Worker>(name.clone());
    assert_eq!(named.cast(Do::Go), Err(NoProc));
    assert_eq!(
        named.call(Ask::Echo(1), LONG).await,
        Err(otp::CallError::NoProc)
    );
    for who in ["first", "second"] {
        let w = system
            .start::<Worker>(Some(&name), Plan::new(who, &log))
            .await
            .unwrap();
        assert_eq!(soon(named.call(Ask::Echo(1), LONG)).await, Ok(1));
        named.cast(Do::Note("cast")).unwrap();
        named.info("info").unwrap();
        let lines = log.take_n(3).await;
        assert_eq!(
            lines,
            [
                format!("{who} up"),
                format!("{who} cast"),
                format!("{who} info")
            ]
        );
        w.kill();
        soon(w.watch()).await;
    }
}
