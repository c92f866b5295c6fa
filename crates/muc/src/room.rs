//! A room: one conversation and those who hear it (XEP-0045 §3).
//!
//! One per open room, `temporary`, under a shard of `room_sup`, opened by the first stanza to it. Owns the occupants
//! and the order in which they hear things. Affiliations, configuration, subject and what was said lie in storage as
//! well, so that a room that falls is opened again by the next stanza; its people are told to come back (status 333).
//! A room without occupants ends after a while: what is left of it is its row.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use otp::{Ctx, ExitReason, Flow, GenServer, Init};
use router::{Outcome, Parcel};
use storage::{Affiliation, Batch, StorageError, StoredRoom};
use xmpp::{BareJid, Condition, Jid, Kind, MessageType, Stanza, StanzaError, ns};

use crate::activity::Activity;
use crate::affiliations::Affiliations;
use crate::config::RoomConfig;
use crate::doubt::Doubt;
use crate::hats::Hat;
use crate::history::{History, Past, delayed};
use crate::iq::Relays;
use crate::occupants::Occupants;
use crate::outbox::{Next, Out, Outbox};
use crate::register::Requests;
use crate::rooms::{Entry, begin};
use crate::rules::{Role, Standing};
use crate::service::{Service, sender};

/// How many deliveries a room makes before it hears again.
const SLICE: usize = 256;

/// With so many deliveries waiting a room makes them before it hears anything more.
const CROWDED: usize = 50_000;

/// With so many messages waiting for the store a room takes no more.
pub(crate) const UNWRITTEN: usize = 1000;

/// How long the process of a room that does not exist waits for the next stanza.
const ABSENT: Duration = Duration::from_secs(5);

/// What became of a stanza.
pub(crate) type Heard = Result<Outcome, StanzaError>;

/// Whether there is such a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// There is none.
    Absent,
    /// Made, and not yet configured: nobody but its owner may enter (§10.1).
    Locked,
    /// It is there.
    Open,
}

/// What a room's process starts with.
pub(crate) struct RoomArgs {
    pub(crate) service: Arc<Service>,
    pub(crate) name: String,
}

/// What it can be told.
pub(crate) enum Cast {
    /// A stanza for it, or for one of its occupants.
    Route(Parcel),
    /// An account was removed.
    Gone(BareJid),
}

/// What else it hears.
pub(crate) enum Note {
    /// There is more to say.
    GoOn,
    /// The store has answered.
    Written(u64, Result<(), StorageError>),
    /// What the store holds, read after so many writes.
    Known(u64, Option<Box<StoredRoom>>),
    /// A question to the archive is answered.
    Read,
    /// The owner had time enough to configure a new room: the one made so.
    Configured(SystemTime),
}

/// State. Invariant: a room that is [`Phase::Absent`] has neither occupants nor affiliations; one that is
/// [`Phase::Open`] is stored.
pub(crate) struct Room {
    pub(crate) service: Arc<Service>,
    pub(crate) address: BareJid,
    pub(crate) entry: Arc<Entry>,
    pub(crate) phase: Phase,
    pub(crate) created: SystemTime,
    pub(crate) config: RoomConfig,
    pub(crate) affiliations: Affiliations,
    pub(crate) occupants: Occupants,
    pub(crate) history: History,
    /// The message that set the subject, without `to`, and when.
    pub(crate) subject: Option<(Stanza, SystemTime)>,
    pub(crate) outbox: Outbox,
    /// How many messages wait for the store.
    pub(crate) unwritten: usize,
    pub(crate) doubt: Doubt,
    pub(crate) relays: Relays,
    pub(crate) requests: Requests,
    /// Something happened since it was last noted in the store.
    pub(crate) used: bool,
    /// How many questions to the archive are being answered.
    pub(crate) reading: usize,
    /// The hashes of the room's picture.
    pub(crate) avatars: Vec<String>,
    pub(crate) hats: Vec<Hat>,
    pub(crate) activity: Activity,
}

