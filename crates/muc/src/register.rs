//! Becoming a member by asking, and a nickname that is one's own (XEP-0045 §7.10, §9.9).
//!
//! In an open room who registers is a member at once; where only members enter an admin has to agree (our choice;
//! §7.10 leaves it open). Members change their nickname in the same way.

use std::collections::HashMap;

use ahash::RandomState;
use minidom::Element;
use router::Outcome;
use storage::{Affiliated, Affiliation};
use xmpp::{
    BareJid, Condition, Fragment, Jid, MessageType, Stanza, StanzaError, ns, push_attr, random_id,
};

use crate::form::{Filled, FormText, Kind};
use crate::outbox::Out;
use crate::room::{Heard, Room};
use crate::rules::{Right, has};
use crate::service::sender;

/// The type of the form.
pub(crate) const FORM: &str = "http://jabber.org/protocol/muc#register";

const NICK: &str = "muc#register_roomnick";

/// How many requests wait for an admin.
const WAITING: usize = 1000;

/// Requests that wait for an admin: the nickname, by account.
pub(crate) type Requests = HashMap<BareJid, String, RandomState>;

impl Room {
    /// What has to be told to register, or that it was done.
    ///
    /// # Errors
    ///
    /// `not-allowed`: banned.
    pub(crate) async fn registration(&self, stanza: &Stanza) -> Result<Fragment, StanzaError> {
        let user = sender(stanza).to_bare();
        let affiliation = self.affiliations.of(&user);
        let mut out = String::from("<query");
        push_attr("xmlns", ns::REGISTER, &mut out);
        out.push('>');
        if affiliation >= Affiliation::Member {
            out.push_str("<registered/><username>");
            let nick = self.affiliations.nick_of(&user).unwrap_or_default();
            xmpp::escape_text(nick, &mut out);
            out.push_str("</username></query>");
            return Ok(Fragment::from(out));
        }
        if !has(affiliation, Right::Register) {
            return Err(Condition::NotAllowed.into());
        }
        let words = "Choose the nickname that is to be yours alone in this room.";
        out.push_str(&format!("<instructions>{words}</instructions>"));
        let form = FormText::new("form", FORM)
            .title(&format!("Registration with {}", self.address), words)
            .required(NICK, Kind::Text, "Desired Nickname");
        out.push_str(&form.finish());
        out.push_str("</query>");
        Ok(Fragment::from(out))
    }

    /// Registers somebody, or ends that.
    ///
    /// # Errors
    ///
    /// `not-allowed`: banned; `bad-request`: no form; `conflict`: the nickname is somebody else's;
    /// `resource-constraint`: too many requests wait.
    pub(crate) async fn register(&mut self, stanza: &Stanza, query: &Element) -> Heard {
        let user = sender(stanza).to_bare();
        let affiliation = self.affiliations.of(&user);
        if query.get_child("remove", ns::REGISTER).is_some() {
            return self.unregister(stanza, &user, affiliation).await;
        }
        if affiliation == Affiliation::Outcast {
            return Err(Condition::NotAllowed.into());
        }
        let filled = Filled::within(query).filter(|filled| filled.type_ == "submit");
        let filled = filled.ok_or_else(|| Condition::BadRequest.text("expected a form"))?;
        filled.of_type(FORM)?;
        let nick = filled.one(NICK);
        let nick = nick.ok_or_else(|| Condition::BadRequest.text("a nickname is needed"))?;
        let nick = self.free_nick(nick, &user)?;
        if affiliation == Affiliation::None && self.config.members_only {
            self.request_membership(&user, &nick)?;
            return Ok(self.answer(stanza, Fragment::empty()));
        }
        let after = self
            .admit_member(&user, affiliation.max(Affiliation::Member), Some(nick))
            .await?;
        let outcome = self.answer(stanza, Fragment::empty());
        self.push_all(after);
        Ok(outcome)
    }

    async fn unregister(
        &mut self,
        stanza: &Stanza,
        user: &BareJid,
        affiliation: Affiliation,
    ) -> Heard {
        let after = match affiliation {
            Affiliation::Member => self.admit_member(user, Affiliation::None, None).await?,
            // Who manages a room lays that down first; a nickname of one's own can be given back.
            Affiliation::Admin | Affiliation::Owner => {
                self.admit_member(user, affiliation, None).await?
            }
            Affiliation::None | Affiliation::Outcast => {
                return Err(Condition::RegistrationRequired.into());
            }
        };
        let outcome = self.answer(stanza, Fragment::empty());
        self.push_all(after);
        Ok(outcome)
    }

    /// Keeps an affiliation and a nickname, and gives back what is told of it.
    async fn admit_member(
        &mut self,
        user: &BareJid,
        affiliation: Affiliation,
        nick: Option<String>,
    ) -> Result<Vec<Out>, StanzaError> {
        let row = Affiliated {
            jid: user.clone(),
            affiliation,
            nick,
            reason: None,
            version: 0,
        };
        let changed = self.keep_affiliations(vec![row]).await?;
        let mut after = Vec::new();
        let _ = self.apply_affiliations(changed, None, &mut after);
        self.used = true;
        Ok(after)
    }

    /// The admins who are there are asked (§9.9).
    fn request_membership(&mut self, user: &BareJid, nick: &str) -> Result<(), StanzaError> {
        if self.requests.len() >= WAITING {
            return Err(Condition::ResourceConstraint.text("too many wait for an answer"));
        }
        self.requests.insert(user.clone(), nick.to_owned());
        let form = FormText::new("form", FORM)
            .title(
                "Registration request",
                "To approve this registration request, select the \"Allow this person to register?\" checkbox and click OK.",
            )
            .field("muc#jid", Kind::Jid, "User ID", &[user.to_string()])
            .field(NICK, Kind::Text, "Desired Nickname", &[nick.to_owned()])
            .field(
                "muc#register_allow",
                Kind::Boolean,
                "Allow this person to register with the room?",
                &["0".to_owned()],
            )
            .finish();
        let message = Stanza::message(MessageType::Normal)
            .from(self.here())
            .id(random_id())
            .append(Fragment::from(form))
            .finish();
        let outs: Vec<Out> = self
            .occupants
            .iter()
            .filter(|(_, who)| has(who.affiliation, Right::EditMembers))
            .flat_map(|(_, who)| &who.devices)
            .map(|device| Out::One(message.edit().to(Jid::clone(&device.to)).finish()))
            .collect();
        self.push_all(outs);
        Ok(())
    }

    /// An admin lets somebody in, or does not.
    pub(crate) async fn decide_registration(&mut self, stanza: &Stanza, filled: &Filled) -> Heard {
        let by = self.standing(sender(stanza)).await?;
        if !has(by.affiliation, Right::EditMembers) {
            return Err(Condition::Forbidden.into());
        }
        let user = filled.one("muc#jid").ok_or(Condition::BadRequest)?;
        let user = xmpp::parse_bare(user);
        let user = user.map_err(|error| Condition::JidMalformed.text(error.to_string()))?;
        let nick = self.requests.remove(&user).ok_or(Condition::ItemNotFound)?;
        if !filled.truth("muc#register_allow") || filled.type_ == "cancel" {
            return Ok(Outcome::Delivered);
        }
        let nick = self.free_nick(&nick, &user)?;
        let after = self
            .admit_member(&user, Affiliation::Member, Some(nick))
            .await?;
        self.push_all(after);
        let by = sender(stanza).clone();
        self.invite_member(&user, &by);
        Ok(Outcome::Delivered)
    }
}
