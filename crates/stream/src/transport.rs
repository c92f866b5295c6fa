//! `Transport`: one XML conversation, framing hidden.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use net::{ServerConfig, TlsError, TlsInfo};
use otp::Clock;

use crate::{Fault, Outbound, StreamHeader};

/// What a peer said.
#[derive(Debug)]
pub enum Inbound {
    /// A stream header.
    Open(StreamHeader),
    /// A whole first-level element.
    Element(xml::Element),
    /// The peer closed its stream.
    Close,
    /// The peer says nothing more, without having closed its stream; it may still listen.
    End {
        /// Its last frame is not whole.
        within: bool,
    },
    /// The connection ended; nothing follows.
    Eof,
}

/// One XML conversation with a peer: frames in, frames out.
///
/// Polled by one task (the [`Io`](crate::Io)), which may poll reading and writing in the same turn.
/// Every poll is cancel-safe: what was read or written is remembered.
pub trait Transport: Send + 'static {
    /// Gives the next frame. After a frame nothing behind it has been interpreted, so that
    /// [`restart`](Self::restart) can follow at exactly that point.
    ///
    /// # Errors
    ///
    /// The peer broke the rules or the connection failed; nothing can be read afterwards.
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Inbound, Fault>>;

    /// Frames `item` and keeps it for [`poll_flush`](Self::poll_flush). Items leave in order.
    fn queue(&mut self, item: &Outbound);

    /// Writes some of what is queued and gives how many items have left entirely by now; ready with
    /// the unchanged count when nothing is queued.
    ///
    /// # Errors
    ///
    /// The connection failed; the items that had left by then still count in [`sent`](Self::sent).
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<u64>>;

    /// How many queued items have left entirely since the transport was made.
    fn sent(&self) -> u64;

    /// Bytes that are framed but have not left.
    fn pending(&self) -> usize;

    /// Takes back queued items of which no byte has left, last first, and says how many.
    fn retract(&mut self) -> u64;

    /// Expects a new header from the next unread byte on (RFC 6120 §4.3.3).
    fn restart(&mut self);

    /// Changes what one element may cost.
    fn set_limits(&mut self, limits: xml::Limits);

    /// Does the server's side of a TLS handshake in place. All bytes that were read in clear and
    /// not yet interpreted are thrown away (RFC 6120 §5.4.3.3); a new header is expected.
    fn start_tls<'a>(
        &'a mut self,
        config: Arc<ServerConfig>,
        clock: &'a Clock,
        within: Duration,
    ) -> BoxFuture<'a, Result<TlsInfo, TlsError>>;

    /// The peer has a resource: what a stranger is charged for is given back.
    fn negotiated(&mut self) {}

    /// Says that nothing more will be written.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Reads and throws away until the peer ends the connection.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// How stanzas for this transport are serialised.
    fn target(&self) -> xmpp::Target;
}
