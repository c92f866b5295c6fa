//! What others see of an occupant: announced, changed, gone (XEP-0045 §7.2.3, §7.6, §7.7, §7.14).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use otp::Ctx;
use router::Outcome;
use storage::Affiliation;
use xmpp::{Condition, FullJid, Jid, PresenceType, Stanza, ns};

use crate::occupants::{Hearers, Occupant};
use crate::outbox::{Many, Out};
use crate::room::{Heard, Phase, Room};
use crate::rules::{Deed, Role, may};
use crate::service::sender;
use crate::stanzas::{Item, bare_presence, gone, occupant_id, x_user};

/// What is said beside the presence itself.
#[derive(Clone, Copy, Default)]
pub(crate) struct Why<'a> {
    /// Status codes for everybody.
    pub(crate) statuses: &'a [u16],
    /// And those for the occupant alone; 110 is always there.
    pub(crate) own: &'a [u16],
    /// The nickname of whoever did it.
    pub(crate) actor: Option<&'a str>,
    pub(crate) reason: Option<&'a str>,
    /// The nickname that comes next.
    pub(crate) nick: Option<&'a str>,
    /// Elements for everybody, written out, before the item.
    pub(crate) extra: &'a str,
}

impl Why<'_> {
    fn is_plain(&self) -> bool {
        self.statuses.is_empty()
            && self.actor.is_none()
            && self.reason.is_none()
            && self.extra.is_empty()
    }
}

/// An occupant's presence, without `to`.
fn render(
    from: &Jid,
    who: &Occupant,
    base: &Stanza,
    (role, address): (Role, Option<&Jid>),
    why: &Why<'_>,
    statuses: &[u16],
) -> Stanza {
    let item = Item {
        jid: address,
        nick: why.nick,
        actor: why.actor,
        reason: why.reason,
        ..Item::new(who.affiliation, role)
    };
    let edit = base
        .edit()
        .from(from.clone())
        .append(x_user(why.extra, &[item], statuses))
        .append(occupant_id(&who.id));
    match who.hats.as_str() {
        "" => edit.finish(),
        hats => edit.append(hats).finish(),
    }
}

/// 110 and what else is said to the occupant, each once and in order.
fn own_statuses(why: &Why<'_>) -> Vec<u16> {
    let mut statuses = [&[110], why.statuses, why.own].concat();
    statuses.sort_unstable();
    statuses.dedup();
    statuses
}

impl Room {
    /// Presence, by what it is for.
    pub(crate) async fn presence(&mut self, stanza: &Stanza, ctx: &mut Ctx<Room>) -> Heard {
        let from = sender(stanza).try_as_full().ok().cloned();
        match (stanza.presence_type(), from) {
            (PresenceType::Available, None) => Err(Condition::JidMalformed.into()),
            (PresenceType::Available, Some(from)) => self.available(stanza, from, ctx).await,
            (PresenceType::Unavailable, Some(from)) => Ok(self.leaves(&from, Some(stanza))),
            (PresenceType::Error, Some(_)) => Ok(self.failed(stanza)),
            (PresenceType::Probe, Some(from)) => Ok(self.probed(stanza, &from)),
            // Nobody can subscribe to a room (our choice).
            _ => Ok(Outcome::Dropped),
        }
    }

    async fn available(&mut self, stanza: &Stanza, from: FullJid, ctx: &mut Ctx<Room>) -> Heard {
        let nick = stanza.to().and_then(|to| to.resource());
        let Some(nick) = nick.map(|nick| nick.as_str().to_owned()) else {
            return Err(Condition::JidMalformed.into());
        };
        let joins = stanza.has_child("x", ns::MUC);
        match self.occupants.by_jid(&from) {
            None if joins => self.enter(stanza, from, &nick, ctx).await,
            // §7.2.18: who believes to be here is told the truth.
            None => {
                let to = Jid::from(from);
                self.outbox
                    .push(Out::One(gone(&self.at(&nick), &to, &[110, 307, 333])));
                Ok(Outcome::Delivered)
            }
            Some(number) => {
                let current = self.occupants.get(number).map(|who| who.nick.clone());
                let renames = current.is_some_and(|current| current != nick);
                if renames {
                    self.rename(number, stanza, &from, &nick)?;
                } else {
                    self.update(number, stanza, &from, joins)?;
                }
                if joins {
                    let number = self.occupants.by_jid(&from).unwrap_or(number);
                    self.resync(number, stanza, &from).await?;
                }
                Ok(Outcome::Delivered)
            }
        }
    }

