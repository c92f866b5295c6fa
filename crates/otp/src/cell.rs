//! What a process is to everybody else: its number, its mailbox, those who wait for its end.
//!
//! The cell outlives the task that runs the process, and may change tasks when the process is upgraded. All that
//! decides between "the process will see it" and "it comes back" is decided under the mailbox' one lock, so nothing
//! can slip into a mailbox that has closed.

use std::any::Any;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::clock::{Instant, TimerRef};
use crate::companion::{Companion, Polled};
use crate::exit::{Down, ExitReason, MonitorRef, NoProc, ProcessId};
use crate::gen_server::{From, GenServer};
use crate::pid::Fault;
use crate::registry::Name;
use crate::run::{Port, Upgrade};
use crate::system::System;

/// A queue with more room than this is given back when it has run empty.
const KEEP_CAPACITY: usize = 8;

/// How often a companion that wakes itself is polled again before others have their turn.
const COMPANION_TURNS: usize = 8;

/// The cell of a process that fills the behaviour `S`; every version with the same messages has the same cell type.
pub(crate) type CellOf<S> = Cell<
    <S as GenServer>::Call,
    <S as GenServer>::Reply,
    <S as GenServer>::Cast,
    <S as GenServer>::Info,
>;

/// One thing in a mailbox.
pub(crate) enum Mail<C, R, K, I> {
    Call(C, From<R>),
    Cast(K),
    Info(I),
    Down(Down),
    Timer(TimerRef, I),
    Idle(u64),
    Upgrade(Box<dyn Upgrade<C, R, K, I>>),
    Fault(Fault),
}

/// What the process does next.
pub(crate) enum Next<C, R, K, I> {
    Mail(Mail<C, R, K, I>),
    Stop(ExitReason),
}

struct Entry<C, R, K, I> {
    mail: Mail<C, R, K, I>,
    bytes: usize,
}

struct Mailbox<C, R, K, I> {
    /// Overtakes `queue`.
    control: VecDeque<Mail<C, R, K, I>>,
    queue: VecDeque<Entry<C, R, K, I>>,
    bytes: usize,
    /// The running task; gone when the process has ended.
    port: Option<Port>,
    /// The task, while it waits for something to come.
    waiting: Option<Waker>,
    /// Nothing more is taken in.
    closed: bool,
    killed: bool,
    stop: Option<ExitReason>,
}

enum Watcher {
    Process(MonitorRef, Weak<dyn AnyCell>),
    Waiter(oneshot::Sender<ExitReason>),
}

#[derive(Default)]
struct Life {
    ended: Option<ExitReason>,
    /// The reason is known, but others must end before it is told.
    pending: Option<ExitReason>,
    holds: usize,
    watchers: Vec<Watcher>,
    names: Vec<Name>,
    label: Option<Box<str>>,
}

/// What a process is born with.
pub(crate) struct Birth {
    pub(crate) system: System,
    pub(crate) name: Box<str>,
    pub(crate) parent: Option<ProcessId>,
    /// Its place among its siblings.
    pub(crate) order: u64,
    pub(crate) restarts: u32,
    pub(crate) last_exit: Option<ExitReason>,
}

/// The part of a cell that knows no message type.
pub(crate) struct Head {
    pub(crate) id: ProcessId,
    pub(crate) kind: &'static str,
    pub(crate) born: Birth,
    pub(crate) started: Instant,
    budget: usize,
    /// Its `init` succeeded; before that its failure is its starter's to tell.
    pub(crate) up: AtomicBool,
    pub(crate) length: AtomicUsize,
    pub(crate) bytes: AtomicUsize,
    pub(crate) handled: AtomicU64,
    life: Mutex<Life>,
}

pub(crate) struct Cell<C, R, K, I> {
    pub(crate) head: Head,
    pub(crate) companion: Companion,
    mailbox: Mutex<Mailbox<C, R, K, I>>,
}

/// A cell whose message types are forgotten.
pub(crate) trait AnyCell: Send + Sync {
    fn head(&self) -> &Head;
    fn stop(&self, reason: ExitReason);
    fn kill(&self);
    fn fault(&self, fault: Fault);
    fn down(&self, down: Down);
    fn is_open(&self) -> bool;
    fn finish(&self, reason: ExitReason);
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

impl Head {
    pub(crate) fn set_label(&self, label: String) {
        self.life.lock().label = Some(label.into_boxed_str());
    }

