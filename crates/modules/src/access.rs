//! Who may ask an account's server about the account.

use std::sync::Arc;

use gen_mod::Host;
use router::{Folded, Iq};
use session::hooks::{RosterGetJidInfo, Subscribed};
use session::{Entry, Sessions};
use xmpp::{Condition, StanzaError};

/// Whether the account itself asks.
pub(crate) fn is_own(iq: &Iq) -> bool {
    iq.from.to_bare() == iq.to.to_bare()
}

/// Lets the account itself pass and those who see its presence.
///
/// # Errors
///
/// `service-unavailable` for all others: what a stranger hears of an account that does not exist
/// (RFC 6121 §8.5.1), so that nobody learns names by asking.
pub(crate) async fn only_friends(host: &Host, iq: &Iq) -> Result<(), StanzaError> {
    if is_own(iq) {
        return Ok(());
    }
    let fold = RosterGetJidInfo {
        account: iq.to.to_bare(),
        contact: iq.from.to_bare(),
        subscribed: Subscribed::default(),
    };
    match host.router.fold_wait(fold).await {
        Folded::Done(fold) | Folded::Stopped(fold) if fold.subscribed.from => Ok(()),
        _ => Err(Condition::ServiceUnavailable.into()),
    }
}

/// The session that asks about its own account.
///
/// # Errors
///
/// - `forbidden`: another asks; `service-unavailable` where that one may not even know the account.
/// - `unexpected-request`: the session ended while it asked, so that nobody hears this.
pub(crate) async fn own_session(host: &Host, iq: &Iq) -> Result<Arc<Entry>, StanzaError> {
    if !is_own(iq) {
        only_friends(host, iq).await?;
        return Err(Condition::Forbidden.into());
    }
    let full = iq.from.try_as_full().ok();
    let session = full.and_then(|jid| host.service::<Sessions>().table.session(jid));
    session.ok_or_else(|| Condition::UnexpectedRequest.into())
}
