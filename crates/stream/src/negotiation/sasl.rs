//! SASL (RFC 6120 §6). Which mechanisms there are and who may log in is the [`Authenticator`]'s.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use net::TlsInfo;
use xml::Element;
use xmpp::{BareJid, SaslCondition, SaslFailure, StreamCondition, ns};

use super::{Feature, Negotiable, Outcome, Phase, State, Then, TlsPolicy};
use crate::encode;

/// Failed logins after which the stream ends (RFC 6120 §6.4.5: two to five retries).
const ATTEMPTS: u32 = 5;

/// Who wants to log in, as far as the connection shows.
#[derive(Clone, Copy, Debug)]
pub struct Visitor<'a> {
    /// Where it comes from, where the transport knows.
    pub address: Option<SocketAddr>,
    /// The TLS handshake, inside TLS.
    pub tls: Option<&'a TlsInfo>,
}

impl<'a> Visitor<'a> {
    fn of(state: &'a State) -> Visitor<'a> {
        Visitor {
            address: state.peer(),
            tls: state.tls.as_ref(),
        }
    }
}

/// Who can log in, and how.
pub trait Authenticator: Send + Sync + 'static {
    /// The mechanisms to offer for a host, best first.
    fn mechanisms(&self, host: &str, visitor: Visitor<'_>) -> Vec<&'static str>;

    /// Starts one attempt.
    ///
    /// # Errors
    ///
    /// `invalid-mechanism` for one that is not offered, `mechanism-too-weak` or
    /// `encryption-required` for one that is not offered on this stream.
    fn start(
        &self,
        host: &str,
        mechanism: &str,
        visitor: Visitor<'_>,
    ) -> Result<Box<dyn Exchange>, SaslFailure>;

    /// Hears of an attempt that failed before an [`Exchange`] could judge it, or was given up.
    fn failed(&self, visitor: Visitor<'_>, failure: &SaslFailure);
}

/// One attempt to log in.
pub trait Exchange: Send {
    /// Takes what the client said and gives the answer. Not called again after success or failure.
    fn step<'a>(&'a mut self, data: &'a [u8]) -> BoxFuture<'a, SaslStep>;
}

/// The answer to one message of an [`Exchange`].
#[derive(Debug)]
pub enum SaslStep {
    /// The client must say more.
    Challenge(Vec<u8>),
    /// The client is this account.
    Success {
        /// Who it is.
        account: BareJid,
        /// Additional data, such as SCRAM's server signature.
        data: Option<Vec<u8>>,
    },
    /// The attempt failed.
    Failure(SaslFailure),
}

/// The SASL negotiable.
pub struct Sasl {
    authenticator: Arc<dyn Authenticator>,
    policy: TlsPolicy,
}

impl Sasl {
    /// Logs in through `authenticator`, under the listener's policy for TLS.
    pub fn new(authenticator: Arc<dyn Authenticator>, policy: TlsPolicy) -> Sasl {
        Sasl {
            authenticator,
            policy,
        }
    }

    fn lacks_tls(&self, state: &State) -> bool {
        let needed = matches!(self.policy, TlsPolicy::Required | TlsPolicy::Direct);
        needed && state.tls.is_none()
    }

    async fn answer(&self, state: &mut State, element: &Element) -> Outcome {
        match element.name() {
            "auth" => self.start(state, element).await,
            "response" => self.respond(state, element).await,
            "abort" => {
                state.slot::<Login>().exchange = None;
                self.fail(state, SaslCondition::Aborted.into())
            }
            _ => Outcome::fail(StreamCondition::UnsupportedStanzaType.into()),
        }
    }

    async fn start(&self, state: &mut State, element: &Element) -> Outcome {
        state.slot::<Login>().exchange = None;
        if self.lacks_tls(state) {
            return self.fail(state, SaslCondition::EncryptionRequired.into());
        }
        let Some(host) = state.host.clone() else {
            return self.fail(state, SaslCondition::NotAuthorized.into());
        };
        let mechanism = element.attr("mechanism").unwrap_or_default();
        let started = self
            .authenticator
            .start(&host, mechanism, Visitor::of(state));
        let exchange = match started {
            Ok(exchange) => exchange,
            Err(failure) => return failed(state, failure),
        };
        state.slot::<Login>().exchange = Some(exchange);
        let initial = element.text();
        if initial.is_empty() {
            // All mechanisms here let the client speak first: an empty challenge asks for it.
            return Outcome::answer(format!("<challenge xmlns='{}'/>", ns::SASL));
        }
        self.step(state, element).await
    }

    async fn respond(&self, state: &mut State, element: &Element) -> Outcome {
        if state.slot::<Login>().exchange.is_none() {
            return self.fail(state, SaslCondition::MalformedRequest.into());
        }
        self.step(state, element).await
    }

    async fn step(&self, state: &mut State, element: &Element) -> Outcome {
        let data = match encode::decode(element.text()) {
            Some(data) if element.children().is_empty() => data,
            Some(_) => {
                state.slot::<Login>().exchange = None;
                return self.fail(state, SaslCondition::MalformedRequest.into());
            }
            None => {
                state.slot::<Login>().exchange = None;
                return self.fail(state, SaslCondition::IncorrectEncoding.into());
            }
        };
        step(state, &data).await
    }

    /// Answers a failure of our own finding.
    fn fail(&self, state: &mut State, failure: SaslFailure) -> Outcome {
        self.authenticator.failed(Visitor::of(state), &failure);
        failed(state, failure)
    }
}

/// The login of one stream.
#[derive(Default)]
struct Login {
    exchange: Option<Box<dyn Exchange>>,
    failures: u32,
}

async fn step(state: &mut State, data: &[u8]) -> Outcome {
    let login = state.slot::<Login>();
    let exchange = login.exchange.as_mut().expect("a step follows a start");
    match exchange.step(data).await {
        SaslStep::Challenge(data) => {
            let data = encode::encode(&data);
            Outcome::answer(format!(
                "<challenge xmlns='{}'>{data}</challenge>",
                ns::SASL
            ))
        }
        SaslStep::Success { account, data } => {
            state.clear_slot::<Login>();
            let data = encode::encode_data(data.as_deref());
            let success = format!("<success xmlns='{}'>{data}</success>", ns::SASL);
            Outcome::with(success, Then::Authenticated(account))
        }
        SaslStep::Failure(failure) => {
            login.exchange = None;
            failed(state, failure)
        }
    }
}

/// Answers a failed attempt; one too many ends the stream.
fn failed(state: &mut State, failure: SaslFailure) -> Outcome {
    let login = state.slot::<Login>();
    login.failures += 1;
    let then = if login.failures > ATTEMPTS {
        Then::Fail(StreamCondition::PolicyViolation.text("too many failed logins"))
    } else {
        Then::Frame
    };
    let mut text = String::new();
    if let Some(words) = &failure.text {
        text.push_str("<text xml:lang='en'>");
        xml::escape_text(words, &mut text);
        text.push_str("</text>");
    }
    let condition = failure.condition.as_str();
    let answer = format!(
        "<failure xmlns='{}'><{condition}/>{text}</failure>",
        ns::SASL
    );
    Outcome::with(answer, then)
}

/// The types of channel binding that are taken, where a mechanism uses them (XEP-0440).
fn channel_bindings(tls: Option<&TlsInfo>, offered: &[&str]) -> String {
    let used = offered.iter().any(|name| name.ends_with("-PLUS"));
    let Some(tls) = tls.filter(|_| used) else {
        return String::new();
    };
    let types = tls.bindings.types();
    let list: String = types
        .map(|name| format!("<channel-binding type='{name}'/>"))
        .collect();
    format!(
        "<sasl-channel-binding xmlns='{}'>{list}</sasl-channel-binding>",
        ns::SASL_CB
    )
}

impl Negotiable for Sasl {
    fn phases(&self) -> &'static [Phase] {
        &[Phase::Connected]
    }

    fn feature(&self, state: &mut State) -> Option<Feature> {
        if self.lacks_tls(state) {
            return None;
        }
        let host = state.host.as_deref()?;
        let offered = self.authenticator.mechanisms(host, Visitor::of(state));
        if offered.is_empty() {
            return None;
        }
        let list: String = offered
            .iter()
            .map(|name| format!("<mechanism>{name}</mechanism>"))
            .collect();
        let bindings = channel_bindings(state.tls.as_ref(), &offered);
        Some(Feature::new(format!(
            "<mechanisms xmlns='{}'>{list}</mechanisms>{bindings}",
            ns::SASL
        )))
    }

    fn claims(&self, element: &Element, _state: &State) -> bool {
        element.namespace() == ns::SASL
    }

    fn inline<'a>(&'a self, state: &'a mut State, element: Element) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { self.answer(state, &element).await })
    }
}
