//! Roster get and set (RFC 6121 §2.2 to §2.6).

use gen_mod::prelude::*;
use storage::{Batch, RosterChange, RosterItem};
use xmpp::{BareJid, Fragment, PresenceType};

use super::item::{self, Wish};
use super::{Rosters, push_to};
use crate::access::{is_own, only_friends};
use crate::hooks::RosterProcessItem;

/// Answers with the roster, or with what changed since the version that the client has; from now on the
/// resource hears of changes (§2.2).
///
/// # Errors
///
/// - `bad-request`: no roster query.
/// - `forbidden`: it is another's roster; `service-unavailable` where the asker may not even know
///   that there is such an account.
/// - `internal-server-error`: the store did not answer.
pub(super) async fn get(rosters: Rosters, iq: Iq) -> Result<Fragment, StanzaError> {
    let owner = only_own(&rosters.host, &iq).await?;
    let query = payload(&iq)?;
    step!(iq.meta, "roster lane", %owner);
    let lane = rosters.lanes.enter(owner.clone()).await;
    let store = &rosters.host.storage.roster;
    let roster = store.get(&owner).await?;
    let shown = rosters.shown(&owner, roster.items).await;
    let known = query.attr("ver").filter(|_| rosters.opts.versioning);
    let changes = match known.and_then(|ver| since(ver, &shown.mark)) {
        Some(version) => store.changes_since(&owner, version).await?,
        None => None,
    };
    let answer = match &changes {
        Some(_) => Fragment::empty(),
        None => {
            let version = known.and_then(|_| rosters.told(roster.version, &shown.mark));
            item::query(version.as_deref(), shown.items.iter().map(item::element))
        }
    };
    let session = iq
        .from
        .try_as_full()
        .ok()
        .and_then(|jid| rosters.sessions().table.session(jid));
    if let Some(session) = &session {
        session.set_interested();
    }
    // The lane is left behind the answer, so that no push overtakes it.
    iq.after_answer(move || {
        if let Some(session) = session {
            for change in changes.unwrap_or_default() {
                let version = rosters.told(change.version(), &shown.mark);
                let push = push_to(
                    &owner,
                    &session,
                    &shown.change(about(&change)),
                    version.as_deref(),
                );
                rosters.hand_to(std::slice::from_ref(&session), &push);
            }
        }
        drop(lane);
    });
    Ok(answer)
}

/// The version of the owner's own items in what a client was told, if what others add has not changed since.
fn since(ver: &str, mark: &str) -> Option<u64> {
    let (version, then) = ver.split_once('.').unwrap_or((ver, ""));
    (then == mark).then(|| version.parse().ok()).flatten()
}

fn about(change: &RosterChange) -> &BareJid {
    match change {
        RosterChange::Put(item, _) => &item.jid,
        RosterChange::Removed(jid, _) => jid,
    }
}

/// Adds, changes or removes one contact, and tells every interested resource (§2.3 to §2.5).
///
/// # Errors
///
/// As [`get`] and [`Wish::read`], and:
/// - `item-not-found`: a contact to remove is not in the roster (§2.5.3).
/// - `resource-constraint`: the roster is full (our choice).
/// - `not-allowed`: a handler of `roster_process_item` refused the change.
pub(super) async fn set(rosters: Rosters, iq: Iq) -> Result<(), StanzaError> {
    let owner = only_own(&rosters.host, &iq).await?;
    let wish = Wish::read(payload(&iq)?)?;
    step!(iq.meta, "roster lane", %owner);
    let lane = rosters.lanes.enter(owner.clone()).await;
    let change = prepare(&rosters, &iq, &owner, &wish).await?;
    let mut batch = Batch::new();
    if change.remove {
        batch.remove_roster_item(&owner, wish.jid());
    } else {
        batch.put_roster_item(&owner, change.item.clone());
    }
    step!(iq.meta, "roster commit", contact = %wish.jid(), remove = change.remove);
    let committed = rosters.host.storage.commit(batch).await?;
    step!(iq.meta, "roster push", version = committed.version(&owner));
    let own = (!change.remove).then_some(&change.item);
    rosters.push(&owner, wish.jid(), own, &committed).await;
    drop(lane);
    if change.remove {
        for stanza in goodbyes(&rosters, &owner, &change.item) {
            step!(iq.meta, "roster unsubscribe", kind = ?stanza.presence_type());
            rosters
                .host
                .router
                .route(rosters.host.router.answer(stanza, &iq.meta))
                .await;
        }
    }
    Ok(())
}

/// The item as it is to be written, after all who have a say.
async fn prepare(
    rosters: &Rosters,
    iq: &Iq,
    owner: &BareJid,
    wish: &Wish,
) -> Result<RosterProcessItem, StanzaError> {
    let store = &rosters.host.storage.roster;
    let before = store.item(owner, wish.jid()).await?;
    let is_new = !before.as_ref().is_some_and(|item| item.listed);
    let remove = matches!(wish, Wish::Remove(_));
    if is_new && !remove && store.get(owner).await?.items.len() >= rosters.opts.max_items {
        return Err(Condition::ResourceConstraint.text("the roster is full"));
    }
    let item = wish.applied(before).ok_or(Condition::ItemNotFound)?;
    step!(iq.meta, "roster_process_item", contact = %item.jid);
    let fold = RosterProcessItem {
        owner: owner.clone(),
        item,
        remove,
    };
    rosters
        .host
        .router
        .fold_wait(fold)
        .await
        .value()
        .ok_or_else(|| Condition::NotAllowed.into())
}

/// What a contact hears that was removed (§2.5.2): the end of each subscription there was, of a request
/// nobody answered as well (our choice), and of the presence it saw.
pub(super) fn goodbyes(rosters: &Rosters, owner: &BareJid, old: &RosterItem) -> Vec<Stanza> {
    let stanza = |kind| {
        let presence = Stanza::presence(kind).from(Jid::from(owner.clone()));
        presence.to(Jid::from(old.jid.clone())).finish()
    };
    let mut stanzas = Vec::new();
    if old.subscription.has_to() || old.ask {
        stanzas.push(stanza(PresenceType::Unsubscribe));
    }
    if old.subscription.has_from() || old.pending_in.is_some() {
        stanzas.push(stanza(PresenceType::Unsubscribed));
    }
    if old.subscription.has_from() {
        stanzas.extend(rosters.farewells(owner, &old.jid));
    }
    stanzas
}

/// The account, when it is the account itself that asks.
async fn only_own(host: &Host, iq: &Iq) -> Result<BareJid, StanzaError> {
    if is_own(iq) {
        return Ok(iq.to.to_bare());
    }
    only_friends(host, iq).await?;
    Err(Condition::Forbidden.into())
}

fn payload(iq: &Iq) -> Result<&minidom::Element, StanzaError> {
    let query = iq.stanza.dom().children().next();
    query
        .filter(|query| query.is("query", ns::ROSTER))
        .ok_or_else(|| Condition::BadRequest.into())
}