    /// An occupant says anew how it is (§7.7).
    fn update(
        &mut self,
        number: u64,
        stanza: &Stanza,
        from: &FullJid,
        joins: bool,
    ) -> Result<(), xmpp::StanzaError> {
        let presence = bare_presence(stanza);
        let Some(who) = self.occupants.get(number) else {
            return Ok(());
        };
        if joins
            && who
                .device(from)
                .is_some_and(|device| device.presence == presence)
        {
            return Ok(());
        }
        self.charge_presence(number)?;
        self.set_presence(number, from, presence);
        self.announce(number, &Why::default());
        Ok(())
    }

    /// What a device says of itself; it is the one that is shown from now on.
    fn set_presence(&mut self, number: u64, from: &FullJid, presence: Stanza) {
        if let Some(who) = self.occupants.change(number)
            && let Some(at) = who.devices.iter().position(|device| device.jid == *from)
        {
            let mut device = who.devices.remove(at);
            device.presence = presence;
            who.devices.push(device);
        }
    }

    /// Counts a change of presence.
    pub(crate) fn charge_presence(&mut self, number: u64) -> Result<(), xmpp::StanzaError> {
        let (now, settings) = (self.service.host.clock.now(), self.service.settings());
        let rate = settings.opts.presence_rate();
        let left = self
            .occupants
            .get_mut(number)
            .is_none_or(|who| who.presences.take(rate, now));
        match left {
            true => Ok(()),
            false => Err(Condition::ResourceConstraint.text("you change your presence too often")),
        }
    }

    /// Shows an occupant to all who may see it, itself last.
    pub(crate) fn announce(&mut self, number: u64, why: &Why<'_>) {
        self.announce_to_others(number, why);
        self.announce_to_self(number, why, None);
    }

    pub(crate) fn announce_to_others(&mut self, number: u64, why: &Why<'_>) {
        let Some(who) = self.occupants.get(number) else {
            return;
        };
        if !may(who.role, Deed::Appear, &self.config) {
            return;
        }
        let from = self.at(&who.nick);
        let audience = self.occupants.audience(&self.config);
        let Some(who) = self.occupants.get_mut(number) else {
            return;
        };
        let own: Hearers = who.devices.iter().map(|d| Arc::clone(&d.to)).collect();
        for (hearers, sees) in [(audience.seeing, true), (audience.others, false)] {
            if hearers.is_empty() {
                continue;
            }
            let make = |who: &Occupant| {
                let face = who.face();
                let address = sees.then_some(&*face.to);
                render(
                    &from,
                    who,
                    &face.presence,
                    (who.role, address),
                    why,
                    why.statuses,
                )
            };
            let stanza = if why.is_plain() {
                who.shown(sees, make)
            } else {
                make(who)
            };
            self.outbox
                .push(Many::but(stanza, hearers, Arc::clone(&own)));
        }
    }

    /// Shows an occupant to itself: to every device, or to one, with the id of the request it answers.
    pub(crate) fn announce_to_self(
        &mut self,
        number: u64,
        why: &Why<'_>,
        only: Option<(&FullJid, Option<&str>)>,
    ) {
        let Some(who) = self.occupants.get(number) else {
            return;
        };
        let from = self.at(&who.nick);
        let statuses = own_statuses(why);
        let mut outs = Vec::new();
        for device in &who.devices {
            if only.is_some_and(|(jid, _)| *jid != device.jid) {
                continue;
            }
            let shown = &who.face().presence;
            let stanza = render(
                &from,
                who,
                shown,
                (who.role, Some(&*device.to)),
                why,
                &statuses,
            );
            let id = only.and_then(|(_, id)| id).map(str::to_owned);
            outs.push(Out::One(
                stanza.edit().to(Jid::clone(&device.to)).id(id).finish(),
            ));
        }
        for out in outs {
            self.outbox.push(out);
        }
    }

