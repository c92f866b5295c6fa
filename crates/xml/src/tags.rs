//! What tags mean: which elements are open, which prefix is which namespace, what a frame holds.

use std::borrow::Cow;
use std::mem;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::chars::{self, not_well_formed};
use crate::element::{Context, Parts, Strings};
use crate::{
    Child, Declaration, Element, Error, Frame, Known, Limits, NS_XML, NS_XMLNS, Name, Namespace,
    StartTag,
};

/// What outlives a frame.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Namespaces for which nothing is allocated.
    pub known: &'static Known,
    /// Name of the root, as written, once it is open.
    pub root: Option<Box<str>>,
    /// The root is closed already: it has no end tag of its own.
    pub empty: bool,
    pub context: Arc<Context>,
}

impl Default for Stream {
    fn default() -> Self {
        Stream {
            known: Known::NONE,
            root: None,
            empty: false,
            context: Arc::default(),
        }
    }
}

impl Stream {
    /// Refuses a frame by its first byte, before any of it is kept.
    pub fn check_first(&self, byte: u8) -> Result<(), Error> {
        match (byte, self.root.is_some()) {
            // A reference may stand for white space.
            (b'<', _) | (b'&', true) => Ok(()),
            (_, true) => Err(Error::TextOutside),
            (_, false) => Err(not_well_formed("text where a stream begins")),
        }
    }

    /// Level of first-level elements when the root is open, of the root before.
    fn level(&self) -> usize {
        usize::from(self.root.is_some())
    }
}

/// Levels: the root of the stream, a first-level element, its children.
const ROOT: usize = 0;
const FIRST: usize = 1;
const CHILD: usize = 2;

fn offset(at: usize) -> u32 {
    u32::try_from(at).expect("frames are shorter than 4 GiB")
}

/// A name where it stands: `prefix:local`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct QName {
    start: u32,
    local: u32,
    end: u32,
}

impl QName {
    /// Checks the name at `start..end`.
    pub fn new(text: &str, start: usize, end: usize) -> Result<QName, Error> {
        let local = start + chars::split_name(&text[start..end])?;
        Ok(QName {
            start: offset(start),
            local: offset(local),
            end: offset(end),
        })
    }

    pub fn whole(self, text: &str) -> &str {
        &text[self.start as usize..self.end as usize]
    }

    fn local(self, text: &str) -> &str {
        &text[self.local as usize..self.end as usize]
    }

    /// The prefix, empty if there is none.
    fn prefix(self, text: &str) -> &str {
        &text[self.start as usize..self.local.saturating_sub(1).max(self.start) as usize]
    }

    fn has_prefix(self) -> bool {
        self.local > self.start
    }
}

/// A value where it stands, without its quotes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value {
    start: u32,
    end: u32,
    /// It has references or white space to normalise.
    cooked: bool,
}

impl Value {
    pub fn new(at: Range<usize>, cooked: bool) -> Value {
        Value {
            start: offset(at.start),
            end: offset(at.end),
            cooked,
        }
    }

    fn raw(self, text: &str) -> &str {
        &text[self.start as usize..self.end as usize]
    }

    fn push(self, text: &str, out: &mut String) {
        match self.cooked {
            true => chars::push_value(self.raw(text), out),
            false => out.push_str(self.raw(text)),
        }
    }

    pub fn read(self, text: &str) -> Cow<'_, str> {
        if !self.cooked {
            return Cow::Borrowed(self.raw(text));
        }
        let mut out = String::new();
        self.push(text, &mut out);
        Cow::Owned(out)
    }

    /// Whether a carriage return stands in it that no line feed follows.
    fn has_bare_return(self, text: &str) -> bool {
        let raw = self.raw(text).as_bytes();
        self.cooked && memchr::memchr_iter(b'\r', raw).any(|at| raw.get(at + 1) != Some(&b'\n'))
    }
}

#[derive(Debug)]
struct RawAttr {
    name: QName,
    value: Value,
    /// It declares a prefix or the default namespace.
    declares: bool,
}

#[derive(Debug)]
struct Binding {
    /// Where the prefix stands; empty for the default namespace.
    prefix: (u32, u32),
    namespace: Namespace,
    level: usize,
}

