//! Time: the one place that asks for it. Real for servers, by hand for tests.
//!
//! All timers of a clock live in one ordered table. A real clock has one driver task that sleeps until the
//! earliest; a manual clock fires them, in the order of their time, when its [`ClockHand`] advances.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::ops::{Add, AddAssign, Sub};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Where a manual clock's wall time begins: 2030-01-01T00:00:00Z, in seconds since 1970.
const MANUAL_EPOCH: u64 = 1_893_456_000;

/// How often the hand yields after each firing, so that those who were woken can act and set timers of their own.
const SETTLE_YIELDS: usize = 24;

/// A moment of one clock, in nanoseconds since that clock began; moments of different clocks do not compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The time from `earlier` to this moment; zero if `earlier` is later.
    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, d: Duration) -> Instant {
        let nanos = u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        Instant(self.0.saturating_add(nanos))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, d: Duration) {
        *self = *self + d;
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;
    fn sub(self, d: Duration) -> Instant {
        let nanos = u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        Instant(self.0.saturating_sub(nanos))
    }
}

impl Sub<Instant> for Instant {
    type Output = Duration;
    fn sub(self, earlier: Instant) -> Duration {
        self.since(earlier)
    }
}

/// The time ran out before the work was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("time ran out")]
pub struct Elapsed;

/// The name of one timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TimerRef {
    due: Instant,
    number: u64,
}

enum Action {
    Wake(Waker),
    Run(Box<dyn FnOnce(TimerRef) + Send>),
}

struct Table {
    timers: BTreeMap<TimerRef, Action>,
    next_number: u64,
    /// The moment the driver sleeps until; it is woken only for something earlier.
    armed: Instant,
}

enum Source {
    Real {
        began: tokio::time::Instant,
        driver: AtomicBool,
        wake: Notify,
    },
    Manual {
        now: AtomicU64,
    },
}

struct Inner {
    source: Source,
    table: Mutex<Table>,
}

/// One server's time; a cheap clone of the same clock.
#[derive(Clone)]
pub struct Clock(Arc<Inner>);

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({:?})", self.now())
    }
}

impl Clock {
    fn with(source: Source) -> Clock {
        Clock(Arc::new(Inner {
            source,
            table: Mutex::new(Table {
                timers: BTreeMap::new(),
                next_number: 0,
                armed: Instant(u64::MAX),
            }),
        }))
    }

    /// Makes a clock that follows the machine's.
    pub fn real() -> Clock {
        Clock::with(Source::Real {
            began: tokio::time::Instant::now(),
            driver: AtomicBool::new(false),
            wake: Notify::new(),
        })
    }

    /// Makes a clock that stands still but for its hand.
    pub fn manual() -> (Clock, ClockHand) {
        let clock = Clock::with(Source::Manual {
            now: AtomicU64::new(0),
        });
        (clock.clone(), ClockHand(clock))
    }

    /// The moment it is; never goes back.
    pub fn now(&self) -> Instant {
        match &self.0.source {
            Source::Real { began, .. } => Instant(0) + began.elapsed(),
            Source::Manual { now } => Instant(now.load(Ordering::Acquire)),
        }
    }

    /// The date it is: the machine's, or, by hand, 2030-01-01T00:00:00Z plus all that was advanced.
    pub fn wall(&self) -> SystemTime {
        match &self.0.source {
            Source::Real { .. } => SystemTime::now(),
            Source::Manual { now } => {
                let advanced = Duration::from_nanos(now.load(Ordering::Acquire));
                UNIX_EPOCH + Duration::from_secs(MANUAL_EPOCH) + advanced
            }
        }
    }

    /// Waits for `d`. Dropped, it leaves nothing behind.
    pub fn sleep(&self, d: Duration) -> Sleep {
        self.sleep_until(self.now() + d)
    }

    /// Waits until `due`; is ready at once if that has passed.
    pub fn sleep_until(&self, due: Instant) -> Sleep {
        Sleep {
            clock: self.clone(),
            due,
            timer: None,
        }
    }

    /// Runs `f` for at most `d`, then drops it.
    ///
    /// # Errors
    ///
    /// [`Elapsed`] if `f` was not ready within `d`. `f` is asked first, so one that is ready never elapses.
    pub async fn timeout<F: Future>(&self, d: Duration, f: F) -> Result<F::Output, Elapsed> {
        let mut f = std::pin::pin!(f);
        let mut late = std::pin::pin!(self.sleep(d));
        std::future::poll_fn(|cx| {
            if let Poll::Ready(output) = f.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            late.as_mut().poll(cx).map(|()| Err(Elapsed))
        })
        .await
    }

    /// How many timers are set: those of sleepers, of calls under way, and of `send_after`.
    pub fn timers(&self) -> usize {
        self.0.table.lock().timers.len()
    }

    /// Runs `action` once at `due`, on the task that drives the clock; it must be short.
    pub(crate) fn run_at(&self, due: Instant, action: impl FnOnce() + Send + 'static) -> TimerRef {
        self.run_at_named(due, move |_| action())
    }

