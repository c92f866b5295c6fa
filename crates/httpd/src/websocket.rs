//! WebSockets (RFC 6455). `tungstenite` reads and writes the frames; there is no extension.

use std::io;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, SinkExt, StreamExt};
use http::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Method, Version};
use hyper::upgrade::{OnUpgrade, Upgraded};
use sha1::{Digest, Sha1};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use crate::mailbox::Mailbox;
use crate::{Error, HandlerType, Outcome, Reason, Request};

/// RFC 6455 §1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The time for the peer to answer a close.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// How a WebSocket is spoken.
#[derive(Clone, Debug)]
pub struct WsOptions {
    /// Subprotocols, the best first: the first of them that the peer offers is chosen.
    pub protocols: Vec<String>,
    /// Whether a peer that offers none of them is refused with 400. False.
    pub protocol_required: bool,
    /// Bytes of a frame; 1,000,000.
    pub max_frame: usize,
    /// Bytes of a message, all its frames together; 1,000,000.
    pub max_message: usize,
    /// Time without anything from the peer after which it is closed with 1000; 60 s. What is sent does not count.
    pub idle_timeout: Duration,
    /// Messages that wait in the mailbox; 256.
    pub mailbox: usize,
}

impl Default for WsOptions {
    fn default() -> WsOptions {
        WsOptions {
            protocols: Vec::new(),
            protocol_required: false,
            max_frame: 1_000_000,
            max_message: 1_000_000,
            idle_timeout: Duration::from_secs(60),
            mailbox: crate::mailbox::MAILBOX_MESSAGES,
        }
    }
}

/// What is said on a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A text.
    Text(String),
    /// Bytes.
    Binary(Bytes),
    /// A ping; the pong is sent by itself.
    Ping(Bytes),
    /// A pong.
    Pong(Bytes),
}

/// What a WebSocket does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Waits.
    Go,
    /// Waits, and gives back the memory it can do without meanwhile.
    Hibernate,
    /// Closes with 1000.
    Stop,
}

/// What a callback wants done, in order.
#[derive(Debug, Default)]
pub struct Commands {
    frames: Vec<Frame>,
    close: Option<(u16, String)>,
    pause: Option<bool>,
    idle_timeout: Option<Duration>,
}

impl Commands {
    /// Sends a frame.
    pub fn send(&mut self, frame: Frame) {
        self.frames.push(frame);
    }

    /// Sends a text.
    pub fn text(&mut self, text: impl Into<String>) {
        self.send(Frame::Text(text.into()));
    }

    /// Closes, behind what is sent. The code is one of RFC 6455 §7.4 that may be sent (1000 is used in place of one that
    /// may not), and of the text only the first 123 bytes are.
    pub fn close(&mut self, code: u16, text: impl Into<String>) {
        self.close.get_or_insert((code, text.into()));
    }

    /// Stops reading, or goes on: the peer is held back.
    pub fn pause(&mut self, pause: bool) {
        self.pause = Some(pause);
    }

    /// Sets another time for the peer's silence.
    pub fn idle_timeout(&mut self, time: Duration) {
        self.idle_timeout = Some(time);
    }
}

/// A WebSocket.
pub trait WebSocket: Send + 'static {
    /// What it hears from processes.
    type Info: Send + 'static;

    /// How it is spoken; asked once, before the handshake is answered.
    fn options(&self) -> WsOptions {
        WsOptions::default()
    }

    /// Begins, when the handshake is done. `protocol` is the subprotocol that was chosen.
    fn start(
        &mut self,
        mailbox: &Mailbox<Self::Info>,
        protocol: Option<&str>,
        out: &mut Commands,
    ) -> impl Future<Output = Flow> + Send {
        let _ = (mailbox, protocol, out);
        std::future::ready(Flow::Go)
    }

    /// Hears the peer. Fragments are joined, and texts are UTF-8.
    fn handle(&mut self, frame: Frame, out: &mut Commands) -> impl Future<Output = Flow> + Send;

    /// Hears a message.
    fn info(&mut self, info: Self::Info, out: &mut Commands) -> impl Future<Output = Flow> + Send {
        let _ = (info, out);
        std::future::ready(Flow::Go)
    }

    /// As [`Handler::terminate`](crate::Handler::terminate).
    fn terminate(&mut self, reason: &Reason, req: &Request) {
        let _ = (reason, req);
    }
}

impl Outcome {
    /// Answers the handshake and goes on as a WebSocket. What is no handshake is answered by its status: 426, 400 for
    /// a malformed one, 501 where there are no WebSockets (HTTP/1.0, HTTP/2). Cookies and headers that were set go out
    /// with it.
    pub fn websocket<W: WebSocket>(state: W) -> Outcome {
        Outcome::switch(Socket(state))
    }
}

struct Socket<W>(W);

