//! What a process costs beside a bare `ractor` actor and a bare tokio task: per hop, per call, per start, in memory.
//!
//! All on one thread, so that the figures are work and not waiting. The first two columns of the memory table count
//! what the allocator was asked for while ten thousand idle ones with eight bytes of state came to life.

use std::alloc::{GlobalAlloc, Layout};
use std::future::Future;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use otp::{Clock, Ctx, Flow, From, GenServer, Init, Pid, System};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::sync::{mpsc, oneshot};

/// How many stand in the ring.
const RING: usize = 1000;
/// How many are counted for the memory table.
const CROWD: usize = 10_000;
const WITHIN: Duration = Duration::from_secs(5);

struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);
static BLOCKS: AtomicUsize = AtomicUsize::new(0);

// Only an allocator can count allocations, and the trait is unsafe by nature; all calls pass on to the system's.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        BLOCKS.fetch_add(1, Ordering::Relaxed);
        unsafe { std::alloc::System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        BLOCKS.fetch_sub(1, Ordering::Relaxed);
        unsafe { std::alloc::System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What goes round the ring: how many hops are left, and whom to tell at the end.
struct Token {
    left: u64,
    done: Option<oneshot::Sender<()>>,
}

impl Token {
    fn hop(mut self) -> Option<Token> {
        if self.left == 0 {
            self.done
                .take()
                .expect("a token ends once")
                .send(())
                .expect("somebody waits");
            return None;
        }
        self.left -= 1;
        Some(self)
    }
}

/// Ours.
struct Server {
    next: Option<Pid<Server>>,
}

enum Tell {
    Next(Pid<Server>),
    Token(Token),
}

impl GenServer for Server {
    const KIND: &'static str = "bench";
    type Args = ();
    type Call = u64;
    type Reply = u64;
    type Cast = Tell;
    type Info = ();

    async fn init((): (), _ctx: &mut Ctx<Self>) -> Init<Self> {
        Init::Ok(Server { next: None })
    }

    async fn handle_call(&mut self, n: u64, from: From<u64>, _ctx: &mut Ctx<Self>) -> Flow {
        from.reply(n);
        Flow::Go
    }

    async fn handle_cast(&mut self, tell: Tell, _ctx: &mut Ctx<Self>) -> Flow {
        match tell {
            Tell::Next(next) => self.next = Some(next),
            Tell::Token(token) => {
                if let (Some(token), Some(next)) = (token.hop(), &self.next) {
                    next.cast(Tell::Token(token)).expect("the ring lives");
                }
            }
        }
        Flow::Go
    }
}

/// A bare `ractor` actor.
struct Bare;

enum BareTell {
    Next(ActorRef<BareTell>),
    Token(Token),
    Call(u64, RpcReplyPort<u64>),
}

impl Actor for Bare {
    type Msg = BareTell;
    type State = Option<ActorRef<BareTell>>;
    type Arguments = ();

    async fn pre_start(
        &self,
        _myself: ActorRef<BareTell>,
        (): (),
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(None)
    }

    async fn handle(
        &self,
        _myself: ActorRef<BareTell>,
        tell: BareTell,
        next: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match tell {
            BareTell::Next(actor) => *next = Some(actor),
            BareTell::Token(token) => {
                if let (Some(token), Some(next)) = (token.hop(), next) {
                    next.send_message(BareTell::Token(token))?;
                }
            }
            BareTell::Call(n, reply) => reply.send(n)?,
        }
        Ok(())
    }
}

/// A bare tokio task.
enum TaskTell {
    Next(mpsc::UnboundedSender<TaskTell>),
    Token(Token),
    Call(u64, oneshot::Sender<u64>),
}

fn task() -> mpsc::UnboundedSender<TaskTell> {
    let (tx, mut rx) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut next: Option<mpsc::UnboundedSender<TaskTell>> = None;
        while let Some(tell) = rx.recv().await {
            match tell {
                TaskTell::Next(task) => next = Some(task),
                TaskTell::Token(token) => {
                    if let (Some(token), Some(next)) = (token.hop(), &next) {
                        next.send(TaskTell::Token(token)).expect("the ring lives");
                    }
                }
                TaskTell::Call(n, reply) => reply.send(n).expect("somebody waits"),
            }
        }
    });
    tx
}

async fn server(system: &System) -> Pid<Server> {
    system.start::<Server>(None, ()).await.expect("it starts")
}

