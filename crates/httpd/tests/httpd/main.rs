//! The crate from outside, in one program.

mod files;
mod frames;
mod h2;
mod loops;
mod messages;
mod plain;
mod rest;
mod stage;
mod streams;
mod tls;
mod wire;
mod ws;
mod ws_cases;
