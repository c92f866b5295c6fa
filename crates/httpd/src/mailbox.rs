//! Messages from processes to a request that goes on: a loop, a WebSocket.

use std::fmt;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// So many messages wait at most.
pub const MAILBOX_MESSAGES: usize = 256;

/// The mailbox of a request. It gives senders to whoever shall say something to the request.
pub struct Mailbox<I>(mpsc::Sender<I>);

impl<I> Mailbox<I> {
    pub(crate) fn new(messages: usize) -> (Mailbox<I>, mpsc::Receiver<I>) {
        let (sender, receiver) = mpsc::channel(messages.max(1));
        (Mailbox(sender), receiver)
    }

    /// A sender into it. Senders outlive the request, and fail then.
    pub fn sender(&self) -> Sender<I> {
        Sender(self.0.clone())
    }
}

/// Says messages to a request. Clones are the same.
pub struct Sender<I>(mpsc::Sender<I>);

/// A message that was not taken: it comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotSent<I> {
    /// So many messages wait already that no more are taken.
    Full(I),
    /// The request has ended.
    Ended(I),
}

impl<I> Sender<I> {
    /// Says `message`; never waits.
    ///
    /// # Errors
    ///
    /// The message again.
    pub fn send(&self, message: I) -> Result<(), NotSent<I>> {
        self.0.try_send(message).map_err(|error| match error {
            TrySendError::Full(message) => NotSent::Full(message),
            TrySendError::Closed(message) => NotSent::Ended(message),
        })
    }

    /// Whether the request has ended.
    pub fn has_ended(&self) -> bool {
        self.0.is_closed()
    }

    /// Waits for the request's end.
    pub async fn ended(&self) {
        self.0.closed().await;
    }
}

impl<I> Clone for Sender<I> {
    fn clone(&self) -> Sender<I> {
        Sender(self.0.clone())
    }
}

impl<I> fmt::Debug for Sender<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("has_ended", &self.has_ended())
            .finish_non_exhaustive()
    }
}

impl<I> fmt::Debug for Mailbox<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").finish_non_exhaustive()
    }
}
