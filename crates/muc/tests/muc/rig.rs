//! A host that has nothing but rooms, and two domains whose users hear what is sent to them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use admin::{Caller, Commands, Door, Given};
use config::{Document, Layers};
use gen_mod::{
    Catalog, Host, HostParts, LoaderArgs, ModuleKind, ModuleTable, Services, kind,
    loader_child_spec, modules_sup_name,
};
use minidom::Element;
use muc::ModMuc;
use otp::{
    AnyPid, ChildSpec, Clock, ClockHand, Ctx, GenServer, Init, Strategy, SupPid, Supervisor, System,
};
use parking_lot::Mutex;
use router::{Mode, Outcome, Packet, RouteSpec, Router, Routing};
use storage::Storage;
use xmpp::{Condition, Stanza};

pub const HOST: &str = "a.example";
pub const ROOM: &str = "coven@conference.a.example";

static CATALOG: &[ModuleKind] = &[kind::<ModMuc>()];

/// What was sent to whom.
#[derive(Clone, Default)]
pub struct Crowd(Arc<Mutex<Heard>>, Arc<tokio::sync::Notify>);

#[derive(Default)]
struct Heard {
    by: HashMap<String, Vec<Stanza>>,
    /// Those who cannot be reached.
    gone: Vec<String>,
    deliveries: u64,
    looks: Option<Look>,
}

/// Called at each delivery, in the process that makes it.
type Look = Arc<dyn Fn() + Send + Sync>;

impl Crowd {
    /// What somebody heard since the last time.
    pub fn take(&self, jid: &str) -> Vec<Stanza> {
        self.0.lock().by.remove(jid).unwrap_or_default()
    }

    pub fn deliveries(&self) -> u64 {
        self.0.lock().deliveries
    }

    /// Looks at something at each delivery from now on, where it is made.
    pub fn look(&self, look: impl Fn() + Send + Sync + 'static) {
        self.0.lock().looks = Some(Arc::new(look));
    }

    /// Whatever is sent to somebody comes back from now on.
    pub fn lose(&self, jid: &str) {
        self.0.lock().gone.push(jid.to_owned());
    }
}

pub struct Rig {
    pub host: Host,
    pub hand: ClockHand,
    pub crowd: Crowd,
    pub storage: Storage,
    root: SupPid,
    probes: u64,
    _data: tempfile::TempDir,
}

struct Owner;

impl GenServer for Owner {
    const KIND: &'static str = "owner";
    type Args = ();
    type Call = ();
    type Reply = ();
    type Cast = ();
    type Info = ();

    async fn init((): (), _ctx: &mut Ctx<Self>) -> Init<Self> {
        Init::Ok(Owner)
    }
}

