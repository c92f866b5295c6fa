//! Handing out the offline queue: page by page, each message forgotten once it was written.
//!
//! A message leaves the store only after its bytes left for the client; one whose session ends before
//! stays there. While the queue is handed out, live messages wait behind it in the session.

use std::sync::Arc;

use otp::Pid;
use parking_lot::Mutex;
use router::{Accountant, Folded, Outcome, Receipt, Router};
use xmpp::BareJid;

use crate::c2s::{C2s, Cast};
use crate::hooks::{OfflineDelivered, OfflinePage, Waiting};
use crate::table::Entry;

/// How often in a row a queue that cannot be read is read again before live messages wait for it no longer.
const TRIES: u32 = 30;

/// The queue could not be read. What stands in it stays there.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// It is to be tried again.
    ForNow,
    /// It was tried too often.
    ForLong,
}

/// How far a session has handed out the queue.
#[derive(Default)]
pub(crate) struct Flush {
    /// The place of the last message that is settled.
    after: Option<i64>,
    /// More was stored meanwhile: the queue is read once more at its end.
    pub(crate) again: bool,
    /// It was at its end, and nothing more is stored but what is on its way there: that is waited for.
    pub(crate) waits: bool,
    /// How often in a row it could not be read.
    failed: u32,
}

impl Flush {
    /// The next messages, oldest first.
    ///
    /// # Errors
    ///
    /// The queue could not be read; it then waits to be looked into again, if that is worth it.
    pub(crate) async fn fetch(
        &mut self,
        router: &Router,
        account: &BareJid,
    ) -> Result<Vec<Waiting>, Unreadable> {
        let fold = OfflinePage {
            account: account.clone(),
            after: self.after,
            page: Vec::new(),
            unreadable: false,
        };
        let page = match router.fold_wait(fold).await {
            Folded::Done(fold) | Folded::Stopped(fold) if !fold.unreadable => Some(fold.page),
            Folded::Dropped => Some(Vec::new()),
            Folded::Done(_) | Folded::Stopped(_) | Folded::Denied => None,
        };
        match page {
            Some(page) => {
                self.failed = 0;
                Ok(page)
            }
            None if self.failed < TRIES => {
                self.failed += 1;
                self.waits = true;
                Err(Unreadable::ForNow)
            }
            None => Err(Unreadable::ForLong),
        }
    }

    /// Whether more was stored meanwhile; if so, reads on from the front, where it may stand.
    pub(crate) fn has_more(&mut self) -> bool {
        let again = self.again;
        if again {
            *self = Flush::default();
        }
        again
    }

    /// Forgets in the store what was written of the session's page.
    pub(crate) async fn settle_page(&mut self, router: &Router, entry: &Entry) {
        // What was not written is read again: the next page begins behind the last written message.
        self.after = settle_page(router, entry).await.or(self.after);
    }
}

/// Forgets in the store what was written of a session's page, in the session or, when that fell, for
/// it. Gives the place of the last message that was written.
pub(crate) async fn settle_page(router: &Router, entry: &Entry) -> Option<i64> {
    // Kept until it is done: who falls in the middle of it leaves it to another.
    let page = entry.page().lock().clone()?;
    let places = page.written();
    let last = places.last().copied();
    if last.is_some() {
        let fold = OfflineDelivered {
            account: entry.jid.to_bare(),
            places,
        };
        let _ = router.fold_wait(fold).await;
    }
    *entry.page().lock() = None;
    last
}

/// Messages of the queue on their way to the client.
pub(crate) struct Page {
    places: Vec<i64>,
    outcomes: Mutex<(Vec<Option<Outcome>>, usize)>,
    session: Pid<C2s>,
}

impl Page {
    pub(crate) fn new(places: Vec<i64>, session: Pid<C2s>) -> Arc<Page> {
        let open = places.len();
        Arc::new(Page {
            outcomes: Mutex::new((vec![None; open], open)),
            places,
            session,
        })
    }

    /// The receipt of the message with this number on the page.
    pub(crate) fn receipt(self: &Arc<Self>, number: usize) -> Receipt {
        Receipt::new(Arc::<Page>::clone(self), number as u64)
    }

    /// The places of the messages that were written without a gap before them.
    fn written(&self) -> Vec<i64> {
        let outcomes = self.outcomes.lock();
        let written = outcomes
            .0
            .iter()
            .take_while(|o| **o == Some(Outcome::Delivered));
        self.places
            .iter()
            .zip(written)
            .map(|(place, _)| *place)
            .collect()
    }

    fn settle(&self, number: u64, outcome: Outcome) {
        let all = {
            let mut outcomes = self.outcomes.lock();
            let slot = &mut outcomes.0[usize::try_from(number).expect("a number on the page")];
            if slot.replace(outcome).is_none() {
                outcomes.1 -= 1;
            }
            outcomes.1 == 0
        };
        if all {
            // A session that is gone settles the page at its end.
            let _ = self.session.cast(Cast::PageSettled);
        }
    }
}

impl Accountant for Page {
    fn resolved(&self, number: u64, outcome: Outcome) {
        self.settle(number, outcome);
    }

    fn lost(&self, number: u64) {
        self.settle(number, Outcome::Dropped);
    }
}
