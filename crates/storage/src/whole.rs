//! Accounts as a whole: all that one owns, read at one moment, put in one commit. What moving house needs.

use std::time::SystemTime;

use xmpp::BareJid;

use crate::{Credential, LastSeen, OfflineMessage, PrivacyLists, PrivateData, RosterItem};

/// An account with what its owner put into it.
///
/// Without its role, its memberships in groups of its host, its invitations, and whether it was welcomed: those say what
/// this server thinks of the account. Has no `Debug`, as credentials have none.
#[derive(Clone, PartialEq, Eq)]
pub struct WholeAccount {
    /// Its address.
    pub address: BareJid,
    /// Its credentials, at most one of each kind; without any, nobody can log in to it.
    pub credentials: Vec<Credential>,
    /// When it was made; kept to the millisecond. `None`: now.
    pub created: Option<SystemTime>,
    /// Whether it may not log in for now.
    pub disabled: bool,
    /// When it was last seen.
    pub last: Option<LastSeen>,
    /// Its contacts, also those that have only asked; each once.
    pub roster: Vec<RosterItem>,
    /// Messages that wait for it, the oldest first. Their places are not kept.
    pub offline: Vec<OfflineMessage>,
    /// Its private data.
    pub private: Vec<PrivateData>,
    /// Its vCard: an element that stands alone.
    pub vcard: Option<String>,
    /// Its privacy lists.
    pub privacy: PrivacyLists,
}

impl WholeAccount {
    /// An account that owns nothing.
    pub fn new(address: BareJid) -> WholeAccount {
        WholeAccount {
            address,
            credentials: Vec::new(),
            created: None,
            disabled: false,
            last: None,
            roster: Vec::new(),
            offline: Vec::new(),
            private: Vec::new(),
            vcard: None,
            privacy: PrivacyLists::default(),
        }
    }

    /// About how much memory it holds, in bytes.
    pub fn bytes(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let roster = self.roster.iter().map(|item| {
            let groups: usize = item.groups.iter().map(String::len).sum();
            size_of::<RosterItem>() + groups + text(&item.name) + text(&item.pending_in)
        });
        let offline = self.offline.iter().map(|message| message.stanza.len());
        let private = self.private.iter().map(|data| data.xml.len());
        let rules = self.privacy.lists.iter().map(|list| list.items.len());
        roster.sum::<usize>()
            + offline.sum::<usize>()
            + private.sum::<usize>()
            + rules.sum::<usize>() * size_of::<crate::PrivacyItem>()
            + text(&self.vcard)
            + size_of::<WholeAccount>()
    }
}

/// What is done where an account of that name is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfThere {
    /// It is left alone.
    Keep,
    /// It is emptied first. Its role stays.
    Replace,
}

/// What became of an account that was to be put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brought {
    /// It was made.
    Made,
    /// It took the place of the one that was there.
    Replaced,
    /// One is there, and was left alone.
    Exists,
    /// One of that name was removed, and the name has not been released since.
    Removed,
}
