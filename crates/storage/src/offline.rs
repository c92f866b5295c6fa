//! Messages kept for those who are away (XEP-0160).

use std::time::SystemTime;

use xmpp::BareJid;

use crate::Answer;

/// Where a message stands in its owner's queue: later ones are greater. Never shown to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OfflineId(pub(crate) i64);

impl OfflineId {
    /// The place as a number, for those who know nothing of the store.
    pub fn place(self) -> i64 {
        self.0
    }

    /// The id at a place that [`OfflineId::place`] gave.
    pub fn at_place(place: i64) -> OfflineId {
        OfflineId(place)
    }
}

/// A message to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfflineMessage {
    /// The stanza, serialised so that it stands alone.
    pub stanza: String,
    /// When the server received it (XEP-0203); kept to the millisecond.
    pub received: SystemTime,
    /// When it is worth nothing any more (XEP-0023); `None`: never.
    pub expires: Option<SystemTime>,
    /// Its place, so that one that comes back late stands before those that were sent after it; `None`, or
    /// where that place is taken: behind all. Places of one server grow, beginning with
    /// [`Storage::next_place`](crate::Storage::next_place).
    pub place: Option<i64>,
}

/// A message that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfflineEntry {
    /// Its place in the queue.
    pub id: OfflineId,
    /// What it may be called in public: unique, and it reveals no order (XEP-0359 §4).
    pub public_id: String,
    /// The message.
    pub message: OfflineMessage,
}

/// How much one owner may have kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfflineLimits {
    /// The most messages.
    pub messages: u64,
    /// The most bytes of stanzas together.
    pub bytes: u64,
}

impl OfflineLimits {
    /// No limit.
    pub const NONE: OfflineLimits = OfflineLimits {
        messages: u64::MAX,
        bytes: u64::MAX,
    };
}

/// What became of a message that was to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is kept.
    Yes(OfflineId),
    /// It would have gone over the owner's limits and is not kept.
    Full,
}

/// The store of messages for those who are away.
pub trait OfflineStore: Send + Sync {
    /// Keeps a message, if the owner's limits allow one more.
    ///
    /// Expired messages do not count. Limits and storing are one transaction.
    fn store<'a>(
        &'a self,
        owner: &'a BareJid,
        message: OfflineMessage,
        limits: OfflineLimits,
    ) -> Answer<'a, Stored>;

    /// At most `limit` unexpired messages in the order they were stored, after `after`.
    fn page<'a>(
        &'a self,
        owner: &'a BareJid,
        after: Option<OfflineId>,
        limit: usize,
    ) -> Answer<'a, Vec<OfflineEntry>>;

    /// Removes these messages of the owner; how many there were.
    fn remove<'a>(&'a self, owner: &'a BareJid, ids: &'a [OfflineId]) -> Answer<'a, u64>;

    /// Removes all messages of the owner; how many there were.
    fn clear<'a>(&'a self, owner: &'a BareJid) -> Answer<'a, u64>;

    /// How many unexpired messages the owner has.
    fn count<'a>(&'a self, owner: &'a BareJid) -> Answer<'a, u64>;

    /// Removes, of all owners, what expires at or before `before`; how many there were.
    fn expire(&self, before: SystemTime) -> Answer<'_, u64>;

    /// Removes, of all owners of a host, what was received before `before`; how many there were.
    fn remove_older<'a>(&'a self, host: &'a str, before: SystemTime) -> Answer<'a, u64>;
}
