//! What a durable change costs: one that waits alone for the disk, and many that wait together.
//!
//! The figures are mostly the disk's. `TMPDIR` says which one.

use std::time::{Duration, SystemTime};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use otp::{Clock, Strategy, SupPid, Supervisor, System};
use storage::{Batch, OfflineLimits, OfflineMessage, RosterItem, Storage};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use xmpp::BareJid;

/// Changes that wait together.
const TOGETHER: u64 = 100;

struct Stage {
    runtime: Runtime,
    storage: Storage,
    owner: BareJid,
    _processes: SupPid,
    _system: System,
    _folder: TempDir,
}

fn stage() -> Stage {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let system = System::new("bench", Clock::real());
    let storage = Storage::open(folder.path(), &system).expect("a store");
    let mut supervisor = Supervisor::new(Strategy::OneForOne).intensity(10, Duration::from_secs(1));
    for child in storage.children() {
        supervisor = supervisor.child(child);
    }
    let processes = runtime
        .block_on(supervisor.start(&system, "storage_sup"))
        .expect("the store starts");
    Stage {
        runtime,
        storage,
        owner: BareJid::new("alice@a.example").expect("an address"),
        _processes: processes,
        _system: system,
        _folder: folder,
    }
}

fn contact(number: u64) -> RosterItem {
    let jid = format!("contact{}@a.example", number % 100);
    RosterItem {
        name: Some(format!("Name {number}")),
        ..RosterItem::new(BareJid::new(&jid).expect("an address"))
    }
}

fn commit(criterion: &mut Criterion) {
    let stage = stage();
    let mut group = criterion.benchmark_group("commit");
    let mut number = 0;
    group.bench_function("one roster item", |bencher| {
        bencher.iter(|| {
            number += 1;
            let mut batch = Batch::new();
            batch.put_roster_item(&stage.owner, contact(number));
            stage
                .runtime
                .block_on(stage.storage.commit(batch))
                .expect("committed")
        });
    });
    group.throughput(Throughput::Elements(TOGETHER));
    group.bench_function(
        format!("{TOGETHER} roster items that wait together"),
        |bencher| {
            bencher.iter(|| {
                let all = (0..TOGETHER).map(|_| {
                    number += 1;
                    let mut batch = Batch::new();
                    batch.put_roster_item(&stage.owner, contact(number));
                    stage.storage.commit(batch)
                });
                stage
                    .runtime
                    .block_on(futures_util::future::try_join_all(all))
                    .expect("committed")
            });
        },
    );
    group.bench_function(format!("{TOGETHER} kept messages that wait together"), |bencher| {
        bencher.iter(|| {
            let all = (0..TOGETHER).map(|_| {
                let message = OfflineMessage {
                    stanza: "<message xmlns='jabber:client'><body>The rain it raineth every day.</body></message>".to_owned(),
                    received: SystemTime::UNIX_EPOCH,
                    expires: None,
                    place: None,
                };
                let mut batch = Batch::new();
                batch.store_offline(&stage.owner, message, OfflineLimits::NONE);
                stage.storage.commit(batch)
            });
            stage.runtime.block_on(futures_util::future::try_join_all(all)).expect("committed")
        });
    });
    group.finish();
}

criterion_group!(benches, commit);
criterion_main!(benches);
