//! What can be wrong with the bytes of a stream.

/// Reason why a stream cannot be read on. Every error is final for its stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are no XML 1.0 with namespaces: syntax, characters, tags, prefixes, attributes.
    #[error("not well-formed: {0}")]
    NotWellFormed(String),
    /// A feature of XML that streams may not use (RFC 6120 §11.1).
    #[error("restricted XML: {0}")]
    Restricted(&'static str),
    /// The XML declaration names an encoding other than UTF-8 (RFC 6120 §11.6).
    #[error("the encoding is not UTF-8")]
    Encoding,
    /// A frame is longer than [`crate::Limits::bytes`].
    #[error("more than {limit} bytes in one element")]
    TooBig {
        /// The limit, in bytes.
        limit: usize,
    },
    /// One name or attribute value is longer than [`crate::MAX_TOKEN`].
    #[error("more than {limit} bytes in one name or attribute value")]
    TokenTooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// Elements are nested deeper than [`crate::Limits::depth`].
    #[error("elements nested deeper than {limit}")]
    TooDeep {
        /// The limit, in levels; a first-level element is at depth 1.
        limit: usize,
    },
    /// An element has more attributes than [`crate::Limits::attributes`], or more than four times
    /// as many namespace declarations are in scope.
    #[error("more than {limit} attributes on one element")]
    TooManyAttributes {
        /// The limit.
        limit: usize,
    },
    /// An element has more child elements than [`crate::Limits::children`].
    #[error("more than {limit} children in one element")]
    TooManyChildren {
        /// The limit.
        limit: usize,
    },
    /// Text other than whitespace between two first-level elements.
    #[error("text outside of an element")]
    TextOutside,
    /// The bytes ended in the middle of a frame or before the end of the stream.
    #[error("the stream ended in the middle")]
    Truncated,
}
