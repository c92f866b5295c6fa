//! The IO of a session: it owns the transport, runs in the task of the session's process and ends with it.
//!
//! Inbound: during negotiation in lock-step, one frame per [`IoHandle::proceed`]; afterwards under
//! credit, and without credit the socket is not read, so that TCP pushes back. Outbound: a queue
//! bounded by bytes, written in batches. A peer that says no more without closing its stream is told
//! our end, behind what has begun to leave and nothing else: who only hung up would lose the rest.
//! Losing the connection is an event ([`Detached`]), not an end of the process. Whatever was not written then is the session's to [`drain`](IoHandle::drain); if
//! the process dies instead, each envelope falls to its dead-letter box.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use net::{ServerConfig, TlsError, TlsInfo};
use otp::{Clock, Instant};
use parking_lot::Mutex;
use xmpp::StreamError;

use crate::credit::{Credit, Gate};
use crate::handle::{IoHandle, Proceed, Shared};
use crate::outbox::{Closing, Outbox};
use crate::shaper::{Rate, Shaper};
use crate::{Fault, Inbound, Outbound, StreamHeader, Transport};

/// Bytes framed before they are written together.
const BATCH: usize = 32 * 1024;

/// What the session's process is told.
#[derive(Debug)]
pub enum IoEvent {
    /// The TLS handshake is done; a header is awaited.
    Secured(TlsInfo),
    /// The peer opened a stream.
    Open(StreamHeader),
    /// A first-level element. Drop the [`Credit`] when it is dealt with.
    Element(xml::Element, Credit),
    /// The peer closed its stream; nothing follows. Answer with [`IoHandle::close`].
    Close,
    /// The peer broke a rule, or did not finish its negotiation in time; nothing follows. Answer
    /// with [`IoHandle::close`] and the [`Fault::error`].
    Fault(Fault),
    /// Our end of the stream is written, all that was queued before it too; the peer's end is awaited
    /// shortly.
    Said,
    /// The connection is gone and the IO has ended: always the last event.
    Detached(Detached),
}

/// Why a connection is gone.
#[derive(Debug, thiserror::Error)]
pub enum Detached {
    /// We closed, and everything was written.
    #[error("closed")]
    Closed,
    /// The peer left, or said no more, without closing its stream.
    #[error("the peer left without closing its stream")]
    Eof,
    /// The connection failed.
    #[error("connection failed: {0}")]
    Failed(std::io::Error),
    /// The peer took nothing for [`IoOptions::write_stall`], or not all in [`IoOptions::close_within`].
    #[error("the peer does not read")]
    Stalled,
    /// The TLS handshake failed.
    #[error("TLS handshake failed: {0}")]
    Tls(TlsError),
    /// The IO ended on a fault of its own, or was drained.
    #[error("the IO ended")]
    Lost,
}

/// What an [`Io`] is given.
#[derive(Clone, Debug)]
pub struct IoOptions {
    /// Do a TLS handshake first (direct TLS, XEP-0368). Default: none.
    pub direct_tls: Option<Arc<ServerConfig>>,
    /// Time for a TLS handshake. Default: 10 s.
    pub handshake_within: Duration,
    /// Time from the start to [`Proceed::Flow`]. Default: 60 s.
    pub negotiate_within: Duration,
    /// Elements that may be in the process' hands at once. Default: 16.
    pub credit_elements: usize,
    /// Bytes of elements that may be in the process' hands at once (one element more may exceed
    /// them). Default: 64 KiB.
    pub credit_bytes: usize,
    /// Bytes that may wait to be written. Default: 1 MiB.
    pub outbox_bytes: usize,
    /// How long the peer may take nothing while something is to be written. Default: 30 s.
    pub write_stall: Duration,
    /// Time to write everything once the end is ordered. Default: 5 s.
    pub close_within: Duration,
    /// How long to wait for the peer's own end after ours, so that no reset destroys what is still
    /// on its way. Default: 2 s.
    pub linger: Duration,
    /// How much the peer may send once stanzas flow; what is more is read later. Default: as much as it likes.
    pub rate: Option<Rate>,
    /// Send a sign of life after so long without writing. Default: none.
    pub keep_alive: Option<Duration>,
}

impl Default for IoOptions {
    fn default() -> Self {
        IoOptions {
            direct_tls: None,
            handshake_within: net::HANDSHAKE_WITHIN,
            negotiate_within: Duration::from_secs(60),
            credit_elements: 16,
            credit_bytes: 64 * 1024,
            outbox_bytes: 1024 * 1024,
            write_stall: Duration::from_secs(30),
            close_within: Duration::from_secs(5),
            linger: Duration::from_secs(2),
            rate: None,
            keep_alive: None,
        }
    }
}

