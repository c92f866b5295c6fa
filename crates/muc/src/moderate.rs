//! Taking back what was said: by whoever said it, and by moderators (XEP-0424, XEP-0425).

use minidom::Element;
use otp::Ctx;
use storage::{ArchiveMessage, Batch};
use xmpp::{
    Condition, Fragment, Jid, MessageType, Stanza, StanzaError, escape_text, format_date_time,
    push_attr, random_id,
};

use crate::outbox::{Many, Out};
use crate::room::{Heard, Phase, Room};
use crate::rules::Role;
use crate::service::sender;
use crate::stanzas::occupant_id;

/// Retraction.
pub(crate) const RETRACT: &str = "urn:xmpp:message-retract:1";
/// A service that keeps a mark in the place of what was retracted.
pub(crate) const TOMBSTONE: &str = "urn:xmpp:message-retract:1#tombstone";
/// Moderation.
pub(crate) const MODERATE: &str = "urn:xmpp:message-moderate:1";

/// The id of the message that a message takes back, if it takes one back.
pub(crate) fn retracts(stanza: &Stanza) -> Option<String> {
    let retract = stanza.child("retract", RETRACT)?;
    let text = std::str::from_utf8(stanza.child_bytes(retract)).ok()?;
    let element: Element = text.parse().ok()?;
    element.attr("id").map(str::to_owned)
}

/// What stands in the archive in the place of a message (XEP-0424 §4, XEP-0425 §4): who said it and when, nothing of
/// what was said.
pub(crate) fn tombstone(original: &Stanza, retracted: Fragment) -> Stanza {
    let keeps = |child: &xmpp::Child| {
        child.is("occupant-id", xmpp::ns::OCCUPANT_ID) || child.is("stanza-id", xmpp::ns::SID)
    };
    original
        .edit()
        .remove(|child| !keeps(child))
        .append(retracted)
        .finish()
}

impl Room {
    /// A message that takes another back: if both are of the same account the archive keeps only a mark. Looked up
    /// and written before the retraction is told, so that nobody who comes later hears what was taken back.
    pub(crate) async fn bury_own(
        &self,
        id: &str,
        stanza: &Stanza,
        by: &Jid,
        batch: &mut Batch,
    ) -> Result<bool, StanzaError> {
        let archive = &self.service.host.storage.archive;
        let Some(found) = archive.get(&self.address, id).await? else {
            return Ok(false);
        };
        if found.peer.to_bare() != by.to_bare() {
            return Ok(false);
        }
        let mut retracted = String::from("<retracted");
        push_attr("xmlns", RETRACT, &mut retracted);
        push_attr("id", stanza.id().unwrap_or_default(), &mut retracted);
        push_attr("stamp", &format_date_time(self.now()), &mut retracted);
        retracted.push_str("/>");
        if let Ok(original) = Stanza::parse(&found.stanza) {
            let stone = tombstone(&original, Fragment::from(retracted));
            batch.replace_archived(&self.address, id, stone.to_xml());
        }
        Ok(true)
    }

