//! Delivery to accounts: RFC 6121 §8.5, cell by cell, in the process that routes the packet.
//!
//! Our choices where the RFC leaves one: a message to a bare JID goes to every resource whose priority
//! is not negative; a message that no resource takes is stored where the offline queue takes it and
//! answered with `service-unavailable` otherwise, for accounts that do not exist alike.

use std::sync::Arc;

use router::{Flags, Folded, Outcome, Packet, Routing, To, step};
use xmpp::{BareJid, Condition, FullJid, IqType, Jid, Kind, MessageType, PresenceType, Stanza};

use crate::c2s;
use crate::hooks::{
    Direction, Hearers, Kept, OfflineMessage, PrivacyCheckPacket, RosterGetJidInfo,
    RosterInSubscription, SmReceivePacket,
};
use crate::sm::Sessions;
use crate::table::{Entry, For, Refused, Storing};

/// Takes a packet for an account of this server.
pub(crate) fn deliver(sessions: &Sessions, packet: Packet) -> Routing {
    step!(packet.meta, "sm", to = %packet.to());
    let account = packet.to().clone().into_bare();
    let host = account.domain().as_str();
    let Some(listeners) = sessions.router.listeners::<SmReceivePacket>(host) else {
        return by_kind(sessions, account, packet);
    };
    let Packet {
        stanza,
        meta,
        receipt,
    } = packet;
    let fold = SmReceivePacket {
        account: account.clone(),
        stanza,
        meta,
    };
    if !listeners.want(&fold) {
        let SmReceivePacket { stanza, meta, .. } = fold;
        let packet = Packet {
            stanza,
            meta,
            receipt,
        };
        return by_kind(sessions, account, packet);
    }
    let sessions = sessions.clone();
    Routing::later(async move {
        match sessions.router.fold_wait(fold).await.value() {
            Some(SmReceivePacket { stanza, meta, .. }) => {
                by_kind(
                    &sessions,
                    account,
                    Packet {
                        stanza,
                        meta,
                        receipt,
                    },
                )
                .await;
            }
            None => receipt.resolve(Outcome::Dropped),
        }
    })
}

fn by_kind(sessions: &Sessions, account: BareJid, packet: Packet) -> Routing {
    let full = packet.to().try_as_full().ok().cloned();
    match packet.stanza.kind() {
        Kind::Message => message(sessions, account, full, packet),
        Kind::Presence => presence(sessions, account, full, packet),
        Kind::Iq => iq(sessions, account, full, packet),
    }
}

// Messages: §8.5.2.1.1, §8.5.2.2.1, §8.5.3.

fn message(
    sessions: &Sessions,
    account: BareJid,
    full: Option<FullJid>,
    packet: Packet,
) -> Routing {
    if let Some(session) = full.as_ref().and_then(|jid| sessions.table.session(jid)) {
        return hand_over(sessions, &session, packet);
    }
    let kind = packet.stanza.message_type();
    match (kind, full.is_some()) {
        // To a full JID that is not there, only chat is treated as if it were to the bare JID.
        (MessageType::Chat, true) | (MessageType::Normal | MessageType::Chat, false) => {
            to_takers(sessions, account, packet)
        }
        (MessageType::Headline, false) => {
            let takers = sessions.table.takers(&account);
            fan_out(sessions, &takers, packet)
        }
        (MessageType::Normal | MessageType::Groupchat, _) => sessions
            .router
            .bounce(packet, Condition::ServiceUnavailable.into()),
        (MessageType::Headline, true) | (MessageType::Error, _) => dropped(packet),
    }
}

fn to_takers(sessions: &Sessions, account: BareJid, packet: Packet) -> Routing {
    // What comes back from a session that could not deliver it may be older than what waits in the offline
    // queue: it takes its place there, where it can.
    let (packet, storing) = if packet.meta.flags.contains(Flags::RESENT) {
        (packet, None)
    } else {
        match give_to_takers(sessions, &account, packet, For::LiveTaker) {
            Ok(()) => return Routing::done(),
            Err(refused) => refused,
        }
    };
    let sessions = sessions.clone();
    Routing::later(async move {
        keep(&sessions, account, packet).await;
        drop(storing);
    })
}

