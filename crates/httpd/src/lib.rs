//! An HTTP server with Cowboy's routing and handlers, on `hyper`.
//!
//! A [`routing`] table says which [`Handler`] serves a request. A handler replies, whole or piece by piece, or returns
//! that it goes on as something else ([`Outcome`]): a [`Loop`], a [`WebSocket`], a [`Rest`]
//! resource, anybody's own [`HandlerType`]. Each connection is a supervised process.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use httpd::{Dispatch, Error, Handler, Host, Httpd, Options, Outcome, Path, Request, field};
//! use otp::{App, Clock, Strategy, Supervisor, System};
//!
//! #[derive(Clone)]
//! struct Hats;
//!
//! impl Handler for Hats {
//!     async fn init(&mut self, req: &mut Request) -> Result<Outcome, Error> {
//!         let page = req.binding_int("page").unwrap_or(1);
//!         req.reply_text(200, format!("hats, page {page}"))?;
//!         Ok(Outcome::Done)
//!     }
//! }
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! let system = System::new("example", Clock::real());
//! let httpd = Httpd::new(&system, "http", Options::default());
//! let host = Host::any().path(Path::to("/hats/[:page]", Hats).constrain(field("page").int()));
//! httpd.set_routes(Dispatch::compile(vec![host])?);
//!
//! let bound = Arc::new(net::Bound::bind("127.0.0.1:0".parse()?, 128)?);
//! let gate = net::Gate { admission: net::Admission::new(1000, 100), proxies: None, forwarders: Default::default() };
//! let root = Supervisor::new(Strategy::RestForOne)
//!     .child(httpd.connections("connections", 5, Duration::from_secs(30)))
//!     .child(net::listener_child("http", bound, httpd.door(None), gate, net::ListenerLimits::default()));
//! let app = App::start(root, &system, "root").await?;
//! # app.stop(Duration::from_secs(60)).await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

mod aside;
mod body;
mod client;
mod coding;
mod connection;
mod error;
mod event;
mod file;
pub mod guide;
mod h1;
mod handler;
mod link;
mod looping;
mod mailbox;
mod middleware;
mod reply;
mod request;
mod rest;
pub mod routing;
mod server;
mod statics;
mod streams;
mod urlencoded;
mod websocket;
mod words;

pub use body::{Multipart, Part, Piece, ReadOpts};
pub use client::{Client, ClientError, Target};
pub use connection::ALPN;
pub use error::{Error, ReplyError};
pub use event::Event;
pub use file::FileSource;
pub use handler::{Endpoint, Fixed, Handler, HandlerType, Outcome, Reason, handler_fn};
pub use looping::{Loop, LoopInfo, Next};
pub use mailbox::{MAILBOX_MESSAGES, Mailbox, NotSent, Sender};
pub use middleware::{Middleware, Step, Verdict};
pub use reply::{CookieOptions, Headers};
pub use request::Request;
pub use rest::{
    Accepted, Chosen, Content, Decision, ETag, Halt, MediaType, RangePart, Rest, Satisfiable,
    Source,
};
pub use routing::{Dispatch, Field, Host, Path, Routes, RoutesError, field};
pub use server::{Httpd, Limits, Options};
pub use statics::Static;
pub use streams::{
    AccessLog, Along, Compress, Decompress, Inbound, Metrics, Opening, Outbound, StreamHandler,
    Summary,
};
pub use websocket::{Commands, Flow, Frame, WebSocket, WsOptions};
pub use {headers, http};
