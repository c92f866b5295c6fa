//! gen_server: calls, casts, stops, time-outs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use otp::{
    CallError, Ctx, ExitReason, Flow, GenServer, Info, Init, Name, NoProc, StartError, System,
};
use tokio::sync::oneshot;

use crate::common::*;

#[tokio::test]
async fn a_call_is_answered() {
    let (system, _hand) = world();
    let pid = worker(&system, &Log::default(), "w").await;
    assert_eq!(soon(pid.call(Ask::Echo(7), LONG)).await, Ok(7));
}

#[tokio::test]
async fn a_call_to_a_dead_process_is_noproc() {
    let (system, _hand) = world();
    let pid = worker(&system, &Log::default(), "w").await;
    pid.stop(ExitReason::Normal);
    assert_eq!(soon(pid.watch()).await, ExitReason::Normal);
    assert_eq!(pid.call(Ask::Echo(7), LONG).await, Err(CallError::NoProc));
    assert_eq!(pid.cast(Do::Go), Err(NoProc));
    assert_eq!(pid.info("x"), Err(NoProc));
    assert_eq!(pid.control(Do::Go), Err(NoProc));
    assert!(!pid.is_alive());
}

#[tokio::test]
async fn a_call_to_a_process_that_dies_tells_why() {
    let (system, _hand) = world();
    let log = Log::default();
    let error = ExitReason::error("no more");
    for (ask, reason) in [
        (Ask::Panic, ExitReason::Panic("asked to".into())),
        (Ask::Stop(error.clone()), error),
        (Ask::Stop(ExitReason::Normal), ExitReason::Normal),
    ] {
        let pid = worker(&system, &log, "w").await;
        let answer = soon(pid.call(ask, LONG)).await;
        assert_eq!(answer, Err(CallError::Died(reason)));
    }
}

