//! Identifiers that nobody can guess.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Returns 22 characters out of `A-Z a-z 0-9 - _` that carry 128 random bits: for stream ids,
/// resources, and the ids of our own IQs (RFC 6120 §4.7.3, §8.1.3).
///
/// # Panics
///
/// When the operating system gives no randomness; nothing secret could be made without.
pub fn random_id() -> String {
    let mut random = [0u8; 16];
    getrandom::fill(&mut random).expect("the operating system gives random bytes");
    let mut bits = u128::from_be_bytes(random);
    let mut id = String::with_capacity(22);
    for _ in 0..22 {
        id.push(char::from(ALPHABET[(bits & 63) as usize]));
        bits >>= 6;
    }
    id
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    //
    #[test]
    fn ids_are_unique_and_safe_in_urls_and_attributes() {
        let ids: HashSet<String> = (0..10_000).map(|_| random_id()).collect();
        assert_eq!(ids.len(), 10_000);
        assert!(
            ids.iter()
                .all(|id| id.len() == 22 && id.bytes().all(|b| ALPHABET.contains(&b)))
        );
    }
}
