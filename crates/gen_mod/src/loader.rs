//! The loader: starts, stops, restarts and reloads the modules of one host, one change at a time.
//!
//! One per host, permanent, after the host's `modules_sup`. What it knows lives in the host's
//! [`ModuleTable`], which outlives it: a restarted loader leaves running modules alone, starts again
//! those that fell with their supervisor, and stops one whose start was not finished.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use config::{Errors, Section};
use otp::{
    AnyPid, CallError, ChildSpec, Ctx, ExitReason, Flow, From, GenServer, Info, Init, Instant,
    MonitorRef, Name, SupPid,
};
use parking_lot::Mutex;

use crate::Host;
use crate::catalog::{Catalog, Control, ModuleKind, Prepared};
use crate::module::Reload;

/// How long a change of one module may take: its start may wait for a store.
const CHANGE_WITHIN: Duration = Duration::from_secs(30);

/// A module's state as `module_list` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Its process runs, or is being restarted.
    Running,
    /// It fell too often and was given up; the text says how it fell last.
    Failed(String),
}

struct Entry {
    state: State,
    section: Section,
    reserved: Arc<Mutex<Vec<String>>>,
    control: Arc<dyn Control>,
    supervisor: Option<AnyPid>,
    since: Instant,
}

/// Which modules a host runs. Written by the loader alone.
#[derive(Clone, Default)]
pub struct ModuleTable(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    /// What configuration wants was started; from then on the entries say what is to run.
    begun: bool,
    entries: BTreeMap<&'static str, Entry>,
}

/// A row of `natterctl module_list`. Has no `Debug`: options may hold secrets.
#[derive(Clone)]
pub struct ModuleRow {
    /// Its name.
    pub name: &'static str,
    /// Whether it runs.
    pub state: State,
    /// Its options as they hold, each with its origin.
    pub section: Section,
    /// Its process, when there is one.
    pub process: Option<AnyPid>,
    /// Since when it is started or given up.
    pub since: Instant,
}

impl ModuleTable {
    /// Every module that was started and not stopped, by name.
    #[must_use]
    pub fn list(&self) -> Vec<ModuleRow> {
        let table = self.0.lock();
        table
            .entries
            .iter()
            .map(|(name, entry)| ModuleRow {
                name,
                state: entry.state.clone(),
                section: entry.section.clone(),
                process: entry.control.process(),
                since: entry.since,
            })
            .collect()
    }

    /// The domains that its modules have reserved, for whoever takes the host down.
    #[must_use]
    pub fn domains(&self) -> Vec<String> {
        let table = self.0.lock();
        let entries = table.entries.values();
        entries
            .flat_map(|entry| entry.reserved.lock().clone())
            .collect()
    }

    fn runs(&self, name: &str) -> bool {
        self.0
            .lock()
            .entries
            .get(name)
            .is_some_and(|entry| entry.state == State::Running)
    }

    /// Changes the entry of a module, if there is one.
    fn change<T>(&self, name: &str, change: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        self.0.lock().entries.get_mut(name).map(change)
    }
}

impl fmt::Debug for ModuleTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.lock().entries.keys())
            .finish()
    }
}

/// Why a module was not changed. Nothing else was changed either.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no such module.
    #[error("unknown module `{name}`{}", did_you_mean(.nearest))]
    Unknown {
        /// As it was named.
        name: String,
        /// The module probably meant.
        nearest: Option<&'static str>,
    },
    /// It runs already.
    #[error("{0} is already running; `restart_module` starts it anew")]
    Running(&'static str),
    /// It does not run.
    #[error("{0} is not running")]
    NotRunning(String),
    /// Another module must run first.
    #[error("{module} needs {needs}, which is not running; start {needs} first")]
    Missing {
        /// Who needs it.
        module: &'static str,
        /// What is missing.
        needs: &'static str,
    },
    /// Another module cannot do without it.
    #[error("{module} is needed by {by}; stop {by} first")]
    Needed {
        /// What was to be stopped.
        module: &'static str,
        /// Who needs it.
        by: &'static str,
    },
    /// Its options are wrong.
    #[error("{0}")]
    Options(Errors),
    /// It did not start.
    #[error("{module} did not start: {why}")]
    Start {
        /// Which.
        module: &'static str,
        /// In its own words.
        why: String,
    },
    /// The loader did not answer.
    #[error("the loader did not answer: {0}")]
    Unavailable(String),
}

