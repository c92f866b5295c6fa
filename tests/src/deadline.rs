//! The only place of the harness that knows real time.
//!
//! Nothing here waits for a while and hopes: everything waits for an event, and this deadline only turns an
//! event that never comes into a loud failure.

use std::time::{Duration, Instant};

/// How long any awaited event may take in real time before a test fails: 30 s.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The event did not come within [`DEADLINE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overdue;

/// Waits for `event`, at most [`DEADLINE`] of real time.
///
/// # Errors
///
/// [`Overdue`] when it has not come by then.
pub async fn within<F: Future>(event: F) -> Result<F::Output, Overdue> {
    tokio::time::timeout(DEADLINE, event)
        .await
        .map_err(|_| Overdue)
}

/// Waits until `seen` answers something, looking again after other tasks had their turn.
///
/// # Errors
///
/// [`Overdue`] when nothing was seen within [`DEADLINE`].
pub async fn until<T>(mut seen: impl AsyncFnMut() -> Option<T>) -> Result<T, Overdue> {
    within(async {
        loop {
            if let Some(found) = seen().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
}

/// As [`until`], where looking does not wait.
///
/// # Errors
///
/// [`Overdue`] when nothing was seen within [`DEADLINE`].
pub async fn until_seen<T>(mut seen: impl FnMut() -> Option<T>) -> Result<T, Overdue> {
    within(async {
        loop {
            if let Some(found) = seen() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
}

/// Measures how long something took in real time: for claims such as "within a second".
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts measuring.
    pub fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    /// Real time since [`Stopwatch::start`].
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
