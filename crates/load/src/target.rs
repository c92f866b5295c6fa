//! The server under load: where it is, what it serves, how one gets in.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::TlsConnector;

use crate::failure::Failure;
use crate::scram::{KeyCache, Mechanism};

/// How the wire is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Tls {
    /// Not at all.
    Off,
    /// From within the stream (RFC 6120 §5).
    Starttls,
    /// From the first byte (XEP-0368).
    Direct,
}

/// Whose certificates are believed.
#[derive(Debug, Clone, Copy)]
pub enum Trust<'a> {
    /// Those that an authority in this PEM file signed.
    Authorities(&'a Path),
    /// Everybody's.
    Anything,
}

/// The server under load.
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its hosts; account number `n` is on the host `n` modulo their number.
    pub domains: Vec<String>,
    /// Where its rooms are.
    pub muc_domain: String,
    /// How the wire is protected.
    pub tls: Tls,
    /// Makes TLS of a connection; there unless `tls` is off.
    pub connector: Option<TlsConnector>,
    /// How clients log in.
    pub mechanism: Mechanism,
    /// What accounts are called, before their number.
    pub prefix: String,
    /// The password of all accounts.
    pub password: String,
    /// How long one step (a connection, a login, an answer) may take.
    pub within: Duration,
    /// Salted keys of the accounts.
    pub keys: KeyCache,
}

/// An account of the generator's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its localpart.
    pub user: String,
    /// Its host.
    pub domain: String,
    /// Its bare JID.
    pub jid: String,
}

impl Target {
    /// The account with that number.
    pub fn account(&self, number: usize) -> Account {
        let user = format!("{}{number}", self.prefix);
        let domain = self.domains[number % self.domains.len()].clone();
        Account {
            jid: format!("{user}@{domain}"),
            user,
            domain,
        }
    }

    /// The same server, as another thread or another part of a run sees it. Keys are not shared.
    pub fn twin(&self) -> Target {
        Target {
            address: self.address,
            domains: self.domains.clone(),
            muc_domain: self.muc_domain.clone(),
            tls: self.tls,
            connector: self.connector.clone(),
            mechanism: self.mechanism,
            prefix: self.prefix.clone(),
            password: self.password.clone(),
            within: self.within,
            keys: KeyCache::default(),
        }
    }

    /// The name that a certificate for `domain` has to show.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] when `domain` can be no such name.
    pub fn server_name(domain: &str) -> Result<ServerName<'static>, Failure> {
        ServerName::try_from(domain.to_owned())
            .map_err(|error| Failure::Usage(format!("--domain {domain}: {error}")))
    }
}

/// Makes TLS of connections. With `resume` sessions are resumed by tickets, without it each handshake is a whole one.
///
/// # Errors
///
/// [`Failure::Usage`] when the authorities' file cannot be used.
pub fn connector(trust: Trust<'_>, resume: bool) -> Result<TlsConnector, Failure> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::new(format!("TLS: {error}")))?;
    let mut config = match trust {
        Trust::Anything => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Believer { provider }))
            .with_no_client_auth(),
        Trust::Authorities(file) => builder
            .with_root_certificates(authorities(file)?)
            .with_no_client_auth(),
    };
    config.resumption = match resume {
        true => Resumption::in_memory_sessions(256),
        false => Resumption::disabled(),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn authorities(file: &Path) -> Result<RootCertStore, Failure> {
    let wrong =
        |why: &dyn std::fmt::Display| Failure::Usage(format!("--ca {}: {why}", file.display()));
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| wrong(&error))? {
        let certificate = certificate.map_err(|error| wrong(&error))?;
        store.add(certificate).map_err(|error| wrong(&error))?;
    }
    match store.is_empty() {
        true => Err(wrong(&"no certificate in it")),
        false => Ok(store),
    }
}

/// Believes every certificate, but only from who has its key: `--insecure`.
#[derive(Debug)]
struct Believer {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Believer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
