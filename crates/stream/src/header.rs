//! Stream headers: what the initiator says of itself, and what is answered (RFC 6120 §4.7).

use xml::StartTag;

/// The peer's stream header, freed of its framing.
///
/// Its `id` is not kept: whoever answers chooses it (RFC 6120 §4.7.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamHeader {
    /// The domain the peer wants to talk to, as written.
    pub to: Option<String>,
    /// Who the peer says it is, as written; never proof of anything.
    pub from: Option<String>,
    /// The protocol version, `None` when absent or unreadable.
    pub version: Option<Version>,
    /// The default language of the stream (`xml:lang`).
    pub lang: Option<String>,
}

impl StreamHeader {
    /// Reads the attributes of a start tag.
    pub(crate) fn from_tag(tag: &StartTag) -> StreamHeader {
        StreamHeader {
            to: tag.attr("to").map(str::to_owned),
            from: tag.attr("from").map(str::to_owned),
            version: tag.attr("version").and_then(Version::parse),
            lang: tag.lang().map(str::to_owned),
        }
    }
}

/// A protocol version, compared part by part as numbers (RFC 6120 §4.7.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The part before the dot.
    pub major: u32,
    /// The part after the dot.
    pub minor: u32,
}

impl Version {
    /// The version spoken here.
    pub const ONE: Version = Version { major: 1, minor: 0 };

    /// Reads `major.minor`, ignoring leading zeros (RFC 6120 §4.7.5).
    pub fn parse(text: &str) -> Option<Version> {
        let (major, minor) = text.split_once('.')?;
        let number = |part: &str| {
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| part.parse::<u32>().unwrap_or(u32::MAX))
        };
        Some(Version {
            major: number(major)?,
            minor: number(minor)?,
        })
    }
}

/// The header answered to the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHeader {
    /// The stream's id: 128 random bits (RFC 6120 §4.7.3).
    pub id: String,
    /// The served domain that answers.
    pub from: String,
    /// The peer's address without resource, when it named one (RFC 6120 §4.7.2).
    pub to: Option<String>,
    /// The language of our own texts.
    pub lang: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        assert_eq!(Version::parse("1.0"), Some(Version::ONE));
        assert_eq!(Version::parse("01.00"), Some(Version::ONE));
        assert!(Version::parse("1.10") > Version::parse("1.9"));
        assert!(Version::parse("2.0") > Version::parse("1.99"));
        for odd in ["", "1", "1.", ".1", "1.x", "+1.0", "1.0.0", "-1.0"] {
            assert_eq!(Version::parse(odd), None, "{odd:?}");
        }
        assert!(Version::parse("99999999999.0").is_some());
    }
}
