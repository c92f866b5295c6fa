//! The workloads. Each is a function from a running server to what it found.

use std::future::Future;
use std::rc::Rc;

use crate::failure::Failure;
use crate::proc::Watched;
use crate::progress::Progress;
use crate::target::Target;

pub mod age;
pub mod chat;
pub mod churn;
pub mod growth;
pub mod idle;
pub mod iq;
pub mod login;
pub mod muc;
pub mod offline;
pub mod presence;
pub mod start;
pub mod storm;

/// What every workload is given.
pub struct Run {
    /// The server under load.
    pub target: Rc<Target>,
    /// Its process, when it runs on this machine.
    pub server: Option<Watched>,
    /// Whether accounts are registered before the work.
    pub register: bool,
    /// How many log in, register or close at the same time.
    pub at_once: usize,
}

impl Run {
    /// The same run against a target that is changed first.
    pub fn against(&self, change: impl FnOnce(&mut Target)) -> Run {
        let mut target = self.target.twin();
        change(&mut target);
        Run {
            target: Rc::new(target),
            server: self.server,
            register: self.register,
            at_once: self.at_once,
        }
    }

    /// Registers the accounts below `count`, if that is wished.
    ///
    /// # Errors
    ///
    /// The first refusal.
    pub async fn accounts(&self, count: usize) -> Result<(), Failure> {
        match self.register {
            true => crate::accounts::register(&self.target, count, self.at_once).await,
            false => Ok(()),
        }
    }
}

/// Does `work` under a bar that shows what `made` says.
pub async fn shown<T>(
    doing: &str,
    all: u64,
    made: impl Fn() -> u64,
    work: impl Future<Output = T>,
) -> T {
    let progress = Progress::new(doing, all);
    tokio::select! {
        done = work => done,
        () = progress.follow(made) => unreachable!("a bar is followed without end"),
    }
}

/// A stanza of type error ends a run: what it costs to refuse is not what is measured.
///
/// # Errors
///
/// A sentence with the error's condition, when `stanza` is one.
pub fn no_error(stanza: &[u8]) -> Result<(), Failure> {
    match crate::peek::is_error(stanza) {
        true => Err(Failure::new(format!(
            "the server answers with an error: {}",
            crate::peek::complaint(stanza)
        ))),
        false => Ok(()),
    }
}

/// Text of `bytes` bytes for bodies.
pub fn filler(bytes: usize) -> String {
    const TEXT: &str = "The rain it raineth every day, and the server keeps its peace. ";
    TEXT.chars().cycle().take(bytes).collect()
}
