//! A worker that does as it is told and writes down what happened to it.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use otp::{
    ChildSpec, ClockHand, Ctx, DeadLetterBox, Envelope, ExitReason, Flow, From, GenServer, Info,
    Init, Pid, System,
};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

/// A deadline no test comes near.
pub const LONG: Duration = Duration::from_secs(3600);

/// A second of the clock.
pub fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A world whose clock stands still.
pub fn world() -> (System, ClockHand) {
    let (clock, hand) = otp::Clock::manual();
    (System::new("test", clock), hand)
}

/// Waits for something that must come; a test that waits in vain fails instead of hanging.
pub async fn soon<F: Future>(what: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), what)
        .await
        .expect("what must come comes")
}

/// What happened, in order.
#[derive(Clone, Default)]
pub struct Log(Arc<(Mutex<Vec<String>>, Notify)>);

impl Log {
    pub fn say(&self, line: impl Into<String>) {
        self.0.0.lock().push(line.into());
        self.0.1.notify_waiters();
    }

    /// All lines so far, which are then forgotten.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.0.lock())
    }

    /// Waits until there are `n` lines, and takes them.
    pub async fn take_n(&self, n: usize) -> Vec<String> {
        soon(async {
            loop {
                let more = self.0.1.notified();
                let mut more = std::pin::pin!(more);
                more.as_mut().enable();
                if self.0.0.lock().len() >= n {
                    return self.take();
                }
                more.await;
            }
        })
        .await
    }
}

/// How a worker's `init` goes.
#[derive(Clone)]
pub enum Begin {
    Ok,
    Ignore,
    Stop(ExitReason),
    Panic,
}

/// How a worker's `terminate` goes.
#[derive(Clone, Copy, PartialEq)]
pub enum End {
    Quick,
    Never,
}

/// What a worker is given.
#[derive(Clone)]
pub struct Plan {
    pub name: String,
    pub log: Log,
    /// How the next starts go; `Ok` when it runs out.
    pub begins: Arc<Mutex<VecDeque<Begin>>>,
    pub end: End,
}

impl Plan {
    pub fn new(name: impl Into<String>, log: &Log) -> Plan {
        Plan {
            name: name.into(),
            log: log.clone(),
            begins: Arc::default(),
            end: End::Quick,
        }
    }

    pub fn begins(self, begins: impl IntoIterator<Item = Begin>) -> Plan {
        self.begins.lock().extend(begins);
        self
    }

    pub fn ends(mut self, end: End) -> Plan {
        self.end = end;
        self
    }

    /// A permanent child of the plan's name.
    pub fn child(self) -> ChildSpec {
        ChildSpec::worker::<Worker>(self.name.clone(), move || self.clone())
    }
}

pub enum Ask {
    Echo(u32),
    /// Throws the question away.
    Drop,
    /// Keeps the question for ever.
    Keep,
    Panic,
    Stop(ExitReason),
    /// Never returns from the handler.
    Hang,
}

pub enum Do {
    Note(&'static str),
    Parcel(Envelope<u32>),
    Panic,
    Stop(ExitReason),
    /// Waits in the handler for the gate; tells first that it is there.
    Gate(oneshot::Sender<()>, oneshot::Receiver<()>),
    Idle(Duration),
    Go,
    After(Duration, &'static str),
}

pub struct Worker {
    pub plan: Plan,
    kept: Vec<From<u32>>,
    parcels: Vec<Envelope<u32>>,
}

impl Worker {
    fn say(&self, what: &str) {
        self.plan.log.say(format!("{} {what}", self.plan.name));
    }
}

impl GenServer for Worker {
    const KIND: &'static str = "worker";
    const MAILBOX_BYTES: usize = 1000;
    type Args = Plan;
    type Call = Ask;
    type Reply = u32;
    type Cast = Do;
    type Info = &'static str;

    async fn init(plan: Plan, ctx: &mut Ctx<Self>) -> Init<Self> {
        let begin = plan.begins.lock().pop_front().unwrap_or(Begin::Ok);
        ctx.set_kind_label(plan.name.clone());
        match begin {
            Begin::Ok => {
                plan.log.say(format!("{} up", plan.name));
                Init::Ok(Worker {
                    plan,
                    kept: Vec::new(),
                    parcels: Vec::new(),
                })
            }
            Begin::Ignore => {
                plan.log.say(format!("{} ignored", plan.name));
                Init::Ignore
            }
            Begin::Stop(reason) => {
                plan.log.say(format!("{} failed", plan.name));
                Init::Stop(reason)
            }
            Begin::Panic => {
                plan.log.say(format!("{} panicked", plan.name));
                panic!("no init")
            }
        }
    }

    async fn handle_call(&mut self, ask: Ask, from: From<u32>, _ctx: &mut Ctx<Self>) -> Flow {
        match ask {
            Ask::Echo(n) => from.reply(n),
            Ask::Drop => drop(from),
            Ask::Keep => self.kept.push(from),
            Ask::Panic => panic!("asked to"),
            Ask::Stop(reason) => return Flow::Stop(reason),
            Ask::Hang => std::future::pending().await,
        }
        Flow::Go
    }

    async fn handle_cast(&mut self, message: Do, ctx: &mut Ctx<Self>) -> Flow {
        match message {
            Do::Note(note) => self.say(note),
            Do::Parcel(parcel) => self.parcels.push(parcel),
            Do::Panic => panic!("told to"),
            Do::Stop(reason) => return Flow::Stop(reason),
            Do::Gate(here, gate) => {
                let _ = here.send(());
                drop(gate.await);
            }
            Do::Idle(d) => return Flow::Timeout(d),
            Do::Go => return Flow::Go,
            Do::After(d, what) => {
                ctx.send_after(d, what);
            }
        }
        Flow::Go
    }

    async fn handle_info(&mut self, info: Info<&'static str>, _ctx: &mut Ctx<Self>) -> Flow {
        match info {
            Info::Message(message) => self.say(message),
            Info::Timeout => self.say("timeout"),
            Info::Down(down) => self.say(&format!("down {}", down.reason)),
        }
        Flow::Go
    }

    async fn terminate(self, reason: &ExitReason, _ctx: &mut Ctx<Self>) {
        self.say(&format!("terminate {reason}"));
        if self.plan.end == End::Never {
            std::future::pending().await
        }
    }
}

/// A worker without a supervisor.
pub async fn worker(system: &System, log: &Log, name: &str) -> Pid<Worker> {
    let plan = Plan::new(name, log);
    let pid = soon(system.start::<Worker>(None, plan)).await;
    pid.expect("a plain worker starts")
}

/// Makes a worker wait in a handler; the gate opens when the sender is used or dropped.
pub async fn gate(worker: &Pid<Worker>) -> oneshot::Sender<()> {
    let (here, there) = oneshot::channel();
    let (open, closed) = oneshot::channel();
    worker.cast(Do::Gate(here, closed)).expect("it lives");
    soon(there).await.expect("it comes to the gate");
    open
}

/// An envelope with a number in it.
pub fn parcel(n: u32, bytes: usize, dead: &DeadLetterBox<u32>) -> Envelope<u32> {
    Envelope::new(n, bytes, dead)
}
