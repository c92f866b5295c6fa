//! A certificate authority of our own, so that every TLS client here can insist on a verified certificate.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

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

/// A TLS client that trusts `roots` alone and offers `alpn`.
pub fn tls_client(roots: RootCertStore, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}
