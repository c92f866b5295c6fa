//! Who may ask an account's server about the account.

use gen_mod::Host;
use router::{Folded, Iq};
use session::hooks::{RosterGetJidInfo, Subscribed};
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
