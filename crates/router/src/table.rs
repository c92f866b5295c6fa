//! The tables: written by one process, read where the caller stands.
//!
//! `Tables` belongs to the node and outlives the [`Owner`] process that writes it: a restarted owner
//! monitors every entry's process again and purges the dead.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::{ArcSwap, ArcSwapOption};
use otp::{AnyPid, Clock, Ctx, Flow, From, GenServer, Info, Init, Named, ProcessId};
use parking_lot::Mutex;

use crate::dead_letters::{DeadLetters, dead_letters_name};
use crate::hooks::{HookSpec, HookTable};
use crate::iq::{IqSpec, IqTable, Pending, To};
use crate::mode::{BalanceBy, Mode, Post, RouteEntry, RouteSpec};
use crate::{DeadLetterBox, InstallError, Latencies, Router};

/// A table that is read for every stanza. Its keys are those of this server's own configuration, and its hasher is
/// keyed all the same.
pub(crate) type Map<K, V> = HashMap<K, V, ahash::RandomState>;

/// The name that the owner is registered by.
#[must_use]
pub fn owner_name() -> otp::Name {
    otp::Name::new("router", "")
}

/// What one host answers with, as one snapshot.
#[derive(Clone, Default)]
pub(crate) struct HostTable {
    pub(crate) hooks: HookTable,
    pub(crate) iq: IqTable,
    pub(crate) features: Vec<Feature>,
    /// Of the host and of its accounts: the names of `features`, sorted, without doubles.
    pub(crate) feature_names: [Arc<[Arc<str>]>; 2],
}

impl HostTable {
    /// To be called when `features` has changed. What did not change stays the same to the pointer.
    fn name_features(&mut self) {
        for (to, names) in [To::Host, To::Account]
            .into_iter()
            .zip(&mut self.feature_names)
        {
            let of = self.features.iter().filter(|feature| feature.to == to);
            let mut now: Vec<Arc<str>> = of.map(|feature| Arc::clone(&feature.name)).collect();
            now.sort();
            now.dedup();
            if **names != *now {
                *names = now.into();
            }
        }
    }
}

/// A feature that a process of a host stands for (XEP-0030).
#[derive(Clone, Debug)]
pub struct Feature {
    /// Whose feature: the host's or its accounts'.
    pub to: To,
    /// The feature's name, mostly a namespace.
    pub name: Arc<str>,
    owner: ProcessId,
}

pub(crate) struct Tables {
    pub(crate) clock: Clock,
    pub(crate) routes: ArcSwap<Map<Arc<str>, Arc<RouteEntry>>>,
    pub(crate) default_route: ArcSwapOption<RouteEntry>,
    /// Domains of configured services: while nobody serves them they are down, not foreign.
    pub(crate) reserved: ArcSwap<BTreeMap<Arc<str>, Arc<str>>>,
    pub(crate) hosts: ArcSwap<Map<Arc<str>, Arc<ArcSwap<HostTable>>>>,
    pub(crate) pending: Pending,
    pub(crate) latencies: Latencies,
    pub(crate) dead: DeadLetterBox,
    pub(crate) trace: AtomicU64,
    pub(crate) owner: Named<Owner>,
    /// Who sends dead letters on.
    pub(crate) reader: Named<DeadLetters>,
    /// Every process that owns an entry. Written by `Owner` alone; read again when it restarts.
    owners: Mutex<HashMap<ProcessId, AnyPid>>,
}

impl Tables {
    pub(crate) fn new(clock: Clock, registry: &otp::Registry) -> Tables {
        Tables {
            clock,
            routes: ArcSwap::default(),
            default_route: ArcSwapOption::empty(),
            reserved: ArcSwap::default(),
            hosts: ArcSwap::default(),
            pending: Pending::default(),
            latencies: Latencies::default(),
            dead: DeadLetterBox::new(),
            trace: AtomicU64::new(1),
            owner: registry.named(owner_name()),
            reader: registry.named(dead_letters_name()),
            owners: Mutex::default(),
        }
    }
}

/// All that one process registers, installed as a whole or not at all.
#[derive(Default)]
pub struct Change {
    pub(crate) routes: Vec<RouteSpec>,
    pub(crate) hooks: Vec<HookSpec>,
    pub(crate) iqs: Vec<IqSpec>,
    pub(crate) features: Vec<(Arc<str>, To, Arc<str>)>,
}

impl Change {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Change {
        Change::default()
    }

    /// A route.
    pub fn route(&mut self, route: RouteSpec) {
        self.routes.push(route);
    }

