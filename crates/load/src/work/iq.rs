//! `iq`: questions and their answers.

use std::cell::Cell;
use std::io::Write as _;
use std::rc::Rc;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{Run, shown};
use crate::accounts::{self, Wanted};
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

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// XEP-0199, of the server.
    Ping,
    /// XEP-0030, what the server can do.
    Disco,
    /// RFC 6121 §2.3: a contact gets another name; the push is answered.
    RosterSet,
    /// RFC 6121 §2.2: the whole roster, of --contacts contacts.
    RosterGet,
}

/// Asks and waits for the answer, over and over.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// What is asked.
    #[arg(long, value_enum, default_value_t = Kind::Ping)]
    pub kind: Kind,
    /// Sessions that ask.
    #[arg(long, default_value_t = 40)]
    pub sessions: usize,
    /// Questions of a session that wait for their answers.
    #[arg(long, default_value_t = 1)]
    pub window: u64,
    /// Questions in all, beside a tenth of it to warm up.
    #[arg(long, default_value_t = 50_000)]
    pub count: u64,
    /// Contacts that a session's roster is filled up with, before roster-get and roster-set.
    #[arg(long, default_value_t = 20)]
    pub contacts: u64,
}

/// Does it.
///
/// # Errors
///
/// A login that failed, an error for an answer, a connection that ended, silence.
pub async fn run(run: &Run, options: &Options) -> Result<Vec<Outcome>, Failure> {
    if options.sessions == 0 || options.window == 0 || options.contacts == 0 || options.count == 0 {
        return Err(Failure::Usage(
            "--sessions, --window, --count and --contacts begin at 1".to_owned(),
        ));
    }
    run.accounts(options.sessions).await?;
    let wanted = Wanted {
        first: 0,
        count: options.sessions,
        per_account: 1,
        until: Until::Available,
        at_once: run.at_once,
    };
    let (mut sessions, _) = accounts::log_in(&run.target, wanted).await?;
    let latency = Rc::new(Latency::new());
    if options.kind == Kind::RosterGet {
        // Each contact is set once, then there are as many as wished.
        let fill = Options {
            kind: Kind::RosterSet,
            count: options.contacts * options.sessions as u64,
            ..options.clone()
        };
        sessions = questions(run, &fill, sessions, fill.count, &latency).await?;
    }
    let sessions = questions(run, options, sessions, options.count / 10, &latency).await?;
    latency.clear();
    let gauge = Gauge::start(run.server);
    let sessions = questions(run, options, sessions, options.count, &latency).await?;
    let spent = gauge.stop();
    accounts::close(sessions, run.target.within).await;
    let name = match options.kind {
        Kind::Ping => "iq ping".to_owned(),
        Kind::Disco => "iq disco".to_owned(),
        Kind::RosterSet => "iq roster-set".to_owned(),
        Kind::RosterGet => format!("iq roster-get contacts={}", options.contacts),
    };
    Ok(vec![Outcome::new(
        name,
        "answer",
        options.count,
        spent,
        &latency,
    )])
}

/// Writes question number `turn` of one session.
fn ask(kind: Kind, domain: &str, contacts: u64, turn: u64, out: &mut Vec<u8>) {
    let to = match kind {
        Kind::Ping | Kind::Disco => domain,
        Kind::RosterSet | Kind::RosterGet => "",
    };
    let set = match kind {
        Kind::RosterSet => "set",
        _ => "get",
    };
    out.extend_from_slice(b"<iq type='");
    out.extend_from_slice(set.as_bytes());
    if !to.is_empty() {
        out.extend_from_slice(b"' to='");
        out.extend_from_slice(to.as_bytes());
    }
    out.extend_from_slice(b"' id='");
    peek::write_time(out, peek::now());
    out.extend_from_slice(b"'>");
    let payload: &[u8] = match kind {
        Kind::Ping => b"<ping xmlns='urn:xmpp:ping'/></iq>",
        Kind::Disco => b"<query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
        Kind::RosterGet => b"<query xmlns='jabber:iq:roster'/></iq>",
        Kind::RosterSet => {
            let contact = turn % contacts;
            // Writing to a vector cannot fail.
            let _ = write!(
                out,
                "<query xmlns='jabber:iq:roster'><item jid='contact{contact}@{domain}' name='Name {turn}'/></query></iq>"
            );
            b""
        }
    };
    out.extend_from_slice(payload);
}

async fn questions(
    run: &Run,
    options: &Options,
    mut sessions: Vec<Session>,
    count: u64,
    latency: &Rc<Latency>,
) -> Result<Vec<Session>, Failure> {
    let finish = Finish::new();
    let countdown = Rc::new(Countdown::new(count, &finish));
    let domains: Vec<String> = (0..sessions.len())
        .map(|number| run.target.account(number).domain)
        .collect();
    let all = sessions.len() as u64;
    let (kind, contacts) = (options.kind, options.contacts);
    let mut shares = Vec::with_capacity(sessions.len());
    for (number, session) in sessions.iter_mut().enumerate() {
        let share = count / all + u64::from((number as u64) < count % all);
        let first = options.window.min(share);
        for turn in 0..first {
            ask(kind, &domains[number], contacts, turn, session.out());
        }
        shares.push((Cell::new(first), share));
    }
    let (latency, counted) = (latency.clone(), countdown.clone());
    let work = drive(sessions, &finish, SILENCE, move |number, stanza, out| {
        if !stanza.starts_with(b"<iq") {
            return Ok(());
        }
        match peek::attribute(stanza, "type") {
            Some(b"result") => {}
            Some(b"set") => {
                // A roster push has to be answered.
                out.extend_from_slice(b"<iq type='result' id='");
                out.extend_from_slice(peek::attribute(stanza, "id").unwrap_or_default());
                out.extend_from_slice(b"'/>");
                return Ok(());
            }
            _ => return super::no_error(stanza),
        }
        let Some(sent) = peek::attribute(stanza, "id").and_then(peek::time_in) else {
            return Ok(());
        };
        latency.record(peek::now().saturating_sub(sent));
        let (asked, share) = &shares[number];
        if asked.get() < *share {
            ask(kind, &domains[number], contacts, asked.get(), out);
            asked.set(asked.get() + 1);
        }
        counted.step();
        Ok(())
    });
    shown("asking", count, || countdown.made(), work).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_whole_stanzas_with_a_time() {
        for kind in [Kind::Ping, Kind::Disco, Kind::RosterSet, Kind::RosterGet] {
            let mut out = Vec::new();
            ask(kind, "a.example", 20, 23, &mut out);
            let text = String::from_utf8(out.clone()).expect("text");
            assert!(peek::time_in(&out).is_some(), "{text}");
            let mut scanner = crate::scan::Scanner::new();
            let stream = format!("<stream>{text}");
            assert!(matches!(
                scanner.next(stream.as_bytes(), 0),
                Ok(Some((crate::scan::Mark::Header, 8)))
            ));
            assert_eq!(
                scanner.next(stream.as_bytes(), 8),
                Ok(Some((crate::scan::Mark::Stanza, stream.len())))
            );
        }
    }

    #[test]
    fn contacts_come_round_and_names_change() {
        let mut out = Vec::new();
        ask(Kind::RosterSet, "a.example", 20, 23, &mut out);
        let text = String::from_utf8(out).expect("text");
        assert!(
            text.contains("jid='contact3@a.example' name='Name 23'"),
            "{text}"
        );
    }
}
