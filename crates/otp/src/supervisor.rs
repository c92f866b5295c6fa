//! Supervisors: what is said about them and to them. What they do is in `sup_server`.

use std::any::Any;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::cell::Birth;
use crate::child::{ChildSpec, ChildType, Restart, Shutdown, Template};
use crate::exit::{CallError, ExitReason};
use crate::gen_server::GenServer;
use crate::pid::{AnyPid, Pid, UpgradeError};
use crate::registry::{Name, NameTaken};
use crate::run;
use crate::sup_server::{Ask, SupServer, Told};
use crate::system::System;

/// Who falls with a child that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Nobody.
    OneForOne,
    /// All its siblings.
    OneForAll,
    /// Those started after it.
    RestForOne,
}

/// A supervisor, declared: its children in start order, who falls with whom, and when it gives up.
#[derive(Clone)]
pub struct Supervisor {
    pub(crate) strategy: Strategy,
    pub(crate) intensity: u32,
    pub(crate) period: Duration,
    pub(crate) children: Vec<ChildSpec>,
    pub(crate) template: Option<Template>,
    pub(crate) stops_together: bool,
}

impl Supervisor {
    /// Declares a supervisor without children that gives up at the second restart within 5 s (OTP's default).
    pub fn new(strategy: Strategy) -> Supervisor {
        Supervisor {
            strategy,
            intensity: 1,
            period: Duration::from_secs(5),
            children: Vec::new(),
            template: None,
            stops_together: false,
        }
    }

    /// Declares a supervisor of many children of one kind, each started by [`SupPid::start_one`] with arguments of
    /// its own. They have no order: they are stopped all at once.
    pub fn simple_one_for_one<S: GenServer>(restart: Restart, shutdown: Shutdown) -> Supervisor {
        Supervisor {
            template: Some(Template::new::<S>(restart, shutdown)),
            ..Supervisor::new(Strategy::OneForOne)
        }
    }

    /// Says how many restarts within `period` it makes; at one more it stops its children and ends.
    pub fn intensity(mut self, restarts: u32, period: Duration) -> Supervisor {
        self.intensity = restarts;
        self.period = period;
        self
    }

    /// Its children have no order among them: they are stopped all at once, as those of a simple_one_for_one are.
    pub fn stop_together(mut self) -> Supervisor {
        self.stops_together = true;
        self
    }

    /// Adds a child, started after those before it and stopped before them.
    pub fn child(mut self, spec: ChildSpec) -> Supervisor {
        self.children.push(spec);
        self
    }

    /// Starts it as the root of a tree, with all its children.
    ///
    /// # Errors
    ///
    /// [`StartError`] if a child does not start; those before it are stopped again.
    pub async fn start(self, system: &System, id: &str) -> Result<SupPid, StartError> {
        let birth = Birth::alone(system, id);
        let pid = run::start::<SupServer>(birth, None, self).await?;
        Ok(SupPid(pid))
    }
}

/// Why a process did not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// Its `init` stopped, panicked or was killed.
    #[error("init ended with {0}")]
    Failed(ExitReason),
    /// Its `init` said [`Init::Ignore`](crate::Init::Ignore).
    #[error("init ignored the start")]
    Ignored,
    /// Its name belongs to another.
    #[error(transparent)]
    NameTaken(NameTaken),
}

/// Why a child was not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartChildError {
    /// A child of that id runs.
    #[error("already started as {0:?}")]
    AlreadyStarted(AnyPid),
    /// There is a child spec of that id, whose child does not run: restart or delete it.
    #[error("already present")]
    AlreadyPresent,
    /// It did not start; its spec is not kept.
    #[error(transparent)]
    Failed(StartError),
    /// It did not want to start; its spec is kept unless it is temporary.
    #[error("init ignored the start")]
    Ignored,
    /// A `simple_one_for_one` supervisor takes arguments ([`SupPid::start_one`]), all others take specs.
    #[error("not with this supervisor's strategy")]
    WrongStrategy,
    /// The children are restarted, but from these arguments only once: use [`SupPid::start_one_from`].
    #[error("arguments that cannot be made again")]
    NotRestartable,
    /// The supervisor did not answer.
    #[error("supervisor: {0}")]
    Supervisor(CallError),
}

