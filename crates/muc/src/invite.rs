//! Invitations: passed on by the room, declined through it (XEP-0045 §7.8, §9.5; XEP-0249).

use minidom::Element;
use router::Outcome;
use storage::Affiliation;
use xmpp::{
    BareJid, Condition, Jid, MessageType, Stanza, StanzaError, escape_text, ns, parse_jid,
    push_attr, random_id,
};

use crate::form::Filled;
use crate::iq::Relay;
use crate::outbox::Out;
use crate::room::{Heard, Room};
use crate::rules::{Deed, Right, Standing, has, may};
use crate::service::sender;

/// How many may be invited by one message.
const INVITEES: usize = 50;

impl Room {
    /// A message to the room that is not for all: an invitation, its refusal, or a form.
    ///
    /// # Errors
    ///
    /// `bad-request`: none of these; `not-acceptable`: from outside, where that is not for outsiders; `forbidden`.
    pub(crate) async fn ask(&mut self, stanza: &Stanza) -> Heard {
        let dom = stanza.dom();
        if let Some(x) = dom.get_child("x", ns::MUC_USER) {
            let invites: Vec<&Element> = children(x, "invite");
            if !invites.is_empty() {
                return self.invite(stanza, &invites).await;
            }
            if let [decline] = children(x, "decline")[..] {
                return self.decline(stanza, decline);
            }
        }
        if let Some(filled) = Filled::within(dom) {
            return self.filled(stanza, &filled).await;
        }
        Err(Condition::BadRequest.text("what is for all is of type groupchat"))
    }

    async fn invite(&mut self, stanza: &Stanza, invites: &[&Element]) -> Heard {
        let from = sender(stanza).clone();
        let number = self.number(&from).ok_or(Condition::NotAcceptable)?;
        let by = self.occupants.get(number).map(|who| who.standing());
        let by = by.ok_or(Condition::NotAcceptable)?;
        if !self.may_invite(by) {
            return Err(Condition::Forbidden.into());
        }
        if invites.len() > INVITEES {
            return Err(Condition::NotAcceptable.text("too many at once"));
        }
        let mut invitees = Vec::new();
        for invite in invites {
            let to = invite.attr("to").ok_or(Condition::BadRequest)?;
            let to = parse_jid(to);
            let to = to.map_err(|error| Condition::JidMalformed.text(error.to_string()))?;
            invitees.push((to, *invite));
        }
        if self.config.members_only {
            // Who is invited may enter (§9.5).
            let strangers = invitees
                .iter()
                .filter(|(to, _)| self.affiliations.of(&to.to_bare()) == Affiliation::None);
            let rows = strangers
                .map(|(to, _)| self.changed_row(&to.to_bare(), Affiliation::Member))
                .collect();
            let changed = self.keep_affiliations(rows).await?;
            let mut after = Vec::new();
            // They hear of it by the invitation itself.
            let _ = self.apply_affiliations(changed, None, &mut after);
            self.push_all(after);
        }
        for (to, invite) in invitees {
            self.send_invitation(&from, &to, Some(invite));
        }
        Ok(Outcome::Delivered)
    }

    /// Where only members enter those invite who manage them, or all members if the room allows it; elsewhere
    /// everybody who is there (§5.1.1, §7.8.2).
    fn may_invite(&self, by: Standing) -> bool {
        match self.config.members_only {
            true => {
                has(by.affiliation, Right::InviteToMembersOnly)
                    || (self.config.members_invite && by.affiliation >= Affiliation::Member)
            }
            false => may(by.role, Deed::Listen, &self.config),
        }
    }

