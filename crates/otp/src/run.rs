//! The loop of a process, on one `ractor` actor.
//!
//! The mailbox is ours (see `cell`): the actor is told once to begin, and its handler waits for mail until the process
//! ends. That gives what the actor library has not: messages that overtake, an exact moment at which the mailbox
//! closes, a stop that waits for the current handler only, and a process that changes its code under its mailbox; and
//! a message costs a push and a wake-up. Killing is the library's: its signal drops a handler that waits.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ractor::{Actor, ActorProcessingErr, ActorRef, ActorRuntime};
use tokio::sync::oneshot;

use crate::cell::{AnyCell, Birth, Cell, CellOf, Mail, Next};
use crate::ctx::{Ctx, Own};
use crate::exit::{ExitReason, ProcessId};
use crate::gen_server::{Flow, GenServer, Info, Init, OldState};
use crate::pid::{AnyPid, Fault, Pid, UpgradeError};
use crate::registry::Name;
use crate::supervisor::StartError;

/// The one message an actor gets: its process begins.
pub(crate) struct Begin;

/// The actor that runs a process.
pub(crate) struct Port(ActorRef<Begin>);

impl Port {
    pub(crate) fn begin(&self) {
        // An actor that has ended has emptied the mailbox, or will.
        let _ = self.0.send_message(Begin);
    }

    pub(crate) fn kill(&self) {
        self.0.kill();
    }
}

/// How a start that did not fail went.
pub(crate) enum Started {
    Up,
    Ignored,
}

/// The running half of a process. Dropped while it still has the process (a kill, an aborted runtime), it ends it.
struct Body<S: GenServer> {
    cell: Arc<CellOf<S>>,
    /// Gone while an upgrade has it, and when the process has ended or moved to another body.
    ctx: Option<Ctx<S>>,
    server: Option<S>,
    start: Option<(S::Args, oneshot::Sender<Started>)>,
    /// This body has the process no more.
    left: bool,
}

enum Step {
    End(ExitReason),
    /// Another body runs the process now.
    Moved,
}

/// A body whose behaviour is forgotten. One kind of actor runs them all: what the library makes of an actor's type it
/// makes once, and no actor is larger than its pointer to one of these.
trait Runs: Send {
    fn run(&mut self) -> BoxFuture<'_, Step>;
    /// The process goes on in another body.
    fn leave(&mut self);
    fn end(&mut self, reason: ExitReason);
}

struct Shell;

impl Actor for Shell {
    type Msg = Begin;
    type State = Box<dyn Runs>;
    type Arguments = Box<dyn Runs>;

    fn pre_start(
        &self,
        _myself: ActorRef<Begin>,
        body: Box<dyn Runs>,
    ) -> impl Future<Output = Result<Box<dyn Runs>, ActorProcessingErr>> + Send {
        std::future::ready(Ok(body))
    }

    async fn handle(
        &self,
        myself: ActorRef<Begin>,
        _begin: Begin,
        body: &mut Box<dyn Runs>,
    ) -> Result<(), ActorProcessingErr> {
        let step = AssertUnwindSafe(body.run()).catch_unwind().await;
        match step {
            Ok(Step::Moved) => body.leave(),
            Ok(Step::End(reason)) => body.end(reason),
            Err(panic) => body.end(ExitReason::Panic(panic_text(&*panic))),
        }
        myself.stop(None);
        Ok(())
    }
}

impl<S: GenServer> Runs for Body<S> {
    fn run(&mut self) -> BoxFuture<'_, Step> {
        let cell = self.cell.clone();
        Box::pin(async move {
            let mut steps = pin!(self.steps());
            poll_fn(|cx| cell.poll_beside(cx, steps.as_mut())).await
        })
    }

    fn leave(&mut self) {
        self.left = true;
    }

    fn end(&mut self, reason: ExitReason) {
        self.finish(reason);
    }
}

impl<S: GenServer> Body<S> {
    async fn steps(&mut self) -> Step {
        if let Some((args, started)) = self.start.take()
            && let Some(step) = self.init(args, started).await
        {
            return step;
        }
        loop {
            let flow = match poll_fn(|cx| self.cell.poll_next(cx)).await {
                Next::Stop(reason) => Flow::Stop(reason),
                Next::Mail(Mail::Upgrade(upgrade)) => match self.upgrade(upgrade).await {
                    Some(step) => return step,
                    None => Flow::Go,
                },
                Next::Mail(mail) => match self.handle(mail).await {
                    Some(flow) => flow,
                    None => continue,
                },
            };
            if let Some(step) = self.follow(flow).await {
                return step;
            }
            tokio::task::consume_budget().await;
        }
    }

    fn parts(&mut self) -> (&mut S, &mut Ctx<S>) {
        let server = self.server.as_mut().expect("a process past init has state");
        let ctx = self.ctx.as_mut().expect("a running process has a context");
        (server, ctx)
    }

