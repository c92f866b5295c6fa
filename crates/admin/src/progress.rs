//! How far a command has come, told while it is at work.

use std::sync::Arc;

use tokio::sync::watch;

/// How far a command has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// How much is done.
    pub done: u64,
    /// How much there is to do, as far as is known by now.
    pub total: u64,
    /// What is counted, such as `accounts` or `bytes`.
    pub unit: &'static str,
}

impl Step {
    /// In thousandths; what is more than all is all.
    fn permille(self) -> u64 {
        let done = u128::from(self.done.min(self.total));
        u64::try_from(done * 1000 / u128::from(self.total.max(1))).unwrap_or(1000)
    }
}

/// Where a command says how far it has come. Cheap to clone; says nothing where nobody listens.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<watch::Sender<Option<Step>>>>);

impl Progress {
    /// One that is heard at the other end. Who listens late hears the last step only.
    pub fn heard() -> (Progress, watch::Receiver<Option<Step>>) {
        let (said, heard) = watch::channel(None);
        (Progress(Some(Arc::new(said))), heard)
    }

    /// Says how far the command has come. Less than a thousandth more than before is not told: a listener hears of
    /// at most about a thousand steps, however small they are.
    pub fn say(&self, step: Step) {
        let Some(said) = &self.0 else { return };
        said.send_if_modified(|before| {
            let is_news = before.is_none_or(|before| before.permille() != step.permille());
            if is_news {
                *before = Some(step);
            }
            is_news
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_a_thousandth_more_is_told() {
        let (progress, mut heard) = Progress::heard();
        let mut told = 0;
        for done in 0..=100_000 {
            progress.say(Step {
                done,
                total: 100_000,
                unit: "accounts",
            });
            if heard.has_changed().expect("it is there") {
                told += 1;
                heard.mark_unchanged();
            }
        }
        assert_eq!(told, 1001);
        progress.say(Step {
            done: 5,
            total: 0,
            unit: "accounts",
        });
        assert_eq!(heard.borrow_and_update().expect("told").permille(), 0);
        Progress::default().say(Step {
            done: 1,
            total: 1,
            unit: "bytes",
        });
    }
}
