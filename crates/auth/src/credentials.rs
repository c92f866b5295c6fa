//! The credentials behind the accounts: what a client is measured by, how they are made, and how they are
//! brought up to date when a password is seen.

use std::collections::BTreeSet;
use std::sync::Arc;

use storage::{Account, Credential, Secret, StorageError};
use tokio::sync::OwnedSemaphorePermit;
use xmpp::BareJid;

use crate::hash::Hash;
use crate::keys::{Keys, SALT_BYTES};
use crate::password::Prepared;
use crate::{Auth, random};

/// The name the secret behind made-up salts is stored under.
const DECOY_SECRET: &str = "auth/decoy";

/// The keys to measure a client by.
pub(crate) struct Known {
    pub(crate) keys: Keys,
    /// The account they belong to; none: they are made up, and no password has them.
    pub(crate) owner: Option<Account>,
}

/// Hashes that are not offered at a host, because an account there has credentials, but none of that hash: a
/// client takes the best mechanism it is offered, and would be refused with the right password.
pub(crate) type Withheld = parking_lot::RwLock<BTreeSet<(String, Hash)>>;

impl Auth {
    /// Looks at which hashes every account of a host has keys for; the others are offered there only when the
    /// last account has got them, by showing its password. Done at start for every host.
    ///
    /// # Errors
    ///
    /// The store failed; what was known before holds.
    pub async fn survey(&self, host: &str) -> Result<(), StorageError> {
        for hash in Hash::ALL {
            let accounts = &self.0.storage.accounts;
            let lacking = accounts.any_lacks(host, hash.mechanism()).await?;
            let mut withheld = self.0.withheld.write();
            if lacking {
                withheld.insert((host.to_owned(), hash));
            } else {
                withheld.remove(&(host.to_owned(), hash));
            }
        }
        Ok(())
    }

    /// After an account's credentials changed: perhaps it was the last that lacked some.
    pub(crate) async fn survey_again(&self, account: &BareJid) {
        let host = account.domain().as_str();
        let withheld = self.0.withheld.read().iter().any(|(at, _)| at == host);
        if withheld && let Err(error) = self.survey(host).await {
            tracing::warn!(target: "natter::auth", host, %error, "mechanisms on offer not reviewed");
        }
    }

    /// The hashes to offer at a host, the best first.
    pub(crate) fn hashes(&self, host: &str) -> impl Iterator<Item = Hash> + use<> {
        let withheld = self.0.withheld.read();
        let offered: Vec<Hash> = Hash::ALL
            .into_iter()
            .filter(|hash| withheld.is_empty() || !withheld.contains(&(host.to_owned(), *hash)))
            .collect();
        offered.into_iter()
    }

    /// The account's keys for this hash, or the best it has; made-up ones if there are none. `name` is the
    /// account's address, or what was given in place of one: one name has one made-up salt, however it is
    /// written.
    pub(crate) async fn known(
        &self,
        name: &str,
        account: Option<&BareJid>,
        hash: Option<Hash>,
    ) -> Result<Known, StorageError> {
        let found = match account {
            Some(account) => self.stored(account, hash).await?,
            None => None,
        };
        // Looked up in either case, so that it takes as long.
        let secret = self.decoy_secret().await?;
        if let Some((keys, owner)) = found {
            let owner = Some(owner);
            return Ok(Known { keys, owner });
        }
        let hash = hash.unwrap_or(Hash::ALL[0]);
        Ok(Known {
            keys: Keys::decoy(hash, secret.expose(), name, self.iterations()),
            owner: None,
        })
    }

    /// The account, if there is one.
    pub(crate) async fn account(&self, account: &BareJid) -> Result<Option<Account>, StorageError> {
        self.0.storage.accounts.credentials(account).await
    }

    async fn stored(
        &self,
        account: &BareJid,
        hash: Option<Hash>,
    ) -> Result<Option<(Keys, Account)>, StorageError> {
        let Some(owner) = self.account(account).await? else {
            return Ok(None);
        };
        let keys = match hash {
            Some(hash) => read_keys(account, &owner, hash)?,
            None => Hash::ALL
                .into_iter()
                .find_map(|hash| read_keys(account, &owner, hash).transpose())
                .transpose()?,
        };
        if let (None, Some(hash), false) = (&keys, hash, owner.credentials.is_empty()) {
            let host = account.domain().as_str().to_owned();
            self.0.withheld.write().insert((host, hash));
        }
        Ok(keys.map(|keys| (keys, owner)))
    }

    /// What made-up salts come from: the same for as long as the store lives.
    async fn decoy_secret(&self) -> Result<Arc<Secret>, StorageError> {
        if let Some(secret) = &*self.0.decoy.read() {
            return Ok(Arc::clone(secret));
        }
        let secret = self.0.storage.secrets.get_or_create(DECOY_SECRET).await?;
        Ok(Arc::clone(
            self.0.decoy.write().get_or_insert(Arc::new(secret)),
        ))
    }

