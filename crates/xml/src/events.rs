//! Between `rxml` and the rest: its options, its errors, and its events written as XML. For documents, and for the
//! reader that the scanner is held against.

use rxml::{AttrMap, Event};

use crate::{Error, MAX_TOKEN, NS_XML, escape_attr, escape_text, push_attr};

/// No comments, tokens up to [`MAX_TOKEN`].
pub(crate) fn parser_options() -> rxml::Options {
    rxml::Options {
        max_token_length: MAX_TOKEN,
        comments: rxml::parser::CommentMode::Reject,
        ..rxml::Options::default()
    }
}

/// Turns the parser's error into ours; `seen` ends where it stopped.
pub(crate) fn explain(error: &rxml::Error, seen: &[u8]) -> Error {
    match error {
        rxml::Error::RestrictedXml("only utf-8 encoding is allowed") => Error::Encoding,
        rxml::Error::RestrictedXml("long name or reference") => {
            Error::TokenTooLong { limit: MAX_TOKEN }
        }
        rxml::Error::RestrictedXml(what) => Error::Restricted(what),
        rxml::Error::UndeclaredEntity => Error::Restricted("entities"),
        // The parser knows no markup declarations and stops at the byte behind `<!`.
        rxml::Error::InvalidSyntax(_)
            if seen[seen.len().saturating_sub(3)..].starts_with(b"<!") =>
        {
            Error::Restricted("document type declarations")
        }
        other => Error::NotWellFormed(other.to_string()),
    }
}

/// Writes the events of one element, so that it stands in no other.
pub(crate) struct Writer {
    pub(crate) out: String,
    /// Name and default namespace of each open element, outermost first.
    open: Vec<(String, String)>,
    /// The last start tag lacks its `>`.
    tag_open: bool,
}

impl Writer {
    /// A writer of an element that stands in no other.
    pub(crate) fn alone() -> Writer {
        Writer {
            out: String::new(),
            open: Vec::new(),
            tag_open: false,
        }
    }

    /// How many elements are open.
    pub(crate) fn depth(&self) -> usize {
        self.open.len()
    }

    pub(crate) fn write(&mut self, event: Event) {
        match event {
            Event::XmlDeclaration(..) => {}
            Event::StartElement(_, (namespace, name), attrs) => {
                self.start(namespace.as_str(), name.as_str(), attrs);
            }
            Event::EndElement(_) => self.end(),
            Event::Text(_, text) => {
                self.finish_tag();
                escape_text(&text, &mut self.out);
            }
        }
    }

    fn start(&mut self, namespace: &str, name: &str, attrs: AttrMap) {
        let inherited = self.open.last().map_or("", |(_, default)| default);
        let declares = inherited != namespace;
        self.finish_tag();
        self.out.push('<');
        self.out.push_str(name);
        if declares {
            push_attr("xmlns", namespace, &mut self.out);
        }
        for (number, ((namespace, name), value)) in attrs.into_iter().enumerate() {
            match namespace.as_str() {
                "" => push_attr(&name, &value, &mut self.out),
                NS_XML => push_attr(&format!("xml:{name}"), &value, &mut self.out),
                other => {
                    self.out.push_str(&format!(" xmlns:a{number}=\""));
                    escape_attr(other, &mut self.out);
                    self.out.push('"');
                    push_attr(&format!("a{number}:{name}"), &value, &mut self.out);
                }
            }
        }
        self.tag_open = true;
        self.open.push((name.to_owned(), namespace.to_owned()));
    }

    fn end(&mut self) {
        let (name, _) = self.open.pop().expect("the parser matches tags");
        if self.tag_open {
            self.out.push_str("/>");
            self.tag_open = false;
            return;
        }
        self.out.push_str("</");
        self.out.push_str(&name);
        self.out.push('>');
    }

    fn finish_tag(&mut self) {
        if self.tag_open {
            self.out.push('>');
            self.tag_open = false;
        }
    }
}
