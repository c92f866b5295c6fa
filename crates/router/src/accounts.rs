//! What all hosts of a node hear of accounts.

use xmpp::BareJid;

use crate::hooks::{Hook, HookInfo, OnPanic};

/// Event `account_gone`: an account was removed, and nothing of it is left. Heard by whoever knows accounts of any host,
/// as rooms do; what belongs to the account's own host hears `user_removed`.
#[derive(Clone, Debug)]
pub struct AccountGone {
    /// The account there was.
    pub account: BareJid,
}

impl Hook for AccountGone {
    const INFO: HookInfo = HookInfo {
        name: "account_gone",
        run_by: "whoever removes an account",
        process: "its runner",
        carries: "the account",
        stopping: "stop or drop: later handlers are skipped",
        on_panic: OnPanic::Continue,
        may_wait: true,
    };

    /// All hosts.
    fn host(&self) -> &str {
        ""
    }
}
