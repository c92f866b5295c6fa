//! Posts of waiting messages: what comes to a server that takes them.

use std::sync::Arc;
use std::time::Duration;

use otp::{Clock, ClockHand};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::authority::Authority;
use crate::browser::Browser;
use crate::house::House;
use crate::http::{HTTP, door};
use crate::peer::Peer;

/// How long what must come may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request as it came.
struct Post {
    /// In lower case.
    head: String,
    body: serde_json::Value,
}

/// A server that takes posts and replies with these, one after the other, then with 204.
struct Taker {
    port: u16,
    posts: mpsc::UnboundedReceiver<Post>,
}

impl Taker {
    async fn open(replies: &[&'static str], tls: Option<Arc<rustls::ServerConfig>>) -> Taker {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (tell, posts) = mpsc::unbounded_channel();
        let mut replies = replies.to_vec();
        replies.reverse();
        tokio::spawn(async move {
            // One connection at a time: the server has no more.
            while let Ok((socket, _)) = listener.accept().await {
                match &tls {
                    None => serve(socket, &mut replies, &tell).await,
                    Some(config) => {
                        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(config));
                        if let Ok(stream) = acceptor.accept(socket).await {
                            serve(stream, &mut replies, &tell).await;
                        }
                    }
                }
            }
        });
        Taker { port, posts }
    }

    async fn hears(&mut self) -> Post {
        let came = Clock::real().timeout(PATIENCE, self.posts.recv()).await;
        came.expect("a post comes").expect("the taker lives")
    }

    /// What comes when the server's time passes, second by second.
    async fn hears_later(&mut self, hand: &ClockHand) -> Post {
        for _ in 0..250 {
            hand.advance(Duration::from_secs(1)).await;
            let soon = Duration::from_millis(100);
            if let Ok(post) = Clock::real().timeout(soon, self.posts.recv()).await {
                return post.expect("the taker lives");
            }
        }
        panic!("nothing came again");
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    replies: &mut Vec<&'static str>,
    tell: &mpsc::UnboundedSender<Post>,
) {
    let mut heard: Vec<u8> = Vec::new();
    loop {
        let Some(end) = heard.windows(4).position(|four| four == b"\r\n\r\n") else {
            match stream.read_buf(&mut heard).await {
                Ok(1..) => continue,
                _ => return,
            }
        };
        let head = String::from_utf8_lossy(&heard[..end + 4]).to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.and_then(|text| text.parse().ok()).expect("a length");
        while heard.len() < end + 4 + length {
            if !matches!(stream.read_buf(&mut heard).await, Ok(1..)) {
                return;
            }
        }
        let request: Vec<u8> = heard.drain(..end + 4 + length).collect();
        let body = serde_json::from_slice(&request[end + 4..]).expect("JSON");
        let _ = tell.send(Post { head, body });
        let reply = replies.pop().unwrap_or("204 No Content");
        let reply = format!("HTTP/1.1 {reply}\r\nContent-Length: 0\r\n\r\n");
        if stream.write_all(reply.as_bytes()).await.is_err() {
            return;
        }
    }
}

struct Stage {
    house: House,
    bob: Peer,
}

impl Stage {
    async fn open() -> Stage {
        let house = House::start(HTTP).await;
        house.done("register alice a.example secret").await;
        house.done("register bob a.example secret").await;
        let mut bob = Peer::dial(house.server.addresses()[0].at).await;
        bob.logs_in("bob", "a.example", "secret").await;
        Stage { house, bob }
    }

    /// Those who are there leave first: with its clock standing still the server would wait for them.
    async fn stop(self) {
        drop(self.bob);
        self.house.stop().await;
    }

    async fn begin(&self, url: &str, more: &str) {
        let options = format!("url={url} secret=correct-horse-battery within=300s {more}");
        self.house
            .done(&format!(
                "module_start a.example mod_http_offline {options}"
            ))
            .await;
    }

