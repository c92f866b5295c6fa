//! What a client's stream negotiates: `stream`'s negotiables over accounts, sessions and hooks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use auth::{Auth, Channel};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use otp::{Clock, Pid};
use parking_lot::Mutex;
use router::Folded;
use stream::{
    Authenticator, BindRequest, Binder, Element, Exchange, Feature, Negotiable, Outbound, Outcome,
    Phase, SaslFailure, SaslStep, State, Then, Visitor,
};
use tokio::sync::oneshot;
use xmpp::{Condition, FullJid, Kind, Stanza, StanzaError, StreamCondition};

use crate::c2s::{C2s, Cast, for_client};
use crate::hooks::{PostAuthFeatures, PreAuthFeatures, UnauthenticatedPacket};
use crate::sm::Sessions;
use crate::table::{Entry, Opened};

/// How long a new session waits for the one whose address it takes over to withdraw its presence.
const REPLACED_WITHIN: Duration = Duration::from_secs(1);

/// Logins by the accounts of this server.
pub struct AccountLogin {
    /// Accounts and credentials.
    pub auth: Auth,
    /// Offer PLAIN on streams without TLS.
    pub plain_without_tls: bool,
}

impl Authenticator for AccountLogin {
    fn mechanisms(&self, host: &str, visitor: Visitor<'_>) -> Vec<&'static str> {
        self.auth.mechanisms(host, &self.channel(visitor))
    }

    fn start(
        &self,
        host: &str,
        mechanism: &str,
        visitor: Visitor<'_>,
    ) -> Result<Box<dyn Exchange>, SaslFailure> {
        let exchange = self.auth.start(host, mechanism, self.channel(visitor));
        exchange.map(|exchange| Box::new(Login(exchange)) as Box<dyn Exchange>)
    }

    fn failed(&self, visitor: Visitor<'_>, failure: &SaslFailure) {
        self.auth.refused(visitor.address, failure);
    }
}

impl AccountLogin {
    fn channel(&self, visitor: Visitor<'_>) -> Channel {
        let bindings = visitor.tls.map(|tls| {
            let types = tls.bindings.types();
            types.filter_map(|name| Some((name, tls.bindings.get(name)?.to_vec())))
        });
        let client = visitor.tls.and_then(|tls| tls.client.as_ref());
        Channel {
            address: visitor.address,
            protected: visitor.tls.is_some() || self.plain_without_tls,
            bindings: bindings.into_iter().flatten().collect(),
            certified: client.map_or_else(Vec::new, |client| client.xmpp_addresses.clone()),
        }
    }
}

struct Login(auth::Exchange);

impl Exchange for Login {
    fn step<'a>(&'a mut self, said: &'a [u8]) -> BoxFuture<'a, SaslStep> {
        async move {
            match self.0.step(said).await {
                auth::Step::Challenge(data) => SaslStep::Challenge(data),
                auth::Step::Success { account, data } => SaslStep::Success { account, data },
                auth::Step::Failure(why) => SaslStep::Failure(why),
            }
        }
        .boxed()
    }
}

/// Binds the resource of one stream: enters the session into the table.
pub(crate) struct SessionBinder {
    pub(crate) sessions: Sessions,
    pub(crate) clock: Clock,
    pub(crate) pid: Pid<C2s>,
    pub(crate) address: Option<SocketAddr>,
    /// Where the session's process finds the entry once it is bound.
    pub(crate) entry: Arc<Mutex<Option<Arc<Entry>>>>,
}

impl Binder for SessionBinder {
    fn bind(&self, request: BindRequest) -> BoxFuture<'_, Result<FullJid, StanzaError>> {
        self.enter(request).boxed()
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.address
    }
}

