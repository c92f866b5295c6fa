//! HTTP/2 and TLS: ALPN, streams, resets, GOAWAY, refusals; and the PROXY protocol.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::stage::{Client, Stage, any, body, told};
use bytes::Bytes;
use futures_util::future::join_all;
use httpd::http::{Method, Request as HttpRequest, Version};
use httpd::{ALPN, Error, Fixed, Options, Outcome, Path, Reason, Request, handler_fn};
use net::{
    Admission, Bound, Certificates, Gate, ListenerLimits, SelfSigned, Sources, listener_child,
};
use otp::Clock;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A certificate for `localhost`, and the client's side of it.
pub struct Trust {
    pub certificates: Certificates,
    roots: RootCertStore,
    _folder: tempfile::TempDir,
}

pub fn trust() -> Trust {
    let folder = tempfile::tempdir().expect("a folder");
    let own = SelfSigned {
        directory: folder.path().to_owned(),
        domains: vec!["localhost".to_owned()],
    };
    let sources = Sources {
        domains: vec!["localhost".to_owned()],
        self_signed: Some(own),
        ..Sources::default()
    };
    let certificates = Certificates::load(sources, &Clock::real()).expect("signed");
    let mut roots = RootCertStore::empty();
    for file in std::fs::read_dir(folder.path()).expect("listed") {
        let pem = std::fs::read(file.expect("a file").path()).expect("read");
        for certificate in rustls::pki_types::pem::PemObject::pem_slice_iter(&pem) {
            roots
                .add(certificate.expect("a certificate"))
                .expect("added");
        }
    }
    Trust {
        certificates,
        roots,
        _folder: folder,
    }
}

pub async fn dial(trust: &Trust, address: SocketAddr, alpn: &[&[u8]]) -> TlsStream<TcpStream> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(trust.roots.clone())
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let socket = TcpStream::connect(address).await.expect("accepted");
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config))
        .connect(name, socket)
        .await
        .expect("shaken")
}

