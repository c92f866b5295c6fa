//! A client that is logged in: for scenarios and for tests in Rust.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::bridge::{bosh, websocket};
use crate::deadline::within;
use crate::dom::{CLIENT_NS, Element, Frame, Frames, STREAM_NS, escape};
use crate::sasl::{Binding, Mechanism, Scram, decode, encode, plain};
use crate::stage::{Door, Server, Unable};
use crate::wire::{Broken, Io, Transcript, Wire, show};

/// Namespace of SASL in streams (RFC 6120 §6).
pub const SASL_NS: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
/// Namespace of STARTTLS (RFC 6120 §5).
pub const TLS_NS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
/// Namespace of resource binding (RFC 6120 §7).
pub const BIND_NS: &str = "urn:ietf:params:xml:ns:xmpp-bind";

/// Who logs in, and how.
#[derive(Debug, Clone)]
pub struct Login {
    /// Localpart.
    pub user: String,
    /// Domain.
    pub host: String,
    /// Resource to ask for; `None` lets the server choose.
    pub resource: Option<String>,
    /// Password.
    pub password: String,
    /// Mechanism to insist on; `None` takes the strongest both know.
    pub mechanism: Option<Mechanism>,
    /// Channel binding to use with `-PLUS`; `None` takes `tls-exporter`.
    pub binding: Option<String>,
    /// Listener to use.
    pub door: Door,
}

impl Login {
    /// `user@host/resource` with the harness' usual password, at the plain door.
    pub fn new(user: &str, host: &str, resource: &str) -> Login {
        Login {
            user: user.to_owned(),
            host: host.to_owned(),
            resource: Some(resource.to_owned()),
            password: password_of(user),
            mechanism: None,
            binding: None,
            door: Door::Plain,
        }
    }
}

/// The password every account of the harness has.
pub fn password_of(user: &str) -> String {
    format!("the secret of {user}")
}