impl<W: WebSocket> HandlerType for Socket<W> {
    fn upgrade<'a>(&'a mut self, req: &'a mut Request) -> BoxFuture<'a, Result<Reason, Error>> {
        async move {
            let options = self.0.options();
            let Some((protocol, upgrade)) = shake_hands(req, &options)? else {
                return Ok(Reason::Normal);
            };
            let Ok(upgraded) = upgrade.await else {
                return Ok(Reason::Disconnected);
            };
            let config = WebSocketConfig::default()
                .max_frame_size(Some(options.max_frame))
                .max_message_size(Some(options.max_message))
                .read_buffer_size(8 * 1024)
                .write_buffer_size(8 * 1024)
                .max_write_buffer_size(usize::MAX);
            let io = Io(upgraded);
            let stream = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
            let talk = Talk {
                stream,
                idle: options.idle_timeout,
                paused: false,
            };
            talk.run(&mut self.0, req, protocol.as_deref(), options.mailbox)
                .await
        }
        .boxed()
    }

    fn terminate(&mut self, reason: &Reason, req: &Request) {
        self.0.terminate(reason, req);
    }
}

/// Answers a handshake (RFC 6455 §4.2). None where it was answered otherwise.
fn shake_hands(
    req: &mut Request,
    options: &WsOptions,
) -> Result<Option<(Option<String>, OnUpgrade)>, Error> {
    if req.version() != Version::HTTP_11 {
        req.reply(501, (), "")?;
        return Ok(None);
    }
    let lists = |name, token: &str| {
        let lines = req.headers().get_all(name).iter();
        let mut tokens = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','));
        tokens.any(|found| found.trim().eq_ignore_ascii_case(token))
    };
    let asks = lists(CONNECTION, "upgrade") && lists(UPGRADE, "websocket");
    if req.method() != Method::GET || !asks {
        req.reply(
            426,
            [("connection", "upgrade"), ("upgrade", "websocket")],
            "",
        )?;
        return Ok(None);
    }
    if req.header(SEC_WEBSOCKET_VERSION) != Some("13") {
        req.reply(426, [("sec-websocket-version", "13")], "")?;
        return Ok(None);
    }
    let key = req.header(SEC_WEBSOCKET_KEY).unwrap_or_default();
    if STANDARD.decode(key).map_or(0, |key| key.len()) != 16 {
        return Err(Error::bad_request("the key of the handshake is malformed"));
    }
    let accept = STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize());
    let protocol = options
        .protocols
        .iter()
        .find(|name| lists(SEC_WEBSOCKET_PROTOCOL, name))
        .cloned();
    if options.protocol_required && protocol.is_none() {
        return Err(Error::bad_request("none of the subprotocols is offered"));
    }
    let Some(upgrade) = req.head.extensions.remove::<OnUpgrade>() else {
        return Err(Error::internal("the connection cannot be taken over"));
    };
    let value = |text: &str| {
        HeaderValue::try_from(text).map_err(|_| Error::internal("a subprotocol is no header"))
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, value(&accept)?);
    if let Some(protocol) = &protocol {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, value(protocol)?);
    }
    req.reply(101, headers, "")?;
    Ok(Some((protocol, upgrade)))
}

/// A WebSocket that is spoken.
struct Talk {
    stream: WebSocketStream<Io>,
    idle: Duration,
    paused: bool,
}

/// What a callback, or the peer, leads to.
enum Turn {
    Go,
    End(Reason),
}

/// What happens on a WebSocket.
enum Event<I> {
    Peer(Option<Result<Message, WsError>>),
    Message(I),
    Timer,
    Draining,
}

impl Talk {
    async fn run<W: WebSocket>(
        mut self,
        handler: &mut W,
        req: &mut Request,
        protocol: Option<&str>,
        places: usize,
    ) -> Result<Reason, Error> {
        let clock = req.clock().clone();
        let link = req.link().clone();
        let (mailbox, mut messages) = Mailbox::new(places);
        let mut draining = link.draining();
        let mut heard = clock.now();
        let mut due = heard + self.idle;
        let mut timer = Box::pin(clock.sleep_until(due));
        let mut out = Commands::default();
        let begun = handler.start(&mailbox, protocol, &mut out);
        let begun = AssertUnwindSafe(begun).catch_unwind().await;
        let mut turn = self.act(begun, &mut out, req).await;
        loop {
            if let Turn::End(reason) = turn {
                return Ok(reason);
            }
            let event = tokio::select! {
                biased;
                _ = draining.wait_for(|draining| *draining) => Event::Draining,
                message = messages.recv() => {
                    Event::Message(message.expect("the mailbox is held here"))
                }
                came = self.stream.next(), if !self.paused => Event::Peer(came),
                () = timer.as_mut() => Event::Timer,
            };
            turn = match event {
                Event::Draining => self.close(1001, "", Reason::Shutdown, req).await,
                Event::Message(message) => {
                    let done = AssertUnwindSafe(handler.info(message, &mut out))
                        .catch_unwind()
                        .await;
                    self.act(done, &mut out, req).await
                }
                // While we do not read, the peer cannot be heard.
                Event::Timer if self.paused || clock.now() < heard + self.idle => {
                    let from = if self.paused { clock.now() } else { heard };
                    due = from + self.idle;
                    timer = Box::pin(clock.sleep_until(due));
                    Turn::Go
                }
                Event::Timer => self.close(1000, "", Reason::IdleTimeout, req).await,
                Event::Peer(came) => {
                    heard = clock.now();
                    match self.came(came, req).await {
                        Err(turn) => turn,
                        Ok(frame) => {
                            let done = AssertUnwindSafe(handler.handle(frame, &mut out))
                                .catch_unwind()
                                .await;
                            self.act(done, &mut out, req).await
                        }
                    }
                }
            };
            // A callback may have set another time.
            if due > heard + self.idle && !self.paused {
                due = heard + self.idle;
                timer = Box::pin(clock.sleep_until(due));
            }
        }
    }

