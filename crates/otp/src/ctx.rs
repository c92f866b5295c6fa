//! What a process has of its own: its pid, its monitors, timers and tasks, all of which end with it.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::hash::BuildHasherDefault;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use ahash::AHasher;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::task::AbortHandle;

use crate::cell::{AnyCell, CellOf, Mail};
use crate::clock::{Clock, TimerRef};
use crate::exit::{Down, ExitReason, MonitorRef};
use crate::gen_server::GenServer;
use crate::pid::{AnyPid, Pid};
use crate::run::panic_text;
use crate::system::System;

type Hasher = BuildHasherDefault<AHasher>;

/// The context of a running process, given to each of its callbacks.
pub struct Ctx<S: GenServer> {
    pid: Pid<S>,
    own: Own,
}

/// What ends with the process, however it ends: dropped, it takes all of it back.
pub(crate) struct Own {
    clock: Clock,
    monitors: HashMap<MonitorRef, Arc<dyn AnyCell>, Hasher>,
    timers: HashSet<TimerRef, Hasher>,
    tasks: Vec<AbortHandle>,
    idle: Option<TimerRef>,
    /// Counts the waits of `Flow::Timeout`, so that a late one is known.
    idle_number: u64,
}

impl Drop for Own {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        for timer in self.timers.iter().chain(&self.idle) {
            self.clock.cancel(*timer);
        }
        for (monitor, target) in &self.monitors {
            target.head().remove_monitor(*monitor);
        }
    }
}

impl Own {
    pub(crate) fn new(clock: Clock) -> Own {
        Own {
            clock,
            monitors: HashMap::default(),
            timers: HashSet::default(),
            tasks: Vec::new(),
            idle: None,
            idle_number: 0,
        }
    }

    /// Tells whether a monitor that fired is one the process still has, and ends it.
    pub(crate) fn fired(&mut self, monitor: MonitorRef) -> bool {
        self.monitors.remove(&monitor).is_some()
    }

    /// Tells whether a timer that fired is one the process still has, and ends it.
    pub(crate) fn rang(&mut self, timer: TimerRef) -> bool {
        self.timers.remove(&timer)
    }

    /// Tells whether a wait that ended is the current one.
    pub(crate) fn is_idle(&self, number: u64) -> bool {
        self.idle_number == number
    }

    /// Something came: the current wait, if any, is over.
    pub(crate) fn busy(&mut self) {
        self.idle_number += 1;
        if let Some(timer) = self.idle.take() {
            self.clock.cancel(timer);
        }
    }
}

/// A task of a process, from [`Ctx::spawn`].
#[derive(Clone, Debug)]
pub struct TaskRef(AbortHandle);

impl TaskRef {
    /// Ends the task at its next wait.
    pub fn abort(&self) {
        self.0.abort();
    }

    /// Tells whether the task has ended.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

/// In a box, the work has its size once; and what runs tasks is made once, not for each kind of work.
fn spawn_linked(work: BoxFuture<'static, ()>, owner: Weak<dyn AnyCell>) -> AbortHandle {
    let task = tokio::spawn(async move {
        if let Err(panic) = AssertUnwindSafe(work).catch_unwind().await
            && let Some(owner) = owner.upgrade()
        {
            owner.stop(ExitReason::Panic(panic_text(&*panic)));
        }
    });
    task.abort_handle()
}

fn next_monitor() -> MonitorRef {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    MonitorRef(NEXT.fetch_add(1, Ordering::Relaxed))
}

impl<S: GenServer> Ctx<S> {
    pub(crate) fn new(cell: Arc<CellOf<S>>, own: Own) -> Ctx<S> {
        Ctx {
            pid: Pid::new(cell),
            own,
        }
    }

    pub(crate) fn own(&mut self) -> &mut Own {
        &mut self.own
    }

    pub(crate) fn into_own(self) -> Own {
        self.own
    }

    /// This process.
    pub fn pid(&self) -> &Pid<S> {
        &self.pid
    }

    /// The server this process belongs to.
    pub fn system(&self) -> &System {
        &self.pid.cell().head.born.system
    }

