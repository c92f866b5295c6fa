//! The hosts of a running server: read by whoever needs one, changed by reloads.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use gen_mod::Host;

/// The hosts, by domain. Reading waits for nobody. Clones are the same.
#[derive(Clone, Default)]
pub struct HostTable(Arc<ArcSwap<BTreeMap<String, Host>>>);

impl HostTable {
    /// The host of that domain, in its canonical form.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Host> {
        self.0.load().get(name).cloned()
    }

    /// Whether there is such a host.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.load().contains_key(name)
    }

    /// All hosts as they are now.
    #[must_use]
    pub fn all(&self) -> Arc<BTreeMap<String, Host>> {
        self.0.load_full()
    }

    /// Enters hosts; one of the same domain is replaced.
    pub fn insert(&self, hosts: impl IntoIterator<Item = Host>) {
        let hosts: Vec<Host> = hosts.into_iter().collect();
        self.0.rcu(|table| {
            let mut table = BTreeMap::clone(table);
            table.extend(
                hosts
                    .iter()
                    .map(|host| (host.name.to_string(), host.clone())),
            );
            table
        });
    }

    /// Takes a host out; sessions and modules that have it keep it until they end.
    pub fn remove(&self, name: &str) {
        self.0.rcu(|table| {
            let mut table = BTreeMap::clone(table);
            table.remove(name);
            table
        });
    }
}
