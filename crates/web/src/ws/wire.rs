//! What lies between a WebSocket and the transport of its session.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use httpd::Sender;
use parking_lot::Mutex;

/// Messages of the peer that may lie untaken; one more may be on its way.
const HEARD: usize = 2;

/// Bytes that the WebSocket is given at once.
const BATCH: usize = 32 * 1024;

/// Tells the WebSocket to look at the wire.
#[derive(Debug)]
pub(super) struct Tick;

/// What is said to the peer.
pub(super) enum Said {
    Text(String),
    Ping,
}

impl Said {
    fn len(&self) -> usize {
        match self {
            Said::Text(text) => text.len(),
            Said::Ping => 2,
        }
    }
}

/// The wire. Invariant: `ticking` while a [`Tick`] is in the mailbox, so that there is never a second one.
pub(super) struct Wire(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    socket: Option<Sender<Tick>>,
    ticking: bool,
    heard: VecDeque<String>,
    reader: Option<Waker>,
    queue: VecDeque<Said>,
    queued: usize,
    /// Items that the WebSocket was given and has not written yet, and their bytes.
    flying: (u64, usize),
    sent: u64,
    writer: Option<Waker>,
    /// The session says nothing more.
    over: bool,
    /// The session fell: it has not said how it ended.
    fell: bool,
    /// The WebSocket has ended.
    ended: bool,
}

/// What the WebSocket is to do.
pub(super) struct Turn {
    pub(super) say: Vec<Said>,
    /// So much was heard and not taken that nothing is to be read.
    pub(super) is_full: bool,
    /// All is said: it is to close.
    pub(super) is_over: bool,
    /// It is to close because there is no session any more.
    pub(super) has_fallen: bool,
}

impl Inner {
    fn tick(&mut self) {
        if let Some(socket) = self.socket.as_ref().filter(|_| !self.ticking) {
            self.ticking = socket.send(Tick).is_ok();
        }
    }
}

// The WebSocket's end.
impl Wire {
    pub(super) fn new() -> Arc<Wire> {
        Arc::new(Wire(Mutex::default()))
    }

    pub(super) fn attach(&self, socket: Sender<Tick>) {
        let mut inner = self.0.lock();
        inner.socket = Some(socket);
        inner.tick();
    }

    /// The peer said something. Whether nothing more is to be read for now.
    pub(super) fn heard(&self, text: String) -> bool {
        let mut inner = self.0.lock();
        inner.heard.push_back(text);
        wake(&mut inner.reader);
        inner.heard.len() >= HEARD
    }

    /// Looks at the wire. What it was given before is written by now.
    pub(super) fn turn(&self) -> Turn {
        let mut inner = self.0.lock();
        inner.ticking = false;
        if inner.flying.0 > 0 {
            inner.sent += inner.flying.0;
            inner.flying = (0, 0);
            wake(&mut inner.writer);
        }
        let mut say = Vec::new();
        while inner.flying.1 < BATCH
            && let Some(said) = inner.queue.pop_front()
        {
            inner.queued -= said.len();
            inner.flying.0 += 1;
            inner.flying.1 += said.len();
            say.push(said);
        }
        if !say.is_empty() {
            // The next look tells that these are written.
            inner.tick();
        }
        Turn {
            is_full: inner.heard.len() >= HEARD,
            is_over: inner.over && say.is_empty(),
            has_fallen: inner.fell,
            say,
        }
    }

    /// The WebSocket has ended.
    pub(super) fn end(&self) {
        let mut inner = self.0.lock();
        inner.ended = true;
        inner.socket = None;
        wake(&mut inner.reader);
        wake(&mut inner.writer);
    }
}

// The transport's end.
impl Wire {
    /// What the peer said next; none at the end.
    pub(super) fn poll_heard(&self, cx: &mut Context<'_>) -> Poll<Option<String>> {
        let mut inner = self.0.lock();
        match inner.heard.pop_front() {
            Some(text) => {
                if inner.heard.len() + 1 == HEARD {
                    inner.tick();
                }
                Poll::Ready(Some(text))
            }
            None if inner.ended => Poll::Ready(None),
            None => {
                inner.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Has something said behind what waits.
    pub(super) fn say(&self, said: Said) {
        let mut inner = self.0.lock();
        inner.queued += said.len();
        inner.queue.push_back(said);
    }

    /// Waits until more than `known` items were written, or nothing waits; how many were. None when the WebSocket has
    /// ended before.
    pub(super) fn poll_written(&self, known: u64, cx: &mut Context<'_>) -> Poll<Option<u64>> {
        let mut inner = self.0.lock();
        let is_done = inner.queue.is_empty() && inner.flying.0 == 0;
        if is_done || inner.sent > known {
            return Poll::Ready(Some(inner.sent));
        }
        if inner.ended {
            return Poll::Ready(None);
        }
        inner.writer = Some(cx.waker().clone());
        inner.tick();
        Poll::Pending
    }

    pub(super) fn sent(&self) -> u64 {
        self.0.lock().sent
    }

    /// Bytes that were not written.
    pub(super) fn waiting(&self) -> usize {
        let inner = self.0.lock();
        inner.queued + inner.flying.1
    }

    /// Takes back what the WebSocket was not given; how many items.
    pub(super) fn take_back(&self) -> u64 {
        let mut inner = self.0.lock();
        inner.queued = 0;
        let count = inner.queue.len() as u64;
        inner.queue.clear();
        count
    }

    /// The session is gone. If it had not said all it wanted, the rest belongs to whoever inherits from it.
    pub(super) fn gone(&self) {
        let mut inner = self.0.lock();
        if inner.over {
            return;
        }
        inner.queue.clear();
        inner.queued = 0;
        inner.fell = true;
        inner.over = true;
        inner.tick();
    }

    /// Nothing more is said.
    pub(super) fn over(&self) {
        let mut inner = self.0.lock();
        inner.over = true;
        inner.tick();
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}