    /// The peer's frame, or what else it leads to.
    async fn came(
        &mut self,
        came: Option<Result<Message, WsError>>,
        req: &Request,
    ) -> Result<Frame, Turn> {
        match came {
            Some(Ok(Message::Text(text))) => Ok(Frame::Text(text.as_str().to_owned())),
            Some(Ok(Message::Binary(bytes))) => Ok(Frame::Binary(bytes)),
            Some(Ok(Message::Ping(bytes))) => Ok(Frame::Ping(bytes)),
            Some(Ok(Message::Pong(bytes))) => Ok(Frame::Pong(bytes)),
            Some(Ok(Message::Close(frame))) => {
                // The answer lies ready: it is written as the end is read.
                self.linger(req).await;
                let said = frame.map(|frame| (frame.code.into(), frame.reason.as_str().to_owned()));
                Err(Turn::End(Reason::Remote(said)))
            }
            Some(Ok(Message::Frame(_))) => Err(Turn::Go),
            Some(Err(error)) => {
                let code = match error {
                    WsError::Capacity(_) => 1009,
                    WsError::Utf8(_) => 1007,
                    WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                        return Err(Turn::End(Reason::Disconnected));
                    }
                    WsError::Protocol(_) => 1002,
                    _ => return Err(Turn::End(Reason::Disconnected)),
                };
                Err(self.close(code, "", Reason::BadFrame(code), req).await)
            }
            None => Err(Turn::End(Reason::Disconnected)),
        }
    }

    /// Does what a callback wants.
    async fn act(
        &mut self,
        done: Result<Flow, Box<dyn std::any::Any + Send>>,
        out: &mut Commands,
        req: &Request,
    ) -> Turn {
        let flow = match done {
            Ok(flow) => flow,
            Err(panic) => {
                self.close(1011, "", Reason::Normal, req).await;
                // It is told and logged where all handlers are fenced.
                resume_unwind(panic);
            }
        };
        if let Some(pause) = out.pause.take() {
            self.paused = pause;
        }
        if let Some(idle) = out.idle_timeout.take() {
            self.idle = idle;
        }
        let is_busy = !out.frames.is_empty();
        for frame in out.frames.drain(..) {
            let message = match frame {
                Frame::Text(text) => Message::text(text),
                Frame::Binary(bytes) => Message::Binary(bytes),
                Frame::Ping(bytes) => Message::Ping(bytes),
                Frame::Pong(bytes) => Message::Pong(bytes),
            };
            if let Err(error) = self.stream.feed(message).await {
                return unsent(&error);
            }
        }
        if let Some((code, text)) = out.close.take() {
            return self.close(code, &text, Reason::Stop, req).await;
        }
        if flow == Flow::Stop {
            return self.close(1000, "", Reason::Stop, req).await;
        }
        if is_busy && let Err(error) = self.stream.flush().await {
            return unsent(&error);
        }
        if flow == Flow::Hibernate {
            req.link().hibernate();
        }
        Turn::Go
    }

    /// Closes, and waits a while for the peer to close too.
    async fn close(&mut self, code: u16, text: &str, reason: Reason, req: &Request) -> Turn {
        let code = Some(CloseCode::from(code)).filter(|code| code.is_allowed());
        let mut end = text.len().min(123);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let frame = CloseFrame {
            code: code.unwrap_or(CloseCode::Normal),
            reason: text[..end].into(),
        };
        if self.stream.close(Some(frame)).await.is_ok() {
            self.linger(req).await;
        }
        Turn::End(reason)
    }

    /// Reads to the end, a while.
    async fn linger(&mut self, req: &Request) {
        let clock = req.clock();
        let end = async { while let Some(Ok(_)) = self.stream.next().await {} };
        let _ = clock.timeout(CLOSE_WITHIN, end).await;
    }
}

/// A frame that was not written.
fn unsent(error: &WsError) -> Turn {
    tracing::debug!(target: "natter::httpd", %error, "WebSocket broke");
    Turn::End(Reason::Disconnected)
}

/// What hyper gives up, as tokio sees it.
struct Io(Upgraded);

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut space = hyper::rt::ReadBuf::new(into.initialize_unfilled());
        ready!(hyper::rt::Read::poll_read(
            Pin::new(&mut self.0),
            cx,
            space.unfilled()
        ))?;
        let count = space.filled().len();
        into.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        hyper::rt::Write::poll_write(Pin::new(&mut self.0), cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        hyper::rt::Write::poll_flush(Pin::new(&mut self.0), cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        hyper::rt::Write::poll_shutdown(Pin::new(&mut self.0), cx)
    }
}
