//! The push reader: bytes as they come, frames when they are complete.

use std::mem;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use rxml::error::EndOrError;
use rxml::{NcName, Parse, RawEvent, RawParser, WithOptions};
use smallvec::SmallVec;

use crate::element::{Context, Parts};
use crate::scope::Scope;
use crate::{Attr, Child, Declaration, Element, Error, Limits, NS_XML, Name, Namespace, StartTag};

/// Most bytes of one name or attribute value: 16 KiB. Longer text is no token: it has no such bound.
pub const MAX_TOKEN: usize = 16 * 1024;

/// Namespace that only `xmlns` may be bound to.
const NS_XMLNS: &str = "http://www.w3.org/2000/xmlns/";

/// What a stream consists of. White space between first-level elements (keep-alive, RFC 6120
/// §4.6.1) is swallowed.
#[derive(Debug, Clone)]
pub enum Frame {
    /// The opening tag of the stream.
    Open(StartTag),
    /// A complete first-level element.
    Element(Element),
    /// The closing tag of the stream.
    Close,
}

/// Reader of one stream, fed with bytes.
pub trait Reader: Send {
    /// Takes bytes from the front of `input` and returns the next frame, or `None` when `input`
    /// is used up without completing one.
    ///
    /// When a frame is returned, `input` starts with the first byte behind it. That is where
    /// a stream restart or TLS begins. After [`Frame::Close`] nothing more is taken.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the bytes. The same error is returned ever after.
    fn feed(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, Error>;

    /// Forgets everything: the next bytes begin a new stream. Limits stay.
    fn reset(&mut self);

    /// Sets the limits that hold from now on, also for an element half read.
    fn set_limits(&mut self, limits: Limits);

    /// Says that no more bytes will come.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`] unless the stream was closed by its closing tag.
    fn end(&mut self) -> Result<(), Error>;
}

/// Reads one element that stands alone, such as a WebSocket frame or a stored stanza. `content`
/// is the default namespace it inherits.
///
/// # Errors
///
/// Whatever is wrong with the bytes; [`Error::Truncated`] when they end too early and
/// [`Error::NotWellFormed`] when something follows the element.
pub fn parse_element(
    bytes: &[u8],
    content: &str,
    known: &'static [&'static str],
    limits: Limits,
) -> Result<Element, Error> {
    let mut reader = RxmlReader::new(Limits {
        bytes: usize::MAX,
        ..limits
    })
    .known(known);
    let mut root = String::from("<r");
    if !content.is_empty() {
        crate::push_attr("xmlns", content, &mut root);
    }
    root.push('>');
    reader.feed(&mut BytesMut::from(root.as_bytes()))?;
    reader.set_limits(limits);
    let mut input = BytesMut::from(bytes);
    match reader.feed(&mut input)? {
        Some(Frame::Element(element)) if input.iter().all(|&byte| is_space(byte)) => Ok(element),
        Some(_) => Err(Error::NotWellFormed("more than one element".into())),
        None => Err(Error::Truncated),
    }
}

/// The [`Reader`] over `rxml`'s parser.
///
/// Idle memory: none beyond the struct and the stream's namespace declarations. While an element
/// arrives: its bytes so far, once, and two buffers of at most [`MAX_TOKEN`].
pub struct RxmlReader {
    parser: RawParser,
    limits: Limits,
    known: &'static [&'static str],
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
    attrs: SmallVec<[Attr; 4]>,
    children: SmallVec<[Child; 4]>,
    text: String,
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
            known: &[],
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

    /// Sets the namespaces for which nothing is allocated, in ascending order.
    #[must_use]
    pub fn known(mut self, namespaces: &'static [&'static str]) -> RxmlReader {
        debug_assert!(namespaces.is_sorted(), "known namespaces are sorted");
        self.known = namespaces;
        self
    }

    fn read(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, Error> {
        if self.closed {
            return Ok(None);
        }
        if self.partial.is_empty() {
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
        let name = Name::from(head.name);
        let mut frame = None;
        match level {
            ROOT => {
                let lang = attrs
                    .iter()
                    .find(|attr| attr.name == "lang" && attr.namespace == NS_XML);
                self.set_context(lang.map(|attr| attr.value.as_str().into()));
                frame = Some(Frame::Open(StartTag {
                    name,
                    prefix: head.prefix.map(Name::from),
                    namespace: namespace.clone(),
                    attrs: attrs.into_vec(),
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
                    text: String::new(),
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
    fn resolve_attributes(&mut self, level: usize) -> Result<(SmallVec<[Attr; 4]>, bool), Error> {
        let mut foreign = false;
        let mut attrs: SmallVec<[Attr; 4]> = SmallVec::new();
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
            let name = Name::from(name);
            if attrs
                .iter()
                .any(|attr| attr.name == name && attr.namespace == namespace)
            {
                return Err(Error::NotWellFormed(format!(
                    "attribute {name:?} given twice"
                )));
            }
            attrs.push(Attr {
                namespace,
                name,
                value,
            });
        }
        self.pending = pending;
        Ok((attrs, foreign))
    }

    fn set_context(&mut self, lang: Option<Box<str>>) {
        let declarations = self.scope.iter().map(|(prefix, namespace)| Declaration {
            prefix: prefix.cloned().map(Name::from),
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
                building.text.push_str(text);
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
            text: built.text,
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

    fn end(&mut self) -> Result<(), Error> {
        match (&self.failed, self.closed) {
            (Some(error), _) => Err(error.clone()),
            (None, true) => Ok(()),
            (None, false) => Err(Error::Truncated),
        }
    }
}

/// How every parser of this crate is set up: no comments, tokens up to [`MAX_TOKEN`].
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

fn not_well_formed(why: &str) -> Error {
    Error::NotWellFormed(why.into())
}

pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}
