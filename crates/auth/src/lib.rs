//! Who is who: SASL on the server's side, and the credentials behind it.
//!
//! SCRAM over SHA-512, SHA-256 and SHA-1 (RFC 5802, RFC 7677), with and without channel binding, and PLAIN (RFC
//! 4616), against stored SCRAM keys, and EXTERNAL by the client's certificate (XEP-0178); a password itself is
//! never stored. An authentication has three outcomes: yes, no, and *cannot tell now*. An
//! unknown account and a wrong password look alike, in words and in work.

mod budget;
mod channel;
mod credentials;
mod encoding;
mod exchange;
#[doc(hidden)]
pub mod fuzzing;
mod hash;
mod keys;
mod password;
mod portable;
mod scram;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use otp::{Clock, System};
use parking_lot::RwLock;
use storage::{Secret, Storage};
use tokio::sync::Semaphore;
use xmpp::{BareJid, Condition, StanzaError};

use credentials::Withheld;
use hash::Hash;

pub use budget::{BudgetOptions, Budgets, Spent};
pub use channel::Channel;
pub use encoding::{decode_initial, decode_response, encode_challenge, encode_success};
pub use exchange::{Exchange, Step};
pub use password::Password;
pub use portable::ScramKeys;
pub use storage::StorageError;
pub use xmpp::{SaslCondition, SaslFailure};

const PLAIN: &str = "PLAIN";
const EXTERNAL: &str = "EXTERNAL";

const NONCE_BYTES: usize = 18;

/// How authentication works.
#[derive(Clone, Debug)]
pub struct AuthOptions {
    /// The iteration count of new credentials. Default 10,000; RFC 7677 §4 asks for 4096 at least.
    pub iterations: u32,
    /// How many passwords are hashed at a time. Default: half of the cores, at least 1.
    pub hashing: usize,
    /// How long a password may wait for its turn to be hashed. Default 5 s.
    pub hash_within: Duration,
    /// How often logins may fail.
    pub budgets: BudgetOptions,
}

impl Default for AuthOptions {
    fn default() -> AuthOptions {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        AuthOptions {
            iterations: 10_000,
            hashing: (cores / 2).max(1),
            hash_within: Duration::from_secs(5),
            budgets: BudgetOptions::default(),
        }
    }
}

/// Why an account was not made or its password not set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// There is such an account already.
    #[error("the account exists already")]
    Exists,
    /// An account of that name was removed, and the name has not been released.
    #[error("the name belonged to an account that was removed; `release_name` frees it")]
    Removed,
    /// There is no such account.
    #[error("there is no such account")]
    NoAccount,
    /// The name or the password cannot be used, for this reason.
    #[error("{0}")]
    NotAcceptable(&'static str),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StorageError),
}

/// Answers as XEP-0077 §3.1.1 and §3.3 say: `conflict`, `item-not-found`, `not-acceptable`.
impl From<RegisterError> for StanzaError {
    fn from(error: RegisterError) -> StanzaError {
        match error {
            RegisterError::Exists | RegisterError::Removed => Condition::Conflict.into(),
            RegisterError::NoAccount => Condition::ItemNotFound.into(),
            RegisterError::NotAcceptable(_) => Condition::NotAcceptable.into(),
            RegisterError::Store(error) => error.into(),
        }
    }
}

/// Authentication and the accounts' credentials. A cheap clone.
#[derive(Clone)]
pub struct Auth(Arc<Inner>);

struct Inner {
    storage: Storage,
    clock: Clock,
    options: AuthOptions,
    hashing: Arc<Semaphore>,
    decoy: RwLock<Option<Arc<Secret>>>,
    withheld: Withheld,
    budgets: Budgets,
}

impl Auth {
    /// Authentication against this store.
    pub fn new(storage: Storage, system: &System, options: AuthOptions) -> Auth {
        Auth(Arc::new(Inner {
            storage,
            clock: system.clock().clone(),
            hashing: Arc::new(Semaphore::new(options.hashing.max(1))),
            budgets: Budgets::new(system.clock().clone(), options.budgets.clone()),
            options,
            decoy: RwLock::default(),
            withheld: Withheld::default(),
        }))
    }

