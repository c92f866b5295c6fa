//! The offline queue in the session: when it is handed out, and what waits behind it.
//!
//! Order is kept for each sender. While it is the queue's turn, messages for the account are stored and not
//! given to the session ([`Entry::set_queueing`]); so they stand behind those that were stored before. What
//! the session was given until then is newer than what is stored and older than what will be: it waits for
//! all of that to come ([`Mark::Turned`], from itself, after others were told), stores it, and then hands out
//! the queue. The same is done when the session takes no messages any more. And nobody begins to hand out the
//! queue while another may still give messages back. What cannot be stored is held back until the end.
//!
//! [`Entry::set_queueing`]: crate::table::Entry::set_queueing

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use otp::Ctx;
use router::{Flags, Packet, Parcel};
use xmpp::Kind;

use super::receive::for_client;
use super::{C2s, Cast, Live, Mark};
use crate::flush::{Flush, Page, Unreadable};

/// After how long a queue that could not be read is looked into again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What a session has to do with the offline queue of its account, and what it holds back meanwhile.
#[derive(Default)]
pub(super) struct Queue {
    turn: Turn,
    /// In order, and what it weighs.
    held: VecDeque<Parcel>,
    held_bytes: usize,
}

/// Whose turn it is.
#[derive(Default)]
enum Turn {
    /// That of live messages.
    #[default]
    Live,
    /// Soon the queue's, or nobody's if the session takes no messages any more: it waits for this many
    /// [`Mark::Turned`], and for the last page that it handed out to be settled.
    Gather(usize, Option<Flush>),
    /// The queue's, once another session of the account is done with it.
    Wanted,
    /// The queue's.
    Flush(Flush),
}

impl Queue {
    /// Holds a parcel back.
    pub(super) fn hold(&mut self, parcel: Parcel) {
        self.held_bytes += parcel.bytes();
        self.held.push_back(parcel);
    }

    /// What the parcels held back weigh, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Lets go of what was held back, in order.
    pub(super) fn release(&mut self) -> VecDeque<Parcel> {
        self.held_bytes = 0;
        std::mem::take(&mut self.held)
    }

    /// Has the session tell itself, behind all that it was given.
    fn gather(&mut self, flush: Option<Flush>, ctx: &Ctx<C2s>) {
        self.turn = Turn::Gather(1, flush);
        // A process that ends meanwhile needs not hear it.
        let _ = ctx.pid().cast(Cast::Mark(Mark::Turned));
    }

    /// The queue that is being handed out.
    pub(super) fn flush(&mut self) -> Option<&mut Flush> {
        match &mut self.turn {
            Turn::Flush(flush) | Turn::Gather(_, Some(flush)) => Some(flush),
            Turn::Live | Turn::Wanted | Turn::Gather(_, None) => None,
        }
    }
}

impl Live {
    /// Whether a packet has to wait behind the offline queue. Answers of the account and of the server do
    /// not: the client may wait for them.
    pub(super) fn waits_its_turn(&self, packet: &Packet) -> bool {
        if matches!(self.queue.turn, Turn::Live) {
            return false;
        }
        let from = packet.from();
        let is_own = from.to_bare() == *self.account;
        let is_host = from.node().is_none() && from.domain() == self.account.domain();
        !is_own && !is_host
    }
}

impl C2s {
    /// Messages wait in the queue: it is its turn. Also when the session takes no messages any more: what it was
    /// given behind this word is newer than they are.
    pub(super) async fn look_into_queue(&mut self, ctx: &mut Ctx<Self>) {
        let Some(live) = &mut self.live else { return };
        if self.end.ordered {
            return;
        }
        match &mut live.queue.turn {
            Turn::Live => {
                live.entry.set_queueing(true);
                live.queue.gather(None, ctx);
            }
            // It will be looked into.
            Turn::Gather(..) => {}
            Turn::Wanted => self.begin_flush(ctx).await,
            Turn::Flush(flush) => {
                flush.again = true;
                if std::mem::take(&mut flush.waits) {
                    self.next_page(ctx).await;
                }
            }
        }
    }

    /// To be called when the session has shown how it is: when it takes no messages any more, the queue is
    /// another's, or waits.
    pub(super) fn stop_taking(&mut self, ctx: &Ctx<Self>) {
        let Some(live) = &mut self.live else { return };
        if live.entry.takes_messages() {
            return;
        }
        match std::mem::take(&mut live.queue.turn) {
            // Nothing is held back, so nothing can be overtaken.
            Turn::Live => {}
            Turn::Wanted => live.queue.gather(None, ctx),
            Turn::Flush(flush) => live.queue.gather(Some(flush), ctx),
            Turn::Gather(marks, flush) => {
                live.queue.gather(flush, ctx);
                if let Turn::Gather(all, _) = &mut live.queue.turn {
                    *all += marks;
                }
            }
        }
    }

    /// What was given to the session until it said that it is the queue's turn has come.
    pub(super) async fn turned(&mut self, ctx: &mut Ctx<Self>) {
        if let Some(live) = &mut self.live
            && let Turn::Gather(marks, _) = &mut live.queue.turn
        {
            *marks -= 1;
            self.gathered(ctx).await;
        }
    }

