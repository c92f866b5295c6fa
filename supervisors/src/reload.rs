//! Reloads: what a new configuration changes, found first and then done, all of it or nothing.
//!
//! The order is from what may fail to what may not: certificates are read, sockets bound, hosts and modules
//! started; a failure undoes, last first, what was done before it. Only then certificates are served, listeners
//! closed and hosts ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use config::{Options, Reload, Shown};
use gen_mod::{Catalog, Host, LoadError, ModuleKind, Modules};
use net::Certificates;
use node::Configured;
use session::Sessions;
use web::{Clients, Web};

use crate::doors::{Door, Doors, bind, warn_of_clear};
use crate::houses::Houses;
use crate::server::{budget_options, certificate_sources, session_policy, web_settings};
use crate::settings::{Listener, Loaded, Settings};

/// Makes what clients that come by HTTP get of a configuration.
pub(crate) type MakeClients = Arc<dyn Fn(&Loaded) -> Clients + Send + Sync>;

/// What of a running server a configuration can change.
#[derive(Clone)]
pub(crate) struct Works {
    pub(crate) certificates: Certificates,
    pub(crate) houses: Houses,
    pub(crate) doors: Doors,
    pub(crate) sessions: Sessions,
    pub(crate) web: Web,
    pub(crate) clients: MakeClients,
    pub(crate) catalog: Catalog,
}

/// What a new configuration changes.
pub(crate) struct Plan {
    opened: Vec<(Listener, String)>,
    kept: Vec<(Door, Listener)>,
    closed: Vec<Door>,
    begun: Vec<String>,
    ended: Vec<String>,
    modules: Vec<(Host, &'static str)>,
    /// Each change in one line.
    pub(crate) lines: Vec<String>,
}

impl Plan {
    /// Finds what makes `works`, which was made by `old`, what `new` says.
    pub(crate) fn find(works: &Works, old: &Loaded, new: &Loaded) -> Plan {
        let mut plan = Plan {
            opened: Vec::new(),
            kept: Vec::new(),
            closed: Vec::new(),
            begun: Vec::new(),
            ended: Vec::new(),
            modules: Vec::new(),
            lines: values(old, new),
        };
        plan.find_hosts(works, new);
        plan.find_doors(works, new);
        plan.find_modules(works, old, new);
        plan
    }

    /// Compared with the hosts that run: one may have been added for the time being.
    fn find_hosts(&mut self, works: &Works, new: &Loaded) {
        let running = works.houses.table().all();
        let is_new = |host: &&String| !running.contains_key(*host);
        self.begun = new.hosts.iter().filter(is_new).cloned().collect();
        let is_gone = |host: &&String| !new.hosts.contains(host);
        self.ended = running.keys().filter(is_gone).cloned().collect();
        for host in &self.begun {
            self.lines.push(format!("host {host}: added"));
        }
        for host in &self.ended {
            self.lines
                .push(format!("host {host}: removed, its sessions end"));
        }
    }

    /// A listener is known by its address. Where one address stands twice (port 0), by its TLS, too.
    fn find_doors(&mut self, works: &Works, new: &Loaded) {
        let mut open = works.doors.list();
        let wanted: Vec<(&Listener, &String)> = new
            .listeners
            .iter()
            .flat_map(|listener| listener.address.iter().map(move |at| (listener, at)))
            .collect();
        let mut left = Vec::new();
        for (listener, address) in wanted {
            let same = |door: &Door| door.address == *address && door.listener.tls == listener.tls;
            self.keep(&mut open, listener, same)
                .unwrap_or_else(|| left.push((listener, address)));
        }
        for (listener, address) in left {
            let same = |door: &Door| door.address == *address;
            let kept = self.keep(&mut open, listener, same);
            if kept.is_none() {
                self.lines.push(format!(
                    "listener {} {address} ({}): opened",
                    listener.kind, listener.tls
                ));
                self.opened.push((listener.clone(), address.clone()));
            }
        }
        for door in &open {
            let (kind, tls) = (door.listener.kind, door.listener.tls);
            self.lines
                .push(format!("listener {kind} {} ({tls}): closed", door.address));
        }
        self.closed = open;
    }

