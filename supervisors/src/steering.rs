//! What the commands ask of the binary: the configuration file, kept changes, reload, the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use config::{Described, Options, Overrides};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use gen_mod::{Catalog, Host, LoadError, ModuleKind, Modules};
use net::Certificates;
use node::{Configured, Keep, Node, Steering};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::server::certificate_sources;
use crate::settings::{Loaded, OVERRIDES, Place, Settings, Standard};

/// Steers one server.
pub(crate) struct Steer {
    place: Place,
    catalog: Catalog,
    standard: Standard,
    /// What holds: the file as it was last applied, and what is kept. The lock is held over the writing
    /// of the kept changes, a small file: two at once would lose one.
    loaded: Arc<Mutex<Loaded>>,
    /// Modules that the last reload could not make what the file says: the next tries again.
    unapplied: Arc<Mutex<BTreeSet<(String, &'static str)>>>,
    /// One reload at a time.
    reloading: Arc<tokio::sync::Mutex<()>>,
    certificates: Certificates,
    node: Arc<OnceLock<Node>>,
    stop: Arc<Notify>,
}

impl Steer {
    pub(crate) fn new(
        place: Place,
        loaded: Loaded,
        catalog: Catalog,
        standard: Standard,
        certificates: Certificates,
    ) -> Steer {
        Steer {
            place,
            catalog,
            standard,
            loaded: Arc::new(Mutex::new(loaded)),
            unapplied: Arc::default(),
            reloading: Arc::default(),
            certificates,
            node: Arc::default(),
            stop: Arc::default(),
        }
    }

    /// The server that is steered, once it is built.
    pub(crate) fn set_node(&self, node: Node) {
        assert!(self.node.set(node).is_ok(), "a server is built once");
    }

    /// Resolves when the end was ordered.
    pub(crate) async fn stopped(&self) {
        self.stop.notified().await;
    }
}

impl Steering for Steer {
    fn module(&self, host: &str, module: &str) -> Configured {
        self.loaded.lock().module(host, module)
    }

    fn keep(&self, host: &str, module: &str, change: Keep<'_>) -> Result<(), String> {
        let mut loaded = self.loaded.lock();
        let path = loaded.data_dir.join(OVERRIDES);
        let mut overrides = Overrides::open(&path).map_err(|error| error.to_string())?;
        let at = |key: &'static str| ["host", host, "modules", module, key];
        let set = |overrides: &mut Overrides, path: &[&str], raw: &config::Raw| {
            overrides.set(path, raw).map_err(|error| error.to_string())
        };
        match change {
            Keep::Nothing => {
                overrides.unset(&["host", host, "modules", module]);
            }
            Keep::Started(section) => {
                set(&mut overrides, &at("enabled"), &flag(true))?;
                for entry in section.entries() {
                    set(
                        &mut overrides,
                        &["host", host, "modules", module, &entry.key],
                        &entry.value,
                    )?;
                }
            }
            Keep::Stopped => set(&mut overrides, &at("enabled"), &flag(false))?,
        }
        overrides.save().map_err(|error| error.to_string())?;
        *loaded = loaded
            .with_kept(self.catalog)
            .map_err(|error| error.to_string())?;
        Ok(())
    }

    fn show(&self, origin: bool) -> String {
        let loaded = self.loaded.lock();
        let mut shown = config::effective(
            &loaded.section.without(&["modules", "host"]),
            Settings::declared(),
        );
        for host in &loaded.hosts {
            for kind in self.catalog.0 {
                let module = loaded.module(host, kind.name);
                if !module.enabled {
                    continue;
                }
                let section = module.section.for_host(host);
                for mut value in config::effective(&section, (kind.options)()) {
                    let key = value.path.rsplit('.').next().unwrap_or_default().to_owned();
                    value.path = format!("host.\"{host}\".modules.{}.{key}", kind.name);
                    shown.push(value);
                }
            }
        }
        config::effective_table(&shown, origin)
    }

    fn described(&self) -> Vec<Described> {
        described(self.catalog)
    }

