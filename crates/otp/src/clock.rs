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

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn moments_add_and_never_run_below_zero() {
        let (clock, _hand) = Clock::manual();
        let now = clock.now();
        let later = now + SECOND;
        assert!(later > now);
        assert_eq!(later - now, SECOND);
        assert_eq!(now - later, Duration::ZERO);
        assert_eq!(later - SECOND, now);
        assert_eq!(now - SECOND, now);
        assert_eq!(now + Duration::MAX, now + Duration::MAX + SECOND);
    }

    #[tokio::test]
    async fn a_manual_clock_moves_only_by_its_hand() {
        let (clock, hand) = Clock::manual();
        let (now, wall) = (clock.now(), clock.wall());
        assert_eq!(wall, UNIX_EPOCH + Duration::from_secs(MANUAL_EPOCH));
        hand.advance(90 * SECOND).await;
        assert_eq!(clock.now() - now, 90 * SECOND);
        assert_eq!(clock.wall(), wall + 90 * SECOND);
    }

    #[tokio::test]
    async fn sleepers_wake_in_the_order_of_their_time_and_at_it() {
        let (clock, hand) = Clock::manual();
        let log = Arc::new(Mutex::new(Vec::new()));
        for n in [3, 1, 2] {
            let (clock, log) = (clock.clone(), log.clone());
            tokio::spawn(async move {
                clock.sleep(n * SECOND).await;
                log.lock().push((n, clock.now() - Instant(0)));
                // Set on the way, due on the way.
                clock.sleep(SECOND / 2).await;
                log.lock().push((10 * n, clock.now() - Instant(0)));
            });
        }
        hand.advance(10 * SECOND).await;
        let half = SECOND / 2;
        let wanted = [1, 2, 3].map(|n| [(n, n * SECOND), (10 * n, n * SECOND + half)]);
        assert_eq!(*log.lock(), wanted.concat());
        assert_eq!(clock.timers(), 0);
    }

    #[tokio::test]
    async fn a_timeout_gives_what_is_ready_or_elapses() {
        let (clock, hand) = Clock::manual();
        let ready = clock.timeout(Duration::ZERO, async { 7 }).await;
        assert_eq!(ready, Ok(7));
        let waiting = clock.clone();
        let late = tokio::spawn(async move {
            let never = std::future::pending::<()>();
            waiting.timeout(SECOND, never).await
        });
        hand.advance(SECOND).await;
        assert_eq!(late.await.expect("no panic"), Err(Elapsed));
        assert_eq!(clock.timers(), 0);
    }

    #[tokio::test]
    async fn a_sleep_dropped_leaves_no_timer() {
        let (clock, _hand) = Clock::manual();
        let mut sleep = Box::pin(clock.sleep(SECOND));
        assert!(sleep.as_mut().now_or_never().is_none());
        assert_eq!(clock.timers(), 1);
        drop(sleep);
        assert_eq!(clock.timers(), 0);
    }

    #[tokio::test]
    async fn a_real_clock_follows_the_machine() {
        let clock = Clock::real();
        let began = clock.now();
        let (short, long) = (Duration::from_millis(2), Duration::from_secs(3600));
        // A long one first: the driver must turn to the short one that comes later.
        let mut never = Box::pin(clock.sleep(long));
        assert!(never.as_mut().now_or_never().is_none());
        clock.sleep(short).await;
        assert!(clock.now() - began >= short);
        assert!(clock.timeout(short, never).await.is_err());
        assert!(clock.wall() > UNIX_EPOCH);
    }

    #[test]
    fn a_real_clock_outlives_a_runtime() {
        let clock = Clock::real();
        for _ in 0..2 {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .expect("a runtime");
            runtime.block_on(clock.sleep(Duration::from_millis(1)));
        }
    }
}