    /// Takes the open doors that `same` finds over for `listener`; `None` if there is none.
    fn keep(
        &mut self,
        open: &mut Vec<Door>,
        listener: &Listener,
        same: impl Fn(&Door) -> bool,
    ) -> Option<()> {
        let group = open.iter().find(|door| same(door))?.group;
        let (kept, others) = open.drain(..).partition(|door| door.group == group);
        *open = others;
        let kept: Vec<Door> = kept;
        for (key, was, is) in kept[0].differences(listener) {
            let option = Listener::declared().iter().find(|option| option.key == key);
            let when = option.map_or(Reload::Live, |option| option.reload);
            let what = format!("listener {} {}.{key}", listener.kind, kept[0].address);
            self.lines.push(said(&what, &was, &is, when));
        }
        let kept = kept.into_iter().map(|door| (door, listener.clone()));
        self.kept.extend(kept);
        Some(())
    }

    fn find_modules(&mut self, works: &Works, old: &Loaded, new: &Loaded) {
        let running = works.houses.table().all();
        for name in &new.hosts {
            let Some(host) = running.get(name) else {
                continue;
            };
            for kind in works.catalog.0 {
                let (was, is) = (old.module(name, kind.name), new.module(name, kind.name));
                let differs = was.enabled != is.enabled
                    || (is.enabled && shown(&was, kind) != shown(&is, kind));
                if !differs {
                    continue;
                }
                let done = match (is.enabled, runs(host, kind.name)) {
                    (true, true) => format!("options changed{}", options(&was, &is, kind)),
                    (true, false) => "started".to_owned(),
                    (false, true) => "stopped".to_owned(),
                    (false, false) => "does not run, as configured".to_owned(),
                };
                self.lines.push(format!("{} on {name}: {done}", kind.name));
                self.modules.push((host.clone(), kind.name));
            }
        }
    }

    /// Does it.
    ///
    /// # Errors
    ///
    /// In words; everything is as before, or what could not be made so is said.
    pub(crate) async fn apply(self, works: &Works, new: &Loaded) -> Result<Vec<String>, String> {
        let mut done = Vec::new();
        match self.attempt(works, new, &mut done).await {
            Ok(lines) => Ok(lines),
            Err(why) => {
                let mut told = format!("{why}\nnothing was changed");
                for step in done.into_iter().rev() {
                    if let Err(error) = step.undo(works).await {
                        tracing::error!(target: "natter::node", %error, "a reload was not undone");
                        told.push_str(&format!(", but: {error}"));
                    }
                }
                Err(told)
            }
        }
    }

    async fn attempt(
        mut self,
        works: &Works,
        new: &Loaded,
        done: &mut Vec<Done>,
    ) -> Result<Vec<String>, String> {
        let certificates = works.certificates.prepare(certificate_sources(new));
        let certificates = certificates.map_err(|errors| errors.to_string())?;
        for (listener, address) in std::mem::take(&mut self.opened) {
            self.open(works, new, &listener, &address, done).await?;
        }
        for name in &self.begun {
            works.houses.begin(name, new).await?;
            done.push(Done::Begun(name.clone()));
        }
        self.change_modules(new, done).await?;

        works.certificates.install(certificates);
        works
            .sessions
            .set_policy(session_policy(&new.settings.limits));
        let budgets = works.sessions.auth.budgets();
        budgets.set(budget_options(&new.settings.limits));
        works.doors.admit(&new.settings.limits);
        works.web.set(web_settings(&new.settings.http));
        works.web.set_clients((works.clients)(new));
        for (door, listener) in &self.kept {
            works.doors.change(door, listener, new);
        }
        let mut lines = self.lines;
        for door in &self.closed {
            if let Err(error) = works.doors.close(door).await {
                lines.push(error);
            }
        }
        for name in &self.ended {
            if let Err(error) = works.houses.end(name).await {
                lines.push(error);
            }
        }
        for domain in works.certificates.report().uncovered {
            lines.push(format!("no certificate covers {domain}"));
        }
        Ok(lines)
    }

    /// Opens a listener. One that is to be closed may have its port (`127.0.0.1:5222` becomes `0.0.0.0:5222`): it
    /// listens until everything has succeeded, so that it cannot be lost to somebody else.
    async fn open(
        &self,
        works: &Works,
        new: &Loaded,
        listener: &Listener,
        address: &str,
        done: &mut Vec<Done>,
    ) -> Result<(), String> {
        let bound = bind(listener, address, new, &self.closed);
        let bound = bound.map_err(|error| error.to_string())?;
        for door in works.doors.make(listener, address, bound, new) {
            works.doors.open(door.clone()).await?;
            done.push(Done::Opened(door));
        }
        warn_of_clear(listener);
        Ok(())
    }