    pub(crate) fn label(&self) -> Option<String> {
        self.life.lock().label.as_deref().map(str::to_owned)
    }

    /// Remembers a name to free at the end; false if the end has come.
    pub(crate) fn add_name(&self, name: Name) -> bool {
        let mut life = self.life.lock();
        if life.ended.is_some() {
            return false;
        }
        life.names.push(name);
        true
    }

    pub(crate) fn remove_name(&self, name: &Name) {
        self.life.lock().names.retain(|n| n != name);
    }

    /// Tells `who` when the process ends; the reason if it has ended.
    pub(crate) fn add_monitor(
        &self,
        monitor: MonitorRef,
        who: Weak<dyn AnyCell>,
    ) -> Result<(), ExitReason> {
        self.add_watcher(Watcher::Process(monitor, who))
    }

    pub(crate) fn remove_monitor(&self, monitor: MonitorRef) {
        let mut life = self.life.lock();
        let at = life
            .watchers
            .iter()
            .position(|w| matches!(w, Watcher::Process(m, _) if *m == monitor));
        if let Some(at) = at {
            life.watchers.swap_remove(at);
        }
    }

    /// A receiver of the exit reason, or the reason.
    pub(crate) fn waiter(&self) -> Result<oneshot::Receiver<ExitReason>, ExitReason> {
        let (tx, rx) = oneshot::channel();
        self.add_watcher(Watcher::Waiter(tx)).map(|()| rx)
    }

    fn add_watcher(&self, watcher: Watcher) -> Result<(), ExitReason> {
        let mut life = self.life.lock();
        if let Some(reason) = &life.ended {
            return Err(reason.clone());
        }
        // Those who stopped waiting are swept when the list would grow: amortised, a look each.
        if life.watchers.len() == life.watchers.capacity() {
            life.watchers.retain(|w| match w {
                Watcher::Process(_, who) => who.strong_count() > 0,
                Watcher::Waiter(tx) => !tx.is_closed(),
            });
        }
        life.watchers.push(watcher);
        Ok(())
    }

    /// Everything at the very end: names freed, entry in the table of processes gone, watchers told. Once.
    fn finish(&self, reason: ExitReason) {
        let mut life = self.life.lock();
        if life.ended.is_some() {
            return;
        }
        if life.holds > 0 {
            life.pending.get_or_insert(reason);
            return;
        }
        life.ended = Some(reason.clone());
        let names = std::mem::take(&mut life.names);
        let watchers = std::mem::take(&mut life.watchers);
        let label = life.label.take();
        drop(life);
        for name in &names {
            self.born.system.registry().free(name, self.id);
        }
        self.born.system.observe().remove(self.id);
        self.log_exit(&reason, label.as_deref());
        for watcher in watchers {
            match watcher {
                Watcher::Process(monitor, who) => {
                    if let Some(who) = who.upgrade() {
                        who.down(Down {
                            monitor,
                            process: self.id,
                            reason: reason.clone(),
                        });
                    }
                }
                // Who stopped waiting does not want to know.
                Watcher::Waiter(tx) => drop(tx.send(reason.clone())),
            }
        }
    }