    /// How one occupant is shown to another's device, if at all.
    pub(crate) fn shown_to(&mut self, number: u64, sees: bool, to: &Jid) -> Option<Stanza> {
        let who = self.occupants.get(number)?;
        if !may(who.role, Deed::Appear, &self.config) {
            return None;
        }
        let from = self.at(&who.nick);
        let shown = self.occupants.get_mut(number)?.shown(sees, |who| {
            let face = who.face();
            let address = sees.then_some(&*face.to);
            render(
                &from,
                who,
                &face.presence,
                (who.role, address),
                &Why::default(),
                &[],
            )
        });
        Some(shown.edit().to(to.clone()).finish())
    }

    /// An occupant's role has changed: those who could not see it before, or cannot any more, are told as much.
    pub(crate) fn announce_change(&mut self, number: u64, before: Role, why: &Why<'_>) {
        let Some(who) = self.occupants.get(number) else {
            return;
        };
        let shown = |role| may(role, Deed::Appear, &self.config);
        if shown(before) && !shown(who.role) {
            let from = self.at(&who.nick);
            let own: Hearers = who.devices.iter().map(|d| Arc::clone(&d.to)).collect();
            let base = Stanza::presence(PresenceType::Unavailable).finish();
            let mut outs = Vec::new();
            let stanza =
                |address| render(&from, who, &base, (Role::None, address), why, why.statuses);
            let (with, without) = (stanza(Some(&*who.face().to)), stanza(None));
            let audience = self.occupants.audience(&self.config);
            outs.push(Many::but(with, audience.seeing, Arc::clone(&own)));
            outs.push(Many::but(without, audience.others, own));
            for out in outs {
                self.outbox.push(out);
            }
        }
        self.announce(number, why);
    }

    // Leaving.

    /// A device leaves, or is gone (§7.14).
    pub(crate) fn leaves(&mut self, from: &FullJid, farewell: Option<&Stanza>) -> Outcome {
        self.drop_device(from, farewell, &Why::default())
    }

    /// Takes a device out; with its last one the occupant leaves.
    fn drop_device(&mut self, from: &FullJid, farewell: Option<&Stanza>, why: &Why<'_>) -> Outcome {
        let Some(number) = self.occupants.by_jid(from) else {
            return Outcome::Dropped;
        };
        let base = match farewell {
            Some(stanza) => bare_presence(stanza),
            None => Stanza::presence(PresenceType::Unavailable).finish(),
        };
        let destroyed;
        let why = if self.phase == Phase::Locked {
            // Nobody will ever configure it (§10.1.3).
            destroyed = Why {
                extra: "<destroy/>",
                ..*why
            };
            &destroyed
        } else {
            why
        };
        let several = self
            .occupants
            .get(number)
            .is_some_and(|who| who.devices.len() > 1);
        if !several {
            let others = self.expel(number, Some(&base), why, Role::None);
            self.push_all(others);
            return Outcome::Delivered;
        }
        let Some(who) = self.occupants.get(number) else {
            return Outcome::Dropped;
        };
        let was_face = who.face().jid == *from;
        if let Some(device) = who.device(from) {
            let to = Jid::clone(&device.to);
            let statuses = own_statuses(why);
            let stanza = render(
                &self.at(&who.nick),
                who,
                &base,
                (Role::None, Some(&to)),
                why,
                &statuses,
            );
            self.outbox
                .push(Out::One(stanza.edit().to(to.clone()).finish()));
        }
        self.occupants.remove_device(number, from);
        self.entry.present.lock().remove(from);
        if was_face {
            self.announce(number, &Why::default());
        }
        Outcome::Delivered
    }

    /// Takes an occupant out with all devices, which are told at once; what the others are told is given back.
    pub(crate) fn expel(
        &mut self,
        number: u64,
        farewell: Option<&Stanza>,
        why: &Why<'_>,
        role: Role,
    ) -> Vec<Out> {
        let Some(gone) = self.occupants.leave(number) else {
            return Vec::new();
        };
        {
            let mut present = self.entry.present.lock();
            for device in &gone.devices {
                present.remove(&device.jid);
            }
        }
        self.count();
        let plain = Stanza::presence(PresenceType::Unavailable).finish();
        let outs = self.farewells(&gone, farewell.unwrap_or(&plain), why, role);
        self.push_all(outs.0);
        outs.1
    }

