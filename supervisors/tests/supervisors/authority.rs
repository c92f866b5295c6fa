//! An authority for certificates, and a client that trusts nobody else.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
pub struct Issued {
    pub chain: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    /// Its own certificate, as PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    pub fn issues(&self, domain: &str) -> Issued {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![domain.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.0).expect("signed");
        Issued {
            chain: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// A connection to `domain` by direct TLS.
    pub async fn connects(&self, at: SocketAddr, domain: &str) -> TlsStream<TcpStream> {
        self.tries(at, domain, "").await.expect("it is trusted")
    }

    /// The same, where this protocol is to be spoken (ALPN).
    pub async fn speaks(&self, at: SocketAddr, domain: &str, alpn: &str) -> TlsStream<TcpStream> {
        let tried = self.tries(at, domain, alpn).await;
        tried.expect("it is trusted")
    }

    /// The DER of what is shown to a client that asks for `domain` by direct TLS; none if it does not trust it.
    pub async fn trusts(&self, at: SocketAddr, domain: &str) -> Option<CertificateDer<'static>> {
        let stream = self.tries(at, domain, "").await?;
        let (_, connection) = stream.get_ref();
        connection.peer_certificates()?.first().cloned()
    }

    async fn tries(
        &self,
        at: SocketAddr,
        domain: &str,
        alpn: &str,
    ) -> Option<TlsStream<TcpStream>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        if !alpn.is_empty() {
            config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        }
        let socket = TcpStream::connect(at).await.expect("somebody listens");
        let name = ServerName::try_from(domain.to_owned()).expect("a name");
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        connector.connect(name, socket).await.ok()
    }
}
