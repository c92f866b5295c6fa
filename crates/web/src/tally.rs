//! What became of HTTP requests: replies by handler, method and class of status, and how long they took.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use httpd::Summary;
use httpd::http::Method;
use otp::{Counted, Histogram};
use parking_lot::RwLock;

/// The methods that are told by their name; there is no end of others.
const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

/// What is told of requests that no handler saw.
const NOBODY: &str = "none";

/// Handler, method, class of status.
type Key = (&'static str, &'static str, &'static str);

/// Counts of replies. There are as many rows as there are handlers times a few: no request adds one of its own making.
#[derive(Default)]
pub(crate) struct Tally {
    replies: RwLock<BTreeMap<Key, Arc<AtomicU64>>>,
    times: RwLock<BTreeMap<&'static str, Arc<Histogram>>>,
}

impl Tally {
    /// Adds a request that has ended.
    pub(crate) fn add(&self, summary: &Summary) {
        let handler = summary.handler.map_or(NOBODY, short);
        let key = (handler, method(&summary.method), class(summary.status));
        counter(&self.replies, key).fetch_add(1, Ordering::Relaxed);
        // A WebSocket lasts as long as it likes.
        if summary.status.is_some_and(|status| status >= 200) {
            counter(&self.times, handler).add(summary.took);
        }
    }

    pub(crate) fn replies(&self) -> Vec<(Key, u64)> {
        let replies = self.replies.read();
        let count = |(key, count): (&Key, &Arc<AtomicU64>)| (*key, count.load(Ordering::Relaxed));
        replies.iter().map(count).collect()
    }

    pub(crate) fn times(&self) -> Vec<(&'static str, Counted)> {
        let times = self.times.read();
        let read = |(handler, times): (&&'static str, &Arc<Histogram>)| (*handler, times.read());
        times.iter().map(read).collect()
    }
}

fn counter<K: Ord + Copy, V: Default>(all: &RwLock<BTreeMap<K, Arc<V>>>, key: K) -> Arc<V> {
    if let Some(known) = all.read().get(&key) {
        return Arc::clone(known);
    }
    Arc::clone(all.write().entry(key).or_default())
}

/// A type's name without the modules it lies in, as `http_routes` shows it, and without what it is of.
fn short(name: &'static str) -> &'static str {
    let plain = &name[..name.find('<').unwrap_or(name.len())];
    plain.rsplit("::").next().unwrap_or(plain)
}

fn method(method: &Method) -> &'static str {
    const NAMES: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    let at = METHODS.iter().position(|known| known == method);
    at.map_or("other", |at| NAMES[at])
}

fn class(status: Option<u16>) -> &'static str {
    match status {
        None => "gone",
        Some(..200) => "1xx",
        Some(200..300) => "2xx",
        Some(300..400) => "3xx",
        Some(400..500) => "4xx",
        Some(500..) => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_few() {
        assert_eq!(method(&Method::PUT), "PUT");
        let own = Method::from_bytes(b"MINE").expect("a method");
        assert_eq!(method(&own), "other");
        assert_eq!(class(Some(507)), "5xx");
        assert_eq!(class(None), "gone");
        assert_eq!(short("web::upload::files::Files"), "Files");
        assert_eq!(short("httpd::handler::Fixed<a::B>"), "Fixed");
    }
}
