//! What the parts of one connection share: its bytes' guard, its service, its requests and the task that drives it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use net::Ticket;
use otp::{Clock, Instant, Sleep};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::h1::Refusal;
use crate::{Limits, Reason};

/// What became of a request for another protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turned {
    /// The connection speaks the other one from now on.
    Raw,
    /// It goes on as it was.
    Http,
}

const WAITING: u8 = 0;
const RAW: u8 = 1;
const HTTP: u8 = 2;

/// Since when a connection waits, and for what.
#[derive(Debug, Default)]
struct Waits {
    /// Requests that are served.
    active: usize,
    /// For anything at all; meant only while nothing is served.
    idle: Option<Instant>,
    /// For the rest of a head.
    head: Option<Instant>,
    /// For the peer to take bytes.
    write: Option<Instant>,
    /// A head has come, ever.
    spoke: bool,
    /// The place among strangers: given back at the first request.
    ticket: Option<Ticket>,
    /// It is another protocol now, which has its own time-outs.
    raw: bool,
}

/// What is due on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing, before that.
    Not(Instant),
    /// It has been idle too long.
    Idle,
    /// A head takes too long: the guard will say so.
    Head,
    /// The peer does not read.
    Write,
}

/// The shared part of one connection.
pub(crate) struct Link {
    clock: Clock,
    limits: Arc<Limits>,
    waits: Mutex<Waits>,
    refused: Mutex<Option<(u64, Refusal)>>,
    /// Whether there is one.
    has_refused: AtomicBool,
    served: AtomicU64,
    turn: AtomicU8,
    reader: AtomicWaker,
    head_late: AtomicBool,
    hibernating: AtomicBool,
    /// Why requests that are dropped from now on end.
    cause: Mutex<Reason>,
    tasks: Mutex<JoinSet<()>>,
    draining: watch::Receiver<bool>,
}

impl Link {
    pub(crate) fn new(
        clock: Clock,
        limits: Arc<Limits>,
        draining: watch::Receiver<bool>,
        ticket: Option<Ticket>,
    ) -> Arc<Link> {
        let now = clock.now();
        Arc::new(Link {
            clock,
            limits,
            waits: Mutex::new(Waits {
                idle: Some(now),
                ticket,
                ..Waits::default()
            }),
            refused: Mutex::default(),
            has_refused: AtomicBool::new(false),
            served: AtomicU64::new(0),
            turn: AtomicU8::new(HTTP),
            reader: AtomicWaker::new(),
            head_late: AtomicBool::new(false),
            hibernating: AtomicBool::new(false),
            cause: Mutex::new(Reason::Disconnected),
            tasks: Mutex::default(),
            draining,
        })
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Resolves when the connection shall end soon.
    pub(crate) fn draining(&self) -> watch::Receiver<bool> {
        self.draining.clone()
    }

    pub(crate) fn is_draining(&self) -> bool {
        // It changes once, and what never changed is told apart at less cost.
        self.draining.has_changed().unwrap_or(true) && *self.draining.borrow()
    }

    // The guard's side.

    pub(crate) fn refuse(&self, number: u64, refusal: Refusal) {
        *self.refused.lock() = Some((number, refusal));
        self.has_refused.store(true, Ordering::Release);
    }

    pub(crate) fn head_began(&self) {
        self.waits.lock().head = Some(self.clock.now());
    }

    pub(crate) fn head_done(&self) {
        self.waits.lock().head = None;
        self.head_late.store(false, Ordering::Release);
    }

    /// Whether the head that is being read comes too late; who [`reads`](Self::reads) is woken when it does.
    pub(crate) fn is_head_late(&self) -> bool {
        self.head_late.load(Ordering::Acquire)
    }

    pub(crate) fn write_waits(&self, waits: bool) {
        self.waits.lock().write = waits.then(|| self.clock.now());
    }

    pub(crate) fn linger(&self) -> Sleep {
        self.clock.sleep(self.limits.linger)
    }

    pub(crate) fn await_turn(&self) {
        self.turn.store(WAITING, Ordering::Release);
    }

    /// Whether the guard waits to know what the connection speaks.
    pub(crate) fn awaits_turn(&self) -> bool {
        self.turn.load(Ordering::Acquire) == WAITING
    }

    pub(crate) fn poll_turn(&self, cx: &Context<'_>) -> Poll<Turned> {
        self.reader.register(cx.waker());
        match self.turn.load(Ordering::Acquire) {
            WAITING => Poll::Pending,
            RAW => Poll::Ready(Turned::Raw),
            _ => Poll::Ready(Turned::Http),
        }
    }

    /// The guard waits for bytes; it is woken to give memory back, and when a head comes too late.
    pub(crate) fn reads(&self, cx: &Context<'_>) {
        self.reader.register(cx.waker());
    }

    /// Whether memory shall be given back where nothing comes; once for each time it is asked.
    pub(crate) fn hibernates(&self) -> bool {
        self.hibernating.load(Ordering::Relaxed) && self.hibernating.swap(false, Ordering::AcqRel)
    }

    // The service's side.

    /// Asks for memory to be given back.
    pub(crate) fn hibernate(&self) {
        self.hibernating.store(true, Ordering::Release);
        self.reader.wake();
    }

    /// Counts a request; gives its number and how it was refused, if it was.
    pub(crate) fn request(&self) -> (u64, Option<Refusal>) {
        let number = self.served.fetch_add(1, Ordering::AcqRel) + 1;
        let mut waits = self.waits.lock();
        waits.active += 1;
        if !waits.spoke {
            waits.spoke = true;
            waits.ticket = None;
        }
        drop(waits);
        if !self.has_refused.load(Ordering::Acquire) {
            return (number, None);
        }
        let refused = *self.refused.lock();
        let of_it = refused.filter(|(of, _)| *of == number);
        (number, of_it.map(|(_, refusal)| refusal))
    }

    /// A request has been answered, to the last byte.
    pub(crate) fn answered(&self) {
        let mut waits = self.waits.lock();
        waits.active -= 1;
        if waits.active == 0 {
            waits.idle = Some(self.clock.now());
        }
    }

    /// Says what the connection speaks behind a request's reply.
    pub(crate) fn turn(&self, to: Turned) {
        let to = match to {
            Turned::Raw => {
                self.waits.lock().raw = true;
                RAW
            }
            Turned::Http => HTTP,
        };
        self.turn.store(to, Ordering::Release);
        self.reader.wake();
    }

    /// Runs `work` beside the connection; it ends with it.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(work);
    }

