//! `chat`: pairs that throw messages to and fro, or send at a fixed rate whatever comes back.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use clap::Args;

use super::idle::Memory;
use super::login::tls_name;
use super::{Run, filler, no_error, shown};
use crate::accounts::{self, Wanted};
use crate::crew::{Countdown, Finish, drive};
use crate::failure::Failure;
use crate::gauge::Gauge;
use crate::latency::Latency;
use crate::login::Until;
use crate::outcome::Outcome;
use crate::pace::Pace;
use crate::peek;
use crate::session::{Feed, Session};
use crate::target::Tls;

/// How long the server may be silent before a run is given up.
const SILENCE: Duration = Duration::from_secs(30);

/// Chats: with --window each message answers one that came, with --rate they come at their time.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Pairs that chat.
    #[arg(long, default_value_t = 40)]
    pub pairs: usize,
    /// Messages under way in a pair.
    #[arg(long, default_value_t = 1)]
    pub window: u64,
    /// Messages in all, beside a tenth of it to warm up.
    #[arg(long, default_value_t = 100_000)]
    pub count: u64,
    /// Messages a second in all, sent when they are due: latency counts from when a message was due.
    #[arg(long)]
    pub rate: Option<f64>,
    /// Bytes of a body.
    #[arg(long, default_value_t = 160)]
    pub body: usize,
    /// Sessions that are held beside and do nothing.
    #[arg(long, default_value_t = 0)]
    pub idle: usize,
    /// How many of these belong to one account.
    #[arg(long, default_value_t = 1)]
    pub per_account: usize,
    /// Resources of the second of each pair; with more than one, only it hears, and by its bare JID.
    #[arg(long, default_value_t = 1)]
    pub resources: usize,
}

/// Does it.
///
/// # Errors
///
/// A login that failed, a message that came back as an error, a connection that ended, silence.
pub async fn run(run: &Run, options: &Options) -> Result<Vec<Outcome>, Failure> {
    if options.pairs == 0 || options.window == 0 || options.resources == 0 || options.count == 0 {
        return Err(Failure::Usage(
            "--pairs, --window, --count and --resources begin at 1".to_owned(),
        ));
    }
    if options
        .rate
        .is_some_and(|rate| !(rate > 0.0 && rate <= 1e6))
    {
        return Err(Failure::Usage(
            "--rate is more than 0 and at most 1000000".to_owned(),
        ));
    }
    if options.resources > 1 && options.rate.is_some() {
        return Err(Failure::Usage(
            "--resources and --rate do not go together".to_owned(),
        ));
    }
    let chatting = 2 * options.pairs;
    let beside = Wanted {
        first: chatting,
        count: options.idle,
        per_account: options.per_account,
        until: Until::Available,
        at_once: run.at_once,
    };
    run.accounts(beside.accounts()).await?;
    let before = run.server.map(Memory::now);
    let (idle, _) = accounts::log_in(&run.target, beside).await?;
    let held = run.server.map(Memory::now);
    let wanted = Wanted {
        first: 0,
        count: chatting,
        per_account: 1,
        until: Until::Available,
        at_once: run.at_once,
    };
    let (sessions, _) = accounts::log_in(&run.target, wanted).await?;
    let (sessions, outcome) = match (options.rate, options.resources) {
        (Some(rate), _) => open_loop(run, options, sessions, rate).await?,
        (None, 1) => closed_loop(run, options, sessions).await?,
        (None, _) => fan_out(run, options, sessions).await?,
    };
    accounts::close(sessions, run.target.within).await;
    accounts::close(idle, run.target.within).await;
    let outcome = match (before, held) {
        (Some(before), Some(held)) if options.idle > 0 => {
            held.since(&before, options.idle as u64, outcome)
        }
        _ => outcome,
    };
    Ok(vec![outcome])
}

/// The name of a workload on this wire.
fn named(run: &Run, name: &str) -> String {
    match run.target.tls {
        Tls::Off => name.to_owned(),
        tls => format!("{name} {}", tls_name(tls)),
    }
}

