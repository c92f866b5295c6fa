//! A host's modules under supervisors as in the tree, with the clock in hand and a script that says
//! what the modules do.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use admin::Commands;
use config::{Document, Layers, Section};
use gen_mod::{
    Catalog, Host, HostParts, LoaderArgs, ModuleKind, ModuleRow, ModuleTable, Modules, Services,
    State, loader_child_spec, loader_name, modules_sup_name,
};
use otp::{AnyPid, ChildSpec, Clock, ClockHand, Strategy, SupPid, Supervisor, System};
use parking_lot::Mutex;
use router::Router;
use storage::Storage;

pub const HOST: &str = "a.example";

/// What the modules of a test do, and what they did.
#[derive(Clone, Default)]
pub struct Script(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    said: Vec<String>,
    orders: BTreeSet<String>,
    watched: Option<AnyPid>,
}

impl Script {
    pub fn say(&self, line: impl Into<String>) {
        self.0.lock().said.push(line.into());
    }

    /// What was said since the last time.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().said)
    }

    pub fn order(&self, order: &str) {
        self.0.lock().orders.insert(order.to_owned());
    }

    pub fn revoke(&self, order: &str) {
        self.0.lock().orders.remove(order);
    }

    pub fn is_ordered(&self, order: &str) -> bool {
        self.0.lock().orders.contains(order)
    }

    pub fn watch(&self, pid: AnyPid) {
        self.0.lock().watched = Some(pid);
    }

    pub fn watched(&self) -> Option<AnyPid> {
        self.0.lock().watched.clone()
    }
}

pub struct Rig {
    pub host: Host,
    pub hand: ClockHand,
    pub modules: Modules,
    pub script: Script,
    pub root: SupPid,
    _data: tempfile::TempDir,
}

impl Rig {
    pub async fn start(catalog: &'static [ModuleKind], wanted: &[&str]) -> Rig {
        Rig::try_start(catalog, wanted)
            .await
            .expect("the tree starts")
    }

    pub async fn try_start(catalog: &'static [ModuleKind], wanted: &[&str]) -> Result<Rig, String> {
        let (clock, hand) = Clock::manual();
        let system = System::new("gen_mod", clock.clone());
        let data = tempfile::tempdir().expect("a folder");
        let storage = Storage::open(data.path(), &system).expect("a store");
        let router = Router::new(&system);
        let script = Script::default();
        let host = Host::new(HostParts {
            name: HOST.into(),
            storage,
            router: router.clone(),
            clock: clock.clone(),
            system: system.clone(),
            commands: Commands::new(clock),
            services: Services::new().with(script.clone()),
            modules: ModuleTable::default(),
        });
        let wanted: Vec<_> = wanted
            .iter()
            .map(|name| ((*name).to_owned(), section(&[])))
            .collect();
        let loader = LoaderArgs {
            host: host.clone(),
            catalog: Catalog(catalog),
            wanted: wanted.into(),
        };
        let host_sup = move || {
            Supervisor::new(Strategy::RestForOne)
                .intensity(10, Duration::from_secs(10))
                .child(
                    ChildSpec::supervisor("modules_sup", || Supervisor::new(Strategy::OneForOne))
                        .registered(modules_sup_name(HOST)),
                )
                .child(loader_child_spec(loader.clone()))
        };
        let root = Supervisor::new(Strategy::OneForOne)
            .intensity(10, Duration::from_secs(10))
            .child(router.child_spec())
            .child(router.dead_letters_child_spec())
            .child(ChildSpec::supervisor("host", host_sup));
        let root = root
            .start(&system, "root")
            .await
            .map_err(|error| error.to_string())?;
        Ok(Rig {
            modules: Modules::of(&host),
            host,
            hand,
            script,
            root,
            _data: data,
        })
    }

    pub fn row(&self, name: &str) -> Option<ModuleRow> {
        self.host
            .modules
            .list()
            .into_iter()
            .find(|row| row.name == name)
    }

    pub fn state(&self, name: &str) -> Option<State> {
        self.row(name).map(|row| row.state)
    }

    pub fn process(&self, name: &str) -> AnyPid {
        self.row(name)
            .and_then(|row| row.process)
            .expect("the module runs")
    }

    pub fn loader(&self) -> Option<AnyPid> {
        self.host.system.registry().whereis_any(&loader_name(HOST))
    }

    pub fn running(&self) -> Vec<&'static str> {
        let rows = self.host.modules.list();
        rows.iter()
            .filter(|row| row.state == State::Running)
            .map(|row| row.name)
            .collect()
    }

    /// Domain and mode of every route, and which commands there are.
    pub fn registered(&self) -> Vec<String> {
        let routes = self.host.router.route_list();
        let mut all: Vec<String> = routes
            .iter()
            .map(|row| format!("{} {}", row.domain, row.mode))
            .collect();
        all.extend(
            self.host
                .router
                .hook_list()
                .iter()
                .map(|row| format!("hook {}", row.hook)),
        );
        all.extend(
            self.host
                .router
                .features(HOST, router::To::Host)
                .iter()
                .map(|f| format!("feature {f}")),
        );
        all.extend(
            self.host
                .commands
                .list()
                .iter()
                .map(|command| format!("command {}", command.name)),
        );
        all.extend(
            self.script
                .is_ordered("installed")
                .then(|| "extra".to_owned()),
        );
        all
    }

    /// Lets the server work until `seen` is so.
    pub async fn until(&self, what: &str, seen: impl Fn(&Rig) -> bool) {
        for _ in 0..200_000 {
            if seen(self) {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("{what}: never came true; said {:?}", self.script.take());
    }

    pub async fn stop(self) {
        self.root.stop().await;
    }
}

/// Options as a command gives them.
pub fn section(words: &[&str]) -> Section {
    let words = Document::from_words(words.iter().copied()).expect("key=value");
    Layers::new().command(words).section()
}
