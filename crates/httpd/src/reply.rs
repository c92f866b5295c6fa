//! A reply on its way: what a handler leaves for its connection, and the body that hyper reads.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{HeaderMap, HeaderName, HeaderValue, SET_COOKIE};
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;

use crate::ReplyError;
use crate::link::Link;
use crate::request::Connection;
use crate::streams::Company;

/// How far a reply is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing was replied.
    None,
    /// It was made, whole.
    Whole,
    /// It is made piece by piece.
    Streaming,
    /// The last piece has been given.
    Ended,
    /// It was cut: the peer must not take it for whole.
    Cut,
}

/// A reply's head.
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
}

impl Head {
    /// A head without headers.
    pub(crate) fn of(status: StatusCode) -> Head {
        Head {
            status,
            headers: HeaderMap::new(),
        }
    }

    /// A whole reply.
    pub(crate) fn with(self, body: Payload) -> Response<Payload> {
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

/// What a handler leaves for its connection.
pub(crate) struct Wire {
    pub(crate) stage: Stage,
    /// The head, until the connection takes it.
    pub(crate) head: Option<Head>,
    pub(crate) body: Bytes,
    /// One piece that waits to be taken; the handler waits while there is one.
    pub(crate) piece: Option<Bytes>,
    pub(crate) trailers: Option<Box<HeaderMap>>,
    /// The handler that waits for room.
    pub(crate) waiting: Option<Waker>,
    /// Nobody takes pieces: a reply to HEAD, or one that has the length that was told.
    pub(crate) is_deaf: bool,
    /// What is left of the length that was told; none where the end is told otherwise.
    pub(crate) left: Option<u64>,
}

pub(crate) type SharedWire = Arc<Mutex<Wire>>;

impl Wire {
    pub(crate) fn new() -> SharedWire {
        Arc::new(Mutex::new(Wire {
            stage: Stage::None,
            head: None,
            body: Bytes::new(),
            piece: None,
            trailers: None,
            waiting: None,
            is_deaf: false,
            left: None,
        }))
    }
}

/// Headers as they are given to a reply: pairs, in an array or a vector, a map, or `()`.
pub trait Headers {
    /// Adds them to `map`, in the place of those of the same names.
    ///
    /// # Errors
    ///
    /// [`ReplyError::Header`] with the one that cannot be sent, [`ReplyError::SetCookie`].
    fn add_to(self, map: &mut HeaderMap) -> Result<(), ReplyError>;
}

impl Headers for () {
    fn add_to(self, _map: &mut HeaderMap) -> Result<(), ReplyError> {
        Ok(())
    }
}

impl Headers for HeaderMap {
    fn add_to(self, map: &mut HeaderMap) -> Result<(), ReplyError> {
        if self.contains_key(SET_COOKIE) {
            return Err(ReplyError::SetCookie);
        }
        if map.is_empty() {
            *map = self;
            return Ok(());
        }
        for name in self.keys() {
            map.remove(name);
        }
        let mut last = None;
        for (name, value) in self {
            last = name.or(last);
            let name = last.clone().expect("the first of a map has a name");
            map.append(name, value);
        }
        Ok(())
    }
}

fn add_pair<N, V>(map: &mut HeaderMap, name: N, value: V) -> Result<(), ReplyError>
where
    N: TryInto<HeaderName>,
    V: TryInto<HeaderValue>,
{
    let name = name
        .try_into()
        .map_err(|_| ReplyError::Header("its name".to_owned()))?;
    if name == SET_COOKIE {
        return Err(ReplyError::SetCookie);
    }
    let value = value
        .try_into()
        .map_err(|_| ReplyError::Header(format!("the value of {name}")))?;
    map.insert(name, value);
    Ok(())
}

impl<N, V, const LENGTH: usize> Headers for [(N, V); LENGTH]
where
    N: TryInto<HeaderName>,
    V: TryInto<HeaderValue>,
{
    fn add_to(self, map: &mut HeaderMap) -> Result<(), ReplyError> {
        self.into_iter()
            .try_for_each(|(name, value)| add_pair(map, name, value))
    }
}

impl<N, V> Headers for Vec<(N, V)>
where
    N: TryInto<HeaderName>,
    V: TryInto<HeaderValue>,
{
    fn add_to(self, map: &mut HeaderMap) -> Result<(), ReplyError> {
        self.into_iter()
            .try_for_each(|(name, value)| add_pair(map, name, value))
    }
}

/// Whether a reply of that status has no body.
pub(crate) fn is_bodiless(status: StatusCode) -> bool {
    status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
}

/// A final status; 101 is one for those who switch protocols.
pub(crate) fn status(number: u16) -> Result<StatusCode, ReplyError> {
    let status = StatusCode::from_u16(number).map_err(|_| ReplyError::Status(number))?;
    if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
        return Err(ReplyError::Status(number));
    }
    Ok(status)
}

/// A reply that was cut.
#[derive(Debug, thiserror::Error)]
#[error("the reply was cut")]
pub(crate) struct Cut;

impl From<Infallible> for Cut {
    fn from(never: Infallible) -> Cut {
        match never {}
    }
}

/// Counts a request of a connection as answered when it is dropped.
pub(crate) struct Answering(pub(crate) Arc<Connection>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.link.answered();
    }
}

