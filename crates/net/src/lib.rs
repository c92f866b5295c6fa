//! The network: listeners and their acceptors, TLS and its channel bindings, certificates.
//!
//! What is spoken over a connection is unknown here: a listener hands each accepted socket to an
//! [`Accept`], and [`Tls::accept`] turns any byte stream into one inside TLS. This crate alone binds
//! and dials for the server.

mod admission;
mod binding;
mod certificates;
mod dial;
mod listener;
#[cfg(target_os = "linux")]
mod notify;
mod proxy;
mod tls;

pub use admission::{Admission, Ticket, network_of};
pub use binding::ChannelBindings;
pub use certificates::{
    CertificateError, CertificateErrors, CertificateReport, Certificates, ClientCertificate,
    Covered, PreparedCertificates, SelfSigned, Sources,
};
pub use dial::{DialError, Dialed, Dialer, Trust};
pub use listener::{Accept, Bound, Gate, ListenerLimits, LiveGate, PeerAddr, listener_child};
#[cfg(target_os = "linux")]
pub use notify::Notify;
pub use proxy::Network;
pub use tls::{
    ALPN_CLIENT, HANDSHAKE_WITHIN, HANDSHAKES, ServerConfig, Tls, TlsError, TlsInfo, TlsStream,
};