#[derive(Debug)]
struct Open {
    name: QName,
    /// Where its tag begins.
    start: usize,
    namespace: Namespace,
    /// Default namespace inside, and the level that declared it.
    default: (Namespace, usize),
    /// Declarations in scope outside.
    outside: usize,
    children: usize,
}

/// The open elements of one frame and what its element will be.
#[derive(Debug, Default)]
pub(crate) struct Tags {
    /// Opening tag being read: its name and where it begins.
    head: QName,
    start: usize,
    attrs: SmallVec<[RawAttr; 8]>,
    declares: bool,
    /// A child's attribute has a bare carriage return.
    bare_return: bool,
    /// What elements of this frame declare; the root's declarations are in the stream's context.
    bindings: SmallVec<[Binding; 3]>,
    /// Open elements below the root.
    open: SmallVec<[Open; 4]>,
    /// Attributes of the root or first-level element, and the latter's text.
    strings: Strings,
    children: SmallVec<[Child; 4]>,
    content: usize,
    portable: bool,
}

impl Tags {
    /// Whether no first-level element is open.
    pub fn is_outside(&self) -> bool {
        self.open.is_empty()
    }

    /// A start tag has a name.
    pub fn begin(
        &mut self,
        stream: &Stream,
        limits: &Limits,
        name: QName,
        start: usize,
    ) -> Result<(), Error> {
        if stream.level() + self.open.len() > limits.depth {
            return Err(Error::TooDeep {
                limit: limits.depth,
            });
        }
        if let Some(parent) = self.open.last_mut() {
            parent.children += 1;
            if parent.children > limits.children {
                return Err(Error::TooManyChildren {
                    limit: limits.children,
                });
            }
        }
        (self.head, self.start) = (name, start);
        Ok(())
    }

    /// A start tag has one attribute more.
    pub fn attribute(
        &mut self,
        limits: &Limits,
        text: &str,
        name: QName,
        value: Value,
    ) -> Result<(), Error> {
        let declares = match name.has_prefix() {
            true => name.prefix(text) == "xmlns",
            false => name.whole(text) == "xmlns",
        };
        if declares {
            let namespace = value.read(text);
            let xml = name.has_prefix() && name.local(text) == "xml";
            if xml != (namespace == NS_XML) {
                return Err(not_well_formed("xml and its namespace belong together"));
            }
            if name.has_prefix() && namespace.is_empty() {
                return Err(not_well_formed("a prefix for no namespace"));
            }
            self.declares = true;
        }
        self.bare_return |= value.has_bare_return(text);
        self.attrs.push(RawAttr {
            name,
            value,
            declares,
        });
        if self.attrs.len() > limits.attributes {
            return Err(Error::TooManyAttributes {
                limit: limits.attributes,
            });
        }
        Ok(())
    }

    /// A start tag is complete and ends at `at`: resolves its names and opens the element.
    pub fn open(
        &mut self,
        stream: &mut Stream,
        limits: &Limits,
        text: &str,
        at: usize,
    ) -> Result<Option<Frame>, Error> {
        let (head, start) = (self.head, self.start);
        let level = stream.level() + self.open.len();
        let outside = self.bindings.len();
        if self.declares {
            self.declare(stream, limits, text, level)?;
        }
        let default = match self.open.last() {
            Some(parent) if self.bindings.len() == outside => parent.default.clone(),
            _ => self
                .find(stream, text, "")
                .unwrap_or((Namespace::NONE, ROOT)),
        };
        let (namespace, declared_at) = match head.has_prefix() {
            true => self.resolve(stream, text, head.prefix(text))?,
            false => default.clone(),
        };
        let foreign_attrs = self.resolve_attributes(stream, text, level)?;
        let bare_return = mem::take(&mut self.bare_return);
        match level {
            ROOT => {
                let tag = self.root(stream, text, namespace);
                return Ok(Some(Frame::Open(tag)));
            }
            FIRST => {
                self.portable = namespace == default.0;
                self.content = at;
            }
            _ => {
                let (first, parent) = (&self.open[0], &self.open[level - FIRST - 1]);
                let inherited = !head.has_prefix() && declared_at < CHILD;
                let foreign = head.has_prefix() && declared_at < CHILD;
                let redundant = !inherited
                    && parent.default.1 < CHILD
                    && namespace == first.namespace
                    && parent.namespace == first.namespace;
                self.portable &= !foreign && !redundant && !foreign_attrs && !bare_return;
            }
        }
        self.open.push(Open {
            name: head,
            start,
            namespace,
            default,
            outside,
            children: 0,
        });
        Ok(None)
    }

