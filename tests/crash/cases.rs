//! One case: a server of its own, people who talk, a fall, and what is there afterwards.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use otp::{AnyPid, Fault, ProcessId, TreeNode};
use supervisors::{StorageFault, StorageFaultPoint};
use tests::client::{Client, Heard, Login, password_of};
use tests::deadline::{Stopwatch, until, until_seen, within};
use tests::house::House;
use tests::numbered::{Talker, Tally, settle_accounts};
use tests::stage::Server;

use crate::table::{Ends, Kind, Mute, SESSION};

/// Rounds of messages before, during and after a fall.
const ROUNDS: u64 = 4;

/// What is in the server's configuration beside the usual.
const EXTRA: &str = "
[modules.mod_echo]
enabled = true
[modules.mod_muc]
enabled = true
[modules.mod_offline]
max_messages = 1000000
";

/// How a process falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fall {
    /// It panics in a handler.
    Panic,
    /// A handler never returns; at last it is killed.
    Hang,
    /// It is killed.
    Kill,
}

impl fmt::Display for Fall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fall::Panic => "panic",
            Fall::Hang => "hang",
            Fall::Kill => "kill",
        })
    }
}

/// A server, and those who talk on it: alice and bob to one another, to carol who is away, and to an echo.
struct Stage {
    house: Arc<House>,
    alice: Talker,
    bob: Talker,
    tally: Tally,
}

/// Processes by their place in the tree; sessions are left out, they come and go.
type Living = BTreeMap<String, ProcessId>;

impl Stage {
    async fn set() -> Result<Stage, String> {
        let house = Arc::new(House::start(EXTRA).await?);
        for user in ["alice", "bob", "carol"] {
            house
                .register(&format!("{user}@localhost"), &password_of(user))
                .await?;
        }
        let tally = Tally::default();
        let server: Arc<dyn Server> = house.clone();
        let login = Login::new("alice", "localhost", "desk");
        let to = ["bob@localhost", "carol@localhost", "echo.localhost"];
        let alice = Talker::enter(Arc::clone(&server), login, &to, &tally).await?;
        let login = Login::new("bob", "localhost", "phone");
        let to = ["alice@localhost/desk", "carol@localhost", "echo.localhost"];
        let bob = Talker::enter(server, login, &to, &tally).await?;
        alice.talk();
        bob.talk();
        let stage = Stage {
            house,
            alice,
            bob,
            tally,
        };
        stage.both_go_on().await?;
        Ok(stage)
    }

    async fn both_go_on(&self) -> Result<(), String> {
        self.alice.rounds_more(ROUNDS).await?;
        self.bob.rounds_more(ROUNDS).await
    }

    fn tree(&self) -> Vec<TreeNode> {
        self.house.server().node().system.observe().tree()
    }

    fn living(&self) -> Living {
        let mut living = Living::new();
        for root in self.tree() {
            enter("", &root.children, &mut living);
        }
        living
    }

    fn process(&self, place: &[&str]) -> Result<AnyPid, String> {
        let tree = self.tree();
        let id = match place {
            [jid] if place == SESSION => session(&tree, jid),
            _ => tree.iter().find_map(|root| at(&root.children, place)),
        };
        let id = id.ok_or_else(|| format!("nobody lives at {place:?}"))?;
        let found = self.house.server().node().system.observe().process(id);
        found.ok_or_else(|| format!("{place:?} has ended"))
    }

    /// All is said; carol comes; everything that was accepted is accounted for.
    async fn account(&self) -> Result<(), String> {
        let carol = self.hear_all().await?;
        settle_accounts(&*self.house, &[&self.alice, &self.bob, &carol], &self.tally).await?;
        self.nothing_left().await
    }

    async fn hear_all(&self) -> Result<Talker, String> {
        self.alice.hush().await?;
        self.bob.hush().await?;
        let server: Arc<dyn Server> = self.house.clone();
        Talker::enter(
            server,
            Login::new("carol", "localhost", "pad"),
            &[],
            &self.tally,
        )
        .await
    }

