//! What a room says, in the order of what it heard: sent in slices, held back behind what is being stored.
//!
//! A room answers at once and sends later. A message that has to be on the disk first stands in the queue as
//! [`Out::Stored`]; all that comes behind it waits, so that nobody hears things in another order than they happened.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use router::{Outcome, Receipt};
use xmpp::{Jid, Stanza};

use crate::history::{Past, Wanted};
use crate::occupants::Hearers;

/// Something that a room sends or does when its turn comes.
pub(crate) enum Out {
    /// To one, with all addresses.
    One(Stanza),
    /// To many.
    Many(Many),
    /// Goes on when the write of that number is known to be on the disk, or not.
    Stored {
        number: u64,
        then: Vec<Out>,
        otherwise: Vec<Out>,
    },
    /// The message now belongs to the past.
    Remember(Past),
    /// A message of the past was taken back.
    Forget(String),
    /// The subject is this one now.
    Subject(Option<(Stanza, SystemTime)>),
    /// Somebody who came is told what was said, and the subject last.
    Past(Jid, Wanted),
    /// Somebody's stanza met its end.
    Settle(Receipt, Outcome),
}

/// One stanza for many: each hears it with a start tag of its own.
#[derive(Clone)]
pub(crate) struct Many {
    /// Without `to`.
    pub(crate) stanza: Stanza,
    pub(crate) hearers: Hearers,
    /// Where in `hearers` the next stands.
    pub(crate) next: usize,
    /// Who of them does not hear it.
    pub(crate) except: Hearers,
}

impl Many {
    pub(crate) fn to(stanza: Stanza, hearers: Hearers) -> Out {
        Many::but(stanza, hearers, Arc::new([]))
    }

    pub(crate) fn but(stanza: Stanza, hearers: Hearers, except: Hearers) -> Out {
        Out::Many(Many {
            stanza,
            hearers,
            next: 0,
            except,
        })
    }

    /// Those who hear it, from the next on.
    pub(crate) fn rest(&self) -> impl Iterator<Item = &Arc<Jid>> {
        self.hearers[self.next..]
            .iter()
            .filter(|to| !self.except.iter().any(|but| Arc::ptr_eq(but, to)))
    }
}

/// The queue.
#[derive(Default)]
pub(crate) struct Outbox {
    queue: VecDeque<Out>,
    /// How many deliveries wait.
    waiting: usize,
    next_write: u64,
    /// A message to go on is under way.
    pub(crate) awake: bool,
}

/// What the outbox wants done next.
pub(crate) enum Next {
    /// This, whole.
    Do(Out),
    /// Nothing before the store has answered.
    Wait,
    /// Nothing.
    Empty,
}

impl Outbox {
    pub(crate) fn push(&mut self, out: Out) {
        self.waiting += weight(&out);
        self.queue.push_back(out);
    }

    /// A number for a write.
    pub(crate) fn number(&mut self) -> u64 {
        self.next_write += 1;
        self.next_write
    }

    /// A write is done, or failed: what waited for it takes its place.
    pub(crate) fn written(&mut self, number: u64, ok: bool) {
        let is_it = |out: &Out| matches!(out, Out::Stored { number: n, .. } if *n == number);
        let Some(at) = self.queue.iter().position(is_it) else {
            return;
        };
        let mut rest = self.queue.split_off(at);
        if let Some(Out::Stored {
            then, otherwise, ..
        }) = rest.pop_front()
        {
            let (now, never) = if ok {
                (then, otherwise)
            } else {
                (otherwise, then)
            };
            self.waiting -= never.iter().map(weight).sum::<usize>();
            self.queue.extend(now);
        }
        self.queue.append(&mut rest);
    }

    /// Up to `most` deliveries of what is next.
    pub(crate) fn next(&mut self, most: usize) -> Next {
        match self.queue.front_mut() {
            None => Next::Empty,
            Some(Out::Stored { .. }) => Next::Wait,
            Some(Out::Many(many)) if many.hearers.len() - many.next > most => {
                let slice = Many {
                    hearers: many.hearers[many.next..many.next + most].into(),
                    next: 0,
                    ..many.clone()
                };
                many.next += most;
                self.waiting -= most;
                Next::Do(Out::Many(slice))
            }
            Some(_) => {
                let out = self.queue.pop_front().expect("there is a front");
                self.waiting -= weight(&out);
                Next::Do(out)
            }
        }
    }

    /// All of it, to be put elsewhere.
    pub(crate) fn into_outs(self) -> VecDeque<Out> {
        self.queue
    }

    /// How many deliveries wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

fn weight(out: &Out) -> usize {
    match out {
        Out::One(_) => 1,
        Out::Many(many) => many.hearers.len() - many.next,
        Out::Stored {
            then, otherwise, ..
        } => then.iter().chain(otherwise).map(weight).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stanza(id: &str) -> Stanza {
        Stanza::parse(&format!("<message id='{id}'/>")).expect("a message")
    }

    fn hearers(count: usize) -> Hearers {
        let jid = |n| Arc::new(Jid::new(&format!("u{n}@x/1")).expect("an address"));
        (0..count).map(jid).collect()
    }

    fn drain(outbox: &mut Outbox, most: usize) -> String {
        let mut seen = Vec::new();
        loop {
            match outbox.next(most) {
                Next::Do(Out::One(stanza)) => seen.push(stanza.id().unwrap_or("").to_owned()),
                Next::Do(Out::Many(many)) => {
                    let id = many.stanza.id().unwrap_or("").to_owned();
                    seen.push(format!("{id}x{}", many.rest().count()));
                }
                Next::Do(_) => {}
                Next::Wait => {
                    seen.push("wait".into());
                    break;
                }
                Next::Empty => break,
            }
        }
        seen.join(" ")
    }

    #[test]
    fn nothing_passes_what_is_being_stored() {
        let mut outbox = Outbox::default();
        outbox.push(Out::One(stanza("a")));
        let (first, second) = (outbox.number(), outbox.number());
        for (number, id) in [(first, "b"), (second, "c")] {
            outbox.push(Out::Stored {
                number,
                then: vec![Many::to(stanza(id), hearers(2))],
                otherwise: vec![Out::One(stanza("error"))],
            });
        }
        outbox.push(Out::One(stanza("d")));
        assert_eq!(drain(&mut outbox, 10), "a wait");
        outbox.written(second, true);
        assert_eq!(drain(&mut outbox, 10), "wait");
        outbox.written(first, false);
        assert_eq!(drain(&mut outbox, 10), "error cx2 d");
        assert_eq!(outbox.waiting(), 0);
        assert!(outbox.is_empty());
    }

    #[test]
    fn many_are_served_in_slices() {
        let mut outbox = Outbox::default();
        let all = hearers(7);
        let except: Hearers = all[1..2].into();
        outbox.push(Many::but(stanza("m"), all, except));
        assert_eq!(outbox.waiting(), 7);
        assert_eq!(drain(&mut outbox, 3), "mx2 mx3 mx1");
        assert_eq!(outbox.waiting(), 0);
    }
}
