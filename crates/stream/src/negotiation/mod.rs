//! Negotiation: from the first header to a bound resource (RFC 6120 §4.3).
//!
//! A state machine without sockets or clocks: fed with what the peer said, it gives a [`Step`]: what to
//! write and what comes next. What can be negotiated is a list of [`Negotiable`]s, each in its phase.

mod bind;
mod negotiable;
mod sasl;
mod starttls;

use std::sync::Arc;

use net::{ServerConfig, TlsInfo};
use xml::Element;
use xmpp::{BareJid, FullJid, StreamCondition, StreamError, ns};

pub use bind::{Bind, BindRequest, Binder, LegacySession, stanza_answer, stanza_refusal};
pub use negotiable::{Feature, Negotiable, Outcome, Phase, State, Then};
pub use sasl::{Authenticator, Exchange, Sasl, SaslStep, Visitor};
pub use starttls::{StartTls, TlsPolicy};
pub use xmpp::{SaslCondition, SaslFailure};

use crate::{Fault, Outbound, ResponseHeader, StreamHeader, Version};

/// What every stream of one listener negotiates. Shared by all of them.
pub struct Profile {
    /// What can be negotiated, in the order in which features are announced.
    pub negotiables: Vec<Arc<dyn Negotiable>>,
    /// Says whether a domain (canonical: lower case, no trailing dot) is served.
    pub serves: Box<dyn Fn(&str) -> bool + Send + Sync>,
    /// The domain that answers a peer who named none we serve.
    pub default_host: String,
}

/// What to do after the peer said something.
#[derive(Debug)]
pub struct Step {
    /// To be written, in order, before anything else happens.
    pub write: Vec<Outbound>,
    /// What comes next.
    pub next: Next,
}

/// What comes after a [`Step`]'s writing.
#[derive(Debug)]
pub enum Next {
    /// One more frame.
    Frame,
    /// A TLS handshake; then [`Negotiation::secured`] and a new header.
    StartTls(Arc<ServerConfig>),
    /// The peer is this account now; a new header.
    Authenticated(BareJid),
    /// The session has this address now; stanzas may flow.
    Bound(FullJid),
    /// The stream ends with this error.
    Failed(StreamError),
    /// The stream ends without an error, because the peer closed it or cannot go on.
    Closed,
}

/// The negotiation of one stream.
pub struct Negotiation {
    profile: Arc<Profile>,
    state: State,
    /// Whether our header of the current stream was written: errors need one (RFC 6120 §4.9.1.2).
    opened: bool,
}

impl Negotiation {
    /// Starts a negotiation. `binder` gives this stream its resource.
    pub fn new(profile: Arc<Profile>, binder: Arc<dyn Binder>) -> Negotiation {
        Negotiation {
            profile,
            state: State::new(binder),
            opened: false,
        }
    }

    /// What has been negotiated so far.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The TLS handshake is done: what was said before it is forgotten (RFC 6120 §5.4.3.3).
    pub fn secured(&mut self, tls: TlsInfo) {
        self.state.forget();
        self.state.tls = Some(tls);
        self.opened = false;
    }

    /// The peer sent a stream header.
    pub fn open(&mut self, header: StreamHeader) -> Step {
        if self.opened {
            return self.fail(StreamCondition::BadFormat, "a stream is already open");
        }
        let host = header.to.as_deref().map(xmpp::canonical_domain);
        let host = host.and_then(Result::ok).map(|host| host.into_owned());
        let served = host.filter(|host| (self.profile.serves)(host));
        let default = self.profile.default_host.clone();
        let response = ResponseHeader {
            id: xmpp::random_id(),
            from: served.clone().unwrap_or(default),
            to: header.from.as_deref().and_then(bare),
            lang: "en".into(),
        };
        self.opened = true;
        self.state.id.clone_from(&response.id);
        self.state.lang = header.lang;
        let mut step = match served {
            None if header.to.is_none() => {
                self.fail(StreamCondition::HostUnknown, "the header names no domain")
            }
            None => self.fail(StreamCondition::HostUnknown, "not served here"),
            Some(host) if !self.keeps_host(&host) => {
                self.fail(StreamCondition::HostUnknown, "not the domain of this login")
            }
            Some(_) if header.version < Some(Version::ONE) => {
                self.fail(StreamCondition::UnsupportedVersion, "this is XMPP 1.0")
            }
            Some(host) => {
                self.state.host = Some(host);
                self.features()
            }
        };
        step.write.insert(0, Outbound::Open(response));
        step
    }

