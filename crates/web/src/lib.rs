//! What Natter serves by HTTP: the doors of XMPP and of administration on `httpd`.
//!
//! [`Web`] is the handle: one HTTP server for all listeners of kind `http`, the table of its paths, and what they need.
//! The server's own paths (`/health`, `/metrics`, `/api`, `/xmlrpc`, `/ws`, `/bosh`) are there as long as it runs; a module's
//! ([`HttpPaths`]) as long as the module does.

mod access;
mod api;
mod bosh;
mod commands;
mod forwarded;
mod framed;
mod gate;
mod given;
mod health;
mod metrics;
mod mod_host_meta;
mod mod_invites_page;
mod mod_webchat;
mod offline;
mod openapi;
mod page;
mod paths;
mod tally;
mod throttle;
mod tokens;
mod upload;
mod web;
mod ws;
mod xmlrpc;

use gen_mod::{ModuleKind, kind};

pub use access::{Access, BoshSettings, Clients, HttpDoor, Rates, WebSettings};
pub use commands::register_commands;
pub use paths::HttpPaths;
pub use upload::Disk;
pub use web::{Web, WebParts};

/// The modules of this crate, in the order of their names.
pub static ALL: &[ModuleKind] = &[
    kind::<mod_host_meta::ModHostMeta>(),
    kind::<offline::ModHttpOffline>(),
    kind::<upload::ModHttpUpload>(),
    kind::<mod_invites_page::ModInvitesPage>(),
    kind::<mod_webchat::ModWebchat>(),
];
