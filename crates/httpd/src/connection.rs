//! A connection: one process, from the accepted socket to its close.
//!
//! Temporary, in a shard of the server's supervisor. One task drives hyper over the socket; requests run within it, or
//! beside it where their reply is out, and all of it ends with the process.

use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::server::conn::{http1, http2};
use net::{PeerAddr, ServerConfig, Ticket, Tls, TlsInfo};
use otp::{Ctx, ExitReason, GenServer, Init};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::Reason;
use crate::aside::Aside;
use crate::h1::Guard;
use crate::link::{Beside, Due, Link};
use crate::request::Connection;
use crate::server::{Place, Service, Shared};

/// The ALPN names of a listener with TLS, for `Certificates::server_config`.
pub const ALPN: &[&[u8]] = &[b"h2", b"http/1.1"];

/// What a connection starts with.
pub(crate) struct Args {
    pub(crate) socket: TcpStream,
    pub(crate) peer: PeerAddr,
    pub(crate) ticket: Option<Ticket>,
    pub(crate) place: Place,
    pub(crate) server: Arc<Shared>,
    pub(crate) tls: Option<Arc<ServerConfig>>,
}

/// The process. Invariant: its task ends it, or it ends its task.
pub(crate) struct Process {
    drain: watch::Sender<bool>,
    done: watch::Receiver<bool>,
    link: Arc<Link>,
}

impl GenServer for Process {
    const KIND: &'static str = "http_connection";
    type Args = Args;
    type Call = ();
    type Reply = ();
    type Cast = ();
    type Info = ();

    async fn init(mut args: Args, ctx: &mut Ctx<Self>) -> Init<Self> {
        ctx.set_kind_label(args.peer.remote.to_string());
        let (drain, draining) = watch::channel(false);
        let (told, done) = watch::channel(false);
        let (clock, limits) = (ctx.clock().clone(), args.server.limits.clone());
        let pid = ctx.pid().clone();
        let link = Link::new(clock, limits, draining, args.ticket.take());
        let driven = link.clone();
        ctx.spawn(async move {
            // What runs beside it ends with it, also when this task is aborted.
            let ending = Ending(driven.clone());
            drive(args, driven).await;
            drop(ending);
            told.send_replace(true);
            pid.stop(ExitReason::Normal);
        });
        Init::Ok(Process { drain, done, link })
    }

    async fn terminate(mut self, reason: &ExitReason, _ctx: &mut Ctx<Self>) {
        if *reason == ExitReason::Normal {
            return;
        }
        self.drain.send_replace(true);
        let done = self.done.wait_for(|done| *done);
        let within = self.link.limits().drain;
        if self.link.clock().timeout(within, done).await.is_err() {
            self.link.set_cause(Reason::Shutdown);
        }
    }
}

/// Ends what runs beside the connection.
struct Ending(Arc<Link>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end_tasks();
    }
}

async fn drive(args: Args, link: Arc<Link>) {
    let Args {
        socket,
        peer,
        place: _place,
        server,
        tls,
        ..
    } = args;
    match tls {
        None => {
            serve(
                socket,
                Connection {
                    peer,
                    tls: None,
                    link,
                    server,
                },
            )
            .await
        }
        Some(config) => {
            let within = server.limits.head_within;
            let shaken = Tls::accept(socket, config, link.clock(), within).await;
            match shaken {
                Ok((stream, info)) => {
                    let connection = Connection {
                        peer,
                        tls: Some(info),
                        link,
                        server,
                    };
                    serve(stream, connection).await;
                }
                Err(error) => {
                    tracing::debug!(target: "natter::httpd", address = %peer.remote, %error, "no TLS");
                }
            }
        }
    }
}

fn speaks_h2(tls: Option<&TlsInfo>) -> bool {
    tls.is_some_and(|tls| tls.alpn.as_deref() == Some(b"h2"))
}

/// Serves a byte stream to its end.
async fn serve<S>(io: S, connection: Connection)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let is_h2 = speaks_h2(connection.tls.as_ref());
    let link = connection.link.clone();
    let limits = connection.server.limits.clone();
    let guard = Guard::new(io, link.clone(), limits.clone(), !is_h2);
    let service = Service(Arc::new(connection));
    if is_h2 {
        let mut builder = http2::Builder::new(Beside(link.clone()));
        builder
            .max_concurrent_streams(limits.streams)
            .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
            .max_send_buf_size(64 * 1024);
        let serving = builder.serve_connection(guard, service);
        let mut serving = std::pin::pin!(serving);
        let ended = watch_over(&link, |cx, ends| {
            if ends {
                serving.as_mut().graceful_shutdown();
            }
            serving.as_mut().poll(cx)
        });
        told(ended.await);
    } else {
        let mut builder = http1::Builder::new();
        builder.header_read_timeout(None);
        let serving = builder.serve_connection(guard, service).with_upgrades();
        let mut serving = std::pin::pin!(serving);
        let ended = watch_over(&link, |cx, ends| {
            if ends {
                serving.as_mut().graceful_shutdown();
            }
            serving.as_mut().poll(cx)
        });
        told(ended.await);
    }
    // A connection that speaks something else now lives in the task that speaks it. Others get the time of a drain for
    // what they still do behind their replies.
    if link.is_raw() {
        raw(&link).await;
    } else {
        let _ = link.clock().timeout(limits.drain, link.tasks_done()).await;
    }
}

fn told(ended: Option<Result<(), hyper::Error>>) {
    if let Some(Err(error)) = ended {
        tracing::debug!(target: "natter::httpd", %error, "connection broke");
    }
}

/// Drives a connection under its time-outs. Gives hyper's result; none if it was cut.
async fn watch_over<T>(
    link: &Arc<Link>,
    mut poll: impl FnMut(&mut Context<'_>, bool) -> Poll<T>,
) -> Option<T> {
    let mut draining = link.draining();
    let mut aside = Aside::new();
    // Whether hyper is told to end the connection when its requests are served.
    let mut ends = link.is_draining();
    loop {
        let until = match link.due() {
            Due::Not(until) => until,
            Due::Idle if !ends => {
                ends = true;
                link.moment()
            }
            Due::Head => {
                link.wake_reader();
                link.moment()
            }
            // It was told to end, and has not.
            Due::Idle => return None,
            Due::Write => {
                link.set_cause(Reason::TimedOut);
                return None;
            }
        };
        let mut tell = ends;
        let driven = std::future::poll_fn(|cx| poll(cx, std::mem::take(&mut tell)));
        let beside = aside.wait(async {
            tokio::select! {
                biased;
                // A sender that is gone is a process that is gone, and this task with it.
                _ = draining.wait_for(|draining| *draining), if !ends => true,
                () = link.clock().sleep_until(until) => ends,
            }
        });
        tokio::select! {
            biased;
            ended = driven => return Some(ended),
            now_ends = beside => ends = now_ends,
        }
    }
}

/// Waits for what speaks another protocol over the connection to end, under the one time-out that is left.
async fn raw(link: &Arc<Link>) {
    while let Due::Not(until) = link.due() {
        tokio::select! {
            biased;
            () = link.tasks_done() => return,
            () = link.clock().sleep_until(until) => {}
        }
    }
    link.set_cause(Reason::TimedOut);
}