fn did_you_mean(nearest: &Option<&'static str>) -> String {
    nearest
        .map(|name| format!("; did you mean `{name}`?"))
        .unwrap_or_default()
}

impl std::convert::From<CallError> for LoadError {
    fn from(error: CallError) -> Self {
        LoadError::Unavailable(error.to_string())
    }
}

/// The modules that configuration wants on a host, each with its options.
pub type Wanted = Vec<(String, Section)>;

/// Client API of a host's loader.
#[derive(Clone)]
pub struct Modules(otp::Named<Loader>);

impl Modules {
    /// The loader of a host.
    #[must_use]
    pub fn of(host: &Host) -> Modules {
        Modules(host.system.registry().named(loader_name(&host.name)))
    }

    /// Starts a module with the given options.
    ///
    /// # Errors
    ///
    /// See [`LoadError`]; nothing was changed.
    pub async fn start(&self, name: &str, section: Section) -> Result<(), LoadError> {
        self.0
            .call(Call::Start(name.to_owned(), section), CHANGE_WITHIN)
            .await?
    }

    /// Stops a module and takes back all that it registered.
    ///
    /// # Errors
    ///
    /// `NotRunning`, `Needed`.
    pub async fn stop(&self, name: &str) -> Result<(), LoadError> {
        self.0
            .call(Call::Stop(name.to_owned()), CHANGE_WITHIN)
            .await?
    }

    /// Stops a module and starts it anew with the options it has; brings back one that was given up.
    ///
    /// # Errors
    ///
    /// `NotRunning`, or why it did not start again.
    pub async fn restart(&self, name: &str) -> Result<(), LoadError> {
        self.0
            .call(Call::Restart(name.to_owned()), CHANGE_WITHIN)
            .await?
    }

    /// Gives a running module new options, restarting it where it cannot take them live.
    ///
    /// # Errors
    ///
    /// `NotRunning`, `Options`, or why it did not start again.
    pub async fn reload(&self, name: &str, section: Section) -> Result<(), LoadError> {
        self.0
            .call(Call::Reload(name.to_owned(), section), CHANGE_WITHIN)
            .await?
    }
}

/// The name that a host's loader is registered by.
#[must_use]
pub fn loader_name(host: &str) -> Name {
    Name::new("loader", host)
}

/// The name that a host's supervisor of modules is registered by.
#[must_use]
pub fn modules_sup_name(host: &str) -> Name {
    Name::new("modules_sup", host)
}

/// What the loader starts with.
#[derive(Clone)]
pub struct LoaderArgs {
    /// The host.
    pub host: Host,
    /// All modules there are.
    pub catalog: Catalog,
    /// The modules that are to run.
    pub wanted: Arc<Wanted>,
}

/// The loader's child spec, to stand behind the host's `modules_sup`.
#[must_use]
pub fn loader_child_spec(args: LoaderArgs) -> ChildSpec {
    let name = loader_name(&args.host.name);
    ChildSpec::worker::<Loader>("loader", move || args.clone()).registered(name)
}

/// What the loader can be asked.
pub enum Call {
    /// [`Modules::start`]
    Start(String, Section),
    /// [`Modules::stop`]
    Stop(String),
    /// [`Modules::restart`]
    Restart(String),
    /// [`Modules::reload`]
    Reload(String, Section),
}

/// State. Invariant: the supervisor of every running module in the table is monitored.
pub struct Loader {
    host: Host,
    catalog: Catalog,
    monitored: HashMap<MonitorRef, &'static str>,
}

impl GenServer for Loader {
    const KIND: &'static str = "loader";
    type Args = LoaderArgs;
    type Call = Call;
    type Reply = Result<(), LoadError>;
    type Cast = ();
    type Info = ();

