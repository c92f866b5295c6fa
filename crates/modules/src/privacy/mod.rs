//! One engine behind privacy lists (XEP-0016) and blocking (XEP-0191): which list holds for whom, what it
//! says of a stanza, and what follows from a change of it.
//!
//! Belongs to the node and is given to every host: lists that sessions made active outlive a restart of the
//! module. The lists of an account are kept in memory as long as the session lives for which they were read.
//! Fails closed: while the store cannot tell an account's lists, nothing passes but what no list may stop.

mod change;
pub(crate) mod rules;
mod sessions;
mod settle;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use gen_mod::Host;
use otp::Lanes;
use parking_lot::RwLock;
use router::Folded;
use session::hooks::{Direction, RosterGetJidInfo, Subscribed};
use session::{Entry, Sessions};
use storage::{PrivacyItem, PrivacyLists, StorageError, Subscription};
use xmpp::{BareJid, FullJid, Jid, PresenceType, Stanza, bare_str};

pub(crate) use change::{InUse, Told, block_items};
use rules::{Known, Says, Sort, decide};
use sessions::SessionStates;
pub(crate) use settle::with_groups;

/// The engine of a node. Cheap to clone.
#[derive(Clone, Default)]
pub struct Privacy(Arc<Inner>);

type Lists = HashMap<Box<str>, Cached, ahash::RandomState>;

#[derive(Default)]
struct Inner {
    /// Lists are changed in the account's lane.
    lanes: Lanes<BareJid>,
    /// By the account's address.
    lists: RwLock<Lists>,
    /// How many entries make it worth looking for those whose session is gone.
    sweep_at: AtomicU64,
    /// Grows with every change of lists: what was read before is not kept after it.
    changes: AtomicU64,
    sessions: SessionStates,
}

/// What is known of an account's lists.
enum Cached {
    /// These hold, while that session lives.
    Known(Arc<PrivacyLists>, Weak<Entry>),
    /// They are being written, or nobody can tell whether they were: the store is asked each time.
    Uncertain,
}

impl Cached {
    fn is_stale(&self) -> bool {
        matches!(self, Cached::Known(_, anchor) if anchor.strong_count() == 0)
    }
}

/// What is said of a stanza.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It passes.
    Pass,
    /// A rule refuses it.
    Refuse,
    /// The store cannot tell: it does not pass.
    CannotTell,
}

/// One question to the engine.
pub(crate) struct Question<'a> {
    /// Whose rules are asked.
    pub(crate) account: &'a BareJid,
    /// The session whose active list holds, if it has one.
    pub(crate) session: Option<&'a FullJid>,
    pub(crate) sort: Sort,
    /// Who is at the other end.
    pub(crate) other: &'a Jid,
}

impl Privacy {
    /// The engine that the tree gave to a host.
    pub(crate) fn of(host: &Host) -> &Privacy {
        host.service()
    }

    /// Whether a stanza may pass.
    pub(crate) async fn check_stanza(
        &self,
        host: &Host,
        account: &BareJid,
        session: Option<&FullJid>,
        direction: Direction,
        stanza: &Stanza,
    ) -> Verdict {
        let other = match direction {
            Direction::Out => stanza.to(),
            Direction::In => stanza.from(),
        };
        let Some(other) = other else {
            return Verdict::Pass;
        };
        if direction == Direction::In
            && session.is_some_and(|session| self.0.sessions.admits(session, stanza))
        {
            return Verdict::Pass;
        }
        let question = Question {
            account,
            session,
            sort: Sort::of(direction, stanza),
            other,
        };
        self.check(host, &question).await
    }

    /// Whether a stanza passes whatever the account's sessions made active, as can be told without waiting: nobody
    /// is asked about his own, and who is known to have no lists refuses nothing. `account` may bear a resource.
    pub(crate) fn surely_passes(
        &self,
        account: &Jid,
        direction: Direction,
        stanza: &Stanza,
    ) -> bool {
        let other = match direction {
            Direction::Out => stanza.to(),
            Direction::In => stanza.from(),
        };
        if other.is_none_or(|other| is_exempt(account, other)) {
            return true;
        }
        match self.0.lists.read().get(bare_str(account)) {
            Some(Cached::Known(lists, anchor)) => {
                anchor.strong_count() > 0 && lists.lists.is_empty()
            }
            Some(Cached::Uncertain) | None => false,
        }
    }

    /// What the list that holds says. The account itself and its host are never refused: not one resource by
    /// another (XEP-0016 §2.1), nor the server's own answers (our choice).
    pub(crate) async fn check(&self, host: &Host, question: &Question<'_>) -> Verdict {
        let Question {
            account,
            session,
            sort,
            other,
        } = question;
        if is_exempt(account, other) {
            return Verdict::Pass;
        }
        let lists = match self.lists(host, account).await {
            Ok(lists) => lists,
            Err(error) => {
                tracing::error!(target: "natter::privacy", %account, %error, "privacy lists not read, nothing passes");
                return Verdict::CannotTell;
            }
        };
        let active = session.and_then(|session| self.active(host, session));
        let items = in_force(&lists, active.as_deref());
        let says = match decide(items, *sort, other, None) {
            Says::AskRoster => match known(host, account, other).await {
                Some(known) => decide(items, *sort, other, Some(&known)),
                None => return Verdict::CannotTell,
            },
            says => says,
        };
        match says {
            Says::Pass => Verdict::Pass,
            Says::Refuse | Says::AskRoster => Verdict::Refuse,
        }
    }

