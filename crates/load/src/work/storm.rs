//! `storm`: everybody's connection falls and everybody comes back at once, while a few others go on asking.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use clap::Args;
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use super::Run;
use super::login::tls_name;
use crate::accounts::{self, Wanted};
use crate::crew::{Finish, drive};
use crate::failure::Failure;
use crate::gauge::Gauge;
use crate::latency::{Latency, Summary};
use crate::login::Until;
use crate::outcome::Outcome;
use crate::pace::Pace;
use crate::peek;
use crate::session::Feed;
use crate::target::Target;

/// Lets all sessions fall and log in again at once. An error of any one is an error of the run.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Sessions that fall and come back.
    #[arg(long, default_value_t = 1000)]
    pub sessions: usize,
    /// Sessions that stay, and ping the server.
    #[arg(long, default_value_t = 10)]
    pub observers: usize,
    /// Their pings a second, of all together.
    #[arg(long, default_value_t = 100.0)]
    pub rate: f64,
    /// Seconds for which they ask before the storm.
    #[arg(long, default_value_t = 3)]
    pub calm: u64,
}

const CALM: u8 = 0;
const STORM: u8 = 1;
const OVER: u8 = 2;

/// Does it.
///
/// # Errors
///
/// A login that failed, an observer's ping that was answered with an error or not at all.
pub async fn run(run: &Run, options: &Options) -> Result<Vec<Outcome>, Failure> {
    if options.sessions == 0 || options.observers == 0 {
        return Err(Failure::Usage(
            "--sessions and --observers begin at 1".to_owned(),
        ));
    }
    if !(options.rate > 0.0 && options.rate <= 1e5) {
        return Err(Failure::Usage(
            "--rate is more than 0 and at most 100000".to_owned(),
        ));
    }
    run.accounts(options.sessions + options.observers).await?;
    let mut wanted = Wanted {
        first: 0,
        count: options.sessions,
        per_account: 1,
        until: Until::Available,
        at_once: run.at_once,
    };
    let (sessions, _) = accounts::log_in(&run.target, wanted).await?;
    let observers = Observers::start(run, options).await?;
    tokio::time::sleep(Duration::from_secs(options.calm)).await;
    let gauge = Gauge::start(run.server);
    observers.phase.store(STORM, Ordering::Relaxed);
    drop(sessions);
    wanted.at_once = options.sessions;
    let back = accounts::log_in(&run.target, wanted).await;
    let spent = gauge.stop();
    let (calm, storm) = observers.end().await?;
    let (sessions, latency) = back?;
    accounts::close(sessions, run.target.within).await;
    let name = format!("storm {} {}", options.sessions, tls_name(run.target.tls));
    let mut outcome = Outcome::new(name, "login", options.sessions as u64, spent, &latency);
    for (called, summary) in [("calm", calm), ("storm", storm)] {
        if let Some(Summary { p50, p99, max, .. }) = summary {
            outcome = outcome
                .with(&format!("others_{called}_p50_us"), p50)
                .with(&format!("others_{called}_p99_us"), p99)
                .with(&format!("others_{called}_max_us"), max);
        }
    }
    Ok(vec![outcome])
}

/// What the observers found, before the storm and in it.
type Found = Result<(Option<Summary>, Option<Summary>), Failure>;

/// Those who stay: in a thread of their own, since the one that logs thousands in has no time for them.
struct Observers {
    phase: Arc<AtomicU8>,
    thread: JoinHandle<Found>,
}

impl Observers {
    async fn start(run: &Run, options: &Options) -> Result<Observers, Failure> {
        let phase = Arc::new(AtomicU8::new(CALM));
        let (ready, begun) = oneshot::channel();
        let target = run.target.twin();
        let (seen, options) = (phase.clone(), options.clone());
        let thread = std::thread::Builder::new()
            .name("observers".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .map_err(|error| Failure::new(format!("starting a runtime: {error}")))?;
                LocalSet::new().block_on(&runtime, observe(Rc::new(target), options, seen, ready))
            })
            .map_err(|error| Failure::new(format!("starting a thread: {error}")))?;
        let observers = Observers { phase, thread };
        // Without a word from them they have failed, and say why.
        if begun.await.is_err() {
            observers.end().await?;
        } else {
            return Ok(observers);
        }
        Err(Failure::new("the observers ended before they began"))
    }

    async fn end(self) -> Found {
        self.phase.store(OVER, Ordering::Relaxed);
        let joined = tokio::task::spawn_blocking(|| self.thread.join()).await;
        match joined {
            Ok(Ok(found)) => found,
            _ => Err(Failure::new("the observers fell")),
        }
    }
}

async fn observe(
    target: Rc<Target>,
    options: Options,
    phase: Arc<AtomicU8>,
    ready: oneshot::Sender<()>,
) -> Found {
    let wanted = Wanted {
        first: options.sessions,
        count: options.observers,
        per_account: 1,
        until: Until::Available,
        at_once: options.observers,
    };
    let (mut sessions, _) = accounts::log_in(&target, wanted).await?;
    let feeds: Vec<Rc<Feed>> = sessions.iter().map(|_| Rc::new(Feed::default())).collect();
    for (session, feed) in sessions.iter_mut().zip(&feeds) {
        session.feed_from(feed.clone());
    }
    let calm = Rc::new(Latency::new());
    let storm = Rc::new(Latency::new());
    let finish = Finish::new();
    let answered = Rc::new(std::cell::Cell::new(0_u64));
    let asked = Rc::new(std::cell::Cell::new(0_u64));
    let over = Rc::new(std::cell::Cell::new(false));
    let began_storm = Rc::new(std::cell::Cell::new(Duration::MAX));
    let work = {
        let (calm, storm, began_storm) = (calm.clone(), storm.clone(), began_storm.clone());
        let (answered, asked, over, ending) = (
            answered.clone(),
            asked.clone(),
            over.clone(),
            finish.clone(),
        );
        drive(sessions, &finish, target.within, move |_, stanza, _| {
            let Some(due) = peek::attribute(stanza, "id").and_then(peek::time_in) else {
                return Ok(());
            };
            super::no_error(stanza)?;
            let took = peek::now().saturating_sub(due);
            match due < began_storm.get() {
                true => calm.record(took),
                false => storm.record(took),
            }
            answered.set(answered.get() + 1);
            if over.get() && answered.get() == asked.get() {
                ending.done();
            }
            Ok(())
        })
    };
    let beat = async {
        let mut pace = Pace::start(options.rate, u64::MAX)?;
        let _ = ready.send(());
        while let Some(due) = pace.next().await {
            match phase.load(Ordering::Relaxed) {
                OVER => break,
                STORM => began_storm.set(began_storm.get().min(due)),
                _ => {}
            }
            if finish.is_done() {
                break;
            }
            let number = (asked.get() % feeds.len() as u64) as usize;
            let domain = target.account(options.sessions + number).domain;
            feeds[number].give(|out| {
                out.extend_from_slice(format!("<iq type='get' to='{domain}' id='").as_bytes());
                peek::write_time(out, due);
                out.extend_from_slice(b"'><ping xmlns='urn:xmpp:ping'/></iq>");
            });
            asked.set(asked.get() + 1);
        }
        over.set(true);
        if answered.get() == asked.get() {
            finish.done();
        }
        Ok::<(), Failure>(())
    };
    let (sessions, beaten) = tokio::join!(work, beat);
    beaten?;
    accounts::close(sessions?, target.within).await;
    Ok((calm.summary(), storm.summary()))
}
