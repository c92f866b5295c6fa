//! The dead-letter process: what fell out of a mailbox is routed again, or its sender is told.
//!
//! The box outlives this process, and hands out envelopes: a letter that this process had in hand when
//! it fell goes back to the box.

use otp::{Ctx, ExitReason, Flow, GenServer, Init};

use crate::{Parcel, Router};

/// Reads the dead-letter box of one server. Permanent, under the core supervisor.
pub struct DeadLetters {
    router: Router,
}

/// The name it is registered by.
#[must_use]
pub fn dead_letters_name() -> otp::Name {
    otp::Name::new("dead_letters", "")
}

impl Router {
    /// The process that reads the dead-letter box.
    #[must_use]
    pub fn dead_letters_child_spec(&self) -> otp::ChildSpec {
        let router = self.clone();
        otp::ChildSpec::worker::<DeadLetters>("dead_letters", move || router.clone())
            .registered(dead_letters_name())
    }
}

impl GenServer for DeadLetters {
    const KIND: &'static str = "dead_letters";
    type Args = Router;
    type Call = ();
    type Reply = ();
    type Cast = Parcel;
    type Info = ();

    async fn init(router: Router, ctx: &mut Ctx<Self>) -> Init<Self> {
        bring_next(&router, ctx);
        Init::Ok(DeadLetters { router })
    }

    async fn handle_cast(&mut self, letter: Parcel, ctx: &mut Ctx<Self>) -> Flow {
        self.send_on(letter).await;
        self.empty().await;
        bring_next(&self.router, ctx);
        Flow::Go
    }

    /// What ending sessions left is still sent on: this process ends after them.
    async fn terminate(self, _reason: &ExitReason, _ctx: &mut Ctx<Self>) {
        self.empty().await;
    }
}

impl DeadLetters {
    async fn empty(&self) {
        while let Some(letter) = self.router.dead_letters().try_next() {
            self.send_on(letter).await;
        }
    }

    /// Taken at the last moment: from here on it is the router's path, which loses nothing.
    async fn send_on(&self, letter: Parcel) {
        self.router.reroute(letter.take()).await;
    }
}

/// Waits for the next letter in a task of this process, so that the process stays stoppable meanwhile.
fn bring_next(router: &Router, ctx: &mut Ctx<DeadLetters>) {
    let dead = router.dead_letters().clone();
    let me = ctx.pid().clone();
    ctx.spawn(async move {
        let letter = dead.next().await;
        // Nobody there: the letter falls back into the box.
        let _ = me.cast(letter);
    });
}
