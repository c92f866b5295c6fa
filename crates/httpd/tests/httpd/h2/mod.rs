//! What a peer of HTTP/2 may and may not do, frame by frame: RFC 9113 and RFC 7541, under the numbers of their sections.
//! Most of it is the library's doing; here is seen that it is what we serve with. Frames are bytes here (RFC 9113 §4),
//! and header blocks are written by hand.

mod frames;
mod limits;
mod messages;

use crate::stage::{Stage, any, echo, told};
use crate::tls::{Trust, dial, trust};
use httpd::{ALPN, Fixed, Limits, Options, Path};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 0x1;
pub const ACK: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;
pub const PADDED: u8 = 0x8;

pub const NO_ERROR: u32 = 0x0;
pub const PROTOCOL_ERROR: u32 = 0x1;
pub const FLOW_CONTROL_ERROR: u32 = 0x3;
pub const STREAM_CLOSED: u32 = 0x5;
pub const FRAME_SIZE_ERROR: u32 = 0x6;
pub const REFUSED_STREAM: u32 = 0x7;
pub const COMPRESSION_ERROR: u32 = 0x9;
pub const ENHANCE_YOUR_CALM: u32 = 0xb;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A field of a header block, as a literal that is not kept.
pub fn field(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0, name.len() as u8];
    bytes.extend(name.as_bytes());
    assert!(value.len() < 127, "a length of one byte");
    bytes.push(value.len() as u8);
    bytes.extend(value.as_bytes());
    bytes
}

/// The block of a request without a body or with one.
pub fn block(method: &str, path: &str) -> Vec<u8> {
    [
        field(":method", method),
        field(":scheme", "https"),
        field(":path", path),
        field(":authority", "localhost"),
    ]
    .concat()
}

/// A whole request for `path` on `stream`.
pub fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        stream,
        &block("GET", path),
    )
}

/// The head of a request whose body follows.
pub fn post(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &block("POST", path))
}

pub fn ping(mark: u8) -> Vec<u8> {
    frame(PING, 0, 0, &[mark; 8])
}

pub fn setting(number: u16, value: u32) -> Vec<u8> {
    let mut payload = number.to_be_bytes().to_vec();
    payload.extend(value.to_be_bytes());
    payload
}

/// A frame that came.
#[derive(Debug)]
pub struct Came {
    pub kind: u8,
    pub flags: u8,
    pub payload: Vec<u8>,
}

impl Came {
    /// The error code of a reset, or of a GOAWAY.
    pub fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        let four = self.payload[at..].first_chunk::<4>().expect("a code");
        u32::from_be_bytes(*four)
    }
}

/// A server of HTTP/2.
pub struct Server {
    trust: Trust,
    pub stage: Stage,
}

impl Server {
    pub async fn new(paths: Vec<Path>, limits: Limits) -> Server {
        let trust = trust();
        let config = trust.certificates.server_config(ALPN);
        let options = Options {
            limits,
            ..Options::default()
        };
        let stage = Stage::with(any(paths), options, Some(config)).await;
        Server { trust, stage }
    }

    /// A connection on which nothing was said.
    pub async fn silent(&self) -> Peer {
        Peer {
            io: dial(&self.trust, self.stage.address, &[b"h2"]).await,
        }
    }

    /// A connection whose settings are known on both sides.
    pub async fn open(&self) -> Peer {
        let mut peer = self.silent().await;
        peer.say(&[PREFACE, &frame(SETTINGS, 0, 0, b"")].concat())
            .await;
        let mut known = 0;
        while known < 2 {
            let came = peer.hear().await.expect("settings");
            if came.kind == SETTINGS {
                known += 1;
                if came.flags & ACK == 0 {
                    peer.say(&frame(SETTINGS, ACK, 0, b"")).await;
                }
            }
        }
        peer
    }
}

/// A client that speaks frames.
pub struct Peer {
    io: TlsStream<TcpStream>,
}

impl Peer {
    /// Says `bytes`, unless the server has gone.
    pub async fn say(&mut self, bytes: &[u8]) {
        if self.io.write_all(bytes).await.is_ok() {
            let _ = self.io.flush().await;
        }
    }

    /// The next frame; none if the server has gone.
    pub async fn hear(&mut self) -> Option<Came> {
        let mut head = [0; 9];
        self.io.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.io.read_exact(&mut payload).await.ok()?;
        Some(Came {
            kind: head[3],
            flags: head[4],
            payload,
        })
    }
}

/// What comes of what was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The connection is ended, with this code.
    Gone(u32),
    /// The stream that was last named is, and the connection lives.
    Reset(u32),
    /// A reply, by the first byte of its header block: an indexed `:status`.
    Reply(u8),
    /// The connection lives, and nothing else is said.
    Nothing,
}
pub use Found::{Gone, Nothing, Reply, Reset};

/// What the library says where the RFC has another code (of a frame's size, of a window, of a closed stream, of header
/// compression): the connection is ended all the same.
pub const ENDED: Found = Gone(PROTOCOL_ERROR);

pub const OK: Found = Reply(0x88);
pub const BAD_REQUEST: Found = Reply(0x8c);

/// Where it is written, what is said, and what may come of it.
pub type Case = (&'static str, Vec<u8>, &'static [Found]);

pub fn paths() -> Vec<Path> {
    let (waits, _) = told(|_req| Box::pin(std::future::pending()));
    vec![
        Path::to("/", Fixed::text(200, "hello")),
        Path::to("/waits", waits),
        echo(),
    ]
}

/// What comes: the first thing that decides, or nothing where pings alone are answered.
pub async fn find(peer: &mut Peer) -> Found {
    for mark in 0..8 {
        peer.say(&ping(mark)).await;
        loop {
            let Some(came) = peer.hear().await else {
                // As if it had said nothing of why.
                return Gone(NO_ERROR);
            };
            match came.kind {
                GOAWAY => return Gone(came.code()),
                RST_STREAM => return Reset(came.code()),
                HEADERS => return Reply(came.payload[0]),
                PING if came.flags & ACK != 0 && came.payload == [mark; 8] => break,
                _ => {}
            }
        }
    }
    Nothing
}

pub async fn play(cases: Vec<Case>) {
    let server = Server::new(paths(), Limits::default()).await;
    let mut wrong = Vec::new();
    for (section, bytes, wanted) in cases {
        let mut peer = server.open().await;
        peer.say(&bytes).await;
        let found = find(&mut peer).await;
        if !wanted.contains(&found) {
            wrong.push(format!("{section}: {found:?} and not {wanted:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A request whose block goes on with these bytes.
pub fn raw_block(bytes: &[u8]) -> Vec<u8> {
    let block = [&block("GET", "/"), bytes].concat();
    frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)
}