    /// Why a request that is dropped now ends.
    pub(crate) fn cause(&self) -> Reason {
        self.cause.lock().clone()
    }

    // The driver's side.

    pub(crate) fn set_cause(&self, cause: Reason) {
        *self.cause.lock() = cause;
    }

    pub(crate) fn end_tasks(&self) {
        self.tasks.lock().abort_all();
    }

    /// Waits until no work is left beside the connection.
    pub(crate) async fn tasks_done(&self) {
        std::future::poll_fn(|cx| {
            let mut tasks = self.tasks.lock();
            loop {
                match std::task::ready!(tasks.poll_join_next(cx)) {
                    Some(_) => {}
                    None => return Poll::Ready(()),
                }
            }
        })
        .await;
    }

    pub(crate) fn is_raw(&self) -> bool {
        self.waits.lock().raw
    }

    /// The end of the time that something about to end is given.
    pub(crate) fn moment(&self) -> Instant {
        self.clock.now() + self.limits.linger.max(Duration::from_millis(100))
    }

    /// What is due now, or until when nothing can be.
    pub(crate) fn due(&self) -> Due {
        let limits = &self.limits;
        let waits = self.waits.lock();
        let now = self.clock.now();
        // Nothing that begins meanwhile can be due before the shortest of them all has passed.
        let shortest = limits.idle.min(limits.head_within).min(limits.send_within);
        let mut until = now + shortest.max(Duration::from_millis(1));
        let mut passed = |since: Option<Instant>, within: Duration| {
            let Some(since) = since else { return false };
            let at = since + within;
            if at > now {
                until = until.min(at);
            }
            at <= now
        };
        if passed(waits.write, limits.send_within) {
            return Due::Write;
        }
        if waits.raw {
            return Due::Not(until);
        }
        if passed(waits.head, limits.head_within) {
            return if self.head_late.swap(true, Ordering::AcqRel) {
                Due::Idle
            } else {
                Due::Head
            };
        }
        let idle = if waits.active == 0 && waits.head.is_none() {
            waits.idle
        } else {
            None
        };
        let within = if waits.spoke {
            limits.idle
        } else {
            limits.head_within
        };
        if passed(idle, within) {
            return Due::Idle;
        }
        Due::Not(until)
    }

    pub(crate) fn wake_reader(&self) {
        self.reader.wake();
    }
}

/// hyper's HTTP/2 runs its streams beside the connection.
#[derive(Clone)]
pub(crate) struct Beside(pub(crate) Arc<Link>);

impl<F> hyper::rt::Executor<F> for Beside
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, work: F) {
        self.0.spawn(work);
    }
}
