//! Patterns of hosts and paths: from their text to alternatives without brackets.
//!
//! A pattern is expanded at its brackets, the shorter alternative first, and each alternative is split into
//! segments. What can match nothing, or something other than it seems to, is refused.

use std::fmt;
use std::sync::Arc;

/// The longest pattern, in bytes.
pub const MAX_PATTERN_BYTES: usize = 1024;

/// So many alternatives has one pattern at most: eight optional parts beside each other.
pub const MAX_ALTERNATIVES: usize = 256;

/// What is wrong with a pattern or with a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A path that begins otherwise than with a slash.
    #[error("a path begins with `/`")]
    NoLeadingSlash,
    /// A colon at the start of a segment without a name.
    #[error("a name is missing behind `:`")]
    EmptyName,
    /// A name that continues behind a bracket.
    #[error("text is glued to the name before it: put a separator between them")]
    NameGlued,
    /// `:...`.
    #[error("`:...` is no name: the rest is written `[...]`")]
    RestAsName,
    /// A bracket that opens within a segment and is not followed by a separator.
    #[error("`[` must stand at the start of a segment or be followed by the separator")]
    BracketInSegment,
    /// A bracket that is not closed.
    #[error("`[` is never closed")]
    NotClosed,
    /// A bracket that was not opened.
    #[error("`]` was never opened")]
    NotOpened,
    /// `[]`.
    #[error("`[]` holds nothing")]
    EmptyOptional,
    /// Something behind the rest of a path.
    #[error("`[...]` must end a path")]
    RestNotLast,
    /// Something before the rest of a host.
    #[error("`[...]` must begin a host")]
    RestNotFirst,
    /// The rest beside something else in one segment.
    #[error("`[...]` is glued to other text: put a separator between them")]
    RestGlued,
    /// `.` or `..`, which are removed from every request.
    #[error("the segment `{0}` is removed from every request and never matches")]
    DotSegment(String),
    /// A percent sign in a literal.
    #[error("patterns are compared with decoded segments: write the character itself, not `%…`")]
    Escape,
    /// A character that no host has.
    #[error("no host holds {0:?}")]
    HostCharacter(char),
    /// Two alternatives of one pattern that are the same.
    #[error("two of its alternatives are the same: {0}")]
    SameAlternative(String),
    /// More alternatives than [`MAX_ALTERNATIVES`].
    #[error("more than {MAX_ALTERNATIVES} alternatives")]
    TooManyAlternatives,
    /// Longer than [`MAX_PATTERN_BYTES`].
    #[error("longer than {MAX_PATTERN_BYTES} bytes")]
    TooLong,
    /// Constraints on what binds nothing.
    #[error("constraints on a rule that matches everything, and binds nothing")]
    ConstraintOnAny,
}

/// A problem and the byte of the pattern where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) at: usize,
    pub(crate) problem: Problem,
}

fn wrong<T>(at: usize, problem: Problem) -> Result<T, Wrong> {
    Err(Wrong { at, problem })
}

/// What a pattern is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Host,
    Path,
}

impl Kind {
    fn separator(self) -> u8 {
        match self {
            Kind::Host => b'.',
            Kind::Path => b'/',
        }
    }
}

/// One segment of an alternative.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Segment {
    Literal(Arc<str>),
    Name(Arc<str>),
    Any,
}

/// One way to read a pattern: a host's labels from the last, a path's segments from the first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Alternative {
    pub(crate) segments: Vec<Segment>,
    pub(crate) rest: bool,
}

/// The text of a pattern with its brackets understood. Numbers are offsets in it.
enum Node {
    Byte(u8, usize),
    Rest(usize),
    Optional(usize, Vec<Node>),
}

/// The text of one alternative.
#[derive(Clone, Copy, PartialEq)]
enum Flat {
    Byte(u8, usize),
    Rest(usize),
}

impl Flat {
    fn at(self) -> usize {
        match self {
            Flat::Byte(_, at) | Flat::Rest(at) => at,
        }
    }
}

