//! Why a run ended badly, as a sentence that says what was tried.

use std::fmt;
use std::process::ExitCode;

/// Why a run ended badly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The command line asks for what cannot be; exit code 2.
    Usage(String),
    /// The server, or the network before it, did not do what was asked; exit code 1.
    Failed(String),
}

impl Failure {
    /// A failure of the server or of the way to it.
    pub fn new(sentence: impl Into<String>) -> Failure {
        Failure::Failed(sentence.into())
    }

    /// The same failure, with what was being done in front of it.
    pub fn while_doing(self, doing: &str) -> Failure {
        match self {
            Failure::Failed(sentence) => Failure::Failed(format!("{doing}: {sentence}")),
            usage @ Failure::Usage(_) => usage,
        }
    }

    /// What the program ends with: 2 for a wrong command line, else 1.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Failure::Usage(_) => ExitCode::from(2),
            Failure::Failed(_) => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(sentence) | Failure::Failed(sentence) => out.write_str(sentence),
        }
    }
}

impl std::error::Error for Failure {}
