//! Entity tags, preconditions and ranges (RFC 9110 §8.8, §13, §14).

use std::fmt;
use std::time::SystemTime;

/// The most ranges of one request: more is no honest wish.
const MAX_RANGES: usize = 16;

/// An entity tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ETag {
    /// Whether equal tags may stand for bodies that differ in bytes.
    pub weak: bool,
    /// The tag, without its quotes.
    pub tag: String,
}

impl ETag {
    /// A tag that stands for a body to the byte.
    pub fn strong(tag: impl Into<String>) -> ETag {
        ETag {
            weak: false,
            tag: tag.into(),
        }
    }

    /// A tag that stands for what a body means.
    pub fn weak(tag: impl Into<String>) -> ETag {
        ETag {
            weak: true,
            tag: tag.into(),
        }
    }

    /// Reads one tag, and nothing behind it. A backslash is a byte as any other (RFC 9110 §8.8.3).
    pub(crate) fn parse(text: &str) -> Option<ETag> {
        let (tag, rest) = ETag::first(text)?;
        rest.is_empty().then_some(tag)
    }

    /// The tag that a text begins with, and what stands behind it.
    fn first(text: &str) -> Option<(ETag, &str)> {
        let (weak, quoted) = match text.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, text),
        };
        let (tag, rest) = quoted.strip_prefix('"')?.split_once('"')?;
        let is_good = |byte: u8| byte == 0x21 || (0x23..=0x7e).contains(&byte) || byte >= 0x80;
        let tag = tag.bytes().all(is_good).then(|| ETag {
            weak,
            tag: tag.to_owned(),
        });
        Some((tag?, rest))
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weak = if self.weak { "W/" } else { "" };
        write!(f, "{weak}\"{}\"", self.tag)
    }
}

/// The tags of `if-match` or `if-none-match`.
pub(crate) enum Tags {
    Any,
    Of(Vec<ETag>),
}

impl Tags {
    pub(crate) fn parse(text: &str) -> Option<Tags> {
        if text.trim() == "*" {
            return Some(Tags::Any);
        }
        let between = |c: char| matches!(c, ' ' | '\t' | ',');
        let (mut tags, mut left) = (Vec::new(), text.trim_start_matches(between));
        while !left.is_empty() {
            let (tag, rest) = ETag::first(left)?;
            tags.push(tag);
            let rest = rest.trim_start_matches([' ', '\t']);
            if !rest.is_empty() && !rest.starts_with(',') {
                return None;
            }
            left = rest.trim_start_matches(between);
        }
        (!tags.is_empty()).then_some(Tags::Of(tags))
    }

    /// Whether they stand for whatever there is.
    pub(crate) fn is_any(&self) -> bool {
        matches!(self, Tags::Any)
    }

    /// By the strong comparison: weak tags match nothing.
    pub(crate) fn holds_strong(&self, etag: Option<&ETag>) -> bool {
        match self {
            Tags::Any => true,
            Tags::Of(tags) => etag.is_some_and(|etag| !etag.weak && tags.contains(etag)),
        }
    }

    /// By the weak comparison.
    pub(crate) fn holds_weak(&self, etag: Option<&ETag>) -> bool {
        match self {
            Tags::Any => true,
            Tags::Of(tags) => etag.is_some_and(|etag| tags.iter().any(|tag| tag.tag == etag.tag)),
        }
    }
}

/// A date as headers carry it; none for one that is malformed, which is as none at all.
pub(crate) fn date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok()
}

/// A date for a header.
pub(crate) fn date_text(date: SystemTime) -> String {
    httpdate::fmt_http_date(date)
}

/// A range of bytes: the first and the last.
pub(crate) type ByteRange = (u64, u64);

/// What is wished of a body of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ranges {
    /// At least one range, within the body.
    Of(Vec<ByteRange>),
    /// None that is within the body, or what is no range.
    Unsatisfiable,
    /// More than the body has, all together: it is cheaper whole (RFC 9110 §14.2).
    Whole,
}