    /// As [`Clock::run_at`]; the action is told which timer it was.
    pub(crate) fn run_at_named(
        &self,
        due: Instant,
        action: impl FnOnce(TimerRef) + Send + 'static,
    ) -> TimerRef {
        self.insert(due, Action::Run(Box::new(action)))
    }

    /// Takes a timer back; tells whether it had not fired.
    pub(crate) fn cancel(&self, timer: TimerRef) -> bool {
        let taken = self.0.table.lock().timers.remove(&timer);
        taken.is_some()
    }

    fn insert(&self, due: Instant, action: Action) -> TimerRef {
        let mut table = self.0.table.lock();
        let number = table.next_number;
        table.next_number += 1;
        let timer = TimerRef { due, number };
        table.timers.insert(timer, action);
        if let Source::Real { driver, wake, .. } = &self.0.source {
            let earlier = due < table.armed;
            if earlier {
                table.armed = due;
            }
            drop(table);
            if !driver.swap(true, Ordering::AcqRel) {
                tokio::spawn(drive(Arc::downgrade(&self.0)));
            } else if earlier {
                wake.notify_one();
            }
        }
        timer
    }

    /// Keeps the sleeper's waker current; false if its timer has gone (fired).
    fn rearm(&self, timer: TimerRef, waker: &Waker) -> bool {
        match self.0.table.lock().timers.get_mut(&timer) {
            Some(Action::Wake(old)) => {
                old.clone_from(waker);
                true
            }
            _ => false,
        }
    }
}

impl Inner {
    /// Takes the earliest timer due at `now` or before.
    fn pop_due(&self, now: Instant) -> Option<(TimerRef, Action)> {
        let mut table = self.table.lock();
        let first = table.timers.first_entry()?;
        if first.key().due > now {
            return None;
        }
        Some(first.remove_entry())
    }
}

impl Action {
    fn fire(self, timer: TimerRef) {
        match self {
            Action::Wake(waker) => waker.wake(),
            Action::Run(action) => action(timer),
        }
    }
}

/// Drives a real clock until the clock is gone.
///
/// The clock may outlive the runtime that drove it first (tests); `Disarm` lets the next timer start a new driver.
async fn drive(clock: Weak<Inner>) {
    struct Disarm(Weak<Inner>);
    impl Drop for Disarm {
        fn drop(&mut self) {
            if let Some(inner) = self.0.upgrade()
                && let Source::Real { driver, .. } = &inner.source
            {
                driver.store(false, Ordering::Release);
            }
        }
    }
    let _disarm = Disarm(clock.clone());
    loop {
        let Some(inner) = clock.upgrade() else { return };
        let Source::Real { began, wake, .. } = &inner.source else {
            return;
        };
        while let Some((timer, action)) = inner.pop_due(Instant(0) + began.elapsed()) {
            action.fire(timer);
        }
        let next = {
            let mut table = inner.table.lock();
            let next = table.timers.first_key_value().map(|(timer, _)| timer.due);
            table.armed = next.unwrap_or(Instant(u64::MAX));
            next
        };
        // It looks up once a minute whether anybody else still holds the clock.
        let wait = next.map_or(Duration::from_secs(60), |due| {
            due.since(Instant(0) + began.elapsed())
                .min(Duration::from_secs(60))
        });
        let _ = tokio::time::timeout(wait, wake.notified()).await;
        if Arc::strong_count(&inner) == 1 {
            return;
        }
    }
}

/// A wait, from [`Clock::sleep`].
#[must_use = "a sleep does nothing unless awaited"]
pub struct Sleep {
    clock: Clock,
    due: Instant,
    timer: Option<TimerRef>,
}

impl Future for Sleep {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.clock.now() >= self.due {
            return Poll::Ready(());
        }
        if let Some(timer) = self.timer
            && self.clock.rearm(timer, cx.waker())
        {
            return Poll::Pending;
        }
        let timer = self
            .clock
            .insert(self.due, Action::Wake(cx.waker().clone()));
        self.timer = Some(timer);
        // A hand that advanced between the look and the insertion fires nothing any more.
        if self.clock.now() >= self.due {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            self.clock.cancel(timer);
        }
    }
}

/// What moves a manual clock.
#[derive(Clone, Debug)]
pub struct ClockHand(Clock);

impl ClockHand {
    /// Moves the clock on by `d`, stopping at every timer on the way: each fires at its own time, in order, and
    /// those it wakes get to run (and to set further timers, which fire too if due) before the next.
    pub async fn advance(&self, d: Duration) {
        let Source::Manual { now } = &self.0.0.source else {
            unreachable!("only a manual clock has a hand")
        };
        settle().await;
        let target = self.0.now() + d;
        while let Some((timer, action)) = self.0.0.pop_due(target) {
            now.fetch_max(timer.due.0, Ordering::AcqRel);
            action.fire(timer);
            settle().await;
        }
        now.fetch_max(target.0, Ordering::AcqRel);
        settle().await;
    }
}

async fn settle() {
    for _ in 0..SETTLE_YIELDS {
        tokio::task::yield_now().await;
    }
}
