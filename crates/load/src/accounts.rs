//! The generator's accounts and sessions: made before they are needed, many at once.

use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::failure::Failure;
use crate::latency::Latency;
use crate::login::{self, Until};
use crate::peek;
use crate::progress::Progress;
use crate::session::Session;
use crate::target::Target;

/// Runs `job` for the numbers below `count`, at most `at_once` at a time, and gives the results in order.
///
/// # Errors
///
/// The first failure; the other jobs are given up.
pub async fn each<T, F>(
    count: usize,
    at_once: usize,
    progress: &Progress,
    job: impl Fn(usize) -> F,
) -> Result<Vec<T>, Failure>
where
    T: 'static,
    F: Future<Output = Result<T, Failure>> + 'static,
{
    let mut results: Vec<Option<T>> = (0..count).map(|_| None).collect();
    let mut running = JoinSet::new();
    let mut next = 0;
    loop {
        while next < count && running.len() < at_once.max(1) {
            let (number, job) = (next, job(next));
            running.spawn_local(async move { (number, job.await) });
            next += 1;
        }
        let Some(ended) = running.join_next().await else {
            break;
        };
        let (number, result) =
            ended.map_err(|error| Failure::new(format!("a client of ours fell: {error}")))?;
        results[number] = Some(result?);
        progress.add(1);
    }
    Ok(results.into_iter().flatten().collect())
}

/// Registers the accounts below `count`; those that exist already are left as they are.
///
/// # Errors
///
/// The first refusal.
pub async fn register(target: &Rc<Target>, count: usize, at_once: usize) -> Result<(), Failure> {
    let progress = Progress::new("registering", count as u64);
    each(count, at_once, &progress, |number| {
        let target = target.clone();
        async move { login::register(&target, &target.account(number)).await }
    })
    .await?;
    Ok(())
}

/// Which sessions to log in.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// The number of the first account.
    pub first: usize,
    /// How many sessions.
    pub count: usize,
    /// How many of them belong to one account.
    pub per_account: usize,
    /// How far they go.
    pub until: Until,
    /// How many log in at the same time.
    pub at_once: usize,
}

impl Wanted {
    /// How many accounts there have to be for it.
    pub fn accounts(&self) -> usize {
        self.first + self.count.div_ceil(self.per_account.max(1))
    }
}

/// Logs sessions in and says how long each login took.
///
/// # Errors
///
/// The first login that failed.
pub async fn log_in(
    target: &Rc<Target>,
    wanted: Wanted,
) -> Result<(Vec<Session>, Latency), Failure> {
    let progress = Progress::new("logging in", wanted.count as u64);
    let per_account = wanted.per_account.max(1);
    let timed = each(wanted.count, wanted.at_once, &progress, |number| {
        let target = target.clone();
        async move {
            let account = target.account(wanted.first + number / per_account);
            let began = peek::now();
            let resource = format!("r{}", number % per_account);
            let session = login::log_in(&target, &account, &resource, wanted.until).await?;
            Ok((session, peek::now() - began))
        }
    })
    .await?;
    let latency = Latency::new();
    let sessions = timed
        .into_iter()
        .map(|(session, took)| {
            latency.record(took);
            session
        })
        .collect();
    Ok((sessions, latency))
}

/// Closes all, fifty at a time; one that does not say goodbye within `within` is dropped.
pub async fn close(sessions: Vec<Session>, within: Duration) {
    let mut closing = JoinSet::new();
    for session in sessions {
        if closing.len() >= 50 {
            closing.join_next().await;
        }
        closing.spawn_local(tokio::time::timeout(within, session.close()));
    }
    while closing.join_next().await.is_some() {}
}