/// The byte ranges of a `range` header's value behind `bytes=`, for a body of `size` bytes. A range that reaches beyond
/// the end is cut there, one that lies beyond it is left out. Ranges that lie over each other may ask for no more than the
/// body has.
pub(crate) fn byte_ranges(text: &str, size: u64) -> Ranges {
    let mut found = Vec::new();
    for part in text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let number = |digits: &str| {
            let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            is_number.then(|| digits.parse::<u64>().unwrap_or(u64::MAX))
        };
        let Some((first, last)) = part.split_once('-') else {
            return Ranges::Unsatisfiable;
        };
        let range = match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => Some((first, last)),
            (Some(first), None) if last.is_empty() => Some((first, u64::MAX)),
            (None, Some(0)) if first.is_empty() => None,
            (None, Some(suffix)) if first.is_empty() => {
                Some((size.saturating_sub(suffix), u64::MAX))
            }
            _ => return Ranges::Unsatisfiable,
        };
        if let Some((first, last)) = range
            && first < size
        {
            found.push((first, last.min(size - 1)));
        }
        if found.len() > MAX_RANGES {
            return Ranges::Unsatisfiable;
        }
    }
    // At most so many ranges of at most 2^64 bytes each.
    let asked: u128 = found
        .iter()
        .map(|(first, last)| u128::from(last - first) + 1)
        .sum();
    if found.is_empty() {
        Ranges::Unsatisfiable
    } else if asked > u128::from(size) {
        Ranges::Whole
    } else {
        Ranges::Of(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_strongly_and_weakly() {
        let (a, weak) = (ETag::strong("a"), ETag::weak("a"));
        for (header, of_a, of_weak) in [
            ("\"a\"", (true, true), (false, true)),
            ("W/\"a\"", (false, true), (false, true)),
            ("\"b\", \"a,\", \"a\"", (true, true), (false, true)),
            ("\"b\"", (false, false), (false, false)),
            ("*", (true, true), (true, true)),
            (" , \"a\" ,,\t\"b\\\",", (true, true), (false, true)),
        ] {
            let tags = Tags::parse(header).expect("good");
            let both = |etag| (tags.holds_strong(Some(etag)), tags.holds_weak(Some(etag)));
            assert_eq!((both(&a), both(&weak)), (of_a, of_weak), "{header}");
        }
        assert!(!Tags::parse("\"a\"").expect("good").holds_weak(None));
        let odd = Tags::parse("\"a\\\", \"\u{e9}\"").expect("good");
        assert!(odd.holds_strong(Some(&ETag::strong("a\\"))));
        assert!(odd.holds_strong(Some(&ETag::strong("\u{e9}"))));
        for wrong in [
            "",
            ",",
            "a",
            "\"a",
            "\"a b\"",
            "w/\"a\"",
            "\"a\"b",
            "\"a\" \"b\"",
            "\"a\", *",
            "*, \"a\"",
        ] {
            assert!(Tags::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn ranges_are_cut_at_the_end() {
        for (text, ranges) in [
            ("0-0", vec![(0, 0)]),
            ("0-9", vec![(0, 9)]),
            ("0-10", vec![(0, 9)]),
            ("5-", vec![(5, 9)]),
            ("-3", vec![(7, 9)]),
            ("-30", vec![(0, 9)]),
            ("0-1, 4-5,-1", vec![(0, 1), (4, 5), (9, 9)]),
            ("0-1, 10-", vec![(0, 1)]),
            ("0-99999999999999999999999", vec![(0, 9)]),
        ] {
            assert_eq!(byte_ranges(text, 10), Ranges::Of(ranges), "{text}");
        }
        for text in ["", "10-", "-0", "5-4", "a-b", "1", "--1", "1-2-3", "+1-2"] {
            assert_eq!(byte_ranges(text, 10), Ranges::Unsatisfiable, "{text}");
        }
        for text in ["0-,0-", "0-9,-1", "-10,-1,0-0", "0-5,5-9"] {
            assert_eq!(byte_ranges(text, 10), Ranges::Whole, "{text}");
        }
        assert_eq!(byte_ranges("0-4,4-8", 10), Ranges::Of(vec![(0, 4), (4, 8)]));
        assert_eq!(byte_ranges("0-", 0), Ranges::Unsatisfiable);
        assert_eq!(byte_ranges(&"0-1,".repeat(17), 10), Ranges::Unsatisfiable);
    }
}
