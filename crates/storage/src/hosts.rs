//! What a host keeps for itself: its message of the day, whom it refuses, who administers it.

use xmpp::{BareJid, Jid};

use crate::{Answer, Role};

/// A message of the day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Motd {
    /// Grows with every message that is to be seen by all.
    pub number: i64,
    /// What it is about.
    pub subject: Option<String>,
    /// What it says.
    pub text: String,
}

/// A list of addresses that a host keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostList {
    /// With these nobody of the host exchanges stanzas.
    Black,
    /// With these alone does anybody, when there are any.
    White,
}

impl HostList {
    /// The word the list is stored under.
    pub fn as_str(self) -> &'static str {
        match self {
            HostList::Black => "black",
            HostList::White => "white",
        }
    }
}

/// The store of what hosts keep.
pub trait HostStore: Send + Sync {
    /// The message of the day.
    fn motd<'a>(&'a self, host: &'a str) -> Answer<'a, Option<Motd>>;

    /// Sets the message of the day. `anew`: who has seen the one before sees this one too.
    fn set_motd<'a>(
        &'a self,
        host: &'a str,
        subject: Option<String>,
        text: String,
        anew: bool,
    ) -> Answer<'a, Motd>;

    /// Removes the message of the day; `false` if there was none.
    fn delete_motd<'a>(&'a self, host: &'a str) -> Answer<'a, bool>;

    /// Notes that an account has seen the message of that number; `false` if it had.
    fn see_motd<'a>(&'a self, account: &'a BareJid, number: i64) -> Answer<'a, bool>;

    /// The addresses of a list, in their order.
    fn addresses<'a>(&'a self, host: &'a str, list: HostList) -> Answer<'a, Vec<Jid>>;

    /// Replaces the addresses of a list.
    fn set_addresses<'a>(
        &'a self,
        host: &'a str,
        list: HostList,
        addresses: Vec<Jid>,
    ) -> Answer<'a, ()>;

    /// The accounts of a host that may not log in, in the order of their names.
    fn disabled<'a>(&'a self, host: &'a str) -> Answer<'a, Vec<BareJid>>;

    /// The accounts of all hosts in a role above `User`, in their order.
    fn privileged(&self) -> Answer<'_, Vec<(BareJid, Role)>>;
}
