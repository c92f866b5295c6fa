//! `mod_shared_roster`: accounts that see one another because an administrator put them into groups.
//!
//! Source: our own; RFC 6121 §2 for what clients are shown. Hooks: `roster_get`, `roster_get_jid_info`,
//! `roster_items`, `roster_process_item`, `roster_out_subscription`, `roster_in_subscription`, `register_user`,
//! `remove_user`, `user_removed`; runs `roster_push`. Stores: groups. State: none; who sees whom is worked out by
//! the store each time, so that it cannot be out of date.

mod commands;
mod tell;

use gen_mod::prelude::*;
use session::hooks::{
    RosterGet, RosterGetJidInfo, RosterInSubscription, RosterOutSubscription, Subscribed,
};
use sha1::{Digest, Sha1};
use storage::{RosterItem, SharedContact, StorageError, Subscription};
use xmpp::{BareJid, PresenceType};

use crate::hooks::{RosterItems, RosterProcessItem};

/// After the roster, which says how it is without groups.
const BEHIND_ROSTER: Priority = Priority(60);

/// Shared roster groups. Its process holds the registrations; the work is done by those who ask.
pub struct ModSharedRoster;

impl Module for ModSharedRoster {
    const NAME: &'static str = "mod_shared_roster";
    const SOURCES: &'static [Source] = &[];
    const DEPENDS: &'static [gen_mod::Depends] = &[needs("mod_roster")];
    type Opts = NoOpts;

    async fn start(ctx: &ModuleCtx, _opts: NoOpts) -> Result<(Self, Registrations), StartError> {
        let farewells = tell::Farewells::default();
        let (noted, told) = (farewells.clone(), farewells);
        let registrations = Registrations::new()
            .hook_wait::<RosterGet, _, _>(BEHIND_ROSTER, contacts)
            .hook_wait::<RosterGetJidInfo, _, _>(BEHIND_ROSTER, how_subscribed)
            .hook_wait::<RosterItems, _, _>(Priority::NORMAL, items)
            .hook_wait::<RosterProcessItem, _, _>(Priority::NORMAL, process_item)
            .hook_wait::<RosterOutSubscription, _, _>(Priority::EARLY, sent)
            .hook_wait::<RosterInSubscription, _, _>(Priority::EARLY, heard)
            .hook_wait(Priority::NORMAL, tell::registered)
            .hook_wait(Priority::EARLY, move |host, gone| {
                tell::leaves(host, gone, noted.clone())
            })
            .hook_wait(Priority::NORMAL, move |host, gone| {
                tell::gone(host, gone, told.clone())
            });
        let registrations = commands::all(&ctx.host)
            .into_iter()
            .fold(registrations, Registrations::command);
        Ok((ModSharedRoster, registrations))
    }
}

/// Adds those who see the account, or whom it sees, to its contacts.
async fn contacts(host: Host, mut asked: RosterGet) -> Flow<RosterGet> {
    let shared = match host.storage.groups.contacts(&asked.account, None).await {
        Ok(shared) => shared,
        Err(error) => return cannot_tell(&asked.account, &error),
    };
    for contact in shared {
        let also = seen(contact.subscription);
        match asked
            .contacts
            .iter_mut()
            .find(|(jid, _)| *jid == contact.jid)
        {
            Some((_, known)) => *known = either(*known, also),
            None => asked.contacts.push((contact.jid, also)),
        }
    }
    Flow::Next(asked)
}

/// Says how presence flows between two accounts of the host.
async fn how_subscribed(host: Host, mut asked: RosterGetJidInfo) -> Flow<RosterGetJidInfo> {
    match between(&host, &asked.account, &asked.contact).await {
        Ok(shared) => {
            asked.subscribed = either(asked.subscribed, seen(shared));
            Flow::Next(asked)
        }
        Err(error) => cannot_tell(&asked.account, &error),
    }
}

async fn between(
    host: &Host,
    account: &BareJid,
    contact: &BareJid,
) -> Result<Subscription, StorageError> {
    let groups = &host.storage.groups;
    let shared = groups.contacts(account, Some(contact)).await?;
    Ok(shared
        .first()
        .map(|contact| contact.subscription)
        .unwrap_or_default())
}

fn seen(subscription: Subscription) -> Subscribed {
    Subscribed {
        from: subscription.has_from(),
        to: subscription.has_to(),
    }
}

