//! From an element that leans on its stream to one that stands alone.

use rxml::error::EndOrError;
use rxml::{AttrMap, Event, Parse, Parser, WithOptions};

use crate::reader::{parse_element, parser_options};
use crate::{Element, Error, Limits, NS_XML, escape_attr, escape_text, push_attr};

/// Writes `element` anew, with every namespace declared where it is used.
pub(crate) fn stand_alone(element: &Element, max_bytes: usize) -> Result<Element, Error> {
    let mut parser = Parser::with_options(parser_options());
    let mut writer = Writer {
        out: String::new(),
        open: Vec::new(),
        tag_open: false,
    };
    let root = synthetic_root(element);
    for bytes in [root.as_bytes(), element.bytes().as_ref()] {
        let mut rest = bytes;
        loop {
            match parser.parse(&mut rest, false) {
                Ok(Some(event)) => writer.write(event),
                Ok(None) | Err(EndOrError::NeedMoreData) => break,
                Err(EndOrError::Error(error)) => {
                    return Err(Error::NotWellFormed(error.to_string()));
                }
            }
            if writer.out.len() > max_bytes {
                return Err(Error::TooBig { limit: max_bytes });
            }
        }
    }
    let unlimited = Limits {
        bytes: max_bytes,
        depth: usize::MAX,
        attributes: usize::MAX,
        children: usize::MAX,
    };
    parse_element(writer.out.as_bytes(), "", &[], unlimited)
}

/// An opening tag that declares what the element's stream declared.
fn synthetic_root(element: &Element) -> String {
    let mut root = String::from("<r");
    for declaration in &element.0.context.declarations {
        let name = match &declaration.prefix {
            Some(prefix) => format!("xmlns:{prefix}"),
            None => "xmlns".to_owned(),
        };
        push_attr(&name, &declaration.namespace, &mut root);
    }
    root.push('>');
    root
}

/// Writes events; the first element it hears of is the synthetic root, which it leaves out.
pub(crate) struct Writer {
    pub(crate) out: String,
    /// Name and default namespace of each open element, the root first.
    open: Vec<(String, String)>,
    /// The last start tag lacks its `>`.
    tag_open: bool,
}

impl Writer {
    /// A writer of an element that stands in no other.
    pub(crate) fn alone() -> Writer {
        Writer {
            out: String::new(),
            open: vec![(String::new(), String::new())],
            tag_open: false,
        }
    }

    /// How many elements are open.
    pub(crate) fn depth(&self) -> usize {
        self.open.len().saturating_sub(1)
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
        let Some((_, default)) = self.open.last() else {
            self.open.push((String::new(), String::new()));
            return;
        };
        let declares = default != namespace;
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
