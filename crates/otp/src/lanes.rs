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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt;
    use futures_util::future::join_all;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn one_key_runs_in_order_and_alone() {
        let lanes = Lanes::new();
        let log = Arc::new(Mutex::new(Vec::new()));
        let inside = Arc::new([const { AtomicUsize::new(0) }; 4]);
        let mut tasks = Vec::new();
        for n in 0..400_usize {
            let key = n % 4;
            // Polled once here, so the places are taken in this order.
            let mut enter = Box::pin({
                let lanes = lanes.clone();
                async move { lanes.enter(key).await }
            });
            let first = enter.as_mut().now_or_never();
            let (log, inside) = (log.clone(), inside.clone());
            tasks.push(tokio::spawn(async move {
                let guard = match first {
                    Some(guard) => guard,
                    None => enter.await,
                };
                assert_eq!(inside[key].fetch_add(1, Ordering::SeqCst), 0);
                tokio::task::yield_now().await;
                log.lock().push(n);
                assert_eq!(inside[key].fetch_sub(1, Ordering::SeqCst), 1);
                drop(guard);
            }));
        }
        for task in join_all(tasks).await {
            task.expect("nobody was in the lane with another");
        }
        let log = log.lock();
        for key in 0..4 {
            let lane: Vec<_> = log.iter().filter(|n| *n % 4 == key).copied().collect();
            let wanted: Vec<_> = (0..400).filter(|n| n % 4 == key).collect();
            assert_eq!(lane, wanted);
        }
        assert_eq!(lanes.busy(), 0);
    }

    #[tokio::test]
    async fn different_keys_do_not_wait_for_one_another() {
        let lanes = Lanes::new();
        let _a = lanes.enter("a").await;
        assert!(lanes.enter("b").now_or_never().is_some());
        assert!(lanes.enter("a").now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_place_given_up_goes_to_the_next() {
        let lanes = Lanes::new();
        let first = lanes.enter(1).await;
        let mut given_up: Vec<_> = (0..1000).map(|_| Box::pin(lanes.enter(1))).collect();
        for waiting in &mut given_up {
            assert!(waiting.as_mut().now_or_never().is_none());
        }
        let mut granted = Box::pin(lanes.enter(1));
        assert!(granted.as_mut().now_or_never().is_none());
        let mut last = Box::pin(lanes.enter(1));
        assert!(last.as_mut().now_or_never().is_none());
        drop(given_up);
        drop(first);
        // Its turn has come, but it goes away before it looks.
        drop(granted);
        let guard = last.now_or_never().expect("its turn has come");
        drop(guard);
        assert_eq!(lanes.busy(), 0);
    }
}
