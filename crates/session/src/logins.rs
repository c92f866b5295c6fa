//! How often accounts log in: the last logins of the node, for an hour.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use otp::{Clock, Instant};
use parking_lot::Mutex;
use xmpp::BareJid;

/// For how long a login is counted.
const COUNTED: Duration = Duration::from_secs(3600);

/// The most that are remembered. Where more come within the hour, the time that is looked at is shorter.
const MOST: usize = 10_000;

/// The last logins of all accounts. Clones are the same.
#[derive(Clone)]
pub struct Logins(Arc<Inner>);

struct Inner {
    clock: Clock,
    recent: Mutex<Recent>,
}

struct Recent {
    /// All logins since then are in `logins`.
    since: Instant,
    logins: VecDeque<(Instant, BareJid)>,
}

impl Logins {
    pub(crate) fn new(clock: &Clock) -> Logins {
        Logins(Arc::new(Inner {
            clock: clock.clone(),
            recent: Mutex::new(Recent {
                since: clock.now(),
                logins: VecDeque::new(),
            }),
        }))
    }

    /// An account has bound a resource.
    pub(crate) fn count(&self, account: BareJid) {
        let now = self.0.clock.now();
        let mut recent = self.0.recent.lock();
        recent.forget(now);
        if recent.logins.len() == MOST
            && let Some((at, _)) = recent.logins.pop_front()
        {
            recent.since = at;
        }
        recent.logins.push_back((now, account));
    }

    /// Logins of an account in a minute: the average of the last hour, or of the time since the node began where that
    /// is shorter, at least a minute.
    pub fn per_minute(&self, account: &BareJid) -> f64 {
        let now = self.0.clock.now();
        let mut recent = self.0.recent.lock();
        recent.forget(now);
        let theirs = recent.logins.iter().filter(|(_, who)| who == account);
        let minutes = (now - recent.since).as_secs_f64() / 60.0;
        theirs.count() as f64 / minutes.max(1.0)
    }
}

impl Recent {
    fn forget(&mut self, now: Instant) {
        while self
            .logins
            .front()
            .is_some_and(|(at, _)| now - *at > COUNTED)
        {
            self.logins.pop_front();
        }
        if now - self.since > COUNTED {
            self.since = now - COUNTED;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str) -> BareJid {
        xmpp::parse_bare(&format!("{name}@a.example")).expect("a JID")
    }

    #[tokio::test]
    async fn the_rate_is_that_of_the_last_hour() {
        let (clock, hand) = Clock::manual();
        let logins = Logins::new(&clock);
        let (alice, bob) = (account("alice"), account("bob"));
        for _ in 0..6 {
            logins.count(alice.clone());
        }
        assert_eq!(logins.per_minute(&alice), 6.0, "within the first minute");
        assert_eq!(logins.per_minute(&bob), 0.0);
        hand.advance(Duration::from_secs(30 * 60)).await;
        logins.count(bob.clone());
        assert_eq!(logins.per_minute(&alice), 0.2);
        hand.advance(Duration::from_secs(30 * 60)).await;
        assert_eq!(logins.per_minute(&alice), 0.1);
        hand.advance(Duration::from_secs(1)).await;
        assert_eq!(logins.per_minute(&alice), 0.0);
        assert_eq!(logins.per_minute(&bob), 1.0 / 60.0);
    }

    #[tokio::test]
    async fn more_than_fit_shorten_the_time() {
        let (clock, hand) = Clock::manual();
        let logins = Logins::new(&clock);
        let alice = account("alice");
        logins.count(account("bob"));
        hand.advance(Duration::from_secs(10 * 60)).await;
        for _ in 0..MOST {
            logins.count(alice.clone());
        }
        hand.advance(Duration::from_secs(10 * 60)).await;
        assert_eq!(logins.per_minute(&alice), MOST as f64 / 20.0);
        logins.count(alice.clone());
        assert_eq!(logins.per_minute(&alice), MOST as f64 / 10.0);
    }
}
