//! How much is said in a room: messages an hour, of the last day (XEP-0502).

use std::time::Duration;

use otp::Instant;
use xmpp::{Stanza, ns};

const HOUR: Duration = Duration::from_secs(3600);

/// How many whole hours count.
const HOURS: usize = 24;

/// Counts what is said by the hour; the hour that has begun does not count yet.
#[derive(Debug)]
pub(crate) struct Activity {
    began: Instant,
    now: u32,
    /// The latest whole hour first.
    hours: std::collections::VecDeque<u32>,
}

impl Activity {
    /// Nothing is known from before `now`.
    pub(crate) fn new(now: Instant) -> Activity {
        Activity {
            began: now,
            now: 0,
            hours: Default::default(),
        }
    }

    /// Counts a message that says something: not a correction of one before.
    pub(crate) fn count(&mut self, stanza: &Stanza, now: Instant) {
        self.advance(now);
        let corrects = stanza.has_child("replace", "urn:xmpp:message-correct:0");
        if stanza.has_child("body", ns::CLIENT) && !corrects {
            self.now = self.now.saturating_add(1);
        }
    }

    /// Messages an hour; nothing before the room was open for one.
    pub(crate) fn rate(&mut self, now: Instant) -> Option<f64> {
        self.advance(now);
        let sum: u64 = self.hours.iter().map(|count| u64::from(*count)).sum();
        let hours = u32::try_from(self.hours.len())
            .ok()
            .filter(|hours| *hours > 0)?;
        #[allow(clippy::cast_precision_loss, reason = "an approximation")]
        let rate = sum as f64 / f64::from(hours);
        Some(rate)
    }

    fn advance(&mut self, now: Instant) {
        let mut passed = 0;
        while now.since(self.began) >= HOUR && passed <= HOURS {
            self.hours.push_front(std::mem::take(&mut self.now));
            self.began += HOUR;
            passed += 1;
        }
        if passed > HOURS {
            // Longer than anything counts.
            self.began = now;
        }
        self.hours.truncate(HOURS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use otp::Clock;

    #[test]
    fn whole_hours_of_the_last_day_count() {
        let (clock, _hand) = Clock::manual();
        let start = clock.now();
        let said = Stanza::parse("<message><body>x</body></message>").expect("a message");
        let silent = Stanza::parse("<message><subject>x</subject></message>").expect("a message");
        let corrected =
            "<message><body>x</body><replace xmlns='urn:xmpp:message-correct:0' id='1'/></message>";
        let corrected = Stanza::parse(corrected).expect("a message");
        let mut activity = Activity::new(start);
        for stanza in [&said, &said, &said, &silent, &corrected] {
            activity.count(stanza, start);
        }
        assert_eq!(activity.rate(start), None);
        assert_eq!(activity.rate(start + HOUR), Some(3.0));
        assert_eq!(activity.rate(start + HOUR * 2), Some(1.5));
        activity.count(&said, start + HOUR * 2);
        assert_eq!(activity.rate(start + HOUR * 4), Some(1.0));
        assert_eq!(activity.rate(start + HOUR * 24), Some(4.0 / 24.0));
        assert_eq!(activity.rate(start + HOUR * 25), Some(1.0 / 24.0));
        assert_eq!(activity.rate(start + HOUR * 2000), Some(0.0));
    }
}
