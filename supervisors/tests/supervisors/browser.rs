//! An HTTP client by hand: one request, one reply.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// What requests go over.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// A connection that is kept.
pub struct Browser {
    socket: Box<dyn Connection>,
    /// Bytes behind the last reply.
    heard: Vec<u8>,
}

/// A reply.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// The head in lower case.
    pub head: String,
    pub body: String,
}

impl Reply {
    /// The value of a header; empty without it.
    pub fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.map(str::trim).unwrap_or_default()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Browser {
    pub async fn dial(at: SocketAddr) -> Browser {
        Browser::over(TcpStream::connect(at).await.expect("somebody listens"))
    }

    /// One on a connection that stands.
    pub fn over(socket: impl Connection + 'static) -> Browser {
        Browser {
            socket: Box::new(socket),
            heard: Vec::new(),
        }
    }

    /// Asks for `path` on `host`, with these header lines.
    pub async fn asks(
        &mut self,
        method: &str,
        host: &str,
        path: &str,
        headers: &[&str],
        body: &str,
    ) -> Reply {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n");
        for header in headers {
            request += &format!("{header}\r\n");
        }
        if !body.is_empty() || method == "POST" {
            request += &format!("Content-Length: {}\r\n", body.len());
        }
        request += &format!("\r\n{body}");
        let written = self.socket.write_all(request.as_bytes()).await;
        written.expect("the server reads");
        self.reply(method == "HEAD").await
    }

    async fn reply(&mut self, bodiless: bool) -> Reply {
        let end = loop {
            let end = self.heard.windows(4).position(|four| four == b"\r\n\r\n");
            match end {
                Some(end) => break end + 4,
                None => self.hear().await,
            }
        };
        let head: Vec<u8> = self.heard.drain(..end).collect();
        let head = String::from_utf8(head).expect("ASCII").to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|text| text.parse().ok());
        let mut reply = Reply {
            status: status.expect("a status"),
            head,
            body: String::new(),
        };
        let length = reply.header("content-length").parse().unwrap_or(0);
        let length: usize = if bodiless { 0 } else { length };
        while self.heard.len() < length {
            self.hear().await;
        }
        let body = self.heard.drain(..length).collect();
        reply.body = String::from_utf8(body).expect("UTF-8");
        reply
    }

    async fn hear(&mut self) {
        let mut room = [0; 4096];
        let read = self.socket.read(&mut room).await.expect("a reply");
        assert!(read > 0, "the connection ended within a reply");
        self.heard.extend_from_slice(&room[..read]);
    }
}
