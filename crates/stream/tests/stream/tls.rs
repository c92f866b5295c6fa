//! STARTTLS and direct TLS over TCP on loopback, against a client that trusts a private CA only.

use std::sync::Arc;
use std::time::Duration;

use crate::common::*;
use net::{ALPN_CLIENT, Certificates, Sources};
use otp::{Clock, DeadLetterBox, Envelope};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use stream::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use xml::Limits;

/// An authority, and a server's certificates by it.
struct Pki {
    roots: RootCertStore,
    certificates: Certificates,
    _directory: tempfile::TempDir,
}

fn pki(clock: &Clock) -> Pki {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = CertifiedIssuer::self_signed(params, key).expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["a.example".into()]).expect("a name");
    let leaf = params.signed_by(&key, &authority).expect("a certificate");
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("a.pem");
    std::fs::write(&path, leaf.pem() + &key.serialize_pem()).expect("written");
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).expect("a root");
    let sources = Sources {
        patterns: vec![path.to_str().expect("UTF-8").into()],
        domains: vec!["a.example".into()],
        ..Sources::default()
    };
    Pki {
        roots,
        certificates: Certificates::load(sources, clock).expect("loads"),
        _directory: directory,
    }
}

fn connector(roots: RootCertStore, alpn: &[&[u8]]) -> TlsConnector {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder
        .with_safe_default_protocol_versions()
        .expect("versions");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

async fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (theirs, ours) = tokio::join!(TcpStream::connect(address), listener.accept());
    (ours.expect("accepted").0, theirs.expect("connected"))
}

fn server_name() -> ServerName<'static> {
    ServerName::try_from("a.example").expect("a name")
}

const STARTTLS: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";

//
#[tokio::test]
async fn starttls_discards_what_came_with_it_in_clear() {
    let (clock, _hand) = Clock::manual();
    let pki = pki(&clock);
    let (ours, mut peer) = tcp_pair().await;
    let config = pki.certificates.server_config(&[]);
    let transport = TcpTransport::new(ours, Framing::Client, Limits::BEFORE_LOGIN);
    let profile = profile(TlsPolicy::Required, Some(config));
    let mut server = Server::start(transport, profile, &clock, IoOptions::default());
    let watch = tokio::spawn(async move {
        let seen = (server.see().await, server.see().await);
        (seen, server)
    });
    say(&mut peer, &header("a.example")).await;
    let features = read_until(&mut peer, "</stream:features>").await;
    assert!(
        features.contains("<required/></starttls></stream:features>"),
        "{features}"
    );
    // An injected header, login and the start of an element ride in the same segment.
    let injected = header("b.example") + AUTH + "<message>";
    say(&mut peer, &(STARTTLS.to_owned() + &injected)).await;
    assert_eq!(
        read_until(&mut peer, "/>").await,
        "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
    );
    let mut peer = connector(pki.roots, &[])
        .connect(server_name(), peer)
        .await
        .expect("the certificate is trusted");
    say(&mut peer, &header("a.example")).await;
    let features = read_until(&mut peer, "</stream:features>").await;
    assert_eq!(features.matches("<stream:stream").count(), 1, "{features}");
    assert!(features.contains(" from=\"a.example\""), "{features}");
    assert!(
        !features.contains("starttls") && features.contains(">TWICE<"),
        "{features}"
    );
    say(
        &mut peer,
        &(AUTH.to_owned() + &header("a.example") + &bind("b", "x")),
    )
    .await;
    read_until(&mut peer, "</iq>").await;
    let (seen, server) = watch.await.expect("no panic");
    assert!(
        matches!(seen, (Seen::Authenticated(_), Seen::Bound(_))),
        "{seen:?}"
    );
    let tls = server.negotiation.state().tls.clone().expect("secured");
    assert_eq!(
        (tls.version, tls.sni.as_deref()),
        ("TLSv1.3", Some("a.example"))
    );
}

//
#[tokio::test]
async fn starttls_inside_tls_fails() {
    let (clock, _hand) = Clock::manual();
    let pki = pki(&clock);
    let (ours, peer) = tcp_pair().await;
    let config = pki.certificates.server_config(&[]);
    let options = IoOptions {
        direct_tls: Some(config.clone()),
        ..IoOptions::default()
    };
    let transport = TcpTransport::new(ours, Framing::Client, Limits::BEFORE_LOGIN);
    let server = Server::start(
        transport,
        profile(TlsPolicy::Required, Some(config)),
        &clock,
        options,
    );
    let watch = tokio::spawn(server.see_all());
    let connected = connector(pki.roots, &[]).connect(server_name(), peer).await;
    let mut peer = connected.expect("trusted");
    say(&mut peer, &(header("a.example") + STARTTLS)).await;
    let read = read_all(&mut peer).await;
    assert!(
        read.ends_with("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>"),
        "{read}"
    );
    peer.shutdown().await.expect("still connected");
    drop(peer);
    watch.await.expect("no panic");
}