/// 128 bits nobody can guess, in hexadecimal.
pub fn unguessable() -> String {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The header of a client's stream.
pub fn stream_header(host: &str) -> String {
    format!(
        "<?xml version='1.0'?><stream:stream to='{}' version='1.0' xml:lang='en' xmlns='{CLIENT_NS}' xmlns:stream='{STREAM_NS}'>",
        escape(host)
    )
}

/// Opens a stream on `wire`. Gives the server's features.
///
/// # Errors
///
/// [`Broken`] when there is no header or there are no features.
pub async fn open(wire: &mut Wire, host: &str) -> Result<Element, Broken> {
    wire.send(stream_header(host).as_bytes()).await?;
    wire.header().await?;
    let features = wire.element("stream features").await?;
    match features.is(STREAM_NS, "features") {
        true => Ok(features),
        false => Err(wire.broken(&format!("waiting for stream features: {features}"))),
    }
}

/// Connects through `door` as far as the features that offer SASL, TLS done where the door has it.
///
/// # Errors
///
/// [`Broken`] when the server does anything else.
pub async fn enter(server: &dyn Server, door: Door, host: &str) -> Result<(Wire, Element), Broken> {
    let at = server
        .address(door)
        .map_err(|Unable(why)| Broken::before(why))?;
    let mut wire = match door {
        Door::WebSocket => Wire::over(websocket::dial(at, host).await),
        Door::Bosh => Wire::over(bosh::dial(at, host).await),
        Door::Plain | Door::StartTls | Door::DirectTls => Wire::connect(at).await,
    }?;
    match door {
        Door::Plain | Door::WebSocket | Door::Bosh => {}
        Door::DirectTls => {
            wire.start_tls(host, server.roots(), &[b"xmpp-client"])
                .await?
        }
        Door::StartTls => {
            let features = open(&mut wire, host).await?;
            if features.child(TLS_NS, "starttls").is_none() {
                return Err(wire.broken(&format!("no STARTTLS offered: {features}")));
            }
            wire.send(format!("<starttls xmlns='{TLS_NS}'/>").as_bytes())
                .await?;
            let answer = wire.element("<proceed/>").await?;
            if !answer.is(TLS_NS, "proceed") {
                return Err(wire.broken(&format!("waiting for <proceed/>: {answer}")));
            }
            wire.start_tls(host, server.roots(), &[]).await?;
        }
    }
    let features = open(&mut wire, host).await?;
    Ok((wire, features))
}

/// Authenticates. Gives the features of the stream that follows.
///
/// # Errors
///
/// [`Broken`] when the server refuses or cannot prove that it knows the credentials.
pub async fn authenticate(
    wire: &mut Wire,
    features: &Element,
    login: &Login,
) -> Result<Element, Broken> {
    let offered: Vec<String> = features
        .child(SASL_NS, "mechanisms")
        .map(|list| list.children().map(Element::text).collect())
        .unwrap_or_default();
    let strongest = Mechanism::ALL
        .into_iter()
        .find(|mechanism| offered.iter().any(|name| name == mechanism.name()));
    let mechanism = match login.mechanism {
        Some(mechanism) if !offered.iter().any(|name| name == mechanism.name()) => {
            return Err(wire.broken(&format!(
                "{} is not offered, only {offered:?}",
                mechanism.name()
            )));
        }
        Some(mechanism) => mechanism,
        None => strongest
            .ok_or_else(|| wire.broken(&format!("no mechanism we know among {offered:?}")))?,
    };
    let begin = |hash, binding: Option<&Binding>| {
        let (scram, first) = Scram::begin(hash, &login.user, &login.password, binding);
        (Some(scram), first)
    };
    let (mut scram, first) = match mechanism {
        Mechanism::Plain => (None, plain("", &login.user, &login.password)),
        Mechanism::Scram(hash) => begin(hash, None),
        Mechanism::ScramPlus(hash) => {
            let name = login.binding.as_deref().unwrap_or("tls-exporter");
            let binding = wire.binding(name);
            let binding =
                binding.ok_or_else(|| wire.broken(&format!("no {name} on this connection")))?;
            begin(hash, Some(&binding))
        }
    };
    let auth = format!(
        "<auth xmlns='{SASL_NS}' mechanism='{}'>{}</auth>",
        mechanism.name(),
        encode(&first)
    );
    wire.send(auth.as_bytes()).await?;
    loop {
        let answer = wire.element("an answer of SASL").await?;
        let data = decode(&answer.text()).map_err(|error| wire.broken(&error))?;
        if answer.is(SASL_NS, "challenge") {
            let Some(scram) = scram.as_mut() else {
                return Err(wire.broken("PLAIN has no challenge"));
            };
            let response = match data.starts_with(b"v=") {
                true => scram.check(&data).map(|()| Vec::new()),
                false => scram.answer(&data),
            };
            let response = encode(&response.map_err(|error| wire.broken(&error))?);
            wire.send(format!("<response xmlns='{SASL_NS}'>{response}</response>").as_bytes())
                .await?;
        } else if answer.is(SASL_NS, "success") {
            if let Some(scram) = &scram
                && !data.is_empty()
            {
                scram.check(&data).map_err(|error| wire.broken(&error))?;
            }
            break;
        } else {
            return Err(wire.broken(&format!("login of {} refused: {answer}", login.user)));
        }
    }
    wire.restart();
    open(wire, &login.host).await
}

/// Binds a resource. Gives the full JID the server chose.
///
/// # Errors
///
/// [`Broken`] when the server refuses.
pub async fn bind(wire: &mut Wire, resource: Option<&str>) -> Result<String, Broken> {
    let wish = resource
        .map(|resource| format!("<resource>{}</resource>", escape(resource)))
        .unwrap_or_default();
    wire.send(
        format!("<iq type='set' id='bind'><bind xmlns='{BIND_NS}'>{wish}</bind></iq>").as_bytes(),
    )
    .await?;
    let answer = wire.element("the result of bind").await?;
    let jid = answer
        .child(BIND_NS, "bind")
        .and_then(|bind| bind.child(BIND_NS, "jid"))
        .map(Element::text);
    match jid {
        Some(jid) if answer.attr("type") == Some("result") => Ok(jid),
        _ => Err(wire.broken(&format!("bind refused: {answer}"))),
    }
}

/// What a client has received and nobody has looked at yet.
#[derive(Default)]
struct Inbox {
    state: Mutex<Received>,
    news: Notify,
}

#[derive(Default)]
struct Received {
    queue: VecDeque<Element>,
    closed: bool,
    ended: Option<String>,
    transcript: Transcript,
}

/// What a client hears next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A stanza, or a stream error.
    Element(Element),
    /// The stream is over: with a closing tag or without.
    Over {
        /// Whether the server said `</stream:stream>`.
        closed: bool,
    },
}

/// A logged-in client. Reads all the time, so the server is never kept from writing.
pub struct Client {
    jid: String,
    features: Element,
    writer: WriteHalf<Box<dyn Io>>,
    inbox: Arc<Inbox>,
    reader: JoinHandle<()>,
    own_presence: bool,
}

impl Client {
    /// Logs in and binds; sends nothing more.
    ///
    /// # Errors
    ///
    /// [`Broken`] with the transcript when any step fails.
    pub async fn connect(server: &dyn Server, login: &Login) -> Result<Client, Broken> {
        let (mut wire, features) = enter(server, login.door, &login.host).await?;
        let features = authenticate(&mut wire, &features, login).await?;
        let jid = bind(&mut wire, login.resource.as_deref()).await?;
        Client::over(wire, jid, features)
    }