async fn h2(trust: &Trust, address: SocketAddr) -> h2::client::SendRequest<Bytes> {
    let stream = dial(trust, address, &[b"h2"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (send, connection) = h2::client::handshake(stream).await.expect("h2");
    tokio::spawn(async move {
        let _ = connection.await;
    });
    send.ready().await.expect("ready")
}

fn get(path: &str) -> HttpRequest<()> {
    let uri = format!("https://localhost{path}");
    HttpRequest::builder()
        .version(Version::HTTP_2)
        .uri(uri)
        .body(())
        .expect("a request")
}

async fn read(mut body: h2::RecvStream) -> Result<String, h2::Error> {
    let mut text = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        let _ = body.flow_control().release_capacity(data.len());
        text.extend_from_slice(&data);
    }
    Ok(String::from_utf8(text).expect("text"))
}

fn describe() -> Path {
    Path::to(
        "/about",
        handler_fn((), |req: &mut Request, (): &mut ()| {
            Box::pin(async {
                let tls = req.tls().map(|tls| tls.version);
                let text = format!("{:?} {} {} {tls:?}", req.version(), req.uri(), req.port());
                req.reply_text(200, text)?;
                Ok(Outcome::Done)
            })
        }),
    )
}

#[tokio::test]
async fn a_client_of_tls_chooses_the_version() {
    let trust = trust();
    let config = trust.certificates.server_config(ALPN);
    let stage = Stage::with(any(vec![describe()]), Options::default(), Some(config)).await;
    let mut client = Client::new(dial(&trust, stage.address, &[b"http/1.1"]).await);
    let reply = client.get("/about").await;
    assert_eq!(
        body(&reply),
        "HTTP/1.1 https://a/about 443 Some(\"TLSv1.3\")"
    );
    let mut client = Client::new(dial(&trust, stage.address, &[]).await);
    assert!(body(&client.get("/about").await).starts_with("HTTP/1.1"));
    let mut send = h2(&trust, stage.address).await;
    let (reply, _) = send.send_request(get("/about"), true).expect("sent");
    let reply = reply.await.expect("a reply");
    assert_eq!(reply.status(), 200);
    let text = read(reply.into_body()).await.expect("whole");
    assert_eq!(
        text,
        "HTTP/2.0 https://localhost/about 443 Some(\"TLSv1.3\")"
    );
}

#[tokio::test]
async fn streams_of_one_connection_are_served_beside_each_other() {
    let trust = trust();
    let config = trust.certificates.server_config(ALPN);
    let meet = Arc::new(tokio::sync::Barrier::new(10));
    let together = handler_fn(
        meet,
        |req: &mut Request, meet: &mut Arc<tokio::sync::Barrier>| {
            Box::pin(async move {
                meet.wait().await;
                let body = req.body(1000).await?;
                req.stream(200, ())?;
                req.send(body).await?;
                req.finish_with([("x-sum", "1")])?;
                Ok(Outcome::Done)
            })
        },
    );
    let (cut, mut cut_ends) = told(|req| {
        Box::pin(async {
            req.stream(200, ())?;
            req.send("begun").await?;
            Err(Error::internal("no more"))
        })
    });
    let (waits, mut waits_ends) = told(|_req| Box::pin(std::future::pending()));
    let paths = vec![
        Path::to("/together", together),
        Path::to("/cut", cut),
        Path::to("/waits", waits),
    ];
    let stage = Stage::with(any(paths), Options::default(), Some(config)).await;
    let mut send = h2(&trust, stage.address).await;
    let mut replies = Vec::new();
    for n in 0..10 {
        let (reply, mut body) = send.send_request(get("/together"), false).expect("sent");
        body.send_data(format!("body {n}").into(), true)
            .expect("sent");
        replies.push(reply);
        send = send.ready().await.expect("ready");
    }
    for (n, reply) in join_all(replies).await.into_iter().enumerate() {
        let mut body = reply.expect("a reply").into_body();
        let data = body.data().await.expect("data").expect("good");
        assert_eq!(data, format!("body {n}"));
        while let Some(more) = body.data().await {
            assert!(more.expect("good").is_empty());
        }
        let trailers = body.trailers().await.expect("good").expect("trailers");
        assert_eq!(trailers["x-sum"], "1");
    }
    // A reply that is cut is reset, and the connection lives on.
    let (reply, _) = send.send_request(get("/cut"), true).expect("sent");
    let failed = match reply.await {
        Ok(reply) => read(reply.into_body()).await.map(drop),
        Err(error) => Err(error),
    };
    assert!(failed.is_err(), "reset");
    assert!(matches!(cut_ends.recv().await, Some(Reason::Error(_))));
    // A peer that resets ends its request alone.
    send = send.ready().await.expect("ready");
    let (reply, mut stream) = send.send_request(get("/waits"), true).expect("sent");
    send = send.ready().await.expect("ready");
    let (other, _) = send.send_request(get("/nowhere"), true).expect("sent");
    assert_eq!(other.await.expect("a reply").status(), 404);
    stream.send_reset(h2::Reason::CANCEL);
    drop(reply);
    assert_eq!(waits_ends.recv().await, Some(Reason::Disconnected));
    // A stop tells the peer.
    let app = stage.app.clone();
    let stopping = tokio::spawn(async move { app.stop(Duration::from_secs(60)).await });
    stopping.await.expect("no panic").expect("in time");
    assert!(send.ready().await.is_err());
}

#[tokio::test]
async fn what_http_2_lets_through_is_refused_too() {
    let trust = trust();
    let config = trust.certificates.server_config(ALPN);
    let stage = Stage::with(
        any(vec![Path::to("/", Fixed::text(200, ""))]),
        Options::default(),
        Some(config),
    )
    .await;
    let mut send = h2(&trust, stage.address).await;
    let long = "x".repeat(8001);
    let other_host = {
        let mut request = get("/");
        request
            .headers_mut()
            .insert("host", "other".parse().expect("a value"));
        request
    };
    let trace = {
        let mut request = get("/");
        *request.method_mut() = httpd::http::Method::TRACE;
        request
    };
    for (request, code) in [
        (get("/"), 200),
        (other_host, 400),
        (trace, 501),
        (get(&format!("/{long}")), 414),
    ] {
        let (reply, _) = send.send_request(request, true).expect("sent");
        assert_eq!(reply.await.expect("a reply").status(), code);
        send = send.ready().await.expect("ready");
    }
}

#[tokio::test]
async fn behind_a_proxy_the_peer_is_the_client() {
    let stage = Stage::new(any(vec![Path::to(
        "/",
        handler_fn((), |req: &mut Request, (): &mut ()| {
            Box::pin(async {
                let peer = req.peer().to_string();
                req.reply_text(200, peer)?;
                Ok(Outcome::Done)
            })
        }),
    )]))
    .await;
    let bound = Arc::new(Bound::bind(([127, 0, 0, 1], 0).into(), 128).expect("a port"));
    let address = bound.local_addr();
    let gate = Gate {
        admission: Admission::new(10, 10),
        proxies: Some(vec!["127.0.0.1".parse().expect("a network")].into()),
        forwarders: Arc::default(),
    };
    let door = stage.httpd.door(None);
    let child = listener_child("proxied", bound, door, gate, ListenerLimits::default());
    stage.app.root().start_child(child).await.expect("started");
    let mut client = Client::new(TcpStream::connect(address).await.expect("accepted"));
    client
        .say("PROXY TCP4 192.0.2.1 198.51.100.1 40000 80\r\n")
        .await;
    assert_eq!(body(&client.get("/").await), "192.0.2.1:40000");
}

#[tokio::test]
async fn a_reply_to_head_has_no_body_in_http_2_either() {
    let trust = trust();
    let config = trust.certificates.server_config(ALPN);
    let streams = handler_fn((), |req: &mut Request, (): &mut ()| {
        Box::pin(async {
            req.stream(200, [("content-length", "5")])?;
            req.send("hello").await?;
            Ok(Outcome::Done)
        })
    });
    let paths = vec![
        Path::to("/whole", Fixed::text(200, "hello")),
        Path::to("/stream", streams),
    ];
    let stage = Stage::with(any(paths), Options::default(), Some(config)).await;
    let mut send = h2(&trust, stage.address).await;
    for path in ["/whole", "/stream"] {
        for method in [Method::HEAD, Method::GET] {
            let is_head = method == Method::HEAD;
            let mut request = get(path);
            *request.method_mut() = method;
            let (reply, _) = send.send_request(request, true).expect("sent");
            let reply = reply.await.expect("a reply");
            assert_eq!(reply.headers()["content-length"], "5", "{path}");
            let text = read(reply.into_body()).await.expect("whole");
            assert_eq!(text, if is_head { "" } else { "hello" }, "{path}");
            send = send.ready().await.expect("ready");
        }
    }
}
