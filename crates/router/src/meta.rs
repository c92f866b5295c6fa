//! What travels beside a stanza: where it came from, what happened to it, and who answers for it.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use xmpp::{BareJid, FullJid, Jid, Stanza};

/// How a stanza entered this server.
#[derive(Clone, Debug)]
pub enum Origin {
    /// A client's session.
    Session(Arc<SessionOrigin>),
    /// This server itself: answers, pushes, bounces, services.
    Server,
    /// Another server, by its authenticated domain.
    S2s(Arc<str>),
    /// An external component, by its authenticated domain.
    Component(Arc<str>),
}

/// The session that a stanza came in by.
#[derive(Debug)]
pub struct SessionOrigin {
    /// The full JID that the session is bound to.
    pub jid: FullJid,
    /// The address of the client, when the transport has one.
    pub address: Option<SocketAddr>,
}

/// What is known about a copy of a stanza, as a small set.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags(u16);

impl Flags {
    /// A second copy of a stanza whose primary goes elsewhere: it is never stored, bounced or re-routed.
    pub const COPY: Flags = Flags(1);
    /// A carbon copy (XEP-0280).
    pub const CARBON: Flags = Flags(1 << 1);
    /// An archive holds it already (XEP-0313).
    pub const ARCHIVED: Flags = Flags(1 << 2);
    /// It was routed before and came back undelivered.
    pub const RESENT: Flags = Flags(1 << 3);
    /// It comes out of the offline queue (XEP-0160).
    pub const FROM_OFFLINE: Flags = Flags(1 << 4);

    /// Whether every flag of `other` is set.
    #[must_use]
    pub fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Sets every flag of `other`.
    pub fn insert(&mut self, other: Flags) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Flags::COPY, "copy"),
            (Flags::CARBON, "carbon"),
            (Flags::ARCHIVED, "archived"),
            (Flags::RESENT, "resent"),
            (Flags::FROM_OFFLINE, "from-offline"),
        ];
        f.debug_set()
            .entries(
                names
                    .iter()
                    .filter(|(flag, _)| self.contains(*flag))
                    .map(|(_, name)| name),
            )
            .finish()
    }
}

/// The record that travels with a stanza through routes, hooks and modules.
#[derive(Clone, Debug)]
pub struct Meta {
    /// When the stanza entered this server.
    pub received: SystemTime,
    /// How it entered.
    pub origin: Origin,
    /// A number that every trace line of this stanza bears: later stanzas of one sender have larger ones.
    pub trace: u64,
    /// Ids that archives gave it, by the archive's owner (XEP-0359).
    pub archive_ids: Vec<(BareJid, String)>,
    /// How often it was routed again after a process fell; see [`crate::MAX_HOPS`].
    pub hops: u8,
    /// What is known about this copy.
    pub flags: Flags,
}

/// What became of a stanza in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A store holds it durably.
    Stored,
    /// It was written to its recipient, or a local service took it.
    Delivered,
    /// Its sender was told that it did not arrive.
    Bounced,
    /// A rule of a specification or of this server's owner says that it ends here.
    Dropped,
}

/// Who waits to hear what became of stanzas, each by a number of its own.
pub trait Accountant: Send + Sync + 'static {
    /// The stanza of that number met this end.
    fn resolved(&self, number: u64, outcome: Outcome);

    /// The stanza of that number met no end: its receipt was dropped.
    fn lost(&self, number: u64);
}

/// The promise that somebody answers for a stanza. Resolved exactly once.
///
/// A receipt that is dropped unresolved is a broken invariant: it is logged as an error and the
/// ledger's prefix stops there, so that a peer is never told that a lost stanza was taken.
pub struct Receipt(Option<(Arc<dyn Accountant>, u64)>);

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receipt")
            .field(&self.0.as_ref().map(|(_, number)| number))
            .finish()
    }
}

impl Receipt {
    /// A receipt that nobody waits for: copies, and what the server itself sends.
    #[must_use]
    pub fn none() -> Receipt {
        Receipt(None)
    }

    /// A receipt that `accountant` knows by `number`.
    #[must_use]
    pub fn new(accountant: Arc<dyn Accountant>, number: u64) -> Receipt {
        Receipt(Some((accountant, number)))
    }

    /// Says what became of the stanza.
    pub fn resolve(mut self, outcome: Outcome) {
        if let Some((accountant, number)) = self.0.take() {
            accountant.resolved(number, outcome);
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some((accountant, number)) = self.0.take() {
            accountant.lost(number);
        }
    }
}

/// Counts one session's stanzas and which of them are resolved.
///
/// XEP-0198's `h` will be [`Ledger::settled`]: the length of the contiguous resolved prefix.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    /// Number of the first entry in `open`; all before are resolved.
    settled: u64,
    open: VecDeque<Slot>,
    lost: u64,
    waiting: Vec<tokio::sync::oneshot::Sender<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Open,
    Resolved,
    /// Nobody will resolve it any more: waiting ends, the prefix does not pass it.
    Lost,
}

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new() -> Arc<Ledger> {
        Arc::default()
    }

    /// Opens the next entry.
    #[must_use]
    pub fn open(self: &Arc<Self>) -> Receipt {
        let mut entries = self.0.lock();
        let number = entries.settled + entries.open.len() as u64;
        entries.open.push_back(Slot::Open);
        drop(entries);
        Receipt::new(Arc::<Ledger>::clone(self), number)
    }

    /// How many stanzas, from the first on and without a gap, are resolved.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.0.lock().settled
    }

    /// How many receipts were dropped unresolved.
    #[must_use]
    pub fn lost_count(&self) -> u64 {
        self.0.lock().lost
    }

    /// Waits until nothing is open. Returns at once if so now.
    pub async fn all_settled(&self) {
        let wait = {
            let mut entries = self.0.lock();
            if entries.is_settled() {
                return;
            }
            let (tell, wait) = tokio::sync::oneshot::channel();
            entries.waiting.push(tell);
            wait
        };
        let _ = wait.await;
    }
}

