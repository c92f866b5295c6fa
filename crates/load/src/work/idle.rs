//! `idle`: what a session costs that is only there, in the server's memory, in the kernel's, in CPU time.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use clap::Args;

use super::{Run, filler, no_error, shown};
use crate::accounts::{self, Wanted};
use crate::crew::{Countdown, Finish, drive};
use crate::failure::Failure;
use crate::gauge::Gauge;
use crate::latency::Latency;
use crate::login::Until;
use crate::outcome::Outcome;
use crate::peek;
use crate::proc::{Watched, kernel_bytes};
use crate::session::Session;
use crate::work::login::tls_name;

/// How long the server may be silent before a run is given up.
const SILENCE: Duration = Duration::from_secs(30);

/// Holds sessions that do nothing: just bound, or after some life.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// How many sessions; with --lived as many whole groups of friends as fit.
    #[arg(long, default_value_t = 1000)]
    pub sessions: usize,
    /// How many belong to one account; not with --lived.
    #[arg(long, default_value_t = 1)]
    pub per_account: usize,
    /// Seconds for which CPU is counted while they are held.
    #[arg(long, default_value_t = 5)]
    pub seconds: u64,
    /// Weigh them after each has fetched its roster, seen its contacts and heard some messages, not when just bound.
    #[arg(long)]
    pub lived: bool,
    /// Contacts of each, all available, with --lived.
    #[arg(long, default_value_t = 20)]
    pub contacts: usize,
    /// Messages that each hears, with --lived.
    #[arg(long, default_value_t = 100)]
    pub messages: u64,
}

/// Does it. The sessions are given up at the end.
///
/// # Errors
///
/// The first login that failed, or a server that is not watched.
pub async fn run(run: &Run, options: &Options) -> Result<Vec<Outcome>, Failure> {
    let server = watched(run)?;
    if options.lived
        && (options.per_account != 1
            || options.contacts == 0
            || options.sessions <= options.contacts)
    {
        return Err(Failure::Usage(
            "--lived needs one session an account, and more --sessions than --contacts".to_owned(),
        ));
    }
    if options.lived {
        // Friendships are for ever: made before, they are not in the figure.
        let groups = options.sessions / (options.contacts + 1);
        let made = super::presence::friends(run, groups, options.contacts).await?;
        accounts::close(made, run.target.within).await;
    }
    let wanted = Wanted {
        first: 0,
        count: match options.lived {
            true => options.sessions - options.sessions % (options.contacts + 1),
            false => options.sessions,
        },
        per_account: options.per_account,
        until: match options.lived {
            true => Until::Available,
            false => Until::Bound,
        },
        at_once: run.at_once,
    };
    run.accounts(wanted.accounts()).await?;
    let before = Memory::now(server);
    let (mut sessions, _) = accounts::log_in(&run.target, wanted).await?;
    if options.lived {
        sessions = live(sessions, options.messages).await?;
    }
    let held = Memory::now(server);
    let gauge = Gauge::start(run.server);
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    let spent = gauge.stop();
    accounts::close(sessions, run.target.within).await;
    let kind = match options.lived {
        true => "lived",
        false => "bound",
    };
    let name = format!("idle {kind} {}", tls_name(run.target.tls));
    let outcome = Outcome::new(name, "session", wanted.count as u64, spent, &Latency::new());
    Ok(vec![held.since(&before, wanted.count as u64, outcome)])
}

/// Each session says `messages` messages to the next.
async fn live(mut sessions: Vec<Session>, messages: u64) -> Result<Vec<Session>, Failure> {
    let all = sessions.len() as u64 * messages;
    let finish = Finish::new();
    let countdown = Rc::new(Countdown::new(all, &finish));
    let count = sessions.len();
    let text = filler(160);
    let said: Vec<String> = (0..count)
        .map(|number| {
            let to = peek::escape(&sessions[(number + 1) % count].jid);
            format!("<message to='{to}' type='chat'><body>{text}</body></message>")
        })
        .collect();
    if messages > 0 {
        for (session, said) in sessions.iter_mut().zip(&said) {
            session.out().extend_from_slice(said.as_bytes());
        }
    }
    let heard: Vec<Cell<u64>> = said.iter().map(|_| Cell::new(0)).collect();
    let counted = countdown.clone();
    let work = drive(sessions, &finish, SILENCE, move |number, stanza, out| {
        if !stanza.starts_with(b"<message") {
            return Ok(());
        }
        no_error(stanza)?;
        let now = heard[number].get() + 1;
        heard[number].set(now);
        if now < messages {
            out.extend_from_slice(said[number].as_bytes());
        }
        counted.step();
        Ok(())
    });
    shown("living", all, || countdown.made(), work).await
}

/// The server's process.
///
/// # Errors
///
/// [`Failure::Usage`] when it was not named.
pub fn watched(run: &Run) -> Result<Watched, Failure> {
    run.server.ok_or_else(|| {
        Failure::Usage("this workload needs --server-pid: memory is what it measures".to_owned())
    })
}

/// Memory at one moment.
pub struct Memory {
    server: Option<u64>,
    kernel: Option<u64>,
}

impl Memory {
    /// Now.
    pub fn now(server: Watched) -> Memory {
        Memory {
            server: server.pss(),
            kernel: kernel_bytes(),
        }
    }

    /// Adds to `outcome` what came since `before`, for each of so many sessions.
    pub fn since(&self, before: &Memory, sessions: u64, outcome: Outcome) -> Outcome {
        let units = sessions.max(1) as f64;
        let each = |now: Option<u64>, then: Option<u64>| {
            Some((now? as f64 - then? as f64) / units / 1000.0)
        };
        let mut outcome = outcome;
        if let Some(figure) = each(self.server, before.server) {
            outcome = outcome.with("server_kB_per_session", figure);
        }
        if let Some(figure) = each(self.kernel, before.kernel) {
            outcome = outcome.with("kernel_kB_per_session_both_ends", figure);
        }
        if let Some(bytes) = self.server {
            outcome = outcome.with("server_MB", bytes as f64 / 1e6);
        }
        outcome
    }
}
