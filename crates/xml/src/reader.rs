//! What reads a stream: bytes as they come, frames when they are complete.

use bytes::BytesMut;

use crate::{Element, Error, Limits, StartTag};

/// Most bytes of one name or attribute value: 16 KiB. Longer text is no token: it has no such bound.
pub const MAX_TOKEN: usize = 16 * 1024;

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

    /// Whether some bytes of a frame have been taken, and not all of it.
    fn is_within(&self) -> bool;

    /// Says that no more bytes will come.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`] unless the stream was closed by its closing tag.
    fn end(&mut self) -> Result<(), Error>;
}
