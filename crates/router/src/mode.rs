//! How the owner of a domain takes its packets: in the caller's process, in one of its own, or in one of several.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use otp::AnyPid;
use xmpp::Jid;

use crate::{Packet, Parcel};

/// A packet's remaining way. Ready at once unless somebody has to wait for a store.
#[must_use = "a packet goes on only when its routing is awaited"]
pub struct Routing(pub(crate) Option<BoxFuture<'static, ()>>);

impl Routing {
    /// Nothing is left to do.
    pub fn done() -> Routing {
        Routing(None)
    }

    /// The rest of the way.
    pub fn later(rest: impl Future<Output = ()> + Send + 'static) -> Routing {
        Routing(Some(Box::pin(rest)))
    }
}

impl Future for Routing {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            None => Poll::Ready(()),
            Some(rest) => rest.as_mut().poll(cx),
        }
    }
}

/// Takes a packet in the caller's process.
pub type Inline = Arc<dyn Fn(Packet) -> Routing + Send + Sync>;

/// Puts a parcel into a process's mailbox; hands it back when that is full or gone.
pub type Post = Arc<dyn Fn(Parcel) -> Result<(), Parcel> + Send + Sync>;

/// What a balanced route chooses its slot by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BalanceBy {
    /// By chance.
    Random,
    /// By the sender's full address.
    Source,
    /// By the recipient's full address.
    Destination,
    /// By the sender's bare address.
    BareSource,
    /// By the recipient's bare address.
    BareDestination,
}

/// How the owner of a domain takes its packets.
#[derive(Clone)]
pub enum Mode {
    /// A function called where the router stands.
    Inline(Inline),
    /// A process, told.
    Actor(Post),
    /// One of several processes, chosen by a key. An empty slot bounces, it never drops.
    Balanced(BalanceBy, Vec<Option<Post>>),
}

impl BalanceBy {
    /// The word it is configured and traced by.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            BalanceBy::Random => "random",
            BalanceBy::Source => "source",
            BalanceBy::Destination => "destination",
            BalanceBy::BareSource => "bare_source",
            BalanceBy::BareDestination => "bare_destination",
        }
    }
}

impl fmt::Debug for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A route ready to be installed.
#[derive(Clone, Debug)]
pub struct RouteSpec {
    pub(crate) domain: Arc<str>,
    pub(crate) host: Option<Arc<str>>,
    pub(crate) mode: Mode,
    pub(crate) lasting: bool,
    /// It fills this slot of a balanced route that several processes share.
    pub(crate) slot: Option<usize>,
}

impl RouteSpec {
    /// `mode` takes what is sent to `domain`, which is a service of `host` (or a host itself: `None`).
    pub fn new(domain: &str, host: Option<&str>, mode: Mode) -> RouteSpec {
        RouteSpec {
            domain: domain.into(),
            host: host.map(Arc::from),
            mode,
            lasting: false,
            slot: None,
        }
    }

    /// `post` takes what falls to slot `number` of the `of` slots that processes of one name share; each of them
    /// registers its own. A slot that nobody fills bounces.
    ///
    /// # Panics
    ///
    /// When there is no such slot.
    pub fn slot(
        domain: &str,
        host: Option<&str>,
        by: BalanceBy,
        number: usize,
        of: usize,
        post: Post,
    ) -> RouteSpec {
        let mut slots = vec![None; of];
        slots[number] = Some(post);
        RouteSpec {
            slot: Some(number),
            ..RouteSpec::new(domain, host, Mode::Balanced(by, slots))
        }
    }

    /// Whether it fills a slot of a route that several processes share.
    #[must_use]
    pub fn is_slot(&self) -> bool {
        self.slot.is_some()
    }

    /// The route stays when its owner falls, until the owner's successor installs its own: for an inline
    /// route, which needs no process to be followed.
    ///
    /// A host's own route must not go for a moment: with it would go the way back to the senders, so
    /// that what cannot be delivered then could not be bounced either.
    #[must_use]
    pub fn lasting(mut self) -> RouteSpec {
        self.lasting = true;
        self
    }
}

#[derive(Debug)]
pub(crate) struct RouteEntry {
    pub(crate) domain: Arc<str>,
    pub(crate) host: Option<Arc<str>>,
    pub(crate) mode: Mode,
    pub(crate) owner: AnyPid,
    pub(crate) owner_name: Arc<str>,
    pub(crate) lasting: bool,
    /// Who fills each slot, where several processes share the route; empty where one owns it.
    pub(crate) shares: Vec<Option<AnyPid>>,
}

/// A row of `natterctl route_list`.
#[derive(Clone, Debug)]
pub struct RouteRow {
    /// The destination's domain.
    pub domain: String,
    /// The host it is a service of; empty for a host itself.
    pub host: String,
    /// `inline`, `actor`, `balanced`, or `down` for a reserved domain that nobody serves now.
    pub mode: &'static str,
    /// Whose route it is.
    pub owner: String,
}

/// The slot of a packet: the same for the same key on every node and in every version, as long as there are as many.
pub(crate) fn slot(by: BalanceBy, packet: &Packet, slots: usize) -> usize {
    if slots == 0 {
        return 0;
    }
    let bare = |jid: &Jid| hash(jid.to_bare().as_str().as_bytes());
    let key = match by {
        BalanceBy::Random => hash(&packet.meta.trace.to_le_bytes()),
        BalanceBy::Source => hash(packet.from().as_str().as_bytes()),
        BalanceBy::Destination => hash(packet.to().as_str().as_bytes()),
        BalanceBy::BareSource => bare(packet.from()),
        BalanceBy::BareDestination => bare(packet.to()),
    };
    usize::try_from(key % slots as u64).expect("smaller than the number of slots")
}

/// FNV-1a of 64 bits, its upper half folded into the lower: short keys that differ little fall far apart.
fn hash(key: &[u8]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in key {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^ (hash >> 32)
}
