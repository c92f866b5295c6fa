//! Handles of processes: typed and untyped.

use std::fmt;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::cell::{AnyCell, CellOf, Mail};
use crate::envelope::Envelope;
use crate::exit::{CallError, ExitReason, NoProc, ProcessId};
use crate::gen_server::{From, GenServer, Unwinding};
use crate::run::UpgradeTo;

/// A handle of a process that fills the behaviour `S`. Outlives the process.
pub struct Pid<S: GenServer>(Arc<CellOf<S>>);

/// A handle of any process.
#[derive(Clone)]
pub struct AnyPid(pub(crate) Arc<dyn AnyCell>);

/// What goes wrong on purpose, for crash tests.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process panics as if in a handler.
    Panic,
    /// Its current handler never returns.
    Hang,
}

/// Why a process was not upgraded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpgradeError {
    /// The process was dead or dying.
    #[error("no such process")]
    NoProc,
    /// The deadline passed; the upgrade may still come to pass.
    #[error("no answer in time")]
    Timeout,
    /// The new version is of another kind, or has other messages.
    #[error("a {wanted} is no version of a {found}")]
    NotAVersion {
        /// The kind of the process.
        found: &'static str,
        /// The kind it should become.
        wanted: &'static str,
    },
    /// `code_change` refused; the process goes on as it was.
    #[error("refused: {0}")]
    Refused(ExitReason),
    /// `code_change` failed; the process ended.
    #[error("failed: {0}")]
    Failed(ExitReason),
    /// The supervisor has no such child, or it does not run.
    #[error("no such child")]
    NotFound,
}

impl<S: GenServer> Pid<S> {
    pub(crate) fn new(cell: Arc<CellOf<S>>) -> Pid<S> {
        Pid(cell)
    }

    pub(crate) fn cell(&self) -> &Arc<CellOf<S>> {
        &self.0
    }

    /// Its number.
    pub fn id(&self) -> ProcessId {
        self.0.head.id
    }

    /// Asks, and waits for the answer for at most `within`.
    ///
    /// # Errors
    ///
    /// [`CallError::NoProc`] if it is dead or dying, [`CallError::Died`] if it ends before it answers,
    /// [`CallError::NoReply`] if it throws the question away, [`CallError::Timeout`] if `within` passes.
    pub async fn call(&self, request: S::Call, within: Duration) -> Result<S::Reply, CallError> {
        let (from, answer) = From::new();
        self.0
            .send(Mail::Call(request, from))
            .map_err(|NoProc| CallError::NoProc)?;
        let clock = self.0.head.born.system.clock();
        match clock.timeout(within, self.answer(answer)).await {
            Ok(answered) => answered,
            Err(_) => Err(CallError::Timeout),
        }
    }

    async fn answer(
        &self,
        answer: oneshot::Receiver<Result<S::Reply, Unwinding>>,
    ) -> Result<S::Reply, CallError> {
        match answer.await {
            Ok(Ok(reply)) => Ok(reply),
            Err(_) if !self.0.is_ending() => Err(CallError::NoReply),
            Ok(Err(Unwinding)) | Err(_) => Err(CallError::Died(self.watch().await)),
        }
    }

    /// Tells.
    ///
    /// # Errors
    ///
    /// [`NoProc`] if it is dead or dying.
    pub fn cast(&self, message: S::Cast) -> Result<(), NoProc> {
        self.0.send(Mail::Cast(message))
    }

    /// Tells, before all that is queued but behind earlier control messages; exempt from the mailbox' budget.
    ///
    /// # Errors
    ///
    /// [`NoProc`] if it is dead or dying.
    pub fn control(&self, message: S::Cast) -> Result<(), NoProc> {
        self.0.send_control(Mail::Cast(message))
    }

    /// Sends `message`, heard as [`Info::Message`](crate::Info::Message).
    ///
    /// # Errors
    ///
    /// [`NoProc`] if it is dead or dying.
    pub fn info(&self, message: S::Info) -> Result<(), NoProc> {
        self.0.send(Mail::Info(message))
    }

