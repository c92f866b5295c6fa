//! Privacy lists: whom an account hears and who hears it (XEP-0016 §2.1; XEP-0191 §5 uses the same).

use xmpp::{BareJid, Jid};

use crate::{Answer, Subscription};

/// Whether what matches may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PrivacyAction {
    /// It passes.
    Allow,
    /// It does not.
    Deny,
}

impl PrivacyAction {
    /// The value of the `action` attribute.
    pub fn as_str(self) -> &'static str {
        match self {
            PrivacyAction::Allow => "allow",
            PrivacyAction::Deny => "deny",
        }
    }

    /// Reads the value of an `action` attribute.
    pub fn from_word(word: &str) -> Option<PrivacyAction> {
        [PrivacyAction::Allow, PrivacyAction::Deny]
            .into_iter()
            .find(|action| action.as_str() == word)
    }
}

/// Whom a rule is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PrivacyWho {
    /// Everybody: the fall-through rule.
    Everyone,
    /// An address: a full JID, an account, a resource of a domain, or a domain with all that is in it.
    Jid(Jid),
    /// The contacts in a group of the roster.
    Group(String),
    /// Those whose subscription is exactly this; `None` includes strangers.
    Subscription(Subscription),
}

/// Which stanzas a rule is about. None of them means all stanzas, in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PrivacyKinds {
    /// Incoming messages.
    pub message: bool,
    /// Incoming IQs.
    pub iq: bool,
    /// Incoming presence notifications.
    pub presence_in: bool,
    /// Outgoing presence notifications.
    pub presence_out: bool,
}

impl PrivacyKinds {
    /// All stanzas.
    pub const ALL: PrivacyKinds = PrivacyKinds {
        message: false,
        iq: false,
        presence_in: false,
        presence_out: false,
    };

    /// Whether all stanzas are meant.
    pub fn is_all(self) -> bool {
        self == PrivacyKinds::ALL
    }
}

/// One rule of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivacyItem {
    /// Its place: rules are asked in ascending order. Unique in its list.
    pub order: u32,
    /// Whom it is about.
    pub who: PrivacyWho,
    /// What it says.
    pub action: PrivacyAction,
    /// Which stanzas it is about.
    pub kinds: PrivacyKinds,
}

/// A list of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivacyList {
    /// Its name.
    pub name: String,
    /// Its rules in ascending order.
    pub items: Vec<PrivacyItem>,
}

/// All lists of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrivacyLists {
    /// The name of the list that holds where no session says otherwise.
    pub default: Option<String>,
    /// The lists, by name.
    pub lists: Vec<PrivacyList>,
}

impl PrivacyLists {
    /// The list of that name.
    pub fn list(&self, name: &str) -> Option<&PrivacyList> {
        self.lists.iter().find(|list| list.name == name)
    }

    /// The default list.
    pub fn default_list(&self) -> Option<&PrivacyList> {
        self.list(self.default.as_deref()?)
    }
}

/// The store of privacy lists.
pub trait PrivacyStore: Send + Sync {
    /// All lists of an account.
    fn get<'a>(&'a self, owner: &'a BareJid) -> Answer<'a, PrivacyLists>;

    /// Replaces all lists of an account; without any, nothing is left of them.
    ///
    /// A default that is not among the lists counts as none.
    fn put<'a>(&'a self, owner: &'a BareJid, lists: PrivacyLists) -> Answer<'a, ()>;
}
