//! The crate from outside, in one program.

mod durability;
mod hosts;
mod invites;
mod known;
mod late;
mod privacy;
mod rooms;
mod stage;
mod stores;
mod tokens;
mod uploads;
mod whole;
