//! The crate from outside, in one program.

mod pie;
mod prosody;
mod stage;
