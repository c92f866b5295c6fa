//! A whole server in this process: its commands, its configuration, its reloads.

mod api;
mod authority;
mod backup;
mod bosh;
mod bosh_ends;
mod browser;
mod commands;
mod configuration;
mod forwarded;
mod house;
mod http;
mod invites;
mod live;
mod malformed;
mod offline;
mod peer;
mod program;
mod reload;
mod rerouted;
mod roles;
mod throttle;
mod upload;
mod webchat;
mod ws;
