//! `offline`: messages to who is away are kept, and handed out at the next login: each, and once (XEP-0160).

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use tokio::time::timeout;

use super::{Run, filler, no_error, shown};
use crate::accounts::{self, Wanted};
use crate::crew::{Countdown, Finish, drive};
use crate::failure::Failure;
use crate::gauge::Gauge;
use crate::latency::Latency;
use crate::login::{self, Until};
use crate::outcome::Outcome;
use crate::peek;
use crate::session::Session;

/// How long the server may be silent before a run is given up.
const SILENCE: Duration = Duration::from_secs(30);

/// Sends messages to accounts that are away, then lets these log in.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Sessions that send.
    #[arg(long, default_value_t = 20)]
    pub senders: usize,
    /// Accounts that are away.
    #[arg(long, default_value_t = 200)]
    pub receivers: usize,
    /// Messages for each of them; many servers keep a hundred at most.
    #[arg(long, default_value_t = 50)]
    pub messages: u64,
    /// Bytes of a body.
    #[arg(long, default_value_t = 160)]
    pub body: usize,
}

/// Does it: the storing, the handing out, and a second login that must find nothing.
///
/// # Errors
///
/// A message lost, doubled or refused, a login that failed, a connection that ended, silence.
pub async fn run(run: &Run, options: &Options) -> Result<Vec<Outcome>, Failure> {
    if options.senders == 0 || options.receivers == 0 || options.messages == 0 {
        return Err(Failure::Usage(
            "--senders, --receivers and --messages begin at 1".to_owned(),
        ));
    }
    run.accounts(options.senders + options.receivers).await?;
    // What others left for the receivers is taken away first.
    drain(run, options).await?;
    let stored = store(run, options).await?;
    let delivered = deliver(run, options).await?;
    drain_nothing(run, options).await?;
    Ok(vec![stored, delivered])
}

/// Each sender says its share, a window of one: behind each message a ping of its own account, whose answer means that
/// the message was dealt with.
async fn store(run: &Run, options: &Options) -> Result<Outcome, Failure> {
    let wanted = Wanted {
        first: 0,
        count: options.senders,
        per_account: 1,
        until: Until::Available,
        at_once: run.at_once,
    };
    let (mut sessions, _) = accounts::log_in(&run.target, wanted).await?;
    let all = options.receivers as u64 * options.messages;
    let senders = options.senders as u64;
    let finish = Finish::new();
    let countdown = Rc::new(Countdown::new(all, &finish));
    let latency = Rc::new(Latency::new());
    let text = filler(options.body.saturating_sub(peek::TIME_BYTES));
    let to: Vec<String> = (0..options.receivers)
        .map(|number| run.target.account(options.senders + number).jid)
        .collect();
    let say = move |message: u64, out: &mut Vec<u8>| {
        let to = &to[(message % to.len() as u64) as usize];
        out.extend_from_slice(
            format!("<message to='{to}' type='chat' id='load'><body>").as_bytes(),
        );
        // The message's number, so that one lost or doubled is found.
        peek::write_number(out, message);
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(b"</body></message><iq type='get' id='");
        peek::write_time(out, peek::now());
        out.extend_from_slice(b"'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>");
    };
    let gauge = Gauge::start(run.server);
    let next: Vec<Cell<u64>> = (0..senders)
        .map(|number| Cell::new(number + senders))
        .collect();
    for (number, session) in sessions.iter_mut().enumerate() {
        if (number as u64) < all {
            say(number as u64, session.out());
        }
    }
    let (timed, counted) = (latency.clone(), countdown.clone());
    let work = drive(sessions, &finish, SILENCE, move |number, stanza, out| {
        if stanza.starts_with(b"<message") {
            return no_error(stanza);
        }
        if !stanza.starts_with(b"<iq") {
            return Ok(());
        }
        let Some(asked) = peek::attribute(stanza, "id").and_then(peek::time_in) else {
            return Ok(());
        };
        timed.record(peek::now().saturating_sub(asked));
        let message = next[number].get();
        if message < all {
            next[number].set(message + senders);
            say(message, out);
        }
        counted.step();
        Ok(())
    });
    let sessions = shown("storing", all, || countdown.made(), work).await?;
    let spent = gauge.stop();
    accounts::close(sessions, run.target.within).await;
    Ok(Outcome::new(
        "offline store",
        "message",
        all,
        spent,
        &latency,
    ))
}

