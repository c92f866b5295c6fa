//! Two who see one another because one invited the other (XEP-0379 §3.5, XEP-0401 §4.5).
//!
//! Each step is what a client of theirs would do, so that the roster keeps its states and tells every device.

use gen_mod::prelude::*;
use session::hooks::{RosterInSubscription, RosterOutSubscription};
use xmpp::{BareJid, PresenceType};

use super::Desk;

/// Does what a client of the account would do: asks for a subscription, or grants one.
async fn says(host: &Host, account: &BareJid, contact: &BareJid, kind: PresenceType) {
    let stanza = Stanza::presence(kind)
        .from(Jid::from(account.clone()))
        .to(Jid::from(contact.clone()))
        .finish();
    let fold = RosterOutSubscription {
        account: account.clone(),
        contact: contact.clone(),
        kind,
        stanza,
        route: true,
        after: Vec::new(),
    };
    let Some(fold) = host.router.fold_wait(fold).await.value() else {
        tracing::warn!(target: "natter::invites", %account, %contact, ?kind, "roster not changed");
        return;
    };
    let routed = fold.route.then_some(fold.stanza);
    for stanza in routed.into_iter().chain(fold.after) {
        host.router.route(host.router.packet(stanza)).await;
    }
}

/// Makes two accounts of this host contacts of one another, both ways.
pub(super) async fn befriend(host: &Host, inviter: &BareJid, new: &BareJid) {
    // Each grants before it is asked, so that neither has to answer (RFC 6121 §3.4).
    says(host, new, inviter, PresenceType::Subscribed).await;
    says(host, inviter, new, PresenceType::Subscribed).await;
    says(host, new, inviter, PresenceType::Subscribe).await;
    says(host, inviter, new, PresenceType::Subscribe).await;
}

/// Grants the request of somebody whom the account invited, and asks for the same, before the account's clients
/// hear of it. A token that is not good is as none (XEP-0379 §4.1).
pub(super) async fn asked(desk: Desk, asked: RosterInSubscription) -> Flow<RosterInSubscription> {
    let host = &desk.host;
    let token = asked.stanza.dom().children().find_map(|child| {
        let is_token = child.is("preauth", ns::PARS);
        child.attr("token").filter(|_| is_token).map(str::to_owned)
    });
    let (PresenceType::Subscribe, Some(token)) = (asked.kind, token) else {
        return Flow::Next(asked);
    };
    let used = async {
        let invite = desk.good(&token).await?;
        let theirs = invite.is_some_and(|invite| invite.inviter.as_ref() == Some(&asked.account));
        Ok::<_, storage::StorageError>(
            theirs && host.storage.invites.take(&host.name, &token).await?,
        )
    };
    match used.await {
        Ok(true) => {
            let (account, contact) = (&asked.account, &asked.contact);
            tracing::info!(target: "natter::invites", %account, %contact, "request granted by invitation");
            says(host, account, contact, PresenceType::Subscribed).await;
            says(host, account, contact, PresenceType::Subscribe).await;
        }
        Ok(false) => {}
        Err(error) => {
            tracing::warn!(target: "natter::invites", account = %asked.account, %error, "invitation not read, the account is asked");
        }
    }
    Flow::Next(asked)
}
