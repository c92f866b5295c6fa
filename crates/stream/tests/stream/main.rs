//! The crate from outside, in one program.

mod common;
mod io;
mod negotiation;
mod tls;
