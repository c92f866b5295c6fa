//! Stream handlers: what sees a request and its reply below the handlers, as bytes.

mod compress;
mod watch;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderMap};
use http::{Method, StatusCode, Version};
use otp::{Clock, Instant};

use crate::Error;

pub use compress::{Compress, Decompress};
pub use watch::{AccessLog, Metrics};

/// Sees each request that comes, and may change the bytes of both ways. Those of a list wrap each other: the first is
/// nearest to the peer.
pub trait StreamHandler: Send + Sync + 'static {
    /// A request has come; gives what goes along with it.
    fn open(&self, opening: &mut Opening<'_>) -> Along;
}

/// A request that has come.
pub struct Opening<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its path, as it was sent.
    pub path: &'a str,
    /// Its headers, as handlers will see them.
    pub headers: &'a mut HeaderMap,
    /// Where the peer is.
    pub peer: SocketAddr,
}

/// What goes along with one request.
#[derive(Default)]
pub struct Along {
    /// Changes the request's body.
    pub inbound: Option<Box<dyn Inbound>>,
    /// Sees, and perhaps changes, the reply.
    pub outbound: Option<Box<dyn Outbound>>,
}

/// Changes a request's body, piece by piece.
pub trait Inbound: Send + Sync + 'static {
    /// A piece.
    ///
    /// # Errors
    ///
    /// What is said to who reads the body.
    fn data(&mut self, piece: Bytes) -> Result<Bytes, Error>;

    /// The end; what is left.
    ///
    /// # Errors
    ///
    /// As [`data`](Self::data).
    fn finish(&mut self) -> Result<Bytes, Error>;
}

/// Sees a reply, and perhaps changes it.
pub trait Outbound: Send + 'static {
    /// The head; `length` is that of the body, none if it comes piece by piece. Gives whether the body shall pass
    /// through [`data`](Self::data): its length is not told then, for nobody knows it.
    fn head(&mut self, status: StatusCode, headers: &mut HeaderMap, length: Option<u64>) -> bool {
        let _ = (status, headers, length);
        false
    }

    /// A piece of the body. What must not wait, as an event, must come out at once.
    fn data(&mut self, piece: Bytes) -> Bytes {
        piece
    }

    /// The end of the body; what is left.
    fn finish(&mut self) -> Bytes {
        Bytes::new()
    }

    /// The end of the request, whole or not.
    fn end(&mut self, summary: &Summary) {
        let _ = summary;
    }
}

/// A request that has ended.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Its method; `GET` for one that was refused unread.
    pub method: Method,
    /// Its path without the query, as it was sent.
    pub path: String,
    /// The name of the handler's type that the router found; none where it found none.
    pub handler: Option<&'static str>,
    /// The version of HTTP.
    pub version: Version,
    /// Where the peer is.
    pub peer: SocketAddr,
    /// The status that was replied; none if the peer went before.
    pub status: Option<u16>,
    /// Bytes of the reply's body that were given to the connection.
    pub sent: u64,
    /// From the head of the request to the last of these bytes.
    pub took: Duration,
    /// Whether the reply was given to the connection to its end, which for HEAD is that of its head.
    pub whole: bool,
}

/// All that goes along with one request.
pub(crate) struct Company {
    outbound: Vec<Box<dyn Outbound>>,
    /// Which of them change the body, from the handler outwards.
    changing: Vec<usize>,
    finished: bool,
    summary: Summary,
    /// Filled by the router.
    handler: Arc<OnceLock<&'static str>>,
    clock: Clock,
    began: Instant,
}

/// Opens the handlers of a list; gives what changes the request, from the peer inwards, and what sees the reply.
pub(crate) fn open(
    list: &[Arc<dyn StreamHandler>],
    head: &mut http::request::Parts,
    peer: SocketAddr,
    clock: &Clock,
) -> (Vec<Box<dyn Inbound>>, Box<Company>) {
    let (mut inbound, mut outbound) = (Vec::new(), Vec::new());
    for handler in list {
        let mut opening = Opening {
            method: &head.method,
            path: head.uri.path(),
            headers: &mut head.headers,
            peer,
        };
        let along = handler.open(&mut opening);
        inbound.extend(along.inbound);
        outbound.extend(along.outbound);
    }
    let company = Company {
        outbound,
        changing: Vec::new(),
        finished: false,
        summary: Summary {
            method: head.method.clone(),
            path: head.uri.path().to_owned(),
            handler: None,
            version: head.version,
            peer,
            status: None,
            sent: 0,
            took: Duration::ZERO,
            whole: false,
        },
        handler: Arc::default(),
        clock: clock.clone(),
        began: clock.now(),
    };
    (inbound, Box::new(company))
}

impl Company {
    /// Shows the head, from the handler outwards.
    pub(crate) fn head(
        &mut self,
        status: StatusCode,
        headers: &mut HeaderMap,
        length: Option<u64>,
    ) {
        self.summary.status = Some(status.as_u16());
        for (at, outbound) in self.outbound.iter_mut().enumerate().rev() {
            // What one has changed has no known length for the next.
            let length = length.filter(|_| self.changing.is_empty());
            if outbound.head(status, headers, length) {
                headers.remove(CONTENT_LENGTH);
                self.changing.push(at);
            }
        }
    }

    /// A whole body, changed.
    pub(crate) fn whole(&mut self, body: Bytes) -> Bytes {
        if !self.changes() {
            return body;
        }
        let mut all = self.data(body).to_vec();
        all.extend_from_slice(&self.finish());
        all.into()
    }

    /// A piece, changed.
    pub(crate) fn data(&mut self, piece: Bytes) -> Bytes {
        let outbound = &mut self.outbound;
        self.changing
            .iter()
            .fold(piece, |piece, at| outbound[*at].data(piece))
    }

    /// What is left at the end; once.
    pub(crate) fn finish(&mut self) -> Bytes {
        let mut left = Bytes::new();
        if self.finished {
            return left;
        }
        self.finished = true;
        for at in &self.changing {
            let outbound = &mut self.outbound[*at];
            let mut all = if left.is_empty() {
                Vec::new()
            } else {
                outbound.data(left).to_vec()
            };
            all.extend_from_slice(&outbound.finish());
            left = all.into();
        }
        left
    }

    /// Where the router puts the name of the handler.
    pub(crate) fn handler(&self) -> Arc<OnceLock<&'static str>> {
        Arc::clone(&self.handler)
    }

    pub(crate) fn changes(&self) -> bool {
        !self.changing.is_empty()
    }

    pub(crate) fn sent(&mut self, bytes: usize) {
        self.summary.sent += bytes as u64;
    }

    pub(crate) fn went_whole(&mut self) {
        self.summary.whole = true;
    }
}

impl Drop for Company {
    fn drop(&mut self) {
        self.summary.took = self.clock.now() - self.began;
        self.summary.handler = self.handler.get().copied();
        for outbound in &mut self.outbound {
            outbound.end(&self.summary);
        }
    }
}
