//! Acceptors: started, crashed, stopped.

use std::io::ErrorKind;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use net::{Accept, Admission, Bound, Gate, ListenerLimits, PeerAddr, Ticket, listener_child};
use otp::{Clock, ClockHand, Strategy, SupPid, Supervisor, System};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Hands sockets to the test, or panics once when told to.
struct Door {
    came: mpsc::UnboundedSender<(TcpStream, PeerAddr, Ticket)>,
    panics: AtomicBool,
}

impl Accept for Door {
    fn accepted(
        &self,
        socket: TcpStream,
        peer: PeerAddr,
        ticket: Ticket,
    ) -> BoxFuture<'static, ()> {
        assert!(!self.panics.swap(false, Ordering::SeqCst), "told to");
        let _ = self.came.send((socket, peer, ticket));
        Box::pin(std::future::ready(()))
    }
}

fn open_gate() -> Gate {
    Gate {
        admission: Admission::new(100, 100),
        proxies: None,
        forwarders: Arc::default(),
    }
}

/// A listener behind this gate, on a clock in hand.
struct Stage {
    address: SocketAddr,
    sockets: mpsc::UnboundedReceiver<(TcpStream, PeerAddr, Ticket)>,
    hand: ClockHand,
    tree: SupPid,
}

async fn stage(gate: Gate) -> Stage {
    let bound = Arc::new(Bound::bind(([127, 0, 0, 1], 0).into(), 128).expect("a port"));
    let address = bound.local_addr();
    let (came, sockets) = mpsc::unbounded_channel();
    let door = Arc::new(Door {
        came,
        panics: AtomicBool::new(false),
    });
    let (clock, hand) = Clock::manual();
    let child = listener_child("c2s", bound, door, gate, ListenerLimits::default());
    let tree = Supervisor::new(Strategy::OneForOne).child(child);
    let tree = tree.start(&System::new("test", clock), "listeners").await;
    Stage {
        address,
        sockets,
        hand,
        tree: tree.expect("starts"),
    }
}

impl Stage {
    /// A connection on which these bytes are said at once.
    async fn connect(&self, first: &[u8]) -> TcpStream {
        let mut socket = TcpStream::connect(self.address).await.expect("queued");
        socket.write_all(first).await.expect("written");
        socket
    }

    async fn arrival(&mut self) -> (TcpStream, PeerAddr, Ticket) {
        self.sockets.recv().await.expect("handed over")
    }
}

