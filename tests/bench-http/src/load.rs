//! Who asks: connections that are kept, each with one request at a time.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use otp::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::servers::{BODY, KINDS, REQUEST};

/// Connections at once.
pub const CONNECTIONS: usize = 32;

/// One server in one round.
#[derive(Clone, Copy)]
pub struct Round {
    pub requests_a_second: f64,
    /// CPU time of the server for a request, in microseconds.
    pub cpu: f64,
}

struct Server {
    child: Child,
    ask: ChildStdin,
    said: BufReader<ChildStdout>,
    address: String,
}

impl Server {
    fn start(kind: &str) -> Result<Server, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut child = Command::new(program)
            .args(["serve", kind])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{kind} does not start: {error}"))?;
        let ask = child.stdin.take().expect("it is piped");
        let mut said = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut address = String::new();
        said.read_line(&mut address)
            .map_err(|error| format!("{kind} says nothing: {error}"))?;
        let address = address.trim().to_owned();
        Ok(Server {
            child,
            ask,
            said,
            address,
        })
    }

    /// CPU time so far, in nanoseconds.
    fn used(&mut self) -> Result<f64, String> {
        let mut line = String::new();
        self.ask
            .write_all(b"\n")
            .and_then(|()| self.said.read_line(&mut line))
            .map_err(|error| error.to_string())?;
        line.trim()
            .parse()
            .map_err(|_| format!("the server said {line:?}"))
    }

    fn end(self) {
        let Server { mut child, ask, .. } = self;
        drop(ask);
        let _ = child.wait();
    }
}

/// Rounds of each server, in the order of [`KINDS`].
pub fn measure(rounds: usize, requests: usize) -> Result<Vec<Vec<Round>>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let mut servers = Vec::new();
    for kind in KINDS {
        servers.push(Server::start(kind)?);
    }
    let mut measured = vec![Vec::new(); KINDS.len()];
    // The first round warms up and is thrown away. Each begins with another server.
    for round in 0..=rounds {
        for turn in 0..servers.len() {
            let number = (round + turn) % servers.len();
            let server = &mut servers[number];
            let clock = Clock::real();
            let (began, used) = (clock.now(), server.used()?);
            runtime
                .block_on(ask_all(&server.address, requests))
                .map_err(|error| format!("{}: {error}", KINDS[number]))?;
            let (took, used) = (clock.now() - began, server.used()? - used);
            if round > 0 {
                measured[number].push(Round {
                    requests_a_second: requests as f64 / took.as_secs_f64(),
                    cpu: used / 1000.0 / requests as f64,
                });
            }
        }
    }
    servers.into_iter().for_each(Server::end);
    Ok(measured)
}

async fn ask_all(address: &str, requests: usize) -> std::io::Result<()> {
    let mut asking = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        asking.push(tokio::spawn(async move {
            let mut length = first(&mut socket).await?;
            for _ in 1..requests / CONNECTIONS {
                socket.write_all(REQUEST).await?;
                // All replies are of one length: the date always is.
                let mut space = [0; 1024];
                let reply = &mut space[..length];
                socket.read_exact(reply).await?;
                length = whole(reply)?;
            }
            Ok::<_, std::io::Error>(())
        }));
    }
    for one in asking {
        one.await.map_err(std::io::Error::other)??;
    }
    Ok(())
}

/// Asks for the first time; gives the length of the reply.
async fn first(socket: &mut TcpStream) -> std::io::Result<usize> {
    socket.write_all(REQUEST).await?;
    let mut reply = Vec::new();
    while !reply.ends_with(BODY) {
        if socket.read_buf(&mut reply).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    whole(&reply)
}

/// The length of a reply that is what it must be.
fn whole(reply: &[u8]) -> std::io::Result<usize> {
    if reply.starts_with(b"HTTP/1.1 200 OK\r\n") && reply.ends_with(BODY) {
        return Ok(reply.len());
    }
    let text = String::from_utf8_lossy(reply);
    Err(std::io::Error::other(format!("another reply: {text:?}")))
}