/// Why something was not done with a child.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChildError {
    /// There is no such child.
    #[error("no such child")]
    NotFound,
    /// It runs.
    #[error("the child runs")]
    Running,
    /// The supervisor is about to restart it.
    #[error("the child is being restarted")]
    Restarting,
    /// A `simple_one_for_one` supervisor's children have no ids.
    #[error("not with this supervisor's strategy")]
    WrongStrategy,
    /// It did not start.
    #[error(transparent)]
    Start(StartError),
    /// It was not upgraded.
    #[error(transparent)]
    Upgrade(UpgradeError),
    /// The supervisor did not answer.
    #[error("supervisor: {0}")]
    Supervisor(CallError),
}

/// How a child is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildState {
    /// It runs.
    Running(AnyPid),
    /// Its last restart failed; the supervisor tries again.
    Restarting,
    /// It does not run, and will not by itself.
    Down,
}

/// One child of a supervisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildInfo {
    /// Its id; that of its process, with `simple_one_for_one`.
    pub id: String,
    /// How it is.
    pub state: ChildState,
    /// What it is.
    pub kind: ChildType,
    /// How often it was started again.
    pub restarts: u32,
    /// Why its last process ended.
    pub last_exit: Option<ExitReason>,
}

/// How many children a supervisor has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChildCount {
    /// Child specs; with `simple_one_for_one` the one.
    pub specs: usize,
    /// Children that run.
    pub active: usize,
    /// Children that are supervisors, running or not.
    pub supervisors: usize,
    /// Children that are workers, running or not.
    pub workers: usize,
}

/// A handle of a supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SupPid(Pid<SupServer>);

impl SupPid {
    pub(crate) fn new(pid: Pid<SupServer>) -> SupPid {
        SupPid(pid)
    }

    /// Asks and waits: as in OTP without limit, since a start takes what the child's `init` takes.
    async fn ask(&self, ask: Ask) -> Result<Told, CallError> {
        self.0.call(ask, Duration::MAX).await
    }

    /// Adds a child behind the others and starts it.
    ///
    /// # Errors
    ///
    /// [`StartChildError`].
    pub async fn start_child(&self, spec: ChildSpec) -> Result<AnyPid, StartChildError> {
        match self.ask(Ask::Start(Box::new(spec))).await {
            Ok(Told::Started(started)) => started,
            other => Err(StartChildError::Supervisor(astray(other))),
        }
    }

    /// Starts one more child of a `simple_one_for_one` supervisor. Arguments given so are used up: children that are
    /// restarted need [`SupPid::start_one_from`].
    ///
    /// # Errors
    ///
    /// [`StartChildError`].
    pub async fn start_one<S: GenServer>(&self, args: S::Args) -> Result<Pid<S>, StartChildError> {
        self.start_dynamic::<S>(Ask::StartOne(S::KIND, Box::new(args)))
            .await
    }

    /// As [`SupPid::start_one`], with arguments that are made anew at each restart.
    ///
    /// # Errors
    ///
    /// [`StartChildError`].
    pub async fn start_one_from<S: GenServer>(
        &self,
        args: impl Fn() -> S::Args + Send + Sync + 'static,
    ) -> Result<Pid<S>, StartChildError> {
        let remake = move || -> Box<dyn Any + Send> { Box::new(args()) };
        self.start_dynamic::<S>(Ask::StartOneFrom(S::KIND, Arc::new(remake)))
            .await
    }

    async fn start_dynamic<S: GenServer>(&self, ask: Ask) -> Result<Pid<S>, StartChildError> {
        match self.ask(ask).await {
            Ok(Told::Started(Ok(pid))) => Ok(pid
                .downcast()
                .expect("a supervisor of one kind starts that kind")),
            Ok(Told::Started(Err(error))) => Err(error),
            other => Err(StartChildError::Supervisor(astray(other))),
        }
    }

    /// Stops a child and waits until it has ended; its spec stays, unless it is temporary. One that does not run
    /// is no error.
    ///
    /// # Errors
    ///
    /// [`ChildError::NotFound`], [`ChildError::WrongStrategy`].
    pub async fn terminate_child(&self, id: &str) -> Result<(), ChildError> {
        self.done(Ask::Terminate(id.to_owned())).await
    }

    /// Stops a child of a `simple_one_for_one` supervisor and waits until it has ended.
    ///
    /// # Errors
    ///
    /// [`ChildError::NotFound`], [`ChildError::WrongStrategy`].
    pub async fn terminate_one(&self, child: &AnyPid) -> Result<(), ChildError> {
        self.done(Ask::TerminateOne(child.id())).await
    }