/// The first that takes messages hears the primary, the others copies; the packet again if there is none,
/// and if the only one is not `whom` it is for.
fn give_to_takers(
    sessions: &Sessions,
    account: &BareJid,
    mut packet: Packet,
    whom: For,
) -> Result<(), (Packet, Option<Storing>)> {
    let takers = sessions.table.takers(account);
    // Of several, one that hands out the queue holds its copy back meanwhile.
    let whom = if takers.len() > 1 { For::Taker } else { whom };
    let copy = (takers.len() > 1).then(|| packet.copy());
    let mut takers = takers.iter();
    loop {
        let taker = match takers.next() {
            Some(taker) => taker,
            None => return Err((packet, None)),
        };
        match give(sessions, taker, packet, whom) {
            Ok(()) => break,
            Err((refused, None)) => packet = refused,
            Err(queueing) => return Err(queueing),
        }
    }
    if let Some(copy) = copy {
        for taker in takers {
            // A copy that finds no room is dropped: its primary is elsewhere.
            if let Err((refused, _)) = give(sessions, taker, copy.copy(), whom) {
                refused.drop_by_rule();
            }
        }
    }
    Ok(())
}

/// The first hears the primary, the others copies.
fn fan_out(sessions: &Sessions, hearers: &[Arc<Entry>], packet: Packet) -> Routing {
    let Some((first, others)) = hearers.split_first() else {
        return dropped(packet);
    };
    for session in others {
        // A copy that finds no room is dropped: its primary is elsewhere.
        drop(hand_over(sessions, session, packet.copy()));
    }
    hand_over(sessions, first, packet)
}

/// A message for which no resource is there, or whose turn is not yet, or that comes back: the offline
/// queue, or else a resource, or its sender is told.
async fn keep(sessions: &Sessions, account: BareJid, packet: Packet) {
    let kept = stored(sessions, &account, &packet).await;
    let packet = match kept {
        Kept::Stored => {
            packet.receipt.resolve(Outcome::Stored);
            // A resource may have come while the store worked: it is told, before the sender's next
            // message can reach it.
            return sessions.flush_offline(&account);
        }
        Kept::Refused(_) | Kept::No | Kept::Ignored => {
            match give_to_takers(sessions, &account, packet, For::Taker) {
                Ok(()) => return,
                Err((packet, _)) => packet,
            }
        }
    };
    match kept {
        Kept::Ignored => packet.drop_by_rule(),
        Kept::Refused(error) => sessions.router.bounce(packet, error).await,
        Kept::No | Kept::Stored => {
            let error = Condition::ServiceUnavailable.into();
            sessions.router.bounce(packet, error).await;
        }
    }
}

/// Offers a message to the offline queue, if there is such an account and its rules let it pass.
async fn stored(sessions: &Sessions, account: &BareJid, packet: &Packet) -> Kept {
    match sessions.auth.exists(account).await {
        Ok(true) => {}
        Ok(false) => return Kept::No,
        Err(error) => {
            tracing::error!(target: "natter::session", %account, %error, "cannot tell whether the account exists");
            return Kept::Refused(Condition::InternalServerError.into());
        }
    }
    if !may_pass(sessions, account, &packet.stanza).await {
        return Kept::No;
    }
    step!(packet.meta, "offline_message", %account);
    let fold = OfflineMessage {
        account: account.clone(),
        stanza: packet.stanza.clone(),
        meta: packet.meta.clone(),
        kept: Kept::No,
    };
    match sessions.router.fold_wait(fold).await {
        Folded::Done(fold) | Folded::Stopped(fold) => fold.kept,
        Folded::Dropped => Kept::Ignored,
        Folded::Denied => Kept::No,
    }
}