    async fn init(args: LoaderArgs, ctx: &mut Ctx<Self>) -> Init<Self> {
        ctx.set_kind_label(args.host.name.to_string());
        let mut loader = Loader {
            host: args.host,
            catalog: args.catalog,
            monitored: HashMap::new(),
        };
        loader.stop_unfinished().await;
        let fallen = loader.recover(ctx);
        let begun = loader.host.modules.0.lock().begun;
        let started = match begun {
            false => loader.start_wanted(&args.wanted, ctx).await,
            true => loader.start_fallen(fallen, ctx).await,
        };
        match started {
            Ok(()) => Init::Ok(loader),
            Err(error) => Init::Stop(ExitReason::Error(error.to_string().into())),
        }
    }

    async fn handle_call(
        &mut self,
        call: Call,
        from: From<Self::Reply>,
        ctx: &mut Ctx<Self>,
    ) -> Flow {
        let answer = match call {
            Call::Start(name, section) => self.start(&name, section, ctx).await,
            Call::Stop(name) => self.stop(&name).await,
            Call::Restart(name) => self.restart(&name, ctx).await,
            Call::Reload(name, section) => self.reload(&name, section, ctx).await,
        };
        from.reply(answer);
        Flow::Go
    }

    async fn handle_info(&mut self, info: Info<()>, ctx: &mut Ctx<Self>) -> Flow {
        if let Info::Down(down) = info {
            self.gave_up(down, ctx);
        }
        Flow::Go
    }
}

impl Loader {
    /// After a restart of the loader: a module that its supervisor has but the table has not was being
    /// started or stopped when the loader fell, and whoever ordered it never heard an answer.
    async fn stop_unfinished(&self) {
        let Some(sup) = self
            .host
            .system
            .registry()
            .supervisor(&modules_sup_name(&self.host.name))
        else {
            return;
        };
        let Ok(children) = sup.which_children().await else {
            return;
        };
        for child in children {
            let known = self
                .host
                .modules
                .change(&child.id, |entry| entry.supervisor.is_some())
                .unwrap_or(false);
            if !known {
                // Not found: it ended meanwhile.
                let _ = sup.terminate_child(&child.id).await;
            }
        }
    }

    /// After a restart of the loader: what runs goes on. Gives what fell with its supervisor.
    fn recover(&mut self, ctx: &mut Ctx<Self>) -> Wanted {
        let modules = self.host.modules.clone();
        let mut fallen = Wanted::new();
        for (name, entry) in &modules.0.lock().entries {
            match &entry.supervisor {
                Some(supervisor) if supervisor.is_alive() => {
                    self.monitored.insert(ctx.monitor(supervisor), name);
                }
                Some(_) => fallen.push(((*name).to_owned(), entry.section.clone())),
                // Given up before: that stays so.
                None => {}
            }
        }
        fallen
    }

    async fn start_wanted(
        &mut self,
        wanted: &Wanted,
        ctx: &mut Ctx<Self>,
    ) -> Result<(), LoadError> {
        for (name, section) in self.in_order(wanted)? {
            if !self.host.modules.runs(name) {
                self.start(name, section, ctx).await?;
            }
        }
        self.host.modules.0.lock().begun = true;
        Ok(())
    }

    /// Modules that do not come back are shown as failed; they take nothing else with them.
    async fn start_fallen(&mut self, fallen: Wanted, ctx: &mut Ctx<Self>) -> Result<(), LoadError> {
        for (name, _) in &fallen {
            self.mark_failed(name, "fell with its supervisor", ctx);
        }
        for (name, section) in self.in_order(&fallen)? {
            if let Err(error) = self.start(name, section, ctx).await {
                tracing::error!(target: "natter::module", host = %self.host.name, module = name, %error, "module did not come back");
                self.mark_failed(name, &error.to_string(), ctx);
            }
        }
        Ok(())
    }

    fn mark_failed(&self, name: &str, why: &str, ctx: &Ctx<Self>) {
        let now = ctx.clock().now();
        self.host.modules.change(name, |entry| {
            entry.state = State::Failed(why.to_owned());
            entry.supervisor = None;
            entry.since = now;
        });
    }

