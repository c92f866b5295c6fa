//! `growth`: the same work with more and more of one thing. Where a cost grows faster than that thing, something
//! is quadratic.

use clap::{Args, ValueEnum};

use super::{Run, chat, iq};
use crate::failure::Failure;
use crate::outcome::Outcome;

/// What there is more and more of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Axis {
    /// Sessions that are held beside those that chat: 100 to 20,000.
    Sessions,
    /// Hosts whose accounts chat with each other: 1 to as many as --domain names.
    Hosts,
    /// Contacts in a roster that is fetched: 10 to 1000.
    Roster,
    /// Resources that hear a message: 1 to 10.
    Resources,
    /// Bytes of a message: 1 KB to 200 KB.
    Stanza,
}

/// Measures along an axis; the figure `x` says where on it.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// What there is more and more of; all there are unless said.
    #[arg(long, value_enum)]
    pub axis: Vec<Axis>,
    /// Most sessions held.
    #[arg(long, default_value_t = 20_000)]
    pub most_sessions: usize,
    /// Messages or questions at each point.
    #[arg(long, default_value_t = 50_000)]
    pub count: u64,
}

/// Sessions of an account when many are held: what common servers allow at least.
const PER_ACCOUNT: usize = 10;

/// Does it.
///
/// # Errors
///
/// The first point that failed.
pub async fn run(run: &Run, options: &Options) -> Result<Vec<Outcome>, Failure> {
    let all = [
        Axis::Sessions,
        Axis::Hosts,
        Axis::Roster,
        Axis::Resources,
        Axis::Stanza,
    ];
    let axes = match options.axis.as_slice() {
        [] => &all[..],
        some => some,
    };
    let mut outcomes = Vec::new();
    for axis in axes {
        for x in points(*axis, options.most_sessions, run.target.domains.len()) {
            let mut outcome = point(run, options, *axis, x).await?;
            outcome.workload = format!("growth {}", name(*axis));
            outcomes.push(outcome.with("x", x as f64));
        }
    }
    Ok(outcomes)
}

fn name(axis: Axis) -> &'static str {
    match axis {
        Axis::Sessions => "sessions",
        Axis::Hosts => "hosts",
        Axis::Roster => "roster",
        Axis::Resources => "resources",
        Axis::Stanza => "stanza",
    }
}

fn points(axis: Axis, most_sessions: usize, hosts: usize) -> Vec<usize> {
    let (all, most): (&[usize], usize) = match axis {
        Axis::Sessions => (&[100, 1000, 5000, 10_000, 20_000], most_sessions),
        Axis::Hosts => (&[1, 5, 10, 25, 50], hosts),
        Axis::Roster => (&[10, 100, 300, 1000], usize::MAX),
        Axis::Resources => (&[1, 2, 5, 10], usize::MAX),
        Axis::Stanza => (&[1000, 10_000, 50_000, 100_000, 200_000], usize::MAX),
    };
    all.iter().copied().filter(|x| *x <= most).collect()
}

async fn point(run: &Run, options: &Options, axis: Axis, x: usize) -> Result<Outcome, Failure> {
    let mut chatting = chat::Options {
        pairs: 25,
        window: 1,
        count: options.count,
        rate: None,
        body: 160,
        idle: 0,
        per_account: PER_ACCOUNT,
        resources: 1,
    };
    let outcomes = match axis {
        Axis::Sessions => {
            chatting.idle = x;
            chat::run(run, &chatting).await?
        }
        Axis::Hosts => {
            let run = run.against(|target| target.domains.truncate(x));
            chat::run(&run, &chatting).await?
        }
        Axis::Roster => {
            // Rosters only grow: each point has accounts of its own.
            let run = run.against(|target| target.prefix = format!("{}ros{x}x", target.prefix));
            let options = iq::Options {
                kind: iq::Kind::RosterGet,
                sessions: 2,
                window: 1,
                count: (options.count / x as u64).max(20),
                contacts: x as u64,
            };
            iq::run(&run, &options).await?
        }
        Axis::Resources => {
            chatting.pairs = 5;
            chatting.resources = x;
            chat::run(run, &chatting).await?
        }
        Axis::Stanza => {
            chatting.pairs = 5;
            chatting.body = x;
            chatting.count = (options.count * 100 / x as u64).max(50);
            chat::run(run, &chatting).await?
        }
    };
    let outcome = outcomes.into_iter().next();
    let outcome = outcome.ok_or_else(|| Failure::new("a point without an outcome"))?;
    let per = outcome.server_us();
    Ok(match (axis, per) {
        // Per contact or per kilobyte, so that a flat line is a cost in proportion.
        (Axis::Roster, Some(us)) => outcome.with("server_cpu_us_per_contact", us / x as f64),
        (Axis::Stanza, Some(us)) => outcome.with("server_cpu_us_per_kB", us / x as f64 * 1000.0),
        _ => outcome,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_stop_at_what_there_is() {
        assert_eq!(points(Axis::Sessions, 5000, 1), [100, 1000, 5000]);
        assert_eq!(points(Axis::Hosts, 5000, 1), [1]);
        assert_eq!(points(Axis::Hosts, 5000, 50), [1, 5, 10, 25, 50]);
        assert_eq!(points(Axis::Stanza, 0, 0).last(), Some(&200_000));
    }
}
