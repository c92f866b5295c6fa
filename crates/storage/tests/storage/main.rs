//! The crate from outside, in one program.

mod durability;
mod hosts;
mod invites;
mod privacy;
mod stage;
mod stores;
mod whole;