impl Rig {
    pub async fn start(options: &[&str]) -> Rig {
        let (clock, hand) = Clock::manual();
        let system = System::new("muc", clock.clone());
        let data = tempfile::tempdir().expect("a folder");
        let storage = Storage::open(data.path(), &system).expect("a store");
        let router = Router::new(&system);
        let host = Host::new(HostParts {
            name: HOST.into(),
            storage: storage.clone(),
            router: router.clone(),
            clock: clock.clone(),
            system: system.clone(),
            commands: Commands::new(clock),
            services: Services::new(),
            modules: ModuleTable::default(),
        });
        let words = Document::from_words(options.iter().copied()).expect("key=value");
        let section = Layers::new().command(words).section();
        let loader = LoaderArgs {
            host: host.clone(),
            catalog: Catalog(CATALOG),
            wanted: vec![("mod_muc".to_owned(), section)].into(),
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
        let root = Supervisor::new(Strategy::OneForOne).intensity(10, Duration::from_secs(10));
        let root = storage
            .children()
            .into_iter()
            .fold(root, Supervisor::child)
            .child(router.child_spec())
            .child(router.dead_letters_child_spec())
            .child(ChildSpec::supervisor("host", host_sup));
        let root = root.start(&system, "root").await.expect("the tree starts");
        let crowd = Crowd::default();
        let owner = system.start::<Owner>(None, ()).await.expect("an owner");
        for domain in ["a.example", "b.example"] {
            let (crowd, router_of_bounces) = (crowd.clone(), router.clone());
            let take = move |packet: Packet| {
                let to = packet.to().as_str().to_owned();
                if let Some(look) = crowd.0.lock().looks.clone() {
                    look();
                }
                let mut heard = crowd.0.lock();
                heard.deliveries += 1;
                if heard.gone.contains(&to) {
                    drop(heard);
                    let error = Condition::RecipientUnavailable.into();
                    return router_of_bounces.bounce(packet, error);
                }
                heard.by.entry(to).or_default().push(packet.stanza);
                drop(heard);
                crowd.1.notify_waiters();
                packet.receipt.resolve(Outcome::Delivered);
                Routing::done()
            };
            let route = RouteSpec::new(domain, None, Mode::Inline(Arc::new(take)));
            let installed = router.register_route(route, &owner.any(), "crowd").await;
            installed.expect("installed");
        }
        Rig {
            host,
            hand,
            crowd,
            storage,
            root,
            probes: 0,
            _data: data,
        }
    }

    pub async fn send(&self, text: &str) {
        let stanza = Stanza::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let router = &self.host.router;
        router.route(router.packet(stanza)).await;
    }

    pub async fn enter(&self, who: &str, nick: &str) {
        self.send(&format!(
            "<presence from='{who}' to='{ROOM}/{nick}'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        ))
        .await;
    }

    /// Waits until the room has dealt with all that was sent before, and said all that it had to say to it.
    pub async fn settle(&mut self) {
        self.probes += 1;
        let (probe, id) = ("probe@a.example/p", format!("p{}", self.probes));
        self.send(&format!(
            "<iq type='get' id='{id}' from='{probe}' to='{ROOM}'><ping xmlns='urn:xmpp:ping'/></iq>"
        ))
        .await;
        let answered = |heard: &Vec<Stanza>| heard.iter().any(|stanza| stanza.id() == Some(&id));
        let crowd = self.crowd.clone();
        let answer = async {
            loop {
                let something = crowd.1.notified();
                if answered(&crowd.take(probe)) {
                    return;
                }
                something.await;
            }
        };
        // Of real time: a store's thread is waited for as well.
        let came = Clock::real().timeout(Duration::from_secs(60), answer).await;
        assert!(came.is_ok(), "the room does not answer");
    }

    /// Lets time pass, a second at a time, until `seen` is so.
    pub async fn in_time(&self, what: &str, seen: impl Fn(&Rig) -> bool) {
        let seen = async {
            while !seen(self) {
                self.hand.advance(Duration::from_secs(1)).await;
                tokio::task::yield_now().await;
            }
        };
        let came = Clock::real().timeout(Duration::from_secs(60), seen).await;
        assert!(came.is_ok(), "{what}: never came true");
    }

    /// Lets the server work until `seen` is so.
    pub async fn until(&self, what: &str, seen: impl Fn(&Rig) -> bool) {
        let seen = async {
            while !seen(self) {
                tokio::task::yield_now().await;
            }
        };
        // Of real time: a store's thread is waited for as well.
        let came = Clock::real().timeout(Duration::from_secs(60), seen).await;
        assert!(came.is_ok(), "{what}: never came true");
    }

    /// Runs a command as an administrator.
    pub async fn command(&self, words: &[&str]) -> Result<admin::Value, String> {
        let caller = Caller::admin("test", Door::Internal);
        let given = Given::words(words[1..].iter().copied());
        let done = self.host.commands.execute(&caller, words[0], &given).await;
        done.map_err(|error| error.to_string())
    }

    /// The process of that kind and detail.
    pub fn process(&self, kind: &str, detail: &str) -> Option<AnyPid> {
        fn find(nodes: &[otp::TreeNode], kind: &str, detail: &str) -> Option<otp::ProcessId> {
            nodes.iter().find_map(|node| {
                let is = node.kind == kind
                    && node
                        .detail
                        .as_deref()
                        .unwrap_or_default()
                        .starts_with(detail);
                is.then_some(node.id)
                    .or_else(|| find(&node.children, kind, detail))
            })
        }
        let observe = self.host.system.observe();
        let id = find(&observe.tree(), kind, detail)?;
        observe.process(id)
    }

    /// How many messages a process has handled; reading it disturbs nobody.
    pub fn handled(system: &System, id: otp::ProcessId) -> u64 {
        fn find(nodes: &[otp::TreeNode], id: otp::ProcessId) -> Option<u64> {
            nodes.iter().find_map(|node| {
                (node.id == id)
                    .then_some(node.messages)
                    .or_else(|| find(&node.children, id))
            })
        }
        find(&system.observe().tree(), id).unwrap_or_default()
    }

    /// Waits until another process is where `old` was, and the service's route is that of its module: the one of
    /// a module that fell may stand for a moment.
    pub async fn restarted(&self, kind: &str, old: &AnyPid) {
        let routed = |module: AnyPid| {
            let rows = self.host.router.registrations_of(module.id());
            rows.iter().any(|row| row == "route conference.a.example")
        };
        self.until("it is back", |rig| {
            rig.process(kind, "").is_some_and(|new| new != *old)
                && rig.process("module", "").is_some_and(routed)
        })
        .await;
    }

    pub async fn stop(self) {
        self.root.stop().await;
    }
}

/// The status codes of a presence.
pub fn statuses(stanza: &Stanza) -> Vec<String> {
    let user = "http://jabber.org/protocol/muc#user";
    let x = stanza.dom().get_child("x", user);
    let codes = x.into_iter().flat_map(Element::children);
    let codes = codes.filter(|child| child.name() == "status");
    codes
        .filter_map(|status| status.attr("code").map(str::to_owned))
        .collect()
}
