//! One client's connection: bytes out, stanzas in, as cheap as can be.
//!
//! All sessions of a thread read into one buffer; a session keeps bytes of its own only while a stanza has come in part.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::failure::Failure;
use crate::peek;
use crate::scan::{Mark, Scanner};

/// Bytes read at once, by all sessions of a thread in turn.
const SCRATCH_BYTES: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
}

/// The wire.
pub enum Wire {
    /// As it is.
    Plain(TcpStream),
    /// Protected.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Wire {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self {
            Wire::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Wire::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        match self {
            Wire::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Wire::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self {
            // Nothing is kept back before a TCP socket.
            Wire::Plain(_) => Poll::Ready(Ok(())),
            Wire::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }
}

/// Bytes that others give a session to send.
#[derive(Default)]
pub struct Feed {
    bytes: RefCell<Vec<u8>>,
    waker: RefCell<Option<Waker>>,
}

impl Feed {
    /// Lets `write` add to what is to be sent.
    pub fn give(&self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes.borrow_mut());
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    fn take(&self, out: &mut Vec<u8>, cx: &mut Context<'_>) {
        out.append(&mut self.bytes.borrow_mut());
        let mut waker = self.waker.borrow_mut();
        if waker
            .as_ref()
            .is_none_or(|kept| !kept.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
    }
}

/// Takes a stanza that came; behind the second argument it may write what is to be sent in answer.
pub type Take<'a> = dyn FnMut(&[u8], &mut Vec<u8>) -> Result<(), Failure> + 'a;

type TakeMark<'a> = dyn FnMut(Mark, &[u8], &mut Vec<u8>) -> Result<(), Failure> + 'a;

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The start tag of the stream.
    Header(Vec<u8>),
    /// An element of the first level.
    Stanza(Vec<u8>),
}

/// One client's connection.
pub struct Session {
    wire: Wire,
    scanner: Scanner,
    partial: Vec<u8>,
    out: Vec<u8>,
    written: usize,
    feed: Option<Rc<Feed>>,
    kept: std::collections::VecDeque<Heard>,
    /// Its full JID, once it is bound.
    pub jid: String,
}

impl Session {
    /// A session at the beginning of its stream.
    pub fn new(wire: Wire) -> Session {
        Session {
            wire,
            scanner: Scanner::new(),
            partial: Vec::new(),
            out: Vec::new(),
            written: 0,
            feed: None,
            kept: std::collections::VecDeque::new(),
            jid: String::new(),
        }
    }

    /// Its bare JID, once it is bound.
    pub fn bare(&self) -> &str {
        self.jid.split('/').next().unwrap_or("")
    }

    /// Begins a stream anew on the same wire, as after SASL.
    pub fn restart(&mut self) {
        self.scanner = Scanner::new();
        self.partial = Vec::new();
    }

    /// The wire, where nothing of the stream before is left on it, as before TLS.
    pub fn into_wire(self) -> Wire {
        self.wire
    }

    /// Sends also what `feed` is given.
    pub fn feed_from(&mut self, feed: Rc<Feed>) {
        self.feed = Some(feed);
    }

    /// What waits to be sent; more may be added.
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Sends what waits and gives every stanza that comes to `each`, with a place for what is to be sent in answer.
    /// Not ready until the connection fails; sent and read is as much as can be without waiting.
    ///
    /// # Errors
    ///
    /// What `each` says, a stream error, or the end of the connection. Never ready otherwise.
    pub fn poll_drive(&mut self, cx: &mut Context<'_>, each: &mut Take<'_>) -> Poll<Failure> {
        loop {
            if let Some(feed) = &self.feed {
                feed.take(&mut self.out, cx);
            }
            if let Poll::Ready(Err(failure)) = self.poll_send(cx) {
                return Poll::Ready(failure);
            }
            let mut hear = |heard: Mark, stanza: &[u8], out: &mut Vec<u8>| match heard {
                Mark::Stanza => each(stanza, out),
                Mark::Header | Mark::End => Ok(()),
            };
            if let Err(failure) = ready!(self.poll_hear(cx, &mut hear)) {
                return Poll::Ready(failure);
            }
        }
    }

