//! Clients' certificates, over real handshakes in memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use net::{Certificates, ClientCertificate, Sources, Tls, TlsInfo};
use otp::Clock;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    OtherNameValue, SanType, date_time_ymd,
};
use rustls::crypto::ring;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

const XMPP_ADDR: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 8, 5];

type Identity = (CertificateDer<'static>, PrivateKeyDer<'static>);

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    CertifiedIssuer::self_signed(params, key).expect("an authority")
}

/// What a certificate says of a client, besides its addresses.
fn params(addresses: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = addresses
        .iter()
        .map(|address| {
            let text = OtherNameValue::Utf8String((*address).to_owned());
            SanType::OtherName((XMPP_ADDR.into(), text))
        })
        .collect();
    params
}

fn signed(params: CertificateParams, by: &CertifiedIssuer<'static, KeyPair>) -> Identity {
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, by).expect("a certificate");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    (certificate.der().clone(), key)
}

struct Stage {
    folder: TempDir,
    certificates: Certificates,
    server: Arc<net::ServerConfig>,
    own: CertificateDer<'static>,
}

fn write_authority(folder: &Path, authority: &CertifiedIssuer<'static, KeyPair>) -> PathBuf {
    let path = folder.join("clients.pem");
    fs::write(&path, authority.pem()).expect("written");
    path
}

/// A server that takes the word of this authority about clients.
fn stage(authority: Option<&CertifiedIssuer<'static, KeyPair>>) -> Stage {
    let folder = tempfile::tempdir().expect("a directory");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["a.example".to_owned()]).expect("a name");
    let own = params.self_signed(&key).expect("a certificate");
    let path = folder.path().join("a.pem");
    fs::write(&path, own.pem() + &key.serialize_pem()).expect("written");
    let text = |path: PathBuf| path.to_str().expect("UTF-8").to_owned();
    let authorities = authority.map(|authority| write_authority(folder.path(), authority));
    let sources = Sources {
        patterns: vec![text(path)],
        client_authorities: authorities.map(text).into_iter().collect(),
        ..Sources::default()
    };
    let certificates = Certificates::load(sources, &Clock::manual().0).expect("loads");
    Stage {
        folder,
        server: certificates.server_config(&[]),
        certificates,
        own: own.der().clone(),
    }
}

impl Stage {
    fn client(
        &self,
        version: &'static SupportedProtocolVersion,
        identity: Option<&Identity>,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.own.clone()).expect("a root");
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .expect("versions")
            .with_root_certificates(roots);
        Arc::new(match identity {
            Some((certificate, key)) => builder
                .with_client_auth_cert(vec![certificate.clone()], key.clone_key())
                .expect("certificate and key go together"),
            None => builder.with_no_client_auth(),
        })
    }

    /// What our end settled. Every handshake ends well.
    async fn connect(&self, client: &Arc<ClientConfig>) -> TlsInfo {
        let (ours, theirs) = tokio::io::duplex(16 * 1024);
        let clock = Clock::manual().0;
        let name = ServerName::try_from("a.example").expect("a name");
        let (accepted, connected) = tokio::join!(
            Tls::accept(ours, self.server.clone(), &clock, net::HANDSHAKE_WITHIN),
            TlsConnector::from(client.clone()).connect(name, theirs),
        );
        let (mut stream, info) = accepted.expect("accepted");
        let mut connected = connected.expect("connected");
        // Behind the tickets.
        stream.write_all(b"x").await.expect("written");
        stream.flush().await.expect("written");
        connected.read_u8().await.expect("read");
        info
    }

    async fn shown(&self, identity: &Identity) -> Option<ClientCertificate> {
        self.connect(&self.client(&TLS13, Some(identity)))
            .await
            .client
    }
}

fn named(addresses: &[&str]) -> Option<ClientCertificate> {
    Some(ClientCertificate {
        xmpp_addresses: addresses.iter().map(|a| (*a).to_owned()).collect(),
    })
}

#[tokio::test]
async fn a_certificate_that_an_authority_vouches_for_names_its_addresses() {
    let authority = authority();
    let stage = stage(Some(&authority));
    let two = ["alice@a.example", "älice@b.example"];
    let alice = signed(params(&two), &authority);
    for version in [&TLS12, &TLS13] {
        let client = stage.client(version, Some(&alice));
        let first = stage.connect(&client).await;
        assert_eq!(first.client, named(&two), "{}", first.version);
        let again = stage.connect(&client).await;
        assert!(again.resumed);
        assert_eq!(again.client, named(&two), "{}", again.version);
        assert_eq!(
            stage.connect(&stage.client(version, None)).await.client,
            None
        );
    }
    let nameless = signed(params(&[]), &authority);
    assert_eq!(stage.shown(&nameless).await, named(&[]));
}

#[tokio::test]
async fn others_shake_hands_and_are_nobody() {
    let authority = authority();
    let stage = stage(Some(&authority));
    let alice = || params(&["alice@a.example"]);
    let stranger = self::authority();
    assert_eq!(
        stage.shown(&signed(alice(), &stranger)).await,
        None,
        "another authority"
    );
    let mut expired = alice();
    expired.not_after = date_time_ymd(2029, 12, 31);
    assert_eq!(
        stage.shown(&signed(expired, &authority)).await,
        None,
        "expired"
    );
    let mut early = alice();
    early.not_before = date_time_ymd(2030, 1, 2);
    assert_eq!(
        stage.shown(&signed(early, &authority)).await,
        None,
        "not yet"
    );
    let mut for_servers = alice();
    for_servers.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    assert_eq!(
        stage.shown(&signed(for_servers, &authority)).await,
        None,
        "for servers"
    );
    let mut for_clients = alice();
    for_clients.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    assert_eq!(
        stage.shown(&signed(for_clients, &authority)).await,
        named(&["alice@a.example"])
    );
}

#[tokio::test]
async fn without_authorities_nobody_is_asked_and_a_reload_changes_them() {
    let (first, second) = (authority(), authority());
    let closed = stage(None);
    let alice = signed(params(&["alice@a.example"]), &first);
    assert_eq!(closed.shown(&alice).await, None);

    let stage = stage(Some(&first));
    let client = stage.client(&TLS13, Some(&alice));
    assert!(stage.connect(&client).await.client.is_some());
    write_authority(stage.folder.path(), &second);
    stage.certificates.reload().expect("reloads");
    let resumed = stage.connect(&client).await;
    assert!(resumed.resumed);
    assert_eq!(resumed.client, None, "judged by today's authorities");

    fs::write(stage.folder.path().join("clients.pem"), "nothing").expect("written");
    let refused = stage.certificates.reload().expect_err("no authority");
    assert!(refused.to_string().contains("clients.pem"), "{refused}");
    let bob = signed(params(&["bob@a.example"]), &second);
    assert_eq!(
        stage.shown(&bob).await,
        named(&["bob@a.example"]),
        "as before"
    );
}
