//! Child specs: how a child starts, stops and returns.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::cell::{Birth, CellOf};
use crate::clock::Clock;
use crate::exit::ExitReason;
use crate::gen_server::GenServer;
use crate::pid::{AnyPid, UpgradeError, upgrade};
use crate::registry::Name;
use crate::run::{panic_text, start};
use crate::sup_server::SupServer;
use crate::supervisor::{StartError, Supervisor};

/// How long a worker may take to terminate, unless its spec says otherwise.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// When a child that ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// Always.
    Permanent,
    /// When it ended otherwise than `Normal` or `Shutdown`.
    Transient,
    /// Never; its spec goes with it.
    Temporary,
}

/// How a child is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// It is killed.
    BrutalKill,
    /// It is told to stop, and killed if it has not ended by then.
    Timeout(Duration),
    /// It is told to stop, and waited for.
    Infinity,
}

/// What a child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildType {
    /// A process that works.
    Worker,
    /// A supervisor.
    Supervisor,
}

type Starting = BoxFuture<'static, Result<AnyPid, StartError>>;
type Start = Arc<dyn Fn(Birth, Option<&Name>) -> Starting + Send + Sync>;
type Upgrading = BoxFuture<'static, Result<(), UpgradeError>>;

/// How a child starts, stops and returns: OTP's child specification.
#[derive(Clone)]
pub struct ChildSpec {
    pub(crate) id: String,
    pub(crate) restart: Restart,
    pub(crate) shutdown: Shutdown,
    pub(crate) kind: ChildType,
    name: Option<Name>,
    start: Start,
    upgrade: fn(&AnyPid) -> Upgrading,
}

impl ChildSpec {
    /// A worker of the behaviour `S`, permanent, with 5 s to terminate. `args` makes its arguments at each start.
    pub fn worker<S: GenServer>(
        id: impl Into<String>,
        args: impl Fn() -> S::Args + Send + Sync + 'static,
    ) -> ChildSpec {
        ChildSpec {
            id: id.into(),
            restart: Restart::Permanent,
            shutdown: Shutdown::Timeout(SHUTDOWN),
            kind: ChildType::Worker,
            name: None,
            start: starter::<S>(args),
            upgrade: upgrade_any::<S>,
        }
    }

    /// A supervisor, permanent, waited for without limit as OTP advises. `make` declares it at each start.
    pub fn supervisor(
        id: impl Into<String>,
        make: impl Fn() -> Supervisor + Send + Sync + 'static,
    ) -> ChildSpec {
        ChildSpec {
            id: id.into(),
            restart: Restart::Permanent,
            shutdown: Shutdown::Infinity,
            kind: ChildType::Supervisor,
            name: None,
            start: starter::<SupServer>(make),
            upgrade: upgrade_any::<SupServer>,
        }
    }

    /// Says when it is started again.
    pub fn restart(mut self, restart: Restart) -> ChildSpec {
        self.restart = restart;
        self
    }

    /// Says how it is stopped.
    pub fn shutdown(mut self, shutdown: Shutdown) -> ChildSpec {
        self.shutdown = shutdown;
        self
    }

    /// Gives it a name in the registry, from before its `init` to its end.
    pub fn registered(mut self, name: Name) -> ChildSpec {
        self.name = Some(name);
        self
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn start(&self, birth: Birth) -> Starting {
        (self.start)(birth, self.name.as_ref())
    }

    pub(crate) fn upgrade(&self, child: &AnyPid) -> Upgrading {
        (self.upgrade)(child)
    }
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSpec")
            .field("id", &self.id)
            .field("restart", &self.restart)
            .field("shutdown", &self.shutdown)
            .field("kind", &self.kind)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

fn starter<S: GenServer>(args: impl Fn() -> S::Args + Send + Sync + 'static) -> Start {
    Arc::new(move |birth, name| {
        // Arguments that cannot be made are the child's failure, not the supervisor's.
        match catch_unwind(AssertUnwindSafe(&args)) {
            Ok(args) => {
                let name = name.cloned();
                async move {
                    let pid = start::<S>(birth, name.as_ref(), args).await?;
                    Ok(pid.any())
                }
                .boxed()
            }
            Err(panic) => {
                let reason = ExitReason::Panic(panic_text(&*panic));
                std::future::ready(Err(StartError::Failed(reason))).boxed()
            }
        }
    })
}

fn upgrade_any<S: GenServer>(child: &AnyPid) -> Upgrading {
    let found = child.kind();
    match child.0.clone().as_any().downcast::<CellOf<S>>() {
        Ok(cell) => upgrade::<S>(cell).map(|done| done.map(drop)).boxed(),
        Err(_) => std::future::ready(Err(UpgradeError::NotAVersion {
            found,
            wanted: S::KIND,
        }))
        .boxed(),
    }
}

/// What makes the arguments of a dynamic child again.
pub(crate) type Remake = Arc<dyn Fn() -> Box<dyn Any + Send> + Send + Sync>;

type StartOne = fn(Birth, Box<dyn Any + Send>) -> Starting;

/// The one child spec of a `simple_one_for_one` supervisor.
#[derive(Clone, Copy)]
pub(crate) struct Template {
    pub(crate) kind: &'static str,
    pub(crate) restart: Restart,
    pub(crate) shutdown: Shutdown,
    pub(crate) start: StartOne,
    pub(crate) upgrade: fn(&AnyPid) -> Upgrading,
}

impl Template {
    pub(crate) fn new<S: GenServer>(restart: Restart, shutdown: Shutdown) -> Template {
        Template {
            kind: S::KIND,
            restart,
            shutdown,
            upgrade: upgrade_any::<S>,
            start: |birth, args| {
                async move {
                    let Ok(args) = args.downcast::<S::Args>() else {
                        let why = format!("these are not the arguments of a {}", S::KIND);
                        return Err(StartError::Failed(ExitReason::error(why)));
                    };
                    Ok(start::<S>(birth, None, *args).await?.any())
                }
                .boxed()
            },
        }
    }
}

/// Stops a child as its spec says, and waits until it has ended.
pub(crate) async fn shut_down(pid: &AnyPid, how: Shutdown, clock: &Clock) {
    let gone = pid.watch();
    match how {
        Shutdown::BrutalKill => pid.kill(),
        Shutdown::Infinity => pid.stop(ExitReason::Shutdown),
        Shutdown::Timeout(within) => {
            pid.stop(ExitReason::Shutdown);
            let mut gone = std::pin::pin!(gone);
            if clock.timeout(within, gone.as_mut()).await.is_ok() {
                return;
            }
            tracing::warn!(target: "natter::otp", process = %pid.id(), kind = pid.kind(), ?within, "child did not stop in time");
            pid.kill();
            gone.await;
            return;
        }
    }
    gone.await;
}