//
#[tokio::test]
async fn direct_tls_speaks_the_protocol_it_was_asked_for() {
    for (offered, agreed) in [
        (vec![ALPN_CLIENT], Ok(Some(ALPN_CLIENT))),
        (vec![], Ok(None)),
        (vec![&b"http/1.1"[..]], Err(())),
    ] {
        let (clock, _hand) = Clock::manual();
        let pki = pki(&clock);
        let (ours, peer) = tcp_pair().await;
        let options = IoOptions {
            direct_tls: Some(pki.certificates.server_config(&[ALPN_CLIENT])),
            ..IoOptions::default()
        };
        let transport = TcpTransport::new(ours, Framing::Client, Limits::BEFORE_LOGIN);
        let profile = profile(TlsPolicy::Direct, None);
        let mut server = Server::start(transport, profile, &clock, options);
        let connected = connector(pki.roots, &offered)
            .connect(server_name(), peer)
            .await;
        let first = server.events.recv().await.expect("an event");
        match (agreed, connected) {
            (Ok(agreed), Ok(mut peer)) => {
                let IoEvent::Secured(tls) = first else {
                    panic!("not secured: {first:?}");
                };
                assert_eq!(tls.alpn.as_deref(), agreed);
                server.negotiation.secured(tls);
                let watch = tokio::spawn(server.see_all());
                say(&mut peer, &(header("a.example") + AUTH)).await;
                read_until(&mut peer, "</success>").await;
                drop(peer);
                watch.await.expect("no panic");
            }
            (Err(()), Err(error)) => {
                assert!(
                    error.to_string().contains("NoApplicationProtocol"),
                    "{error}"
                );
                assert!(
                    matches!(first, IoEvent::Detached(Detached::Tls(_))),
                    "{first:?}"
                );
            }
            (_, connected) => panic!("offered {offered:?}: {connected:?}"),
        }
    }
}

#[tokio::test]
async fn an_unknown_authority_is_refused_by_the_client() {
    let (clock, _hand) = Clock::manual();
    let (served, foreign) = (pki(&clock), pki(&clock));
    let (ours, peer) = tcp_pair().await;
    let options = IoOptions {
        direct_tls: Some(served.certificates.server_config(&[])),
        ..IoOptions::default()
    };
    let transport = TcpTransport::new(ours, Framing::Client, Limits::BEFORE_LOGIN);
    let mut server = Server::start(transport, profile(TlsPolicy::Direct, None), &clock, options);
    let connected = connector(foreign.roots, &[])
        .connect(server_name(), peer)
        .await;
    let error = connected.expect_err("nobody vouches for it");
    assert!(
        error.to_string().contains("invalid peer certificate"),
        "{error}"
    );
    // In TLS 1.3 the server may have finished before it hears of that.
    let mut last = server.events.recv().await.expect("an event");
    if let IoEvent::Secured(_) = last {
        last = server.events.recv().await.expect("an event");
    }
    assert!(matches!(last, IoEvent::Detached(_)), "{last:?}");
}

#[tokio::test]
async fn a_handshake_takes_ten_seconds_at_most() {
    let (clock, hand) = Clock::manual();
    let pki = pki(&clock);
    let (ours, mut peer) = tokio::io::duplex(1024);
    let options = IoOptions {
        direct_tls: Some(pki.certificates.server_config(&[])),
        ..IoOptions::default()
    };
    let transport = TcpTransport::new(ours, Framing::Client, Limits::BEFORE_LOGIN);
    let mut server = Server::start(transport, profile(TlsPolicy::Direct, None), &clock, options);
    // The first byte of a record, and nothing more.
    peer.write_all(&[22]).await.expect("read");
    hand.advance(Duration::from_millis(9_999)).await;
    assert!(server.events.try_recv().is_err());
    hand.advance(Duration::from_millis(2)).await;
    let last = server.events.recv().await;
    assert!(matches!(
        last,
        Some(IoEvent::Detached(Detached::Tls(net::TlsError::Timeout)))
    ));
}

/// What is in a TLS record is worth nothing before all of it is there: parcels of a stream that dies
/// were read by the peer or come back, never both.
#[tokio::test]
async fn parcels_inside_tls_are_written_or_come_back() {
    let clock = Clock::real();
    let pki = pki(&clock);
    for round in 0..40_u64 {
        let (ours, theirs) = tokio::io::duplex(64 + 97 * round as usize);
        let options = IoOptions {
            direct_tls: Some(pki.certificates.server_config(&[])),
            ..IoOptions::default()
        };
        let transport = TcpTransport::new(ours, Framing::Client, Limits::default());
        let mut server = Server::flowing(transport, &clock, options);
        let connected = connector(pki.roots.clone(), &[])
            .connect(server_name(), theirs)
            .await;
        let mut peer = connected.expect("trusted");
        let reading = tokio::spawn(async move {
            let mut text = Vec::new();
            // It ends without close_notify.
            let _ = peer.read_to_end(&mut text).await;
            String::from_utf8(text).expect("UTF-8")
        });
        assert!(matches!(
            server.events.recv().await,
            Some(IoEvent::Secured(_))
        ));
        let dead = DeadLetterBox::new();
        for number in 0..300_u64 {
            let text = format!("<m n='{number}'>{}</m>", "x".repeat(200));
            let envelope = Envelope::new(number, text.len(), &dead);
            assert!(server.io.offer(envelope, text.into()).is_ok());
        }
        for _ in 0..round * 3 {
            tokio::task::yield_now().await;
        }
        server.task.abort();
        let _ = server.task.await;
        drop(server.io);
        let text = reading.await.expect("the reader ends");
        let whole = text.matches("</m>").count() as u64;
        let mut back = Vec::new();
        while !dead.is_empty() {
            back.push(dead.next().await.take());
        }
        assert_eq!(back, (whole..300).collect::<Vec<_>>(), "round {round}");
    }
}