/// Asks the account's rules where no session will.
async fn may_pass(sessions: &Sessions, account: &BareJid, stanza: &Stanza) -> bool {
    let fold = PrivacyCheckPacket {
        account: Arc::new(account.clone()),
        session: None,
        direction: Direction::In,
        stanza: stanza.clone(),
    };
    sessions.router.fold_wait(fold).await.value().is_some()
}

// Presence: §8.5.2.1.2, §8.5.3, §4.3.2; subscriptions: §3, Appendix A.

fn presence(
    sessions: &Sessions,
    account: BareJid,
    full: Option<FullJid>,
    packet: Packet,
) -> Routing {
    match packet.stanza.presence_type() {
        PresenceType::Available | PresenceType::Unavailable => {
            let hearers = match &full {
                Some(jid) => sessions.table.session(jid).into_iter().collect(),
                None => sessions.table.available(&account),
            };
            fan_out(sessions, &hearers, packet)
        }
        PresenceType::Error => match full.and_then(|jid| sessions.table.session(&jid)) {
            Some(session) => hand_over(sessions, &session, packet),
            None => dropped(packet),
        },
        PresenceType::Probe => {
            let sessions = sessions.clone();
            Routing::later(async move { probe(&sessions, account, full, packet).await })
        }
        PresenceType::Subscribe
        | PresenceType::Subscribed
        | PresenceType::Unsubscribe
        | PresenceType::Unsubscribed => {
            let sessions = sessions.clone();
            Routing::later(async move { subscription(&sessions, account, packet).await })
        }
    }
}

async fn subscription(sessions: &Sessions, account: BareJid, packet: Packet) {
    // §8.5.1: an account that does not exist says nothing, so that nobody can harvest names.
    if !matches!(sessions.auth.exists(&account).await, Ok(true))
        || !may_pass(sessions, &account, &packet.stanza).await
    {
        return packet.drop_by_rule();
    }
    let contact = packet.from().to_bare();
    let kind = packet.stanza.presence_type();
    // §3.1.3: processed as for the bare JID.
    let stanza = packet
        .stanza
        .edit()
        .from(Jid::from(contact.clone()))
        .to(Jid::from(account.clone()))
        .finish();
    step!(packet.meta, "roster_in_subscription", ?kind);
    let fold = RosterInSubscription {
        account: account.clone(),
        contact,
        kind,
        stanza,
        hearers: Hearers::Nobody,
        after: Vec::new(),
    };
    let Some(fold) = sessions.router.fold_wait(fold).await.value() else {
        return packet.drop_by_rule();
    };
    let hearers = match fold.hearers {
        Hearers::Nobody => Vec::new(),
        Hearers::Available => sessions.table.available(&account),
        Hearers::Interested => sessions.table.interested(&account),
    };
    let heard = Packet {
        stanza: fold.stanza,
        meta: packet.meta.clone(),
        receipt: packet.receipt,
    };
    if hearers.is_empty() {
        // What it changed is in the roster, durably.
        heard.receipt.resolve(Outcome::Stored);
    } else {
        fan_out(sessions, &hearers, heard).await;
    }
    for stanza in fold.after {
        sessions
            .router
            .route(sessions.router.answer(stanza, &packet.meta))
            .await;
    }
}

