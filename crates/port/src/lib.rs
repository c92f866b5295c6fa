//! Moving house: accounts go out to files and come in from files, other servers' among them.
//!
//! [`export`] writes what XEP-0227 (Portable Import/Export Format) describes. [`import`] reads that, as ejabberd and
//! others write it too, and the data folder of Prosody. Both go account by account: neither holds more than a few at a
//! time, however many there are. Each account is put in one commit of its own, so that an import that ends halfway leaves
//! whole accounts, and can be run again.
//!
//! What reads files ([`pie`], [`prosody`]) is plain code without a store or a clock; it tells what it finds to whoever
//! listens.

mod builder;
mod export;
mod found;
mod import;
mod lists;
pub mod pie;
pub mod prosody;

pub use export::{Export, ExportError, Exported, export};
pub use found::{Draft, Found, Hosts, Stop};
pub use import::{Hearer, Import, Summary, import};
