//! From an element that leans on its stream to one that stands alone.

use std::borrow::Cow;

use crate::tokens::{Token, Tokens, attrs, read_text};
use crate::{
    Element, Error, Known, Limits, NS_XML, chars, escape_attr, escape_text, parse_element,
    push_attr,
};

/// Writes `element` anew, with every namespace declared where it is used.
pub(crate) fn stand_alone(element: &Element, max_bytes: usize) -> Result<Element, Error> {
    let text = std::str::from_utf8(element.bytes()).expect("what was read is UTF-8");
    let declared = &element.0.context.declarations;
    let mut writer = Writer {
        out: String::new(),
        open: Vec::new(),
        scope: declared
            .iter()
            .map(|declared| {
                (
                    declared.prefix.as_deref().unwrap_or_default(),
                    (&*declared.namespace).into(),
                )
            })
            .collect(),
        tag_open: false,
    };
    let mut cooked = String::new();
    for token in Tokens(text) {
        cooked.clear();
        match token {
            Token::Start { name, attrs, empty } => {
                writer.start(name, attrs);
                if empty {
                    writer.end();
                }
            }
            Token::End => writer.end(),
            Token::Text(raw) => {
                read_text(raw, &mut cooked);
                writer.text(&cooked);
            }
            Token::Cdata(raw) => {
                chars::push_lines(raw, &mut cooked);
                writer.text(&cooked);
            }
        }
        if writer.out.len() > max_bytes {
            return Err(Error::TooBig { limit: max_bytes });
        }
    }
    let unlimited = Limits {
        bytes: max_bytes,
        depth: usize::MAX,
        attributes: usize::MAX,
        children: usize::MAX,
    };
    parse_element(writer.out.as_bytes(), "", Known::NONE, unlimited)
}

struct Writer<'a> {
    out: String,
    open: Vec<Open<'a>>,
    /// What prefixes stand for, innermost last; the empty one is the default namespace.
    scope: Vec<(&'a str, Cow<'a, str>)>,
    /// The last start tag lacks its `>`.
    tag_open: bool,
}

struct Open<'a> {
    local: &'a str,
    namespace: Cow<'a, str>,
    /// Declarations in scope outside.
    outside: usize,
}

impl<'a> Writer<'a> {
    fn start(&mut self, name: &'a str, tag: &'a str) {
        let outside = self.scope.len();
        let mut plain = Vec::new();
        for (name, value) in attrs(tag) {
            match name.split_once(':') {
                None if name == "xmlns" => self.scope.push(("", value)),
                Some(("xmlns", prefix)) => self.scope.push((prefix, value)),
                None => plain.push((Cow::Borrowed(""), name, value)),
                Some((prefix, local)) => plain.push((Cow::Borrowed(prefix), local, value)),
            }
        }
        for (prefix, ..) in plain.iter_mut().filter(|(prefix, ..)| !prefix.is_empty()) {
            *prefix = self.resolve(prefix);
        }
        plain.sort();
        let (prefix, local) = name.split_once(':').unwrap_or(("", name));
        let namespace = self.resolve(prefix);
        let inherited = self.open.last().map_or("", |parent| &parent.namespace);
        let declares = inherited != namespace;
        self.finish_tag();
        self.out.push('<');
        self.out.push_str(local);
        if declares {
            push_attr("xmlns", &namespace, &mut self.out);
        }
        for (number, (namespace, name, value)) in plain.into_iter().enumerate() {
            match &*namespace {
                "" => push_attr(name, &value, &mut self.out),
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
        self.open.push(Open {
            local,
            namespace,
            outside,
        });
    }

    fn resolve(&self, prefix: &str) -> Cow<'a, str> {
        if prefix == "xml" {
            return Cow::Borrowed(NS_XML);
        }
        let mut scope = self.scope.iter().rev();
        let found = scope.find(|(declared, _)| *declared == prefix);
        found.map_or(Cow::Borrowed(""), |(_, namespace)| namespace.clone())
    }

    fn end(&mut self) {
        let closed = self.open.pop().expect("the scanner matches tags");
        self.scope.truncate(closed.outside);
        if self.tag_open {
            self.out.push_str("/>");
            self.tag_open = false;
            return;
        }
        self.out.push_str("</");
        self.out.push_str(closed.local);
        self.out.push('>');
    }

    fn text(&mut self, text: &str) {
        if !text.is_empty() {
            self.finish_tag();
            escape_text(text, &mut self.out);
        }
    }

    fn finish_tag(&mut self) {
        if self.tag_open {
            self.out.push('>');
            self.tag_open = false;
        }
    }
}
