//! The control door: serves the node's commands on its Unix socket.
//!
//! One process, permanent, a child of whoever the supervision tree says. It owns the accepting task, which owns the
//! tasks of the clients: all end with it, and its restart takes up the socket where it was. A client is this user or
//! root (SO_PEERCRED); at most [`MOST_CLIENTS`] are served at once, the rest wait in the system's queue. A client that
//! does not finish a request, or does not take its answer, within [`PATIENCE`] is let go.

use crate::commands::Commands;
use crate::frame::{self, LARGEST_REQUEST, Request};
use crate::role::{Caller, Door};
use crate::socket::ControlSocket;
use otp::{ChildSpec, Ctx, ExitReason, GenServer, Init};
use std::convert::Infallible;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use zeroize::Zeroizing;

/// Clients served at once.
pub const MOST_CLIENTS: usize = 64;

/// How long a client may take to finish a request or to take an answer, 30 s.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How long accepting rests when the system refuses, such as for want of file descriptors.
const REST: Duration = Duration::from_millis(100);

/// Gives the child spec of the process that serves `commands` on `socket`.
pub fn child_spec(id: impl Into<String>, socket: ControlSocket, commands: Commands) -> ChildSpec {
    ChildSpec::worker::<Control>(id, move || (socket.clone(), commands.clone()))
}

/// The process behind the control socket.
pub struct Control {
    socket: ControlSocket,
}

impl GenServer for Control {
    const KIND: &'static str = "control";
    type Args = (ControlSocket, Commands);
    type Call = Infallible;
    type Reply = ();
    type Cast = Infallible;
    type Info = Infallible;

    async fn init((socket, commands): Self::Args, ctx: &mut Ctx<Self>) -> Init<Self> {
        let opened = socket.listener().map_err(|error| error.to_string());
        let listener = opened.and_then(|(listener, owner)| {
            let listener = UnixListener::from_std(listener).map_err(|error| error.to_string())?;
            Ok((listener, owner))
        });
        let (listener, owner) = match listener {
            Ok(opened) => opened,
            Err(error) => return Init::Stop(ExitReason::error(error)),
        };
        ctx.set_kind_label(socket.path().display().to_string());
        ctx.spawn(accept(listener, owner, commands));
        Init::Ok(Control { socket })
    }

    async fn terminate(self, _reason: &ExitReason, _ctx: &mut Ctx<Self>) {
        self.socket.close();
    }
}

/// Accepts clients for ever. Each is a task of its own, so that the panic of one is not felt by the others.
async fn accept(listener: UnixListener, owner: u32, commands: Commands) {
    let mut clients = JoinSet::new();
    loop {
        while clients.len() >= MOST_CLIENTS {
            note(clients.join_next().await);
        }
        tokio::select! {
            ended = clients.join_next(), if !clients.is_empty() => note(ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    clients.spawn(client(stream, owner, commands.clone()));
                }
                Err(error) => {
                    tracing::warn!(target: "natter::admin", %error, "control socket does not accept");
                    commands.clock().sleep(REST).await;
                }
            },
        }
    }
}

fn note(ended: Option<Result<(), tokio::task::JoinError>>) {
    if let Some(Err(error)) = ended {
        tracing::error!(target: "natter::admin", %error, "serving a control client crashed");
    }
}

async fn client(stream: UnixStream, owner: u32, commands: Commands) {
    let uid = match stream.peer_cred() {
        Ok(peer) if peer.uid() == owner || peer.uid() == 0 => peer.uid(),
        Ok(peer) => {
            tracing::warn!(target: "natter::admin", uid = peer.uid(), "control client of another user refused");
            return;
        }
        Err(error) => {
            tracing::warn!(target: "natter::admin", %error, "control client without credentials refused");
            return;
        }
    };
    let caller = Caller::admin(format!("uid {uid}"), Door::Ctl);
    if let Err(error) = serve(stream, &caller, &commands).await {
        tracing::debug!(target: "natter::admin", %error, "control client lost");
    }
}

/// Answers one request after the other until the client goes, or is let go.
async fn serve(stream: UnixStream, caller: &Caller, commands: &Commands) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = Zeroizing::new(Vec::new());
        // One byte more than allowed tells a request that is too large from one that is just large enough.
        let mut bounded = (&mut read).take(LARGEST_REQUEST as u64 + 1);
        match commands
            .clock()
            .timeout(PATIENCE, bounded.read_until(b'\n', &mut line))
            .await
        {
            Ok(done) => done?,
            Err(_) => {
                let message = format!("no request within {} s", PATIENCE.as_secs());
                return say(&mut write, &frame::protocol_line(&message), commands).await;
            }
        };
        if line.is_empty() {
            return Ok(());
        }
        if line.len() > LARGEST_REQUEST {
            return say(
                &mut write,
                &frame::protocol_line("the request is larger than 1 MiB"),
                commands,
            )
            .await;
        }
        let request = match Request::parse(&line) {
            Ok(request) => request,
            Err(message) => {
                say(&mut write, &frame::protocol_line(message), commands).await?;
                continue;
            }
        };
        drop(line);
        let deadline = commands.deadline(&request.command).unwrap_or_default();
        say(&mut write, &frame::wait_line(deadline), commands).await?;
        let answer = match commands
            .execute_told(caller, &request.command, &request.given)
            .await
        {
            Ok((value, exposed)) => frame::done_line(&value, exposed, request.json),
            Err(error) => frame::error_line(&error),
        };
        say(&mut write, &answer, commands).await?;
    }
}

async fn say(write: &mut OwnedWriteHalf, line: &str, commands: &Commands) -> io::Result<()> {
    let written = commands
        .clock()
        .timeout(PATIENCE, write.write_all(line.as_bytes()))
        .await;
    written.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)))
}
