//! `otp` against what OTP's documents say of each behaviour.

mod children;
mod common;
mod companion;
mod envelope;
mod gen_server;
mod monitor;
mod shutdown;
mod supervisor;
mod tree;
mod upgrade;