/// The body of a reply as hyper reads it.
pub(crate) struct Payload {
    kind: PayloadKind,
    company: Option<Box<Company>>,
    /// Trailers that came before what was left to send.
    trailers: Option<Box<HeaderMap>>,
    _answering: Answering,
}

enum PayloadKind {
    Whole(Bytes),
    Streamed(Streamed),
}

/// A body whose handler runs as it is read: it goes no faster than the peer takes it.
pub(crate) struct Streamed {
    pub(crate) wire: SharedWire,
    /// The handler; gone when it has ended, or runs elsewhere.
    pub(crate) handler: Option<BoxFuture<'static, ()>>,
    pub(crate) link: Arc<Link>,
    pub(crate) ended: bool,
}

impl Payload {
    pub(crate) fn whole(
        body: Bytes,
        answering: Answering,
        mut company: Option<Box<Company>>,
    ) -> Payload {
        if let Some(company) = &mut company
            && body.is_empty()
        {
            company.went_whole();
        }
        Payload {
            kind: PayloadKind::Whole(body),
            company,
            trailers: None,
            _answering: answering,
        }
    }

    pub(crate) fn streamed(
        streamed: Streamed,
        answering: Answering,
        company: Option<Box<Company>>,
    ) -> Payload {
        Payload {
            kind: PayloadKind::Streamed(streamed),
            company,
            trailers: None,
            _answering: answering,
        }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = &mut *self;
        let streamed = match &mut this.kind {
            PayloadKind::Whole(body) if body.is_empty() => return Poll::Ready(None),
            PayloadKind::Whole(body) => {
                let body = std::mem::take(body);
                if let Some(company) = &mut this.company {
                    company.sent(body.len());
                    company.went_whole();
                }
                return Poll::Ready(Some(Ok(Frame::data(body))));
            }
            PayloadKind::Streamed(streamed) => streamed,
        };
        let Some(company) = &mut this.company else {
            return streamed.poll(cx);
        };
        loop {
            if let Some(trailers) = this.trailers.take() {
                return Poll::Ready(Some(Ok(Frame::trailers(*trailers))));
            }
            let data = match std::task::ready!(streamed.poll(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        if streamed.is_full() && !company.changes() {
                            company.went_whole();
                        }
                        company.data(data)
                    }
                    Err(frame) => {
                        this.trailers = frame.into_trailers().ok().map(Box::new);
                        company.went_whole();
                        company.finish()
                    }
                },
                Some(Err(cut)) => return Poll::Ready(Some(Err(cut))),
                None => {
                    company.went_whole();
                    let left = company.finish();
                    if left.is_empty() {
                        return Poll::Ready(None);
                    }
                    left
                }
            };
            if !data.is_empty() {
                company.sent(data.len());
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            PayloadKind::Whole(body) => body.is_empty(),
            PayloadKind::Streamed(streamed) => streamed.ended && self.company.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            PayloadKind::Whole(body) => SizeHint::with_exact(body.len() as u64),
            PayloadKind::Streamed(_) => SizeHint::default(),
        }
    }
}

