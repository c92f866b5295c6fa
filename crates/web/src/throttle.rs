//! How many requests one address may make.
//!
//! A token bucket for each address, in IPv6 for each /64. One kind for all requests, before anything is done for them,
//! and one for each class of those that cost more: commands, WebSockets that are opened, requests of BOSH, files that are
//! put. This machine's own addresses are not counted, but the clients of a trusted forwarder on it are.

use std::any::type_name;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use httpd::http::header::RETRY_AFTER;
use httpd::http::{Method, StatusCode};
use httpd::{Error, Middleware, Request, Verdict};
use net::network_of;
use otp::{Clock, Instant};
use parking_lot::{Mutex, RwLock};
use stream::{Rate, Shaper};

use crate::access::{Rates, WebSettings};
use crate::api::{Api, OpenApi};
use crate::upload::Files;
use crate::xmlrpc::XmlRpc;
use crate::{bosh, ws};

/// How many addresses are remembered. Beyond it those are forgotten that have all their tokens back.
const ADDRESSES: usize = 100_000;

/// Requests that are counted together, and their rate.
#[derive(Clone, Copy)]
pub(crate) struct Class {
    counts: fn(&Request) -> bool,
    rate: fn(&Rates) -> Option<Rate>,
}

impl Class {
    pub(crate) const ALL: Class = Class {
        counts: |_| true,
        rate: |rates| rates.requests,
    };
    pub(crate) const COMMANDS: Class = Class {
        counts: |req| is_for::<Api>(req) || is_for::<OpenApi>(req) || is_for::<XmlRpc>(req),
        rate: |rates| rates.commands,
    };
    pub(crate) const WEBSOCKET: Class = Class {
        counts: is_for::<ws::Door>,
        rate: |rates| rates.websocket,
    };
    pub(crate) const BOSH: Class = Class {
        counts: is_for::<bosh::Door>,
        rate: |rates| rates.bosh,
    };
    pub(crate) const UPLOAD: Class = Class {
        counts: |req| *req.method() == Method::PUT && is_for::<Files>(req),
        rate: |rates| rates.upload,
    };
}

/// Whether a handler of this type is to answer it.
fn is_for<H>(req: &Request) -> bool {
    let endpoint = req.endpoint();
    endpoint.is_some_and(|endpoint| endpoint.name() == type_name::<H>())
}

/// A middleware that refuses with 429 what is too much.
pub(crate) struct Throttle {
    class: Class,
    settings: Arc<RwLock<Arc<WebSettings>>>,
    clock: Clock,
    buckets: Mutex<Buckets>,
}

impl Throttle {
    pub(crate) fn new(
        class: Class,
        settings: &Arc<RwLock<Arc<WebSettings>>>,
        clock: &Clock,
    ) -> Throttle {
        Throttle {
            class,
            settings: Arc::clone(settings),
            clock: clock.clone(),
            buckets: Mutex::default(),
        }
    }

    /// How long to wait, where it is too much.
    fn judge(&self, req: &Request) -> Option<Duration> {
        let rate = (self.class.rate)(&self.settings.read().rates)?;
        if !(self.class.counts)(req) {
            return None;
        }
        let address = network_of(req.peer().ip());
        if address.is_loopback() {
            return None;
        }
        let now = self.clock.now();
        self.buckets.lock().take(address, rate, now).err()
    }
}

impl Middleware for Throttle {
    fn execute<'a>(&'a self, req: &'a mut Request) -> BoxFuture<'a, Result<Verdict, Error>> {
        let verdict = match self.judge(req) {
            None => Ok(Verdict::Go),
            Some(wait) => refuse(req, wait),
        };
        Box::pin(std::future::ready(verdict))
    }
}

fn refuse(req: &mut Request, wait: Duration) -> Result<Verdict, Error> {
    tracing::debug!(target: "natter::web", address = %req.peer().ip(), "too many requests");
    let seconds = wait.as_millis().div_ceil(1000).max(1);
    let status = StatusCode::TOO_MANY_REQUESTS.as_u16();
    req.set_header("access-control-allow-origin", "*")?;
    req.reply(status, [(RETRY_AFTER, seconds.to_string())], "")?;
    Ok(Verdict::Stop)
}

/// The buckets of all addresses, for one rate.
#[derive(Default)]
struct Buckets {
    rate: Option<Rate>,
    of: HashMap<IpAddr, Shaper>,
}

impl Buckets {
    /// Takes a token.
    ///
    /// # Errors
    ///
    /// There is none; how long until there is.
    fn take(&mut self, address: IpAddr, rate: Rate, now: Instant) -> Result<(), Duration> {
        if self.rate != Some(rate) {
            self.rate = Some(rate);
            self.of.clear();
        }
        if self.of.len() >= ADDRESSES && !self.of.contains_key(&address) {
            self.of.retain(|_, bucket| !bucket.is_full(now));
            if self.of.len() >= ADDRESSES {
                // All of them ask too much: whoever is new waits with them.
                return Err(Duration::from_secs(1));
            }
        }
        let bucket = self.of.entry(address);
        bucket
            .or_insert_with(|| Shaper::new(rate, now))
            .take(1, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_has_its_tokens_and_gets_them_back() {
        let (clock, hand) = Clock::manual();
        let rate = Rate {
            bytes_per_second: 2,
            burst: 3,
        };
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let mut buckets = Buckets::default();
        for _ in 0..3 {
            assert_eq!(buckets.take(one, rate, clock.now()), Ok(()));
        }
        let half = Duration::from_millis(500);
        assert_eq!(buckets.take(one, rate, clock.now()), Err(half));
        assert_eq!(
            buckets.take(one, rate, clock.now()),
            Err(half),
            "asking costs nothing"
        );
        assert_eq!(buckets.take(other, rate, clock.now()), Ok(()));
        hand.advance(half).await;
        assert_eq!(buckets.take(one, rate, clock.now()), Ok(()));
        assert_eq!(buckets.take(one, rate, clock.now()), Err(half));
        let faster = Rate { burst: 4, ..rate };
        assert_eq!(
            buckets.take(one, faster, clock.now()),
            Ok(()),
            "a new rate begins anew"
        );
    }

    #[tokio::test]
    async fn those_who_have_their_tokens_back_are_forgotten() {
        let (clock, hand) = Clock::manual();
        let rate = Rate {
            bytes_per_second: 1,
            burst: 1,
        };
        let mut buckets = Buckets::default();
        for number in 0..ADDRESSES as u32 {
            let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).into();
            assert_eq!(buckets.take(address, rate, clock.now()), Ok(()));
        }
        let new = IpAddr::from([192, 0, 2, 1]);
        assert!(buckets.take(new, rate, clock.now()).is_err());
        hand.advance(Duration::from_secs(1)).await;
        assert_eq!(buckets.take(new, rate, clock.now()), Ok(()));
        assert_eq!(buckets.of.len(), 1);
    }
}