    /// A hook handler.
    pub fn hook(&mut self, hook: HookSpec) {
        self.hooks.push(hook);
    }

    /// An IQ handler.
    pub fn iq(&mut self, iq: IqSpec) {
        self.iqs.push(iq);
    }

    /// A disco feature of `host` or of its accounts.
    pub fn feature(&mut self, host: &str, to: To, name: &str) {
        self.features.push((host.into(), to, name.into()));
    }

    fn hosts(&self) -> HashSet<Arc<str>> {
        let hooks = self.hooks.iter().map(|spec| &spec.host);
        let iqs = self.iqs.iter().map(|spec| &spec.host);
        let features = self.features.iter().map(|(host, ..)| host);
        hooks.chain(iqs).chain(features).cloned().collect()
    }
}

/// What the owner is asked.
pub enum Call {
    /// Install a change for a process, under a name that people know it by.
    Install(AnyPid, Arc<str>, Change),
    /// Take back all that a process registered.
    Remove(ProcessId),
    /// Make this the route of domains that have none.
    Default(RouteSpec, AnyPid),
    /// Mark a domain as belonging to a configured service, so that it is never foreign.
    Reserve(Arc<str>, Arc<str>),
    /// Forget that mark.
    Release(Arc<str>),
}

/// The process that serialises changes of the tables and monitors the owners of entries.
///
/// State invariant: every owner of an entry is monitored, and is in `Tables::owners`.
pub struct Owner {
    router: Router,
    monitored: HashSet<ProcessId>,
}

impl GenServer for Owner {
    const KIND: &'static str = "router";
    type Args = Router;
    type Call = Call;
    type Reply = Result<(), InstallError>;
    type Cast = ();
    type Info = ();

    async fn init(router: Router, ctx: &mut Ctx<Self>) -> Init<Self> {
        let mut owner = Owner {
            router,
            monitored: HashSet::new(),
        };
        let known: Vec<AnyPid> = owner
            .router
            .tables()
            .owners
            .lock()
            .values()
            .cloned()
            .collect();
        for pid in known {
            if pid.is_alive() {
                owner.watch(&pid, ctx);
            } else {
                owner.purge(pid.id());
            }
        }
        Init::Ok(owner)
    }

    async fn handle_call(
        &mut self,
        call: Call,
        from: From<Self::Reply>,
        ctx: &mut Ctx<Self>,
    ) -> Flow {
        let answer = match call {
            Call::Install(pid, name, change) => self.install(&pid, &name, change, ctx),
            Call::Remove(process) => {
                self.purge(process);
                Ok(())
            }
            Call::Default(spec, pid) => self.set_default(spec, &pid, ctx),
            Call::Reserve(domain, by) => self.reserve(domain, by),
            Call::Release(domain) => {
                self.release(&domain);
                Ok(())
            }
        };
        from.reply(answer);
        Flow::Go
    }

    async fn handle_info(&mut self, info: Info<()>, _ctx: &mut Ctx<Self>) -> Flow {
        if let Info::Down(down) = info {
            self.purge(down.process);
        }
        Flow::Go
    }
}

impl Owner {
    fn tables(&self) -> &Tables {
        self.router.tables()
    }

    fn watch(&mut self, pid: &AnyPid, ctx: &mut Ctx<Self>) {
        if self.monitored.insert(pid.id()) {
            ctx.monitor(pid);
            self.tables().owners.lock().insert(pid.id(), pid.clone());
        }
    }

    /// Removes what dead processes still hold where `change` goes, when a `Down` is still on its way to us. Looks
    /// there alone: among the processes of a thousand hosts the search would cost more than the change.
    fn purge_dead(&mut self, change: &Change) {
        let tables = self.tables();
        let mut there: HashSet<ProcessId> = HashSet::new();
        let hosts = tables.hosts.load();
        for cell in change.hosts().iter().filter_map(|host| hosts.get(host)) {
            let table = cell.load();
            there.extend(table.hooks.entries().map(|e| e.owner));
            there.extend(table.iq.entries().map(|(.., e)| e.owner));
            there.extend(table.features.iter().map(|f| f.owner));
        }
        let routes = tables.routes.load();
        let taken = change.routes.iter();
        let taken = taken.filter_map(|spec| routes.get(&spec.domain));
        for entry in taken {
            there.insert(entry.owner.id());
            there.extend(entry.shares.iter().flatten().map(AnyPid::id));
        }
        let dead: Vec<ProcessId> = {
            let owners = tables.owners.lock();
            let is_dead = |id: &ProcessId| owners.get(id).is_some_and(|p| !p.is_alive());
            there.into_iter().filter(is_dead).collect()
        };
        for process in dead {
            self.purge(process);
        }
    }

