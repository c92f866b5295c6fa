//! A certificate authority of our own, so that every TLS client here can insist on a verified certificate.

use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::client::WantsClientCert;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// An authority and what it signed.
pub struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Founds a new authority.
    ///
    /// # Errors
    ///
    /// A sentence when no key can be made.
    pub fn new() -> Result<Authority, String> {
        let say = |error: rcgen::Error| format!("no certificate authority: {error}");
        let mut params = CertificateParams::new(Vec::<String>::new()).map_err(say)?;
        params
            .distinguished_name
            .push(DnType::CommonName, "Natter's test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(say)?;
        let certificate = params.self_signed(&key).map_err(say)?.der().clone();
        Ok(Authority {
            certificate,
            issuer: Issuer::new(params, key),
        })
    }

    /// Signs a certificate for `names`: chain and key as one PEM text.
    ///
    /// # Errors
    ///
    /// A sentence when no key can be made or a name is no DNS name.
    pub fn sign(&self, names: &[&str]) -> Result<String, String> {
        let say = |error: rcgen::Error| format!("no certificate for {names:?}: {error}");
        let names_owned: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names_owned).map_err(say)?;
        let key = KeyPair::generate().map_err(say)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(say)?;
        Ok(format!("{}{}", certificate.pem(), key.serialize_pem()))
    }

    /// Signs a certificate for a client with these XMPP addresses (RFC 6120 §13.7.1.4): with its key, in the form
    /// that [`tls_client_as`] takes.
    ///
    /// # Errors
    ///
    /// A sentence when no key can be made.
    pub fn sign_client(&self, addresses: &[&str]) -> Result<Identity, String> {
        let say = |error: rcgen::Error| format!("no certificate for {addresses:?}: {error}");
        let mut params = CertificateParams::new(Vec::<String>::new()).map_err(say)?;
        let xmpp_addr = || vec![1, 3, 6, 1, 5, 5, 7, 8, 5];
        params.subject_alt_names = addresses
            .iter()
            .map(|address| SanType::OtherName((xmpp_addr(), (*address).into())))
            .collect();
        let key = KeyPair::generate().map_err(say)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(say)?;
        let key = PrivateKeyDer::try_from(key.serialize_der())?;
        Ok((certificate.der().clone(), key))
    }

    /// The store in which only this authority is trusted.
    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots
            .add(self.certificate.clone())
            .expect("rcgen writes certificates rustls can read");
        roots
    }

    /// The authority's own certificate as PEM, for clients that read files.
    pub fn pem(&self) -> String {
        let body = crate::sasl::encode(&self.certificate);
        let lines: Vec<&str> = (0..body.len())
            .step_by(64)
            .map(|at| &body[at..body.len().min(at + 64)])
            .collect();
        format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            lines.join("\n")
        )
    }
}

/// The store in which the authorities of the PEM file at `path` are trusted.
///
/// # Errors
///
/// A sentence when the file cannot be read or holds no certificate.
pub fn roots_from_file(path: &Path) -> Result<RootCertStore, String> {
    let say = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| say(&error))? {
        let certificate = certificate.map_err(|error| say(&error))?;
        roots.add(certificate).map_err(|error| say(&error))?;
    }
    match roots.is_empty() {
        true => Err(say(&"no certificate in it")),
        false => Ok(roots),
    }
}

/// A client's certificate and its key.
pub type Identity = (CertificateDer<'static>, PrivateKeyDer<'static>);

/// A TLS client that trusts `roots` alone and offers `alpn`.
pub fn tls_client(roots: RootCertStore, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let mut config = trusting(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

/// A TLS client that trusts `roots` alone and shows a certificate when it is asked for one.
///
/// # Errors
///
/// A sentence when certificate and key do not go together.
pub fn tls_client_as(roots: RootCertStore, own: &Identity) -> Result<Arc<ClientConfig>, String> {
    let (certificate, key) = (vec![own.0.clone()], own.1.clone_key());
    let config = trusting(roots).with_client_auth_cert(certificate, key);
    config.map(Arc::new).map_err(|error| error.to_string())
}

fn trusting(roots: RootCertStore) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for TLS 1.2 and 1.3")
        .with_root_certificates(roots)
}