    /// The root is open: it is a frame of its own.
    fn root(&mut self, stream: &mut Stream, text: &str, namespace: Namespace) -> StartTag {
        let declarations = self.bindings.iter().map(|binding| {
            let prefix = binding.prefix(text);
            Declaration {
                prefix: (!prefix.is_empty()).then(|| Name::checked(prefix)),
                namespace: binding.namespace.clone(),
            }
        });
        let attrs = mem::take(&mut self.strings);
        stream.context = Arc::new(Context {
            declarations: declarations.collect(),
            lang: attrs.find(NS_XML, "lang").map(Box::from),
        });
        stream.root = Some(self.head.whole(text).into());
        let prefix = self.head.prefix(text);
        StartTag {
            name: Name::checked(self.head.local(text)),
            prefix: (!prefix.is_empty()).then(|| Name::checked(prefix)),
            namespace,
            attrs: Box::new(attrs),
            context: Arc::clone(&stream.context),
        }
    }

    /// Brings the declarations among the attributes into scope.
    fn declare(
        &mut self,
        stream: &Stream,
        limits: &Limits,
        text: &str,
        level: usize,
    ) -> Result<(), Error> {
        self.declares = false;
        let mut fault = None;
        for attr in self.attrs.iter().filter(|attr| attr.declares) {
            let prefix = match attr.name.has_prefix() {
                true => (attr.name.local, attr.name.end),
                false => (0, 0),
            };
            let namespace = attr.value.read(text);
            if namespace == NS_XMLNS {
                fault = Some(not_well_formed("the namespace of xmlns cannot be declared"));
            }
            let binding = Binding {
                prefix,
                namespace: Namespace::interned(&namespace, stream.known),
                level,
            };
            let prefix = binding.prefix(text);
            // It means what it always means.
            if prefix == "xml" {
                continue;
            }
            let mut here = self.bindings.iter().rev();
            let twice = here
                .by_ref()
                .take_while(|other| other.level == level)
                .any(|other| other.prefix(text) == prefix);
            if twice {
                fault = Some(not_well_formed("a prefix is declared twice in one tag"));
            }
            self.bindings.push(binding);
        }
        let in_scope = self.bindings.len() + stream.context.declarations.len();
        if in_scope > limits.attributes.saturating_mul(4) {
            fault = Some(Error::TooManyAttributes {
                limit: limits.attributes,
            });
        }
        fault.map_or(Ok(()), Err)
    }

    /// What a prefix, or the default namespace (""), is bound to, and the level that bound it.
    fn find(&self, stream: &Stream, text: &str, prefix: &str) -> Option<(Namespace, usize)> {
        let mut bindings = self.bindings.iter().rev();
        if let Some(binding) = bindings.find(|binding| binding.prefix(text) == prefix) {
            return Some((binding.namespace.clone(), binding.level));
        }
        let mut outer = stream.context.declarations.iter();
        let declared = outer.find(|outer| outer.prefix.as_deref().unwrap_or_default() == prefix)?;
        Some((declared.namespace.clone(), ROOT))
    }

    fn resolve(
        &self,
        stream: &Stream,
        text: &str,
        prefix: &str,
    ) -> Result<(Namespace, usize), Error> {
        if prefix == "xml" {
            return Ok((Namespace::from_static(NS_XML), usize::MAX));
        }
        let found = self.find(stream, text, prefix);
        found.ok_or_else(|| Error::NotWellFormed(format!("undeclared prefix {prefix:?}")))
    }

