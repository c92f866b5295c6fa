//! A server: its options, its table of routes, and what a connection does with each request.

use std::convert::Infallible;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{CONNECTION, EXPECT, HOST, HeaderMap, HeaderValue, SERVER};
use http::{Extensions, Method, Response, StatusCode, Version};
use net::{Accept, PeerAddr, ServerConfig, Ticket};
use otp::{ChildSpec, Restart, Shards, Shutdown, System};
use tokio::net::TcpStream;

use crate::body::{Incoming, skip};
use crate::connection::{self, Args};
use crate::h1::{Refusal, split_authority};
use crate::link::Turned;
use crate::reply::{Answering, Head, Payload, SharedWire, Stage, Streamed, Wire};
use crate::request::{Connection, Routed};
use crate::routing::{Captures, Dispatch, NoMatch, Routes, panic_text};
use crate::streams::{self, Company, StreamHandler};
use crate::{Error, Middleware, Request, Step, Verdict};

/// What a server puts up with.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Headers of a request; at most 100. 100.
    pub headers: usize,
    /// Bytes of a header's name; 64.
    pub header_name_bytes: usize,
    /// Bytes of a header's value; 8192.
    pub header_value_bytes: usize,
    /// Bytes of a request's whole head; 64 KiB.
    pub head_bytes: usize,
    /// Bytes of a method; 32.
    pub method_bytes: usize,
    /// Bytes of a request's target; 8000.
    pub target_bytes: usize,
    /// Empty lines before a request line; 5.
    pub empty_lines: usize,
    /// Requests on one connection of HTTP/1.1; the reply to the last says `connection: close`. 1000.
    pub requests: u64,
    /// Connections at once; more are closed at the door. 10,000.
    pub connections: usize,
    /// Streams at once on one connection of HTTP/2; 100.
    pub streams: u32,
    /// From a head's first byte to its last, and from a connection's beginning to its first request's. 10 s.
    pub head_within: Duration,
    /// For a whole body, where it is read whole; 30 s.
    pub body_within: Duration,
    /// Between requests on one connection; 60 s.
    pub idle: Duration,
    /// For the peer to take anything of what is written; 30 s.
    pub send_within: Duration,
    /// For requests under way when the server stops; 10 s.
    pub drain: Duration,
    /// For the peer to read a reply while it still sends; 1 s.
    pub linger: Duration,
    /// Of a body that its handler did not read so many bytes are skipped, to keep the connection; 1,000,000.
    pub skip_body_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            headers: 100,
            header_name_bytes: 64,
            header_value_bytes: 8192,
            head_bytes: 64 * 1024,
            method_bytes: 32,
            target_bytes: 8000,
            empty_lines: 5,
            requests: 1000,
            connections: 10_000,
            streams: 100,
            head_within: Duration::from_secs(10),
            body_within: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            send_within: Duration::from_secs(30),
            drain: Duration::from_secs(10),
            linger: Duration::from_secs(1),
            skip_body_bytes: 1_000_000,
        }
    }
}

/// How a server is made.
#[derive(Clone)]
pub struct Options {
    /// What it puts up with.
    pub limits: Limits,
    /// The value of the header `server`; none unless given.
    pub name: Option<HeaderValue>,
    /// What each request goes through, in order: the router and the handler unless said.
    pub middlewares: Vec<Step>,
    /// What sees requests and replies as bytes; the first is nearest to the peer. None unless given.
    pub streams: Vec<Arc<dyn StreamHandler>>,
    /// Over how many supervisors the connections are spread; 4.
    pub shards: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            limits: Limits::default(),
            name: None,
            middlewares: vec![Step::Router, Step::Handler],
            streams: Vec::new(),
            shards: 4,
        }
    }
}

impl Options {
    /// Adds a stream handler behind the others: nearer to the handlers.
    pub fn stream(mut self, handler: impl StreamHandler) -> Options {
        self.streams.push(Arc::new(handler));
        self
    }

    /// Puts a middleware before the router.
    pub fn before_router(mut self, middleware: impl Middleware) -> Options {
        let at = self
            .middlewares
            .iter()
            .position(|step| matches!(step, Step::Router));
        self.middlewares
            .insert(at.unwrap_or(0), Step::Own(Arc::new(middleware)));
        self
    }

    /// Puts a middleware between the router and the handler.
    pub fn after_router(mut self, middleware: impl Middleware) -> Options {
        let at = self
            .middlewares
            .iter()
            .position(|step| matches!(step, Step::Handler));
        let at = at.unwrap_or(self.middlewares.len());
        self.middlewares.insert(at, Step::Own(Arc::new(middleware)));
        self
    }
}

