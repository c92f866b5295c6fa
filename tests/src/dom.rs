//! XML as a tree, and a reader that turns the bytes of a stream into frames.
//!
//! Independent of the server's own reader on purpose: `rxml` is used directly and fed one byte at a time, so
//! the end of each frame is known exactly.

use std::fmt;

use rxml::error::EndOrError;
use rxml::{Event, Parse, Parser, WithOptions};

/// `xml:` attributes live here.
pub const XML_NS: &str = "http://www.w3.org/XML/1998/namespace";
/// Stanzas of clients live here.
pub const CLIENT_NS: &str = "jabber:client";
/// The stream's own elements live here (RFC 6120 §4.8.1).
pub const STREAM_NS: &str = "http://etherx.jabber.org/streams";

/// An attribute: namespace (empty for most), name, value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attr {
    /// Namespace, empty when the attribute has no prefix.
    pub namespace: String,
    /// Local name.
    pub name: String,
    /// Value, references resolved.
    pub value: String,
}

/// An element with all it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// Namespace name.
    pub namespace: String,
    /// Local name.
    pub name: String,
    /// Attributes, sorted; namespace declarations are not among them.
    pub attrs: Vec<Attr>,
    /// What is inside, in order.
    pub nodes: Vec<Node>,
}

/// What an element can hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A child element.
    Element(Element),
    /// Character data; neighbours are joined.
    Text(String),
}

impl Element {
    /// Parses one element; without `xmlns` it is in `jabber:client`, and `stream:` is declared.
    ///
    /// # Errors
    ///
    /// A sentence when `text` is not exactly one well-formed element.
    pub fn parse(text: &str) -> Result<Element, String> {
        let mut all = Element::parse_all(text)?;
        match (all.pop(), all.len()) {
            (Some(one), 0) => Ok(one),
            (Some(_), more) => Err(format!("one element expected, {} found", more + 1)),
            (None, _) => Err("an element expected, none found".into()),
        }
    }

    /// Parses a sequence of elements as [`Element::parse`] does one.
    ///
    /// # Errors
    ///
    /// A sentence when `text` is not well-formed or holds text between the elements.
    pub fn parse_all(text: &str) -> Result<Vec<Element>, String> {
        let whole = format!("<x xmlns='{CLIENT_NS}' xmlns:stream='{STREAM_NS}'>{text}</x>");
        let mut frames = Frames::new();
        let mut found = Vec::new();
        for byte in whole.bytes() {
            match frames.push(byte)? {
                Some(Frame::Element(element)) => found.push(element),
                Some(Frame::Close) => return Ok(found),
                Some(Frame::Text(text)) => return Err(format!("text outside elements: {text:?}")),
                Some(Frame::Header(_)) | None => {}
            }
        }
        Err("not closed".into())
    }

    /// Value of the attribute without namespace called `name`.
    pub fn attr(&self, name: &str) -> Option<&str> {
        self.attr_ns("", name)
    }

    /// Value of the attribute `name` in `namespace`.
    pub fn attr_ns(&self, namespace: &str, name: &str) -> Option<&str> {
        let found = |attr: &&Attr| attr.namespace == namespace && attr.name == name;
        self.attrs
            .iter()
            .find(found)
            .map(|attr| attr.value.as_str())
    }

    /// Child elements in order.
    pub fn children(&self) -> impl Iterator<Item = &Element> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Element(element) => Some(element),
            Node::Text(_) => None,
        })
    }

    /// First child called `name` in `namespace`.
    pub fn child(&self, namespace: &str, name: &str) -> Option<&Element> {
        self.children().find(|child| child.is(namespace, name))
    }

    /// Whether this is `name` in `namespace`.
    pub fn is(&self, namespace: &str, name: &str) -> bool {
        self.namespace == namespace && self.name == name
    }

    /// All character data directly inside, joined.
    pub fn text(&self) -> String {
        let text = |node: &Node| match node {
            Node::Text(text) => Some(text.clone()),
            Node::Element(_) => None,
        };
        self.nodes.iter().filter_map(text).collect()
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_in(self, CLIENT_NS, f)
    }
}

fn write_in(element: &Element, outer: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let prefix = if element.namespace == STREAM_NS {
        "stream:"
    } else {
        ""
    };
    write!(f, "<{prefix}{}", element.name)?;
    if element.namespace != outer && prefix.is_empty() {
        write!(f, " xmlns=\"{}\"", escape(&element.namespace))?;
    }
    for attr in &element.attrs {
        let (name, value) = (&attr.name, escape(&attr.value));
        match attr.namespace.as_str() {
            "" => write!(f, " {name}=\"{value}\"")?,
            XML_NS => write!(f, " xml:{name}=\"{value}\"")?,
            // One prefix for each: those of one namespace may not declare the same twice.
            other => write!(
                f,
                " xmlns:p-{name}=\"{}\" p-{name}:{name}=\"{value}\"",
                escape(other)
            )?,
        }
    }
    if element.nodes.is_empty() {
        return f.write_str("/>");
    }
    f.write_str(">")?;
    let inner = if prefix.is_empty() {
        element.namespace.as_str()
    } else {
        outer
    };
    for node in &element.nodes {
        match node {
            Node::Element(child) => write_in(child, inner, f)?,
            Node::Text(text) => f.write_str(&escape(text))?,
        }
    }
    write!(f, "</{prefix}{}>", element.name)
}

