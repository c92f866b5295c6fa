//! The behaviour of a process with state: OTP's `gen_server`.

use std::any::Any;
use std::future::Future;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::ctx::Ctx;
use crate::exit::{Down, ExitReason};

/// A process with state: asked (call), told (cast), and all else it hears (info).
///
/// Only [`init`](GenServer::init) is required. The callbacks of one process never run at the same time. A panic in
/// any of them ends the process with [`ExitReason::Panic`].
pub trait GenServer: Sized + Send + 'static {
    /// What `tree` shows as the kind of this process: `c2s`, `router`.
    const KIND: &'static str;

    /// How many bytes of offered envelopes the mailbox holds before it is full; 1 MiB.
    const MAILBOX_BYTES: usize = 1024 * 1024;

    /// The version of this behaviour's state, told to the [`code_change`](GenServer::code_change) of the next.
    const VERSION: u32 = 1;

    /// What `init` is given.
    type Args: Send + 'static;
    /// What the process can be asked.
    type Call: Send + 'static;
    /// What it answers.
    type Reply: Send + 'static;
    /// What it can be told.
    type Cast: Send + 'static;
    /// What else it hears: timers, messages of those who know no more of it than that.
    type Info: Send + 'static;

    /// Makes the state. The starter (a supervisor) waits for it, so it should be short: what takes long goes to
    /// [`handle_continue`](GenServer::handle_continue).
    fn init(args: Self::Args, ctx: &mut Ctx<Self>) -> impl Future<Output = Init<Self>> + Send;

    /// Answers a call, now through `from`, or later by keeping it. A dropped `from` gives the caller
    /// [`CallError::NoReply`](crate::CallError::NoReply). Unless written, logs and drops.
    fn handle_call(
        &mut self,
        request: Self::Call,
        from: From<Self::Reply>,
        ctx: &mut Ctx<Self>,
    ) -> impl Future<Output = Flow> + Send {
        drop((request, from));
        unexpected(ctx, "call")
    }

    /// Acts on what the process is told. Unless written, logs and drops.
    fn handle_cast(
        &mut self,
        message: Self::Cast,
        ctx: &mut Ctx<Self>,
    ) -> impl Future<Output = Flow> + Send {
        drop(message);
        unexpected(ctx, "cast")
    }

    /// Acts on all else: monitors that fire, time-outs, timers. Unless written, logs and drops.
    fn handle_info(
        &mut self,
        info: Info<Self::Info>,
        ctx: &mut Ctx<Self>,
    ) -> impl Future<Output = Flow> + Send {
        drop(info);
        unexpected(ctx, "info")
    }

    /// Goes on after [`Init::Continue`] or [`Flow::Continue`], before anything that is queued.
    fn handle_continue(&mut self, ctx: &mut Ctx<Self>) -> impl Future<Output = Flow> + Send {
        unexpected(ctx, "continue")
    }

    /// Cleans up at an orderly end: after `stop`, and after [`Flow::Stop`] with any reason; not after a kill or a
    /// panic. The mailbox takes nothing in any more.
    fn terminate(
        self,
        reason: &ExitReason,
        ctx: &mut Ctx<Self>,
    ) -> impl Future<Output = ()> + Send {
        let _ = (reason, ctx);
        drop(self);
        std::future::ready(())
    }

    /// Makes this version's state of an older version's, when a process is upgraded in place
    /// ([`SupPid::upgrade_child`](crate::SupPid::upgrade_child), [`Pid::upgrade`](crate::Pid::upgrade)).
    /// Unless written, takes a state of its own type as it is and refuses any other.
    fn code_change(
        old: OldState,
        ctx: &mut Ctx<Self>,
    ) -> impl Future<Output = Result<Self, Refusal>> + Send {
        let _ = ctx;
        std::future::ready(
            old.take::<Self>()
                .map_err(|old| Refusal::keep(old, "no conversion from that version's state")),
        )
    }
}

