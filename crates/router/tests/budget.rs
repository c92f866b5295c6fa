//! A budget of allocations: how many a stanza costs from the bytes of a socket to the bytes of another, on one thread.
//!
//! Allocations are counted, not timed, so a busy machine changes nothing. The budget is written in `budget.txt` beside
//! this file; a path that allocates over 5 % more fails. After a change that is worth its price, or that saves some:
//! `RECORD=1 cargo test -p router --test budget` writes it anew.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::BytesMut;
use futures_util::FutureExt;
use otp::{Clock, Ctx, GenServer, Init, Strategy, Supervisor, System};
use router::{Change, IqKind, IqSpec, Mode, Outcome, Packet, RouteSpec, Router, Routing, To};
use xml::{Frame, Limits, Reader, Scanner};
use xmpp::{Fragment, Jid, Stanza, Target};

/// Stanzas that are counted of each kind; those before warm what is made once.
const COUNTED: u64 = 100;
const WARM: u64 = 10;
/// How much over its budget a path may be, in hundredths.
const TOLERANCE: u64 = 5;

struct Counting;

thread_local! {
    static MADE: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that is ending counts nothing.
    let _ = MADE.try_with(|made| made.set(made.get() + 1));
}

// Only an allocator can count allocations, and the trait is unsafe by nature; all calls pass on to the system's.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { std::alloc::System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { std::alloc::System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { std::alloc::System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Owns the routes.
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

thread_local! {
    /// The other client's socket: what was routed is written here as it would be written there.
    static SOCKET: RefCell<BytesMut> = RefCell::new(BytesMut::with_capacity(64 * 1024));
}

fn written() -> usize {
    SOCKET.with_borrow(BytesMut::len)
}

/// What of a stanza's way is counted, and the stanza.
const PATHS: [(&str, &str); 4] = [
    (
        "message",
        "<message to='bob@b.example/phone' type='chat' id='m1234567'><body>The rain it raineth every day.</body>\
         <active xmlns='http://jabber.org/protocol/chatstates'/></message>",
    ),
    (
        "long message",
        "<message to='bob@b.example/phone' type='chat' id='m1234567' xml:lang='en'><subject>Rain</subject>\
         <body>The rain it raineth every day, and the server keeps its peace. The rain it raineth every day.</body>\
         <active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/>\
         <origin-id xmlns='urn:xmpp:sid:0' id='5d4c7e90-1f3a'/></message>",
    ),
    (
        "presence",
        "<presence to='bob@b.example/phone'><show>away</show><status>Out in the rain</status><priority>5</priority>\
         <c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://c.example' ver='q07IKJEyjvHSyhy='/></presence>",
    ),
    (
        "iq",
        "<iq type='get' to='a.example' id='p1'><ping xmlns='urn:xmpp:ping'/></iq>",
    ),
];

/// Reads a stanza as a socket gives it, stamps it, routes it, and has it written for the other's socket.
fn pass(reader: &mut Scanner, input: &mut BytesMut, from: &Arc<Jid>, router: &Router) {
    let frame = reader.feed(input).expect("it is well-formed");
    let Some(Frame::Element(element)) = frame else {
        panic!("a whole element expected");
    };
    let stanza = Stanza::from_element(&element).expect("a stanza");
    let stamped = stanza.edit().from_shared(from).finish();
    let routed = router.route(router.packet(stamped)).now_or_never();
    assert!(routed.is_some(), "nothing on this way waits");
}

fn kept() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/budget.txt")
}

/// The budget of `path`, out of lines such as `message 12.50`, in hundredths.
fn budget(text: &str, path: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(path)?.strip_prefix(": "))?;
    let (whole, hundredths) = line.trim().split_once('.')?;
    Some(whole.parse::<u64>().ok()? * 100 + hundredths.parse::<u64>().ok()?)
}

#[tokio::test]
async fn a_stanza_allocates_no_more_than_its_budget() {
    let system = System::new("test", Clock::manual().0);
    let router = Router::new(&system);
    let sup = Supervisor::new(Strategy::OneForOne).child(router.child_spec());
    let _sup = sup.start(&system, "root").await.expect("the router starts");
    let owner = system
        .start::<Owner>(None, ())
        .await
        .expect("an owner starts");
    let write = |packet: Packet| {
        SOCKET.with_borrow_mut(|socket| {
            socket.clear();
            packet.stanza.serialise(Target::Client, socket);
        });
        packet.receipt.resolve(Outcome::Delivered);
        Routing::done()
    };
    let answers = router.clone();
    let answer = move |packet: Packet| answers.dispatch_iq("a.example", To::Host, packet);
    let mut change = Change::new();
    change.route(RouteSpec::new(
        "b.example",
        None,
        Mode::Inline(Arc::new(write)),
    ));
    change.route(RouteSpec::new(
        "a.example",
        None,
        Mode::Inline(Arc::new(answer)),
    ));
    let pong = Arc::new(|_| async { Ok(Fragment::empty()) }.boxed());
    change.iq(IqSpec::new(
        "a.example",
        To::Host,
        "urn:xmpp:ping",
        IqKind::Get,
        pong,
    ));
    router
        .install(&owner.any(), "owner", change)
        .await
        .expect("nobody else has it");

    // Where answers are heard too.
    let from = Arc::new("alice@b.example/desk".parse().expect("an address"));
    let header = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";
    let mut measured = String::new();
    let mut over = Vec::new();
    let text = std::fs::read_to_string(kept()).unwrap_or_default();
    for (path, stanza) in PATHS {
        let mut reader = Scanner::new(Limits::default()).known(xmpp::ns::KNOWN);
        let opened = reader.feed(&mut BytesMut::from(header));
        assert!(matches!(opened, Ok(Some(Frame::Open(_)))), "{path}");
        let mut inputs: Vec<BytesMut> = (0..WARM + COUNTED)
            .map(|_| BytesMut::from(stanza))
            .collect();
        let counted = inputs.split_off(usize::try_from(WARM).expect("a few"));
        for mut input in inputs {
            pass(&mut reader, &mut input, &from, &router);
        }
        SOCKET.with_borrow_mut(BytesMut::clear);
        let before = MADE.get();
        for mut input in counted {
            pass(&mut reader, &mut input, &from, &router);
        }
        let each = (MADE.get() - before) * 100 / COUNTED;
        assert!(written() > 0, "{path}: nothing was written for the other");
        writeln!(measured, "{path}: {}.{:02}", each / 100, each % 100).expect("text grows");
        match budget(&text, path) {
            Some(budget) if each * 100 <= budget * (100 + TOLERANCE) => {}
            budget => over.push(format!("{path}: {each} hundredths, budget {budget:?}")),
        }
    }
    if std::env::var_os("RECORD").is_some() {
        std::fs::write(kept(), measured).expect("the budget is written");
        return;
    }
    assert!(
        over.is_empty(),
        "allocations over budget: {over:?}\nmeasured now:\n{measured}\nif that is as it should be: \
         RECORD=1 cargo test -p router --test budget"
    );
}

#[test]
fn budgets_are_read_as_they_are_written() {
    let text = "message: 12.50\nlong message: 3.07\n";
    assert_eq!(budget(text, "message"), Some(1250));
    assert_eq!(budget(text, "long message"), Some(307));
    assert_eq!(budget(text, "iq"), None);
}