    /// Once all has come and the last page is settled: what can be stored is.
    async fn gathered(&mut self, ctx: &mut Ctx<Self>) {
        let Some(live) = &mut self.live else { return };
        let is_done = matches!(live.queue.turn, Turn::Gather(0, _));
        if self.end.ordered || !is_done || live.entry.page().lock().is_some() {
            return;
        }
        let (mut stored, mut left) = (Vec::new(), VecDeque::new());
        for parcel in live.queue.release() {
            let to_account = parcel.get().to().resource().is_none();
            if to_account && parcel.get().stanza.kind() == Kind::Message {
                stored.push(parcel);
            } else {
                left.push_back(parcel);
            }
        }
        for parcel in stored {
            // What the store does not take comes back.
            self.sessions.router.resend(parcel).await;
        }
        let had_flush = live.queue.flush().is_some();
        if had_flush && self.sessions.table.end_flush(&live.entry) {
            self.sessions.flush_offline(&live.account);
        }
        if live.entry.takes_messages() {
            live.queue.turn = Turn::Wanted;
            left.into_iter().for_each(|parcel| live.queue.hold(parcel));
            return self.begin_flush(ctx).await;
        }
        live.queue.turn = Turn::Live;
        for parcel in left {
            self.receive(parcel, ctx).await;
        }
    }

    /// Hands out the queue if no other session of the account does; else it is told when that is done.
    async fn begin_flush(&mut self, ctx: &mut Ctx<Self>) {
        let Some(live) = &mut self.live else { return };
        if self.sessions.table.begin_flush(&live.entry) {
            live.queue.turn = Turn::Flush(Flush::default());
            self.next_page(ctx).await;
        }
    }

    /// Hands out the next messages; at the end of the queue what was held back meanwhile follows.
    async fn next_page(&mut self, ctx: &mut Ctx<Self>) {
        loop {
            let Some(live) = &mut self.live else { return };
            let Turn::Flush(flush) = &mut live.queue.turn else {
                return;
            };
            let waiting = match flush.fetch(&self.sessions.router, &live.account).await {
                Ok(waiting) => waiting,
                Err(Unreadable::ForNow) => return look_again(ctx),
                Err(Unreadable::ForLong) => {
                    tracing::warn!(target: "natter::session", jid = %live.full, "the offline queue cannot be read: messages no longer wait for it");
                    live.entry.set_queueing(false);
                    return self.end_flush(ctx).await;
                }
            };
            if waiting.is_empty() {
                // From now on live messages come and are held back, so that this comes to an end.
                live.entry.set_queueing(false);
                if flush.has_more() {
                    continue;
                }
                if live.entry.awaits_stored() {
                    flush.waits = true;
                    return;
                }
                return self.end_flush(ctx).await;
            }
            let page = Page::new(waiting.iter().map(|w| w.place).collect(), ctx.pid().clone());
            *live.entry.page().lock() = Some(Arc::clone(&page));
            let mut taken = 0;
            let mut full = false;
            for (number, message) in waiting.into_iter().enumerate() {
                let mut packet = self.sessions.router.packet(message.stanza);
                packet.meta.flags.insert(Flags::FROM_OFFLINE);
                packet.receipt = page.receipt(number);
                let rendered = for_client(&packet.stanza);
                let parcel = packet.enclose(self.sessions.router.dead_letters());
                // What finds no room is read again when the rest is written, and so is all behind it,
                // though it be smaller: they arrive in order.
                let refused = if full {
                    Some(parcel)
                } else {
                    self.io.offer(parcel, rendered).err()
                };
                match refused {
                    None => taken += 1,
                    Some(parcel) => {
                        full = true;
                        parcel.take().drop_by_rule();
                    }
                }
            }
            if taken == 0 {
                self.overrun(ctx).await;
            }
            return;
        }
    }

    /// Every message of a page was written, or will not be.
    pub(super) async fn page_settled(&mut self, ctx: &mut Ctx<Self>) {
        let Some(live) = &mut self.live else { return };
        if self.end.ordered {
            return;
        }
        let Some(flush) = live.queue.flush() else {
            return;
        };
        flush.settle_page(&self.sessions.router, &live.entry).await;
        match live.queue.turn {
            Turn::Gather(..) => self.gathered(ctx).await,
            _ => self.next_page(ctx).await,
        }
    }

    async fn end_flush(&mut self, ctx: &mut Ctx<Self>) {
        let Some(live) = &mut self.live else { return };
        live.queue.turn = Turn::Live;
        if self.sessions.table.end_flush(&live.entry) {
            self.sessions.flush_offline(&live.account);
        }
        for parcel in live.queue.release() {
            // An overrun half-way holds the rest back again.
            self.receive(parcel, ctx).await;
        }
    }
}

/// Has the session look into the queue after a while.
fn look_again(ctx: &mut Ctx<C2s>) {
    let (after, me) = (ctx.clock().sleep(LOOK_AGAIN), ctx.pid().clone());
    ctx.spawn(async move {
        after.await;
        // A process that ends meanwhile needs not hear it.
        let _ = me.cast(Cast::Flush);
    });
}
