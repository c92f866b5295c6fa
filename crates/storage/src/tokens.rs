//! Tokens: what lets a program give commands in an account's name, without its password.

use std::time::SystemTime;

use xmpp::BareJid;

use crate::Answer;

/// A token of an account. The token itself is not kept, only what it is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiToken {
    /// What operators call it.
    pub id: String,
    /// Hash of the token.
    pub hash: Vec<u8>,
    /// In whose name it speaks.
    pub account: BareJid,
    /// The commands that can be given with it; none: all that the account may give.
    pub commands: Option<Vec<String>>,
    /// When it was made.
    pub created: SystemTime,
    /// When it ends.
    pub expires: SystemTime,
}

/// The store of tokens. They go with their accounts.
pub trait TokenStore: Send + Sync {
    /// Keeps a token, and removes those that have expired.
    fn create(&self, token: ApiToken) -> Answer<'_, ()>;

    /// The token of this hash; expiry is not asked.
    fn find<'a>(&'a self, hash: &'a [u8]) -> Answer<'a, Option<ApiToken>>;

    /// The tokens of a host's accounts, the oldest first.
    fn list<'a>(&'a self, host: &'a str) -> Answer<'a, Vec<ApiToken>>;

    /// Takes a token of a host's account back; `false` if there was none.
    fn remove<'a>(&'a self, host: &'a str, id: &'a str) -> Answer<'a, bool>;
}
