//! `presence`: groups of friends who all say how they are, all the time (RFC 6121 §4.4).

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use clap::Args;

use super::{Run, shown};
use crate::accounts::{self, Wanted};
use crate::contacts::befriend;
use crate::crew::{Countdown, Finish, drive};
use crate::failure::Failure;
use crate::gauge::Gauge;
use crate::latency::Latency;
use crate::login::Until;
use crate::outcome::Outcome;
use crate::peek;
use crate::session::Session;

/// How long the server may be silent before a run is given up.
const SILENCE: Duration = Duration::from_secs(30);

/// Broadcasts presence: each says the next when it has heard all its contacts.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Groups of friends.
    #[arg(long, default_value_t = 10)]
    pub groups: usize,
    /// Contacts of each account, all available; a group is one more.
    #[arg(long, default_value_t = 20)]
    pub contacts: usize,
    /// Broadcasts of each account, beside a tenth of it to warm up.
    #[arg(long, default_value_t = 20)]
    pub broadcasts: u64,
}

/// Does it. Friendships are made before and stay.
///
/// # Errors
///
/// A login or subscription that failed, a connection that ended, silence.
pub async fn run(run: &Run, options: &Options) -> Result<Vec<Outcome>, Failure> {
    if options.groups == 0 || options.contacts == 0 || options.broadcasts == 0 {
        return Err(Failure::Usage(
            "--groups, --contacts and --broadcasts begin at 1".to_owned(),
        ));
    }
    let sessions = friends(run, options.groups, options.contacts).await?;
    let latency = Rc::new(Latency::new());
    let warm = options.broadcasts.div_ceil(10);
    let sessions = storm(sessions, options.contacts, warm, &latency).await?;
    latency.clear();
    let gauge = Gauge::start(run.server);
    let sessions = storm(sessions, options.contacts, options.broadcasts, &latency).await?;
    let spent = gauge.stop();
    let units = sessions.len() as u64 * options.contacts as u64 * options.broadcasts;
    accounts::close(sessions, run.target.within).await;
    let name = format!("presence contacts={}", options.contacts);
    Ok(vec![Outcome::new(name, "delivery", units, spent, &latency)])
}

/// Sessions of `groups` groups in which everybody has `contacts` friends, all available.
///
/// # Errors
///
/// A login or subscription that failed.
pub async fn friends(run: &Run, groups: usize, contacts: usize) -> Result<Vec<Session>, Failure> {
    let wanted = Wanted {
        first: 0,
        count: groups * (contacts + 1),
        per_account: 1,
        until: Until::Available,
        at_once: run.at_once,
    };
    run.accounts(wanted.accounts()).await?;
    let (sessions, _) = accounts::log_in(&run.target, wanted).await?;
    befriend(sessions, contacts + 1).await
}

async fn storm(
    mut sessions: Vec<Session>,
    contacts: usize,
    broadcasts: u64,
    latency: &Rc<Latency>,
) -> Result<Vec<Session>, Failure> {
    let all = sessions.len() as u64 * contacts as u64 * broadcasts;
    let finish = Finish::new();
    let countdown = Rc::new(Countdown::new(all, &finish));
    let own: Vec<String> = sessions
        .iter()
        .map(|session| format!("{}/", session.bare()))
        .collect();
    for session in &mut sessions {
        say(session.out());
    }
    let heard: Vec<Cell<u64>> = own.iter().map(|_| Cell::new(0)).collect();
    let contacts = contacts as u64;
    let (latency, counted) = (latency.clone(), countdown.clone());
    let work = drive(sessions, &finish, SILENCE, move |number, stanza, out| {
        if !stanza.starts_with(b"<presence") {
            return Ok(());
        }
        super::no_error(stanza)?;
        let from = peek::attribute(stanza, "from").unwrap_or_default();
        let Some(sent) = peek::time_in(stanza) else {
            return Ok(());
        };
        if from.starts_with(own[number].as_bytes()) {
            return Ok(());
        }
        latency.record(peek::now().saturating_sub(sent));
        let now = heard[number].get() + 1;
        heard[number].set(now);
        if now.is_multiple_of(contacts) && now / contacts < broadcasts {
            say(out);
        }
        counted.step();
        Ok(())
    });
    shown("broadcasting", all, || countdown.made(), work).await
}

fn say(out: &mut Vec<u8>) {
    out.extend_from_slice(b"<presence><status>");
    peek::write_time(out, peek::now());
    out.extend_from_slice(b"</status></presence>");
}
