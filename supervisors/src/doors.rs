//! The open sockets of a running server, and what each takes connections for.
//!
//! The listeners' supervisor reads the list when it starts; reloads open, close and change single ones.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use config::Options;
use futures_util::future::BoxFuture;
use net::{Accept, Admission, Bound, ListenerLimits, LiveGate, PeerAddr, Ticket, listener_child};
use otp::{ChildSpec, Name, SupPid, System};
use parking_lot::Mutex;
use tokio::net::TcpStream;

use crate::server::{Address, ServerError, gate};
use crate::settings::{Limits, Listener, ListenerKind, Loaded, TlsMode};

/// The name of the listeners' supervisor.
pub(crate) fn listener_sup_name() -> Name {
    Name::new("listener_sup", "")
}

/// Makes what a listener hands its connections to.
pub(crate) type MakeDoor = Box<dyn Fn(&Listener, &Loaded) -> Arc<dyn Accept> + Send + Sync>;

/// One open socket.
#[derive(Clone)]
pub(crate) struct Door {
    /// The id of its acceptor under the supervisor.
    id: String,
    /// Those of one name that stands for several addresses have one group.
    pub(crate) group: usize,
    /// Where it listens, as configured.
    pub(crate) address: String,
    /// How it is configured.
    pub(crate) listener: Listener,
    pub(crate) bound: Arc<Bound>,
    takes: Arc<Takes>,
    gate: LiveGate,
}

/// What new connections are handed to, exchanged by reloads.
struct Takes(ArcSwap<Arc<dyn Accept>>);

impl Accept for Takes {
    fn accepted(
        &self,
        socket: TcpStream,
        peer: PeerAddr,
        ticket: Ticket,
    ) -> BoxFuture<'static, ()> {
        self.0.load().accepted(socket, peer, ticket)
    }
}

impl Door {
    fn child_spec(&self) -> ChildSpec {
        let takes: Arc<dyn Accept> = Arc::<Takes>::clone(&self.takes);
        let limits = ListenerLimits::default();
        listener_child(
            self.id.clone(),
            Arc::clone(&self.bound),
            takes,
            self.gate.clone(),
            limits,
        )
    }

    /// The keys in which this door is configured otherwise than `listener`, with both values and when the
    /// change takes effect.
    pub(crate) fn differences(&self, listener: &Listener) -> Vec<(&'static str, String, String)> {
        let (old, new) = (self.listener.shown(), listener.shown());
        let value = |shown: &[(&'static str, String)], key: &str| {
            let found = shown.iter().find(|(name, _)| *name == key);
            found.map_or_else(|| "–".to_owned(), |(_, value)| value.clone())
        };
        Listener::declared()
            .iter()
            .filter(|option| option.key != "address")
            .map(|option| (option.key, value(&old, option.key), value(&new, option.key)))
            .filter(|(_, was, is)| was != is)
            .collect()
    }
}

/// All of them. Clones are the same.
#[derive(Clone)]
pub(crate) struct Doors(Arc<Inner>);

struct Inner {
    system: System,
    /// One for all listeners: it is the server that has so many places.
    admission: Admission,
    make: MakeDoor,
    /// The next group.
    numbers: AtomicUsize,
    open: Mutex<Vec<Door>>,
}

impl Doors {
    pub(crate) fn new(system: &System, admission: Admission, make: MakeDoor) -> Doors {
        Doors(Arc::new(Inner {
            system: system.clone(),
            admission,
            make,
            numbers: AtomicUsize::new(0),
            open: Mutex::default(),
        }))
    }

    /// Makes doors of the sockets that were bound before the tree starts.
    pub(crate) fn enter(&self, listening: Listening, loaded: &Loaded) {
        for (listener, address, bound) in listening {
            let doors = self.make(&listener, &address, bound, loaded);
            self.0.open.lock().extend(doors);
        }
    }

    /// Doors of the sockets of one address, which nobody knows of yet.
    pub(crate) fn make(
        &self,
        listener: &Listener,
        address: &str,
        bound: Vec<Bound>,
        loaded: &Loaded,
    ) -> Vec<Door> {
        let group = self.0.numbers.fetch_add(1, Ordering::Relaxed);
        let door = |bound: Bound| Door {
            id: format!("{}:{group} {}", listener.kind, bound.local_addr()),
            group,
            address: address.to_owned(),
            listener: listener.clone(),
            bound: Arc::new(bound),
            takes: Arc::new(Takes(ArcSwap::from_pointee((self.0.make)(
                listener, loaded,
            )))),
            gate: gate(listener, loaded, &self.0.admission).into(),
        };
        bound.into_iter().map(door).collect()
    }

    /// The acceptors of all that is open, for their supervisor.
    pub(crate) fn children(&self) -> Vec<ChildSpec> {
        let open = self.0.open.lock();
        open.iter().map(Door::child_spec).collect()
    }

    pub(crate) fn list(&self) -> Vec<Door> {
        self.0.open.lock().clone()
    }

