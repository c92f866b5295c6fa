//! Names of processes, local to one server: OTP's `register`, `whereis` and `get_module_proc`.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;
use parking_lot::RwLock;
use tokio::sync::Notify;

use crate::cell::{AnyCell, CellOf};
use crate::exit::{CallError, NoProc, ProcessId};
use crate::gen_server::GenServer;
use crate::pid::{AnyPid, Pid};
use crate::sup_server::SupServer;
use crate::supervisor::SupPid;

/// A name: what kind of process, and which of them; a module's is its own name and its host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    /// What kind of process: `router`, `mod_echo`.
    pub kind: &'static str,
    /// Which of them: a host; empty where there is only one.
    pub key: String,
}

impl Name {
    /// Makes the name of the `kind` process for `key`.
    pub fn new(kind: &'static str, key: impl Into<String>) -> Name {
        Name {
            kind,
            key: key.into(),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            f.write_str(self.kind)
        } else {
            write!(f, "{}/{}", self.kind, self.key)
        }
    }
}

/// The name belongs to a living process, or the process to be named is dead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("name {name} is taken")]
pub struct NameTaken {
    /// The name asked for.
    pub name: Name,
    /// Who has it; the asker itself if that is dead.
    pub by: ProcessId,
}

/// The names of one server's processes. Reading takes no message and waits for nobody.
#[derive(Clone, Default)]
pub struct Registry(Arc<Names>);

#[derive(Default)]
struct Names {
    owners: RwLock<AHashMap<Name, Arc<dyn AnyCell>>>,
    /// Told when a name is given.
    given: Notify,
}

impl Registry {
    /// Finds the process of that name, if it lives and fills the behaviour `S`.
    pub fn whereis<S: GenServer>(&self, name: &Name) -> Option<Pid<S>> {
        let cell = self.0.owners.read().get(name)?.clone();
        if cell.head().kind != S::KIND {
            return None;
        }
        cell.as_any().downcast::<CellOf<S>>().ok().map(Pid::new)
    }

    /// Finds the process of that name, whatever it is.
    pub fn whereis_any(&self, name: &Name) -> Option<AnyPid> {
        self.0.owners.read().get(name).cloned().map(AnyPid)
    }

    /// Finds the supervisor of that name.
    pub fn supervisor(&self, name: &Name) -> Option<SupPid> {
        self.whereis::<SupServer>(name).map(SupPid::new)
    }

    /// Gives `name` to `pid` until it ends or is [unregistered](Registry::unregister).
    ///
    /// # Errors
    ///
    /// [`NameTaken`] if another living process has it, or if `pid` has ended.
    pub fn register<S: GenServer>(&self, name: &Name, pid: &Pid<S>) -> Result<(), NameTaken> {
        self.put(name, pid.any().0)
    }

    /// Frees `name`; tells whether anybody had it.
    pub fn unregister(&self, name: &Name) -> bool {
        let Some(cell) = self.0.owners.write().remove(name) else {
            return false;
        };
        cell.head().remove_name(name);
        true
    }

    /// A handle that looks `name` up at each use, so that it outlives restarts.
    pub fn named<S: GenServer>(&self, name: Name) -> Named<S> {
        Named {
            registry: self.clone(),
            name,
            server: PhantomData,
        }
    }

    /// All names and who has them, sorted.
    pub fn names(&self) -> Vec<(Name, AnyPid)> {
        let mut names: Vec<_> = self
            .0
            .owners
            .read()
            .iter()
            .map(|(name, cell)| (name.clone(), AnyPid(cell.clone())))
            .collect();
        names.sort_by(|a, b| a.0.cmp(&b.0));
        names
    }

    pub(crate) fn put(&self, name: &Name, cell: Arc<dyn AnyCell>) -> Result<(), NameTaken> {
        let mut names = self.0.owners.write();
        if let Some(owner) = names.get(name) {
            return Err(NameTaken {
                name: name.clone(),
                by: owner.head().id,
            });
        }
        let by = cell.head().id;
        // The cell's lock is taken inside ours; `free` is called with neither held.
        if !cell.head().add_name(name.clone()) {
            return Err(NameTaken {
                name: name.clone(),
                by,
            });
        }
        names.insert(name.clone(), cell);
        drop(names);
        self.0.given.notify_waiters();
        Ok(())
    }

    pub(crate) fn free(&self, name: &Name, owner: ProcessId) {
        let mut names = self.0.owners.write();
        if names.get(name).is_some_and(|cell| cell.head().id == owner) {
            names.remove(name);
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.names().iter().map(|(name, pid)| (name, pid.id())))
            .finish()
    }
}

/// A process known by its name: each use looks up who has it now.
pub struct Named<S: GenServer> {
    registry: Registry,
    name: Name,
    server: PhantomData<fn() -> S>,
}

impl<S: GenServer> Clone for Named<S> {
    fn clone(&self) -> Self {
        self.registry.named(self.name.clone())
    }
}

impl<S: GenServer> fmt::Debug for Named<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Named({})", self.name)
    }
}

impl<S: GenServer> Named<S> {
    /// The name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Who has the name now.
    pub fn pid(&self) -> Option<Pid<S>> {
        self.registry.whereis(&self.name)
    }

    /// Waits until somebody has the name, such as while its process is restarted. Set a deadline.
    pub async fn up(&self) -> Pid<S> {
        loop {
            let given = self.registry.0.given.notified();
            match self.pid() {
                Some(pid) if pid.is_alive() => return pid,
                _ => given.await,
            }
        }
    }

    /// Asks whoever has the name now; see [`Pid::call`].
    ///
    /// # Errors
    ///
    /// [`CallError::NoProc`] if nobody has it, else those of [`Pid::call`].
    pub async fn call(&self, request: S::Call, within: Duration) -> Result<S::Reply, CallError> {
        let pid = self.pid().ok_or(CallError::NoProc)?;
        pid.call(request, within).await
    }

    /// Tells whoever has the name now; see [`Pid::cast`].
    ///
    /// # Errors
    ///
    /// [`NoProc`] if nobody has it.
    pub fn cast(&self, message: S::Cast) -> Result<(), NoProc> {
        self.pid().ok_or(NoProc)?.cast(message)
    }

    /// Tells whoever has the name now, before all that is queued; see [`Pid::control`].
    ///
    /// # Errors
    ///
    /// [`NoProc`] if nobody has it.
    pub fn control(&self, message: S::Cast) -> Result<(), NoProc> {
        self.pid().ok_or(NoProc)?.control(message)
    }

    /// Sends `message` to whoever has the name now; see [`Pid::info`].
    ///
    /// # Errors
    ///
    /// [`NoProc`] if nobody has it.
    pub fn info(&self, message: S::Info) -> Result<(), NoProc> {
        self.pid().ok_or(NoProc)?.info(message)
    }
}
