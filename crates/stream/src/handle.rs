//! The session's end of its IO: what it orders, queues and takes back.

use std::sync::Arc;

use bytes::Bytes;
use net::ServerConfig;
use otp::Envelope;
use parking_lot::Mutex;
use xmpp::{BareJid, FullJid, StreamError};

use crate::credit::Gate;
use crate::outbox::Outbox;
use crate::{Next, Outbound, Step};

/// What the session orders after a frame.
#[derive(Debug)]
pub enum Proceed {
    /// Read one more frame.
    Next,
    /// Read one more frame, a new header (RFC 6120 §4.3.3).
    Restart,
    /// Once everything queued is written, do a TLS handshake, then read one more frame, a header.
    StartTls(Arc<ServerConfig>),
    /// Change what one element may cost. Reads nothing by itself.
    SetLimits(xml::Limits),
    /// The negotiation is over: read under credit from now on.
    Flow,
}

/// What following a [`Step`] has reached.
#[derive(Debug)]
pub enum Reached {
    /// The negotiation goes on.
    Nothing,
    /// The peer is this account.
    Authenticated(BareJid),
    /// The session has this address, and stanzas flow.
    Bound(FullJid),
    /// The stream is closing, with this error if any; [`IoEvent::Detached`](crate::IoEvent::Detached) will follow.
    End(Option<StreamError>),
}

/// What process and IO share.
pub(crate) struct Shared<P> {
    pub(crate) outbox: Mutex<Outbox<P>>,
    pub(crate) gate: Arc<Gate>,
}

/// The session's end of its IO. Held by the process' state: both end together.
pub struct IoHandle<P> {
    shared: Arc<Shared<P>>,
}

impl<P: Send + 'static> IoHandle<P> {
    pub(crate) fn new(shared: Arc<Shared<P>>) -> IoHandle<P> {
        IoHandle { shared }
    }

    /// Queues a stream-level thing behind what already waits. False when the stream is closing or
    /// gone. Not bounded: the session says few of these.
    pub fn push(&self, item: Outbound) -> bool {
        let taken = self.shared.outbox.lock().push(item);
        self.wake();
        taken
    }

    /// Carries out a [`Step`] of the negotiation: writes what it says and proceeds with what comes
    /// next; after [`Next::Bound`] it sets `bound_limits` and lets stanzas flow. Gives what was
    /// reached, for the session to note.
    pub fn follow(&self, step: Step, bound_limits: xml::Limits) -> Reached {
        for item in step.write {
            self.push(item);
        }
        match step.next {
            Next::Frame => self.proceed(Proceed::Next),
            Next::StartTls(config) => self.proceed(Proceed::StartTls(config)),
            Next::Authenticated(account) => {
                self.proceed(Proceed::Restart);
                return Reached::Authenticated(account);
            }
            Next::Bound(jid) => {
                self.proceed(Proceed::SetLimits(bound_limits));
                self.proceed(Proceed::Flow);
                return Reached::Bound(jid);
            }
            Next::Failed(error) => {
                self.close(Some(error.clone()));
                return Reached::End(Some(error));
            }
            Next::Closed => {
                self.close(None);
                return Reached::End(None);
            }
        }
        Reached::Nothing
    }

    /// Queues a parcel rendered for [`Transport::target`]. It is taken once its bytes are written.
    ///
    /// # Errors
    ///
    /// The envelope comes back when [`IoOptions::outbox_bytes`](crate::IoOptions::outbox_bytes) would be exceeded or the stream is
    /// closing or gone.
    pub fn offer(&self, parcel: Envelope<P>, rendered: Bytes) -> Result<(), Envelope<P>> {
        let taken = self.shared.outbox.lock().offer(parcel, rendered);
        self.wake();
        taken
    }

    /// Says what to do after a frame.
    pub fn proceed(&self, order: Proceed) {
        self.shared.outbox.lock().orders.push_back(order);
        self.wake();
    }

    /// Ends the stream: writes what is queued, then `error`, then the closing tag, then waits shortly
    /// for the peer's end. [`IoEvent::Detached`](crate::IoEvent::Detached) follows within bounded time; a process that stops
    /// before cuts this short. Nothing is accepted from now on.
    pub fn close(&self, error: Option<StreamError>) {
        self.shared.outbox.lock().close(error);
        self.wake();
    }

    /// As [`close`](Self::close), but nothing is written that has not begun to be: the rest waits
    /// for [`held_back`](Self::held_back) after [`IoEvent::Said`](crate::IoEvent::Said), or for [`drain`](Self::drain)
    /// after [`IoEvent::Detached`](crate::IoEvent::Detached).
    pub fn cut(&self, error: Option<StreamError>) {
        self.shared.outbox.lock().cut(error);
        self.wake();
    }

    /// Takes back the parcels that a cut kept from being written, in order. The stream's end goes on.
    pub fn held_back(&self) -> Vec<Envelope<P>> {
        self.shared.outbox.lock().held_back()
    }

    /// Takes back every parcel that was not entirely written, in order, and ends the task where it
    /// stands if it still runs. For a stream that shall end politely call it after
    /// [`IoEvent::Detached`](crate::IoEvent::Detached).
    pub fn drain(&self) -> Vec<Envelope<P>> {
        let parcels = self.shared.outbox.lock().drain();
        self.wake();
        parcels
    }

    /// Bytes that wait to be written.
    pub fn queued_bytes(&self) -> usize {
        self.shared.outbox.lock().bytes()
    }

    fn wake(&self) {
        self.shared.gate.waker.wake();
    }
}