    /// Resolves the attributes of an element at `level` and forgets them; also tells whether one
    /// of them uses a prefix from outside of the child. Only names are looked at below the first level.
    fn resolve_attributes(
        &mut self,
        stream: &Stream,
        text: &str,
        level: usize,
    ) -> Result<bool, Error> {
        let simple = match self.attrs.as_slice() {
            [] => true,
            [attr] => level >= CHILD && (attr.declares || !attr.name.has_prefix()),
            _ => false,
        };
        if simple {
            self.attrs.clear();
            return Ok(false);
        }
        let mut foreign = false;
        let mut namespaces: SmallVec<[Namespace; 8]> = SmallVec::new();
        for (at, attr) in self.attrs.iter().enumerate() {
            let mut namespace = Namespace::NONE;
            if !attr.declares {
                let local = attr.name.local(text);
                if attr.name.has_prefix() {
                    let (found, declared_at) =
                        self.resolve(stream, text, attr.name.prefix(text))?;
                    foreign |= declared_at < CHILD;
                    namespace = found;
                }
                let twice = self.attrs[..at].iter().zip(&namespaces).any(|(other, of)| {
                    !other.declares && other.name.local(text) == local && *of == namespace
                });
                if twice {
                    let why = format!("attribute {local:?} given twice");
                    return Err(Error::NotWellFormed(why));
                }
            }
            namespaces.push(namespace);
        }
        if level < CHILD {
            let length = |attr: &RawAttr| (attr.value.end - attr.name.local) as usize;
            self.strings.reserve(self.attrs.iter().map(length).sum());
            for (attr, namespace) in self.attrs.iter().zip(namespaces) {
                if !attr.declares {
                    let name = attr.name.local(text);
                    let value = |out: &mut String| attr.value.push(text, out);
                    self.strings.push_attr(namespace, name, value);
                }
            }
        }
        self.attrs.clear();
        Ok(foreign)
    }

    /// Takes raw text; `begin` is where it began if this is not its beginning.
    pub fn text(&mut self, text: &str, begin: usize, run: Range<usize>) {
        if self.open.len() != 1 {
            return;
        }
        let after_return = text.as_bytes()[begin..run.start].ends_with(b"\r");
        let mut raw = &text[run];
        if after_return {
            raw = raw.strip_prefix('\n').unwrap_or(raw);
        }
        chars::push_lines(raw, self.strings.text_mut());
    }

    /// Takes what a reference stood for.
    pub fn character(&mut self, ch: char) {
        if self.open.len() == 1 {
            self.strings.text_mut().push(ch);
        }
    }

    /// Whether the end tag of this name may stand now.
    pub fn is_open(&self, stream: &Stream, text: &str, name: Range<usize>) -> bool {
        let open = match self.open.last() {
            Some(open) => Some(open.name.whole(text)),
            None => stream.root.as_deref(),
        };
        open == Some(&text[name])
    }

    /// Closes the innermost element. Its end tag is at `foot..end`.
    pub fn close(&mut self, stream: &Stream, text: &str, foot: usize, end: usize) -> Option<Frame> {
        let Some(closed) = self.open.pop() else {
            return Some(Frame::Close);
        };
        self.bindings.truncate(closed.outside);
        match self.open.as_slice() {
            [] => Some(Frame::Element(
                self.complete(stream, text, closed, foot, end),
            )),
            [first] => {
                let range = closed.start - first.start..end - first.start;
                let name = Name::checked(closed.name.local(text));
                self.children
                    .push(Child::new(closed.namespace, name, range));
                None
            }
            _ => None,
        }
    }

    fn complete(
        &mut self,
        stream: &Stream,
        text: &str,
        first: Open,
        foot: usize,
        end: usize,
    ) -> Element {
        Element(Arc::new(Parts {
            name: Name::checked(first.name.local(text)),
            namespace: first.namespace,
            attrs: mem::take(&mut self.strings),
            children: mem::take(&mut self.children),
            content: self.content - first.start..foot - first.start,
            portable: self.portable,
            context: Arc::clone(&stream.context),
            bytes: Bytes::copy_from_slice(&text.as_bytes()[first.start..end]),
        }))
    }
}

impl Binding {
    fn prefix<'a>(&self, text: &'a str) -> &'a str {
        &text[self.prefix.0 as usize..self.prefix.1 as usize]
    }
}
