//! What is waited for beside something that is polled often.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// Is rung by what is waited for, and wakes the task that waits.
struct Bell {
    rung: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.task.wake();
    }
}

/// A place to wait for futures that are polled only when they were woken, not whenever their task is: a time-out costs
/// nothing each time that something else goes on.
pub(crate) struct Aside {
    bell: Arc<Bell>,
    /// What futures are polled with.
    own: Waker,
    /// The task that was told to the bell.
    task: Option<Waker>,
}

impl Aside {
    pub(crate) fn new() -> Aside {
        let bell = Arc::new(Bell {
            rung: AtomicBool::new(false),
            task: AtomicWaker::new(),
        });
        Aside {
            own: bell.clone().into(),
            bell,
            task: None,
        }
    }

    /// Waits for `future`.
    pub(crate) async fn wait<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = std::pin::pin!(future);
        self.bell.rung.store(true, Ordering::Release);
        std::future::poll_fn(|cx| self.poll(cx, future.as_mut())).await
    }

    fn poll<F: Future>(&mut self, cx: &Context<'_>, future: Pin<&mut F>) -> Poll<F::Output> {
        let has_rung =
            self.bell.rung.load(Ordering::Acquire) && self.bell.rung.swap(false, Ordering::AcqRel);
        let task = cx.waker();
        // Ringing takes the task away.
        if has_rung || !self.task.as_ref().is_some_and(|old| old.will_wake(task)) {
            self.bell.task.register(task);
            self.task = Some(task.clone());
        }
        if has_rung {
            future.poll(&mut Context::from_waker(&self.own))
        } else {
            Poll::Pending
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use futures_util::FutureExt;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_future_is_polled_when_it_has_woken_and_not_before() {
        let (tell, told) = oneshot::channel();
        let mut told = std::pin::pin!(told);
        let polls = AtomicUsize::new(0);
        let counted = std::future::poll_fn(|cx| {
            polls.fetch_add(1, Ordering::Relaxed);
            told.as_mut().poll(cx)
        });
        let mut aside = Aside::new();
        let mut waiting = std::pin::pin!(aside.wait(counted));
        for _ in 0..5 {
            assert!(waiting.as_mut().now_or_never().is_none());
        }
        assert_eq!(
            polls.load(Ordering::Relaxed),
            1,
            "asked once, then left alone"
        );
        let teller = tokio::spawn(async move { tell.send(7) });
        assert_eq!(waiting.await, Ok(7), "the task that waits now is woken");
        assert_eq!(polls.load(Ordering::Relaxed), 2);
        assert_eq!(teller.await.ok(), Some(Ok(())));
    }

    #[tokio::test]
    async fn it_wakes_each_time_that_it_is_rung() {
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let (answer, mut answered) = tokio::sync::mpsc::unbounded_channel();
        let waits = tokio::spawn(async move {
            let mut aside = Aside::new();
            while let Some(number) = aside.wait(told.recv()).await {
                let _ = answer.send(number);
            }
        });
        for number in 0..5 {
            tell.send(number).expect("it waits");
            assert_eq!(answered.recv().await, Some(number));
        }
        drop(tell);
        waits.await.expect("it ends");
    }

    #[tokio::test]
    async fn each_future_is_asked_at_first() {
        let mut aside = Aside::new();
        for number in 0..3 {
            assert_eq!(
                aside.wait(std::future::ready(number)).now_or_never(),
                Some(number)
            );
        }
    }
}
