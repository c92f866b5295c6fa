//! What can go wrong between asking the store and having its answer.

use std::path::PathBuf;
use std::time::Duration;

use xmpp::{Condition, StanzaError};

/// Why the store could not do what it was asked.
///
/// Every variant but [`StorageError::Unknown`] promises that nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// The request did not begin within its deadline and was withdrawn.
    #[error("{what}: not begun within {after:?}")]
    Timeout {
        /// The operation asked for.
        what: &'static str,
        /// The deadline it had.
        after: Duration,
    },
    /// The request began and no answer came: it may or may not have been applied.
    #[error("{what}: cannot tell whether it was applied")]
    Unknown {
        /// The operation asked for.
        what: &'static str,
    },
    /// The queue holds as many requests or bytes as it may.
    #[error("{what}: too many requests are waiting")]
    Busy {
        /// The operation asked for.
        what: &'static str,
    },
    /// There is no room left on the disk.
    #[error("{what}: the disk is full")]
    Full {
        /// The operation asked for.
        what: &'static str,
    },
    /// A read was given up because the thread that did it ended.
    #[error("{what}: interrupted")]
    Interrupted {
        /// The operation asked for.
        what: &'static str,
    },
    /// The store has been stopped.
    #[error("{what}: the store is closed")]
    Closed {
        /// The operation asked for.
        what: &'static str,
    },
    /// A value that cannot be stored.
    #[error("{what}: {detail}")]
    Invalid {
        /// The operation asked for.
        what: &'static str,
        /// What is wrong with the value.
        detail: String,
    },
    /// The database could not be opened.
    #[error("cannot open {}: {detail}", path.display())]
    Open {
        /// The file or folder tried.
        path: PathBuf,
        /// What the system or SQLite said.
        detail: String,
    },
    /// The file is damaged or is no database.
    #[error("{what}: the database is damaged: {detail}")]
    Corrupt {
        /// The operation asked for, or the file opened.
        what: String,
        /// What SQLite said.
        detail: String,
    },
    /// The database was written by a later version of this program.
    #[error("{} has schema {found}, this program knows schemas up to {known}: start the version that wrote it, or restore a backup", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// The schema it has.
        found: u32,
        /// The latest schema known here.
        known: u32,
    },
    /// The file system or SQLite failed otherwise.
    #[error("{what}: {detail}")]
    Io {
        /// The operation asked for.
        what: String,
        /// What the system or SQLite said.
        detail: String,
    },
}

impl StorageError {
    /// Tells whether the request may have been applied in spite of the error.
    pub fn may_have_been_applied(&self) -> bool {
        matches!(self, StorageError::Unknown { .. })
    }
}

/// Answers the asker `internal-server-error` and logs what happened: the failure goes no further.
impl From<StorageError> for StanzaError {
    fn from(error: StorageError) -> StanzaError {
        tracing::error!(target: "natter::storage", %error, "a stanza could not be served");
        Condition::InternalServerError.into()
    }
}
