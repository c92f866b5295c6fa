//! Lists of roles and affiliations: read, and changed all or not at all (XEP-0045 §8.2 to §8.5, §9, §10.3 to §10.8).

use std::collections::BTreeMap;

use minidom::Element;
use storage::{Affiliated, Affiliation, Batch};
use xmpp::{BareJid, Condition, Fragment, Jid, Stanza, StanzaError, ns, parse_jid};

use crate::outbox::{Many, Out};
use crate::presence::Why;
use crate::room::{Heard, Phase, Room};
use crate::rules::{
    Deed, Right, Role, Standing, change_affiliation, change_role, has, initial_role, may,
};
use crate::service::sender;
use crate::stanzas::{Item, x_user};

/// A change somebody asks for, read and not yet allowed.
#[derive(Debug)]
enum Asked {
    Role {
        nick: String,
        role: Role,
        reason: Option<String>,
    },
    Affiliation {
        user: BareJid,
        affiliation: Affiliation,
        /// The nickname that is to be theirs; empty: none.
        nick: Option<String>,
        reason: Option<String>,
    },
}

/// Somebody's affiliation, changed and stored.
pub(crate) struct Changed {
    pub(crate) before: Affiliation,
    pub(crate) row: Affiliated,
}

impl Room {
    /// A list, by role or by affiliation.
    ///
    /// # Errors
    ///
    /// `bad-request`: no such list; `forbidden`: not for that role and affiliation.
    pub(crate) async fn list(
        &mut self,
        stanza: &Stanza,
        query: &Element,
    ) -> Result<Fragment, StanzaError> {
        let from = sender(stanza);
        let item = query.get_child("item", ns::MUC_ADMIN);
        let item = item.ok_or(Condition::BadRequest)?;
        let role = item.attr("role").map(Role::from_word);
        let affiliation = item.attr("affiliation").map(Affiliation::from_word);
        let by = self.standing(from).await?;
        let mut out = String::from("<query");
        xmpp::push_attr("xmlns", ns::MUC_ADMIN, &mut out);
        out.push('>');
        match (role, affiliation) {
            (Some(Some(role)), None) if role != Role::None => {
                if by.role < Role::Moderator && !has(by.affiliation, Right::EditMembers) {
                    return Err(Condition::Forbidden.into());
                }
                for (_, who) in self.occupants.iter().filter(|(_, who)| who.role == role) {
                    let item = Item {
                        jid: Some(&who.face().to),
                        nick: Some(&who.nick),
                        ..Item::new(who.affiliation, who.role)
                    };
                    item.write(&mut out);
                }
            }
            (None, Some(Some(affiliation))) if affiliation != Affiliation::None => {
                if !self.may_list(by, affiliation) {
                    return Err(Condition::Forbidden.into());
                }
                for row in self.affiliations.with(affiliation) {
                    self.write_affiliated(row, &mut out);
                }
            }
            _ => return Err(Condition::BadRequest.into()),
        }
        out.push_str("</query>");
        Ok(Fragment::from(out))
    }

    fn write_affiliated(&self, row: &Affiliated, out: &mut String) {
        let here = self.occupants.of(&row.jid);
        let here = here.first().and_then(|number| self.occupants.get(*number));
        let jid = Jid::from(row.jid.clone());
        let item = Item {
            affiliation: row.affiliation,
            role: None,
            jid: Some(&jid),
            nick: row.nick.as_deref().or(here.map(|who| who.nick.as_str())),
            actor: None,
            reason: row.reason.as_deref(),
        };
        item.write(out);
    }

    /// Who may read which list of affiliations (§9.5, §10.5, §10.8).
    pub(crate) fn may_list(&self, by: Standing, affiliation: Affiliation) -> bool {
        let inside = by.role > Role::None;
        match affiliation {
            Affiliation::Outcast => has(by.affiliation, Right::EditMembers),
            Affiliation::None => false,
            Affiliation::Member => {
                let shown = self.config.nonanonymous;
                has(by.affiliation, Right::EditMembers)
                    || (inside
                        && self.config.member_list.contains(&by.role)
                        && may(by.role, Deed::SeeAddresses, &self.config))
                    || (shown && has(by.affiliation, Right::ReadMembers))
                    || (shown && self.config.members_only && inside)
            }
            Affiliation::Admin | Affiliation::Owner => {
                let shown = self.config.nonanonymous;
                has(by.affiliation, Right::Own)
                    || (shown && has(by.affiliation, Right::ReadMembers))
            }
        }
    }