/// A message without its end: the time goes in behind `before`.
struct Template {
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Template {
    fn new(to: &str, kind: &str, body: usize) -> Template {
        let before = format!(
            "<message to='{}' type='{kind}' id='load'><body>",
            peek::escape(to)
        );
        let after = format!(
            "{}</body></message>",
            filler(body.saturating_sub(peek::TIME_BYTES))
        );
        Template {
            before: before.into_bytes(),
            after: after.into_bytes(),
        }
    }

    fn write(&self, out: &mut Vec<u8>, time: Duration) {
        out.extend_from_slice(&self.before);
        peek::write_time(out, time);
        out.extend_from_slice(&self.after);
    }
}

/// One template a session, to the other of its pair.
fn templates(sessions: &[Session], body: usize) -> Vec<Template> {
    let to = |number: usize| Template::new(&sessions[number ^ 1].jid, "chat", body);
    (0..sessions.len()).map(to).collect()
}

/// Takes a message in: how long it was under way.
fn took(stanza: &[u8]) -> Result<Option<Duration>, Failure> {
    if !stanza.starts_with(b"<message") {
        return Ok(None);
    }
    no_error(stanza)?;
    Ok(peek::time_in(stanza).map(|sent| peek::now().saturating_sub(sent)))
}

async fn closed_loop(
    run: &Run,
    options: &Options,
    sessions: Vec<Session>,
) -> Result<(Vec<Session>, Outcome), Failure> {
    let latency = Rc::new(Latency::new());
    let templates = Rc::new(templates(&sessions, options.body));
    let sessions = bounce(options, sessions, options.count / 10, &templates, &latency).await?;
    latency.clear();
    let gauge = Gauge::start(run.server);
    let sessions = bounce(options, sessions, options.count, &templates, &latency).await?;
    let spent = gauge.stop();
    let name = named(run, &format!("chat window={}", options.window));
    let outcome = Outcome::new(name, "message", options.count, spent, &latency);
    Ok((sessions, outcome))
}

/// Throws `count` messages to and fro.
async fn bounce(
    options: &Options,
    mut sessions: Vec<Session>,
    count: u64,
    templates: &Rc<Vec<Template>>,
    latency: &Rc<Latency>,
) -> Result<Vec<Session>, Failure> {
    let finish = Finish::new();
    let countdown = Rc::new(Countdown::new(count, &finish));
    let pairs = options.pairs as u64;
    let mut unsent = Vec::with_capacity(options.pairs);
    for pair in 0..options.pairs {
        let share = count / pairs + u64::from((pair as u64) < count % pairs);
        let first = options.window.min(share);
        let begin = 2 * pair;
        for _ in 0..first {
            templates[begin].write(sessions[begin].out(), peek::now());
        }
        unsent.push(Cell::new(share - first));
    }
    let (templates, latency, counted) = (templates.clone(), latency.clone(), countdown.clone());
    let work = drive(sessions, &finish, SILENCE, move |number, stanza, out| {
        let Some(took) = took(stanza)? else {
            return Ok(());
        };
        latency.record(took);
        let left = &unsent[number / 2];
        if left.get() > 0 {
            left.set(left.get() - 1);
            templates[number].write(out, peek::now());
        }
        counted.step();
        Ok(())
    });
    shown("chatting", count, || countdown.made(), work).await
}

async fn open_loop(
    run: &Run,
    options: &Options,
    sessions: Vec<Session>,
    rate: f64,
) -> Result<(Vec<Session>, Outcome), Failure> {
    let latency = Rc::new(Latency::new());
    let late = Rc::new(Latency::new());
    let templates = Rc::new(templates(&sessions, options.body));
    let sessions = paced(
        sessions,
        rate,
        options.count / 10,
        &templates,
        &latency,
        &late,
    )
    .await?;
    latency.clear();
    late.clear();
    let gauge = Gauge::start(run.server);
    let sessions = paced(sessions, rate, options.count, &templates, &latency, &late).await?;
    let spent = gauge.stop();
    let name = named(run, &format!("chat rate={rate}"));
    let sent_late = late.summary().map_or(0.0, |summary| summary.p99);
    let outcome = Outcome::new(name, "message", options.count, spent, &latency)
        .with("generator_late_p99_us", sent_late);
    Ok((sessions, outcome))
}

/// Sends `count` messages at their time, every pair and both ways in turn.
async fn paced(
    mut sessions: Vec<Session>,
    rate: f64,
    count: u64,
    templates: &Rc<Vec<Template>>,
    latency: &Rc<Latency>,
    late: &Rc<Latency>,
) -> Result<Vec<Session>, Failure> {
    let feeds: Vec<Rc<Feed>> = sessions.iter().map(|_| Rc::new(Feed::default())).collect();
    for (session, feed) in sessions.iter_mut().zip(&feeds) {
        session.feed_from(feed.clone());
    }
    let finish = Finish::new();
    let countdown = Rc::new(Countdown::new(count, &finish));
    let (counted, timed) = (countdown.clone(), latency.clone());
    let work = drive(sessions, &finish, SILENCE, move |_, stanza, _| {
        if let Some(took) = took(stanza)? {
            timed.record(took);
            counted.step();
        }
        Ok(())
    });
    let mut pace = Pace::start(rate, count)?;
    let beat = async {
        let mut turn = 0;
        while let Some(due) = pace.next().await {
            late.record(peek::now().saturating_sub(due));
            let number = turn % feeds.len();
            feeds[number].give(|out| templates[number].write(out, due));
            turn += 1;
        }
    };
    let both = async { tokio::join!(work, beat).0 };
    shown("chatting", count, || countdown.made(), both).await
}

/// The first of each pair says headlines to the bare JID of the second, whose resources all hear them (RFC 6121
/// §8.5.2.1.1); the first says the next when all have heard.
async fn fan_out(
    run: &Run,
    options: &Options,
    mut sessions: Vec<Session>,
) -> Result<(Vec<Session>, Outcome), Failure> {
    let chatting = sessions.len();
    for pair in 0..options.pairs {
        let account = run.target.account(2 * pair + 1);
        for extra in 1..options.resources {
            let resource = format!("r{extra}");
            let session = crate::login::log_in(&run.target, &account, &resource, Until::Available);
            sessions.push(session.await?);
        }
    }
    let bare = |pair: usize| sessions[2 * pair + 1].bare().to_owned();
    let templates: Rc<Vec<Template>> = Rc::new(
        (0..options.pairs)
            .map(|pair| Template::new(&bare(pair), "headline", options.body))
            .collect(),
    );
    let latency = Rc::new(Latency::new());
    let (sessions, _) = fan(
        options,
        sessions,
        chatting,
        options.count / 10,
        &templates,
        &latency,
    )
    .await?;
    latency.clear();
    let gauge = Gauge::start(run.server);
    let (sessions, heard) = fan(
        options,
        sessions,
        chatting,
        options.count,
        &templates,
        &latency,
    )
    .await?;
    let spent = gauge.stop();
    let name = named(run, &format!("chat resources={}", options.resources));
    Ok((
        sessions,
        Outcome::new(name, "delivery", heard, spent, &latency),
    ))
}

async fn fan(
    options: &Options,
    mut sessions: Vec<Session>,
    chatting: usize,
    count: u64,
    templates: &Rc<Vec<Template>>,
    latency: &Rc<Latency>,
) -> Result<(Vec<Session>, u64), Failure> {
    let resources = options.resources as u64;
    let rounds = (count / resources / options.pairs as u64).max(1);
    let all = rounds * resources * options.pairs as u64;
    let finish = Finish::new();
    let countdown = Rc::new(Countdown::new(all, &finish));
    let mut feeds = Vec::with_capacity(options.pairs);
    for pair in 0..options.pairs {
        let feed = Rc::new(Feed::default());
        sessions[2 * pair].feed_from(feed.clone());
        feed.give(|out| templates[pair].write(out, peek::now()));
        feeds.push(feed);
    }
    let heard: Vec<Cell<u64>> = (0..options.pairs).map(|_| Cell::new(0)).collect();
    let extra = options.resources - 1;
    let (templates, latency, counted) = (templates.clone(), latency.clone(), countdown.clone());
    let work = drive(sessions, &finish, SILENCE, move |number, stanza, _| {
        let Some(took) = took(stanza)? else {
            return Ok(());
        };
        latency.record(took);
        let pair = match number < chatting {
            true => number / 2,
            false => (number - chatting) / extra,
        };
        let all = heard[pair].get() + 1;
        heard[pair].set(all);
        if all.is_multiple_of(resources) && all / resources < rounds {
            feeds[pair].give(|out| templates[pair].write(out, peek::now()));
        }
        counted.step();
        Ok(())
    });
    let sessions = shown("chatting", all, || countdown.made(), work).await?;
    Ok((sessions, all))
}
