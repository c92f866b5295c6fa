//! The supervision tree, declared, and the server that it makes.

mod catalog;
mod check;
mod copies;
pub mod docs;
mod doors;
mod houses;
pub mod manual;
mod reload;
mod server;
pub mod settings;
mod steering;
mod tree;

pub use check::check;
pub use server::{Address, CATALOG, STANDARD, STOP_WITHIN, Server, ServerError};
pub use tree::{HostBranch, Trunk};

/// What crash tests make go wrong in the store of a server.
#[doc(hidden)]
pub use storage::{Fault as StorageFault, FaultPoint as StorageFaultPoint};
