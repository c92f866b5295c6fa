//! The events of an element that was read before, for those who build values of them.
//!
//! What comes off a stream has been through the scanner, what is our own is well-formed: nothing of it is checked again,
//! which is most of what a parser costs for a payload of forty bytes.

use rxml::parser::EventMetrics;
use rxml::{AttrMap, Event, NcName};

use crate::NS_XML;
use crate::chars;
use crate::tokens::{Token, Tokens, attrs, read_text};

/// A prefix, what it stands for, and how many elements were open where it was declared.
struct Binding<'a> {
    prefix: &'a str,
    namespace: rxml::Namespace<'static>,
    depth: usize,
}

/// The events of one element in their order, the end of the outermost among them.
///
/// Ends early, without that end, where the text is no element: not well-formed, or with a prefix that nothing declares.
pub struct Events<'a> {
    tokens: Tokens<'a>,
    scope: Vec<Binding<'a>>,
    /// How many elements are open.
    depth: usize,
    /// The element before was empty: its end comes next.
    end: bool,
    begun: bool,
}

impl<'a> Events<'a> {
    /// Reads `text`, whose default namespace is `default` unless it says otherwise.
    pub fn new(text: &'a str, default: &'static str) -> Events<'a> {
        let bind = |prefix, namespace: &'static str| Binding {
            prefix,
            namespace: namespace.into(),
            depth: 0,
        };
        Events {
            tokens: Tokens(text),
            scope: vec![bind("xml", NS_XML), bind("", default)],
            depth: 0,
            end: false,
            begun: false,
        }
    }

    fn namespace(&self, prefix: &str) -> Option<rxml::Namespace<'static>> {
        let mut inner_first = self.scope.iter().rev();
        let binding = inner_first.find(|binding| binding.prefix == prefix)?;
        Some(binding.namespace.clone())
    }

    fn start(&mut self, name: &'a str, tag: &'a str) -> Option<Event> {
        self.depth += 1;
        for (name, value) in attrs(tag) {
            let prefix = match name.split_once(':') {
                Some(("xmlns", prefix)) => prefix,
                None if name == "xmlns" => "",
                _ => continue,
            };
            self.scope.push(Binding {
                prefix,
                namespace: value.into_owned().into(),
                depth: self.depth,
            });
        }
        let mut map = AttrMap::new();
        for (name, value) in attrs(tag) {
            let (namespace, name) = match name.split_once(':') {
                Some(("xmlns", _)) => continue,
                None if name == "xmlns" => continue,
                Some((prefix, name)) => (self.namespace(prefix)?, name),
                // An attribute without a prefix is in no namespace (Namespaces in XML §6.2).
                None => (rxml::Namespace::NONE, name),
            };
            map.insert(namespace, NcName::try_from(name).ok()?, value.into_owned());
        }
        let (prefix, name) = name.split_once(':').unwrap_or(("", name));
        let name = (self.namespace(prefix)?, NcName::try_from(name).ok()?);
        Some(Event::StartElement(EventMetrics::zero(), name, map))
    }

    fn close(&mut self) -> Option<Event> {
        let depth = self.depth;
        self.depth = depth.checked_sub(1)?;
        let declared_here = |binding: &Binding| binding.depth == depth;
        while self.scope.last().is_some_and(declared_here) {
            self.scope.pop();
        }
        Some(Event::EndElement(EventMetrics::zero()))
    }
}

impl Iterator for Events<'_> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if std::mem::take(&mut self.end) {
            return self.close();
        }
        if self.begun && self.depth == 0 {
            return None;
        }
        let mut text = String::new();
        match self.tokens.next()? {
            Token::Start { name, attrs, empty } => {
                (self.begun, self.end) = (true, empty);
                return self.start(name, attrs);
            }
            Token::End => return self.close(),
            Token::Text(raw) => read_text(raw, &mut text),
            Token::Cdata(raw) => chars::push_lines(raw, &mut text),
        }
        self.begun
            .then_some(Event::Text(EventMetrics::zero(), text))
    }
}

#[cfg(test)]
mod tests {
    use rxml::{Parse, Parser};

    use super::*;

    /// What a whole parser says of the element, without metrics, texts joined.
    fn parsed(text: &str) -> Vec<String> {
        let root = format!("<r xmlns='jabber:client'>{text}</r>");
        let (mut rest, mut parser) = (root.as_bytes(), Parser::default());
        let mut events = Vec::new();
        while let Ok(Some(event)) = parser.parse(&mut rest, true) {
            events.push(event);
        }
        // Without the outermost element, which is the test's.
        let inner = events.len() - 1;
        shown(events.drain(1..inner))
    }

    fn shown(events: impl Iterator<Item = Event>) -> Vec<String> {
        let mut out: Vec<String> = Vec::new();
        for event in events {
            match event {
                Event::StartElement(_, (namespace, name), attrs) => {
                    let attrs = attrs.into_iter();
                    let mut attrs: Vec<String> = attrs
                        .map(|((namespace, name), value)| {
                            format!("{{{}}}{name}={value:?}", namespace.as_str())
                        })
                        .collect();
                    attrs.sort();
                    out.push(format!("start {{{}}}{name} {attrs:?}", namespace.as_str()));
                }
                Event::EndElement(_) => out.push("end".into()),
                Event::Text(_, text) => match out.last_mut() {
                    Some(last) if last.starts_with("text ") => last.push_str(&text),
                    _ => out.push(format!("text {text}")),
                },
                Event::XmlDeclaration(..) => {}
            }
        }
        out
    }

    #[test]
    fn they_are_what_a_parser_says() {
        for text in [
            "<ping xmlns='urn:xmpp:ping'/>",
            "<query xmlns=\"jabber:iq:roster\" ver='&quot;1&amp;2'><item jid='a@b'><group>x &lt; y\r\nz</group></item></query>",
            "<a><b xmlns='urn:b'><c/></b><d xmlns=''/><e/></a>",
            "<p:a xmlns:p='urn:p' p:x='1' x='2' xml:lang='de'><p:b xmlns:p='urn:q'><p:c/></p:b><p:d/></p:a>",
            "<a>one<![CDATA[<two> & ]]>three&#65;\u{e9}</a>",
            "<a x='a\tb\nc'  y = \"d>e\" ></a>",
            "<a\n/>",
        ] {
            let replayed = shown(Events::new(text, "jabber:client"));
            assert_eq!(replayed, parsed(text), "{text}");
            assert_eq!(replayed.last().map(String::as_str), Some("end"));
        }
    }

    #[test]
    fn what_is_no_element_ends_without_its_end() {
        for text in [
            "",
            "text",
            "<a>",
            "<a><b/>",
            "<p:a/>",
            "<a p:x=''/>",
            "</a>",
            "<a",
        ] {
            let mut depth = 0;
            let mut ended = false;
            for event in Events::new(text, "jabber:client") {
                match event {
                    Event::StartElement(..) => depth += 1,
                    Event::EndElement(_) => depth -= 1,
                    _ => {}
                }
                ended = depth == 0;
            }
            assert!(!ended, "{text}");
        }
    }

    #[test]
    fn what_stands_behind_the_element_is_not_read() {
        let events = shown(Events::new("<a/><b/>", "urn:d"));
        assert_eq!(events.len(), 2, "{events:?}");
    }
}
