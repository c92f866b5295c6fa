//! The hash functions SCRAM is used with.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use zeroize::Zeroizing;

/// A hash function of SCRAM (RFC 5802 §4, RFC 7677; SHA-512 by its registration, as every peer has it).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hash {
    Sha1,
    Sha256,
    Sha512,
}

/// Bytes that are wiped.
pub(crate) type Bytes = Zeroizing<Vec<u8>>;

impl Hash {
    /// All of them, the best first.
    pub(crate) const ALL: [Hash; 3] = [Hash::Sha512, Hash::Sha256, Hash::Sha1];

    /// The mechanism, and the kind of its stored credential.
    pub(crate) fn mechanism(self) -> &'static str {
        match self {
            Hash::Sha1 => "SCRAM-SHA-1",
            Hash::Sha256 => "SCRAM-SHA-256",
            Hash::Sha512 => "SCRAM-SHA-512",
        }
    }

    /// The mechanism with channel binding.
    pub(crate) fn mechanism_plus(self) -> &'static str {
        match self {
            Hash::Sha1 => "SCRAM-SHA-1-PLUS",
            Hash::Sha256 => "SCRAM-SHA-256-PLUS",
            Hash::Sha512 => "SCRAM-SHA-512-PLUS",
        }
    }

    /// The length of its output in bytes.
    pub(crate) fn len(self) -> usize {
        match self {
            Hash::Sha1 => 20,
            Hash::Sha256 => 32,
            Hash::Sha512 => 64,
        }
    }

    /// `H(data)`.
    pub(crate) fn digest(self, data: &[u8]) -> Bytes {
        Zeroizing::new(match self {
            Hash::Sha1 => Sha1::digest(data).to_vec(),
            Hash::Sha256 => Sha256::digest(data).to_vec(),
            Hash::Sha512 => Sha512::digest(data).to_vec(),
        })
    }

    /// `HMAC(key, data)`.
    pub(crate) fn hmac(self, key: &[u8], data: &[u8]) -> Bytes {
        Zeroizing::new(match self {
            Hash::Sha1 => mac::<Hmac<Sha1>>(key, data),
            Hash::Sha256 => mac::<Hmac<Sha256>>(key, data),
            Hash::Sha512 => mac::<Hmac<Sha512>>(key, data),
        })
    }

    /// `Hi(password, salt, iterations)`, which is PBKDF2 with this HMAC. Slow on purpose.
    pub(crate) fn salted(self, password: &[u8], salt: &[u8], iterations: u32) -> Bytes {
        let mut salted = Zeroizing::new(vec![0; self.len()]);
        match self {
            Hash::Sha1 => pbkdf2::pbkdf2_hmac::<Sha1>(password, salt, iterations, &mut salted),
            Hash::Sha256 => pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut salted),
            Hash::Sha512 => pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, iterations, &mut salted),
        }
        salted
    }
}

fn mac<M: Mac + KeyInit>(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}