/// All alternatives of a pattern, in their order.
pub(crate) fn parse(kind: Kind, pattern: &str) -> Result<Vec<Alternative>, Wrong> {
    if pattern.len() > MAX_PATTERN_BYTES {
        return wrong(MAX_PATTERN_BYTES, Problem::TooLong);
    }
    if kind == Kind::Path && !pattern.starts_with('/') {
        return wrong(0, Problem::NoLeadingSlash);
    }
    let nodes = read(pattern)?;
    let texts = expand(kind, Vec::new(), &nodes)?;
    let mut alternatives: Vec<Alternative> = Vec::with_capacity(texts.len());
    for text in &texts {
        let alternative = segments(kind, text)?;
        if alternatives.contains(&alternative) {
            return wrong(0, Problem::SameAlternative(shown(kind, &alternative)));
        }
        alternatives.push(alternative);
    }
    Ok(alternatives)
}

/// Reads the brackets.
fn read(pattern: &str) -> Result<Vec<Node>, Wrong> {
    let bytes = pattern.as_bytes();
    // The parts that are open, each with the place of its bracket; the first is the pattern itself.
    let mut open: Vec<(usize, Vec<Node>)> = vec![(0, Vec::new())];
    let mut at = 0;
    while at < bytes.len() {
        let (_, nodes) = open.last_mut().expect("the pattern itself is open");
        match bytes[at] {
            b'[' if bytes[at..].starts_with(b"[...]") => {
                nodes.push(Node::Rest(at));
                at += 4;
            }
            b'[' => open.push((at, Vec::new())),
            b']' => {
                let (began, inner) = open.pop().expect("the pattern itself is open");
                let Some((_, outer)) = open.last_mut() else {
                    return wrong(at, Problem::NotOpened);
                };
                if inner.is_empty() {
                    return wrong(began, Problem::EmptyOptional);
                }
                outer.push(Node::Optional(began, inner));
            }
            byte => nodes.push(Node::Byte(byte, at)),
        }
        at += 1;
    }
    let (began, nodes) = open.pop().expect("the pattern itself is open");
    if open.is_empty() {
        Ok(nodes)
    } else {
        wrong(began, Problem::NotClosed)
    }
}

/// Writes each optional part away and out.
fn expand(kind: Kind, before: Vec<Flat>, nodes: &[Node]) -> Result<Vec<Vec<Flat>>, Wrong> {
    let separator = kind.separator();
    let mut texts = vec![before];
    for node in nodes {
        match node {
            Node::Byte(byte, at) => texts
                .iter_mut()
                .for_each(|t| t.push(Flat::Byte(*byte, *at))),
            Node::Rest(at) => texts.iter_mut().for_each(|t| t.push(Flat::Rest(*at))),
            Node::Optional(at, inner) => {
                let separated =
                    matches!(inner.first(), Some(Node::Byte(byte, _)) if *byte == separator);
                let mut more = Vec::with_capacity(texts.len() * 2);
                for text in texts {
                    let starts = match text.last() {
                        None => true,
                        Some(Flat::Byte(byte, _)) => *byte == separator,
                        Some(Flat::Rest(_)) => false,
                    };
                    if !starts && !separated {
                        return wrong(*at, Problem::BracketInSegment);
                    }
                    more.push(text.clone());
                    more.extend(expand(kind, text, inner)?);
                    if more.len() > MAX_ALTERNATIVES {
                        return wrong(*at, Problem::TooManyAlternatives);
                    }
                }
                texts = more;
            }
        }
    }
    Ok(texts)
}

