//! XMPP streams: from bytes to negotiated sessions (RFC 6120 §4 to §7).
//!
//! Three parts, each usable without the next:
//!
//! - [`Transport`]: one XML conversation with its framing hidden. [`TcpTransport`] speaks RFC 6120's
//!   framing over TCP, TLS or memory; WebSocket and BOSH become further implementations.
//! - [`Io`]: the work that owns a transport, done in the task of one session process and ending with it.
//!   Inbound under credit, outbound bounded by bytes, parcels taken only when they are written.
//! - [`Negotiation`]: the state machine from the first header to a bound resource, made of declared
//!   [`Negotiable`]s (STARTTLS, SASL, bind, legacy session).
//!
//! A session's process holds an [`IoHandle`] and a [`Negotiation`] and joins them:
//!
//! ```ignore
//! let step = match event {
//!     IoEvent::Secured(tls) => return self.negotiation.secured(tls),
//!     IoEvent::Open(header) => self.negotiation.open(header),
//!     IoEvent::Element(element, _credit) => self.negotiation.element(element).await,
//!     IoEvent::Close => self.negotiation.closed(),
//!     IoEvent::Fault(fault) => self.negotiation.fault(&fault),
//!     IoEvent::Said => return self.said(),
//!     IoEvent::Detached(why) => return self.end(why),
//! };
//! let reached = self.io.follow(step, limits);
//! ```
//!
//! Accounts and routes are unknown here: [`Authenticator`] and [`Binder`] are filled from above.

mod credit;
mod encode;
mod fault;
mod handle;
mod header;
mod io;
mod negotiation;
mod outbound;
mod outbox;
mod shaper;
mod tcp;
mod transport;

pub use credit::Credit;
pub use fault::Fault;
pub use handle::{IoHandle, Proceed, Reached};
pub use header::{ResponseHeader, StreamHeader, Version};
pub use io::{Detached, Io, IoEvent, IoOptions};
pub use negotiation::{
    Authenticator, Bind, BindRequest, Binder, Exchange, Feature, LegacySession, Negotiable,
    Negotiation, Next, Outcome, Phase, Profile, Sasl, SaslCondition, SaslFailure, SaslStep,
    StartTls, State, Step, Then, TlsPolicy, Visitor, stanza_answer, stanza_refusal,
};
pub use outbound::Outbound;
pub use shaper::{Rate, Shaper};
pub use tcp::{Framing, TcpTransport, memory};
pub use transport::{Inbound, Transport};
// What a session needs of the levels below.
pub use net::{ServerConfig, TlsError, TlsInfo};
pub use xml::{Element, Limits};
