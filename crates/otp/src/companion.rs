//! Work that runs in the task of its process: polled beside the callbacks, without a task and a wake-up of its own.
//!
//! A process whose every message comes from one place and leaves by one place (a session and its connection) would
//! else cost two tasks, and each message two turns of the scheduler. The work is polled when it was woken, before the
//! process looks for mail and after, also while a callback waits; mail that it sends to its own process is seen in the
//! same turn.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::future::BoxFuture;
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use crate::exit::ExitReason;
use crate::run::panic_text;

/// The work wants to be polled.
const WOKEN: u8 = 1;
/// The task runs, and looks at `WOKEN` before it rests.
const RUNNING: u8 = 2;

/// The place for a process' companion.
#[derive(Default)]
pub(crate) struct Companion(Mutex<Option<Running>>);

struct Running {
    work: BoxFuture<'static, ()>,
    bell: Arc<Bell>,
}

/// What wakes the work.
#[derive(Default)]
struct Bell {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.fetch_or(WOKEN, Ordering::AcqRel) == 0 {
            self.task.wake();
        }
    }
}

/// What a poll of the companion came to.
pub(crate) enum Polled {
    /// It waits, or there is none, or it has done its work.
    Resting,
    /// It panicked, and is gone.
    Panicked(ExitReason),
}

impl Companion {
    /// Takes in work, in place of what was there. The process' task must be running.
    pub(crate) fn set(&self, work: BoxFuture<'static, ()>) {
        let bell = Arc::new(Bell {
            state: AtomicU8::new(WOKEN | RUNNING),
            task: AtomicWaker::new(),
        });
        let former = self.0.lock().replace(Running { work, bell });
        drop(former);
    }

    /// Drops the work.
    pub(crate) fn clear(&self) {
        let former = self.0.lock().take();
        drop(former);
    }

    /// Begins a turn of the task, and tells whether there is work: until [`rests`](Self::rests), waking it does not
    /// wake the task.
    pub(crate) fn begin(&self) -> bool {
        match &*self.0.lock() {
            Some(running) => {
                running.bell.state.fetch_or(RUNNING, Ordering::AcqRel);
                true
            }
            None => false,
        }
    }

    /// Polls the work if it was woken.
    pub(crate) fn poll(&self) -> Polled {
        let mut place = self.0.lock();
        let Some(running) = &mut *place else {
            return Polled::Resting;
        };
        let before = running.bell.state.fetch_and(!WOKEN, Ordering::AcqRel);
        if before & WOKEN == 0 {
            return Polled::Resting;
        }
        let waker = Waker::from(running.bell.clone());
        let mut cx = Context::from_waker(&waker);
        let work = running.work.as_mut();
        match catch_unwind(AssertUnwindSafe(|| work.poll(&mut cx))) {
            Ok(Poll::Pending) => Polled::Resting,
            Ok(Poll::Ready(())) => {
                let done = place.take();
                drop(place);
                drop(done);
                Polled::Resting
            }
            Err(panic) => {
                let broken = place.take();
                drop(place);
                // Its `Drop` may be as broken as it is.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(broken)));
                Polled::Panicked(ExitReason::Panic(panic_text(&*panic)))
            }
        }
    }

    /// Ends a turn of the task; false if the work was woken meanwhile, and the turn is not over.
    pub(crate) fn rests(&self, cx: &Context<'_>) -> bool {
        let place = self.0.lock();
        let Some(running) = &*place else {
            return true;
        };
        running.bell.task.register(cx.waker());
        let rested =
            running
                .bell
                .state
                .compare_exchange(RUNNING, 0, Ordering::AcqRel, Ordering::Acquire);
        rested.is_ok()
    }
}
