//! Stanzas: what is routed (RFC 6120 §8, RFC 6121).
//!
//! A stanza is immutable and shared. It holds its parsed head, its canonical bytes, and where its
//! children stand in them. Canonical means: the content namespace is implied, so that the same
//! bytes serve client, server and component streams; `xml:lang` is explicit when the stream gave
//! one; nothing else refers to the stream. Everything else is as the sender wrote it.

mod build;
mod edit;
mod head;
mod read;

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

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
    bytes: Bytes,
    /// Where the bytes between start tag and end tag stand.
    content: Range<usize>,
    children: SmallVec<[Child; 4]>,
    dom: OnceLock<minidom::Element>,
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
        self.0.head.from.as_ref()
    }

    /// Returns the recipient. An empty `to` counts as none (our choice, R-104).
    pub fn to(&self) -> Option<&Jid> {
        self.0.head.to.as_ref()
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
        &self.0.children
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
        &self.0.bytes[child.range()]
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
            .get_or_init(|| crate::payload::tree(&self.0.bytes))
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

    /// Returns how many bytes the stanza has.
    #[allow(clippy::len_without_is_empty, reason = "no stanza is empty")]
    pub fn len(&self) -> usize {
        self.0.bytes.len()
    }

    /// Returns the canonical bytes: what [`Target::Client`], [`Target::Server`] and
    /// [`Target::Component`] are sent.
    pub fn bytes(&self) -> &Bytes {
        &self.0.bytes
    }

    /// Begins a changed copy.
    pub fn edit(&self) -> Edit {
        Edit::of(self)
    }

    /// Appends the stanza to `out` as it is written to `target`.
    pub fn serialise(&self, target: Target, out: &mut BytesMut) {
        match target {
            Target::Client | Target::Server | Target::Component => {
                out.extend_from_slice(&self.0.bytes);
            }
            Target::Frame | Target::Embedded => {
                let name_end = 1 + self.kind().as_str().len();
                out.reserve(self.len() + 24);
                out.extend_from_slice(&self.0.bytes[..name_end]);
                out.extend_from_slice(b" xmlns=\"jabber:client\"");
                out.extend_from_slice(&self.0.bytes[name_end..]);
            }
        }
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
        self.0.bytes == other.0.bytes
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
