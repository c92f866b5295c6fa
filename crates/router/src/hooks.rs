//! Hooks: typed folds over events, run where the event happens.
//!
//! The value of a fold is the hook's own type. A handler runs in the process that runs the hook; it
//! may cast to that process, never call it. A handler that panics is fenced: the fold goes on with the
//! value it had (`Continue`), or ends as denied (`Deny`), as the hook's declaration says.

use std::any::{Any, TypeId};
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use otp::{Clock, ProcessId};

use crate::Router;
use crate::table::Map;

/// How long a handler that waits may take, unless the hook says otherwise.
pub const HANDLER_DEADLINE: Duration = Duration::from_secs(5);

/// What a handler that panics or comes too late does to the fold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnPanic {
    /// Logged and counted; the value is kept and the next handler runs.
    Continue,
    /// The fold fails closed: it ends as [`Folded::Denied`].
    Deny,
}

/// A hook's declaration, printed as HOOKS.md.
#[derive(Clone, Copy, Debug)]
pub struct HookInfo {
    /// Its name, as ejabberd's where it has the same hook.
    pub name: &'static str,
    /// The step that runs it.
    pub run_by: &'static str,
    /// The process it runs in.
    pub process: &'static str,
    /// What the fold carries.
    pub carries: &'static str,
    /// What stopping or dropping means.
    pub stopping: &'static str,
    /// What a panicking handler does to the fold.
    pub on_panic: OnPanic,
    /// Whether a handler may wait.
    pub may_wait: bool,
}

/// An event that handlers fold over. The implementing type is the value of the fold.
pub trait Hook: Clone + Send + Sync + 'static {
    /// Its declaration.
    const INFO: HookInfo;

    /// The host whose handlers run; the empty string for hooks of the whole node.
    fn host(&self) -> &str;
}

/// A handler's answer.
#[derive(Debug)]
pub enum Flow<H> {
    /// On to the next handler, with this value.
    Next(H),
    /// The fold ends here, with this value.
    Stop(H),
    /// The event ends here.
    Drop,
}

/// How a fold ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Folded<H> {
    /// Every handler passed the value on.
    Done(H),
    /// A handler ended the fold with this value.
    Stopped(H),
    /// A handler dropped the event.
    Dropped,
    /// A handler of a hook that fails closed panicked or came too late.
    Denied,
}

impl<H> Folded<H> {
    /// The value, unless the event was dropped or denied.
    pub fn value(self) -> Option<H> {
        match self {
            Folded::Done(value) | Folded::Stopped(value) => Some(value),
            Folded::Dropped | Folded::Denied => None,
        }
    }
}

/// A handler's place: low first. ejabberd's numbers keep their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Priority(pub u32);

impl Priority {
    /// Before all that stores: strangers, filters.
    pub const EARLY: Priority = Priority(25);
    /// The default.
    pub const NORMAL: Priority = Priority(50);
    /// After all others: the last word, such as a bounce.
    pub const LAST: Priority = Priority(100);
}

/// Says without waiting whether a handler has anything to do with a value.
type Wants<H> = Box<dyn Fn(&H) -> bool + Send + Sync>;

enum Call<H> {
    Now(Box<dyn Fn(H) -> Flow<H> + Send + Sync>),
    Wait(Box<dyn Fn(H) -> BoxFuture<'static, Flow<H>> + Send + Sync>),
}

struct Handler<H> {
    wants: Option<Wants<H>>,
    call: Call<H>,
}

impl<H> Handler<H> {
    /// Whether it has anything to do with `value`. One that cannot tell without a panic is asked.
    fn wants(&self, value: &H) -> bool {
        self.wants
            .as_ref()
            .is_none_or(|wants| catch_unwind(AssertUnwindSafe(|| wants(value))).unwrap_or(true))
    }
}

/// A handler ready to be installed, with its type erased.
pub struct HookSpec {
    pub(crate) hook: TypeId,
    pub(crate) info: HookInfo,
    pub(crate) host: Arc<str>,
    pub(crate) priority: Priority,
    pub(crate) waits: bool,
    handler: Arc<dyn Any + Send + Sync>,
}

impl HookSpec {
    /// A handler that answers at once.
    pub fn now<H: Hook>(
        host: &str,
        priority: Priority,
        handler: impl Fn(H) -> Flow<H> + Send + Sync + 'static,
    ) -> HookSpec {
        HookSpec::new::<H>(host, priority, false, Call::Now(Box::new(handler)))
    }

    /// A handler that may wait; only hooks declared `may_wait` accept it.
    pub fn wait<H: Hook>(
        host: &str,
        priority: Priority,
        handler: impl Fn(H) -> BoxFuture<'static, Flow<H>> + Send + Sync + 'static,
    ) -> HookSpec {
        HookSpec::new::<H>(host, priority, true, Call::Wait(Box::new(handler)))
    }

