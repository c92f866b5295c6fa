//! Names in certificates and how they match (RFC 9525 §6.3).

use idna::AsciiDenyList;

/// Whether the name in a certificate covers `host`. Both are ASCII and lower case, without a final
/// dot. A wildcard is a whole leftmost label and stands for exactly one.
pub(super) fn matches(presented: &str, host: &str) -> bool {
    match presented.strip_prefix("*.") {
        Some(parent) => host.split_once('.').is_some_and(|(label, rest)| {
            !label.is_empty() && !rest.is_empty() && rest == parent && !parent.contains('*')
        }),
        None => presented == host && !presented.contains('*'),
    }
}

/// A domain as it stands in certificates and server names: A-labels, lower case, no final dot.
/// `None` for what can stand in neither.
pub(super) fn canonical(domain: &str) -> Option<String> {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    let wildcard = domain.strip_prefix("*.");
    let name = wildcard.unwrap_or(domain).as_bytes();
    let ascii = idna::domain_to_ascii_cow(name, AsciiDenyList::URL).ok()?;
    if ascii.is_empty() {
        return None;
    }
    Some(match wildcard {
        Some(_) => format!("*.{ascii}"),
        None => ascii.into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_one_label() {
        for (presented, host, covered) in [
            ("a.example", "a.example", true),
            ("a.example", "b.example", false),
            ("*.example.org", "a.example.org", true),
            ("*.example.org", "example.org", false),
            ("*.example.org", "a.b.example.org", false),
            ("*.example.org", ".example.org", false),
            ("a*.example.org", "ab.example.org", false),
            ("*.*.org", "a.b.org", false),
            ("*", "a", false),
            ("a.*.org", "a.b.org", false),
        ] {
            assert_eq!(matches(presented, host), covered, "{presented} for {host}");
        }
    }

    #[test]
    fn domains_are_compared_as_a_labels() {
        assert_eq!(
            canonical("Bücher.Example.").as_deref(),
            Some("xn--bcher-kva.example")
        );
        assert_eq!(canonical("*.Example.ORG").as_deref(), Some("*.example.org"));
        assert_eq!(canonical(""), None);
        assert_eq!(canonical("a b"), None);
    }
}