    /// The store holds other data than before: what was read of them at some time is read again.
    pub fn forget(&self) {
        *self.0.decoy.write() = None;
    }

    /// Whether the keys are those of the password. Takes as long for made-up keys.
    pub(crate) async fn is_password_of(
        &self,
        turn: Turn,
        known: &Known,
        password: Prepared,
    ) -> Result<bool, StorageError> {
        let (hash, salt, iterations) = (
            known.keys.hash,
            known.keys.salt.clone(),
            known.keys.iterations,
        );
        let given = derive(turn, move || {
            Keys::derive(hash, &password, salt, iterations)
        });
        let given = given.await?;
        Ok(known.keys.same_as(&given) && known.owner.is_some())
    }

    /// Makes the credentials that an account lacks, or has with fewer iterations than are asked for now, from
    /// the password it has just shown. What goes wrong is logged: the login is right all the same.
    pub(crate) async fn upgrade(&self, account: &BareJid, known: &Known, password: Prepared) {
        match self.try_upgrade(account, known, password).await {
            Ok(false) => {}
            Ok(true) => tracing::info!(target: "natter::auth", %account, "credentials upgraded"),
            Err(error) => {
                tracing::warn!(target: "natter::auth", %account, %error, "credentials not upgraded");
            }
        }
    }

    async fn try_upgrade(
        &self,
        account: &BareJid,
        known: &Known,
        password: Prepared,
    ) -> Result<bool, StorageError> {
        let Some(owner) = &known.owner else {
            return Ok(false);
        };
        let is_good = |hash: Hash| {
            let keys = owner
                .credential(hash.mechanism())
                .and_then(|credential| Keys::from_credential(hash, credential));
            keys.is_some_and(|keys| keys.iterations >= self.iterations())
        };
        let (good, wanting): (Vec<Hash>, Vec<Hash>) =
            Hash::ALL.into_iter().partition(|hash| is_good(*hash));
        let seen = owner.credential(known.keys.hash.mechanism());
        let (Some(seen), false) = (seen, wanting.is_empty()) else {
            return Ok(false);
        };
        let kept = good
            .iter()
            .filter_map(|hash| owner.credential(hash.mechanism()));
        let mut credentials: Vec<Credential> = kept.cloned().collect();
        credentials.extend(self.make(password, wanting).await?);
        // A password that was changed meanwhile must not come back.
        let accounts = &self.0.storage.accounts;
        let done = accounts
            .upgrade_credentials(account, seen.clone(), credentials)
            .await?;
        if done {
            self.survey_again(account).await;
        }
        Ok(done)
    }

    /// The credentials of a password, one for each hash.
    pub(crate) async fn credentials_of(
        &self,
        password: Prepared,
    ) -> Result<Vec<Credential>, StorageError> {
        self.make(password, Hash::ALL.into()).await
    }

    async fn make(
        &self,
        password: Prepared,
        hashes: Vec<Hash>,
    ) -> Result<Vec<Credential>, StorageError> {
        let salts = hashes.iter().map(|_| random(SALT_BYTES));
        let salts = salts.collect::<Result<Vec<_>, _>>()?;
        let iterations = self.iterations();
        derive(self.turn().await?, move || {
            let salted = hashes.into_iter().zip(salts);
            salted
                .map(|(hash, salt)| Keys::derive(hash, &password, salt, iterations).to_credential())
                .collect()
        })
        .await
    }

    /// Waits for the turn to hash a password.
    pub(crate) async fn turn(&self) -> Result<Turn, StorageError> {
        let turn = Arc::clone(&self.0.hashing).acquire_owned();
        let turn = self.0.clock.timeout(self.0.options.hash_within, turn);
        let turn = turn.await.map_err(|_| StorageError::Busy { what: HASH })?;
        turn.map(Turn)
            .map_err(|_| StorageError::Closed { what: HASH })
    }
}

/// The turn to hash a password: only a few are hashed at a time.
pub(crate) struct Turn(OwnedSemaphorePermit);

const HASH: &str = "hash a password";

/// Does what takes milliseconds away from the async threads.
async fn derive<T: Send + 'static>(
    turn: Turn,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StorageError> {
    let work = move || {
        // Held until the work is done, also if nobody waits for it any more.
        let _turn = turn.0;
        work()
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| StorageError::Interrupted { what: HASH })
}

/// The keys of an account for one hash.
fn read_keys(account: &BareJid, found: &Account, hash: Hash) -> Result<Option<Keys>, StorageError> {
    let Some(credential) = found.credential(hash.mechanism()) else {
        return Ok(None);
    };
    match Keys::from_credential(hash, credential) {
        Some(keys) => Ok(Some(keys)),
        None => Err(StorageError::Corrupt {
            what: format!("read the credentials of {account}"),
            detail: format!("the {} credential cannot be read", hash.mechanism()),
        }),
    }
}
