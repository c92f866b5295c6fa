//! A host without sockets: storage, router, sessions and the loader under supervisors, with its clock in
//! hand. Strangers speak through a route of their own, which keeps what they hear.

use std::time::Duration;

use admin::Commands;
use auth::{Auth, AuthOptions, Password};
use config::{Document, Layers, Section};
use gen_mod::{
    Catalog, Host, HostParts, LoadError, LoaderArgs, ModuleKind, ModuleTable, Modules, Services,
    State, loader_child_spec, modules_sup_name,
};
use otp::{ChildSpec, Clock, ClockHand, Strategy, SupPid, Supervisor, System, TreeNode};
use router::{Mode, Outcome, Packet, RouteSpec, Router, Routing};
use session::{LocalArgs, Sessions, local_child_spec};
use storage::Storage;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use xmpp::{BareJid, Stanza, parse_bare};

/// The domain of the host.
pub const HOST: &str = "natter.example";

/// The domain of the strangers.
pub const ELSEWHERE: &str = "else.example";

pub struct Rig {
    pub host: Host,
    pub hand: ClockHand,
    pub modules: Modules,
    heard: UnboundedReceiver<Stanza>,
    root: SupPid,
    _data: tempfile::TempDir,
}

impl Rig {
    /// A host that runs the modules named, out of those in the catalogue.
    pub async fn start(catalog: &'static [ModuleKind], wanted: &[&str]) -> Rig {
        let (clock, hand) = Clock::manual();
        let system = System::new("modules", clock.clone());
        let data = tempfile::tempdir().expect("a folder");
        let storage = Storage::open(data.path(), &system).expect("a store");
        let router = Router::new(&system);
        let options = AuthOptions {
            iterations: 1,
            ..AuthOptions::default()
        };
        let sessions = Sessions::new(
            &system,
            router.clone(),
            Auth::new(storage.clone(), &system, options),
        );
        let host = Host::new(HostParts {
            name: HOST.into(),
            storage: storage.clone(),
            router: router.clone(),
            clock: clock.clone(),
            system: system.clone(),
            commands: Commands::new(clock),
            services: Services::new()
                .with(sessions.clone())
                .with(modules::Privacy::default()),
            modules: ModuleTable::default(),
        });
        let mut root = Supervisor::new(Strategy::OneForOne);
        for child in storage.children() {
            root = root.child(child);
        }
        let modules_sup =
            ChildSpec::supervisor("modules_sup", || Supervisor::new(Strategy::OneForOne))
                .registered(modules_sup_name(HOST));
        let wanted = wanted
            .iter()
            .map(|&name| (name.to_owned(), section(&[])))
            .collect::<Vec<_>>();
        let loader = LoaderArgs {
            host: host.clone(),
            catalog: Catalog(catalog),
            wanted: wanted.into(),
        };
        let root = root
            .child(router.child_spec())
            .child(router.dead_letters_child_spec())
            .child(sessions.child_spec())
            .child(local_child_spec(LocalArgs {
                host: HOST.into(),
                sessions,
            }))
            .child(modules_sup)
            .child(loader_child_spec(loader));
        let root = root.start(&system, "root").await.expect("the tree starts");
        let (tell, heard) = unbounded_channel();
        let take = move |packet: Packet| {
            let _ = tell.send(packet.stanza.clone());
            packet.receipt.resolve(Outcome::Delivered);
            Routing::done()
        };
        let route = RouteSpec::new(ELSEWHERE, None, Mode::Inline(std::sync::Arc::new(take)));
        router
            .register_route(route, &root.any(), "strangers")
            .await
            .expect("the domain is free");
        Rig {
            modules: Modules::of(&host),
            host,
            hand,
            heard,
            root,
            _data: data,
        }
    }

    /// Makes an account.
    pub async fn account(&self, name: &str) -> BareJid {
        let jid = parse_bare(&format!("{name}@{HOST}")).expect("a JID");
        let auth = &self.host.service::<Sessions>().auth;
        auth.register(&jid, Password::from("secret"))
            .await
            .expect("a new account");
        jid
    }

    /// Routes a stanza, as a door of the server would, to its end.
    pub async fn says(&self, text: &str) {
        let stanza = Stanza::parse(text).expect("a stanza");
        self.host
            .router
            .route(self.host.router.packet(stanza))
            .await;
    }

    /// The next thing that the strangers hear.
    pub async fn hears(&mut self) -> String {
        let stanza = self.heard.recv().await.expect("the route is there");
        String::from_utf8(stanza.bytes().to_vec()).expect("UTF-8")
    }

    /// Says something and gives the answer.
    pub async fn asks(&mut self, text: &str) -> String {
        self.says(text).await;
        self.hears().await
    }

    /// What the strangers have heard and nobody asked for yet.
    pub fn heard_already(&mut self) -> Option<String> {
        let stanza = self.heard.try_recv().ok()?;
        Some(String::from_utf8(stanza.bytes().to_vec()).expect("UTF-8"))
    }

    /// Starts a module and gives the error's text.
    pub async fn start_fails(&self, name: &str, words: &[&str]) -> String {
        match self.modules.start(name, section(words)).await {
            Ok(()) => panic!("{name} {words:?} started"),
            Err(error) => error.to_string(),
        }
    }

    pub async fn start_module(&self, name: &str, words: &[&str]) -> Result<(), LoadError> {
        self.modules.start(name, section(words)).await
    }

    /// The state of a module; none when it is not started.
    pub fn state(&self, name: &str) -> Option<State> {
        self.host
            .modules
            .list()
            .into_iter()
            .find(|row| row.name == name)
            .map(|row| row.state)
    }

    /// How many messages the process of a module has handled.
    pub fn messages_of(&self, module: &str) -> u64 {
        fn find(nodes: &[TreeNode], module: &str) -> Option<u64> {
            nodes.iter().find_map(|node| {
                let is_it = node.kind == "module" && node.name == module;
                if is_it {
                    Some(node.messages)
                } else {
                    find(&node.children, module)
                }
            })
        }
        find(&self.host.system.observe().tree(), module).expect("the module runs")
    }

    /// Lets the server work until `seen` is so.
    pub async fn until(&self, what: &str, seen: impl Fn(&Rig) -> bool) {
        for _ in 0..1_000_000 {
            if seen(self) {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("{what}: not within a million turns");
    }

    /// From now on the store answers nobody who reads.
    pub async fn close_the_store(&self) {
        let closed = self.root.terminate_child("storage_readers").await;
        closed.expect("the readers are a child of the root");
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

/// A minute.
pub const MINUTE: Duration = Duration::from_secs(60);
