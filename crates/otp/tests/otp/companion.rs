//! Ctx::accompany: work in the task of its process.

use std::future::{pending, poll_fn};
use std::task::Poll;

use otp::{Ctx, ExitReason, Flow, From, GenServer, Info, Init, Pid};
use tokio::sync::{mpsc, oneshot};

use crate::common::*;

/// Writes down what its companion and its callbacks do.
struct Pair {
    log: Log,
}

enum Beside {
    /// Say and send on to the process what comes.
    Relay(mpsc::UnboundedReceiver<&'static str>),
    /// Wait for ever, and hold this.
    Hold(oneshot::Sender<()>),
    /// Wake itself without end, and say so once.
    Spin,
    Panic,
    /// No companion: the callback waits for this.
    Wait(oneshot::Receiver<()>),
}

impl GenServer for Pair {
    const KIND: &'static str = "pair";
    type Args = Log;
    type Call = Beside;
    type Reply = ();
    type Cast = ();
    type Info = &'static str;

    async fn init(log: Log, _ctx: &mut Ctx<Self>) -> Init<Self> {
        Init::Ok(Pair { log })
    }

    async fn handle_call(&mut self, beside: Beside, from: From<()>, ctx: &mut Ctx<Self>) -> Flow {
        let (log, pid) = (self.log.clone(), ctx.pid().clone());
        match beside {
            Beside::Relay(mut lines) => ctx.accompany(async move {
                while let Some(line) = lines.recv().await {
                    log.say(format!("work {line}"));
                    pid.info(line).unwrap();
                }
                log.say("work done");
            }),
            Beside::Hold(held) => ctx.accompany(async move {
                let _held = held;
                pending().await
            }),
            Beside::Spin => {
                let mut said = false;
                ctx.accompany(poll_fn(move |cx| {
                    if !std::mem::replace(&mut said, true) {
                        log.say("spins");
                    }
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }));
            }
            Beside::Panic => ctx.accompany(async { panic!("work fell") }),
            Beside::Wait(gate) => {
                from.reply(());
                drop(gate.await);
                self.log.say("waited");
                return Flow::Go;
            }
        }
        from.reply(());
        Flow::Go
    }

    async fn handle_info(&mut self, info: Info<&'static str>, _ctx: &mut Ctx<Self>) -> Flow {
        if let Info::Message(line) = info {
            self.log.say(format!("heard {line}"));
        }
        Flow::Go
    }

    async fn terminate(self, reason: &ExitReason, _ctx: &mut Ctx<Self>) {
        self.log.say(format!("terminate {reason}"));
    }
}

async fn pair(log: &Log) -> (Pid<Pair>, otp::System) {
    let (system, _hand) = world();
    let pid = system.start::<Pair>(None, log.clone()).await.unwrap();
    (pid, system)
}

#[tokio::test]
async fn it_wakes_the_process_and_is_heard() {
    let log = Log::default();
    let (pid, _system) = pair(&log).await;
    let (lines, work) = mpsc::unbounded_channel();
    pid.call(Beside::Relay(work), LONG).await.unwrap();
    for line in ["a", "b", "c"] {
        lines.send(line).unwrap();
        let seen = log.take_n(2).await;
        assert_eq!(seen, [format!("work {line}"), format!("heard {line}")]);
    }
    drop(lines);
    assert_eq!(log.take_n(1).await, ["work done"]);
    // It has ended; its process has not.
    pid.info("d").unwrap();
    assert_eq!(log.take_n(1).await, ["heard d"]);
}

#[tokio::test]
async fn it_goes_on_while_a_callback_waits() {
    let log = Log::default();
    let (pid, _system) = pair(&log).await;
    let (lines, work) = mpsc::unbounded_channel();
    pid.call(Beside::Relay(work), LONG).await.unwrap();
    let (open, gate) = oneshot::channel();
    pid.call(Beside::Wait(gate), LONG).await.unwrap();
    lines.send("a").unwrap();
    assert_eq!(log.take_n(1).await, ["work a"]);
    open.send(()).unwrap();
    assert_eq!(log.take_n(2).await, ["waited", "heard a"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_missed_between_two_threads() {
    let log = Log::default();
    let (pid, _system) = pair(&log).await;
    let (lines, work) = mpsc::unbounded_channel();
    pid.call(Beside::Relay(work), LONG).await.unwrap();
    // Each round finds the process on its way to rest.
    for _ in 0..2_000 {
        lines.send("a").unwrap();
        pid.info("b").unwrap();
        let mut seen = log.take_n(3).await;
        seen.sort();
        assert_eq!(seen, ["heard a", "heard b", "work a"]);
    }
}

#[tokio::test]
async fn one_that_wakes_itself_without_end_leaves_others_their_turn() {
    let log = Log::default();
    let (pid, _system) = pair(&log).await;
    pid.call(Beside::Spin, LONG).await.unwrap();
    assert_eq!(log.take_n(1).await, ["spins"]);
    pid.info("a").unwrap();
    assert_eq!(log.take_n(1).await, ["heard a"]);
    pid.stop(ExitReason::Normal);
    assert_eq!(soon(pid.watch()).await, ExitReason::Normal);
}

#[tokio::test]
async fn its_panic_ends_the_process_with_terminate() {
    let log = Log::default();
    let (pid, _system) = pair(&log).await;
    pid.call(Beside::Panic, LONG).await.unwrap();
    let reason = ExitReason::Panic("work fell".into());
    assert_eq!(soon(pid.watch()).await, reason);
    assert_eq!(log.take(), ["terminate panic: work fell"]);
}

#[tokio::test]
async fn it_is_gone_before_its_process_end_is_told() {
    for kill in [true, false] {
        let (pid, _system) = pair(&Log::default()).await;
        let (held, mut ended) = oneshot::channel();
        pid.call(Beside::Hold(held), LONG).await.unwrap();
        if kill {
            pid.kill();
        } else {
            pid.stop(ExitReason::Normal);
        }
        soon(pid.watch()).await;
        assert!(matches!(
            ended.try_recv(),
            Err(oneshot::error::TryRecvError::Closed)
        ));
    }
}

#[tokio::test]
async fn a_new_one_takes_the_place_of_the_old() {
    let log = Log::default();
    let (pid, _system) = pair(&log).await;
    let (held, mut ended) = oneshot::channel();
    pid.call(Beside::Hold(held), LONG).await.unwrap();
    let (lines, work) = mpsc::unbounded_channel();
    pid.call(Beside::Relay(work), LONG).await.unwrap();
    assert!(matches!(
        ended.try_recv(),
        Err(oneshot::error::TryRecvError::Closed)
    ));
    lines.send("a").unwrap();
    assert_eq!(log.take_n(2).await, ["work a", "heard a"]);
}

#[tokio::test]
async fn it_moves_with_its_process_to_the_next_version() {
    let log = Log::default();
    let (pid, _system) = pair(&log).await;
    let (lines, work) = mpsc::unbounded_channel();
    pid.call(Beside::Relay(work), LONG).await.unwrap();
    let _newer = pid.upgrade::<Pair>(LONG).await.unwrap();
    lines.send("a").unwrap();
    assert_eq!(log.take_n(2).await, ["work a", "heard a"]);
}
