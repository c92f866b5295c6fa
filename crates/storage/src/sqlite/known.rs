//! What is known of accounts without asking: who exists, who has nothing that a read could find, rosters just read.
//!
//! A read costs two turns of the scheduler and a thread's wake-up, and most of what a login asks for is not there: no
//! privacy lists, no requests, no offline messages, no shared groups. What a read found is noted here, and every
//! write that may change it raises a [`Doubt`] before it is queued, which its request carries to its end: until then
//! nothing is known, and nothing that was asked before then is noted. So what is known is what a read would find.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use parking_lot::Mutex;
use xmpp::BareJid;

use crate::Roster;

/// How many accounts a fact is remembered of; 24 bytes each.
const FACTS: usize = 32 * 1024;

/// How many contacts are remembered, in all rosters together; some 150 bytes each.
const CONTACTS: usize = 8 * 1024;

/// What is known; each can be doubted by itself.
pub(super) struct Known {
    /// Accounts that exist.
    pub(super) exists: Memo<()>,
    /// Accounts without privacy lists.
    pub(super) no_lists: Memo<()>,
    /// Accounts that nobody waits to be answered by.
    pub(super) no_requests: Memo<()>,
    /// Accounts with an empty offline queue.
    pub(super) no_offline: Memo<()>,
    /// Hosts without shared groups.
    pub(super) no_groups: Memo<()>,
    /// Rosters as their owners see them.
    pub(super) rosters: Memo<Arc<Roster>>,
}

impl Known {
    pub(super) fn new() -> Known {
        Known {
            exists: Memo::new(FACTS),
            no_lists: Memo::new(FACTS),
            no_requests: Memo::new(FACTS),
            no_offline: Memo::new(FACTS),
            no_groups: Memo::new(FACTS),
            rosters: Memo::new(CONTACTS),
        }
    }

    /// A write may change anything.
    pub(super) fn doubt_all(&self) -> impl Send + use<> {
        (
            self.exists.doubt_all(),
            self.no_lists.doubt_all(),
            self.no_requests.doubt_all(),
            self.no_offline.doubt_all(),
            self.no_groups.doubt_all(),
            self.rosters.doubt_all(),
        )
    }

    /// A write may change anything of one account.
    pub(super) fn doubt_account(&self, account: &BareJid) -> impl Send + use<> {
        (
            self.exists.doubt(account.as_str()),
            self.no_lists.doubt(account.as_str()),
            self.no_requests.doubt(account.as_str()),
            self.no_offline.doubt(account.as_str()),
            self.rosters.doubt(account.as_str()),
        )
    }
}

/// Values by name, dropped and kept out while they are in doubt.
pub(super) struct Memo<V>(Arc<Shared<V>>);

struct Shared<V> {
    /// Names are kept as keyed hashes of 64 bits.
    hash: RandomState,
    capacity: usize,
    state: Mutex<State<V>>,
}

struct State<V> {
    /// With what each takes of the capacity.
    known: HashMap<u64, (V, usize)>,
    taken: usize,
    /// How many writes under way may change what is known of a name, or of all.
    doubted: HashMap<u64, usize>,
    all_doubted: usize,
    /// How many doubts have ended.
    settled: u64,
}

impl<V> State<V> {
    fn forget(&mut self) {
        self.known.clear();
        self.taken = 0;
    }
}

/// The moment at which a read was begun.
#[derive(Clone, Copy)]
pub(super) struct Asked(u64);

impl<V: Clone> Memo<V> {
    fn new(capacity: usize) -> Memo<V> {
        Memo(Arc::new(Shared {
            hash: RandomState::new(),
            capacity,
            state: Mutex::new(State {
                known: HashMap::new(),
                taken: 0,
                doubted: HashMap::new(),
                all_doubted: 0,
                settled: 0,
            }),
        }))
    }

    /// What is known of a name; or else the moment from which to read.
    pub(super) fn ask(&self, name: &str) -> Result<V, Asked> {
        let key = self.0.hash.hash_one(name);
        let state = self.0.state.lock();
        match state.known.get(&key) {
            Some((value, _)) => Ok(value.clone()),
            None => Err(Asked(state.settled)),
        }
    }