/// Splits the text of an alternative; empty segments vanish.
fn segments(kind: Kind, text: &[Flat]) -> Result<Alternative, Wrong> {
    let separator = kind.separator();
    let mut found = Vec::new();
    let mut rest = None;
    let pieces = text.split(|flat| matches!(flat, Flat::Byte(byte, _) if *byte == separator));
    for piece in pieces.filter(|piece| !piece.is_empty()) {
        if let Some(at) = rest
            && kind == Kind::Path
        {
            return wrong(at, Problem::RestNotLast);
        }
        let is_rest = |flat: &&Flat| matches!(flat, Flat::Rest(_));
        match piece.iter().find(is_rest) {
            None => found.push(segment(kind, piece)?),
            Some(flat) if piece.len() > 1 => return wrong(flat.at(), Problem::RestGlued),
            Some(flat) if kind == Kind::Host && (!found.is_empty() || rest.is_some()) => {
                return wrong(flat.at(), Problem::RestNotFirst);
            }
            Some(flat) => rest = Some(flat.at()),
        }
    }
    if kind == Kind::Host {
        found.reverse();
    }
    Ok(Alternative {
        segments: found,
        rest: rest.is_some(),
    })
}

fn segment(kind: Kind, piece: &[Flat]) -> Result<Segment, Wrong> {
    let bytes: Vec<u8> = piece
        .iter()
        .map(|flat| match flat {
            Flat::Byte(byte, _) => *byte,
            Flat::Rest(_) => unreachable!("a rest is no part of a segment"),
        })
        .collect();
    let text = String::from_utf8(bytes).expect("cut at ASCII alone");
    let began = piece[0].at();
    let Some(name) = text.strip_prefix(':') else {
        return literal(kind, &text, piece);
    };
    let glued = piece.windows(2).find(|two| two[1].at() != two[0].at() + 1);
    match name {
        // An address such as `[::1]` is not meant as a name.
        _ if name.is_empty() || name.starts_with(':') => wrong(began, Problem::EmptyName),
        "..." => wrong(began, Problem::RestAsName),
        _ if glued.is_some() => {
            let at = glued.map_or(began, |two| two[1].at());
            wrong(at, Problem::NameGlued)
        }
        "_" => Ok(Segment::Any),
        name => Ok(Segment::Name(name.into())),
    }
}

fn literal(kind: Kind, text: &str, piece: &[Flat]) -> Result<Segment, Wrong> {
    if let Some(offset) = text.find('%') {
        return wrong(piece[offset].at(), Problem::Escape);
    }
    match kind {
        Kind::Path if text == "." || text == ".." => {
            wrong(piece[0].at(), Problem::DotSegment(text.to_owned()))
        }
        Kind::Path => Ok(Segment::Literal(text.into())),
        Kind::Host => {
            let foreign = |c: char| !(c.is_ascii() && super::target::is_host_byte(c as u8));
            match text.char_indices().find(|(_, c)| foreign(*c)) {
                Some((offset, c)) => wrong(piece[offset].at(), Problem::HostCharacter(c)),
                None => Ok(Segment::Literal(text.to_ascii_lowercase().into())),
            }
        }
    }
}

