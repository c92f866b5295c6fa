//! Why a process ended, and how others are told of it.

use std::fmt;
use std::sync::Arc;

/// The reason a process ended with, as in OTP's exit reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// It had nothing more to do.
    Normal,
    /// Its supervisor, or somebody in an orderly way, told it to stop.
    Shutdown,
    /// It gave up; the text says what it tried.
    Error(Arc<str>),
    /// A callback panicked; the text is the panic's message.
    Panic(Arc<str>),
    /// It was killed: no callback ran any more.
    Killed,
    /// There was no such process (any more) when one looked.
    NoProc,
}

impl ExitReason {
    /// Makes an [`ExitReason::Error`] that says `text`.
    pub fn error(text: impl Into<Arc<str>>) -> Self {
        ExitReason::Error(text.into())
    }

    /// Tells whether a transient child that ends so is left alone: `Normal` and `Shutdown`.
    pub fn is_orderly(&self) -> bool {
        matches!(self, ExitReason::Normal | ExitReason::Shutdown)
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitReason::Normal => f.write_str("normal"),
            ExitReason::Shutdown => f.write_str("shutdown"),
            ExitReason::Error(text) => write!(f, "error: {text}"),
            ExitReason::Panic(text) => write!(f, "panic: {text}"),
            ExitReason::Killed => f.write_str("killed"),
            ExitReason::NoProc => f.write_str("noproc"),
        }
    }
}

/// The number of a process: never used twice in one operating system process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessId(pub(crate) u64);

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.0)
    }
}

impl fmt::Debug for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The name of one monitor, given by [`Ctx::monitor`](crate::Ctx::monitor).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MonitorRef(pub(crate) u64);

/// What a monitor says, once, when the process it looks at has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Down {
    /// The monitor that fired.
    pub monitor: MonitorRef,
    /// The process that ended.
    pub process: ProcessId,
    /// Why; [`ExitReason::NoProc`] if it was dead before the monitor was set.
    pub reason: ExitReason,
}

/// The process is dead or dying: nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such process")]
pub struct NoProc;

/// Why a call got no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The process was dead or dying when asked.
    #[error("no such process")]
    NoProc,
    /// The deadline passed; the answer, if one still comes, is dropped.
    #[error("no answer in time")]
    Timeout,
    /// The process ended with the question unanswered.
    #[error("process ended before it answered: {0}")]
    Died(ExitReason),
    /// The process lives but threw the question away.
    #[error("process did not answer")]
    NoReply,
}
