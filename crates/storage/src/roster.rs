//! Rosters: contacts, subscriptions and the versions of their changes (RFC 6121 §2, §3).

use xmpp::BareJid;

use crate::Answer;

/// Whose presence is shown to whom (RFC 6121 §2.1.2.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Subscription {
    /// Neither sees the other.
    #[default]
    None,
    /// The owner sees the contact.
    To,
    /// The contact sees the owner.
    From,
    /// Both see each other.
    Both,
}

impl Subscription {
    /// The value of the `subscription` attribute.
    pub fn as_str(self) -> &'static str {
        match self {
            Subscription::None => "none",
            Subscription::To => "to",
            Subscription::From => "from",
            Subscription::Both => "both",
        }
    }

    /// Reads the value of a `subscription` attribute.
    pub fn from_word(word: &str) -> Option<Subscription> {
        [
            Subscription::None,
            Subscription::To,
            Subscription::From,
            Subscription::Both,
        ]
        .into_iter()
        .find(|subscription| subscription.as_str() == word)
    }

    /// Whether the contact sees the owner's presence.
    pub fn has_from(self) -> bool {
        matches!(self, Subscription::From | Subscription::Both)
    }

    /// Whether the owner sees the contact's presence.
    pub fn has_to(self) -> bool {
        matches!(self, Subscription::To | Subscription::Both)
    }
}

/// What is known of one contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterItem {
    /// The contact.
    pub jid: BareJid,
    /// The name its owner gave it.
    pub name: Option<String>,
    /// The groups its owner put it in.
    pub groups: Vec<String>,
    /// The subscription state.
    pub subscription: Subscription,
    /// Whether the owner has asked to see the contact and was not answered (`ask='subscribe'`).
    pub ask: bool,
    /// Whether the owner has approved the contact before it asked (RFC 6121 §3.4).
    pub approved: bool,
    /// The contact's unanswered request to see the owner: the stanza, as received.
    pub pending_in: Option<String>,
    /// Whether the item is part of the roster its owner sees. `false` where nothing but
    /// `pending_in` is known of the contact (state "None + Pending In", RFC 6121 §A.1).
    pub listed: bool,
}

impl RosterItem {
    /// A listed contact without name, groups or subscription.
    pub fn new(jid: BareJid) -> RosterItem {
        RosterItem {
            jid,
            name: None,
            groups: Vec::new(),
            subscription: Subscription::None,
            ask: false,
            approved: false,
            pending_in: None,
            listed: true,
        }
    }

    /// A contact that has asked and is otherwise unknown: kept, but not part of the roster.
    pub fn asking(jid: BareJid, stanza: String) -> RosterItem {
        RosterItem {
            pending_in: Some(stanza),
            listed: false,
            ..RosterItem::new(jid)
        }
    }

    /// Whether the owner's clients see the two as the same item.
    pub(crate) fn looks_like(&self, other: &RosterItem) -> bool {
        self.listed == other.listed
            && self.name == other.name
            && self.groups == other.groups
            && self.subscription == other.subscription
            && self.ask == other.ask
            && self.approved == other.approved
    }
}

/// A roster as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    /// Its version: grows with every change that is seen, by one each. 0 before the first.
    pub version: u64,
    /// The listed items, in the order of their JIDs.
    pub items: Vec<RosterItem>,
}

/// One change since an earlier version: the final state of one contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RosterChange {
    /// The item is now this, since that version.
    Put(RosterItem, u64),
    /// The contact is no longer in the roster, since that version.
    Removed(BareJid, u64),
}

impl RosterChange {
    /// The version in which the change was made.
    pub fn version(&self) -> u64 {
        match self {
            RosterChange::Put(_, version) | RosterChange::Removed(_, version) => *version,
        }
    }
}

/// The store of rosters. Changed through [`crate::Batch`].
pub trait RosterStore: Send + Sync {
    /// The roster its owner sees, with its version.
    fn get<'a>(&'a self, owner: &'a BareJid) -> Answer<'a, Roster>;

    /// What is known of one contact, listed or not.
    fn item<'a>(
        &'a self,
        owner: &'a BareJid,
        contact: &'a BareJid,
    ) -> Answer<'a, Option<RosterItem>>;

    /// The version of the owner's roster.
    fn version<'a>(&'a self, owner: &'a BareJid) -> Answer<'a, u64>;

    /// The final state of each contact that changed after `version`, in the order of their versions
    /// (RFC 6121 §2.6.3).
    ///
    /// `None` if that cannot be told: the version never was, or the removals since are no longer all
    /// remembered. The whole roster answers then.
    fn changes_since<'a>(
        &'a self,
        owner: &'a BareJid,
        version: u64,
    ) -> Answer<'a, Option<Vec<RosterChange>>>;

    /// The unanswered requests to see the owner: who, and the stanza as received; oldest first.
    fn pending<'a>(&'a self, owner: &'a BareJid) -> Answer<'a, Vec<(BareJid, String)>>;

    /// Tells whether the owner shows its presence to the contact (subscription `from` or `both`).
    fn shows_presence<'a>(&'a self, owner: &'a BareJid, contact: &'a BareJid) -> Answer<'a, bool> {
        Box::pin(async move {
            let item = self.item(owner, contact).await?;
            Ok(item.is_some_and(|item| item.subscription.has_from()))
        })
    }
}
