//! Secrets the server makes once and keeps.

use zeroize::Zeroize;

use crate::Answer;

/// Bytes only this server knows. Has no `Debug`; wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Wraps bytes.
    pub fn new(bytes: Vec<u8>) -> Secret {
        Secret(bytes)
    }

    /// The bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// The store of the server's own secrets.
pub trait Secrets: Send + Sync {
    /// The 32 random bytes kept under `name`; made and stored when first asked for.
    fn get_or_create<'a>(&'a self, name: &'a str) -> Answer<'a, Secret>;
}
