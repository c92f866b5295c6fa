//! The byte stream between a socket and hyper.
//!
//! A head passes when it is whole and has been vetted; of a body it is followed where it ends. A head that is refused
//! is put aside: hyper is given a plain request instead, by whose number the connection's service knows what to
//! answer. So a refusal is written in its turn, behind the replies to what was pipelined before it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::rt::ReadBufCursor;
use otp::Sleep;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::chunks::{Chunks, Progress};
use super::head::{self, Follows, Refusal};
use crate::Limits;
use crate::link::{Link, Turned};

/// What hyper is given in place of a head that is refused.
const IN_PLACE: &[u8] = b"GET / HTTP/1.1\r\nhost: -\r\nconnection: close\r\n\r\n";

/// Bytes that are read at once.
const READ_BYTES: usize = 8 * 1024;

/// So many bytes of a request that was cut short are read and thrown away, so that the peer sees the reply.
const LINGER_BYTES: usize = 1024 * 1024;

#[derive(Clone, Copy, Debug)]
enum State {
    /// Before or in a head; no end of it within so many bytes.
    Head(usize),
    Bytes(u64),
    Chunks(Chunks),
    /// Behind a request for another protocol.
    Upgrading,
    /// Not HTTP/1: everything passes.
    Raw,
    /// In a chunked body that breaks: hyper is told so.
    Broken,
    /// Nothing passes any more.
    Over,
}

/// Whether a head has begun, and the connection's time-outs were told: most heads come whole, and need not be timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Began {
    Not,
    Untold,
    Told,
}

/// The socket as hyper sees it.
pub(crate) struct Guard<S> {
    io: S,
    link: Arc<Link>,
    limits: Arc<Limits>,
    state: State,
    /// What was read and not passed on stands in `start..end`, and of that `passing` bytes may go.
    input: Vec<u8>,
    start: usize,
    end: usize,
    passing: usize,
    empty_lines: usize,
    heads: u64,
    began: Began,
    write_waits: bool,
    /// The time for the peer to read the last reply, once the shutdown has begun.
    linger: Option<Pin<Box<Sleep>>>,
    lingered: usize,
    shut: bool,
}

impl<S> Guard<S> {
    /// A guard; with `strict` false everything passes.
    pub(crate) fn new(io: S, link: Arc<Link>, limits: Arc<Limits>, strict: bool) -> Guard<S> {
        Guard {
            io,
            link,
            limits,
            state: if strict { State::Head(0) } else { State::Raw },
            input: Vec::new(),
            start: 0,
            end: 0,
            passing: 0,
            empty_lines: 0,
            heads: 0,
            began: Began::Not,
            write_waits: false,
            linger: None,
            lingered: 0,
            shut: false,
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.head_done();
        self.link.refuse(self.heads + 1, refusal);
        self.pass_instead(IN_PLACE);
    }

    /// Bytes are awaited: if those of a head have come already, it is the rest of it.
    fn head_waits(&mut self) {
        if self.began == Began::Untold {
            self.began = Began::Told;
            self.link.head_began();
        }
    }

    fn head_done(&mut self) {
        if std::mem::replace(&mut self.began, Began::Not) == Began::Told {
            self.link.head_done();
        }
    }

    /// Gives hyper these bytes and nothing more.
    fn pass_instead(&mut self, bytes: &[u8]) {
        self.input = bytes.to_vec();
        (self.start, self.end, self.passing) = (0, bytes.len(), bytes.len());
        self.state = State::Over;
    }

    /// Looks at what was read; false if more is needed.
    fn examine(&mut self) -> bool {
        let waiting = &self.input[self.start..self.end];
        match &mut self.state {
            State::Head(_) => return self.examine_head(),
            State::Bytes(left) => {
                let passing = (waiting.len() as u64).min(*left);
                *left -= passing;
                self.passing = passing as usize;
                if *left == 0 {
                    self.state = State::Head(0);
                }
            }
            State::Chunks(chunks) => match chunks.follow(waiting) {
                Progress::More => self.passing = waiting.len(),
                Progress::End(length) => {
                    self.passing = length;
                    self.state = State::Head(0);
                }
                Progress::Broken(0) => self.state = State::Broken,
                // The rest is looked at again, and breaks at once.
                Progress::Broken(good) => self.passing = good,
            },
            State::Raw => self.passing = waiting.len(),
            State::Upgrading | State::Broken | State::Over => {}
        }
        true
    }

    fn examine_head(&mut self) -> bool {
        while self.input[self.start..self.end].starts_with(b"\r\n") {
            self.start += 2;
            self.empty_lines += 1;
            if self.empty_lines > self.limits.empty_lines {
                self.refuse(Refusal {
                    status: 400,
                    why: "empty lines before the request line",
                });
                return true;
            }
        }
        let waiting = &self.input[self.start..self.end];
        let State::Head(looked) = self.state else {
            unreachable!("called in a head alone")
        };
        // Most heads come whole and alone: then there is an end, and it is found when the head is read.
        let has_end = waiting.len() <= self.limits.head_bytes && waiting.ends_with(b"\n\r\n");
        let end = if has_end {
            Some(waiting.len())
        } else {
            head::end(waiting, looked.min(waiting.len()))
        };
        if end.unwrap_or(waiting.len()) > self.limits.head_bytes {
            let in_line = memchr::memchr(b'\n', waiting).is_none();
            self.refuse(Refusal {
                status: if in_line { 414 } else { 431 },
                why: "the head is too long",
            });
            return true;
        }
        let Some(end) = end else {
            // An end may begin within the last two bytes.
            self.state = State::Head(waiting.len().saturating_sub(2));
            return false;
        };
        match head::vet(&waiting[..end], &self.limits) {
            Err(refusal) => self.refuse(refusal),
            Ok(vetted) => {
                self.heads += 1;
                self.empty_lines = 0;
                self.passing = vetted.length;
                self.head_done();
                self.state = match vetted.follows {
                    _ if vetted.upgrade => State::Upgrading,
                    Follows::Nothing => State::Head(0),
                    Follows::Bytes(length) => State::Bytes(length),
                    Follows::Chunks => State::Chunks(Chunks::new()),
                };
                if vetted.upgrade {
                    self.link.await_turn();
                }
            }
        }
        true
    }

    /// Whether a reply may reach the peer while it still sends.
    fn is_cut_short(&self) -> bool {
        match self.state {
            State::Head(_) => self.start < self.end,
            State::Raw => false,
            _ => true,
        }
    }
}

impl<S: AsyncRead + Unpin> Guard<S> {
    /// Reads once. Gives the number of bytes; 0 at the end.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.input.len() - self.end < READ_BYTES / 4 && self.start > 0 {
            self.input.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.input.len() - self.end < READ_BYTES / 4 {
            self.input.resize(self.end + READ_BYTES, 0);
        }
        let mut space = ReadBuf::new(&mut self.input[self.end..]);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut space))?;
        let count = space.filled().len();
        self.end += count;
        Poll::Ready(Ok(count))
    }
}

