//! The hooks that modules run.

use std::collections::BTreeSet;
use std::sync::Arc;

use admin::Caller;
use router::{Hook, HookInfo, OnPanic};
use storage::RosterItem;
use xmpp::payload::{DiscoInfoResult, Item};
use xmpp::{BareJid, FullJid, Jid, StanzaError};

pub use crate::adhoc::{Field, FieldKind, Filled, Form, NoteKind, Step};
pub use session::hooks::DiscoInfo;

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
        may_wait: true,
    };

    fn host(&self) -> &str {
        self.owner.domain().as_str()
    }
}

/// Fold `roster_items`: what an account's clients are shown of its roster.
#[derive(Clone, Debug)]
pub struct RosterItems {
    /// The roster's owner.
    pub owner: BareJid,
    /// The items; the owner's own, or those of them that are asked about, in the beginning.
    pub items: Vec<RosterItem>,
    /// Tells one state of what handlers add from another, in the roster's version; empty when they add nothing.
    /// It is the same whichever of the owner's own items are asked about.
    pub mark: String,
}

impl Hook for RosterItems {
    const INFO: HookInfo = HookInfo {
        name: "roster_items",
        run_by: "mod_roster",
        process: "the router's caller, in the account's lane",
        carries: "the items and a mark of what was added",
        stopping: "stop: later handlers are skipped; drop: cannot be told",
        on_panic: OnPanic::Deny,
        may_wait: true,
    };

    fn host(&self) -> &str {
        self.owner.domain().as_str()
    }
}

/// Event `roster_push`: what others add to an account's roster has changed; its clients are told.
#[derive(Clone, Debug)]
pub struct RosterPush {
    /// The roster's owner.
    pub owner: BareJid,
    /// The contacts that are to be looked at again, and whether clients were shown them until now because of
    /// what others add.
    pub contacts: Vec<(BareJid, bool)>,
}

impl Hook for RosterPush {
    const INFO: HookInfo = HookInfo {
        name: "roster_push",
        run_by: "mod_shared_roster",
        process: "its runner, in the account's lane",
        carries: "the contacts",
        stopping: "stop or drop: later handlers are skipped",
        on_panic: OnPanic::Continue,
        may_wait: true,
    };

    fn host(&self) -> &str {
        self.owner.domain().as_str()
    }
}

/// Fold `disco_node`: what is to be said of a node (XEP-0030 §3.2). Run only for who may ask.
#[derive(Clone, Debug)]
pub struct DiscoNode {
    /// Who is asked: the host or an account of it.
    pub to: Jid,
    /// Who asks.
    pub from: Jid,
    /// The node.
    pub node: String,
    /// What is said of it; nothing: there is no such node. The answer's node is the one that was asked for.
    pub info: Option<DiscoInfoResult>,
}

impl Hook for DiscoNode {
    const INFO: HookInfo = HookInfo {
        name: "disco_node",
        run_by: "mod_disco",
        process: "the router's caller",
        carries: "identities, features and forms of a node",
        stopping: "stop: later handlers are skipped; drop: there is no such node",
        on_panic: OnPanic::Continue,
        may_wait: true,
    };

    fn host(&self) -> &str {
        self.to.domain().as_str()
    }
}

/// Fold `disco_items`: what there is at a host, an account or a node of one (XEP-0030 §4). Run only for who may ask.
#[derive(Clone, Debug)]
pub struct DiscoItems {
    /// Who is asked: the host or an account of it.
    pub to: Jid,
    /// Who asks.
    pub from: Jid,
    /// The node.
    pub node: Option<String>,
    /// What there is; nothing: there is no such node.
    pub items: Option<Vec<Item>>,
}

impl Hook for DiscoItems {
    const INFO: HookInfo = HookInfo {
        name: "disco_items",
        run_by: "mod_disco",
        process: "the router's caller",
        carries: "the items",
        stopping: "stop: later handlers are skipped; drop: there is no such node",
        on_panic: OnPanic::Continue,
        may_wait: true,
    };

    fn host(&self) -> &str {
        self.to.domain().as_str()
    }
}

/// Fold `user_features`: what can this client of the host do (XEP-0115)?
#[derive(Clone, Debug)]
pub struct UserFeatures {
    /// The client's session.
    pub user: FullJid,
    /// Its features; nothing: it says nothing, or it is not found out yet.
    pub features: Option<Arc<BTreeSet<String>>>,
}

impl Hook for UserFeatures {
    const INFO: HookInfo = HookInfo {
        name: "user_features",
        run_by: "whoever sends only what a client wants",
        process: "its runner",
        carries: "the features",
        stopping: "stop: later handlers are skipped; drop: not known",
        on_panic: OnPanic::Continue,
        may_wait: false,
    };

    fn host(&self) -> &str {
        self.user.domain().as_str()
    }
}

/// Fold `adhoc_local_items`: the ad-hoc commands of a host that one caller may use (XEP-0050 §2.2).
#[derive(Clone, Debug)]
pub struct AdhocCommands {
    /// The host.
    pub host: Arc<str>,
    /// Who asks.
    pub caller: Caller,
    /// Node and name of each command.
    pub commands: Vec<(String, String)>,
}

impl Hook for AdhocCommands {
    const INFO: HookInfo = HookInfo {
        name: "adhoc_local_items",
        run_by: "mod_adhoc",
        process: "whoever asks",
        carries: "the commands that the caller may use",
        stopping: "stop: later handlers are skipped; drop: no commands",
        on_panic: OnPanic::Deny,
        may_wait: false,
    };

    fn host(&self) -> &str {
        &self.host
    }
}

/// Fold `adhoc_local_commands`: one step of an ad-hoc command of a host (XEP-0050 §2.4). The same forms lead to the
/// same step, so that a caller may go back.
#[derive(Clone)]
pub struct AdhocStep {
    /// The host.
    pub host: Arc<str>,
    /// Who asks.
    pub caller: Caller,
    /// The asker's address.
    pub from: Jid,
    /// The command.
    pub node: String,
    /// What was filled in so far, a form each.
    pub filled: Vec<Filled>,
    /// What the command says; nothing: there is no such command.
    pub step: Option<Result<Step, StanzaError>>,
}

impl Hook for AdhocStep {
    const INFO: HookInfo = HookInfo {
        name: "adhoc_local_commands",
        run_by: "mod_adhoc",
        process: "a task of mod_adhoc's",
        carries: "the forms filled in and the next step",
        stopping: "stop: later handlers are skipped; drop: there is no such command",
        on_panic: OnPanic::Deny,
        may_wait: true,
    };

    fn host(&self) -> &str {
        &self.host
    }
}

/// All hooks of this crate.
pub const HOOKS: &[HookInfo] = &[
    RosterProcessItem::INFO,
    RosterItems::INFO,
    RosterPush::INFO,
    DiscoNode::INFO,
    DiscoItems::INFO,
    UserFeatures::INFO,
    AdhocCommands::INFO,
    AdhocStep::INFO,
];
