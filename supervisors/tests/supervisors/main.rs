//! A whole server in this process: its commands, its configuration, its reloads.

mod commands;
mod configuration;
mod house;
mod reload;
