//! What is written to a peer, before framing.

use bytes::Bytes;
use xmpp::StreamError;

use crate::ResponseHeader;

/// One thing to write. The transport frames it.
#[derive(Clone, Debug)]
pub enum Outbound {
    /// The header that answers the peer's; never before it, always before anything else.
    Open(ResponseHeader),
    /// Stream features: the elements inside `<stream:features/>`, each declaring its own namespace.
    Features(String),
    /// A whole element rendered for the transport's [`target`](crate::Transport::target): a stanza,
    /// or a stream-level element that declares its own namespace.
    Element(Bytes),
    /// A stream error.
    Error(StreamError),
    /// The end of the stream.
    Close,
    /// A sign of life where the framing has one (a space, RFC 6120 §4.6.1), else nothing.
    KeepAlive,
}

impl Outbound {
    /// An element from its text.
    pub fn element(text: impl Into<String>) -> Outbound {
        Outbound::Element(Bytes::from(text.into()))
    }
}
