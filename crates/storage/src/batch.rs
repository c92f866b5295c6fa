//! Changes to several stores that happen together or not at all.

use xmpp::BareJid;

use crate::{
    Affiliated, ArchiveMessage, OfflineId, OfflineLimits, OfflineMessage, RosterItem, Stored,
    StoredRoom,
};

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
    PutRoom(Box<StoredRoom>),
    RemoveRoom(BareJid),
    SetAffiliation {
        room: BareJid,
        affiliated: Affiliated,
    },
    SetSubject {
        room: BareJid,
        subject: Option<String>,
    },
    SetVcard {
        room: BareJid,
        vcard: Option<String>,
    },
    Archive {
        owner: BareJid,
        message: ArchiveMessage,
    },
    ReplaceArchived {
        owner: BareJid,
        id: String,
        stanza: String,
    },
    TrimArchive {
        owner: BareJid,
        keep: u64,
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

    /// Sets all that is stored of a room but its affiliations, subject and vCard.
    pub fn put_room(&mut self, room: StoredRoom) -> &mut Batch {
        self.add(room.config.len(), Step::PutRoom(Box::new(room)))
    }

    /// Forgets a room with its affiliations and its archive.
    pub fn remove_room(&mut self, room: &BareJid) -> &mut Batch {
        self.add(0, Step::RemoveRoom(room.clone()))
    }

    /// Sets somebody's association with a room, whose affiliations are of that version then.
    pub fn set_affiliation(&mut self, room: &BareJid, affiliated: Affiliated) -> &mut Batch {
        let text = affiliated.reason.as_ref().map_or(0, String::len);
        let room = room.clone();
        self.add(text, Step::SetAffiliation { room, affiliated })
    }

    /// Sets the message that shows a room's subject.
    pub fn set_subject(&mut self, room: &BareJid, subject: Option<String>) -> &mut Batch {
        let text = subject.as_ref().map_or(0, String::len);
        let room = room.clone();
        self.add(text, Step::SetSubject { room, subject })
    }

    /// Sets a room's vCard.
    pub fn set_vcard(&mut self, room: &BareJid, vcard: Option<String>) -> &mut Batch {
        let text = vcard.as_ref().map_or(0, String::len);
        let room = room.clone();
        self.add(text, Step::SetVcard { room, vcard })
    }

    /// Adds a message to the end of an owner's archive.
    pub fn archive(&mut self, owner: &BareJid, message: ArchiveMessage) -> &mut Batch {
        let owner = owner.clone();
        self.add(message.stanza.len(), Step::Archive { owner, message })
    }

    /// Puts another stanza in the place of an archived one, which new occupants are no longer shown.
    pub fn replace_archived(&mut self, owner: &BareJid, id: &str, stanza: String) -> &mut Batch {
        let step = Step::ReplaceArchived {
            owner: owner.clone(),
            id: id.to_owned(),
            stanza,
        };
        self.add(id.len(), step)
    }

    /// Forgets all but the last `keep` messages of an owner's archive.
    pub fn trim_archive(&mut self, owner: &BareJid, keep: u64) -> &mut Batch {
        let owner = owner.clone();
        self.add(0, Step::TrimArchive { owner, keep })
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
