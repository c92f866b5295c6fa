//! Coming in: creating a room, entering it, changing one's nickname (XEP-0045 §7.2, §7.6, §10.1).

use std::sync::Arc;

use otp::Ctx;
use router::Outcome;
use storage::{Affiliated, Affiliation};
use xmpp::{Condition, FullJid, Jid, Stanza, StanzaError, ns};

use crate::history::Wanted;
use crate::occupants::{Device, Occupant};
use crate::outbox::Out;
use crate::presence::Why;
use crate::room::{Heard, Note, Phase, Room};
use crate::rules::{Deed, Right, Role, Standing, has, initial_role, may};
use crate::stanzas::bare_presence;

/// How many more than its maximum a room takes of those who manage it (§7.2.9).
const EXTRA: usize = 50;

impl Room {
    /// Somebody wants to come in.
    ///
    /// # Errors
    ///
    /// Those of §7.2.17: `forbidden`: banned; `registration-required`: for members; `not-authorized`: the password;
    /// `conflict`: the nickname is another's; `service-unavailable`: full; `item-not-found`: locked; `not-allowed`:
    /// nobody but some may make rooms; `not-acceptable`: no nickname.
    pub(crate) async fn enter(
        &mut self,
        stanza: &Stanza,
        from: FullJid,
        nick: &str,
        ctx: &mut Ctx<Room>,
    ) -> Heard {
        self.check_nick(nick)?;
        let created = self.phase == Phase::Absent;
        if created {
            self.create(&from, ctx).await?;
        }
        let standing = self.admit(stanza, &from, nick).await?;
        let number = self.seat(stanza, &from, nick, standing);
        self.used = true;
        self.welcome(number, stanza, &from, created).await?;
        Ok(Outcome::Delivered)
    }

    /// Everything that somebody who comes is told, in its order (§7.1): what changed among the affiliations, the
    /// others, itself, what was said, the subject.
    async fn welcome(
        &mut self,
        number: u64,
        stanza: &Stanza,
        from: &FullJid,
        created: bool,
    ) -> Result<(), StanzaError> {
        let versions = self.tell_versions(stanza, from).await?;
        self.show_others(number, from);
        self.announce_to_others(number, &Why::default());
        self.greet(number, stanza, from, created, versions);
        Ok(())
    }

    /// A nickname that can be seen, and is not too long (§17.1).
    fn check_nick(&self, nick: &str) -> Result<(), StanzaError> {
        let most = self.service.settings().opts.max_nick_bytes as usize;
        let is_visible = |c: char| !c.is_whitespace() && !is_invisible(c);
        if !nick.chars().any(is_visible) {
            return Err(Condition::NotAcceptable.text("a nickname can be seen"));
        }
        if nick.len() > most {
            let text = format!("a nickname has no more than {most} bytes here");
            return Err(Condition::NotAcceptable.text(text));
        }
        Ok(())
    }

    /// Makes a room, its maker the owner (§10.1.1).
    async fn create(&mut self, from: &FullJid, ctx: &mut Ctx<Room>) -> Result<(), StanzaError> {
        let owner = from.to_bare();
        self.service.may_create(&owner).await?;
        self.forget();
        self.created = self.now();
        self.phase = Phase::Locked;
        self.affiliations.put(Affiliated {
            jid: owner,
            affiliation: Affiliation::Owner,
            nick: None,
            reason: None,
            version: 1,
        });
        let within = self.service.settings().opts.configure_within;
        ctx.send_after(within, Note::Configured(self.created));
        Ok(())
    }

