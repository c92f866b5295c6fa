//! A request's body, read in pieces with limits of length and time.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http_body::Body;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;

use crate::streams::Inbound;
use crate::{Error, Request, urlencoded};

/// How much of a body is read at once, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct ReadOpts {
    /// Bytes after which a piece is given, more or less: what has come already is not cut. 8,000,000 unless said; with
    /// 1, whatever comes.
    pub length: usize,
    /// Time after which a piece is given, however small. 15 s unless said.
    pub period: Duration,
}

impl Default for ReadOpts {
    fn default() -> ReadOpts {
        ReadOpts {
            length: 8_000_000,
            period: Duration::from_secs(15),
        }
    }
}

/// A piece of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// There may be more.
    More(Bytes),
    /// It is the last; empty when all was read.
    Last(Bytes),
}

/// The limits of a form; its length is also that of the head of a part of `multipart`.
const FORM: ReadOpts = ReadOpts {
    length: 64_000,
    period: Duration::from_secs(5),
};

/// A body as it comes in.
pub(crate) struct Incoming {
    /// None once all of it was read.
    body: Option<hyper::body::Incoming>,
    pub(crate) trailers: Option<Box<http::HeaderMap>>,
    /// Whether any of it was asked for: a peer that expects 100 sends nothing before.
    asked: bool,
    /// What the body goes through.
    inbound: Vec<Box<dyn Inbound>>,
}

impl Incoming {
    pub(crate) fn new(body: hyper::body::Incoming, inbound: Vec<Box<dyn Inbound>>) -> Incoming {
        let is_empty = body.is_end_stream();
        Incoming {
            body: (!is_empty).then_some(body),
            trailers: None,
            asked: false,
            inbound,
        }
    }

    /// The next bytes; none at the end.
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        self.asked = true;
        loop {
            let Some(body) = &mut self.body else {
                return Poll::Ready(None);
            };
            match std::task::ready!(Pin::new(body).poll_frame(cx)) {
                None => {
                    self.body = None;
                    let left = self.finish();
                    if !left.as_ref().is_ok_and(Bytes::is_empty) {
                        return Poll::Ready(Some(left));
                    }
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        let changed = self
                            .inbound
                            .iter_mut()
                            .try_fold(data, |data, inbound| inbound.data(data));
                        if changed.is_err() {
                            self.body = None;
                        }
                        if !changed.as_ref().is_ok_and(Bytes::is_empty) {
                            return Poll::Ready(Some(changed));
                        }
                    }
                    Err(frame) => self.trailers = frame.into_trailers().ok().map(Box::new),
                },
                Some(Err(error)) => {
                    self.body = None;
                    let error = Error::bad_request(format!("the body broke off: {error}"));
                    return Poll::Ready(Some(Err(error.closing())));
                }
            }
        }
    }

    /// What is left in those it goes through.
    fn finish(&mut self) -> Result<Bytes, Error> {
        let mut left = Vec::new();
        for inbound in &mut self.inbound {
            let mut all = if left.is_empty() {
                Vec::new()
            } else {
                inbound.data(left.into())?.to_vec()
            };
            all.extend_from_slice(&inbound.finish()?);
            left = all;
        }
        Ok(left.into())
    }

    async fn data(&mut self) -> Option<Result<Bytes, Error>> {
        std::future::poll_fn(|cx| self.poll_data(cx)).await
    }

    /// Takes what is left of a body that the peer sends unasked: one that `expects` to be asked does not.
    pub(crate) fn rest(&mut self, expects: impl FnOnce() -> bool) -> Option<hyper::body::Incoming> {
        let body = self.body.take()?;
        (self.asked || !expects()).then_some(body)
    }
}

/// Reads the rest of a body and throws it away, so that the connection can go on; at most so many bytes.
pub(crate) async fn skip(mut body: hyper::body::Incoming, most: usize) {
    let mut left = most;
    let skipped = std::future::poll_fn(|cx| {
        loop {
            match std::task::ready!(Pin::new(&mut body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let length = frame.data_ref().map_or(0, Bytes::len);
                    match left.checked_sub(length) {
                        Some(less) => left = less,
                        None => return Poll::Ready(()),
                    }
                }
                Some(Err(_)) | None => return Poll::Ready(()),
            }
        }
    });
    skipped.await;
}

