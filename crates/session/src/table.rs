//! The session table: which resources each account has, and what a sender needs to know of them
//! without asking.
//!
//! Read where the caller stands, under a lock of its shard that is never held while anything waits. A
//! session writes its own entries (docs/decisions: session table), the [`crate::Sm`] process monitors
//! the sessions and clears away what a fallen one left.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::SystemTime;

use otp::Pid;
use parking_lot::{Mutex, RwLock};
use router::Parcel;
use xmpp::{BareJid, FullJid, Jid, Stanza, bare_str};

use crate::c2s::{C2s, Cast};
use crate::flush::Page;

const SHARDS: usize = 64;

/// What others may know of a session. The session alone changes it.
pub struct Entry {
    /// Its address.
    pub jid: Arc<FullJid>,
    /// The account.
    pub account: Arc<BareJid>,
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
    /// How many messages are being stored because it was the queue's turn.
    storing: AtomicUsize,
    interested: AtomicBool,
    withdrawn: AtomicBool,
    /// Whom it told its presence although their subscription does not say so (RFC 6121 §4.6).
    directed: Mutex<HashSet<Jid>>,
    /// Messages of the offline queue on their way to the client; here, so that it is known what was
    /// written when the session falls.
    page: Mutex<Option<Arc<Page>>>,
    /// How many stanzas its client has sent. The session alone writes it.
    sent: AtomicU64,
}

/// What a session shows of itself.
#[derive(Clone, Default)]
struct Shown {
    priority: i8,
    presence: Option<Stanza>,
    /// It is the offline queue's turn: what can be stored is.
    queueing: bool,
    /// It is out of the table and takes nothing any more.
    closed: bool,
}

impl Shown {
    fn takes_messages(&self) -> bool {
        self.presence.is_some() && self.priority >= 0
    }
}

/// For whom a parcel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    /// That very resource.
    Resource,
    /// One that takes the account's messages.
    Taker,
    /// One that takes them as they come: it does not hand out the offline queue.
    LiveTaker,
}

/// A message on its way into the offline queue instead of to a session. At its end, whatever that is, the
/// session looks into the queue, and before the sender's next message comes.
pub(crate) struct Storing(Arc<Entry>);

impl Storing {
    fn of(entry: &Arc<Entry>) -> Storing {
        entry.storing.fetch_add(1, Ordering::AcqRel);
        Storing(Arc::clone(entry))
    }
}

impl Drop for Storing {
    fn drop(&mut self) {
        self.0.storing.fetch_sub(1, Ordering::AcqRel);
        let _ = self.0.pid.cast(Cast::Flush);
    }
}

/// Why a session was not given a parcel.
pub(crate) enum Refused {
    /// It has left, or is not such a one any more.
    Away(Parcel),
    /// It is the offline queue's turn: the message is to be stored.
    Queueing(Parcel, Storing),
    /// Its mailbox is full, or its process fell.
    Full(Parcel),
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

    /// Whether it takes the account's messages: available, and its priority not negative.
    #[must_use]
    pub fn takes_messages(&self) -> bool {
        self.state.read().takes_messages()
    }

    /// How many stanzas its client has sent.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Its client has sent one. Told by the session alone, so that nothing has to be exchanged for it.
    pub(crate) fn count_sent(&self) {
        self.sent.store(self.sent() + 1, Ordering::Relaxed);
    }

    /// Puts a parcel into its mailbox, if it is one whom it is for. Excludes a change of what it shows, so
    /// that nothing comes behind what it tells itself after the change.
    pub(crate) fn offer(self: &Arc<Self>, parcel: Parcel, whom: For) -> Result<(), Refused> {
        let shown = self.state.read();
        if shown.closed || (whom != For::Resource && !shown.takes_messages()) {
            return Err(Refused::Away(parcel));
        }
        if whom == For::LiveTaker && shown.queueing {
            return Err(Refused::Queueing(parcel, Storing::of(self)));
        }
        self.pid.offer(parcel, Cast::Route).map_err(Refused::Full)
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
        let took = shown.takes_messages();
        shown.priority = priority;
        let before = std::mem::replace(&mut shown.presence, presence);
        if !took {
            // It looks into the queue first.
            shown.queueing = true;
        }
        before
    }

