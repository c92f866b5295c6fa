//! What lies between a BOSH session and the transport of its c2s.
//!
//! An item counts as sent once the client has shown that it has the response which carried it: until then it can be
//! given back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use stream::{Limits, ResponseHeader, StreamHeader};
use xml::Element;
use xmpp::StreamError;

/// Elements of the client that may lie untaken before its requests are left waiting.
const HEARD: usize = 16;

/// What the client said.
#[derive(Debug)]
pub(super) enum Heard {
    Open(StreamHeader),
    Element(Element),
    Close,
}

/// What is said to the client.
#[derive(Debug)]
pub(super) enum Said {
    Open(ResponseHeader),
    /// An element that stands alone.
    Text(String),
    Error(StreamError),
    Close,
    /// Nothing that could be read.
    Nothing,
}

impl Said {
    fn len(&self) -> usize {
        match self {
            Said::Text(text) => text.len(),
            // Enough to be something.
            _ => 1,
        }
    }
}

/// What a response is to carry.
#[derive(Debug, Default)]
pub(super) struct Load {
    pub(super) text: String,
    /// How many items that is.
    pub(super) items: u64,
    /// The header of the session's first stream.
    pub(super) header: Option<ResponseHeader>,
    pub(super) error: Option<StreamError>,
    pub(super) end: Option<End>,
}

/// Why nothing follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The stream was closed.
    Closed,
    /// The c2s fell.
    Lost,
}

/// The wire.
pub(super) struct Wire(Mutex<Inner>);

/// Invariants: `ticking` from a tick until the session looks; `given` items have left `queue`, of which the client has
/// the first `sent`.
struct Inner {
    limits: Limits,
    tick: Option<Box<dyn Fn() + Send>>,
    ticking: bool,
    heard: VecDeque<Heard>,
    was_full: bool,
    task: Option<Waker>,
    queue: VecDeque<Said>,
    queued: usize,
    given: u64,
    sent: u64,
    header: Option<ResponseHeader>,
    /// The transport is gone: nothing more is said.
    over: bool,
    /// The session is gone: nothing more is heard, and what it has not is not sent any more.
    ended: bool,
    /// No request is there to carry the end of the stream, and none is coming.
    absent: bool,
}

impl Inner {
    fn tick(&mut self) {
        if !self.ticking
            && let Some(tick) = &self.tick
        {
            self.ticking = true;
            tick();
        }
    }

    /// Nothing more is said; of what waits, how it ended is left. The rest belongs to the c2s again.
    fn keep_the_end(&mut self) {
        self.over = true;
        self.queue
            .retain(|said| matches!(said, Said::Error(_) | Said::Close));
        self.queued = self.queue.len();
    }

    fn wake(&mut self) {
        // Kept: the task does not always come to poll again.
        if let Some(task) = &self.task {
            task.wake_by_ref();
        }
    }

    fn keep(&mut self, cx: &Context<'_>) {
        if !self
            .task
            .as_ref()
            .is_some_and(|task| task.will_wake(cx.waker()))
        {
            self.task = Some(cx.waker().clone());
        }
    }
}

impl Wire {
    /// A wire over which elements may cost so much.
    pub(super) fn new(limits: Limits) -> Arc<Wire> {
        Arc::new(Wire(Mutex::new(Inner {
            limits,
            tick: None,
            ticking: false,
            heard: VecDeque::new(),
            was_full: false,
            task: None,
            queue: VecDeque::new(),
            queued: 0,
            given: 0,
            sent: 0,
            header: None,
            over: false,
            ended: false,
            absent: false,
        })))
    }

    /// What one element may cost.
    pub(super) fn limits(&self) -> Limits {
        self.0.lock().limits
    }
}

// The session's end.
impl Wire {
    /// Calls `tick` when there is something to look at, once until it is looked at.
    pub(super) fn attach(&self, tick: impl Fn() + Send + 'static) {
        self.0.lock().tick = Some(Box::new(tick));
    }

    /// The session looks: the next change ticks again.
    pub(super) fn looked(&self) {
        self.0.lock().ticking = false;
    }

    pub(super) fn hear(&self, heard: Heard) {
        let mut inner = self.0.lock();
        inner.heard.push_back(heard);
        inner.wake();
    }

    /// Whether so much lies untaken that the client is not to be asked for more; a tick tells when it is not so any more.
    pub(super) fn is_full(&self) -> bool {
        let mut inner = self.0.lock();
        inner.was_full = inner.heard.len() >= HEARD;
        inner.was_full
    }