    pub(crate) fn addresses(&self) -> Vec<Address> {
        let open = self.0.open.lock();
        open.iter()
            .map(|door| Address {
                kind: door.listener.kind.to_string(),
                tls: door.listener.tls,
                at: door.bound.local_addr(),
            })
            .collect()
    }

    /// Lets in so many who have not logged in from now on.
    pub(crate) fn admit(&self, limits: &Limits) {
        self.0.admission.set(
            limits.connections_before_login,
            limits.connections_before_login_per_address,
        );
    }

    /// Starts to accept at a door.
    ///
    /// # Errors
    ///
    /// In words: its process did not start.
    pub(crate) async fn open(&self, door: Door) -> Result<(), String> {
        let spec = door.child_spec();
        let started = self.supervisor()?.start_child(spec).await;
        started.map_err(|error| format!("cannot listen at {}: {error}", door.address))?;
        self.0.open.lock().push(door);
        Ok(())
    }

    /// Closes a door: its socket refuses connections from then on. Those that stand are not touched.
    pub(crate) async fn close(&self, door: &Door) -> Result<(), String> {
        self.0.open.lock().retain(|open| open.id != door.id);
        let sup = self.supervisor()?;
        let failed = |error: otp::ChildError| format!("{} does not close: {error}", door.address);
        sup.terminate_child(&door.id).await.map_err(failed)?;
        sup.delete_child(&door.id).await.map_err(failed)
    }

    /// Configures a door anew, for connections that come from now on.
    pub(crate) fn change(&self, door: &Door, listener: &Listener, loaded: &Loaded) {
        let takes = (self.0.make)(listener, loaded);
        let mut open = self.0.open.lock();
        if let Some(open) = open.iter_mut().find(|open| open.id == door.id) {
            open.listener = listener.clone();
            if let Err(error) = open.bound.set_backlog(listener.backlog) {
                tracing::warn!(target: "natter::node", address = open.address, %error, "backlog not changed");
            }
            open.takes.0.store(Arc::new(takes));
            open.gate.set(gate(listener, loaded, &self.0.admission));
        }
    }

    fn supervisor(&self) -> Result<SupPid, String> {
        let found = self.0.system.registry().supervisor(&listener_sup_name());
        found.ok_or_else(|| "the supervisor of the listeners is not there".to_owned())
    }
}

/// Sockets that were bound: how each is configured, and where.
pub(crate) type Listening = Vec<(Listener, String, Vec<Bound>)>;

/// Binds all listeners of a server that starts.
pub(crate) fn listen(loaded: &Loaded) -> Result<Listening, ServerError> {
    let mut listening = Listening::new();
    for listener in &loaded.listeners {
        for address in &listener.address {
            let bound = bind(listener, address, loaded, &[])?;
            if !bound.is_empty() {
                listening.push((listener.clone(), address.clone(), bound));
            }
        }
        warn_of_clear(listener);
    }
    if listening.is_empty() {
        let mut addresses = loaded.listeners.iter().flat_map(|l| l.address.iter());
        return Err(ServerError::Listen {
            address: addresses.next().cloned().unwrap_or_default(),
            why: io::ErrorKind::AddrNotAvailable.into(),
        });
    }
    Ok(listening)
}

/// Binds one address of a listener: several sockets where it is a name with several. Of listeners that nobody
/// configured one that this machine has no address for is left out. Those of `beside` that have the port go on
/// listening.
pub(crate) fn bind(
    listener: &Listener,
    address: &str,
    loaded: &Loaded,
    beside: &[Door],
) -> Result<Vec<Bound>, ServerError> {
    let bind_one = |at: SocketAddr| {
        let has_port = |door: &&Door| door.bound.local_addr().port() == at.port();
        let others = beside.iter().filter(has_port);
        let others: Vec<Arc<Bound>> = others.map(|door| Arc::clone(&door.bound)).collect();
        Bound::bind_beside(at, listener.backlog, &others)
    };
    let bound = address
        .to_socket_addrs()
        .and_then(|found| found.map(bind_one).collect::<io::Result<Vec<Bound>>>());
    match bound {
        Err(why) if loaded.has_default_listeners() && why.kind() != io::ErrorKind::AddrInUse => {
            tracing::warn!(target: "natter::node", address, %why, "not listening there");
            Ok(Vec::new())
        }
        bound => bound.map_err(|why| ServerError::Listen {
            address: address.to_owned(),
            why,
        }),
    }
}

pub(crate) fn warn_of_clear(listener: &Listener) {
    let is_here = |at: SocketAddr| at.ip().is_loopback();
    let mut found = listener
        .address
        .iter()
        .flat_map(ToSocketAddrs::to_socket_addrs)
        .flatten();
    let is_clear = match listener.kind {
        ListenerKind::C2s => true,
        // In front of it there may be a proxy with TLS.
        ListenerKind::Http => !found.all(is_here),
    };
    if listener.tls == TlsMode::Off && is_clear {
        tracing::warn!(
            target: "natter::node",
            addresses = ?listener.address,
            "listener without TLS: passwords may travel in clear"
        );
    }
}