    async fn init(&mut self, args: S::Args, started: oneshot::Sender<Started>) -> Option<Step> {
        let ctx = self.ctx.as_mut().expect("a running process has a context");
        // In boxes of their own, as the end is: they are done once, and the process need not be as large as they are.
        let (server, flow) = match Box::pin(S::init(args, ctx)).await {
            Init::Ok(server) => (server, Flow::Go),
            Init::Continue(server) => (server, Flow::Continue),
            Init::Ignore => {
                // Who starts it waits for its end, too.
                drop(started.send(Started::Ignored));
                return Some(Step::End(ExitReason::Normal));
            }
            Init::Stop(reason) => return Some(Step::End(reason)),
        };
        self.server = Some(server);
        self.cell.head.up.store(true, Ordering::Relaxed);
        // A starter that is gone has killed us: the signal is on its way.
        drop(started.send(Started::Up));
        self.follow(flow).await
    }

    /// Handles one mail; `None` if it was not worth a callback.
    async fn handle(&mut self, mail: Mail<S::Call, S::Reply, S::Cast, S::Info>) -> Option<Flow> {
        let (server, ctx) = self.parts();
        let info = match mail {
            Mail::Call(request, from) => {
                ctx.own().busy();
                return Some(server.handle_call(request, from, ctx).await);
            }
            Mail::Cast(message) => {
                ctx.own().busy();
                return Some(server.handle_cast(message, ctx).await);
            }
            Mail::Info(message) => Info::Message(message),
            Mail::Down(down) if ctx.own().fired(down.monitor) => Info::Down(down),
            Mail::Timer(timer, message) if ctx.own().rang(timer) => Info::Message(message),
            Mail::Idle(number) if ctx.own().is_idle(number) => Info::Timeout,
            Mail::Fault(Fault::Panic) => panic!("injected fault"),
            Mail::Fault(Fault::Hang) => std::future::pending().await,
            Mail::Down(_) | Mail::Timer(..) | Mail::Idle(_) | Mail::Upgrade(_) => return None,
        };
        ctx.own().busy();
        Some(server.handle_info(info, ctx).await)
    }

    /// Does what a callback wants done.
    async fn follow(&mut self, mut flow: Flow) -> Option<Step> {
        loop {
            match flow {
                Flow::Go => return None,
                Flow::Timeout(d) => {
                    let (_, ctx) = self.parts();
                    ctx.wait_idle(d);
                    return None;
                }
                Flow::Continue => {
                    let (server, ctx) = self.parts();
                    flow = server.handle_continue(ctx).await;
                }
                Flow::Stop(reason) => {
                    self.cell.close();
                    let server = self.server.take().expect("a process past init has state");
                    let ctx = self.ctx.as_mut().expect("a running process has a context");
                    Box::pin(server.terminate(&reason, ctx)).await;
                    return Some(Step::End(reason));
                }
            }
        }
    }

    async fn upgrade(&mut self, upgrade: BoxedUpgrade<S>) -> Option<Step> {
        let server = self.server.take().expect("a process past init has state");
        let ctx = self.ctx.take().expect("a running process has a context");
        let old = OldState::of(server);
        match upgrade.run(old, self.cell.clone(), ctx.into_own()).await {
            Upgraded::Moved => Some(Step::Moved),
            Upgraded::Failed(reason) => Some(Step::End(reason)),
            Upgraded::Refused(old, own) => {
                self.ctx = Some(Ctx::new(self.cell.clone(), own));
                match old.take::<S>() {
                    Ok(server) => self.server = Some(server),
                    Err(_) => {
                        let why = "code_change gave back another state than it was given";
                        return Some(Step::End(ExitReason::error(why)));
                    }
                }
                None
            }
        }
    }

    /// Ends the process: nothing more comes in, its state and all it owns go, what is queued goes, and then all who
    /// wait for its end are told.
    fn finish(&mut self, reason: ExitReason) {
        if std::mem::replace(&mut self.left, true) {
            return;
        }
        self.cell.close();
        let (server, ctx, start) = (self.server.take(), self.ctx.take(), self.start.take());
        // A state whose `Drop` panics has broken enough; the end goes on.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(server)));
        let _ = catch_unwind(AssertUnwindSafe(|| drop(start)));
        let _ = catch_unwind(AssertUnwindSafe(|| drop(ctx)));
        let _ = catch_unwind(AssertUnwindSafe(|| self.cell.companion.clear()));
        let _ = catch_unwind(AssertUnwindSafe(|| self.cell.clear()));
        self.cell.finish(reason);
    }
}

impl<S: GenServer> Drop for Body<S> {
    fn drop(&mut self) {
        self.finish(ExitReason::Killed);
    }
}

type BoxedUpgrade<S> = Box<
    dyn Upgrade<
            <S as GenServer>::Call,
            <S as GenServer>::Reply,
            <S as GenServer>::Cast,
            <S as GenServer>::Info,
        >,
