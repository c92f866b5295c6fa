//! The readers of messages, for fuzzing.

use crate::scram::{ClientFinal, ClientFirst, FIELD_BYTES, Plain};

/// Reads bytes as each of the messages of a client.
///
/// # Panics
///
/// When what was read is not what was sent.
pub fn read(message: &[u8]) {
    if let Ok(first) = ClientFirst::parse(message) {
        let whole = format!("{}{}", first.gs2_header, first.bare);
        assert_eq!(whole.as_bytes(), message);
        assert!(!first.username.is_empty() && !first.nonce.is_empty());
        assert!(first.nonce.len() <= FIELD_BYTES && first.bare.contains(&first.nonce));
    }
    if let Ok(last) = ClientFinal::parse(message) {
        assert!(message.starts_with(last.without_proof.as_bytes()));
        assert!(last.without_proof.contains(&last.nonce));
    }
    if let Ok(plain) = Plain::parse(message) {
        assert_eq!(message.iter().filter(|byte| **byte == 0).count(), 2);
        assert!(!plain.authcid.is_empty() && !plain.password.is_empty());
        assert!(plain.authzid.is_none_or(|authzid| !authzid.is_empty()));
    }
}