    /// Whether something is to be said, besides the header of a stream; or the transport is gone.
    pub(super) fn has_load(&self) -> bool {
        let inner = self.0.lock();
        inner.over
            || inner
                .queue
                .iter()
                .any(|said| !matches!(said, Said::Open(_)))
    }

    /// Whether the c2s waits for its last words to be carried.
    pub(super) fn is_closing(&self) -> bool {
        let inner = self.0.lock();
        !inner.over && inner.queue.iter().any(|said| matches!(said, Said::Close))
    }

    /// Nobody comes for the last words: the c2s is not to wait for it. What they say of the end stays for whoever asks
    /// later.
    pub(super) fn nobody_comes(&self) {
        let mut inner = self.0.lock();
        inner.absent = true;
        inner.keep_the_end();
        inner.wake();
    }

    /// Takes what is to be said.
    pub(super) fn take(&self) -> Load {
        let mut inner = self.0.lock();
        let mut load = Load {
            items: inner.queue.len() as u64,
            ..Load::default()
        };
        for said in std::mem::take(&mut inner.queue) {
            match said {
                Said::Open(header) => inner.header = inner.header.take().or(Some(header)),
                Said::Text(text) if load.text.is_empty() => load.text = text,
                Said::Text(text) => load.text.push_str(&text),
                Said::Error(error) => load.error = Some(error),
                Said::Close => load.end = Some(End::Closed),
                Said::Nothing => {}
            }
        }
        load.header = inner.header.clone();
        load.end = load.end.or(inner.over.then_some(End::Lost));
        inner.queued = 0;
        inner.given += load.items;
        inner.wake();
        load
    }

    /// The client has so many items more.
    pub(super) fn has(&self, items: u64) {
        let mut inner = self.0.lock();
        inner.sent += items;
        inner.wake();
    }

    /// The session is gone.
    pub(super) fn end(&self) {
        let mut inner = self.0.lock();
        inner.ended = true;
        inner.tick = None;
        inner.wake();
    }
}

// The transport's end.
impl Wire {
    pub(super) fn set_limits(&self, limits: Limits) {
        self.0.lock().limits = limits;
    }

    /// What the client said next; none at the end.
    pub(super) fn poll_heard(&self, cx: &mut Context<'_>) -> Poll<Option<Heard>> {
        let mut inner = self.0.lock();
        match inner.heard.pop_front() {
            Some(heard) => {
                if inner.was_full && inner.heard.len() < HEARD {
                    inner.was_full = false;
                    inner.tick();
                }
                Poll::Ready(Some(heard))
            }
            None if inner.ended => Poll::Ready(None),
            None => {
                inner.keep(cx);
                Poll::Pending
            }
        }
    }

    /// Has something said behind what waits.
    pub(super) fn say(&self, said: Said) {
        let mut inner = self.0.lock();
        inner.queued += said.len();
        inner.queue.push_back(said);
    }

    /// Waits until responses have carried more than `known` items, or nothing waits; how many they have. None when the
    /// session is gone before.
    pub(super) fn poll_given(&self, known: u64, cx: &mut Context<'_>) -> Poll<Option<u64>> {
        let mut inner = self.0.lock();
        inner.keep(cx);
        if inner.absent || inner.ended && (!inner.queue.is_empty() || inner.sent < inner.given) {
            return Poll::Ready(None);
        }
        if inner.queue.is_empty() || inner.given > known {
            return Poll::Ready(Some(inner.given));
        }
        inner.tick();
        Poll::Pending
    }

    /// Items that the client has.
    pub(super) fn sent(&self) -> u64 {
        self.0.lock().sent
    }

    /// Bytes that no response has carried; and, once nobody will tell of it any more, something if the client may not
    /// have what they carried.
    pub(super) fn waiting(&self) -> usize {
        let inner = self.0.lock();
        inner.queued + usize::from(inner.ended && inner.sent < inner.given)
    }

    /// Takes back what no response has carried; how many items.
    pub(super) fn take_back(&self) -> u64 {
        let mut inner = self.0.lock();
        inner.queued = 0;
        std::mem::take(&mut inner.queue).len() as u64
    }

    /// The transport is gone. What is left to say is how it ended: the rest belongs to the c2s again.
    pub(super) fn over(&self) {
        let mut inner = self.0.lock();
        inner.keep_the_end();
        inner.tick();
    }
}