    /// Writes what waits to be sent.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        if self.out.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while self.written < self.out.len() {
            match ready!(self.wire.poll_write(cx, &self.out[self.written..])) {
                Ok(0) => {
                    return Poll::Ready(Err(Failure::new("the connection takes no more bytes")));
                }
                Ok(bytes) => self.written += bytes,
                Err(error) => {
                    return Poll::Ready(Err(Failure::new(format!(
                        "writing to the server: {error}"
                    ))));
                }
            }
        }
        self.out.clear();
        self.written = 0;
        if self.out.capacity() > 4 * SCRATCH_BYTES {
            self.out = Vec::new();
        }
        match ready!(self.wire.poll_flush(cx)) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(Failure::new(format!("writing to the server: {error}")))),
        }
    }

    /// Reads once and gives what has become whole to `each`.
    fn poll_hear(
        &mut self,
        cx: &mut Context<'_>,
        each: &mut TakeMark<'_>,
    ) -> Poll<Result<(), Failure>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buf = ReadBuf::new(scratch);
            if let Err(error) = ready!(self.wire.poll_read(cx, &mut buf)) {
                return Poll::Ready(Err(Failure::new(format!("the connection ended: {error}"))));
            }
            if buf.filled().is_empty() {
                return Poll::Ready(Err(Failure::new("the server closed the connection")));
            }
            Poll::Ready(self.take(buf.filled(), each))
        })
    }

    fn take(&mut self, piece: &[u8], each: &mut TakeMark<'_>) -> Result<(), Failure> {
        let mut at = 0;
        loop {
            let found = self
                .scanner
                .next(piece, at)
                .map_err(|_| Failure::new("what the server writes is not XMPP"))?;
            let Some((mark, end)) = found else {
                let rest = &piece[at..];
                // Spaces between stanzas keep connections alive and mean nothing.
                if !self.partial.is_empty() || !rest.trim_ascii_start().is_empty() {
                    self.partial.extend_from_slice(rest);
                }
                return Ok(());
            };
            let whole = &piece[at..end];
            at = end;
            let partial = std::mem::take(&mut self.partial);
            let joined;
            let stanza = match partial.is_empty() {
                true => whole,
                false => {
                    joined = [&partial, whole].concat();
                    &joined[..]
                }
            };
            let stanza = stanza.trim_ascii_start();
            if mark == Mark::End {
                return Err(Failure::new("the server closed the stream"));
            }
            if mark == Mark::Stanza && stanza.starts_with(b"<stream:error") {
                return Err(Failure::new(format!(
                    "the server ended the stream: {}",
                    peek::complaint(stanza)
                )));
            }
            each(mark, stanza, &mut self.out)?;
        }
    }

    /// Sends `bytes` now.
    ///
    /// # Errors
    ///
    /// A sentence when the connection fails.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), Failure> {
        self.out.extend_from_slice(bytes.as_ref());
        poll_fn(|cx| self.poll_send(cx)).await
    }

    /// The next thing that comes.
    ///
    /// # Errors
    ///
    /// A sentence when the connection or the stream ends instead.
    pub async fn hear(&mut self) -> Result<Heard, Failure> {
        loop {
            if let Some(heard) = self.kept.pop_front() {
                return Ok(heard);
            }
            let mut kept = Vec::new();
            let result = poll_fn(|cx| {
                self.poll_hear(cx, &mut |mark, stanza, _| {
                    kept.push(match mark {
                        Mark::Header => Heard::Header(stanza.to_vec()),
                        _ => Heard::Stanza(stanza.to_vec()),
                    });
                    Ok(())
                })
            })
            .await;
            self.kept.extend(kept);
            // What came before the end is heard before the end.
            if self.kept.is_empty() {
                result?;
            }
        }
    }

    /// The next element of the first level.
    ///
    /// # Errors
    ///
    /// As [`Session::hear`].
    pub async fn stanza(&mut self) -> Result<Vec<u8>, Failure> {
        loop {
            if let Heard::Stanza(stanza) = self.hear().await? {
                return Ok(stanza);
            }
        }
    }

    /// Sends an IQ and gives its result; other stanzas that come before it are passed over.
    ///
    /// # Errors
    ///
    /// A sentence with the error's condition when the answer is an error, and as [`Session::hear`].
    pub async fn ask(&mut self, id: &str, iq: &str) -> Result<Vec<u8>, Failure> {
        self.send(iq).await?;
        loop {
            let stanza = self.stanza().await?;
            if !stanza.starts_with(b"<iq") || peek::attribute_text(&stanza, "id") != id {
                continue;
            }
            match peek::attribute_text(&stanza, "type") {
                "result" => return Ok(stanza),
                "error" => {
                    return Err(Failure::new(format!(
                        "refused: {}",
                        peek::complaint(&stanza)
                    )));
                }
                _ => {}
            }
        }
    }

    /// Takes the stanzas that were heard and not yet asked for.
    pub fn take_kept(&mut self) -> Vec<Vec<u8>> {
        let stanza = |heard| match heard {
            Heard::Stanza(stanza) => Some(stanza),
            Heard::Header(_) => None,
        };
        self.kept.drain(..).filter_map(stanza).collect()
    }

    /// Says goodbye and waits for the server's; a server that only closes is no failure.
    pub async fn close(mut self) {
        if self.send("</stream:stream>").await.is_ok() {
            while self.hear().await.is_ok() {}
        }
    }
}
