//! What owners do: configure a room, destroy it (XEP-0045 §10.1 to §10.2, §10.9).

use std::collections::BTreeMap;
use std::time::SystemTime;

use minidom::Element;
use storage::{Affiliated, Affiliation, Batch};
use xmpp::{
    BareJid, Condition, Fragment, Jid, MessageType, Stanza, StanzaError, ns, parse_jid, push_attr,
};

use crate::admin::Changed;
use crate::config::{ADMINS, FORM, OWNERS, RoomConfig};
use crate::form::Filled;
use crate::outbox::Many;
use crate::presence::Why;
use crate::room::{Heard, Phase, Room};
use crate::rules::{Right, Role, has};
use crate::service::sender;
use crate::stanzas::{Item, x_user};

impl Room {
    /// The configuration form (§10.1.3, §10.2).
    ///
    /// # Errors
    ///
    /// `forbidden`: no owner.
    pub(crate) async fn configuration(&self, stanza: &Stanza) -> Result<Fragment, StanzaError> {
        self.must_own(stanza).await?;
        let title = format!("Configuration of {}", self.address);
        let list = |affiliation| {
            let with = self.affiliations.with(affiliation);
            with.map(|row| row.jid.to_string()).collect()
        };
        let form = self
            .config
            .form(&title, list(Affiliation::Admin), list(Affiliation::Owner));
        let mut out = String::from("<query");
        push_attr("xmlns", ns::MUC_OWNER, &mut out);
        Ok(Fragment::from(format!("{out}>{form}</query>")))
    }

    async fn must_own(&self, stanza: &Stanza) -> Result<(), StanzaError> {
        let by = self.standing(sender(stanza)).await?;
        match has(by.affiliation, Right::Own) {
            true => Ok(()),
            false => Err(Condition::Forbidden.into()),
        }
    }

    /// Configures the room, leaves it as it is, or destroys it.
    ///
    /// # Errors
    ///
    /// `forbidden`: no owner; `bad-request`: neither a form nor an end; `not-acceptable`: a value that cannot be;
    /// `conflict`: nobody would own it; `jid-malformed`.
    pub(crate) async fn own(&mut self, stanza: &Stanza, query: &Element) -> Heard {
        self.must_own(stanza).await?;
        if let Some(destroy) = query.get_child("destroy", ns::MUC_OWNER) {
            self.destroy(destroy).await?;
            return Ok(self.answer(stanza, Fragment::empty()));
        }
        let filled = Filled::within(query);
        let filled = filled.ok_or_else(|| Condition::BadRequest.text("expected a form"))?;
        match (filled.type_.as_str(), self.phase) {
            ("cancel", Phase::Locked) => {
                let nothing = Element::bare("destroy", ns::MUC_OWNER);
                self.destroy(&nothing).await?;
            }
            ("cancel", _) => {}
            ("submit", _) => return self.configure(stanza, &filled).await,
            _ => return Err(Condition::BadRequest.text("expected a form that is filled in")),
        }
        Ok(self.answer(stanza, Fragment::empty()))
    }

    async fn configure(&mut self, stanza: &Stanza, filled: &Filled) -> Heard {
        filled.of_type(FORM)?;
        let config = self.config.with(filled, &self.service.bounds())?;
        let rows = self.whole_lists(filled)?;
        self.keeps_an_owner(&rows)?;
        self.reconfigure(config, rows.into_values().collect(), Some(stanza))
            .await
    }

    /// What the whole lists of admins and owners in a form change.
    fn whole_lists(&self, filled: &Filled) -> Result<BTreeMap<BareJid, Affiliated>, StanzaError> {
        let mut rows = BTreeMap::new();
        for (var, affiliation) in [(ADMINS, Affiliation::Admin), (OWNERS, Affiliation::Owner)] {
            let Some(values) = filled.all(var) else {
                continue;
            };
            let mut listed = Vec::new();
            for value in values.iter().filter(|value| !value.trim().is_empty()) {
                let jid = parse_jid(value.trim());
                let jid = jid.map_err(|error| Condition::JidMalformed.text(error.to_string()))?;
                listed.push(jid.to_bare());
            }
            let none = self.affiliations.with(affiliation);
            let gone: Vec<BareJid> = none
                .filter(|row| !listed.contains(&row.jid))
                .map(|row| row.jid.clone())
                .collect();
            for jid in gone {
                rows.entry(jid.clone())
                    .or_insert_with(|| self.changed_row(&jid, Affiliation::None));
            }
            for jid in listed {
                let row = self.changed_row(&jid, affiliation);
                rows.insert(jid, row);
            }
        }
        Ok(rows)
    }

