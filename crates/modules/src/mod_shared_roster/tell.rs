//! Who is told what when groups change: their rosters, and the presence of those they see now or no longer.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use gen_mod::prelude::*;
use parking_lot::Mutex;
use session::Sessions;
use session::hooks::{RegisterUser, RemoveUser, UserRemoved};
use storage::{SharedContact, StorageError};
use xmpp::{BareJid, PresenceType};

use crate::hooks::RosterPush;

/// What the accounts that are here see, before a change.
pub(super) struct Before(BTreeMap<BareJid, Vec<SharedContact>>);

impl Before {
    /// Notes what everybody who is connected sees.
    pub(super) async fn look(host: &Host) -> Result<Before, StorageError> {
        let mut seen = BTreeMap::new();
        for account in here(host) {
            let contacts = host.storage.groups.contacts(&account, None).await?;
            seen.insert(account, contacts);
        }
        Ok(Before(seen))
    }

    /// Tells everybody who is connected what has changed since.
    pub(super) async fn tell(self, host: &Host) -> Result<(), StorageError> {
        for account in here(host) {
            let after = host.storage.groups.contacts(&account, None).await?;
            let before = self.0.get(&account).map(Vec::as_slice).unwrap_or_default();
            tell_one(host, &account, before, &after).await;
        }
        Ok(())
    }
}

/// The accounts of the host that are connected.
fn here(host: &Host) -> Vec<BareJid> {
    let sessions = host.service::<Sessions>().table.all();
    let mut accounts: Vec<BareJid> = sessions
        .iter()
        .filter(|entry| entry.jid.domain().as_str() == &*host.name)
        .map(|entry| entry.jid.to_bare())
        .collect();
    accounts.sort();
    accounts.dedup();
    accounts
}

async fn tell_one(
    host: &Host,
    account: &BareJid,
    before: &[SharedContact],
    after: &[SharedContact],
) {
    let find = |among: &[SharedContact], jid: &BareJid| {
        among.iter().find(|contact| contact.jid == *jid).cloned()
    };
    let mut changed: Vec<BareJid> = before
        .iter()
        .chain(after)
        .map(|contact| contact.jid.clone())
        .filter(|jid| find(before, jid) != find(after, jid))
        .collect();
    changed.sort();
    changed.dedup();
    if changed.is_empty() {
        return;
    }
    let push = RosterPush {
        owner: account.clone(),
        contacts: changed
            .iter()
            .map(|jid| {
                let was_shown = find(before, jid).is_some_and(|c| c.subscription.has_to());
                (jid.clone(), was_shown)
            })
            .collect(),
    };
    // Logged by who could not do it.
    let _ = host.router.fold_wait(push).await;
    for contact in changed {
        let saw = find(before, &contact).is_some_and(|c| c.subscription.has_to());
        let sees = find(after, &contact).is_some_and(|c| c.subscription.has_to());
        match (saw, sees) {
            (false, true) => show(host, &contact, account).await,
            (true, false) => hide(host, &contact, account).await,
            _ => {}
        }
    }
}

/// Sends the presence of every available resource of `contact` to `account`.
async fn show(host: &Host, contact: &BareJid, account: &BareJid) {
    for entry in host.service::<Sessions>().table.available(contact) {
        if let Some(presence) = entry.presence() {
            let presence = presence.edit().to(Jid::from(account.clone())).finish();
            host.router.route(host.router.packet(presence)).await;
        }
    }
}

/// Takes that presence back, unless the account sees it for another reason.
async fn hide(host: &Host, contact: &BareJid, account: &BareJid) {
    let fold = session::hooks::RosterGetJidInfo {
        account: contact.clone(),
        contact: account.clone(),
        subscribed: Default::default(),
    };
    let still = host.router.fold_wait(fold).await.value();
    if still.is_some_and(|still| still.subscribed.from) {
        return;
    }
    for entry in host.service::<Sessions>().table.available(contact) {
        let gone = Stanza::presence(PresenceType::Unavailable)
            .from(Jid::from((*entry.jid).clone()))
            .to(Jid::from(account.clone()))
            .finish();
        host.router.route(host.router.packet(gone)).await;
    }
}

/// A new account is in the groups of everybody: those who see it are shown it.
pub(super) async fn registered(host: Host, new: RegisterUser) -> Flow<RegisterUser> {
    match host.storage.groups.contacts(&new.account, None).await {
        Ok(contacts) => push_to_all(&host, &new.account, contacts, false).await,
        Err(error) => {
            tracing::warn!(target: "natter::shared_roster", account = %new.account, %error, "new member not shown");
        }
    }
    Flow::Next(new)
}

/// Tells those who see an account, or saw it while it was there, to look at it again.
async fn push_to_all(
    host: &Host,
    account: &BareJid,
    contacts: Vec<SharedContact>,
    was_there: bool,
) {
    let connected = here(host);
    for contact in contacts {
        if connected.contains(&contact.jid) {
            let push = RosterPush {
                owner: contact.jid,
                contacts: vec![(
                    account.clone(),
                    was_there && contact.subscription.has_from(),
                )],
            };
            let _ = host.router.fold_wait(push).await;
        }
    }
}

/// Who saw accounts that are being removed; an entry lives from one event of a removal to the next.
#[derive(Clone, Default)]
pub(super) struct Farewells(Arc<Mutex<HashMap<BareJid, Vec<SharedContact>>>>);

/// An account is about to be removed: those who see it hear that it is gone, while it is known who they are.
pub(super) async fn leaves(host: Host, gone: RemoveUser, noted: Farewells) -> Flow<RemoveUser> {
    match host.storage.groups.contacts(&gone.account, None).await {
        Ok(contacts) if contacts.is_empty() => {}
        Ok(contacts) => {
            for contact in contacts.iter().filter(|c| c.subscription.has_from()) {
                for entry in host.service::<Sessions>().table.available(&gone.account) {
                    let farewell = Stanza::presence(PresenceType::Unavailable)
                        .from(Jid::from((*entry.jid).clone()))
                        .to(Jid::from(contact.jid.clone()))
                        .finish();
                    host.router.route(host.router.packet(farewell)).await;
                }
            }
            noted.0.lock().insert(gone.account.clone(), contacts);
        }
        Err(error) => {
            tracing::warn!(target: "natter::shared_roster", account = %gone.account, %error, "contacts not told");
        }
    }
    Flow::Next(gone)
}

/// An account was removed: those who saw it find it in their rosters no longer.
pub(super) async fn gone(host: Host, gone: UserRemoved, noted: Farewells) -> Flow<UserRemoved> {
    let contacts = noted.0.lock().remove(&gone.account);
    push_to_all(&host, &gone.account, contacts.unwrap_or_default(), true).await;
    Flow::Next(gone)
}
