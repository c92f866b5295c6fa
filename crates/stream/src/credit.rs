//! Credit: how much of what a peer sends may be in its session's hands at once.

use std::sync::Arc;

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

/// The share of the inbound credit one element holds; dropping it gives the share back.
#[derive(Debug)]
pub struct Credit {
    gate: Option<Arc<Gate>>,
    bytes: usize,
}

impl Credit {
    /// Costs nothing.
    pub(crate) fn free() -> Credit {
        Credit {
            gate: None,
            bytes: 0,
        }
    }
}

impl Drop for Credit {
    fn drop(&mut self) {
        if let Some(gate) = &self.gate {
            let mut out = gate.out.lock();
            let was_open = gate.is_open(&out);
            out.elements -= 1;
            out.bytes -= self.bytes;
            drop(out);
            // A task that still has credit waits for its peer, not for this.
            if !was_open {
                gate.waker.wake();
            }
        }
    }
}

/// Credit that is out, and whom to wake when it changes.
#[derive(Debug)]
pub(crate) struct Gate {
    out: Mutex<Out>,
    /// Elements and bytes that may be out.
    limits: (usize, usize),
    pub(crate) waker: AtomicWaker,
}

impl Gate {
    pub(crate) fn new(elements: usize, bytes: usize) -> Gate {
        Gate {
            out: Mutex::default(),
            limits: (elements, bytes),
            waker: AtomicWaker::new(),
        }
    }

    /// Tells whether one element more may go out.
    pub(crate) fn has_credit(&self) -> bool {
        self.is_open(&self.out.lock())
    }

    /// Gives an element of so many bytes its share.
    pub(crate) fn charge(self: &Arc<Self>, bytes: usize) -> Credit {
        let mut out = self.out.lock();
        out.elements += 1;
        out.bytes += bytes;
        drop(out);
        Credit {
            gate: Some(Arc::clone(self)),
            bytes,
        }
    }

    fn is_open(&self, out: &Out) -> bool {
        out.elements < self.limits.0 && out.bytes < self.limits.1
    }
}

#[derive(Debug, Default)]
struct Out {
    elements: usize,
    bytes: usize,
}
