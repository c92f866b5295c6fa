//! XML for streams: bytes in, frames out, and back to bytes.
//!
//! A [`Reader`] takes bytes as they come from a socket and gives a [`Frame`] whenever one is
//! complete: the opening tag of the stream, one whole first-level [`Element`], or the end of the
//! stream. The reader keeps the exact bytes of an element and an index of its children, so that
//! whoever passes an element on can copy bytes and need not build a tree.
//!
//! What is refused: comments, processing instructions, DTDs, entities other than the five of
//! XML (RFC 6120 §11.1), encodings other than UTF-8 (§11.6), and whatever exceeds the [`Limits`].
//! Limits hold while reading: memory stays bounded whatever the peer sends (§13.12).
//!
//! The server reads with [`Scanner`]. `RxmlReader`, over the `rxml` crate and behind the feature
//! `reference`, is what tests hold it against.
//!
//! A [`DocumentReader`] does the same for files: it goes through a document of any length part by part, and says at
//! which line and column each begins.
//!
//! This crate knows XML and namespaces, not XMPP, sockets or async.

mod chars;
mod document;
mod element;
mod error;
mod escape;
mod events;
mod limits;
mod machine;
mod name;
mod reader;
#[cfg(feature = "reference")]
mod reference;
#[cfg(feature = "reference")]
mod reference_scope;
mod replay;
mod rewrite;
mod scanner;
mod tags;
mod tokens;

pub use document::{DocumentError, DocumentReader, Part, Position};
pub use element::{Attr, Child, Declaration, Element, StartTag};
pub use error::Error;
pub use escape::{escape_attr, escape_text, push_attr, text_of};
pub use limits::Limits;
pub use name::{Known, Name, Namespace};
pub use reader::{Frame, MAX_TOKEN, Reader};
#[cfg(feature = "reference")]
pub use reference::RxmlReader;
pub use replay::Events;
pub use scanner::{Scanner, parse_element};

/// Namespace that only `xmlns` is bound to, and nothing may be (Namespaces in XML §3).
pub(crate) const NS_XMLNS: &str = "http://www.w3.org/2000/xmlns/";

/// Namespace that the prefix `xml` is bound to, always and undeclared (Namespaces in XML §3).
pub const NS_XML: &str = "http://www.w3.org/XML/1998/namespace";
