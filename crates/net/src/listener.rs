//! Listeners: a socket bound before the tree starts, and the process that accepts on it.
//!
//! The acceptor is raised by whichever supervisor holds its child spec. When it crashes it is started
//! again on the same socket, so that nobody is refused meanwhile; when it is stopped the socket is
//! closed with it, so that nobody waits for an answer that never comes.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use otp::{ChildSpec, Clock, Ctx, ExitReason, GenServer, Init, Instant};
use parking_lot::{Mutex, RwLock};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::admission::{Admission, Place, Ticket};
use crate::proxy::{self, HeaderError, Network};

/// Both ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddr {
    /// Where the peer is. Through a proxy: where the proxy says that the client is; the unspecified address
    /// where it does not say, or names a loopback address, which only a connection without a proxy can have.
    pub remote: SocketAddr,
    /// Where it reached us.
    pub local: SocketAddr,
}

/// Who takes accepted sockets.
pub trait Accept: Send + Sync + 'static {
    /// Takes one connection. Must return soon, since no other is accepted meanwhile: it starts a
    /// process and hands the socket over, and the ticket with it, to be dropped when the peer has logged in.
    fn accepted(&self, socket: TcpStream, peer: PeerAddr, ticket: Ticket)
    -> BoxFuture<'static, ()>;
}

/// Whom an acceptor lets in, and how it learns who that is. Clones share the admission.
#[derive(Clone, Debug)]
pub struct Gate {
    /// The places for those who have not logged in.
    pub admission: Admission,
    /// Whether each connection begins with a header of the PROXY protocol, and in which networks the proxies
    /// stand; all others are turned away. None: clients come themselves.
    pub proxies: Option<Arc<[Network]>>,
    /// The networks of those who pass on what others say, and tell of whom within it. Their connections have places as
    /// all have, but no share: whose share it is that comes is for them to judge who read it.
    pub forwarders: Arc<[Network]>,
}

/// A gate that can be exchanged while its acceptor runs: it holds for connections that come from then on. Clones are
/// the same.
#[derive(Clone, Debug)]
pub struct LiveGate(Arc<RwLock<Gate>>);

impl LiveGate {
    /// Lets connections in so from now on.
    pub fn set(&self, gate: Gate) {
        *self.0.write() = gate;
    }

    fn now(&self) -> Gate {
        self.0.read().clone()
    }
}

impl From<Gate> for LiveGate {
    fn from(gate: Gate) -> LiveGate {
        LiveGate(Arc::new(RwLock::new(gate)))
    }
}

/// A bound, listening socket.
#[derive(Debug)]
pub struct Bound {
    address: SocketAddr,
    backlog: u32,
    /// `None` while no acceptor shall use it.
    socket: Mutex<Option<StdListener>>,
}

impl Bound {
    /// Binds `address` and listens, for at most `backlog` connections not accepted yet. Port 0 picks
    /// a free one. An IPv6 address takes IPv6 only, so that `0.0.0.0` and `::` can stand side by side.
    ///
    /// # Errors
    ///
    /// As the system gives them: the address is in use, not here, or not allowed.
    pub fn bind(address: SocketAddr, backlog: u32) -> io::Result<Bound> {
        let socket = listen(address, backlog)?;
        Ok(Bound {
            address: socket.local_addr()?,
            backlog,
            socket: Mutex::new(Some(socket)),
        })
    }

    /// As [`bind`](Self::bind), where sockets of this server listen at the same port of overlapping addresses
    /// (`127.0.0.1:5222`, and now `0.0.0.0:5222`). They go on listening, so that nothing has to be closed to try, and
    /// nobody else can take the port in between. Before and after it the system keeps two listeners apart as ever.
    ///
    /// # Errors
    ///
    /// As there: somebody else is in the way. The others listen as before. Also where the system has no `SO_REUSEPORT`.
    pub fn bind_beside(
        address: SocketAddr,
        backlog: u32,
        others: &[Arc<Bound>],
    ) -> io::Result<Bound> {
        let shared: io::Result<Vec<Shared>> = others.iter().map(|other| other.share()).collect();
        let shared = shared?;
        let socket = listen_as(address, backlog, !shared.is_empty())?;
        Ok(Bound {
            address: socket.local_addr()?,
            backlog,
            socket: Mutex::new(Some(socket)),
        })
    }

