//! `start`: how long a server takes from its start until it accepts a connection, and what it weighs then.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::Run;
use crate::failure::Failure;
use crate::gauge::Spent;
use crate::latency::Latency;
use crate::outcome::Outcome;
use crate::peek;
use crate::proc::Watched;

/// Time between two looks at a door that is not open yet.
const LOOK: Duration = Duration::from_millis(1);
/// Time that a server gets to come to rest before it is weighed.
const REST: Duration = Duration::from_secs(2);

/// Starts a server, waits until it accepts a connection at --host and --port, weighs it two seconds later, ends it.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The server's command line; it has to stay in the foreground.
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
}

/// A server of ours: it is ended whatever becomes of the run.
struct Started(Child);

impl Started {
    /// Asks it to end and waits; kills it when it does not within `within`.
    async fn end(&mut self, within: Duration) {
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let began = peek::now();
        while matches!(self.0.try_wait(), Ok(None)) && peek::now() - began < within {
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// Does it.
///
/// # Errors
///
/// A command that cannot be started, that ends by itself, or that opens no door in time.
pub async fn run(run: &Run, options: &Options) -> Result<Vec<Outcome>, Failure> {
    let Some((program, arguments)) = options.command.split_first() else {
        return Err(Failure::Usage(
            "start needs a command: start -- SERVER ARGUMENTS".to_owned(),
        ));
    };
    let address = run.target.address;
    if TcpStream::connect(address).await.is_ok() {
        return Err(Failure::new(format!(
            "somebody listens on {address} already"
        )));
    }
    let began = peek::now();
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| Failure::new(format!("starting {program}: {error}")))?;
    let mut started = Started(child);
    while TcpStream::connect(address).await.is_err() {
        if let Ok(Some(status)) = started.0.try_wait() {
            return Err(Failure::new(format!("{program} ended by itself: {status}")));
        }
        if peek::now() - began > run.target.within {
            return Err(Failure::new(format!(
                "{program} did not listen on {address} within {} s (--timeout)",
                run.target.within.as_secs()
            )));
        }
        sleep(LOOK).await;
    }
    let ready = peek::now() - began;
    let server = Watched::new(started.0.id())?;
    let cpu = server.cpu().map(|cpu| cpu.total());
    sleep(REST).await;
    let (memory, threads) = (server.pss(), server.threads());
    started.end(run.target.within).await;
    let spent = Spent {
        wall: ready,
        server: cpu,
        own: None,
    };
    let mut outcome = Outcome::new("start", "start", 1, spent, &Latency::new())
        .with("ready_ms", ready.as_secs_f64() * 1e3)
        .with("threads", threads as f64);
    if let Some(bytes) = memory {
        outcome = outcome.with("empty_MB", bytes as f64 / 1e6);
    }
    Ok(vec![outcome])
}
