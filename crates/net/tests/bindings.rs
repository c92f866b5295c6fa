//! Channel bindings, as both ends of a real handshake in memory see them.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use net::{Certificates, ServerConfig, Sources, Tls, TlsInfo};
use otp::Clock;
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::ServerName;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

/// Writes a new certificate for `a.example` and gives its DER.
fn renew(path: &Path) -> Vec<u8> {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["a.example".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    fs::write(path, certificate.pem() + &key.serialize_pem()).expect("written");
    certificate.der().to_vec()
}

fn client(trusted: &[&[u8]], version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in trusted {
        roots.add(certificate.to_vec().into()).expect("a root");
    }
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// One connection: what our end settled, and the exporter of the other.
async fn connect(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> (TlsInfo, [u8; 32]) {
    let (ours, theirs) = tokio::io::duplex(16 * 1024);
    let clock = Clock::manual().0;
    let name = ServerName::try_from("a.example").expect("a name");
    let (accepted, connected) = tokio::join!(
        Tls::accept(ours, server.clone(), &clock, net::HANDSHAKE_WITHIN),
        TlsConnector::from(client.clone()).connect(name, theirs),
    );
    let (mut stream, info) = accepted.expect("accepted");
    let mut connected = connected.expect("connected");
    // The client has read its tickets when it has read what came behind them.
    stream.write_all(b"x").await.expect("written");
    stream.flush().await.expect("written");
    connected.read_u8().await.expect("read");
    let exporter = connected.get_ref().1.export_keying_material(
        [0; 32],
        b"EXPORTER-Channel-Binding",
        Some(b""),
    );
    (info, exporter.expect("exported"))
}

fn served(path: &Path) -> Certificates {
    let sources = Sources {
        patterns: vec![path.to_str().expect("UTF-8").to_owned()],
        domains: vec!["a.example".to_owned()],
        ..Sources::default()
    };
    Certificates::load(sources, &Clock::manual().0).expect("loads")
}

//
#[tokio::test]
async fn both_ends_have_the_same_and_every_connection_its_own() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("a.pem");
    let der = renew(&path);
    let server = served(&path).server_config(&[]);
    let client = client(&[&der], &TLS13);
    let (first, exporter) = connect(&server, &client).await;
    assert_eq!(first.bindings.get("tls-exporter"), Some(&exporter[..]));
    let hash = Sha256::digest(&der);
    assert_eq!(first.bindings.get("tls-server-end-point"), Some(&hash[..]));
    assert_eq!(first.bindings.get("tls-unique"), None);
    let (second, other) = connect(&server, &client).await;
    assert_ne!(exporter, other);
    assert_eq!(second.bindings.get("tls-exporter"), Some(&other[..]));
}

#[tokio::test]
async fn handshakes_wait_for_their_turn_within_their_time() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("a.pem");
    let der = renew(&path);
    let (clock, hand) = Clock::manual();
    let sources = Sources {
        patterns: vec![path.to_str().expect("UTF-8").to_owned()],
        ..Sources::default()
    };
    let one = Certificates::load_for(sources, &clock, 1).expect("loads");
    let server = one.server_config(&[]);
    let (ours, silent) = tokio::io::duplex(16 * 1024);
    let mut first = Box::pin(Tls::accept(
        ours,
        server.clone(),
        &clock,
        net::HANDSHAKE_WITHIN,
    ));
    assert!(
        futures_util::poll!(&mut first).is_pending(),
        "it has the turn"
    );
    // The second one's client has said hello, and is not answered.
    let (ours, theirs) = tokio::io::duplex(16 * 1024);
    let within = net::HANDSHAKE_WITHIN * 2;
    let mut second = Box::pin(Tls::accept(ours, server.clone(), &clock, within));
    let name = ServerName::try_from("a.example").expect("a name");
    let connector = TlsConnector::from(client(&[&der], &TLS13));
    let mut hello = Box::pin(connector.connect(name, theirs));
    for _ in 0..3 {
        assert!(futures_util::poll!(&mut hello).is_pending());
        assert!(futures_util::poll!(&mut second).is_pending());
    }
    hand.advance(net::HANDSHAKE_WITHIN).await;
    assert!(first.await.is_err(), "given up");
    drop(silent);
    let (second, hello) = tokio::join!(second, hello);
    assert!(second.is_ok() && hello.is_ok());
}

#[tokio::test]
async fn tls_1_2_has_the_end_point_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("a.pem");
    let der = renew(&path);
    let server = served(&path).server_config(&[]);
    let client = client(&[&der], &TLS12);
    let (info, _) = connect(&server, &client).await;
    assert_eq!(info.version, "TLSv1.2");
    let types: Vec<_> = info.bindings.types().collect();
    assert_eq!(types, ["tls-server-end-point"]);
    let (info, _) = connect(&server, &client).await;
    assert!(info.resumed);
    assert_eq!(info.bindings.types().count(), 0, "not known any more");
}

#[tokio::test]
async fn the_end_point_is_that_of_the_handshake_that_showed_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("a.pem");
    let old = renew(&path);
    let certificates = served(&path);
    let server = certificates.server_config(&[]);
    let (before, _) = connect(&server, &client(&[&old], &TLS13)).await;
    let faithful = client(&[&old], &TLS13);
    connect(&server, &faithful).await;
    let new = renew(&path);
    certificates.reload().expect("reloads");

    let end_point = |info: &TlsInfo| {
        info.bindings
            .get("tls-server-end-point")
            .map(<[u8]>::to_vec)
    };
    assert_eq!(end_point(&before), Some(Sha256::digest(&old).to_vec()));
    let (after, _) = connect(&server, &client(&[&new], &TLS13)).await;
    assert_eq!(end_point(&after), Some(Sha256::digest(&new).to_vec()));
    // Who resumes a session knows the certificate of its first handshake, however often.
    for _ in 0..3 {
        let (resumed, _) = connect(&server, &faithful).await;
        assert!(resumed.resumed);
        assert_eq!(end_point(&resumed), Some(Sha256::digest(&old).to_vec()));
    }
}
