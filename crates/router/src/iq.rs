//! IQ tables: who answers which namespace, for a host or for its accounts; and the IQs that this
//! server sends itself.
//!
//! Source: RFC 6120 §8.2.3 (each get or set is answered exactly once).

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use otp::ProcessId;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use xmpp::{Child, Condition, Fragment, FromXml, IqType, Jid, Stanza, StanzaError};

use crate::hooks::panic_text;
use crate::table::Map;
use crate::{Meta, Outcome, Packet, Router, Routing, step};

/// How long a handler may take to answer, unless said otherwise.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// On whose behalf a handler answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum To {
    /// The host: IQs to its bare domain.
    Host,
    /// An account of the host: IQs to its bare JID.
    Account,
}

/// A get or a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IqKind {
    /// Asks for something.
    Get,
    /// Changes something.
    Set,
}

/// A request as its handler gets it.
#[derive(Clone, Debug)]
pub struct Iq {
    /// Who asks.
    pub from: Jid,
    /// Who is asked: the host's domain or an account's bare JID.
    pub to: Jid,
    /// Get or set.
    pub kind: IqKind,
    /// The whole stanza.
    pub stanza: Stanza,
    /// What is known of it.
    pub meta: Meta,
    after: After,
}

/// What is done once a request's answer is on its way, or once it is clear that none will be.
#[derive(Clone, Default)]
struct After(Arc<Steps>);

#[derive(Default)]
struct Steps(Mutex<Vec<Box<dyn FnOnce() + Send>>>);

impl Drop for Steps {
    fn drop(&mut self) {
        for step in std::mem::take(self.0.get_mut()) {
            step();
        }
    }
}

impl fmt::Debug for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "After({})", self.0.0.lock().len())
    }
}

impl Iq {
    /// Does `then` behind the answer, in the process that routes it: what the asker must hear only
    /// after its result, such as the end of its session. Done also when the answer cannot be sent.
    pub fn after_answer(&self, then: impl FnOnce() + Send + 'static) {
        self.after.0.0.lock().push(Box::new(then));
    }

    /// The payload's element.
    ///
    /// # Panics
    ///
    /// Never for a request out of an IQ table: it has exactly one payload.
    #[must_use]
    pub fn child(&self) -> &Child {
        self.stanza
            .payload()
            .expect("a get or set in an IQ table has one payload")
    }

    /// The payload, read as a type.
    ///
    /// # Errors
    ///
    /// `bad-request` when the payload is not of that form.
    pub fn payload<T: FromXml>(&self) -> Result<T, StanzaError> {
        self.stanza
            .parse_child::<T>(self.child())
            .map_err(|error| StanzaError::from(Condition::BadRequest).with_text(error.to_string()))
    }

    /// The request's id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.stanza.id().unwrap_or_default()
    }
}

/// What a handler answers: a payload (empty for an empty result), or an error.
pub type Answer = Result<Fragment, StanzaError>;

/// Answers the requests of one (host, target, namespace, kind).
pub type IqHandler = Arc<dyn Fn(Iq) -> BoxFuture<'static, Answer> + Send + Sync>;

/// A handler ready to be installed.
pub struct IqSpec {
    pub(crate) host: Arc<str>,
    pub(crate) to: To,
    pub(crate) namespace: Arc<str>,
    pub(crate) kind: IqKind,
    pub(crate) handler: IqHandler,
}

impl IqSpec {
    /// `handler` answers requests of `kind` with a payload of `namespace`.
    pub fn new(host: &str, to: To, namespace: &str, kind: IqKind, handler: IqHandler) -> IqSpec {
        IqSpec {
            host: host.into(),
            to,
            namespace: namespace.into(),
            kind,
            handler,
        }
    }
}

/// The owner of a (target, namespace) and its handlers.
#[derive(Clone)]
pub(crate) struct IqEntry {
    pub(crate) owner: ProcessId,
    pub(crate) owner_name: Arc<str>,
    get: Option<IqHandler>,
    set: Option<IqHandler>,
}

