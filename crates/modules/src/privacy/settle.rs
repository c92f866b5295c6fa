//! The presence that follows from a change of rules (XEP-0016 §2.9, §2.10; XEP-0191 §3.3, §3.4).
//!
//! Who may no longer hear the account hears that it is gone, who may hear it again hears how it is; and its
//! own clients see those go of whom they will hear no more, and those come of whom they may hear again.

use std::collections::HashMap;
use std::sync::Arc;

use gen_mod::Host;
use session::hooks::{RosterGet, Subscribed};
use session::{Entry, Sessions};
use storage::{PrivacyItem, PrivacyWho};
use xmpp::{BareJid, Condition, Jid, PresenceType, Stanza, StanzaError};

use super::change::hand;
use super::rules::{Known, Says, Sort, decide};
use super::{Privacy, is_exempt, word};

/// A contact, and how presence flows between it and the account.
pub(crate) struct Contact {
    pub(crate) jid: BareJid,
    pub(crate) subscribed: Subscribed,
    known: Known,
}

/// The account's contacts.
pub(super) struct Scene(Vec<Contact>);

impl Scene {
    /// Reads the contacts.
    ///
    /// # Errors
    ///
    /// `internal-server-error`: the roster cannot be read.
    pub(super) async fn read(host: &Host, account: &BareJid) -> Result<Scene, StanzaError> {
        let contacts = roster(host, account).await?;
        Ok(Scene(with_groups(host, account, contacts).await?))
    }

    /// Reads them once more, after the change: of those whom the account could not hear before, it is said
    /// only now that it sees them. What cannot be read now stays as it was read before.
    pub(super) async fn read_again(&mut self, host: &Host, account: &BareJid) {
        let now: HashMap<BareJid, Subscribed> = roster(host, account)
            .await
            .unwrap_or_default()
            .into_iter()
            .collect();
        for contact in &mut self.0 {
            contact.subscribed.to |= now.get(&contact.jid).is_some_and(|now| now.to);
        }
    }
}

async fn roster(host: &Host, account: &BareJid) -> Result<Vec<(BareJid, Subscribed)>, StanzaError> {
    let fold = RosterGet {
        account: account.clone(),
        contacts: Vec::new(),
    };
    let read = host.router.fold_wait(fold).await.value();
    let unread = || Condition::InternalServerError.text("the roster cannot be read");
    Ok(read.ok_or_else(unread)?.contacts)
}

/// Adds to contacts what rules ask of them.
///
/// # Errors
///
/// `internal-server-error`: the store did not answer.
pub(crate) async fn with_groups(
    host: &Host,
    account: &BareJid,
    contacts: Vec<(BareJid, Subscribed)>,
) -> Result<Vec<Contact>, StanzaError> {
    let items = host.storage.roster.get(account).await?.items.into_iter();
    let mut stored: HashMap<BareJid, Known> = items
        .map(|item| {
            let known = Known {
                groups: item.groups,
                subscription: item.subscription,
            };
            (item.jid, known)
        })
        .collect();
    let contact = |(jid, subscribed): (BareJid, Subscribed)| Contact {
        known: stored.remove(&jid).unwrap_or_else(|| Known {
            groups: Vec::new(),
            subscription: word(subscribed),
        }),
        jid,
        subscribed,
    };
    Ok(contacts.into_iter().map(contact).collect())
}

impl Contact {
    /// Whether rules let a stanza of this sort pass between the account and one of the contact's addresses.
    pub(crate) fn passes(&self, items: &[PrivacyItem], sort: Sort, address: &Jid) -> bool {
        decide(items, sort, address, Some(&self.known)) == Says::Pass
    }
}

/// What a change of rules does to one way.
enum Turn {
    Opens,
    Closes,
}