    /// No letter lies about, and what was handed out of the offline queue is forgotten.
    async fn nothing_left(&self) -> Result<(), String> {
        let node = self.house.server().node();
        let dead = until_seen(|| node.router.dead_letters().is_empty().then_some(())).await;
        dead.map_err(|_| {
            format!(
                "{} dead letters lie about",
                node.router.dead_letters().len()
            )
        })?;
        for user in ["alice", "bob", "carol"] {
            let account = node
                .account(user, "localhost")
                .map_err(|error| format!("{error:?}"))?;
            let empty = until(async || {
                let left = node.storage.offline.count(&account).await;
                matches!(left, Ok(0)).then_some(())
            });
            empty
                .await
                .map_err(|_| format!("{user}'s offline queue still holds what was handed out"))?;
        }
        Ok(())
    }

    /// The server ends in order after whatever it went through.
    async fn close(self) -> Result<(), String> {
        drop((self.alice, self.bob));
        match within(self.house.server().stop()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err("its end was cut short".to_owned()),
            Err(_) => Err("it did not end in time".to_owned()),
        }
    }
}

fn enter(above: &str, nodes: &[TreeNode], living: &mut Living) {
    for node in nodes.iter().filter(|node| node.kind != "c2s") {
        let path = format!("{above}/{}", node.name);
        enter(&path, &node.children, living);
        living.insert(path, node.id);
    }
}

fn at(nodes: &[TreeNode], place: &[&str]) -> Option<ProcessId> {
    let (name, below) = place.split_first()?;
    let node = nodes
        .iter()
        .find(|node| node.name == *name || node.name.starts_with(&format!("{name} ")))?;
    match below {
        [] => Some(node.id),
        _ => at(&node.children, below),
    }
}

fn session(nodes: &[TreeNode], jid: &str) -> Option<ProcessId> {
    nodes
        .iter()
        .find_map(|node| match node.detail.as_deref() == Some(jid) {
            true => Some(node.id),
            false => session(&node.children, jid),
        })
}

/// A process of that kind falls.
pub async fn fall(kind: &Kind, how: Fall) -> Result<(), String> {
    let stage = Stage::set().await?;
    let before = stage.living();
    let victim = stage.process(kind.place)?;
    let logins = (stage.alice.progress().logins, stage.bob.progress().logins);
    match how {
        Fall::Panic => victim.fault(Fault::Panic),
        Fall::Kill => victim.kill(),
        Fall::Hang => {
            victim.fault(Fault::Hang);
            bear_it_hanging(&stage, kind).await?;
            victim.kill();
        }
    }
    let watch = Stopwatch::start();
    within(victim.watch())
        .await
        .map_err(|_| "it did not end in time")?;
    let expected = |path: &str| fate(kind, path);
    let back = until_seen(|| {
        unexpected(&before, &stage.living(), &expected)
            .is_none()
            .then_some(())
    })
    .await;
    if back.is_err() {
        return Err(unexpected(&before, &stage.living(), &expected).unwrap_or_default());
    }
    let took = watch.elapsed();
    // The server's clock has stood still all the time: nothing waited for a timer.
    if took > Duration::from_secs(10) {
        return Err(format!("it took {took:?} to come back"));
    }
    let (alice, bob) = match kind.ends {
        Ends::Nobody => (0, 0),
        Ends::Alice => (1, 0),
        Ends::All => (1, 1),
    };
    stage.alice.logged_in(logins.0 + alice).await?;
    stage.bob.logged_in(logins.1 + bob).await?;
    stage.both_go_on().await?;
    let after = (stage.alice.progress().logins, stage.bob.progress().logins);
    if after != (logins.0 + alice, logins.1 + bob) {
        return Err(format!(
            "alice and bob have logged in {after:?} times, before it was {logins:?}"
        ));
    }
    stage.account().await?;
    // Nobody fell later, as an echo of it.
    if let Some(other) = unexpected(&before, &stage.living(), &expected) {
        return Err(other);
    }
    stage.close().await
}