    pub(crate) fn changed_row(&self, jid: &BareJid, affiliation: Affiliation) -> Affiliated {
        let known = self.affiliations.row(jid);
        let keeps = affiliation >= Affiliation::Member;
        Affiliated {
            jid: jid.clone(),
            affiliation,
            nick: known.and_then(|row| row.nick.clone()).filter(|_| keeps),
            reason: None,
            version: 0,
        }
    }

    /// Takes a configuration and changes of affiliations in, stored first; a room that was locked is open then.
    pub(crate) async fn reconfigure(
        &mut self,
        config: RoomConfig,
        rows: Vec<Affiliated>,
        request: Option<&Stanza>,
    ) -> Heard {
        let opens = self.phase == Phase::Locked;
        let mut batch = Batch::new();
        if opens {
            // Whatever an earlier room of this name left behind.
            batch.remove_room(&self.address);
        }
        batch.put_room(self.stored(&config));
        if opens {
            for row in self.affiliations.all() {
                batch.set_affiliation(&self.address, row.clone());
            }
        }
        let changed = self.real_changes(rows);
        for change in &changed {
            batch.set_affiliation(&self.address, change.row.clone());
        }
        // All of it or nothing.
        self.commit(batch).await?;
        let outcome = match request {
            Some(request) => self.answer(request, Fragment::empty()),
            None => router::Outcome::Delivered,
        };
        self.take_in(config, changed);
        Ok(outcome)
    }

    /// The room is configured so and its affiliations are these, as is stored: all feel it.
    pub(crate) fn take_in(&mut self, config: RoomConfig, changed: Vec<Changed>) {
        let opens = self.phase == Phase::Locked;
        self.phase = Phase::Open;
        let before = std::mem::replace(&mut self.config, config);
        self.occupants.all_changed();
        self.history.limit(self.config.history as usize);
        for change in &changed {
            self.affiliations.put(change.row.clone());
        }
        let mut after = Vec::new();
        let invited = self.apply_affiliations(changed, None, &mut after);
        self.push_all(after);
        self.follow(&before);
        if !opens {
            self.tell_change(&before);
        }
        for user in invited {
            self.invite_member(&user, &self.here());
        }
        self.used = true;
    }

    /// The owner of a new room did not configure it in time: it is as new rooms are.
    pub(crate) async fn configured(&mut self, room: SystemTime) {
        if self.phase != Phase::Locked || self.created != room {
            return;
        }
        let config = self.config.clone();
        if let Err(error) = self.reconfigure(config, Vec::new(), None).await {
            tracing::warn!(target: "natter::muc", room = %self.address, %error, "a new room was not stored");
        }
    }

    /// What a new configuration changes for those who are there (§10.2).
    fn follow(&mut self, before: &RoomConfig) {
        for number in self.occupants.numbers() {
            let Some(who) = self.occupants.get(number) else {
                continue;
            };
            let (role, affiliation) = (who.role, who.affiliation);
            if self.is_stranger(affiliation) && !before.members_only {
                let why = Why {
                    statuses: &[322],
                    ..Why::default()
                };
                let others = self.expel(number, None, &why, Role::None);
                self.push_all(others);
            } else if before.moderated && !self.config.moderated && role == Role::Visitor {
                // Where everybody may speak nobody is left without a voice (our choice).
                self.set_role(number, Role::Participant, &Why::default());
            } else if before.shows(role) != self.config.shows(role) {
                self.show_or_hide(number, role);
            }
        }
    }

