//! A token bucket that delays reads.

use std::time::Duration;

use otp::Instant;

/// How much a peer may send. What is counted may be something else than bytes: see [`Shaper::take`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In the long run, in bytes a second; not 0.
    pub bytes_per_second: u64,
    /// At once, after it was silent, in bytes.
    pub burst: u64,
}

/// Says when to read on. What was read in advance is charged all the same: the peer then waits the longer.
#[derive(Debug)]
pub struct Shaper {
    rate: Rate,
    /// Bytes that may be read; below 0 none may.
    tokens: i128,
    at: Instant,
}

impl Shaper {
    /// One whose peer was silent until now.
    pub fn new(rate: Rate, now: Instant) -> Shaper {
        Shaper {
            rate,
            tokens: rate.burst.into(),
            at: now,
        }
    }

    /// Charges bytes that were read; how long to read nothing, if at all.
    pub fn charge(&mut self, bytes: usize, now: Instant) -> Option<Duration> {
        self.earn(now);
        self.tokens -= i128::try_from(bytes).unwrap_or(i128::MAX);
        self.debt(0)
    }

    /// Charges for something, if there is enough for it.
    ///
    /// # Errors
    ///
    /// There is not, and nothing was charged; how long until there is.
    pub fn take(&mut self, amount: u64, now: Instant) -> Result<(), Duration> {
        self.earn(now);
        match self.debt(amount) {
            Some(wait) => Err(wait),
            None => {
                self.tokens -= i128::from(amount);
                Ok(())
            }
        }
    }

    /// Whether the peer was silent for long enough to send a whole burst.
    pub fn is_full(&mut self, now: Instant) -> bool {
        self.earn(now);
        self.tokens >= self.rate.burst.into()
    }

    fn earn(&mut self, now: Instant) {
        let passed = (now - self.at).as_micros();
        let per_second = u128::from(self.rate.bytes_per_second);
        let earned = passed.saturating_mul(per_second) / 1_000_000;
        if earned > 0 {
            // What is left of a byte is not lost: the time it took counts again.
            let spent = (earned * 1_000_000).div_ceil(per_second);
            self.at += Duration::from_micros(u64::try_from(spent).unwrap_or(u64::MAX));
            let earned = i128::try_from(earned).unwrap_or(i128::MAX);
            self.tokens = self
                .tokens
                .saturating_add(earned)
                .min(self.rate.burst.into());
        }
    }

    /// How long until there is so much; none: there is.
    fn debt(&self, amount: u64) -> Option<Duration> {
        let missing = i128::from(amount) - self.tokens;
        let missing = u128::try_from(missing)
            .ok()
            .filter(|missing| *missing > 0)?;
        let micros = (missing * 1_000_000).div_ceil(self.rate.bytes_per_second.into());
        Some(Duration::from_micros(
            u64::try_from(micros).unwrap_or(u64::MAX),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_the_rest_waits() {
        let (clock, _hand) = otp::Clock::manual();
        let start = clock.now();
        let rate = Rate {
            bytes_per_second: 1000,
            burst: 500,
        };
        let mut shaper = Shaper::new(rate, start);
        assert_eq!(shaper.charge(500, start), None);
        assert_eq!(shaper.charge(250, start), Some(Duration::from_millis(250)));
        let later = start + Duration::from_millis(250);
        assert_eq!(shaper.charge(0, later), None);
        assert_eq!(shaper.charge(1, later), Some(Duration::from_millis(1)));
        // Silence earns no more than a burst.
        let much_later = later + Duration::from_secs(3600);
        assert_eq!(shaper.charge(500, much_later), None);
        assert_eq!(shaper.charge(1, much_later), Some(Duration::from_millis(1)));
    }
}