    /// One module may need another, whatever their order: as long as some succeed the rest is tried again.
    async fn change_modules(&mut self, new: &Loaded, done: &mut Vec<Done>) -> Result<(), String> {
        let mut left = std::mem::take(&mut self.modules);
        loop {
            let tried = left.len();
            let mut refused = Vec::new();
            for (host, name) in std::mem::take(&mut left) {
                let before = Done::module(&host, name);
                match change(&host, name, new.module(&host.name, name)).await {
                    Ok(()) => done.push(before),
                    Err(error) => {
                        refused.push(format!("{name} on {}: {error}", host.name));
                        left.push((host, name));
                    }
                }
            }
            if left.is_empty() {
                return Ok(());
            }
            if left.len() == tried {
                return Err(refused.join("\n"));
            }
        }
    }
}

/// A step that was done, with what it takes to undo it.
enum Done {
    Opened(Door),
    Begun(String),
    /// A module, and the options it had, if it ran.
    Module(Host, &'static str, Option<config::Section>),
}

impl Done {
    /// How a module is before it is changed.
    fn module(host: &Host, name: &'static str) -> Done {
        let rows = host.modules.list();
        let row = rows.into_iter().find(|row| row.name == name);
        Done::Module(host.clone(), name, row.map(|row| row.section))
    }

    async fn undo(self, works: &Works) -> Result<(), String> {
        match self {
            Done::Opened(door) => works.doors.close(&door).await,
            Done::Begun(name) => works.houses.end(&name).await,
            Done::Module(host, name, before) => {
                let enabled = before.is_some();
                let section = before.unwrap_or_else(|| config::Section::empty(""));
                let undone = change(&host, name, Configured { section, enabled }).await;
                undone.map_err(|error| format!("{name} on {}: {error}", host.name))
            }
        }
    }
}

/// Makes a module be as configured, whatever it is now: a change that is not kept may have been first.
async fn change(host: &Host, name: &str, module: Configured) -> Result<(), LoadError> {
    let modules = Modules::of(host);
    match (module.enabled, runs(host, name)) {
        (true, true) => modules.reload(name, module.section).await,
        (true, false) => modules.start(name, module.section).await,
        (false, true) => modules.stop(name).await,
        (false, false) => Ok(()),
    }
}

fn runs(host: &Host, name: &str) -> bool {
    host.modules.list().iter().any(|row| row.name == name)
}

/// What holds for a module, without where it was said.
fn shown(module: &Configured, kind: &ModuleKind) -> Vec<(String, String)> {
    let shown = config::effective(&module.section, (kind.options)());
    let key = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    shown
        .into_iter()
        .map(|value| (key(&value.path), value.value))
        .collect()
}

/// The options in which two configurations of a module differ: ` (host: "a" → "b")`.
fn options(was: &Configured, is: &Configured, kind: &ModuleKind) -> String {
    let (was, is) = (shown(was, kind), shown(is, kind));
    let old = |key: &str| was.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
    let changed: Vec<String> = is
        .iter()
        .filter(|(key, value)| old(key) != Some(value))
        .map(|(key, value)| format!("{key}: {} → {value}", old(key).unwrap_or("–")))
        .collect();
    if changed.is_empty() {
        return String::new();
    }
    format!(" ({})", changed.join(", "))
}

/// The values outside of hosts, listeners and modules that differ.
fn values(old: &Loaded, new: &Loaded) -> Vec<String> {
    let all = |loaded: &Loaded| -> BTreeMap<String, Shown> {
        let others = ["modules", "host", "hosts", "listener"];
        let shown = config::effective(&loaded.section.without(&others), Settings::declared());
        shown
            .into_iter()
            .filter(|value| !others.contains(&value.path.as_str()))
            .map(|value| (value.path.clone(), value))
            .collect()
    };
    let (was, is) = (all(old), all(new));
    let mut paths: Vec<&String> = was.keys().chain(is.keys()).collect();
    paths.sort();
    paths.dedup();
    paths
        .into_iter()
        .filter_map(|path| {
            let (was, is) = (was.get(path), is.get(path));
            let value = |shown: Option<&Shown>| shown.map_or("–", |s| s.value.as_str()).to_owned();
            let when = is.or(was).map_or(Reload::Live, |shown| shown.reload);
            (value(was) != value(is)).then(|| said(path, &value(was), &value(is), when))
        })
        .collect()
}

/// One difference in one line.
fn said(what: &str, was: &str, is: &str, when: Reload) -> String {
    let when = match when {
        Reload::Live => "",
        Reload::NewConnections => ", for new connections",
        Reload::Restart => ", with a restart of the node",
    };
    format!("{what}: {was} → {is}{when}")
}
