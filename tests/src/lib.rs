//! The proof: whole servers, scripted clients, and the languages the proof is written in.
//!
//! Everything here looks at a server from outside: it speaks XMPP over sockets, runs admin commands and
//! turns the clock. It reads XML with a reader of its own, so a fault in the server's reader cannot hide.
//!
//! - `stage`: what a server under test is, whoever runs it; `house` runs ours in this process, `external`
//!   drives one that is already there.
//! - `wire`, `sasl`, `client`: one connection; the mechanisms; a client that is logged in. `bridge`: the same by
//!   WebSocket and BOSH.
//! - `dom`, `pattern`: XML as a tree; what a heard stanza must look like.
//! - `script`, `play`: scenarios (`tests/scenarios/`), read and performed. Grammar: `docs/SCENARIOS.md`.
//! - `lines`: wire checks (`tests/wire/`), raw bytes in, exact bytes or a stream error out.
//! - `numbered`: people who talk in numbered messages while something breaks, and what became of each message;
//!   `program`: `natterd` as a program that can be killed.
//! - `tables`: RFC 6121's two big tables (`tests/tables/`), cell by cell.

pub mod authority;
pub mod binary;
mod bridge;
pub mod client;
pub mod deadline;
pub mod dom;
pub mod external;
pub mod house;
pub mod lines;
pub mod numbered;
pub mod pattern;
pub mod play;
pub mod program;
pub mod run;
pub mod sasl;
pub mod script;
pub mod stage;
pub mod tables;
pub mod wire;