/// An alternative as it would be written.
pub(crate) fn shown(kind: Kind, alternative: &Alternative) -> String {
    let mut parts: Vec<String> = alternative
        .segments
        .iter()
        .map(Segment::to_string)
        .collect();
    if alternative.rest {
        parts.push("[...]".to_owned());
    }
    match kind {
        Kind::Host => {
            parts.reverse();
            parts.join(".")
        }
        Kind::Path => format!("/{}", parts.join("/")),
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Segment::Literal(text) => f.write_str(text),
            Segment::Name(name) => write!(f, ":{name}"),
            Segment::Any => f.write_str(":_"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The alternatives of a pattern, joined by spaces.
    fn read_as(kind: Kind, pattern: &str) -> String {
        let alternatives = parse(kind, pattern).expect("a pattern");
        let shown: Vec<_> = alternatives.iter().map(|a| shown(kind, a)).collect();
        shown.join(" ")
    }

    #[test]
    fn optional_parts_are_expanded_the_shorter_first() {
        for (pattern, alternatives) in [
            ("/", "/"),
            (
                "/hats/[page/[:number]]",
                "/hats /hats/page /hats/page/:number",
            ),
            ("/a/[b]c", "/a/c /a/bc"),
            ("/a/[b/]c", "/a/c /a/b/c"),
            ("/hats[/page]", "/hats /hats/page"),
            ("/book/[:c]/[:p]", "/book /book/:p /book/:c /book/:c/:p"),
            ("/[...]", "/[...]"),
            ("/[...]/", "/[...]"),
            ("/a/[b/[...]]", "/a /a/b/[...]"),
            ("//a///b//", "/a/b"),
            ("/:_/:a/:_", "/:_/:a/:_"),
            ("/foo/bar:blah", "/foo/bar:blah"),
            ("/:user-id.x", "/:user-id.x"),
            ("/_/...", "/_/..."),
            ("/Ünder", "/Ünder"),
        ] {
            assert_eq!(read_as(Kind::Path, pattern), alternatives, "{pattern}");
        }
        for (pattern, alternatives) in [
            ("", ""),
            (".", ""),
            ("example.org.", "example.org"),
            (".Example..ORG", "example.org"),
            ("[www.]example.org", "example.org www.example.org"),
            ("example[.org]", "example example.org"),
            ("[...].example.org", "[...].example.org"),
            (":a.[:b.]:_", ":a.:_ :a.:b.:_"),
        ] {
            assert_eq!(read_as(Kind::Host, pattern), alternatives, "{pattern}");
        }
    }

    #[test]
    fn what_means_nothing_is_refused_at_its_place() {
        use Problem::*;
        let dots = || DotSegment("..".to_owned());
        let same = |text: &str| SameAlternative(text.to_owned());
        for (pattern, at, problem) in [
            ("", 0, NoLeadingSlash),
            ("hats", 0, NoLeadingSlash),
            ("[/hats]", 0, NoLeadingSlash),
            ("**", 0, NoLeadingSlash),
            ("/a/:", 3, EmptyName),
            ("/:/b", 1, EmptyName),
            ("/:[b]", 2, BracketInSegment),
            ("/[:a]b", 5, NameGlued),
            ("/[:]b", 4, NameGlued),
            ("/:...", 1, RestAsName),
            ("/hats[page]", 5, BracketInSegment),
            ("/a/[b][c]", 6, BracketInSegment),
            ("/hats/[page", 6, NotClosed),
            ("/a[/b[/c]", 2, NotClosed),
            ("/hats/page]", 10, NotOpened),
            ("/a/[]", 3, EmptyOptional),
            ("/[...]/x", 1, RestNotLast),
            ("/[...]/[...]", 1, RestNotLast),
            ("/hats[...]", 5, RestGlued),
            ("/:a[...]", 3, RestGlued),
            ("/[...]x", 1, RestGlued),
            ("/[...][x]", 6, BracketInSegment),
            ("/a/../b", 3, dots()),
            ("/a%20b", 2, Escape),
            ("/[a]/[a]", 0, same("/a")),
        ] {
            let found = parse(Kind::Path, pattern);
            assert_eq!(found, wrong(at, problem), "{pattern}");
        }
        for (pattern, at, problem) in [
            ("example.[...]", 8, RestNotFirst),
            ("[...].[...]", 6, RestNotFirst),
            ("[...]example.org", 0, RestGlued),
            ("a%41.org", 1, Escape),
            ("exam ple.org", 4, HostCharacter(' ')),
            ("example.org:80", 11, HostCharacter(':')),
            ("[::1]", 1, EmptyName),
            ("bücher.example", 1, HostCharacter('ü')),
            (":.org", 0, EmptyName),
        ] {
            let found = parse(Kind::Host, pattern);
            let found = found.map(|found| found.len());
            assert_eq!(found, wrong(at, problem), "{pattern}");
        }
        let many = "/[a]".repeat(9);
        assert!(matches!(
            parse(Kind::Path, &many),
            Err(Wrong {
                problem: TooManyAlternatives,
                ..
            })
        ));
        let long = format!("/{}", "a".repeat(MAX_PATTERN_BYTES));
        assert_eq!(parse(Kind::Path, &long), wrong(MAX_PATTERN_BYTES, TooLong));
    }
}
