//! `natter-load`: load for any XMPP server, and what it costs.

use std::process::ExitCode;

use clap::Parser;
use load::cli::{self, Cli};

fn main() -> ExitCode {
    match cli::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure.to_string());
            failure.exit_code()
        }
    }
}

#[allow(clippy::print_stderr)] // A program says on stderr why it failed.
fn complain(sentence: &str) {
    eprintln!("natter-load: {sentence}");
}