    /// What an occupant who goes by that name no more is told, and what the others are.
    pub(crate) fn farewells(
        &mut self,
        gone: &Occupant,
        base: &Stanza,
        why: &Why<'_>,
        role: Role,
    ) -> (Vec<Out>, Vec<Out>) {
        let from = self.at(&gone.nick);
        let statuses = own_statuses(why);
        let own = gone
            .devices
            .iter()
            .map(|device| {
                let stanza = render(&from, gone, base, (role, Some(&*device.to)), why, &statuses);
                Out::One(stanza.edit().to(Jid::clone(&device.to)).finish())
            })
            .collect();
        let mut others = Vec::new();
        if may(gone.role, Deed::Appear, &self.config) {
            let audience = self.occupants.audience(&self.config);
            let devices: Hearers = gone.devices.iter().map(|d| Arc::clone(&d.to)).collect();
            let with = render(
                &from,
                gone,
                base,
                (role, Some(&*gone.face().to)),
                why,
                why.statuses,
            );
            let without = render(&from, gone, base, (role, None), why, why.statuses);
            others.push(Many::but(with, audience.seeing, Arc::clone(&devices)));
            others.push(Many::but(without, audience.others, devices));
        }
        (own, others)
    }

    pub(crate) fn push_all(&mut self, outs: Vec<Out>) {
        for out in outs {
            self.outbox.push(out);
        }
    }

    /// How many are there, for those who do not ask the room.
    pub(crate) fn count(&self) {
        self.entry
            .occupants
            .store(self.occupants.len(), Ordering::Relaxed);
    }

    /// A stanza could not be delivered: who does not get what the room says is there no more (§14.? ghosts, §12).
    pub(crate) fn failed(&mut self, stanza: &Stanza) -> Outcome {
        let Ok(from) = sender(stanza).try_as_full().cloned() else {
            return self.invitation_failed(stanza);
        };
        let condition = condition(stanza);
        if let Some(outcome) = self.whisper_failed(stanza, &from)
            && !condition.is_some_and(is_final)
        {
            return outcome;
        }
        let ghost = condition.is_some_and(|c| is_final(c) || c == Condition::ServiceUnavailable);
        if !ghost {
            return Outcome::Dropped;
        }
        let why = Why {
            statuses: &[333],
            ..Why::default()
        };
        self.drop_device(&from, None, &why)
    }

    /// An occupant's server asks how another is (§17.3): what is shown is shown again.
    fn probed(&mut self, stanza: &Stanza, from: &FullJid) -> Outcome {
        let nick = stanza.to().and_then(|to| to.resource());
        let asked = nick.and_then(|nick| self.occupants.by_nick(nick.as_str()));
        let (Some(asker), Some(asked)) = (self.occupants.by_jid(from), asked) else {
            return Outcome::Dropped;
        };
        let role = self.occupants.get(asker).map_or(Role::None, |who| who.role);
        let sees = may(role, Deed::SeeAddresses, &self.config);
        if let Some(shown) = self.shown_to(asked, sees, &Jid::from(from.clone())) {
            self.outbox.push(Out::One(shown));
        }
        Outcome::Delivered
    }

    /// Whether somebody with that affiliation has to leave when the room is for members.
    pub(crate) fn is_stranger(&self, affiliation: Affiliation) -> bool {
        self.config.members_only && affiliation < Affiliation::Member
    }
}

/// The condition of an error.
pub(crate) fn condition(stanza: &Stanza) -> Option<Condition> {
    let error = stanza
        .dom()
        .children()
        .find(|child| child.name() == "error")?;
    error
        .children()
        .filter(|child| child.ns() == ns::STANZAS)
        .find_map(|child| Condition::from_name(child.name()))
}

/// The errors that say of an address that nothing can be delivered there.
fn is_final(condition: Condition) -> bool {
    matches!(
        condition,
        Condition::Gone
            | Condition::ItemNotFound
            | Condition::JidMalformed
            | Condition::RecipientUnavailable
            | Condition::Redirect
            | Condition::RemoteServerNotFound
            | Condition::RemoteServerTimeout
    )
}
