//! The dead-letter process: what fell out of a mailbox is routed again, or its sender is told.
//!
//! The box outlives this process, and a letter leaves it only when it is known what became of it: what this
//! process had not sent on when it fell is its successor's.

use std::sync::Arc;
use std::time::Duration;

use otp::{Ctx, ExitReason, Flow, From, GenServer, Init};
use parking_lot::Mutex;

use crate::{Accountant, Outcome, Packet, Parcel, Receipt, Router, Routing};

/// Reads the dead-letter box of one server. Permanent, under the core supervisor.
pub struct DeadLetters {
    router: Router,
}

/// What it is told: there are letters.
pub struct Filled;

/// What it is asked: to answer once the letters that lie in the box are sent on.
pub struct Empty;

/// How long the sending on of letters is waited for.
const EMPTIED_WITHIN: Duration = Duration::from_secs(10);

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

    /// Waits until the dead letters that lie in the box by now are sent on; at most 10 s, and not at all while
    /// nobody reads them.
    pub async fn dead_letters_sent_on(&self) {
        if let Err(error) = self.tables().reader.call(Empty, EMPTIED_WITHIN).await {
            tracing::warn!(target: "natter::router", %error, "dead letters still wait");
        }
    }

    /// Sends a parcel again whose taker fell, as [`Router::reroute`] does; should this be cut short, by the end
    /// of the process or a panic, the parcel is a dead letter again.
    pub fn resend(&self, letter: Parcel) -> Routing {
        self.reroute(InHand::packet(letter))
    }
}

impl GenServer for DeadLetters {
    const KIND: &'static str = "dead_letters";
    type Args = Router;
    type Call = Empty;
    type Reply = ();
    type Cast = Filled;
    type Info = ();

    async fn init(router: Router, ctx: &mut Ctx<Self>) -> Init<Self> {
        wait_for_letters(&router, ctx);
        Init::Ok(DeadLetters { router })
    }

    async fn handle_call(&mut self, _: Empty, from: From<()>, _ctx: &mut Ctx<Self>) -> Flow {
        self.empty().await;
        from.reply(());
        Flow::Go
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
            self.router.resend(letter).await;
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