    /// Lets another socket of this server be bound beside this one while the guard is held.
    fn share(&self) -> io::Result<Shared> {
        let shared = match &*self.socket.lock() {
            Some(socket) => {
                let socket = socket.try_clone()?;
                share_port(&socket, true)?;
                Some(socket)
            }
            None => None,
        };
        Ok(Shared(shared))
    }

    /// The address with the port that was picked.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Lets so many connections wait to be accepted from now on.
    ///
    /// # Errors
    ///
    /// As the system gives them.
    pub fn set_backlog(&self, backlog: u32) -> io::Result<()> {
        match &*self.socket.lock() {
            Some(socket) => {
                SockRef::from(socket).listen(i32::try_from(backlog).unwrap_or(i32::MAX))
            }
            None => Ok(()),
        }
    }

    /// Closes the socket: connections are refused from now on.
    pub fn close(&self) {
        *self.socket.lock() = None;
    }

    /// The socket for one life of the acceptor; bound anew when it was closed.
    fn open(&self) -> io::Result<TcpListener> {
        let mut socket = self.socket.lock();
        let listener = match &mut *socket {
            Some(listener) => listener,
            closed => closed.insert(listen(self.address, self.backlog)?),
        };
        TcpListener::from_std(listener.try_clone()?)
    }
}

/// A socket whose port can be shared, until this is dropped.
struct Shared(Option<StdListener>);

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(socket) = &self.0
            && let Err(error) = share_port(socket, false)
        {
            tracing::warn!(target: "natter::net", %error, "a port stays shared");
        }
    }
}

#[cfg(unix)]
fn share_port<'a>(socket: impl Into<SockRef<'a>>, is_shared: bool) -> io::Result<()> {
    socket.into().set_reuse_port(is_shared)
}

#[cfg(not(unix))]
fn share_port<'a>(_socket: impl Into<SockRef<'a>>, _is_shared: bool) -> io::Result<()> {
    Err(io::ErrorKind::AddrInUse.into())
}

fn listen(address: SocketAddr, backlog: u32) -> io::Result<StdListener> {
    listen_as(address, backlog, false)
}

/// With `beside` other sockets of this server may have the port; from then on nobody else.
fn listen_as(address: SocketAddr, backlog: u32, beside: bool) -> io::Result<StdListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of an earlier run may still be waiting to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if beside {
        share_port(&socket, true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    if beside {
        share_port(&socket, false)?;
    }
    Ok(socket.into())
}

/// How an acceptor bears with trouble.
#[derive(Clone, Copy, Debug)]
pub struct ListenerLimits {
    /// Pause after the system had no file or memory for another socket. Default: 200 ms.
    pub backoff: Duration,
    /// How long written bytes may stay unacknowledged before the system gives the peer up; no limit
    /// of ours where the system cannot do it. Default: 60 s.
    pub unacknowledged: Duration,
    /// Silence after which the system asks the peer for a sign of life. Default: 5 min.
    pub keep_alive: Duration,
    /// Time for a proxy to send its header. Default: 5 s.
    pub header_within: Duration,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        ListenerLimits {
            backoff: Duration::from_millis(200),
            unacknowledged: Duration::from_secs(60),
            keep_alive: Duration::from_secs(300),
            header_within: Duration::from_secs(5),
        }
    }
}

/// The acceptor of `bound` as a child: permanent, stopped at once.
pub fn listener_child(
    id: impl Into<String>,
    bound: Arc<Bound>,
    on: Arc<dyn Accept>,
    gate: impl Into<LiveGate>,
    limits: ListenerLimits,
) -> ChildSpec {
    let gate = gate.into();
    ChildSpec::worker::<Acceptor>(id, move || Args {
        bound: bound.clone(),
        on: on.clone(),
        gate: gate.clone(),
        limits,
    })
}

/// What an acceptor starts with.
pub(crate) struct Args {
    bound: Arc<Bound>,
    on: Arc<dyn Accept>,
    gate: LiveGate,
    limits: ListenerLimits,
}

/// The process that accepts. Its loop is a task of its own, so that it hears orders at any time; a
/// panic there is the process' own.
pub(crate) struct Acceptor {
    bound: Arc<Bound>,
}