    /// Offers a parcel: it counts against the mailbox' budget until it is taken out. `into` wraps it and does
    /// nothing else (it runs under the mailbox' lock).
    ///
    /// # Errors
    ///
    /// The envelope again, if the mailbox is full or the process dead or dying. Once accepted, it is handled or
    /// falls into its dead-letter box.
    pub fn offer<P: Send + 'static>(
        &self,
        envelope: Envelope<P>,
        into: fn(Envelope<P>) -> S::Cast,
    ) -> Result<(), Envelope<P>> {
        let bytes = envelope.bytes();
        self.0.offer(envelope, bytes, into)
    }

    /// The same process, its behaviour forgotten.
    pub fn any(&self) -> AnyPid {
        AnyPid(self.0.clone())
    }

    /// Tells whether it takes messages.
    pub fn is_alive(&self) -> bool {
        self.0.is_open()
    }

    /// Tells it to end with `reason` after its current handler, before what is queued; `terminate` runs. The
    /// first reason given counts.
    pub fn stop(&self, reason: ExitReason) {
        self.0.stop(reason);
    }

    /// Ends it at once: a handler that waits is dropped, `terminate` does not run.
    pub fn kill(&self) {
        AnyCell::kill(&*self.0);
    }

    /// Waits for its end, for those who are not processes; gives the reason, also of one long dead.
    pub fn watch(&self) -> impl Future<Output = ExitReason> + Send + use<S> {
        self.any().watch()
    }

    /// Upgrades the process in place to another version of its behaviour: its number, name, mailbox, monitors and
    /// timers live on, and its state passes through `N::code_change`. Overtakes what is queued.
    ///
    /// A supervised child is upgraded by [`SupPid::upgrade_child`](crate::SupPid::upgrade_child), which also makes
    /// later restarts start the new version.
    ///
    /// # Errors
    ///
    /// [`UpgradeError`]; after `Refused` the process goes on as it was, after `Failed` it has ended.
    pub async fn upgrade<N>(&self, within: Duration) -> Result<Pid<N>, UpgradeError>
    where
        N: GenServer<Call = S::Call, Reply = S::Reply, Cast = S::Cast, Info = S::Info>,
    {
        let clock = self.0.head.born.system.clock();
        let upgrade = upgrade::<N>(self.0.clone());
        match clock.timeout(within, upgrade).await {
            Ok(done) => done,
            Err(_) => Err(UpgradeError::Timeout),
        }
    }
}

pub(crate) async fn upgrade<N: GenServer>(cell: Arc<CellOf<N>>) -> Result<Pid<N>, UpgradeError> {
    if cell.head.kind != N::KIND {
        return Err(UpgradeError::NotAVersion {
            found: cell.head.kind,
            wanted: N::KIND,
        });
    }
    let (done, answer) = oneshot::channel();
    let upgrade = UpgradeTo::<N>::new(done);
    cell.send_control(Mail::Upgrade(Box::new(upgrade)))
        .map_err(|NoProc| UpgradeError::NoProc)?;
    match answer.await {
        Ok(answer) => answer.map(|()| Pid(cell)),
        Err(_) => Err(UpgradeError::Failed(AnyPid(cell).watch().await)),
    }
}

impl AnyPid {
    /// Its number.
    pub fn id(&self) -> ProcessId {
        self.0.head().id
    }

    /// What kind of process it is.
    pub fn kind(&self) -> &'static str {
        self.0.head().kind
    }

    /// The same process as a typed handle, if it fills the behaviour `S`.
    pub fn downcast<S: GenServer>(&self) -> Option<Pid<S>> {
        if self.kind() != S::KIND {
            return None;
        }
        let cell = self.0.clone().as_any().downcast::<CellOf<S>>().ok()?;
        Some(Pid(cell))
    }

    /// Tells whether it takes messages.
    pub fn is_alive(&self) -> bool {
        self.0.is_open()
    }

    /// See [`Pid::stop`].
    pub fn stop(&self, reason: ExitReason) {
        self.0.stop(reason);
    }

    /// See [`Pid::kill`].
    pub fn kill(&self) {
        self.0.kill();
    }

    /// See [`Pid::watch`].
    pub fn watch(&self) -> impl Future<Output = ExitReason> + Send + use<> {
        let waiter = self.0.head().waiter();
        async move {
            match waiter {
                Err(reason) => reason,
                // The sender is dropped unused only if the cell is: nobody is left to say why.
                Ok(waiter) => waiter.await.unwrap_or(ExitReason::NoProc),
            }
        }
    }

    /// Makes something go wrong in it.
    #[doc(hidden)]
    pub fn fault(&self, fault: Fault) {
        self.0.fault(fault);
    }
}

impl<S: GenServer> Clone for Pid<S> {
    fn clone(&self) -> Self {
        Pid(self.0.clone())
    }
}

impl<S: GenServer> PartialEq for Pid<S> {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl<S: GenServer> Eq for Pid<S> {}

impl<S: GenServer> Hash for Pid<S> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

impl<S: GenServer> fmt::Debug for Pid<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", S::KIND, self.id())
    }
}

impl PartialEq for AnyPid {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for AnyPid {}

impl Hash for AnyPid {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

impl fmt::Debug for AnyPid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind(), self.id())
    }
}
