//! XMPP over WebSocket (RFC 7395) on a whole server. By number: features.md's checks.

use std::net::SocketAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::house::House;
use crate::http::{HTTP, door};
use crate::peer::Peer;

const OPEN: &str =
    "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='a.example' version='1.0'/>";
const CLOSE: &str = "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>";

/// A WebSocket by hand.
pub struct Socket {
    socket: TcpStream,
    heard: Vec<u8>,
}

impl Socket {
    /// Shakes hands with these header lines more; the status.
    pub async fn dial(at: SocketAddr, headers: &str) -> (Socket, String) {
        let mut socket = Socket {
            socket: TcpStream::connect(at).await.expect("somebody listens"),
            heard: Vec::new(),
        };
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        let written = socket.socket.write_all(request.as_bytes()).await;
        written.expect("the server reads");
        let end = loop {
            let end = socket.heard.windows(4).position(|w| w == b"\r\n\r\n");
            match end {
                Some(end) => break end + 4,
                None => socket.hear().await,
            }
        };
        let head: Vec<u8> = socket.heard.drain(..end).collect();
        (socket, String::from_utf8(head).expect("ASCII"))
    }

    pub async fn open(at: SocketAddr) -> Socket {
        let (socket, head) = Socket::dial(at, "Sec-WebSocket-Protocol: xmpp\r\n").await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        let head = head.to_ascii_lowercase();
        assert!(head.contains("sec-websocket-protocol: xmpp"), "{head}");
        socket
    }

    async fn hear(&mut self) {
        let mut room = [0; 4096];
        let read = self.socket.read(&mut room).await.expect("a frame");
        assert!(read > 0, "the connection ended");
        self.heard.extend_from_slice(&room[..read]);
    }

    /// Where it comes from, as the server sees it.
    pub fn own_address(&self) -> SocketAddr {
        self.socket.local_addr().expect("it is connected")
    }

    /// The texts that still come, and the code of the close behind them; none if the connection just ends.
    pub async fn ends(&mut self) -> (Vec<String>, Option<u16>) {
        let mut texts = Vec::new();
        loop {
            match self.framed() {
                Some((1, payload)) => texts.push(String::from_utf8(payload).expect("UTF-8")),
                Some((8, payload)) => {
                    let code = u16::from_be_bytes([payload[0], payload[1]]);
                    // A close is answered with the same.
                    self.frame(0x88, &payload).await;
                    return (texts, Some(code));
                }
                Some(other) => panic!("{other:?} before the end"),
                None => {
                    let mut room = [0; 4096];
                    match self.socket.read(&mut room).await {
                        Ok(0) | Err(_) => return (texts, None),
                        Ok(read) => self.heard.extend_from_slice(&room[..read]),
                    }
                }
            }
        }
    }

