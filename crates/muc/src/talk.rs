//! Talking: to all, to one, and the subject (XEP-0045 §7.4, §7.5, §8.1).

use std::time::SystemTime;

use otp::Ctx;
use router::Outcome;
use storage::{ArchiveMessage, Batch};
use xmpp::{Condition, Fragment, FullJid, Jid, MessageType, Stanza, StanzaError, ns, random_id};

use crate::history::Past;
use crate::iq::Relay;
use crate::outbox::{Many, Out};
use crate::room::{Heard, Phase, Room, UNWRITTEN};
use crate::rules::{Deed, may};
use crate::service::sender;
use crate::stanzas::{occupant_id, without_ours};

/// The subject as it was stored, and when it was set.
pub(crate) fn stored_subject(text: &str) -> Option<(Stanza, SystemTime)> {
    let stanza = Stanza::parse(text).ok()?;
    let stamp = stanza
        .dom()
        .get_child("delay", ns::DELAY)
        .and_then(|delay| delay.attr("stamp"))
        .and_then(xmpp::parse_date_time)?;
    let stanza = stanza
        .edit()
        .remove(|child| child.is("delay", ns::DELAY))
        .finish();
    Some((stanza, stamp))
}

impl Room {
    /// An occupant speaks to all, or changes the subject.
    ///
    /// # Errors
    ///
    /// `not-acceptable`: not there; `forbidden`: without voice, or without the right to change the subject;
    /// `resource-constraint`: too often, or more than the store takes.
    pub(crate) async fn say(&mut self, stanza: &Stanza, ctx: &mut Ctx<Room>) -> Heard {
        let number = self.number(sender(stanza)).ok_or_else(|| {
            StanzaError::from(Condition::NotAcceptable).with_text("you are not in this room")
        })?;
        let who = self
            .occupants
            .get(number)
            .expect("an occupant has a number");
        let subject = is_subject(stanza);
        let deed = if subject {
            Deed::ChangeSubject
        } else {
            Deed::Speak
        };
        if !may(who.role, deed, &self.config) {
            return Err(Condition::Forbidden.into());
        }
        let (nick, user, id) = (who.nick.clone(), who.user.clone(), who.id.clone());
        self.charge_message(number)?;
        let said = self.reflected(stanza, &nick, &id);
        let (stanza_id, message) = said;
        let (at, room) = (self.now(), self.address.clone());
        let mut then = Vec::new();
        let mut batch = Batch::new();
        let is_past = !subject
            && stanza.has_child("body", ns::CLIENT)
            && !stanza.has_child("retract", crate::moderate::RETRACT);
        if subject {
            self.batch_subject(&mut batch, &message, at);
            then.push(Out::Subject(Some((message.clone(), at))));
        } else if is_past {
            then.push(Out::Remember(Past {
                at,
                id: stanza_id.clone(),
                stanza: message.clone(),
            }));
        }
        if self.phase == Phase::Open
            && let Some(id) = crate::moderate::retracts(stanza)
            && self
                .bury_own(&id, &message, sender(stanza), &mut batch)
                .await?
        {
            then.push(Out::Forget(id));
        }
        let now = self.service.host.clock.now();
        self.activity.count(stanza, now);
        if self.phase == Phase::Open && is_worth_keeping(stanza) {
            batch.archive(
                &room,
                ArchiveMessage {
                    id: stanza_id,
                    at,
                    peer: Jid::from(user),
                    is_history: is_past,
                    stanza: message.to_xml(),
                },
            );
            if !self.config.archived {
                batch.trim_archive(&room, u64::from(self.config.history));
            }
        }
        self.used = true;
        let audience = self.occupants.audience(&self.config);
        then.push(Many::to(message, audience.all));
        if batch.is_empty() {
            self.push_all(then);
            return Ok(Outcome::Delivered);
        }
        let failed = Condition::InternalServerError.text("the message could not be stored");
        let otherwise = stanza.error_reply(&failed).map(Out::One);
        self.store(batch, then, otherwise.into_iter().collect(), ctx);
        Ok(Outcome::Stored)
    }

