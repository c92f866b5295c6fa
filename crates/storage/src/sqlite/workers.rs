//! `storage_writer`, `storage_readers`: processes that own threads.
//!
//! A thread that ends without being told, or hangs, ends its process with an error, and the supervisor starts
//! both anew; what waits in the queue then waits for the new threads. A process that ends, however, tells its
//! threads to end: at once after what they are at, or, when it is stopped in order, after all that waits.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use otp::{Ctx, ExitReason, Flow, GenServer, Info, Init};
use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use super::queue::{Queue, Token};
use crate::StorageError;

/// How long the threads may take to open the database.
const OPEN_WITHIN: Duration = Duration::from_secs(30);

/// What the threads of a process do.
pub(super) trait Duty: Send + Sync + 'static {
    /// The kind of the process.
    const KIND: &'static str;

    /// How many threads do it.
    fn threads(&self) -> usize;

    /// Where requests wait.
    fn queue(&self) -> &Arc<Queue>;

    /// How long one piece of work may take.
    fn hang_after(&self) -> Duration;

    /// Opens a thread's connection.
    fn connect(&self) -> Result<Connection, StorageError>;

    /// Serves the queue until the token says to end, or until the connection cannot be used any more.
    fn serve(&self, connection: Connection, token: &Token) -> Result<(), StorageError>;
}

/// State. Invariant: each thread alive serves the queue under a token held here.
pub(super) struct Workers<D: Duty> {
    duty: Arc<D>,
    threads: Vec<Thread>,
}

/// What the process hears.
pub(super) enum Event {
    /// A thread has ended, for this reason if it was not told to.
    Ended(Option<String>),
    /// Time to look after the threads.
    Check,
}

impl<D: Duty> GenServer for Workers<D> {
    const KIND: &'static str = D::KIND;
    type Args = Arc<D>;
    type Call = ();
    type Reply = ();
    type Cast = ();
    type Info = Event;

    async fn init(duty: Arc<D>, ctx: &mut Ctx<Self>) -> Init<Self> {
        let mut threads = Vec::new();
        for number in 0..duty.threads() {
            match Thread::start(&duty, number, ctx).await {
                Ok(thread) => threads.push(thread),
                Err(why) => return Init::Stop(ExitReason::Error(why.into())),
            }
        }
        duty.queue().open();
        ctx.send_after(duty.hang_after() / 4, Event::Check);
        Init::Ok(Workers { duty, threads })
    }

    async fn handle_info(&mut self, info: Info<Event>, ctx: &mut Ctx<Self>) -> Flow {
        match info {
            Info::Message(Event::Ended(why)) => ended(why),
            Info::Message(Event::Check) => self.look_after(ctx),
            Info::Down(_) | Info::Timeout => Flow::Go,
        }
    }

    async fn terminate(self, reason: &ExitReason, _ctx: &mut Ctx<Self>) {
        if matches!(reason, ExitReason::Normal | ExitReason::Shutdown) {
            self.finish().await;
        }
    }
}

impl<D: Duty> Workers<D> {
    /// Stops the process with an error if a thread has been at one thing for too long.
    fn look_after(&self, ctx: &mut Ctx<Self>) -> Flow {
        let now = ctx.clock().now();
        let allowed = self.duty.hang_after();
        let hung = self.threads.iter().find(|thread| {
            thread
                .token
                .busy_since()
                .is_some_and(|since| now - since >= allowed)
        });
        let Some(thread) = hung else {
            ctx.send_after(allowed / 4, Event::Check);
            return Flow::Go;
        };
        thread.token.interrupt();
        Flow::Stop(ExitReason::Error(
            format!("a thread has been at one thing for {allowed:?}").into(),
        ))
    }

    /// Takes no more requests, serves those that wait, and returns when the threads have ended.
    async fn finish(mut self) {
        let queue = Arc::clone(self.duty.queue());
        queue.close();
        for thread in &self.threads {
            queue.drain(&thread.token);
        }
        for thread in &mut self.threads {
            // An error means that the thread is gone, which is what is waited for.
            let _ = thread.ended.wait_for(|ended| *ended).await;
        }
    }
}

/// A thread ended that was not told to: whoever told it no longer listens.
fn ended(why: Option<String>) -> Flow {
    let why = why.unwrap_or_else(|| "a thread ended".to_owned());
    Flow::Stop(ExitReason::Error(why.into()))
}

/// One thread. Dropped, it ends after what it is at.
struct Thread {
    queue: Arc<Queue>,
    token: Arc<Token>,
    ended: watch::Receiver<bool>,
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.queue.retire(&self.token);
    }
}

impl Thread {
    /// Starts a thread and waits until its connection is open.
    async fn start<D: Duty>(
        duty: &Arc<D>,
        number: usize,
        ctx: &mut Ctx<Workers<D>>,
    ) -> Result<Thread, String> {
        let token = Arc::new(Token::new());
        let (ready, is_ready) = oneshot::channel();
        let (end, why_ended) = oneshot::channel();
        let (has_ended, ended) = watch::channel(false);
        let thread = Thread {
            queue: Arc::clone(duty.queue()),
            token: Arc::clone(&token),
            ended,
        };
        let its_duty = Arc::clone(duty);
        std::thread::Builder::new()
            .name(format!("{}-{number}", D::KIND))
            .spawn(move || {
                let why = live(its_duty.as_ref(), &token, ready);
                has_ended.send_replace(true);
                // The process may be gone; then nobody needs the reason.
                let _ = end.send(why);
            })
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        match ctx.clock().timeout(OPEN_WITHIN, is_ready).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => return Err(error.to_string()),
            Ok(Err(_)) => return Err("a thread ended while it started".to_owned()),
            Err(_) => return Err(format!("the database did not open within {OPEN_WITHIN:?}")),
        }
        let pid = ctx.pid().clone();
        ctx.spawn(async move {
            let why = why_ended.await.unwrap_or_default();
            // The process may be gone; then nobody needs the reason.
            let _ = pid.info(Event::Ended(why));
        });
        Ok(thread)
    }
}

/// A thread's life; why it ended, if not because it was told to.
fn live<D: Duty>(
    duty: &D,
    token: &Token,
    ready: oneshot::Sender<Result<(), StorageError>>,
) -> Option<String> {
    let served = catch_unwind(AssertUnwindSafe(|| {
        let connection = match duty.connect() {
            Ok(connection) => connection,
            Err(error) => {
                // Whoever asked hears it; if it no longer does, nobody needs to.
                let _ = ready.send(Err(error));
                return Ok(());
            }
        };
        token.can_be_interrupted(connection.get_interrupt_handle());
        let _ = ready.send(Ok(()));
        duty.serve(connection, token)
    }));
    match served {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(panic) => Some(format!("a thread panicked: {}", words_of(panic.as_ref()))),
    }
}

/// What a panic said.
fn words_of(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