/// What all connections of a server share.
pub(crate) struct Shared {
    pub(crate) limits: Arc<Limits>,
    pub(crate) name: Option<HeaderValue>,
    middlewares: Vec<Step>,
    streams: Vec<Arc<dyn StreamHandler>>,
    routes: Arc<ArcSwap<Dispatch>>,
    pub(crate) open: AtomicUsize,
}

/// An HTTP server. Clones are the same.
///
/// It is three parts: this handle, the supervisor of its connections ([`connections`](Httpd::connections)), and what
/// its listeners hand their sockets to ([`door`](Httpd::door)).
#[derive(Clone)]
pub struct Httpd {
    pub(crate) shared: Arc<Shared>,
    shards: Shards,
}

impl Httpd {
    /// A server without routes: it answers 400. `kind` names its connections' supervisors: `http/0`, `http/1`, …
    pub fn new(system: &System, kind: &'static str, options: Options) -> Httpd {
        let mut limits = options.limits;
        limits.headers = limits.headers.min(100);
        Httpd {
            shards: Shards::new(system, kind, options.shards),
            shared: Arc::new(Shared {
                limits: Arc::new(limits),
                name: options.name,
                middlewares: options.middlewares,
                streams: options.streams,
                routes: Arc::default(),
                open: AtomicUsize::new(0),
            }),
        }
    }

    /// Serves this table from the next request on, also on connections that are open. Requests under way finish on the
    /// old one.
    pub fn set_routes(&self, table: Dispatch) {
        self.shared.routes.store(Arc::new(table));
    }

    /// The table that is served now.
    pub fn table(&self) -> Arc<Dispatch> {
        self.shared.routes.load_full()
    }

    /// How many connections are open.
    pub fn connections_now(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// The supervisor of the connections, as a child; it must stand before the listeners that hand to it, so that it
    /// is stopped behind them. A connection that falls is not started again. `restarts` within `period` is how often a
    /// shard may be.
    pub fn connections(&self, id: &str, restarts: u32, period: Duration) -> ChildSpec {
        let shards = self.shards.clone();
        // The process ends its requests within the drain time itself; the rest is for its own end.
        let shutdown = Shutdown::Timeout(self.shared.limits.drain + Duration::from_secs(1));
        ChildSpec::supervisor(id, move || {
            shards.supervisor::<connection::Process>(Restart::Temporary, shutdown, restarts, period)
        })
    }

    /// What a listener hands its sockets to. With `tls`, made with the ALPN names of [`ALPN`](crate::ALPN), a
    /// handshake comes first, and a client that asks for `h2` is spoken to in HTTP/2.
    pub fn door(&self, tls: Option<Arc<ServerConfig>>) -> Arc<dyn Accept> {
        Arc::new(Door {
            httpd: self.clone(),
            tls,
        })
    }
}

impl fmt::Debug for Httpd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Httpd")
            .field("open", &self.connections_now())
            .finish_non_exhaustive()
    }
}

impl Routes {
    /// Routes that `httpd` serves, in the place of what was set by [`Httpd::set_routes`].
    pub fn new(httpd: &Httpd) -> Routes {
        Routes::over(httpd.shared.routes.clone())
    }
}

/// Takes sockets from a listener.
struct Door {
    httpd: Httpd,
    tls: Option<Arc<ServerConfig>>,
}

impl Accept for Door {
    fn accepted(
        &self,
        socket: TcpStream,
        peer: PeerAddr,
        ticket: Ticket,
    ) -> BoxFuture<'static, ()> {
        let Httpd { shared, shards } = self.httpd.clone();
        let Some(place) = Place::take(&shared) else {
            tracing::warn!(target: "natter::httpd", address = %peer.remote, "connection closed: there are too many");
            return Box::pin(std::future::ready(()));
        };
        let args = Args {
            socket,
            peer,
            ticket: Some(ticket),
            place,
            server: shared,
            tls: self.tls.clone(),
        };
        Box::pin(async move {
            if let Err(error) = shards.start_one::<connection::Process>(args).await {
                tracing::warn!(target: "natter::httpd", %error, "connection not served");
            }
        })
    }
}

/// A connection that is counted.
pub(crate) struct Place(Arc<Shared>);