    /// Changes of roles or affiliations, all or none.
    ///
    /// # Errors
    ///
    /// `bad-request`: a change that cannot be read, or one of role and affiliation together; `item-not-found`:
    /// nobody of that nickname; `forbidden`, `not-allowed`, `conflict`: see [`crate::rules`] and §9.1, §10.3;
    /// `jid-malformed`.
    pub(crate) async fn change_lists(&mut self, stanza: &Stanza, query: &Element) -> Heard {
        let from = sender(stanza).clone();
        let asked = self.read_changes(query)?;
        let by = self.standing(&from).await?;
        let roles = self.allowed_roles(&asked, by)?;
        let rows = self.allowed_affiliations(&asked, by, &from.to_bare())?;
        let changed = self.keep_affiliations(rows).await?;
        let actor = self.number(&from).and_then(|n| self.occupants.get(n));
        let actor = actor.map(|who| who.nick.clone());
        // §8.2, §9.1: who has to go hears it first, then whoever did it, then the others.
        let mut after = Vec::new();
        let mut stay = Vec::new();
        for (number, role, reason) in roles {
            let why = Why {
                statuses: &[307],
                actor: actor.as_deref(),
                reason: reason.as_deref(),
                ..Why::default()
            };
            match role {
                Role::None => after.extend(self.expel(number, None, &why, Role::None)),
                role => stay.push((number, role, reason)),
            }
        }
        let invited = self.apply_affiliations(changed, actor.as_deref(), &mut after);
        let outcome = self.answer(stanza, Fragment::empty());
        self.push_all(after);
        for (number, role, reason) in stay {
            let why = Why {
                actor: actor.as_deref(),
                reason: reason.as_deref(),
                ..Why::default()
            };
            self.set_role(number, role, &why);
        }
        for user in invited {
            self.invite_member(&user, &from);
        }
        self.used = true;
        Ok(outcome)
    }

    fn read_changes(&self, query: &Element) -> Result<Vec<Asked>, StanzaError> {
        let bad = |why: &str| Condition::BadRequest.text(why);
        let mut asked = Vec::new();
        for item in query.children().filter(|item| item.name() == "item") {
            let reason = item
                .get_child("reason", ns::MUC_ADMIN)
                .map(Element::text)
                .filter(|reason| !reason.is_empty());
            let nick = item.attr("nick").map(str::to_owned);
            asked.push(match (item.attr("role"), item.attr("affiliation")) {
                (Some(role), None) => Asked::Role {
                    nick: nick.ok_or_else(|| bad("a role is changed by nickname"))?,
                    role: Role::from_word(role).ok_or_else(|| bad("no such role"))?,
                    reason,
                },
                (None, Some(affiliation)) => {
                    let affiliation = Affiliation::from_word(affiliation);
                    let affiliation = affiliation.ok_or_else(|| bad("no such affiliation"))?;
                    let (user, nick) = match item.attr("jid") {
                        Some(jid) => {
                            let jid = parse_jid(jid);
                            let jid = jid
                                .map_err(|error| Condition::JidMalformed.text(error.to_string()))?;
                            (jid.to_bare(), nick)
                        }
                        // Of somebody who is there the nickname says who it is.
                        None => {
                            let number = nick.and_then(|nick| self.occupants.by_nick(&nick));
                            let who = number.and_then(|number| self.occupants.get(number));
                            let who =
                                who.ok_or_else(|| bad("an affiliation is changed by address"))?;
                            (who.user.clone(), None)
                        }
                    };
                    Asked::Affiliation {
                        user,
                        affiliation,
                        nick,
                        reason,
                    }
                }
                _ => return Err(bad("either a role or an affiliation is changed")),
            });
        }
        match asked.is_empty() {
            true => Err(bad("nothing to change")),
            false => Ok(asked),
        }
    }

    /// The changes of roles, each allowed to whoever asks.
    fn allowed_roles(
        &self,
        asked: &[Asked],
        by: Standing,
    ) -> Result<Vec<(u64, Role, Option<String>)>, StanzaError> {
        let mut allowed = Vec::new();
        for change in asked {
            let Asked::Role { nick, role, reason } = change else {
                continue;
            };
            if by.role < Role::Moderator && !has(by.affiliation, Right::MakeModerators) {
                return Err(Condition::Forbidden.into());
            }
            let number = self
                .occupants
                .by_nick(nick)
                .ok_or(Condition::ItemNotFound)?;
            let of = self.occupants.get(number).ok_or(Condition::ItemNotFound)?;
            change_role(by, of.standing(), *role)?;
            allowed.push((number, *role, reason.clone()));
        }
        Ok(allowed)
    }

