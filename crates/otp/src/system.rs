//! One server's world: its name, clock, registry and processes. Two of them share nothing.

use std::fmt;
use std::sync::Arc;

use crate::cell::Birth;
use crate::clock::{Clock, Instant};
use crate::gen_server::GenServer;
use crate::observe::Observe;
use crate::pid::Pid;
use crate::registry::{Name, Registry};
use crate::run;
use crate::supervisor::StartError;

struct Inner {
    name: String,
    clock: Clock,
    started: Instant,
    registry: Registry,
    observe: Observe,
}

/// One server's world; a cheap clone of the same world.
#[derive(Clone)]
pub struct System(Arc<Inner>);

impl System {
    /// Makes a world without processes.
    pub fn new(name: &str, clock: Clock) -> System {
        System(Arc::new(Inner {
            name: name.to_owned(),
            observe: Observe::new(clock.clone()),
            started: clock.now(),
            clock,
            registry: Registry::default(),
        }))
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its time.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// When it was made.
    pub fn started(&self) -> Instant {
        self.0.started
    }

    /// The names of its processes.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// The view of its processes.
    pub fn observe(&self) -> &Observe {
        &self.0.observe
    }

    /// Starts a process without a supervisor, and waits for its `init`: for tests and tools.
    ///
    /// # Errors
    ///
    /// [`StartError`] as `init` says, or if `name` is taken.
    pub async fn start<S: GenServer>(
        &self,
        name: Option<&Name>,
        args: S::Args,
    ) -> Result<Pid<S>, StartError> {
        let shown = name.map_or_else(|| S::KIND.to_owned(), Name::to_string);
        run::start::<S>(Birth::alone(self, &shown), name, args).await
    }
}

impl Birth {
    /// The birth of a process without a supervisor.
    pub(crate) fn alone(system: &System, name: &str) -> Birth {
        Birth {
            system: system.clone(),
            name: name.into(),
            parent: None,
            order: 0,
            restarts: 0,
            last_exit: None,
        }
    }
}

impl fmt::Debug for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "System({})", self.0.name)
    }
}