>;

/// How an upgrade went, for the body that had the process.
pub(crate) enum Upgraded {
    Moved,
    Refused(OldState, Own),
    Failed(ExitReason),
}

/// An upgrade to a version whose type the running version does not know.
pub(crate) trait Upgrade<C, R, K, I>: Send {
    fn run(
        self: Box<Self>,
        old: OldState,
        cell: Arc<Cell<C, R, K, I>>,
        own: Own,
    ) -> BoxFuture<'static, Upgraded>;
}

/// An upgrade to the version `N`.
pub(crate) struct UpgradeTo<N> {
    done: oneshot::Sender<Result<(), UpgradeError>>,
    version: PhantomData<fn() -> N>,
}

impl<N> UpgradeTo<N> {
    pub(crate) fn new(done: oneshot::Sender<Result<(), UpgradeError>>) -> UpgradeTo<N> {
        UpgradeTo {
            done,
            version: PhantomData,
        }
    }
}

impl<N: GenServer> Upgrade<N::Call, N::Reply, N::Cast, N::Info> for UpgradeTo<N> {
    fn run(
        self: Box<Self>,
        old: OldState,
        cell: Arc<CellOf<N>>,
        own: Own,
    ) -> BoxFuture<'static, Upgraded> {
        async move {
            let mut ctx = Ctx::<N>::new(cell.clone(), own);
            let refusal = match N::code_change(old, &mut ctx).await {
                Ok(server) => {
                    run_body(Body {
                        cell,
                        ctx: Some(ctx),
                        server: Some(server),
                        start: None,
                        left: false,
                    });
                    drop(self.done.send(Ok(())));
                    return Upgraded::Moved;
                }
                Err(refusal) => refusal,
            };
            match refusal.old {
                Some(old) => {
                    drop(self.done.send(Err(UpgradeError::Refused(refusal.reason))));
                    Upgraded::Refused(old, ctx.into_own())
                }
                // Who waits learns of the end itself.
                None => Upgraded::Failed(refusal.reason),
            }
        }
        .boxed()
    }
}

/// Gives a body an actor of its own.
fn run_body<S: GenServer>(body: Body<S>) {
    let cell = body.cell.clone();
    cell.attach(spawn_actor(Box::new(body)));
}

fn spawn_actor(body: Box<dyn Runs>) -> Port {
    let (actor, _) = ActorRuntime::spawn(None, Shell, body)
        .now_or_never()
        .expect("pre_start waits for nothing")
        .expect("an actor without a name and with a pre_start that cannot fail starts");
    Port(actor)
}

/// Makes a process and lets it run its `init`.
fn spawn<S: GenServer>(
    birth: Birth,
    name: Option<&Name>,
    args: S::Args,
) -> Result<(Pid<S>, oneshot::Receiver<Started>), StartError> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let id = ProcessId(NEXT.fetch_add(1, Ordering::Relaxed));
    let system = birth.system.clone();
    let cell: Arc<CellOf<S>> = Cell::new(id, S::KIND, S::MAILBOX_BYTES, birth);
    if let Some(name) = name
        && let Err(taken) = system.registry().put(name, cell.clone())
    {
        system.observe().remove(id);
        return Err(StartError::NameTaken(taken));
    }
    let (started, ack) = oneshot::channel();
    run_body(Body {
        ctx: Some(Ctx::<S>::new(
            cell.clone(),
            Own::new(system.clock().clone()),
        )),
        cell: cell.clone(),
        server: None,
        start: Some((args, started)),
        left: false,
    });
    Ok((Pid::new(cell), ack))
}

/// Starts a process and waits for its `init`. Dropped while it waits, it kills the process.
pub(crate) async fn start<S: GenServer>(
    birth: Birth,
    name: Option<&Name>,
    args: S::Args,
) -> Result<Pid<S>, StartError> {
    struct Unwanted(Option<AnyPid>);
    impl Drop for Unwanted {
        fn drop(&mut self) {
            if let Some(pid) = &self.0 {
                pid.kill();
            }
        }
    }
    let (pid, started) = spawn::<S>(birth, name, args)?;
    let mut unwanted = Unwanted(Some(pid.any()));
    let started = match started.await {
        Ok(Started::Up) => Ok(pid),
        // It is told only when all of it is gone, its name above all.
        Ok(Started::Ignored) => {
            pid.watch().await;
            Err(StartError::Ignored)
        }
        Err(_) => Err(StartError::Failed(pid.watch().await)),
    };
    unwanted.0 = None;
    started
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> Arc<str> {
    if let Some(text) = panic.downcast_ref::<&str>() {
        Arc::from(*text)
    } else if let Some(text) = panic.downcast_ref::<String>() {
        Arc::from(text.as_str())
    } else {
        Arc::from("a panic without words")
    }
}