async fn bare() -> ActorRef<BareTell> {
    Actor::spawn(None, Bare, ()).await.expect("it starts").0
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Times `hops` hops of a token given to `first`.
async fn travel(hops: u64, first: impl FnOnce(Token)) -> Duration {
    let (done, end) = oneshot::channel();
    let began = Instant::now();
    first(Token {
        left: hops,
        done: Some(done),
    });
    end.await.expect("the token arrives");
    began.elapsed()
}

fn hop(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hop");
    let runtime = runtime();
    let system = System::new("bench", Clock::real());
    let ring = runtime.block_on(async {
        let mut ring = Vec::new();
        for _ in 0..RING {
            ring.push(server(&system).await);
        }
        for (at, pid) in ring.iter().enumerate() {
            let next = ring[(at + 1) % RING].clone();
            pid.cast(Tell::Next(next)).expect("it lives");
        }
        ring
    });
    group.bench_function("otp", |bencher| {
        bencher.iter_custom(|hops| {
            let first = |token| ring[0].cast(Tell::Token(token)).expect("it lives");
            runtime.block_on(travel(hops, first))
        });
    });
    let ring = runtime.block_on(async {
        let mut ring = Vec::new();
        for _ in 0..RING {
            ring.push(bare().await);
        }
        for (at, actor) in ring.iter().enumerate() {
            let next = ring[(at + 1) % RING].clone();
            actor.send_message(BareTell::Next(next)).expect("it lives");
        }
        ring
    });
    group.bench_function("ractor", |bencher| {
        bencher.iter_custom(|hops| {
            let first = |token| {
                ring[0]
                    .send_message(BareTell::Token(token))
                    .expect("it lives")
            };
            runtime.block_on(travel(hops, first))
        });
    });
    let ring = runtime.block_on(async {
        let ring: Vec<_> = (0..RING).map(|_| task()).collect();
        for (at, sender) in ring.iter().enumerate() {
            let next = ring[(at + 1) % RING].clone();
            sender.send(TaskTell::Next(next)).expect("it lives");
        }
        ring
    });
    group.bench_function("tokio", |bencher| {
        bencher.iter_custom(|hops| {
            let first = |token| ring[0].send(TaskTell::Token(token)).expect("it lives");
            runtime.block_on(travel(hops, first))
        });
    });
    group.finish();
}

/// Times `times` runs of `work`, one after the other.
async fn repeat<F: Future>(times: u64, mut work: impl FnMut(u64) -> F) -> Duration {
    let began = Instant::now();
    for n in 0..times {
        black_box(work(n).await);
    }
    began.elapsed()
}

fn call(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("call");
    let runtime = runtime();
    let system = System::new("bench", Clock::real());
    let pid = runtime.block_on(server(&system));
    group.bench_function("otp, with a deadline", |bencher| {
        bencher.iter_custom(|times| {
            runtime.block_on(repeat(times, |n| {
                let pid = &pid;
                async move { pid.call(n, WITHIN).await.expect("it answers") }
            }))
        });
    });
    let actor = runtime.block_on(bare());
    group.bench_function("ractor, with a deadline", |bencher| {
        bencher.iter_custom(|times| {
            runtime.block_on(repeat(times, |n| {
                let actor = &actor;
                async move {
                    let ask = |reply| BareTell::Call(n, reply);
                    actor
                        .call(ask, Some(WITHIN))
                        .await
                        .expect("it lives")
                        .unwrap()
                }
            }))
        });
    });
    let (with, sender) = (true, runtime.block_on(async { task() }));
    for deadline in [with, !with] {
        let name = if deadline {
            "tokio, with a deadline"
        } else {
            "tokio, without"
        };
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| {
                runtime.block_on(repeat(times, |n| {
                    let sender = &sender;
                    async move {
                        let (tx, rx) = oneshot::channel();
                        sender.send(TaskTell::Call(n, tx)).expect("it lives");
                        if deadline {
                            tokio::time::timeout(WITHIN, rx).await.expect("in time")
                        } else {
                            rx.await
                        }
                    }
                }))
            });
        });
    }
    group.finish();
}

fn spawn(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("spawn");
    let system = System::new("bench", Clock::real());
    // Each round has a runtime of its own, whose end, not timed, ends all that was started.
    group.bench_function("otp, init awaited", |bencher| {
        bencher.iter_custom(|times| runtime().block_on(repeat(times, |_| server(&system))));
    });
    group.bench_function("ractor", |bencher| {
        bencher.iter_custom(|times| runtime().block_on(repeat(times, |_| bare())));
    });
    group.bench_function("tokio", |bencher| {
        bencher.iter_custom(|times| runtime().block_on(repeat(times, |_| async { task() })));
    });
    group.finish();
}

/// What one of the crowd that `make` makes takes, in bytes and blocks.
fn weigh<T, F: Future<Output = T>>(make: impl Fn() -> F) -> (usize, usize) {
    runtime().block_on(async {
        let mut crowd = Vec::with_capacity(CROWD);
        // The first of a kind pays for what all share.
        crowd.push(make().await);
        tokio::task::yield_now().await;
        let before = (
            BYTES.load(Ordering::Relaxed),
            BLOCKS.load(Ordering::Relaxed),
        );
        for _ in 1..CROWD {
            crowd.push(make().await);
        }
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        let bytes = BYTES.load(Ordering::Relaxed) - before.0;
        let blocks = BLOCKS.load(Ordering::Relaxed) - before.1;
        (bytes / (CROWD - 1), blocks / (CROWD - 1))
    })
}

#[allow(clippy::print_stdout)] // A bench prints its figures.
fn memory(_criterion: &mut Criterion) {
    let system = System::new("bench", Clock::real());
    println!("memory per idle actor      bytes  blocks");
    let rows = [
        ("otp", weigh(|| server(&system))),
        ("ractor", weigh(bare)),
        ("tokio task and channel", weigh(|| async { task() })),
    ];
    for (name, (bytes, blocks)) in rows {
        println!("{name:25} {bytes:>6} {blocks:>7}");
    }
}

criterion_group!(benches, memory, hop, call, spawn);
criterion_main!(benches);
