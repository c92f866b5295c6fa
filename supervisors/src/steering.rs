//! What the commands ask of the binary: the configuration file, kept changes, reload, the end.

use std::sync::{Arc, OnceLock};

use config::{Described, Options, Overrides};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use gen_mod::{Catalog, ModuleKind, Modules};
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
    loaded: Arc<Mutex<Loaded>>,
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
        *loaded = self
            .place
            .load(self.catalog, self.standard)
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
        let read = self
            .place
            .load(self.catalog, self.standard)
            .map_err(|error| error.to_string());
        let (certificates, loaded) = (self.certificates.clone(), Arc::clone(&self.loaded));
        let (node, catalog) = (Arc::clone(&self.node), self.catalog);
        async move {
            let new = read?;
            certificates
                .replace(certificate_sources(&new))
                .map_err(|error| error.to_string())?;
            let mut changes = vec!["certificates: read anew".to_owned()];
            let old = loaded.lock().clone();
            changes.extend(needs_restart(&old, &new));
            if let Some(node) = node.get() {
                for host in node.hosts.values() {
                    for kind in catalog.0 {
                        let (was, is) = (
                            old.module(&host.name, kind.name),
                            new.module(&host.name, kind.name),
                        );
                        let modules = Modules::of(host);
                        let words = match (was.enabled, is.enabled) {
                            (false, true) => modules
                                .start(kind.name, is.section)
                                .await
                                .map(|()| "started"),
                            (true, false) => modules.stop(kind.name).await.map(|()| "stopped"),
                            (true, true) if said(&was, kind) != said(&is, kind) => modules
                                .reload(kind.name, is.section)
                                .await
                                .map(|()| "options changed"),
                            _ => continue,
                        };
                        let words = words
                            .map_err(|error| format!("{} on {}: {error}", kind.name, host.name))?;
                        changes.push(format!("{} on {}: {words}", kind.name, host.name));
                    }
                }
            }
            *loaded.lock() = new;
            Ok(changes)
        }
        .boxed()
    }

    fn stop(&self) {
        self.stop.notify_one();
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
