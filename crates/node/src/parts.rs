//! A handle to a running server.

use std::fmt;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use admin::{CommandError, Commands};
use auth::Auth;
use config::{Described, Section};
use futures_util::future::BoxFuture;
use gen_mod::{Catalog, Host};
use otp::{Instant, System};
use router::Router;
use session::Sessions;
use storage::Storage;
use xmpp::BareJid;

use crate::hosts::HostTable;

/// What is kept of a hot change to a module, laid over the configuration file.
pub enum Keep<'a> {
    /// It runs, with these options over the file's.
    Started(&'a Section),
    /// It does not run.
    Stopped,
    /// What the file says holds again.
    Nothing,
}

/// What a module's configuration says: its options, and whether it is to run.
pub struct Configured {
    /// The options of the file, of the host over those for every host, and of what is kept.
    pub section: Section,
    /// Whether it is to run on the host.
    pub enabled: bool,
}

/// What only the binary can do: the configuration file, and the program's own end.
pub trait Steering: Send + Sync + 'static {
    /// What is configured for a module on a host, what is kept laid over the file.
    fn module(&self, host: &str, module: &str) -> Configured;

    /// Keeps a hot change over a restart.
    ///
    /// # Errors
    ///
    /// In words: it could not be written; what was kept before still is.
    fn keep(&self, host: &str, module: &str, change: Keep<'_>) -> Result<(), String>;

    /// The configuration as it holds, each value with its origin when asked.
    fn show(&self, origin: bool) -> String;

    /// The tables of the configuration file, for its reference page.
    fn described(&self) -> Vec<Described>;

    /// Reads the configuration anew and applies it; what was changed, one line each. With `only_plan` nothing
    /// is changed: the lines say what would be.
    ///
    /// # Errors
    ///
    /// In words, one fault a line: everything is as before.
    fn reload(&self, only_plan: bool) -> BoxFuture<'static, Result<Vec<String>, String>>;

    /// Begins to serve a host, or serves it no more, and keeps that over a restart where `keep` says so; what
    /// was changed, one line each.
    ///
    /// # Errors
    ///
    /// In words: everything is as before, except where the text says that it is done and not kept.
    fn serve(
        &self,
        host: &str,
        served: bool,
        keep: bool,
    ) -> BoxFuture<'static, Result<Vec<String>, String>>;

    /// Copies what is kept outside of the database into the folder of a backup; what was copied.
    ///
    /// # Errors
    ///
    /// In words: a file that could not be copied.
    fn copy_out(&self, folder: &Path) -> Result<Vec<String>, String>;

    /// Puts what a backup holds beside the database in the place of what is there, which is saved beside it, and
    /// makes the server what it says; what was done, one line each.
    ///
    /// # Errors
    ///
    /// In words: a file that could not be copied, or why the server stays as it is.
    fn copy_in(&self, folder: &Path) -> BoxFuture<'static, Result<Vec<String>, String>>;

    /// Begins the orderly end of the program.
    fn stop(&self);

    /// Begins the orderly end of the program, after which it starts anew as it was started.
    fn restart(&self);
}

/// A handle to a running server; cheap to clone.
#[derive(Clone)]
pub struct Node(Arc<NodeParts>);

/// What a running server is made of.
pub struct NodeParts {
    /// Its processes, clock and names.
    pub system: System,
    /// When it was started.
    pub started: Instant,
    /// Its version.
    pub version: &'static str,
    /// Its commands.
    pub commands: Commands,
    /// What survives a restart.
    pub storage: Storage,
    /// Routes, hooks and IQ tables.
    pub router: Router,
    /// Accounts.
    pub auth: Auth,
    /// Clients.
    pub sessions: Sessions,
    /// Its hosts, by domain.
    pub hosts: HostTable,
    /// All modules there are.
    pub catalog: Catalog,
    /// What only the binary can do.
    pub steering: Arc<dyn Steering>,
}

impl Node {
    /// A handle to these parts.
    #[must_use]
    pub fn new(parts: NodeParts) -> Node {
        Node(Arc::new(parts))
    }

    /// The host of that domain.
    ///
    /// # Errors
    ///
    /// There is none; the text suggests the one probably meant.
    pub fn host(&self, name: &str) -> Result<Host, CommandError> {
        if let Some(host) = self.hosts.get(name) {
            return Ok(host);
        }
        let all = self.hosts.all();
        let nearest = config::nearest(name, all.keys().map(String::as_str));
        let hint = nearest
            .map(|host| format!("; did you mean `{host}`?"))
            .unwrap_or_default();
        Err(CommandError::failed(format!("unknown host `{name}`{hint}")))
    }

    /// The address of an account of one of the hosts; it need not exist.
    ///
    /// # Errors
    ///
    /// The host is unknown, or the name cannot be one.
    pub fn account(&self, user: &str, host: &str) -> Result<BareJid, CommandError> {
        let host = self.host(host)?;
        let jid = xmpp::parse_bare(&format!("{user}@{}", host.name));
        match jid {
            Ok(jid) if jid.node().is_some() && jid.domain().as_str() == &*host.name => Ok(jid),
            Ok(_) => Err(CommandError::failed(format!(
                "`{user}` is not the name of an account"
            ))),
            Err(error) => Err(CommandError::failed(format!(
                "`{user}` is not the name of an account: {error}"
            ))),
        }
    }
}

impl Deref for Node {
    type Target = NodeParts;

    fn deref(&self) -> &NodeParts {
        &self.0
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({})", self.system.name())
    }
}

/// Tells a store's failure to whoever gave the command.
pub(crate) fn store(error: impl fmt::Display) -> CommandError {
    CommandError::failed(format!("the store failed: {error}"))
}
