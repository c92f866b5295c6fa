//! Credentials that come from another server, or go to one: SCRAM keys in parts (RFC 5802 §3).

use storage::Credential;
use zeroize::Zeroizing;

use crate::hash::Hash;
use crate::keys::Keys;
use crate::{Auth, Password, RegisterError};

/// The most iterations of keys that are taken: a login by PLAIN has to go through all of them (our choice).
const MOST_ITERATIONS: u32 = 1_000_000;

/// The longest salt that is taken, in bytes (our choice).
const LONGEST_SALT: usize = 1024;

/// What a server keeps of a password for one SCRAM mechanism. Has no `Debug`; the keys are wiped.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    /// How often the hash was applied.
    pub iterations: u32,
    /// The salt.
    pub salt: Vec<u8>,
    /// `StoredKey`.
    pub stored_key: Zeroizing<Vec<u8>>,
    /// `ServerKey`.
    pub server_key: Zeroizing<Vec<u8>>,
}

impl ScramKeys {
    /// Whether keys of this mechanism can be used here: `SCRAM-SHA-1`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub fn knows(mechanism: &str) -> bool {
        hash_of(mechanism).is_some()
    }

    /// The mechanism whose keys are so long, in bytes.
    pub fn mechanism_of_length(bytes: usize) -> Option<&'static str> {
        let mut all = Hash::ALL.into_iter();
        Some(all.find(|hash| hash.len() == bytes)?.mechanism())
    }

    /// The keys in a stored credential; `None` if it is of another kind or damaged.
    pub fn of(credential: &Credential) -> Option<ScramKeys> {
        let keys = Keys::from_credential(hash_of(&credential.kind)?, credential)?;
        let (stored_key, server_key) = keys.pair();
        Some(ScramKeys {
            iterations: keys.iterations,
            salt: keys.salt.clone(),
            stored_key,
            server_key,
        })
    }

    /// The credential to store for these keys of a mechanism.
    ///
    /// # Errors
    ///
    /// In words: the mechanism is unknown; there are no iterations, or more than 1,000,000; the salt is empty or
    /// longer than 1024 bytes; a key is not as long as the mechanism's.
    pub fn credential(&self, mechanism: &str) -> Result<Credential, String> {
        let hash = hash_of(mechanism)
            .ok_or_else(|| format!("`{mechanism}` is no mechanism known here"))?;
        if !(1..=MOST_ITERATIONS).contains(&self.iterations) {
            let found = self.iterations;
            return Err(format!(
                "{found} iterations are outside of 1 to {MOST_ITERATIONS}"
            ));
        }
        if !(1..=LONGEST_SALT).contains(&self.salt.len()) {
            let found = self.salt.len();
            return Err(format!(
                "a salt of {found} bytes; 1 to {LONGEST_SALT} are taken"
            ));
        }
        for (name, key) in [
            ("stored key", &self.stored_key),
            ("server key", &self.server_key),
        ] {
            let (found, expected) = (key.len(), hash.len());
            if found != expected {
                return Err(format!(
                    "a {name} of {found} bytes; {mechanism} has {expected}"
                ));
            }
        }
        let keys = Keys::from_pair(
            hash,
            self.salt.clone(),
            self.iterations,
            (self.stored_key.clone(), self.server_key.clone()),
        );
        Ok(keys.to_credential())
    }
}

fn hash_of(mechanism: &str) -> Option<Hash> {
    Hash::ALL
        .into_iter()
        .find(|hash| hash.mechanism() == mechanism)
}

impl Auth {
    /// Makes the credentials of a password: one for every mechanism. Takes tens of milliseconds of one core.
    ///
    /// # Errors
    ///
    /// [`RegisterError::NotAcceptable`] for a password that SASLprep (RFC 4013) refuses or leaves empty;
    /// [`RegisterError::Store`] if its turn did not come, or there are no random numbers.
    pub async fn credentials_for(
        &self,
        password: &Password,
    ) -> Result<Vec<Credential>, RegisterError> {
        let prepared = password.prepare().map_err(RegisterError::NotAcceptable)?;
        Ok(self.credentials_of(prepared).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = &'static dyn Fn(&mut ScramKeys);

    fn keys(length: usize) -> ScramKeys {
        ScramKeys {
            iterations: 4096,
            salt: b"salt".to_vec(),
            stored_key: Zeroizing::new(vec![1; length]),
            server_key: Zeroizing::new(vec![2; length]),
        }
    }

    #[test]
    fn keys_go_and_come_back() {
        for (mechanism, length) in [
            ("SCRAM-SHA-1", 20),
            ("SCRAM-SHA-256", 32),
            ("SCRAM-SHA-512", 64),
        ] {
            let credential = keys(length).credential(mechanism).unwrap();
            assert!(ScramKeys::of(&credential).is_some_and(|read| read == keys(length)));
            assert_eq!(credential.kind, mechanism);
            assert_eq!(ScramKeys::mechanism_of_length(length), Some(mechanism));
        }
        assert_eq!(ScramKeys::mechanism_of_length(21), None);
        let foreign = Credential {
            kind: "SCRAM-SHA3-512".to_owned(),
            parameters: Vec::new(),
        };
        assert!(ScramKeys::of(&foreign).is_none());
    }

    #[test]
    fn what_cannot_be_used_is_told() {
        let cases: [(Change, &str); 6] = [
            (
                &|keys| keys.iterations = 0,
                "0 iterations are outside of 1 to 1000000",
            ),
            (
                &|keys| keys.iterations = 1_000_001,
                "1000001 iterations are outside of 1 to 1000000",
            ),
            (
                &|keys| keys.salt.clear(),
                "a salt of 0 bytes; 1 to 1024 are taken",
            ),
            (
                &|keys| keys.salt = vec![0; 1025],
                "a salt of 1025 bytes; 1 to 1024 are taken",
            ),
            (
                &|keys| keys.stored_key.push(0),
                "a stored key of 21 bytes; SCRAM-SHA-1 has 20",
            ),
            (
                &|keys| keys.server_key.clear(),
                "a server key of 0 bytes; SCRAM-SHA-1 has 20",
            ),
        ];
        for (change, text) in cases {
            let mut changed = keys(20);
            change(&mut changed);
            let told = changed.credential("SCRAM-SHA-1").err();
            assert_eq!(told.as_deref(), Some(text));
        }
        let told = keys(20).credential("SCRAM-MD5").err();
        assert_eq!(
            told.as_deref(),
            Some("`SCRAM-MD5` is no mechanism known here")
        );
    }
}