    /// The one line a crash is worth.
    fn log_exit(&self, reason: &ExitReason, detail: Option<&str>) {
        let (process, kind, name) = (self.id, self.kind, &*self.born.name);
        match reason {
            _ if !self.up.load(Ordering::Relaxed) => {
                tracing::debug!(target: "natter::otp", %process, kind, name, detail, %reason, "process did not start");
            }
            ExitReason::Normal | ExitReason::Shutdown | ExitReason::NoProc => {
                tracing::debug!(target: "natter::otp", %process, kind, name, detail, %reason, "process ended");
            }
            ExitReason::Killed => {
                tracing::warn!(target: "natter::otp", %process, kind, name, detail, %reason, "process killed");
            }
            ExitReason::Error(_) | ExitReason::Panic(_) => {
                tracing::error!(target: "natter::otp", %process, kind, name, detail, %reason, "process crashed");
            }
        }
    }
}

/// Keeps a process' end untold until what it left behind has ended too.
pub(crate) struct Hold(Arc<dyn AnyCell>);

impl Hold {
    pub(crate) fn new(cell: Arc<dyn AnyCell>) -> Hold {
        cell.head().life.lock().holds += 1;
        Hold(cell)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let head = self.0.head();
        let mut life = head.life.lock();
        life.holds -= 1;
        let pending = if life.holds == 0 {
            life.pending.take()
        } else {
            None
        };
        drop(life);
        if let Some(reason) = pending {
            head.finish(reason);
        }
    }
}

impl<C, R, K, I> Cell<C, R, K, I>
where
    C: Send + 'static,
    R: Send + 'static,
    K: Send + 'static,
    I: Send + 'static,
{
    pub(crate) fn new(id: ProcessId, kind: &'static str, budget: usize, born: Birth) -> Arc<Self> {
        let started = born.system.clock().now();
        let cell = Arc::new(Cell {
            head: Head {
                id,
                kind,
                born,
                started,
                budget,
                up: AtomicBool::new(false),
                length: AtomicUsize::new(0),
                bytes: AtomicUsize::new(0),
                handled: AtomicU64::new(0),
                life: Mutex::default(),
            },
            companion: Companion::default(),
            mailbox: Mutex::new(Mailbox {
                control: VecDeque::new(),
                queue: VecDeque::new(),
                bytes: 0,
                port: None,
                waiting: None,
                closed: false,
                killed: false,
                stop: None,
            }),
        });
        let any: Arc<dyn AnyCell> = cell.clone();
        cell.head.born.system.observe().insert(id, any);
        cell
    }

    /// Sets the task that runs the process from now on, and starts it.
    pub(crate) fn attach(&self, port: Port) {
        let mut mailbox = self.mailbox.lock();
        if mailbox.killed {
            port.kill();
        }
        mailbox.waiting = None;
        port.begin();
        mailbox.port = Some(port);
    }

    /// Puts `mail` into the mailbox.
    pub(crate) fn send(&self, mail: Mail<C, R, K, I>) -> Result<(), NoProc> {
        let mut mailbox = self.mailbox.lock();
        if mailbox.closed {
            return Err(NoProc);
        }
        mailbox.queue.push_back(Entry { mail, bytes: 0 });
        self.pushed(&mut mailbox);
        Ok(())
    }

    /// Puts `mail` before all that is queued, but behind earlier control mail.
    pub(crate) fn send_control(&self, mail: Mail<C, R, K, I>) -> Result<(), NoProc> {
        let mut mailbox = self.mailbox.lock();
        if mailbox.closed {
            return Err(NoProc);
        }
        mailbox.control.push_back(mail);
        self.pushed(&mut mailbox);
        Ok(())
    }

    /// Puts what `mail` makes of `parcel` into the mailbox, if it is open and `bytes` more fit into its budget.
    pub(crate) fn offer<E>(
        &self,
        parcel: E,
        bytes: usize,
        mail: impl FnOnce(E) -> K,
    ) -> Result<(), E> {
        let mut mailbox = self.mailbox.lock();
        let charged = mailbox.bytes.saturating_add(bytes);
        if mailbox.closed || charged > self.head.budget {
            drop(mailbox);
            return Err(parcel);
        }
        mailbox.bytes = charged;
        self.head.bytes.store(charged, Ordering::Relaxed);
        let mail = Mail::Cast(mail(parcel));
        mailbox.queue.push_back(Entry { mail, bytes });
        self.pushed(&mut mailbox);
        Ok(())
    }

    fn pushed(&self, mailbox: &mut Mailbox<C, R, K, I>) {
        self.head.length.store(
            mailbox.queue.len() + mailbox.control.len(),
            Ordering::Relaxed,
        );
        self.wake(mailbox);
    }

    fn wake(&self, mailbox: &mut Mailbox<C, R, K, I>) {
        if let Some(waiting) = mailbox.waiting.take() {
            waiting.wake();
        }
    }

    /// Takes what comes next, or has the task woken when something comes.
    pub(crate) fn poll_next(&self, cx: &Context<'_>) -> Poll<Next<C, R, K, I>> {
        let mut mailbox = self.mailbox.lock();
        if let Some(reason) = mailbox.stop.take() {
            return Poll::Ready(Next::Stop(reason));
        }
        let mail = match mailbox.control.pop_front() {
            Some(mail) => mail,
            None => match mailbox.queue.pop_front() {
                Some(entry) => {
                    if entry.bytes > 0 {
                        mailbox.bytes -= entry.bytes;
                        self.head.bytes.store(mailbox.bytes, Ordering::Relaxed);
                    }
                    entry.mail
                }
                None => {
                    mailbox.waiting = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            },
        };
        let left = mailbox.queue.len() + mailbox.control.len();
        if left == 0 && mailbox.queue.capacity() > KEEP_CAPACITY {
            mailbox.queue = VecDeque::new();
        }
        self.head.length.store(left, Ordering::Relaxed);
        // Only the process itself writes this count.
        let handled = self.head.handled.load(Ordering::Relaxed);
        self.head.handled.store(handled + 1, Ordering::Relaxed);
        Poll::Ready(Next::Mail(mail))
    }

    /// Polls the process' steps, and its companion before and after.
    pub(crate) fn poll_beside<T>(
        &self,
        cx: &mut Context<'_>,
        steps: Pin<&mut impl Future<Output = T>>,
    ) -> Poll<T> {
        if self.companion.begin() {
            // The steps look for mail before they wait: who sends some until then need not wake them.
            self.mailbox.lock().waiting = None;
            self.poll_companion();
        }
        let polled = steps.poll(cx);
        if polled.is_ready() {
            return polled;
        }
        for _ in 0..COMPANION_TURNS {
            if self.companion.rests(cx) {
                return Poll::Pending;
            }
            self.poll_companion();
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_companion(&self) {
        if let Polled::Panicked(reason) = self.companion.poll() {
            self.stop(reason);
        }
    }

    /// Takes nothing in any more. What is queued stays until [`Cell::clear`].
    pub(crate) fn close(&self) {
        self.mailbox.lock().closed = true;
    }

    /// Closes the mailbox and drops what is in it, oldest first: envelopes find their dead-letter box, callers
    /// learn that nobody answers.
    pub(crate) fn clear(&self) {
        let mut mailbox = self.mailbox.lock();
        mailbox.closed = true;
        mailbox.port = None;
        mailbox.waiting = None;
        mailbox.bytes = 0;
        let control = std::mem::take(&mut mailbox.control);
        let queue = std::mem::take(&mut mailbox.queue);
        self.head.length.store(0, Ordering::Relaxed);
        self.head.bytes.store(0, Ordering::Relaxed);
        drop(mailbox);
        drop(control);
        drop(queue);
    }

    pub(crate) fn is_ending(&self) -> bool {
        let mailbox = self.mailbox.lock();
        mailbox.closed || mailbox.killed
    }
}

impl<C, R, K, I> AnyCell for Cell<C, R, K, I>
where
    C: Send + 'static,
    R: Send + 'static,
    K: Send + 'static,
    I: Send + 'static,
{
    fn head(&self) -> &Head {
        &self.head
    }

    fn stop(&self, reason: ExitReason) {
        let mut mailbox = self.mailbox.lock();
        if mailbox.closed {
            return;
        }
        mailbox.stop.get_or_insert(reason);
        self.wake(&mut mailbox);
    }

    fn kill(&self) {
        let mut mailbox = self.mailbox.lock();
        mailbox.killed = true;
        mailbox.closed = true;
        if let Some(port) = &mailbox.port {
            port.kill();
        }
    }

    fn fault(&self, fault: Fault) {
        // A fault for the dead is no fault.
        let _ = self.send_control(Mail::Fault(fault));
    }

    fn down(&self, down: Down) {
        // Who is dead need not hear of other deaths.
        let _ = self.send(Mail::Down(down));
    }

    fn is_open(&self) -> bool {
        !self.mailbox.lock().closed
    }

    fn finish(&self, reason: ExitReason) {
        self.head.finish(reason);
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}
