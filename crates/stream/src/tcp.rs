//! RFC 6120's framing: one XML document in each direction, over TCP, TLS or memory.

use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use futures_util::future::BoxFuture;
use net::{ServerConfig, Ticket, TlsError, TlsInfo, TlsStream};
use otp::Clock;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use xml::{Frame, Limits, Reader, Scanner, StartTag};
use xmpp::ns;

use crate::{Fault, Inbound, Outbound, ResponseHeader, StreamHeader, Transport};

/// Bytes read at once. They wait on the stack, so that an idle stream holds no buffer.
const READ: usize = 8 * 1024;

/// Most bytes written at once inside TLS: one record, which leaves whole or is worth nothing, so
/// that what counts as written is what the peer can read.
const RECORD: usize = 16 * 1024;

/// A write buffer above this is given back once it is empty.
const KEEP: usize = 256;

/// What a stream carries: its content namespace (RFC 6120 §4.8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// `jabber:client`.
    Client,
    /// `jabber:server`.
    Server,
    /// `jabber:component:accept` (XEP-0114).
    Component,
}

impl Framing {
    fn namespace(self) -> &'static str {
        match self {
            Framing::Client => ns::CLIENT,
            Framing::Server => ns::SERVER,
            Framing::Component => ns::COMPONENT,
        }
    }

    fn target(self) -> xmpp::Target {
        match self {
            Framing::Client => xmpp::Target::Client,
            Framing::Server => xmpp::Target::Server,
            Framing::Component => xmpp::Target::Component,
        }
    }
}

/// A pair of connected transports' ends in memory, for tests: ours framed, the peer's raw.
pub fn memory(
    framing: Framing,
    limits: Limits,
    buffer: usize,
) -> (TcpTransport<DuplexStream>, DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(buffer);
    (TcpTransport::new(ours, framing, limits), theirs)
}

/// The transport of RFC 6120 over any byte stream.
pub struct TcpTransport<S> {
    socket: Socket<S>,
    framing: Framing,
    reader: Scanner,
    limits: Limits,
    /// Read, not yet interpreted; empty while the stream is idle.
    input: BytesMut,
    eof: bool,
    out: BytesMut,
    /// Where each queued item ends, counted from the first byte ever queued.
    ends: VecDeque<u64>,
    /// Bytes that have left, and that the socket took but may still hold.
    left: u64,
    taken: u64,
    /// Items that have left, and where the last of them ends.
    sent: u64,
    done: u64,
    /// Held until the peer has a resource.
    ticket: Option<Ticket>,
}