    async fn says(&mut self, id: &str) {
        self.bob
            .says(&format!(
                "<message to='alice@a.example' type='chat' id='{id}'><body>hi {id}</body></message>"
            ))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_messages_are_posted_and_tried_again() {
    let replies = [
        "204 No Content",
        "500 Internal Server Error",
        "302 Found\r\nLocation: /elsewhere",
    ];
    let mut taker = Taker::open(&replies, None).await;
    let mut stage = Stage::open().await;
    let missing = stage
        .house
        .refused("module_start a.example mod_http_offline")
        .await;
    assert!(missing.contains("url"), "{missing}");
    stage
        .begin(&format!("http://127.0.0.1:{}/in?x=1", taker.port), "")
        .await;
    stage.says("1").await;
    let post = taker.hears().await;
    assert!(
        post.head.starts_with("post /in?x=1 http/1.1\r\n"),
        "{}",
        post.head
    );
    assert!(
        post.head.contains("\r\ncontent-type: application/json\r\n"),
        "{}",
        post.head
    );
    let (_, signature) = post
        .head
        .split_once("\r\nx-natter-signature: t=1893456000,v1=")
        .expect("signed");
    assert_eq!(signature.find("\r\n"), Some(64));
    for (key, value) in [
        ("event", "offline_message"),
        ("account", "alice@a.example"),
        ("from", "bob@a.example/desk"),
        ("type", "chat"),
        ("message_id", "1"),
        ("body", "hi 1"),
    ] {
        assert_eq!(post.body[key], value, "{key}");
    }
    assert!(
        post.body["stanza"]
            .as_str()
            .is_some_and(|text| text.starts_with("<message"))
    );

    // A failure is tried again with the same id, a redirect is not followed.
    stage.says("2").await;
    let first = taker.hears().await;
    let again = taker.hears_later(&stage.house.hand).await;
    assert_eq!(first.body, again.body);
    stage.says("3").await;
    let next = taker.hears().await;
    assert!(next.head.starts_with("post /in?x=1 "), "{}", next.head);
    assert_eq!(next.body["message_id"], "3");

    stage
        .house
        .done("module_stop a.example mod_http_offline")
        .await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_verified() {
    let (good, other) = (Authority::new(), Authority::new());
    let issued = good.issues("localhost");
    let chain = CertificateDer::pem_slice_iter(issued.chain.as_bytes());
    let chain = chain.collect::<Result<Vec<_>, _>>().expect("a chain");
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("they belong together");
    let mut taker = Taker::open(&[], Some(Arc::new(config))).await;
    let mut stage = Stage::open().await;
    let folder = stage.house.folder.path().to_owned();
    for (name, authority) in [("good.pem", &good), ("other.pem", &other)] {
        std::fs::write(folder.join(name), authority.pem()).expect("the folder is ours");
    }
    let url = format!("https://localhost:{}/", taker.port);
    let file = |name: &str| format!("ca_file={}", folder.join(name).display());
    // By another's word nothing is posted. There is no time for a second try.
    let more = format!("{} first_wait=2s give_up_after=1s", file("other.pem"));
    stage.begin(&url, &more).await;
    stage.says("1").await;
    let mut browser = Browser::dial(door(&stage.house)).await;
    let mut asked = 0;
    loop {
        let page = browser.asks("GET", "localhost", "/metrics", &[], "").await;
        if page
            .body
            .contains("natter_http_offline_posts_total{outcome=\"given_up\"} 1\n")
        {
            break;
        }
        asked += 1;
        assert!(asked < 900, "{}", page.body);
    }
    stage
        .house
        .done("module_stop a.example mod_http_offline")
        .await;
    stage.begin(&url, &file("good.pem")).await;
    stage.says("2").await;
    assert_eq!(taker.hears().await.body["message_id"], "2");
    stage.stop().await;
}

/// What the page of metrics counts of posts that ended so.
async fn counted(browser: &mut Browser, outcome: &str, count: u64) {
    let line = format!("natter_http_offline_posts_total{{outcome=\"{outcome}\"}} {count}\n");
    for _ in 0..900 {
        let page = browser.asks("GET", "localhost", "/metrics", &[], "").await;
        if page.body.contains(&line) {
            return;
        }
    }
    panic!("{line} is not told");
}

/// When a post was tried, by its signature.
fn tried(post: &Post) -> u64 {
    let (_, rest) = post
        .head
        .split_once("x-natter-signature: t=")
        .expect("signed");
    let digits = rest.split(',').next().unwrap_or_default();
    digits.parse().expect("seconds")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_try_comes_later_and_more_than_fits_is_dropped() {
    let replies = [
        "503 Service Unavailable",
        "429 Too Many Requests",
        "500 Internal Server Error",
        "408 Request Timeout",
        "204 No Content",
        "410 Gone",
    ];
    let mut taker = Taker::open(&replies, None).await;
    let mut stage = Stage::open().await;
    let mut browser = Browser::dial(door(&stage.house)).await;
    let url = format!("http://127.0.0.1:{}/", taker.port);
    let more = "first_wait=2s longest_wait=6s give_up_after=100s queue=2 content=false";
    stage.begin(&url, more).await;
    stage.says("1").await;
    let first = taker.hears().await;
    for key in ["body", "stanza"] {
        assert!(first.body.get(key).is_none(), "{key} is nobody's affair");
    }
    // The first is not done yet, the second waits, there is no room for more.
    for id in ["2", "3", "4"] {
        stage.says(id).await;
    }
    counted(&mut browser, "dropped", 2).await;
    let mut last = tried(&first);
    for wait in [2, 4, 6, 6] {
        let again = taker.hears_later(&stage.house.hand).await;
        assert_eq!(again.body, first.body, "it is the same");
        assert!(
            tried(&again) >= last + wait,
            "{last} {wait} {}",
            tried(&again)
        );
        last = tried(&again);
    }
    let second = taker.hears().await;
    assert_eq!(second.body["message_id"], "2", "in their order");
    counted(&mut browser, "sent", 1).await;
    counted(&mut browser, "given_up", 1).await;
    // There is room again.
    stage.says("5").await;
    assert_eq!(taker.hears().await.body["message_id"], "5");
    counted(&mut browser, "sent", 2).await;
    counted(&mut browser, "dropped", 2).await;
    // The messages themselves wait whatever became of their posts.
    let mut alice = Peer::dial(stage.house.server.addresses()[0].at).await;
    alice.logs_in("alice", "a.example", "secret").await;
    alice.says("<presence/>").await;
    for id in 1..=5 {
        alice.hears(&format!("<body>hi {id}</body>")).await;
    }
    drop(alice);
    stage.stop().await;
}
