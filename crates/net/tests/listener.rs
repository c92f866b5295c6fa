//! Acceptors: started, crashed, stopped.

use std::io::ErrorKind;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::BoxFuture;
use net::{Accept, Bound, ListenerLimits, PeerAddr, listener_child};
use otp::{Clock, Strategy, Supervisor, System};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Hands sockets to the test, or panics once when told to.
struct Door {
    came: mpsc::UnboundedSender<(TcpStream, PeerAddr)>,
    panics: AtomicBool,
}

impl Accept for Door {
    fn accepted(&self, socket: TcpStream, peer: PeerAddr) -> BoxFuture<'static, ()> {
        assert!(!self.panics.swap(false, Ordering::SeqCst), "told to");
        let _ = self.came.send((socket, peer));
        Box::pin(std::future::ready(()))
    }
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
    let child = listener_child("c2s", bound.clone(), door.clone(), limits);
    let tree = Supervisor::new(Strategy::OneForOne).child(child);
    let tree = tree.start(&system, "listeners").await.expect("starts");
    let (socket, peer) = sockets.recv().await.expect("accepted");
    assert_eq!(peer.remote, early.local_addr().expect("connected"));
    assert_eq!(peer.local, address);
    assert!(socket.nodelay().expect("an option"));

    door.panics.store(true, Ordering::SeqCst);
    let _lost = TcpStream::connect(address).await.expect("queued");
    let second = TcpStream::connect(address)
        .await
        .expect("nobody is refused meanwhile");
    let (_, peer) = sockets.recv().await.expect("accepted by the next life");
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
    let (_, peer) = sockets.recv().await.expect("accepted");
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
