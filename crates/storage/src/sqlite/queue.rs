//! Requests that wait for a thread. A queue outlives the threads and processes that serve it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use otp::Instant;
use parking_lot::{Condvar, Mutex};
use rusqlite::{Connection, InterruptHandle};

use crate::StorageError;

/// How long a request that can wait may wait.
const LATER: Duration = Duration::from_secs(1);

/// A request.
pub(super) trait Job: Send {
    /// What was asked for.
    fn what(&self) -> &'static str;
    /// Whether it may last, and when it writes must be no part of a transaction with others.
    fn is_long(&self) -> bool;
    /// Begins; `false` if its caller has given up.
    fn begin(&self) -> bool;
    /// Does it, keeping the result. May be called again after its effects were undone.
    fn run(&mut self, connection: &mut Connection) -> Result<(), StorageError>;
    /// Answers the caller: with the result kept, or with this error.
    fn answer(self: Box<Self>, outcome: Result<(), StorageError>);
}

/// Whether a request waits, was begun, or was given up by its caller: who comes first decides.
pub(super) struct Ticket(AtomicU8);

const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const GIVEN_UP: u8 = 2;

impl Ticket {
    pub(super) fn new() -> Ticket {
        Ticket(AtomicU8::new(WAITING))
    }

    /// Begins; `false` if it was given up.
    pub(super) fn begin(&self) -> bool {
        self.leave_waiting(BEGUN)
    }

    /// Gives up; `false` if it was begun.
    pub(super) fn give_up(&self) -> bool {
        self.leave_waiting(GIVEN_UP)
    }

    fn leave_waiting(&self, to: u8) -> bool {
        match self
            .0
            .compare_exchange(WAITING, to, Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(_) => true,
            Err(now) => now == to,
        }
    }
}

/// What a thread is told and what is known of it.
pub(super) struct Token {
    order: AtomicU8,
    busy_since: Mutex<Option<Instant>>,
    interrupt: Mutex<Option<InterruptHandle>>,
}

const SERVE: u8 = 0;
const DRAIN: u8 = 1;
const LEAVE: u8 = 2;

impl Token {
    pub(super) fn new() -> Token {
        Token {
            order: AtomicU8::new(SERVE),
            busy_since: Mutex::new(None),
            interrupt: Mutex::new(None),
        }
    }

    /// Whether the thread may take no further request.
    pub(super) fn must_leave(&self) -> bool {
        self.order.load(Ordering::Acquire) == LEAVE
    }

    /// Says that work began.
    pub(super) fn busy(&self, since: Instant) {
        *self.busy_since.lock() = Some(since);
    }

    /// Says that nothing is being done, or something that may last.
    pub(super) fn idle(&self) {
        *self.busy_since.lock() = None;
    }

    /// Since when the thread has been at work on one thing.
    pub(super) fn busy_since(&self) -> Option<Instant> {
        *self.busy_since.lock()
    }

    /// Says how the thread's statement can be broken off.
    pub(super) fn can_be_interrupted(&self, handle: InterruptHandle) {
        *self.interrupt.lock() = Some(handle);
    }

    /// Breaks off the statement the thread is at.
    pub(super) fn interrupt(&self) {
        if let Some(handle) = &*self.interrupt.lock() {
            handle.interrupt();
        }
    }
}

/// Why a queue did not take a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It holds as much as it may.
    Busy,
    /// It was closed.
    Closed,
}

/// A queue bounded by number and bytes.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    max_requests: usize,
    max_bytes: usize,
}

struct Waiting {
    jobs: VecDeque<(usize, Box<dyn Job>)>,
    /// Goes behind `jobs` when there are any, or when it has waited for [`LATER`].
    later: Vec<Box<dyn Job>>,
    bytes: usize,
    closed: bool,
}

impl Waiting {
    fn hurry(&mut self) {
        let later = self.later.drain(..).map(|job| (0, job));
        self.jobs.extend(later);
    }
}

impl Queue {
    pub(super) fn new(max_requests: usize, max_bytes: usize) -> Queue {
        Queue {
            waiting: Mutex::new(Waiting {
                jobs: VecDeque::new(),
                later: Vec::new(),
                bytes: 0,
                closed: false,
            }),
            wake: Condvar::new(),
            max_requests,
            max_bytes,
        }
    }

    /// Adds a request that holds about `bytes` of memory. One request alone is always taken, however large.
    pub(super) fn push(&self, bytes: usize, job: Box<dyn Job>) -> Result<(), Refused> {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Err(Refused::Closed);
        }
        let full = waiting.jobs.len() >= self.max_requests
            || waiting.bytes.saturating_add(bytes) > self.max_bytes;
        if full && !waiting.jobs.is_empty() {
            return Err(Refused::Busy);
        }
        waiting.bytes += bytes;
        waiting.jobs.push_back((bytes, job));
        self.wake.notify_one();
        Ok(())
    }

    /// Adds a request that nobody waits for: it is done with the next others, or alone after [`LATER`].
    pub(super) fn push_later(&self, job: Box<dyn Job>) -> Result<(), Refused> {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Err(Refused::Closed);
        }
        waiting.later.push(job);
        // Who sleeps does not know that it is to wake by itself.
        self.wake.notify_one();
        Ok(())
    }

    /// Sleeps until a request waits; `false` if the thread is to end.
    pub(super) fn wait(&self, token: &Token) -> bool {
        let mut waiting = self.waiting.lock();
        loop {
            match token.order.load(Ordering::Acquire) {
                LEAVE => return false,
                _ if !waiting.jobs.is_empty() => {
                    waiting.hurry();
                    return true;
                }
                DRAIN if waiting.later.is_empty() => return false,
                DRAIN => waiting.hurry(),
                _ if waiting.later.is_empty() => self.wake.wait(&mut waiting),
                _ => {
                    if self.wake.wait_for(&mut waiting, LATER).timed_out() {
                        waiting.hurry();
                    }
                }
            }
        }
    }

    /// Takes the first request whose caller still waits and which passes `wanted`; begins it.
    pub(super) fn take(
        &self,
        token: &Token,
        wanted: impl Fn(&dyn Job) -> bool,
    ) -> Option<Box<dyn Job>> {
        let mut waiting = self.waiting.lock();
        if token.must_leave() {
            return None;
        }
        loop {
            let (_, first) = waiting.jobs.front()?;
            if !wanted(first.as_ref()) {
                return None;
            }
            let (bytes, job) = waiting.jobs.pop_front()?;
            waiting.bytes -= bytes;
            if job.begin() {
                return Some(job);
            }
        }
    }

    /// Tells a thread to finish what waits and end.
    pub(super) fn drain(&self, token: &Token) {
        self.order(token, DRAIN);
    }

    /// Tells a thread to end after what it is at; what waits stays for another.
    pub(super) fn retire(&self, token: &Token) {
        self.order(token, LEAVE);
    }

    /// Takes requests again.
    pub(super) fn open(&self) {
        self.waiting.lock().closed = false;
    }

    /// Takes no more requests; those that wait stay.
    pub(super) fn close(&self) {
        self.waiting.lock().closed = true;
    }

    fn order(&self, token: &Token, order: u8) {
        // Under the lock, so that a thread about to sleep cannot miss it.
        let _waiting = self.waiting.lock();
        token.order.fetch_max(order, Ordering::AcqRel);
        self.wake.notify_all();
    }
}
