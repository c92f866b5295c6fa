//! Middlewares: what each request goes through, in order.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::{Error, Request};

/// A step before, between or behind the router and the handler. What it leaves in [`Request::env`] the others see.
pub trait Middleware: Send + Sync + 'static {
    /// Looks at the request, and perhaps replies.
    ///
    /// # Errors
    ///
    /// What the error says is replied, and no further step is made.
    fn execute<'a>(&'a self, req: &'a mut Request) -> BoxFuture<'a, Result<Verdict, Error>>;
}

/// Whether a request goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// To the next step.
    Go,
    /// It is done: what was replied stands, and if nothing was the reply is 204.
    Stop,
}

/// One step.
#[derive(Clone)]
pub enum Step {
    /// Finds the route; 400 or 404 where there is none.
    Router,
    /// Runs the handler that the router found.
    Handler,
    /// A middleware.
    Own(Arc<dyn Middleware>),
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Router => "Router",
            Step::Handler => "Handler",
            Step::Own(_) => "Own",
        })
    }
}
