//! The router: who owns a domain, who answers an IQ, who listens to an event.
//!
//! Lookups are snapshot reads where the caller stands; changes go through one supervised process,
//! which monitors the owners of entries and takes an entry back when its owner ends. The router knows
//! neither sockets nor storage nor any module's name. Source: RFC 6120 §10, RFC 6121 §8.

mod accounts;
mod dead_letters;
mod hooks;
mod iq;
mod latencies;
mod meta;
mod mode;
mod route;
mod table;

pub use accounts::AccountGone;
pub use dead_letters::{DeadLetters, Filled, dead_letters_name};
pub use hooks::{
    Flow, Folded, HANDLER_DEADLINE, Hook, HookInfo, HookRow, HookSpec, Listeners, OnPanic, Priority,
};
pub use iq::{ANSWER_WITHIN, Answer, Iq, IqError, IqHandler, IqKind, IqSpec, To};
pub use latencies::Latencies;
pub use meta::{
    Accountant, DeadLetterBox, Flags, Ledger, Meta, Origin, Outcome, Packet, Parcel, Receipt,
    SessionOrigin,
};
pub use mode::{BalanceBy, Inline, Mode, Post, RouteRow, RouteSpec, Routing};
pub use route::{FilterPacket, InstallError, MAX_HOPS, Router};
pub use table::{Change, Feature, owner_name};

/// The hooks that this crate runs.
pub const HOOKS: &[HookInfo] = &[<FilterPacket as Hook>::INFO, <AccountGone as Hook>::INFO];