/// The IQ handlers of one host.
#[derive(Clone, Default)]
pub(crate) struct IqTable {
    host: Map<Arc<str>, IqEntry>,
    account: Map<Arc<str>, IqEntry>,
}

impl IqTable {
    /// Files `spec` under its owner.
    ///
    /// # Errors
    ///
    /// The name of the owner who has that (target, namespace) already.
    pub(crate) fn insert(
        &mut self,
        spec: IqSpec,
        owner: ProcessId,
        owner_name: &Arc<str>,
    ) -> Result<(), Arc<str>> {
        let entries = match spec.to {
            To::Host => &mut self.host,
            To::Account => &mut self.account,
        };
        let entry = entries.entry(spec.namespace).or_insert_with(|| IqEntry {
            owner,
            owner_name: Arc::clone(owner_name),
            get: None,
            set: None,
        });
        if entry.owner != owner {
            return Err(Arc::clone(&entry.owner_name));
        }
        let slot = match spec.kind {
            IqKind::Get => &mut entry.get,
            IqKind::Set => &mut entry.set,
        };
        if slot.is_some() {
            return Err(Arc::clone(owner_name));
        }
        *slot = Some(spec.handler);
        Ok(())
    }

    pub(crate) fn remove_owner(&mut self, owner: ProcessId) {
        self.host.retain(|_, entry| entry.owner != owner);
        self.account.retain(|_, entry| entry.owner != owner);
    }

    /// Every entry with its target and namespace.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (To, &Arc<str>, &IqEntry)> {
        let host = self
            .host
            .iter()
            .map(|(namespace, entry)| (To::Host, namespace, entry));
        host.chain(
            self.account
                .iter()
                .map(|(namespace, entry)| (To::Account, namespace, entry)),
        )
    }

    fn find(
        &self,
        to: To,
        namespace: &str,
        kind: IqKind,
    ) -> Result<(IqHandler, Arc<str>), Condition> {
        let entries = match to {
            To::Host => &self.host,
            To::Account => &self.account,
        };
        let Some(entry) = entries.get(namespace) else {
            return Err(Condition::ServiceUnavailable);
        };
        let handler = match kind {
            IqKind::Get => &entry.get,
            IqKind::Set => &entry.set,
        };
        match handler {
            Some(handler) => Ok((Arc::clone(handler), Arc::clone(&entry.owner_name))),
            None => Err(Condition::NotAllowed),
        }
    }
}

impl Router {
    /// Answers a get or set from a host's IQ table; results and errors nobody waits for end here.
    ///
    /// The answer goes out exactly once, whatever the handler does: a panic, an error and a late
    /// answer become stanza errors and one log line.
    pub fn dispatch_iq(&self, host: &str, to: To, packet: Packet) -> Routing {
        let kind = match packet.stanza.iq_type() {
            IqType::Get => IqKind::Get,
            IqType::Set => IqKind::Set,
            IqType::Result | IqType::Error => {
                packet.drop_by_rule();
                return Routing::done();
            }
        };
        let namespace = packet.stanza.payload_ns().unwrap_or_default();
        step!(packet.meta, "iq table", ?to, namespace);
        let found = match self.host_table(host) {
            Some(table) => table.iq.find(to, namespace, kind),
            None => Err(Condition::ServiceUnavailable),
        };
        let (handler, owner) = match found {
            Ok(found) => found,
            Err(condition) => return self.bounce(packet, condition.into()),
        };
        step!(packet.meta, "iq handler", %owner);
        let router = self.clone();
        Routing::later(async move {
            let iq = Iq {
                from: packet.from().clone(),
                to: packet.to().clone(),
                kind,
                stanza: packet.stanza.clone(),
                meta: packet.meta.clone(),
                after: After::default(),
            };
            let after = iq.after.clone();
            let answer = router.run_handler(&handler, iq, &owner).await;
            step!(packet.meta, "iq answer", result = answer.is_ok());
            let (reply, outcome) = match answer {
                Ok(payload) => (
                    Some(Stanza::iq_result(&packet.stanza, payload)),
                    Outcome::Delivered,
                ),
                Err(error) => (packet.stanza.error_reply(&error), Outcome::Bounced),
            };
            if let Some(reply) = reply {
                router.route(router.answer(reply, &packet.meta)).await;
            }
            packet.receipt.resolve(outcome);
            // The last that holds them: they run now.
            drop(after);
        })
    }