/// Answers a probe from the session table (§4.3.2): those who may see the account's presence get that
/// of every resource, or one `unavailable`; all others `unsubscribed`, whether the account exists or not.
async fn probe(sessions: &Sessions, account: BareJid, full: Option<FullJid>, packet: Packet) {
    let asker = packet.from().clone();
    let sees = asker.to_bare() == account || {
        let fold = RosterGetJidInfo {
            account: account.clone(),
            contact: asker.to_bare(),
            subscribed: Default::default(),
        };
        match sessions.router.fold_wait(fold).await {
            Folded::Done(fold) | Folded::Stopped(fold) => fold.subscribed.from,
            // Who cannot tell must not say `unsubscribed`: the asker would believe it.
            Folded::Dropped | Folded::Denied => return packet.drop_by_rule(),
        }
    };
    let mut answers = Vec::new();
    if sees {
        let of = sessions.table.available(&account);
        let of = of
            .iter()
            .filter(|e| full.as_ref().is_none_or(|jid| *e.jid == *jid));
        answers.extend(of.filter_map(|e| Some(e.presence()?.edit().to(asker.clone()).finish())));
        if answers.is_empty() {
            answers.push(presence_of(PresenceType::Unavailable, packet.to(), &asker));
        }
    } else {
        let (account, asker) = (Jid::from(account), Jid::from(asker.to_bare()));
        answers.push(presence_of(PresenceType::Unsubscribed, &account, &asker));
    }
    for stanza in answers {
        sessions
            .router
            .route(sessions.router.answer(stanza, &packet.meta))
            .await;
    }
    packet.receipt.resolve(Outcome::Delivered);
}

fn presence_of(kind: PresenceType, from: &Jid, to: &Jid) -> Stanza {
    Stanza::presence(kind)
        .from(from.clone())
        .to(to.clone())
        .finish()
}

// IQs: §8.5.2.1.3, §8.5.3.

fn iq(sessions: &Sessions, account: BareJid, full: Option<FullJid>, packet: Packet) -> Routing {
    let asks = matches!(packet.stanza.iq_type(), IqType::Get | IqType::Set);
    if let Some(jid) = full {
        return match sessions.table.session(&jid) {
            Some(session) => hand_over(sessions, &session, packet),
            None if asks => sessions
                .router
                .bounce(packet, Condition::ServiceUnavailable.into()),
            None => dropped(packet),
        };
    }
    if !asks {
        return dropped(packet);
    }
    let host = account.domain().as_str().to_owned();
    if packet.from().to_bare() == account {
        return sessions.router.dispatch_iq(&host, To::Account, packet);
    }
    let sessions = sessions.clone();
    Routing::later(async move {
        match sessions.auth.exists(&account).await {
            Ok(true) if may_pass(&sessions, &account, &packet.stanza).await => {
                sessions
                    .router
                    .dispatch_iq(&host, To::Account, packet)
                    .await;
            }
            Ok(_) => {
                sessions
                    .router
                    .bounce(packet, Condition::ServiceUnavailable.into())
                    .await
            }
            Err(error) => {
                tracing::error!(target: "natter::session", %account, %error, "cannot tell whether the account exists");
                sessions
                    .router
                    .bounce(packet, Condition::InternalServerError.into())
                    .await;
            }
        }
    })
}

/// Puts a packet into a session's mailbox; what it refuses, the rules of §8.5 find another place for.
fn hand_over(sessions: &Sessions, session: &Arc<Entry>, packet: Packet) -> Routing {
    match give(sessions, session, packet, For::Resource) {
        Ok(()) => Routing::done(),
        Err((packet, _)) => sessions.router.reroute(packet),
    }
}

/// Puts a packet into a session's mailbox, or gives it back. A session whose mailbox is full reads too
/// slowly: it ends with `resource-constraint`, and what it did not get is routed again.
fn give(
    sessions: &Sessions,
    session: &Arc<Entry>,
    packet: Packet,
    whom: For,
) -> Result<(), (Packet, Option<Storing>)> {
    step!(packet.meta, "deliver", session = %session.jid);
    match session.offer(packet.enclose(sessions.router.dead_letters()), whom) {
        Ok(()) => Ok(()),
        Err(Refused::Away(parcel)) => Err((parcel.take(), None)),
        Err(Refused::Queueing(parcel, storing)) => Err((parcel.take(), Some(storing))),
        Err(Refused::Full(parcel)) => {
            if session.pid.is_alive() {
                let _ = session.pid.control(c2s::Cast::Overrun);
            }
            sessions.table.close(session);
            Err((parcel.take(), None))
        }
    }
}

fn dropped(packet: Packet) -> Routing {
    step!(packet.meta, "dropped");
    packet.drop_by_rule();
    Routing::done()
}
