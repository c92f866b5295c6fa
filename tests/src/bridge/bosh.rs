//! XEP-0124 and XEP-0206 by hand.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, WriteHalf};
use tokio::net::TcpStream;

use super::cutter::{Cutter, Said};
use super::{PIPE, connect, header};
use crate::dom::{Element, Frame, Frames, STREAM_NS, escape};

const HTTP_BIND: &str = "http://jabber.org/protocol/httpbind";

/// The number of a session's first request.
const FIRST: u64 = 7_000_000;

/// Requests at once, as the server offers them.
const REQUESTS: usize = 2;

/// A request has no more than this, and one element.
const BATCH: usize = 64 * 1024;

/// A stream that goes by BOSH at `/bosh`. Nothing is asked before it begins.
///
/// # Errors
///
/// A sentence when nobody listens there.
pub(crate) async fn dial(at: SocketAddr, host: &str) -> Result<DuplexStream, String> {
    let connections = vec![connect(at).await?, connect(at).await?];
    let (stream, ours) = tokio::io::duplex(PIPE);
    let host = host.to_owned();
    tokio::spawn(async move {
        // However it ends, the stream does.
        let _ = bridge(connections, host, ours).await;
    });
    Ok(stream)
}

/// What came of a request: its number, the body, and the connection it was made on.
type Answered = (u64, std::io::Result<String>, TcpStream);

/// A session as its client keeps it.
struct Session {
    host: String,
    sid: Option<String>,
    rid: u64,
    queue: VecDeque<Said>,
    idle: Vec<TcpStream>,
    flying: FuturesUnordered<BoxFuture<'static, Answered>>,
    /// Answers that came before those of earlier requests.
    early: BTreeMap<u64, String>,
    /// The next answer in order.
    next: u64,
    client: WriteHalf<DuplexStream>,
    is_over: bool,
}

async fn bridge(
    connections: Vec<TcpStream>,
    host: String,
    stream: DuplexStream,
) -> std::io::Result<()> {
    let (mut client, to_client) = tokio::io::split(stream);
    let mut session = Session {
        host,
        sid: None,
        rid: FIRST,
        queue: VecDeque::new(),
        idle: connections,
        flying: FuturesUnordered::new(),
        early: BTreeMap::new(),
        next: FIRST,
        client: to_client,
        is_over: false,
    };
    let mut cutter = Cutter::new();
    let mut chunk = vec![0; 16 * 1024];
    while !session.is_over {
        session.ask().await?;
        tokio::select! {
            count = client.read(&mut chunk) => match count? {
                0 => return Ok(()),
                count => session.queue.extend(cutter.push(&chunk[..count])),
            },
            Some(answered) = session.flying.next() => session.answered(answered).await?,
        }
    }
    session.client.shutdown().await
}

impl Session {
    /// Makes the requests that there is reason and room for.
    async fn ask(&mut self) -> std::io::Result<()> {
        while self.flying.len() < REQUESTS {
            let Some(sid) = self.sid.clone() else {
                let Some(Said::Open(_)) = self.queue.front() else {
                    return Ok(());
                };
                self.queue.pop_front();
                let to = escape(&self.host);
                self.send(format!(
                    "to='{to}' ver='1.11' wait='60' hold='1' xml:lang='en' xmlns:x='urn:xmpp:xbosh' x:version='1.0'/>"
                ));
                // Nothing is asked of a session before it is there.
                self.sid = Some(String::new());
                return Ok(());
            };
            if sid.is_empty() {
                return Ok(());
            }
            let sid = escape(&sid);
            match self.queue.pop_front() {
                Some(Said::Open(_)) => {
                    let to = escape(&self.host);
                    self.send(format!(
                        "sid='{sid}' to='{to}' xml:lang='en' xmlns:x='urn:xmpp:xbosh' x:restart='true'/>"
                    ));
                    // There it has no header of its own.
                    let begun = header(&Element::parse("<x/>").expect("an element"), None);
                    self.client.write_all(begun.as_bytes()).await?;
                }
                Some(Said::Text(mut payload)) => {
                    let mut ends = "";
                    while payload.len() < BATCH {
                        match self.queue.pop_front() {
                            Some(Said::Text(more)) => payload.push_str(&more),
                            Some(Said::Close) => {
                                ends = "type='terminate'";
                                break;
                            }
                            Some(open) => {
                                self.queue.push_front(open);
                                break;
                            }
                            None => break,
                        }
                    }
                    self.send(format!("sid='{sid}' {ends}>{payload}</body>"));
                }
                Some(Said::Close) => self.send(format!("sid='{sid}' type='terminate'/>")),
                None if self.flying.is_empty() => self.send(format!("sid='{sid}'/>")),
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// Makes a request; `rest` is what stands behind its number.
    fn send(&mut self, rest: String) {
        let rid = self.rid;
        self.rid += 1;
        let body = format!("<body xmlns='{HTTP_BIND}' rid='{rid}' {rest}");
        let host = self.host.clone();
        let mut socket = self.idle.pop().expect("a connection for each request");
        self.flying.push(Box::pin(async move {
            let answer = post(&mut socket, &host, &body).await;
            (rid, answer, socket)
        }));
    }

    /// Tells the client what was answered, in the order of what was asked.
    async fn answered(&mut self, (rid, answer, socket): Answered) -> std::io::Result<()> {
        self.idle.push(socket);
        self.early.insert(rid, answer?);
        while let Some(body) = self.early.remove(&self.next) {
            self.next += 1;
            self.tell(&body).await?;
            if self.is_over {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn tell(&mut self, text: &str) -> std::io::Result<()> {
        let (body, elements) = unwrapped(text).map_err(std::io::Error::other)?;
        let mut told = String::new();
        if let Some(sid) = body.attr("sid") {
            self.sid = Some(sid.to_owned());
            told += &header(&body, body.attr("authid"));
        }
        let is_told_why = elements
            .iter()
            .any(|element| element.is(STREAM_NS, "error"));
        told.extend(elements.iter().map(Element::to_string));
        if body.attr("type") == Some("terminate") {
            self.is_over = true;
            // Any other condition is the end of the transport, not of the stream.
            if is_told_why || body.attr("condition").is_none() {
                told += "</stream:stream>";
            }
        }
        self.client.write_all(told.as_bytes()).await
    }
}

/// The body and what is in it.
fn unwrapped(text: &str) -> Result<(Element, Vec<Element>), String> {
    let mut frames = Frames::new();
    let mut body = None;
    let mut elements = Vec::new();
    for byte in text.bytes() {
        match frames.push(byte)? {
            Some(Frame::Header(root)) => body = Some(root),
            Some(Frame::Element(element)) => elements.push(element),
            Some(Frame::Text(text)) => return Err(format!("text in a body: {text:?}")),
            Some(Frame::Close) | None => {}
        }
    }
    match body {
        Some(body) if body.is(HTTP_BIND, "body") => Ok((body, elements)),
        _ => Err(format!("no body: {text}")),
    }
}

/// Posts a body; the one that comes back.
async fn post(socket: &mut TcpStream, host: &str, body: &str) -> std::io::Result<String> {
    let length = body.len();
    let request = format!(
        "POST /bosh HTTP/1.1\r\nHost: {host}\r\nContent-Type: text/xml; charset=utf-8\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    socket.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .and_then(|length| length.trim().parse::<usize>().ok());
    let (true, Some(length)) = (head.starts_with("http/1.1 200 "), length) else {
        return Err(std::io::Error::other(head));
    };
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await?;
    String::from_utf8(body).map_err(std::io::Error::other)
}
