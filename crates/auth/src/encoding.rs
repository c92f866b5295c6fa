//! The text of SASL elements: strict base64 (RFC 6120 §6.4, RFC 4648 §4).

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use xmpp::{SaslCondition, SaslFailure};

/// Padding required, no line breaks, no bits left over.
const STRICT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical)
        .with_decode_allow_trailing_bits(false),
);

/// Reads the text of `<auth/>`: `None` if there is no initial response, empty bytes for `=` (RFC 6120 §6.4.2).
///
/// # Errors
///
/// `incorrect-encoding`: it is not base64, padding is missing, or there are line breaks or other whitespace.
pub fn decode_initial(text: &str) -> Result<Option<Zeroizing<Vec<u8>>>, SaslFailure> {
    if text.is_empty() {
        Ok(None)
    } else {
        decode_response(text).map(Some)
    }
}

/// Reads the text of `<response/>`: empty bytes for no text and for `=`.
///
/// # Errors
///
/// `incorrect-encoding`, as [`decode_initial`].
pub fn decode_response(text: &str) -> Result<Zeroizing<Vec<u8>>, SaslFailure> {
    if text.is_empty() || text == "=" {
        return Ok(Zeroizing::new(Vec::new()));
    }
    strict(text).map_err(|()| SaslCondition::IncorrectEncoding.into())
}

/// Writes the text of `<challenge/>`: none for an empty challenge.
pub fn encode_challenge(data: &[u8]) -> String {
    STRICT.encode(data)
}

/// Writes the text of `<success/>`: none without data, `=` for empty data (RFC 6120 §6.4.6).
pub fn encode_success(data: Option<&[u8]>) -> String {
    match data {
        None => String::new(),
        Some([]) => "=".to_owned(),
        Some(data) => STRICT.encode(data),
    }
}

/// Base64 inside of a mechanism's messages.
pub(crate) fn strict(text: impl AsRef<[u8]>) -> Result<Zeroizing<Vec<u8>>, ()> {
    STRICT.decode(text).map(Zeroizing::new).map_err(drop)
}

/// Base64 inside of a mechanism's messages.
pub(crate) fn encode(data: &[u8]) -> String {
    STRICT.encode(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn initial(text: &str) -> Result<Option<Vec<u8>>, SaslCondition> {
        decode_initial(text)
            .map(|bytes| bytes.map(|bytes| bytes.to_vec()))
            .map_err(|failure| failure.condition)
    }

    #[test]
    fn an_equals_sign_is_an_empty_response_not_a_missing_one() {
        assert_eq!(initial(""), Ok(None));
        assert_eq!(initial("="), Ok(Some(Vec::new())));
        assert_eq!(decode_response("").unwrap().as_slice(), b"");
        assert_eq!(decode_response("=").unwrap().as_slice(), b"");
    }

    #[test]
    fn only_strict_base64_is_read() {
        assert_eq!(
            initial("AGp1bGlldAByMG0zMG15cjBtMzA="),
            Ok(Some(b"\0juliet\0r0m30myr0m30".to_vec()))
        );
        let wrong = [
            "AGp1bGlldAByMG0zMG15cjBtMzA",    // padding is missing
            "AGp1bGlldAByMG0z\nMG15cjBtMzA=", // a line break
            " AGp1bGlldAByMG0zMG15cjBtMzA=",  // whitespace
            "AGp1bGlldAByMG0zMG15cjBtMzB=",   // bits left over
            "AGp1=GlldAByMG0zMG15cjBtMzA=",   // padding inside
            "==",
            "====",
            "A",
            "-_-_",
            "äöü=",
        ];
        for text in wrong {
            assert_eq!(
                initial(text),
                Err(SaslCondition::IncorrectEncoding),
                "{text:?}"
            );
        }
    }

    #[test]
    fn what_is_empty_is_written_as_such() {
        assert_eq!(encode_challenge(b""), "");
        assert_eq!(encode_success(None), "");
        assert_eq!(encode_success(Some(b"")), "=");
        assert_eq!(encode_success(Some(b"v=1")), "dj0x");
    }
}
