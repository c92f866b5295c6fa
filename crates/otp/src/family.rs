//! The children of a supervisor, and how they end with it, whichever way it ends.

use std::sync::Arc;

use ahash::AHashMap;
use futures_util::future::join_all;

use crate::cell::{AnyCell, Hold};
use crate::child::{ChildSpec, ChildType, Remake, Shutdown, shut_down};
use crate::clock::Clock;
use crate::ctx::Ctx;
use crate::exit::{ExitReason, MonitorRef, ProcessId};
use crate::pid::AnyPid;
use crate::sup_server::SupServer;
use crate::supervisor::{ChildInfo, ChildState};

/// How a child is.
pub(crate) enum State {
    Running(AnyPid, MonitorRef),
    /// Its last restart failed.
    Restarting,
    Down,
}

/// A child with a spec of its own.
pub(crate) struct Child {
    pub(crate) spec: ChildSpec,
    pub(crate) state: State,
    /// Its place among its siblings, never used twice.
    pub(crate) order: u64,
    pub(crate) restarts: u32,
    pub(crate) last_exit: Option<ExitReason>,
}

impl Child {
    pub(crate) fn info(&self) -> ChildInfo {
        ChildInfo {
            id: self.spec.id.clone(),
            state: match &self.state {
                State::Running(pid, _) => ChildState::Running(pid.clone()),
                State::Restarting => ChildState::Restarting,
                State::Down => ChildState::Down,
            },
            kind: self.spec.kind,
            restarts: self.restarts,
            last_exit: self.last_exit.clone(),
        }
    }
}

/// A child of a `simple_one_for_one` supervisor.
pub(crate) struct One {
    pub(crate) order: u64,
    pub(crate) remake: Option<Remake>,
    pub(crate) restarts: u32,
    pub(crate) last_exit: Option<ExitReason>,
}

struct RunningOne {
    pid: AnyPid,
    monitor: MonitorRef,
    one: One,
    shutdown: Shutdown,
}

/// The children of one supervisor. Dropped with children that still run (the supervisor was killed, or panicked), it
/// has them all stopped, each as its spec says, and the supervisor's end is told when they have ended: nobody is
/// left behind, and whoever restarts the supervisor finds the names free.
pub(crate) struct Family {
    /// In start order.
    pub(crate) list: Vec<Child>,
    ones: AHashMap<ProcessId, RunningOne>,
    pub(crate) restarting: Vec<One>,
    order: u64,
    stops_together: bool,
    supervisor: Arc<dyn AnyCell>,
}

impl Family {
    pub(crate) fn new(ctx: &Ctx<SupServer>, stops_together: bool) -> Family {
        Family {
            list: Vec::new(),
            ones: AHashMap::new(),
            restarting: Vec::new(),
            order: 0,
            stops_together,
            supervisor: ctx.pid().cell().clone(),
        }
    }

    pub(crate) fn next_order(&mut self) -> u64 {
        self.order += 1;
        self.order
    }

    /// Adds a child that does not run yet; gives its place.
    pub(crate) fn add(&mut self, spec: ChildSpec) -> usize {
        let order = self.next_order();
        self.list.push(Child {
            spec,
            state: State::Down,
            order,
            restarts: 0,
            last_exit: None,
        });
        self.list.len() - 1
    }

    pub(crate) fn find(&self, id: &str) -> Option<usize> {
        self.list.iter().position(|child| child.spec.id == id)
    }

    pub(crate) fn at(&self, order: u64) -> Option<usize> {
        self.list.iter().position(|child| child.order == order)
    }

    pub(crate) fn run_one(
        &mut self,
        pid: AnyPid,
        monitor: MonitorRef,
        one: One,
        shutdown: Shutdown,
    ) {
        let running = RunningOne {
            pid: pid.clone(),
            monitor,
            one,
            shutdown,
        };
        self.ones.insert(pid.id(), running);
    }

    pub(crate) fn running_one(&self, id: ProcessId) -> Option<(AnyPid, MonitorRef)> {
        let running = self.ones.get(&id)?;
        Some((running.pid.clone(), running.monitor))
    }

    pub(crate) fn running_ones(&self) -> Vec<AnyPid> {
        self.ones.values().map(|one| one.pid.clone()).collect()
    }

    pub(crate) fn forget_one(&mut self, id: ProcessId) -> Option<One> {
        self.ones.remove(&id).map(|running| running.one)
    }

    pub(crate) fn take_restarting(&mut self, order: u64) -> Option<One> {
        let at = self.restarting.iter().position(|one| one.order == order)?;
        Some(self.restarting.swap_remove(at))
    }

    /// The dynamic children in start order.
    pub(crate) fn ones(&self) -> Vec<ChildInfo> {
        let info = |id: String, state, one: &One| ChildInfo {
            id,
            state,
            kind: ChildType::Worker,
            restarts: one.restarts,
            last_exit: one.last_exit.clone(),
        };
        let mut ones: Vec<_> = self
            .ones
            .values()
            .map(|running| {
                let id = running.pid.id().to_string();
                let state = ChildState::Running(running.pid.clone());
                (running.one.order, info(id, state, &running.one))
            })
            .chain(self.restarting.iter().map(|one| {
                let id = one.order.to_string();
                (one.order, info(id, ChildState::Restarting, one))
            }))
            .collect();
        ones.sort_by_key(|(order, _)| *order);
        ones.into_iter().map(|(_, info)| info).collect()
    }

    /// Stops all children: those with specs in reverse start order, each waited for; dynamic ones, and those of a
    /// supervisor that stops its children together, all at once.
    /// A child stays in the list until it has ended.
    pub(crate) async fn stop_all(&mut self, clock: &Clock) {
        if self.stops_together {
            let all = self.list.iter().filter_map(|child| match &child.state {
                State::Running(pid, _) => Some(shut_down(pid, child.spec.shutdown, clock)),
                State::Restarting | State::Down => None,
            });
            join_all(all).await;
            self.list.clear();
        }
        while let Some(child) = self.list.last() {
            if let State::Running(pid, _) = &child.state {
                shut_down(pid, child.spec.shutdown, clock).await;
            }
            self.list.pop();
        }
        let all = self
            .ones
            .values()
            .map(|running| shut_down(&running.pid, running.shutdown, clock));
        join_all(all).await;
        self.ones.clear();
    }

    fn left(&mut self) -> Vec<(AnyPid, Shutdown)> {
        let listed = self.list.drain(..).filter_map(|child| match child.state {
            State::Running(pid, _) => Some((pid, child.spec.shutdown)),
            State::Restarting | State::Down => None,
        });
        let ones = self
            .ones
            .drain()
            .map(|(_, running)| (running.pid, running.shutdown));
        listed.chain(ones).collect()
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        let left = self.left();
        if left.is_empty() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            // The runtime is gone, and with it every task.
            return left.iter().for_each(|(pid, _)| pid.kill());
        };
        let hold = Hold::new(self.supervisor.clone());
        let clock = self.supervisor.head().born.system.clock().clone();
        runtime.spawn(async move {
            let ends = left.iter().map(|(pid, how)| shut_down(pid, *how, &clock));
            join_all(ends).await;
            drop(hold);
        });
    }
}
