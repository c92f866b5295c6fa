//! What the store may or may not have done: a write that was begun and never answered.
//!
//! Whoever asked for it was told that it failed, and so the room goes on. Once the store works again it is asked what it
//! holds, and the room follows it: what is on the disk is true, or a room would be another one after it was opened anew.

use std::time::Duration;

use otp::Ctx;
use storage::{Affiliated, Affiliation, StorageError, StoredRoom};

use crate::admin::Changed;
use crate::config::RoomConfig;
use crate::outbox::{Many, Out};
use crate::room::{Note, Phase, Room};

/// How long until a store that did not answer is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// What a room knows of its own writes.
#[derive(Default)]
pub(crate) struct Doubt {
    /// How many there were.
    writes: u64,
    /// The store may have made one that it was said to have failed.
    open: bool,
    /// It is being asked.
    asking: bool,
}

impl Doubt {
    /// One more write is made.
    pub(crate) fn writes(&mut self) {
        self.writes += 1;
    }

    /// A write failed.
    pub(crate) fn failed(&mut self, error: &StorageError) {
        self.open |= error.may_have_been_applied();
    }
}

impl Room {
    /// Asks what the store holds, if that is in doubt: again and again, until it answers.
    pub(crate) fn find_out(&mut self, ctx: &mut Ctx<Room>) {
        if !self.doubt.open || self.doubt.asking {
            return;
        }
        self.doubt.asking = true;
        let (host, room, at) = (self.service.host.clone(), self.address.clone(), self.now());
        let (asked, pid) = (self.doubt.writes, ctx.pid().clone());
        ctx.spawn(async move {
            loop {
                // A write is answered when all that were begun before it are decided.
                let decided = host.storage.rooms.touch(&room, at).await;
                if decided.is_ok()
                    && let Ok(stored) = host.storage.rooms.get(&room).await
                {
                    let _ = pid.info(Note::Known(asked, stored.map(Box::new)));
                    return;
                }
                host.clock.sleep(AGAIN).await;
            }
        });
    }

    /// The store has said what it holds, after so many writes.
    pub(crate) async fn known(&mut self, asked: u64, stored: Option<Box<StoredRoom>>) {
        self.doubt.asking = false;
        if asked != self.doubt.writes || self.unwritten > 0 {
            // More was written meanwhile: this is what was.
            return;
        }
        self.doubt.open = false;
        match (self.phase, stored) {
            (Phase::Absent | Phase::Locked, None) => {}
            (Phase::Absent, Some(_)) => {
                if let Err(why) = self.load().await {
                    tracing::error!(target: "natter::muc", why, "a room was not read");
                }
            }
            (Phase::Open, None) => self.dissolve(None, None, None),
            (Phase::Locked | Phase::Open, Some(stored)) => self.follow_store(*stored),
        }
    }

    /// The room becomes what is stored.
    fn follow_store(&mut self, stored: StoredRoom) {
        let Some(config) = RoomConfig::restored(&stored.config, &self.service.bounds()) else {
            tracing::error!(target: "natter::muc", room = %self.address, "its configuration is damaged");
            return;
        };
        let changed = self.differences(&stored);
        self.take_hats(&stored.config);
        self.take_in(config, changed);
        let subject = stored
            .subject
            .as_deref()
            .and_then(crate::talk::stored_subject);
        let text = |subject: &Option<(xmpp::Stanza, _)>| {
            let (stanza, _) = subject.as_ref()?;
            stanza.child_text("subject", xmpp::ns::CLIENT)
        };
        if text(&subject) != text(&self.subject) {
            if let Some((stanza, _)) = &subject {
                let audience = self.occupants.audience(&self.config);
                self.outbox.push(Many::to(stanza.clone(), audience.all));
            }
            self.outbox.push(Out::Subject(subject));
        }
    }

    /// The affiliations that are others in the store.
    fn differences(&self, stored: &StoredRoom) -> Vec<Changed> {
        let same = |row: &Affiliated| {
            self.affiliations.row(&row.jid).is_some_and(|known| {
                (known.affiliation, &known.nick) == (row.affiliation, &row.nick)
            })
        };
        let there = |row: &&Affiliated| row.affiliation != Affiliation::None;
        let others = stored.affiliations.iter().filter(there);
        let others = others.filter(|row| !same(row)).cloned();
        let gone = self.affiliations.all().filter(|known| {
            let mut rows = stored.affiliations.iter().filter(there);
            !rows.any(|row| row.jid == known.jid)
        });
        let gone = gone.map(|known| Affiliated {
            affiliation: Affiliation::None,
            nick: None,
            reason: None,
            version: stored.version,
            jid: known.jid.clone(),
        });
        let changed = others.chain(gone).map(|row| Changed {
            before: self.affiliations.of(&row.jid),
            row,
        });
        changed.collect()
    }
}