impl GenServer for Acceptor {
    const KIND: &'static str = "listener";
    type Args = Args;
    type Call = ();
    type Reply = ();
    type Cast = ();
    type Info = ();

    async fn init(args: Args, ctx: &mut Ctx<Self>) -> Init<Self> {
        let listener = match args.bound.open() {
            Ok(listener) => listener,
            Err(error) => return Init::Stop(ExitReason::error(format!("cannot listen: {error}"))),
        };
        ctx.set_kind_label(args.bound.local_addr().to_string());
        let clock = ctx.clock().clone();
        let accepting = Accepting {
            listener,
            on: args.on,
            gate: args.gate,
            limits: args.limits,
            clock,
            told_full: Mutex::default(),
        };
        ctx.spawn(accepting.run());
        Init::Ok(Acceptor { bound: args.bound })
    }

    async fn terminate(self, reason: &ExitReason, _ctx: &mut Ctx<Self>) {
        if reason.is_orderly() {
            self.bound.close();
        }
    }
}

struct Accepting {
    listener: TcpListener,
    on: Arc<dyn Accept>,
    gate: LiveGate,
    limits: ListenerLimits,
    clock: Clock,
    told_full: Mutex<Option<Instant>>,
}

/// A connection that was let in as far as the door.
struct Arrival {
    socket: TcpStream,
    peer: PeerAddr,
    place: Place,
}

impl Accepting {
    async fn run(self) {
        // One that was accepted and waits for a place. A place is not taken before somebody needs it: other
        // listeners share them.
        let mut waiting: Option<(TcpStream, SocketAddr)> = None;
        // Connections whose proxy has not said yet where they come from: each holds a place.
        let mut unsaid = FuturesUnordered::new();
        loop {
            let admission = self.gate.now().admission;
            tokio::select! {
                accepted = self.listener.accept(), if waiting.is_none() => match accepted {
                    Ok(accepted) => {
                        self.tell_if_full();
                        waiting = Some(accepted);
                    }
                    Err(error) => self.bear(&error).await,
                },
                place = admission.place(), if waiting.is_some() => {
                    let (socket, remote) = waiting.take().expect("somebody waits for this place");
                    match self.arrived(socket, remote, place) {
                        Some(arrival) if self.gate.now().proxies.is_some() => {
                            unsaid.push(self.ask_proxy(arrival));
                        }
                        Some(arrival) => self.hand_over(arrival).await,
                        None => {}
                    }
                }
                Some(said) = unsaid.next() => {
                    if let Some(arrival) = said {
                        self.hand_over(arrival).await;
                    }
                }
            }
        }
    }

    fn arrived(&self, socket: TcpStream, remote: SocketAddr, place: Place) -> Option<Arrival> {
        // The peer may have gone already; then there is nothing to hand over.
        let local = socket.local_addr().ok()?;
        if let Err(error) = prepare(&socket, &self.limits) {
            tracing::debug!(target: "natter::net", %remote, %error, "connection not prepared");
        }
        Some(Arrival {
            socket,
            peer: PeerAddr { remote, local },
            place,
        })
    }

    /// Says that others have to wait, at most once a minute.
    fn tell_if_full(&self) {
        const AGAIN: Duration = Duration::from_secs(60);
        if !self.gate.now().admission.is_full() {
            return;
        }
        let now = self.clock.now();
        let mut told = self.told_full.lock();
        if told.is_none_or(|at| now - at >= AGAIN) {
            *told = Some(now);
            tracing::warn!(
                target: "natter::net",
                "every place for those who have not logged in is taken: further connections wait"
            );
        }
    }

    /// Replaces the proxy's address by the client's.
    async fn ask_proxy(&self, mut arrival: Arrival) -> Option<Arrival> {
        let proxy = arrival.peer.remote;
        let proxies = self.gate.now().proxies;
        let mut trusted = proxies.iter().flat_map(|networks| networks.iter());
        if !trusted.any(|network| network.contains(proxy.ip())) {
            tracing::info!(target: "natter::net", address = %proxy.ip(), "connection closed: not one of the listener's proxies");
            return None;
        }
        let header = proxy::read(&mut arrival.socket);
        let header = self.clock.timeout(self.limits.header_within, header).await;
        match header.unwrap_or(Err(HeaderError::Timeout)) {
            Ok(client) => {
                arrival.peer.remote = forwarded(client, proxy);
                Some(arrival)
            }
            Err(error) => {
                tracing::info!(target: "natter::net", address = %proxy.ip(), %error, "connection closed");
                None
            }
        }
    }