/// The receivers log in; each must hear its messages, all and once.
async fn deliver(run: &Run, options: &Options) -> Result<Outcome, Failure> {
    let sessions = receivers(run, options, Until::Bound).await?;
    let all = options.receivers as u64 * options.messages;
    let finish = Finish::new();
    let countdown = Rc::new(Countdown::new(all, &finish));
    let latency = Rc::new(Latency::new());
    let mut sessions = sessions;
    let gauge = Gauge::start(run.server);
    let began = peek::now();
    for session in &mut sessions {
        session.out().extend_from_slice(b"<presence/>");
    }
    let heard = RefCell::new(vec![false; usize::try_from(all).unwrap_or(usize::MAX)]);
    let receivers = options.receivers as u64;
    let (timed, counted) = (latency.clone(), countdown.clone());
    let work = drive(sessions, &finish, SILENCE, move |number, stanza, _| {
        if !stanza.starts_with(b"<message") {
            return Ok(());
        }
        no_error(stanza)?;
        let Some(message) = peek::number_in(stanza) else {
            return Ok(());
        };
        let mut heard = heard.borrow_mut();
        let place = usize::try_from(message)
            .ok()
            .and_then(|at| heard.get_mut(at));
        match place {
            Some(place) if !*place && message % receivers == number as u64 => *place = true,
            Some(true) => return Err(Failure::new(format!("message {message} came twice"))),
            _ => return Err(Failure::new(format!("message {message} is another's"))),
        }
        timed.record(peek::now().saturating_sub(began));
        counted.step();
        Ok(())
    });
    let mut sessions = shown("handing out", all, || countdown.made(), work)
        .await
        .map_err(|failure| {
            failure.while_doing(&format!("{} of {all} kept messages came", countdown.made()))
        })?;
    let spent = gauge.stop();
    for session in &mut sessions {
        let more = timeout(run.target.within, messages_before_answer(session)).await;
        let more = more.map_err(|_| Failure::new("no answer in time (--timeout)"))??;
        if more > 0 {
            return Err(Failure::new(format!(
                "{more} messages of {} came twice",
                session.bare()
            )));
        }
    }
    // Goodbyes are answered, so that none is away by a broken line when the next login looks.
    accounts::close(sessions, run.target.within).await;
    Ok(Outcome::new(
        "offline deliver",
        "message",
        all,
        spent,
        &latency,
    ))
}

async fn receivers(run: &Run, options: &Options, until: Until) -> Result<Vec<Session>, Failure> {
    let wanted = Wanted {
        first: options.senders,
        count: options.receivers,
        per_account: 1,
        until,
        at_once: run.at_once,
    };
    Ok(accounts::log_in(&run.target, wanted).await?.0)
}

/// Takes whatever is kept for the receivers, and says how many messages that were.
async fn drain(run: &Run, options: &Options) -> Result<usize, Failure> {
    let progress = crate::progress::Progress::new("looking", options.receivers as u64);
    let looks = accounts::each(options.receivers, run.at_once, &progress, |number| {
        let target = run.target.clone();
        let account = target.account(options.senders + number);
        async move {
            let mut session = login::log_in(&target, &account, "r0", Until::Available).await?;
            let looked = timeout(target.within, messages_before_answer(&mut session)).await;
            let doing = format!("looking for kept messages of {}", account.jid);
            let late = |_| Failure::new(format!("{doing}: no answer in time (--timeout)"));
            let mut found = looked.map_err(late)??;
            // What still comes until the goodbye is answered counts too.
            session.send("</stream:stream>").await?;
            while let Ok(Ok(stanza)) = timeout(target.within, session.stanza()).await {
                found += usize::from(stanza.starts_with(b"<message"));
            }
            Ok(found)
        }
    })
    .await?;
    Ok(looks.into_iter().sum())
}

/// Asks the own account something and counts the messages that come before the answer.
async fn messages_before_answer(session: &mut Session) -> Result<usize, Failure> {
    let ask =
        "<iq type='get' id='last'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>";
    session.send(ask).await?;
    let mut found = 0;
    loop {
        let stanza = session.stanza().await?;
        found += usize::from(stanza.starts_with(b"<message"));
        if stanza.starts_with(b"<iq") && peek::attribute(&stanza, "id") == Some(b"last") {
            return Ok(found);
        }
    }
}

async fn drain_nothing(run: &Run, options: &Options) -> Result<(), Failure> {
    match drain(run, options).await? {
        0 => Ok(()),
        doubled => Err(Failure::new(format!(
            "{doubled} messages came again at the second login, after all had been handed out"
        ))),
    }
}
