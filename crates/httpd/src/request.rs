//! A request, as handlers and middlewares see it, and the reply they make to it.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue,
    SET_COOKIE,
};
use http::{Extensions, Method, StatusCode, Uri, Version};
use net::{PeerAddr, TlsInfo};
use otp::Clock;

use crate::body::Incoming;
use crate::link::Link;
use crate::reply::{self, Head, Headers, SharedWire, Stage};
use crate::routing::{Captures, Dispatch, Field, Value};
use crate::server::Shared;
use crate::{CookieOptions, Endpoint, Error, Event, ReplyError, urlencoded};

/// The most cookies that are read of one request.
const MAX_COOKIES: usize = 100;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What the requests of a connection share.
pub(crate) struct Connection {
    pub(crate) peer: PeerAddr,
    pub(crate) tls: Option<TlsInfo>,
    pub(crate) link: Arc<Link>,
    pub(crate) server: Arc<Shared>,
}

/// A route that was found.
pub(crate) struct Routed {
    pub(crate) table: Arc<Dispatch>,
    pub(crate) captures: Captures,
}

/// A request and the reply to it.
pub struct Request {
    pub(crate) head: http::request::Parts,
    pub(crate) body: Incoming,
    /// In lower case, without its port.
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    pub(crate) routed: Option<Routed>,
    pub(crate) connection: Arc<Connection>,
    /// Where the router puts the name of the handler, for those who look on.
    pub(crate) found: Option<Arc<OnceLock<&'static str>>>,
    /// Where a middleware says the client is.
    pub(crate) client: Option<SocketAddr>,
    pub(crate) wire: SharedWire,
    /// Whether a reply was made, or has begun.
    pub(crate) replied: bool,
    /// Headers of the reply, set before it is made.
    pub(crate) reply_headers: HeaderMap,
    pub(crate) cookies: Vec<(String, HeaderValue)>,
    pub(crate) env: Extensions,
    /// What a REST flow replies with.
    pub(crate) set_body: Bytes,
}

impl Request {
    /// The method.
    pub fn method(&self) -> &Method {
        &self.head.method
    }

    /// The version of HTTP.
    pub fn version(&self) -> Version {
        self.head.version
    }

