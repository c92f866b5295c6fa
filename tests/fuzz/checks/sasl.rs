//! Any text of a SASL element: what is read means what was sent, byte for byte.

use auth::{decode_initial, decode_response, encode_challenge};

/// Checks one input: as the text of an element, and as a message that was decoded from one.
pub fn check(data: &[u8]) {
    auth::fuzzing::read(data);
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(message) = decode_response(text) {
        // Base64 has one spelling.
        assert!(text == "=" || encode_challenge(&message) == text);
        auth::fuzzing::read(&message);
        let initial = decode_initial(text).expect("what is a response is an initial response");
        assert_eq!(initial.is_none(), text.is_empty());
    }
}
