//! Text into XML and out of it.

use std::fmt::Write;

use crate::chars;
use crate::tokens::{Token, Tokens, read_text};

/// Appends `text` to `out`, escaped for the inside of an attribute in either kind of quotes.
///
/// Tab, line feed and carriage return become references, so that a reader's normalisation
/// leaves them alone (XML 1.0 §3.3.3).
pub fn escape_attr(text: &str, out: &mut impl Write) {
    escape(text, out, |byte| match byte {
        b'&' => Some("&amp;"),
        b'<' => Some("&lt;"),
        b'>' => Some("&gt;"),
        b'"' => Some("&quot;"),
        b'\'' => Some("&apos;"),
        b'\t' => Some("&#9;"),
        b'\n' => Some("&#10;"),
        b'\r' => Some("&#13;"),
        _ => Some("\u{FFFD}"),
    });
}

/// Appends `text` to `out`, escaped for the content of an element.
pub fn escape_text(text: &str, out: &mut impl Write) {
    escape(text, out, |byte| match byte {
        b'&' => Some("&amp;"),
        b'<' => Some("&lt;"),
        b'>' => Some("&gt;"),
        b'\r' => Some("&#13;"),
        b'"' | b'\'' | b'\t' | b'\n' => None,
        _ => Some("\u{FFFD}"),
    });
}

/// Appends ` name="value"` to `out`, the value escaped.
pub fn push_attr(name: &str, value: &str, out: &mut impl Write) {
    put(out, " ");
    put(out, name);
    put(out, "=\"");
    escape_attr(value, out);
    put(out, "\"");
}

fn put(out: &mut impl Write, text: &str) {
    out.write_str(text).expect("memory takes what it is given");
}

/// The bytes that some text may not have: markup, controls, and what U+FFFE and U+FFFF begin with.
const SUSPECT: [bool; 256] = {
    let mut suspect = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        suspect[byte] = byte < 0x20
            || matches!(
                byte as u8,
                b'&' | b'<' | b'>' | b'"' | b'\'' | FIRST_OF_NONCHARACTERS
            );
        byte += 1;
    }
    suspect
};
const FIRST_OF_NONCHARACTERS: u8 = 0xEF;

/// Copies runs between special bytes. Characters that XML cannot carry at all (C0 controls,
/// U+FFFE, U+FFFF) become U+FFFD: our choice, so that no text of ours breaks a stream.
fn escape(text: &str, out: &mut impl Write, special: impl Fn(u8) -> Option<&'static str>) {
    let bytes = text.as_bytes();
    let (mut copied, mut at) = (0, 0);
    let suspect = |byte: &u8| SUSPECT[usize::from(*byte)];
    while let Some(plain) = bytes[at..].iter().position(suspect) {
        at += plain;
        let (replacement, length) = match bytes[at] {
            FIRST_OF_NONCHARACTERS => {
                let is = matches!(bytes[at + 1..], [0xBF, 0xBE | 0xBF, ..]);
                (is.then_some("\u{FFFD}"), 3)
            }
            byte => (special(byte), 1),
        };
        if let Some(replacement) = replacement {
            put(out, &text[copied..at]);
            put(out, replacement);
            copied = at + length;
        }
        at += length;
    }
    put(out, &text[copied..]);
}

/// Returns the text directly inside the element that `bytes` are, references and CDATA resolved.
///
/// Prefixes need not be declared. Bytes that are no element give what could be read of them.
pub fn text_of(bytes: &[u8]) -> String {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    };
    let (mut depth, mut out) = (0usize, String::new());
    for token in Tokens(text) {
        match token {
            Token::Start { empty: true, .. } => {}
            Token::Start { .. } => depth += 1,
            Token::End => depth = depth.saturating_sub(1),
            Token::Text(raw) if depth == 1 => read_text(raw, &mut out),
            Token::Cdata(raw) if depth == 1 => chars::push_lines(raw, &mut out),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attr(text: &str) -> String {
        let mut out = String::new();
        escape_attr(text, &mut out);
        out
    }

    #[test]
    fn specials_become_references() {
        for (text, escaped) in [
            ("", ""),
            ("plain é🤖", "plain é🤖"),
            ("a<b>&\"'", "a&lt;b&gt;&amp;&quot;&apos;"),
            ("\t\n\r", "&#9;&#10;&#13;"),
            ("\u{0}x\u{FFFE}", "\u{FFFD}x\u{FFFD}"),
            (
                "\u{F000}\u{FFFD}\u{FEFF}\u{FFFF}é",
                "\u{F000}\u{FFFD}\u{FEFF}\u{FFFD}é",
            ),
        ] {
            assert_eq!(attr(text), escaped);
        }
        let mut out = String::new();
        escape_text("1 < 2 & \"so\"\n", &mut out);
        assert_eq!(out, "1 &lt; 2 &amp; \"so\"\n");
    }

    // R-254, R-256
    #[test]
    fn text_is_read_through_references_cdata_and_line_ends() {
        for (bytes, text) in [
            ("<a>x&lt;&#65;&#x42;<![CDATA[<&>]]>y</a>", "x<AB<&>y"),
            ("<a>one<b>not this</b>two</a>", "onetwo"),
            ("<p:a>q\r\nr</p:a>", "q\nr"),
            ("<a/>", ""),
            ("<a>x\r&#10;y\r\r\n</a>z", "x\n\ny\n\n"),
            ("<a>half &am", "half &am"),
            ("no element", ""),
        ] {
            assert_eq!(text_of(bytes.as_bytes()), text);
        }
    }
}