#[tokio::test]
async fn calls_queued_in_a_process_that_dies_all_fail() {
    let (system, _hand) = world();
    let pid = worker(&system, &Log::default(), "w").await;
    let gate = gate(&pid).await;
    let asked: Vec<_> = (0..50)
        .map(|n| {
            let pid = pid.clone();
            tokio::spawn(async move { pid.call(Ask::Echo(n), LONG).await })
        })
        .collect();
    tokio::task::yield_now().await;
    pid.kill();
    drop(gate);
    for asked in asked {
        let answer = soon(asked).await.expect("asking does not panic");
        let dead = CallError::Died(ExitReason::Killed);
        assert!(
            answer == Err(dead) || answer == Err(CallError::NoProc),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn a_call_kept_unanswered_fails_when_the_process_ends() {
    let (system, _hand) = world();
    let pid = worker(&system, &Log::default(), "w").await;
    let asker = pid.clone();
    let asked = tokio::spawn(async move { asker.call(Ask::Keep, LONG).await });
    let asker = pid.clone();
    // Answered behind the kept one, so that one has been handled.
    tokio::task::yield_now().await;
    assert_eq!(soon(asker.call(Ask::Echo(1), LONG)).await, Ok(1));
    pid.stop(ExitReason::Shutdown);
    let answer = soon(asked).await.expect("asking does not panic");
    assert_eq!(answer, Err(CallError::Died(ExitReason::Shutdown)));
}

#[tokio::test]
async fn a_call_thrown_away_is_no_reply() {
    let (system, _hand) = world();
    let pid = worker(&system, &Log::default(), "w").await;
    let answer = soon(pid.call(Ask::Drop, LONG)).await;
    assert_eq!(answer, Err(CallError::NoReply));
    assert_eq!(soon(pid.call(Ask::Echo(1), LONG)).await, Ok(1));
}

#[tokio::test]
async fn a_call_to_a_slow_process_times_out_at_its_deadline() {
    let (system, hand) = world();
    let pid = worker(&system, &Log::default(), "w").await;
    let asker = pid.clone();
    let asked = tokio::spawn(async move { asker.call(Ask::Hang, secs(5)).await });
    hand.advance(secs(4)).await;
    assert!(!asked.is_finished());
    hand.advance(secs(1)).await;
    assert_eq!(soon(asked).await.unwrap(), Err(CallError::Timeout));
    assert_eq!(system.clock().timers(), 0);
}

#[tokio::test]
async fn a_call_to_a_dying_process_ends_within_its_deadline() {
    let (system, hand) = world();
    let log = Log::default();
    let plan = Plan::new("w", &log).ends(End::Never);
    let pid = system.start::<Worker>(None, plan).await.unwrap();
    let asker = pid.clone();
    let kept = tokio::spawn(async move { asker.call(Ask::Keep, secs(5)).await });
    tokio::task::yield_now().await;
    assert_eq!(soon(pid.call(Ask::Echo(1), LONG)).await, Ok(1));
    pid.stop(ExitReason::Shutdown);
    assert_eq!(log.take_n(2).await, ["w up", "w terminate shutdown"]);
    // It terminates for ever: nobody can ask any more, who asked waits no longer than allowed.
    let late = soon(pid.call(Ask::Echo(2), secs(5))).await;
    assert_eq!(late, Err(CallError::NoProc));
    hand.advance(secs(5)).await;
    let kept = soon(kept).await.unwrap().unwrap_err();
    assert!(
        matches!(kept, CallError::Timeout | CallError::Died(_)),
        "{kept:?}"
    );
    pid.kill();
    assert_eq!(soon(pid.watch()).await, ExitReason::Killed);
}

#[tokio::test]
async fn stop_waits_for_the_handler_and_overtakes_the_queue() {
    let (system, _hand) = world();
    let log = Log::default();
    let pid = worker(&system, &log, "w").await;
    let gate = gate(&pid).await;
    pid.cast(Do::Note("queued")).unwrap();
    pid.stop(ExitReason::Shutdown);
    pid.stop(ExitReason::Normal);
    assert!(pid.is_alive());
    drop(gate);
    assert_eq!(soon(pid.watch()).await, ExitReason::Shutdown);
    assert_eq!(log.take(), ["w up", "w terminate shutdown"]);
}

#[tokio::test]
async fn a_stop_from_a_callback_terminates_with_its_reason() {
    let (system, _hand) = world();
    let log = Log::default();
    let pid = worker(&system, &log, "w").await;
    pid.cast(Do::Stop(ExitReason::error("enough"))).unwrap();
    assert_eq!(soon(pid.watch()).await, ExitReason::error("enough"));
    assert_eq!(log.take(), ["w up", "w terminate error: enough"]);
}

#[tokio::test]
async fn kill_interrupts_a_waiting_handler_and_skips_terminate() {
    let (system, _hand) = world();
    let log = Log::default();
    let pid = worker(&system, &log, "w").await;
    let mut gate = gate(&pid).await;
    pid.kill();
    assert_eq!(soon(pid.watch()).await, ExitReason::Killed);
    // The handler's future, which held the other end, is gone.
    soon(gate.closed()).await;
    assert_eq!(log.take(), ["w up"]);
}

#[tokio::test]
async fn kill_interrupts_terminate() {
    let (system, _hand) = world();
    let log = Log::default();
    let plan = Plan::new("w", &log).ends(End::Never);
    let pid = system.start::<Worker>(None, plan).await.unwrap();
    pid.stop(ExitReason::Shutdown);
    log.take_n(2).await;
    pid.kill();
    assert_eq!(soon(pid.watch()).await, ExitReason::Killed);
}

#[tokio::test]
async fn a_panic_is_the_reason_and_skips_terminate() {
    let (system, _hand) = world();
    let log = Log::default();
    let pid = worker(&system, &log, "w").await;
    pid.cast(Do::Panic).unwrap();
    assert_eq!(soon(pid.watch()).await, ExitReason::Panic("told to".into()));
    assert_eq!(log.take(), ["w up"]);
}

#[tokio::test]
async fn control_overtakes_the_queue_in_its_own_order() {
    let (system, _hand) = world();
    let log = Log::default();
    let pid = worker(&system, &log, "w").await;
    let gate = gate(&pid).await;
    pid.cast(Do::Note("first")).unwrap();
    pid.cast(Do::Note("second")).unwrap();
    pid.control(Do::Note("kick")).unwrap();
    pid.control(Do::Note("kick again")).unwrap();
    drop(gate);
    let lines = log.take_n(5).await;
    assert_eq!(
        lines,
        ["w up", "w kick", "w kick again", "w first", "w second"]
    );
}

#[tokio::test]
async fn casts_of_one_sender_arrive_in_order() {
    let (system, _hand) = world();
    let log = Log::default();
    let pid = worker(&system, &log, "w").await;
    let notes = ["a", "b", "c", "d", "e"];
    for _ in 0..200 {
        for note in notes {
            pid.cast(Do::Note(note)).unwrap();
        }
    }
    let lines = log.take_n(1001).await;
    for (n, line) in lines[1..].iter().enumerate() {
        assert_eq!(*line, format!("w {}", notes[n % 5]));
    }
}

#[tokio::test]
async fn timeout_comes_when_nothing_else_does() {
    let (system, hand) = world();
    let log = Log::default();
    let pid = worker(&system, &log, "w").await;
    pid.cast(Do::Idle(secs(10))).unwrap();
    hand.advance(secs(9)).await;
    assert_eq!(log.take(), ["w up"]);
    hand.advance(secs(1)).await;
    assert_eq!(log.take_n(1).await, ["w timeout"]);
    hand.advance(secs(100)).await;
    assert_eq!(log.take(), [""; 0]);
}

#[tokio::test]
async fn any_message_ends_the_wait_for_a_timeout() {
    let (system, hand) = world();
    let log = Log::default();
    let pid = worker(&system, &log, "w").await;
    pid.cast(Do::Idle(secs(10))).unwrap();
    hand.advance(secs(5)).await;
    pid.cast(Do::Go).unwrap();
    hand.advance(secs(100)).await;
    assert_eq!(log.take(), ["w up"]);
    assert_eq!(system.clock().timers(), 0);
}

#[tokio::test]
async fn a_timeout_of_zero_comes_at_once_if_nothing_is_queued() {
    let (system, _hand) = world();
    let log = Log::default();
    let pid = worker(&system, &log, "w").await;
    pid.cast(Do::Idle(secs(0))).unwrap();
    assert_eq!(log.take_n(2).await, ["w up", "w timeout"]);
    let gate = gate(&pid).await;
    pid.cast(Do::Idle(secs(0))).unwrap();
    pid.cast(Do::Note("queued")).unwrap();
    drop(gate);
    assert_eq!(soon(pid.call(Ask::Echo(1), LONG)).await, Ok(1));
    assert_eq!(log.take(), ["w queued"]);
}

#[tokio::test]
async fn timers_fire_in_the_order_of_their_time() {
    let (system, hand) = world();
    let log = Log::default();
    let pid = worker(&system, &log, "w").await;
    pid.cast(Do::After(secs(3), "three")).unwrap();
    pid.cast(Do::After(secs(1), "one")).unwrap();
    pid.cast(Do::After(secs(2), "two")).unwrap();
    hand.advance(secs(10)).await;
    let lines = log.take_n(4).await;
    assert_eq!(lines, ["w up", "w one", "w two", "w three"]);
}

#[tokio::test]
async fn timers_end_with_their_process() {
    let (system, hand) = world();
    let log = Log::default();
    let pid = worker(&system, &log, "w").await;
    pid.cast(Do::After(secs(3), "three")).unwrap();
    pid.cast(Do::Idle(secs(4))).unwrap();
    hand.advance(secs(1)).await;
    assert_eq!(system.clock().timers(), 2);
    pid.kill();
    soon(pid.watch()).await;
    assert_eq!(system.clock().timers(), 0);
}

/// Starts, continues, owns a task and a timer it takes back.
struct Slow {
    log: Log,
}

enum Own {
    Task(oneshot::Sender<()>),
    BadTask,
    TakeBack,
}

struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl GenServer for Slow {
    const KIND: &'static str = "slow";
    type Args = Log;
    type Call = Own;
    type Reply = ();
    type Cast = ();
    type Info = &'static str;

    async fn init(log: Log, ctx: &mut Ctx<Self>) -> Init<Self> {
        // Queued before the start has ended, heard after `handle_continue`.
        ctx.pid().info("early").unwrap();
        log.say("init");
        Init::Continue(Slow { log })
    }

    async fn handle_continue(&mut self, _ctx: &mut Ctx<Self>) -> Flow {
        self.log.say("continue");
        Flow::Go
    }

    async fn handle_call(&mut self, own: Own, from: otp::From<()>, ctx: &mut Ctx<Self>) -> Flow {
        match own {
            Own::Task(ended) => {
                ctx.spawn(async move {
                    let _held = ended;
                    std::future::pending().await
                });
            }
            Own::BadTask => {
                ctx.spawn(async { panic!("task fell") });
            }
            Own::TakeBack => {
                let timer = ctx.send_after(secs(1), "never");
                assert!(ctx.cancel(timer));
                assert!(!ctx.cancel(timer));
            }
        }
        from.reply(());
        Flow::Go
    }

    async fn handle_info(&mut self, info: Info<&'static str>, _ctx: &mut Ctx<Self>) -> Flow {
        if let Info::Message(message) = info {
            self.log.say(message);
        }
        Flow::Go
    }

    async fn terminate(self, reason: &ExitReason, _ctx: &mut Ctx<Self>) {
        self.log.say(format!("terminate {reason}"));
    }
}

#[tokio::test]
async fn continue_runs_before_anything_queued() {
    let (system, _hand) = world();
    let log = Log::default();
    system.start::<Slow>(None, log.clone()).await.unwrap();
    assert_eq!(log.take_n(3).await, ["init", "continue", "early"]);
}

#[tokio::test]
async fn a_task_ends_with_its_process_however_that_ends() {
    let (system, _hand) = world();
    for kill in [true, false] {
        let pid = system.start::<Slow>(None, Log::default()).await.unwrap();
        let (held, ended) = oneshot::channel();
        pid.call(Own::Task(held), LONG).await.unwrap();
        if kill {
            pid.kill();
        } else {
            pid.stop(ExitReason::Normal);
        }
        assert!(soon(ended).await.is_err(), "the task let go of its end");
    }
}

#[tokio::test]
async fn a_panic_in_a_task_ends_its_process_with_terminate() {
    let (system, _hand) = world();
    let log = Log::default();
    let pid = system.start::<Slow>(None, log.clone()).await.unwrap();
    pid.call(Own::BadTask, LONG).await.unwrap();
    assert_eq!(
        soon(pid.watch()).await,
        ExitReason::Panic("task fell".into())
    );
    assert_eq!(log.take().last().unwrap(), "terminate panic: task fell");
}

#[tokio::test]
async fn a_timer_taken_back_is_not_heard() {
    let (system, hand) = world();
    let log = Log::default();
    let pid = system.start::<Slow>(None, log.clone()).await.unwrap();
    pid.call(Own::TakeBack, LONG).await.unwrap();
    hand.advance(secs(5)).await;
    assert_eq!(log.take(), ["init", "continue", "early"]);
}

/// A server with nothing but `init`.
struct Bare(#[allow(dead_code)] Dropped);

impl GenServer for Bare {
    const KIND: &'static str = "bare";
    type Args = Arc<AtomicUsize>;
    type Call = ();
    type Reply = ();
    type Cast = ();
    type Info = ();

    async fn init(count: Arc<AtomicUsize>, _ctx: &mut Ctx<Self>) -> Init<Self> {
        Init::Ok(Bare(Dropped(count)))
    }
}

#[tokio::test]
async fn only_init_is_required() {
    let (system, _hand) = world();
    let count = Arc::new(AtomicUsize::new(0));
    let pid = system.start::<Bare>(None, count.clone()).await.unwrap();
    assert_eq!(soon(pid.call((), LONG)).await, Err(CallError::NoReply));
    pid.cast(()).unwrap();
    pid.info(()).unwrap();
    pid.stop(ExitReason::Normal);
    assert_eq!(soon(pid.watch()).await, ExitReason::Normal);
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_state_is_dropped_before_the_end_is_told() {
    let (system, _hand) = world();
    let count = Arc::new(AtomicUsize::new(0));
    let pid = system.start::<Bare>(None, count.clone()).await.unwrap();
    pid.kill();
    soon(pid.watch()).await;
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_start_fails_as_init_says() {
    let (system, _hand) = world();
    let log = Log::default();
    let name = Name::new("worker", "");
    for (begin, error) in [
        (Begin::Ignore, StartError::Ignored),
        (
            Begin::Stop(ExitReason::error("no")),
            StartError::Failed(ExitReason::error("no")),
        ),
        (
            Begin::Panic,
            StartError::Failed(ExitReason::Panic("no init".into())),
        ),
    ] {
        let plan = Plan::new("w", &log).begins([begin]);
        let started = soon(system.start::<Worker>(Some(&name), plan)).await;
        assert_eq!(started.unwrap_err(), error);
        // Nothing is left: the name is free and the process gone when the start has failed.
        assert!(system.registry().whereis_any(&name).is_none());
        assert_eq!(system.observe().count(), 0);
    }
}

#[tokio::test]
async fn two_systems_share_nothing() {
    let (one, hand) = world();
    let other = System::new("other", otp::Clock::manual().0);
    let log = Log::default();
    let name = Name::new("worker", "");
    let a = one
        .start::<Worker>(Some(&name), Plan::new("a", &log))
        .await
        .unwrap();
    let b = other
        .start::<Worker>(Some(&name), Plan::new("b", &log))
        .await
        .unwrap();
    assert_eq!(one.registry().whereis::<Worker>(&name), Some(a.clone()));
    assert_eq!(other.registry().whereis::<Worker>(&name), Some(b.clone()));
    b.cast(Do::After(secs(1), "rang")).unwrap();
    a.cast(Do::After(secs(1), "rang")).unwrap();
    hand.advance(secs(2)).await;
    assert_eq!(log.take_n(3).await, ["a up", "b up", "a rang"]);
}