type Tell = Box<dyn Fn(IoEvent) -> Result<(), ()> + Send + Sync>;
type Written<P> = Box<dyn Fn(P) + Send + Sync>;
type Timer = Option<Pin<Box<dyn Future<Output = ()> + Send>>>;

/// The work: see the module's text.
pub struct Io<P: Send + 'static> {
    transport: Box<dyn Transport>,
    shared: Arc<Shared<P>>,
    clock: Clock,
    options: IoOptions,
    tell: Tell,
    written: Written<P>,
    /// Items of the transport already accounted for.
    finished: u64,
    /// What parcels carried that just left; empty between turns.
    left: Vec<P>,
    hearing: Hearing,
    last_write: Instant,
    negotiation: Timer,
    stall: Timer,
    end: Timer,
    keep_alive: Timer,
    shaper: Option<Shaper>,
    /// Reads nothing until then.
    pause: Timer,
    told_end: bool,
    /// The peer opened a stream.
    opened: bool,
    /// The peer said no more in the middle of its stream.
    hung_up: bool,
}

/// Whether frames are wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hearing {
    /// Not before the session proceeds.
    Waiting,
    /// One frame.
    One,
    /// As many as there is credit for.
    Flow,
    /// Never again.
    Over,
}

/// Why a turn ended.
enum Woke {
    Heard(Result<Inbound, Fault>),
    StartTls(Arc<ServerConfig>),
    TooLate,
    Said,
    Lost(Detached),
}