impl Request {
    /// Whether there is a body that was not read yet. A length of 0 is none.
    pub fn has_body(&self) -> bool {
        self.body.body.is_some()
    }

    /// The body's length, if it is known: not while a chunked one is read.
    pub fn body_length(&self) -> Option<u64> {
        let left = self.body.body.as_ref();
        let changes = !self.body.inbound.is_empty();
        left.map_or(Some(0), |body| {
            body.size_hint().exact().filter(|_| !changes)
        })
    }

    /// The trailers behind a body that was read to its end.
    pub fn trailers(&self) -> Option<&http::HeaderMap> {
        self.body.trailers.as_deref()
    }

    /// Reads a piece. Where the peer expects `100 Continue`, it gets it now.
    ///
    /// # Errors
    ///
    /// 400 if the body is malformed or breaks off.
    pub async fn read_body(&mut self, opts: ReadOpts) -> Result<Piece, Error> {
        let clock = self.clock().clone();
        let mut read = BytesMut::new();
        let reading = async {
            while read.len() < opts.length.max(1) {
                match self.body.data().await {
                    None => return Ok::<bool, Error>(true),
                    // Most bodies come in one.
                    Some(data) if read.is_empty() => read = data?.into(),
                    Some(data) => read.extend_from_slice(&data?),
                }
            }
            Ok(false)
        };
        let is_last = clock
            .timeout(opts.period, reading)
            .await
            .unwrap_or(Ok(false))?;
        let is_last = is_last || self.body.body.is_none();
        let read = read.freeze();
        Ok(if is_last {
            Piece::Last(read)
        } else {
            Piece::More(read)
        })
    }

    /// Reads the whole body, of at most `limit` bytes, within the listener's `body_within`.
    ///
    /// # Errors
    ///
    /// 413 if it is longer, 408 if it takes longer, 400 if it is malformed.
    pub async fn body(&mut self, limit: usize) -> Result<Bytes, Error> {
        let period = self.server().limits.body_within;
        let opts = ReadOpts {
            length: limit,
            period,
        };
        self.whole(opts).await
    }

    async fn whole(&mut self, opts: ReadOpts) -> Result<Bytes, Error> {
        if self
            .body_length()
            .is_some_and(|length| length > opts.length as u64)
        {
            return Err(Error::too_large("the body is too long"));
        }
        let more = ReadOpts {
            length: opts.length.saturating_add(1),
            ..opts
        };
        match self.read_body(more).await? {
            Piece::Last(body) if body.len() <= opts.length => Ok(body),
            Piece::More(body) if body.len() <= opts.length => {
                Err(Error::too_slow("the body came too slowly"))
            }
            Piece::Last(_) | Piece::More(_) => Err(Error::too_large("the body is too long")),
        }
    }

    /// Reads a form of at most 64,000 bytes within 5 s: its pairs in order.
    ///
    /// # Errors
    ///
    /// 413, 408 and 400 as [`body`](Self::body).
    pub async fn urlencoded(&mut self) -> Result<Vec<(String, String)>, Error> {
        let body = self.whole(FORM).await?;
        urlencoded::parse(&body).map_err(|_| Error::bad_request("the form is malformed"))
    }

    /// Reads a JSON value of at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// 413 and 408 as [`body`](Self::body), 400 if it is no such value.
    pub async fn json<T: DeserializeOwned>(&mut self, limit: usize) -> Result<T, Error> {
        let body = self.body(limit).await?;
        serde_json::from_slice(&body)
            .map_err(|error| Error::bad_request(format!("the body is no such JSON: {error}")))
    }

    /// Begins to read `multipart/form-data`: parts one after the other, each in pieces or whole. All of it is of at most
    /// `limit` bytes, and the head of a part of at most 64,000, more or less.
    ///
    /// # Errors
    ///
    /// 400 without a boundary.
    pub fn multipart(&mut self, limit: u64) -> Result<Multipart<'_>, Error> {
        let content_type = self.header(http::header::CONTENT_TYPE).unwrap_or_default();
        let boundary = multer::parse_boundary(content_type).map_err(multipart_error)?;
        let sizes = multer::SizeLimit::new().whole_stream(limit);
        let constraints = multer::Constraints::new().size_limit(sizes);
        let (clock, period) = (self.clock().clone(), self.server().limits.body_within);
        let body = &mut self.body;
        let searched = Arc::new(AtomicUsize::new(0));
        let from = (body, clock, searched.clone());
        let pieces = stream::unfold(from, move |(body, clock, searched)| async move {
            // All that is there would be taken otherwise, without a look at any of it.
            tokio::task::yield_now().await;
            let data = if searched.load(Ordering::Relaxed) < FORM.length {
                let data = clock.timeout(period, body.data()).await;
                data.unwrap_or_else(|_| Some(Err(Error::too_slow("the body came too slowly"))))?
            } else {
                Err(Error::bad_request("the head of a part is too long"))
            };
            let length = data.as_ref().map_or(0, Bytes::len);
            searched.fetch_add(length, Ordering::Relaxed);
            Some((data, (body, clock, searched)))
        });
        Ok(Multipart {
            inner: multer::Multipart::with_constraints(pieces, boundary, constraints),
            unread: Arc::default(),
            searched,
        })
    }
}