impl GenServer for Room {
    const KIND: &'static str = "room";
    type Args = RoomArgs;
    type Call = crate::commands::Call;
    type Reply = crate::commands::Reply;
    type Cast = Cast;
    type Info = Note;

    async fn init(args: RoomArgs, ctx: &mut Ctx<Self>) -> Init<Self> {
        let RoomArgs { service, name } = args;
        let Some(address) = service.room(&name) else {
            return Init::Stop(ExitReason::error(format!("`{name}` is no room's name")));
        };
        ctx.set_kind_label(address.to_string());
        let Some(entry) = begin(&service, &name, ctx.pid().clone()).await else {
            return Init::Ignore;
        };
        Init::Continue(Room {
            config: service.settings().defaults.clone(),
            created: ctx.clock().wall(),
            service,
            address,
            entry,
            phase: Phase::Absent,
            affiliations: Affiliations::default(),
            occupants: Occupants::default(),
            history: History::default(),
            subject: None,
            outbox: Outbox::default(),
            unwritten: 0,
            doubt: Doubt::default(),
            relays: Relays::default(),
            requests: Requests::default(),
            used: false,
            reading: 0,
            avatars: Vec::new(),
            hats: Vec::new(),
            activity: Activity::new(ctx.clock().now()),
        })
    }

    async fn handle_continue(&mut self, _ctx: &mut Ctx<Self>) -> Flow {
        match self.load().await {
            Ok(()) => self.rest(),
            Err(why) => Flow::Stop(ExitReason::error(why)),
        }
    }

    async fn handle_call(
        &mut self,
        call: Self::Call,
        from: otp::From<Self::Reply>,
        ctx: &mut Ctx<Self>,
    ) -> Flow {
        let reply = self.command(call).await;
        from.reply(reply);
        self.tidy(ctx);
        self.speak(ctx).await;
        self.rest()
    }

    async fn handle_cast(&mut self, cast: Cast, ctx: &mut Ctx<Self>) -> Flow {
        match cast {
            Cast::Route(parcel) => self.hear(parcel, ctx).await,
            Cast::Gone(account) => self.account_gone(&account, ctx),
        }
        self.speak(ctx).await;
        self.rest()
    }

    async fn handle_info(&mut self, info: otp::Info<Note>, ctx: &mut Ctx<Self>) -> Flow {
        match info {
            otp::Info::Message(Note::GoOn) => self.outbox.awake = false,
            otp::Info::Message(Note::Written(number, result)) => {
                self.unwritten = self.unwritten.saturating_sub(1);
                self.outbox.written(number, result.is_ok());
                if let Err(error) = result {
                    self.doubt.failed(&error);
                }
            }
            otp::Info::Message(Note::Known(asked, stored)) => {
                self.known(asked, stored).await;
                self.tidy(ctx);
            }
            otp::Info::Message(Note::Read) => self.reading = self.reading.saturating_sub(1),
            otp::Info::Message(Note::Configured(room)) => self.configured(room).await,
            otp::Info::Timeout if self.is_idle() => return self.hibernate(ctx).await,
            otp::Info::Timeout | otp::Info::Down(_) => {}
        }
        self.speak(ctx).await;
        self.rest()
    }

    async fn terminate(mut self, reason: &ExitReason, _ctx: &mut Ctx<Self>) {
        if !matches!(reason, ExitReason::Normal) {
            self.shut_down(reason).await;
        }
        self.entry.present.lock().clear();
        self.service.rooms.remove(&self.entry);
    }
}