    /// Whether somebody may come in under that nickname, and as what.
    async fn admit(
        &self,
        stanza: &Stanza,
        from: &FullJid,
        nick: &str,
    ) -> Result<Standing, StanzaError> {
        let user = from.to_bare();
        let affiliation = self.affiliations.of(&user);
        let refused = self.refusal(stanza, affiliation);
        let mut standing = Standing {
            role: initial_role(affiliation, &self.config),
            affiliation,
        };
        let full = self.is_full(affiliation, nick);
        if refused.is_some() || full {
            // Who manages the service goes where there is work.
            if !self.service.is_admin(&user).await? {
                return Err(refused
                    .unwrap_or_else(|| Condition::ServiceUnavailable.text("the room is full")));
            }
            standing.role = Role::Moderator;
        }
        self.check_conflict(from, nick)?;
        if let Some(number) = self.occupants.by_nick(nick)
            && let Some(who) = self.occupants.get(number)
        {
            // Another device of the same: one nickname, one role.
            standing = who.standing();
        }
        Ok(standing)
    }

    /// Why somebody of that affiliation may not come in, if so.
    fn refusal(&self, stanza: &Stanza, affiliation: Affiliation) -> Option<StanzaError> {
        if self.phase == Phase::Locked && affiliation < Affiliation::Owner {
            return Some(Condition::ItemNotFound.text("the room is being made"));
        }
        if !has(affiliation, Right::EnterOpen) {
            return Some(Condition::Forbidden.text("you are banned from this room"));
        }
        if self.config.members_only && !has(affiliation, Right::EnterMembersOnly) {
            return Some(Condition::RegistrationRequired.text("only members may enter"));
        }
        if self.config.protected && affiliation < Affiliation::Owner {
            let x = stanza.dom().get_child("x", ns::MUC);
            let said = x.and_then(|x| x.get_child("password", ns::MUC));
            if !said.is_some_and(|said| self.config.password.is(&said.text())) {
                return Some(Condition::NotAuthorized.text("a password is required"));
            }
        }
        None
    }

    /// Whether there is no room for one more of that affiliation.
    fn is_full(&self, affiliation: Affiliation, nick: &str) -> bool {
        let service = self.service.settings().opts.max_users;
        let most = match self.config.max_users {
            0 => service,
            own => own.min(service),
        };
        let extra = if has(affiliation, Right::EnterFull) {
            EXTRA
        } else {
            0
        };
        // Devices of one occupant count one by one, or one account could fill the memory.
        let comes = self.occupants.by_nick(nick).is_none();
        (comes && self.occupants.len() >= most as usize + extra)
            || self.occupants.devices() >= 2 * (service as usize + extra)
    }

    /// Whether a nickname belongs to somebody else, there or not.
    fn check_conflict(&self, from: &FullJid, nick: &str) -> Result<(), StanzaError> {
        let user = from.to_bare();
        let taken = self
            .occupants
            .by_nick(nick)
            .and_then(|number| self.occupants.get(number))
            .is_some_and(|who| who.user != user);
        let reserved = self
            .affiliations
            .owner_of(nick)
            .is_some_and(|owner| *owner != user);
        match taken || reserved {
            true => Err(Condition::Conflict.text("that nickname is somebody else's")),
            false => Ok(()),
        }
    }

    /// Takes somebody in.
    fn seat(&mut self, stanza: &Stanza, from: &FullJid, nick: &str, standing: Standing) -> u64 {
        let device = Device {
            jid: from.clone(),
            to: Arc::new(Jid::from(from.clone())),
            presence: bare_presence(stanza),
        };
        self.entry
            .present
            .lock()
            .insert(from.clone(), Arc::from(nick));
        let number = match self.occupants.by_nick(nick) {
            Some(number) => {
                self.occupants.add_device(number, device);
                number
            }
            None => {
                let id = self.service.occupant_id(&self.address, &from.to_bare());
                let now = self.service.host.clock.now();
                let mut occupant = Occupant::new(nick, device, standing, id, now);
                occupant.hats = self.hats_of(&occupant.user);
                self.occupants.enter(occupant)
            }
        };
        self.count();
        number
    }

