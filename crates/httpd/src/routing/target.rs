//! What a request aims at: its host split into labels, its path into segments.
//!
//! A path is split first, then each segment is percent-decoded, then dot segments are removed (so `%2F` is a slash
//! inside a segment and `%2e%2e` goes one up).

use std::borrow::Cow;

use smallvec::SmallVec;

/// The range of a segment in the text it was split from.
pub(crate) type Range = (u32, u32);

/// Segments of one target.
pub(crate) type Ranges = SmallVec<[Range; 12]>;

const PLAIN: u8 = 0;
const SLASH: u8 = 1;
const DOT: u8 = 2;
const PERCENT: u8 = 3;
const BAD: u8 = 4;

/// What each byte of a path is: `pchar` of RFC 3986 §3.3, with the three that end or change a segment apart.
const CLASS: [u8; 256] = {
    let mut class = [BAD; 256];
    let mut byte = 0;
    while byte < 128 {
        let b = byte as u8;
        if is_host_byte(b) || b == b':' || b == b'@' {
            class[byte] = PLAIN;
        }
        byte += 1;
    }
    class[b'/' as usize] = SLASH;
    class[b'.' as usize] = DOT;
    class[b'%' as usize] = PERCENT;
    class
};

/// `unreserved` and `sub-delims` of RFC 3986.
const HOST: [bool; 256] = alphanumeric_or(b"-._~!$&'()*+,;=");

/// Whether a host name may hold `byte`.
pub(crate) const fn is_host_byte(byte: u8) -> bool {
    HOST[byte as usize]
}

/// The bytes that are ASCII letters, digits, or among `others`.
pub(crate) const fn alphanumeric_or(others: &[u8]) -> [bool; 256] {
    let mut set = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        set[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < others.len() {
        set[others[at] as usize] = true;
        at += 1;
    }
    set
}

/// A path that was split.
pub(crate) struct Split {
    /// Ranges in the path, or in `decoded` if there is one.
    pub(crate) segments: Ranges,
    pub(crate) decoded: Option<Box<[u8]>>,
}

/// The path cannot be split: it does not begin with a slash, holds a byte that no path has, or a bad escape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadTarget;

/// Splits a path.
pub(crate) fn split_path(path: &str) -> Result<Split, BadTarget> {
    let bytes = path.as_bytes();
    if bytes.first() != Some(&b'/') {
        return Err(BadTarget);
    }
    let end = u32::try_from(bytes.len()).map_err(|_| BadTarget)?;
    let mut segments = Ranges::new();
    let mut began = 1;
    // Whether anything stands in it that the quick way does not do.
    let mut special = 0;
    for (at, &byte) in (1..).zip(&bytes[1..]) {
        let class = CLASS[usize::from(byte)];
        if class == SLASH {
            segments.push((began, at));
            began = at + 1;
        } else {
            // A dot matters only where a segment begins with it.
            special |= if class == DOT && at != began {
                PLAIN
            } else {
                1 << class >> 1
            };
        }
    }
    // One trailing slash adds nothing.
    if began < end {
        segments.push((began, end));
    }
    if special & (1 << BAD >> 1) != 0 {
        return Err(BadTarget);
    }
    if special & (1 << PERCENT >> 1) != 0 {
        return decode(bytes, &segments);
    }
    if special & (1 << DOT >> 1) != 0 {
        remove_dots(bytes, &mut segments);
    }
    Ok(Split {
        segments,
        decoded: None,
    })
}

fn decode(bytes: &[u8], raw: &Ranges) -> Result<Split, BadTarget> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut segments = Ranges::with_capacity(raw.len());
    for &(from, to) in raw {
        let began = decoded.len();
        let mut left = bytes[from as usize..to as usize].iter();
        while let Some(&byte) = left.next() {
            if byte == b'%' {
                let (high, low) = (hex(left.next())?, hex(left.next())?);
                decoded.push(high << 4 | low);
            } else {
                decoded.push(byte);
            }
        }
        // Decoding makes nothing longer, and the path's length fits.
        segments.push((began as u32, decoded.len() as u32));
    }
    remove_dots(&decoded, &mut segments);
    Ok(Split {
        segments,
        decoded: Some(decoded.into()),
    })
}

