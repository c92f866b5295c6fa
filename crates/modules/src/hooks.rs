//! The hooks that modules run.

use router::{Hook, HookInfo, OnPanic};
use storage::RosterItem;
use xmpp::BareJid;

/// Fold `roster_process_item`: a client changes an item of its roster; run before the change is written.
#[derive(Clone, Debug)]
pub struct RosterProcessItem {
    /// The roster's owner.
    pub owner: BareJid,
    /// The item as it is to be written.
    pub item: RosterItem,
    /// Whether the item is to be removed instead.
    pub remove: bool,
}

impl Hook for RosterProcessItem {
    const INFO: HookInfo = HookInfo {
        name: "roster_process_item",
        run_by: "mod_roster",
        process: "the router's caller, in the account's lane",
        carries: "the item",
        stopping: "stop: later handlers are skipped; drop: the change is refused with not-allowed",
        on_panic: OnPanic::Deny,
        may_wait: false,
    };

    fn host(&self) -> &str {
        self.owner.domain().as_str()
    }
}

/// All hooks of this crate.
pub const HOOKS: &[HookInfo] = &[RosterProcessItem::INFO];