    /// Wanted modules, each behind those it depends on; otherwise in the order given.
    fn in_order<'a>(&self, wanted: &'a Wanted) -> Result<Vec<(&'a str, Section)>, LoadError> {
        let mut left: Vec<(&str, &Section, &ModuleKind)> = Vec::new();
        for (name, section) in wanted {
            left.push((name, section, self.find(name)?));
        }
        let mut ordered = Vec::with_capacity(left.len());
        while !left.is_empty() {
            let waits = |kind: &ModuleKind| {
                kind.depends.iter().any(|d| {
                    left.iter()
                        .any(|(name, ..)| *name == d.module && *name != kind.name)
                })
            };
            // A circle is broken at its first module; a hard dependency then refuses to start.
            let at = left
                .iter()
                .position(|(_, _, kind)| !waits(kind))
                .unwrap_or(0);
            let (name, section, _) = left.remove(at);
            ordered.push((name, section.clone()));
        }
        Ok(ordered)
    }

    fn find(&self, name: &str) -> Result<&'static ModuleKind, LoadError> {
        self.catalog.find(name).ok_or_else(|| LoadError::Unknown {
            name: name.to_owned(),
            nearest: self.catalog.nearest(name),
        })
    }

    async fn start(
        &mut self,
        name: &str,
        section: Section,
        ctx: &mut Ctx<Self>,
    ) -> Result<(), LoadError> {
        let kind = self.find(name)?;
        if self.host.modules.runs(name) {
            return Err(LoadError::Running(kind.name));
        }
        let missing = kind
            .depends
            .iter()
            .find(|d| d.hard && !self.host.modules.runs(d.module));
        if let Some(missing) = missing {
            return Err(LoadError::Missing {
                module: kind.name,
                needs: missing.module,
            });
        }
        let prepared = (kind.prepare)(&self.host, &section).map_err(LoadError::Options)?;
        let Prepared {
            spec,
            reserved,
            control,
            why,
        } = prepared;
        let sup = self.modules_sup(kind)?;
        // What it had reserved when it was given up, or when a restart halted it.
        let before = self
            .host
            .modules
            .change(kind.name, |entry| Arc::clone(&entry.reserved))
            .unwrap_or_default();
        match sup.start_child(spec).await {
            Ok(supervisor) => {
                self.monitored.insert(ctx.monitor(&supervisor), kind.name);
                let entry = Entry {
                    state: State::Running,
                    section,
                    reserved: Arc::clone(&reserved),
                    control,
                    supervisor: Some(supervisor),
                    since: ctx.clock().now(),
                };
                self.host.modules.0.lock().entries.insert(kind.name, entry);
                self.release_except(&before, &reserved).await;
                tracing::info!(target: "natter::module", host = %self.host.name, module = kind.name, "module started");
                Ok(())
            }
            Err(error) => {
                self.release_except(&reserved, &before).await;
                Err(LoadError::Start {
                    module: kind.name,
                    why: why.lock().take().unwrap_or_else(|| error.to_string()),
                })
            }
        }
    }

    fn modules_sup(&self, kind: &ModuleKind) -> Result<SupPid, LoadError> {
        let name = modules_sup_name(&self.host.name);
        self.host
            .system
            .registry()
            .supervisor(&name)
            .ok_or_else(|| LoadError::Start {
                module: kind.name,
                why: "the host's supervisor of modules is not there".to_owned(),
            })
    }

    async fn release_except(&self, reserved: &Mutex<Vec<String>>, kept: &Mutex<Vec<String>>) {
        let kept = kept.lock().clone();
        let released: Vec<String> = reserved
            .lock()
            .iter()
            .filter(|d| !kept.contains(d))
            .cloned()
            .collect();
        for domain in released {
            if let Err(error) = self.host.router.release(&domain).await {
                tracing::warn!(target: "natter::module", domain, %error, "domain stays reserved");
            }
        }
    }

    async fn stop(&mut self, name: &str) -> Result<(), LoadError> {
        let kind = self.find(name)?;
        let needed_by = {
            let table = self.host.modules.0.lock();
            if !table.entries.contains_key(kind.name) {
                return Err(LoadError::NotRunning(kind.name.to_owned()));
            }
            let needs = |by: &&&'static str| {
                self.catalog
                    .find(by)
                    .is_some_and(|k| k.depends.iter().any(|d| d.hard && d.module == kind.name))
            };
            table.entries.keys().find(needs).copied()
        };
        if let Some(by) = needed_by {
            return Err(LoadError::Needed {
                module: kind.name,
                by,
            });
        }
        self.take_down(kind).await
    }

    /// Stops the processes of a module and forgets it.
    async fn take_down(&mut self, kind: &'static ModuleKind) -> Result<(), LoadError> {
        self.halt(kind).await?;
        let entry = self.host.modules.0.lock().entries.remove(kind.name);
        if let Some(entry) = entry {
            self.release_except(&entry.reserved, &Mutex::default())
                .await;
        }
        tracing::info!(target: "natter::module", host = %self.host.name, module = kind.name, "module stopped");
        Ok(())
    }

    /// Stops the processes of a module. Its domains stay its own.
    async fn halt(&mut self, kind: &'static ModuleKind) -> Result<(), LoadError> {
        self.monitored.retain(|_, module| *module != kind.name);
        let runs = self
            .host
            .modules
            .change(kind.name, |entry| entry.supervisor.is_some());
        if runs.ok_or_else(|| LoadError::NotRunning(kind.name.to_owned()))? {
            // Not found: it gave up a moment ago, which is as stopped as we want it.
            let _ = self.modules_sup(kind)?.terminate_child(kind.name).await;
        }
        Ok(())
    }

    async fn restart(&mut self, name: &str, ctx: &mut Ctx<Self>) -> Result<(), LoadError> {
        let kind = self.find(name)?;
        let section = self
            .host
            .modules
            .change(kind.name, |entry| entry.section.clone());
        let Some(section) = section else {
            return Err(LoadError::NotRunning(kind.name.to_owned()));
        };
        self.start_anew(kind, section, ctx).await
    }

    /// Stops a module and starts it with these options; one that does not start is shown as failed.
    async fn start_anew(
        &mut self,
        kind: &'static ModuleKind,
        section: Section,
        ctx: &mut Ctx<Self>,
    ) -> Result<(), LoadError> {
        self.halt(kind).await?;
        self.mark_failed(kind.name, "is being restarted", ctx);
        let started = self.start(kind.name, section, ctx).await;
        if let Err(error) = &started {
            self.mark_failed(kind.name, &error.to_string(), ctx);
        }
        started
    }

    async fn reload(
        &mut self,
        name: &str,
        section: Section,
        ctx: &mut Ctx<Self>,
    ) -> Result<(), LoadError> {
        let kind = self.find(name)?;
        let known = self
            .host
            .modules
            .change(kind.name, |e| (Arc::clone(&e.control), e.section.clone()));
        let Some((control, old)) = known else {
            return Err(LoadError::NotRunning(kind.name.to_owned()));
        };
        let reloading = control.reload(&section).map_err(LoadError::Options)?;
        if reloading.await == Reload::Done {
            self.host
                .modules
                .change(kind.name, |entry| entry.section = section);
            return Ok(());
        }
        let Err(error) = self.start_anew(kind, section, ctx).await else {
            return Ok(());
        };
        // As it was before: the old options are known to work.
        if let Err(again) = self.start_anew(kind, old, ctx).await {
            tracing::error!(target: "natter::module", module = kind.name, error = %again, "module did not come back");
        }
        Err(error)
    }

    /// A module's supervisor ended although nobody stopped it: its restarts are used up.
    fn gave_up(&mut self, down: otp::Down, ctx: &mut Ctx<Self>) {
        let Some(module) = self.monitored.remove(&down.monitor) else {
            return;
        };
        let sup = self
            .host
            .system
            .registry()
            .supervisor(&modules_sup_name(&self.host.name));
        if !sup.is_some_and(|sup| sup.is_alive()) {
            // It fell with the others, and this process is about to be restarted: see `recover`.
            return;
        }
        self.mark_failed(module, &down.reason.to_string(), ctx);
        tracing::error!(
            target: "natter::module",
            host = %self.host.name,
            module,
            reason = %down.reason,
            "module given up; restart_module brings it back"
        );
    }
}