impl Privacy {
    /// Sends what follows for one session whose rules were `before` and are `after`.
    pub(super) async fn settle(
        &self,
        host: &Host,
        session: &Arc<Entry>,
        scene: &Scene,
        before: &[PrivacyItem],
        after: &[PrivacyItem],
    ) {
        let Some(presence) = session.presence() else {
            return;
        };
        if before == after {
            return;
        }
        let account = session.jid.to_bare();
        self.take_back(host, session, scene, [before, after]).await;
        for contact in &scene.0 {
            let bare = Jid::from(contact.jid.clone());
            if is_exempt(&account, &bare) {
                continue;
            }
            let turn = |sort, address: &Jid| {
                let ways = [before, after].map(|items| contact.passes(items, sort, address));
                match ways {
                    [true, false] => Some(Turn::Closes),
                    [false, true] => Some(Turn::Opens),
                    _ => None,
                }
            };
            if contact.subscribed.from {
                // Who is told at the contact's address need not be told at one of its resources.
                let mut told = vec![bare.clone()];
                if turn(Sort::PresenceOut, &bare).is_none() {
                    told = named(&contact.jid, before, after);
                }
                for to in told {
                    let turn = turn(Sort::PresenceOut, &to);
                    tell(host, session, &presence, &to, turn).await;
                }
            }
            if contact.subscribed.to {
                match turn(Sort::PresenceIn, &bare) {
                    Some(Turn::Closes) => self.see_go(host, session, contact),
                    Some(Turn::Opens) => ask(host, session, bare).await,
                    None => {}
                }
            }
        }
    }

    /// Tells those to whom a session had shown itself, though they are not subscribed, that it is gone, where the
    /// rules let it no more.
    async fn take_back(
        &self,
        host: &Host,
        session: &Arc<Entry>,
        scene: &Scene,
        [before, after]: [&[PrivacyItem]; 2],
    ) {
        let stranger = Known::default();
        for to in self.0.sessions.directed(session) {
            let contact = scene.0.iter().find(|contact| contact.jid == to.to_bare());
            if contact.is_some_and(|contact| contact.subscribed.from) {
                // Told with the other subscribers.
                continue;
            }
            let known = contact.map_or(&stranger, |contact| &contact.known);
            let passes = |items| decide(items, Sort::PresenceOut, &to, Some(known)) == Says::Pass;
            if passes(before) && !passes(after) {
                self.0.sessions.took_back(&session.jid, Some(&to));
                let farewell = Stanza::presence(PresenceType::Unavailable)
                    .from(Jid::from((*session.jid).clone()))
                    .to(to)
                    .finish();
                host.router.route(host.router.packet(farewell)).await;
            }
        }
    }

    /// Shows a session that a contact is gone, in the contact's name.
    fn see_go(&self, host: &Host, session: &Arc<Entry>, contact: &Contact) {
        let table = &host.service::<Sessions>().table;
        let mut gone: Vec<Jid> = table
            .available(&contact.jid)
            .iter()
            .map(|entry| Jid::from((*entry.jid).clone()))
            .collect();
        if !host.router.is_local(contact.jid.domain().as_str()) {
            // Which resources it has is known elsewhere.
            gone.push(contact.jid.clone().into());
        }
        for from in gone {
            let farewell = Stanza::presence(PresenceType::Unavailable)
                .from(from)
                .to(Jid::from((*session.jid).clone()))
                .finish();
            self.0.sessions.admit(session, &farewell);
            hand(host, session, &farewell);
        }
    }
}

/// Addresses of the contact that rules name besides the contact itself.
fn named(contact: &BareJid, before: &[PrivacyItem], after: &[PrivacyItem]) -> Vec<Jid> {
    let mut named: Vec<Jid> = Vec::new();
    for item in before.iter().chain(after) {
        if let PrivacyWho::Jid(jid) = &item.who
            && jid.resource().is_some()
            && jid.to_bare() == *contact
            && !named.contains(jid)
        {
            named.push(jid.clone());
        }
    }
    named
}

/// Tells one address how a session is, or that it is gone.
async fn tell(host: &Host, session: &Entry, presence: &Stanza, to: &Jid, turn: Option<Turn>) {
    let stanza = match turn {
        Some(Turn::Opens) => presence.edit().to(to.clone()).finish(),
        Some(Turn::Closes) => Stanza::presence(PresenceType::Unavailable)
            .from(Jid::from((*session.jid).clone()))
            .to(to.clone())
            .finish(),
        None => return,
    };
    host.router.route(host.router.packet(stanza)).await;
}

/// Asks how a contact is (RFC 6121 §4.3.1).
async fn ask(host: &Host, session: &Entry, contact: Jid) {
    let probe = Stanza::presence(PresenceType::Probe)
        .from(Jid::from((*session.jid).clone()))
        .to(contact)
        .finish();
    host.router.route(host.router.packet(probe)).await;
}
