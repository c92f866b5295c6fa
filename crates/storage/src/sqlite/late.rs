//! Last activity, written when something else is, or within a second: a disk's commit for each who leaves costs more
//! than all else of a login, and a power cut may cost a second of it.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use rusqlite::Connection;
use xmpp::BareJid;

use super::personal;
use super::queue::{Job, Queue, Refused};
use crate::{LastSeen, StorageError};

const WHAT: &str = "note last activity";

/// What is noted but not yet on the disk. A cheap clone.
#[derive(Clone)]
pub(super) struct Late {
    noted: Arc<Mutex<Noted>>,
    /// The queue holds the request, which holds this.
    writes: Weak<Queue>,
}

#[derive(Default)]
struct Noted {
    seen: HashMap<BareJid, LastSeen>,
    /// A request to write them waits or is at it.
    queued: bool,
}

impl Late {
    pub(super) fn new(writes: &Arc<Queue>) -> Late {
        Late {
            noted: Arc::default(),
            writes: Arc::downgrade(writes),
        }
    }

    /// Notes when an account was last seen.
    pub(super) fn note(&self, account: &BareJid, seen: LastSeen) -> Result<(), StorageError> {
        let mut noted = self.noted.lock();
        noted.seen.insert(account.clone(), seen);
        self.queue(&mut noted).map_err(|refused| match refused {
            Refused::Busy => StorageError::Busy { what: WHAT },
            Refused::Closed => StorageError::Closed { what: WHAT },
        })
    }

    /// What is noted of an account and not yet on the disk.
    pub(super) fn get(&self, account: &BareJid) -> Option<LastSeen> {
        self.noted.lock().seen.get(account).cloned()
    }

    /// Something newer is to be written of an account, or nothing.
    pub(super) fn forget(&self, account: &BareJid) {
        self.noted.lock().seen.remove(account);
    }

    fn queue(&self, noted: &mut Noted) -> Result<(), Refused> {
        if !noted.queued && !noted.seen.is_empty() {
            let writes = self.writes.upgrade().ok_or(Refused::Closed)?;
            writes.push_later(Box::new(Write {
                late: self.clone(),
                writing: Vec::new(),
                done: false,
            }))?;
            noted.queued = true;
        }
        Ok(())
    }
}

/// Writes what is noted when it runs.
struct Write {
    late: Late,
    writing: Vec<(BareJid, LastSeen)>,
    done: bool,
}

impl Job for Write {
    fn what(&self) -> &'static str {
        WHAT
    }

    fn is_long(&self) -> bool {
        false
    }

    fn begin(&self) -> bool {
        true
    }

    fn run(&mut self, connection: &mut Connection) -> Result<(), StorageError> {
        let noted = self.late.noted.lock();
        self.writing = noted
            .seen
            .iter()
            .map(|(account, seen)| (account.clone(), seen.clone()))
            .collect();
        drop(noted);
        for (account, seen) in &self.writing {
            personal::remember(connection, account, seen).map_err(|failure| failure.of(WHAT))?;
        }
        Ok(())
    }

    fn answer(mut self: Box<Self>, outcome: Result<(), StorageError>) {
        match outcome {
            Ok(()) => self.done = true,
            Err(error) => {
                let accounts = self.writing.len();
                tracing::warn!(target: "natter::storage", accounts, %error, "last activity not written yet");
            }
        }
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        let mut noted = self.late.noted.lock();
        if self.done {
            for (account, seen) in &self.writing {
                // What was noted since is to be written yet.
                if noted.seen.get(account) == Some(seen) {
                    noted.seen.remove(account);
                }
            }
        }
        noted.queued = false;
        // A queue that is closed takes nothing; the store has stopped.
        let _ = self.late.queue(&mut noted);
    }
}
