//! The open rooms of a service: the table that senders read, how a room is opened, and who hears of its end.
//!
//! The table outlives the processes that fill it. [`Keeper`] monitors every open room: those who were in one that
//! fell are told so (status 333), and the next stanza to it opens it again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use ahash::RandomState;
use otp::{
    ChildSpec, Ctx, Flow, From, GenServer, Init, Name, Pid, ProcessId, Restart, Shutdown,
    StartChildError, Supervisor,
};
use parking_lot::{Mutex, RwLock};
use router::{Packet, Routing};
use xmpp::{BareJid, Condition, FullJid, Jid, PresenceType};

use crate::room::{Cast as RoomCast, Room, RoomArgs};
use crate::service::Service;
use crate::stanzas::gone;

/// How many supervisors share the rooms of a service.
const SHARDS: usize = 4;

/// How long a room may take to say goodbye to all.
const GOODBYE: Duration = Duration::from_secs(10);

/// How often a room is opened for one stanza before it is given up.
const TRIES: usize = 3;

/// An open room as others see it.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) pid: Pid<Room>,
    /// Who is there, by device; read when the room can no longer say so itself.
    pub(crate) present: Mutex<HashMap<FullJid, Arc<str>, RandomState>>,
    /// How many nicknames are there.
    pub(crate) occupants: AtomicUsize,
    /// How many messages were said since it was opened.
    pub(crate) said: AtomicU64,
}

impl Entry {
    /// Tells all who were there that the room is not. Once, whoever asks first.
    async fn bury(&self, service: &Service) {
        let present = std::mem::take(&mut *self.present.lock());
        self.occupants.store(0, Ordering::Relaxed);
        for (device, nick) in present {
            let from = format!("{}@{}/{nick}", self.name, service.domain());
            if let Ok(from) = Jid::new(&from) {
                service
                    .send(gone(&from, &Jid::from(device), &[110, 333]))
                    .await;
            }
        }
    }
}

/// The table.
#[derive(Default)]
pub(crate) struct Rooms {
    open: RwLock<HashMap<String, Arc<Entry>, RandomState>>,
}

impl Rooms {
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Entry>> {
        self.open.read().get(name).cloned()
    }

    /// All that are open, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        self.open.read().values().cloned().collect()
    }

    /// Tells every open room that an account was removed. Those that are not open read it off their rows.
    pub(crate) fn account_gone(&self, account: &BareJid) {
        for entry in self.all() {
            // One that has ended is opened without the account.
            let _ = entry.pid.cast(RoomCast::Gone(account.clone()));
        }
    }

    /// Enters a room that begins; the one it replaces, or the one that lives under its name.
    fn enter(&self, entry: &Arc<Entry>) -> Result<Option<Arc<Entry>>, ()> {
        let mut open = self.open.write();
        match open.get(&entry.name) {
            Some(other) if other.pid.is_alive() => Err(()),
            _ => Ok(open.insert(entry.name.clone(), Arc::clone(entry))),
        }
    }

    /// Takes a room out, unless another has its name by now.
    pub(crate) fn remove(&self, entry: &Entry) {
        let mut open = self.open.write();
        if open
            .get(&entry.name)
            .is_some_and(|found| found.pid.id() == entry.pid.id())
        {
            open.remove(&entry.name);
        }
    }
}

/// Enters a room's process into the table. `None`: another one lives.
pub(crate) async fn begin(
    service: &Arc<Service>,
    name: &str,
    pid: Pid<Room>,
) -> Option<Arc<Entry>> {
    let entry = Arc::new(Entry {
        name: name.to_owned(),
        pid,
        present: Mutex::default(),
        occupants: AtomicUsize::new(0),
        said: AtomicU64::new(0),
    });
    let replaced = service.rooms.enter(&entry).ok()?;
    if let Some(fallen) = replaced {
        // Before anybody can come back.
        fallen.bury(service).await;
    }
    if let Some(keeper) = service
        .host
        .system
        .registry()
        .whereis::<Keeper>(&keeper_name(&service.host.name))
    {
        // One that is being restarted finds it in the table.
        let _ = keeper.cast(Cast::Watch(Arc::clone(&entry)));
    }
    Some(entry)
}

/// Finds a room's process, or starts one.
pub(crate) async fn open(service: &Arc<Service>, name: &str) -> Option<Arc<Entry>> {
    let shard = RandomState::with_seeds(1, 2, 3, 4).hash_one(name) as usize % SHARDS;
    for _ in 0..TRIES {
        if let Some(entry) = service.rooms.get(name)
            && entry.pid.is_alive()
        {
            return Some(entry);
        }
        let registry = service.host.system.registry();
        let supervisor = registry.supervisor(&shard_name(&service.host.name, shard))?;
        let args = RoomArgs {
            service: Arc::clone(service),
            name: name.to_owned(),
        };
        match supervisor.start_one::<Room>(args).await {
            Ok(_) | Err(StartChildError::Ignored) => {}
            Err(error) => {
                tracing::error!(target: "natter::muc", room = name, %error, "a room was not opened");
                return None;
            }
        }
    }
    None
}