    /// A client that stands at the door: its stream is open, as `login` would open it, and nobody logged in.
    ///
    /// # Errors
    ///
    /// As [`enter`].
    pub async fn at_the_door(server: &dyn Server, login: &Login) -> Result<Client, Broken> {
        let (wire, features) = enter(server, login.door, &login.host).await?;
        let resource = login.resource.as_deref().unwrap_or("door");
        let jid = format!("{}@{}/{resource}", login.user, login.host);
        Client::over(wire, jid, features)
    }

    /// A client over a `wire` on which `jid` is bound.
    ///
    /// # Errors
    ///
    /// [`Broken`] when the connection has ended.
    pub fn over(wire: Wire, jid: String, features: Element) -> Result<Client, Broken> {
        let ended = wire.broken("the connection has ended");
        let (io, received, frames, transcript) = wire.into_parts();
        let (read, writer) = tokio::io::split(io.ok_or(ended)?);
        let inbox = Arc::new(Inbox::default());
        inbox.state.lock().transcript = transcript;
        let reader = tokio::spawn(listen(read, received, frames, Arc::clone(&inbox)));
        Ok(Client {
            jid,
            features,
            writer,
            inbox,
            reader,
            own_presence: false,
        })
    }

    /// Full JID.
    pub fn jid(&self) -> &str {
        &self.jid
    }

    /// Bare JID.
    pub fn bare(&self) -> &str {
        self.jid
            .split('/')
            .next()
            .expect("split gives at least one part")
    }

    /// Domain.
    pub fn host(&self) -> &str {
        self.bare()
            .rsplit('@')
            .next()
            .expect("split gives at least one part")
    }

    /// The features of the stream after login.
    pub fn features(&self) -> &Element {
        &self.features
    }

    /// Lets the client hear its own presence too. Without it, presence from this client's own full JID is
    /// dropped when it arrives: servers reflect it (RFC 6121 §4.2.2), and dialogues would drown in it.
    pub fn hear_own_presence(&mut self) {
        self.own_presence = true;
    }