    /// A moderator takes a message back (XEP-0425 §3).
    ///
    /// # Errors
    ///
    /// `forbidden`: no moderator; `item-not-found`: no such message; `bad-request`: nothing that can be done to it;
    /// `not-allowed`: the room keeps nothing that could be taken back.
    pub(crate) async fn moderate(
        &mut self,
        stanza: &Stanza,
        request: &Element,
        ctx: &mut Ctx<Room>,
    ) -> Heard {
        let from = sender(stanza).clone();
        let by = self.standing(&from).await?;
        if by.role < Role::Moderator {
            return Err(Condition::Forbidden.text("only moderators take back what others said"));
        }
        if self.phase != Phase::Open {
            return Err(Condition::NotAllowed.into());
        }
        let id = request.attr("id").ok_or(Condition::BadRequest)?;
        request
            .get_child("retract", RETRACT)
            .ok_or_else(|| Condition::BadRequest.text("only retraction is offered"))?;
        let reason = request.get_child("reason", MODERATE).map(Element::text);
        let archive = &self.service.host.storage.archive;
        let found = archive.get(&self.address, id).await?;
        let found = found.ok_or(Condition::ItemNotFound)?;
        let original = Stanza::parse(&found.stanza).map_err(|_| Condition::ItemNotFound)?;
        let (moderator, occupant) = self.moderator(&from);
        let inside = moderated(&moderator, &occupant, reason.as_deref());
        let mut retracted = String::from("<retracted");
        push_attr("xmlns", RETRACT, &mut retracted);
        push_attr("stamp", &format_date_time(self.now()), &mut retracted);
        let retracted = format!("{retracted}>{inside}</retracted>");
        let stone = tombstone(&original, Fragment::from(retracted));
        let mut retract = String::from("<retract");
        push_attr("xmlns", RETRACT, &mut retract);
        push_attr("id", id, &mut retract);
        let retract = format!("{retract}>{inside}</retract>");
        let stanza_id = random_id();
        let attrs = [("by", self.address.as_str()), ("id", &stanza_id)];
        let message = Stanza::message(MessageType::Groupchat)
            .from(self.here())
            .id(random_id())
            .append(Fragment::from(retract))
            .append(Fragment::element("stanza-id", xmpp::ns::SID, &attrs, ""))
            .finish();
        let mut batch = Batch::new();
        batch.replace_archived(&self.address, id, stone.to_xml());
        batch.archive(
            &self.address,
            ArchiveMessage {
                id: stanza_id,
                at: self.now(),
                peer: self.here(),
                is_history: false,
                stanza: message.to_xml(),
            },
        );
        let audience = self.occupants.audience(&self.config);
        let then = vec![
            Out::Forget(id.to_owned()),
            Out::One(Stanza::iq_result(stanza, Fragment::empty())),
            Many::to(message, audience.all),
        ];
        let failed = Condition::InternalServerError.into();
        let otherwise = stanza.error_reply(&failed).map(Out::One);
        self.store(batch, then, otherwise.into_iter().collect(), ctx);
        Ok(router::Outcome::Stored)
    }

    /// Who moderates: as an occupant, else as the room.
    fn moderator(&self, from: &Jid) -> (Jid, String) {
        let number = self.number(from);
        match number.and_then(|number| self.occupants.get(number)) {
            Some(who) => (self.at(&who.nick), occupant_id(&who.id).as_str().to_owned()),
            None => (self.here(), String::new()),
        }
    }
}

fn moderated(by: &Jid, occupant: &str, reason: Option<&str>) -> String {
    let mut out = String::from("<moderated");
    push_attr("xmlns", MODERATE, &mut out);
    push_attr("by", by.as_str(), &mut out);
    out.push('>');
    out.push_str(occupant);
    out.push_str("</moderated>");
    if let Some(reason) = reason {
        out.push_str("<reason>");
        escape_text(reason, &mut out);
        out.push_str("</reason>");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tombstone_tells_who_and_nothing_more() {
        let original = Stanza::parse(
            "<message type='groupchat' from='r@c/n' id='1'><body>secret</body><x xmlns='urn:x'/>\
             <stanza-id xmlns='urn:xmpp:sid:0' by='r@c' id='s'/><occupant-id xmlns='urn:xmpp:occupant-id:0' id='o'/></message>",
        )
        .expect("a message");
        let stone = tombstone(
            &original,
            Fragment::from("<retracted xmlns='urn:xmpp:message-retract:1'/>"),
        );
        let names: Vec<&str> = stone.children().iter().map(xmpp::Child::name).collect();
        assert_eq!(names, ["stanza-id", "occupant-id", "retracted"]);
        assert_eq!(stone.id(), Some("1"));
        let retraction = Stanza::parse(
            "<message><retract xmlns='urn:xmpp:message-retract:1' id='s'/></message>",
        );
        assert_eq!(
            retracts(&retraction.expect("a message")).as_deref(),
            Some("s")
        );
        assert_eq!(retracts(&original), None);
    }
}
