//! The server's side of a TLS handshake, bounded in time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use otp::Clock;
use rustls::{HandshakeKind, ProtocolVersion, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

/// A byte stream inside TLS, server's side.
pub type TlsStream<S> = tokio_rustls::server::TlsStream<S>;

/// ALPN name of client connections (XEP-0368).
pub const ALPN_CLIENT: &[u8] = b"xmpp-client";

/// Default time for a handshake.
pub const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// What a handshake settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsInfo {
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: &'static str,
    /// The cipher suite by its IANA name.
    pub cipher: String,
    /// The name the peer asked for.
    pub sni: Option<String>,
    /// The protocol agreed on.
    pub alpn: Option<Vec<u8>>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
}

/// Why a handshake failed. The peer was told by a TLS alert where one fits.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The peer did not finish in time.
    #[error("not finished in time")]
    Timeout,
    /// The connection failed.
    #[error("connection failed: {0}")]
    Io(io::Error),
    /// The peer and this server found no common ground, or the peer broke the protocol.
    #[error("{0}")]
    Handshake(rustls::Error),
}

/// TLS on the server's side.
pub struct Tls;

impl Tls {
    /// Does a handshake over `io` within a time on `clock`.
    ///
    /// # Errors
    ///
    /// See [`TlsError`]; `io` is closed then.
    pub async fn accept<S>(
        io: S,
        config: Arc<ServerConfig>,
        clock: &Clock,
        within: Duration,
    ) -> Result<(TlsStream<S>, TlsInfo), TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let accepted = clock.timeout(within, TlsAcceptor::from(config).accept(io));
        let stream = accepted.await.map_err(|_| TlsError::Timeout)?;
        let stream = stream.map_err(explain)?;
        let info = describe(stream.get_ref().1);
        Ok((stream, info))
    }
}

fn explain(error: io::Error) -> TlsError {
    match error.downcast::<rustls::Error>() {
        Ok(error) => TlsError::Handshake(error),
        Err(error) => TlsError::Io(error),
    }
}

fn describe(connection: &rustls::ServerConnection) -> TlsInfo {
    let suite = connection
        .negotiated_cipher_suite()
        .map(|suite| suite.suite());
    TlsInfo {
        version: match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        },
        cipher: suite.map_or_else(String::new, |suite| iana_name(&format!("{suite:?}"))),
        sni: connection.server_name().map(str::to_owned),
        alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
        resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
    }
}

/// rustls writes the suites of TLS 1.3 as `TLS13_…`.
fn iana_name(debug: &str) -> String {
    debug.replacen("TLS13_", "TLS_", 1)
}
