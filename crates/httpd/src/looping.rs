//! Loops: requests that hear messages until they are answered. Long polling, server-sent events.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::mailbox::{MAILBOX_MESSAGES, Mailbox};
use crate::{Error, HandlerType, Outcome, Reason, Request};

/// A request that waits for messages.
pub trait Loop: Send + 'static {
    /// What it hears.
    type Info: Send + 'static;

    /// Begins: gives senders of the mailbox to those who shall be heard, perhaps begins a stream.
    ///
    /// # Errors
    ///
    /// As in [`Handler::init`](crate::Handler::init).
    fn start(
        &mut self,
        mailbox: &Mailbox<Self::Info>,
        req: &mut Request,
    ) -> impl Future<Output = Result<Next, Error>> + Send;

    /// Hears a message.
    ///
    /// # Errors
    ///
    /// As in [`Handler::init`](crate::Handler::init).
    fn info(
        &mut self,
        info: LoopInfo<Self::Info>,
        req: &mut Request,
    ) -> impl Future<Output = Result<Next, Error>> + Send;

    /// As [`Handler::terminate`](crate::Handler::terminate).
    fn terminate(&mut self, reason: &Reason, req: &Request) {
        let _ = (reason, req);
    }
}

/// What a loop does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Waits for the next message; a time-out that was set begins anew.
    Go,
    /// Waits without a time-out, and gives back the memory it can do without meanwhile.
    Hibernate,
    /// Waits; hears [`LoopInfo::Timeout`] each time that nothing else has come for so long.
    Timeout(Duration),
    /// Has ended.
    Stop,
}

/// What a loop hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopInfo<I> {
    /// A message.
    Message(I),
    /// Nothing came for the time of [`Next::Timeout`].
    Timeout,
    /// The server stops: told once. What has not ended within the drain time is ended.
    Draining,
}

impl Outcome {
    /// Goes on as a loop.
    pub fn looping<L: Loop>(state: L) -> Outcome {
        Outcome::switch(Looping(state))
    }
}

struct Looping<L>(L);

impl<L: Loop> HandlerType for Looping<L> {
    fn upgrade<'a>(&'a mut self, req: &'a mut Request) -> BoxFuture<'a, Result<Reason, Error>> {
        async move {
            let clock = req.clock().clone();
            let (mailbox, mut messages) = Mailbox::new(MAILBOX_MESSAGES);
            let mut draining = req.link().draining();
            let mut told = false;
            let mut within = None;
            let mut next = self.0.start(&mailbox, req).await?;
            loop {
                match next {
                    Next::Go => {}
                    Next::Hibernate => {
                        within = None;
                        req.link().hibernate();
                    }
                    Next::Timeout(time) => within = Some(time),
                    Next::Stop => return Ok(Reason::Stop),
                }
                let late = async {
                    match within {
                        Some(time) => clock.sleep(time).await,
                        None => std::future::pending().await,
                    }
                };
                let info = tokio::select! {
                    biased;
                    _ = draining.wait_for(|draining| *draining), if !told => {
                        told = true;
                        LoopInfo::Draining
                    }
                    message = messages.recv() => {
                        LoopInfo::Message(message.expect("the mailbox is held here"))
                    }
                    () = late => LoopInfo::Timeout,
                };
                next = self.0.info(info, req).await?;
            }
        }
        .boxed()
    }

    fn terminate(&mut self, reason: &Reason, req: &Request) {
        self.0.terminate(reason, req);
    }
}
