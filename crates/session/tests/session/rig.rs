//! The processes that sessions need, under supervisors, with the clock in hand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use auth::{Auth, AuthOptions, Password};
use futures_util::FutureExt;
use otp::{
    ChildSpec, Clock, ClockHand, Ctx, GenServer, Init, Pid, Restart, Shards, Shutdown, Strategy,
    SupPid, Supervisor, System,
};
use parking_lot::Mutex;
use router::{
    Change, Flow, Hook, HookSpec, Mode, Outcome, Packet, Priority, RouteSpec, Router, Routing,
};
use session::hooks::{Kept, OfflineDelivered, OfflineMessage, OfflinePage, RosterGet, Waiting};
use session::{
    AccountLogin, ByHooks, C2s, C2sArgs, C2sOptions, Entry, LocalArgs, Sessions, local_child_spec,
    sm_name,
};
use storage::Storage;
use stream::{Bind, Framing, IoOptions, LegacySession, Limits, Profile, Sasl, TlsPolicy, memory};
use tokio::sync::Notify;
use xmpp::Stanza;

use crate::client::Client;

pub const HOST: &str = "a.example";

/// Where strangers live; what they hear is kept.
pub const ELSEWHERE: &str = "b.example";

/// How many messages a page of the offline queue has.
const PAGE: usize = 10;

pub struct Rig {
    pub system: System,
    pub hand: ClockHand,
    pub router: Router,
    pub sessions: Sessions,
    pub root: SupPid,
    pub queue: Queue,
    /// What strangers heard.
    pub heard: Arc<Mutex<Vec<Stanza>>>,
    pub roster: Gate,
    owner: Pid<Owner>,
    shards: Shards,
    _data: tempfile::TempDir,
}

impl Rig {
    pub async fn start() -> Rig {
        let (clock, hand) = Clock::manual();
        let system = System::new("session", clock);
        let data = tempfile::tempdir().expect("a folder");
        let storage = Storage::open(data.path(), &system).expect("a store");
        let router = Router::new(&system);
        let options = AuthOptions {
            iterations: 1,
            ..AuthOptions::default()
        };
        let auth = Auth::new(storage.clone(), &system, options);
        let sessions = Sessions::new(&system, router.clone(), auth.clone());
        let shards = Shards::new(&system, "c2s", 2);
        let mut root = Supervisor::new(Strategy::OneForOne).intensity(10, Duration::from_secs(10));
        for child in storage.children() {
            root = root.child(child);
        }
        let c2s = shards.clone();
        let root = root
            .child(router.child_spec())
            .child(sessions.child_spec())
            .child(router.dead_letters_child_spec())
            .child(local_child_spec(LocalArgs {
                host: HOST.into(),
                sessions: sessions.clone(),
            }))
            .child(ChildSpec::supervisor("c2s_sup", move || {
                let within = Shutdown::Timeout(Duration::from_secs(15));
                c2s.supervisor::<C2s>(Restart::Temporary, within, 10, Duration::from_secs(10))
            }))
            .start(&system, "root")
            .await
            .expect("the tree starts");
        let owner = system
            .start::<Owner>(None, ())
            .await
            .expect("an owner starts");
        let rig = Rig {
            system,
            hand,
            router,
            sessions,
            root,
            queue: Queue::default(),
            heard: Arc::default(),
            roster: Gate::default(),
            owner,
            shards,
            _data: data,
        };
        for name in ["alice", "bob"] {
            let jid = xmpp::parse_bare(&format!("{name}@{HOST}")).expect("a JID");
            auth.register(&jid, Password::from("secret"))
                .await
                .expect("a new account");
        }
        let heard = Arc::clone(&rig.heard);
        let take = move |packet: Packet| {
            heard.lock().push(packet.stanza.clone());
            packet.receipt.resolve(Outcome::Delivered);
            Routing::done()
        };
        let mut change = Change::new();
        change.route(RouteSpec::new(
            ELSEWHERE,
            None,
            Mode::Inline(Arc::new(take)),
        ));
        rig.install(change).await;
        rig
    }

    pub async fn install(&self, change: Change) {
        self.router
            .install(&self.owner.any(), "tests", change)
            .await
            .expect("installed");
    }

