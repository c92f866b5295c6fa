//! Handlers: what they are, what they return, and how their end is told exactly once.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::routing::panic_text;
use crate::server::leave;
use crate::{Error, Request};

/// What a route leads to. The value in the route is cloned for each request, and the clone is that request's state.
pub trait Handler: Clone + Send + Sync + 'static {
    /// Serves the request, or says what shall: see [`Outcome`]. Where nothing was replied in the end, the reply is 204.
    ///
    /// # Errors
    ///
    /// What the error says is replied, unless a reply has begun, which is then cut.
    fn init(&mut self, req: &mut Request) -> impl Future<Output = Result<Outcome, Error>> + Send;

    /// Cleans up. Called exactly once, whatever happened, also when the peer goes and when `init` panics; but not after
    /// [`Outcome::switch`], when it is what was switched to that is told.
    fn terminate(&mut self, reason: &Reason, req: &Request) {
        let _ = (reason, req);
    }
}

/// What a request becomes after `init`.
pub enum Outcome {
    /// It is served. What was replied stands.
    Done,
    /// It is of another type from now on.
    Switch(Box<dyn HandlerType>),
}

impl Outcome {
    /// Goes on as a handler of another type.
    pub fn switch(to: impl HandlerType) -> Outcome {
        Outcome::Switch(Box::new(to))
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Done => "Done",
            Outcome::Switch(_) => "Switch",
        })
    }
}

/// A type of handlers, as plain ones, loops and WebSockets are. Anybody may add one.
pub trait HandlerType: Send + 'static {
    /// Runs the request to its end. `Ok` gives the reason that [`terminate`](Self::terminate) is told.
    ///
    /// # Errors
    ///
    /// As in [`Handler::init`].
    fn upgrade<'a>(&'a mut self, req: &'a mut Request) -> BoxFuture<'a, Result<Reason, Error>>;

    /// As [`Handler::terminate`].
    fn terminate(&mut self, reason: &Reason, req: &Request) {
        let _ = (reason, req);
    }
}

/// Why a request's handler ends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// It did what it had to.
    Normal,
    /// It stopped itself: a loop, a REST flow, a WebSocket.
    Stop,
    /// The peer went away.
    Disconnected,
    /// The peer did not take what was written in time.
    TimedOut,
    /// The connection was stopped.
    Shutdown,
    /// It returned an error.
    Error(Error),
    /// It panicked; the text is the panic's.
    Panic(Arc<str>),
    /// A WebSocket's peer closed it, with a code and a text if it gave them.
    Remote(Option<(u16, String)>),
    /// Nothing came on a WebSocket within its time.
    IdleTimeout,
    /// A WebSocket's peer broke the protocol; the close code that it was told.
    BadFrame(u16),
}

/// A handler with its type forgotten: what stands in a table of routes.
#[derive(Clone)]
pub struct Endpoint {
    handler: Arc<dyn Serve>,
    name: &'static str,
}

impl Endpoint {
    /// Wraps a handler.
    pub fn new<H: Handler>(handler: H) -> Endpoint {
        Endpoint {
            handler: Arc::new(handler),
            name: std::any::type_name::<H>(),
        }
    }

    /// The name of the handler's type, for people.
    pub fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn serve<'a>(&'a self, req: &'a mut Request) -> BoxFuture<'a, ()> {
        self.handler.serve(req)
    }

    /// Serves a request to its end.
    pub(crate) fn serve_alone(&self, req: Request) -> BoxFuture<'static, ()> {
        self.handler.serve_alone(req)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

trait Serve: Send + Sync {
    fn serve<'a>(&self, req: &'a mut Request) -> BoxFuture<'a, ()>;
    fn serve_alone(&self, req: Request) -> BoxFuture<'static, ()>;
}

impl<H: Handler> Serve for H {
    fn serve<'a>(&self, req: &'a mut Request) -> BoxFuture<'a, ()> {
        Box::pin(run(self.clone(), req))
    }

    fn serve_alone(&self, mut req: Request) -> BoxFuture<'static, ()> {
        let handler = self.clone();
        Box::pin(async move {
            run(handler, &mut req).await;
            leave(&mut req);
        })
    }
}

async fn run<H: Handler>(handler: H, req: &mut Request) {
    let mut life = Life {
        of: Some(Plain(handler)),
        req,
    };
    let (of, req) = life.parts();
    let done = AssertUnwindSafe(of.0.init(req)).catch_unwind().await;
    match done {
        Ok(Ok(Outcome::Done)) => life.end(Reason::Normal),
        Ok(Ok(Outcome::Switch(to))) => {
            // It is what was switched to that will be told of the end.
            life.of = None;
            run_type(to, life.req).await;
        }
        Ok(Err(error)) => life.fail(error),
        Err(panic) => life.panicked(&*panic),
    }
}

