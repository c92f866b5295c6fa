//! The vocabulary of XMPP: addresses, stanzas, errors, namespaces, payloads.
//!
//! A [`Stanza`] is immutable, shared, and keeps what a user sent byte for byte; what the server
//! changes is laid over it. Payloads become typed values only where they are consumed.
//! This crate knows no async, no actors and no storage.

mod date;
mod error;
mod fragment;
mod id;
mod jid;
pub mod ns;
pub mod payload;
mod sasl;
mod stanza;
mod stream_error;

pub use crate::date::{format_date_time, parse_date_time};
pub use crate::error::{Condition, ErrorType, StanzaError};
pub use crate::fragment::Fragment;
pub use crate::id::random_id;
pub use crate::jid::{
    BareJid, DomainPart, DomainRef, FullJid, Jid, JidError, NodePart, NodeRef, ResourcePart,
    ResourceRef, bare_str, canonical_domain, parse_bare, parse_full, parse_jid,
};
pub use crate::payload::{Payload, PayloadError};
pub use crate::sasl::{SaslCondition, SaslFailure};
pub use crate::stanza::{
    BadPriority, Edit, Faulty, IqType, Kind, MessageType, PresenceType, Show, Stanza, StanzaFault,
    StanzaType, Target,
};
pub use crate::stream_error::{StreamCondition, StreamError};
pub use xml::{Child, escape_text, push_attr};
pub use xso::{AsXml, FromXml};