    async fn run_handler(&self, handler: &IqHandler, iq: Iq, owner: &str) -> Answer {
        let (namespace, kind) = (iq.child().namespace().to_owned(), iq.kind);
        let work = AssertUnwindSafe(async { handler(iq).await }).catch_unwind();
        let begun = self.clock().now();
        let answered = self.clock().timeout(ANSWER_WITHIN, work).await;
        self.latencies().iqs.add(self.clock().now() - begun);
        let why = match answered {
            Ok(Ok(answer)) => return answer,
            Ok(Err(panic)) => panic_text(&*panic).to_owned(),
            Err(_) => format!("no answer within {} s", ANSWER_WITHIN.as_secs()),
        };
        tracing::error!(target: "natter::iq", owner, namespace, ?kind, why, "IQ handler failed");
        Err(Condition::InternalServerError.into())
    }
}

/// Why an IQ of ours was not answered with a result.
#[derive(Debug, thiserror::Error)]
pub enum IqError {
    /// The peer answered with an error.
    #[error("answered with an error")]
    Answered(Stanza),
    /// No answer came in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

/// The IQs of ours that wait for an answer, by id. Ids are 128 random bits: a stranger cannot guess one.
#[derive(Default)]
pub(crate) struct Pending(Mutex<Map<String, Waiting>>);

struct Waiting {
    /// Who was asked: only it may answer.
    asked: Jid,
    tell: oneshot::Sender<Stanza>,
}

impl Pending {
    /// Hands an answer to whoever asked. Gives the packet back when nobody did.
    pub(crate) fn answered(&self, packet: Packet) -> Option<Packet> {
        let Some(id) = packet.stanza.id() else {
            return Some(packet);
        };
        let mut waiting = self.0.lock();
        if waiting.get(id).is_none_or(|w| w.asked != *packet.from()) {
            return Some(packet);
        }
        let asked = waiting.remove(id).expect("looked up a line above");
        drop(waiting);
        let _ = asked.tell.send(packet.stanza.clone());
        packet.receipt.resolve(Outcome::Delivered);
        None
    }
}

/// Takes the entry back however the asking ends.
struct Asking<'a>(&'a Pending, String);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.0.lock().remove(&self.1);
    }
}

impl Router {
    /// Sends an IQ of this server's own and waits for its result.
    ///
    /// # Errors
    ///
    /// The peer's error, or a timeout after `within` of the server's clock.
    pub async fn ask(
        &self,
        from: &Jid,
        to: &Jid,
        kind: IqKind,
        payload: impl Into<Fragment>,
        within: Duration,
    ) -> Result<Stanza, IqError> {
        let kind = match kind {
            IqKind::Get => IqType::Get,
            IqKind::Set => IqType::Set,
        };
        let iq = Stanza::iq(kind, payload)
            .from(from.clone())
            .to(to.clone())
            .finish();
        let id = iq.id().expect("a request of ours has an id").to_owned();
        let (tell, answer) = oneshot::channel();
        let pending = self.pending();
        pending.0.lock().insert(
            id.clone(),
            Waiting {
                asked: to.clone(),
                tell,
            },
        );
        let _asking = Asking(pending, id);
        // Its own handler may be slow: that counts as well.
        let asking = async {
            self.route(self.packet(iq)).await;
            answer.await
        };
        match self.clock().timeout(within, asking).await {
            Ok(Ok(stanza)) if stanza.is_error() => Err(IqError::Answered(stanza)),
            Ok(Ok(stanza)) => Ok(stanza),
            Ok(Err(_)) | Err(_) => Err(IqError::Timeout(within)),
        }
    }
}