    /// Notes what a read has found that was begun at `asked`, if it takes no more than a quarter of the capacity.
    pub(super) fn note(&self, asked: Asked, name: &str, value: V, takes: usize) {
        let key = self.0.hash.hash_one(name);
        let mut state = self.0.state.lock();
        let in_doubt = state.all_doubted > 0 || state.doubted.contains_key(&key);
        if in_doubt || state.settled != asked.0 || takes > self.0.capacity / 4 {
            return;
        }
        if state.taken + takes > self.0.capacity {
            // Whoever is asked for again is noted again.
            state.forget();
        }
        state.taken += takes;
        if let Some((_, took)) = state.known.insert(key, (value, takes)) {
            state.taken -= took;
        }
    }

    /// A write that is about to be queued may change what is known of a name.
    pub(super) fn doubt(&self, name: &str) -> Doubt<V> {
        let key = self.0.hash.hash_one(name);
        let mut state = self.0.state.lock();
        if let Some((_, took)) = state.known.remove(&key) {
            state.taken -= took;
        }
        *state.doubted.entry(key).or_default() += 1;
        Doubt {
            memo: Arc::clone(&self.0),
            key: Some(key),
        }
    }

    /// As [`doubt`](Self::doubt), of all names.
    pub(super) fn doubt_all(&self) -> Doubt<V> {
        let mut state = self.0.state.lock();
        state.forget();
        state.all_doubted += 1;
        Doubt {
            memo: Arc::clone(&self.0),
            key: None,
        }
    }
}

/// A write that may change what is known; held by its request until that is answered or given up.
pub(super) struct Doubt<V> {
    memo: Arc<Shared<V>>,
    /// All names, if none.
    key: Option<u64>,
}

impl<V> Drop for Doubt<V> {
    fn drop(&mut self) {
        let mut state = self.memo.state.lock();
        state.settled += 1;
        let Some(key) = self.key else {
            state.all_doubted -= 1;
            return;
        };
        let doubts = state.doubted.get_mut(&key).expect("a doubt is counted");
        *doubts -= 1;
        if *doubts == 0 {
            state.doubted.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_known_until_it_is_doubted() {
        let memo = Memo::new(8);
        let asked = memo.ask("a").unwrap_err();
        memo.note(asked, "a", 1, 1);
        assert_eq!(memo.ask("a").ok(), Some(1));
        assert!(memo.ask("b").is_err());
        drop(memo.doubt("a"));
        assert!(memo.ask("a").is_err());
    }

    #[test]
    fn nothing_is_noted_that_was_read_before_a_write_ended() {
        let memo = Memo::new(8);
        let before = memo.ask("a").unwrap_err();
        let doubt = memo.doubt("a");
        let meanwhile = memo.ask("a").unwrap_err();
        memo.note(before, "a", 1, 1);
        assert!(memo.ask("a").is_err(), "the write is under way");
        let second = memo.doubt("a");
        drop(doubt);
        let between = memo.ask("a").unwrap_err();
        memo.note(between, "a", 1, 1);
        assert!(memo.ask("a").is_err(), "another write is under way");
        drop(second);
        for early in [before, meanwhile, between] {
            memo.note(early, "a", 1, 1);
            assert!(memo.ask("a").is_err(), "it may have been read before");
        }
        memo.note(memo.ask("a").unwrap_err(), "a", 2, 1);
        assert_eq!(memo.ask("a").ok(), Some(2));
    }

    #[test]
    fn a_doubt_about_all_is_one_about_each() {
        let memo = Memo::new(8);
        memo.note(memo.ask("a").unwrap_err(), "a", 1, 1);
        let doubt = memo.doubt_all();
        let meanwhile = memo.ask("a").unwrap_err();
        memo.note(meanwhile, "a", 1, 1);
        drop(doubt);
        memo.note(meanwhile, "a", 1, 1);
        assert!(memo.ask("a").is_err());
    }

    #[test]
    fn it_is_bounded() {
        let memo = Memo::new(8);
        for name in 0..100 {
            let name = name.to_string();
            memo.note(memo.ask(&name).unwrap_err(), &name, (), 2);
            assert!(memo.ask(&name).is_ok());
            assert!(memo.0.state.lock().known.len() <= 4);
        }
        memo.note(memo.ask("large").unwrap_err(), "large", (), 3);
        assert!(memo.ask("large").is_err());
        for name in 0..100 {
            drop(memo.doubt(&name.to_string()));
        }
        assert_eq!(memo.0.state.lock().taken, 0);
    }
}