/// Escapes `text` for element content and for attributes in either quote.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&apos;")
}

/// One thing a stream says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The stream header: the root's start tag.
    Header(Element),
    /// One whole child of the root.
    Element(Element),
    /// Character data that is not whitespace, directly under the root.
    Text(String),
    /// The root's end tag.
    Close,
}

/// Reads one stream. A new stream (after TLS, after SASL) takes a new reader.
pub struct Frames {
    parser: Parser,
    open: Vec<Element>,
    begun: bool,
    ready: std::collections::VecDeque<Frame>,
}

impl Default for Frames {
    fn default() -> Frames {
        Frames::new()
    }
}

impl Frames {
    /// A reader at the beginning of a stream.
    pub fn new() -> Frames {
        let options = rxml::Options {
            max_token_length: 1 << 20,
            ..rxml::Options::default()
        };
        let mut parser = Parser::with_options(options);
        parser.set_text_buffering(false);
        Frames {
            parser,
            open: Vec::new(),
            begun: false,
            ready: Default::default(),
        }
    }

    /// Takes one more byte; gives the frame that it completes.
    ///
    /// # Errors
    ///
    /// A sentence when the stream is not well-formed.
    pub fn push(&mut self, byte: u8) -> Result<Option<Frame>, String> {
        let one = [byte];
        let mut rest: &[u8] = &one;
        loop {
            match self.parser.parse(&mut rest, false) {
                Ok(Some(event)) => self.event(event),
                Ok(None) | Err(EndOrError::NeedMoreData) => break,
                Err(EndOrError::Error(error)) => return Err(format!("not well-formed: {error}")),
            }
        }
        Ok(self.ready.pop_front())
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::XmlDeclaration(..) => {}
            Event::StartElement(_, (namespace, name), attrs) => {
                let mut attrs: Vec<Attr> = attrs
                    .into_iter()
                    .map(|((namespace, name), value)| Attr {
                        namespace: namespace.to_string(),
                        name: name.to_string(),
                        value,
                    })
                    .collect();
                attrs.sort();
                let element = Element {
                    namespace: namespace.to_string(),
                    name: name.to_string(),
                    attrs,
                    nodes: Vec::new(),
                };
                if self.begun {
                    self.open.push(element);
                } else {
                    self.begun = true;
                    self.ready.push_back(Frame::Header(element));
                }
            }
            Event::EndElement(_) => match self.open.pop() {
                None => self.ready.push_back(Frame::Close),
                Some(done) => match self.open.last_mut() {
                    Some(parent) => parent.nodes.push(Node::Element(done)),
                    None => self.ready.push_back(Frame::Element(done)),
                },
            },
            Event::Text(_, text) => match self.open.last_mut() {
                Some(parent) => match parent.nodes.last_mut() {
                    Some(Node::Text(before)) => before.push_str(&text),
                    _ => parent.nodes.push(Node::Text(text)),
                },
                None if text.trim().is_empty() => {}
                None => self.ready.push_back(Frame::Text(text)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stanza_is_read_and_shown() {
        let text = "<message to=\"a@b\" xml:lang=\"de\"><body>1 &lt; 2</body><x xmlns=\"urn:x\"><y/></x></message>";
        let element = Element::parse(text).expect("well-formed");
        assert_eq!(element.namespace, CLIENT_NS);
        assert_eq!(
            element
                .child(CLIENT_NS, "body")
                .map(Element::text)
                .as_deref(),
            Some("1 < 2")
        );
        assert_eq!(element.to_string(), text);
    }

    #[test]
    fn a_stream_is_cut_into_frames() {
        let text = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
                    xmlns:stream='http://etherx.jabber.org/streams' id='1'> <a/><b>t</b></stream:stream>";
        let mut frames = Frames::new();
        let seen: Vec<Frame> = text
            .bytes()
            .filter_map(|byte| frames.push(byte).expect("well-formed"))
            .collect();
        assert_eq!(seen.len(), 4, "{seen:?}");
        assert!(matches!(&seen[0], Frame::Header(header) if header.attr("id") == Some("1")));
        assert!(matches!(&seen[2], Frame::Element(b) if b.text() == "t"));
        assert_eq!(seen[3], Frame::Close);
    }
}
