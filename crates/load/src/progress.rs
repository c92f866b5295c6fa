//! A bar on stderr for whoever waits; nothing where stderr is no terminal.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

static QUIET: AtomicBool = AtomicBool::new(false);

/// Draws no bar from now on, in the whole program.
pub fn hush() {
    QUIET.store(true, Ordering::Relaxed);
}

/// A bar; it goes when it is dropped.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar for `all` steps of `doing`.
    pub fn new(doing: &str, all: u64) -> Progress {
        let target = match QUIET.load(Ordering::Relaxed) {
            true => ProgressDrawTarget::hidden(),
            false => ProgressDrawTarget::stderr_with_hz(5),
        };
        let bar = ProgressBar::with_draw_target(Some(all), target);
        if let Ok(style) = ProgressStyle::with_template("{msg:14} {wide_bar} {pos}/{len} {eta}") {
            bar.set_style(style);
        }
        bar.set_message(doing.to_owned());
        Progress { bar }
    }

    /// So many more steps are made.
    pub fn add(&self, steps: u64) {
        self.bar.inc(steps);
    }

    /// Shows, five times a second, what `made` says; ends with the task that waits for it.
    pub async fn follow(&self, made: impl Fn() -> u64) {
        let mut ticks = tokio::time::interval(Duration::from_millis(200));
        loop {
            ticks.tick().await;
            self.bar.set_position(made());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
