//! Why a command was not carried out.

use std::time::Duration;

/// Why a command was not carried out. Its text is what the caller reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The arguments are not what the command takes; nothing was done.
    #[error("{0}")]
    Usage(String),
    /// No command has this name.
    #[error("unknown command `{name}`{}", meant(.suggestion.as_deref()))]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The command that was probably meant.
        suggestion: Option<String>,
    },
    /// Everything was given but these secret arguments; a client can ask its user for them.
    #[error("{} is missing", .0.join(", "))]
    MissingSecret(Vec<String>),
    /// The caller may not; nothing was done.
    #[error("not allowed: {0}")]
    Denied(String),
    /// The command was tried and failed.
    #[error("{0}")]
    Failed(String),
    /// The command did not end within its deadline and was given up; what it had begun may stand.
    #[error("no answer within {} s", .0.as_secs_f64())]
    TimedOut(Duration),
    /// The command panicked, which is a fault of ours.
    #[error("the command crashed: {0}")]
    Panicked(String),
}

impl CommandError {
    /// Says that the command was tried and failed, and why.
    pub fn failed(why: impl std::fmt::Display) -> CommandError {
        CommandError::Failed(why.to_string())
    }

    /// Says that an argument is not what the command takes.
    pub fn usage(why: impl std::fmt::Display) -> CommandError {
        CommandError::Usage(why.to_string())
    }

    /// The word for the kind of error in logs and frames.
    pub const fn kind(&self) -> &'static str {
        match self {
            CommandError::Usage(_) => "usage",
            CommandError::Unknown { .. } => "unknown",
            CommandError::MissingSecret(_) => "secret",
            CommandError::Denied(_) => "denied",
            CommandError::Failed(_) => "failed",
            CommandError::TimedOut(_) => "timeout",
            CommandError::Panicked(_) => "crashed",
        }
    }
}

impl From<config::Errors> for CommandError {
    fn from(errors: config::Errors) -> CommandError {
        CommandError::Usage(errors.to_string())
    }
}

fn meant(suggestion: Option<&str>) -> String {
    suggestion
        .map(|word| format!(" (did you mean `{word}`?)"))
        .unwrap_or_default()
}
