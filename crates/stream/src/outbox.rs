//! What waits to be written to one peer: a queue bounded by bytes, shared by the session's process
//! (which fills it) and its IO task (which empties it).
//!
//! Invariant: `bytes` is the sum of the sizes in `waiting` and `leaving`; an envelope leaves either
//! taken, because its bytes were written, or whole.

use std::collections::VecDeque;

use bytes::Bytes;
use otp::Envelope;
use xmpp::StreamError;

use crate::Outbound;
use crate::handle::Proceed;

/// One entry of the queue.
pub(crate) enum Item<P> {
    /// A stream-level thing nobody waits for.
    Plain(Outbound),
    /// A parcel and its rendering.
    Parcel(Envelope<P>, Bytes),
}

impl<P> Item<P> {
    fn size(&self) -> usize {
        match self {
            Item::Plain(Outbound::Element(bytes)) | Item::Parcel(_, bytes) => bytes.len(),
            Item::Plain(_) => 0,
        }
    }
}

/// How far an ordered end has come.
pub(crate) enum Closing {
    /// Nobody ordered one.
    No,
    /// What waits is held back; the error and the closing tag follow what has begun to leave.
    Cut(Option<StreamError>),
    /// Whatever waits or leaves now is the last.
    Last,
}

/// The queue's state, kept behind one lock.
pub(crate) struct Outbox<P> {
    // Dropped in this order, which is the order of the parcels.
    /// Items the transport has framed and that have not left entirely.
    leaving: VecDeque<Item<P>>,
    waiting: VecDeque<Item<P>>,
    /// Parcels that will not be written any more; the session's to drain.
    held: VecDeque<Item<P>>,
    bytes: usize,
    limit: usize,
    /// Orders for the IO task.
    pub(crate) orders: VecDeque<Proceed>,
    pub(crate) closing: Closing,
    /// Nothing is accepted any more: the stream closes or is gone.
    pub(crate) refusing: bool,
    /// The session took its parcels back: nothing may be written any more.
    pub(crate) drained: bool,
}

impl<P: Send + 'static> Outbox<P> {
    /// An empty queue for at most `limit` bytes of parcels.
    pub(crate) fn new(limit: usize) -> Self {
        Outbox {
            waiting: VecDeque::new(),
            held: VecDeque::new(),
            leaving: VecDeque::new(),
            bytes: 0,
            limit,
            orders: VecDeque::new(),
            closing: Closing::No,
            refusing: false,
            drained: false,
        }
    }

    /// Bytes waiting or leaving.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether something waits to be framed.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Queues a stream-level thing; false when the stream takes nothing any more.
    pub(crate) fn push(&mut self, item: Outbound) -> bool {
        if self.refusing {
            return false;
        }
        self.add(Item::Plain(item));
        true
    }

    /// Queues a parcel, or hands it back when that would exceed the limit or the stream takes
    /// nothing any more. A parcel above the limit is taken by an empty queue.
    pub(crate) fn offer(
        &mut self,
        parcel: Envelope<P>,
        rendered: Bytes,
    ) -> Result<(), Envelope<P>> {
        let full = self.bytes > 0 && self.bytes.saturating_add(rendered.len()) > self.limit;
        if self.refusing || full {
            return Err(parcel);
        }
        self.add(Item::Parcel(parcel, rendered));
        Ok(())
    }

    fn add(&mut self, item: Item<P>) {
        self.bytes += item.size();
        self.waiting.push_back(item);
    }

    /// Moves the next waiting item to those leaving and shows it for framing.
    pub(crate) fn begin_next(&mut self, frame: impl FnOnce(&Outbound)) -> bool {
        let Some(item) = self.waiting.pop_front() else {
            return false;
        };
        match &item {
            Item::Plain(outbound) => frame(outbound),
            Item::Parcel(_, bytes) => frame(&Outbound::Element(bytes.clone())),
        }
        self.leaving.push_back(item);
        true
    }

    /// The first `count` leaving items have left: what their parcels carried goes to `written`.
    pub(crate) fn finish(&mut self, count: u64, written: &mut Vec<P>) {
        for _ in 0..count {
            let item = self
                .leaving
                .pop_front()
                .expect("only what was framed leaves");
            self.bytes -= item.size();
            if let Item::Parcel(parcel, _) = item {
                written.push(parcel.take());
            }
        }
        if self.bytes == 0 && self.waiting.is_empty() && self.leaving.is_empty() {
            self.waiting = VecDeque::new();
            self.leaving = VecDeque::new();
        }
    }

    /// The last `count` leaving items were taken back by the transport and wait again.
    pub(crate) fn retract(&mut self, count: u64) {
        for _ in 0..count {
            let item = self
                .leaving
                .pop_back()
                .expect("only what was framed is taken back");
            self.waiting.push_front(item);
        }
    }

    /// Orders the end: everything queued so far, then `error`, then the closing tag.
    pub(crate) fn close(&mut self, error: Option<StreamError>) {
        if self.refusing {
            return;
        }
        self.add_goodbye(error);
        self.closing = Closing::Last;
        self.refusing = true;
    }

    /// Orders the end without what has not begun to leave. Of several orders the first holds.
    pub(crate) fn cut(&mut self, error: Option<StreamError>) {
        if matches!(self.closing, Closing::No) && !self.drained {
            self.closing = Closing::Cut(error);
        }
        self.refusing = true;
    }

    /// Carries out a cut, after the transport took back what it could.
    pub(crate) fn hold_back(&mut self) {
        if let Closing::Cut(error) = std::mem::replace(&mut self.closing, Closing::Last) {
            self.held = std::mem::take(&mut self.waiting);
            self.bytes -= self.held.iter().map(Item::size).sum::<usize>();
            self.add_goodbye(error);
        }
    }

    fn add_goodbye(&mut self, error: Option<StreamError>) {
        if let Some(error) = error {
            self.add(Item::Plain(Outbound::Error(error)));
        }
        self.add(Item::Plain(Outbound::Close));
    }

    /// Whether the last word has left.
    pub(crate) fn is_said(&self) -> bool {
        matches!(self.closing, Closing::Last) && self.waiting.is_empty() && self.leaving.is_empty()
    }

    /// Gives the parcels that a cut held back, in order.
    pub(crate) fn held_back(&mut self) -> Vec<Envelope<P>> {
        parcels(std::mem::take(&mut self.held)).collect()
    }

    /// Stops everything and gives the parcels that were not written, in order.
    pub(crate) fn drain(&mut self) -> Vec<Envelope<P>> {
        self.refusing = true;
        self.drained = true;
        self.bytes = 0;
        let leaving = std::mem::take(&mut self.leaving).into_iter();
        let rest = leaving
            .chain(std::mem::take(&mut self.waiting))
            .chain(std::mem::take(&mut self.held));
        parcels(rest).collect()
    }
}

