//! Presence of a session: broadcast, probes, directed presence, leaving (RFC 6121 §4).
//!
//! Runs in the session's process; for a session that fell, in a task of the session manager's. Who sees
//! whom is asked of the roster by hooks each time, so that nothing here can be out of date.

use std::collections::HashSet;
use std::sync::Arc;

use router::Folded;
use xmpp::{BareJid, Condition, Jid, Kind, PresenceType, Stanza, StanzaError};

use crate::c2s::Cast;
use crate::hooks::{
    Direction, PrivacyCheckPacket, RosterGet, RosterGetJidInfo, RosterOutSubscription,
    SelfPresence, Subscribed, WentOffline,
};
use crate::sm::Sessions;
use crate::table::Entry;

/// What a session does after it said how it is.
pub(crate) struct Shown {
    /// Stanzas for its own client, such as subscription requests that wait.
    pub(crate) deliver: Vec<Stanza>,
}

/// Initial presence and later presence (§4.2, §4.4): shown in the table, then told to contacts.
///
/// # Errors
///
/// `bad-request` when the priority is not an integer from -128 to 127 (§4.7.2.3).
pub(crate) async fn available(
    sessions: &Sessions,
    entry: &Arc<Entry>,
    stanza: Stanza,
) -> Result<Shown, StanzaError> {
    let Ok(priority) = stanza.priority() else {
        let text = "priority is an integer from -128 to 127";
        return Err(StanzaError::from(Condition::BadRequest).with_text(text));
    };
    if priority >= 0 && !entry.takes_messages() {
        // Before anybody can give it a message: live ones stand behind the offline queue.
        let _ = entry.pid.cast(Cast::Flush);
    }
    let first = entry.show(priority, Some(stanza.clone())).is_none();
    let account = entry.jid.to_bare();
    let contacts = contacts(sessions, &account).await;
    for (contact, subscribed) in &contacts {
        if subscribed.from {
            tell(sessions, entry, &stanza, &contact.clone().into()).await;
        }
    }
    let resources = sessions.table.available(&account);
    for other in &resources {
        // Including the resource itself (§4.2.2).
        send(
            sessions,
            stanza.edit().to(Jid::from((*other.jid).clone())).finish(),
        )
        .await;
    }
    if first {
        probe_contacts(sessions, entry, &contacts).await;
        for other in resources
            .iter()
            .filter(|other| other.number != entry.number)
        {
            if let Some(theirs) = other.presence() {
                send(
                    sessions,
                    theirs.edit().to(Jid::from((*entry.jid).clone())).finish(),
                )
                .await;
            }
        }
    }
    let fold = SelfPresence {
        user: (*entry.jid).clone(),
        presence: stanza,
        first,
        deliver: Vec::new(),
    };
    let deliver = sessions
        .router
        .fold_wait(fold)
        .await
        .value()
        .map(|fold| fold.deliver)
        .unwrap_or_default();
    Ok(Shown { deliver })
}

/// §4.3.1: asks for the presence of those whose presence the account sees.
async fn probe_contacts(sessions: &Sessions, entry: &Entry, contacts: &[(BareJid, Subscribed)]) {
    let from = Jid::from((*entry.jid).clone());
    for (contact, _) in contacts.iter().filter(|(_, subscribed)| subscribed.to) {
        send(
            sessions,
            Stanza::presence(PresenceType::Probe)
                .from(from.clone())
                .to(Jid::from(contact.clone()))
                .finish(),
        )
        .await;
    }
}

/// The client is no longer available but stays connected (§4.5).
pub(crate) async fn unavailable(sessions: &Sessions, entry: &Arc<Entry>, farewell: Stanza) {
    let was_available = entry.show(0, None).is_some();
    let directed = std::mem::take(&mut *entry.directed().lock());
    leave(sessions, entry, farewell, was_available, directed).await;
}

/// The session ends: those who saw it are told that it is gone (§4.5.2). Done by the session, and by
/// the session manager when the session fell before it was done: what the entry shows stays until then.
pub(crate) async fn withdraw(sessions: &Sessions, entry: &Arc<Entry>) {
    if entry.is_withdrawn() {
        return;
    }
    let was_available = entry.priority().is_some();
    let directed = entry.directed().lock().clone();
    let farewell = Stanza::presence(PresenceType::Unavailable)
        .from(Jid::from((*entry.jid).clone()))
        .finish();
    leave(sessions, entry, farewell, was_available, directed).await;
    entry.set_withdrawn();
}

