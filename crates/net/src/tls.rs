//! The server's side of a TLS handshake, bounded in time.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use otp::Clock;
use parking_lot::Mutex;
use rustls::server::{Acceptor, ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{HandshakeKind, ProtocolVersion, ServerConnection};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio_rustls::LazyConfigAcceptor;

use crate::binding::end_point;
use crate::certificates::Authorities;
use crate::{ChannelBindings, ClientCertificate};

/// A byte stream inside TLS, server's side.
pub type TlsStream<S> = tokio_rustls::server::TlsStream<S>;

/// ALPN name of client connections (XEP-0368).
pub const ALPN_CLIENT: &[u8] = b"xmpp-client";

/// Default time for a handshake.
pub const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// Default number of handshakes at once.
pub const HANDSHAKES: usize = 256;

/// TLS as the connections of one listener speak it.
pub struct ServerConfig {
    rustls: rustls::ServerConfig,
    /// The turns for handshakes, of the whole server.
    turns: Arc<Semaphore>,
    /// Those who vouch for clients.
    authorities: Arc<Authorities>,
}

impl ServerConfig {
    pub(crate) fn new(
        rustls: rustls::ServerConfig,
        turns: Arc<Semaphore>,
        authorities: Arc<Authorities>,
    ) -> ServerConfig {
        ServerConfig {
            rustls,
            turns,
            authorities,
        }
    }
}

impl fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerConfig").finish_non_exhaustive()
    }
}

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
    /// What a login can be tied to this connection by.
    pub bindings: ChannelBindings,
    /// The peer's certificate, if it showed one that an authority vouches for.
    pub client: Option<ClientCertificate>,
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
    /// Does a handshake over `io` within a time on `clock`, the wait for a turn included.
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
        let handshake = async {
            let _turn = config.turns.acquire().await;
            shake_hands(io, &config, clock).await
        };
        let handshake = clock.timeout(within, handshake);
        handshake.await.map_err(|_| TlsError::Timeout)?
    }
}

async fn shake_hands<S>(
    io: S,
    config: &ServerConfig,
    clock: &Clock,
) -> Result<(TlsStream<S>, TlsInfo), TlsError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let start = LazyConfigAcceptor::new(Acceptor::default(), io)
        .await
        .map_err(explain)?;
    let shown = Arc::new(Shown {
        resolver: Arc::clone(&config.rustls.cert_resolver),
        chosen: Mutex::default(),
    });
    let mut own = config.rustls.clone();
    own.cert_resolver = Arc::<Shown>::clone(&shown);
    let stream = start
        .into_stream_with(Arc::new(own), |connection| shown.remember(connection))
        .await
        .map_err(explain)?;
    let connection = stream.get_ref().1;
    let bindings = ChannelBindings::of(connection, shown.end_point(connection));
    let chain = connection.peer_certificates().unwrap_or_default();
    let mut info = describe(connection, bindings);
    info.client = config.authorities.verified(chain, clock.wall());
    Ok((stream, info))
}

/// Notes which certificate one handshake shows: a reload may exchange those in service at any time.
struct Shown {
    resolver: Arc<dyn ResolvesServerCert>,
    chosen: Mutex<Option<Arc<CertifiedKey>>>,
}

impl Shown {
    fn hash(&self) -> Option<Vec<u8>> {
        let chosen = self.chosen.lock().clone()?;
        end_point(chosen.cert.first()?)
    }

    /// Puts the hash of the certificate into the session's tickets. Who resumes it is not shown a certificate,
    /// and still means the one of the first handshake.
    fn remember(&self, connection: &mut ServerConnection) {
        // Whether a client that was asked to try again resumes a session is not known yet: its tickets
        // carry nothing, and who resumes by one of them is not offered this binding.
        if connection.handshake_kind() == Some(HandshakeKind::FullWithHelloRetryRequest) {
            return;
        }
        let first = connection.received_resumption_data().map(<[u8]>::to_vec);
        connection.set_resumption_data(&first.or_else(|| self.hash()).unwrap_or_default());
    }

    /// The hash of the certificate that the peer knows this server by.
    fn end_point(&self, connection: &ServerConnection) -> Option<Vec<u8>> {
        if connection.handshake_kind() != Some(HandshakeKind::Resumed) {
            return self.hash();
        }
        // Sessions of TLS 1.2 are resumed without it.
        let first = connection.received_resumption_data()?;
        (!first.is_empty()).then(|| first.to_vec())
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let chosen = self.resolver.resolve(hello);
        self.chosen.lock().clone_from(&chosen);
        chosen
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown").finish_non_exhaustive()
    }
}

fn explain(error: io::Error) -> TlsError {
    match error.downcast::<rustls::Error>() {
        Ok(error) => TlsError::Handshake(error),
        Err(error) => TlsError::Io(error),
    }
}

fn describe(connection: &ServerConnection, bindings: ChannelBindings) -> TlsInfo {
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
        bindings,
        client: None,
    }
}

/// rustls writes the suites of TLS 1.3 as `TLS13_…`.
fn iana_name(debug: &str) -> String {
    debug.replacen("TLS13_", "TLS_", 1)
}