    /// Whether messages are being stored that it could not be given.
    pub(crate) fn awaits_stored(&self) -> bool {
        self.storing.load(Ordering::Acquire) > 0
    }

    /// Shows whose turn it is: the offline queue's, or that of live messages.
    pub(crate) fn set_queueing(&self, queueing: bool) {
        self.state.write().queueing = queueing;
    }

    /// From now on nothing is put into its mailbox.
    fn shut(&self) {
        self.state.write().closed = true;
    }

    /// Whether all who saw it were told that it is gone.
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.withdrawn.load(Ordering::Acquire)
    }

    pub(crate) fn set_withdrawn(&self) {
        self.withdrawn.store(true, Ordering::Release);
    }

    pub(crate) fn page(&self) -> &Mutex<Option<Arc<Page>>> {
        &self.page
    }

    pub(crate) fn directed(&self) -> &Mutex<HashSet<Jid>> {
        &self.directed
    }
}

/// The sessions of one account.
#[derive(Default)]
struct Account {
    sessions: Vec<Arc<Entry>>,
    /// Sessions at their end: nobody delivers there any more, but not all of what an end takes is done.
    leaving: Vec<Arc<Entry>>,
    /// The number of the session that hands out the offline queue; only one at a time does, and none
    /// while another at its end may still give messages back.
    flusher: Option<u64>,
    /// Others wanted to do so meanwhile.
    wanted: bool,
}

/// The table. Cheap to clone; belongs to the node and outlives the [`crate::Sm`] process.
#[derive(Clone)]
pub struct SessionTable(Arc<Shards>);

/// Accounts by their address.
type Shard = HashMap<Box<str>, Account, ahash::RandomState>;

struct Shards {
    shards: Vec<RwLock<Shard>>,
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
    fn shard(&self, account: &str) -> &RwLock<Shard> {
        let hash = self.0.hasher.hash_one(account);
        &self.0.shards[usize::try_from(hash % SHARDS as u64).expect("smaller than SHARDS")]
    }

    /// Enters a session; gives the session that had its address until now.
    ///
    /// # Errors
    ///
    /// The new session, when it may `replace` none and its address is in use.
    pub fn open(
        &self,
        session: Opened,
        replace: bool,
    ) -> Result<(Arc<Entry>, Option<Arc<Entry>>), Opened> {
        let bare = bare_str(&session.jid);
        let mut shard = self.shard(bare).write();
        let account = shard.entry(bare.into()).or_default();
        let replaced = account.sessions.iter().position(|e| *e.jid == session.jid);
        if replaced.is_some() && !replace {
            return Err(session);
        }
        let entry = Arc::new(Entry {
            account: Arc::new(session.jid.to_bare()),
            jid: Arc::new(session.jid),
            pid: session.pid,
            number: self.0.next.fetch_add(1, Ordering::Relaxed),
            since: session.since,
            address: session.address,
            encrypted: session.encrypted,
            state: RwLock::default(),
            storing: AtomicUsize::new(0),
            interested: AtomicBool::new(false),
            withdrawn: AtomicBool::new(false),
            directed: Mutex::default(),
            page: Mutex::default(),
            sent: AtomicU64::new(0),
        });
        let replaced = replaced.map(|at| account.sessions.remove(at));
        if let Some(old) = &replaced {
            old.shut();
        }
        account.leaving.extend(replaced.clone());
        account.sessions.push(Arc::clone(&entry));
        Ok((entry, replaced))
    }

