//! A stream without a session: the IO task and the negotiation joined as a session's process joins
//! them, and a raw peer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use net::ServerConfig;
use otp::Clock;
use stream::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use xml::Limits;
use xmpp::{BareJid, Condition, FullJid, StanzaError};

/// Says `pass` and is `alice`; `twice` asks once more first.
pub struct Doorman;

impl Authenticator for Doorman {
    fn mechanisms(&self, _host: &str, visitor: Visitor<'_>) -> Vec<&'static str> {
        match visitor.tls {
            Some(_) => vec!["TWICE", "WORD"],
            None => vec!["WORD"],
        }
    }

    fn start(
        &self,
        host: &str,
        mechanism: &str,
        _visitor: Visitor<'_>,
    ) -> Result<Box<dyn stream::Exchange>, SaslFailure> {
        let challenges = match mechanism {
            "WORD" => 0,
            "TWICE" => 1,
            _ => return Err(SaslCondition::InvalidMechanism.into()),
        };
        Ok(Box::new(Asking {
            host: host.to_owned(),
            challenges,
        }))
    }

    fn failed(&self, _visitor: Visitor<'_>, _failure: &SaslFailure) {}
}

struct Asking {
    host: String,
    challenges: u32,
}

impl stream::Exchange for Asking {
    fn step<'a>(&'a mut self, data: &'a [u8]) -> BoxFuture<'a, SaslStep> {
        Box::pin(async move {
            if self.challenges > 0 {
                self.challenges -= 1;
                return SaslStep::Challenge(b"again".to_vec());
            }
            if data != b"pass" {
                return SaslStep::Failure(SaslFailure {
                    condition: SaslCondition::NotAuthorized,
                    text: Some("no & no".into()),
                });
            }
            let account = xmpp::parse_bare(&format!("alice@{}", self.host));
            SaslStep::Success {
                account: account.expect("a host is a domain"),
                data: Some(b"v".to_vec()),
            }
        })
    }
}

/// Binds what is asked for, or `r1`, `r2`…; refuses `bad`.
#[derive(Default)]
pub struct Rooms(AtomicUsize);

impl Binder for Rooms {
    fn bind(&self, request: BindRequest) -> BoxFuture<'_, Result<FullJid, StanzaError>> {
        Box::pin(async move {
            let resource = request
                .resource
                .unwrap_or_else(|| format!("r{}", 1 + self.0.fetch_add(1, Ordering::Relaxed)));
            if resource == "bad" {
                return Err(Condition::BadRequest.into());
            }
            let text = format!("{}/{resource}", request.account);
            xmpp::parse_full(&text).map_err(|_| Condition::BadRequest.into())
        })
    }
}

/// A profile for `a.example` and `b.example`.
pub fn profile(policy: TlsPolicy, config: Option<Arc<ServerConfig>>) -> Arc<Profile> {
    Arc::new(Profile {
        negotiables: vec![
            Arc::new(StartTls::new(policy, config)),
            Arc::new(Sasl::new(Arc::new(Doorman), policy)),
            Arc::new(Bind),
            Arc::new(LegacySession),
        ],
        serves: Box::new(|host| matches!(host, "a.example" | "b.example")),
        default_host: "a.example".into(),
    })
}

/// What a session would see.
#[derive(Debug)]
pub enum Seen {
    Authenticated(BareJid),
    Bound(FullJid),
    /// A stanza after bind, its name and what it holds.
    Stanza(xml::Element),
    Failed(String),
    Detached(Detached),
}

pub struct Server {
    pub io: IoHandle<u64>,
    pub negotiation: Negotiation,
    pub events: mpsc::UnboundedReceiver<IoEvent>,
    pub task: tokio::task::JoinHandle<()>,
    pub written: mpsc::UnboundedReceiver<u64>,
}

impl Server {
    pub fn start(
        transport: impl Transport,
        profile: Arc<Profile>,
        clock: &Clock,
        options: IoOptions,
    ) -> Server {
        let (tell, events) = mpsc::unbounded_channel();
        let (note, written) = mpsc::unbounded_channel();
        let (io, task) = Io::prepare(
            clock.clone(),
            transport,
            options,
            move |event| tell.send(event).map_err(|_| ()),
            move |number| {
                let _ = note.send(number);
            },
        );
        Server {
            io,
            negotiation: Negotiation::new(profile, Arc::new(Rooms::default())),
            events,
            task: tokio::spawn(task.run()),
            written,
        }
    }

