//! What the engine knows of single sessions, as long as they live.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Weak};

use parking_lot::RwLock;
use session::{Entry, SessionTable};
use xmpp::{FullJid, Jid, Stanza};

/// How many stanzas may be on their way to a session that its rules would refuse.
const MAX_ADMITTED: usize = 256;

/// How many addresses are remembered that a session told its presence.
const MAX_DIRECTED: usize = 1000;

/// The sessions that use privacy lists or blocking, by address.
#[derive(Default)]
pub(super) struct SessionStates(RwLock<HashMap<FullJid, State>>);

struct State {
    /// The state is this session's, and ends with it.
    session: Weak<Entry>,
    number: u64,
    active: Option<String>,
    hears_blocks: bool,
    uses_lists: bool,
    /// Whom it told its presence, besides those who are subscribed (RFC 6121 §4.6).
    directed: HashSet<Jid>,
    /// Stanzas that the engine itself sends it in the name of somebody whom its rules refuse.
    admitted: VecDeque<Stanza>,
}

impl SessionStates {
    /// The name of a session's active list.
    pub(super) fn active(&self, table: &SessionTable, session: &FullJid) -> Option<String> {
        let (number, active) = {
            let states = self.0.read();
            let state = states.get(session)?;
            let lives = state.session.strong_count() > 0;
            (state.number, state.active.clone().filter(|_| lives)?)
        };
        // A session at its end is in the table no more; a later one at its address has no active list yet.
        let is_replaced = |entry: Arc<Entry>| entry.number != number;
        (!table.session(session).is_some_and(is_replaced)).then_some(active)
    }

    /// Makes a list the active one of a session; gives the one before.
    pub(super) fn set_active(
        &self,
        session: &Arc<Entry>,
        active: Option<String>,
    ) -> Option<String> {
        self.change(session, |state| {
            std::mem::replace(&mut state.active, active)
        })
    }

    /// From now on the session hears of blocks (XEP-0191 §3.3).
    pub(super) fn hear_blocks(&self, session: &Arc<Entry>) {
        self.change(session, |state| state.hears_blocks = true);
    }

    /// Whether the session asked for the blocklist.
    pub(super) fn hears_blocks(&self, session: &Entry) -> bool {
        self.0
            .read()
            .get(&*session.jid)
            .is_some_and(|state| state.number == session.number && state.hears_blocks)
    }

    /// The session knows privacy lists.
    pub(super) fn use_lists(&self, session: &Arc<Entry>) {
        self.change(session, |state| state.uses_lists = true);
    }

    /// Whether the session asked for privacy lists or changed them.
    pub(super) fn uses_lists(&self, session: &Entry) -> bool {
        self.0
            .read()
            .get(&*session.jid)
            .is_some_and(|state| state.number == session.number && state.uses_lists)
    }

    /// Notes that a session told one address that it is there. Beyond [`MAX_DIRECTED`] nothing is noted.
    pub(super) fn told(&self, session: &Arc<Entry>, to: Jid) {
        self.change(session, |state| {
            if state.directed.len() < MAX_DIRECTED {
                state.directed.insert(to);
            }
        });
    }

    /// Notes that a session told one address, or none in particular and so all, that it is gone.
    pub(super) fn took_back(&self, session: &FullJid, to: Option<&Jid>) {
        if !self.0.read().contains_key(session) {
            return;
        }
        if let Some(state) = self.0.write().get_mut(session) {
            state.directed.retain(|jid| to.is_some_and(|to| to != jid));
        }
    }

    /// Whom a session told its presence.
    pub(super) fn directed(&self, session: &Entry) -> Vec<Jid> {
        let states = self.0.read();
        let state = states.get(&*session.jid);
        let state = state.filter(|state| state.number == session.number);
        state.map_or_else(Vec::new, |state| state.directed.iter().cloned().collect())
    }

    /// Lets one stanza of the engine's own reach a session, whatever its rules say. More than
    /// [`MAX_ADMITTED`] on their way are not let in.
    pub(super) fn admit(&self, session: &Arc<Entry>, stanza: &Stanza) {
        self.change(session, |state| {
            if state.admitted.len() == MAX_ADMITTED {
                state.admitted.pop_front();
            }
            state.admitted.push_back(stanza.clone());
        });
    }

    /// Whether this very stanza was admitted. It is once.
    pub(super) fn admits(&self, session: &FullJid, stanza: &Stanza) -> bool {
        let waits = |states: &HashMap<FullJid, State>| {
            let state = states.get(session)?;
            state.admitted.iter().position(|own| own == stanza)
        };
        if waits(&self.0.read()).is_none() {
            return false;
        }
        let mut states = self.0.write();
        let Some(at) = waits(&states) else {
            return false;
        };
        let state = states.get_mut(session).expect("found a line above");
        state.admitted.remove(at).is_some()
    }

    fn change<T>(&self, session: &Arc<Entry>, change: impl FnOnce(&mut State) -> T) -> T {
        let mut states = self.0.write();
        let fresh = || State {
            session: Arc::downgrade(session),
            number: session.number,
            active: None,
            hears_blocks: false,
            uses_lists: false,
            directed: HashSet::new(),
            admitted: VecDeque::new(),
        };
        if !states.contains_key(&*session.jid) && states.len().is_power_of_two() {
            // Whenever it would grow: what belongs to sessions that are gone goes first.
            states.retain(|_, state| state.session.strong_count() > 0);
        }
        let state = states.entry((*session.jid).clone()).or_insert_with(fresh);
        if state.number != session.number {
            *state = fresh();
        }
        change(state)
    }
}
