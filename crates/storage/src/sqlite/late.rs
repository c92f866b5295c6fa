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
    /// A request waits that will write all of them: what is noted from now on, too.
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
        self.noted.lock().seen.insert(account.clone(), seen);
        self.queue().map_err(|refused| match refused {
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

    /// Has it written what is noted. One that is refused, or lost with its thread, is made anew at the next note.
    fn queue(&self) -> Result<(), Refused> {
        let mut noted = self.noted.lock();
        if noted.queued || noted.seen.is_empty() {
            return Ok(());
        }
        noted.queued = true;
        drop(noted);
        let write = Write {
            late: self.clone(),
            writing: Vec::new(),
            begun: false,
        };
        // Nothing is locked here: a request that is refused is dropped, which locks.
        let writes = self.writes.upgrade().ok_or(Refused::Closed)?;
        writes.push_later(Box::new(write))
    }
}

/// Writes what is noted when it runs.
struct Write {
    late: Late,
    writing: Vec<(BareJid, LastSeen)>,
    begun: bool,
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
        let mut noted = self.late.noted.lock();
        // What is noted behind this is another request's.
        if !std::mem::replace(&mut self.begun, true) {
            noted.queued = false;
        }
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

    fn answer(self: Box<Self>, outcome: Result<(), StorageError>) {
        match outcome {
            Ok(()) => {
                let mut noted = self.late.noted.lock();
                for (account, seen) in &self.writing {
                    // What was noted since is to be written yet.
                    if noted.seen.get(account) == Some(seen) {
                        noted.seen.remove(account);
                    }
                }
            }
            Err(error) => {
                let accounts = self.writing.len();
                tracing::warn!(target: "natter::storage", accounts, %error, "last activity not written yet");
            }
        }
        let late = self.late.clone();
        drop(self);
        // A queue that is closed takes nothing more; the store has stopped.
        let _ = late.queue();
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        if !self.begun {
            self.late.noted.lock().queued = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::queue::Token;

    fn note(late: &Late, name: &str) -> Result<(), StorageError> {
        let account = BareJid::new(name).unwrap();
        let (at, status) = (std::time::UNIX_EPOCH, None);
        late.note(&account, LastSeen { at, status })
    }

    #[test]
    fn what_is_refused_is_tried_again_and_what_fails_stays() {
        let queue = Arc::new(Queue::new(8, 1 << 20));
        let late = Late::new(&queue);
        let token = Token::new();
        queue.close();
        let refused = Err(StorageError::Closed { what: WHAT });
        assert_eq!(note(&late, "a@a.example"), refused);
        assert_eq!(note(&late, "a@a.example"), refused);
        queue.open();
        assert_eq!(note(&late, "b@a.example"), Ok(()));
        let account = BareJid::new("a@a.example").unwrap();

        assert!(queue.wait(&token), "it comes by itself");
        let write = queue.take(&token, |_| true).unwrap();
        write.answer(Err(StorageError::Timeout {
            what: WHAT,
            after: std::time::Duration::ZERO,
        }));
        assert!(late.get(&account).is_some(), "it is not on the disk");

        assert!(queue.wait(&token), "it comes again");
        queue.close();
        let write = queue.take(&token, |_| true).unwrap();
        write.answer(Err(StorageError::Closed { what: WHAT }));
        assert!(late.get(&account).is_some(), "nobody takes it any more");
    }
}
