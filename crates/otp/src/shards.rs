//! Many children of one kind, spread over several supervisors, so that none owns them all.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::child::{ChildSpec, Restart, Shutdown};
use crate::exit::CallError;
use crate::gen_server::GenServer;
use crate::pid::Pid;
use crate::registry::Name;
use crate::supervisor::{StartChildError, Strategy, Supervisor};
use crate::system::System;

/// A number of `simple_one_for_one` supervisors under one; children go to them in turn.
#[derive(Clone)]
pub struct Shards {
    system: System,
    names: Arc<[Name]>,
    turn: Arc<AtomicUsize>,
}

impl Shards {
    /// Names `number` shards (at least one): `kind/0`, `kind/1`, …
    pub fn new(system: &System, kind: &'static str, number: usize) -> Shards {
        Shards {
            system: system.clone(),
            names: (0..number.max(1))
                .map(|shard| Name::new(kind, shard.to_string()))
                .collect(),
            turn: Arc::default(),
        }
    }

    /// Declares the supervisor above the shards. A shard that gives up is started again by it, empty; the others
    /// go on. `restarts` within `period` is the intensity of each.
    pub fn supervisor<S: GenServer>(
        &self,
        restart: Restart,
        shutdown: Shutdown,
        restarts: u32,
        period: Duration,
    ) -> Supervisor {
        let top = Supervisor::new(Strategy::OneForOne)
            .intensity(restarts, period)
            .stop_together();
        self.names.iter().fold(top, |top, name| {
            let shard = move || {
                Supervisor::simple_one_for_one::<S>(restart, shutdown).intensity(restarts, period)
            };
            top.child(ChildSpec::supervisor(name.to_string(), shard).registered(name.clone()))
        })
    }

    /// Starts a child in the next shard.
    ///
    /// # Errors
    ///
    /// Those of [`SupPid::start_one`](crate::SupPid::start_one); [`StartChildError::Supervisor`] also while that
    /// shard is being restarted.
    pub async fn start_one<S: GenServer>(&self, args: S::Args) -> Result<Pid<S>, StartChildError> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let name = &self.names[turn % self.names.len()];
        let Some(shard) = self.system.registry().supervisor(name) else {
            return Err(StartChildError::Supervisor(CallError::NoProc));
        };
        shard.start_one::<S>(args).await
    }

    /// How many shards there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Never: there is at least one shard.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

impl fmt::Debug for Shards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shards({} of {})", self.names.len(), self.names[0].kind)
    }
}
