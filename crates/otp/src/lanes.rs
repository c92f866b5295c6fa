//! Work for one key runs in order, work for different keys side by side.

use std::collections::VecDeque;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use ahash::AHashMap;
use parking_lot::Mutex;
use tokio::sync::oneshot;

type Queues<K> = Mutex<AHashMap<K, VecDeque<oneshot::Sender<LaneGuard<K>>>>>;

/// One lane a key; a lane is used by one at a time, first come, first served. An empty lane costs nothing.
pub struct Lanes<K: Hash + Eq + Clone>(Arc<Queues<K>>);

impl<K: Hash + Eq + Clone> Lanes<K> {
    /// Makes lanes that are all free.
    pub fn new() -> Lanes<K> {
        Lanes(Arc::new(Mutex::new(AHashMap::new())))
    }

    /// Waits until all who entered `key`'s lane before have left it. The place in the lane is taken at the first
    /// poll; given up, it goes to the next.
    pub async fn enter(&self, key: K) -> LaneGuard<K> {
        let turn = {
            let mut queues = self.0.lock();
            let Some(queue) = queues.get_mut(&key) else {
                queues.insert(key.clone(), VecDeque::new());
                drop(queues);
                return LaneGuard {
                    lanes: self.clone(),
                    key: Some(key),
                };
            };
            let (tx, turn) = oneshot::channel();
            queue.push_back(tx);
            turn
        };
        turn.await.expect("who leaves a lane hands it on")
    }

    /// How many lanes are in use.
    pub fn busy(&self) -> usize {
        self.0.lock().len()
    }
}

impl<K: Hash + Eq + Clone> Clone for Lanes<K> {
    fn clone(&self) -> Self {
        Lanes(self.0.clone())
    }
}

impl<K: Hash + Eq + Clone> Default for Lanes<K> {
    fn default() -> Self {
        Lanes::new()
    }
}

impl<K: Hash + Eq + Clone> fmt::Debug for Lanes<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lanes({} busy)", self.busy())
    }
}

/// The use of a lane, until dropped.
#[must_use = "the lane is left when this is dropped"]
pub struct LaneGuard<K: Hash + Eq + Clone> {
    lanes: Lanes<K>,
    /// Gone once the lane was handed on.
    key: Option<K>,
}

impl<K: Hash + Eq + Clone> Drop for LaneGuard<K> {
    fn drop(&mut self) {
        // The loop, not a recursion, passes over those who gave up waiting, however many.
        while let Some(key) = self.key.take() {
            let mut queues = self.lanes.0.lock();
            let next = queues.get_mut(&key).and_then(VecDeque::pop_front);
            let Some(next) = next else {
                queues.remove(&key);
                return;
            };
            drop(queues);
            let guard = LaneGuard {
                lanes: self.lanes.clone(),
                key: Some(key),
            };
            if let Err(mut unused) = next.send(guard) {
                self.key = unused.key.take();
            }
        }
    }
}

impl<K: Hash + Eq + Clone> fmt::Debug for LaneGuard<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LaneGuard")
    }
}
