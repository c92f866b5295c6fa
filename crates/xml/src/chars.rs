//! Which characters may stand where (XML 1.0, fifth edition), and what references stand for.

use crate::{Error, MAX_TOKEN};

/// Part of a name, or of a character that may be.
pub(crate) const NAME: u8 = 1;
/// First or later byte of a character beyond ASCII.
pub(crate) const HIGH: u8 = 2;
/// `:`.
pub(crate) const COLON: u8 = 4;
/// Part of a name, but not its first character.
pub(crate) const LATER: u8 = 8;
/// White space of XML.
pub(crate) const SPACE: u8 = 16;
/// To be looked at inside an attribute value: quotes, `<`, `&`, controls, and what may begin
/// U+FFFE or U+FFFF.
pub(crate) const IN_VALUE: u8 = 32;

/// What each byte is, by the constants above.
pub(crate) static CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        class[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => NAME,
            b'0'..=b'9' | b'-' | b'.' => NAME | LATER,
            b':' => NAME | COLON,
            b' ' => SPACE,
            b'\t' | b'\n' | b'\r' => SPACE | IN_VALUE,
            0..=0x1f | b'"' | b'\'' | b'<' | b'&' => IN_VALUE,
            0xef => NAME | HIGH | IN_VALUE,
            0x80.. => NAME | HIGH,
            _ => 0,
        };
        byte += 1;
    }
    class
};

pub(crate) fn class(byte: u8) -> u8 {
    CLASS[byte as usize]
}

pub(crate) fn is_space(byte: u8) -> bool {
    class(byte) & SPACE != 0
}

/// How many bytes at the front of `bytes` are of the class.
pub(crate) fn run(bytes: &[u8], wanted: u8) -> usize {
    let end = bytes.iter().position(|&byte| class(byte) & wanted == 0);
    end.unwrap_or(bytes.len())
}

/// How many bytes at the front of `bytes` are not of the class.
pub(crate) fn run_without(bytes: &[u8], unwanted: u8) -> usize {
    let end = bytes.iter().position(|&byte| class(byte) & unwanted != 0);
    end.unwrap_or(bytes.len())
}

/// NameStartChar of XML 1.0 §2.3 [4].
fn starts_name(ch: char) -> bool {
    matches!(ch, ':' | '_' | 'a'..='z' | 'A'..='Z'
        | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{2ff}'
        | '\u{370}'..='\u{37d}' | '\u{37f}'..='\u{1fff}' | '\u{200c}'..='\u{200d}'
        | '\u{2070}'..='\u{218f}' | '\u{2c00}'..='\u{2fef}' | '\u{3001}'..='\u{d7ff}'
        | '\u{f900}'..='\u{fdcf}' | '\u{10000}'..='\u{effff}')
}

/// NameChar of XML 1.0 §2.3 [4a].
fn in_name(ch: char) -> bool {
    starts_name(ch)
        || matches!(ch, '-' | '.' | '0'..='9' | '\u{b7}'
            | '\u{300}'..='\u{36f}' | '\u{203f}'..='\u{2040}')
}

/// Tells whether `text` is a name without a colon (NCName of Namespaces in XML §3).
pub(crate) fn is_ncname(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|ch| starts_name(ch) && ch != ':')
        && chars.all(|ch| in_name(ch) && ch != ':')
}

/// Checks a name as it stands in a tag and returns where its local part begins.
///
/// # Errors
///
/// [`Error::NotWellFormed`] for what is no QName of Namespaces in XML §4.
pub(crate) fn split_name(name: &str) -> Result<usize, Error> {
    let bytes = name.as_bytes();
    let all = bytes.iter().fold(0, |all, &byte| all | class(byte));
    let first = bytes.first().map_or(0, |&byte| class(byte));
    if all & (HIGH | COLON) == 0 && first & NAME != 0 && first & LATER == 0 {
        return Ok(0);
    }
    let local = memchr::memchr(b':', bytes).map_or(0, |colon| colon + 1);
    let prefix = &name[..local.saturating_sub(1)];
    if (local == 0 || is_ncname(prefix)) && is_ncname(&name[local..]) {
        Ok(local)
    } else {
        Err(not_well_formed("a malformed name"))
    }
}

