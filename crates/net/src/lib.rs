//! The network: listeners and their acceptors, TLS, certificates.
//!
//! What is spoken over a connection is unknown here: a listener hands each accepted socket to an
//! [`Accept`], and [`Tls::accept`] turns any byte stream into one inside TLS. This crate alone binds
//! and dials for the server.

mod certificates;
mod listener;
mod tls;

pub use certificates::{
    CertificateError, CertificateErrors, CertificateReport, Certificates, Covered, SelfSigned,
    Sources,
};
pub use listener::{Accept, Bound, ListenerLimits, PeerAddr, listener_child};
pub use rustls::ServerConfig;
pub use tls::{ALPN_CLIENT, HANDSHAKE_WITHIN, Tls, TlsError, TlsInfo, TlsStream};
