//! `muc`: a room full of people, some of whom speak (XEP-0045).

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use tokio::time::timeout;

use super::{Run, filler, no_error, shown};
use crate::accounts::{self, Wanted};
use crate::crew::{Countdown, Finish, drive};
use crate::failure::Failure;
use crate::gauge::{Gauge, Spent};
use crate::latency::Latency;
use crate::login::Until;
use crate::outcome::Outcome;
use crate::peek;
use crate::session::Session;

/// How long the server may be silent before a run is given up.
const SILENCE: Duration = Duration::from_secs(30);

/// In how many stretches the joins are weighed, to see what the last cost beside the first.
const STRETCHES: usize = 10;

/// Fills rooms, then lets some occupants speak; each says the next when it hears its own.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Rooms.
    #[arg(long, default_value_t = 1)]
    pub rooms: usize,
    /// Occupants of a room.
    #[arg(long, default_value_t = 100)]
    pub occupants: usize,
    /// How many of them speak.
    #[arg(long, default_value_t = 10)]
    pub senders: usize,
    /// Messages of one sender that it has not heard yet.
    #[arg(long, default_value_t = 1)]
    pub window: u64,
    /// Messages in all, beside a tenth of it to warm up; each is delivered to all occupants of its room.
    #[arg(long, default_value_t = 2000)]
    pub count: u64,
    /// Bytes of a body.
    #[arg(long, default_value_t = 160)]
    pub body: usize,
}

/// Does it: the joins, then the messages.
///
/// # Errors
///
/// A login or a join that failed, a message that came back as an error, a connection that ended, silence.
pub async fn run(run: &Run, options: &Options) -> Result<Vec<Outcome>, Failure> {
    if options.rooms == 0
        || options.senders == 0
        || options.window == 0
        || options.senders > options.occupants
    {
        return Err(Failure::Usage(
            "--rooms, --senders and --window begin at 1; senders are occupants".to_owned(),
        ));
    }
    let people = options.rooms * options.occupants;
    run.accounts(people).await?;
    let wanted = Wanted {
        first: 0,
        count: people,
        per_account: 1,
        until: Until::Available,
        at_once: run.at_once,
    };
    let (mut sessions, _) = accounts::log_in(&run.target, wanted).await?;
    let service = peek::escape(&run.target.muc_domain);
    let ask = format!(
        "<iq type='get' id='rooms' to='{service}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
    );
    if let Some(session) = sessions.first_mut() {
        let asked = timeout(run.target.within, session.ask("rooms", &ask)).await;
        let asked = asked.unwrap_or_else(|_| Err(Failure::new("no answer in time (--timeout)")));
        asked.map_err(|failure| {
            failure.while_doing(&format!("looking for rooms at {service} (--muc-domain)"))
        })?;
    }
    // A room of this run only: what an earlier run left in one of its name does not count.
    let stamp = peek::now().as_nanos() ^ u128::from(std::process::id()) << 40;
    let room = |number: usize| format!("load{stamp:x}r{number}@{}", run.target.muc_domain);
    let latency = Latency::new();
    let gauge = Gauge::start(run.server);
    let mut growth = Growth::begin(run, options);
    for (number, session) in sessions.iter_mut().enumerate() {
        let began = peek::now();
        let joined = timeout(
            run.target.within,
            join(session, &room(number % options.rooms), number),
        )
        .await;
        let joined =
            joined.unwrap_or_else(|_| Err(Failure::new("no answer to a join in time (--timeout)")));
        joined.map_err(|failure| {
            failure.while_doing(&format!("joining {}", room(number % options.rooms)))
        })?;
        latency.record(peek::now() - began);
        growth.joined(number);
    }
    let spent = gauge.stop();
    let kind = format!("{}x{}", options.rooms, options.occupants);
    let joins = Outcome::new(
        format!("muc join {kind}"),
        "join",
        people as u64,
        spent,
        &latency,
    );
    let joins = growth.told(joins);

    let (sessions, _) = talk(
        run,
        options,
        sessions,
        options.count / 10,
        &room,
        &Rc::default(),
    )
    .await?;
    let latency = Rc::new(Latency::new());
    let (sessions, spent) = talk(run, options, sessions, options.count, &room, &latency).await?;
    let deliveries = options.count * options.occupants as u64;
    let messages = Outcome::new(
        format!("muc deliver {kind}"),
        "delivery",
        deliveries,
        spent,
        &latency,
    );
    accounts::close(sessions, run.target.within).await;
    Ok(vec![joins, messages])
}

/// What joins cost as rooms fill: the server's CPU time for each stanza that they make it send.
struct Growth<'a> {
    run: &'a Run,
    rooms: usize,
    /// How many joins are weighed together.
    stretch: usize,
    people: usize,
    gauge: Gauge,
    /// What was sent in this stretch.
    sent: u64,
    /// Occupants of a room by then, and microseconds for a stanza.
    seen: Vec<(usize, f64)>,
}