    /// The presence of a role is shown from now on, or no longer.
    fn show_or_hide(&mut self, number: u64, role: Role) {
        if self.config.shows(role) {
            return self.announce_to_others(number, &Why::default());
        }
        let Some(who) = self.occupants.get(number) else {
            return;
        };
        let item = Item::new(who.affiliation, Role::None);
        let gone = Stanza::presence(xmpp::PresenceType::Unavailable)
            .from(self.at(&who.nick))
            .append(x_user("", &[item], &[]))
            .finish();
        let own = who
            .devices
            .iter()
            .map(|device| std::sync::Arc::clone(&device.to))
            .collect();
        let audience = self.occupants.audience(&self.config);
        self.outbox.push(Many::but(gone, audience.all, own));
    }

    /// Says what has changed (§10.2.1).
    fn tell_change(&mut self, before: &RoomConfig) {
        let now = &self.config;
        let mut statuses = Vec::new();
        if before.logged != now.logged {
            statuses.push(if now.logged { 170 } else { 171 });
        }
        if before.nonanonymous != now.nonanonymous {
            statuses.push(if now.nonanonymous { 172 } else { 173 });
        }
        let private = RoomConfig {
            logged: now.logged,
            nonanonymous: now.nonanonymous,
            ..before.clone()
        };
        if private != *now {
            statuses.push(104);
        }
        if !statuses.is_empty() {
            self.tell_statuses(&statuses);
        }
    }

    /// Tells all who are there something by its codes.
    pub(crate) fn tell_statuses(&mut self, statuses: &[u16]) {
        let message = Stanza::message(MessageType::Groupchat)
            .from(self.here())
            .id(xmpp::random_id())
            .append(x_user("", &[], statuses))
            .finish();
        let audience = self.occupants.audience(&self.config);
        self.outbox.push(Many::to(message, audience.all));
    }

    /// Ends the room: everybody is told where to go on, if anywhere (§10.9).
    pub(crate) async fn destroy(&mut self, destroy: &Element) -> Result<(), StanzaError> {
        let venue = destroy.attr("jid").map(parse_jid).transpose();
        let venue = venue.map_err(|error| Condition::JidMalformed.text(error.to_string()))?;
        let text = |name| destroy.get_child(name, ns::MUC_OWNER).map(Element::text);
        self.end(venue.as_ref(), text("reason"), text("password"))
            .await
    }

    /// Ends the room, in the store first.
    pub(crate) async fn end(
        &mut self,
        venue: Option<&Jid>,
        reason: Option<String>,
        password: Option<String>,
    ) -> Result<(), StanzaError> {
        if self.phase == Phase::Open {
            let mut batch = Batch::new();
            batch.remove_room(&self.address);
            self.commit(batch).await?;
        }
        self.dissolve(venue, reason, password);
        Ok(())
    }

    /// The room is no more, as is stored: all are told.
    pub(crate) fn dissolve(
        &mut self,
        venue: Option<&Jid>,
        reason: Option<String>,
        password: Option<String>,
    ) {
        let mut extra = String::from("<destroy");
        if let Some(venue) = venue {
            push_attr("jid", venue.as_str(), &mut extra);
        }
        extra.push('>');
        for (name, text) in [("password", password), ("reason", reason)] {
            if let Some(text) = text {
                extra.push_str(&format!("<{name}>"));
                xmpp::escape_text(&text, &mut extra);
                extra.push_str(&format!("</{name}>"));
            }
        }
        extra.push_str("</destroy>");
        for number in self.occupants.numbers() {
            let Some(mut gone) = self.occupants.leave(number) else {
                continue;
            };
            gone.affiliation = Affiliation::None;
            let base = Stanza::presence(xmpp::PresenceType::Unavailable).finish();
            let why = Why {
                extra: &extra,
                ..Why::default()
            };
            let (own, _) = self.farewells(&gone, &base, &why, Role::None);
            self.push_all(own);
        }
        self.entry.present.lock().clear();
        self.count();
        self.forget();
    }
}
