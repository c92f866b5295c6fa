//! An authority for certificates, and a client that trusts nobody else.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;

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

    /// The DER of what is shown to a client that asks for `domain` by direct TLS; none if it does not trust it.
    pub async fn trusts(&self, at: SocketAddr, domain: &str) -> Option<CertificateDer<'static>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let socket = TcpStream::connect(at).await.expect("somebody listens");
        let name = ServerName::try_from(domain.to_owned()).expect("a name");
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = connector.connect(name, socket).await.ok()?;
        let (_, connection) = stream.get_ref();
        connection.peer_certificates()?.first().cloned()
    }
}