    /// `https` inside TLS, else `http`.
    pub fn scheme(&self) -> &'static str {
        if self.connection.tls.is_some() {
            "https"
        } else {
            "http"
        }
    }

    /// The host in lower case, without its port; empty if HTTP/1.0 gave none.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port that the request names, or else the scheme's.
    pub fn port(&self) -> u16 {
        let default = if self.connection.tls.is_some() {
            443
        } else {
            80
        };
        self.port.unwrap_or(default)
    }

    /// The path as it was sent: not decoded, dot segments and all.
    pub fn path(&self) -> &str {
        self.head.uri.path()
    }

    /// The query as it was sent; empty if there is none.
    pub fn qs(&self) -> &str {
        self.head.uri.query().unwrap_or_default()
    }

    /// The target as it was sent.
    pub fn target(&self) -> &Uri {
        &self.head.uri
    }

    /// The whole URL, as a client would write it.
    pub fn uri(&self) -> String {
        let (scheme, host, path) = (self.scheme(), &self.host, self.path());
        let port = self
            .port
            .filter(|port| *port != if scheme == "https" { 443 } else { 80 });
        let port = port.map_or_else(String::new, |port| format!(":{port}"));
        let query = self
            .head
            .uri
            .query()
            .map_or_else(String::new, |query| format!("?{query}"));
        format!("{scheme}://{host}{port}{path}{query}")
    }

    /// Where the peer is; through a PROXY header, where the proxy says it is; else where a middleware said
    /// ([`set_peer`](Self::set_peer)).
    pub fn peer(&self) -> SocketAddr {
        self.client.unwrap_or(self.connection.peer.remote)
    }

    /// Says for this request where the peer is, to all that ask from now on: for middlewares that know of a proxy in
    /// between. The connection's own address stays what it was.
    pub fn set_peer(&mut self, at: SocketAddr) {
        self.client = Some(at);
    }

    /// Where the peer reached us.
    pub fn local(&self) -> SocketAddr {
        self.connection.peer.local
    }

    /// What the TLS handshake settled; none without TLS.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.connection.tls.as_ref()
    }

    /// All headers; their names are in lower case.
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// A header's value, if it is text; of several the first.
    pub fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.head
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    }

    /// A header by its type, of the crate `headers`; none if there is none.
    ///
    /// # Errors
    ///
    /// 400 if it is malformed.
    pub fn typed_header<H: headers::Header>(&self) -> Result<Option<H>, Error> {
        let malformed = |_| Error::bad_request(format!("the header {} is malformed", H::name()));
        headers::HeaderMapExt::typed_try_get(&self.head.headers).map_err(malformed)
    }

    /// The pairs of the query, decoded, in order.
    ///
    /// # Errors
    ///
    /// 400 if it is malformed.
    pub fn parse_qs(&self) -> Result<Vec<(String, String)>, Error> {
        urlencoded::parse(self.qs().as_bytes())
            .map_err(|_| Error::bad_request("the query is malformed"))
    }

    /// The values of these fields in the query, in their order: each taken through its constraints, or its default. Of a
    /// name that comes twice the first counts.
    ///
    /// # Errors
    ///
    /// 400 if a field without default is missing, or a constraint refuses.
    pub fn match_qs(&self, fields: &[Field]) -> Result<Vec<Value>, Error> {
        matched(fields, &self.parse_qs()?)
    }

    /// The cookies, at most 100, in order.
    ///
    /// # Errors
    ///
    /// 400 if they are malformed or more.
    pub fn parse_cookies(&self) -> Result<Vec<(String, String)>, Error> {
        let mut found = Vec::new();
        for line in self.head.headers.get_all(COOKIE) {
            let text = std::str::from_utf8(line.as_bytes())
                .map_err(|_| Error::bad_request("the cookies are malformed"))?;
            for pair in text
                .split(';')
                .map(str::trim)
                .filter(|pair| !pair.is_empty())
            {
                let (name, value) = pair.split_once('=').unwrap_or(("", pair));
                if found.len() == MAX_COOKIES {
                    return Err(Error::bad_request("too many cookies"));
                }
                found.push((name.trim().to_owned(), value.trim().to_owned()));
            }
        }
        Ok(found)
    }

    /// As [`match_qs`](Self::match_qs), of the cookies.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn match_cookies(&self, fields: &[Field]) -> Result<Vec<Value>, Error> {
        matched(fields, &self.parse_cookies()?)
    }

    /// What the route binds to `name`, if it is text.
    pub fn binding(&self, name: &str) -> Option<&str> {
        self.binding_bytes(name)
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// What the route binds to `name`, unless a constraint made something other than bytes of it.
    pub fn binding_bytes(&self, name: &str) -> Option<&[u8]> {
        let routed = self.routed.as_ref()?;
        routed
            .table
            .binding_bytes(&routed.captures, &self.host, self.head.uri.path(), name)
    }

    /// The number that `int` made of what the route binds to `name`.
    pub fn binding_int(&self, name: &str) -> Option<i64> {
        let routed = self.routed.as_ref()?;
        routed.table.binding_int(&routed.captures, name)
    }

    /// What the route binds to `name`, whatever it is.
    pub fn binding_value(&self, name: &str) -> Option<Value> {
        let routed = self.routed.as_ref()?;
        routed
            .table
            .binding_value(&routed.captures, &self.host, self.head.uri.path(), name)
    }

    /// All that the route binds, the host's first.
    pub fn bindings(&self) -> Vec<(Arc<str>, Value)> {
        self.routed.as_ref().map_or_else(Vec::new, |routed| {
            routed
                .table
                .bindings(&routed.captures, &self.host, self.head.uri.path())
        })
    }

    /// The labels that `[...]` took of the host; none where its pattern has no rest.
    pub fn host_info(&self) -> Option<Vec<&str>> {
        self.routed.as_ref()?.captures.host_info(&self.host)
    }

    /// The segments that `[...]` took of the path, decoded; none where its pattern has no rest.
    pub fn path_info(&self) -> Option<Vec<&[u8]>> {
        self.routed
            .as_ref()?
            .captures
            .path_info(self.head.uri.path())
    }

    /// The table the route was found in, to build paths of its patterns; none before the router.
    pub fn table(&self) -> Option<&Dispatch> {
        self.routed.as_ref().map(|routed| &*routed.table)
    }

    /// The handler that the router found; none before it.
    pub fn endpoint(&self) -> Option<&Endpoint> {
        let routed = self.routed.as_ref()?;
        Some(routed.table.target(&routed.captures))
    }

    /// What middlewares leave for each other and for handlers.
    pub fn env(&mut self) -> &mut Extensions {
        &mut self.env
    }

    /// What middlewares have left.
    pub fn env_ref(&self) -> &Extensions {
        &self.env
    }

    /// The server's time.
    pub fn clock(&self) -> &Clock {
        self.link().clock()
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.connection.link
    }

    pub(crate) fn server(&self) -> &Shared {
        &self.connection.server
    }

    // The reply.

    /// Whether a reply was made, or has begun.
    pub fn has_replied(&self) -> bool {
        self.replied
    }

    /// Sets a header of the reply, in the place of one of that name. Those given to the reply itself come after.
    ///
    /// # Errors
    ///
    /// [`ReplyError::Header`], [`ReplyError::SetCookie`].
    pub fn set_header<N, V>(&mut self, name: N, value: V) -> Result<(), ReplyError>
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        [(name, value)].add_to(&mut self.reply_headers)
    }

    /// Takes back a header of the reply; tells whether it was set.
    pub fn delete_header(&mut self, name: impl http::header::AsHeaderName) -> bool {
        self.reply_headers.remove(name).is_some()
    }

    /// Sets the body with which a REST flow replies where it has none of its own: to OPTIONS, POST, PUT, PATCH, DELETE,
    /// and with an error's status.
    pub fn set_body(&mut self, body: impl Into<Bytes>) {
        self.set_body = body.into();
    }

    pub(crate) fn has_set_body(&self) -> bool {
        !self.set_body.is_empty()
    }

    pub(crate) fn take_body(&mut self) -> Bytes {
        std::mem::take(&mut self.set_body)
    }

    /// The headers set for the reply so far.
    pub fn reply_headers(&self) -> &HeaderMap {
        &self.reply_headers
    }

    /// Sets a cookie with the reply; one of the same name is replaced.
    ///
    /// # Errors
    ///
    /// [`ReplyError::Cookie`] if its name, value, domain or path cannot be sent.
    pub fn set_cookie(
        &mut self,
        name: &str,
        value: &str,
        options: &CookieOptions,
    ) -> Result<(), ReplyError> {
        let line = reply::cookie(name, value, options)?;
        self.cookies.retain(|(other, _)| other != name);
        self.cookies.push((name.to_owned(), line));
        Ok(())
    }

    /// The head of a reply, of all that was set and what is given.
    fn head(&mut self, status: StatusCode, headers: impl Headers) -> Result<Head, ReplyError> {
        let mut given = HeaderMap::new();
        headers.add_to(&mut given)?;
        let mut all = std::mem::take(&mut self.reply_headers);
        if all.is_empty() {
            all = given;
        } else {
            given.add_to(&mut all)?;
        }
        for (_, line) in self.cookies.drain(..) {
            all.append(SET_COOKIE, line);
        }
        Ok(Head {
            status,
            headers: all,
        })
    }

    fn free(&self) -> Result<(), ReplyError> {
        if self.has_replied() {
            Err(ReplyError::Replied)
        } else {
            Ok(())
        }
    }

    /// Replies, whole. The length is the body's, whatever the headers say of it; to HEAD the body is left out. A reply to
    /// HEAD without a body may say the length that it would have had.
    ///
    /// # Errors
    ///
    /// [`ReplyError`]; then nothing was replied.
    pub fn reply(
        &mut self,
        status: u16,
        headers: impl Headers,
        body: impl Into<Bytes>,
    ) -> Result<(), ReplyError> {
        self.free()?;
        let (number, mut body) = (status, body.into());
        let status = reply::status(number)?;
        if reply::is_bodiless(status) && !body.is_empty() {
            return Err(ReplyError::Body(number));
        }
        let mut head = self.head(status, headers)?;
        let told = head.headers.remove(CONTENT_LENGTH);
        if self.head.method == Method::HEAD && !reply::is_bodiless(status) {
            let length = HeaderValue::from(body.len());
            let told = if body.is_empty() { told } else { Some(length) };
            head.headers
                .extend(told.map(|length| (CONTENT_LENGTH, length)));
            body.clear();
        }
        self.replied = true;
        let mut wire = self.wire.lock();
        wire.stage = Stage::Whole;
        wire.head = Some(head);
        wire.body = body;
        Ok(())
    }

    /// Replies with a text.
    ///
    /// # Errors
    ///
    /// As [`reply`](Self::reply).
    pub fn reply_text(&mut self, status: u16, text: impl Into<Bytes>) -> Result<(), ReplyError> {
        self.reply(status, [(CONTENT_TYPE, TEXT)], text)
    }

    /// Replies with a JSON value.
    ///
    /// # Errors
    ///
    /// As [`reply`](Self::reply).
    pub fn reply_json(&mut self, status: u16, value: &impl serde::Serialize) -> Result<(), Error> {
        let text = serde_json::to_vec(value)
            .map_err(|error| Error::internal(format!("the reply is no JSON: {error}")))?;
        Ok(self.reply(status, [(CONTENT_TYPE, JSON)], text)?)
    }

    /// Begins a reply that is made piece by piece, with [`send`](Self::send) and [`finish`](Self::finish). With a
    /// content-length of its own that many bytes must come: less cuts the connection, more is not sent. A 204 or 304 is
    /// whole at once.
    ///
    /// # Errors
    ///
    /// [`ReplyError`]; then nothing was replied.
    pub fn stream(&mut self, status: u16, headers: impl Headers) -> Result<(), ReplyError> {
        self.free()?;
        let status = reply::status(status)?;
        let mut head = self.head(status, headers)?;
        if reply::is_bodiless(status) {
            head.headers.remove(CONTENT_LENGTH);
        }
        let length = match head.headers.get(CONTENT_LENGTH) {
            None => None,
            Some(length) => {
                let is_number = length.as_bytes().iter().all(u8::is_ascii_digit);
                let text = length.to_str().ok().filter(|_| is_number);
                let digits = text.and_then(|text| text.parse().ok());
                let wrong = || ReplyError::Header("the value of content-length".to_owned());
                Some(digits.ok_or_else(wrong)?)
            }
        };
        let is_deaf =
            self.head.method == Method::HEAD || reply::is_bodiless(status) || length == Some(0);
        self.replied = true;
        let mut wire = self.wire.lock();
        wire.stage = Stage::Streaming;
        wire.is_deaf = is_deaf;
        // Streams of HTTP/2 have an end of their own, which is waited for.
        wire.left = length.filter(|_| self.head.version < Version::HTTP_2);
        wire.head = Some(head);
        Ok(())
    }

    /// Sends a piece of the reply: waits until there is room, which is when the peer takes what came before.
    ///
    /// # Errors
    ///
    /// [`ReplyError::NotStreaming`].
    pub async fn send(&mut self, piece: impl Into<Bytes>) -> Result<(), ReplyError> {
        let mut piece = Some(piece.into());
        let wire = &self.wire;
        std::future::poll_fn(|cx| {
            let mut wire = wire.lock();
            if wire.stage != Stage::Streaming {
                return Poll::Ready(Err(ReplyError::NotStreaming));
            }
            let is_empty = piece.as_ref().is_none_or(Bytes::is_empty);
            if is_empty || wire.is_deaf {
                return Poll::Ready(Ok(()));
            }
            if wire.piece.is_some() {
                wire.waiting = Some(cx.waker().clone());
                return Poll::Pending;
            }
            wire.piece = piece.take();
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Sends an event of a stream of `text/event-stream` (the HTML standard's server-sent events).
    ///
    /// # Errors
    ///
    /// [`ReplyError::NotStreaming`].
    pub async fn send_event(&mut self, event: &Event<'_>) -> Result<(), ReplyError> {
        self.send(event.to_string()).await
    }

    /// Ends the reply. A reply that its handler does not end is ended with the handler.
    ///
    /// # Errors
    ///
    /// [`ReplyError::NotStreaming`].
    pub fn finish(&mut self) -> Result<(), ReplyError> {
        self.end_stream(None)
    }

    /// Ends the reply with trailers. A peer of HTTP/1.1 sees them only if it said `te: trailers` and the reply's
    /// head named them in `trailer`.
    ///
    /// # Errors
    ///
    /// [`ReplyError`].
    pub fn finish_with(&mut self, trailers: impl Headers) -> Result<(), ReplyError> {
        let mut map = HeaderMap::new();
        trailers.add_to(&mut map)?;
        self.end_stream(Some(map))
    }

    fn end_stream(&mut self, trailers: Option<HeaderMap>) -> Result<(), ReplyError> {
        let mut wire = self.wire.lock();
        if wire.stage != Stage::Streaming {
            return Err(ReplyError::NotStreaming);
        }
        wire.stage = Stage::Ended;
        wire.trailers = trailers.map(Box::new);
        Ok(())
    }

    /// Replies with an error's status, unless a reply was made; cuts one that is under way.
    pub(crate) fn answer_error(&mut self, error: &Error) {
        self.replied = true;
        let mut wire = self.wire.lock();
        match wire.stage {
            Stage::None => {
                wire.stage = Stage::Whole;
                let mut head = Head::of(error.status());
                if error.close {
                    let close = HeaderValue::from_static("close");
                    head.headers.insert(CONNECTION, close);
                }
                wire.head = Some(head);
            }
            Stage::Streaming => wire.stage = Stage::Cut,
            Stage::Whole | Stage::Ended | Stage::Cut => {}
        }
    }
}

/// The values of fields among pairs.
fn matched(fields: &[Field], pairs: &[(String, String)]) -> Result<Vec<Value>, Error> {
    let value = |field: &Field| {
        let found = pairs.iter().find(|(name, _)| name == field.name());
        match (found, field.default_value()) {
            (Some((_, text)), _) => field
                .forward(Value::from(text.as_str()))
                .map_err(|refused| Error::bad_request(refused.to_string())),
            (None, Some(default)) => Ok(default.clone()),
            (None, None) => Err(Error::bad_request(format!(
                "the field {} is missing",
                field.name()
            ))),
        }
    };
    fields.iter().map(value).collect()
}
