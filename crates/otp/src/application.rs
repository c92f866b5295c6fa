//! A whole tree, started and stopped as one: OTP's `application`.

use std::future::Future;
use std::time::Duration;

use crate::clock::Elapsed;
use crate::exit::ExitReason;
use crate::observe::TreeNode;
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
            let id = self.root.any().id();
            let mut left = self.system.observe().tree();
            left.retain(|node| node.id == id);
            self.kill(&left);
        }
        stopped
    }

    /// Kills a supervisor before its children, so that it starts none of them again.
    fn kill(&self, nodes: &[TreeNode]) {
        for node in nodes {
            if let Some(process) = self.system.observe().process(node.id) {
                process.kill();
            }
            self.kill(&node.children);
        }
    }

    /// Waits for the end of the tree: [`ExitReason::Shutdown`] after [`App::stop`], and also when the root gave up.
    pub fn watch(&self) -> impl Future<Output = ExitReason> + Send + use<> {
        self.root.watch()
    }
}
