//! What the way through the router costs: the route's lookup, a fold with none, one and five handlers, an IQ's dispatch.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use futures_util::FutureExt;
use otp::{Clock, Ctx, GenServer, Init, Pid, Strategy, SupPid, Supervisor, System};
use router::{
    Change, Flow, Hook, HookInfo, HookSpec, IqKind, IqSpec, Mode, OnPanic, Origin, Outcome, Packet,
    Priority, RouteSpec, Router, Routing, To,
};
use tokio::runtime::Runtime;
use xmpp::{Fragment, Stanza};

/// Domains in the route table, as a server with many hosts has them.
const DOMAINS: usize = 1000;

/// Owns what is registered.
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

struct Stage {
    runtime: Runtime,
    router: Router,
    owner: Pid<Owner>,
    _sup: SupPid,
    _system: System,
}

fn stage() -> Stage {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let system = System::new("bench", Clock::real());
    let router = Router::new(&system);
    let (sup, owner) = runtime.block_on(async {
        let sup = Supervisor::new(Strategy::OneForOne)
            .child(router.child_spec())
            .child(router.dead_letters_child_spec())
            .start(&system, "root")
            .await
            .expect("the router starts");
        let owner = system.start::<Owner>(None, ()).await.expect("it starts");
        (sup, owner)
    });
    Stage {
        runtime,
        router,
        owner,
        _sup: sup,
        _system: system,
    }
}

impl Stage {
    fn install(&self, name: &str, change: Change) {
        let owner = self.owner.any();
        let installed = self.router.install(&owner, name, change);
        self.runtime
            .block_on(installed)
            .expect("nobody else has it");
    }
}

/// Takes a packet and does no more with it.
fn swallow() -> Mode {
    Mode::Inline(Arc::new(|packet: Packet| {
        packet.receipt.resolve(Outcome::Delivered);
        Routing::done()
    }))
}

fn routes(criterion: &mut Criterion) {
    let stage = stage();
    let mut change = Change::new();
    for number in 0..DOMAINS {
        change.route(RouteSpec::new(
            &format!("h{number}.example"),
            None,
            swallow(),
        ));
    }
    stage.install("routes", change);
    let mut group = criterion.benchmark_group("route");
    let text = "<message from='x@h1.example/r' to='y@h777.example/r' type='chat'><body>hi</body></message>";
    let stanza = Stanza::parse(text).expect("a stanza");
    group.bench_function(format!("to one of {DOMAINS} domains, inline"), |bencher| {
        bencher.iter_batched(
            || stage.router.packet(stanza.clone()),
            |packet| drop(stage.router.route(packet)),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("is a domain ours", |bencher| {
        bencher.iter(|| stage.router.is_local(black_box("h777.example")));
    });
    group.finish();
}

/// Declares a hook that carries what hooks of stanzas carry.
macro_rules! hook {
    ($name:ident) => {
        #[derive(Clone)]
        struct $name {
            stanza: Stanza,
            meta: router::Meta,
        }

        impl Hook for $name {
            const INFO: HookInfo = HookInfo {
                name: stringify!($name),
                run_by: "benches",
                process: "the bench",
                carries: "a stanza",
                stopping: "the fold ends",
                on_panic: OnPanic::Continue,
                may_wait: false,
            };

            fn host(&self) -> &str {
                "a.example"
            }
        }
    };
}

hook!(Nobody);
hook!(One);
hook!(Five);

fn handlers<H: Hook>(stage: &Stage, count: usize) {
    for number in 0..count {
        let mut change = Change::new();
        change.hook(HookSpec::now::<H>(
            "a.example",
            Priority::NORMAL,
            Flow::Next,
        ));
        stage.install(&format!("{}{number}", H::INFO.name), change);
    }
}

fn hooks(criterion: &mut Criterion) {
    let stage = stage();
    handlers::<One>(&stage, 1);
    handlers::<Five>(&stage, 5);
    let stanza =
        Stanza::parse("<message to='y@a.example'><body>hi</body></message>").expect("a stanza");
    let meta = stage.router.meta(Origin::Server);
    let mut group = criterion.benchmark_group("fold");
    macro_rules! fold {
        ($name:ident, $title:literal) => {
            group.bench_function($title, |bencher| {
                bencher.iter_batched(
                    || $name {
                        stanza: stanza.clone(),
                        meta: meta.clone(),
                    },
                    |value| {
                        stage
                            .router
                            .fold(value)
                            .value()
                            .map(|value| (value.stanza, value.meta))
                    },
                    BatchSize::SmallInput,
                );
            });
        };
    }
    fold!(Nobody, "no handler");
    fold!(One, "one handler");
    fold!(Five, "five handlers");
    group.finish();
}

fn iqs(criterion: &mut Criterion) {
    let stage = stage();
    let mut change = Change::new();
    let answer = Arc::new(|_| async { Ok(Fragment::empty()) }.boxed());
    change.iq(IqSpec::new(
        "a.example",
        To::Host,
        "urn:xmpp:ping",
        IqKind::Get,
        answer,
    ));
    let router = stage.router.clone();
    let take = move |packet: Packet| router.dispatch_iq("a.example", To::Host, packet);
    change.route(RouteSpec::new(
        "a.example",
        None,
        Mode::Inline(Arc::new(take)),
    ));
    change.route(RouteSpec::new("b.example", None, swallow()));
    stage.install("iqs", change);
    let text = "<iq type='get' id='p1' from='x@b.example/r' to='a.example'><ping xmlns='urn:xmpp:ping'/></iq>";
    let stanza = Stanza::parse(text).expect("a stanza");
    criterion.bench_function("iq: dispatched, answered, answer routed", |bencher| {
        bencher.iter_batched(
            || stage.router.packet(stanza.clone()),
            |packet| stage.runtime.block_on(stage.router.route(packet)),
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, routes, hooks, iqs);
criterion_main!(benches);