/// Others talk on while it hangs.
async fn bear_it_hanging(stage: &Stage, kind: &Kind) -> Result<(), String> {
    let rounds = stage.alice.progress().rounds;
    stage.bob.rounds_more(ROUNDS).await?;
    match kind.mute {
        Mute::Nobody => stage.alice.rounds_more(ROUNDS).await,
        // The round in which it began to hang may have been answered.
        Mute::Alice if stage.alice.progress().rounds > rounds + 1 => {
            Err("alice talks on through a session that hangs".to_owned())
        }
        Mute::Alice => Ok(()),
    }
}

/// What is to become of the process at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Lives,
    Replaced,
    Gone,
}

fn fate(kind: &Kind, path: &str) -> Fate {
    let mut falling = kind.with.iter().chain([&kind.place]);
    let falls = falling.any(|place| {
        let place = format!("/{}", place.join("/"));
        path.strip_prefix(&place)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ' ']))
    });
    match (falls, kind.returns) {
        (false, _) => Fate::Lives,
        (true, true) => Fate::Replaced,
        (true, false) => Fate::Gone,
    }
}

/// The first place where something else is than there should be.
fn unexpected(before: &Living, now: &Living, expected: &dyn Fn(&str) -> Fate) -> Option<String> {
    let wrong = before
        .iter()
        .find(|(path, was)| match (expected(path), now.get(*path)) {
            (Fate::Lives, Some(is)) => is != *was,
            (Fate::Replaced, Some(is)) => is == *was,
            (Fate::Gone, None) => false,
            _ => true,
        });
    wrong.map(|(path, was)| {
        format!(
            "{path} was {was}, is {:?}, but should be: {:?}",
            now.get(path),
            expected(path)
        )
    })
}

/// A connection breaks without a goodbye.
pub async fn io_vanishes() -> Result<(), String> {
    let stage = Stage::set().await?;
    let before = stage.living();
    for _ in 0..3 {
        stage.alice.vanish().await?;
        stage.both_go_on().await?;
    }
    if stage.bob.progress().logins != 1 {
        return Err("bob noticed".to_owned());
    }
    all_live(&stage, &before)?;
    stage.account_for_vanished().await?;
    stage.close().await
}

impl Stage {
    /// As [`Stage::account`], where alice's machine threw away what had arrived: that is lost to her, not by us.
    async fn account_for_vanished(&self) -> Result<(), String> {
        let carol = self.hear_all().await?;
        let not_hers =
            |key: &String| !key.contains("-to-alice") && !key.starts_with("alice-to-echo");
        let missing = || {
            self.tally
                .missing()
                .into_iter()
                .filter(not_hers)
                .collect::<Vec<_>>()
        };
        let heard = until_seen(|| missing().is_empty().then_some(())).await;
        heard.map_err(|_| format!("accepted and lost: {:?}", missing()))?;
        self.house.settle().await;
        carol.hush().await?;
        match self.tally.doubled() {
            doubled if doubled.is_empty() => Ok(()),
            doubled => Err(format!("came twice: {doubled:?}")),
        }
    }
}

fn all_live(stage: &Stage, before: &Living) -> Result<(), String> {
    unexpected(before, &stage.living(), &|_| Fate::Lives).map_or(Ok(()), Err)
}

/// What the IO task of a session says when it panics on order.
pub const IO_PANIC: &str = "the IO task panics on order";

static IO_IS_TO_PANIC: AtomicBool = AtomicBool::new(false);

/// Panics where a stanza is noted as written: that is in the IO task, after its bytes have left.
struct PanicWhenWritten;

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for PanicWhenWritten {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        struct Step(bool);
        impl tracing::field::Visit for Step {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
                self.0 |= field.name() == "step" && format!("{value:?}") == "\"written\"";
            }
        }
        if !IO_IS_TO_PANIC.load(Ordering::SeqCst) {
            return;
        }
        let mut step = Step(false);
        event.record(&mut step);
        if step.0 && IO_IS_TO_PANIC.swap(false, Ordering::SeqCst) {
            panic!("{IO_PANIC}");
        }
    }
}

