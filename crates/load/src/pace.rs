//! A steady beat that does not wait for anybody: when the next message is due, whatever became of those before.
//!
//! A thread of its own sleeps, because tokio's timers go by whole milliseconds. Each beat carries the time at which it
//! was due: latency is counted from there, so that a server that stalls is charged for all that it kept waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::failure::Failure;
use crate::peek;

/// A steady beat; it ends when it is dropped.
pub struct Pace {
    beats: UnboundedReceiver<Duration>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pace {
    /// `count` beats, `rate` of them a second, the first one beat from now. Times are those of [`peek::now`].
    ///
    /// # Errors
    ///
    /// A sentence when no thread can be started.
    pub fn start(rate: f64, count: u64) -> Result<Pace, Failure> {
        let (tell, beats) = unbounded_channel();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let began = peek::now();
        let thread = std::thread::Builder::new()
            .name("pace".to_owned())
            .spawn(move || {
                for number in 1..=count {
                    let due = due(began, rate, number);
                    while let Some(early) = due.checked_sub(peek::now()) {
                        if stopped.load(Ordering::Relaxed) {
                            return;
                        }
                        std::thread::park_timeout(early);
                    }
                    if tell.send(due).is_err() {
                        return;
                    }
                }
            })
            .map_err(|error| Failure::new(format!("starting a thread: {error}")))?;
        Ok(Pace {
            beats,
            stop,
            thread: Some(thread),
        })
    }

    /// When the next beat was due; none after the last.
    pub async fn next(&mut self) -> Option<Duration> {
        self.beats.recv().await
    }
}

/// When the beat `number`, the first being 1, is due. Computed from the beginning, so that no error adds up.
fn due(began: Duration, rate: f64, number: u64) -> Duration {
    began + Duration::from_secs_f64(number as f64 / rate)
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.beats.close();
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_are_due_at_even_distances_for_ever() {
        let began = Duration::from_secs(7);
        assert_eq!(due(began, 2000.0, 1), began + Duration::from_micros(500));
        assert_eq!(
            due(began, 2000.0, 7_200_000),
            began + Duration::from_secs(3600)
        );
    }

    #[test]
    fn every_beat_comes_with_its_own_time_even_when_nobody_listened() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let mut pace = Pace::start(100_000.0, 50).expect("a thread");
        let mut times = Vec::new();
        while let Some(due) = runtime.block_on(pace.next()) {
            times.push(due);
        }
        assert_eq!(times.len(), 50);
        for two in times.windows(2) {
            assert_eq!(two[1] - two[0], Duration::from_micros(10));
        }
    }
}