    async fn hand_over(&self, arrival: Arrival) {
        let Arrival {
            socket,
            peer,
            place,
        } = arrival;
        let Gate {
            admission,
            forwarders,
            ..
        } = self.gate.now();
        let from = peer.remote.ip();
        let ticket = match forwarders.iter().any(|network| network.contains(from)) {
            true => Some(Admission::ticket_of_forwarder(place)),
            false => admission.ticket(place, from),
        };
        let Some(ticket) = ticket else {
            tracing::info!(
                target: "natter::net",
                address = %from,
                "connection closed: too many from this address have not logged in"
            );
            return;
        };
        self.on.accepted(socket, peer, ticket).await;
    }

    /// Waits where another attempt would fail at once, and goes on.
    fn bear(&self, error: &io::Error) -> impl Future<Output = ()> + use<> {
        let pause = is_shortage(error).then(|| self.clock.sleep(self.limits.backoff));
        if pause.is_some() {
            tracing::error!(target: "natter::net", %error, "no connections can be accepted");
        } else {
            tracing::debug!(target: "natter::net", %error, "connection lost before it was accepted");
        }
        async move {
            if let Some(pause) = pause {
                pause.await;
            }
        }
    }
}

/// The address of a client that came through a proxy: never a loopback address, whatever was said.
fn forwarded(client: Option<SocketAddr>, proxy: SocketAddr) -> SocketAddr {
    match client {
        Some(client) if !client.ip().to_canonical().is_loopback() => client,
        _ if proxy.is_ipv4() => (Ipv4Addr::UNSPECIFIED, proxy.port()).into(),
        _ => (Ipv6Addr::UNSPECIFIED, proxy.port()).into(),
    }
}

/// Whether the system lacks something, as opposed to a peer that left the queue. What is unknown
/// counts as a shortage: a pause is cheap, a spinning loop is not.
fn is_shortage(error: &io::Error) -> bool {
    !matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::TimedOut
    )
}

fn prepare(socket: &TcpStream, limits: &ListenerLimits) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let socket = SockRef::from(socket);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(limits.keep_alive))?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(limits.unacknowledged))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortages_are_waited_out_and_lost_peers_are_not() {
        #[cfg(target_os = "linux")]
        for (name, code) in [
            ("EMFILE", 24),
            ("ENFILE", 23),
            ("ENOBUFS", 105),
            ("ENOMEM", 12),
        ] {
            assert!(is_shortage(&io::Error::from_raw_os_error(code)), "{name}");
        }
        for kind in [io::ErrorKind::ConnectionAborted, io::ErrorKind::Interrupted] {
            assert!(!is_shortage(&kind.into()), "{kind}");
        }
    }

    #[tokio::test]
    async fn the_pause_is_on_the_clock() {
        let (clock, hand) = Clock::manual();
        let bound = Bound::bind(([127, 0, 0, 1], 0).into(), 1).expect("a port");
        struct Nobody;
        impl Accept for Nobody {
            fn accepted(&self, _: TcpStream, _: PeerAddr, _: Ticket) -> BoxFuture<'static, ()> {
                Box::pin(std::future::ready(()))
            }
        }
        let accepting = Accepting {
            listener: bound.open().expect("a socket"),
            on: Arc::new(Nobody),
            gate: Gate {
                admission: Admission::new(1, 1),
                proxies: None,
                forwarders: Arc::default(),
            }
            .into(),
            limits: ListenerLimits::default(),
            clock,
            told_full: Mutex::default(),
        };
        // A peer that left costs no pause.
        accepting
            .bear(&io::ErrorKind::ConnectionAborted.into())
            .await;
        let pause = tokio::spawn(accepting.bear(&io::Error::from_raw_os_error(24)));
        hand.advance(Duration::from_millis(199)).await;
        assert!(!pause.is_finished());
        hand.advance(Duration::from_millis(2)).await;
        pause.await.expect("it ends");
    }
}
