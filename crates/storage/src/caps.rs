//! What clients can do, by the hash that they announce it with (XEP-0115): found once, remembered for all.

use crate::Answer;

/// The store of entity capabilities, for all hosts together. What is in it was verified against its hash.
pub trait CapsStore: Send + Sync {
    /// The disco information behind a hash, if it is known; it counts as used now.
    fn find<'a>(&'a self, hash: &'a str, ver: &'a str) -> Answer<'a, Option<String>>;

    /// Keeps the disco information behind a hash: an element that stands alone. Of more than `most`, those that
    /// were not used for the longest time are forgotten.
    fn keep<'a>(&'a self, hash: &'a str, ver: &'a str, info: String, most: u64) -> Answer<'a, ()>;

    /// How many hashes are known.
    fn count(&self) -> Answer<'_, u64>;
}
