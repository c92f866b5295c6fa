//! `Negotiable`: one thing a stream can negotiate, and the state it sees.

use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use net::{ServerConfig, TlsInfo};
use xml::Element;
use xmpp::{BareJid, FullJid, StreamError};

use crate::Outbound;
use crate::negotiation::Binder;

/// How far a stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nobody has logged in; with or without TLS.
    Connected,
    /// Logged in, without a resource.
    Authenticated,
    /// A resource is bound; stanzas flow.
    Bound,
}

/// One thing a stream can negotiate: announced among the features of its phases, answered when the
/// peer takes it up. One value serves all streams of a listener; what belongs to one stream is kept in
/// its [`State::slot`].
pub trait Negotiable: Send + Sync + 'static {
    /// The phases it belongs to.
    fn phases(&self) -> &'static [Phase];

    /// What to announce now, if anything.
    fn feature(&self, state: &mut State) -> Option<Feature>;

    /// Whether this element is for it. Asked only in its phases, in the order of the profile.
    fn claims(&self, element: &Element, state: &State) -> bool;

    /// Answers an element it claimed.
    fn inline<'a>(&'a self, state: &'a mut State, element: Element) -> BoxFuture<'a, Outcome>;
}

/// An announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// The element, declaring its own namespace.
    pub xml: String,
    /// Whether nothing else is announced until this is negotiated (RFC 6120 §5.3.1).
    pub alone: bool,
}

impl Feature {
    /// A feature among others.
    pub fn new(xml: impl Into<String>) -> Feature {
        Feature {
            xml: xml.into(),
            alone: false,
        }
    }
}

/// The answer of a [`Negotiable`].
#[derive(Debug)]
pub struct Outcome {
    /// Written in order.
    pub answer: Vec<Outbound>,
    /// What follows.
    pub then: Then,
}

/// What follows an answer.
#[derive(Debug)]
pub enum Then {
    /// One more frame.
    Frame,
    /// A TLS handshake.
    StartTls(Arc<ServerConfig>),
    /// The peer is this account; a new header is expected.
    Authenticated(BareJid),
    /// The session has this address.
    Bound(FullJid),
    /// The stream ends with this error.
    Fail(StreamError),
    /// The stream ends without one.
    Close,
}

impl Outcome {
    /// Answers with one element and goes on.
    pub fn answer(element: impl Into<String>) -> Outcome {
        Outcome::with(element, Then::Frame)
    }

    /// Answers with one element, then does something.
    pub fn with(element: impl Into<String>, then: Then) -> Outcome {
        Outcome {
            answer: vec![Outbound::element(element)],
            then,
        }
    }

    /// Ends the stream.
    pub fn fail(error: StreamError) -> Outcome {
        Outcome {
            answer: Vec::new(),
            then: Then::Fail(error),
        }
    }
}

/// What one stream has negotiated.
pub struct State {
    /// How far it has come.
    pub phase: Phase,
    /// The stream id of our last header; empty before it.
    pub id: String,
    /// The served domain the peer named.
    pub host: Option<String>,
    /// The language the peer's header named.
    pub lang: Option<String>,
    /// The TLS handshake, once done.
    pub tls: Option<TlsInfo>,
    /// Who logged in.
    pub account: Option<BareJid>,
    /// The bound address.
    pub bound: Option<FullJid>,
    pub(crate) binder: Arc<dyn Binder>,
    slots: Vec<Box<dyn Any + Send>>,
}

impl State {
    pub(crate) fn new(binder: Arc<dyn Binder>) -> State {
        State {
            phase: Phase::Connected,
            id: String::new(),
            host: None,
            lang: None,
            tls: None,
            account: None,
            bound: None,
            binder,
            slots: Vec::new(),
        }
    }

    /// The address of the peer, where the transport has one.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.binder.peer()
    }

    /// This stream's value of type `T`, made on first use. A negotiable keeps here what it must
    /// remember between two elements.
    pub fn slot<T: Default + Send + 'static>(&mut self) -> &mut T {
        let at = self.slots.iter().position(|slot| slot.is::<T>());
        let at = at.unwrap_or_else(|| {
            self.slots.push(Box::new(T::default()));
            self.slots.len() - 1
        });
        let slot = self.slots[at].downcast_mut();
        slot.expect("the slot was found by its type")
    }

    /// Drops this stream's value of type `T`.
    pub fn clear_slot<T: 'static>(&mut self) {
        self.slots.retain(|slot| !slot.is::<T>());
    }

    /// Forgets everything said so far on this connection.
    pub(crate) fn forget(&mut self) {
        *self = State::new(self.binder.clone());
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("phase", &self.phase)
            .field("id", &self.id)
            .field("host", &self.host)
            .field("tls", &self.tls)
            .field("account", &self.account)
            .field("bound", &self.bound)
            .finish_non_exhaustive()
    }
}