async fn leave(
    sessions: &Sessions,
    entry: &Arc<Entry>,
    farewell: Stanza,
    was_available: bool,
    directed: HashSet<Jid>,
) {
    for to in &directed {
        send(sessions, farewell.edit().to(to.clone()).finish()).await;
    }
    if !was_available {
        return;
    }
    let account = entry.jid.to_bare();
    for (contact, subscribed) in contacts(sessions, &account).await {
        let contact = Jid::from(contact);
        if subscribed.from && !directed.contains(&contact) {
            tell(sessions, entry, &farewell, &contact).await;
        }
    }
    let others = sessions.table.available(&account);
    for other in &others {
        send(
            sessions,
            farewell.edit().to(Jid::from((*other.jid).clone())).finish(),
        )
        .await;
    }
    let status = farewell.child_text("status", xmpp::ns::CLIENT);
    let event = WentOffline {
        account,
        user: (*entry.jid).clone(),
        last: others.is_empty(),
        status,
    };
    let _ = sessions.router.fold_wait(event).await;
}

/// Directed presence (§4.6): told to one address, and remembered until it is taken back. Gives the
/// stanza to route.
pub(crate) async fn directed(sessions: &Sessions, entry: &Entry, stanza: &Stanza) {
    let Some(to) = stanza.to().cloned() else {
        return;
    };
    match stanza.presence_type() {
        PresenceType::Available => {
            let fold = RosterGetJidInfo {
                account: entry.jid.to_bare(),
                contact: to.to_bare(),
                subscribed: Subscribed::default(),
            };
            let known = match sessions.router.fold_wait(fold).await {
                Folded::Done(fold) | Folded::Stopped(fold) => fold.subscribed.from,
                Folded::Dropped | Folded::Denied => false,
            };
            // Who hears every broadcast hears the end as well.
            if !known || entry.priority().is_none() {
                entry.directed().lock().insert(to);
            }
        }
        PresenceType::Unavailable => {
            entry.directed().lock().remove(&to);
        }
        _ => {}
    }
}

/// A client asks for a subscription, grants, ends or refuses one (§3): from and to the bare JIDs.
pub(crate) async fn subscription(
    sessions: &Sessions,
    entry: &Entry,
    stanza: Stanza,
) -> (Option<Stanza>, Vec<Stanza>) {
    let account = entry.jid.to_bare();
    let contact = stanza.to().expect("routed stanzas bear a `to`").to_bare();
    if contact == account {
        // An account sees its own presence anyway (our choice; §3 is silent).
        return (None, Vec::new());
    }
    let bare = stanza
        .edit()
        .from(Jid::from(account.clone()))
        .to(Jid::from(contact.clone()))
        .finish();
    let kind = bare.presence_type();
    let fold = RosterOutSubscription {
        account,
        contact,
        kind,
        stanza: bare,
        route: true,
        after: Vec::new(),
    };
    match sessions.router.fold_wait(fold).await.value() {
        Some(fold) => (fold.route.then_some(fold.stanza), fold.after),
        None => (None, Vec::new()),
    }
}

async fn contacts(sessions: &Sessions, account: &BareJid) -> Vec<(BareJid, Subscribed)> {
    let fold = RosterGet {
        account: account.clone(),
        contacts: Vec::new(),
    };
    sessions
        .router
        .fold_wait(fold)
        .await
        .value()
        .map(|fold| fold.contacts)
        .unwrap_or_default()
}

/// Sends presence to a contact, where the account's rules let it pass.
async fn tell(sessions: &Sessions, entry: &Entry, stanza: &Stanza, to: &Jid) {
    let stanza = stanza.edit().to(to.clone()).finish();
    if may_send(sessions, entry, &stanza).await {
        send(sessions, stanza).await;
    }
}

/// Whether the account's rules let a stanza of this session out.
pub(crate) async fn may_send(sessions: &Sessions, entry: &Entry, stanza: &Stanza) -> bool {
    let host = entry.jid.domain().as_str();
    let Some(listeners) = sessions.router.listeners::<PrivacyCheckPacket>(host) else {
        return true;
    };
    let fold = PrivacyCheckPacket {
        account: Arc::clone(&entry.account),
        session: Some(Arc::clone(&entry.jid)),
        direction: Direction::Out,
        stanza: stanza.clone(),
    };
    if !listeners.want(&fold) {
        return true;
    }
    // In a box: an idle session need not have room for it.
    Box::pin(sessions.router.fold_wait(fold))
        .await
        .value()
        .is_some()
}

async fn send(sessions: &Sessions, stanza: Stanza) {
    debug_assert_eq!(stanza.kind(), Kind::Presence);
    sessions.router.route(sessions.router.packet(stanza)).await;
}
