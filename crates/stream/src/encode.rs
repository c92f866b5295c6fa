//! Base64 as SASL carries it (RFC 6120 §6.4.2): canonical, padded, no white space; `=` is the empty
//! datum.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Decodes an initial response, challenge or response.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    match text {
        "=" => Some(Vec::new()),
        text => STANDARD.decode(text).ok(),
    }
}

/// Encodes a challenge.
pub(crate) fn encode(data: &[u8]) -> String {
    STANDARD.encode(data)
}

/// Encodes additional data of a success, where empty data differ from none (§6.4.6).
pub(crate) fn encode_data(data: Option<&[u8]>) -> String {
    match data {
        None => String::new(),
        Some([]) => "=".into(),
        Some(data) => encode(data),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_base64_is_read() {
        assert_eq!(decode("=").as_deref(), Some(&b""[..]));
        assert_eq!(decode("").as_deref(), Some(&b""[..]));
        assert_eq!(decode("AGE=").as_deref(), Some(&b"\0a"[..]));
        for odd in [
            "AGE", "AG E=", "AGE=\n", "\nAGE=", "AGF=", "AGE==", "==", "A-_=", "Ä",
        ] {
            assert_eq!(decode(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn no_data_and_empty_data_differ() {
        assert_eq!(encode_data(None), "");
        assert_eq!(encode_data(Some(b"")), "=");
        assert_eq!(encode_data(Some(b"v=1")), "dj0x");
    }
}
