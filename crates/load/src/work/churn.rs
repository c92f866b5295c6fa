//! `churn`: clients that come and are gone without a goodbye, at every stage of the way in.

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

/// Connects and drops, one in four each: after the connection, after the features, bound, available.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Connections in all.
    #[arg(long, default_value_t = 2000)]
    pub count: usize,
    /// Accounts that come and go.
    #[arg(long, default_value_t = 200)]
    pub accounts: usize,
}

/// Does it; at the end one more has to get in.
///
/// # Errors
///
/// A connection or login that failed.
pub async fn run(run: &Run, options: &Options) -> Result<Vec<Outcome>, Failure> {
    if options.accounts == 0 {
        return Err(Failure::Usage("--accounts begins at 1".to_owned()));
    }
    run.accounts(options.accounts).await?;
    let stages = [
        Until::Connected,
        Until::Greeted,
        Until::Bound,
        Until::Available,
    ];
    let progress = Progress::new("coming, going", options.count as u64);
    let gauge = Gauge::start(run.server);
    let times = accounts::each(options.count, run.at_once, &progress, |number| {
        let target = run.target.clone();
        let account = target.account(number % options.accounts);
        async move {
            let began = peek::now();
            let resource = format!("churn{number}");
            let session =
                login::log_in(&target, &account, &resource, stages[number % stages.len()]).await?;
            drop(session);
            Ok(peek::now() - began)
        }
    })
    .await?;
    let last = login::log_in(
        &run.target,
        &run.target.account(0),
        "last",
        Until::Available,
    )
    .await?;
    let spent = gauge.stop();
    last.close().await;
    let latency = Latency::new();
    for time in times {
        latency.record(time);
    }
    Ok(vec![Outcome::new(
        "churn",
        "connection",
        options.count as u64,
        spent,
        &latency,
    )])
}
