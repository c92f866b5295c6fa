//! The crate from outside, in one program.

mod budgets;
mod credentials;
mod log;
mod nonsense;
mod sasl;
mod stage;
