//! A whole tree, started and stopped as one: OTP's `application`.

use std::future::Future;
use std::time::Duration;

use crate::clock::Elapsed;
use crate::exit::ExitReason;
use crate::supervisor::{StartError, SupPid, Supervisor};
use crate::system::System;

/// A started tree.
#[derive(Clone, Debug)]
pub struct App {
    system: System,
    root: SupPid,
}

impl App {
    /// Starts `root` and all below it, in order.
    ///
    /// # Errors
    ///
    /// [`StartError`] if any of it does not start; what was started is stopped again, in reverse order.
    pub async fn start(root: Supervisor, system: &System, id: &str) -> Result<App, StartError> {
        Ok(App {
            system: system.clone(),
            root: root.start(system, id).await?,
        })
    }

    /// The root supervisor.
    pub fn root(&self) -> &SupPid {
        &self.root
    }

    /// The world it lives in.
    pub fn system(&self) -> &System {
        &self.system
    }

    /// Stops all of it in reverse start order, each waited for as its spec says, the whole for at most `within`.
    ///
    /// # Errors
    ///
    /// [`Elapsed`] if the tree had not ended by then: every process that was left has been killed.
    pub async fn stop(&self, within: Duration) -> Result<(), Elapsed> {
        let stopped = self.system.clock().timeout(within, self.root.stop()).await;
        if stopped.is_err() {
            // From the leaves up: nobody is restarted, since the supervisors are stopping or hang.
            for process in self.system.observe().processes().iter().rev() {
                process.kill();
            }
        }
        stopped
    }

    /// Waits for the end of the tree: [`ExitReason::Shutdown`] after [`App::stop`], and also when the root gave up.
    pub fn watch(&self) -> impl Future<Output = ExitReason> + Send + use<> {
        self.root.watch()
    }
}
