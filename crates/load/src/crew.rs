//! Many sessions driven at once, until their common work is done.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::failure::Failure;
use crate::session::Session;

/// Whether the common work is done.
#[derive(Default)]
pub struct Finish {
    done: Cell<bool>,
    failure: RefCell<Option<Failure>>,
    wake: Notify,
}

impl Finish {
    /// Work that is not done.
    pub fn new() -> Rc<Finish> {
        Rc::new(Finish::default())
    }

    /// Says that the work is done.
    pub fn done(&self) {
        self.done.set(true);
        self.wake.notify_waiters();
    }

    /// Whether it is.
    pub fn is_done(&self) -> bool {
        self.done.get()
    }

    fn fail(&self, failure: Failure) {
        self.failure.borrow_mut().get_or_insert(failure);
        self.done();
    }
}

/// Counts down to the end of the work.
pub struct Countdown {
    left: Cell<u64>,
    all: u64,
    finish: Rc<Finish>,
}

impl Countdown {
    /// Ends `finish` after `all` steps.
    pub fn new(all: u64, finish: &Rc<Finish>) -> Countdown {
        if all == 0 {
            finish.done();
        }
        Countdown {
            left: Cell::new(all),
            all,
            finish: finish.clone(),
        }
    }

    /// One step is made.
    pub fn step(&self) {
        let left = self.left.get().saturating_sub(1);
        self.left.set(left);
        if left == 0 {
            self.finish.done();
        }
    }

    /// How many steps were made.
    pub fn made(&self) -> u64 {
        self.all - self.left.get()
    }
}

/// Drives `sessions` until `finish` is done, and gives them back in order. `each` gets the session's number, a stanza
/// that came, and a place for what the session is to send.
///
/// # Errors
///
/// What `each` says, a connection that ends, or a sentence when nothing was heard at all for `silence`.
pub async fn drive<F>(
    sessions: Vec<Session>,
    finish: &Rc<Finish>,
    silence: Duration,
    each: F,
) -> Result<Vec<Session>, Failure>
where
    F: Fn(usize, &[u8], &mut Vec<u8>) -> Result<(), Failure> + 'static,
{
    let heard = Rc::new(Cell::new(0_u64));
    let each = Rc::new(each);
    let mut running = JoinSet::new();
    let count = sessions.len();
    for (number, mut session) in sessions.into_iter().enumerate() {
        let (finish, heard, each) = (finish.clone(), heard.clone(), each.clone());
        running.spawn_local(async move {
            let mut take = |stanza: &[u8], out: &mut Vec<u8>| {
                heard.set(heard.get() + 1);
                each(number, stanza, out)
            };
            let finished = finish.wake.notified();
            tokio::pin!(finished);
            let failure = poll_fn(|cx| {
                let end = finished.as_mut().poll(cx).is_ready() || finish.is_done();
                match session.poll_drive(cx, &mut take) {
                    Poll::Ready(failure) => Poll::Ready(Some(failure)),
                    Poll::Pending if end || finish.is_done() => Poll::Ready(None),
                    Poll::Pending => Poll::Pending,
                }
            })
            .await;
            if let Some(failure) = failure {
                finish.fail(failure.while_doing(&session.jid));
            }
            (number, session)
        });
    }
    let mut back: Vec<Option<Session>> = (0..count).map(|_| None).collect();
    let mut before = heard.get();
    let mut deadline = Instant::now() + silence;
    loop {
        tokio::select! {
            ended = running.join_next() => match ended {
                Some(Ok((number, session))) => back[number] = Some(session),
                Some(Err(error)) => {
                    finish.fail(Failure::new(format!("a client of ours fell: {error}")));
                }
                None => break,
            },
            () = sleep_until(deadline) => {
                if heard.get() == before {
                    finish.fail(Failure::new(format!(
                        "nothing was heard of the server for {} s; {before} stanzas came before",
                        silence.as_secs()
                    )));
                }
                before = heard.get();
                deadline = Instant::now() + silence;
            }
        }
    }
    match finish.failure.borrow_mut().take() {
        Some(failure) => Err(failure),
        None => Ok(back.into_iter().flatten().collect()),
    }
}