impl Room {
    /// Reads what is stored of the room.
    pub(crate) async fn load(&mut self) -> Result<(), String> {
        let storage = &self.service.host.storage;
        let failed = |error: StorageError| format!("{}: {error}", self.address);
        let Some(stored) = storage.rooms.get(&self.address).await.map_err(failed)? else {
            return Ok(());
        };
        let config = RoomConfig::restored(&stored.config, &self.service.bounds());
        let config =
            config.ok_or_else(|| format!("{}: its configuration is damaged", self.address))?;
        let history = storage
            .archive
            .history(&self.address, config.history as usize);
        let history = history.await.map_err(failed)?;
        let past = |message: storage::ArchiveMessage| {
            let stanza = Stanza::parse(&message.stanza).ok()?;
            Some(Past {
                at: message.at,
                id: message.id,
                stanza: stanza.edit().to(None).finish(),
            })
        };
        self.history = History::restored(history.into_iter().filter_map(past).collect());
        self.subject = stored
            .subject
            .as_deref()
            .and_then(crate::talk::stored_subject);
        self.config = config;
        let vcard = storage.rooms.vcard(&self.address).await.map_err(failed)?;
        self.take_hats(&stored.config);
        let vcard = vcard.and_then(|text| text.parse().ok());
        self.avatars = vcard.map_or_else(Vec::new, |vcard| crate::avatar::hashes(&vcard));
        self.affiliations = Affiliations::restored(stored.affiliations, stored.version);
        self.created = stored.created;
        self.phase = Phase::Open;
        Ok(())
    }

    /// The hats that are stored with a configuration.
    pub(crate) fn take_hats(&mut self, config: &str) {
        let stored = crate::config::stored_values(config, crate::hats::STORED);
        self.hats = stored.iter().filter_map(|hat| Hat::restored(hat)).collect();
    }

    /// What is stored of the room.
    pub(crate) fn stored(&self, config: &RoomConfig) -> StoredRoom {
        StoredRoom {
            service: self.address.domain().as_str().to_owned(),
            face: config.face(&self.entry.name, self.now()),
            config: config.stored((
                crate::hats::STORED,
                self.hats.iter().map(Hat::stored).collect(),
            )),
            subject: None,
            created: self.created,
            version: self.affiliations.version(),
            affiliations: Vec::new(),
        }
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.service.host.clock.wall()
    }

    /// The room's address.
    pub(crate) fn here(&self) -> Jid {
        Jid::from(self.address.clone())
    }

    /// The address of the occupant of that nickname.
    pub(crate) fn at(&self, nick: &str) -> Jid {
        let full = self.address.with_resource_str(nick);
        Jid::from(full.expect("nicknames are resources"))
    }

    // Hearing.

    /// A stanza comes. It stays in its envelope until it is dealt with, so that it outlives a fall of the room.
    async fn hear(&mut self, parcel: Parcel, ctx: &mut Ctx<Self>) {
        let stanza = parcel.get().stanza.clone();
        let heard = match stanza.kind() {
            Kind::Presence => self.presence(&stanza, ctx).await,
            Kind::Message => self.message(&stanza, ctx).await,
            Kind::Iq => self.iq(&stanza, ctx).await,
        };
        let outcome = heard.unwrap_or_else(|error| self.refuse(&stanza, &error));
        let receipt = parcel.take().receipt;
        self.outbox.push(Out::Settle(receipt, outcome));
        self.tidy(ctx);
    }

    fn refuse(&mut self, stanza: &Stanza, error: &StanzaError) -> Outcome {
        match stanza.error_reply(error) {
            Some(reply) => {
                self.outbox.push(Out::One(reply));
                Outcome::Bounced
            }
            None => Outcome::Dropped,
        }
    }

    /// Messages, by what they are for (§7.4 to §7.8, §8.1, §8.6).
    async fn message(&mut self, stanza: &Stanza, ctx: &mut Ctx<Self>) -> Heard {
        if stanza.message_type() == MessageType::Error {
            return Ok(self.failed(stanza));
        }
        if self.phase != Phase::Open && self.number(sender(stanza)).is_none() {
            return Err(Condition::ItemNotFound.into());
        }
        let to = stanza.to().and_then(|to| to.resource());
        match (to.map(|nick| nick.as_str()), stanza.message_type()) {
            (Some(nick), _) => self.whisper(stanza, nick),
            (None, MessageType::Groupchat) => self.say(stanza, ctx).await,
            (None, _) => self.ask(stanza).await,
        }
    }