    fn reload(&self) -> BoxFuture<'static, Result<Vec<String>, String>> {
        // The data directory does not change under a running server.
        let data_dir = Some(self.loaded.lock().data_dir.clone());
        let file = self.place.file.clone();
        let read = Place { file, data_dir }.load(self.catalog, self.standard);
        let (certificates, loaded) = (self.certificates.clone(), Arc::clone(&self.loaded));
        let (unapplied, reloading) = (Arc::clone(&self.unapplied), Arc::clone(&self.reloading));
        let (node, catalog) = (Arc::clone(&self.node), self.catalog);
        async move {
            let _alone = reloading.lock().await;
            let new = read.map_err(|error| error.to_string())?;
            certificates
                .replace(certificate_sources(&new))
                .map_err(|error| error.to_string())?;
            let mut lines = vec!["certificates: read anew".to_owned()];
            let old = loaded.lock().clone();
            lines.extend(needs_restart(&old, &new));
            let mut left = std::mem::take(&mut *unapplied.lock());
            left.extend(changed(catalog, &old, &new));
            let hosts = node.get().map(|node| &node.hosts).into_iter().flatten();
            let hosts: BTreeMap<_, _> = hosts.collect();
            let mut refused = Vec::new();
            // One may need another, whatever their order: as long as some succeed the rest is tried again.
            while !left.is_empty() {
                let tried = left.len();
                refused.clear();
                for (host, kind) in std::mem::take(&mut left) {
                    let Some(running) = hosts.get(&host) else {
                        continue;
                    };
                    match apply(running, kind, new.module(&host, kind)).await {
                        Ok(done) => lines.push(format!("{kind} on {host}: {done}")),
                        Err(error) => {
                            refused.push(format!("{kind} on {host}: {error}"));
                            left.insert((host, kind));
                        }
                    }
                }
                if left.len() == tried {
                    break;
                }
            }
            let kept = new.with_kept(catalog).unwrap_or(new);
            *loaded.lock() = kept;
            if refused.is_empty() {
                return Ok(lines);
            }
            *unapplied.lock() = left;
            Err(format!("all applied but:\n{}", refused.join("\n")))
        }
        .boxed()
    }

    fn stop(&self) {
        self.stop.notify_one();
    }
}

/// The modules of which something else is said now.
fn changed(catalog: Catalog, old: &Loaded, new: &Loaded) -> BTreeSet<(String, &'static str)> {
    let differs = |host: &str, kind: &ModuleKind| {
        let (was, is) = (old.module(host, kind.name), new.module(host, kind.name));
        was.enabled != is.enabled || (is.enabled && said(&was, kind) != said(&is, kind))
    };
    let mut changed = BTreeSet::new();
    for host in &new.hosts {
        let kinds = catalog.0.iter().filter(|kind| differs(host, kind));
        changed.extend(kinds.map(|kind| (host.clone(), kind.name)));
    }
    changed
}

/// Makes a module be as configured, whatever it is now: a change that is not kept may have been first.
async fn apply(host: &Host, name: &str, module: Configured) -> Result<&'static str, LoadError> {
    let runs = host.modules.list().iter().any(|row| row.name == name);
    let modules = Modules::of(host);
    match (module.enabled, runs) {
        (true, true) => modules
            .reload(name, module.section)
            .await
            .map(|()| "options changed"),
        (true, false) => modules
            .start(name, module.section)
            .await
            .map(|()| "started"),
        (false, true) => modules.stop(name).await.map(|()| "stopped"),
        (false, false) => Ok("does not run, as configured"),
    }
}

fn flag(value: bool) -> config::Raw {
    config::Raw::made(config::Node::Bool(value))
}

/// What holds for a module, without where it was said.
fn said(module: &Configured, kind: &ModuleKind) -> Vec<(String, String)> {
    let shown = config::effective(&module.section, (kind.options)());
    shown
        .into_iter()
        .map(|value| (value.path, value.value))
        .collect()
}

/// Differences that only a restart of the node brings in.
fn needs_restart(old: &Loaded, new: &Loaded) -> Vec<String> {
    let values = |loaded: &Loaded| {
        config::effective(
            &loaded.section.without(&["modules", "host", "tls"]),
            Settings::declared(),
        )
    };
    let before = values(old);
    let changed = values(new).into_iter().filter(|value| {
        !before
            .iter()
            .any(|b| b.path == value.path && b.value == value.value)
    });
    changed
        .map(|value| {
            format!(
                "{} = {}: takes effect with a restart of the node",
                value.path, value.value
            )
        })
        .collect()
}

/// Every table of the configuration file.
pub(crate) fn described(catalog: Catalog) -> Vec<Described> {
    let mut described = vec![Described::of::<Settings>("")];
    described.extend(catalog.0.iter().map(|kind| (kind.described)()));
    described
}
