//! Subscription stanzas: what they do to the roster, and what follows (RFC 6121 §3).
//!
//! Each is worked through in its account's lane: state, commit, what the account's clients hear, push.
//! What goes to the contact is left to whoever ran the hook, outside the lane: its way may lead through
//! the contact's lane.

use gen_mod::prelude::*;
use session::hooks::{Hearers, RemoveUser, RosterInSubscription, RosterOutSubscription};
use storage::{Batch, Committed, RosterItem, StorageError};
use xmpp::{BareJid, PresenceType};

use super::query::goodbyes;
use super::states::{Also, Ask, Cell, State};
use super::{Rosters, cannot_tell};

/// The account's client asks for a subscription, grants, ends or refuses one.
pub(super) async fn sent(
    rosters: Rosters,
    mut asked: RosterOutSubscription,
) -> Flow<RosterOutSubscription> {
    let Some(ask) = Ask::of(asked.kind) else {
        return Flow::Next(asked);
    };
    let _lane = rosters.lanes.enter(asked.account.clone()).await;
    let store = &rosters.host.storage.roster;
    let before = match store.item(&asked.account, &asked.contact).await {
        Ok(before) => before,
        Err(error) => return cannot_tell(&asked.account, &error),
    };
    let (old, cell) = cell_of(before.as_ref(), |state| state.outbound(ask));
    let after = moved(before.clone(), &asked.contact, cell, None);
    let is_new = !is_listed(&before) && is_listed(&after);
    if is_new {
        match store.get(&asked.account).await {
            Ok(roster) if roster.items.len() < rosters.opts.max_items => {}
            Ok(_) => {
                tracing::debug!(target: "natter::roster", account = %asked.account, "roster is full, request not sent");
                return Flow::Drop;
            }
            Err(error) => return cannot_tell(&asked.account, &error),
        }
    }
    if let Err(error) = write_and_push(
        &rosters,
        &asked.account,
        &asked.contact,
        before,
        after,
        || (),
    )
    .await
    {
        return cannot_tell(&asked.account, &error);
    }
    asked.route = cell.passes;
    let shown = cell.next.subscription().has_from();
    match old.subscription().has_from() {
        // §3.1.5: the contact hears at once how the account is.
        false if shown => asked
            .after
            .extend(rosters.presences(&asked.account, &asked.contact)),
        // §3.2.2: and hears that it is gone.
        true if !shown => asked
            .after
            .extend(rosters.farewells(&asked.account, &asked.contact)),
        _ => {}
    }
    Flow::Next(asked)
}

/// A contact asks the account for a subscription, or grants, ends or refuses one.
pub(super) async fn heard(
    rosters: Rosters,
    mut asked: RosterInSubscription,
) -> Flow<RosterInSubscription> {
    let Some(ask) = Ask::of(asked.kind) else {
        return Flow::Next(asked);
    };
    let (account, contact) = (asked.account.clone(), asked.contact.clone());
    let _lane = rosters.lanes.enter(account.clone()).await;
    let store = &rosters.host.storage.roster;
    let before = match store.item(&account, &contact).await {
        Ok(before) => before,
        Err(error) => return cannot_tell(&account, &error),
    };
    let approved = before.as_ref().is_some_and(|item| item.approved);
    let (old, cell) = cell_of(before.as_ref(), |state| state.inbound(ask, approved));
    if before.is_none() && cell.next.is_asked() {
        match store.pending(&account).await {
            Ok(pending) if pending.len() < rosters.opts.max_requests => {}
            Ok(_) => {
                tracing::debug!(target: "natter::roster", %account, "too many requests wait, another is ignored");
                return Flow::Drop;
            }
            Err(error) => return cannot_tell(&account, &error),
        }
    }
    let request = (ask == Ask::Subscribe && cell.next.is_asked()).then(|| asked.stanza.to_xml());
    let after = moved(before.clone(), &contact, cell, request);
    // Those who asked for the roster hear it before the push that follows from it (§3.1.6, §3.2.3).
    let tell = || {
        if cell.passes && ask != Ask::Subscribe {
            rosters.hand_to(
                &rosters.sessions().table.interested(&account),
                &asked.stanza,
            );
        }
    };
    if let Err(error) = write_and_push(&rosters, &account, &contact, before, after, tell).await {
        return cannot_tell(&account, &error);
    }
    if cell.passes && ask == Ask::Subscribe {
        asked.hearers = Hearers::Available;
    }
    if cell.also == Also::Confirm {
        let confirm = Stanza::presence(PresenceType::Subscribed).from(Jid::from(account.clone()));
        asked
            .after
            .push(confirm.to(Jid::from(contact.clone())).finish());
    }
    match (
        old.subscription().has_from(),
        cell.next.subscription().has_from(),
    ) {
        (false, true) => asked.after.extend(rosters.presences(&account, &contact)),
        (true, false) => asked.after.extend(rosters.farewells(&account, &contact)),
        _ => {}
    }
    Flow::Next(asked)
}