impl Place {
    fn take(shared: &Arc<Shared>) -> Option<Place> {
        let before = shared.open.fetch_add(1, Ordering::Relaxed);
        let place = Place(shared.clone());
        (before < shared.limits.connections).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a connection does with its requests.
pub(crate) struct Service(pub(crate) Arc<Connection>);

impl hyper::service::Service<http::Request<hyper::body::Incoming>> for Service {
    type Response = Response<Payload>;
    type Error = Infallible;
    type Future = Serving;

    fn call(&self, request: http::Request<hyper::body::Incoming>) -> Serving {
        let Connection { link, server, .. } = &*self.0;
        let answering = Answering(self.0.clone());
        let (number, refused) = link.request();
        let (mut head, body) = request.into_parts();
        let is_h1 = head.version < Version::HTTP_2;
        let closes = is_h1 && (number >= server.limits.requests || link.is_draining());
        let refused = refused.or_else(|| judge(&head));
        let (mut inbound, mut company) = (Vec::new(), None);
        if !server.streams.is_empty() {
            let opened =
                streams::open(&server.streams, &mut head, self.0.peer.remote, link.clock());
            (inbound, company) = (opened.0, Some(opened.1));
        }
        let mut serving = Serving {
            refused,
            company,
            handler: None,
            wire: Wire::new(),
            answering: Some(answering),
            closes,
            asks_upgrade: is_h1 && link.awaits_turn(),
        };
        if serving.refused.is_none() {
            let (host, port) = host(&head);
            serving.handler = Some(begin(Request {
                host,
                port,
                head,
                body: Incoming::new(body, std::mem::take(&mut inbound)),
                routed: None,
                connection: self.0.clone(),
                client: None,
                found: serving.company.as_ref().map(|company| company.handler()),
                wire: serving.wire.clone(),
                replied: false,
                reply_headers: HeaderMap::new(),
                cookies: Vec::new(),
                env: Extensions::new(),
                set_body: Bytes::new(),
            }));
        }
        serving
    }
}

/// What is wrong with a request of HTTP/2, whose framing hyper has judged.
fn judge(head: &http::request::Parts) -> Option<Refusal> {
    if head.version < Version::HTTP_2 {
        return None;
    }
    let refuse = |status, why| Some(Refusal { status, why });
    if matches!(head.method, Method::CONNECT | Method::TRACE) {
        return refuse(501, "the method is not served");
    }
    if head.uri.path().len() + head.uri.query().map_or(0, str::len) > 8000 {
        return refuse(414, "the target is too long");
    }
    let authority = head.uri.authority().map(|authority| authority.as_str());
    let mut hosts = head.headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return refuse(400, "there are two hosts");
    }
    let text = match (authority, host) {
        (None, None) => return refuse(400, "the host is missing"),
        (Some(authority), Some(host)) if host != authority => {
            return refuse(400, "the host is not the authority");
        }
        (Some(authority), _) => authority.as_bytes(),
        (None, Some(host)) => host.as_bytes(),
    };
    if crate::h1::is_authority(text) {
        None
    } else {
        refuse(400, "the host is malformed")
    }
}

/// The host of a request in lower case, and its port.
fn host(head: &http::request::Parts) -> (String, Option<u16>) {
    let header = || head.headers.get(HOST).map(HeaderValue::as_bytes);
    let authority = head
        .uri
        .authority()
        .map(|authority| authority.as_str().as_bytes());
    let text = authority.or_else(header).unwrap_or_default();
    let (host, port) = split_authority(text).unwrap_or_default();
    // It was judged: there is nothing but ASCII in it.
    let host = String::from_utf8(host.to_ascii_lowercase());
    (host.unwrap_or_default(), port)
}

/// Begins to serve a request. Without middlewares it is routed at once, and all that is allocated is its handler.
fn begin(mut request: Request) -> BoxFuture<'static, ()> {
    if !matches!(
        request.server().middlewares[..],
        [Step::Router, Step::Handler]
    ) {
        return Box::pin(serve(request));
    }
    let routed = route(&mut request);
    match request.endpoint().filter(|_| routed == Verdict::Go) {
        Some(endpoint) => endpoint.clone().serve_alone(request),
        None => Box::pin(async move { leave(&mut request) }),
    }
}

/// Serves a request, to its end.
async fn serve(mut request: Request) {
    let connection = request.connection.clone();
    for step in &connection.server.middlewares {
        let verdict = match step {
            Step::Router => route(&mut request),
            Step::Handler => {
                if let Some(endpoint) = request.endpoint().cloned() {
                    endpoint.serve(&mut request).await;
                }
                Verdict::Go
            }
            Step::Own(own) => {
                let done = AssertUnwindSafe(own.execute(&mut request))
                    .catch_unwind()
                    .await;
                match done {
                    Ok(Ok(verdict)) => verdict,
                    Ok(Err(error)) => {
                        request.answer_error(&error);
                        Verdict::Stop
                    }
                    Err(panic) => {
                        let text = panic_text(&*panic);
                        tracing::error!(target: "natter::httpd", panic = text, "middleware panicked");
                        request.answer_error(&Error::internal("a middleware panicked"));
                        Verdict::Stop
                    }
                }
            }
        };
        if verdict == Verdict::Stop {
            break;
        }
    }
    leave(&mut request);
}