    /// Counts a message.
    fn charge_message(&mut self, number: u64) -> Result<(), StanzaError> {
        if self.unwritten >= UNWRITTEN {
            return Err(Condition::ResourceConstraint.text("more is said than can be stored"));
        }
        let (now, settings) = (self.service.host.clock.now(), self.service.settings());
        let rate = settings.opts.message_rate();
        let who = self
            .occupants
            .get_mut(number)
            .expect("an occupant has a number");
        if !who.messages.take(rate, now) {
            return Err(Condition::ResourceConstraint.text("you say too much at once"));
        }
        who.spoke = Some(now);
        Ok(())
    }

    /// A message as all hear it, without `to`; with an id that is the room's (XEP-0359), and one of the sender's
    /// where the client gave none.
    fn reflected(&self, stanza: &Stanza, nick: &str, occupant: &str) -> (String, Stanza) {
        let stanza_id = random_id();
        let own = stanza.id().map_or_else(random_id, str::to_owned);
        let here = self.address.as_str();
        let forged = forged_ids(stanza, here);
        let mut number = 0;
        let edit = stanza.edit().from(self.at(nick)).to(None).id(own);
        let edit = edit.remove(|child| {
            let this = number;
            number += 1;
            forged.contains(&this)
                || matches!(
                    child.namespace(),
                    ns::MUC | ns::OCCUPANT_ID | ns::HATS | ns::MUC_USER
                )
        });
        let attrs = [("by", here), ("id", &stanza_id)];
        let message = edit
            .append(Fragment::element("stanza-id", ns::SID, &attrs, ""))
            .append(occupant_id(occupant))
            .finish();
        (stanza_id, message)
    }

    fn batch_subject(&self, batch: &mut Batch, message: &Stanza, at: SystemTime) {
        if self.phase == Phase::Open {
            let here = self.here();
            let stored = crate::history::delayed(message, at, &here, &here);
            batch.set_subject(&self.address, Some(stored.to_xml()));
        }
    }

    /// An occupant speaks to one (§7.5).
    ///
    /// # Errors
    ///
    /// `bad-request`: of type `groupchat`; `not-acceptable`: not there; `forbidden`: not with that role;
    /// `item-not-found`: nobody of that nickname; `resource-constraint`: too often.
    pub(crate) fn whisper(&mut self, stanza: &Stanza, nick: &str) -> Heard {
        if stanza.message_type() == MessageType::Groupchat {
            return Err(Condition::BadRequest.text("what is for one is not of type groupchat"));
        }
        let from = self.number(sender(stanza));
        let from = from.ok_or(Condition::NotAcceptable)?;
        let to = self
            .occupants
            .by_nick(nick)
            .ok_or(Condition::ItemNotFound)?;
        let who = self.occupants.get(from).expect("an occupant has a number");
        if !may(who.role, Deed::Whisper, &self.config) {
            return Err(Condition::Forbidden.into());
        }
        let (sender_nick, occupant) = (who.nick.clone(), who.id.clone());
        self.charge_message(from)?;
        let id = stanza.id().map_or_else(random_id, str::to_owned);
        let edit = stanza.edit().from(self.at(&sender_nick)).id(id.clone());
        let message = without_ours(edit)
            .append(Fragment::element("x", ns::MUC_USER, &[], ""))
            .append(occupant_id(&occupant))
            .finish();
        let who = self.occupants.get(to).expect("an occupant has a number");
        let devices: Vec<Jid> = who
            .devices
            .iter()
            .map(|device| Jid::clone(&device.to))
            .collect();
        let asker = sender(stanza).try_as_full().cloned();
        for device in devices {
            if let (Ok(sender), Ok(recipient)) = (&asker, device.try_as_full()) {
                let relay = Relay::Whisper {
                    sender: sender.clone(),
                    recipient: recipient.clone(),
                    nick: nick.to_owned(),
                };
                self.relays.remember(&id, relay);
            }
            self.outbox
                .push(Out::One(message.edit().to(device).finish()));
        }
        Ok(Outcome::Delivered)
    }