    /// Sends `text` as it is.
    ///
    /// # Errors
    ///
    /// [`Broken`] when the connection is gone.
    pub async fn send(&mut self, text: &str) -> Result<(), Broken> {
        self.inbox.state.lock().transcript.note('>', text);
        let writer = &mut self.writer;
        let sent = within(async {
            writer.write_all(text.as_bytes()).await?;
            writer.flush().await
        })
        .await;
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.broken(&format!("{}: sending: {error}", self.jid))),
            Err(_) => Err(self.broken(&format!(
                "{}: sending: the server did not read in time",
                self.jid
            ))),
        }
    }

    /// What the client hears next.
    ///
    /// # Errors
    ///
    /// [`Broken`] when nothing comes in time.
    pub async fn hear(&mut self) -> Result<Heard, Broken> {
        let inbox = Arc::clone(&self.inbox);
        let waited = within(async {
            loop {
                let news = inbox.news.notified();
                if let Some(heard) = self.heard_already() {
                    return heard;
                }
                news.await;
            }
        })
        .await;
        waited.map_err(|_| self.broken(&format!("{} hears nothing in time", self.jid)))
    }

    /// What has arrived already, if anything.
    pub fn heard_already(&mut self) -> Option<Heard> {
        let mut state = self.inbox.state.lock();
        while let Some(element) = state.queue.pop_front() {
            let own = element.is(CLIENT_NS, "presence")
                && element.attr("from") == Some(self.jid.as_str())
                && element
                    .attr("type")
                    .is_none_or(|kind| kind == "unavailable");
            if !own || self.own_presence {
                return Some(Heard::Element(element));
            }
        }
        state.ended.is_some().then_some(Heard::Over {
            closed: state.closed,
        })
    }

    /// Waits for the answer to the IQ with this id; everything else stays to be heard, in order.
    ///
    /// # Errors
    ///
    /// [`Broken`] when the answer does not come or the stream ends first.
    pub async fn answer_to(&mut self, id: &str) -> Result<Element, Broken> {
        let inbox = Arc::clone(&self.inbox);
        let is_it = |element: &Element| {
            element.name == "iq"
                && element.attr("id") == Some(id)
                && matches!(element.attr("type"), Some("result" | "error"))
        };
        let waited = within(async {
            loop {
                let news = inbox.news.notified();
                {
                    let mut state = inbox.state.lock();
                    if let Some(at) = state.queue.iter().position(is_it) {
                        return state.queue.remove(at);
                    }
                    if state.ended.is_some() {
                        return None;
                    }
                }
                news.await;
            }
        })
        .await;
        match waited {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(self.broken(&format!(
                "{}: the stream ended before the answer to {id}",
                self.jid
            ))),
            Err(_) => Err(self.broken(&format!("{}: no answer to {id} in time", self.jid))),
        }
    }

    /// Asks with an IQ and gives the answer; everything else stays to be heard.
    ///
    /// # Errors
    ///
    /// As [`Client::answer_to`].
    pub async fn ask(
        &mut self,
        kind: &str,
        to: Option<&str>,
        payload: &str,
    ) -> Result<Element, Broken> {
        let id = format!("ask-{}", unguessable());
        let to = to
            .map(|to| format!(" to=\"{}\"", escape(to)))
            .unwrap_or_default();
        self.send(&format!(
            "<iq type=\"{kind}\" id=\"{id}\"{to}>{payload}</iq>"
        ))
        .await?;
        self.answer_to(&id).await
    }

    /// Goes to the server and back: when it returns, the server has processed all this client sent before, and
    /// all that was queued for this client then has arrived.
    ///
    /// # Errors
    ///
    /// As [`Client::answer_to`].
    pub async fn round_trip(&mut self) -> Result<(), Broken> {
        let host = self.host().to_owned();
        self.ask("get", Some(&host), "<ping xmlns=\"urn:xmpp:ping\"/>")
            .await
            .map(drop)
    }

    /// Becomes interested (fetches the roster).
    ///
    /// # Errors
    ///
    /// As [`Client::answer_to`].
    pub async fn fetch_roster(&mut self) -> Result<Element, Broken> {
        self.ask("get", None, "<query xmlns=\"jabber:iq:roster\"/>")
            .await
    }

    /// Becomes available with `priority`.
    ///
    /// # Errors
    ///
    /// [`Broken`] when the connection is gone.
    pub async fn become_available(&mut self, priority: i8) -> Result<(), Broken> {
        match priority {
            0 => self.send("<presence/>").await,
            other => {
                self.send(&format!(
                    "<presence><priority>{other}</priority></presence>"
                ))
                .await
            }
        }
    }

    /// Forgets everything that has arrived and was not heard, and all that was said.
    pub fn forget(&mut self) {
        let mut state = self.inbox.state.lock();
        state.queue.clear();
        state.transcript.clear();
    }

    /// Whether the stream is over.
    pub fn is_over(&self) -> bool {
        self.inbox.state.lock().ended.is_some()
    }

    /// Closes the stream politely and waits for the server to do the same.
    ///
    /// # Errors
    ///
    /// [`Broken`] when the server does not close.
    pub async fn close(&mut self) -> Result<(), Broken> {
        self.send("</stream:stream>").await?;
        let inbox = Arc::clone(&self.inbox);
        let waited = within(async {
            loop {
                let news = inbox.news.notified();
                if inbox.state.lock().ended.is_some() {
                    return;
                }
                news.await;
            }
        })
        .await;
        let closed = self.inbox.state.lock().closed;
        match waited {
            Ok(()) if closed => Ok(()),
            Ok(()) => Err(self.broken(&format!(
                "{}: the server ended without </stream:stream>",
                self.jid
            ))),
            Err(_) => Err(self.broken(&format!("{}: the server did not close in time", self.jid))),
        }
    }

    /// Drops the connection without a goodbye.
    pub async fn vanish(mut self) {
        self.reader.abort();
        // Both halves must be gone for the socket to be closed.
        let _ = (&mut self.reader).await;
    }

    /// Shows `what` went wrong with what was said until now.
    pub fn broken(&self, what: &str) -> Broken {
        let state = self.inbox.state.lock();
        let mut transcript = state.transcript.clone();
        if let Some(why) = &state.ended {
            transcript.note('<', why);
        }
        Broken {
            what: what.to_owned(),
            transcript: transcript.to_string(),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("jid", &self.jid)
            .finish_non_exhaustive()
    }
}

/// Reads the stream until it is over.
async fn listen(
    mut read: ReadHalf<Box<dyn Io>>,
    received: VecDeque<u8>,
    mut frames: Frames,
    inbox: Arc<Inbox>,
) {
    let mut bytes: Vec<u8> = received.into();
    let mut chunk = vec![0u8; 16 * 1024];
    let why = 'stream: loop {
        for byte in bytes.drain(..) {
            let frame = match frames.push(byte) {
                Ok(None) => continue,
                Ok(Some(frame)) => frame,
                Err(error) => break 'stream format!("[the server's stream: {error}]"),
            };
            let mut state = inbox.state.lock();
            state.transcript.note('<', &show(&frame));
            match frame {
                Frame::Element(element) => state.queue.push_back(element),
                Frame::Close => state.closed = true,
                Frame::Header(_) | Frame::Text(_) => {}
            }
            drop(state);
            inbox.news.notify_waiters();
        }
        match read.read(&mut chunk).await {
            Ok(0) => break "[connection ended]".to_owned(),
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(error) => break format!("[connection ended: {error}]"),
        }
    };
    inbox.state.lock().ended = Some(why);
    inbox.news.notify_waiters();
}
