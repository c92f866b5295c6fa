//! The route of a packet: from the caller's hands to the process that owns its destination's domain.
//!
//! Runs in the caller. Order, as in ejabberd: fold `filter_packet`; answers to our own IQs; the route
//! table by the destination's domain; the default route. See docs/ROUTING.md.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use otp::{AnyPid, CallError, Clock, ProcessId, System};
use xmpp::{Condition, IqType, Kind, PresenceType, Stanza, StanzaError};

use crate::hooks::{Folded, Hook, HookInfo, OnPanic};
use crate::iq::Pending;
use crate::mode::{Mode, Post, RouteEntry, RouteRow, RouteSpec, Routing, slot};
use crate::table::{Call, Change, HostTable, Owner, Tables, owner_name};
use crate::{Flags, Meta, Origin, Outcome, Packet, Receipt};

/// How long a change of the tables may take.
const CHANGE_WITHIN: Duration = Duration::from_secs(5);

/// How often a packet is routed again after the process that had it fell, before it is bounced.
pub const MAX_HOPS: u8 = 3;

/// Prints one trace line of a stanza's way, to target `natter::stanza`.
#[macro_export]
macro_rules! step {
    ($meta:expr, $step:expr $(, $($field:tt)*)?) => {
        ::tracing::trace!(target: "natter::stanza", trace = $meta.trace, step = $step $(, $($field)*)?)
    };
}

/// Why a change of the tables was refused. Nothing of it was applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InstallError {
    /// Somebody else has that domain.
    #[error("domain {domain} is already routed to {by}")]
    DomainTaken {
        /// The domain.
        domain: String,
        /// Who has it.
        by: String,
    },
    /// Somebody else answers that namespace.
    #[error("IQs of {namespace} are already answered by {by}")]
    NamespaceTaken {
        /// The namespace.
        namespace: String,
        /// Who has it.
        by: String,
    },
    /// A handler that waits on a hook that does not.
    #[error("handlers of hook {hook} may not wait")]
    MayNotWait {
        /// The hook.
        hook: &'static str,
    },
    /// The router process did not answer.
    #[error("the router did not answer: {0}")]
    Unavailable(String),
}

impl std::convert::From<CallError> for InstallError {
    fn from(error: CallError) -> Self {
        InstallError::Unavailable(error.to_string())
    }
}

/// Fold `filter_packet`: every packet, before its route is looked up.
#[derive(Clone, Debug)]
pub struct FilterPacket {
    /// The stanza.
    pub stanza: Stanza,
    /// What is known of it.
    pub meta: Meta,
}

impl Hook for FilterPacket {
    const INFO: HookInfo = HookInfo {
        name: "filter_packet",
        run_by: "router::route",
        process: "the router's caller",
        carries: "the stanza and its meta",
        stopping: "stop: later filters are skipped; drop: the packet ends here",
        on_panic: OnPanic::Deny,
        may_wait: false,
    };

    fn host(&self) -> &str {
        ""
    }
}

/// The router: tables that everybody reads and one process writes. Cheap to clone.
#[derive(Clone)]
pub struct Router(Arc<Tables>);

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Router")
    }
}

impl Router {
    /// Empty tables of one server. Their owner is started by [`Router::child_spec`].
    #[must_use]
    pub fn new(system: &System) -> Router {
        Router(Arc::new(Tables::new(
            system.clock().clone(),
            system.registry(),
        )))
    }

    /// Numbers the stanzas that enter from now on with `first` and more: [`Meta::trace`] is also the order in
    /// which stores keep messages, and grows from one run of the server to the next.
    pub fn count_from(&self, first: u64) {
        self.0.trace.fetch_max(first, Ordering::Relaxed);
    }

    /// The process that writes the tables.
    #[must_use]
    pub fn child_spec(&self) -> otp::ChildSpec {
        let router = self.clone();
        otp::ChildSpec::worker::<Owner>("router", move || router.clone()).registered(owner_name())
    }

    pub(crate) fn tables(&self) -> &Tables {
        &self.0
    }

    pub(crate) fn pending(&self) -> &Pending {
        &self.0.pending
    }

    /// The server's clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Where packets fall whose envelope nobody took.
    #[must_use]
    pub fn dead_letters(&self) -> &crate::DeadLetterBox {
        &self.0.dead
    }

