//! The reader over `rxml`, which the scanner is held against.

use std::mem;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use rxml::error::EndOrError;
use rxml::{NcName, Parse, RawEvent, RawParser, WithOptions};
use smallvec::SmallVec;

use crate::chars::is_space;
use crate::element::{Context, Parts, Strings};
use crate::events::{explain, parser_options};
use crate::reference_scope::Scope;
use crate::{
    Child, Declaration, Element, Error, Frame, Known, Limits, MAX_TOKEN, NS_XML, NS_XMLNS, Name,
    Namespace, Reader, StartTag,
};

/// The [`Reader`] over `rxml`'s parser. No server runs it: it is slow and therefore simple, and was
/// there before the scanner.
///
/// Idle memory: none beyond the struct and the stream's namespace declarations. While an element
/// arrives: its bytes so far, once, and two buffers of at most [`MAX_TOKEN`].
pub struct RxmlReader {
    parser: RawParser,
    limits: Limits,
    known: &'static Known,
    /// Bytes of the frame being read that earlier calls took.
    partial: Vec<u8>,
    /// Opening tag being read.
    head: Option<Head>,
    /// Attributes of the opening tag being read.
    pending: Vec<(Option<NcName>, NcName, String)>,
    scope: Scope,
    /// Open elements, the root first.
    open: Vec<Open>,
    /// First-level element being read.
    building: Option<Building>,
    context: Arc<Context>,
    closed: bool,
    failed: Option<Error>,
}

struct Head {
    prefix: Option<NcName>,
    name: NcName,
    start: usize,
}

struct Open {
    namespace: Namespace,
    /// Default namespace inside, and the level that declared it.
    default: (Namespace, usize),
    /// Declarations in scope outside.
    outside: usize,
    children: usize,
}

struct Building {
    name: Name,
    namespace: Namespace,
    attrs: Strings,
    children: SmallVec<[Child; 4]>,
    portable: bool,
    start: usize,
    head_end: usize,
    /// The child being read: its names and where it starts.
    child: Option<(Namespace, Name, usize)>,
}

/// Levels: the root of the stream, a first-level element, its children.
const ROOT: usize = 0;
const FIRST: usize = 1;
const CHILD: usize = 2;

/// Attributes, levels and declarations for which an idle reader keeps room.
const USUAL: usize = 8;

impl RxmlReader {
    /// Returns a reader at the beginning of a stream.
    pub fn new(limits: Limits) -> RxmlReader {
        RxmlReader {
            parser: RawParser::with_options(parser_options()),
            limits,
            known: Known::NONE,
            partial: Vec::new(),
            head: None,
            pending: Vec::new(),
            scope: Scope::default(),
            open: Vec::new(),
            building: None,
            context: Arc::default(),
            closed: false,
            failed: None,
        }
    }

    /// Sets the namespaces for which nothing is allocated.
    #[must_use]
    pub fn known(mut self, namespaces: &'static Known) -> RxmlReader {
        self.known = namespaces;
        self
    }

