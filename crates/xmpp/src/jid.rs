//! Addresses: JIDs with one spelling each (RFC 7622, with the preparation of RFC 6122 for
//! localparts and resources as the other servers in the field do it).

use std::borrow::Cow;
use std::net::Ipv6Addr;

use idna::uts46::{AsciiDenyList, Hyphens, Uts46};
pub use jid::{
    BareJid, DomainPart, DomainRef, FullJid, Jid, NodePart, NodeRef, ResourcePart, ResourceRef,
};

/// Most bytes of each part of a JID (RFC 7622 §3.1).
const MAX_PART: usize = 1023;

/// What is wrong with an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JidError {
    /// A part is missing, too long, or has characters it may not have.
    #[error("{0}")]
    Malformed(String),
    /// Longer than three parts of 1023 bytes each can be.
    #[error("longer than {max} bytes", max = 3 * MAX_PART + 2)]
    TooLong,
    /// The domain is longer than 1023 bytes or no domain name.
    #[error("not a domain")]
    Domain,
    /// A bare JID was wanted and there is a resource.
    #[error("a resource where none may be")]
    Resource,
    /// A full JID was wanted and there is no resource.
    #[error("no resource")]
    NoResource,
}

/// The text of an address without its resource: what accounts are found by, without making a bare JID of it.
#[must_use]
pub fn bare_str(jid: &Jid) -> &str {
    let text = jid.as_str();
    match jid.resource() {
        Some(resource) => &text[..text.len() - resource.as_str().len() - 1],
        None => text,
    }
}

/// Reads an address. The domain becomes lower case, Unicode rather than Punycode, and loses a
/// trailing dot, so that equal addresses are equal texts (R-243).
///
/// # Errors
///
/// Says which part is wrong; the answer to a peer is `jid-malformed`.
pub fn parse_jid(text: &str) -> Result<Jid, JidError> {
    if text.len() > 3 * MAX_PART + 2 {
        return Err(JidError::TooLong);
    }
    let (rest, resource) = match text.split_once('/') {
        Some((rest, resource)) => (rest, Some(resource)),
        None => (text, None),
    };
    let (node, domain) = match rest.split_once('@') {
        Some((node, domain)) => (Some(node), domain),
        None => (None, rest),
    };
    let canonical = canonical_domain(domain)?;
    let spelled = match &canonical {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        Cow::Owned(domain) => {
            let node = node.map_or(String::new(), |node| format!("{node}@"));
            let resource = resource.map_or(String::new(), |resource| format!("/{resource}"));
            Cow::Owned(format!("{node}{domain}{resource}"))
        }
    };
    Jid::new(&spelled).map_err(|error| JidError::Malformed(error.to_string()))
}

/// Reads an address that has no resource.
///
/// # Errors
///
/// As [`parse_jid`]; [`JidError::Resource`] when there is one.
pub fn parse_bare(text: &str) -> Result<BareJid, JidError> {
    match parse_jid(text)?.try_into_full() {
        Ok(_) => Err(JidError::Resource),
        Err(bare) => Ok(bare),
    }
}

/// Reads an address that has a resource.
///
/// # Errors
///
/// As [`parse_jid`]; [`JidError::NoResource`] when there is none.
pub fn parse_full(text: &str) -> Result<FullJid, JidError> {
    parse_jid(text)?
        .try_into_full()
        .map_err(|_| JidError::NoResource)
}

