//! What the synchronous path costs: nothing is allocated for a hook without subscribers, nor for
//! handing a packet to an inline route.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::Arc;

use otp::{Clock, Ctx, GenServer, Init, Strategy, Supervisor, System};
use router::{FilterPacket, Folded, Mode, Outcome, Packet, RouteSpec, Router, Routing};
use xmpp::Stanza;

struct Counting;

thread_local! {
    static MADE: Cell<u64> = const { Cell::new(0) };
}

// Only an allocator can count allocations, and the trait is unsafe by nature; all calls pass on to the system's.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that is ending counts nothing.
        let _ = MADE.try_with(|made| made.set(made.get() + 1));
        unsafe { std::alloc::System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { std::alloc::System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

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

fn allocations(work: impl FnOnce()) -> u64 {
    let before = MADE.get();
    work();
    MADE.get() - before
}

#[tokio::test]
async fn the_synchronous_path_allocates_nothing() {
    let system = System::new("test", Clock::manual().0);
    let router = Router::new(&system);
    let sup = Supervisor::new(Strategy::OneForOne).child(router.child_spec());
    let _sup = sup.start(&system, "root").await.expect("the router starts");
    let owner = system
        .start::<Owner>(None, ())
        .await
        .expect("an owner starts");
    let take = |packet: Packet| {
        packet.receipt.resolve(Outcome::Delivered);
        Routing::done()
    };
    let route = RouteSpec::new("a.example", None, Mode::Inline(Arc::new(take)));
    router
        .register_route(route, &owner.any(), "owner")
        .await
        .expect("installed");
    let text = "<message from='x@b.example/r' to='y@a.example'><body>hi</body></message>";
    let stanza = Stanza::parse(text).expect("a stanza");

    let fold = FilterPacket {
        stanza: stanza.clone(),
        meta: router.meta(router::Origin::Server),
    };
    let folded = allocations(|| assert!(matches!(router.fold(fold), Folded::Done(_))));
    assert_eq!(folded, 0, "a hook without subscribers");

    // The first one pays for what every thread makes once.
    router.route(router.packet(stanza.clone())).await;
    let packets: Vec<Packet> = (0..100).map(|_| router.packet(stanza.clone())).collect();
    let mut routed = 0;
    for packet in packets {
        routed += allocations(|| drop(router.route(packet)));
    }
    assert_eq!(routed, 0, "a hundred packets to an inline route");
    assert!(
        allocations(|| drop(Vec::<u8>::with_capacity(64))) > 0,
        "the counter counts"
    );
}