    /// The changes of affiliations, each allowed to whoever asks: what is to be kept of each account.
    fn allowed_affiliations(
        &self,
        asked: &[Asked],
        by: Standing,
        actor: &BareJid,
    ) -> Result<Vec<Affiliated>, StanzaError> {
        let mut rows: BTreeMap<BareJid, Affiliated> = BTreeMap::new();
        for change in asked {
            let Asked::Affiliation {
                user,
                affiliation,
                nick,
                reason,
            } = change
            else {
                continue;
            };
            let known = rows.get(user).cloned();
            let known = known.or_else(|| self.affiliations.row(user).cloned());
            let before = known
                .as_ref()
                .map_or(Affiliation::None, |row| row.affiliation);
            // Before what an admin may not do to another (§9.1).
            let bans_itself = user == actor && *affiliation == Affiliation::Outcast;
            if bans_itself && has(by.affiliation, Right::EditMembers) {
                return Err(Condition::Conflict.text("you cannot ban yourself"));
            }
            change_affiliation(by.affiliation, before, *affiliation)?;
            let nick = match (nick.as_deref(), affiliation) {
                (_, Affiliation::Outcast | Affiliation::None) | (Some(""), _) => None,
                (Some(nick), _) => Some(self.free_nick(nick, user)?),
                (None, _) => known.and_then(|row| row.nick),
            };
            rows.insert(
                user.clone(),
                Affiliated {
                    jid: user.clone(),
                    affiliation: *affiliation,
                    nick,
                    reason: reason.clone(),
                    version: 0,
                },
            );
        }
        self.keeps_an_owner(&rows)?;
        let most = self.service.settings().opts.max_affiliations as usize;
        if self.affiliations.len() + rows.len() > most {
            let text = format!("a room knows no more than {most} accounts");
            return Err(Condition::NotAcceptable.text(text));
        }
        Ok(rows.into_values().collect())
    }

    /// A room always has an owner (§10.4).
    pub(crate) fn keeps_an_owner(
        &self,
        rows: &BTreeMap<BareJid, Affiliated>,
    ) -> Result<(), StanzaError> {
        let touched: Vec<&BareJid> = rows.keys().collect();
        let stays = self.affiliations.owners_without(&touched) > 0;
        let comes = rows
            .values()
            .any(|row| row.affiliation == Affiliation::Owner);
        match stays || comes || touched.is_empty() {
            true => Ok(()),
            false => Err(Condition::Conflict.text("a room has an owner")),
        }
    }

    /// A nickname that can be an account's alone.
    pub(crate) fn free_nick(&self, nick: &str, user: &BareJid) -> Result<String, StanzaError> {
        let full = self.address.with_resource_str(nick);
        let full = full.map_err(|error| Condition::NotAcceptable.text(error.to_string()))?;
        let nick = full.resource().as_str().to_owned();
        let other = self
            .affiliations
            .owner_of(&nick)
            .is_some_and(|owner| owner != user);
        let used = self
            .occupants
            .by_nick(&nick)
            .and_then(|number| self.occupants.get(number))
            .is_some_and(|who| who.user != *user);
        match other || used {
            true => Err(Condition::Conflict.text("that nickname is somebody else's")),
            false => Ok(nick),
        }
    }

    /// Stores what really changes, under new versions; a room that is not open yet keeps it until it is.
    pub(crate) async fn keep_affiliations(
        &mut self,
        rows: Vec<Affiliated>,
    ) -> Result<Vec<Changed>, StanzaError> {
        let changed = self.real_changes(rows);
        let mut batch = Batch::new();
        if self.phase == Phase::Open {
            for change in &changed {
                batch.set_affiliation(&self.address, change.row.clone());
            }
        }
        if !batch.is_empty() {
            self.commit(batch).await?;
        }
        for change in &changed {
            self.affiliations.put(change.row.clone());
        }
        Ok(changed)
    }

