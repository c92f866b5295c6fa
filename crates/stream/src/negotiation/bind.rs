//! Resource binding (RFC 6120 §7) and the legacy session (RFC 3921 §3, as `optional`).

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use net::TlsInfo;
use xml::{Element, Limits};
use xmpp::{BareJid, Condition, FullJid, StanzaError, ns};

use super::{Feature, Negotiable, Outcome, Phase, State, Then};

/// Gives one stream its resource. Made for the stream, so that it knows the process behind it.
pub trait Binder: Send + Sync + 'static {
    /// Binds a resource of the account to this stream.
    ///
    /// # Errors
    ///
    /// The stanza error to answer; the stream goes on and may try again (§7.6.2, §7.7.2).
    fn bind(&self, request: BindRequest) -> BoxFuture<'_, Result<FullJid, StanzaError>>;

    /// The address of the peer, where the transport has one. Default: none.
    fn peer(&self) -> Option<SocketAddr> {
        None
    }
}

/// What is to be bound.
#[derive(Clone, Debug)]
pub struct BindRequest {
    /// Who logged in.
    pub account: BareJid,
    /// The resource the client asks for, as written; not empty.
    pub resource: Option<String>,
    /// The stream's id.
    pub stream: String,
    /// Its TLS handshake.
    pub tls: Option<TlsInfo>,
}

/// The bind negotiable.
pub struct Bind;

impl Negotiable for Bind {
    fn phases(&self) -> &'static [Phase] {
        &[Phase::Authenticated, Phase::Bound]
    }

    fn feature(&self, state: &mut State) -> Option<Feature> {
        let wanted = state.phase == Phase::Authenticated;
        wanted.then(|| Feature::new(format!("<bind xmlns='{}'/>", ns::BIND)))
    }

    fn claims(&self, element: &Element, _state: &State) -> bool {
        is_iq_set(element, "bind", ns::BIND)
    }

    fn inline<'a>(&'a self, state: &'a mut State, iq: Element) -> BoxFuture<'a, Outcome> {
        Box::pin(bind(state, iq))
    }
}

async fn bind(state: &mut State, iq: Element) -> Outcome {
    if state.bound.is_some() {
        // One resource a stream; the first binding stands (our choice, §7 leaves it open).
        return Outcome::answer(stanza_refusal(&iq, &Condition::NotAllowed.into()));
    }
    let Some(account) = state.account.clone() else {
        return Outcome::answer(stanza_refusal(&iq, &Condition::NotAllowed.into()));
    };
    let asked = match requested_resource(&iq) {
        Ok(asked) => asked,
        Err(condition) => return Outcome::answer(stanza_refusal(&iq, &condition.into())),
    };
    let request = BindRequest {
        account,
        resource: asked,
        stream: state.id.clone(),
        tls: state.tls.clone(),
    };
    let binder: Arc<dyn Binder> = state.binder.clone();
    match binder.bind(request).await {
        Ok(jid) => {
            let mut result = format!("<bind xmlns='{}'><jid>", ns::BIND);
            xml::escape_text(jid.as_str(), &mut result);
            result.push_str("</jid></bind>");
            Outcome::with(stanza_answer(&iq, &result), Then::Bound(jid))
        }
        Err(error) => Outcome::answer(stanza_refusal(&iq, &error)),
    }
}

/// The resource a bind request names; an empty element asks for none (our choice).
fn requested_resource(iq: &Element) -> Result<Option<String>, Condition> {
    let limits = Limits::BEFORE_LOGIN;
    let read = || {
        let alone = iq.stand_alone(limits.bytes).ok()?;
        let bind = alone.child_bytes(alone.child("bind", ns::BIND)?);
        xml::parse_element(bind, ns::CLIENT, ns::KNOWN, limits).ok()
    };
    let bind = read().ok_or(Condition::BadRequest)?;
    let named = bind.child("resource", ns::BIND);
    let text = named.map(|child| bind.child_text(child));
    Ok(text.filter(|text| !text.is_empty()))
}

/// The legacy session: an IQ that older clients send after bind, answered and without effect.
pub struct LegacySession;

impl Negotiable for LegacySession {
    fn phases(&self) -> &'static [Phase] {
        &[Phase::Authenticated, Phase::Bound]
    }

    fn feature(&self, state: &mut State) -> Option<Feature> {
        let wanted = state.phase == Phase::Authenticated;
        wanted.then(|| {
            Feature::new(format!(
                "<session xmlns='{}'><optional/></session>",
                ns::SESSION
            ))
        })
    }

    fn claims(&self, element: &Element, state: &State) -> bool {
        state.bound.is_some() && is_iq_set(element, "session", ns::SESSION)
    }

    fn inline<'a>(&'a self, _state: &'a mut State, iq: Element) -> BoxFuture<'a, Outcome> {
        let outcome = Outcome::answer(stanza_answer(&iq, ""));
        Box::pin(std::future::ready(outcome))
    }
}

fn is_iq_set(element: &Element, child: &str, namespace: &str) -> bool {
    element.is("iq", ns::CLIENT)
        && element.attr("type") == Some("set")
        && element.child(child, namespace).is_some()
}

/// The result of an IQ, for negotiables that answer IQs: `payload` declares its own namespace.
pub fn stanza_answer(iq: &Element, payload: &str) -> String {
    let mut out = String::from("<iq xmlns='jabber:client' type='result'");
    push_id(iq, &mut out);
    out.push('>');
    out.push_str(payload);
    out.push_str("</iq>");
    out
}

/// The error of an IQ, for negotiables that answer IQs.
pub fn stanza_refusal(iq: &Element, error: &StanzaError) -> String {
    let mut out = String::from("<iq xmlns='jabber:client' type='error'");
    push_id(iq, &mut out);
    out.push('>');
    out.push_str(error.to_fragment().as_str());
    out.push_str("</iq>");
    out
}

fn push_id(iq: &Element, out: &mut String) {
    if let Some(id) = iq.attr("id") {
        xml::push_attr("id", id, out);
    }
}
