//! The node: what a running server is made of, and the commands that steer it.
//!
//! Knows no protocol. What it cannot do itself (read the configuration file, end the program) it asks of
//! [`Steering`], which the binary fills.

mod accounts;
mod bans;
mod hosts;
mod logins;
mod modules;
mod parts;
mod porting;
mod server;

pub use hosts::HostTable;
pub use parts::{Configured, Keep, Node, NodeParts, Steering};

/// Registers the core commands.
///
/// # Panics
///
/// When two of them bear one name: a broken invariant of ours.
pub fn register_commands(node: &Node) {
    let commands = [
        server::commands(node),
        accounts::commands(node),
        logins::commands(node),
        bans::commands(node),
        modules::commands(node),
        porting::commands(node),
    ];
    for command in commands.into_iter().flatten() {
        node.commands
            .register(command, "node")
            .expect("core commands have different names");
    }
}
