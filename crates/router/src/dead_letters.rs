//! The dead-letter process: what fell out of a mailbox is routed again, or its sender is told.
//!
//! The box outlives this process, and a letter leaves it only when it is known what became of it: what this
//! process had not sent on when it fell is its successor's.

use std::sync::Arc;

use otp::{Ctx, ExitReason, Flow, GenServer, Init};
use parking_lot::Mutex;

use crate::{Accountant, Outcome, Packet, Parcel, Receipt, Router};

/// Reads the dead-letter box of one server. Permanent, under the core supervisor.
pub struct DeadLetters {
    router: Router,
}

/// What it is told: there are letters.
pub struct Filled;

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
    type Cast = Filled;
    type Info = ();

    async fn init(router: Router, ctx: &mut Ctx<Self>) -> Init<Self> {
        wait_for_letters(&router, ctx);
        Init::Ok(DeadLetters { router })
    }

    async fn handle_cast(&mut self, _: Filled, ctx: &mut Ctx<Self>) -> Flow {
        self.empty().await;
        wait_for_letters(&self.router, ctx);
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
            self.router.reroute(InHand::packet(letter)).await;
        }
    }
}

/// A letter that was sent on: kept until it is known what became of it. One whose way is cut short, such
/// as by the end of this process while a store works, goes back to the box. It may then come twice; it
/// is not lost.
struct InHand(Mutex<Option<Parcel>>);

impl InHand {
    fn packet(mut letter: Parcel) -> Packet {
        let Packet { stanza, meta, .. } = letter.get();
        let (stanza, meta) = (stanza.clone(), meta.clone());
        // Should it come back, this try counts.
        letter.get_mut().meta.hops += 1;
        let receipt = Receipt::new(Arc::new(InHand(Mutex::new(Some(letter)))), 0);
        Packet {
            stanza,
            meta,
            receipt,
        }
    }
}

impl Accountant for InHand {
    fn resolved(&self, _: u64, outcome: Outcome) {
        if let Some(letter) = self.0.lock().take() {
            letter.take().receipt.resolve(outcome);
        }
    }

    fn lost(&self, _: u64) {
        drop(self.0.lock().take());
    }
}

/// Waits in a task of this process, so that the process stays stoppable meanwhile. The task takes no
/// letter: one in its hands would be in nobody's when the process ends.
fn wait_for_letters(router: &Router, ctx: &mut Ctx<DeadLetters>) {
    let dead = router.dead_letters().clone();
    let me = ctx.pid().clone();
    ctx.spawn(async move {
        dead.filled().await;
        // Nobody there: the successor looks for itself.
        let _ = me.cast(Filled);
    });
}