    fn install(
        &mut self,
        pid: &AnyPid,
        name: &Arc<str>,
        change: Change,
        ctx: &mut Ctx<Self>,
    ) -> Result<(), InstallError> {
        self.purge_dead(&change);
        let owner = pid.id();
        let tables = self.tables();
        let mut routes = match change.routes.is_empty() {
            true => Map::default(),
            false => Map::clone(&tables.routes.load()),
        };
        for spec in change.routes.iter() {
            let taken = routes.get(&spec.domain);
            if let Some(joined) = taken.and_then(|taken| taken.joined(spec, pid, name)) {
                routes.insert(Arc::clone(&spec.domain), Arc::new(joined));
                continue;
            }
            if let Some(taken) = taken.filter(|taken| !taken.awaits_successor()) {
                return Err(InstallError::DomainTaken {
                    domain: spec.domain.to_string(),
                    by: taken.owner_name.to_string(),
                });
            }
            let entry = spec.clone().owned_by(pid, name);
            routes.insert(Arc::clone(&spec.domain), Arc::new(entry));
        }
        let cells = tables.hosts.load_full();
        let mut changed: Map<Arc<str>, HostTable> = Map::default();
        for host in change.hosts() {
            let table = cells
                .get(&host)
                .map(|cell| HostTable::clone(&cell.load()))
                .unwrap_or_default();
            changed.insert(host, table);
        }
        for spec in change.hooks {
            if spec.waits && !spec.info.may_wait {
                return Err(InstallError::MayNotWait {
                    hook: spec.info.name,
                });
            }
            let table = changed
                .get_mut(&spec.host)
                .expect("every host of the change is loaded");
            table.hooks.insert(spec, owner, name);
        }
        for spec in change.iqs {
            let table = changed
                .get_mut(&spec.host)
                .expect("every host of the change is loaded");
            let namespace = spec.namespace.to_string();
            table
                .iq
                .insert(spec, owner, name)
                .map_err(|by| InstallError::NamespaceTaken {
                    namespace,
                    by: by.to_string(),
                })?;
        }
        for (host, to, feature) in change.features {
            let table = changed
                .get_mut(&host)
                .expect("every host of the change is loaded");
            table.features.push(Feature {
                to,
                name: feature,
                owner,
            });
        }
        // Nothing can fail from here on.
        let mut new_cells = Map::default();
        for (host, mut table) in changed {
            table.name_features();
            if let Some(cell) = cells.get(&host) {
                cell.store(Arc::new(table));
            } else {
                new_cells.insert(host, Arc::new(ArcSwap::from_pointee(table)));
            }
        }
        if !new_cells.is_empty() {
            let mut all = Map::clone(&cells);
            all.extend(new_cells);
            tables.hosts.store(Arc::new(all));
        }
        if !change.routes.is_empty() {
            tables.routes.store(Arc::new(routes));
        }
        self.watch(pid, ctx);
        Ok(())
    }

    fn set_default(
        &mut self,
        spec: RouteSpec,
        pid: &AnyPid,
        ctx: &mut Ctx<Self>,
    ) -> Result<(), InstallError> {
        let entry = spec.owned_by(pid, &Arc::from("default route"));
        self.tables().default_route.store(Some(Arc::new(entry)));
        self.watch(pid, ctx);
        Ok(())
    }

    fn reserve(&mut self, domain: Arc<str>, by: Arc<str>) -> Result<(), InstallError> {
        let tables = self.tables();
        let mut reserved = BTreeMap::clone(&tables.reserved.load());
        if let Some(other) = reserved.get(&domain)
            && *other != by
        {
            return Err(InstallError::DomainTaken {
                domain: domain.to_string(),
                by: other.to_string(),
            });
        }
        reserved.insert(domain, by);
        tables.reserved.store(Arc::new(reserved));
        Ok(())
    }

    fn release(&mut self, domain: &str) {
        let tables = self.tables();
        let mut reserved = BTreeMap::clone(&tables.reserved.load());
        reserved.remove(domain);
        tables.reserved.store(Arc::new(reserved));
        // A lasting route that waits for a successor waits no more.
        let routes = tables.routes.load();
        if routes.get(domain).is_some_and(|e| e.awaits_successor()) {
            let mut routes = Map::clone(&routes);
            routes.remove(domain);
            tables.routes.store(Arc::new(routes));
        }
    }