    /// The same handler for those values of `H` only of which `wants` is true: the others pass it by at the cost of
    /// that answer.
    ///
    /// # Panics
    ///
    /// When it is a handler of another hook.
    #[must_use]
    pub fn only_if<H: Hook>(mut self, wants: impl Fn(&H) -> bool + Send + Sync + 'static) -> Self {
        let handler = Arc::get_mut(&mut self.handler).and_then(|any| any.downcast_mut());
        let handler: &mut Handler<H> = handler.expect("a handler of this hook, not installed yet");
        handler.wants = Some(Box::new(wants));
        self
    }

    fn new<H: Hook>(host: &str, priority: Priority, waits: bool, call: Call<H>) -> HookSpec {
        HookSpec {
            hook: TypeId::of::<H>(),
            info: H::INFO,
            host: host.into(),
            priority,
            waits,
            handler: Arc::new(Handler { wants: None, call }),
        }
    }
}

/// One handler in a host's table.
pub(crate) struct HookEntry {
    pub(crate) owner: ProcessId,
    pub(crate) owner_name: Arc<str>,
    pub(crate) priority: Priority,
    pub(crate) info: HookInfo,
    pub(crate) failures: AtomicU64,
    handler: Arc<dyn Any + Send + Sync>,
}

/// The handlers of one host, in order.
#[derive(Clone, Default)]
pub(crate) struct HookTable(Map<TypeId, Arc<[Arc<HookEntry>]>>);

impl HookTable {
    pub(crate) fn insert(&mut self, spec: HookSpec, owner: ProcessId, owner_name: &Arc<str>) {
        let entry = Arc::new(HookEntry {
            owner,
            owner_name: Arc::clone(owner_name),
            priority: spec.priority,
            info: spec.info,
            failures: AtomicU64::new(0),
            handler: spec.handler,
        });
        let slot = self.0.entry(spec.hook).or_insert_with(|| Arc::new([]));
        let mut entries = slot.to_vec();
        // Of equals by name, so that a restart of one changes no order.
        let place = |e: &HookEntry| (e.priority, Arc::clone(&e.owner_name));
        let at = entries.partition_point(|e| place(e) <= place(&entry));
        entries.insert(at, entry);
        *slot = entries.into();
    }

    pub(crate) fn remove_owner(&mut self, owner: ProcessId) {
        self.0.retain(|_, slot| {
            if slot.iter().any(|e| e.owner == owner) {
                *slot = slot.iter().filter(|e| e.owner != owner).cloned().collect();
            }
            !slot.is_empty()
        });
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Arc<HookEntry>> {
        self.0.values().flat_map(|slot| slot.iter())
    }

    fn of<H: Hook>(&self) -> Option<&Arc<[Arc<HookEntry>]>> {
        self.0.get(&TypeId::of::<H>())
    }
}

impl HookEntry {
    fn typed<H: Hook>(&self) -> &Handler<H> {
        self.handler
            .downcast_ref()
            .expect("entries are filed under their hook's type")
    }

    fn failed(&self, why: &str) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        tracing::error!(
            target: "natter::hook",
            hook = self.info.name,
            handler = %self.owner_name,
            on_panic = ?self.info.on_panic,
            why,
            "hook handler failed"
        );
    }
}

/// The handlers of one hook at one host, as they were when they were asked for.
pub struct Listeners<H> {
    entries: Arc<[Arc<HookEntry>]>,
    hook: PhantomData<fn(H)>,
}

impl<H: Hook> Listeners<H> {
    /// Whether a fold of `value` would call any of them.
    #[must_use]
    pub fn want(&self, value: &H) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.typed::<H>().wants(value))
    }
}

/// A row of `natterctl hook_list`.
#[derive(Clone, Debug)]
pub struct HookRow {
    /// The hook's name.
    pub hook: &'static str,
    /// The host; empty for the whole node.
    pub host: String,
    /// The handler's place.
    pub priority: u32,
    /// Whose handler it is.
    pub handler: String,
    /// How often it panicked or came too late.
    pub failures: u64,
}

impl Router {
    /// Runs the fold of a hook that does not wait. Costs one table look-up when nobody listens.
    pub fn fold<H: Hook>(&self, value: H) -> Folded<H> {
        debug_assert!(!H::INFO.may_wait, "{} is run by fold_wait", H::INFO.name);
        let Some(entries) = self.handlers::<H>(value.host()) else {
            return Folded::Done(value);
        };
        let times = &self.latencies().hooks;
        let begun = times.begin(self.clock());
        let folded = fold_now(&entries, value);
        times.end(self.clock(), begun);
        folded
    }

    /// Runs the fold of a hook whose handlers may wait, each within [`HANDLER_DEADLINE`].
    pub async fn fold_wait<H: Hook>(&self, value: H) -> Folded<H> {
        let Some(entries) = self.handlers::<H>(value.host()) else {
            return Folded::Done(value);
        };
        let times = &self.latencies().hooks;
        let begun = times.begin(self.clock());
        let folded = fold_waiting(&entries, value, self.clock()).await;
        times.end(self.clock(), begun);
        folded
    }

