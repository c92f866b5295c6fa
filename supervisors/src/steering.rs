//! What the commands ask of the binary: the configuration file, kept changes, reload, the end.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use config::{Described, Options, Overrides};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use gen_mod::Catalog;
use node::{Configured, Keep, Steering};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::copies;
use crate::reload::{Plan, Works};
use crate::settings::{Loaded, OVERRIDES, Place, Settings, Standard};

/// Steers one server. Clones are the same.
#[derive(Clone)]
pub(crate) struct Steer(Arc<Inner>);

struct Inner {
    place: Place,
    catalog: Catalog,
    standard: Standard,
    /// What holds: the file as it was last applied, and what is kept. The lock is held over the writing
    /// of the kept changes, a small file: two at once would lose one.
    loaded: Mutex<Loaded>,
    /// One change of the whole server at a time.
    alone: tokio::sync::Mutex<()>,
    works: OnceLock<Works>,
    /// What takes other directives for the log.
    log: OnceLock<SetLog>,
    stop: Notify,
    /// The program starts anew after its end.
    again: AtomicBool,
}

/// Takes other directives for the log, which were found good.
pub type SetLog = Box<dyn Fn(&str) + Send + Sync>;

impl Steer {
    pub(crate) fn new(place: Place, loaded: Loaded, catalog: Catalog, standard: Standard) -> Steer {
        Steer(Arc::new(Inner {
            place,
            catalog,
            standard,
            loaded: Mutex::new(loaded),
            alone: tokio::sync::Mutex::default(),
            works: OnceLock::new(),
            log: OnceLock::new(),
            stop: Notify::new(),
            again: AtomicBool::new(false),
        }))
    }

    /// The server that is steered, once it is built.
    pub(crate) fn set_works(&self, works: Works) {
        assert!(self.0.works.set(works).is_ok(), "a server is built once");
    }

    pub(crate) fn set_log(&self, log: SetLog) {
        assert!(self.0.log.set(log).is_ok(), "a server logs to one place");
    }

    fn works(&self) -> &Works {
        self.0.works.get().expect("commands come when it is built")
    }

    /// The configuration file, when there is one.
    pub(crate) fn configuration(&self) -> Option<PathBuf> {
        self.0.loaded.lock().file.clone()
    }

    /// Resolves when the end was ordered.
    pub(crate) async fn stopped(&self) {
        self.0.stop.notified().await;
    }

    /// Whether the program is to start anew after its end.
    pub(crate) fn starts_again(&self) -> bool {
        self.0.again.load(Ordering::Relaxed)
    }

    /// Makes the server what `new` says.
    async fn change_to(&self, new: Loaded, only_plan: bool) -> Result<Vec<String>, String> {
        let old = self.0.loaded.lock().clone();
        let plan = Plan::find(self.works(), &old, &new);
        if only_plan {
            return Ok(plan.lines);
        }
        let lines = plan.apply(self.works(), &new).await?;
        if old.settings.log != new.settings.log
            && let Some(set) = self.0.log.get()
        {
            set(&new.settings.log);
        }
        let mut loaded = self.0.loaded.lock();
        // A module's hot change may have been kept meanwhile.
        *loaded = new.with_kept(self.0.catalog).unwrap_or(new);
        Ok(lines)
    }

    /// The kept changes with a host served or not, not written yet, and what holds with them.
    fn with_host(&self, host: &str, served: bool) -> Result<(Overrides, Loaded), String> {
        let loaded = self.0.loaded.lock().clone();
        let path = loaded.data_dir.join(OVERRIDES);
        let mut overrides = Overrides::open(&path).map_err(|error| error.to_string())?;
        let key = ["host", host, "served"];
        overrides.unset(&key);
        let without = loaded.with_overrides(&overrides, self.0.catalog);
        let new = match without {
            // Nothing needs to be kept where the file says so itself.
            Ok(without) if without.hosts.iter().any(|h| h == host) == served => without,
            _ => {
                let set = overrides.set(&key, &flag(served));
                set.map_err(|error| error.to_string())?;
                loaded
                    .with_overrides(&overrides, self.0.catalog)
                    .map_err(|error| error.to_string())?
            }
        };
        Ok((overrides, new))
    }
}

