//! Channel bindings: what ties a login to the one TLS connection it is made over (RFC 5056).

use std::fmt;

use rustls::{ProtocolVersion, ServerConnection};
use sha2::{Digest, Sha256, Sha384, Sha512};
use x509_parser::oid_registry::{
    OID_HASH_SHA1, OID_NIST_HASH_SHA256, OID_NIST_HASH_SHA384, OID_NIST_HASH_SHA512,
    OID_PKCS1_SHA1WITHRSA, OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA,
    OID_PKCS1_SHA512WITHRSA, OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384,
    OID_SIG_ECDSA_WITH_SHA512, Oid,
};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::signature_algorithm::SignatureAlgorithm;

/// RFC 9266.
const EXPORTER: &str = "tls-exporter";

/// RFC 5929 §4.
const END_POINT: &str = "tls-server-end-point";

/// The channel bindings of one connection. Its `Debug` shows their types alone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ChannelBindings {
    exporter: Option<[u8; 32]>,
    end_point: Option<Vec<u8>>,
}

impl ChannelBindings {
    /// Those of a finished handshake in which the certificate with hash `end_point` was shown.
    ///
    /// `tls-exporter` is unique only with TLS 1.3, or with the extended master secret of RFC 7627, and rustls
    /// does not tell whether TLS 1.2 has that: it is left out there.
    pub(crate) fn of(connection: &ServerConnection, end_point: Option<Vec<u8>>) -> ChannelBindings {
        let is_unique = connection.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        let export = || {
            let made =
                connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b""));
            made.ok()
        };
        ChannelBindings {
            exporter: is_unique.then(export).flatten(),
            end_point,
        }
    }

    /// The types there are, the best first.
    pub fn types(&self) -> impl Iterator<Item = &'static str> + use<> {
        let exporter = self.exporter.is_some().then_some(EXPORTER);
        let end_point = self.end_point.is_some().then_some(END_POINT);
        exporter.into_iter().chain(end_point)
    }

    /// The data of one type.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        match name {
            EXPORTER => self.exporter.as_ref().map(<[u8; 32]>::as_slice),
            END_POINT => self.end_point.as_deref(),
            _ => None,
        }
    }
}

impl fmt::Debug for ChannelBindings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.types()).finish()
    }
}

/// The hash of a certificate, as DER, by the hash function of its own signature, SHA-256 in place of weaker ones
/// (RFC 5929 §4.1). None where that is not defined: the signature has no hash function of its own, as Ed25519.
pub(crate) fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let algorithm = &parsed.signature_algorithm;
    let by = match SignatureAlgorithm::try_from(algorithm) {
        Ok(SignatureAlgorithm::RSASSA_PSS(params)) => {
            params.hash_algorithm_oid().as_bytes().to_vec()
        }
        _ => algorithm.algorithm.as_bytes().to_vec(),
    };
    let is_one_of = |known: &[Oid<'_>]| known.iter().any(|oid| oid.as_bytes() == by);
    let sha256 = [
        OID_PKCS1_SHA1WITHRSA,
        OID_HASH_SHA1,
        OID_PKCS1_SHA256WITHRSA,
        OID_SIG_ECDSA_WITH_SHA256,
        OID_NIST_HASH_SHA256,
    ];
    let sha384 = [
        OID_PKCS1_SHA384WITHRSA,
        OID_SIG_ECDSA_WITH_SHA384,
        OID_NIST_HASH_SHA384,
    ];
    let sha512 = [
        OID_PKCS1_SHA512WITHRSA,
        OID_SIG_ECDSA_WITH_SHA512,
        OID_NIST_HASH_SHA512,
    ];
    if is_one_of(&sha256) {
        Some(Sha256::digest(certificate).to_vec())
    } else if is_one_of(&sha384) {
        Some(Sha384::digest(certificate).to_vec())
    } else if is_one_of(&sha512) {
        Some(Sha512::digest(certificate).to_vec())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, SignatureAlgorithm as Algorithm};

    fn certificate(algorithm: &'static Algorithm) -> Vec<u8> {
        let key = KeyPair::generate_for(algorithm).expect("ring has it");
        let params = CertificateParams::new(vec!["a.example".to_owned()]).expect("a name");
        params.self_signed(&key).expect("signed").der().to_vec()
    }

    #[test]
    fn the_hash_is_that_of_the_certificates_signature() {
        let p256 = certificate(&rcgen::PKCS_ECDSA_P256_SHA256);
        assert_eq!(end_point(&p256), Some(Sha256::digest(&p256).to_vec()));
        let p384 = certificate(&rcgen::PKCS_ECDSA_P384_SHA384);
        assert_eq!(end_point(&p384), Some(Sha384::digest(&p384).to_vec()));
        assert_eq!(end_point(&certificate(&rcgen::PKCS_ED25519)), None);
        assert_eq!(end_point(b"no certificate"), None);
    }

    #[test]
    fn types_and_data_go_together() {
        let mut bindings = ChannelBindings::default();
        assert_eq!(bindings.types().count(), 0);
        bindings.exporter = Some([7; 32]);
        bindings.end_point = Some(vec![8]);
        let types: Vec<_> = bindings.types().collect();
        assert_eq!(types, ["tls-exporter", "tls-server-end-point"]);
        assert_eq!(bindings.get("tls-exporter"), Some(&[7; 32][..]));
        assert_eq!(bindings.get("tls-server-end-point"), Some(&[8][..]));
        assert_eq!(bindings.get("tls-unique"), None);
        assert!(!format!("{bindings:?}").contains('7'));
    }
}
