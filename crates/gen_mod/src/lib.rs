//! What a module is and is given: gen_mod and gen_server joined.
//!
//! A module is a process on a host. Its `start` returns what it registers; the registrations live
//! exactly as long as the process. This crate knows no module by name.

mod balancing;
mod catalog;
mod host;
mod loader;
mod module;
mod registrations;
mod server;
mod source;

pub use balancing::Balancing;
pub use catalog::{Catalog, ModuleKind, kind, request};
pub use host::{Host, HostParts, Services};
pub use loader::{
    LoadError, Loader, LoaderArgs, ModuleRow, ModuleTable, Modules, State, Wanted,
    loader_child_spec, loader_name, modules_sup_name,
};
pub use module::{Depends, Info, Message, Module, ModuleCtx, Reload, StartError, after, needs};
pub use registrations::{Installed, Registration, Registrations};
pub use server::{ModuleServer, module_name};
pub use source::{Completeness, Series, Source, rfc, xep};

/// What a module needs to offer a command.
pub mod command {
    pub use admin::{Arg, ArgType, Args, Command, CommandError, Role, Scope, Value};
}

/// What the file of a module begins with.
pub mod prelude {
    pub use crate::Completeness::{Complete, Partial};
    pub use crate::{
        Balancing, Host, Info, Module, ModuleCtx, Registrations, Reload, Source, StartError, after,
        needs, rfc, xep,
    };
    pub use config::{NoOpts, options};
    pub use router::{Flow, Iq, Packet, Priority, Routing, To, step};
    pub use xmpp::{Condition, Jid, Stanza, StanzaError, ns};
}
