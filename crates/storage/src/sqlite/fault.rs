//! Failures on order, for crash tests.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

/// How a thread fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It panics.
    Panic,
    /// It stands still until [`HungThread::release`].
    Hang,
}

/// Where in its round a thread fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultPoint {
    /// The writer, with requests waiting and nothing begun.
    BeforeBegin,
    /// The writer, with everything done and nothing committed.
    BeforeCommit,
    /// The writer, with everything committed and nothing answered.
    AfterCommit,
    /// A reader, with a request in its hands and nothing read.
    BeforeRead,
}

/// What stands ready to go wrong.
#[derive(Default)]
pub(super) struct Faults {
    armed: Mutex<Option<Armed>>,
}

struct Armed {
    fault: Fault,
    at: FaultPoint,
    gate: Arc<Gate>,
}

struct Gate {
    open: Mutex<bool>,
    wake: Condvar,
    reached: watch::Sender<bool>,
}

/// A fault that was ordered. When dropped, a thread it holds goes on.
pub struct HungThread {
    gate: Arc<Gate>,
}

impl HungThread {
    /// Resolves when the thread has reached the place where it fails.
    pub async fn reached(&self) {
        let mut reached = self.gate.reached.subscribe();
        // The sender lives in the gate, so that waiting cannot fail.
        let _ = reached.wait_for(|reached| *reached).await;
    }

    /// Lets a hanging thread go on.
    pub fn release(&self) {
        *self.gate.open.lock() = true;
        self.gate.wake.notify_all();
    }
}

impl Drop for HungThread {
    fn drop(&mut self) {
        self.release();
    }
}

impl Faults {
    /// Makes the next thread that comes to `at` fail once.
    pub(super) fn arm(&self, fault: Fault, at: FaultPoint) -> HungThread {
        let gate = Arc::new(Gate {
            open: Mutex::new(false),
            wake: Condvar::new(),
            reached: watch::Sender::new(false),
        });
        *self.armed.lock() = Some(Armed {
            fault,
            at,
            gate: Arc::clone(&gate),
        });
        HungThread { gate }
    }

    /// Fails here if that was ordered.
    pub(super) fn pass(&self, point: FaultPoint) {
        let due = self.armed.lock().take_if(|armed| armed.at == point);
        let Some(Armed { fault, gate, .. }) = due else {
            return;
        };
        gate.reached.send_replace(true);
        match fault {
            Fault::Panic => panic!("a fault was ordered at {point:?}"),
            Fault::Hang => {
                let mut open = gate.open.lock();
                while !*open {
                    gate.wake.wait(&mut open);
                }
            }
        }
    }
}