impl SessionBinder {
    async fn enter(&self, request: BindRequest) -> Result<FullJid, StanzaError> {
        // A server-made resource is 128 random bits: hard to guess (RFC 6120 §7.6).
        let resource = request.resource.unwrap_or_else(xmpp::random_id);
        let jid = request
            .account
            .with_resource_str(&resource)
            .map_err(|_| StanzaError::from(Condition::BadRequest).with_text("not a resource"))?;
        let (entry, replaced) = self.sessions.open(Opened {
            jid,
            pid: self.pid.clone(),
            since: self.clock.wall(),
            address: self.address,
            encrypted: request.tls.is_some(),
        })?;
        self.sessions.logins.count((*entry.account).clone());
        *self.entry.lock() = Some(Arc::clone(&entry));
        if let Some(old) = replaced {
            let (gone, is_gone) = oneshot::channel();
            if old.pid.control(Cast::Replaced(gone)).is_ok() {
                // One that does not answer is not waited for: it is out of the table already.
                let _ = self.clock.timeout(REPLACED_WITHIN, is_gone).await;
            }
        }
        // Removed since it logged in: whoever removed it has ended the sessions that were in the table then.
        if let Ok(false) = self.sessions.auth.exists(&entry.account).await {
            self.sessions.table.close(&entry);
            self.sessions.table.forget(&entry);
            *self.entry.lock() = None;
            return Err(Condition::NotAllowed.text("the account was removed"));
        }
        Ok((*entry.jid).clone())
    }
}

/// Features and pre-login IQs of modules, by hooks.
pub struct ByHooks {
    /// Sessions, for the router and its hooks.
    pub sessions: Sessions,
    /// Whether nothing is said to modules before TLS.
    pub needs_tls: bool,
}

impl Negotiable for ByHooks {
    fn phases(&self) -> &'static [Phase] {
        &[Phase::Connected, Phase::Authenticated]
    }

    fn feature(&self, state: &mut State) -> Option<Feature> {
        let host = state.host.clone()?;
        let router = &self.sessions.router;
        let features = match state.phase {
            Phase::Connected => {
                let fold = PreAuthFeatures {
                    host,
                    encrypted: state.tls.is_some(),
                    features: Vec::new(),
                };
                router.fold(fold).value()?.features
            }
            Phase::Authenticated | Phase::Bound => {
                router
                    .fold(PostAuthFeatures {
                        host,
                        features: Vec::new(),
                    })
                    .value()?
                    .features
            }
        };
        (!features.is_empty()).then(|| Feature::new(features.concat()))
    }

    fn claims(&self, element: &Element, state: &State) -> bool {
        state.phase == Phase::Connected
            && (state.tls.is_some() || !self.needs_tls)
            && element.is("iq", xmpp::ns::CLIENT)
            && state.host.as_deref().is_some_and(|h| {
                self.sessions
                    .router
                    .has_handlers::<UnauthenticatedPacket>(h)
            })
    }

    fn inline<'a>(&'a self, state: &'a mut State, element: Element) -> BoxFuture<'a, Outcome> {
        async move {
            let refused = || {
                let error = StreamCondition::NotAuthorized.text("log in first");
                Outcome::fail(error)
            };
            let Ok(stanza) = Stanza::from_element(&element) else {
                return refused();
            };
            debug_assert_eq!(stanza.kind(), Kind::Iq);
            let host = state.host.clone().expect("claimed for a host");
            let asked = stanza.clone();
            let fold = UnauthenticatedPacket {
                host,
                address: state.peer(),
                stanza,
                answer: None,
            };
            let answer = match self.sessions.router.fold_wait(fold).await {
                Folded::Done(fold) | Folded::Stopped(fold) => fold.answer,
                Folded::Dropped => None,
                // It did not come to an answer in time, which is no fault of the peer's.
                Folded::Denied => asked.error_reply(&Condition::InternalServerError.into()),
            };
            match answer {
                Some(answer) => Outcome {
                    answer: vec![Outbound::Element(for_client(&answer))],
                    then: Then::Frame,
                },
                None => refused(),
            }
        }
        .boxed()
    }
}