impl Accountant for Ledger {
    fn resolved(&self, number: u64, _outcome: Outcome) {
        let mut entries = self.0.lock();
        entries.mark(number, Slot::Resolved);
        while entries.open.front() == Some(&Slot::Resolved) {
            entries.open.pop_front();
            entries.settled += 1;
        }
        entries.wake();
    }

    fn lost(&self, number: u64) {
        tracing::error!(target: "natter::router", number, "a stanza's receipt was dropped unresolved");
        let mut entries = self.0.lock();
        entries.lost += 1;
        entries.mark(number, Slot::Lost);
        entries.wake();
    }
}

impl Entries {
    fn mark(&mut self, number: u64, slot: Slot) {
        let at = number
            .checked_sub(self.settled)
            .expect("an open entry is behind the prefix");
        self.open[at as usize] = slot;
    }

    fn is_settled(&self) -> bool {
        !self.open.contains(&Slot::Open)
    }

    fn wake(&mut self) {
        if !self.waiting.is_empty() && self.is_settled() {
            for waiting in self.waiting.drain(..) {
                let _ = waiting.send(());
            }
        }
    }
}

/// A stanza on its way: the stanza, what is known of it, and the promise to answer for it.
#[derive(Debug)]
pub struct Packet {
    /// The stanza; `from` and `to` are present and normalised.
    pub stanza: Stanza,
    /// What is known of it.
    pub meta: Meta,
    /// Who waits to hear what became of it.
    pub receipt: Receipt,
}

/// A packet in a mailbox or an outbox: it cannot be lost, only taken, handed back or dead-lettered.
pub type Parcel = otp::Envelope<Packet>;

/// Where packets go whose envelope was dropped untaken.
pub type DeadLetterBox = otp::DeadLetterBox<Packet>;

impl Packet {
    /// The address it is sent to.
    ///
    /// # Panics
    ///
    /// Never for packets made by a door of this server: each stamps `to` before it routes.
    #[must_use]
    pub fn to(&self) -> &Jid {
        self.stanza.to().expect("routed stanzas bear a `to`")
    }

    /// The address it is sent from.
    ///
    /// # Panics
    ///
    /// Never for packets made by a door of this server: each stamps `from` before it routes.
    #[must_use]
    pub fn from(&self) -> &Jid {
        self.stanza.from().expect("routed stanzas bear a `from`")
    }

    /// What it weighs in a queue: its bytes and a flat charge for what lies around them.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.stanza.len() + 256
    }

    /// A further copy of the same stanza, which nobody answers for.
    #[must_use]
    pub fn copy(&self) -> Packet {
        let mut meta = self.meta.clone();
        meta.flags.insert(Flags::COPY);
        Packet {
            stanza: self.stanza.clone(),
            meta,
            receipt: Receipt::none(),
        }
    }

    /// Ends it here by rule.
    pub fn drop_by_rule(self) {
        self.receipt.resolve(Outcome::Dropped);
    }

    /// Puts it into an envelope that falls to `dead` when nobody takes it.
    pub fn enclose(self, dead: &DeadLetterBox) -> Parcel {
        let weight = self.weight();
        otp::Envelope::new(self, weight, dead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_grows_only_without_a_gap() {
        let ledger = Ledger::new();
        let (first, second, third) = (ledger.open(), ledger.open(), ledger.open());
        second.resolve(Outcome::Stored);
        assert_eq!(ledger.settled(), 0);
        first.resolve(Outcome::Delivered);
        assert_eq!(ledger.settled(), 2);
        third.resolve(Outcome::Bounced);
        assert_eq!(ledger.settled(), 3);
        assert_eq!(ledger.lost_count(), 0);
    }

    #[test]
    fn a_receipt_dropped_unresolved_stops_the_prefix() {
        let ledger = Ledger::new();
        let (first, second) = (ledger.open(), ledger.open());
        drop(first);
        second.resolve(Outcome::Delivered);
        assert_eq!((ledger.settled(), ledger.lost_count()), (0, 1));
    }

    #[tokio::test]
    async fn waiting_ends_when_the_last_entry_is_resolved() {
        let ledger = Ledger::new();
        let receipt = ledger.open();
        let waiting = tokio::spawn({
            let ledger = Arc::clone(&ledger);
            async move { ledger.all_settled().await }
        });
        receipt.resolve(Outcome::Delivered);
        waiting.await.expect("the waiting task ends");
    }
}
