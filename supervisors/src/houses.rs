//! The hosts of a running server: how one begins and how one ends.
//!
//! The hosts' supervisor reads the list when it starts; reloads begin and end single ones.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use admin::Commands;
use auth::Auth;
use futures_util::future::join_all;
use gen_mod::{Catalog, Host, HostParts, ModuleTable, Services};
use node::HostTable;
use otp::{Name, SupPid, System};
use parking_lot::Mutex;
use router::Router;
use session::Sessions;
use storage::Storage;
use xmpp::StreamCondition;

use crate::settings::Loaded;
use crate::tree::HostBranch;

/// How long the sessions of a host that ends may take to end.
const SESSIONS_END: Duration = Duration::from_secs(20);

/// The name of the hosts' supervisor.
pub(crate) fn hosts_sup_name() -> Name {
    Name::new("hosts_sup", "")
}

/// What every host of a server is made of.
pub(crate) struct HouseParts {
    pub(crate) system: System,
    pub(crate) storage: Storage,
    pub(crate) router: Router,
    pub(crate) auth: Auth,
    pub(crate) sessions: Sessions,
    pub(crate) commands: Commands,
    pub(crate) services: Services,
    pub(crate) catalog: Catalog,
}

/// All hosts. Clones are the same.
#[derive(Clone)]
pub(crate) struct Houses(Arc<Inner>);

struct Inner {
    parts: HouseParts,
    table: HostTable,
    branches: Mutex<BTreeMap<String, HostBranch>>,
}

impl Houses {
    pub(crate) fn new(parts: HouseParts) -> Houses {
        Houses(Arc::new(Inner {
            parts,
            table: HostTable::default(),
            branches: Mutex::default(),
        }))
    }

    /// The hosts, as everybody sees them.
    pub(crate) fn table(&self) -> &HostTable {
        &self.0.table
    }

    /// Enters all hosts of a server that starts.
    pub(crate) fn enter(&self, loaded: &Loaded) {
        let branches: BTreeMap<String, HostBranch> = loaded
            .hosts
            .iter()
            .map(|name| (name.clone(), self.branch(name, loaded)))
            .collect();
        self.0
            .table
            .insert(branches.values().map(|branch| branch.host.clone()));
        *self.0.branches.lock() = branches;
    }

    /// The subtrees of all hosts, for their supervisor.
    pub(crate) fn branches(&self) -> Vec<HostBranch> {
        self.0.branches.lock().values().cloned().collect()
    }

    fn branch(&self, name: &str, loaded: &Loaded) -> HostBranch {
        let parts = &self.0.parts;
        let host = Host::new(HostParts {
            name: name.into(),
            storage: parts.storage.clone(),
            router: parts.router.clone(),
            clock: parts.system.clock().clone(),
            system: parts.system.clone(),
            commands: parts.commands.clone(),
            services: parts.services.clone(),
            modules: ModuleTable::default(),
        });
        HostBranch {
            host,
            sessions: parts.sessions.clone(),
            catalog: parts.catalog,
            wanted: Arc::new(loaded.wanted(name, parts.catalog)),
        }
    }

    /// Begins a host with the modules it is to run.
    ///
    /// # Errors
    ///
    /// In words: something of it did not start; nothing of it is left.
    pub(crate) async fn begin(&self, name: &str, loaded: &Loaded) -> Result<(), String> {
        let branch = self.branch(name, loaded);
        let started = self.supervisor()?.start_child(branch.child_spec()).await;
        if let Err(error) = started {
            self.release(&branch.host).await;
            return Err(format!("host {name} does not start: {error}"));
        }
        if let Err(error) = self.0.parts.auth.survey(name).await {
            tracing::warn!(target: "natter::auth", host = name, %error, "mechanisms on offer not reviewed");
        }
        self.0.table.insert([branch.host.clone()]);
        self.0.branches.lock().insert(name.to_owned(), branch);
        tracing::info!(target: "natter::node", host = name, "host begins");
        Ok(())
    }

    /// Ends a host: nobody logs in there any more, its sessions end, then its services, and its domains are
    /// nobody's. What is stored stays.
    ///
    /// # Errors
    ///
    /// In words: its processes did not stop.
    pub(crate) async fn end(&self, name: &str) -> Result<(), String> {
        self.0.table.remove(name);
        let Some(branch) = self.0.branches.lock().remove(name) else {
            return Ok(());
        };
        self.end_sessions(name).await;
        let failed = |error: otp::ChildError| format!("host {name} does not end: {error}");
        let sup = self.supervisor()?;
        sup.terminate_child(name).await.map_err(failed)?;
        sup.delete_child(name).await.map_err(failed)?;
        self.release(&branch.host).await;
        tracing::info!(target: "natter::node", host = name, "host ended");
        Ok(())
    }

    /// Ends the sessions of a host and waits for them (RFC 6120 §4.9.3.5).
    async fn end_sessions(&self, name: &str) {
        let sessions = &self.0.parts.sessions;
        let mut there = sessions.table.all();
        there.retain(|entry| entry.jid.domain().as_str() == name);
        let ends = there.iter().map(|entry| entry.pid.any().watch());
        let ends = join_all(ends.collect::<Vec<_>>());
        let gone = StreamCondition::HostGone.text("not served here any more");
        for entry in &there {
            // Gone already: as wanted.
            let _ = sessions.kick(&entry.jid, gone.clone());
        }
        let clock = self.0.parts.system.clock();
        if clock.timeout(SESSIONS_END, ends).await.is_err() {
            tracing::warn!(target: "natter::node", host = name, "sessions did not end in time");
        }
    }

    /// Gives back the domains that a host and its modules had reserved.
    async fn release(&self, host: &Host) {
        let mut domains = host.modules.domains();
        domains.push(host.name.to_string());
        for domain in domains {
            if let Err(error) = host.router.release(&domain).await {
                tracing::warn!(target: "natter::node", domain, %error, "domain stays reserved");
            }
        }
    }

    fn supervisor(&self) -> Result<SupPid, String> {
        let registry = self.0.parts.system.registry();
        let found = registry.supervisor(&hosts_sup_name());
        found.ok_or_else(|| "the supervisor of the hosts is not there".to_owned())
    }
}