async fn run_type(to: Box<dyn HandlerType>, req: &mut Request) {
    let mut life = Life { of: Some(to), req };
    let (of, req) = life.parts();
    let done = AssertUnwindSafe(of.upgrade(req)).catch_unwind().await;
    match done {
        Ok(Ok(reason)) => life.end(reason),
        Ok(Err(error)) => life.fail(error),
        Err(panic) => life.panicked(&*panic),
    }
}

/// Who is told of the end.
trait Terminate {
    fn terminate(&mut self, reason: &Reason, req: &Request);
}

struct Plain<H>(H);

impl<H: Handler> Terminate for Plain<H> {
    fn terminate(&mut self, reason: &Reason, req: &Request) {
        self.0.terminate(reason, req);
    }
}

impl Terminate for Box<dyn HandlerType> {
    fn terminate(&mut self, reason: &Reason, req: &Request) {
        (**self).terminate(reason, req);
    }
}

/// A handler from its start to its end, which is told exactly once: at the latest when this is dropped.
struct Life<'a, T: Terminate> {
    of: Option<T>,
    req: &'a mut Request,
}

impl<T: Terminate> Life<'_, T> {
    fn parts(&mut self) -> (&mut T, &mut Request) {
        (self.of.as_mut().expect("it has not ended"), self.req)
    }

    fn fail(self, error: Error) {
        if error.status().is_server_error() {
            tracing::warn!(target: "natter::httpd", path = self.req.path(), %error, "request failed");
        } else {
            tracing::debug!(target: "natter::httpd", path = self.req.path(), %error, "request refused");
        }
        self.req.answer_error(&error);
        self.end(Reason::Error(error));
    }

    fn panicked(self, panic: &(dyn std::any::Any + Send)) {
        let text = panic_text(panic);
        tracing::error!(target: "natter::httpd", path = self.req.path(), panic = text, "handler panicked");
        self.req
            .answer_error(&Error::internal("the handler panicked"));
        self.end(Reason::Panic(text.into()));
    }

    fn end(mut self, reason: Reason) {
        self.tell(&reason);
    }

    fn tell(&mut self, reason: &Reason) {
        let Some(mut of) = self.of.take() else { return };
        let req = &*self.req;
        let told = std::panic::catch_unwind(AssertUnwindSafe(move || of.terminate(reason, req)));
        if let Err(panic) = told {
            let text = panic_text(&*panic);
            tracing::error!(target: "natter::httpd", path = req.path(), panic = text, "terminate panicked");
        }
    }
}

impl<T: Terminate> Drop for Life<'_, T> {
    fn drop(&mut self) {
        if self.of.is_some() {
            let cause = self.req.link().cause();
            self.tell(&cause);
        }
    }
}

/// A handler of a state and a function of the request and that state.
pub fn handler_fn<S, F>(state: S, function: F) -> impl Handler
where
    S: Clone + Send + Sync + 'static,
    F: for<'a> Fn(&'a mut Request, &'a mut S) -> BoxFuture<'a, Result<Outcome, Error>>
        + Clone
        + Send
        + Sync
        + 'static,
{
    Function { state, function }
}

#[derive(Clone)]
struct Function<S, F> {
    state: S,
    function: F,
}

impl<S, F> Handler for Function<S, F>
where
    S: Clone + Send + Sync + 'static,
    F: for<'a> Fn(&'a mut Request, &'a mut S) -> BoxFuture<'a, Result<Outcome, Error>>
        + Clone
        + Send
        + Sync
        + 'static,
{
    async fn init(&mut self, req: &mut Request) -> Result<Outcome, Error> {
        (self.function)(req, &mut self.state).await
    }
}

/// A handler that always replies the same.
#[derive(Clone, Debug)]
pub struct Fixed {
    status: u16,
    content_type: &'static str,
    body: Bytes,
}

impl Fixed {
    /// Replies `status` with a text.
    pub fn text(status: u16, text: impl Into<Bytes>) -> Fixed {
        Fixed::new(status, "text/plain; charset=utf-8", text)
    }

    /// Replies `status` with a body of that type.
    pub fn new(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Fixed {
        Fixed {
            status,
            content_type,
            body: body.into(),
        }
    }
}

impl Handler for Fixed {
    async fn init(&mut self, req: &mut Request) -> Result<Outcome, Error> {
        req.reply(
            self.status,
            [("content-type", self.content_type)],
            self.body.clone(),
        )?;
        Ok(Outcome::Done)
    }
}
