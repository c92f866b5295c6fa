//! Small things that belong to an account: private data, its vCard, when it was last seen, whether it was welcomed.

use std::time::SystemTime;

use xmpp::BareJid;

use crate::Answer;

/// What an account keeps under one element name and namespace (XEP-0049).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivateData {
    /// Name of the elements.
    pub name: String,
    /// Namespace of the elements.
    pub namespace: String,
    /// The elements, one after the other, each so that it stands alone.
    pub xml: String,
}

/// The store of private data (XEP-0049).
pub trait PrivateStore: Send + Sync {
    /// What the owner keeps under this name and namespace.
    fn get<'a>(
        &'a self,
        owner: &'a BareJid,
        name: &'a str,
        namespace: &'a str,
    ) -> Answer<'a, Option<String>>;

    /// All that the owner keeps, by namespace and name.
    fn all<'a>(&'a self, owner: &'a BareJid) -> Answer<'a, Vec<PrivateData>>;

    /// Replaces what is kept under each of these names and namespaces; all of it or nothing.
    ///
    /// `false` when the owner's data would be larger than `max_bytes` together; nothing is changed then.
    fn put<'a>(
        &'a self,
        owner: &'a BareJid,
        data: Vec<PrivateData>,
        max_bytes: u64,
    ) -> Answer<'a, bool>;
}

/// The store of vCards (XEP-0054). The owner may be a host.
pub trait VcardStore: Send + Sync {
    /// The owner's vCard: an element that stands alone.
    fn get<'a>(&'a self, owner: &'a BareJid) -> Answer<'a, Option<String>>;

    /// Replaces the owner's vCard.
    fn put<'a>(&'a self, owner: &'a BareJid, vcard: String) -> Answer<'a, ()>;
}

/// When an account was last seen, and what it said at leaving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastSeen {
    /// When; kept to the millisecond.
    pub at: SystemTime,
    /// Its words.
    pub status: Option<String>,
}

/// The store of last activity (XEP-0012), and of who was welcomed.
pub trait LastStore: Send + Sync {
    /// When the account was last seen, if ever.
    fn seen<'a>(&'a self, account: &'a BareJid) -> Answer<'a, Option<LastSeen>>;

    /// Notes when the account was last seen. One that does not exist is not noted. Seen at once; on the disk within
    /// a second, or when the store stops.
    fn remember<'a>(&'a self, account: &'a BareJid, seen: LastSeen) -> Answer<'a, ()>;

    /// Whether the account is greeted for the first time; from now on it is not.
    fn welcome<'a>(&'a self, account: &'a BareJid) -> Answer<'a, bool>;
}
