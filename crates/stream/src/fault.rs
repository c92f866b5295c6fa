//! What goes wrong while listening to a peer, and the stream error that tells it (RFC 6120 §4.9.3).

use std::io;

use xmpp::{StreamCondition, StreamError};

/// Why nothing more can be read from a peer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The connection failed: there is nobody to tell.
    #[error("connection failed: {0}")]
    Io(#[from] io::Error),
    /// The bytes are not the XML of a stream, or too much of it.
    #[error("{0}")]
    Xml(#[from] xml::Error),
    /// The root element is in the stream namespace but not a stream, or not where it belongs.
    #[error("not a stream")]
    BadFormat,
    /// The root element or its content is in another namespace than this stream speaks (§4.8.1, §4.8.2).
    #[error("wrong namespace")]
    InvalidNamespace,
    /// The negotiation was not finished in time.
    #[error("the negotiation took too long")]
    Timeout,
}

impl Fault {
    /// The stream error to answer with.
    pub fn error(&self) -> StreamError {
        let condition = match self {
            Fault::Xml(error) => return StreamError::from(error),
            Fault::BadFormat => StreamCondition::BadFormat,
            Fault::InvalidNamespace => StreamCondition::InvalidNamespace,
            Fault::Timeout => StreamCondition::ConnectionTimeout,
            Fault::Io(_) => StreamCondition::UndefinedCondition,
        };
        StreamError::from(condition)
    }
}
