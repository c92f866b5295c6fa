//! What is stored of a password: SCRAM keys, from which it cannot be had again (RFC 5802 §3).

use storage::Credential;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::encoding;
use crate::hash::{Bytes, Hash};
use crate::password::Prepared;

/// The length of the salts we make, in bytes.
pub(crate) const SALT_BYTES: usize = 16;

/// The keys of one account for one hash function. Has no `Debug`.
pub(crate) struct Keys {
    pub(crate) hash: Hash,
    pub(crate) salt: Vec<u8>,
    pub(crate) iterations: u32,
    stored: Bytes,
    server: Bytes,
}

impl Keys {
    /// Derives the keys of a password. Takes milliseconds of one core.
    pub(crate) fn derive(hash: Hash, password: &Prepared, salt: Vec<u8>, iterations: u32) -> Keys {
        let salted = hash.salted(password.as_bytes(), &salt, iterations);
        let client = hash.hmac(&salted, b"Client Key");
        Keys {
            hash,
            stored: hash.digest(&client),
            server: hash.hmac(&salted, b"Server Key"),
            salt,
            iterations,
        }
    }

    /// Keys no password has, always the same for one account: what an unknown account shows.
    pub(crate) fn decoy(hash: Hash, secret: &[u8], account: &str, iterations: u32) -> Keys {
        let from = |purpose: &str| {
            let seed = format!("{purpose}\0{}\0{account}", hash.mechanism());
            Hash::Sha512.hmac(secret, seed.as_bytes())
        };
        Keys {
            hash,
            salt: from("salt")[..SALT_BYTES].to_vec(),
            iterations,
            stored: Zeroizing::new(from("stored")[..hash.len()].to_vec()),
            server: Zeroizing::new(from("server")[..hash.len()].to_vec()),
        }
    }

    /// Whether a client's proof comes from the password. Takes the same time either way.
    pub(crate) fn accepts(&self, auth_message: &[u8], proof: &[u8]) -> bool {
        if proof.len() != self.hash.len() {
            return false;
        }
        let signature = self.hash.hmac(&self.stored, auth_message);
        let client: Bytes = Zeroizing::new(
            proof
                .iter()
                .zip(signature.iter())
                .map(|(a, b)| a ^ b)
                .collect(),
        );
        self.hash.digest(&client).ct_eq(&self.stored).into()
    }

    /// What proves to the client that the server knows the keys.
    pub(crate) fn signature(&self, auth_message: &[u8]) -> Bytes {
        self.hash.hmac(&self.server, auth_message)
    }

    /// Whether both come from one password and salt. Takes the same time either way.
    pub(crate) fn same_as(&self, other: &Keys) -> bool {
        (self.stored.ct_eq(&other.stored) & self.server.ct_eq(&other.server)).into()
    }

    /// Keys made elsewhere: the stored one and the server's, each as long as the hash.
    pub(crate) fn from_pair(
        hash: Hash,
        salt: Vec<u8>,
        iterations: u32,
        (stored, server): (Bytes, Bytes),
    ) -> Keys {
        Keys {
            hash,
            salt,
            iterations,
            stored,
            server,
        }
    }

    /// The stored key and the server's.
    pub(crate) fn pair(&self) -> (Bytes, Bytes) {
        (self.stored.clone(), self.server.clone())
    }

    /// As a row: `i=ITERATIONS,s=SALT,k=STOREDKEY,v=SERVERKEY`, the last three in base64.
    pub(crate) fn to_credential(&self) -> Credential {
        let stored = Zeroizing::new(encoding::encode(&self.stored));
        let server = Zeroizing::new(encoding::encode(&self.server));
        let parameters = format!(
            "i={},s={},k={},v={}",
            self.iterations,
            encoding::encode(&self.salt),
            *stored,
            *server
        );
        Credential {
            kind: self.hash.mechanism().to_owned(),
            parameters: parameters.into_bytes(),
        }
    }

    /// From a row of this kind; `None` if it is damaged.
    pub(crate) fn from_credential(hash: Hash, credential: &Credential) -> Option<Keys> {
        let text = std::str::from_utf8(&credential.parameters).ok()?;
        let mut parts = text.split(',');
        let mut value = |name: &str| parts.next()?.strip_prefix(name)?.strip_prefix('=');
        let iterations = value("i")?.parse().ok().filter(|count| *count > 0)?;
        let salt = encoding::strict(value("s")?).ok()?.to_vec();
        let stored = encoding::strict(value("k")?).ok()?;
        let server = encoding::strict(value("v")?).ok()?;
        let whole =
            parts.next().is_none() && stored.len() == hash.len() && server.len() == hash.len();
        whole.then_some(Keys {
            hash,
            salt,
            iterations,
            stored,
            server,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::password::Password;

    fn keys(hash: Hash, password: &str) -> Keys {
        let prepared = Password::from(password).prepare().ok().unwrap();
        Keys::derive(hash, &prepared, b"some salt".to_vec(), 10)
    }

    #[test]
    fn keys_survive_their_row() {
        for hash in Hash::ALL {
            let original = keys(hash, "pencil");
            let row = original.to_credential();
            assert_eq!(row.kind, hash.mechanism());
            let read = Keys::from_credential(hash, &row).unwrap();
            assert!(read.same_as(&original));
            assert_eq!((read.salt, read.iterations), (b"some salt".to_vec(), 10));
        }
    }

    #[test]
    fn a_damaged_row_is_told() {
        let row = |parameters: &str| Credential {
            kind: "SCRAM-SHA-1".to_owned(),
            parameters: parameters.as_bytes().to_vec(),
        };
        let good = String::from_utf8(
            keys(Hash::Sha1, "pencil")
                .to_credential()
                .parameters
                .clone(),
        )
        .unwrap();
        assert!(Keys::from_credential(Hash::Sha1, &row(&good)).is_some());
        assert!(
            Keys::from_credential(Hash::Sha256, &row(&good)).is_none(),
            "the wrong length"
        );
        for damaged in [
            "",
            "i=0,s=AAAA,k=AAAA,v=AAAA",
            &good[1..],
            &good[..good.len() - 4],
            &format!("{good},x=1"),
            &good.replace("i=10", "i=ten"),
        ] {
            assert!(
                Keys::from_credential(Hash::Sha1, &row(damaged)).is_none(),
                "{damaged:?}"
            );
        }
    }

    #[test]
    fn different_passwords_have_different_keys() {
        assert!(keys(Hash::Sha256, "pencil").same_as(&keys(Hash::Sha256, "pencil")));
        assert!(!keys(Hash::Sha256, "pencil").same_as(&keys(Hash::Sha256, "pencils")));
    }

    #[test]
    fn a_decoy_is_stable_and_its_own() {
        let decoy =
            |secret: &[u8], account: &str, hash| Keys::decoy(hash, secret, account, 10).salt;
        let salt = decoy(b"secret", "romeo@a.example", Hash::Sha1);
        assert_eq!(salt.len(), SALT_BYTES);
        assert_eq!(salt, decoy(b"secret", "romeo@a.example", Hash::Sha1));
        assert_ne!(salt, decoy(b"secret", "romeo@a.example", Hash::Sha256));
        assert_ne!(salt, decoy(b"secret", "juliet@a.example", Hash::Sha1));
        assert_ne!(salt, decoy(b"another", "romeo@a.example", Hash::Sha1));
    }
}