/// The part that was given last, when it is dropped: what was not read of it is skipped.
type Unread<'a> = Arc<Mutex<Option<multer::Field<'a>>>>;

/// A body of several parts.
pub struct Multipart<'a> {
    inner: multer::Multipart<'a>,
    unread: Unread<'a>,
    /// Bytes that have come while the next part was looked for.
    searched: Arc<AtomicUsize>,
}

/// One part of a body.
pub struct Part<'a> {
    /// There until it is dropped.
    inner: Option<multer::Field<'a>>,
    unread: Unread<'a>,
    searched: Arc<AtomicUsize>,
}

impl<'a> Multipart<'a> {
    /// The next part; none behind the last. What was not read of the one before is skipped.
    ///
    /// # Errors
    ///
    /// 400 if the body is malformed or has no end, 413 if it is too long, 408 if it comes too slowly.
    pub async fn next_part(&mut self) -> Result<Option<Part<'a>>, Error> {
        let unread = self.unread.lock().take();
        if let Some(mut unread) = unread {
            while piece_of(&mut unread, &self.searched).await?.is_some() {}
        }
        self.searched.store(0, Ordering::Relaxed);
        let next = self.inner.next_field().await.map_err(multipart_error)?;
        Ok(next.map(|inner| Part {
            inner: Some(inner),
            unread: self.unread.clone(),
            searched: self.searched.clone(),
        }))
    }
}

/// A piece of a part. What comes meanwhile is not counted to the search for the next.
async fn piece_of(
    part: &mut multer::Field<'_>,
    searched: &AtomicUsize,
) -> Result<Option<Bytes>, Error> {
    searched.store(0, Ordering::Relaxed);
    part.chunk().await.map_err(multipart_error)
}

impl<'a> Part<'a> {
    fn inner(&self) -> &multer::Field<'a> {
        self.inner.as_ref().expect("it is not dropped")
    }

    /// The name of its field.
    pub fn name(&self) -> Option<&str> {
        self.inner().name()
    }

    /// The name of its file. It is the peer's word: no path of this machine.
    pub fn file_name(&self) -> Option<&str> {
        self.inner().file_name()
    }

    /// Its headers.
    pub fn headers(&self) -> &http::HeaderMap {
        self.inner().headers()
    }

    /// A piece of it; none at its end.
    ///
    /// # Errors
    ///
    /// As [`Multipart::next_part`].
    pub async fn read(&mut self) -> Result<Option<Bytes>, Error> {
        let part = self.inner.as_mut().expect("it is not dropped");
        piece_of(part, &self.searched).await
    }

    /// The whole of it, of at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// 413 if it is longer, and as [`Multipart::next_part`].
    pub async fn body(&mut self, limit: usize) -> Result<Bytes, Error> {
        let mut all = BytesMut::new();
        while let Some(piece) = self.read().await? {
            if all.len() + piece.len() > limit {
                return Err(Error::too_large("a part is too long"));
            }
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        *self.unread.lock() = self.inner.take();
    }
}

fn multipart_error(error: multer::Error) -> Error {
    match error {
        multer::Error::StreamSizeExceeded { .. } | multer::Error::FieldSizeExceeded { .. } => {
            Error::too_large("the body is too long")
        }
        multer::Error::StreamReadFailed(inner) => match inner.downcast::<Error>() {
            Ok(error) => *error,
            Err(error) => Error::bad_request(format!("the body broke off: {error}")),
        },
        error => Error::bad_request(format!("the body is no such multipart: {error}")),
    }
}
