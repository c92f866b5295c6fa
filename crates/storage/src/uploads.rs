//! Uploads: files that accounts have put on the server, and the slots in which they may put one. The files themselves
//! lie beside the database.

use std::time::SystemTime;

use xmpp::BareJid;

use crate::Answer;

/// A file of an account, or the slot for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// What it is known by; nobody can guess it.
    pub id: String,
    /// Whose it is.
    pub owner: BareJid,
    /// Name of the file.
    pub name: String,
    /// Its media type.
    pub media: String,
    /// Its bytes.
    pub size: u64,
    /// When the slot was given.
    pub created: SystemTime,
    /// Until when the file may be put.
    pub deadline: SystemTime,
    /// When it was put; none: the slot is open, or has lapsed.
    pub stored: Option<SystemTime>,
    /// When the file is to be removed.
    pub expires: SystemTime,
}

/// What an account may have. Open slots count as if they were full, lapsed ones and expired files not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadLimits {
    /// Bytes at a time.
    pub bytes: u64,
    /// Bytes within 24 hours.
    pub daily: u64,
    /// Files at a time.
    pub files: u64,
}

/// Whether a slot was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// It is open.
    Yes,
    /// The account has as much as it may. It will have room then, if nothing more comes; never, if the file alone is
    /// more than it may have.
    Full(Option<SystemTime>),
}

/// The store of uploads. They go with their accounts; whoever keeps the files removes those that no row knows.
pub trait UploadStore: Send + Sync {
    /// Opens a slot, if its owner may have it.
    fn reserve(&self, slot: Upload, limits: UploadLimits) -> Answer<'_, Reserved>;

    /// The file or slot of that id; neither time is asked.
    fn find<'a>(&'a self, id: &'a str) -> Answer<'a, Option<Upload>>;

    /// Notes that the file of a slot is there. `false`: there is no such slot, or it is full.
    fn stored<'a>(&'a self, id: &'a str, at: SystemTime) -> Answer<'a, bool>;

    /// Files and slots of a host, or of one of its accounts, by their ids, behind `after`; at most `limit`.
    fn list<'a>(
        &'a self,
        host: &'a str,
        owner: Option<&'a BareJid>,
        after: Option<&'a str>,
        limit: usize,
    ) -> Answer<'a, Vec<Upload>>;

    /// Files of a host that have expired by then and slots that have lapsed; at most `limit`.
    fn over<'a>(&'a self, host: &'a str, by: SystemTime, limit: usize) -> Answer<'a, Vec<Upload>>;

    /// Those of these ids that no row has.
    fn unknown(&self, ids: Vec<String>) -> Answer<'_, Vec<String>>;

    /// Forgets a host's files and slots of these ids; how many there were.
    fn remove<'a>(&'a self, host: &'a str, ids: Vec<String>) -> Answer<'a, u64>;
}