    /// A private message came back: its sender is told. `None`: it is none that is remembered.
    pub(crate) fn whisper_failed(&mut self, stanza: &Stanza, from: &FullJid) -> Option<Outcome> {
        let id = stanza.id()?;
        let relay = self.relays.take(
            id,
            |relay| matches!(relay, Relay::Whisper { recipient, .. } if recipient == from),
        )?;
        let Relay::Whisper { sender, nick, .. } = relay else {
            return None;
        };
        let told = stanza
            .edit()
            .from(self.at(&nick))
            .to(Jid::from(sender))
            .finish();
        self.outbox.push(Out::One(told));
        Some(Outcome::Delivered)
    }
}

/// A message changes the subject when it has one and neither a body nor a thread (§8.1).
fn is_subject(stanza: &Stanza) -> bool {
    let has = |name| stanza.has_child(name, ns::CLIENT);
    has("subject") && !has("body") && !has("thread")
}

/// Ids that claim to be this room's, by the number of the child.
fn forged_ids(stanza: &Stanza, here: &str) -> Vec<usize> {
    let claims = |(_, child): &(usize, &xmpp::Child)| {
        child.is("stanza-id", ns::SID) && {
            let text = std::str::from_utf8(stanza.child_bytes(child)).unwrap_or_default();
            let element: Option<minidom::Element> = text.parse().ok();
            element.is_none_or(|element| element.attr("by") == Some(here))
        }
    };
    let claiming = stanza.children().iter().enumerate().filter(claims);
    claiming.map(|(number, _)| number).collect()
}

/// Whether a message is kept: not when its sender forbids it (XEP-0334), nor when all it tells is a state of the
/// client (XEP-0313 §5.1).
pub(crate) fn is_worth_keeping(stanza: &Stanza) -> bool {
    let children = stanza.children();
    let forbidden = children
        .iter()
        .any(|child| child.is("no-store", ns::HINTS) || child.is("no-permanent-store", ns::HINTS));
    let wanted = children.iter().any(|child| {
        !matches!(
            child.namespace(),
            ns::CHATSTATES | ns::HINTS | ns::MUC_USER | ns::SID | ns::OCCUPANT_ID
        ) && !child.is("thread", ns::CLIENT)
    }) || children.iter().any(|child| child.is("store", ns::HINTS));
    wanted && !forbidden
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_worth_keeping() {
        for (inside, keep) in [
            ("<body>x</body>", true),
            ("<body>x</body><no-store xmlns='urn:xmpp:hints'/>", false),
            (
                "<active xmlns='http://jabber.org/protocol/chatstates'/>",
                false,
            ),
            (
                "<active xmlns='http://jabber.org/protocol/chatstates'/><store xmlns='urn:xmpp:hints'/>",
                true,
            ),
            ("<reactions xmlns='urn:xmpp:reactions:0' id='1'/>", true),
            ("<subject>s</subject>", true),
            ("<thread>t</thread>", false),
            ("", false),
        ] {
            let text = format!("<message type='groupchat'>{inside}</message>");
            let stanza = Stanza::parse(&text).expect("a message");
            assert_eq!(is_worth_keeping(&stanza), keep, "{inside}");
        }
    }

    #[test]
    fn only_a_bare_subject_is_one() {
        for (inside, is) in [
            ("<subject/>", true),
            ("<subject>s</subject><x xmlns='urn:x'/>", true),
            ("<subject>s</subject><body/>", false),
            ("<subject>s</subject><thread>t</thread>", false),
            ("<body>b</body>", false),
        ] {
            let text = format!("<message type='groupchat'>{inside}</message>");
            assert_eq!(
                is_subject(&Stanza::parse(&text).expect("a message")),
                is,
                "{inside}"
            );
        }
    }

    #[test]
    fn ids_of_this_room_are_not_taken_from_others() {
        let text = "<message><stanza-id xmlns='urn:xmpp:sid:0' by='r@c' id='1'/><body/>\
                    <stanza-id xmlns='urn:xmpp:sid:0' by='other@c' id='2'/></message>";
        let stanza = Stanza::parse(text).expect("a message");
        assert_eq!(forged_ids(&stanza, "r@c"), [0]);
    }
}