    /// A stream that is past its negotiation, for raw elements.
    pub fn flowing(transport: impl Transport, clock: &Clock, options: IoOptions) -> Server {
        let server = Server::start(transport, profile(TlsPolicy::Off, None), clock, options);
        server.io.proceed(Proceed::Flow);
        server
    }

    /// Does what a session does, until there is something to see.
    pub async fn see(&mut self) -> Seen {
        loop {
            let event = self.events.recv().await.expect("Detached is last");
            let step = match event {
                IoEvent::Secured(tls) => {
                    self.negotiation.secured(tls);
                    continue;
                }
                IoEvent::Open(header) => self.negotiation.open(header),
                IoEvent::Element(element, _credit) => {
                    let bound = self.negotiation.state().bound.is_some();
                    if bound && !self.negotiation.claims(&element) {
                        return Seen::Stanza(element);
                    }
                    self.negotiation.element(element).await
                }
                IoEvent::Close => self.negotiation.closed(),
                IoEvent::Fault(fault) => self.negotiation.fault(&fault),
                IoEvent::Said => continue,
                IoEvent::Detached(why) => return Seen::Detached(why),
            };
            match self.io.follow(step, Limits::default()) {
                Reached::Nothing | Reached::End(None) => {}
                Reached::Authenticated(account) => return Seen::Authenticated(account),
                Reached::Bound(jid) => return Seen::Bound(jid),
                Reached::End(Some(error)) => return Seen::Failed(error.condition.to_string()),
            }
        }
    }

    /// Sees everything to the end.
    pub async fn see_all(mut self) -> Vec<Seen> {
        let mut seen = Vec::new();
        loop {
            seen.push(self.see().await);
            if matches!(seen.last(), Some(Seen::Detached(_))) {
                return seen;
            }
        }
    }
}

pub fn in_memory(profile: Arc<Profile>, clock: &Clock) -> (Server, DuplexStream) {
    let (transport, peer) = memory(Framing::Client, Limits::BEFORE_LOGIN, 64 * 1024);
    let server = Server::start(transport, profile, clock, IoOptions::default());
    (server, peer)
}

pub fn header(to: &str) -> String {
    format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
         xmlns:stream='http://etherx.jabber.org/streams' to='{to}' version='1.0'>"
    )
}

pub const AUTH: &str =
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='WORD'>cGFzcw==</auth>";

pub fn bind(id: &str, resource: &str) -> String {
    format!(
        "<iq type='set' id='{id}'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
         <resource>{resource}</resource></bind></iq>"
    )
}

/// Reads until `end` has been read; gives everything up to there.
pub async fn read_until(peer: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        let mut byte = [0];
        let count = peer.read(&mut byte).await.expect("the server writes");
        let so_far = String::from_utf8_lossy(&read);
        assert_eq!(count, 1, "no `{end}` in `{so_far}`");
        read.push(byte[0]);
    }
    String::from_utf8(read).expect("UTF-8")
}

pub async fn say(peer: &mut (impl AsyncWrite + Unpin), text: &str) {
    peer.write_all(text.as_bytes())
        .await
        .expect("the server reads");
    peer.flush().await.expect("the server reads");
}

/// Reads to the end of the connection.
pub async fn read_all(peer: &mut (impl AsyncRead + Unpin)) -> String {
    let mut read = Vec::new();
    peer.read_to_end(&mut read).await.expect("an orderly end");
    String::from_utf8(read).expect("UTF-8")
}