    /// What really changes, under new versions.
    pub(crate) fn real_changes(&self, rows: Vec<Affiliated>) -> Vec<Changed> {
        let mut changed = Vec::new();
        let mut version = self.affiliations.version();
        for mut row in rows {
            let known = self.affiliations.row(&row.jid);
            let before = known.map_or(Affiliation::None, |row| row.affiliation);
            let same_nick = known.and_then(|row| row.nick.as_ref()) == row.nick.as_ref();
            if before == row.affiliation && same_nick {
                continue;
            }
            version += 1;
            row.version = version;
            changed.push(Changed { before, row });
        }
        changed
    }

    /// Lets those who are there feel what was changed, and gives back what others are told of who had to go, and
    /// who is to be invited.
    pub(crate) fn apply_affiliations(
        &mut self,
        changed: Vec<Changed>,
        actor: Option<&str>,
        after: &mut Vec<Out>,
    ) -> Vec<BareJid> {
        let mut invited = Vec::new();
        for Changed { before, row } in changed {
            let extra = self.version_mark(row.version);
            let mut why = Why {
                actor,
                reason: row.reason.as_deref(),
                extra: &extra,
                ..Why::default()
            };
            let numbers: Vec<u64> = self
                .occupants
                .iter()
                .filter(|(_, who)| {
                    who.user == row.jid
                        || (row.jid.node().is_none() && who.user.domain() == row.jid.domain())
                })
                .map(|(number, _)| number)
                .collect();
            if numbers.is_empty() {
                after.extend(self.tell_of_absent(&row, &extra));
                let welcome = before == Affiliation::None && row.affiliation >= Affiliation::Member;
                if welcome && self.config.members_only && row.jid.node().is_some() {
                    invited.push(row.jid.clone());
                }
                continue;
            }
            for number in numbers {
                let Some(user) = self.occupants.get(number).map(|who| who.user.clone()) else {
                    continue;
                };
                let now = self.affiliations.of(&user);
                let Some(who) = self.occupants.change(number) else {
                    continue;
                };
                let (was, role) = (who.affiliation, who.role);
                who.affiliation = now;
                if now == Affiliation::Outcast {
                    why.statuses = &[301];
                    after.extend(self.expel(number, None, &why, Role::None));
                } else if self.is_stranger(now) {
                    why.statuses = &[321];
                    after.extend(self.expel(number, None, &why, Role::None));
                } else {
                    why.statuses = &[];
                    // Who rises gets what comes with it; who falls begins anew.
                    let initial = initial_role(now, &self.config);
                    let next = if now >= was {
                        role.max(initial)
                    } else {
                        initial
                    };
                    let mut shown = Vec::new();
                    std::mem::swap(&mut shown, after);
                    self.push_later(number, next, &why, &mut shown);
                    *after = shown;
                }
            }
        }
        invited
    }

    /// As [`Room::set_role`], said behind what waits in `after`.
    fn push_later(&mut self, number: u64, role: Role, why: &Why<'_>, after: &mut Vec<Out>) {
        let mut outbox = std::mem::take(&mut self.outbox);
        self.set_role(number, role, why);
        std::mem::swap(&mut outbox, &mut self.outbox);
        after.extend(outbox.into_outs());
    }

    /// An occupant's role is this one now, and everybody sees it.
    pub(crate) fn set_role(&mut self, number: u64, role: Role, why: &Why<'_>) {
        let Some(who) = self.occupants.change(number) else {
            return;
        };
        let before = std::mem::replace(&mut who.role, role);
        self.announce_change(number, before, why);
    }

    /// The affiliation of somebody who is not there has changed: those who see addresses are told (§10.3, XEP-0463
    /// §4.3).
    fn tell_of_absent(&mut self, row: &Affiliated, extra: &str) -> Vec<Out> {
        let audience = self.occupants.audience(&self.config);
        let jid = Jid::from(row.jid.clone());
        let item = Item {
            affiliation: row.affiliation,
            role: Some(Role::None),
            jid: Some(&jid),
            nick: row.nick.as_deref(),
            actor: None,
            reason: row.reason.as_deref(),
        };
        let message = Stanza::message(xmpp::MessageType::Normal)
            .from(self.here())
            .id(xmpp::random_id())
            .append(x_user(extra, &[item], &[]))
            .finish();
        vec![Many::to(message, audience.seeing)]
    }

    /// The mark of a change of affiliations (XEP-0463 §4.3).
    pub(crate) fn version_mark(&self, version: i64) -> String {
        crate::versions::mark(Some(version - 1), version)
    }
}
