//! Parcels that cannot be lost: an [`Envelope`] is either taken, handed back, or in its [`DeadLetterBox`].

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// A payload that goes to its dead-letter box if nobody takes it.
///
/// Whoever takes final responsibility for the payload calls [`take`](Envelope::take). Until then dropping the
/// envelope, in whatever way (a panic, a kill, a stop, a forgotten branch), puts the payload into the box.
#[must_use = "an envelope dropped untaken goes to its dead-letter box"]
pub struct Envelope<P> {
    payload: Option<P>,
    bytes: usize,
    dead: DeadLetterBox<P>,
    /// It came out of the box and goes back to its front.
    returned: bool,
}

impl<P> Envelope<P> {
    /// Puts `payload`, which counts as `bytes` bytes in a mailbox, into an envelope that falls into `dead`.
    pub fn new(payload: P, bytes: usize, dead: &DeadLetterBox<P>) -> Envelope<P> {
        Envelope {
            payload: Some(payload),
            bytes,
            dead: dead.clone(),
            returned: false,
        }
    }

    /// Takes the payload out: from here on the taker answers for it.
    pub fn take(mut self) -> P {
        self.payload.take().expect("an envelope is taken once")
    }

    /// The payload.
    pub fn get(&self) -> &P {
        self.payload.as_ref().expect("an envelope is taken once")
    }

    /// The payload, to be changed.
    pub fn get_mut(&mut self) -> &mut P {
        self.payload.as_mut().expect("an envelope is taken once")
    }

    /// How many bytes it counts as in a mailbox.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl<P> Drop for Envelope<P> {
    fn drop(&mut self) {
        if let Some(payload) = self.payload.take() {
            self.dead.put(payload, self.bytes, self.returned);
        }
    }
}

impl<P: fmt::Debug> fmt::Debug for Envelope<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Envelope").field(&self.payload).finish()
    }
}

struct Letters<P> {
    queue: Mutex<VecDeque<(P, usize)>>,
    arrived: Notify,
}

/// Where envelopes fall that nobody took. It outlives the process that reads it.
///
/// It is bounded by what feeds it: the mailboxes and hands that held the envelopes were.
pub struct DeadLetterBox<P>(Arc<Letters<P>>);

impl<P> DeadLetterBox<P> {
    /// Makes an empty box.
    pub fn new() -> DeadLetterBox<P> {
        DeadLetterBox(Arc::new(Letters {
            queue: Mutex::new(VecDeque::new()),
            arrived: Notify::new(),
        }))
    }

    /// Waits for the oldest letter. It is still in its envelope: a reader that ends before it takes the letter
    /// puts it back, at the front. Safe to drop while waiting.
    pub async fn next(&self) -> Envelope<P> {
        loop {
            let arrived = self.0.arrived.notified();
            if let Some(envelope) = self.try_next() {
                return envelope;
            }
            arrived.await;
        }
    }

    /// Waits until there is a letter, and takes none. Safe to drop while waiting.
    pub async fn filled(&self) {
        loop {
            let arrived = self.0.arrived.notified();
            if !self.is_empty() {
                // The turn is that of who takes.
                self.0.arrived.notify_one();
                return;
            }
            arrived.await;
        }
    }

    /// The oldest letter, if there is one.
    pub fn try_next(&self) -> Option<Envelope<P>> {
        let (payload, bytes) = self.0.queue.lock().pop_front()?;
        Some(Envelope {
            payload: Some(payload),
            bytes,
            dead: self.clone(),
            returned: true,
        })
    }

    /// How many letters lie in it.
    pub fn len(&self) -> usize {
        self.0.queue.lock().len()
    }

    /// Tells whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn put(&self, payload: P, bytes: usize, front: bool) {
        let mut queue = self.0.queue.lock();
        if front {
            queue.push_front((payload, bytes));
        } else {
            queue.push_back((payload, bytes));
        }
        drop(queue);
        self.0.arrived.notify_one();
    }
}

impl<P> Clone for DeadLetterBox<P> {
    fn clone(&self) -> Self {
        DeadLetterBox(self.0.clone())
    }
}

impl<P> Default for DeadLetterBox<P> {
    fn default() -> Self {
        DeadLetterBox::new()
    }
}

impl<P> fmt::Debug for DeadLetterBox<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeadLetterBox({})", self.len())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn what_is_taken_is_no_dead_letter() {
        let dead = DeadLetterBox::new();
        let mut envelope = Envelope::new("a".to_owned(), 7, &dead);
        envelope.get_mut().push('!');
        assert_eq!((envelope.get().as_str(), envelope.bytes()), ("a!", 7));
        assert_eq!(envelope.take(), "a!");
        assert!(dead.is_empty());
    }

    #[test]
    fn what_is_dropped_is_one() {
        let dead = DeadLetterBox::new();
        drop(Envelope::new(1, 10, &dead));
        drop(Envelope::new(2, 20, &dead));
        assert_eq!(dead.len(), 2);
        let first = dead.try_next().expect("two are there");
        assert_eq!((*first.get(), first.bytes()), (1, 10));
    }

    #[test]
    fn a_letter_read_but_not_taken_goes_back_to_the_front() {
        let dead = DeadLetterBox::new();
        drop(Envelope::new(1, 1, &dead));
        drop(Envelope::new(2, 1, &dead));
        drop(dead.next().now_or_never());
        let order: Vec<i32> = std::iter::from_fn(|| dead.try_next().map(Envelope::take)).collect();
        assert_eq!(order, [1, 2]);
    }

    #[tokio::test]
    async fn who_waits_for_a_letter_without_taking_it_leaves_the_turn() {
        let dead = DeadLetterBox::new();
        let mut filled = Box::pin(dead.filled());
        let mut next = Box::pin(dead.next());
        assert!(filled.as_mut().now_or_never().is_none());
        assert!(next.as_mut().now_or_never().is_none());
        drop(Envelope::new(1, 1, &dead));
        assert!(filled.as_mut().now_or_never().is_some());
        assert_eq!(next.now_or_never().expect("its turn").take(), 1);
    }

    #[tokio::test]
    async fn readers_wait_and_one_that_goes_away_takes_no_turn() {
        let dead = DeadLetterBox::new();
        let mut gone = Box::pin(dead.next());
        let mut waits = Box::pin(dead.next());
        assert!(gone.as_mut().now_or_never().is_none());
        assert!(waits.as_mut().now_or_never().is_none());
        drop(Envelope::new(1, 1, &dead));
        drop(gone);
        let letter = waits.now_or_never().expect("the turn passed on");
        assert_eq!(letter.take(), 1);
    }
}
