//! The session table: which resources each account has, and what a sender needs to know of them
//! without asking.
//!
//! Read where the caller stands, under a lock of its shard that is never held while anything waits. A
//! session writes its own entries (docs/decisions: session table), the [`crate::Sm`] process monitors
//! the sessions and clears away what a fallen one left.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use otp::Pid;
use parking_lot::{Mutex, RwLock};
use xmpp::{BareJid, FullJid, Jid, Stanza};

use crate::c2s::C2s;

const SHARDS: usize = 64;

/// What others may know of a session. The session alone changes it.
pub struct Entry {
    /// Its address.
    pub jid: FullJid,
    /// Its process.
    pub pid: Pid<C2s>,
    /// Tells sessions of one address apart: a later session has a larger number.
    pub number: u64,
    /// When its resource was bound.
    pub since: SystemTime,
    /// The client's address, where the transport has one.
    pub address: Option<SocketAddr>,
    /// Whether the stream is encrypted.
    pub encrypted: bool,
    state: RwLock<Shown>,
    interested: AtomicBool,
    withdrawn: AtomicBool,
    /// Whom it told its presence although their subscription does not say so (RFC 6121 §4.6).
    directed: Mutex<HashSet<Jid>>,
}

/// What a session shows of itself.
#[derive(Clone, Default)]
struct Shown {
    priority: i8,
    presence: Option<Stanza>,
}

impl Entry {
    /// Its last available presence; none while it is not available.
    #[must_use]
    pub fn presence(&self) -> Option<Stanza> {
        self.state.read().presence.clone()
    }

    /// Its priority; none while it is not available.
    #[must_use]
    pub fn priority(&self) -> Option<i8> {
        let shown = self.state.read();
        shown.presence.as_ref().map(|_| shown.priority)
    }

    /// Whether it asked for the roster (RFC 6121 §2.2).
    #[must_use]
    pub fn is_interested(&self) -> bool {
        self.interested.load(Ordering::Acquire)
    }

    /// Notes that it asked for the roster.
    pub fn set_interested(&self) {
        self.interested.store(true, Ordering::Release);
    }

    /// Shows a presence; none: it is no longer available. Gives what was shown before.
    pub(crate) fn show(&self, priority: i8, presence: Option<Stanza>) -> Option<Stanza> {
        let mut shown = self.state.write();
        let before = std::mem::take(&mut *shown);
        *shown = Shown { priority, presence };
        before.presence
    }

    /// Claims the withdrawal of its presence at its end: true for the first who asks.
    pub(crate) fn claim_withdrawal(&self) -> bool {
        !self.withdrawn.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn directed(&self) -> &Mutex<HashSet<Jid>> {
        &self.directed
    }
}

/// The sessions of one account.
#[derive(Default)]
struct Account {
    sessions: Vec<Arc<Entry>>,
    /// The session that hands out the offline queue; only one at a time does.
    flusher: Option<u64>,
}

/// The table. Cheap to clone; belongs to the node and outlives the [`crate::Sm`] process.
#[derive(Clone)]
pub struct SessionTable(Arc<Shards>);

struct Shards {
    shards: Vec<RwLock<HashMap<BareJid, Account, ahash::RandomState>>>,
    hasher: ahash::RandomState,
    next: AtomicU64,
}

impl Default for SessionTable {
    fn default() -> Self {
        SessionTable(Arc::new(Shards {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            hasher: ahash::RandomState::new(),
            next: AtomicU64::new(1),
        }))
    }
}

/// What a new session says of itself.
pub struct Opened {
    /// Its address.
    pub jid: FullJid,
    /// Its process.
    pub pid: Pid<C2s>,
    /// When.
    pub since: SystemTime,
    /// The client's address.
    pub address: Option<SocketAddr>,
    /// Whether the stream is encrypted.
    pub encrypted: bool,
}

impl SessionTable {
    fn shard(&self, account: &BareJid) -> &RwLock<HashMap<BareJid, Account, ahash::RandomState>> {
        let hash = self.0.hasher.hash_one(account);
        &self.0.shards[usize::try_from(hash % SHARDS as u64).expect("smaller than SHARDS")]
    }

