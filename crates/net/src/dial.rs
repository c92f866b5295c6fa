//! Connections that this server opens to others: in clear, or in TLS with the other side's certificate verified.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use otp::Clock;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Whose certificates are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Those of the authorities that the system trusts.
    System,
    /// Those of the authorities in a PEM file, and no others.
    File(PathBuf),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The authorities could not be read.
    #[error("authorities: {0}")]
    Trust(String),
    /// The name cannot be that of a certificate.
    #[error("`{0}` is no name of a server")]
    Name(String),
    /// There is no connection to the address, or it broke while it was made.
    #[error("{to}: {why}")]
    Io {
        /// Where to.
        to: String,
        /// What the system, or TLS, said.
        why: io::Error,
    },
    /// It took too long.
    #[error("{to}: not connected within {within:?}")]
    Timeout {
        /// Where to.
        to: String,
        /// The time it had.
        within: Duration,
    },
}

/// Opens connections.
#[derive(Clone)]
pub struct Dialer {
    clock: Clock,
    tls: TlsConnector,
}

impl Dialer {
    /// Reads the authorities once. Blocks for as long as that takes.
    ///
    /// # Errors
    ///
    /// [`DialError::Trust`]: they could not be read, or there are none.
    pub fn new(clock: &Clock, trust: &Trust) -> Result<Dialer, DialError> {
        let mut roots = RootCertStore::empty();
        match trust {
            Trust::System => {
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
            }
            Trust::File(path) => {
                let failed = |why: &dyn std::fmt::Display| {
                    DialError::Trust(format!("{}: {why}", path.display()))
                };
                let certificates = CertificateDer::pem_file_iter(path);
                for certificate in certificates.map_err(|error| failed(&error))? {
                    let certificate = certificate.map_err(|error| failed(&error))?;
                    roots.add(certificate).map_err(|error| failed(&error))?;
                }
            }
        }
        if roots.is_empty() {
            return Err(DialError::Trust(format!("there are none: {trust:?}")));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| DialError::Trust(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Dialer {
            clock: clock.clone(),
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    /// Opens a connection, in TLS if so wished: then the certificate must be one for `host`.
    ///
    /// # Errors
    ///
    /// See [`DialError`].
    pub async fn dial(
        &self,
        host: &str,
        port: u16,
        in_tls: bool,
        within: Duration,
    ) -> Result<Dialed, DialError> {
        let to = format!("{host}:{port}");
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned());
        let name = name.map_err(|_| DialError::Name(host.to_owned()))?;
        let dialing = async {
            let socket = TcpStream::connect((bare, port)).await?;
            socket.set_nodelay(true)?;
            if !in_tls {
                return Ok(Dialed::Clear(socket));
            }
            let stream = self.tls.connect(name, socket).await?;
            Ok(Dialed::Tls(Box::new(stream)))
        };
        match self.clock.timeout(within, dialing).await {
            Ok(dialed) => dialed.map_err(|why| DialError::Io { to, why }),
            Err(_) => Err(DialError::Timeout { to, within }),
        }
    }
}

/// A connection that was opened.
pub enum Dialed {
    /// In clear.
    Clear(TcpStream),
    /// In TLS.
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl AsyncRead for Dialed {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Dialed::Clear(stream) => Pin::new(stream).poll_read(cx, into),
            Dialed::Tls(stream) => Pin::new(stream).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for Dialed {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Dialed::Clear(stream) => Pin::new(stream).poll_write(cx, bytes),
            Dialed::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Dialed::Clear(stream) => Pin::new(stream).poll_flush(cx),
            Dialed::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Dialed::Clear(stream) => Pin::new(stream).poll_shutdown(cx),
            Dialed::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
