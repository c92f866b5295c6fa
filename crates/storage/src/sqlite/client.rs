//! How a caller asks: into the queue, then wait for the answer or the deadline.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use otp::Clock;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::failure::Failure;
use super::known::Known;
use super::late::Late;
use super::queue::{Job, Queue, Refused, Ticket};
use crate::StorageError;

/// How long a backup or a restore may take.
const LONG: Duration = Duration::from_secs(3600);

/// What a request takes in the queue besides what it carries.
const OVERHEAD: usize = 256;

/// Asks the writer and the readers. A cheap clone.
#[derive(Clone)]
pub(super) struct Client(Arc<Inner>);

struct Inner {
    writes: Arc<Queue>,
    reads: Arc<Queue>,
    clock: Clock,
    deadline: Duration,
    known: Known,
    late: Late,
}

/// What distinguishes requests.
#[derive(Clone, Copy)]
struct Manner {
    what: &'static str,
    bytes: usize,
    writes: bool,
    long: bool,
}

impl Client {
    pub(super) fn new(
        writes: Arc<Queue>,
        reads: Arc<Queue>,
        clock: Clock,
        deadline: Duration,
    ) -> Client {
        let late = Late::new(&writes);
        Client(Arc::new(Inner {
            writes,
            reads,
            clock,
            deadline,
            known: Known::new(),
            late,
        }))
    }

    /// What is known without asking.
    pub(super) fn known(&self) -> &Known {
        &self.0.known
    }

    /// Last activity that is not written yet.
    pub(super) fn late(&self) -> &Late {
        &self.0.late
    }

    /// The time of day, by the server's clock.
    pub(super) fn now(&self) -> SystemTime {
        self.0.clock.wall()
    }

    /// Writes: `act` runs in the writer's transaction, all or nothing, and is answered after its commit. What `act`
    /// owns it keeps until then: so does a [`Doubt`](super::known::Doubt) of what it changes.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        what: &'static str,
        bytes: usize,
        mut act: impl FnMut(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StorageError> {
        let manner = Manner {
            what,
            bytes,
            writes: true,
            long: false,
        };
        self.ask(manner, move |connection| act(connection)).await
    }

    /// Does something with the writer's connection outside of any transaction. May last.
    pub(super) async fn write_alone<T: Send + 'static>(
        &self,
        what: &'static str,
        act: impl FnMut(&mut Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StorageError> {
        let manner = Manner {
            what,
            bytes: 0,
            writes: true,
            long: true,
        };
        self.ask(manner, act).await
    }

    /// Reads: `act` sees the content of one moment.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        what: &'static str,
        mut act: impl FnMut(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StorageError> {
        let manner = Manner {
            what,
            bytes: 0,
            writes: false,
            long: false,
        };
        self.ask(manner, move |connection| act(connection)).await
    }

    /// Reads something that may last.
    pub(super) async fn read_long<T: Send + 'static>(
        &self,
        what: &'static str,
        mut act: impl FnMut(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StorageError> {
        let manner = Manner {
            what,
            bytes: 0,
            writes: false,
            long: true,
        };
        self.ask(manner, move |connection| act(connection)).await
    }

    async fn ask<T, F>(&self, manner: Manner, act: F) -> Result<T, StorageError>
    where
        T: Send + 'static,
        F: FnMut(&mut Connection) -> Result<T, Failure> + Send + 'static,
    {
        let Manner {
            what,
            bytes,
            writes,
            long,
        } = manner;
        let queue = if writes {
            &self.0.writes
        } else {
            &self.0.reads
        };
        let deadline = if long { LONG } else { self.0.deadline };
        let (reply, answer) = oneshot::channel();
        let ticket = Arc::new(Ticket::new());
        let request = Request {
            what,
            long,
            ticket: Arc::clone(&ticket),
            act,
            result: None,
            reply,
        };
        // A caller that goes away gives up too, whichever way this function ends.
        let caller = Caller(ticket);
        queue
            .push(bytes + OVERHEAD, Box::new(request))
            .map_err(|refused| match refused {
                Refused::Busy => StorageError::Busy { what },
                Refused::Closed => StorageError::Closed { what },
            })?;
        let lost = |what| {
            if writes {
                StorageError::Unknown { what }
            } else {
                StorageError::Interrupted { what }
            }
        };
        match self.0.clock.timeout(deadline, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_dropped)) => Err(lost(what)),
            Err(_elapsed) if caller.0.give_up() => Err(StorageError::Timeout {
                what,
                after: deadline,
            }),
            Err(_elapsed) => Err(lost(what)),
        }
    }
}

/// The caller's end of a request.
struct Caller(Arc<Ticket>);

impl Drop for Caller {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

/// The thread's end of a request.
struct Request<T, F> {
    what: &'static str,
    long: bool,
    ticket: Arc<Ticket>,
    act: F,
    result: Option<T>,
    reply: oneshot::Sender<Result<T, StorageError>>,
}

impl<T, F> Job for Request<T, F>
where
    T: Send,
    F: FnMut(&mut Connection) -> Result<T, Failure> + Send,
{
    fn what(&self) -> &'static str {
        self.what
    }

    fn is_long(&self) -> bool {
        self.long
    }

    fn begin(&self) -> bool {
        self.ticket.begin()
    }

    fn run(&mut self, connection: &mut Connection) -> Result<(), StorageError> {
        let result = (self.act)(connection).map_err(|failure| failure.of(self.what))?;
        self.result = Some(result);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), StorageError>) {
        let answer = match (outcome, self.result) {
            (Ok(()), Some(result)) => Ok(result),
            (Ok(()), None) => unreachable!("a request is answered well only after it ran"),
            (Err(error), _) => Err(error),
        };
        // The caller may have gone; then nobody wants to know.
        let _ = self.reply.send(answer);
    }
}