/// The parcels among items.
fn parcels<P>(items: impl IntoIterator<Item = Item<P>>) -> impl Iterator<Item = Envelope<P>> {
    items.into_iter().filter_map(|item| match item {
        Item::Parcel(parcel, _) => Some(parcel),
        Item::Plain(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use otp::DeadLetterBox;

    fn outbox(limit: usize, sizes: &[usize]) -> (Outbox<usize>, DeadLetterBox<usize>) {
        let (mut outbox, dead) = (Outbox::new(limit), DeadLetterBox::new());
        for (number, size) in sizes.iter().enumerate() {
            let parcel = Envelope::new(number, *size, &dead);
            let taken = outbox.offer(parcel, Bytes::from(vec![b'x'; *size]));
            assert!(taken.is_ok(), "parcel {number}");
        }
        (outbox, dead)
    }

    fn numbers(parcels: Vec<Envelope<usize>>) -> Vec<usize> {
        parcels.into_iter().map(Envelope::take).collect()
    }

    #[test]
    fn a_full_queue_hands_back_and_one_parcel_always_fits() {
        let (mut outbox, dead) = outbox(10, &[25]);
        let second = Envelope::new(1, 1, &dead);
        let back = outbox
            .offer(second, Bytes::from_static(b"y"))
            .expect_err("full");
        assert_eq!(back.take(), 1);
        assert_eq!(outbox.bytes(), 25);
        assert!(outbox.begin_next(|_| {}));
        outbox.finish(1, &mut Vec::new());
        assert_eq!(outbox.bytes(), 0);
        assert!(dead.is_empty());
    }

    #[test]
    fn what_left_is_taken_and_the_rest_drained_in_order() {
        let (mut outbox, dead) = outbox(100, &[1, 2, 3, 4]);
        for _ in 0..3 {
            outbox.begin_next(|_| {});
        }
        let mut left = Vec::new();
        outbox.finish(1, &mut left);
        assert_eq!(left, [0]);
        outbox.retract(1);
        assert_eq!(outbox.bytes(), 9);
        assert_eq!(numbers(outbox.drain()), [1, 2, 3]);
        assert!(
            !outbox.push(Outbound::Close),
            "a drained queue takes nothing"
        );
        assert!(dead.is_empty());
    }

    #[test]
    fn a_cut_says_goodbye_and_holds_the_rest_back() {
        let (mut outbox, _dead) = outbox(100, &[1, 2, 3]);
        outbox.begin_next(|_| {});
        outbox.cut(None);
        outbox.hold_back();
        assert!(!outbox.is_said());
        let mut framed = Vec::new();
        while outbox.begin_next(|item| framed.push(format!("{item:?}"))) {}
        assert_eq!(framed, ["Close"]);
        outbox.finish(2, &mut Vec::new());
        assert!(outbox.is_said());
        assert_eq!(numbers(outbox.drain()), [1, 2]);
    }

    #[tokio::test]
    async fn a_dropped_queue_falls_into_the_box_in_order() {
        let (mut outbox, dead) = outbox(100, &[1, 1, 1, 1]);
        outbox.begin_next(|_| {});
        outbox.begin_next(|_| {});
        drop(outbox);
        for number in 0..4 {
            assert_eq!(dead.next().await.take(), number);
        }
        assert!(dead.is_empty());
    }
}
