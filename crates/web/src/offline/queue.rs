//! What waits to be posted, and the task that posts it, one after the other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use config::Secret;
use httpd::Client;
use httpd::http::header::{CONTENT_TYPE, USER_AGENT};
use httpd::http::{HeaderMap, HeaderValue, StatusCode};
use otp::{Clock, Instant};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::notice::Notice;

/// What became of posts, of all hosts.
#[derive(Debug, Default)]
pub(crate) struct Posts {
    pub(crate) sent: AtomicU64,
    /// The queue was full.
    pub(crate) dropped: AtomicU64,
    /// The other side refused it, or was not reached in time.
    pub(crate) given_up: AtomicU64,
}

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) posts: usize,
    pub(crate) bytes: usize,
}

/// What waits. Whoever routes a message pushes and never waits; the oldest are posted first.
pub(crate) struct Queue {
    limits: Limits,
    posts: Arc<Posts>,
    inside: Mutex<Inside>,
    pushed: Notify,
}

#[derive(Default)]
struct Inside {
    waiting: VecDeque<(Notice, Instant)>,
    bytes: usize,
    /// How many were dropped since there was room.
    dropped: u64,
}

impl Queue {
    pub(crate) fn new(limits: Limits, posts: Arc<Posts>) -> Arc<Queue> {
        Arc::new(Queue {
            limits,
            posts,
            inside: Mutex::default(),
            pushed: Notify::new(),
        })
    }

    /// Takes one more, or drops it where there is no room.
    pub(crate) fn push(&self, notice: Notice, now: Instant) {
        let mut inside = self.inside.lock();
        let bytes = inside.bytes + notice.body.len();
        if inside.waiting.len() >= self.limits.posts || bytes > self.limits.bytes {
            self.posts.dropped.fetch_add(1, Ordering::Relaxed);
            if inside.dropped == 0 {
                tracing::warn!(target: "natter::web", waiting = inside.waiting.len(), "posts of waiting messages are dropped: the queue is full");
            }
            inside.dropped += 1;
            return;
        }
        if inside.dropped > 0 {
            tracing::warn!(target: "natter::web", dropped = inside.dropped, "posts of waiting messages were dropped; there is room again");
            inside.dropped = 0;
        }
        inside.bytes = bytes;
        inside.waiting.push_back((notice, now));
        drop(inside);
        self.pushed.notify_one();
    }

    pub(crate) fn len(&self) -> usize {
        self.inside.lock().waiting.len()
    }

    /// The oldest, which stays until it is taken.
    async fn oldest(&self) -> (Notice, Instant) {
        loop {
            let pushed = self.pushed.notified();
            if let Some(oldest) = self.inside.lock().waiting.front() {
                return oldest.clone();
            }
            pushed.await;
        }
    }

    fn take(&self) {
        let mut inside = self.inside.lock();
        if let Some((notice, _)) = inside.waiting.pop_front() {
            inside.bytes -= notice.body.len();
        }
    }
}

/// Posts what waits. Invariant: nobody else takes from the queue.
pub(crate) struct Poster {
    pub(crate) host: String,
    pub(crate) clock: Clock,
    pub(crate) queue: Arc<Queue>,
    pub(crate) client: Client,
    pub(crate) secret: Secret,
    pub(crate) within: Duration,
    pub(crate) first_wait: Duration,
    pub(crate) longest_wait: Duration,
    pub(crate) give_up_after: Duration,
}

/// What to do after a try.
#[derive(Debug, PartialEq, Eq)]
enum Then {
    Next,
    Again,
    Never,
}

impl Poster {
    /// Runs until its module ends.
    pub(crate) async fn run(mut self) {
        loop {
            let (notice, since) = self.queue.oldest().await;
            let count = match self.deliver(&notice, since).await {
                true => &self.queue.posts.sent,
                false => &self.queue.posts.given_up,
            };
            count.fetch_add(1, Ordering::Relaxed);
            self.queue.take();
        }
    }

    /// Tries until it is taken, refused, or its time is over; whether it was taken.
    async fn deliver(&mut self, notice: &Notice, since: Instant) -> bool {
        let mut wait = self.first_wait;
        loop {
            let (then, why) = self.post(notice).await;
            let is_late = self.clock.now() + wait > since + self.give_up_after;
            match then {
                Then::Next => return true,
                Then::Again if !is_late => {
                    tracing::info!(target: "natter::web", host = self.host, id = notice.id, why, ?wait, "a post failed and is tried again");
                }
                Then::Again | Then::Never => {
                    tracing::warn!(target: "natter::web", host = self.host, id = notice.id, why, "a post is given up; its message waits all the same");
                    return false;
                }
            }
            self.clock.sleep(wait).await;
            wait = wait.saturating_mul(2).min(self.longest_wait);
        }
    }

    async fn post(&mut self, notice: &Notice) -> (Then, String) {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static("Natter"));
        let signature = notice.signature(&self.secret, self.clock.wall());
        for (name, value) in [
            ("x-natter-id", &notice.id),
            ("x-natter-signature", &signature),
        ] {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
        let posted = self.client.post(&headers, notice.body.clone(), self.within);
        match posted.await {
            Ok(status) => (after(status), format!("status {}", status.as_u16())),
            Err(error) => (Then::Again, error.to_string()),
        }
    }
}

/// Redirects are not followed: who could write one could have our messages.
fn after(status: StatusCode) -> Then {
    match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS | StatusCode::TOO_EARLY => {
            Then::Again
        }
        status if status.is_success() => Then::Next,
        status if status.is_server_error() => Then::Again,
        _ => Then::Never,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn notice(bytes: usize) -> Notice {
        Notice {
            id: "1".to_owned(),
            body: Bytes::from(vec![b'x'; bytes]),
        }
    }

    #[tokio::test]
    async fn of_too_many_the_new_ones_are_dropped() {
        let (clock, _hand) = Clock::manual();
        let posts: Arc<Posts> = Arc::default();
        let limits = Limits {
            posts: 2,
            bytes: 100,
        };
        let queue = Queue::new(limits, Arc::clone(&posts));
        for bytes in [60, 60, 30, 10] {
            queue.push(notice(bytes), clock.now());
        }
        assert_eq!(queue.len(), 2);
        assert_eq!(posts.dropped.load(Ordering::Relaxed), 2);
        assert_eq!(queue.oldest().await.0.body.len(), 60);
        queue.take();
        assert_eq!(queue.oldest().await.0.body.len(), 30);
        queue.push(notice(70), clock.now());
        assert_eq!(queue.len(), 2);
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        for (status, then) in [
            (200, Then::Next),
            (204, Then::Next),
            (302, Then::Never),
            (400, Then::Never),
            (408, Then::Again),
            (429, Then::Again),
            (500, Then::Again),
            (503, Then::Again),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(after(status), then, "{status}");
        }
    }
}