/// What is done behind a request: what is left of its body is skipped, so that the connection can go on.
pub(crate) fn leave(request: &mut Request) {
    if request.head.version >= Version::HTTP_2 {
        return;
    }
    let headers = &request.head.headers;
    let Some(rest) = request.body.rest(|| headers.contains_key(EXPECT)) else {
        return;
    };
    let limits = &request.server().limits;
    let (most, within) = (limits.skip_body_bytes, limits.body_within);
    let length = http_body::Body::size_hint(&rest).lower();
    if length <= most as u64 {
        let clock = request.clock().clone();
        request.link().spawn(async move {
            let _ = clock.timeout(within, skip(rest, most)).await;
        });
    }
}

fn route(request: &mut Request) -> Verdict {
    let table = request.server().routes.load_full();
    let mut captures = Captures::default();
    match table.capture(&request.host, request.head.uri.path(), &mut captures) {
        Ok(()) => {
            if let Some(found) = &request.found {
                // Routed once: nobody has filled it.
                let _ = found.set(table.target(&captures).name());
            }
            request.routed = Some(Routed { table, captures });
            Verdict::Go
        }
        Err(no) => {
            if let NoMatch::Panicked(text) = &no {
                tracing::error!(target: "natter::httpd", path = request.path(), panic = text, "constraint panicked");
            }
            let status = StatusCode::from_u16(no.status()).expect("a status");
            request.answer_error(&Error::new(status, no.to_string()));
            Verdict::Stop
        }
    }
}

/// A request that is being served, until its reply's head is there.
pub(crate) struct Serving {
    refused: Option<Refusal>,
    handler: Option<BoxFuture<'static, ()>>,
    wire: SharedWire,
    answering: Option<Answering>,
    closes: bool,
    asks_upgrade: bool,
    company: Option<Box<Company>>,
}

impl Serving {
    /// Gives the head what every reply has.
    fn dress(&self, head: &mut Head, connection: &Connection) {
        let headers = &mut head.headers;
        if let Some(name) = &connection.server.name
            && !headers.contains_key(SERVER)
        {
            headers.insert(SERVER, name.clone());
        }
        let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
        if self.closes && !switches {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if self.asks_upgrade || switches {
            let to = if switches { Turned::Raw } else { Turned::Http };
            connection.link.turn(to);
        }
    }

    fn whole(&mut self, mut head: Head, mut body: Bytes) -> Response<Payload> {
        let answering = self.answering.take().expect("a request is answered once");
        let mut company = self.company.take();
        if let Some(company) = &mut company {
            company.head(head.status, &mut head.headers, Some(body.len() as u64));
            body = company.whole(body);
        }
        self.dress(&mut head, &answering.0);
        head.with(Payload::whole(body, answering, company))
    }

    /// Takes the reply's head, if it is there.
    fn take(&mut self) -> Option<Response<Payload>> {
        let (stage, mut head, body, is_deaf) = {
            let mut wire = self.wire.lock();
            let head = wire.head.take()?;
            (
                wire.stage,
                head,
                std::mem::take(&mut wire.body),
                wire.is_deaf,
            )
        };
        if stage == Stage::Whole || is_deaf {
            // What the handler does behind a whole reply is its own affair.
            if let (Some(handler), Some(answering)) = (self.handler.take(), &self.answering) {
                answering.0.link.spawn(handler);
            }
            return Some(self.whole(head, body));
        }
        let answering = self.answering.take().expect("a request is answered once");
        let streamed = Streamed {
            wire: self.wire.clone(),
            handler: self.handler.take(),
            link: answering.0.link.clone(),
            ended: false,
        };
        let mut company = self.company.take();
        if let Some(company) = &mut company {
            company.head(head.status, &mut head.headers, None);
        }
        self.dress(&mut head, &answering.0);
        Some(head.with(Payload::streamed(streamed, answering, company)))
    }
}

impl Future for Serving {
    type Output = Result<Response<Payload>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Some(refusal) = this.refused.take() {
            tracing::debug!(target: "natter::httpd", status = refusal.status, why = refusal.why, "request refused");
            let head = Head::of(StatusCode::from_u16(refusal.status).expect("a status"));
            this.closes = true;
            return Poll::Ready(Ok(this.whole(head, Bytes::new())));
        }
        let handler = this.handler.as_mut().expect("polled until it is ready");
        let ended = handler.as_mut().poll(cx).is_ready();
        if ended {
            this.handler = None;
        }
        if let Some(response) = this.take() {
            return Poll::Ready(Ok(response));
        }
        if !ended {
            return Poll::Pending;
        }
        let head = Head::of(StatusCode::NO_CONTENT);
        Poll::Ready(Ok(this.whole(head, Bytes::new())))
    }
}