/// The IO task of a session panics.
pub async fn io_panics() -> Result<(), String> {
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::{Layer, filter::LevelFilter, filter::Targets};
    let only = Targets::new().with_target("natter::stanza", LevelFilter::TRACE);
    let subscriber = tracing_subscriber::registry().with(PanicWhenWritten.with_filter(only));
    tracing::subscriber::set_global_default(subscriber).map_err(|error| error.to_string())?;
    let stage = Stage::set().await?;
    let before = stage.living();
    for _ in 0..3 {
        let logins = stage.alice.progress().logins + stage.bob.progress().logins;
        IO_IS_TO_PANIC.store(true, Ordering::SeqCst);
        let again = until_seen(|| {
            let now = stage.alice.progress().logins + stage.bob.progress().logins;
            (now > logins).then_some(())
        });
        again.await.map_err(|_| "nobody's session ended")?;
        stage.both_go_on().await?;
    }
    all_live(&stage, &before)?;
    stage.account().await?;
    stage.close().await
}

/// The thread that writes panics: before it is too late to bounce, those who wait hear that it failed.
pub async fn thread_panics() -> Result<(), String> {
    let stage = Stage::set().await?;
    let before = stage.living();
    for at in [
        StorageFaultPoint::BeforeBegin,
        StorageFaultPoint::BeforeCommit,
    ] {
        let process = stage.process(WRITER)?;
        let ordered = stage
            .house
            .server()
            .node()
            .storage
            .fault(StorageFault::Panic, at);
        within(ordered.reached())
            .await
            .map_err(|_| "the thread did not come to the place")?;
        within(process.watch())
            .await
            .map_err(|_| "its process did not end")?;
        stage.both_go_on().await?;
    }
    let writer = |path: &str| match path.ends_with("/storage_writer") {
        true => Fate::Replaced,
        false => Fate::Lives,
    };
    unexpected(&before, &stage.living(), &writer).map_or(Ok(()), Err)?;
    stage.nobody_logged_in_again()?;
    stage.account().await?;
    stage.close().await
}

/// The thread that writes hangs: what needs the store fails at its deadline of 5 s, all else goes on. After 30 s
/// the thread counts as hung and its process is replaced; the store works again once the thread lets go of the
/// database, which a hanging disk does and this test orders.
///
/// The one message that the thread held may come and be bounced as well: its sender was told that the store cannot
/// tell.
pub async fn thread_hangs() -> Result<(), String> {
    let stage = Stage::set().await?;
    let process = stage.process(WRITER)?;
    let ordered = stage
        .house
        .server()
        .node()
        .storage
        .fault(StorageFault::Hang, StorageFaultPoint::BeforeCommit);
    within(ordered.reached())
        .await
        .map_err(|_| "the thread did not come to the place")?;
    let before = stage.tally.counts().bounced;
    // Both wait for the store now, or will in a moment. Time passes, a second at a time, until their deadlines of
    // 5 s and the thread's of 30 s have come.
    let second = Duration::from_secs(1);
    let passed = until(async || {
        let passed = stage.house.advance(second).await;
        let told = stage.tally.counts().bounced > before;
        (passed.is_err() || (told && !process.is_alive())).then_some(passed)
    });
    match passed.await {
        Ok(passed) => passed.map_err(|unable| unable.0)?,
        Err(_) if process.is_alive() => {
            return Err("the process of the hanging thread was not replaced".to_owned());
        }
        Err(_) => return Err("nobody was told that the store does not answer".to_owned()),
    }
    ordered.release();
    stage.both_go_on().await?;
    stage.nobody_logged_in_again()?;
    let carol = stage.hear_all().await?;
    let missing = until_seen(|| stage.tally.missing().is_empty().then_some(())).await;
    missing.map_err(|_| format!("accepted and lost: {:?}", stage.tally.missing()))?;
    stage.house.settle().await;
    carol.hush().await?;
    // At most one message a sender was in the thread's hands.
    let doubled = stage.tally.doubled();
    if doubled.len() > 2
        || doubled
            .iter()
            .any(|message| !message.contains("(1 heard, 1 bounced)"))
    {
        return Err(format!("came twice: {doubled:?}"));
    }
    stage.nothing_left().await?;
    drop(carol);
    stage.close().await
}