fn unexpected<S: GenServer>(ctx: &Ctx<S>, what: &'static str) -> std::future::Ready<Flow> {
    tracing::warn!(target: "natter::otp", process = %ctx.pid().id(), kind = S::KIND, what, "unexpected message");
    std::future::ready(Flow::Go)
}

/// How a start went.
#[derive(Debug)]
pub enum Init<S> {
    /// Here is the state.
    Ok(S),
    /// Here is the state; the starter need not wait while `handle_continue` finishes the work.
    Continue(S),
    /// This process is not wanted; no failure.
    Ignore,
    /// The start failed.
    Stop(ExitReason),
}

/// What a process does after a callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Waits for the next message.
    Go,
    /// As `Go`; hears [`Info::Timeout`] if nothing else comes within that time.
    Timeout(Duration),
    /// Runs `handle_continue` before the next message.
    Continue,
    /// Ends in an orderly way, `terminate` first.
    Stop(ExitReason),
}

/// What a process hears beside calls and casts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Info<M> {
    /// A message of its own kind: a timer of its own, or somebody's `info`.
    Message(M),
    /// A process it monitors has ended.
    Down(Down),
    /// Nothing came within [`Flow::Timeout`].
    Timeout,
}

/// The asker's end of a call. May be kept and answered later; dropped, the asker gets an error.
#[derive(Debug)]
#[must_use = "a call wants an answer"]
pub struct From<R>(Option<oneshot::Sender<Answer<R>>>);

pub(crate) type Answer<R> = Result<R, Unwinding>;

/// The question was lost in a panic: the process is about to end.
#[derive(Debug)]
pub(crate) struct Unwinding;

impl<R> From<R> {
    pub(crate) fn new() -> (From<R>, oneshot::Receiver<Answer<R>>) {
        let (tx, rx) = oneshot::channel();
        (From(Some(tx)), rx)
    }

    /// Answers. An asker that has stopped waiting does not hear it.
    pub fn reply(mut self, answer: R) {
        if let Some(asker) = self.0.take() {
            drop(asker.send(Ok(answer)));
        }
    }

    /// Tells whether the asker has stopped waiting.
    pub fn is_abandoned(&self) -> bool {
        self.0.as_ref().is_none_or(oneshot::Sender::is_closed)
    }
}

impl<R> Drop for From<R> {
    fn drop(&mut self) {
        if let Some(asker) = self.0.take()
            && std::thread::panicking()
        {
            drop(asker.send(Err(Unwinding)));
        }
    }
}

/// The state of another version of a behaviour, on its way through [`GenServer::code_change`].
pub struct OldState {
    version: u32,
    state: Box<dyn Any + Send>,
}

impl OldState {
    /// Wraps a state: for a `code_change` that has taken one out and gives it back, refusing.
    pub fn of<S: GenServer>(state: S) -> OldState {
        OldState {
            version: S::VERSION,
            state: Box::new(state),
        }
    }

    /// The [`GenServer::VERSION`] it was of.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Takes the state out.
    ///
    /// # Errors
    ///
    /// The state again, if it is not a `T`.
    pub fn take<T: 'static>(self) -> Result<T, OldState> {
        let version = self.version;
        match self.state.downcast::<T>() {
            Ok(state) => Ok(*state),
            Err(state) => Err(OldState { version, state }),
        }
    }
}

/// A `code_change` that did not happen.
pub struct Refusal {
    pub(crate) old: Option<OldState>,
    pub(crate) reason: ExitReason,
}

impl Refusal {
    /// Refuses and gives the state back: the process goes on as the older version.
    pub fn keep(old: OldState, why: &str) -> Refusal {
        Refusal {
            old: Some(old),
            reason: ExitReason::error(why),
        }
    }

    /// Fails with the state used up: the process ends with `reason`.
    pub fn lost(reason: ExitReason) -> Refusal {
        Refusal { old: None, reason }
    }
}