    fn purge(&mut self, process: ProcessId) {
        self.monitored.remove(&process);
        let tables = self.tables();
        tables.owners.lock().remove(&process);
        let routes = tables.routes.load();
        let goes = |entry: &RouteEntry| entry.belongs_to(process) && !entry.lasting;
        if routes.values().any(|entry| goes(entry)) {
            let left = |entry: &Arc<RouteEntry>| {
                if goes(entry) {
                    entry.without(process).map(Arc::new)
                } else {
                    Some(Arc::clone(entry))
                }
            };
            let kept = routes
                .iter()
                .filter_map(|(domain, entry)| Some((Arc::clone(domain), left(entry)?)))
                .collect();
            tables.routes.store(Arc::new(kept));
        }
        if tables
            .default_route
            .load()
            .as_ref()
            .is_some_and(|entry| entry.owner.id() == process)
        {
            tables.default_route.store(None);
        }
        for cell in tables.hosts.load().values() {
            let table = cell.load();
            let holds = table.hooks.entries().any(|e| e.owner == process)
                || table.iq.entries().any(|(.., e)| e.owner == process)
                || table.features.iter().any(|f| f.owner == process);
            if holds {
                let mut table = HostTable::clone(&table);
                table.hooks.remove_owner(process);
                table.iq.remove_owner(process);
                table.features.retain(|f| f.owner != process);
                table.name_features();
                cell.store(Arc::new(table));
            }
        }
    }
}

impl RouteSpec {
    fn owned_by(self, owner: &AnyPid, name: &Arc<str>) -> RouteEntry {
        let mut shares = Vec::new();
        if let (Some(number), Mode::Balanced(_, slots)) = (self.slot, &self.mode) {
            shares = vec![None; slots.len()];
            shares[number] = Some(owner.clone());
        }
        RouteEntry {
            shares,
            host: self.host,
            domain: self.domain,
            mode: self.mode,
            owner: owner.clone(),
            owner_name: Arc::clone(name),
            lasting: self.lasting,
        }
    }
}

impl RouteEntry {
    /// Whether it is, or one of its slots is, this process's.
    pub(crate) fn belongs_to(&self, process: ProcessId) -> bool {
        if self.shares.is_empty() {
            return self.owner.id() == process;
        }
        let mut shares = self.shares.iter().flatten();
        shares.any(|owner| owner.id() == process)
    }

    /// The route with one more slot filled; none unless it is shared by processes of this name in this way and the
    /// slot is free.
    fn joined(&self, spec: &RouteSpec, owner: &AnyPid, name: &Arc<str>) -> Option<RouteEntry> {
        let (Mode::Balanced(by, slots), Mode::Balanced(also_by, theirs)) = (&self.mode, &spec.mode)
        else {
            return None;
        };
        let number = spec.slot?;
        let same = by == also_by && slots.len() == theirs.len() && self.host == spec.host;
        if !same || self.owner_name != *name || self.shares.get(number)?.is_some() {
            return None;
        }
        let (mut slots, mut shares) = (slots.clone(), self.shares.clone());
        slots[number].clone_from(&theirs[number]);
        shares[number] = Some(owner.clone());
        Some(self.with_slots(*by, slots, shares))
    }

    /// The route without a process's slots; none when nobody fills any.
    fn without(&self, process: ProcessId) -> Option<RouteEntry> {
        let Mode::Balanced(by, slots) = &self.mode else {
            return None;
        };
        let (mut slots, mut shares) = (slots.clone(), self.shares.clone());
        for (slot, share) in slots.iter_mut().zip(&mut shares) {
            if share.as_ref().is_some_and(|owner| owner.id() == process) {
                (*slot, *share) = (None, None);
            }
        }
        let filled = shares.iter().any(Option::is_some);
        filled.then(|| self.with_slots(*by, slots, shares))
    }

    fn with_slots(
        &self,
        by: BalanceBy,
        slots: Vec<Option<Post>>,
        shares: Vec<Option<AnyPid>>,
    ) -> RouteEntry {
        RouteEntry {
            domain: Arc::clone(&self.domain),
            host: self.host.clone(),
            mode: Mode::Balanced(by, slots),
            owner: self.owner.clone(),
            owner_name: Arc::clone(&self.owner_name),
            lasting: false,
            shares,
        }
    }

    /// Its owner has fallen, and it lasts until somebody takes its place.
    fn awaits_successor(&self) -> bool {
        self.lasting && !self.owner.is_alive()
    }
}

impl Mode {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Mode::Inline(_) => "inline",
            Mode::Actor(_) => "actor",
            Mode::Balanced(..) => "balanced",
        }
    }
}