    pub(crate) fn host_table(&self, host: &str) -> Option<arc_swap::Guard<Arc<HostTable>>> {
        self.0.hosts.load().get(host).map(|cell| cell.load())
    }

    pub(crate) fn host_tables(&self) -> Vec<(Arc<str>, Arc<HostTable>)> {
        self.0
            .hosts
            .load()
            .iter()
            .map(|(host, cell)| (Arc::clone(host), cell.load_full()))
            .collect()
    }

    /// The features that processes of `host` stand for, sorted, without doubles: the same list until they change.
    #[must_use]
    pub fn features(&self, host: &str, to: crate::To) -> Arc<[Arc<str>]> {
        let Some(table) = self.host_table(host) else {
            return Arc::default();
        };
        let [of_host, of_accounts] = &table.feature_names;
        match to {
            crate::To::Host => Arc::clone(of_host),
            crate::To::Account => Arc::clone(of_accounts),
        }
    }

    /// The domains of the services of `host` that are up, sorted.
    #[must_use]
    pub fn services(&self, host: &str) -> Vec<Arc<str>> {
        let routes = self.0.routes.load();
        let of = routes
            .values()
            .filter(|entry| entry.host.as_deref() == Some(host));
        let mut domains: Vec<Arc<str>> = of.map(|entry| Arc::clone(&entry.domain)).collect();
        domains.sort();
        domains
    }

    /// Whether this server owns `domain`: routed, or reserved for a service that is down.
    #[must_use]
    pub fn is_local(&self, domain: &str) -> bool {
        self.0.routes.load().contains_key(domain) || self.0.reserved.load().contains_key(domain)
    }

    /// Every route and every reserved domain, sorted.
    #[must_use]
    pub fn route_list(&self) -> Vec<RouteRow> {
        let routes = self.0.routes.load();
        let reserved = self.0.reserved.load();
        let up = routes.values().map(|entry| RouteRow {
            domain: entry.domain.to_string(),
            host: entry.host.as_deref().unwrap_or_default().to_owned(),
            mode: entry.mode.name(),
            owner: entry.owner_name.to_string(),
        });
        let down = reserved
            .iter()
            .filter(|(domain, _)| !routes.contains_key(*domain));
        let down = down.map(|(domain, by)| RouteRow {
            domain: domain.to_string(),
            host: String::new(),
            mode: "down",
            owner: by.to_string(),
        });
        let mut rows: Vec<RouteRow> = up.chain(down).collect();
        rows.sort_by(|a, b| a.domain.cmp(&b.domain));
        rows
    }

    /// The IQ namespaces that a process answers, for `module_list`.
    #[must_use]
    pub fn registrations_of(&self, owner: ProcessId) -> Vec<String> {
        let mut rows = Vec::new();
        for entry in self
            .0
            .routes
            .load()
            .values()
            .filter(|e| e.belongs_to(owner))
        {
            rows.push(format!("route {}", entry.domain));
        }
        for (_, table) in self.host_tables() {
            for entry in table.hooks.entries().filter(|e| e.owner == owner) {
                rows.push(format!("hook {} {}", entry.info.name, entry.priority.0));
            }
            for (to, namespace, _) in table.iq.entries().filter(|(.., e)| e.owner == owner) {
                rows.push(format!(
                    "iq {} {namespace}",
                    if to == crate::To::Host {
                        "host"
                    } else {
                        "account"
                    }
                ));
            }
        }
        rows.sort();
        rows
    }

    /// Installs all that a process registers, or nothing. Taken back when the process ends.
    ///
    /// # Errors
    ///
    /// What was in the way; nothing was changed.
    pub async fn install(
        &self,
        owner: &AnyPid,
        name: &str,
        change: Change,
    ) -> Result<(), InstallError> {
        self.change(Call::Install(owner.clone(), name.into(), change))
            .await
    }

    /// Has the router process change its tables; one that is restarted meanwhile is waited for.
    async fn change(&self, call: Call) -> Result<(), InstallError> {
        let owner = self.clock().timeout(CHANGE_WITHIN, self.0.owner.up()).await;
        let owner = owner.map_err(|_| CallError::NoProc)?;
        owner.call(call, CHANGE_WITHIN).await?
    }