    // Who somebody is.

    /// The occupant of a device.
    pub(crate) fn number(&self, from: &Jid) -> Option<u64> {
        self.occupants.by_jid(from.try_as_full().ok()?)
    }

    /// What somebody is here: by the device, else by any other of the account, else by the affiliation alone.
    /// Who manages the service counts as an owner; the store is asked only where that makes a difference.
    pub(crate) async fn standing(&self, from: &Jid) -> Result<Standing, StanzaError> {
        let user = from.to_bare();
        let number = self
            .number(from)
            .or_else(|| self.occupants.of(&user).first().copied());
        let occupant = number.and_then(|number| self.occupants.get(number));
        let standing = Standing {
            role: occupant.map_or(Role::None, |who| who.role),
            affiliation: self.affiliations.of(&user),
        };
        if standing.affiliation < Affiliation::Owner && self.service.is_admin(&user).await? {
            return Ok(Standing {
                role: Role::Moderator,
                affiliation: Affiliation::Owner,
            });
        }
        Ok(standing)
    }

    // Storing.

    /// Stores changes before anything of them shows.
    pub(crate) async fn commit(&mut self, batch: Batch) -> Result<(), StanzaError> {
        self.doubt.writes();
        let done = self.service.host.storage.commit(batch).await;
        if let Err(error) = &done {
            self.doubt.failed(error);
        }
        done?;
        Ok(())
    }

    /// Stores changes while the room goes on: `then` has its turn once they are on the disk, `otherwise` if they
    /// never will be.
    pub(crate) fn store(
        &mut self,
        batch: Batch,
        then: Vec<Out>,
        otherwise: Vec<Out>,
        ctx: &mut Ctx<Self>,
    ) {
        self.doubt.writes();
        let number = self.outbox.number();
        let storage = self.service.host.storage.clone();
        let mut writing = Box::pin(async move { storage.commit(batch).await });
        // Asked once here, so that writes are queued in the order of what was heard.
        let answered = writing.as_mut().now_or_never();
        let (pid, room) = (ctx.pid().clone(), self.address.clone());
        let done = move |result: Result<_, StorageError>| {
            if let Err(error) = &result {
                tracing::error!(target: "natter::muc", %room, %error, "not stored");
            }
            let _ = pid.info(Note::Written(number, result.map(drop)));
        };
        match answered {
            Some(result) => done(result),
            None => {
                ctx.spawn(async move { done(writing.await) });
            }
        }
        self.unwritten += 1;
        self.outbox.push(Out::Stored {
            number,
            then,
            otherwise,
        });
    }

    // Speaking.

    /// Says what is next, in slices: between them the room hears.
    async fn speak(&mut self, ctx: &mut Ctx<Self>) {
        self.find_out(ctx);
        let mut said = 0;
        loop {
            match self.outbox.next(SLICE) {
                Next::Do(out) => said += self.perform(out).await,
                Next::Wait | Next::Empty => return,
            }
            if said >= SLICE && self.outbox.waiting() < CROWDED {
                if !self.outbox.awake {
                    self.outbox.awake = true;
                    let _ = ctx.pid().info(Note::GoOn);
                }
                return;
            }
        }
    }

    /// Does one thing; how many deliveries it was.
    async fn perform(&mut self, out: Out) -> usize {
        match out {
            Out::One(stanza) => {
                self.service.send(stanza).await;
                1
            }
            Out::Many(many) => {
                for to in many.rest() {
                    let stanza = many.stanza.edit().to_shared(to).finish();
                    self.service.send(stanza).await;
                }
                many.hearers.len()
            }
            Out::Remember(past) => {
                self.entry.said.fetch_add(1, Ordering::Relaxed);
                self.history.remember(past, self.config.history as usize);
                0
            }
            Out::Forget(id) => {
                self.history.forget(&id);
                0
            }
            Out::Subject(subject) => {
                self.subject = subject;
                0
            }
            Out::Past(to, wanted) => {
                let told = self.history.told(&wanted, &self.here(), &to);
                let count = told.len() + 1;
                for stanza in told {
                    self.service.send(stanza).await;
                }
                let subject = self.subject_for(&to);
                self.service.send(subject).await;
                count
            }
            Out::Settle(receipt, outcome) => {
                receipt.resolve(outcome);
                0
            }
            Out::Stored { .. } => unreachable!("the outbox keeps what waits for the store"),
        }
    }

