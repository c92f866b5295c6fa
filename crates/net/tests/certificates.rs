//! Which certificate answers which name, over real handshakes in memory.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use net::{Certificates, SelfSigned, Sources, Tls};
use otp::Clock;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{ring, verify_tls12_signature, verify_tls13_signature};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::TlsConnector;

/// Trusts everybody who proves to own the key, and checks signatures of some kinds only.
#[derive(Debug)]
struct Trusting(Vec<SignatureScheme>);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

const ALL: &[SignatureScheme] = &[
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ED25519,
];

/// The DER of the certificate shown to who asks for `name`, and the TLS version.
async fn shown(
    certificates: &Certificates,
    name: &str,
    schemes: &[SignatureScheme],
    version: &'static SupportedProtocolVersion,
) -> Option<(Vec<u8>, &'static str)> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let config = builder
        .with_protocol_versions(&[version])
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting(schemes.to_vec())))
        .with_no_client_auth();
    let (ours, theirs) = tokio::io::duplex(16 * 1024);
    let clock = Clock::manual().0;
    let server = certificates.server_config(&[]);
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let (accepted, connected) = tokio::join!(
        Tls::accept(ours, server, &clock, net::HANDSHAKE_WITHIN),
        TlsConnector::from(Arc::new(config)).connect(name, theirs),
    );
    let (accepted, connected) = (accepted.ok()?, connected.ok()?);
    let leaf = connected.get_ref().1.peer_certificates()?.first()?;
    Some((leaf.to_vec(), accepted.1.version))
}

/// A certificate and its key, as PEM, and its DER.
fn make(names: &[&str], algorithm: &'static SignatureAlgorithm) -> (String, String, Vec<u8>) {
    let key = KeyPair::generate_for(algorithm).expect("a key");
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let params = CertificateParams::new(names).expect("names");
    let certificate = params.self_signed(&key).expect("a certificate");
    (
        certificate.pem(),
        key.serialize_pem(),
        certificate.der().to_vec(),
    )
}

fn sources(directory: &Path, patterns: &[&str], domains: &[&str]) -> Sources {
    let pattern = |name: &&str| directory.join(name).to_str().expect("UTF-8").to_owned();
    Sources {
        patterns: patterns.iter().map(pattern).collect(),
        domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
        ..Sources::default()
    }
}

fn signing(directory: &Path, domains: &[&str]) -> Sources {
    let domains: Vec<String> = domains.iter().map(|domain| (*domain).to_owned()).collect();
    Sources {
        patterns: Vec::new(),
        domains: domains.clone(),
        self_signed: Some(SelfSigned {
            directory: directory.to_owned(),
            domains,
        }),
        ..Sources::default()
    }
}

//
#[tokio::test]
async fn names_choose_and_unknown_ones_get_the_default() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    let ecdsa = &PKCS_ECDSA_P256_SHA256;
    // One file; NAME.crt and NAME.key; fullchain.pem and privkey.pem in a folder.
    let (cert, key, wild) = make(&["*.wild.example"], ecdsa);
    fs::write(at("a-wild.pem"), cert + &key).expect("written");
    let (cert, key, pair) = make(&["pair.example", "sub.wild.example"], ecdsa);
    fs::write(at("pair.crt"), cert).expect("written");
    fs::write(at("pair.key"), key).expect("written");
    let (cert, key, main) = make(&["a.example", "b.example"], ecdsa);
    fs::create_dir(at("live")).expect("a folder");
    fs::write(at("live/fullchain.pem"), &cert).expect("written");
    fs::write(at("live/cert.pem"), &cert).expect("written");
    fs::write(at("live/privkey.pem"), key).expect("written");
    let patterns = ["*.pem", "*.crt", "live/*.pem"];
    let domains = ["a.example", "c.example", "Pair.Example"];
    let sources = sources(directory.path(), &patterns, &domains);
    let certificates = Certificates::load(sources, &Clock::manual().0).expect("loads");
    for (name, der) in [
        ("a.example", &main),
        ("b.example", &main),
        ("pair.example", &pair),
        ("x.wild.example", &wild),
        ("sub.wild.example", &pair),
        // Unknown: the default is the first domain's.
        ("wild.example", &main),
        ("x.y.wild.example", &main),
        ("127.0.0.1", &main),
    ] {
        for (version, label) in [(&TLS13, "TLSv1.3"), (&TLS12, "TLSv1.2")] {
            let handshake = shown(&certificates, name, ALL, version).await;
            let (seen, spoken) = handshake.expect("shaken");
            assert!(seen == *der, "{name}");
            assert_eq!(spoken, label);
        }
    }
    let report = certificates.report();
    assert_eq!(report.uncovered, ["c.example"]);
    let covered = report.covered.iter().map(|one| one.domain.as_str());
    assert_eq!(covered.collect::<Vec<_>>(), ["a.example", "Pair.Example"]);
    assert!(
        report
            .covered
            .iter()
            .all(|one| !one.expired && !one.expires_soon)
    );
}

