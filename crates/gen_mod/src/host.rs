//! A host: one virtual domain and all that its modules are given.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use admin::Commands;
use otp::{Clock, System};
use router::Router;
use storage::Storage;

use crate::loader::ModuleTable;

/// What the layers above give to modules, by type: the session manager, accounts.
///
/// `gen_mod` knows none of these types; a module asks for the one it needs by name.
#[derive(Clone, Default)]
pub struct Services(Arc<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>);

impl Services {
    /// No services.
    #[must_use]
    pub fn new() -> Services {
        Services::default()
    }

    /// These services and one more.
    #[must_use]
    pub fn with<T: Any + Send + Sync>(self, service: T) -> Services {
        let mut services = HashMap::clone(&self.0);
        services.insert(TypeId::of::<T>(), Arc::new(service));
        Services(Arc::new(services))
    }

    fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.0.get(&TypeId::of::<T>())?.downcast_ref()
    }
}

/// A handle to a host; cheap to clone.
#[derive(Clone)]
pub struct Host(Arc<HostParts>);

/// What a host is made of.
pub struct HostParts {
    /// The domain.
    pub name: Arc<str>,
    /// What survives a restart.
    pub storage: Storage,
    /// Routes, hooks and IQ tables.
    pub router: Router,
    /// The server's clock.
    pub clock: Clock,
    /// The server that this host is part of.
    pub system: System,
    /// The commands of this server.
    pub commands: Commands,
    /// What the layers above give to modules.
    pub services: Services,
    /// Which modules this host runs.
    pub modules: ModuleTable,
}

impl Host {
    /// A handle to these parts.
    #[must_use]
    pub fn new(parts: HostParts) -> Host {
        Host(Arc::new(parts))
    }

    /// A service of the layers above.
    ///
    /// # Panics
    ///
    /// When the tree was built without it: a broken invariant of ours.
    #[must_use]
    pub fn service<T: Any + Send + Sync>(&self) -> &T {
        self.services
            .get()
            .unwrap_or_else(|| panic!("the tree gives every host a {}", std::any::type_name::<T>()))
    }
}

impl Deref for Host {
    type Target = HostParts;

    fn deref(&self) -> &HostParts {
        &self.0
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Host({})", self.name)
    }
}