fn either(one: Subscribed, other: Subscribed) -> Subscribed {
    Subscribed {
        from: one.from || other.from,
        to: one.to || other.to,
    }
}

/// Adds those whom the account sees to its roster, each in the groups it is seen in.
async fn items(host: Host, mut asked: RosterItems) -> Flow<RosterItems> {
    let shared = match host.storage.groups.contacts(&asked.owner, None).await {
        Ok(shared) => shared,
        Err(error) => return cannot_tell(&asked.owner, &error),
    };
    asked.mark = mark(&shared);
    for contact in shared {
        match asked.items.iter_mut().find(|item| item.jid == contact.jid) {
            Some(item) => add_to(item, &contact),
            None if contact.labels.is_empty() => {}
            None => {
                let mut item = RosterItem {
                    name: contact.jid.node().map(|name| name.as_str().to_owned()),
                    ..RosterItem::new(contact.jid.clone())
                };
                add_to(&mut item, &contact);
                asked.items.push(item);
            }
        }
    }
    Flow::Next(asked)
}

fn add_to(item: &mut RosterItem, contact: &SharedContact) {
    if contact.labels.is_empty() && !item.listed {
        return;
    }
    let to = item.subscription.has_to() || contact.subscription.has_to();
    let from = item.subscription.has_from() || contact.subscription.has_from();
    item.subscription = match (to, from) {
        (true, true) => Subscription::Both,
        (true, false) => Subscription::To,
        (false, true) => Subscription::From,
        (false, false) => Subscription::None,
    };
    item.ask &= !to;
    item.listed = true;
    for label in &contact.labels {
        if !item.groups.contains(label) {
            item.groups.push(label.clone());
        }
    }
}

/// What tells one state of the shared part of a roster from another; empty when there is none.
fn mark(shared: &[SharedContact]) -> String {
    if shared.is_empty() {
        return String::new();
    }
    let mut hash = Sha1::new();
    for contact in shared {
        hash.update(contact.jid.as_str());
        hash.update(contact.subscription.as_str());
        for label in &contact.labels {
            hash.update([0]);
            hash.update(label);
        }
        hash.update([1]);
    }
    let digest = hash.finalize();
    digest
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A client may give a shared contact a name and groups of its own. The groups it is shared in are not among them.
async fn process_item(host: Host, mut change: RosterProcessItem) -> Flow<RosterProcessItem> {
    let groups = &host.storage.groups;
    match groups.contacts(&change.owner, Some(&change.item.jid)).await {
        Ok(shared) => {
            let labels = shared
                .first()
                .map(|contact| contact.labels.as_slice())
                .unwrap_or_default();
            change.item.groups.retain(|group| !labels.contains(group));
            Flow::Next(change)
        }
        Err(error) => cannot_tell(&change.owner, &error),
    }
}

/// What groups decide no client asks for, grants or takes back.
async fn sent(host: Host, asked: RosterOutSubscription) -> Flow<RosterOutSubscription> {
    match between(&host, &asked.account, &asked.contact).await {
        Ok(shared) if settled(asked.kind, seen(shared)) => Flow::Drop,
        Ok(_) => Flow::Next(asked),
        Err(error) => cannot_tell(&asked.account, &error),
    }
}

/// As [`sent`], seen from the contact's side.
async fn heard(host: Host, asked: RosterInSubscription) -> Flow<RosterInSubscription> {
    let shared = match between(&host, &asked.account, &asked.contact).await {
        Ok(shared) => seen(shared),
        Err(error) => return cannot_tell(&asked.account, &error),
    };
    let theirs = Subscribed {
        from: shared.to,
        to: shared.from,
    };
    if settled(asked.kind, theirs) {
        Flow::Drop
    } else {
        Flow::Next(asked)
    }
}

/// Whether a subscription stanza is about something that groups decide; `shared` as its sender has it.
fn settled(kind: PresenceType, shared: Subscribed) -> bool {
    match kind {
        PresenceType::Subscribe | PresenceType::Unsubscribe => shared.to,
        PresenceType::Subscribed | PresenceType::Unsubscribed => shared.from,
        _ => false,
    }
}

/// The store failed: whoever ran the hook must not take silence for an answer.
fn cannot_tell<H>(account: &BareJid, error: &StorageError) -> Flow<H> {
    tracing::error!(target: "natter::shared_roster", %account, %error, "shared groups not read");
    Flow::Drop
}