impl Steering for Steer {
    fn module(&self, host: &str, module: &str) -> Configured {
        self.0.loaded.lock().module(host, module)
    }

    fn keep(&self, host: &str, module: &str, change: Keep<'_>) -> Result<(), String> {
        let mut loaded = self.0.loaded.lock();
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
            .with_kept(self.0.catalog)
            .map_err(|error| error.to_string())?;
        Ok(())
    }

    fn show(&self, origin: bool) -> String {
        let loaded = self.0.loaded.lock();
        let mut shown = config::effective(
            &loaded.section.without(&["modules", "host"]),
            Settings::declared(),
        );
        for (host, settings) in &loaded.settings.host {
            let Some(served) = loaded.served(host) else {
                continue;
            };
            shown.push(config::Shown {
                path: format!("host.\"{host}\".served"),
                value: settings.served.unwrap_or_default().to_string(),
                origin: served,
                reload: config::Reload::Live,
            });
        }
        for host in &loaded.hosts {
            for kind in self.0.catalog.0 {
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
        described(self.0.catalog)
    }

    fn reload(&self, only_plan: bool) -> BoxFuture<'static, Result<Vec<String>, String>> {
        let steer = self.clone();
        async move {
            let _alone = steer.0.alone.lock().await;
            // The data directory does not change under a running server.
            let data_dir = Some(steer.0.loaded.lock().data_dir.clone());
            let file = steer.0.place.file.clone();
            let place = Place { file, data_dir };
            let new = place
                .load(steer.0.catalog, steer.0.standard)
                .map_err(|error| format!("{error}\nnothing was changed"))?;
            steer.change_to(new, only_plan).await
        }
        .boxed()
    }

    fn serve(
        &self,
        host: &str,
        served: bool,
        keep: bool,
    ) -> BoxFuture<'static, Result<Vec<String>, String>> {
        let steer = self.clone();
        let host = host.to_owned();
        async move {
            let _alone = steer.0.alone.lock().await;
            let host = xmpp::canonical_domain(&host)
                .map_err(|error| format!("`{host}` is not a domain: {error}"))?
                .into_owned();
            if steer.works().houses.table().contains(&host) == served {
                let already = if served { "already" } else { "not" };
                return Err(format!("{host} is {already} served"));
            }
            let (overrides, new) = steer.with_host(&host, served)?;
            let lines = steer.change_to(new, false).await?;
            if keep && let Err(error) = overrides.save() {
                return Err(format!("done, but not kept over a restart: {error}"));
            }
            Ok(lines)
        }
        .boxed()
    }

    fn copy_out(&self, folder: &Path) -> Result<Vec<String>, String> {
        let loaded = self.0.loaded.lock();
        copies::out(&loaded.data_dir, folder)
    }

    fn copy_in(&self, folder: &Path) -> BoxFuture<'static, Result<Vec<String>, String>> {
        let data_dir = self.0.loaded.lock().data_dir.clone();
        let (steer, folder) = (self.clone(), folder.to_owned());
        async move {
            let mut done = copies::into(&data_dir, &folder)?;
            done.extend(steer.reload(false).await?);
            Ok(done)
        }
        .boxed()
    }

    fn stop(&self) {
        self.0.stop.notify_one();
    }

    fn restart(&self) {
        self.0.again.store(true, Ordering::Relaxed);
        self.0.stop.notify_one();
    }
}

fn flag(value: bool) -> config::Raw {
    config::Raw::made(config::Node::Bool(value))
}

/// Every table of the configuration file.
pub(crate) fn described(catalog: Catalog) -> Vec<Described> {
    let mut described = vec![Described::of::<Settings>("")];
    described.extend(catalog.0.iter().map(|kind| (kind.described)()));
    described
}