impl<P: Send + 'static> Io<P> {
    /// Starts the IO of `transport`, in the process' own task.
    ///
    /// `tell` is how the process hears of events, in order, and fails when it is gone. `written` is
    /// given what each parcel carried once its bytes are written.
    pub fn attach<S: otp::GenServer>(
        ctx: &mut otp::Ctx<S>,
        transport: impl Transport,
        options: IoOptions,
        tell: impl Fn(IoEvent) -> Result<(), ()> + Send + Sync + 'static,
        written: impl Fn(P) + Send + Sync + 'static,
    ) -> IoHandle<P> {
        let clock = ctx.clock().clone();
        let (handle, task) = Io::prepare(clock, transport, options, tell, written);
        ctx.accompany(task.run());
        handle
    }

    /// As [`attach`](Self::attach), for those who run the work themselves.
    pub fn prepare(
        clock: Clock,
        transport: impl Transport,
        options: IoOptions,
        tell: impl Fn(IoEvent) -> Result<(), ()> + Send + Sync + 'static,
        written: impl Fn(P) + Send + Sync + 'static,
    ) -> (IoHandle<P>, Io<P>) {
        let shared = Arc::new(Shared {
            outbox: Mutex::new(Outbox::new(options.outbox_bytes)),
            gate: Arc::new(Gate::new(options.credit_elements, options.credit_bytes)),
        });
        let task = Io {
            transport: Box::new(transport),
            shared: shared.clone(),
            last_write: clock.now(),
            negotiation: Some(Box::pin(clock.sleep(options.negotiate_within))),
            keep_alive: None,
            shaper: None,
            pause: None,
            stall: None,
            end: None,
            clock,
            options,
            tell: Box::new(tell),
            written: Box::new(written),
            finished: 0,
            left: Vec::new(),
            hearing: Hearing::One,
            told_end: false,
            opened: false,
            hung_up: false,
        };
        (IoHandle::new(shared), task)
    }

    /// Runs until the connection is gone.
    pub async fn run(mut self) {
        let why = self.live().await;
        self.tell_end(why);
    }

    async fn live(&mut self) -> Detached {
        if let Some(config) = self.options.direct_tls.take()
            && let Err(error) = self.secure(config).await
        {
            return error;
        }
        loop {
            let woke = poll_fn(|cx| self.poll_turn(cx)).await;
            let told = match woke {
                Woke::Heard(heard) => self.heard(heard),
                Woke::StartTls(config) => self.secure(config).await,
                Woke::TooLate => self.heard(Err(Fault::Timeout)),
                Woke::Said if self.hung_up => {
                    self.linger().await;
                    return Detached::Eof;
                }
                Woke::Said => {
                    // A process that is gone has no use for it.
                    let _ = (self.tell)(IoEvent::Said);
                    return self.linger().await;
                }
                Woke::Lost(Detached::Failed(_) | Detached::Stalled) if self.hung_up => {
                    return Detached::Eof;
                }
                Woke::Lost(why) => return why,
            };
            if let Err(why) = told {
                return why;
            }
        }
    }

    /// Writes and listens until something must be told or done outside a poll.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Woke> {
        self.shared.gate.waker.register(cx.waker());
        let wrote = self.poll_write(cx);
        for payload in std::mem::take(&mut self.left) {
            (self.written)(payload);
        }
        if let Poll::Ready(woke) = wrote {
            return Poll::Ready(woke);
        }
        // After the writing, which an order may wait for.
        if let Some(woke) = self.poll_orders() {
            return Poll::Ready(woke);
        }
        if let Poll::Ready(woke) = self.poll_timers(cx) {
            return Poll::Ready(woke);
        }
        if self.pause.is_some() && !is_due(&mut self.pause, cx) {
            return Poll::Pending;
        }
        if self.wants_frame() {
            return self.transport.poll_recv(cx).map(Woke::Heard);
        }
        Poll::Pending
    }

    fn poll_orders(&mut self) -> Option<Woke> {
        loop {
            let mut outbox = self.shared.outbox.lock();
            if outbox.drained {
                return Some(Woke::Lost(Detached::Lost));
            }
            let blocked = outbox.is_waiting() || self.transport.pending() > 0;
            if blocked && matches!(outbox.orders.front(), Some(Proceed::StartTls(_))) {
                return None;
            }
            let order = outbox.orders.pop_front()?;
            drop(outbox);
            match order {
                Proceed::Next => self.hear(Hearing::One),
                Proceed::Restart => {
                    self.transport.restart();
                    self.hear(Hearing::One);
                }
                Proceed::StartTls(config) => return Some(Woke::StartTls(config)),
                Proceed::SetLimits(limits) => self.transport.set_limits(limits),
                Proceed::Flow => {
                    self.transport.negotiated();
                    self.negotiation = None;
                    self.arm_keep_alive();
                    let rate = self.options.rate;
                    self.shaper = rate.map(|rate| Shaper::new(rate, self.clock.now()));
                    self.hear(Hearing::Flow);
                }
            }
        }
    }

    /// One frame more means nothing to a stream that flows.
    fn hear(&mut self, how: Hearing) {
        match (self.hearing, how) {
            (Hearing::Over, _) | (Hearing::Flow, Hearing::One) => {}
            _ => self.hearing = how,
        }
    }

    fn wants_frame(&self) -> bool {
        match self.hearing {
            Hearing::One => true,
            Hearing::Waiting | Hearing::Over => false,
            Hearing::Flow => self.shared.gate.has_credit(),
        }
    }

    /// Frames and writes what waits. The lock is held while the socket is offered the bytes, so
    /// that a parcel is either drained or written, never both.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Woke> {
        let mut outbox = self.shared.outbox.lock();
        if outbox.drained {
            return Poll::Ready(Woke::Lost(Detached::Lost));
        }
        if matches!(outbox.closing, Closing::Cut(_)) {
            outbox.retract(self.transport.retract());
            outbox.hold_back();
        }
        if matches!(outbox.closing, Closing::Last) && self.end.is_none() {
            self.hearing = Hearing::Over;
            self.negotiation = None;
            self.end = Some(Box::pin(self.clock.sleep(self.options.close_within)));
        }
        loop {
            while self.transport.pending() < BATCH
                && outbox.begin_next(|item| self.transport.queue(item))
            {}
            let writing = self.transport.pending() > 0;
            let flushed = if writing {
                self.transport.poll_flush(cx)
            } else {
                Poll::Ready(Ok(self.transport.sent()))
            };
            let sent = self.transport.sent();
            outbox.finish(sent - self.finished, &mut self.left);
            self.finished = sent;
            match flushed {
                Poll::Ready(Ok(_)) => self.stall = None,
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Woke::Lost(Detached::Failed(error)));
                }
                Poll::Pending => {
                    if self.stall.is_none() {
                        let stall = self.clock.sleep(self.options.write_stall);
                        self.stall = Some(Box::pin(stall));
                    }
                    if self.end.is_some() {
                        // A peer that is itself stuck writing would never read our end.
                        let _ = self.transport.poll_discard(cx);
                    }
                    return Poll::Pending;
                }
            }
            if writing && self.options.keep_alive.is_some() {
                self.last_write = self.clock.now();
            }
            if self.transport.pending() == 0 && !outbox.is_waiting() {
                return match outbox.is_said() {
                    true => Poll::Ready(Woke::Said),
                    false => Poll::Pending,
                };
            }
        }
    }

    fn poll_timers(&mut self, cx: &mut Context<'_>) -> Poll<Woke> {
        if is_due(&mut self.negotiation, cx) {
            return Poll::Ready(Woke::TooLate);
        }
        if is_due(&mut self.stall, cx) || is_due(&mut self.end, cx) {
            return Poll::Ready(Woke::Lost(Detached::Stalled));
        }
        while is_due(&mut self.keep_alive, cx) {
            let every = self.options.keep_alive.expect("armed only when set");
            if self.clock.now() - self.last_write >= every {
                self.last_write = self.clock.now();
                if self.shared.outbox.lock().push(Outbound::KeepAlive) {
                    cx.waker().wake_by_ref();
                }
            }
            self.arm_keep_alive();
        }
        Poll::Pending
    }

    fn arm_keep_alive(&mut self) {
        let Some(every) = self.options.keep_alive else {
            return;
        };
        let quiet = self.clock.now() - self.last_write;
        let rest = every.saturating_sub(quiet).max(Duration::from_millis(1));
        self.keep_alive = Some(Box::pin(self.clock.sleep(rest)));
    }

    fn heard(&mut self, heard: Result<Inbound, Fault>) -> Result<(), Detached> {
        let flows = self.hearing == Hearing::Flow;
        if self.hearing == Hearing::One {
            self.hearing = Hearing::Waiting;
        }
        let event = match heard {
            Ok(Inbound::Open(header)) => {
                self.opened = true;
                IoEvent::Open(header)
            }
            Ok(Inbound::Element(element)) => {
                let credit = self.charge(element.bytes().len());
                IoEvent::Element(element, credit)
            }
            Ok(Inbound::Close) => {
                self.hearing = Hearing::Over;
                IoEvent::Close
            }
            Ok(Inbound::End { within }) => {
                self.hearing = Hearing::Over;
                self.negotiation = None;
                let why = within.then_some(xml::Error::Truncated);
                match (why, self.opened) {
                    (why, _) if flows => {
                        let error = why.as_ref().map(StreamError::from);
                        self.hung_up = true;
                        self.shared.outbox.lock().cut(error);
                        return Ok(());
                    }
                    (Some(why), _) => IoEvent::Fault(why.into()),
                    (None, true) => IoEvent::Close,
                    // Who said nothing is told nothing.
                    (None, false) => return Err(Detached::Eof),
                }
            }
            Ok(Inbound::Eof) => return Err(Detached::Eof),
            Err(Fault::Io(error)) => return Err(Detached::Failed(error)),
            Err(fault) => {
                self.hearing = Hearing::Over;
                self.negotiation = None;
                IoEvent::Fault(fault)
            }
        };
        (self.tell)(event).map_err(|()| Detached::Lost)
    }

    fn charge(&mut self, bytes: usize) -> Credit {
        if self.hearing != Hearing::Flow {
            return Credit::free();
        }
        let now = self.clock.now();
        let pause = self.shaper.as_mut().and_then(|s| s.charge(bytes, now));
        self.pause = pause.map(|pause| Box::pin(self.clock.sleep(pause)) as _);
        self.shared.gate.charge(bytes)
    }

    async fn secure(&mut self, config: Arc<ServerConfig>) -> Result<(), Detached> {
        let within = self.options.handshake_within;
        let secured = self.transport.start_tls(config, &self.clock, within);
        let info = secured.await.map_err(Detached::Tls)?;
        self.hear(Hearing::One);
        (self.tell)(IoEvent::Secured(info)).map_err(|()| Detached::Lost)
    }

    /// Ends our direction and waits shortly for the peer's: closing a socket with unread input
    /// would reset the connection and destroy what the peer has not read yet.
    async fn linger(&mut self) -> Detached {
        let transport = &mut self.transport;
        let bye = async {
            if poll_fn(|cx| transport.poll_shutdown(cx)).await.is_ok() {
                poll_fn(|cx| transport.poll_discard(cx)).await;
            }
        };
        // Whether the peer ended in time changes nothing: all was written.
        let _ = self.clock.timeout(self.options.linger, bye).await;
        Detached::Closed
    }

    fn tell_end(&mut self, why: Detached) {
        if !std::mem::replace(&mut self.told_end, true) {
            self.shared.outbox.lock().refusing = true;
            // A process that is gone has no use for it.
            let _ = (self.tell)(IoEvent::Detached(why));
        }
    }
}

impl<P: Send + 'static> Drop for Io<P> {
    fn drop(&mut self) {
        self.tell_end(Detached::Lost);
    }
}

fn is_due(timer: &mut Timer, cx: &mut Context<'_>) -> bool {
    let due = timer
        .as_mut()
        .is_some_and(|sleep| sleep.as_mut().poll(cx).is_ready());
    if due {
        *timer = None;
    }
    due
}