/// Returns the one spelling of a domain: lower case, U-labels, no trailing dot, IPv6 addresses
/// in their shortest form.
///
/// A label whose Unicode form the older preparation would change (such as one with `ß`) stays an
/// A-label, so that two domains of the DNS never become one address (our choice).
///
/// # Errors
///
/// [`JidError::Domain`] when it is none.
pub fn canonical_domain(domain: &str) -> Result<Cow<'_, str>, JidError> {
    if domain.is_empty() || domain.len() > MAX_PART {
        return Err(JidError::Domain);
    }
    if let Some(address) = domain
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        let address: Ipv6Addr = address.parse().map_err(|_| JidError::Domain)?;
        let spelled = format!("[{address}]");
        return Ok(if spelled == domain {
            Cow::Borrowed(domain)
        } else {
            Cow::Owned(spelled)
        });
    }
    let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-');
    if domain.bytes().all(plain) && !domain.contains("xn--") && !domain.ends_with('.') {
        return Ok(Cow::Borrowed(domain));
    }
    let dotless = domain
        .strip_suffix(['.', '。', '．', '｡'])
        .unwrap_or(domain);
    let (unicode, valid) =
        Uts46::new().to_unicode(dotless.as_bytes(), AsciiDenyList::URL, Hyphens::Check);
    valid.map_err(|_| JidError::Domain)?;
    let labels = unicode
        .split('.')
        .map(|label| match DomainPart::new(label) {
            _ if label.is_empty() => Err(JidError::Domain),
            Ok(prepared) if prepared.as_str() == label => Ok(Cow::Borrowed(label)),
            _ => idna::domain_to_ascii(label)
                .map(Cow::Owned)
                .map_err(|_| JidError::Domain),
        });
    let labels = labels.collect::<Result<Vec<_>, _>>()?;
    Ok(Cow::Owned(labels.join(".")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_bare_text_is_that_of_the_bare_address() {
        for text in [
            "a@b.example/r/s@t",
            "a@b.example",
            "b.example/r",
            "b.example",
        ] {
            let jid = parse_jid(text).expect("an address");
            assert_eq!(bare_str(&jid), jid.to_bare().as_str());
        }
    }

    fn spelled(text: &str) -> String {
        parse_jid(text).map_or_else(|error| format!("error: {error}"), |jid| jid.to_string())
    }

    // R-008, R-240, R-243, R-244
    #[test]
    fn equal_addresses_have_one_spelling() {
        for (text, canonical) in [
            ("alice@example.org/Desk", "alice@example.org/Desk"),
            ("ALICE@EXAMPLE.ORG", "alice@example.org"),
            ("alice@example.org.", "alice@example.org"),
            ("bücher.example", "bücher.example"),
            ("BÜCHER.example", "bücher.example"),
            ("xn--bcher-kva.example", "bücher.example"),
            ("XN--BCHER-KVA.example.", "bücher.example"),
            ("a@xn--bcher-kva.example/Ä ö", "a@bücher.example/Ä ö"),
            ("a@b.example/x@y/z", "a@b.example/x@y/z"),
            ("b.example/x@y", "b.example/x@y"),
            ("a@127.0.0.1", "a@127.0.0.1"),
            ("a@[::1]", "a@[::1]"),
            ("a@[0:0::0:1]/r", "a@[::1]/r"),
            ("ｆｕｌｌ@example.org", "full@example.org"),
            ("romeo\\20m@example.org", "romeo\\20m@example.org"),
            ("localhost", "localhost"),
            ("xn--fa-hia.de", "xn--fa-hia.de"),
        ] {
            assert_eq!(spelled(text), canonical, "{text}");
        }
    }

    // R-103, R-241, R-242, R-243
    #[test]
    fn malformed_addresses_are_refused() {
        let long = "x".repeat(1024);
        let label = "x".repeat(64);
        for text in [
            "",
            "@example.org",
            "a@b@c",
            "a@",
            "/r",
            "a@example.org/",
            "a b@example.org",
            "a\"b@example.org",
            "a&b@example.org",
            "a'b@example.org",
            "a:b@example.org",
            "a<b@example.org",
            "a@exa mple.org",
            "a@b..c",
            "b../r",
            "b.。",
            ".b.",
            "a@-b.c",
            "a@[::1",
            "a@[zz]",
            "a@.",
            "a@example.org/x\u{7}",
            &format!("{long}@example.org"),
            &format!("a@example.org/{long}"),
            &format!("a@{label}.org"),
            &format!("a@{long}"),
            "a@ex_am\u{0}ple.org",
            "xn--a.example",
        ] {
            assert!(parse_jid(text).is_err(), "{text}: {}", spelled(text));
        }
        assert!(parse_jid(&format!("a@example.org/{}", "x".repeat(1023))).is_ok());
    }

    #[test]
    fn bare_and_full_are_told_apart() {
        assert_eq!(parse_bare("a@b/c"), Err(JidError::Resource));
        assert_eq!(parse_full("a@b"), Err(JidError::NoResource));
        assert_eq!(parse_bare("A@B").expect("bare").as_str(), "a@b");
        assert_eq!(parse_full("A@B/C").expect("full").as_str(), "a@b/C");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_was_read_reads_as_itself(text in "[a-zß@/.\\-A-Zé\u{3c2}0-9\\[\\]:xn]{1,30}|\\PC{1,20}") {
            if let Ok(jid) = parse_jid(&text) {
                let again = parse_jid(jid.as_str());
                prop_assert_eq!(again.as_ref().map(Jid::as_str), Ok(jid.as_str()));
            }
        }

        #[test]
        fn case_and_dot_of_the_domain_do_not_matter(
            node in "[a-z]{1,8}", domain in "[a-z]{1,8}\\.[a-zäöü]{2,6}", resource in "[ -~]{1,8}",
        ) {
            let plain = parse_jid(&format!("{node}@{domain}/{resource}"));
            let ascii = idna::domain_to_ascii(&domain).expect("letters make a domain");
            let upper = format!("{}@{}./{resource}", node.to_uppercase(), domain.to_uppercase());
            prop_assert_eq!(&parse_jid(&upper), &plain);
            prop_assert_eq!(&parse_jid(&format!("{node}@{ascii}/{resource}")), &plain);
        }
    }
}