/// Waits until the other side has closed; no byte comes before.
async fn closed(mut socket: TcpStream) {
    let read = socket.read(&mut [0; 8]).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

fn behind_proxies(networks: &[&str], per_address: usize) -> Gate {
    let parse = |network: &&str| network.parse().expect("a network");
    Gate {
        admission: Admission::new(100, per_address),
        proxies: Some(networks.iter().map(parse).collect()),
        forwarders: Arc::default(),
    }
}

#[tokio::test]
async fn over_the_total_others_wait_until_a_ticket_is_given_back() {
    let mut stage = stage(Gate {
        admission: Admission::new(2, 1),
        proxies: None,
        forwarders: Arc::default(),
    })
    .await;
    let _clients = [
        stage.connect(b"").await,
        stage.connect(b"").await,
        stage.connect(b"third").await,
    ];
    let (_, _, first) = stage.arrival().await;
    let (_, _, _second) = stage.arrival().await;
    tokio::task::yield_now().await;
    assert!(stage.sockets.try_recv().is_err(), "no place");
    drop(first);
    let (mut third, _, _) = stage.arrival().await;
    let mut said = [0; 5];
    third.read_exact(&mut said).await.expect("said before");
    assert_eq!(&said, b"third");
    stage.tree.stop().await;
}

#[tokio::test]
async fn the_forwarded_address_is_the_clients() {
    let mut stage = stage(behind_proxies(&["127.0.0.0/8"], 100)).await;
    for (header, expected) in [
        (
            "PROXY TCP4 192.0.2.1 198.51.100.1 40000 5222\r\n",
            Some("192.0.2.1:40000"),
        ),
        (
            "PROXY TCP6 2001:db8::1 2001:db8::2 9 5222\r\n",
            Some("[2001:db8::1]:9"),
        ),
        ("PROXY UNKNOWN\r\n", None),
        // Whoever comes through a proxy is never this machine itself.
        ("PROXY TCP4 127.0.0.1 127.0.0.1 40000 5222\r\n", None),
        ("PROXY TCP6 ::1 ::1 40000 5222\r\n", None),
        ("PROXY TCP6 ::ffff:127.0.0.1 ::1 40000 5222\r\n", None),
    ] {
        let client = stage.connect(format!("{header}hello").as_bytes()).await;
        let (mut socket, peer, _) = stage.arrival().await;
        let port = client.local_addr().expect("connected").port();
        let unknown = format!("0.0.0.0:{port}");
        assert_eq!(
            peer.remote.to_string(),
            expected.unwrap_or(&unknown),
            "{header}"
        );
        let mut said = [0; 5];
        socket.read_exact(&mut said).await.expect("said behind it");
        assert_eq!(&said, b"hello", "{header}");
    }
    stage.tree.stop().await;
}

#[tokio::test]
async fn a_slow_proxy_keeps_nobody_waiting_and_is_given_up() {
    let mut stage = stage(behind_proxies(&["127.0.0.1"], 100)).await;
    let slow = stage.connect(b"PROXY TCP4 192").await;
    let _quick = stage.connect(b"PROXY UNKNOWN\r\n").await;
    stage.arrival().await;
    stage.hand.advance(Duration::from_secs(5)).await;
    closed(slow).await;
    let not_one = stage.connect(b"<?xml version='1.0'?><stream:stream>").await;
    closed(not_one).await;
    stage.tree.stop().await;
}

#[tokio::test]
async fn who_is_none_of_the_proxies_is_turned_away() {
    let mut stage = stage(behind_proxies(&["192.0.2.0/24", "::1"], 100)).await;
    let stranger = stage
        .connect(b"PROXY TCP4 192.0.2.1 198.51.100.1 40000 5222\r\n")
        .await;
    closed(stranger).await;
    assert!(stage.sockets.try_recv().is_err());
    stage.tree.stop().await;
}

#[tokio::test]
async fn one_address_has_its_share_of_the_places() {
    let mut stage = stage(behind_proxies(&["127.0.0.1"], 1)).await;
    let header = b"PROXY TCP4 192.0.2.1 198.51.100.1 40000 5222\r\n";
    let _first = stage.connect(header).await;
    let (_, _, ticket) = stage.arrival().await;
    closed(stage.connect(header).await).await;
    let _other = stage
        .connect(b"PROXY TCP4 192.0.2.2 198.51.100.1 40000 5222\r\n")
        .await;
    stage.arrival().await;
    // It has logged in.
    drop(ticket);
    let _again = stage.connect(header).await;
    stage.arrival().await;
    stage.tree.stop().await;
}

#[tokio::test]
async fn it_accepts_survives_a_panic_and_refuses_once_stopped() {
    let any_port = ([127, 0, 0, 1], 0).into();
    let bound = Arc::new(Bound::bind(any_port, 128).expect("a port"));
    let address = bound.local_addr();
    assert_ne!(address.port(), 0);
    let taken = Bound::bind(address, 128).expect_err("told before any tree starts");
    assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    let (came, mut sockets) = mpsc::unbounded_channel();
    let door = Arc::new(Door {
        came,
        panics: AtomicBool::new(false),
    });
    // Connections wait from before the tree is up.
    let early = TcpStream::connect(address).await.expect("queued");
    let system = System::new("test", Clock::real());
    let limits = ListenerLimits::default();
    let gate = open_gate();
    let child = listener_child("c2s", bound.clone(), door.clone(), gate, limits);
    let tree = Supervisor::new(Strategy::OneForOne).child(child);
    let tree = tree.start(&system, "listeners").await.expect("starts");
    let (socket, peer, _ticket) = sockets.recv().await.expect("accepted");
    assert_eq!(peer.remote, early.local_addr().expect("connected"));
    assert_eq!(peer.local, address);
    assert!(socket.nodelay().expect("an option"));

    door.panics.store(true, Ordering::SeqCst);
    let _lost = TcpStream::connect(address).await.expect("queued");
    let second = TcpStream::connect(address)
        .await
        .expect("nobody is refused meanwhile");
    let (_, peer, _) = sockets.recv().await.expect("accepted by the next life");
    assert_eq!(peer.remote, second.local_addr().expect("connected"));

    tree.terminate_child("c2s").await.expect("stops");
    let refused = TcpStream::connect(address)
        .await
        .expect_err("nobody listens");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    tree.restart_child("c2s").await.expect("binds anew");
    let third = TcpStream::connect(address)
        .await
        .expect("the same address again");
    let (_, peer, _) = sockets.recv().await.expect("accepted");
    assert_eq!(peer.remote, third.local_addr().expect("connected"));
    tree.stop().await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[test]
fn both_families_share_a_port() {
    let any: SocketAddr = (Ipv6Addr::UNSPECIFIED, 0).into();
    // The same port may be somebody else's in the other family: then another one is tried.
    let shared = (0..50).find_map(|_| {
        let six = Bound::bind(any, 16).ok()?;
        let port = six.local_addr().port();
        Bound::bind(([0, 0, 0, 0], port).into(), 16).ok()
    });
    let has_ipv6 = Bound::bind(any, 16).is_ok();
    assert_eq!(
        shared.is_some(),
        has_ipv6,
        "the IPv6 socket takes IPv6 only"
    );
}

#[tokio::test]
async fn a_socket_is_bound_beside_ours_and_by_nobody_else() {
    let old = Bound::bind(([127, 0, 0, 1], 0).into(), 8).expect("a port");
    let old = Arc::new(old);
    let at = old.local_addr();
    let wide = SocketAddr::from(([0, 0, 0, 0], at.port()));
    let in_use = |bound: std::io::Result<Bound>| {
        bound.expect_err("the port is taken").kind() == ErrorKind::AddrInUse
    };
    assert!(in_use(Bound::bind(wide, 8)), "without asking");
    // Somebody else's in the way: ours listens on as if nothing had been.
    let other = std::net::TcpListener::bind(("127.0.0.2", at.port())).expect("a port");
    assert!(in_use(Bound::bind_beside(wide, 8, &[Arc::clone(&old)])));
    TcpStream::connect(at).await.expect("it listens");
    drop(other);
    let new = Bound::bind_beside(wide, 8, &[Arc::clone(&old)]).expect("beside ours");
    TcpStream::connect(at).await.expect("both listen");
    assert!(in_use(Bound::bind(wide, 8)), "nobody else beside them");
    old.close();
    TcpStream::connect(at).await.expect("the new one listens");
    new.close();
    let refused = TcpStream::connect(at).await.expect_err("nobody listens");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn those_who_pass_others_on_have_places_and_no_share() {
    let gate = Gate {
        forwarders: ["192.0.2.0/24".parse().expect("a network")].into(),
        ..behind_proxies(&["127.0.0.1"], 1)
    };
    let mut stage = stage(gate.clone()).await;
    let said = |from: &str| format!("PROXY TCP4 {from} 198.51.100.1 4000 443\r\n");
    let (forwarder, client) = (said("192.0.2.7"), said("203.0.113.9"));
    let mut tickets = Vec::new();
    let mut sockets = Vec::new();
    for _ in 0..3 {
        sockets.push(stage.connect(forwarder.as_bytes()).await);
        tickets.push(stage.arrival().await);
    }
    sockets.push(stage.connect(client.as_bytes()).await);
    tickets.push(stage.arrival().await);
    closed(stage.connect(client.as_bytes()).await).await;
    // A place each: as many as the gate has.
    let mut places: Vec<_> = std::iter::from_fn(|| {
        gate.admission
            .ticket_now(std::net::Ipv4Addr::LOCALHOST.into())
    })
    .collect();
    assert_eq!(places.len(), 96);
    places.clear();
    stage.tree.stop().await;
}
