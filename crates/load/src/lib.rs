//! A load generator for XMPP servers: many cheap clients, and what they cost the server.
//!
//! It speaks to any server and knows nothing of the one beside it. `cli` says what can be asked, `work` holds one file
//! per workload, `crew` drives many sessions at once, `relay` is the floor below which no server can come.

pub mod accounts;
pub mod cli;
pub mod contacts;
pub mod crew;
pub mod failure;
pub mod gauge;
pub mod latency;
pub mod login;
pub mod outcome;
pub mod pace;
pub mod peek;
pub mod proc;
pub mod progress;
pub mod relay;
pub mod report;
pub mod scan;
pub mod scram;
pub mod session;
pub mod target;
pub mod work;