    /// The invitation as it is sent: with the password, and, for clients that know no other, as a direct one
    /// (XEP-0249) beside it.
    fn send_invitation(&mut self, from: &Jid, to: &Jid, invite: Option<&Element>) {
        let inviter = from.to_bare();
        let child = |name| invite.and_then(|invite| invite.get_child(name, ns::MUC_USER));
        let reason = child("reason").map(Element::text);
        let mut user = String::from("<x");
        push_attr("xmlns", ns::MUC_USER, &mut user);
        user.push_str("><invite");
        push_attr("from", inviter.as_str(), &mut user);
        user.push('>');
        let mut direct = String::from("<x");
        push_attr("xmlns", ns::CONFERENCE, &mut direct);
        push_attr("jid", self.address.as_str(), &mut direct);
        if let Some(reason) = &reason {
            user.push_str("<reason>");
            escape_text(reason, &mut user);
            user.push_str("</reason>");
            push_attr("reason", reason, &mut direct);
        }
        if let Some(goes_on) = child("continue") {
            user.push_str("<continue");
            push_attr_if("thread", goes_on.attr("thread"), &mut user);
            user.push_str("/>");
            push_attr("continue", "true", &mut direct);
            push_attr_if("thread", goes_on.attr("thread"), &mut direct);
        }
        user.push_str("</invite>");
        if self.config.protected {
            let password = self.config.password.reveal();
            user.push_str("<password>");
            escape_text(password, &mut user);
            user.push_str("</password>");
            push_attr("password", password, &mut direct);
        }
        user.push_str("</x>");
        direct.push_str("/>");
        let id = random_id();
        if let Ok(inviter) = from.try_as_full() {
            let relay = Relay::Invitation {
                inviter: inviter.clone(),
                invitee: to.to_bare(),
            };
            self.relays.remember(&id, relay);
        }
        let message = Stanza::message(MessageType::Normal)
            .from(self.here())
            .to(to.clone())
            .id(id)
            .append(user)
            .append(direct);
        self.outbox.push(Out::One(message.finish()));
    }

    /// Somebody became a member while away: it is told (§9.5).
    pub(crate) fn invite_member(&mut self, user: &BareJid, by: &Jid) {
        self.send_invitation(by, &Jid::from(user.clone()), None);
    }

    /// An invitation did not arrive: whoever sent it is told that there is nobody (§7.8.2).
    pub(crate) fn invitation_failed(&mut self, stanza: &Stanza) -> Outcome {
        let from = sender(stanza).to_bare();
        let relay = self.relays.take(
            stanza.id().unwrap_or_default(),
            |relay| matches!(relay, Relay::Invitation { invitee, .. } if *invitee == from),
        );
        let Some(Relay::Invitation { inviter, .. }) = relay else {
            return Outcome::Dropped;
        };
        let error = StanzaError::from(Condition::ItemNotFound)
            .with_text(format!("{from} could not be invited"));
        let told = Stanza::message(MessageType::Error)
            .from(self.here())
            .to(Jid::from(inviter))
            .append(error.to_fragment());
        self.outbox.push(Out::One(told.finish()));
        Outcome::Delivered
    }

    /// Somebody does not want to come. Told only to those who invited it, lest the room carry messages for anybody.
    fn decline(&mut self, stanza: &Stanza, decline: &Element) -> Heard {
        let to = decline.attr("to").ok_or(Condition::BadRequest)?;
        let to = parse_jid(to);
        let to = to.map_err(|error| Condition::JidMalformed.text(error.to_string()))?;
        let from = sender(stanza).to_bare();
        let inviter = to.to_bare();
        let invited = self.relays.any(|relay| {
            matches!(relay, Relay::Invitation { invitee, inviter: by }
                if *invitee == from && by.to_bare() == inviter)
        });
        let known = self.affiliations.of(&inviter) >= Affiliation::Member
            || !self.occupants.of(&inviter).is_empty();
        if !invited && !known {
            return Err(Condition::ItemNotFound.text("nobody here has invited you"));
        }
        let mut user = String::from("<x");
        push_attr("xmlns", ns::MUC_USER, &mut user);
        user.push_str("><decline");
        push_attr("from", from.as_str(), &mut user);
        user.push('>');
        if let Some(reason) = decline.get_child("reason", ns::MUC_USER) {
            user.push_str("<reason>");
            escape_text(&reason.text(), &mut user);
            user.push_str("</reason>");
        }
        user.push_str("</decline></x>");
        let message = Stanza::message(MessageType::Normal)
            .from(self.here())
            .to(to)
            .id(random_id())
            .append(user);
        self.outbox.push(Out::One(message.finish()));
        Ok(Outcome::Delivered)
    }
}

fn children<'a>(parent: &'a Element, name: &str) -> Vec<&'a Element> {
    let is = |child: &&Element| child.is(name, ns::MUC_USER);
    parent.children().filter(is).collect()
}

fn push_attr_if(name: &str, value: Option<&str>, out: &mut String) {
    if let Some(value) = value {
        push_attr(name, value, out);
    }
}
