//! Any text: what is read as an address reads as itself again, and its parts are what it is made of.

use xmpp::{parse_bare, parse_full, parse_jid};

/// Checks one input.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(jid) = parse_jid(text) else { return };
    let again = parse_jid(jid.as_str()).expect("an address has one spelling");
    assert_eq!(again, jid);
    assert_eq!(again.domain().as_str(), jid.domain().as_str());
    assert_eq!(parse_full(text).is_ok(), jid.is_full());
    assert_eq!(parse_bare(text).is_ok(), jid.is_bare());
    assert_eq!(
        parse_bare(jid.to_bare().as_str()).expect("a bare address"),
        jid.to_bare()
    );
    assert!(jid.as_str().len() <= 3 * 1023 + 2);
}
