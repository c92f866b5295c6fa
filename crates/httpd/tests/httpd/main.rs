//! The crate from outside, in one program.

mod along;
mod files;
mod frames;
mod h2;
mod loops;
mod messages;
mod middlewares;
mod plain;
mod replies;
mod requests;
mod rest;
mod stage;
mod streams;
mod tls;
mod wire;
mod ws;
mod ws_cases;
