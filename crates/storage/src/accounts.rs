//! Accounts: who may log in, with which credentials, in which role.

use std::time::SystemTime;

use xmpp::BareJid;
use zeroize::Zeroize;

use crate::Answer;

/// One stored credential: what proves a password without being one.
///
/// Has no `Debug`; its parameters are wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// What the parameters are for, for example `SCRAM-SHA-256`. One of a kind per account.
    pub kind: String,
    /// Its parameters, in the form chosen by whoever made them.
    pub parameters: Vec<u8>,
}

impl Drop for Credential {
    fn drop(&mut self) {
        self.parameters.zeroize();
    }
}

/// What an account may do besides using its own data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Nothing.
    #[default]
    User,
    /// Administer its host.
    HostAdmin,
    /// Administer the whole server.
    Admin,
}

impl Role {
    /// The word the role is stored and printed as.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::User => "user",
            Role::HostAdmin => "host-admin",
            Role::Admin => "admin",
        }
    }

    /// Reads the word of [`Role::as_str`].
    pub fn from_word(word: &str) -> Option<Role> {
        [Role::User, Role::HostAdmin, Role::Admin]
            .into_iter()
            .find(|role| role.as_str() == word)
    }
}

/// An account as authentication needs it.
#[derive(Clone)]
pub struct Account {
    /// Its credentials, at most one of each kind.
    pub credentials: Vec<Credential>,
    /// Its role.
    pub role: Role,
    /// Whether it may not log in for now.
    pub disabled: bool,
    /// When it was created.
    pub created: SystemTime,
}

impl Account {
    /// The credential of this kind.
    pub fn credential(&self, kind: &str) -> Option<&Credential> {
        self.credentials
            .iter()
            .find(|credential| credential.kind == kind)
    }
}

/// The store of accounts.
pub trait Accounts: Send + Sync {
    /// Creates an account with role `User`; `false` if it exists, or if one of that name was removed and the
    /// name not released since.
    ///
    /// A new account starts empty: whatever was written for its name before is removed.
    fn create<'a>(&'a self, account: &'a BareJid, credentials: Vec<Credential>)
    -> Answer<'a, bool>;

    /// Tells whether the account exists.
    fn exists<'a>(&'a self, account: &'a BareJid) -> Answer<'a, bool>;

    /// Removes an account and everything it owns in every store; `false` if there was none.
    ///
    /// That it existed, and when it went, is remembered: nothing can be stored for the name from then on, and
    /// nobody gets it before it is released.
    fn remove<'a>(&'a self, account: &'a BareJid) -> Answer<'a, bool>;

    /// When the account of that name was removed, if it was and the name has not been released since.
    fn removed<'a>(&'a self, account: &'a BareJid) -> Answer<'a, Option<SystemTime>>;

    /// Lets the name of a removed account be given to a new one; `false` if there is no such name.
    fn release<'a>(&'a self, account: &'a BareJid) -> Answer<'a, bool>;

    /// At most `limit` accounts of a host in the order of their names, after the local part `after`.
    fn list<'a>(
        &'a self,
        host: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> Answer<'a, Vec<BareJid>>;

    /// How many accounts the host has.
    fn count<'a>(&'a self, host: &'a str) -> Answer<'a, u64>;

    /// The account with its credentials.
    fn credentials<'a>(&'a self, account: &'a BareJid) -> Answer<'a, Option<Account>>;

    /// Replaces all credentials of an account; `false` if there is no such account.
    fn set_credentials<'a>(
        &'a self,
        account: &'a BareJid,
        credentials: Vec<Credential>,
    ) -> Answer<'a, bool>;

    /// Replaces all credentials of an account that still has `seen` among them; `false` if it has not,
    /// because its password was changed or it was removed meanwhile.
    fn upgrade_credentials<'a>(
        &'a self,
        account: &'a BareJid,
        seen: Credential,
        credentials: Vec<Credential>,
    ) -> Answer<'a, bool>;

    /// Tells whether an account of the host has credentials, and none of this kind.
    fn any_lacks<'a>(&'a self, host: &'a str, kind: &'a str) -> Answer<'a, bool>;

    /// The role of an account.
    fn role<'a>(&'a self, account: &'a BareJid) -> Answer<'a, Option<Role>>;

    /// Gives an account a role; `false` if there is no such account.
    fn set_role<'a>(&'a self, account: &'a BareJid, role: Role) -> Answer<'a, bool>;

    /// Forbids or allows an account to log in; `false` if there is no such account.
    fn set_disabled<'a>(&'a self, account: &'a BareJid, disabled: bool) -> Answer<'a, bool>;
}