    /// Adds a handler that may wait.
    pub async fn hook<H: Hook, A>(&self, handler: impl Fn(H) -> A + Send + Sync + 'static)
    where
        A: Future<Output = Flow<H>> + Send + 'static,
    {
        let mut change = Change::new();
        change.hook(HookSpec::wait::<H>(HOST, Priority::NORMAL, move |value| {
            handler(value).boxed()
        }));
        self.install(change).await;
    }

    /// Keeps messages for those who are away.
    pub async fn with_queue(self) -> Rig {
        let queue = self.queue.clone();
        self.hook(move |mut fold: OfflineMessage| {
            let queue = queue.clone();
            async move {
                queue.storing.pass().await;
                queue.store(fold.stanza.clone());
                fold.kept = Kept::Stored;
                Flow::Next(fold)
            }
        })
        .await;
        let queue = self.queue.clone();
        self.hook(move |mut fold: OfflinePage| {
            let queue = queue.clone();
            async move {
                queue.reading.pass().await;
                fold.unreadable = queue.unreadable.pass();
                if !fold.unreadable {
                    fold.page = queue.page(fold.after);
                }
                Flow::Next(fold)
            }
        })
        .await;
        let queue = self.queue.clone();
        self.hook(move |fold: OfflineDelivered| {
            let queue = queue.clone();
            async move {
                queue.deleting.pass().await;
                queue.delete(&fold.places);
                Flow::Next(fold)
            }
        })
        .await;
        self
    }

    /// A roster that takes its time: the broadcast waits at `self.roster`.
    pub async fn with_roster(self) -> Rig {
        let gate = self.roster.clone();
        self.hook(move |mut fold: RosterGet| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                let friend = xmpp::parse_bare("friend@b.example").expect("a JID");
                fold.contacts.push((
                    friend,
                    session::hooks::Subscribed {
                        from: true,
                        to: false,
                    },
                ));
                Flow::Next(fold)
            }
        })
        .await;
        self
    }

    /// Connects a client whose connection holds so many bytes.
    pub async fn connect(&self, buffer: usize, outbox_bytes: usize) -> Client {
        let (transport, peer) = memory(Framing::Client, Limits::BEFORE_LOGIN, buffer);
        let login = AccountLogin {
            auth: self.sessions.auth.clone(),
            plain_without_tls: true,
        };
        let profile = Profile {
            negotiables: vec![
                Arc::new(Sasl::new(Arc::new(login), TlsPolicy::Off)),
                Arc::new(Bind),
                Arc::new(LegacySession),
                Arc::new(ByHooks {
                    sessions: self.sessions.clone(),
                    needs_tls: false,
                }),
            ],
            serves: Box::new(|host| host == HOST),
            default_host: HOST.into(),
        };
        let options = C2sOptions {
            profile: Arc::new(profile),
            io: IoOptions {
                outbox_bytes,
                ..IoOptions::default()
            },
            limits: Limits::default(),
        };
        let args = C2sArgs::new(self.sessions.clone(), Arc::new(options), transport, None);
        self.shards
            .start_one::<C2s>(args)
            .await
            .expect("a session starts");
        Client::new(peer)
    }

    pub async fn login(&self, name: &str, resource: &str) -> Client {
        let mut client = self.connect(64 * 1024, 1024 * 1024).await;
        client.login(name, resource).await;
        client
    }

    /// Logs in and says that it is available.
    pub async fn available(&self, name: &str, resource: &str, priority: i8) -> Client {
        let mut client = self.login(name, resource).await;
        client
            .says(&format!(
                "<presence><priority>{priority}</priority></presence>"
            ))
            .await;
        client.hears("</presence>").await;
        client
    }

    pub fn entry(&self, jid: &str) -> Option<Arc<Entry>> {
        self.sessions
            .table
            .session(&xmpp::parse_full(jid).expect("a full JID"))
    }

    /// What strangers heard since the last time, as `type from`.
    pub fn strangers(&self) -> Vec<String> {
        let heard = std::mem::take(&mut *self.heard.lock());
        let told = heard.iter().map(|stanza| {
            let from = stanza.from().map(ToString::to_string).unwrap_or_default();
            format!("{:?} {from}", stanza.stanza_type())
        });
        told.collect()
    }

    pub async fn until(&self, what: &str, seen: impl Fn(&Rig) -> bool) {
        for _ in 0..1_000_000 {
            if seen(self) {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("{what}: never came true");
    }

    pub async fn until_no_sessions(&self) {
        self.until("no session is left", |rig| rig.sessions.table.count() == 0)
            .await;
    }

    pub fn sm(&self) -> otp::AnyPid {
        self.system
            .registry()
            .whereis_any(&sm_name())
            .expect("the session manager runs")
    }

    /// Ends the server. Clients that stay are not waited for: the clock goes on.
    pub async fn stop(self) {
        let root = self.root.clone();
        let stopping = tokio::spawn(async move { root.stop().await });
        while !stopping.is_finished() {
            self.hand.advance(Duration::from_millis(100)).await;
        }
        stopping.await.expect("no panic");
    }
}

/// Says `number` to somebody in a chat.
pub fn chat(to: &str, number: usize) -> String {
    format!("<message to='{to}' type='chat' id='n{number}'><body>{number}</body></message>")
}

/// The numbers that were said in what was heard.
pub fn numbers(heard: &str) -> Vec<usize> {
    let bodies = heard.split("<body>").skip(1);
    bodies
        .map(|rest| {
            rest.split('<')
                .next()
                .and_then(|n| n.parse().ok())
                .expect("a number")
        })
        .collect()
}

/// A door that can be shut: who comes waits until it is open.
#[derive(Clone, Default)]
pub struct Gate(Arc<GateState>);

#[derive(Default)]
struct GateState {
    shut: Mutex<bool>,
    waiting: Mutex<usize>,
    opened: Notify,
}

impl Gate {
    pub fn shut(&self) {
        *self.0.shut.lock() = true;
    }

    pub fn open(&self) {
        *self.0.shut.lock() = false;
        self.0.opened.notify_waiters();
    }

    /// How many have come to the shut door so far.
    pub fn arrived(&self) -> usize {
        *self.0.waiting.lock()
    }

    pub async fn pass(&self) {
        let opened = self.0.opened.notified();
        if *self.0.shut.lock() {
            *self.0.waiting.lock() += 1;
            opened.await;
        }
    }
}

/// An offline queue: places and messages, whoever they are for.
#[derive(Clone, Default)]
pub struct Queue {
    kept: Arc<Mutex<BTreeMap<i64, Stanza>>>,
    next: Arc<Mutex<i64>>,
    pub storing: Gate,
    pub reading: Gate,
    pub deleting: Gate,
    /// How often it has yet to be asked for in vain.
    pub unreadable: Countdown,
}

/// Says yes so many times, and then no.
#[derive(Clone, Default)]
pub struct Countdown(Arc<Mutex<usize>>);

impl Countdown {
    pub fn set(&self, times: usize) {
        *self.0.lock() = times;
    }

    pub fn left(&self) -> usize {
        *self.0.lock()
    }

    fn pass(&self) -> bool {
        let mut left = self.0.lock();
        let yes = *left > 0;
        *left = left.saturating_sub(1);
        yes
    }
}

impl Queue {
    pub fn store(&self, stanza: Stanza) {
        let mut next = self.next.lock();
        *next += 1;
        self.kept.lock().insert(*next, stanza);
    }

    pub fn fill(&self, numbers: std::ops::Range<usize>) {
        for number in numbers {
            let text =
                chat("bob@a.example", number).replace("<message", "<message from='x@b.example'");
            self.store(Stanza::parse(&text).expect("a stanza"));
        }
    }

    /// The numbers that are kept.
    pub fn numbers(&self) -> Vec<usize> {
        self.kept
            .lock()
            .values()
            .flat_map(|stanza| numbers(&stanza.to_xml()))
            .collect()
    }

    fn page(&self, after: Option<i64>) -> Vec<Waiting> {
        let kept = self.kept.lock();
        let waiting = kept
            .iter()
            .filter(|(place, _)| after.is_none_or(|after| **place > after));
        let waiting = waiting.map(|(place, stanza)| Waiting {
            place: *place,
            stanza: stanza.clone(),
        });
        waiting.take(PAGE).collect()
    }

    fn delete(&self, places: &[i64]) {
        self.kept.lock().retain(|place, _| !places.contains(place));
    }
}

/// Owns what the tests register.
pub struct Owner;

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