enum Socket<S> {
    Plain(S),
    Tls(Box<TlsStream<S>>),
    /// A handshake failed or was given up: nothing can be said any more.
    Gone,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TcpTransport<S> {
    /// Speaks over `socket`, with `limits` on what one element may cost.
    pub fn new(socket: S, framing: Framing, limits: Limits) -> Self {
        TcpTransport {
            socket: Socket::Plain(socket),
            framing,
            reader: new_reader(limits),
            limits,
            input: BytesMut::new(),
            eof: false,
            out: BytesMut::new(),
            ends: VecDeque::new(),
            left: 0,
            taken: 0,
            sent: 0,
            done: 0,
            ticket: None,
        }
    }

    /// Holds the ticket of a connection that has not logged in, until it has a resource or ends.
    pub fn with_ticket(self, ticket: Ticket) -> Self {
        TcpTransport {
            ticket: Some(ticket),
            ..self
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut space = [const { MaybeUninit::uninit() }; READ];
        let mut buffer = ReadBuf::uninit(&mut space);
        match &mut self.socket {
            Socket::Plain(socket) => ready!(Pin::new(socket).poll_read(cx, &mut buffer)),
            Socket::Tls(socket) => ready!(Pin::new(socket).poll_read(cx, &mut buffer)),
            Socket::Gone => Err(gone()),
        }
        .or_else(|error| match error.kind() {
            // TLS without close_notify: the peer just left.
            io::ErrorKind::UnexpectedEof => Ok(()),
            _ => Err(error),
        })?;
        self.eof = buffer.filled().is_empty();
        self.input.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(()))
    }

    /// Offers bytes to the socket and, inside TLS, sees to it that they reach the network.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Plain(socket) => {
                let count = ready!(Pin::new(socket).poll_write(cx, &self.out))?;
                self.taken += count as u64;
                self.left = self.taken;
                self.out.advance(count);
                nonzero(count)
            }
            Socket::Tls(socket) => {
                if self.taken == self.left {
                    let record = &self.out[..self.out.len().min(RECORD)];
                    let count = ready!(Pin::new(&mut *socket).poll_write(cx, record))?;
                    nonzero(count)?;
                    self.taken += count as u64;
                    self.out.advance(count);
                }
                ready!(Pin::new(socket).poll_flush(cx))?;
                self.left = self.taken;
                Ok(())
            }
            Socket::Gone => Err(gone()),
        }
        .into()
    }

    fn count_sent(&mut self) {
        while self.ends.front().is_some_and(|end| *end <= self.left) {
            self.done = self.ends.pop_front().expect("it was just looked at");
            self.sent += 1;
        }
    }

    /// Frees what an idle stream does not need.
    fn rest(&mut self) {
        if self.out.is_empty() && self.out.capacity() > KEEP {
            self.out = BytesMut::new();
            self.ends = VecDeque::new();
        }
    }

    fn header(&self, tag: &StartTag) -> Result<StreamHeader, Fault> {
        if tag.namespace() != ns::STREAM {
            return Err(Fault::InvalidNamespace);
        }
        if tag.name() != "stream" {
            return Err(Fault::BadFormat);
        }
        if tag.content() != self.framing.namespace() {
            return Err(Fault::InvalidNamespace);
        }
        Ok(StreamHeader::from_tag(tag))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Transport for TcpTransport<S> {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Inbound, Fault>> {
        loop {
            if !self.input.is_empty() {
                let frame = self.reader.feed(&mut self.input);
                if self.input.is_empty() {
                    self.input = BytesMut::new();
                }
                match frame? {
                    Some(Frame::Open(tag)) => {
                        return Poll::Ready(self.header(&tag).map(Inbound::Open));
                    }
                    Some(Frame::Element(element)) => {
                        return Poll::Ready(Ok(Inbound::Element(element)));
                    }
                    Some(Frame::Close) => return Poll::Ready(Ok(Inbound::Close)),
                    None => {}
                }
            }
            if self.eof {
                let within = self.reader.is_within();
                return Poll::Ready(Ok(Inbound::End { within }));
            }
            ready!(self.poll_fill(cx))?;
        }
    }

    fn queue(&mut self, item: &Outbound) {
        let before = self.out.len();
        match item {
            Outbound::Element(bytes) => self.out.extend_from_slice(bytes),
            Outbound::KeepAlive => self.out.extend_from_slice(b" "),
            Outbound::Close => self.out.extend_from_slice(b"</stream:stream>"),
            Outbound::Open(header) => {
                let text = opening(header, self.framing);
                self.out.extend_from_slice(text.as_bytes());
            }
            Outbound::Features(features) => {
                let text = format!("<stream:features>{features}</stream:features>");
                self.out.extend_from_slice(text.as_bytes());
            }
            Outbound::Error(error) => {
                self.out.extend_from_slice(error.to_xml().as_bytes());
            }
        }
        let start = self.ends.back().copied().unwrap_or(self.done);
        self.ends
            .push_back(start + (self.out.len() - before) as u64);
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        if self.pending() > 0 {
            ready!(self.poll_send(cx))?;
        }
        self.count_sent();
        self.rest();
        Poll::Ready(Ok(self.sent))
    }

    fn sent(&self) -> u64 {
        self.sent
    }

    fn pending(&self) -> usize {
        self.out.len() + (self.taken - self.left) as usize
    }

    fn retract(&mut self) -> u64 {
        let mut count = 0;
        while !self.ends.is_empty() {
            let before = self.ends.len().checked_sub(2).map(|at| self.ends[at]);
            let start = before.unwrap_or(self.done);
            if start < self.taken {
                break;
            }
            self.out.truncate((start - self.taken) as usize);
            self.ends.pop_back();
            count += 1;
        }
        count
    }

    fn restart(&mut self) {
        self.reader.reset();
    }

    fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        self.reader.set_limits(limits);
    }

    fn start_tls<'a>(
        &'a mut self,
        config: Arc<ServerConfig>,
        clock: &'a Clock,
        within: Duration,
    ) -> BoxFuture<'a, Result<TlsInfo, TlsError>> {
        Box::pin(async move {
            self.input = BytesMut::new();
            self.reader = new_reader(self.limits);
            let Socket::Plain(socket) = std::mem::replace(&mut self.socket, Socket::Gone) else {
                return Err(TlsError::Io(gone()));
            };
            let (socket, info) = net::Tls::accept(socket, config, clock, within).await?;
            self.socket = Socket::Tls(Box::new(socket));
            Ok(info)
        })
    }

    fn negotiated(&mut self) {
        self.ticket = None;
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Socket::Tls(socket) => Pin::new(socket).poll_shutdown(cx),
            Socket::Gone => Poll::Ready(Ok(())),
        }
    }

    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.input.clear();
            if self.eof || ready!(self.poll_fill(cx)).is_err() {
                return Poll::Ready(());
            }
        }
    }

    fn target(&self) -> xmpp::Target {
        self.framing.target()
    }
}