    fn read(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, Error> {
        if self.closed {
            return Ok(None);
        }
        if self.partial.is_empty() {
            // The end of an empty root waits in the parser.
            if let Ok(Some(event)) = self.parser.parse(&mut &[][..], false) {
                return self.take(event, 0, &[]);
            }
            self.skip_keep_alive(input)?;
        }
        let room = self.limits.bytes.saturating_sub(self.partial.len());
        let end = input.len().min(room);
        let mut taken = 0;
        loop {
            let mut rest = &input[taken..end];
            let result = self.parser.parse(&mut rest, false);
            taken = end - rest.len();
            match result {
                Ok(Some(event)) => {
                    let at = self.partial.len() + taken;
                    if let Some(frame) = self.take(event, at, &input[..taken])? {
                        input.advance(taken);
                        self.forget_partial();
                        if input.is_empty() {
                            // Nothing may follow for hours: an idle stream keeps no scratch room.
                            self.release();
                        }
                        return Ok(Some(frame));
                    }
                }
                Ok(None) | Err(EndOrError::NeedMoreData) => {
                    self.partial.extend_from_slice(&input[..taken]);
                    input.advance(taken);
                    self.release();
                    if !self.partial.is_empty() && self.partial.len() >= self.limits.bytes {
                        return Err(Error::TooBig {
                            limit: self.limits.bytes,
                        });
                    }
                    return Ok(None);
                }
                Err(EndOrError::Error(error)) => {
                    self.partial.extend_from_slice(&input[..taken]);
                    return Err(explain(&error, &self.partial));
                }
            }
        }
    }

    /// Drops white space before a frame and notices text there before any of it is kept.
    fn skip_keep_alive(&mut self, input: &mut BytesMut) -> Result<(), Error> {
        let spaces = input.iter().take_while(|&&byte| is_space(byte)).count();
        input.advance(spaces);
        match input.first() {
            // A reference may stand for white space; the parser will tell.
            None | Some(b'<' | b'&') => Ok(()),
            Some(_) if self.open.is_empty() => Err(not_well_formed("text where a stream begins")),
            Some(_) => Err(Error::TextOutside),
        }
    }

    /// Handles one event. `at` is where the frame's bytes end so far, `fresh` its bytes of this call.
    fn take(&mut self, event: RawEvent, at: usize, fresh: &[u8]) -> Result<Option<Frame>, Error> {
        match event {
            RawEvent::XmlDeclaration(..) => Ok(None),
            RawEvent::ElementHeadOpen(_, (prefix, name)) => self.begin(prefix, name, at),
            RawEvent::Attribute(_, (prefix, name), value) => self.attribute(prefix, name, value),
            RawEvent::ElementHeadClose(_) => self.opened(at),
            RawEvent::Text(_, text) => self.text(&text),
            RawEvent::ElementFoot(_) => Ok(self.close(at, fresh)),
        }
    }

    fn begin(
        &mut self,
        prefix: Option<NcName>,
        name: NcName,
        at: usize,
    ) -> Result<Option<Frame>, Error> {
        let level = self.open.len();
        if level > self.limits.depth {
            return Err(Error::TooDeep {
                limit: self.limits.depth,
            });
        }
        if level >= CHILD {
            let parent = self.open.last_mut().expect("a child has a parent");
            parent.children += 1;
            if parent.children > self.limits.children {
                return Err(Error::TooManyChildren {
                    limit: self.limits.children,
                });
            }
        }
        // The parser has taken `<`, the name, and one byte more to see the name's end.
        let written = prefix.as_ref().map_or(0, |prefix| prefix.len() + 1) + name.len();
        let start = at - written - 2;
        self.head = Some(Head {
            prefix,
            name,
            start,
        });
        Ok(None)
    }

    fn attribute(
        &mut self,
        prefix: Option<NcName>,
        name: NcName,
        value: String,
    ) -> Result<Option<Frame>, Error> {
        self.pending.push((prefix, name, value));
        if self.pending.len() > self.limits.attributes {
            return Err(Error::TooManyAttributes {
                limit: self.limits.attributes,
            });
        }
        Ok(None)
    }

    /// An opening tag is complete: resolves its names and opens the element.
    fn opened(&mut self, at: usize) -> Result<Option<Frame>, Error> {
        let head = self.head.take().expect("an opening tag was begun");
        let level = self.open.len();
        let outside = self.scope.len();
        self.declare(level)?;
        let default = match self.open.last() {
            Some(parent) if self.scope.len() == outside => parent.default.clone(),
            _ => self.scope.default_namespace(),
        };
        let (namespace, declared_at) = match &head.prefix {
            Some(prefix) => self.resolve(prefix)?,
            None => default.clone(),
        };
        let (attrs, foreign_attrs) = self.resolve_attributes(level)?;
        let name = Name::checked(&head.name);
        let mut frame = None;
        match level {
            ROOT => {
                self.set_context(attrs.find(NS_XML, "lang").map(Box::from));
                frame = Some(Frame::Open(StartTag {
                    name,
                    prefix: head.prefix.map(|name| Name::checked(&name)),
                    namespace: namespace.clone(),
                    attrs: Box::new(attrs),
                    context: Arc::clone(&self.context),
                }));
            }
            FIRST => {
                self.building = Some(Building {
                    name,
                    portable: namespace == default.0,
                    namespace: namespace.clone(),
                    attrs,
                    children: SmallVec::new(),
                    start: head.start,
                    head_end: at,
                    child: None,
                });
            }
            _ => {
                let building = self
                    .building
                    .as_mut()
                    .expect("children have a first-level parent");
                let inherited = head.prefix.is_none() && declared_at < CHILD;
                let foreign = head.prefix.is_some() && declared_at < CHILD;
                let parent = &self.open[level - 1];
                let redundant = namespace == building.namespace
                    && parent.namespace == building.namespace
                    && parent.default.1 < CHILD
                    && !inherited;
                building.portable &= !foreign && !redundant && !foreign_attrs;
                if level == CHILD {
                    building.child = Some((namespace.clone(), name, head.start));
                }
            }
        }
        self.open.push(Open {
            namespace,
            default,
            outside,
            children: 0,
        });
        Ok(frame)
    }

    /// Moves the declarations among the pending attributes into scope.
    fn declare(&mut self, level: usize) -> Result<(), Error> {
        let mut fault = None;
        let (scope, known) = (&mut self.scope, self.known);
        self.pending.retain_mut(|(prefix, name, value)| {
            let declared = match prefix {
                Some(prefix) if *prefix == "xmlns" => Some(name.clone()),
                None if *name == "xmlns" => None,
                _ => return true,
            };
            if value == NS_XMLNS {
                fault = Some(not_well_formed("the namespace of xmlns cannot be declared"));
            }
            let namespace = Namespace::interned(value, known);
            // `xml` means what it always means: the parser has checked it.
            if declared.as_ref().is_none_or(|prefix| *prefix != "xml")
                && !scope.declare(declared, namespace, level)
            {
                fault = Some(not_well_formed("a prefix is declared twice in one tag"));
            }
            false
        });
        if self.scope.len() > self.limits.attributes.saturating_mul(4) {
            fault = Some(Error::TooManyAttributes {
                limit: self.limits.attributes,
            });
        }
        fault.map_or(Ok(()), Err)
    }

    fn resolve(&self, prefix: &NcName) -> Result<(Namespace, usize), Error> {
        let found = self.scope.resolve(prefix);
        found.ok_or_else(|| Error::NotWellFormed(format!("undeclared prefix {prefix:?}")))
    }

    /// Resolves the pending attributes of an element at `level`; also tells whether one of them
    /// uses a prefix from outside of the child. Only names are looked at below the first level.
    fn resolve_attributes(&mut self, level: usize) -> Result<(Strings, bool), Error> {
        let mut foreign = false;
        let mut attrs = Strings::default();
        if level >= CHILD && self.pending.len() < 2 && self.pending.iter().all(|a| a.0.is_none()) {
            self.pending.clear();
            return Ok((attrs, foreign));
        }
        let mut pending = mem::take(&mut self.pending);
        for (prefix, name, value) in pending.drain(..) {
            let namespace = match prefix {
                None => Namespace::NONE,
                Some(prefix) => {
                    let (namespace, declared_at) = self.resolve(&prefix)?;
                    foreign |= declared_at < CHILD;
                    namespace
                }
            };
            if attrs.find(&namespace, &name).is_some() {
                return Err(Error::NotWellFormed(format!(
                    "attribute {name:?} given twice"
                )));
            }
            attrs.push_attr(namespace, &name, |out| out.push_str(&value));
        }
        self.pending = pending;
        Ok((attrs, foreign))
    }

    fn set_context(&mut self, lang: Option<Box<str>>) {
        let declarations = self.scope.iter().map(|(prefix, namespace)| Declaration {
            prefix: prefix.cloned().map(|name| Name::checked(&name)),
            namespace: namespace.clone(),
        });
        self.context = Arc::new(Context {
            declarations: declarations.collect(),
            lang,
        });
    }

    fn text(&mut self, text: &str) -> Result<Option<Frame>, Error> {
        match self.open.len() {
            0 | 1 if !text.bytes().all(is_space) => return Err(Error::TextOutside),
            2 => {
                let building = self.building.as_mut().expect("text stands in an element");
                building.attrs.text_mut().push_str(text);
            }
            _ => {}
        }
        Ok(None)
    }

    fn close(&mut self, at: usize, fresh: &[u8]) -> Option<Frame> {
        let closed = self.open.pop().expect("the parser matches tags");
        self.scope.truncate(closed.outside);
        match self.open.len() {
            ROOT => {
                self.closed = true;
                Some(Frame::Close)
            }
            FIRST => Some(Frame::Element(self.complete(fresh))),
            CHILD => {
                let building = self
                    .building
                    .as_mut()
                    .expect("children have a first-level parent");
                let (namespace, name, start) = building.child.take().expect("the child was begun");
                let range = start - building.start..at - building.start;
                building.children.push(Child::new(namespace, name, range));
                None
            }
            _ => None,
        }
    }

    /// Cuts the finished first-level element out of the frame's bytes.
    fn complete(&mut self, fresh: &[u8]) -> Element {
        let built = self
            .building
            .take()
            .expect("a first-level element was begun");
        let bytes = if self.partial.is_empty() {
            Bytes::copy_from_slice(&fresh[built.start..])
        } else {
            self.partial.extend_from_slice(fresh);
            Bytes::copy_from_slice(&self.partial[built.start..])
        };
        let head_end = built.head_end - built.start;
        let foot = match head_end == bytes.len() {
            true => head_end,
            false => memchr::memrchr(b'<', &bytes).expect("an end tag begins with <"),
        };
        Element(Arc::new(Parts {
            name: built.name,
            namespace: built.namespace,
            attrs: built.attrs,
            children: built.children,
            content: head_end..foot,
            portable: built.portable,
            context: Arc::clone(&self.context),
            bytes,
        }))
    }

    fn forget_partial(&mut self) {
        self.partial.clear();
        self.partial.shrink_to(MAX_TOKEN);
    }

    /// Gives back what is not needed until the next bytes come. Room for a usual element stays.
    fn release(&mut self) {
        self.parser.release_temporaries();
        if self.partial.is_empty() {
            self.partial = Vec::new();
            self.pending.shrink_to(USUAL);
            self.open.shrink_to(USUAL);
            self.scope.release(USUAL);
        }
    }
}

impl Reader for RxmlReader {
    fn feed(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = self.read(input);
        if let Err(error) = &result {
            let fresh = RxmlReader::new(self.limits).known(self.known);
            *self = RxmlReader {
                failed: Some(error.clone()),
                ..fresh
            };
        }
        result
    }

    fn reset(&mut self) {
        *self = RxmlReader::new(self.limits).known(self.known);
    }

    fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    fn is_within(&self) -> bool {
        !self.partial.iter().all(u8::is_ascii_whitespace)
    }

    fn end(&mut self) -> Result<(), Error> {
        match (&self.failed, self.closed) {
            (Some(error), _) => Err(error.clone()),
            (None, true) => Ok(()),
            (None, false) => Err(Error::Truncated),
        }
    }
}

fn not_well_formed(why: &str) -> Error {
    Error::NotWellFormed(why.into())
}