    /// After the login the stream stays with the login's domain.
    fn keeps_host(&self, host: &str) -> bool {
        match &self.state.account {
            Some(account) => account.domain().as_str() == host,
            None => true,
        }
    }

    fn features(&mut self) -> Step {
        let mut features = String::new();
        for negotiable in &self.profile.negotiables {
            if !negotiable.phases().contains(&self.state.phase) {
                continue;
            }
            if let Some(feature) = negotiable.feature(&mut self.state) {
                features.push_str(&feature.xml);
                if feature.alone {
                    features = feature.xml;
                    break;
                }
            }
        }
        Step {
            write: vec![Outbound::Features(features)],
            next: Next::Frame,
        }
    }

    /// Whether a negotiable of the current phase answers this element. Once bound, the session asks
    /// this before it takes an element for a stanza.
    pub fn claims(&self, element: &Element) -> bool {
        self.find(element).is_some()
    }

    fn find(&self, element: &Element) -> Option<Arc<dyn Negotiable>> {
        let phase = self.state.phase;
        let negotiables = self.profile.negotiables.iter();
        negotiables
            .filter(|negotiable| negotiable.phases().contains(&phase))
            .find(|negotiable| negotiable.claims(element, &self.state))
            .cloned()
    }

    /// The peer sent an element.
    pub async fn element(&mut self, element: Element) -> Step {
        let Some(negotiable) = self.find(&element) else {
            return self.unclaimed(&element);
        };
        let outcome = negotiable.inline(&mut self.state, element).await;
        let mut write: Vec<Outbound> = outcome.answer;
        let next = match outcome.then {
            Then::Frame => Next::Frame,
            Then::StartTls(config) => Next::StartTls(config),
            Then::Authenticated(account) => {
                self.state.phase = Phase::Authenticated;
                self.state.account = Some(account.clone());
                self.opened = false;
                Next::Authenticated(account)
            }
            Then::Bound(jid) => {
                self.state.phase = Phase::Bound;
                self.state.bound = Some(jid.clone());
                Next::Bound(jid)
            }
            Then::Fail(error) => Next::Failed(error),
            Then::Close => Next::Closed,
        };
        write.shrink_to_fit();
        Step { write, next }
    }

    /// An element no negotiable wants: a stanza comes too early, a second login is refused, a
    /// foreign element is not understood (RFC 6120 §4.9.3.12, §4.9.3.24, §6.4.6, §7.1).
    fn unclaimed(&mut self, element: &Element) -> Step {
        let stanza = matches!(element.name(), "message" | "presence" | "iq");
        match element.namespace() {
            ns::CLIENT | ns::SERVER if stanza && self.state.phase == Phase::Connected => {
                self.fail(StreamCondition::NotAuthorized, "log in first")
            }
            ns::CLIENT | ns::SERVER if stanza => {
                self.fail(StreamCondition::NotAuthorized, "bind a resource first")
            }
            ns::SASL if self.state.phase != Phase::Connected => {
                self.fail(StreamCondition::PolicyViolation, "already logged in")
            }
            _ if stanza => self.fail(StreamCondition::InvalidNamespace, "not our stanza"),
            _ => self.fail(
                StreamCondition::UnsupportedStanzaType,
                "not understood here",
            ),
        }
    }

    /// The peer closed its stream.
    pub fn closed(&mut self) -> Step {
        let write = self.header_if_missing();
        Step {
            write,
            next: Next::Closed,
        }
    }

    /// The peer broke a rule of XML, of framing or of time. Gives our header first when none was
    /// written yet.
    pub fn fault(&mut self, fault: &Fault) -> Step {
        let write = self.header_if_missing();
        Step {
            write,
            next: Next::Failed(fault.error()),
        }
    }

    /// Ends the stream for a reason of ours, such as a shutdown.
    pub fn abandon(&mut self, error: StreamError) -> Step {
        let write = self.header_if_missing();
        Step {
            write,
            next: Next::Failed(error),
        }
    }

    fn fail(&mut self, condition: StreamCondition, text: &str) -> Step {
        self.abandon(condition.text(text))
    }

    fn header_if_missing(&mut self) -> Vec<Outbound> {
        if std::mem::replace(&mut self.opened, true) {
            return Vec::new();
        }
        let host = self.state.host.clone();
        vec![Outbound::Open(ResponseHeader {
            id: xmpp::random_id(),
            from: host.unwrap_or_else(|| self.profile.default_host.clone()),
            to: None,
            lang: "en".into(),
        })]
    }
}

/// An address without its resource, when it is one.
fn bare(text: &str) -> Option<String> {
    let jid = xmpp::parse_jid(text).ok()?;
    Some(jid.to_bare().to_string())
}
