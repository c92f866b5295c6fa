//! The archive: messages by owner, an account or a room, in their order (XEP-0313).
//!
//! Its rows are its own and not those of the offline queue, whose places in the order come from stanzas on
//! their way; an archive counts what it was given.

use std::time::SystemTime;

use xmpp::{BareJid, Jid};

use crate::Answer;

/// A message to be archived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveMessage {
    /// The id that everybody knows it by: nobody can guess it and it tells no order (XEP-0359).
    pub id: String,
    /// When it came; kept to the millisecond.
    pub at: SystemTime,
    /// The other party: of a room's message its sender.
    pub peer: Jid,
    /// Whether new occupants of a room may be shown it (XEP-0045 §7.2.13).
    pub is_history: bool,
    /// The message, standing alone.
    pub stanza: String,
}

/// Which messages of an archive are meant. All by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchiveFilter {
    /// Only those of or to this party; of a bare JID with any resource.
    pub with: Option<Jid>,
    /// Only those from then on.
    pub start: Option<SystemTime>,
    /// Only those until then.
    pub end: Option<SystemTime>,
    /// Only those behind the message of that id.
    pub after_id: Option<String>,
    /// Only those before the message of that id.
    pub before_id: Option<String>,
    /// Only those of these ids, if any are given.
    pub ids: Vec<String>,
}

/// Which part of what matches is wanted (XEP-0059).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArchivePlace {
    /// From the beginning.
    First,
    /// Behind the message of that id.
    After(String),
    /// The last before the message of that id.
    Before(String),
    /// The last of all.
    Last,
    /// From this number on, counted from 0.
    Index(u64),
}

/// A part of an archive, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchivePage {
    /// The messages.
    pub messages: Vec<ArchiveMessage>,
    /// How many match altogether.
    pub count: u64,
    /// How many that match stand before the first of these.
    pub index: u64,
    /// No more match in the direction that was asked for.
    pub complete: bool,
}

/// The ends of an archive: id and time of its first and its last message.
pub type ArchiveEnds = Option<[(String, SystemTime); 2]>;

/// The store of archives, by owner. What adds to them is in [`crate::Batch`].
pub trait ArchiveStore: Send + Sync {
    /// A part of what matches; `None` when an id that is named is not in the archive.
    fn page<'a>(
        &'a self,
        owner: &'a BareJid,
        filter: ArchiveFilter,
        place: ArchivePlace,
        limit: usize,
    ) -> Answer<'a, Option<ArchivePage>>;

    /// The last messages that new occupants may be shown, in order.
    fn history<'a>(&'a self, owner: &'a BareJid, limit: usize) -> Answer<'a, Vec<ArchiveMessage>>;

    /// The message of that id.
    fn get<'a>(&'a self, owner: &'a BareJid, id: &'a str) -> Answer<'a, Option<ArchiveMessage>>;

    /// Its first and its last message.
    fn ends<'a>(&'a self, owner: &'a BareJid) -> Answer<'a, ArchiveEnds>;

    /// Removes what came before `before` from the archives of all owners of a domain; how many they were.
    fn remove_older<'a>(&'a self, domain: &'a str, before: SystemTime) -> Answer<'a, u64>;

    /// How many messages there are.
    fn count<'a>(&'a self, owner: &'a BareJid) -> Answer<'a, u64>;
}