impl Streamed {
    /// Whether all of the length that was told has been given.
    fn is_full(&self) -> bool {
        self.wire.lock().left == Some(0)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        loop {
            {
                let mut wire = self.wire.lock();
                if let Some(piece) = wire.piece.take() {
                    if let Some(waiting) = wire.waiting.take() {
                        waiting.wake();
                    }
                    let length = piece.len() as u64;
                    let is_full = wire.left.as_mut().is_some_and(|left| {
                        *left = left.saturating_sub(length);
                        *left == 0
                    });
                    if is_full {
                        // Nobody asks for what is behind it, nor that the handler ends: it does so on its own.
                        wire.is_deaf = true;
                        drop(wire);
                        if let Some(handler) = self.handler.take() {
                            self.link.spawn(handler);
                        }
                    }
                    return Poll::Ready(Some(Ok(Frame::data(piece))));
                }
                match wire.stage {
                    Stage::Cut => {
                        self.ended = true;
                        return Poll::Ready(Some(Err(Cut)));
                    }
                    Stage::Ended => {
                        self.ended = true;
                        let trailers = wire.trailers.take();
                        drop(wire);
                        // The reply is whole; what the handler still does is its own affair.
                        if let Some(handler) = self.handler.take() {
                            self.link.spawn(handler);
                        }
                        return Poll::Ready(
                            trailers.map(|trailers| Ok(Frame::trailers(*trailers))),
                        );
                    }
                    _ if self.handler.is_none() => {
                        // It ended without a last piece: the reply ends with it.
                        self.ended = true;
                        return Poll::Ready(None);
                    }
                    _ => {}
                }
            }
            let handler = self.handler.as_mut().expect("it runs");
            if handler.as_mut().poll(cx).is_ready() {
                self.handler = None;
                continue;
            }
            let wire = self.wire.lock();
            if wire.piece.is_none() && wire.stage == Stage::Streaming {
                return Poll::Pending;
            }
        }
    }
}

/// Cookies as they are set, RFC 6265 §4.1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CookieOptions {
    /// The domain; the host's own unless given.
    pub domain: Option<String>,
    /// The path; the request's directory unless given.
    pub path: Option<String>,
    /// Only over TLS.
    pub secure: bool,
    /// Not for scripts.
    pub http_only: bool,
    /// How long it is kept, in seconds; 0 removes it. The browser's session unless given.
    pub max_age: Option<u64>,
    /// `Strict`, `Lax` or `None`.
    pub same_site: Option<&'static str>,
}

/// A line of `set-cookie`.
pub(crate) fn cookie(
    name: &str,
    value: &str,
    options: &CookieOptions,
) -> Result<HeaderValue, ReplyError> {
    let wrong = || ReplyError::Cookie(name.to_owned());
    let is_bad = |text: &str, bad: &str| {
        text.chars()
            .any(|c| c.is_control() || c.is_whitespace() || bad.contains(c))
    };
    let attribute = |text: &Option<String>| {
        text.as_ref()
            .is_some_and(|text| text.contains([';', ',']) || text.chars().any(char::is_control))
    };
    if name.is_empty()
        || is_bad(name, "=,;")
        || is_bad(value, ",;")
        || attribute(&options.domain)
        || attribute(&options.path)
    {
        return Err(wrong());
    }
    let mut line = format!("{name}={value}");
    let mut add = |text: &str, value: Option<&str>| {
        line.push_str("; ");
        line.push_str(text);
        if let Some(value) = value {
            line.push('=');
            line.push_str(value);
        }
    };
    if let Some(domain) = &options.domain {
        add("Domain", Some(domain));
    }
    if let Some(path) = &options.path {
        add("Path", Some(path));
    }
    if let Some(seconds) = options.max_age {
        // Those who do not know Max-Age know this; all that removes a cookie is a date that has passed.
        if seconds == 0 {
            add("Expires", Some("Thu, 01 Jan 1970 00:00:00 GMT"));
        }
        add("Max-Age", Some(&seconds.to_string()));
    }
    if options.secure {
        add("Secure", None);
    }
    if options.http_only {
        add("HttpOnly", None);
    }
    if let Some(same_site) = options.same_site {
        add("SameSite", Some(same_site));
    }
    HeaderValue::try_from(line).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_written_and_what_breaks_them_refused() {
        let all = CookieOptions {
            domain: Some("example.org".to_owned()),
            path: Some("/a".to_owned()),
            secure: true,
            http_only: true,
            max_age: Some(0),
            same_site: Some("Lax"),
        };
        let line = cookie("id", "x=y", &all).expect("a cookie");
        let wanted = "id=x=y; Domain=example.org; Path=/a; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Secure; HttpOnly; SameSite=Lax";
        assert_eq!(line, wanted);
        let plain = CookieOptions::default();
        for (name, value) in [
            ("", "x"),
            ("a=b", ""),
            ("a b", ""),
            ("a", "b;c"),
            ("a", "b,c"),
            ("a", "b\r\nc"),
            ("a", "b c"),
        ] {
            assert!(cookie(name, value, &plain).is_err(), "{name:?} {value:?}");
        }
        let broken = CookieOptions {
            path: Some("/; Secure".to_owned()),
            ..plain
        };
        assert!(cookie("a", "b", &broken).is_err());
    }
}
