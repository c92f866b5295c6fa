//! The scanner beside the reader over `rxml`: time per input, and allocations per element.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::BytesMut;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use xml::{Frame, Known, Limits, Reader, RxmlReader, Scanner};

const HEAD: &str = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
                    to='a.example' version='1.0'>";

/// Namespaces of the inputs, as the server knows them.
static KNOWN: &Known = &Known::new(&[
    "http://etherx.jabber.org/streams",
    "http://jabber.org/protocol/caps",
    "http://jabber.org/protocol/chatstates",
    "http://jabber.org/protocol/xhtml-im",
    "jabber:client",
    "jabber:iq:roster",
    "urn:xmpp:receipts",
    "urn:xmpp:sid:0",
]);

/// 340 bytes: what a client says when somebody speaks.
const MESSAGE: &str = "<message to='juliet@capulet.example/balcony' type='chat' id='ktx72v49' xml:lang='en'>\
    <body>Art thou not Romeo, &amp; a Montague? What&apos;s in a name</body>\
    <active xmlns='http://jabber.org/protocol/chatstates'/>\
    <request xmlns='urn:xmpp:receipts'/>\
    <origin-id xmlns='urn:xmpp:sid:0' id='de305d54-75b4-431b-adb2-eb6b9e546013'/></message>";

const PRESENCE: &str = "<presence><show>away</show><priority>5</priority>\
    <c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://client.example/' \
    ver='QgayPKawpkPSDYmwT/WM94uAlu0='/></presence>";

fn html() -> String {
    let line = "<p style='color:#333; margin:0'>Neither, <em>fair saint</em>, if either thee dislike &#8212; \
                <a href='https://example.org/?a=1&amp;b=2'>l&#xef;nk</a></p>";
    format!(
        "<message to='a@b.example' type='chat'><html xmlns='http://jabber.org/protocol/xhtml-im'>\
         <body xmlns='http://www.w3.org/1999/xhtml'>{}</body></html></message>",
        line.repeat(10_000 / line.len())
    )
}

fn roster() -> String {
    let items: String = (0..1000)
        .map(|n| {
            format!(
                "<item jid='friend{n}@example.org' name='Friend {n}' subscription='both'>\
                 <group>Friends</group></item>"
            )
        })
        .collect();
    format!("<iq type='result' id='r1'><query xmlns='jabber:iq:roster'>{items}</query></iq>")
}

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[allow(unsafe_code)]
// SAFETY: everything is the system's own; only a number is kept beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const LIMITS: Limits = Limits {
    bytes: 1 << 20,
    depth: 64,
    attributes: 64,
    children: 4096,
};

fn open<R: Reader>(mut reader: R) -> R {
    let opened = reader.feed(&mut BytesMut::from(HEAD));
    assert!(matches!(opened, Ok(Some(Frame::Open(_)))));
    reader
}

fn whole(reader: &mut impl Reader, text: &str, input: &mut BytesMut) {
    input.extend_from_slice(text.as_bytes());
    match reader.feed(input) {
        Ok(Some(Frame::Element(element))) => drop(black_box(element)),
        other => panic!("no element: {other:?}"),
    }
}

fn singly(reader: &mut impl Reader, text: &str, input: &mut BytesMut) {
    for byte in text.as_bytes().chunks(1) {
        input.extend_from_slice(byte);
        if let Some(frame) = reader.feed(input).expect("it is well-formed") {
            black_box(frame);
        }
    }
}

fn readers(c: &mut Criterion) {
    let inputs = [
        ("message", MESSAGE.to_owned()),
        ("presence", PRESENCE.to_owned()),
        ("html 10 KB", html()),
        ("roster 1000", roster()),
    ];
    let mut group = c.benchmark_group("whole");
    for (name, text) in &inputs {
        group.throughput(Throughput::Bytes(text.len() as u64));
        let mut input = BytesMut::with_capacity(1 << 20);
        let mut rxml = open(RxmlReader::new(LIMITS).known(KNOWN));
        group.bench_function(BenchmarkId::new("rxml", name), |b| {
            b.iter(|| whole(&mut rxml, text, &mut input));
        });
        let mut scanner = open(Scanner::new(LIMITS).known(KNOWN));
        group.bench_function(BenchmarkId::new("scanner", name), |b| {
            b.iter(|| whole(&mut scanner, text, &mut input));
        });
    }
    group.finish();
    let mut group = c.benchmark_group("byte by byte");
    for (name, text) in &inputs[..3] {
        group.throughput(Throughput::Bytes(text.len() as u64));
        let mut input = BytesMut::with_capacity(1 << 20);
        let mut rxml = open(RxmlReader::new(LIMITS).known(KNOWN));
        group.bench_function(BenchmarkId::new("rxml", name), |b| {
            b.iter(|| singly(&mut rxml, text, &mut input));
        });
        let mut scanner = open(Scanner::new(LIMITS).known(KNOWN));
        group.bench_function(BenchmarkId::new("scanner", name), |b| {
            b.iter(|| singly(&mut scanner, text, &mut input));
        });
    }
    group.finish();
}

/// Not a time, so told once instead of measured: allocations for one element.
fn allocations(_: &mut Criterion) {
    let count = |reader: &mut dyn FnMut(&mut BytesMut)| {
        let mut input = BytesMut::with_capacity(1 << 20);
        reader(&mut input);
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        reader(&mut input);
        ALLOCATIONS.load(Ordering::Relaxed) - before
    };
    for (name, text) in [("message", MESSAGE), ("presence", PRESENCE)] {
        let mut rxml = open(RxmlReader::new(LIMITS).known(KNOWN));
        let mut scanner = open(Scanner::new(LIMITS).known(KNOWN));
        let before = count(&mut |input| whole(&mut rxml, text, input));
        let after = count(&mut |input| whole(&mut scanner, text, input));
        #[allow(clippy::print_stderr)]
        {
            eprintln!("allocations of one {name}: rxml {before}, scanner {after}");
        }
    }
}

criterion_group!(benches, allocations, readers);
criterion_main!(benches);
