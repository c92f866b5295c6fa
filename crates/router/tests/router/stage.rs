//! A router with its processes, services that listen, and a ledger that counts.

use std::sync::Arc;
use std::time::Duration;

use otp::{
    Clock, ClockHand, Ctx, Flow, GenServer, Init, Pid, Strategy, SupPid, Supervisor, System,
};
use parking_lot::Mutex;
use router::{Ledger, Meta, Mode, Origin, Outcome, Packet, Parcel, RouteSpec, Router, Routing};
use tokio::sync::Notify;
use xmpp::Stanza;

pub const A: &str = "a.example";
pub const B: &str = "b.example";

/// What is worth telling of a packet: kind, type, addresses, error.
pub fn told(stanza: &Stanza) -> String {
    let address = |jid: Option<&xmpp::Jid>| jid.map(ToString::to_string).unwrap_or_default();
    let error = stanza.to_xml();
    let error = error
        .split_once("<error")
        .and_then(|(_, rest)| {
            rest.split('<')
                .nth(1)
                .and_then(|tag| tag.split([' ', '/', '>']).next())
        })
        .map(|condition| format!(" {condition}"))
        .unwrap_or_default();
    format!(
        "{} > {}{error}",
        address(stanza.from()),
        address(stanza.to())
    )
}

pub struct Stage {
    pub system: System,
    pub hand: ClockHand,
    pub router: Router,
    pub sup: SupPid,
    pub ledger: Arc<Ledger>,
    /// What came back to `b.example`, where all senders of these tests live.
    pub back: Arc<Mutex<Vec<Stanza>>>,
    /// Owns the route of `b.example`.
    pub home: Pid<Holder>,
}

impl Stage {
    pub async fn new() -> Stage {
        let (clock, hand) = Clock::manual();
        let system = System::new("test", clock);
        let router = Router::new(&system);
        let sup = Supervisor::new(Strategy::OneForOne)
            .intensity(10, Duration::from_secs(10))
            .child(router.child_spec())
            .child(router.dead_letters_child_spec())
            .start(&system, "root")
            .await
            .expect("the router starts");
        let home = Holder::start(&system).await.0;
        let stage = Stage {
            system,
            hand,
            router,
            sup,
            ledger: Ledger::new(),
            back: Arc::default(),
            home,
        };
        let back = Arc::clone(&stage.back);
        let take = move |packet: Packet| {
            back.lock().push(packet.stanza.clone());
            packet.receipt.resolve(Outcome::Delivered);
            Routing::done()
        };
        stage
            .route_to(&stage.home, B, Mode::Inline(Arc::new(take)))
            .await;
        stage
    }

    pub async fn route_to(&self, owner: &Pid<Holder>, domain: &str, mode: Mode) {
        self.router
            .register_route(RouteSpec::new(domain, None, mode), &owner.any(), domain)
            .await
            .expect("nobody has that domain");
    }

    /// A packet of a session, with an entry in the ledger.
    pub fn packet(&self, text: &str) -> Packet {
        let stanza = Stanza::parse(text).expect("a stanza");
        Packet {
            stanza,
            meta: self.meta(),
            receipt: self.ledger.open(),
        }
    }

    pub fn meta(&self) -> Meta {
        self.router.meta(Origin::Server)
    }

    /// Sends a message from `x@b.example/r` and says what came back for it.
    pub async fn say(&self, to: &str) -> Vec<String> {
        let message = format!(
            "<message from='x@b.example/r' to='{to}' type='chat'><body>hi</body></message>"
        );
        self.router.route(self.packet(&message)).await;
        self.heard()
    }

    /// What came back to `b.example` since the last time.
    pub fn heard(&self) -> Vec<String> {
        std::mem::take(&mut *self.back.lock())
            .iter()
            .map(told)
            .collect()
    }

    /// Every receipt was resolved, and none was lost.
    pub fn settled(&self, number: u64) {
        assert_eq!(
            (self.ledger.settled(), self.ledger.lost_count()),
            (number, 0)
        );
    }
}

/// Waits for what other processes are about to do.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..100_000 {
        if is_so() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{what}: never came true");
}

/// A process that owns routes, and keeps what it gets until it is let.
pub struct Holder {
    got: Arc<Mutex<Vec<Stanza>>>,
    gate: Arc<Gate>,
}

/// Shut, the holder stops in the middle of its next packet.
#[derive(Default)]
pub struct Gate {
    shut: Mutex<bool>,
    opened: Notify,
}

impl Gate {
    pub fn shut(&self) {
        *self.shut.lock() = true;
    }

    pub fn open(&self) {
        *self.shut.lock() = false;
        self.opened.notify_waiters();
    }
}

impl Holder {
    pub async fn start(system: &System) -> (Pid<Holder>, Arc<Mutex<Vec<Stanza>>>, Arc<Gate>) {
        let (got, gate): (Arc<Mutex<Vec<Stanza>>>, Arc<Gate>) = Default::default();
        let args = (Arc::clone(&got), Arc::clone(&gate));
        let pid = system
            .start::<Holder>(None, args)
            .await
            .expect("a holder starts");
        (pid, got, gate)
    }

    pub fn mode(pid: &Pid<Holder>) -> Mode {
        Mode::Actor(Holder::post(pid))
    }

    pub fn post(pid: &Pid<Holder>) -> router::Post {
        let pid = pid.clone();
        Arc::new(move |parcel| pid.offer(parcel, |parcel| parcel))
    }
}

impl GenServer for Holder {
    const KIND: &'static str = "holder";
    const MAILBOX_BYTES: usize = 4096;
    type Args = (Arc<Mutex<Vec<Stanza>>>, Arc<Gate>);
    type Call = ();
    type Reply = ();
    type Cast = Parcel;
    type Info = ();

    async fn init((got, gate): Self::Args, _ctx: &mut Ctx<Self>) -> Init<Self> {
        Init::Ok(Holder { got, gate })
    }

    async fn handle_cast(&mut self, parcel: Parcel, _ctx: &mut Ctx<Self>) -> Flow {
        loop {
            let opened = self.gate.opened.notified();
            if !*self.gate.shut.lock() {
                break;
            }
            opened.await;
        }
        let packet = parcel.take();
        self.got.lock().push(packet.stanza.clone());
        packet.receipt.resolve(Outcome::Delivered);
        Flow::Go
    }
}
