//! Stanzas: what is routed (RFC 6120 §8, RFC 6121).
//!
//! A stanza is immutable and shared. It holds its parsed head and its content: the bytes that came,
//! and where the children stand in them. Stanzas that differ in their head alone share one content,
//! which is copied once, when they are written. What is written is canonical: the content namespace
//! is implied, so that the same bytes serve client, server and component streams; `xml:lang` is
//! explicit when the stream gave one; nothing else refers to the stream. Everything else is
//! as the sender wrote it.

mod build;
mod edit;
mod head;
mod read;

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, LazyLock, OnceLock};

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;
use xml::Child;
use xso::FromXml;

pub use edit::Edit;
use head::Head;
pub use head::{IqType, Kind, MessageType, PresenceType, Show, StanzaType};
pub use read::{Faulty, StanzaFault};

use crate::payload::parse_slice;
use crate::{Jid, PayloadError, ns};

/// A message, presence or IQ. A clone costs one count.
#[derive(Clone)]
pub struct Stanza(Arc<Inner>);

struct Inner {
    head: Head,
    content: Arc<Content>,
    /// How many bytes are written.
    len: usize,
    /// Those bytes, once somebody wanted to see them.
    bytes: OnceLock<Bytes>,
    dom: OnceLock<Box<minidom::Element>>,
}

/// What stands between start tag and end tag.
#[derive(Default)]
struct Content {
    /// In what the children stand: with more around it when it came off a stream.
    text: Bytes,
    /// Where the content is in it.
    range: Range<usize>,
    children: SmallVec<[Child; 4]>,
}

impl Content {
    fn none() -> Arc<Content> {
        static NONE: LazyLock<Arc<Content>> = LazyLock::new(Arc::default);
        Arc::clone(&NONE)
    }

    fn bytes(&self) -> &[u8] {
        &self.text[self.range.clone()]
    }
}

fn put(out: &mut impl fmt::Write, text: &str) {
    out.write_str(text).expect("memory takes what it is given");
}

/// Counts what would be written.
struct Count(usize);

impl fmt::Write for Count {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

/// Where a stanza is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A stream whose content namespace is `jabber:client`.
    Client,
    /// A stream whose content namespace is `jabber:server`.
    Server,
    /// A stream whose content namespace is that of components.
    Component,
    /// A frame of its own, without a stream around it (RFC 7395 §3.3); also for storing.
    Frame,
    /// The inside of another element, such as `<forwarded/>` (XEP-0297).
    Embedded,
}

/// What `xmlns` adds to a stanza that stands alone.
const XMLNS_ROOM: usize = 24;

/// The priority of a presence is no whole number from -128 to 127 (RFC 6121 §4.7.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("priority is no whole number from -128 to 127")]
pub struct BadPriority;

impl Stanza {
    /// Tells which of the three it is.
    pub fn kind(&self) -> Kind {
        self.stanza_type().kind()
    }

    /// Returns kind and type in one, for matching.
    pub fn stanza_type(&self) -> StanzaType {
        self.0.head.type_
    }

    /// Returns the type of a message. An unknown type is `normal` (RFC 6121 §5.2.2, R-132).
    ///
    /// # Panics
    ///
    /// When it is no message; ask [`Stanza::kind`] first.
    pub fn message_type(&self) -> MessageType {
        match self.stanza_type() {
            StanzaType::Message(type_) => type_,
            other => panic!("message type of {other:?}"),
        }
    }

    /// Returns the type of a presence.
    ///
    /// # Panics
    ///
    /// When it is no presence; ask [`Stanza::kind`] first.
    pub fn presence_type(&self) -> PresenceType {
        match self.stanza_type() {
            StanzaType::Presence(type_) => type_,
            other => panic!("presence type of {other:?}"),
        }
    }

    /// Returns the type of an IQ.
    ///
    /// # Panics
    ///
    /// When it is no IQ; ask [`Stanza::kind`] first.
    pub fn iq_type(&self) -> IqType {
        match self.stanza_type() {
            StanzaType::Iq(type_) => type_,
            other => panic!("IQ type of {other:?}"),
        }
    }

    /// Tells whether it is a stanza of type `error`.
    pub fn is_error(&self) -> bool {
        self.stanza_type().is_error()
    }

    /// Returns the sender.
    pub fn from(&self) -> Option<&Jid> {
        self.0.head.from.as_deref()
    }

    /// Returns the recipient. An empty `to` counts as none (our choice, R-104).
    pub fn to(&self) -> Option<&Jid> {
        self.0.head.to.as_deref()
    }

    /// Returns the id.
    pub fn id(&self) -> Option<&str> {
        self.0.head.id.as_deref()
    }

    /// Returns `xml:lang`: the stanza's own, else the one of the stream it came in. An empty one
    /// says that the language is unknown: it is passed on, and `None` here.
    pub fn lang(&self) -> Option<&str> {
        self.0.head.lang.as_deref().filter(|lang| !lang.is_empty())
    }

    /// Returns the child elements in order, first level only.
    pub fn children(&self) -> &[Child] {
        &self.0.content.children
    }

    /// Returns the first child called `name` in `namespace`; that of bodies and the like is
    /// [`ns::CLIENT`] wherever the stanza came from.
    pub fn child(&self, name: &str, namespace: &str) -> Option<&Child> {
        self.children()
            .iter()
            .find(|child| child.is(name, namespace))
    }