    /// Takes a session out: nobody delivers there from now on. False when it was out already:
    /// replaced, full or cleared away. [`SessionTable::forget`] follows when its end is done.
    pub fn close(&self, entry: &Entry) -> bool {
        let bare = bare_str(&entry.jid);
        let mut shard = self.shard(bare).write();
        let Some(account) = shard.get_mut(bare) else {
            return false;
        };
        let is_it = |e: &Arc<Entry>| e.number == entry.number;
        let Some(at) = account.sessions.iter().position(is_it) else {
            return false;
        };
        let closed = account.sessions.remove(at);
        closed.shut();
        account.leaving.push(closed);
        true
    }

    /// The end of a closed session is done. True when others wait for that to hand out the offline queue,
    /// or have to go on with it.
    pub(crate) fn forget(&self, entry: &Entry) -> bool {
        let bare = bare_str(&entry.jid);
        let mut shard = self.shard(bare).write();
        let Some(account) = shard.get_mut(bare) else {
            return false;
        };
        account.leaving.retain(|e| e.number != entry.number);
        let was_flusher = account.flusher.take_if(|f| *f == entry.number).is_some();
        let wanted = std::mem::take(&mut account.wanted);
        if account.sessions.is_empty() && account.leaving.is_empty() {
            shard.remove(bare);
        }
        was_flusher || wanted
    }

    /// Whether something of the session is still to be done or undone.
    pub(crate) fn knows(&self, entry: &Entry) -> bool {
        let bare = bare_str(&entry.jid);
        let shard = self.shard(bare).read();
        shard.get(bare).is_some_and(|account| {
            let mut entries = account.sessions.iter().chain(&account.leaving);
            entries.any(|e| e.number == entry.number)
        })
    }

    /// The sessions of an account, in the order in which they were opened.
    #[must_use]
    pub fn sessions(&self, account: &BareJid) -> Vec<Arc<Entry>> {
        let shard = self.shard(account.as_str()).read();
        shard
            .get(account.as_str())
            .map(|a| a.sessions.clone())
            .unwrap_or_default()
    }

    /// The session at a full JID.
    #[must_use]
    pub fn session(&self, jid: &FullJid) -> Option<Arc<Entry>> {
        let bare = bare_str(jid);
        let shard = self.shard(bare).read();
        shard
            .get(bare)?
            .sessions
            .iter()
            .find(|e| *e.jid == *jid)
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
            .filter(|e| e.takes_messages())
            .filter_map(|e| e.priority().map(|p| (p, e)))
            .collect();
        takers.sort_by(|(p, a), (q, b)| q.cmp(p).then(b.number.cmp(&a.number)));
        takers.into_iter().map(|(_, e)| e).collect()
    }

    /// Gives a session the right to hand out the offline queue, unless another session has it or is still
    /// at its end; then [`SessionTable::end_flush`] or [`SessionTable::forget`] tells that somebody wants it.
    pub(crate) fn begin_flush(&self, entry: &Entry) -> bool {
        let bare = bare_str(&entry.jid);
        let mut shard = self.shard(bare).write();
        let Some(account) = shard.get_mut(bare) else {
            return false;
        };
        let is_free = account.flusher.is_none_or(|f| f == entry.number);
        if is_free && account.leaving.iter().all(|e| e.number == entry.number) {
            account.flusher = Some(entry.number);
            true
        } else {
            account.wanted = true;
            false
        }
    }

    /// Takes that right back; true when others want it.
    pub(crate) fn end_flush(&self, entry: &Entry) -> bool {
        let bare = bare_str(&entry.jid);
        let mut shard = self.shard(bare).write();
        let Some(account) = shard.get_mut(bare) else {
            return false;
        };
        account.flusher.take_if(|f| *f == entry.number).is_some()
            && std::mem::take(&mut account.wanted)
    }

    /// Every session whose process has to be monitored: those of the node, and those at their end.
    pub(crate) fn unfinished(&self) -> Vec<Arc<Entry>> {
        let mut all = Vec::new();
        for shard in &self.0.shards {
            for account in shard.read().values() {
                all.extend(account.sessions.iter().chain(&account.leaving).cloned());
            }
        }
        all
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