impl<'a> Growth<'a> {
    fn begin(run: &'a Run, options: &Options) -> Growth<'a> {
        let people = options.rooms * options.occupants;
        Growth {
            run,
            rooms: options.rooms,
            stretch: people.div_ceil(STRETCHES),
            people,
            gauge: Gauge::start(run.server),
            sent: 0,
            seen: Vec::new(),
        }
    }

    /// One more has joined. Each of those before is shown to it and it to each of them; it sees itself and the subject.
    fn joined(&mut self, number: usize) {
        let before = number / self.rooms;
        self.sent += 2 * before as u64 + 2;
        let done = number + 1;
        if !done.is_multiple_of(self.stretch) && done != self.people {
            return;
        }
        let gauge = std::mem::replace(&mut self.gauge, Gauge::start(self.run.server));
        if let Some(server) = gauge.stop().server {
            let micros = server.as_secs_f64() * 1e6 / self.sent as f64;
            self.seen.push((before + 1, micros));
        }
        self.sent = 0;
    }

    /// With these figures: `to_50_cpu_us_per_stanza` is what joins cost until a room had 50.
    fn told(self, joins: Outcome) -> Outcome {
        self.seen.into_iter().fold(joins, |joins, (until, micros)| {
            joins.with(&format!("to_{until:03}_cpu_us_per_stanza"), micros)
        })
    }
}

/// Enters a room and waits for the own presence (§7.2.2); a new room that is locked is opened as it is (§10.1.2).
async fn join(session: &mut Session, room: &str, number: usize) -> Result<(), Failure> {
    let address = format!("{room}/n{number}");
    session
        .send(format!(
            "<presence to='{address}'><x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x></presence>"
        ))
        .await?;
    loop {
        let stanza = session.stanza().await?;
        if !stanza.starts_with(b"<presence") || peek::attribute_text(&stanza, "from") != address {
            no_error(&stanza)?;
            continue;
        }
        no_error(&stanza)?;
        if peek::holds(&stanza, "code='201'") || peek::holds(&stanza, "code=\"201\"") {
            let open = format!(
                "<iq type='set' id='open' to='{room}'><query xmlns='http://jabber.org/protocol/muc#owner'>\
                 <x xmlns='jabber:x:data' type='submit'/></query></iq>"
            );
            session
                .ask("open", &open)
                .await
                .map_err(|failure| failure.while_doing("opening the room"))?;
        }
        return Ok(());
    }
}

async fn talk(
    run: &Run,
    options: &Options,
    mut sessions: Vec<Session>,
    count: u64,
    room: &impl Fn(usize) -> String,
    latency: &Rc<Latency>,
) -> Result<(Vec<Session>, Spent), Failure> {
    let finish = Finish::new();
    let countdown = Rc::new(Countdown::new(count * options.occupants as u64, &finish));
    let speakers = options.rooms * options.senders;
    let messages: Vec<(Vec<u8>, Vec<u8>)> = (0..speakers)
        .map(|number| {
            let before = format!(
                "<message to='{}' type='groupchat' id='load'><body>",
                room(number % options.rooms)
            );
            (before.into_bytes(), b"</body></message>".to_vec())
        })
        .collect();
    let text = filler(options.body.saturating_sub(2 * peek::TIME_BYTES));
    let say = move |number: usize, out: &mut Vec<u8>| {
        let (before, after) = &messages[number];
        out.extend_from_slice(before);
        peek::write_time(out, peek::now());
        // Who speaks is heard from the text: a room may change addresses and ids.
        out.push(b' ');
        out.extend_from_slice(format!("#{number:06}#").as_bytes());
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(after);
    };
    let gauge = Gauge::start(run.server);
    let mut unsent = Vec::with_capacity(speakers);
    for (number, session) in sessions.iter_mut().enumerate().take(speakers) {
        let share = count / speakers as u64 + u64::from((number as u64) < count % speakers as u64);
        let first = options.window.min(share);
        for _ in 0..first {
            say(number, session.out());
        }
        unsent.push(Cell::new(share - first));
    }
    let own: Vec<String> = (0..speakers)
        .map(|number| format!("#{number:06}#"))
        .collect();
    let (latency, counted) = (latency.clone(), countdown.clone());
    let work = drive(sessions, &finish, SILENCE, move |number, stanza, out| {
        if !stanza.starts_with(b"<message") {
            return Ok(());
        }
        no_error(stanza)?;
        let Some(sent) = peek::time_in(stanza) else {
            return Ok(());
        };
        latency.record(peek::now().saturating_sub(sent));
        if let Some(left) = unsent.get(number)
            && left.get() > 0
            && peek::holds(stanza, &own[number])
        {
            left.set(left.get() - 1);
            say(number, out);
        }
        counted.step();
        Ok(())
    });
    let sessions = shown(
        "speaking",
        count * options.occupants as u64,
        || countdown.made(),
        work,
    )
    .await?;
    Ok((sessions, gauge.stop()))
}
