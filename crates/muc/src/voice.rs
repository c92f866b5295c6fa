//! Forms sent to a room: requests for voice, and what moderators and admins answer (XEP-0045 §7.13, §8.6, §9.9).

use router::Outcome;
use xmpp::{Condition, Fragment, Jid, MessageType, Stanza, random_id};

use crate::form::{Filled, FormText, Kind};
use crate::outbox::Out;
use crate::presence::Why;
use crate::room::{Heard, Room};
use crate::rules::{Role, change_role};
use crate::service::sender;

/// The type of requests for voice.
const REQUEST: &str = "http://jabber.org/protocol/muc#request";

impl Room {
    /// A form that somebody filled in, by its type.
    ///
    /// # Errors
    ///
    /// `bad-request`: no form that a room knows; `not-acceptable`: not there; `forbidden`: not with that role;
    /// `item-not-found`: the one that it is about is gone.
    pub(crate) async fn filled(&mut self, stanza: &Stanza, filled: &Filled) -> Heard {
        match filled.one("FORM_TYPE") {
            Some(REQUEST) => match filled.one("muc#request_allow") {
                Some(_) => self.decide_voice(stanza, filled).await,
                None => self.request_voice(stanza, filled),
            },
            Some(crate::register::FORM) => self.decide_registration(stanza, filled).await,
            _ => Err(Condition::BadRequest.text("no form that a room knows")),
        }
    }

    /// A visitor asks for voice: the moderators are asked.
    fn request_voice(&mut self, stanza: &Stanza, filled: &Filled) -> Heard {
        let from = sender(stanza);
        let number = self.number(from).ok_or(Condition::NotAcceptable)?;
        let who = self.occupants.get(number).ok_or(Condition::NotAcceptable)?;
        if filled.one("muc#role") != Some(Role::Participant.as_str()) {
            return Err(Condition::BadRequest.text("only the role of a participant is asked for"));
        }
        if who.role != Role::Visitor {
            return Err(Condition::NotAllowed.text("you have a voice"));
        }
        let (nick, address) = (who.nick.clone(), from.to_string());
        self.charge_presence(number)?;
        let one = |text: &str| vec![text.to_owned()];
        let form = FormText::new("form", REQUEST)
            .title(
                "Voice request",
                "To approve this request for voice, select the \"Grant voice to this person?\" checkbox and click OK.",
            )
            .field(
                "muc#role",
                Kind::List(&[("participant", "Participant")]),
                "Requested role",
                &one("participant"),
            )
            .field("muc#jid", Kind::Jid, "User ID", &[address])
            .field("muc#roomnick", Kind::Text, "Room Nickname", &[nick])
            .field(
                "muc#request_allow",
                Kind::Boolean,
                "Grant voice to this person?",
                &one("0"),
            )
            .finish();
        self.tell_moderators(&form);
        Ok(Outcome::Delivered)
    }

    fn tell_moderators(&mut self, form: &str) {
        let message = Stanza::message(MessageType::Normal)
            .from(self.here())
            .id(random_id())
            .append(Fragment::from(form))
            .finish();
        let outs: Vec<Out> = self
            .occupants
            .iter()
            .filter(|(_, who)| who.role == Role::Moderator)
            .flat_map(|(_, who)| &who.devices)
            .map(|device| Out::One(message.edit().to(Jid::clone(&device.to)).finish()))
            .collect();
        self.push_all(outs);
    }

    /// A moderator grants voice, or does not.
    async fn decide_voice(&mut self, stanza: &Stanza, filled: &Filled) -> Heard {
        let by = self.standing(sender(stanza)).await?;
        if by.role < Role::Moderator {
            return Err(Condition::Forbidden.into());
        }
        if !filled.truth("muc#request_allow") || filled.type_ == "cancel" {
            return Ok(Outcome::Delivered);
        }
        let nick = filled.one("muc#roomnick").ok_or(Condition::BadRequest)?;
        let number = self
            .occupants
            .by_nick(nick)
            .ok_or(Condition::ItemNotFound)?;
        let who = self.occupants.get(number).ok_or(Condition::ItemNotFound)?;
        if who.role == Role::Visitor {
            change_role(by, who.standing(), Role::Participant)?;
            self.set_role(number, Role::Participant, &Why::default());
        }
        Ok(Outcome::Delivered)
    }
}