impl<S: AsyncRead + Unpin> hyper::rt::Read for Guard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.passing > 0 {
                let count = this.passing.min(into.remaining());
                into.put_slice(&this.input[this.start..this.start + count]);
                this.start += count;
                this.passing -= count;
                return Poll::Ready(Ok(()));
            }
            match this.state {
                // What was put in place has been read; the peer's end does not matter any more.
                State::Over => return Poll::Pending,
                State::Broken => {
                    this.state = State::Over;
                    return Poll::Ready(Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "a chunk is malformed",
                    )));
                }
                State::Upgrading => match this.link.poll_turn(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(turned) => {
                        this.state = match turned {
                            Turned::Raw => State::Raw,
                            Turned::Http => State::Head(0),
                        };
                        continue;
                    }
                },
                State::Head(_) | State::Bytes(_) | State::Chunks(_) | State::Raw => {
                    if this.start < this.end && this.examine() {
                        continue;
                    }
                }
            }
            let in_head = matches!(this.state, State::Head(_));
            let Poll::Ready(filled) = this.fill(cx) else {
                this.head_waits();
                this.link.reads(cx);
                if this.began == Began::Told && this.link.is_head_late() {
                    this.refuse(Refusal {
                        status: 408,
                        why: "the head did not come in time",
                    });
                    continue;
                }
                if this.start == this.end && this.link.hibernates() {
                    this.input = Vec::new();
                    (this.start, this.end) = (0, 0);
                }
                return Poll::Pending;
            };
            if filled? == 0 {
                return Poll::Ready(Ok(()));
            }
            if in_head && this.began == Began::Not {
                this.began = Began::Untold;
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guard<S> {
    fn wrote(&mut self, result: &Poll<io::Result<usize>>) {
        let waits = result.is_pending();
        if waits != self.write_waits {
            self.write_waits = waits;
            self.link.write_waits(waits);
        }
    }

    /// Reads and throws away, so that bytes in flight do not make the system reset the connection before the peer
    /// has read what was written last.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let link = &self.link;
        let late = self.linger.get_or_insert_with(|| Box::pin(link.linger()));
        if late.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        loop {
            (self.start, self.end) = (0, 0);
            match ready!(self.fill(cx)) {
                Ok(1..) if self.lingered < LINGER_BYTES => self.lingered += self.end,
                _ => return Poll::Ready(()),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> hyper::rt::Write for Guard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.wrote(&result);
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shut {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            self.shut = true;
        }
        if self.is_cut_short() {
            ready!(self.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.wrote(&result);
        result
    }
}