/// Whether the character at `at`, whose first byte is 0xEF, is U+FFFE or U+FFFF.
pub(crate) fn is_noncharacter(bytes: &[u8], at: usize) -> bool {
    matches!(bytes.get(at + 1..at + 3), Some([0xbf, 0xbe | 0xbf]))
}

/// Checks raw text of an element or CDATA section (XML 1.0 §2.2 [2], §2.4 [14]). `bytes[begin..]`
/// is that text as far as it is known, `bytes[from..to]` what is new of it; whole characters.
///
/// # Errors
///
/// [`Error::NotWellFormed`]: a control character, U+FFFE, U+FFFF; outside of CDATA also `]]>`.
pub(crate) fn check_text(
    bytes: &[u8],
    begin: usize,
    from: usize,
    to: usize,
    cdata: bool,
) -> Result<(), Error> {
    // No early exit: this becomes vector instructions.
    let (mut control, mut suspect) = (false, false);
    for &byte in &bytes[from..to] {
        control |= (byte < b' ') & (byte != b'\t') & (byte != b'\n') & (byte != b'\r');
        suspect |= (byte == b'>') | (byte == 0xef);
    }
    if control {
        return Err(forbidden());
    }
    if !suspect {
        return Ok(());
    }
    for at in memchr::memchr_iter(0xef, &bytes[from..to]) {
        if is_noncharacter(bytes, from + at) {
            return Err(forbidden());
        }
    }
    if cdata {
        return Ok(());
    }
    for at in memchr::memchr_iter(b'>', &bytes[from..to]) {
        if bytes[begin..from + at].ends_with(b"]]") {
            return Err(forbidden());
        }
    }
    Ok(())
}

/// Most characters between `&` and `;`, or behind `&#` or `&#x`.
const REFERENCE: usize = 8;

/// Reads a reference (XML 1.0 §4.1, §4.6): `bytes` begin behind the `&`. Returns the character and
/// how many bytes the rest of the reference has, or `None` when it goes on behind the bytes.
///
/// # Errors
///
/// [`Error::Restricted`] for other entities than the five and for what is too long to be one,
/// [`Error::NotWellFormed`] for what is no reference or means no character.
pub(crate) fn reference(bytes: &[u8]) -> Result<Option<(char, usize)>, Error> {
    let (start, digits, radix): (usize, fn(u8) -> bool, u32) = match bytes {
        [b'#', b'x', ..] => (2, |byte| byte.is_ascii_hexdigit(), 16),
        [b'#', ..] => (1, |byte| byte.is_ascii_digit(), 10),
        _ => (0, |byte| class(byte) & NAME != 0, 0),
    };
    let body = &bytes[start..];
    let length = body.iter().take_while(|&&byte| digits(byte)).count();
    if length > REFERENCE {
        return Err(Error::Restricted("entities"));
    }
    let Some(&end) = body.get(length) else {
        return Ok(None);
    };
    if end != b';' || length == 0 {
        return Err(not_well_formed("a malformed reference"));
    }
    let body = &body[..length];
    let ch = match radix {
        0 => named(body).ok_or(Error::Restricted("entities"))?,
        _ => {
            let code = body.iter().fold(0, |code, &digit| {
                let digit = char::from(digit).to_digit(radix);
                code * radix + digit.expect("only digits were counted")
            });
            let ch = char::from_u32(code).filter(|&ch| is_char(ch));
            ch.ok_or_else(|| not_well_formed("a reference to no character"))?
        }
    };
    Ok(Some((ch, start + length + 1)))
}

