//! Rooms: multi-user chat (XEP-0045).
//!
//! [`ModMuc`] is the service of a host. Each open room is a process ([`room`]) that owns its occupants and the order
//! in which they hear things; who may do what stands in the tables of [`rules`]. Affiliations, configuration, subject
//! and what was said lie in storage. This crate knows neither sessions nor sockets: it meets its occupants by their
//! addresses.

mod activity;
mod admin;
mod affiliations;
mod archive;
mod avatar;
mod commands;
pub mod config;
mod disco;
mod doubt;
mod enter;
mod form;
mod hats;
mod history;
mod invite;
mod iq;
mod limits;
mod manage;
mod mod_muc;
mod moderate;
mod occupants;
mod outbox;
mod owner;
mod presence;
mod register;
mod removed;
mod room;
mod rooms;
pub mod rules;
mod search;
mod service;
mod stanzas;
mod talk;
mod versions;
mod voice;

pub use mod_muc::{Creators, ModMuc, MucOpts};