    /// That server's time.
    pub fn clock(&self) -> &Clock {
        self.system().clock()
    }

    /// Hears once, as [`Info::Down`](crate::Info::Down), when `process` ends; at once, with
    /// [`ExitReason::NoProc`], if it is dead already.
    pub fn monitor(&mut self, process: &AnyPid) -> MonitorRef {
        self.watch_child(process, |_| ExitReason::NoProc)
    }

    /// As [`Ctx::monitor`], but one already dead says why it ended, as a link made at birth does.
    pub(crate) fn adopt(&mut self, process: &AnyPid) -> MonitorRef {
        self.watch_child(process, |reason| reason)
    }

    fn watch_child(
        &mut self,
        process: &AnyPid,
        dead: impl FnOnce(ExitReason) -> ExitReason,
    ) -> MonitorRef {
        let monitor = next_monitor();
        self.own.monitors.insert(monitor, process.0.clone());
        let me: Arc<dyn AnyCell> = self.pid.cell().clone();
        let me: Weak<dyn AnyCell> = Arc::downgrade(&me);
        if let Err(reason) = process.0.head().add_monitor(monitor, me) {
            self.pid.cell().down(Down {
                monitor,
                process: process.id(),
                reason: dead(reason),
            });
        }
        monitor
    }

    /// Takes a monitor back; if it has fired but was not heard yet, it will not be.
    pub fn demonitor(&mut self, monitor: MonitorRef) {
        if let Some(target) = self.own.monitors.remove(&monitor) {
            target.head().remove_monitor(monitor);
        }
    }

    /// Hears `message` after `d`, unless cancelled before it is heard.
    pub fn send_after(&mut self, d: Duration, message: S::Info) -> TimerRef {
        let due = self.clock().now() + d;
        let cell = Arc::downgrade(self.pid.cell());
        let timer = self.own.clock.run_at_named(due, move |timer| {
            if let Some(cell) = cell.upgrade() {
                // The dead need no timers.
                let _ = cell.send(Mail::Timer(timer, message));
            }
        });
        self.own.timers.insert(timer);
        timer
    }

    /// Takes a timer back; tells whether it had not been heard.
    pub fn cancel(&mut self, timer: TimerRef) -> bool {
        self.own.clock.cancel(timer);
        self.own.timers.remove(&timer)
    }

    /// Runs `work` beside this process, and aborts it however this process ends.
    ///
    /// As with OTP's `spawn_link`, a panic in it ends this process too: after the current callback, by way of
    /// `terminate`, with [`ExitReason::Panic`].
    pub fn spawn(&mut self, work: impl Future<Output = ()> + Send + 'static) -> TaskRef {
        let owner: Arc<dyn AnyCell> = self.pid.cell().clone();
        let task = spawn_linked(work.boxed(), Arc::downgrade(&owner));
        if self.own.tasks.len() == self.own.tasks.capacity() {
            self.own.tasks.retain(|task| !task.is_finished());
        }
        self.own.tasks.push(task.clone());
        TaskRef(task)
    }

    /// Runs `work` in this process' own task, whether it waits for mail or in a callback, in place of what it ran so
    /// before; drops it however this process ends, before that is told.
    ///
    /// For work that deals with nobody but its process: that costs a poll, where [`spawn`](Ctx::spawn) costs a task
    /// and a wake-up each way. It must not compute for long. A panic in it acts as there.
    pub fn accompany(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.pid.cell().companion.set(work.boxed());
    }

    /// Sets the detail `tree` shows beside the kind: the JID of a session.
    pub fn set_kind_label(&mut self, label: impl Into<String>) {
        self.pid.cell().head.set_label(label.into());
    }

    /// Begins a wait of `Flow::Timeout`.
    pub(crate) fn wait_idle(&mut self, d: Duration) {
        let number = self.own.idle_number;
        let cell = Arc::downgrade(self.pid.cell());
        let ring = move || {
            if let Some(cell) = cell.upgrade() {
                let _ = cell.send(Mail::Idle(number));
            }
        };
        if d.is_zero() {
            return ring();
        }
        let due = self.clock().now() + d;
        self.own.idle = Some(self.own.clock.run_at(due, ring));
    }
}
