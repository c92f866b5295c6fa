//! One first-level element as it was received, with an index of what is in it.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::rewrite;
use crate::{Error, NS_XML, Name, Namespace, text_of};

/// Attribute, resolved and unescaped. Namespace declarations are not attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attr<'a> {
    /// Namespace of the attribute's name; empty for one without a prefix.
    pub namespace: &'a str,
    /// Local name.
    pub name: &'a str,
    /// Value, references resolved and white space normalised (XML 1.0 §3.3.3).
    pub value: &'a str,
}

/// The attributes of one tag and, behind them, the text of its element: all in one allocation.
#[derive(Debug, Clone, Default)]
pub(crate) struct Strings {
    text: String,
    slots: SmallVec<[Slot; 6]>,
}

/// Where name and value of an attribute end in the text; they begin where the one before ends.
#[derive(Debug, Clone)]
struct Slot {
    namespace: Namespace,
    name_end: u32,
    value_end: u32,
}

impl Strings {
    /// Makes room for so many bytes.
    pub fn reserve(&mut self, bytes: usize) {
        self.text.reserve(bytes);
    }

    /// Adds an attribute; `write` appends its value.
    pub fn push_attr(&mut self, namespace: Namespace, name: &str, write: impl FnOnce(&mut String)) {
        let offset = |text: &str| u32::try_from(text.len()).expect("tags are shorter than 4 GiB");
        self.text.push_str(name);
        let name_end = offset(&self.text);
        write(&mut self.text);
        self.slots.push(Slot {
            namespace,
            name_end,
            value_end: offset(&self.text),
        });
    }

    /// What text of the element is appended to. No attribute may be added from then on.
    pub fn text_mut(&mut self) -> &mut String {
        &mut self.text
    }

    fn begin_of(&self, slot: usize) -> usize {
        match slot.checked_sub(1) {
            Some(before) => self.slots[before].value_end as usize,
            None => 0,
        }
    }

    fn text(&self) -> &str {
        &self.text[self.begin_of(self.slots.len())..]
    }

    /// Lists the attributes in the order sent.
    pub fn attrs(&self) -> impl Iterator<Item = Attr<'_>> {
        self.slots.iter().enumerate().map(|(at, slot)| {
            let (name, value) = (slot.name_end as usize, slot.value_end as usize);
            Attr {
                namespace: &slot.namespace,
                name: &self.text[self.begin_of(at)..name],
                value: &self.text[name..value],
            }
        })
    }

    /// Returns the value of an attribute.
    pub fn find(&self, namespace: &str, name: &str) -> Option<&str> {
        let mut attrs = self.attrs();
        let attr = attrs.find(|attr| attr.name == name && attr.namespace == namespace)?;
        Some(attr.value)
    }
}

/// Namespace declaration of an opening tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    /// Prefix; `None` declares the default namespace.
    pub prefix: Option<Name>,
    /// What it stands for.
    pub namespace: Namespace,
}

/// What elements inherit from the root of their stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Context {
    pub declarations: Vec<Declaration>,
    pub lang: Option<Box<str>>,
}

/// Opening tag of a stream.
#[derive(Debug, Clone)]
pub struct StartTag {
    pub(crate) name: Name,
    pub(crate) prefix: Option<Name>,
    pub(crate) namespace: Namespace,
    pub(crate) attrs: Box<Strings>,
    pub(crate) context: Arc<Context>,
}

impl StartTag {
    /// Returns the local name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the prefix that the sender gave the name.
    pub fn prefix(&self) -> Option<&str> {
        self.prefix.as_deref()
    }

    /// Returns the namespace of the name.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns the value of an attribute that has no namespace.
    pub fn attr(&self, name: &str) -> Option<&str> {
        self.attrs.find("", name)
    }

    /// Returns the value of an attribute in a namespace.
    pub fn attr_ns(&self, namespace: &str, name: &str) -> Option<&str> {
        self.attrs.find(namespace, name)
    }

    /// Returns `xml:lang`.
    pub fn lang(&self) -> Option<&str> {
        self.attr_ns(NS_XML, "lang")
    }

    /// Returns all attributes in the order sent.
    pub fn attrs(&self) -> impl Iterator<Item = Attr<'_>> {
        self.attrs.attrs()
    }

    /// Returns all namespace declarations in the order sent.
    pub fn declarations(&self) -> &[Declaration] {
        &self.context.declarations
    }

    /// Returns the content namespace, that is the default one (RFC 6120 §4.8.2); empty if none.
    pub fn content(&self) -> &str {
        let default = self
            .declarations()
            .iter()
            .find(|declared| declared.prefix.is_none());
        default.map_or("", |declared| &declared.namespace)
    }
}

/// Child element: where it is in its parent's bytes and what it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    namespace: Namespace,
    name: Name,
    start: u32,
    end: u32,
}

