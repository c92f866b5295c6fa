//! Those who are in a room: who they are, under which nickname, with which devices, in the order they came.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ahash::RandomState;
use otp::Instant;
use storage::Affiliation;
use xmpp::{BareJid, FullJid, Jid, Stanza};

use crate::config::RoomConfig;
use crate::limits::Allowance;
use crate::rules::{Deed, Role, Standing, may};

/// One of an occupant's devices.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) jid: FullJid,
    /// The same, shared by all that is sent to it.
    pub(crate) to: Arc<Jid>,
    /// What it last said of itself, without addresses.
    pub(crate) presence: Stanza,
}

/// Somebody who is there.
#[derive(Debug)]
pub(crate) struct Occupant {
    pub(crate) nick: String,
    pub(crate) user: BareJid,
    pub(crate) role: Role,
    pub(crate) affiliation: Affiliation,
    /// The same for the same account in this room, and nowhere else (XEP-0421).
    pub(crate) id: Arc<str>,
    /// What it wears, written out (XEP-0317).
    pub(crate) hats: String,
    /// In the order they came; the last is shown.
    pub(crate) devices: Vec<Device>,
    pub(crate) messages: Allowance,
    pub(crate) presences: Allowance,
    /// When something was last said (XEP-0045 has no use for it, lists of occupants have).
    pub(crate) spoke: Option<Instant>,
    /// What is sent to those who may see the address, and to those who may not: made when first needed.
    shown: [Option<Stanza>; 2],
}

impl Occupant {
    pub(crate) fn new(
        nick: &str,
        device: Device,
        standing: Standing,
        id: Arc<str>,
        now: Instant,
    ) -> Occupant {
        Occupant {
            nick: nick.to_owned(),
            user: device.jid.to_bare(),
            role: standing.role,
            affiliation: standing.affiliation,
            id,
            hats: String::new(),
            devices: vec![device],
            messages: Allowance::new(now),
            presences: Allowance::new(now),
            spoke: None,
            shown: [None, None],
        }
    }

    pub(crate) fn standing(&self) -> Standing {
        Standing {
            role: self.role,
            affiliation: self.affiliation,
        }
    }

    /// The device that is shown to the others.
    pub(crate) fn face(&self) -> &Device {
        self.devices.last().expect("an occupant has a device")
    }

    pub(crate) fn device(&self, jid: &FullJid) -> Option<&Device> {
        self.devices.iter().find(|device| device.jid == *jid)
    }

    /// The presence of it as others see it, made by `make` unless nothing changed since.
    pub(crate) fn shown(
        &mut self,
        with_address: bool,
        make: impl FnOnce(&Occupant) -> Stanza,
    ) -> Stanza {
        let at = usize::from(with_address);
        if let Some(shown) = &self.shown[at] {
            return shown.clone();
        }
        let made = make(self);
        self.shown[at] = Some(made.clone());
        made
    }

    /// Something that is shown of it has changed.
    pub(crate) fn changed(&mut self) {
        self.shown = [None, None];
    }
}

/// To whom something goes: everybody's devices, shared.
pub(crate) type Hearers = Arc<[Arc<Jid>]>;

/// Who hears what, made when first needed after a change.
#[derive(Clone, Debug)]
pub(crate) struct Audience {
    /// Everybody.
    pub(crate) all: Hearers,
    /// Those who see addresses.
    pub(crate) seeing: Hearers,
    /// Those who do not.
    pub(crate) others: Hearers,
}

/// The occupants of a room.
///
/// Invariant: every occupant has one nickname, a role that is not none, and at least one device; the two indexes
/// name exactly what is in `all`.
#[derive(Debug, Default)]
pub(crate) struct Occupants {
    all: BTreeMap<u64, Occupant>,
    by_nick: HashMap<String, u64, RandomState>,
    by_jid: HashMap<FullJid, u64, RandomState>,
    next: u64,
    audience: Option<Audience>,
}

impl Occupants {
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// How many devices there are.
    pub(crate) fn devices(&self) -> usize {
        self.by_jid.len()
    }

    /// All in the order they came, with the number each has while there.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Occupant)> {
        self.all.iter().map(|(number, who)| (*number, who))
    }

    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.all.keys().copied().collect()
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Occupant> {
        self.all.get(&number)
    }

    /// An occupant, to be changed: what others see of it and who hears what is made anew.
    pub(crate) fn change(&mut self, number: u64) -> Option<&mut Occupant> {
        let who = self.all.get_mut(&number)?;
        who.changed();
        self.audience = None;
        Some(who)
    }

    /// An occupant, to count or to show.
    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut Occupant> {
        self.all.get_mut(&number)
    }

    pub(crate) fn by_nick(&self, nick: &str) -> Option<u64> {
        self.by_nick.get(nick).copied()
    }

    pub(crate) fn by_jid(&self, jid: &FullJid) -> Option<u64> {
        self.by_jid.get(jid).copied()
    }

    /// The occupants of an account.
    pub(crate) fn of(&self, user: &BareJid) -> Vec<u64> {
        self.iter()
            .filter(|(_, who)| who.user == *user)
            .map(|(number, _)| number)
            .collect()
    }

    pub(crate) fn enter(&mut self, who: Occupant) -> u64 {
        let number = self.next;
        self.next += 1;
        self.by_nick.insert(who.nick.clone(), number);
        for device in &who.devices {
            self.by_jid.insert(device.jid.clone(), number);
        }
        self.all.insert(number, who);
        self.audience = None;
        number
    }

    pub(crate) fn add_device(&mut self, number: u64, device: Device) {
        self.by_jid.insert(device.jid.clone(), number);
        if let Some(who) = self.change(number) {
            who.devices.push(device);
        }
    }

    /// Takes one of several devices away.
    pub(crate) fn remove_device(&mut self, number: u64, jid: &FullJid) {
        self.by_jid.remove(jid);
        if let Some(who) = self.change(number) {
            who.devices.retain(|device| device.jid != *jid);
            debug_assert!(
                !who.devices.is_empty(),
                "the last device leaves as an occupant"
            );
        }
    }

    pub(crate) fn leave(&mut self, number: u64) -> Option<Occupant> {
        let gone = self.all.remove(&number)?;
        self.by_nick.remove(&gone.nick);
        for device in &gone.devices {
            self.by_jid.remove(&device.jid);
        }
        self.audience = None;
        Some(gone)
    }

    /// The configuration changed, or anything else that everybody's presence depends on.
    pub(crate) fn all_changed(&mut self) {
        self.audience = None;
        for who in self.all.values_mut() {
            who.changed();
        }
    }

    /// Who hears what now.
    pub(crate) fn audience(&mut self, config: &RoomConfig) -> Audience {
        if let Some(audience) = &self.audience {
            return audience.clone();
        }
        let (mut seeing, mut others) = (Vec::new(), Vec::new());
        let mut all = Vec::with_capacity(self.by_jid.len());
        for who in self.all.values() {
            let sees = may(who.role, Deed::SeeAddresses, config);
            let side = if sees { &mut seeing } else { &mut others };
            for device in &who.devices {
                all.push(Arc::clone(&device.to));
                side.push(Arc::clone(&device.to));
            }
        }
        let audience = Audience {
            all: all.into(),
            seeing: seeing.into(),
            others: others.into(),
        };
        self.audience = Some(audience.clone());
        audience
    }
}