    /// Starts a child again that does not run.
    ///
    /// # Errors
    ///
    /// [`ChildError`]; if its `init` fails or ignores, it stays down.
    pub async fn restart_child(&self, id: &str) -> Result<AnyPid, ChildError> {
        match self.ask(Ask::Restart(id.to_owned())).await {
            Ok(Told::Restarted(restarted)) => restarted,
            other => Err(ChildError::Supervisor(astray(other))),
        }
    }

    /// Forgets the spec of a child that does not run.
    ///
    /// # Errors
    ///
    /// [`ChildError::NotFound`], [`ChildError::Running`], [`ChildError::Restarting`],
    /// [`ChildError::WrongStrategy`].
    pub async fn delete_child(&self, id: &str) -> Result<(), ChildError> {
        self.done(Ask::Delete(id.to_owned())).await
    }

    /// Makes `spec` the spec of the child of that id and, if it runs, upgrades its process in place within
    /// `within`: name, mailbox, monitors and the entry here live on, its state passes through the new version's
    /// [`code_change`](GenServer::code_change). Later restarts start the new version.
    ///
    /// # Errors
    ///
    /// [`ChildError::NotFound`], or [`ChildError::Upgrade`]: then the old spec stays.
    pub async fn upgrade_child(&self, spec: ChildSpec, within: Duration) -> Result<(), ChildError> {
        self.done(Ask::Upgrade(Box::new(spec), within)).await
    }

    /// Upgrades all children of a `simple_one_for_one` supervisor to the version `S`, each within `within`, and
    /// starts that version from now on. Gives those that were not upgraded, and why.
    ///
    /// # Errors
    ///
    /// [`ChildError::WrongStrategy`], or [`ChildError::Upgrade`] if `S` is another kind of process.
    pub async fn upgrade_ones<S: GenServer>(
        &self,
        within: Duration,
    ) -> Result<Vec<(AnyPid, UpgradeError)>, ChildError> {
        let template = Template::new::<S>(Restart::Temporary, Shutdown::BrutalKill);
        match self.ask(Ask::UpgradeOnes(template, within)).await {
            Ok(Told::Upgraded(upgraded)) => upgraded,
            other => Err(ChildError::Supervisor(astray(other))),
        }
    }

    /// Its children in start order.
    ///
    /// # Errors
    ///
    /// [`CallError`] if the supervisor is gone.
    pub async fn which_children(&self) -> Result<Vec<ChildInfo>, CallError> {
        match self.ask(Ask::Which).await {
            Ok(Told::Children(children)) => Ok(children),
            other => Err(astray(other)),
        }
    }

    /// How many children it has.
    ///
    /// # Errors
    ///
    /// [`CallError`] if the supervisor is gone.
    pub async fn count_children(&self) -> Result<ChildCount, CallError> {
        match self.ask(Ask::Count).await {
            Ok(Told::Count(count)) => Ok(count),
            other => Err(astray(other)),
        }
    }

    /// Stops it: its children in reverse order, each waited for; then it. Returns when it has ended.
    pub async fn stop(&self) {
        let gone = self.watch();
        self.0.stop(ExitReason::Shutdown);
        gone.await;
    }

    /// Waits for its end, which is told when all its children have ended, too.
    pub fn watch(&self) -> impl Future<Output = ExitReason> + Send + use<> {
        self.0.watch()
    }

    /// Tells whether it takes messages.
    pub fn is_alive(&self) -> bool {
        self.0.is_alive()
    }

    /// The supervisor as a process.
    pub fn any(&self) -> AnyPid {
        self.0.any()
    }

    /// Gives it a name in the registry; a supervisor below has its name from
    /// [`ChildSpec::registered`](crate::ChildSpec::registered).
    ///
    /// # Errors
    ///
    /// [`NameTaken`].
    pub fn register(&self, name: &Name) -> Result<(), NameTaken> {
        let system = &self.0.cell().head.born.system;
        system.registry().register(name, &self.0)
    }

    async fn done(&self, ask: Ask) -> Result<(), ChildError> {
        match self.ask(ask).await {
            Ok(Told::Done(done)) => done,
            other => Err(ChildError::Supervisor(astray(other))),
        }
    }
}

/// What went wrong with an answer that is not of the question's kind.
fn astray(told: Result<Told, CallError>) -> CallError {
    told.err().unwrap_or(CallError::NoReply)
}
