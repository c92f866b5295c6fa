//! What a login costs the server: a whole SCRAM exchange with an account of the store, and a password checked as PLAIN
//! has it.
//!
//! The client's half of SCRAM is in the figure too, without the hashing of the password: five hashes of a few bytes.

use std::time::Duration;

use auth::{Auth, AuthOptions, Channel, Step};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use criterion::{Criterion, criterion_group, criterion_main};
use hmac::{Hmac, KeyInit, Mac};
use otp::{Clock, Strategy, SupPid, Supervisor, System};
use sha1::{Digest, Sha1};
use storage::Storage;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use xmpp::BareJid;

struct Stage {
    runtime: Runtime,
    auth: Auth,
    _processes: SupPid,
    _system: System,
    _folder: TempDir,
}

/// A server where alice has the password `pencil`.
fn stage() -> Stage {
    // Passwords are hashed beside the runtime's own threads.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
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
    let options = AuthOptions {
        iterations: 4096,
        ..AuthOptions::default()
    };
    let (processes, auth) = runtime.block_on(async {
        let processes = supervisor
            .start(&system, "storage_sup")
            .await
            .expect("the store starts");
        let auth = Auth::new(storage, &system, options);
        let alice = BareJid::new("alice@a.example").expect("an address");
        auth.register(&alice, "pencil".into())
            .await
            .expect("alice is new");
        (processes, auth)
    });
    Stage {
        runtime,
        auth,
        _processes: processes,
        _system: system,
        _folder: folder,
    }
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).expect("keys of any length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// What a client keeps of its password.
struct Keys {
    client: Vec<u8>,
    stored: Vec<u8>,
}

fn value<'a>(message: &'a str, key: &str) -> &'a str {
    let part = message.split(',').find_map(|part| part.strip_prefix(key));
    part.expect("the challenge has it")
}

/// One login. `keys` are made at the first.
async fn log_in(auth: &Auth, keys: &mut Option<Keys>) {
    let mut exchange = auth
        .start("a.example", "SCRAM-SHA-1", Channel::default())
        .expect("offered");
    let bare = "n=alice,r=fyko+d2lbbFgONRv9qkxdawL";
    let Step::Challenge(challenge) = exchange.begin(Some(format!("n,,{bare}").as_bytes())).await
    else {
        panic!("a challenge expected");
    };
    let challenge = String::from_utf8(challenge).expect("text");
    let keys = keys.get_or_insert_with(|| {
        let salt = STANDARD.decode(value(&challenge, "s=")).expect("base64");
        let rounds = value(&challenge, "i=").parse().expect("a number");
        let mut salted = [0; 20];
        pbkdf2::pbkdf2_hmac::<Sha1>(b"pencil", &salt, rounds, &mut salted);
        let client = hmac(&salted, b"Client Key");
        Keys {
            stored: Sha1::digest(&client).to_vec(),
            client,
        }
    });
    let without_proof = format!("c=biws,r={}", value(&challenge, "r="));
    let signature = hmac(
        &keys.stored,
        format!("{bare},{challenge},{without_proof}").as_bytes(),
    );
    let proof: Vec<u8> = keys
        .client
        .iter()
        .zip(&signature)
        .map(|(a, b)| a ^ b)
        .collect();
    let last = format!("{without_proof},p={}", STANDARD.encode(proof));
    assert!(
        matches!(exchange.step(last.as_bytes()).await, Step::Success { .. }),
        "alice logs in"
    );
}

fn logins(criterion: &mut Criterion) {
    let stage = stage();
    let mut keys = None;
    let mut group = criterion.benchmark_group("login");
    group.bench_function("SCRAM-SHA-1", |bencher| {
        bencher.iter(|| stage.runtime.block_on(log_in(&stage.auth, &mut keys)));
    });
    group.bench_function("PLAIN, the password hashed", |bencher| {
        let protected = Channel {
            protected: true,
            ..Channel::default()
        };
        bencher.iter(|| {
            stage.runtime.block_on(async {
                let mut exchange = stage
                    .auth
                    .start("a.example", "PLAIN", protected.clone())
                    .expect("offered");
                let step = exchange.begin(Some(b"\0alice\0pencil")).await;
                assert!(matches!(step, Step::Success { .. }), "alice logs in");
            });
        });
    });
    group.finish();
}

criterion_group!(benches, logins);
criterion_main!(benches);
