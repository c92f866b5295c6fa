//! Changes to several stores that happen together or not at all.

use xmpp::BareJid;

use crate::{OfflineId, OfflineLimits, OfflineMessage, RosterItem, Stored};

/// Changes that are applied in order, in one transaction.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    steps: Vec<Step>,
    bytes: usize,
}

/// One change.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    PutRosterItem {
        owner: BareJid,
        item: RosterItem,
    },
    RemoveRosterItem {
        owner: BareJid,
        contact: BareJid,
    },
    StoreOffline {
        owner: BareJid,
        message: OfflineMessage,
        limits: OfflineLimits,
    },
    RemoveOffline {
        owner: BareJid,
        ids: Vec<OfflineId>,
    },
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Sets all that is known of a contact.
    ///
    /// The owner's roster version grows if the owner's clients see a difference. An item that is
    /// no longer listed counts as removed.
    pub fn put_roster_item(&mut self, owner: &BareJid, item: RosterItem) -> &mut Batch {
        let text = item.name.as_ref().map_or(0, String::len)
            + item.groups.iter().map(String::len).sum::<usize>()
            + item.pending_in.as_ref().map_or(0, String::len);
        self.add(
            text,
            Step::PutRosterItem {
                owner: owner.clone(),
                item,
            },
        )
    }

    /// Forgets a contact, also its unanswered request. Nothing happens if it is not known.
    pub fn remove_roster_item(&mut self, owner: &BareJid, contact: &BareJid) -> &mut Batch {
        self.add(
            0,
            Step::RemoveRosterItem {
                owner: owner.clone(),
                contact: contact.clone(),
            },
        )
    }

    /// Keeps a message for an owner who is away, if its limits allow one more.
    pub fn store_offline(
        &mut self,
        owner: &BareJid,
        message: OfflineMessage,
        limits: OfflineLimits,
    ) -> &mut Batch {
        self.add(
            message.stanza.len(),
            Step::StoreOffline {
                owner: owner.clone(),
                message,
                limits,
            },
        )
    }

    /// Removes messages kept for an owner.
    pub fn remove_offline(&mut self, owner: &BareJid, ids: &[OfflineId]) -> &mut Batch {
        self.add(
            std::mem::size_of_val(ids),
            Step::RemoveOffline {
                owner: owner.clone(),
                ids: ids.to_vec(),
            },
        )
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// How many changes there are.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// About how much memory the batch holds.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    fn add(&mut self, text_bytes: usize, step: Step) -> &mut Batch {
        self.bytes += text_bytes + std::mem::size_of::<Step>();
        self.steps.push(step);
        self
    }
}

/// What came of a batch, each list in the order of its changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// The roster version after each `put_roster_item` and `remove_roster_item`.
    pub roster: Vec<RosterVersion>,
    /// What became of each message of `store_offline`.
    pub offline: Vec<Stored>,
    /// How many messages each `remove_offline` found.
    pub offline_removed: Vec<u64>,
}

impl Committed {
    /// The version of the owner's roster after the batch, if the batch changed roster items of its.
    pub fn version(&self, owner: &BareJid) -> Option<u64> {
        self.roster
            .iter()
            .rev()
            .find(|change| change.owner == *owner)
            .map(|change| change.version)
    }
}

/// The version of a roster after one change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterVersion {
    /// Whose roster.
    pub owner: BareJid,
    /// The contact that was put or removed.
    pub contact: BareJid,
    /// The roster's version then.
    pub version: u64,
    /// Whether the owner's clients see a difference. If not, the version is the one before.
    pub changed: bool,
}
