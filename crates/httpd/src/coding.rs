//! Content codings: which a peer takes (RFC 9110 §12.5.3).

/// Whether an `accept-encoding` header takes a coding by name. `*` takes none: who says no more than that need not know
/// it. A malformed header takes nothing.
pub(crate) fn takes(header: &str, coding: &str) -> bool {
    let mut taken = false;
    for part in header.split(',').map(str::trim) {
        let (name, rest) = part.split_once(';').unwrap_or((part, ""));
        let rest = rest.trim();
        let weight = match rest.strip_prefix("q=").or(rest.strip_prefix("Q=")) {
            Some(weight) => weight.parse::<f32>().ok(),
            None if rest.is_empty() => Some(1.0),
            None => None,
        };
        let Some(weight) = weight.filter(|weight| (0.0..=1.0).contains(weight)) else {
            return false;
        };
        if name.trim().eq_ignore_ascii_case(coding) {
            taken = weight > 0.0;
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coding_is_taken_by_its_name() {
        for (header, taken) in [
            ("gzip", true),
            ("br, GZip;q=0.5", true),
            ("br", false),
            ("gzip;q=0", false),
            ("*", false),
            ("", false),
            ("gzip;q=x", false),
            ("gzip;q=2", false),
            ("gzip;level=1", false),
        ] {
            assert_eq!(takes(header, "gzip"), taken, "{header}");
        }
    }
}