const WRITER: &[&str] = &["storage_sup", "storage_writer"];

/// The dead-letter process is killed while it brings a letter to the store: its successor brings it again.
pub async fn letter_in_hand() -> Result<(), String> {
    let house = House::start(EXTRA).await?;
    for user in ["alice", "bob"] {
        house
            .register(&format!("{user}@localhost"), &password_of(user))
            .await?;
    }
    let say = |broken: tests::wire::Broken| broken.to_string();
    let bob_at = Login::new("bob", "localhost", "phone");
    let mut bob = Client::connect(&house, &bob_at).await.map_err(say)?;
    bob.become_available(0).await.map_err(say)?;
    bob.round_trip().await.map_err(say)?;
    let mut alice = Client::connect(&house, &Login::new("alice", "localhost", "desk"))
        .await
        .map_err(say)?;
    let observe = house.server().node().system.observe();
    let find = |found: Option<ProcessId>| {
        found
            .and_then(|id| observe.process(id))
            .ok_or_else(|| "a process is missing".to_owned())
    };
    let session = find(
        observe
            .tree()
            .iter()
            .find_map(|root| session(&root.children, "bob@localhost/phone")),
    )?;
    session.fault(Fault::Hang);
    let tally = Tally::default();
    let keys: Vec<String> = (0..20).map(|number| format!("letter-{number}")).collect();
    for key in &keys {
        tally.said(key);
        let message = format!(
            "<message type='chat' to='bob@localhost' id='{key}'><body>{key}</body></message>"
        );
        alice.send(&message).await.map_err(say)?;
    }
    alice.round_trip().await.map_err(say)?;
    tally.accepted(&keys);
    let held = house
        .server()
        .node()
        .storage
        .fault(StorageFault::Hang, StorageFaultPoint::BeforeBegin);
    session.kill();
    within(held.reached())
        .await
        .map_err(|_| "no letter came to the store")?;
    let reader = find(
        observe
            .tree()
            .iter()
            .find_map(|root| at(&root.children, &["dead_letters"])),
    )?;
    reader.kill();
    within(reader.watch())
        .await
        .map_err(|_| "dead_letters did not end")?;
    held.release();
    let dead = &house.server().node().router;
    let empty = until_seen(|| dead.dead_letters().is_empty().then_some(())).await;
    empty.map_err(|_| "dead letters lie about")?;
    house.settle().await;
    let mut bob = Client::connect(&house, &bob_at).await.map_err(say)?;
    bob.become_available(0).await.map_err(say)?;
    while !tally.missing().is_empty() {
        match bob.hear().await {
            Ok(Heard::Element(element)) => tally.heard(&element),
            Ok(Heard::Over { .. }) => return Err("bob's stream is over".to_owned()),
            Err(_) => return Err(format!("accepted and lost: {:?}", tally.missing())),
        }
    }
    bob.round_trip().await.map_err(say)?;
    while let Some(Heard::Element(element)) = bob.heard_already() {
        tally.heard(&element);
    }
    match tally.doubled() {
        doubled if doubled.is_empty() => Ok(()),
        doubled => Err(format!("came twice: {doubled:?}")),
    }
}

impl Stage {
    fn nobody_logged_in_again(&self) -> Result<(), String> {
        match (self.alice.progress().logins, self.bob.progress().logins) {
            (1, 1) => Ok(()),
            logins => Err(format!("alice and bob have logged in {logins:?} times")),
        }
    }
}
