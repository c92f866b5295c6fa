//! From SQLite's errors to ours.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::ErrorCode;
use xmpp::BareJid;

use crate::StorageError;

/// What went wrong inside a request, before it is known what was asked.
#[derive(Debug)]
pub(super) enum Failure {
    /// SQLite refused.
    Sqlite(rusqlite::Error),
    /// A value that cannot be stored.
    Invalid(String),
    /// A stored value that cannot be read.
    Damaged(String),
    /// A failure already told in full.
    Told(StorageError),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Failure {
        Failure::Sqlite(error)
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Failure {
        Failure::Told(error)
    }
}

impl Failure {
    /// The error to answer to who asked for `what`.
    pub(super) fn of(self, what: &'static str) -> StorageError {
        match self {
            Failure::Sqlite(error) => of_sqlite(what, &error),
            Failure::Invalid(detail) => StorageError::Invalid { what, detail },
            Failure::Damaged(detail) => StorageError::Corrupt {
                what: what.to_owned(),
                detail,
            },
            Failure::Told(error) => error,
        }
    }
}

/// The error for what SQLite said when asked for `what`.
pub(super) fn of_sqlite(what: &'static str, error: &rusqlite::Error) -> StorageError {
    if let rusqlite::Error::SqliteFailure(failure, Some(said)) = error
        && failure.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_TRIGGER
    {
        // A trigger of ours refused it and says why.
        let detail = said.clone();
        return StorageError::Invalid { what, detail };
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StorageError::Full { what },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StorageError::Busy { what },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StorageError::Corrupt {
            what: what.to_owned(),
            detail: error.to_string(),
        },
        _ => StorageError::Io {
            what: what.to_owned(),
            detail: error.to_string(),
        },
    }
}

/// The two columns an owner is stored in: host and local part (empty where a JID has none).
pub(super) fn key(jid: &BareJid) -> (&str, &str) {
    (
        jid.domain().as_str(),
        jid.node().map_or("", |node| node.as_str()),
    )
}

/// The JID of the two columns.
pub(super) fn jid_of(host: &str, local: &str) -> Result<BareJid, Failure> {
    if local.is_empty() {
        jid(host)
    } else {
        jid(&format!("{local}@{host}"))
    }
}

/// A stored JID.
pub(super) fn jid(text: &str) -> Result<BareJid, Failure> {
    BareJid::new(text).map_err(|error| Failure::Damaged(format!("`{text}` is no JID: {error}")))
}

/// Milliseconds since 1970, as stored.
pub(super) fn to_millis(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => {
            i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis)
        }
    }
}

/// The time of stored milliseconds.
pub(super) fn from_millis(millis: i64) -> SystemTime {
    let distance = Duration::from_millis(millis.unsigned_abs());
    if millis >= 0 {
        UNIX_EPOCH + distance
    } else {
        UNIX_EPOCH - distance
    }
}