fn named(name: &[u8]) -> Option<char> {
    Some(match name {
        b"lt" => '<',
        b"gt" => '>',
        b"amp" => '&',
        b"quot" => '"',
        b"apos" => '\'',
        _ => return None,
    })
}

/// Char of XML 1.0 §2.2 [2].
fn is_char(ch: char) -> bool {
    !matches!(ch, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
}

/// Appends raw text without references to `out`, its line ends made one (XML 1.0 §2.11). Tells
/// nothing of what came before: a line feed whose carriage return did is for the caller to drop.
pub(crate) fn push_lines(mut raw: &str, out: &mut String) {
    while let Some(at) = memchr::memchr(b'\r', raw.as_bytes()) {
        out.push_str(&raw[..at]);
        out.push('\n');
        raw = &raw[at + 1..];
        raw = raw.strip_prefix('\n').unwrap_or(raw);
    }
    out.push_str(raw);
}

/// Appends the value that raw bytes between quotes have (XML 1.0 §3.3.3). What was not checked
/// before is copied as it is.
pub(crate) fn push_value(raw: &str, out: &mut String) {
    let mut rest = raw;
    while let Some(at) = rest.find(['&', '\t', '\n', '\r']) {
        out.push_str(&rest[..at]);
        let special = rest.as_bytes()[at];
        rest = &rest[at + 1..];
        match (special, reference(rest.as_bytes())) {
            (b'&', Ok(Some((ch, length)))) => {
                out.push(ch);
                rest = &rest[length..];
            }
            (b'&', _) => out.push('&'),
            (b'\r', _) => {
                out.push(' ');
                rest = rest.strip_prefix('\n').unwrap_or(rest);
            }
            _ => out.push(' '),
        }
    }
    out.push_str(rest);
}

/// Whether a name or value of so many bytes is still allowed.
pub(crate) fn check_token(length: usize) -> Result<(), Error> {
    match length > MAX_TOKEN {
        true => Err(Error::TokenTooLong { limit: MAX_TOKEN }),
        false => Ok(()),
    }
}

/// What text must not hold: told in the same words wherever the bytes were cut.
pub(crate) fn forbidden() -> Error {
    not_well_formed("text that XML does not allow")
}

#[cold]
pub(crate) fn not_well_formed(why: &str) -> Error {
    Error::NotWellFormed(why.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_the_five_and_characters() {
        for (text, read) in [
            ("amp;", Some(('&', 4))),
            ("#65;x", Some(('A', 4))),
            ("#x1F916;", Some(('\u{1f916}', 8))),
            ("#x0000000A;", Some(('\n', 11))),
            ("am", None),
            ("", None),
            ("#", None),
            ("#x", None),
            ("#12345678", None),
        ] {
            assert_eq!(reference(text.as_bytes()), Ok(read), "{text}");
        }
        for text in [
            ";",
            " ",
            "#;",
            "#x;",
            "#a;",
            "#0;",
            "#xD800;",
            "#x110000;",
            "#xFFFF;",
            "a#",
            "#1x;",
        ] {
            let error = reference(text.as_bytes());
            assert!(matches!(error, Err(Error::NotWellFormed(_))), "{text}");
        }
        for text in ["foo;", "abcdefghi", "#123456789", "AMP;"] {
            let error = reference(text.as_bytes());
            assert_eq!(error, Err(Error::Restricted("entities")), "{text}");
        }
    }

    #[test]
    fn names_are_split_at_their_one_colon() {
        for (name, local) in [
            ("a", 0),
            ("_-.9", 0),
            ("p:a", 2),
            ("é:ü", 3),
            ("a\u{b7}", 0),
        ] {
            assert_eq!(split_name(name), Ok(local), "{name}");
        }
        for name in [
            "",
            "9",
            "-a",
            ":a",
            "a:",
            "a:b:c",
            "a:9",
            "a\u{d7}",
            "\u{b7}",
            "a\u{fffe}",
        ] {
            assert!(split_name(name).is_err(), "{name}");
        }
    }
}