    /// Takes back all that a process registered. A router process that is down is not waited for: once it is
    /// back it takes back what the dead registered.
    ///
    /// # Errors
    ///
    /// Only when the router process does not answer.
    pub async fn remove(&self, owner: ProcessId) -> Result<(), InstallError> {
        let call = Call::Remove(owner);
        self.0.owner.call(call, CHANGE_WITHIN).await?
    }

    /// Registers one route.
    ///
    /// # Errors
    ///
    /// `DomainTaken`, or the router process does not answer.
    pub async fn register_route(
        &self,
        route: RouteSpec,
        owner: &AnyPid,
        name: &str,
    ) -> Result<(), InstallError> {
        let mut change = Change::new();
        change.route(route);
        self.install(owner, name, change).await
    }

    /// Makes `mode` the route of domains that have none: other servers.
    ///
    /// # Errors
    ///
    /// Only when the router process does not answer.
    pub async fn set_default_route(&self, mode: Mode, owner: &AnyPid) -> Result<(), InstallError> {
        self.change(Call::Default(RouteSpec::new("", None, mode), owner.clone()))
            .await
    }

    /// Marks `domain` as a configured service's: while it is down, packets bounce with
    /// `remote-server-timeout` and never leave for another server.
    ///
    /// # Errors
    ///
    /// `DomainTaken` when it is reserved for somebody else.
    pub async fn reserve(&self, domain: &str, by: &str) -> Result<(), InstallError> {
        self.change(Call::Reserve(domain.into(), by.into())).await
    }

    /// Forgets the mark of [`Router::reserve`], and a lasting route that its owner has left behind.
    ///
    /// # Errors
    ///
    /// Only when the router process does not answer.
    pub async fn release(&self, domain: &str) -> Result<(), InstallError> {
        self.change(Call::Release(domain.into())).await
    }

    /// The record of a stanza that enters now.
    #[must_use]
    pub fn meta(&self, origin: Origin) -> Meta {
        Meta {
            received: self.clock().wall(),
            origin,
            trace: self.0.trace.fetch_add(1, Ordering::Relaxed),
            archive_ids: Vec::new(),
            hops: 0,
            flags: Flags::default(),
        }
    }

    /// A packet of this server's own.
    #[must_use]
    pub fn packet(&self, stanza: Stanza) -> Packet {
        Packet {
            stanza,
            meta: self.meta(Origin::Server),
            receipt: Receipt::none(),
        }
    }

    /// A packet of this server's own that answers another: it keeps the trace number.
    #[must_use]
    pub fn answer(&self, stanza: Stanza, to: &Meta) -> Packet {
        let mut packet = self.packet(stanza);
        packet.meta.trace = to.trace;
        packet
    }

    /// Sends a packet on its way.
    pub fn route(&self, packet: Packet) -> Routing {
        let begun = self.0.latencies.routes.begin(&self.0.clock);
        let routing = self.send_on(packet);
        match begun {
            None => routing,
            Some(_) => self.measured(routing, begun),
        }
    }

    /// One of those whose time is taken.
    fn measured(&self, routing: Routing, begun: Option<otp::Instant>) -> Routing {
        let router = self.clone();
        let end = move || router.0.latencies.routes.end(&router.0.clock, begun);
        match routing.0 {
            None => {
                end();
                Routing::done()
            }
            Some(rest) => Routing::later(async move {
                rest.await;
                end();
            }),
        }
    }

    fn send_on(&self, packet: Packet) -> Routing {
        let Some(packet) = self.filter(packet) else {
            return Routing::done();
        };
        let Some(packet) = self.reply_to_ours(packet) else {
            return Routing::done();
        };
        let domain = packet.to().domain().as_str();
        let routes = self.0.routes.load();
        if let Some(entry) = routes.get(domain) {
            step!(packet.meta, "route", domain, mode = entry.mode.name(), owner = %entry.owner_name);
            return self.hand_to(entry, packet);
        }
        if self.0.reserved.load().contains_key(domain) {
            step!(packet.meta, "route", domain, mode = "down");
            return self.bounce(packet, Condition::RemoteServerTimeout.into());
        }
        step!(packet.meta, "route", domain, mode = "default");
        match self.0.default_route.load_full() {
            Some(entry) => self.hand_to(&entry, packet),
            None => self.bounce(packet, Condition::RemoteServerNotFound.into()),
        }
    }

