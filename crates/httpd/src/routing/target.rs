//! What a request aims at: its host split into labels, its path into segments.
//!
//! A path is split first, then each segment is percent-decoded, then dot segments are removed (so `%2F` is a slash
//! inside a segment and `%2e%2e` goes one up).

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::words;

/// The range of a segment in the text it was split from.
pub(crate) type Range = (u32, u32);

/// Segments of one target.
pub(crate) type Ranges = SmallVec<[Range; 12]>;

/// What a path may hold: `pchar` of RFC 3986 §3.3, slashes, and the percent sign of an escape.
const PATH: [bool; 256] = alphanumeric_or(b"-._~!$&'()*+,;=:@/%");

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

/// The path cannot be split: it does not begin with a slash, holds a byte that no path has, or a bad escape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadTarget;

/// Splits a path into `segments`, which come empty. Gives the text they are ranges of, where that is not the path.
pub(crate) fn split_path(
    path: &str,
    segments: &mut Ranges,
) -> Result<Option<Box<[u8]>>, BadTarget> {
    let bytes = path.as_bytes();
    if bytes.first() != Some(&b'/') {
        return Err(BadTarget);
    }
    let end = u32::try_from(bytes.len()).map_err(|_| BadTarget)?;
    let mut began = 1;
    let mut dots = bytes.get(1) == Some(&b'.');
    let are_plain = words::places(&bytes[1..], b'/', |place| {
        let slash = place + 1;
        segments.push((began, slash));
        began = slash + 1;
        dots |= bytes.get(began as usize) == Some(&b'.');
    });
    // One trailing slash adds nothing.
    if began < end {
        segments.push((began, end));
    }
    if !are_plain {
        if !bytes.iter().all(|byte| PATH[usize::from(*byte)]) {
            return Err(BadTarget);
        }
        if bytes.contains(&b'%') {
            return decode(bytes, segments).map(Some);
        }
    }
    if dots {
        remove_dots(bytes, segments);
    }
    Ok(None)
}

/// Decodes the escapes of each segment.
fn decode(bytes: &[u8], segments: &mut Ranges) -> Result<Box<[u8]>, BadTarget> {
    let mut decoded = Vec::with_capacity(bytes.len());
    for segment in segments.iter_mut() {
        let began = decoded.len();
        let mut left = slice(bytes, *segment).iter();
        while let Some(&byte) = left.next() {
            if byte == b'%' {
                let (high, low) = (hex(left.next())?, hex(left.next())?);
                decoded.push(high << 4 | low);
            } else {
                decoded.push(byte);
            }
        }
        // Decoding makes nothing longer, and the path's length fits.
        *segment = (began as u32, decoded.len() as u32);
    }
    remove_dots(&decoded, segments);
    Ok(decoded.into())
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
pub(crate) fn split_host(host: &str, labels: &mut Ranges) -> Result<(), BadTarget> {
    let end = u32::try_from(host.len()).map_err(|_| BadTarget)?;
    if host.starts_with('[') {
        labels.push((0, end));
        return Ok(());
    }
    let name = host.strip_suffix('.').unwrap_or(host).as_bytes();
    if name.is_empty() {
        return Ok(());
    }
    let (mut began, mut empty) = (0, false);
    words::places(name, b'.', |dot| {
        labels.push((began, dot));
        empty |= began == dot;
        began = dot + 1;
    });
    labels.push((began, name.len() as u32));
    labels.reverse();
    if empty || began as usize == name.len() {
        return Err(BadTarget);
    }
    Ok(())
}

/// A host in lower case.
pub(crate) fn lowercase(host: &str) -> Cow<'_, str> {
    // All bytes are looked at: many at once are quicker than as few as needed.
    let is_upper = |found, byte: u8| found | byte.is_ascii_uppercase();
    if host.bytes().fold(false, is_upper) {
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
        let mut segments = Ranges::new();
        let decoded = split_path(path, &mut segments)?;
        let text = decoded.as_deref().unwrap_or(path.as_bytes());
        let shown = |range| String::from_utf8_lossy(slice(text, range)).into_owned();
        Ok(segments.iter().copied().map(shown).collect())
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
            ("/a~/!$&'()*+/.", &["a~", "!$&'()*+"]),
            ("/1234567/./abcdefgh/..", &["1234567"]),
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
            ("a.longer-label.b", &["b", "longer-label", "a"]),
            ("example.org.", &["org", "example"]),
            ("[::ffff:192.0.2.1]", &["[::ffff:192.0.2.1]"]),
        ];
        for (host, labels) in cases {
            let mut ranges = Ranges::new();
            split_host(host, &mut ranges).expect(host);
            let found: Vec<_> = ranges.iter().map(|r| slice(host.as_bytes(), *r)).collect();
            let labels: Vec<_> = labels.iter().map(|label| label.as_bytes()).collect();
            assert_eq!(found, labels, "{host}");
        }
        for host in ["a..b", ".a", "a..", ".."] {
            let split = split_host(host, &mut Ranges::new());
            assert_eq!(split, Err(BadTarget), "{host}");
        }
    }
}
