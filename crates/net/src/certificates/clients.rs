//! Certificates of clients: whether they are asked for one, and whom it names.
//!
//! A handshake goes on whatever a client shows: one whose certificate is no good can still log in by password, and
//! is better told by a mechanism that is not offered than by a TLS alert. The certificate is verified afterwards,
//! and nothing of one that was not leaves this file.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::asn1_rs::{self, FromDer as _, TaggedExplicit, Utf8String};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

use super::{CertificateError, files};

/// `id-on-xmppAddr`, 1.3.6.1.5.5.7.8.5 (RFC 6120 §13.7.1.4).
const XMPP_ADDR: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 8, 5];

/// A client's certificate that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The XMPP addresses it names, as written there.
    pub xmpp_addresses: Vec<String>,
}

/// What says whether a chain is good.
pub(super) type Verifier = Arc<dyn ClientCertVerifier>;

/// The authorities whose word about clients is taken; none: clients are not asked.
pub(crate) struct Authorities(ArcSwapOption<Verifier>);

impl Authorities {
    pub(super) fn new(verifier: Option<Verifier>) -> Authorities {
        Authorities(ArcSwapOption::new(verifier.map(Arc::new)))
    }

    pub(super) fn replace(&self, verifier: Option<Verifier>) {
        self.0.store(verifier.map(Arc::new));
    }

    /// What a client's chain says of it, if an authority vouches for that now.
    pub(crate) fn verified(
        &self,
        chain: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Option<ClientCertificate> {
        let verifier = self.0.load_full()?;
        let (own, intermediates) = chain.split_first()?;
        let now = now.duration_since(UNIX_EPOCH).ok()?;
        let now = UnixTime::since_unix_epoch(now);
        if let Err(error) = verifier.verify_client_cert(own, intermediates, now) {
            tracing::info!(target: "natter::net", %error, "a client's certificate was not taken");
            return None;
        }
        Some(ClientCertificate {
            xmpp_addresses: xmpp_addresses(own)?,
        })
    }
}

/// Reads the authorities that the globs match; `None` if there are no globs. What is wrong is added to `errors`.
pub(super) fn load(patterns: &[String], errors: &mut Vec<CertificateError>) -> Option<Verifier> {
    if patterns.is_empty() {
        return None;
    }
    let mut roots = RootCertStore::empty();
    for path in files::matching(patterns, errors) {
        let broken = |why: String| CertificateError::Broken {
            path: path.clone(),
            why,
        };
        let read = std::fs::read(&path).map_err(|error| CertificateError::Io {
            path: path.clone(),
            error,
        });
        let added = read.and_then(|text| {
            let before = roots.len();
            for certificate in CertificateDer::pem_slice_iter(&text) {
                let certificate =
                    certificate.map_err(|error| broken(format!("not PEM: {error}")))?;
                let added = roots.add(certificate);
                added.map_err(|error| broken(format!("not an authority: {error}")))?;
            }
            if roots.len() == before {
                return Err(broken("no certificate of an authority".to_owned()));
            }
            Ok(())
        });
        errors.extend(added.err());
    }
    if roots.is_empty() {
        return None;
    }
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
    Some(verifier.expect("there are authorities, and no revocation lists to be wrong"))
}

/// The addresses in the alternative names of a certificate; `None` if it cannot be read.
fn xmpp_addresses(certificate: &[u8]) -> Option<Vec<String>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()?;
    let names = names.iter().flat_map(|names| &names.value.general_names);
    let addresses = names.filter_map(|name| match name {
        GeneralName::OtherName(kind, value) if kind.as_bytes() == XMPP_ADDR => utf8(value),
        _ => None,
    });
    Some(addresses.collect())
}

/// The `[0] EXPLICIT UTF8String` that an XmppAddr is.
fn utf8(value: &[u8]) -> Option<String> {
    let (rest, text) = TaggedExplicit::<Utf8String, asn1_rs::Error, 0>::from_der(value).ok()?;
    rest.is_empty().then(|| text.into_inner().string())
}

/// Asks for a certificate, and has the client prove that it holds the key; no more.
pub(super) struct Asking {
    authorities: Arc<Authorities>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Asking {
    pub(super) fn new(authorities: Arc<Authorities>) -> Asking {
        Asking {
            authorities,
            algorithms: ring::default_provider().signature_verification_algorithms,
        }
    }
}

impl ClientCertVerifier for Asking {
    fn offer_client_auth(&self) -> bool {
        self.authorities.0.load().is_some()
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        // `Authorities::verified` does, after the handshake.
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asking").finish_non_exhaustive()
    }
}
