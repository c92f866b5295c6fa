//! Shared roster groups: accounts of a host that see one another without asking.

use xmpp::BareJid;

use crate::{Answer, Subscription};

/// A group of accounts of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedGroup {
    /// What it is called in commands; one of its name per host.
    pub name: String,
    /// What it is called in the rosters of those who see its members.
    pub label: String,
    /// Whether every account of the host is a member.
    pub everybody: bool,
    /// Members by name: accounts of the host.
    pub members: Vec<BareJid>,
    /// Names of the groups that its members see.
    pub displays: Vec<String>,
}

/// An account that another sees, or is seen by, because of groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedContact {
    /// The account.
    pub jid: BareJid,
    /// Labels of the groups it is seen in, sorted; none where it only sees.
    pub labels: Vec<String>,
    /// Who sees whom.
    pub subscription: Subscription,
}

/// The store of shared roster groups.
pub trait GroupStore: Send + Sync {
    /// The groups of a host, by name.
    fn all<'a>(&'a self, host: &'a str) -> Answer<'a, Vec<SharedGroup>>;

    /// Makes a group or changes its label and what its members see; its members stay. `false` if it was there.
    fn put<'a>(
        &'a self,
        host: &'a str,
        name: &'a str,
        label: &'a str,
        displays: Vec<String>,
    ) -> Answer<'a, bool>;

    /// Removes a group; nobody's members see it any more. `false` if there is none.
    fn remove<'a>(&'a self, host: &'a str, name: &'a str) -> Answer<'a, bool>;

    /// Says whether every account of the host is a member. `false` if there is no such group.
    fn set_everybody<'a>(
        &'a self,
        host: &'a str,
        name: &'a str,
        everybody: bool,
    ) -> Answer<'a, bool>;

    /// Makes an account of the host a member. `false` if there is no such group.
    fn add<'a>(&'a self, name: &'a str, member: &'a BareJid) -> Answer<'a, bool>;

    /// Ends an account's membership. `false` if it was no member.
    fn take<'a>(&'a self, name: &'a str, member: &'a BareJid) -> Answer<'a, bool>;

    /// Everybody whom the account sees or who sees it because of groups, by address; not itself. Only the one
    /// named by `only`, where one is.
    fn contacts<'a>(
        &'a self,
        account: &'a BareJid,
        only: Option<&'a BareJid>,
    ) -> Answer<'a, Vec<SharedContact>>;
}