    /// The lists of an account, out of memory or the store.
    ///
    /// # Errors
    ///
    /// The store did not answer.
    pub(crate) async fn lists(
        &self,
        host: &Host,
        account: &BareJid,
    ) -> Result<Arc<PrivacyLists>, StorageError> {
        if let Some(Cached::Known(lists, anchor)) = self.0.lists.read().get(account.as_str())
            && anchor.strong_count() > 0
        {
            return Ok(Arc::clone(lists));
        }
        let changes = self.0.changes.load(Ordering::Acquire);
        let lists = Arc::new(host.storage.privacy.get(account).await?);
        let sessions = host.service::<Sessions>().table.sessions(account);
        // Of an account without a session nothing is kept: nobody would know when to forget it.
        if let Some(anchor) = sessions.first() {
            self.keep(account, &lists, anchor, changes);
        }
        Ok(lists)
    }

    /// The name of a session's active list.
    pub(crate) fn active(&self, host: &Host, session: &FullJid) -> Option<String> {
        let table = &host.service::<Sessions>().table;
        self.0.sessions.active(table, session)
    }

    /// Notes whom a session tells its presence, so that it can be taken back when a rule forbids it.
    pub(crate) fn note_directed(&self, host: &Host, session: &FullJid, presence: &Stanza) {
        let directed = presence.to().filter(|to| to.to_bare() != session.to_bare());
        match (presence.presence_type(), directed) {
            (PresenceType::Available, Some(to)) => {
                if let Some(entry) = host.service::<Sessions>().table.session(session) {
                    self.0.sessions.told(&entry, to.clone());
                }
            }
            (PresenceType::Unavailable, to) => self.0.sessions.took_back(session, to),
            _ => {}
        }
    }

    /// Hands a session a stanza of the engine's own, whatever its rules say of the sender.
    pub(crate) fn let_in(&self, host: &Host, session: &FullJid, stanza: &Stanza) {
        if let Some(entry) = host.service::<Sessions>().table.session(session) {
            self.0.sessions.admit(&entry, stanza);
            change::hand(host, &entry, stanza);
        }
    }

    fn keep(
        &self,
        account: &BareJid,
        lists: &Arc<PrivacyLists>,
        anchor: &Arc<Entry>,
        changes: u64,
    ) {
        let mut kept = self.0.lists.write();
        let free = kept.get(account.as_str()).is_none_or(Cached::is_stale);
        if free && self.0.changes.load(Ordering::Acquire) == changes {
            let cached = Cached::Known(Arc::clone(lists), Arc::downgrade(anchor));
            kept.insert(account.as_str().into(), cached);
            self.sweep(&mut kept);
        }
    }

    /// Forgets what was kept for sessions that are gone, whenever twice as much is kept as after the last time.
    fn sweep(&self, kept: &mut Lists) {
        let least = 64;
        if (kept.len() as u64) < self.0.sweep_at.load(Ordering::Relaxed).max(least) {
            return;
        }
        kept.retain(|_, cached| !cached.is_stale());
        let next = kept.len() as u64 * 2;
        self.0.sweep_at.store(next, Ordering::Relaxed);
    }

    /// What is kept in memory of an account is no longer so, or not yet.
    fn doubt(&self, account: &BareJid) {
        let mut kept = self.0.lists.write();
        self.0.changes.fetch_add(1, Ordering::AcqRel);
        kept.insert(account.as_str().into(), Cached::Uncertain);
    }

    /// The store has answered: these are the lists.
    fn settled(&self, account: &BareJid, lists: &Arc<PrivacyLists>, anchor: Option<&Arc<Entry>>) {
        let mut kept = self.0.lists.write();
        self.0.changes.fetch_add(1, Ordering::AcqRel);
        match anchor {
            Some(anchor) => {
                let cached = Cached::Known(Arc::clone(lists), Arc::downgrade(anchor));
                kept.insert(account.as_str().into(), cached);
            }
            None => drop(kept.remove(account.as_str())),
        }
    }
}

fn is_exempt(account: &Jid, other: &Jid) -> bool {
    other.domain() == account.domain() && (other.node().is_none() || other.node() == account.node())
}

/// The rules that hold for a session whose active list is this, or for the account.
fn in_force<'a>(lists: &'a PrivacyLists, active: Option<&str>) -> &'a [PrivacyItem] {
    let active = active.and_then(|name| lists.list(name));
    active
        .or_else(|| lists.default_list())
        .map(|list| list.items.as_slice())
        .unwrap_or_default()
}

/// What the roster says of somebody; none when it cannot be read.
async fn known(host: &Host, account: &BareJid, other: &Jid) -> Option<Known> {
    let contact = other.to_bare();
    let fold = RosterGetJidInfo {
        account: account.clone(),
        contact: contact.clone(),
        subscribed: Subscribed::default(),
    };
    let subscribed = match host.router.fold_wait(fold).await {
        Folded::Done(fold) | Folded::Stopped(fold) => fold.subscribed,
        Folded::Dropped | Folded::Denied => return None,
    };
    match host.storage.roster.item(account, &contact).await {
        Ok(item) => Some(Known {
            groups: item.map(|item| item.groups).unwrap_or_default(),
            subscription: word(subscribed),
        }),
        Err(error) => {
            tracing::error!(target: "natter::privacy", %account, %error, "roster not read, nothing passes");
            None
        }
    }
}

fn word(subscribed: Subscribed) -> Subscription {
    match (subscribed.to, subscribed.from) {
        (false, false) => Subscription::None,
        (true, false) => Subscription::To,
        (false, true) => Subscription::From,
        (true, true) => Subscription::Both,
    }
}
