//! How long routing, hooks and IQ handlers take.

use otp::Histogram;

use crate::Router;

/// What is measured. One call of 64 of routes and hooks, for a message passes many of them; each IQ handler.
#[derive(Debug, Default)]
pub struct Latencies {
    /// From [`Router::route`] until the packet is handed over: stored, in mailboxes, answered.
    pub routes: Histogram,
    /// Folds that anybody listens to, with all handlers.
    pub hooks: Histogram,
    /// Handlers of IQ tables.
    pub iqs: Histogram,
}

impl Router {
    /// How long things have taken since the server began.
    #[must_use]
    pub fn latencies(&self) -> &Latencies {
        &self.tables().latencies
    }
}
