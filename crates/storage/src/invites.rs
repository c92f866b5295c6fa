//! Invitations: who may make an account here, or become a contact, without being asked (XEP-0401, XEP-0445).

use std::time::SystemTime;

use xmpp::BareJid;

use crate::Answer;

/// What an invitation is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InviteKind {
    /// To be a contact of whoever made it.
    Contact {
        /// It is good for an account as well.
        may_register: bool,
    },
    /// To make an account.
    Account {
        /// The one name it is for; nobody else gets it meanwhile.
        name: Option<String>,
        /// The new account and whoever made the invitation become contacts.
        befriend: bool,
    },
}

/// An invitation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    /// What proves it; nobody can guess it.
    pub token: String,
    /// The host that it is to.
    pub host: String,
    /// The account that made it; none: the host's operator.
    pub inviter: Option<BareJid>,
    /// What it is good for.
    pub kind: InviteKind,
    /// When it was made.
    pub created: SystemTime,
    /// When it ends.
    pub expires: SystemTime,
    /// How often it can be used.
    pub max_uses: u32,
    /// How often it was used.
    pub uses: u32,
}

impl Invite {
    /// Whether it can be used at this time.
    pub fn is_good(&self, now: SystemTime) -> bool {
        self.uses < self.max_uses && now < self.expires
    }

    /// Whether it lets somebody make an account.
    pub fn registers(&self) -> bool {
        match self.kind {
            InviteKind::Contact { may_register } => may_register,
            InviteKind::Account { .. } => true,
        }
    }
}

/// The store of invitations.
pub trait InviteStore: Send + Sync {
    /// Keeps a new invitation. One that an account made goes with the account.
    fn create(&self, invite: Invite) -> Answer<'_, ()>;

    /// The invitation of that token to the host, used up, expired or not.
    fn get<'a>(&'a self, host: &'a str, token: &'a str) -> Answer<'a, Option<Invite>>;

    /// Counts a use, if one is left; `false` if none is. Expiry is not asked.
    fn take<'a>(&'a self, host: &'a str, token: &'a str) -> Answer<'a, bool>;

    /// Takes a use back that came to nothing.
    fn give_back<'a>(&'a self, host: &'a str, token: &'a str) -> Answer<'a, ()>;

    /// Whether a good invitation at this time is for that name.
    fn reserves<'a>(&'a self, host: &'a str, name: &'a str, now: SystemTime) -> Answer<'a, bool>;

    /// The invitations to a host, the oldest first.
    fn list<'a>(&'a self, host: &'a str) -> Answer<'a, Vec<Invite>>;

    /// Takes an invitation back; `false` if there was none.
    fn remove<'a>(&'a self, host: &'a str, token: &'a str) -> Answer<'a, bool>;

    /// Removes what expired at or before `before`; how many there were.
    fn expire(&self, before: SystemTime) -> Answer<'_, u64>;
}
