//! `age`: a server that has seen some life: many accounts registered, each logged in once.

use clap::Args;

use super::Run;
use crate::accounts;
use crate::failure::Failure;
use crate::gauge::Gauge;
use crate::latency::Latency;
use crate::login::{self, Until};
use crate::outcome::Outcome;
use crate::peek;
use crate::progress::Progress;

/// Registers accounts, and lets each come and go once.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// How many.
    #[arg(long, default_value_t = 10_000)]
    pub count: usize,
}

/// Does it: first all registrations, then all logins with their goodbyes.
///
/// # Errors
///
/// The first registration or login that failed.
pub async fn run(run: &Run, options: &Options) -> Result<Vec<Outcome>, Failure> {
    let count = options.count as u64;
    let gauge = Gauge::start(run.server);
    run.accounts(options.count).await?;
    let registered = Outcome::new(
        "age register",
        "account",
        count,
        gauge.stop(),
        &Latency::new(),
    );
    let progress = Progress::new("coming, going", count);
    let gauge = Gauge::start(run.server);
    let times = accounts::each(options.count, run.at_once, &progress, |number| {
        let target = run.target.clone();
        async move {
            let began = peek::now();
            let session =
                login::log_in(&target, &target.account(number), "r0", Until::Available).await?;
            let took = peek::now() - began;
            session.close().await;
            Ok(took)
        }
    })
    .await?;
    let spent = gauge.stop();
    let latency = Latency::new();
    for time in times {
        latency.record(time);
    }
    let visited = Outcome::new("age login", "login", count, spent, &latency);
    Ok(vec![registered, visited])
}
