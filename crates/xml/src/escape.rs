//! Text into XML and out of it.

use crate::chars;
use crate::tokens::{Token, Tokens, read_text};

/// Appends `text` to `out`, escaped for the inside of an attribute in either kind of quotes.
///
/// Tab, line feed and carriage return become references, so that a reader's normalisation
/// leaves them alone (XML 1.0 §3.3.3).
pub fn escape_attr(text: &str, out: &mut String) {
    escape(text, out, |byte| match byte {
        b'&' => Some("&amp;"),
        b'<' => Some("&lt;"),
        b'>' => Some("&gt;"),
        b'"' => Some("&quot;"),
        b'\'' => Some("&apos;"),
        b'\t' => Some("&#9;"),
        b'\n' => Some("&#10;"),
        b'\r' => Some("&#13;"),
        _ => None,
    });
}

/// Appends `text` to `out`, escaped for the content of an element.
pub fn escape_text(text: &str, out: &mut String) {
    escape(text, out, |byte| match byte {
        b'&' => Some("&amp;"),
        b'<' => Some("&lt;"),
        b'>' => Some("&gt;"),
        b'\r' => Some("&#13;"),
        _ => None,
    });
}

/// Appends ` name="value"` to `out`, the value escaped.
pub fn push_attr(name: &str, value: &str, out: &mut String) {
    out.push(' ');
    out.push_str(name);
    out.push_str("=\"");
    escape_attr(value, out);
    out.push('"');
}

/// Copies runs between special bytes. Characters that XML cannot carry at all (C0 controls,
/// U+FFFE, U+FFFF) become U+FFFD: our choice, so that no text of ours breaks a stream.
fn escape(text: &str, out: &mut String, special: impl Fn(u8) -> Option<&'static str>) {
    out.reserve(text.len());
    let mut copied = 0;
    for (at, ch) in text.char_indices() {
        let replacement = match ch {
            '\u{80}'.. => matches!(ch, '\u{FFFE}' | '\u{FFFF}').then_some("\u{FFFD}"),
            '\t' | '\n' | '\r' | ' '.. => special(ch as u8),
            _ => Some("\u{FFFD}"),
        };
        if let Some(replacement) = replacement {
            out.push_str(&text[copied..at]);
            out.push_str(replacement);
            copied = at + ch.len_utf8();
        }
    }
    out.push_str(&text[copied..]);
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