    /// The mechanisms to offer at `host`, the best first (RFC 6120 §6.3.3). PLAIN only if the channel is
    /// protected; a hash only if all accounts there have keys for it, and with `-PLUS` only if the channel can
    /// be bound to; EXTERNAL only if the client's certificate was verified and names an account there.
    pub fn mechanisms(&self, host: &str, channel: &Channel) -> Vec<&'static str> {
        let external = !channel.certified_at(host).is_empty();
        let bound = self.hashes(host).map(Hash::mechanism_plus);
        let bound = bound.filter(|_| !channel.bindings.is_empty());
        let external = external.then_some(EXTERNAL).into_iter();
        external
            .chain(bound)
            .chain(self.hashes(host).map(Hash::mechanism))
            .chain(channel.protected.then_some(PLAIN))
            .collect()
    }

    /// Whether a mechanism with channel binding is offered.
    pub(crate) fn offers_binding(&self, host: &str, channel: &Channel) -> bool {
        !channel.bindings.is_empty() && self.hashes(host).next().is_some()
    }

    /// Starts an authentication for accounts of `host`, a domain in its canonical form.
    ///
    /// # Errors
    ///
    /// - `invalid-mechanism`: there is no such mechanism, or the channel has nothing for it.
    /// - `encryption-required`: PLAIN where the channel is not protected.
    pub fn start(
        &self,
        host: &str,
        mechanism: &str,
        channel: Channel,
    ) -> Result<Exchange, SaslFailure> {
        let address = channel.address;
        let started = Exchange::new(self.clone(), host, mechanism, channel);
        if let Err(failure) = &started {
            log_failure(address, mechanism, None, failure);
        }
        started
    }

    /// The failure budgets of accounts and addresses.
    pub fn budgets(&self) -> &Budgets {
        &self.0.budgets
    }

    /// Logs an attempt that failed before a mechanism could judge it, or was given up.
    pub fn refused(&self, address: Option<SocketAddr>, failure: &SaslFailure) {
        log_failure(address, "", None, failure);
    }

    /// Makes an account with this password.
    ///
    /// # Errors
    ///
    /// [`RegisterError::Exists`]; [`RegisterError::Removed`]; [`RegisterError::NotAcceptable`] for a JID without local
    /// part and for a password that SASLprep (RFC 4013) refuses or leaves empty; [`RegisterError::Store`].
    pub async fn register(
        &self,
        account: &BareJid,
        password: Password,
    ) -> Result<(), RegisterError> {
        if account.node().is_none() {
            return Err(RegisterError::NotAcceptable(
                "an account needs a name before the @",
            ));
        }
        let prepared = password.prepare().map_err(RegisterError::NotAcceptable)?;
        // Before the costly part; the store decides again.
        if self.exists(account).await? {
            return Err(RegisterError::Exists);
        }
        if self.0.storage.accounts.removed(account).await?.is_some() {
            return Err(RegisterError::Removed);
        }
        let credentials = self.credentials_of(prepared).await?;
        if self.0.storage.accounts.create(account, credentials).await? {
            tracing::info!(target: "natter::auth", %account, "account made");
            Ok(())
        } else {
            Err(RegisterError::Exists)
        }
    }

    /// Gives an account another password.
    ///
    /// # Errors
    ///
    /// [`RegisterError::NoAccount`], [`RegisterError::NotAcceptable`], [`RegisterError::Store`].
    pub async fn set_password(
        &self,
        account: &BareJid,
        password: Password,
    ) -> Result<(), RegisterError> {
        let prepared = password.prepare().map_err(RegisterError::NotAcceptable)?;
        if !self.exists(account).await? {
            return Err(RegisterError::NoAccount);
        }
        let credentials = self.credentials_of(prepared).await?;
        let accounts = &self.0.storage.accounts;
        if !accounts.set_credentials(account, credentials).await? {
            return Err(RegisterError::NoAccount);
        }
        self.survey_again(account).await;
        Ok(())
    }

    /// Tells whether there is such an account.
    pub async fn exists(&self, account: &BareJid) -> Result<bool, StorageError> {
        self.0.storage.accounts.exists(account).await
    }

    /// Forbids or allows logins to an account; `false` if there is no such account.
    pub async fn set_disabled(
        &self,
        account: &BareJid,
        disabled: bool,
    ) -> Result<bool, StorageError> {
        self.0
            .storage
            .accounts
            .set_disabled(account, disabled)
            .await
    }

    /// Whether logins to the account are forbidden; none if there is no such account.
    pub async fn is_disabled(&self, account: &BareJid) -> Result<Option<bool>, StorageError> {
        let found = self.0.storage.accounts.credentials(account).await?;
        Ok(found.map(|account| account.disabled))
    }

    /// Removes an account and all it owns; `false` if there was none.
    pub async fn remove(&self, account: &BareJid) -> Result<bool, StorageError> {
        let removed = self.0.storage.accounts.remove(account).await?;
        if removed {
            tracing::info!(target: "natter::auth", %account, "account removed");
            self.survey_again(account).await;
        }
        Ok(removed)
    }

    /// Tells whether this is the account's password; `false`, and after as long, also if there is no such
    /// account. Credentials that the account lacks are made from a right password.
    pub async fn check_password(
        &self,
        account: &BareJid,
        password: &Password,
    ) -> Result<bool, StorageError> {
        let Ok(prepared) = password.prepare() else {
            return Ok(false);
        };
        let known = self
            .known(&account.to_string(), Some(account), None)
            .await?;
        let turn = self.turn().await?;
        let right = self.is_password_of(turn, &known, prepared.clone()).await?;
        if right {
            self.upgrade(account, &known, prepared).await;
        }
        Ok(right)
    }

    pub(crate) fn iterations(&self) -> u32 {
        self.0.options.iterations.max(1)
    }

    /// The server's part of a nonce.
    pub(crate) fn nonce(&self) -> Result<String, StorageError> {
        random(NONCE_BYTES).map(|bytes| encoding::encode(&bytes))
    }
}

/// The one line of a login that failed. What the client chose is shortened and escaped.
fn log_failure(
    address: Option<SocketAddr>,
    mechanism: &str,
    name: Option<&str>,
    failure: &SaslFailure,
) {
    let address = address.map_or_else(|| "unknown".to_owned(), |at| at.ip().to_string());
    let short = |text: &str| text.chars().take(64).collect::<String>();
    let (mechanism, name) = (short(mechanism), name.map(short).unwrap_or_default());
    tracing::info!(target: "natter::auth", %address, ?name, ?mechanism, why = %failure, "login failed");
}

fn random(bytes: usize) -> Result<Vec<u8>, StorageError> {
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random).map_err(|error| StorageError::Io {
        what: "get random bytes".to_owned(),
        detail: error.to_string(),
    })?;
    Ok(random)
}