fn hex(digit: Option<&u8>) -> Result<u8, BadTarget> {
    let value = digit.and_then(|digit| char::from(*digit).to_digit(16));
    value.map(|value| value as u8).ok_or(BadTarget)
}

/// Removes `.`, and `..` with the segment before it.
fn remove_dots(bytes: &[u8], segments: &mut Ranges) {
    let mut kept = 0;
    for at in 0..segments.len() {
        let (from, to) = segments[at];
        match &bytes[from as usize..to as usize] {
            b"." => {}
            b".." => kept = usize::saturating_sub(kept, 1),
            _ => {
                segments[kept] = (from, to);
                kept += 1;
            }
        }
    }
    segments.truncate(kept);
}

/// Splits a host, the last label first. One trailing dot is ignored; any other empty label is refused. An address
/// in brackets is one label.
pub(crate) fn split_host(host: &str) -> Result<Ranges, BadTarget> {
    let end = u32::try_from(host.len()).map_err(|_| BadTarget)?;
    if host.starts_with('[') {
        return Ok(Ranges::from_slice(&[(0, end)]));
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let mut labels = Ranges::new();
    if name.is_empty() {
        return Ok(labels);
    }
    let mut until = name.len();
    for label in name.rsplit('.') {
        if label.is_empty() {
            return Err(BadTarget);
        }
        labels.push(((until - label.len()) as u32, until as u32));
        until = until.wrapping_sub(label.len() + 1);
    }
    Ok(labels)
}

/// A host in lower case.
pub(crate) fn lowercase(host: &str) -> Cow<'_, str> {
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

/// The bytes of a range.
pub(crate) fn slice(text: &[u8], (from, to): Range) -> &[u8] {
    &text[from as usize..to as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(path: &str) -> Result<Vec<String>, BadTarget> {
        let split = split_path(path)?;
        let text = split.decoded.as_deref().unwrap_or(path.as_bytes());
        let shown = |range| String::from_utf8_lossy(slice(text, range)).into_owned();
        Ok(split.segments.iter().copied().map(shown).collect())
    }

    #[test]
    fn paths_are_split_then_decoded_then_freed_of_dots() {
        let cases: &[(&str, &[&str])] = &[
            ("/", &[]),
            ("/a", &["a"]),
            ("/a/", &["a"]),
            ("//", &[""]),
            ("/a//b", &["a", "", "b"]),
            ("/a//", &["a", ""]),
            ("/a%2Fb/c", &["a/b", "c"]),
            ("/a+b", &["a+b"]),
            ("/%61", &["a"]),
            ("/a/./b", &["a", "b"]),
            ("/a/../b", &["b"]),
            ("/a/%2e%2E/b", &["b"]),
            ("/../../a", &["a"]),
            ("/a//../b", &["a", "b"]),
            ("/a/..", &[]),
            ("/...", &["..."]),
            ("/.a/a.", &[".a", "a."]),
            ("/a:b@c;d=e,f", &["a:b@c;d=e,f"]),
            ("/%00", &["\0"]),
        ];
        for (path, segments) in cases {
            assert_eq!(split(path).expect(path), *segments, "{path}");
        }
        for path in [
            "", "a", "*", "/%", "/%4", "/%zz", "/%+1", "/a b", "/a\"", "/<", "/a[b", "/a|b", "/a^",
            "/a`", "/{", "/ä", "/\\", "/a#b", "/a?b", "/\u{7f}",
        ] {
            assert_eq!(split(path), Err(BadTarget), "{path}");
        }
    }

    #[test]
    fn hosts_are_split_from_the_end() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            (".", &[]),
            ("a", &["a"]),
            ("www.example.org", &["org", "example", "www"]),
            ("example.org.", &["org", "example"]),
            ("[::ffff:192.0.2.1]", &["[::ffff:192.0.2.1]"]),
        ];
        for (host, labels) in cases {
            let ranges = split_host(host).expect(host);
            let found: Vec<_> = ranges.iter().map(|r| slice(host.as_bytes(), *r)).collect();
            let labels: Vec<_> = labels.iter().map(|label| label.as_bytes()).collect();
            assert_eq!(found, labels, "{host}");
        }
        for host in ["a..b", ".a", "a..", ".."] {
            assert_eq!(split_host(host), Err(BadTarget), "{host}");
        }
    }
}
