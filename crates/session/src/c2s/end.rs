//! The end of a session: what waits is written or given back, and those who saw it are told.

use std::sync::Arc;
use std::time::Duration;

use otp::{Ctx, ExitReason, Flow};
use router::{Flags, Parcel};
use stream::Detached;
use tokio::sync::oneshot;
use xmpp::{StreamCondition, StreamError};

use super::{C2s, Cast, Mark, seldom};
use crate::presence;

/// How long an ending session may take to write what waits, before it is cut off.
const END_WITHIN: Duration = Duration::from_secs(8);

/// How far the end of a session has come.
#[derive(Default)]
pub(super) struct End {
    /// The stream's end was ordered: nothing is written for the client from now on.
    pub(super) ordered: bool,
    /// What was given to it before it left the table has come.
    pub(super) closed: bool,
    /// What was to be written is, or never will be.
    pub(super) said: bool,
    /// The connection is gone, and the IO task.
    pub(super) detached: bool,
}

impl C2s {
    /// Orders the end of the stream: what waits is written first, then `error`, then the closing tag.
    pub(super) async fn end(&mut self, error: Option<StreamError>, ctx: &Ctx<Self>) {
        if self.end.ordered {
            return;
        }
        // Before the client can come back.
        self.shut(ctx);
        self.io.close(error);
        self.withdraw().await;
    }

    /// The client does not read what it is sent: nothing more is written but the reason.
    pub(super) async fn overrun(&mut self, ctx: &Ctx<Self>) {
        self.cut(StreamCondition::ResourceConstraint, ctx).await;
    }

    /// A new session has its address.
    pub(super) async fn replaced(&mut self, gone: oneshot::Sender<()>, ctx: &Ctx<Self>) {
        self.cut(StreamCondition::Conflict, ctx).await;
        let _ = gone.send(());
    }

    async fn cut(&mut self, why: StreamCondition, ctx: &Ctx<Self>) {
        if self.end.ordered {
            return;
        }
        self.shut(ctx);
        self.io.cut(Some(StreamError::from(why)));
        self.withdraw().await;
    }

    /// From now on nobody delivers here.
    fn shut(&mut self, ctx: &Ctx<Self>) {
        self.end.ordered = true;
        if let Some(live) = &self.live {
            self.sessions.table.close(&live.entry);
            // To itself; a process that is stopped waits for it no more.
            let _ = ctx.pid().cast(Cast::Mark(Mark::Closed));
        }
    }

    /// Tells those who saw the session that it is gone.
    async fn withdraw(&mut self) {
        if let Some(live) = &self.live {
            let entry = Arc::clone(&live.entry);
            presence::withdraw(&self.sessions, &entry).await;
        }
    }

    /// The connection is gone: always the IO task's last word.
    pub(super) async fn detached(&mut self, why: &Detached, ctx: &Ctx<Self>) {
        tracing::debug!(target: "natter::session", jid = ?self.live.as_ref().map(|l| l.full.to_string()), %why, "connection gone");
        if !self.end.ordered {
            self.shut(ctx);
            self.withdraw().await;
        }
        self.end.said = true;
        self.end.detached = true;
    }

    /// After each message: gives back what was not written once nothing more can come, and stops once the
    /// connection is gone as well.
    pub(super) async fn go_on_or_stop(&mut self) -> Flow {
        if self.live.is_some() {
            if !(self.end.closed && self.end.said) {
                return Flow::Go;
            }
            seldom(self.settle()).await;
        }
        if self.end.detached {
            return Flow::Stop(ExitReason::Normal);
        }
        Flow::Go
    }

    /// Orderly end by a supervisor, mostly of the whole server: what waits is written, then the stream is
    /// closed.
    pub(super) async fn last_words(mut self, reason: &ExitReason, ctx: &mut Ctx<Self>) {
        let condition = match reason {
            ExitReason::Normal | ExitReason::Shutdown => StreamCondition::SystemShutdown,
            _ => StreamCondition::InternalServerError,
        };
        // Unless it is ending already.
        self.end(Some(StreamError::from(condition)), ctx).await;
        // At once when the connection is gone already.
        let detached = Arc::clone(&self.detached);
        let _ = ctx.clock().timeout(END_WITHIN, detached.notified()).await;
        self.end.detached = true;
        self.settle().await;
    }

    /// Gives back, in order, what was not written: to its place in the offline queue, to another resource
    /// or to its sender. Then others may hand out the queue.
    async fn settle(&mut self) {
        let unwritten = if self.end.detached {
            self.io.drain()
        } else {
            // The rest has been written: the stream ends as it should.
            self.io.held_back()
        };
        let Some(mut live) = self.live.take() else {
            return;
        };
        let router = self.sessions.router.clone();
        // The messages of the queue first: they only tell their page that they were not written.
        let is_from_queue = |parcel: &Parcel| parcel.get().meta.flags.contains(Flags::FROM_OFFLINE);
        let (from_queue, left): (Vec<Parcel>, Vec<Parcel>) =
            unwritten.into_iter().partition(is_from_queue);
        for parcel in from_queue {
            parcel.take().drop_by_rule();
        }
        if let Some(flush) = live.queue.flush() {
            flush.settle_page(&router, &live.entry).await;
        }
        for parcel in left.into_iter().chain(live.queue.release()) {
            router.resend(parcel).await;
        }
        if self.sessions.table.forget(&live.entry) {
            self.sessions.flush_offline(&live.account);
        }
        tracing::info!(target: "natter::session", jid = %live.full, "session closed");
    }
}