    /// Shows who else is there, in the order they came.
    fn show_others(&mut self, number: u64, from: &FullJid) {
        let to = Jid::from(from.clone());
        let role = self
            .occupants
            .get(number)
            .map_or(Role::None, |who| who.role);
        let sees = may(role, Deed::SeeAddresses, &self.config);
        let appear = |role| may(role, Deed::Appear, &self.config);
        let others = self.occupants.iter();
        let others: Vec<u64> = others
            .filter(|(other, who)| *other != number && appear(who.role))
            .map(|(other, _)| other)
            .collect();
        for other in others {
            if let Some(shown) = self.shown_to(other, sees, &to) {
                self.outbox.push(Out::One(shown));
            }
        }
    }

    /// Shows somebody who came to itself, with what there is to know of the room, and tells what was said.
    fn greet(
        &mut self,
        number: u64,
        stanza: &Stanza,
        from: &FullJid,
        created: bool,
        versions: bool,
    ) {
        let mut own = Vec::new();
        for (code, holds) in [
            (100, self.config.nonanonymous),
            (170, self.config.logged),
            (201, created),
        ] {
            if holds {
                own.push(code);
            }
        }
        let mark = if versions {
            self.current_mark()
        } else {
            String::new()
        };
        let why = Why {
            own: &own,
            extra: &mark,
            ..Why::default()
        };
        let others: Vec<FullJid> = self.occupants.get(number).map_or_else(Vec::new, |who| {
            let devices = who.devices.iter().map(|device| device.jid.clone());
            devices.filter(|jid| jid != from).collect()
        });
        for other in others {
            self.announce_to_self(number, &Why::default(), Some((&other, None)));
        }
        self.announce_to_self(number, &why, Some((from, stanza.id())));
        let now = self.now();
        let x = stanza.dom().get_child("x", ns::MUC);
        let wanted = x.map_or_else(Wanted::default, |x| Wanted::read(x, now));
        self.outbox.push(Out::Past(Jid::from(from.clone()), wanted));
    }

    /// A device that is there asks for all that it would be told if it came (§7.2.1).
    pub(crate) async fn resync(
        &mut self,
        number: u64,
        stanza: &Stanza,
        from: &FullJid,
    ) -> Result<(), StanzaError> {
        let versions = self.tell_versions(stanza, from).await?;
        self.show_others(number, from);
        self.greet(number, stanza, from, false, versions);
        Ok(())
    }

    /// An occupant goes by another nickname from now on, with all devices (§7.6).
    ///
    /// # Errors
    ///
    /// `conflict`: the nickname is another's, or that of another occupant of the same account; `not-acceptable`: no
    /// nickname; `resource-constraint`: too often.
    pub(crate) fn rename(
        &mut self,
        number: u64,
        stanza: &Stanza,
        from: &FullJid,
        nick: &str,
    ) -> Result<(), StanzaError> {
        self.check_nick(nick)?;
        self.check_conflict(from, nick)?;
        if self.occupants.by_nick(nick).is_some() {
            return Err(Condition::Conflict.text("you go by that nickname already"));
        }
        self.charge_presence(number)?;
        let Some(before) = self.occupants.leave(number) else {
            return Ok(());
        };
        let why = Why {
            statuses: &[303],
            nick: Some(nick),
            ..Why::default()
        };
        let farewell = Stanza::presence(xmpp::PresenceType::Unavailable).finish();
        // The audience of the old name is whoever hears of the new one.
        let role = before.role;
        let (own, others) = self.farewells(&before, &farewell, &why, role);
        self.push_all(others);
        self.push_all(own);
        let mut renamed = before;
        renamed.nick = nick.to_owned();
        renamed.changed();
        if let Some(at) = renamed
            .devices
            .iter()
            .position(|device| device.jid == *from)
        {
            let mut device = renamed.devices.remove(at);
            device.presence = bare_presence(stanza);
            renamed.devices.push(device);
        }
        {
            let mut present = self.entry.present.lock();
            for device in &renamed.devices {
                present.insert(device.jid.clone(), Arc::from(nick));
            }
        }
        let number = self.occupants.enter(renamed);
        self.announce(number, &Why::default());
        Ok(())
    }
}

/// Characters that are there and cannot be seen.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}')
}