    /// Sends a frame, masked with zeros.
    pub async fn frame(&mut self, first: u8, payload: &[u8]) {
        let mut frame = vec![first];
        match payload.len() {
            length @ 0..126 => frame.push(0x80 | length as u8),
            length => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&(length as u16).to_be_bytes());
            }
        }
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(payload);
        let written = self.socket.write_all(&frame).await;
        written.expect("the server reads");
    }

    pub async fn says(&mut self, text: &str) {
        self.frame(0x81, text.as_bytes()).await;
    }

    /// The next frame: its opcode and what it carries.
    pub async fn next(&mut self) -> (u8, Vec<u8>) {
        loop {
            if let Some(frame) = self.framed() {
                return frame;
            }
            self.hear().await;
        }
    }

    /// The next frame, if all of it was heard.
    fn framed(&mut self) -> Option<(u8, Vec<u8>)> {
        let [first, length, ..] = self.heard[..] else {
            return None;
        };
        let (at, length) = match length {
            126 if self.heard.len() >= 4 => (
                4,
                usize::from(u16::from_be_bytes([self.heard[2], self.heard[3]])),
            ),
            126 => return None,
            length => (2, usize::from(length)),
        };
        if self.heard.len() < at + length {
            return None;
        }
        assert_eq!(first & 0x80, 0x80, "whole frames");
        let payload = self.heard[at..at + length].to_vec();
        self.heard.drain(..at + length);
        Some((first & 0x0f, payload))
    }

    /// The next text.
    pub async fn hears(&mut self) -> String {
        let (opcode, payload) = self.next().await;
        assert_eq!(opcode, 1, "a text: {payload:?}");
        String::from_utf8(payload).expect("UTF-8")
    }

    /// The code of the close that comes next.
    pub async fn closes(&mut self) -> u16 {
        let (opcode, payload) = self.next().await;
        assert_eq!(opcode, 8, "{:?}", String::from_utf8_lossy(&payload));
        u16::from_be_bytes([payload[0], payload[1]])
    }

    /// Opens a stream; the features.
    pub async fn begins(&mut self) -> String {
        self.says(OPEN).await;
        let open = self.hears().await;
        assert!(
            open.starts_with("<open xmlns=\"urn:ietf:params:xml:ns:xmpp-framing\"")
                && open.contains("from=\"a.example\"")
                && open.contains("id=")
                && open.contains("version=\"1.0\"")
                && open.ends_with("/>"),
            "{open}"
        );
        let features = self.hears().await;
        let declared = "<stream:features xmlns:stream=\"http://etherx.jabber.org/streams\">";
        assert!(features.starts_with(declared), "{features}");
        features
    }

    pub async fn logs_in(&mut self, user: &str, resource: &str) {
        let features = self.begins().await;
        assert!(features.contains("PLAIN"), "{features}");
        assert!(!features.contains("starttls"), "R-288: {features}");
        let plain = BASE64_STANDARD.encode(format!("\0{user}\0secret"));
        self.says(&format!(
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>"
        ))
        .await;
        assert!(self.hears().await.starts_with("<success xmlns="));
        assert!(
            self.begins()
                .await
                .contains("urn:ietf:params:xml:ns:xmpp-bind")
        );
        self.says(&format!(
            "<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
             <resource>{resource}</resource></bind></iq>"
        ))
        .await;
        let bound = self.hears().await;
        assert!(
            bound.starts_with("<iq xmlns='jabber:client' type="),
            "{bound}"
        );
        assert!(bound.contains(&format!("/{resource}")), "{bound}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_logs_in_and_chats() {
    let house = House::start(HTTP).await;
    for user in ["alice", "bob"] {
        house
            .done(&format!("register {user} a.example secret"))
            .await;
    }
    let mut alice = Socket::open(door(&house)).await;
    alice.logs_in("alice", "web").await;
    let mut bob = Peer::dial(house.server.addresses()[0].at).await;
    bob.logs_in("bob", "a.example", "secret").await;
    bob.says("<message to='alice@a.example/web' type='chat'><body>a &lt; b</body></message>")
        .await;
    let heard = alice.hears().await;
    assert!(
        heard.starts_with("<message xmlns=\"jabber:client\""),
        "{heard}"
    );
    assert!(heard.contains("<body>a &lt; b</body>"), "{heard}");
    // A message in two frames, with a ping between, is one message.
    let text =
        "<message xmlns='jabber:client' to='bob@a.example/desk'><body>hello</body></message>";
    let (one, other) = text.split_at(20);
    alice.frame(0x01, one.as_bytes()).await;
    alice.frame(0x89, b"beat").await;
    alice.frame(0x80, other.as_bytes()).await;
    assert_eq!(alice.next().await, (10, b"beat".to_vec()));
    bob.hears("<body>hello</body>").await;
    // More than the WebSocket takes at once, in order.
    for number in 0..200 {
        let padding = "x".repeat(1000);
        bob.says(&format!(
            "<message to='alice@a.example/web'><body>{number} {padding}</body></message>"
        ))
        .await;
    }
    for number in 0..200 {
        let heard = alice.hears().await;
        assert!(
            heard.contains(&format!("<body>{number} x")),
            "{number}: {heard}"
        );
    }
    alice.says(CLOSE).await;
    let close = alice.hears().await;
    assert!(
        close.starts_with("<close xmlns=\"urn:ietf:params:xml:ns:xmpp-framing\""),
        "{close}"
    );
    assert_eq!(alice.closes().await, 1000);
    drop((alice, bob));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_the_rules_is_told_and_closed() {
    let house = House::start(HTTP).await;
    let at = door(&house);
    for headers in ["", "Sec-WebSocket-Protocol: chat\r\n"] {
        let (_, head) = Socket::dial(at, headers).await;
        assert!(head.starts_with("HTTP/1.1 400"), "R-280: {head}");
    }
    let two = "<a xmlns='x'/><b xmlns='x'/>";
    for (first, then, condition) in [
        (
            "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='a.example'>",
            None,
            "invalid-namespace",
        ),
        (
            "<iq xmlns='jabber:client' type='get' id='1'/>",
            None,
            "invalid-namespace",
        ),
        (OPEN, Some(two), "bad-format"),
        (OPEN, Some("<a xmlns='x'>"), "not-well-formed"),
        (OPEN, Some(OPEN), "bad-format"),
    ] {
        let mut socket = Socket::open(at).await;
        match then {
            Some(then) => {
                socket.begins().await;
                socket.says(then).await;
            }
            None => {
                socket.says(first).await;
                assert!(socket.hears().await.starts_with("<open "));
            }
        }
        let error = socket.hears().await;
        let begin = "<stream:error xmlns:stream=\"http://etherx.jabber.org/streams\">";
        assert!(
            error.starts_with(begin) && error.contains(condition),
            "{first} {then:?}: {error}"
        );
        assert!(socket.hears().await.starts_with("<close "));
        socket.says(CLOSE).await;
        assert_eq!(socket.closes().await, 1000);
    }
    let mut socket = Socket::open(at).await;
    socket.begins().await;
    socket.frame(0x82, b"bytes").await;
    assert_eq!(socket.closes().await, 1003, "R-287");
    drop(socket);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_either_side_is_noticed() {
    let house = House::start(HTTP).await;
    house.done("register alice a.example secret").await;
    let mut gone = Socket::open(door(&house)).await;
    gone.logs_in("alice", "gone").await;
    let mut alice = Socket::open(door(&house)).await;
    alice.logs_in("alice", "web").await;
    assert!(
        house
            .done("connected_users")
            .await
            .contains("alice@a.example/gone")
    );
    let table = house.server.node().sessions.table.clone();
    drop(gone);
    let left = async {
        while table.count() > 1 {
            tokio::task::yield_now().await;
        }
    };
    let left = otp::Clock::real()
        .timeout(std::time::Duration::from_secs(30), left)
        .await;
    left.expect("a session ends with its WebSocket");
    let goodbye = async move {
        let error = alice.hears().await;
        assert!(error.contains("system-shutdown"), "{error}");
        assert!(alice.hears().await.starts_with("<close "));
        alice.says(CLOSE).await;
        alice.closes().await
    };
    let (_, code) = tokio::join!(house.stop(), goodbye);
    assert_eq!(code, 1000);
}
