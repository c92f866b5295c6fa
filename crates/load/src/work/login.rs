//! `login`: connection, TLS, SASL, bind, roster, presence, over and over.

use clap::Args;

use super::Run;
use crate::accounts::{self, Wanted};
use crate::failure::Failure;
use crate::gauge::Gauge;
use crate::login::Until;
use crate::outcome::Outcome;
use crate::target::Tls;

/// Logs in many accounts, each once, and holds them; goodbyes are not measured.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// How many log in.
    #[arg(long, default_value_t = 1000)]
    pub count: usize,
    /// Stop when the resource is bound: no roster, no presence.
    #[arg(long)]
    pub bind_only: bool,
}

/// Does it.
///
/// # Errors
///
/// The first login that failed.
pub async fn run(run: &Run, options: &Options) -> Result<Vec<Outcome>, Failure> {
    run.accounts(options.count).await?;
    let mut wanted = Wanted {
        first: 0,
        count: options.count.min(2 * run.at_once),
        per_account: 1,
        until: match options.bind_only {
            true => Until::Bound,
            false => Until::Available,
        },
        at_once: run.at_once,
    };
    // The first ones warm the server up.
    let (warm, _) = accounts::log_in(&run.target, wanted).await?;
    accounts::close(warm, run.target.within).await;
    wanted.count = options.count;
    let gauge = Gauge::start(run.server);
    let (sessions, latency) = accounts::log_in(&run.target, wanted).await?;
    let spent = gauge.stop();
    accounts::close(sessions, run.target.within).await;
    let name = format!(
        "login {} {}",
        run.target.mechanism.name(),
        tls_name(run.target.tls)
    );
    Ok(vec![Outcome::new(
        name,
        "login",
        options.count as u64,
        spent,
        &latency,
    )])
}

/// What the protection of the wire is called in figures.
pub fn tls_name(tls: Tls) -> &'static str {
    match tls {
        Tls::Off => "plain",
        Tls::Starttls => "STARTTLS",
        Tls::Direct => "TLS",
    }
}