    /// The subject as somebody who comes hears it (§7.2.15).
    fn subject_for(&self, to: &Jid) -> Stanza {
        match &self.subject {
            Some((message, at)) => delayed(message, *at, &self.here(), to),
            None => Stanza::message(MessageType::Groupchat)
                .from(self.here())
                .to(to.clone())
                .append(xmpp::Fragment::element("subject", ns::CLIENT, &[], ""))
                .finish(),
        }
    }

    // Ending.

    /// A room that nobody is in, and that does not outlive that, ends (§7.14).
    pub(crate) fn tidy(&mut self, ctx: &mut Ctx<Self>) {
        let ends = match self.phase {
            Phase::Absent => false,
            Phase::Locked => true,
            Phase::Open => !self.config.persistent,
        };
        if ends && self.occupants.is_empty() {
            self.vanish(ctx);
        }
    }

    /// The room is no more.
    pub(crate) fn vanish(&mut self, ctx: &mut Ctx<Self>) {
        if self.phase == Phase::Open {
            let mut batch = Batch::new();
            batch.remove_room(&self.address);
            self.store(batch, Vec::new(), Vec::new(), ctx);
        }
        self.forget();
    }

    /// As if there had never been a room.
    pub(crate) fn forget(&mut self) {
        self.phase = Phase::Absent;
        self.config = self.service.settings().defaults.clone();
        self.affiliations = Affiliations::default();
        self.history = History::default();
        self.subject = None;
        self.requests = Requests::default();
        self.used = false;
        self.avatars = Vec::new();
        self.hats = Vec::new();
        self.activity = Activity::new(self.service.host.clock.now());
    }

    fn is_idle(&self) -> bool {
        self.occupants.is_empty() && self.outbox.is_empty()
    }

    /// What the process does until it hears again.
    fn rest(&self) -> Flow {
        if !self.is_idle() {
            return Flow::Go;
        }
        Flow::Timeout(match self.phase {
            Phase::Absent => ABSENT,
            Phase::Locked | Phase::Open => self.service.settings().opts.hibernate_after,
        })
    }

    /// Nobody is there and nothing is to be done: the row is enough.
    async fn hibernate(&mut self, ctx: &mut Ctx<Self>) -> Flow {
        if self.phase == Phase::Open && !self.config.persistent {
            // It was opened again after a fall, and nobody came.
            self.vanish(ctx);
            return self.rest();
        }
        if self.used {
            self.note_use().await;
        }
        Flow::Stop(ExitReason::Normal)
    }

    async fn note_use(&mut self) {
        self.used = false;
        let at = self.now();
        let noted = self
            .service
            .host
            .storage
            .rooms
            .touch(&self.address, at)
            .await;
        if let Err(error) = noted {
            tracing::warn!(target: "natter::muc", room = %self.address, %error, "its last use was not noted");
        }
    }

    /// The service ends: all are told (§12, status 332), after what was said before.
    async fn shut_down(&mut self, reason: &ExitReason) {
        while let Next::Do(out) = self.outbox.next(usize::MAX) {
            self.perform(out).await;
        }
        let status = if reason.is_orderly() { 332 } else { 333 };
        for number in self.occupants.numbers() {
            let Some(who) = self.occupants.leave(number) else {
                continue;
            };
            let from = self.at(&who.nick);
            for device in &who.devices {
                self.service
                    .send(crate::stanzas::gone(&from, &device.to, &[110, status]))
                    .await;
            }
        }
        if self.used && self.phase == Phase::Open {
            self.note_use().await;
        }
    }
}