impl Child {
    /// Describes the child at `range` of its parent's bytes.
    ///
    /// # Panics
    ///
    /// When the range ends beyond 4 GiB.
    pub fn new(namespace: Namespace, name: Name, range: Range<usize>) -> Child {
        let offset = |at: usize| u32::try_from(at).expect("elements are shorter than 4 GiB");
        Child {
            namespace,
            name,
            start: offset(range.start),
            end: offset(range.end),
        }
    }

    /// Returns the same child for a parent in whose bytes it stands at `start`.
    pub fn moved_to(&self, start: usize) -> Child {
        let length = self.range().len();
        Child::new(
            self.namespace.clone(),
            self.name.clone(),
            start..start + length,
        )
    }

    /// Returns the same child under another namespace.
    pub fn in_namespace(&self, namespace: Namespace) -> Child {
        Child {
            namespace,
            ..self.clone()
        }
    }

    /// Returns the namespace; empty if none.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns the local name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Tells whether this is a `name` in `namespace`.
    pub fn is(&self, name: &str, namespace: &str) -> bool {
        self.name == name && self.namespace == namespace
    }

    /// Returns where the child stands in its parent's bytes.
    pub fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// One first-level element of a stream. Immutable; a clone costs one count.
#[derive(Debug, Clone)]
pub struct Element(pub(crate) Arc<Parts>);

#[derive(Debug)]
pub(crate) struct Parts {
    pub bytes: Bytes,
    pub name: Name,
    pub namespace: Namespace,
    pub attrs: Strings,
    pub children: SmallVec<[Child; 4]>,
    pub content: Range<usize>,
    pub portable: bool,
    pub context: Arc<Context>,
}

impl Element {
    /// Returns exactly what was received, from `<` to `>`.
    pub fn bytes(&self) -> &Bytes {
        &self.0.bytes
    }

    /// Returns the local name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns the namespace; empty if none.
    pub fn namespace(&self) -> &str {
        &self.0.namespace
    }

    /// Tells whether this is a `name` in `namespace`.
    pub fn is(&self, name: &str, namespace: &str) -> bool {
        self.0.name == name && self.0.namespace == namespace
    }

    /// Returns the value of an attribute that has no namespace.
    pub fn attr(&self, name: &str) -> Option<&str> {
        self.0.attrs.find("", name)
    }

    /// Returns the value of an attribute in a namespace.
    pub fn attr_ns(&self, namespace: &str, name: &str) -> Option<&str> {
        self.0.attrs.find(namespace, name)
    }

    /// Returns the element's own `xml:lang`.
    pub fn lang(&self) -> Option<&str> {
        self.attr_ns(NS_XML, "lang")
    }

    /// Returns the `xml:lang` of the stream's opening tag.
    pub fn stream_lang(&self) -> Option<&str> {
        self.0.context.lang.as_deref()
    }

    /// Returns all attributes in the order sent.
    pub fn attrs(&self) -> impl Iterator<Item = Attr<'_>> {
        self.0.attrs.attrs()
    }

    /// Returns the child elements in order, first level only.
    pub fn children(&self) -> &[Child] {
        &self.0.children
    }

    /// Returns the first child called `name` in `namespace`.
    pub fn child(&self, name: &str, namespace: &str) -> Option<&Child> {
        self.children()
            .iter()
            .find(|child| child.is(name, namespace))
    }

    /// Returns the bytes of one of this element's children. Unless the child declares it, its
    /// default namespace is this element's.
    ///
    /// # Panics
    ///
    /// May panic when `child` belongs to another element.
    pub fn child_bytes(&self, child: &Child) -> &[u8] {
        &self.0.bytes[child.range()]
    }

    /// Returns the text directly inside one of this element's children.
    pub fn child_text(&self, child: &Child) -> String {
        text_of(self.child_bytes(child))
    }

    /// Returns the text directly inside this element, references and CDATA resolved.
    pub fn text(&self) -> &str {
        self.0.attrs.text()
    }

    /// Returns where the bytes between start tag and end tag stand; empty for `<a/>`.
    pub fn content(&self) -> Range<usize> {
        self.0.content.clone()
    }

    /// Tells whether the content can be copied as it is.
    ///
    /// True when the content means the same under every start tag whose default namespace is
    /// this element's and that declares no prefix: no descendant uses a prefix declared outside
    /// of the child it stands in, nor names this element's namespace where it would inherit it,
    /// nor has an attribute with a bare carriage return, which not every reader normalises.
    pub fn portable(&self) -> bool {
        self.0.portable
    }

    /// Returns this element in a form that stands alone: every namespace is declared where it is
    /// used, nothing is inherited from the stream, and the content is [portable](Self::portable).
    ///
    /// # Errors
    ///
    /// [`Error::TooBig`] when the result exceeds `max_bytes`: a long namespace name behind a
    /// short prefix can make little XML very long.
    pub fn stand_alone(&self, max_bytes: usize) -> Result<Element, Error> {
        rewrite::stand_alone(self, max_bytes)
    }
}
