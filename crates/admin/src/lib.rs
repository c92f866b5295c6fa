//! Admin commands, declared as data: name, typed arguments, result, role, one sentence, and a function.
//!
//! [`Commands`] is the registry of a node. Whoever offers a command declares it with [`Command::new`]; whoever has a
//! door (the control socket here, later HTTP and ad-hoc commands) gives [`Commands::execute`] a [`Caller`]. This crate
//! knows how a command is called, never which commands exist.

pub mod client;
mod command;
mod commands;
mod control;
mod doc;
mod error;
mod frame;
mod parse;
mod progress;
mod role;
mod socket;
mod text;
mod value;

pub use command::{Arg, ArgType, Command, DEADLINE, Flag, Run, Scope};
pub use commands::{Commands, HELP, Taken};
pub use control::{Control, MOST_CLIENTS, PATIENCE, child_spec};
pub use doc::reference;
pub use error::CommandError;
pub use parse::{Args, Given, parse};
pub use progress::{Progress, Step};
pub use role::{Caller, Door, Hosts, Role};
pub use socket::{BindError, ControlSocket};
pub use text::render;
pub use value::{Branch, Value};