/// Ends every subscription of an account that is about to be removed, both ways, and answers every request
/// that waits.
pub(super) async fn end_all(rosters: Rosters, gone: RemoveUser) -> Flow<RemoveUser> {
    let account = &gone.account;
    let store = &rosters.host.storage.roster;
    let (roster, pending) = {
        let _lane = rosters.lanes.enter(account.clone()).await;
        (store.get(account).await, store.pending(account).await)
    };
    let (roster, pending) = match (roster, pending) {
        (Ok(roster), Ok(pending)) => (roster, pending),
        (Err(error), _) | (_, Err(error)) => {
            tracing::warn!(target: "natter::roster", %account, %error, "contacts not told");
            return Flow::Next(gone);
        }
    };
    for item in &roster.items {
        for stanza in goodbyes(&rosters, account, item) {
            rosters.route(stanza).await;
        }
    }
    let listed = |contact: &BareJid| roster.items.iter().any(|item| item.jid == *contact);
    for (contact, _) in pending.iter().filter(|(contact, _)| !listed(contact)) {
        let refusal = Stanza::presence(PresenceType::Unsubscribed).from(Jid::from(account.clone()));
        let refusal = refusal.to(Jid::from(contact.clone())).finish();
        rosters.route(refusal).await;
    }
    Flow::Next(gone)
}

fn cell_of(item: Option<&RosterItem>, follow: impl Fn(State) -> Cell) -> (State, Cell) {
    let state = State::of(item);
    (state, follow(state))
}

fn is_listed(item: &Option<RosterItem>) -> bool {
    item.as_ref().is_some_and(|item| item.listed)
}

/// The item after a stanza; none when nothing is left to be known of the contact.
fn moved(
    before: Option<RosterItem>,
    contact: &BareJid,
    cell: Cell,
    request: Option<String>,
) -> Option<RosterItem> {
    let unknown = || RosterItem {
        listed: false,
        ..RosterItem::new(contact.clone())
    };
    let mut item = before.unwrap_or_else(unknown);
    item.subscription = cell.next.subscription();
    item.ask = cell.next.asks();
    item.pending_in = request.or(item.pending_in).filter(|_| cell.next.is_asked());
    match cell.also {
        Also::Approve => item.approved = true,
        Also::Disapprove => item.approved = false,
        Also::Nothing | Also::Confirm => {}
    }
    item.listed |= item.ask || item.approved || item.subscription != storage::Subscription::None;
    (item.listed || item.pending_in.is_some()).then_some(item)
}

/// Writes what changed, then runs `tell`, then pushes what clients see of it. In the account's lane.
async fn write_and_push(
    rosters: &Rosters,
    owner: &BareJid,
    contact: &BareJid,
    before: Option<RosterItem>,
    after: Option<RosterItem>,
    tell: impl FnOnce(),
) -> Result<(), StorageError> {
    if before == after {
        tell();
        return Ok(());
    }
    let mut batch = Batch::new();
    match &after {
        Some(item) => batch.put_roster_item(owner, item.clone()),
        None => batch.remove_roster_item(owner, contact),
    };
    let committed: Committed = rosters.host.storage.commit(batch).await?;
    tell();
    if committed.roster.iter().any(|change| change.changed) {
        rosters
            .push(owner, contact, after.as_ref(), &committed)
            .await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact() -> BareJid {
        xmpp::parse_bare("bob@x").expect("a JID")
    }

    fn sends(before: Option<RosterItem>, ask: Ask) -> Option<RosterItem> {
        let cell = State::of(before.as_ref()).outbound(ask);
        moved(before, &contact(), cell, None)
    }

    fn hears(before: Option<RosterItem>, ask: Ask) -> Option<RosterItem> {
        let approved = before.as_ref().is_some_and(|item| item.approved);
        let cell = State::of(before.as_ref()).inbound(ask, approved);
        let request =
            (ask == Ask::Subscribe && cell.next.is_asked()).then(|| "<presence/>".to_owned());
        moved(before, &contact(), cell, request)
    }

    //
    #[test]
    fn a_stranger_who_asks_is_not_in_the_roster_until_answered() {
        let asking = hears(None, Ask::Subscribe).expect("kept");
        assert_eq!(
            (asking.listed, asking.pending_in.as_deref()),
            (false, Some("<presence/>"))
        );
        assert_eq!(sends(Some(asking.clone()), Ask::Unsubscribed), None);
        assert_eq!(hears(Some(asking.clone()), Ask::Unsubscribe), None);
        let granted = sends(Some(asking), Ask::Subscribed).expect("kept");
        assert_eq!((granted.listed, granted.pending_in), (true, None));
        assert!(granted.subscription.has_from());
    }

    #[test]
    fn the_unknown_stay_unknown_where_nothing_happens() {
        for ask in [Ask::Unsubscribe, Ask::Unsubscribed] {
            assert_eq!(sends(None, ask), None, "{ask:?}");
        }
        for ask in [Ask::Unsubscribe, Ask::Unsubscribed, Ask::Subscribed] {
            assert_eq!(hears(None, ask), None, "{ask:?}");
        }
    }

    //
    #[test]
    fn approval_is_remembered_until_it_is_taken_back() {
        let approved = sends(None, Ask::Subscribed).expect("kept");
        assert_eq!(
            (
                approved.listed,
                approved.approved,
                State::of(Some(&approved))
            ),
            (true, true, State::None)
        );
        let accepted = hears(Some(approved.clone()), Ask::Subscribe).expect("kept");
        assert_eq!(
            (State::of(Some(&accepted)), accepted.pending_in),
            (State::From, None)
        );
        let back = sends(Some(approved), Ask::Unsubscribed).expect("still listed");
        assert!(!back.approved);
    }
}
