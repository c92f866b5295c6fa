//! Content codings: which a peer takes (RFC 9110 §12.5.3).

use http::header::{HeaderMap, HeaderName};

use crate::rest::weight;

/// All lines of a list header as one; empty where there is none, or one that is no text.
pub(crate) fn list(headers: &HeaderMap, name: HeaderName) -> String {
    let lines = headers.get_all(name).iter().map(|line| line.to_str().ok());
    let lines: Option<Vec<&str>> = lines.collect();
    lines.unwrap_or_default().join(",")
}

/// Whether two names are of one coding: `x-gzip` is `gzip` (RFC 9110 §8.4.1.3).
pub(crate) fn is_coding(name: &str, coding: &str) -> bool {
    let is = |name: &str| name.eq_ignore_ascii_case(coding);
    is(name) || coding == "gzip" && name.eq_ignore_ascii_case("x-gzip")
}

/// The codings of `offered` that an `accept-encoding` header takes by name, those wished most first, of equals the one
/// that is offered first; none that is wished less than `identity`. `*` takes none: who says no more than that need not
/// know it. A malformed header takes nothing.
pub(crate) fn taken<'a>(header: &str, offered: &[&'a str]) -> Vec<&'a str> {
    let mut wishes = Vec::new();
    for part in header.split(',').map(str::trim) {
        let (name, rest) = part.split_once(';').unwrap_or((part, ""));
        let rest = rest.trim();
        let value = rest.strip_prefix("q=").or(rest.strip_prefix("Q="));
        let weight = match value {
            Some(value) => weight(value),
            None if rest.is_empty() => Some(1000),
            None => None,
        };
        let Some(weight) = weight else {
            return Vec::new();
        };
        wishes.push((name.trim(), weight));
    }
    // Of a name that comes twice the last word counts.
    let wished = |coding: &str| {
        let found = wishes.iter().rfind(|(name, _)| is_coding(name, coding));
        found.map_or(0, |(_, weight)| *weight)
    };
    let plain = wished("identity");
    let mut taken: Vec<(&str, u16)> = offered
        .iter()
        .map(|coding| (*coding, wished(coding)))
        .filter(|(_, weight)| *weight > 0 && *weight >= plain)
        .collect();
    taken.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
    taken.into_iter().map(|(coding, _)| coding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coding_is_taken_by_its_name() {
        for (header, wanted) in [
            ("gzip", &["gzip"][..]),
            ("gzip, br", &["br", "gzip"]),
            ("br, GZip;q=0.5", &["br", "gzip"]),
            ("br;q=0.5, gzip;q=0.8", &["gzip", "br"]),
            ("br;q=0.500,gzip ; Q=0.5", &["br", "gzip"]),
            ("x-gzip", &["gzip"]),
            ("br", &["br"]),
            ("br;q=0, gzip;q=0.001", &["gzip"]),
            ("gzip;q=0", &[]),
            ("gzip;q=0.5, identity", &[]),
            ("gzip;q=0.5, identity;q=0.5", &["gzip"]),
            ("br, gzip;q=0.5, identity;q=0.6", &["br"]),
            ("*", &[]),
            ("", &[]),
            ("deflate", &[]),
            ("gzip;q=x", &[]),
            ("gzip;q=2", &[]),
            ("gzip;q=0.1234", &[]),
            ("gzip;q=1e-1", &[]),
            ("gzip;level=1", &[]),
            ("gzip, br;q=x", &[]),
        ] {
            assert_eq!(taken(header, &["br", "gzip"]), wanted, "{header}");
        }
    }
}