/// Our header. The XML declaration goes with it, as it may at the start of every document.
fn opening(header: &ResponseHeader, framing: Framing) -> String {
    let mut out = String::from("<?xml version='1.0'?><stream:stream");
    xml::push_attr("xmlns", framing.namespace(), &mut out);
    xml::push_attr("xmlns:stream", ns::STREAM, &mut out);
    xml::push_attr("id", &header.id, &mut out);
    xml::push_attr("from", &header.from, &mut out);
    if let Some(to) = &header.to {
        xml::push_attr("to", to, &mut out);
    }
    xml::push_attr("version", "1.0", &mut out);
    xml::push_attr("xml:lang", &header.lang, &mut out);
    out.push('>');
    out
}

fn nonzero(count: usize) -> io::Result<()> {
    match count {
        0 => Err(io::ErrorKind::WriteZero.into()),
        _ => Ok(()),
    }
}

fn gone() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

fn new_reader(limits: Limits) -> Scanner {
    Scanner::new(limits).known(ns::KNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::future::poll_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const HEAD: &[u8] = b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
        xmlns:stream='http://etherx.jabber.org/streams' to='a.example' version='1.0'>";

    async fn heard(transport: &mut TcpTransport<DuplexStream>) -> String {
        match poll_fn(|cx| transport.poll_recv(cx)).await {
            Ok(Inbound::Open(header)) => format!("open {}", header.to.unwrap_or_default()),
            Ok(Inbound::Element(element)) => element.name().to_owned(),
            Ok(Inbound::Close) => "close".into(),
            Ok(Inbound::End { within }) => if within { "half" } else { "end" }.into(),
            Ok(Inbound::Eof) => "eof".into(),
            Err(fault) => fault.error().condition.to_string(),
        }
    }

    #[tokio::test]
    async fn frames_come_one_by_one_however_they_are_cut() {
        let text = [HEAD, b"<a/> <b>x</b>\n<c/></stream:stream>"].concat();
        for piece in [1, 2, 7, text.len()] {
            let (mut ours, mut theirs) = memory(Framing::Client, Limits::BEFORE_LOGIN, 64);
            let text = text.clone();
            let talk = async move {
                for piece in text.chunks(piece) {
                    theirs.write_all(piece).await.expect("the reader reads");
                }
            };
            let listen = async {
                for expected in ["open a.example", "a", "b", "c", "close"] {
                    assert_eq!(heard(&mut ours).await, expected);
                }
                assert_eq!(heard(&mut ours).await, "end");
            };
            tokio::join!(talk, listen);
        }
    }

    #[tokio::test]
    async fn a_restart_begins_right_behind_the_frame() {
        let (mut ours, mut theirs) = memory(Framing::Client, Limits::BEFORE_LOGIN, 4096);
        let text = [HEAD, b"<a/>", HEAD, b"<b/>"].concat();
        theirs.write_all(&text).await.expect("it fits");
        assert_eq!(heard(&mut ours).await, "open a.example");
        assert_eq!(heard(&mut ours).await, "a");
        ours.restart();
        assert_eq!(heard(&mut ours).await, "open a.example");
        assert_eq!(heard(&mut ours).await, "b");
    }

    #[tokio::test]
    async fn sent_counts_whole_items_and_retract_takes_back_the_untouched() {
        let (mut ours, mut theirs) = memory(Framing::Client, Limits::BEFORE_LOGIN, 5);
        for item in ["1234", "5678", "9abc", "def0"] {
            ours.queue(&Outbound::Element(Bytes::from(item)));
        }
        let sent = poll_fn(|cx| ours.poll_flush(cx))
            .await
            .expect("room for five");
        assert_eq!((sent, ours.pending()), (1, 11));
        assert_eq!(ours.retract(), 2, "the second has begun");
        assert_eq!(ours.pending(), 3);
        ours.queue(&Outbound::Close);
        let mut read = vec![0; 24];
        let write = async {
            while ours.pending() > 0 {
                poll_fn(|cx| ours.poll_flush(cx))
                    .await
                    .expect("the peer reads");
            }
        };
        let (read_all, ()) = tokio::join!(theirs.read_exact(&mut read), write);
        read_all.expect("24 bytes were written");
        assert_eq!(read, b"12345678</stream:stream>");
        assert_eq!((ours.sent(), ours.retract()), (3, 0));
    }

    #[tokio::test]
    async fn an_idle_stream_holds_no_buffers() {
        let (mut ours, mut theirs) = memory(Framing::Client, Limits::default(), 1 << 20);
        let body = "x".repeat(100_000);
        let text = [HEAD, format!("<a>{body}</a>").as_bytes()].concat();
        theirs.write_all(&text).await.expect("it fits");
        assert_eq!(heard(&mut ours).await, "open a.example");
        assert_eq!(heard(&mut ours).await, "a");
        ours.queue(&Outbound::Element(Bytes::from(body)));
        poll_fn(|cx| ours.poll_flush(cx)).await.expect("it fits");
        assert_eq!((ours.input.capacity(), ours.out.capacity()), (0, 0));
    }
}