    fn filter(&self, packet: Packet) -> Option<Packet> {
        step!(packet.meta, "filter_packet");
        if !self.has_handlers::<FilterPacket>("") {
            return Some(packet);
        }
        let Packet {
            stanza,
            meta,
            receipt,
        } = packet;
        match self.fold(FilterPacket { stanza, meta }) {
            Folded::Done(f) | Folded::Stopped(f) => Some(Packet {
                stanza: f.stanza,
                meta: f.meta,
                receipt,
            }),
            Folded::Dropped | Folded::Denied => {
                receipt.resolve(Outcome::Dropped);
                None
            }
        }
    }

    fn reply_to_ours(&self, packet: Packet) -> Option<Packet> {
        let is_reply = packet.stanza.kind() == Kind::Iq
            && matches!(packet.stanza.iq_type(), IqType::Result | IqType::Error);
        if is_reply {
            self.0.pending.answered(packet)
        } else {
            Some(packet)
        }
    }

    fn hand_to(&self, entry: &RouteEntry, packet: Packet) -> Routing {
        match &entry.mode {
            Mode::Inline(take) => take(packet),
            Mode::Actor(post) => self.post(post, &entry.owner, packet),
            Mode::Balanced(by, slots) => {
                let slot = slot(*by, &packet, slots.len());
                step!(packet.meta, "slot", by = by.as_str(), slot);
                let owner = entry.shares.get(slot).unwrap_or(&None);
                match slots.get(slot) {
                    Some(Some(post)) => {
                        self.post(post, owner.as_ref().unwrap_or(&entry.owner), packet)
                    }
                    _ => self.bounce(packet, Condition::RemoteServerTimeout.into()),
                }
            }
        }
    }

    fn post(&self, post: &Post, owner: &AnyPid, packet: Packet) -> Routing {
        let Err(parcel) = post(packet.enclose(&self.0.dead)) else {
            return Routing::done();
        };
        // Full, or it fell a moment ago and its entry is about to go.
        let up = owner.is_alive();
        let condition = if up {
            Condition::ResourceConstraint
        } else {
            Condition::RemoteServerTimeout
        };
        self.bounce(parcel.take(), condition.into())
    }

    /// Tells the sender that the packet did not arrive, where the rules allow an answer (RFC 6120 §8.3.1).
    ///
    /// Copies, errors, results and presence that nobody waits for an answer to end silently.
    pub fn bounce(&self, packet: Packet, error: StanzaError) -> Routing {
        let Packet {
            stanza,
            meta,
            receipt,
        } = packet;
        let silent =
            meta.flags.contains(Flags::COPY) || (stanza.kind() == Kind::Presence && !asks(&stanza));
        let reply = if silent {
            None
        } else {
            stanza.error_reply(&error)
        };
        let Some(reply) = reply else {
            step!(meta, "dropped", condition = ?error.condition);
            receipt.resolve(Outcome::Dropped);
            return Routing::done();
        };
        step!(meta, "bounced", condition = ?error.condition);
        let packet = self.answer(reply, &meta);
        receipt.resolve(Outcome::Bounced);
        self.route(packet)
    }

    /// Sends a packet again whose taker fell. Copies end, and so does what comes out of the offline
    /// queue, which forgets a message only once it was written; the rest is bounced after
    /// [`MAX_HOPS`] tries.
    pub fn reroute(&self, mut packet: Packet) -> Routing {
        if packet.meta.flags.contains(Flags::COPY)
            || packet.meta.flags.contains(Flags::FROM_OFFLINE)
        {
            packet.drop_by_rule();
            return Routing::done();
        }
        packet.meta.hops += 1;
        packet.meta.flags.insert(Flags::RESENT);
        if packet.meta.hops > MAX_HOPS {
            return self.bounce(packet, Condition::RecipientUnavailable.into());
        }
        step!(packet.meta, "re-routed", hops = packet.meta.hops);
        self.route(packet)
    }
}

/// Whether a presence is one whose sender waits for an answer: a request, and what is told to one resource, such as the
/// wish to enter a room (XEP-0045 §7.2). What is broadcast goes to bare addresses.
fn asks(presence: &Stanza) -> bool {
    match presence.presence_type() {
        PresenceType::Subscribe => true,
        PresenceType::Available => presence.to().is_some_and(|to| to.resource().is_some()),
        _ => false,
    }
}
