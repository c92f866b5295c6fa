//! Requests: to the room, and through it from one occupant to another (XEP-0045 §17.4, XEP-0410).

use std::collections::VecDeque;

use minidom::Element;
use otp::Ctx;
use router::Outcome;
use xmpp::{
    BareJid, Condition, Fragment, FullJid, IqType, Jid, Stanza, StanzaError, ns, random_id,
};

use crate::moderate::MODERATE;
use crate::outbox::Out;
use crate::room::{Heard, Phase, Room};
use crate::service::{payload, sender};

/// How many things a room remembers that it has passed on.
const REMEMBERED: usize = 1000;

/// Something that was passed on, and whose answer goes back.
#[derive(Debug, Clone)]
pub(crate) enum Relay {
    /// A request to an occupant.
    Iq {
        asker: FullJid,
        /// The id that the asker gave.
        id: String,
        /// Who was asked, as the asker knows it.
        nick: String,
        /// And as it answers.
        answerer: Jid,
    },
    /// A private message.
    Whisper {
        sender: FullJid,
        recipient: FullJid,
        /// Who was addressed, as the sender knows it.
        nick: String,
    },
    /// An invitation.
    Invitation { inviter: FullJid, invitee: BareJid },
}

/// What was passed on lately, by the id that it was given.
#[derive(Debug, Default)]
pub(crate) struct Relays(VecDeque<(String, Relay)>);

impl Relays {
    /// Remembers one more; of too many the oldest is forgotten.
    pub(crate) fn remember(&mut self, id: &str, relay: Relay) {
        if self.0.len() >= REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((id.to_owned(), relay));
    }

    /// Takes out the one of that id that `is` says.
    pub(crate) fn take(&mut self, id: &str, is: impl Fn(&Relay) -> bool) -> Option<Relay> {
        let at = self
            .0
            .iter()
            .position(|(of, relay)| of == id && is(relay))?;
        self.0.remove(at).map(|(_, relay)| relay)
    }

    /// Whether any is as `is` says.
    pub(crate) fn any(&self, is: impl Fn(&Relay) -> bool) -> bool {
        self.0.iter().any(|(_, relay)| is(relay))
    }
}

impl Room {
    /// A request to the room or to an occupant, or the answer to one that was passed on.
    pub(crate) async fn iq(&mut self, stanza: &Stanza, ctx: &mut Ctx<Room>) -> Heard {
        let nick = stanza.to().and_then(|to| to.resource());
        let nick = nick.map(|nick| nick.as_str().to_owned());
        match (stanza.iq_type(), nick) {
            (IqType::Result | IqType::Error, _) => Ok(self.answered(stanza)),
            (_, Some(nick)) => self.pass_on(stanza, &nick),
            (IqType::Get, None) => {
                let answer = self.get(stanza, payload(stanza)?).await?;
                Ok(self.answer(stanza, answer))
            }
            (IqType::Set, None) => self.set(stanza, payload(stanza)?, ctx).await,
        }
    }

    /// Answers a request.
    pub(crate) fn answer(&mut self, request: &Stanza, payload: Fragment) -> Outcome {
        self.outbox
            .push(Out::One(Stanza::iq_result(request, payload)));
        Outcome::Delivered
    }

    async fn get(&mut self, stanza: &Stanza, payload: &Element) -> Result<Fragment, StanzaError> {
        self.must_exist(stanza)?;
        match payload.ns().as_str() {
            ns::PING => Ok(Fragment::empty()),
            ns::DISCO_INFO => self.disco_info(stanza, payload).await,
            ns::DISCO_ITEMS => self.disco_items(stanza, payload).await,
            ns::MUC_ADMIN => self.list(stanza, payload).await,
            ns::MUC_OWNER => self.configuration(stanza).await,
            ns::REGISTER => self.registration(stanza).await,
            ns::VCARD => self.vcard().await,
            ns::MAM if payload.name() == "metadata" => self.archive_ends(stanza).await,
            ns::MAM => self.archive_form(stanza).await,
            _ => Err(Condition::ServiceUnavailable.into()),
        }
    }

