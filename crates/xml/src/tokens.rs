//! Tags and text of an element that was read before, so that nothing need be checked again.

use std::borrow::Cow;

use crate::chars::{self, NAME, is_space};

/// A piece of XML, as written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// A start tag. The attributes are for [`attrs`].
    Start {
        name: &'a str,
        attrs: &'a str,
        empty: bool,
    },
    End,
    /// Text without markup; [`read_text`] gives its meaning.
    Text(&'a str),
    /// Inside of a CDATA section.
    Cdata(&'a str),
}

/// The pieces of well-formed XML in order. Other text ends early.
pub(crate) struct Tokens<'a>(pub &'a str);

impl<'a> Tokens<'a> {
    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    fn tag(&mut self) -> Option<Token<'a>> {
        let bytes = self.0.as_bytes();
        let name = 1 + chars::run(bytes.get(1..)?, NAME);
        let mut end = name;
        loop {
            end += memchr::memchr3(b'>', b'"', b'\'', bytes.get(end..)?)?;
            let quote = bytes[end];
            end += 1;
            if quote == b'>' {
                break;
            }
            end += memchr::memchr(quote, &bytes[end..])? + 1;
        }
        let tag = self.take(end);
        let attrs = &tag[name..end - 1];
        let inside = attrs.strip_suffix('/');
        (name > 1).then_some(Token::Start {
            name: &tag[1..name],
            attrs: inside.unwrap_or(attrs),
            empty: inside.is_some(),
        })
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        const CDATA: &str = "<![CDATA[";
        let bytes = self.0.as_bytes();
        match (bytes.first()?, bytes.get(1)) {
            (b'<', Some(b'/')) => {
                let end = memchr::memchr(b'>', bytes)?;
                self.take(end + 1);
                Some(Token::End)
            }
            (b'<', _) if self.0.starts_with(CDATA) => {
                let end = memchr::memmem::find(bytes, b"]]>")?;
                let section = self.take(end + 3);
                Some(Token::Cdata(&section[CDATA.len()..end]))
            }
            (b'<', _) => self.tag(),
            _ => {
                let end = memchr::memchr(b'<', bytes).unwrap_or(bytes.len());
                Some(Token::Text(self.take(end)))
            }
        }
    }
}

/// Lists the attributes of a start tag: names as written, values as meant.
pub(crate) fn attrs(tag: &str) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
    let mut rest = tag;
    std::iter::from_fn(move || {
        let (name, behind) = rest.split_once('=')?;
        let behind = behind.trim_start_matches(space);
        let quote = behind.chars().next()?;
        let (value, behind) = behind[quote.len_utf8()..].split_once(quote)?;
        rest = behind;
        let mut read = Cow::Borrowed(value);
        if value.contains(['&', '\t', '\n', '\r']) {
            let mut cooked = String::new();
            chars::push_value(value, &mut cooked);
            read = Cow::Owned(cooked);
        }
        Some((name.trim_matches(space), read))
    })
}

fn space(ch: char) -> bool {
    ch.is_ascii() && is_space(ch as u8)
}

/// Appends what raw text means: references resolved, line ends made one.
pub(crate) fn read_text(raw: &str, out: &mut String) {
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'&', rest.as_bytes()) {
        chars::push_lines(&rest[..at], out);
        rest = &rest[at + 1..];
        match chars::reference(rest.as_bytes()) {
            Ok(Some((ch, length))) => {
                out.push(ch);
                rest = &rest[length..];
            }
            _ => out.push('&'),
        }
    }
    chars::push_lines(rest, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_end_behind_their_quotes() {
        let text = "<p:a x = '>/' y=\"&lt;\r\n'\"/><b>t<![CDATA[<]]></b ><c d='' >";
        let tokens: Vec<_> = Tokens(text).collect();
        let start = |name, attrs, empty| Token::Start { name, attrs, empty };
        let expected = [
            start("p:a", " x = '>/' y=\"&lt;\r\n'\"", true),
            start("b", "", false),
            Token::Text("t"),
            Token::Cdata("<"),
            Token::End,
            start("c", " d='' ", false),
        ];
        assert_eq!(tokens, expected);
        let read: Vec<_> = attrs(" x = '>/' y=\"&lt;\r\n'\"").collect();
        assert_eq!(read, [("x", ">/".into()), ("y", "< '".into())]);
    }

    #[test]
    fn what_is_no_xml_ends_early() {
        for text in [
            "<",
            "<a",
            "<a x='",
            "<!-- x -->",
            "<?x?>",
            "<![CDATA[x",
            "</a",
            "< a>",
        ] {
            assert_eq!(Tokens(text).next(), None, "{text}");
        }
    }
}