    /// Those of `host` who listen to the hook; none when nobody does. Asked where a fold can be spared, before its value
    /// is made.
    #[must_use]
    pub fn listeners<H: Hook>(&self, host: &str) -> Option<Listeners<H>> {
        let entries = self.handlers::<H>(host)?;
        Some(Listeners {
            entries,
            hook: PhantomData,
        })
    }

    /// Whether anybody of `host` listens to the hook: asked before a fold's value is made.
    #[must_use]
    pub fn has_handlers<H: Hook>(&self, host: &str) -> bool {
        self.host_table(host)
            .is_some_and(|table| table.hooks.of::<H>().is_some())
    }

    fn handlers<H: Hook>(&self, host: &str) -> Option<Arc<[Arc<HookEntry>]>> {
        self.host_table(host)?.hooks.of::<H>().map(Arc::clone)
    }

    /// Every handler of every host, by hook and place.
    #[must_use]
    pub fn hook_list(&self) -> Vec<HookRow> {
        let mut rows: Vec<HookRow> = self
            .host_tables()
            .iter()
            .flat_map(|(host, table)| {
                let rows: Vec<HookRow> = table
                    .hooks
                    .entries()
                    .map(|entry| HookRow {
                        hook: entry.info.name,
                        host: host.to_string(),
                        priority: entry.priority.0,
                        handler: entry.owner_name.to_string(),
                        failures: entry.failures.load(Ordering::Relaxed),
                    })
                    .collect();
                rows
            })
            .collect();
        rows.sort_by(|a, b| {
            (a.hook, &a.host, a.priority, &a.handler)
                .cmp(&(b.hook, &b.host, b.priority, &b.handler))
        });
        rows
    }
}

/// The handlers of a hook that does not wait, one after the other.
fn fold_now<H: Hook>(entries: &[Arc<HookEntry>], value: H) -> Folded<H> {
    let mut value = value;
    for entry in entries {
        let handler = entry.typed::<H>();
        if !handler.wants(&value) {
            continue;
        }
        let Call::Now(call) = &handler.call else {
            unreachable!("waiting handlers are refused where a hook does not wait")
        };
        let kept = kept(&value);
        match catch_unwind(AssertUnwindSafe(|| call(value))) {
            Ok(Flow::Next(next)) => value = next,
            Ok(Flow::Stop(last)) => return Folded::Stopped(last),
            Ok(Flow::Drop) => return Folded::Dropped,
            Err(panic) => {
                entry.failed(panic_text(&*panic));
                let Some(kept) = kept else {
                    return Folded::Denied;
                };
                value = kept;
            }
        }
    }
    Folded::Done(value)
}

/// The handlers of a hook that may wait, one after the other.
async fn fold_waiting<H: Hook>(entries: &[Arc<HookEntry>], value: H, clock: &Clock) -> Folded<H> {
    let mut value = value;
    for entry in entries {
        let handler = entry.typed::<H>();
        if !handler.wants(&value) {
            continue;
        }
        let kept = kept(&value);
        match run(&handler.call, value, clock).await {
            Ok(Flow::Next(next)) => value = next,
            Ok(Flow::Stop(last)) => return Folded::Stopped(last),
            Ok(Flow::Drop) => return Folded::Dropped,
            Err(why) => {
                entry.failed(&why);
                let Some(kept) = kept else {
                    return Folded::Denied;
                };
                value = kept;
            }
        }
    }
    Folded::Done(value)
}

/// What the fold goes on with when a handler that was given the value fails.
fn kept<H: Hook>(value: &H) -> Option<H> {
    (H::INFO.on_panic == OnPanic::Continue).then(|| value.clone())
}

async fn run<H: Hook>(call: &Call<H>, value: H, clock: &Clock) -> Result<Flow<H>, String> {
    match call {
        Call::Now(call) => {
            catch_unwind(AssertUnwindSafe(|| call(value))).map_err(|p| panic_text(&*p).to_owned())
        }
        Call::Wait(call) => {
            let mut handler = pin!(AssertUnwindSafe(async { call(value).await }).catch_unwind());
            // Most have their answer at hand: only for those that do not is a timer set.
            let answer = match poll_fn(|cx| Poll::Ready(handler.as_mut().poll(cx))).await {
                Poll::Ready(answer) => Ok(answer),
                Poll::Pending => clock.timeout(HANDLER_DEADLINE, handler).await,
            };
            match answer {
                Ok(Ok(flow)) => Ok(flow),
                Ok(Err(panic)) => Err(panic_text(&*panic).to_owned()),
                Err(_) => Err(format!("no answer within {} s", HANDLER_DEADLINE.as_secs())),
            }
        }
    }
}

/// The text a panic was raised with.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without text")
}