    async fn set(&mut self, stanza: &Stanza, payload: &Element, ctx: &mut Ctx<Room>) -> Heard {
        self.must_exist(stanza)?;
        match payload.ns().as_str() {
            ns::MUC_ADMIN => self.change_lists(stanza, payload).await,
            ns::MUC_OWNER => self.own(stanza, payload).await,
            ns::REGISTER => self.register(stanza, payload).await,
            ns::VCARD => self.set_vcard(stanza, payload).await,
            ns::MAM => self.search_archive(stanza, payload, ctx).await,
            ns::COMMANDS => self.hat_command(stanza, payload).await,
            MODERATE => self.moderate(stanza, payload, ctx).await,
            _ => Err(Condition::ServiceUnavailable.into()),
        }
    }

    /// A room that does not exist, or does not yet for those who are not in it, answers nothing.
    fn must_exist(&self, stanza: &Stanza) -> Result<(), StanzaError> {
        let hidden = match self.phase {
            Phase::Absent => true,
            Phase::Locked => self.number(sender(stanza)).is_none(),
            Phase::Open => false,
        };
        match hidden {
            true => Err(Condition::ItemNotFound.into()),
            false => Ok(()),
        }
    }

    /// A request from one occupant to another (§17.4). Neither learns the address of the other. One's own ping is
    /// answered by the room (XEP-0410 §3.3); what a vCard holds is asked of the account.
    ///
    /// # Errors
    ///
    /// `not-acceptable`: not there; `bad-request`: not there, and asking what an occupant is (§6.6);
    /// `item-not-found`: nobody of that nickname.
    fn pass_on(&mut self, stanza: &Stanza, nick: &str) -> Heard {
        let payload_ns = stanza.payload_ns().unwrap_or_default();
        let Some(asker) = self.number(sender(stanza)) else {
            let discovers = matches!(payload_ns, ns::DISCO_INFO | ns::DISCO_ITEMS);
            return Err(match discovers {
                true => Condition::BadRequest.text("you are not in this room"),
                false => Condition::NotAcceptable.text("you are not in this room"),
            });
        };
        let asked = self
            .occupants
            .by_nick(nick)
            .ok_or(Condition::ItemNotFound)?;
        if asked == asker && payload_ns == ns::PING {
            return Ok(self.answer(stanza, Fragment::empty()));
        }
        let (Some(asker), Some(who)) = (self.occupants.get(asker), self.occupants.get(asked))
        else {
            return Err(Condition::ItemNotFound.into());
        };
        let answerer = match payload_ns {
            ns::VCARD => Jid::from(who.user.clone()),
            _ => Jid::clone(&who.face().to),
        };
        let id = random_id();
        let from = self.at(&asker.nick);
        let passed = stanza.edit().from(from).to(answerer.clone()).id(id.clone());
        let asker = sender(stanza).try_as_full().cloned();
        let relay = Relay::Iq {
            asker: asker.map_err(|_| Condition::NotAcceptable)?,
            id: stanza.id().unwrap_or_default().to_owned(),
            nick: nick.to_owned(),
            answerer,
        };
        self.relays.remember(&id, relay);
        self.outbox.push(Out::One(passed.finish()));
        Ok(Outcome::Delivered)
    }

    /// The answer to a request that was passed on goes back to whoever asked.
    fn answered(&mut self, stanza: &Stanza) -> Outcome {
        let from = sender(stanza).clone();
        let relay = self.relays.take(
            stanza.id().unwrap_or_default(),
            |relay| matches!(relay, Relay::Iq { answerer, .. } if *answerer == from),
        );
        let Some(Relay::Iq {
            asker, id, nick, ..
        }) = relay
        else {
            return Outcome::Dropped;
        };
        let answer = stanza
            .edit()
            .from(self.at(&nick))
            .to(Jid::from(asker))
            .id(id);
        self.outbox.push(Out::One(answer.finish()));
        Outcome::Delivered
    }
}