/// Takes a packet for the service, in the process that routes it.
pub(crate) fn take(service: &Arc<Service>, packet: Packet) -> Routing {
    let Some(name) = packet.to().node().map(|node| node.as_str().to_owned()) else {
        let service = Arc::clone(service);
        return Routing::later(async move { crate::service::answer(&service, packet).await });
    };
    match service.rooms.get(&name) {
        Some(entry) => match give(service, &entry, packet) {
            Ok(routing) => routing,
            Err(packet) => reopen(service, name, packet),
        },
        None => reopen(service, name, packet),
    }
}

/// Puts a packet into a room's mailbox; gives it back where the room has ended.
fn give(service: &Service, entry: &Entry, packet: Packet) -> Result<Routing, Packet> {
    let router = &service.host.router;
    let parcel = packet.enclose(router.dead_letters());
    match entry.pid.offer(parcel, RoomCast::Route) {
        Ok(()) => Ok(Routing::done()),
        Err(parcel) if entry.pid.is_alive() => {
            Ok(router.bounce(parcel.take(), Condition::ResourceConstraint.into()))
        }
        Err(parcel) => Err(parcel.take()),
    }
}

fn reopen(service: &Arc<Service>, name: String, packet: Packet) -> Routing {
    use xmpp::Kind;
    let stanza = &packet.stanza;
    // Who leaves what is not open, or answers it, needs no room for that.
    let to_nobody = stanza.is_error()
        || (stanza.kind() == Kind::Presence && stanza.presence_type() != PresenceType::Available)
        || (stanza.kind() == Kind::Iq && stanza.iq_type() == xmpp::IqType::Result);
    if to_nobody {
        packet.drop_by_rule();
        return Routing::done();
    }
    let service = Arc::clone(service);
    Routing::later(async move {
        let router = service.host.router.clone();
        let mut packet = packet;
        for _ in 0..TRIES {
            let Some(entry) = open(&service, &name).await else {
                break;
            };
            match give(&service, &entry, packet) {
                Ok(routing) => return routing.await,
                Err(back) => packet = back,
            }
        }
        router
            .bounce(packet, Condition::RecipientUnavailable.into())
            .await;
    })
}

// Processes.

/// The name of the process that keeps the table of a host's rooms.
pub(crate) fn keeper_name(host: &str) -> Name {
    Name::new("room_keeper", host)
}

fn shard_name(host: &str, shard: usize) -> Name {
    Name::new("room_sup", format!("{host}/{shard}"))
}

/// What stands beside the module's process: the supervisors of rooms, and who watches them. A room is never
/// restarted: the next stanza opens it again.
pub(crate) fn children(service: &Arc<Service>) -> Vec<ChildSpec> {
    let mut children: Vec<ChildSpec> = (0..SHARDS)
        .map(|shard| {
            let name = shard_name(&service.host.name, shard);
            ChildSpec::supervisor(format!("room_sup/{shard}"), || {
                Supervisor::simple_one_for_one::<Room>(
                    Restart::Temporary,
                    Shutdown::Timeout(GOODBYE),
                )
            })
            .registered(name)
        })
        .collect();
    let service = Arc::clone(service);
    let name = keeper_name(&service.host.name);
    children.push(
        ChildSpec::worker::<Keeper>("room_keeper", move || Arc::clone(&service)).registered(name),
    );
    children
}

/// Watches the open rooms. Permanent, beside the module's process.
pub(crate) struct Keeper {
    service: Arc<Service>,
    watched: HashMap<ProcessId, Arc<Entry>, RandomState>,
}

/// What it is told.
pub(crate) enum Cast {
    /// A room began.
    Watch(Arc<Entry>),
}

impl GenServer for Keeper {
    const KIND: &'static str = "room_keeper";
    type Args = Arc<Service>;
    /// Asks for the service.
    type Call = ();
    type Reply = Arc<Service>;
    type Cast = Cast;
    type Info = ();

    async fn init(service: Arc<Service>, ctx: &mut Ctx<Self>) -> Init<Self> {
        ctx.set_kind_label(service.host.name.to_string());
        let mut keeper = Keeper {
            watched: HashMap::default(),
            service,
        };
        for entry in keeper.service.rooms.all() {
            keeper.watch(entry, ctx);
        }
        Init::Ok(keeper)
    }

    async fn handle_call(
        &mut self,
        (): (),
        from: From<Arc<Service>>,
        _ctx: &mut Ctx<Self>,
    ) -> Flow {
        from.reply(Arc::clone(&self.service));
        Flow::Go
    }

    async fn handle_cast(&mut self, Cast::Watch(entry): Cast, ctx: &mut Ctx<Self>) -> Flow {
        self.watch(entry, ctx);
        Flow::Go
    }

    async fn handle_info(&mut self, info: otp::Info<()>, _ctx: &mut Ctx<Self>) -> Flow {
        if let otp::Info::Down(down) = info
            && let Some(entry) = self.watched.remove(&down.process)
        {
            self.service.rooms.remove(&entry);
            if !down.reason.is_orderly() {
                tracing::error!(target: "natter::muc", room = %entry.name, reason = %down.reason, "a room fell");
            }
            entry.bury(&self.service).await;
        }
        Flow::Go
    }
}

impl Keeper {
    fn watch(&mut self, entry: Arc<Entry>, ctx: &mut Ctx<Self>) {
        let pid = entry.pid.any();
        if self.watched.insert(pid.id(), entry).is_none() {
            ctx.monitor(&pid);
        }
    }
}
