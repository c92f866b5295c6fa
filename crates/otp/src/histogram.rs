//! How long something takes, counted in a few buckets.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::{Clock, Instant};

/// Of so many calls one is measured, on the average.
const ONE_OF: u64 = 64;

/// The upper ends of the buckets; what is longer than all has one of its own.
pub const BOUNDS: [Duration; 9] = [
    Duration::from_micros(10),
    Duration::from_micros(100),
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(25),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_millis(2500),
    Duration::from_secs(10),
];

/// Counts durations. Adding one is two additions; nothing waits.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

/// What a [`Histogram`] has counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// How many took no longer than each of [`BOUNDS`].
    pub within: [u64; BOUNDS.len()],
    /// How many there were.
    pub count: u64,
    /// How long they took together.
    pub sum: Duration,
}

impl Histogram {
    /// Adds one that took so long.
    pub fn add(&self, took: Duration) {
        let at = BOUNDS.iter().position(|bound| took <= *bound);
        self.buckets[at.unwrap_or(BOUNDS.len())].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Begins to measure one call of 64, chosen by chance: the time is not asked for the others.
    #[must_use]
    pub fn begin(&self, clock: &Clock) -> Option<Instant> {
        is_chosen().then(|| clock.now())
    }

    /// Ends what [`begin`](Self::begin) began.
    pub fn end(&self, clock: &Clock, begun: Option<Instant>) {
        if let Some(begun) = begun {
            self.add(clock.now() - begun);
        }
    }

    /// What was counted until now.
    #[must_use]
    pub fn read(&self) -> Counted {
        let mut within = [0; BOUNDS.len()];
        let mut count = 0;
        for (at, bucket) in self.buckets.iter().enumerate() {
            count += bucket.load(Ordering::Relaxed);
            if let Some(within) = within.get_mut(at) {
                *within = count;
            }
        }
        Counted {
            within,
            count,
            sum: Duration::from_nanos(self.nanos.load(Ordering::Relaxed)),
        }
    }
}

/// True once in [`ONE_OF`] calls. By chance, not by number: what always comes in pairs is measured as often in both
/// places.
fn is_chosen() -> bool {
    thread_local! {
        static STATE: Cell<u64> = const { Cell::new(0x9e37_79b9_7f4a_7c15) };
    }
    STATE.with(|state| {
        // Marsaglia's xorshift.
        let mut x = state.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        state.set(x);
        // The upper bits are the better ones.
        (x >> 32).is_multiple_of(ONE_OF)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_their_buckets() {
        let histogram = Histogram::default();
        for millis in [0, 1, 2, 600, 20_000] {
            histogram.add(Duration::from_millis(millis));
        }
        let counted = histogram.read();
        assert_eq!(counted.within, [1, 1, 2, 3, 3, 3, 3, 4, 4]);
        assert_eq!(counted.count, 5);
        assert_eq!(counted.sum, Duration::from_millis(20_603));
    }

    #[tokio::test]
    async fn one_of_many_is_measured() {
        let (clock, hand) = Clock::manual();
        let histogram = Histogram::default();
        let mut chosen = 0;
        for _ in 0..64_000 {
            let begun = histogram.begin(&clock);
            chosen += u64::from(begun.is_some());
            histogram.end(&clock, begun);
        }
        assert!((700..1300).contains(&chosen), "{chosen}");
        assert_eq!(histogram.read().count, chosen);
        let begun = Some(clock.now());
        hand.advance(Duration::from_millis(3)).await;
        histogram.end(&clock, begun);
        assert_eq!(histogram.read().sum, Duration::from_millis(3));
    }
}
