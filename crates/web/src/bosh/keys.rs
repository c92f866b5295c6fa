//! Key sequencing (XEP-0124 §15): each request shows what the hash of the one before was made of.

use sha1::{Digest, Sha1};

/// The keys of a session.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// The last that was shown; none: the client uses none.
    last: Option<String>,
}

impl Keys {
    pub(super) fn new(newkey: Option<&str>) -> Keys {
        Keys {
            last: newkey.map(str::to_ascii_lowercase),
        }
    }

    /// Takes the keys of the next request; false if they are not those of this session's client.
    pub(super) fn take(&mut self, key: Option<&str>, newkey: Option<&str>) -> bool {
        if let Some(last) = &self.last {
            let Some(key) = key else { return false };
            if hash(key) != *last {
                return false;
            }
            self.last = Some(key.to_ascii_lowercase());
        }
        if let Some(newkey) = newkey {
            self.last = Some(newkey.to_ascii_lowercase());
        }
        true
    }
}

/// In the digits that it was sent in: those are what is hashed.
fn hash(key: &str) -> String {
    let digest = Sha1::digest(key.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// `K(1) … K(count)`.
    pub(crate) fn sequence(seed: &str, count: usize) -> Vec<String> {
        let keys = std::iter::successors(Some(hash(seed)), |key| Some(hash(key)));
        keys.take(count).collect()
    }

    #[test]
    fn keys_are_shown_backwards_and_changed() {
        let (old, new) = (sequence("seed", 3), sequence("other", 3));
        let mut keys = Keys::new(Some(&old[2].to_ascii_uppercase()));
        assert!(keys.take(Some(&old[1]), None));
        assert!(keys.take(Some(&old[0]), Some(&new[2])));
        assert!(!keys.take(None, None));
        assert!(!keys.take(Some(&new[0]), None));
        assert!(!keys.take(Some(&new[2]), None));
        assert!(keys.take(Some(&new[1]), None));
        let mut none = Keys::new(None);
        assert!(none.take(None, None) && none.take(Some("any"), None));
    }
}