#[tokio::test]
async fn the_peers_signatures_choose_between_keys() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut ders = Vec::new();
    for (file, algorithm) in [("1.pem", &PKCS_ED25519), ("2.pem", &PKCS_ECDSA_P256_SHA256)] {
        let (cert, key, der) = make(&["a.example"], algorithm);
        fs::write(directory.path().join(file), cert + &key).expect("written");
        ders.push(der);
    }
    let sources = sources(directory.path(), &["*.pem"], &["a.example"]);
    let certificates = Certificates::load(sources, &Clock::manual().0).expect("loads");
    for (schemes, der) in [
        (vec![SignatureScheme::ED25519], &ders[0]),
        (vec![SignatureScheme::ECDSA_NISTP256_SHA256], &ders[1]),
    ] {
        for name in ["a.example", "unknown.example"] {
            let handshake = shown(&certificates, name, &schemes, &TLS13).await;
            assert!(
                handshake.expect("shaken").0 == *der,
                "{schemes:?} for {name}"
            );
        }
    }
}

#[tokio::test]
async fn a_reload_takes_everything_or_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("a.pem");
    let write = || {
        let (cert, key, der) = make(&["a.example"], &PKCS_ECDSA_P256_SHA256);
        fs::write(&path, cert + &key).expect("written");
        der
    };
    let old = write();
    let sources = sources(directory.path(), &["*.pem"], &["a.example"]);
    let certificates = Certificates::load(sources, &Clock::manual().0).expect("loads");
    let now = async || {
        let handshake = shown(&certificates, "a.example", ALL, &TLS13).await;
        handshake.expect("shaken").0
    };
    assert!(now().await == old);
    let new = write();
    assert!(now().await == old, "nothing is read before a reload");
    let broken = directory.path().join("b.pem");
    fs::write(&broken, "-----BEGIN CERTIFICATE-----\nno\n").expect("written");
    let error = certificates.reload().expect_err("one file is broken");
    assert!(error.to_string().contains("b.pem"), "{error}");
    assert!(now().await == old, "a failed reload changes nothing");
    fs::remove_file(broken).expect("removed");
    certificates.reload().expect("all is well");
    assert!(now().await == new);
}

#[test]
fn what_is_wrong_is_said_with_its_file() {
    let clock = Clock::manual().0;
    let (cert, _, _) = make(&["a.example"], &PKCS_ECDSA_P256_SHA256);
    let (_, other_key, _) = make(&["a.example"], &PKCS_ECDSA_P256_SHA256);
    for (content, expected) in [
        (String::new(), "neither certificates nor a private key"),
        (cert.clone(), "no private key inside it or beside it"),
        (cert + &other_key, "do not go together"),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("x.pem"), content).expect("written");
        let sources = sources(directory.path(), &["*.pem", "none/*"], &[]);
        let errors = Certificates::load(sources, &clock).expect_err("broken");
        assert_eq!(errors.0.len(), 2);
        let text = errors.to_string();
        assert!(
            text.contains("x.pem: ") && text.contains(expected),
            "{text}"
        );
        assert!(text.contains("none/*: no file matches"), "{text}");
    }
    let bad = Sources {
        patterns: vec!["a***".into()],
        ..Sources::default()
    };
    let errors = Certificates::load(bad, &clock).expect_err("no glob");
    assert!(
        errors.to_string().starts_with("a***: not a pattern: "),
        "{errors}"
    );
}

#[tokio::test]
async fn own_certificates_are_kept_private_and_renewed_in_time() {
    let directory = tempfile::tempdir().expect("a directory");
    let (clock, hand) = Clock::manual();
    let own = directory.path().join("tls");
    let sources = signing(&own, &["localhost", "Bücher.example"]);
    let certificates = Certificates::load(sources.clone(), &clock).expect("signs");
    let by = async |certificates: &Certificates, name: &str| {
        let handshake = shown(certificates, name, ALL, &TLS13).await;
        handshake.expect("shaken").0
    };
    let first = by(&certificates, "localhost").await;
    let service = by(&certificates, "echo.localhost").await;
    assert!(first == service, "a host's services are covered too");
    assert!(certificates.report().uncovered.is_empty());
    let mut files = Vec::new();
    for file in fs::read_dir(&own).expect("made") {
        let file = file.expect("a file");
        files.push(file.file_name().into_string().expect("UTF-8"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = file.metadata().expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }
    files.sort();
    assert_eq!(files, ["localhost.pem", "xn--bcher-kva.example.pem"]);
    // Another start finds the same one, until a month before its end.
    let day = Duration::from_secs(24 * 3600);
    hand.advance(360 * day).await;
    let again = Certificates::load(sources.clone(), &clock).expect("reads");
    assert!(by(&again, "localhost").await == first);
    hand.advance(8 * day).await;
    again.reload().expect("signs");
    let second = by(&again, "localhost").await;
    assert!(second != first);
    // One that was spoilt is replaced; a domain that is none is an error.
    fs::write(own.join("localhost.pem"), "spoilt").expect("written");
    again.reload().expect("signs");
    assert!(by(&again, "localhost").await != second);
    assert!(again.replace(signing(&own, &["../x"])).is_err());
}

#[tokio::test]
async fn the_report_tells_of_the_end() {
    let directory = tempfile::tempdir().expect("a directory");
    let (clock, hand) = Clock::manual();
    let sources = signing(directory.path(), &["a.example"]);
    let certificates = Certificates::load(sources, &clock).expect("signs");
    let day = Duration::from_secs(24 * 3600);
    for (days, soon, expired) in [(380, false, false), (10, true, false), (10, true, true)] {
        hand.advance(days * day).await;
        let report = certificates.report();
        let one = &report.covered[0];
        assert_eq!((one.expires_soon, one.expired), (soon, expired));
    }
}
