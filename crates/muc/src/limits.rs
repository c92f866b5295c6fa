//! How much one occupant may say and change: a bucket that fills with time.

use std::time::Duration;

use otp::Instant;

/// What is left of an occupant's allowance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    /// How much of the burst is used up, as the time it takes to come back.
    used: Duration,
    at: Instant,
}

/// How often something may happen: so many at once, and then one in each interval.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) burst: u32,
    pub(crate) every: Duration,
}

impl Allowance {
    /// An allowance that is whole.
    pub(crate) fn new(now: Instant) -> Allowance {
        Allowance {
            used: Duration::ZERO,
            at: now,
        }
    }

    /// Takes one; false if nothing is left.
    pub(crate) fn take(&mut self, rate: Rate, now: Instant) -> bool {
        if rate.every.is_zero() {
            return true;
        }
        self.used = self.used.saturating_sub(now.since(self.at));
        self.at = now;
        let after = self.used + rate.every;
        if after > rate.every * rate.burst {
            return false;
        }
        self.used = after;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use otp::Clock;

    #[test]
    fn a_burst_then_one_an_interval() {
        let (clock, _hand) = Clock::manual();
        let start = clock.now();
        let rate = Rate {
            burst: 3,
            every: Duration::from_secs(2),
        };
        let mut allowance = Allowance::new(start);
        let taken = |allowance: &mut Allowance, seconds| {
            allowance.take(rate, start + Duration::from_secs(seconds))
        };
        let burst: Vec<bool> = (0..4).map(|_| taken(&mut allowance, 0)).collect();
        assert_eq!(burst, [true, true, true, false]);
        assert!(!taken(&mut allowance, 1));
        assert!(taken(&mut allowance, 2));
        assert!(!taken(&mut allowance, 3));
        assert!((0..3).all(|_| taken(&mut allowance, 100)));
        let none = Rate {
            every: Duration::ZERO,
            ..rate
        };
        assert!((0..100).all(|_| allowance.take(none, start)));
    }
}