    /// Enters a session; gives the session that had its address until now.
    pub fn open(&self, session: Opened) -> (Arc<Entry>, Option<Arc<Entry>>) {
        let bare = session.jid.to_bare();
        let entry = Arc::new(Entry {
            jid: session.jid,
            pid: session.pid,
            number: self.0.next.fetch_add(1, Ordering::Relaxed),
            since: session.since,
            address: session.address,
            encrypted: session.encrypted,
            state: RwLock::default(),
            interested: AtomicBool::new(false),
            withdrawn: AtomicBool::new(false),
            directed: Mutex::default(),
        });
        let mut shard = self.shard(&bare).write();
        let account = shard.entry(bare).or_default();
        let replaced = account.sessions.iter().position(|e| e.jid == entry.jid);
        let replaced = replaced.map(|at| account.sessions.remove(at));
        account.sessions.push(Arc::clone(&entry));
        (entry, replaced)
    }

    /// Takes a session out. False when it is not in the table any more: replaced or cleared away.
    pub fn close(&self, entry: &Entry) -> bool {
        let bare = entry.jid.to_bare();
        let mut shard = self.shard(&bare).write();
        let Some(account) = shard.get_mut(&bare) else {
            return false;
        };
        let Some(at) = account
            .sessions
            .iter()
            .position(|e| e.number == entry.number)
        else {
            return false;
        };
        account.sessions.remove(at);
        if account.flusher == Some(entry.number) {
            account.flusher = None;
        }
        if account.sessions.is_empty() {
            shard.remove(&bare);
        }
        true
    }

    /// The sessions of an account, in the order in which they were opened.
    #[must_use]
    pub fn sessions(&self, account: &BareJid) -> Vec<Arc<Entry>> {
        let shard = self.shard(account).read();
        shard
            .get(account)
            .map(|a| a.sessions.clone())
            .unwrap_or_default()
    }

    /// The session at a full JID.
    #[must_use]
    pub fn session(&self, jid: &FullJid) -> Option<Arc<Entry>> {
        let bare = jid.to_bare();
        let shard = self.shard(&bare).read();
        shard
            .get(&bare)?
            .sessions
            .iter()
            .find(|e| e.jid == *jid)
            .map(Arc::clone)
    }

    /// The available resources of an account, whatever their priority.
    #[must_use]
    pub fn available(&self, account: &BareJid) -> Vec<Arc<Entry>> {
        let mut sessions = self.sessions(account);
        sessions.retain(|e| e.priority().is_some());
        sessions
    }

    /// The resources of an account that asked for its roster.
    #[must_use]
    pub fn interested(&self, account: &BareJid) -> Vec<Arc<Entry>> {
        let mut sessions = self.sessions(account);
        sessions.retain(|e| e.is_interested());
        sessions
    }

    /// The resources that take an account's messages: available, priority not negative; the highest
    /// priority first, and of equals the latest (RFC 6121 §8.5.2.1).
    #[must_use]
    pub fn takers(&self, account: &BareJid) -> Vec<Arc<Entry>> {
        let mut takers: Vec<(i8, Arc<Entry>)> = self
            .sessions(account)
            .into_iter()
            .filter_map(|e| e.priority().filter(|p| *p >= 0).map(|p| (p, e)))
            .collect();
        takers.sort_by(|(p, a), (q, b)| q.cmp(p).then(b.number.cmp(&a.number)));
        takers.into_iter().map(|(_, e)| e).collect()
    }

    /// Gives a session the right to hand out the offline queue, unless another session has it.
    pub(crate) fn begin_flush(&self, entry: &Entry) -> bool {
        let bare = entry.jid.to_bare();
        let mut shard = self.shard(&bare).write();
        let Some(account) = shard.get_mut(&bare) else {
            return false;
        };
        let free = account.flusher.is_none_or(|number| {
            number == entry.number
                || !account
                    .sessions
                    .iter()
                    .any(|e| e.number == number && e.pid.is_alive())
        });
        if free {
            account.flusher = Some(entry.number);
        }
        free
    }

    pub(crate) fn end_flush(&self, entry: &Entry) {
        let bare = entry.jid.to_bare();
        let mut shard = self.shard(&bare).write();
        if let Some(account) = shard.get_mut(&bare) {
            if account.flusher == Some(entry.number) {
                account.flusher = None;
            }
        }
    }

    /// Every session of the node.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Entry>> {
        let mut all = Vec::new();
        for shard in &self.0.shards {
            all.extend(
                shard
                    .read()
                    .values()
                    .flat_map(|a| a.sessions.iter().map(Arc::clone)),
            );
        }
        all
    }

    /// How many sessions the node has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0
            .shards
            .iter()
            .map(|s| s.read().values().map(|a| a.sessions.len()).sum::<usize>())
            .sum()
    }
}
