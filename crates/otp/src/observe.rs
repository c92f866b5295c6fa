//! The live tree, read without a message to anybody in it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ahash::AHashMap;
use parking_lot::Mutex;

use crate::cell::{AnyCell, Head};
use crate::clock::{Clock, Instant};
use crate::exit::ProcessId;
use crate::pid::AnyPid;

/// Starts and ends of processes meet in one of these many tables.
const SHARDS: usize = 16;

type Table = Mutex<AHashMap<ProcessId, Arc<dyn AnyCell>>>;

struct Inner {
    clock: Clock,
    tables: [Table; SHARDS],
}

/// The view of one server's living processes.
#[derive(Clone)]
pub struct Observe(Arc<Inner>);

/// One process, as it is now.
#[derive(Clone, Debug)]
pub struct TreeNode {
    /// Its number.
    pub id: ProcessId,
    /// Its child id, or its name if it has no supervisor.
    pub name: String,
    /// Its kind.
    pub kind: &'static str,
    /// What it says of itself: a session's JID.
    pub detail: Option<String>,
    /// How often its supervisor has started it again.
    pub restarts: u32,
    /// How many messages wait.
    pub mailbox: usize,
    /// How many bytes of envelopes wait.
    pub mailbox_bytes: usize,
    /// How many messages it has taken.
    pub messages: u64,
    /// How long it has lived.
    pub uptime: Duration,
    /// Why the process before it, of the same child spec, ended.
    pub last_exit: Option<String>,
    /// Its children, in start order.
    pub children: Vec<TreeNode>,
}

impl Observe {
    pub(crate) fn new(clock: Clock) -> Observe {
        Observe(Arc::new(Inner {
            clock,
            tables: Default::default(),
        }))
    }

    fn table(&self, id: ProcessId) -> &Table {
        &self.0.tables[id.0 as usize % SHARDS]
    }

    pub(crate) fn insert(&self, id: ProcessId, cell: Arc<dyn AnyCell>) {
        self.table(id).lock().insert(id, cell);
    }

    pub(crate) fn remove(&self, id: ProcessId) {
        self.table(id).lock().remove(&id);
    }

    /// The process of that number, if it lives.
    pub fn process(&self, id: ProcessId) -> Option<AnyPid> {
        self.table(id).lock().get(&id).cloned().map(AnyPid)
    }

    /// How many processes live.
    pub fn count(&self) -> usize {
        self.0.tables.iter().map(|table| table.lock().len()).sum()
    }

    /// All living processes, in the order of their birth.
    pub fn processes(&self) -> Vec<AnyPid> {
        let mut all: Vec<_> = self.cells().into_iter().map(AnyPid).collect();
        all.sort_by_key(AnyPid::id);
        all
    }

    /// The living processes as trees: under each supervisor its children in start order; a process without a living
    /// supervisor stands at the top.
    pub fn tree(&self) -> Vec<TreeNode> {
        let cells = self.cells();
        let now = self.0.clock.now();
        let alive: AHashMap<ProcessId, &Arc<dyn AnyCell>> =
            cells.iter().map(|cell| (cell.head().id, cell)).collect();
        let mut families: BTreeMap<Option<ProcessId>, Vec<&Head>> = BTreeMap::new();
        for cell in &cells {
            let head = cell.head();
            let parent = head.born.parent.filter(|id| alive.contains_key(id));
            families.entry(parent).or_default().push(head);
        }
        for family in families.values_mut() {
            family.sort_by_key(|head| (head.born.order, head.id));
        }
        grow(None, &mut families, now)
    }

    fn cells(&self) -> Vec<Arc<dyn AnyCell>> {
        let mut cells = Vec::new();
        for table in &self.0.tables {
            cells.extend(table.lock().values().cloned());
        }
        cells
    }
}

fn grow(
    parent: Option<ProcessId>,
    families: &mut BTreeMap<Option<ProcessId>, Vec<&Head>>,
    now: Instant,
) -> Vec<TreeNode> {
    let family = families.remove(&parent).unwrap_or_default();
    family
        .into_iter()
        .map(|head| TreeNode {
            id: head.id,
            name: head.born.name.to_string(),
            kind: head.kind,
            detail: head.label(),
            restarts: head.born.restarts,
            mailbox: head.length.load(Ordering::Relaxed),
            mailbox_bytes: head.bytes.load(Ordering::Relaxed),
            messages: head.handled.load(Ordering::Relaxed),
            uptime: now.since(head.started),
            last_exit: head.born.last_exit.as_ref().map(ToString::to_string),
            children: grow(Some(head.id), families, now),
        })
        .collect()
}

impl fmt::Debug for Observe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Observe({} processes)", self.count())
    }
}
