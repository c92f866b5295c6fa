//! What a stanza costs on its way through: from an element that was read, with another `from`, and written again.

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use xmpp::{Jid, Stanza, Target};

/// A message as clients send it, of about 340 bytes.
const MESSAGE: &str = "<message to='bob@b.example/phone' type='chat' id='m1234567' xml:lang='en'>\
    <body>The rain it raineth every day, and the server keeps its peace. The rain it raineth every day.</body>\
    <active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/>\
    <origin-id xmlns='urn:xmpp:sid:0' id='5d4c7e90-1f3a'/></message>";

fn stanza(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stanza");
    group.throughput(Throughput::Bytes(MESSAGE.len() as u64));
    group.bench_function("parse", |bencher| {
        bencher.iter(|| Stanza::parse(black_box(MESSAGE)).expect("a stanza"));
    });
    let stanza = Stanza::parse(MESSAGE).expect("a stanza");
    let from: Jid = "alice@a.example/desk".parse().expect("an address");
    group.bench_function("edit: another from", |bencher| {
        bencher.iter(|| black_box(&stanza).edit().from(Some(from.clone())).finish());
    });
    group.bench_function("edit: one child less, one more", |bencher| {
        bencher.iter(|| {
            black_box(&stanza)
                .edit()
                .remove(|child| child.name() == "origin-id")
                .append("<delay xmlns='urn:xmpp:delay' stamp='2026-01-01T00:00:00Z'/>".to_owned())
                .finish()
        });
    });
    let stamped = stanza.edit().from(Some(from)).finish();
    for (name, target) in [("client", Target::Client), ("frame", Target::Frame)] {
        let mut out = BytesMut::with_capacity(4096);
        group.bench_function(format!("serialise for a {name}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                black_box(&stamped).serialise(target, &mut out);
                out.len()
            });
        });
    }
    group.bench_function("clone", |bencher| {
        bencher.iter(|| black_box(&stamped).clone())
    });
    group.finish();
}

criterion_group!(benches, stanza);
criterion_main!(benches);