    /// Tells whether there is a child called `name` in `namespace`.
    pub fn has_child(&self, name: &str, namespace: &str) -> bool {
        self.child(name, namespace).is_some()
    }

    /// Returns the text of the first child called `name` in `namespace`.
    pub fn child_text(&self, name: &str, namespace: &str) -> Option<String> {
        self.child(name, namespace)
            .map(|child| xml::text_of(self.child_bytes(child)))
    }

    /// Returns the bytes of one of this stanza's children. Its default namespace is
    /// `jabber:client` unless it says otherwise.
    ///
    /// # Panics
    ///
    /// May panic when `child` belongs to another stanza.
    pub fn child_bytes(&self, child: &Child) -> &[u8] {
        &self.0.content.text[child.range()]
    }

    /// Returns the first child: the payload of an IQ.
    pub fn payload(&self) -> Option<&Child> {
        self.children().first()
    }

    /// Returns the namespace of the payload of an IQ.
    pub fn payload_ns(&self) -> Option<&str> {
        self.payload().map(Child::namespace)
    }

    /// Reads one of this stanza's children as a typed value.
    ///
    /// # Errors
    ///
    /// See [`PayloadError`].
    pub fn parse_child<T: FromXml>(&self, child: &Child) -> Result<T, PayloadError> {
        parse_slice(self.child_bytes(child), self.lang())
    }

    /// Returns the whole stanza as a tree in `jabber:client`, built when first asked for.
    pub fn dom(&self) -> &minidom::Element {
        self.0
            .dom
            .get_or_init(|| Box::new(crate::payload::tree(self.bytes())))
    }

    /// Returns the priority of a presence, 0 when it names none (RFC 6121 §4.7.2.3).
    ///
    /// # Errors
    ///
    /// When it is no whole number from -128 to 127.
    pub fn priority(&self) -> Result<i8, BadPriority> {
        match self.child_text("priority", ns::CLIENT) {
            None => Ok(0),
            Some(text) => text
                .trim_matches([' ', '\t', '\n', '\r'])
                .parse()
                .map_err(|_| BadPriority),
        }
    }

    /// Returns how available a presence says its sender is; an unknown word counts as none.
    pub fn show(&self) -> Option<Show> {
        self.child_text("show", ns::CLIENT)
            .and_then(|text| Show::from_name(text.trim()))
    }

    /// Returns how many bytes [`Stanza::bytes`] has.
    #[allow(clippy::len_without_is_empty, reason = "no stanza is empty")]
    pub fn len(&self) -> usize {
        self.0.len
    }

    /// Returns the canonical bytes: what [`Target::Client`], [`Target::Server`] and
    /// [`Target::Component`] are sent. Put together when first asked for, and kept.
    pub fn bytes(&self) -> &Bytes {
        self.0.bytes.get_or_init(|| {
            let mut out = BytesMut::with_capacity(self.len());
            self.write(false, &mut out);
            out.freeze()
        })
    }

    /// Begins a changed copy.
    pub fn edit(&self) -> Edit {
        Edit::of(self.0.head.clone(), Arc::clone(&self.0.content))
    }

    /// Begins a changed one in its place: when nobody else has it, nothing is copied.
    pub fn into_edit(self) -> Edit {
        match Arc::try_unwrap(self.0) {
            Ok(inner) => Edit::of(inner.head, inner.content),
            Err(shared) => Stanza(shared).edit(),
        }
    }

    /// Appends the stanza to `out` as it is written to `target`.
    pub fn serialise(&self, target: Target, out: &mut BytesMut) {
        let alone = matches!(target, Target::Frame | Target::Embedded);
        out.reserve(self.len() + if alone { XMLNS_ROOM } else { 0 });
        self.write(alone, out);
    }

    fn new(head: Head, content: Arc<Content>) -> Stanza {
        let mut tag = Count(0);
        head.write(false, &mut tag);
        let rest = match content.range.len() {
            0 => "/>".len(),
            length => "></>".len() + length + head.type_.kind().as_str().len(),
        };
        Stanza(Arc::new(Inner {
            len: tag.0 + rest,
            head,
            content,
            bytes: OnceLock::new(),
            dom: OnceLock::new(),
        }))
    }

    fn write(&self, alone: bool, out: &mut BytesMut) {
        self.0.head.write(alone, out);
        let content = self.0.content.bytes();
        if content.is_empty() {
            return out.extend_from_slice(b"/>");
        }
        out.extend_from_slice(b">");
        out.extend_from_slice(content);
        out.extend_from_slice(b"</");
        out.extend_from_slice(self.kind().as_str().as_bytes());
        out.extend_from_slice(b">");
    }

    /// Returns the stanza as text that stands alone: what [`Target::Frame`] is sent.
    pub fn to_xml(&self) -> String {
        let mut out = BytesMut::new();
        self.serialise(Target::Frame, &mut out);
        String::from_utf8(out.to_vec()).expect("stanzas are UTF-8")
    }
}

/// Equal when the canonical bytes are.
impl PartialEq for Stanza {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

/// Shows the head and the children's names, never what they hold.
impl fmt::Debug for Stanza {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let children: Vec<&str> = self.children().iter().map(Child::name).collect();
        f.debug_struct("Stanza")
            .field("type", &self.stanza_type())
            .field("from", &self.from())
            .field("to", &self.to())
            .field("id", &self.id())
            .field("children", &children)
            .finish()
    }
}
