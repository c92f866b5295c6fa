//! `natterd` as a program of its own that is killed, stopped and started again on the same data.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rustls::RootCertStore;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStdout, Command};

use crate::authority::Authority;
use crate::binary::lay_out;
use crate::deadline::within;
use crate::stage::{Asked, Door, NO_HTTP, Server, Unable};

/// How a program is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// At once, with nothing written any more: `kill -9`.
    Kill,
    /// In order, as a service manager does.
    Term,
}

/// A place with configuration, certificates and data, where `natterd` runs again and again.
pub struct Place {
    folder: TempDir,
    authority: Authority,
    natterd: PathBuf,
}

impl Place {
    /// Prepares one, and builds `natterd` where this program was built. `extra` lines are added to the usual
    /// configuration.
    ///
    /// # Errors
    ///
    /// A sentence when files cannot be written or the program cannot be built.
    pub async fn new(extra: &str) -> Result<Place, String> {
        let natterd = built().await?;
        let folder =
            tempfile::tempdir().map_err(|error| format!("a folder for its data: {error}"))?;
        let authority = lay_out(folder.path(), extra)?;
        Ok(Place {
            folder,
            authority,
            natterd,
        })
    }

    /// Starts `natterd`, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// A sentence when it is not.
    pub async fn start(&self) -> Result<Program, String> {
        let mut child = Command::new(&self.natterd)
            .arg("--config")
            .arg(self.folder.path().join("natter.toml"))
            .env("NATTER_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("starting {}: {error}", self.natterd.display()))?;
        let stdout = child.stdout.take().ok_or("natterd has no stdout")?;
        let mut lines = BufReader::new(stdout).lines();
        let ready = within(ready(&mut lines)).await;
        let ready = ready.map_err(|_| "natterd was not ready in time")??;
        let apart = |character: char| character.is_whitespace() || "=()".contains(character);
        let addresses: Vec<SocketAddr> = ready
            .split(apart)
            .filter_map(|word| word.parse().ok())
            .collect();
        match addresses.len() {
            3 => Ok(Program {
                child: tokio::sync::Mutex::new(child),
                addresses,
                roots: self.authority.roots(),
                authority: self.authority.pem(),
                socket: self.folder.path().join("data").join("control.sock"),
                _stdout: lines,
            }),
            _ => Err(format!("three addresses expected in {ready:?}")),
        }
    }
}

async fn ready(lines: &mut Lines<BufReader<ChildStdout>>) -> Result<String, String> {
    loop {
        match lines.next_line().await {
            Ok(Some(line)) if line.starts_with("natterd ready") => return Ok(line),
            Ok(Some(_)) => {}
            Ok(None) => return Err("natterd ended before it was ready".to_owned()),
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Builds `natterd` in the profile and target folder of this program, so that it is never an old one.
async fn built() -> Result<PathBuf, String> {
    static ONCE: tokio::sync::OnceCell<PathBuf> = tokio::sync::OnceCell::const_new();
    let path = ONCE.get_or_try_init(|| async {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        // target/<profile>/deps/<this program>
        let profile = program
            .ancestors()
            .nth(2)
            .ok_or("this program lies nowhere")?
            .to_owned();
        let target = profile.parent().ok_or("this program lies nowhere")?;
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        // As part of the whole workspace, so that what `cargo test --workspace` built is good for it.
        build.args(["build", "--quiet", "--workspace", "--bin", "natterd"]);
        // What cargo told this program about this package would make build scripts run anew.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                build.env_remove(&*name);
            }
        }
        build
            .arg("--target-dir")
            .arg(target)
            .current_dir(crate::run::here());
        if profile.ends_with("release") {
            build.arg("--release");
        }
        let output = build
            .output()
            .await
            .map_err(|error| format!("building natterd: {error}"))?;
        match output.status.success() {
            true => Ok(profile.join("natterd")),
            false => Err(format!(
                "building natterd: {}",
                String::from_utf8_lossy(&output.stderr)
            )),
        }
    });
    path.await.cloned()
}

/// A running `natterd`. Killed when it is dropped.
pub struct Program {
    child: tokio::sync::Mutex<Child>,
    addresses: Vec<SocketAddr>,
    roots: RootCertStore,
    authority: String,
    socket: PathBuf,
    /// Read no more, but open: who prints must not fail.
    _stdout: Lines<BufReader<ChildStdout>>,
}

impl Program {
    /// Sends a signal.
    ///
    /// # Errors
    ///
    /// A sentence when it has ended or `kill` cannot be run.
    pub async fn signal(&self, signal: Signal) -> Result<(), String> {
        let mut child = self.child.lock().await;
        if signal == Signal::Kill {
            return child
                .start_kill()
                .map_err(|error| format!("killing natterd: {error}"));
        }
        let id = child.id().ok_or("natterd has ended already")?;
        // What every shell has built in; asking the system ourselves would be unsafe code.
        let order = format!("kill -TERM {id}");
        match Command::new("/bin/sh").args(["-c", &order]).status().await {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("{order}: {status}")),
            Err(error) => Err(format!("{order}: {error}")),
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// A sentence when it does not end in time.
    pub async fn ended(&self) -> Result<ExitStatus, String> {
        let mut child = self.child.lock().await;
        let ended = within(child.wait())
            .await
            .map_err(|_| "natterd did not end in time")?;
        ended.map_err(|error| error.to_string())
    }

    /// Runs a command over the control socket, as `natterctl` does.
    async fn command(&self, words: &[String]) -> Result<Asked, String> {
        let (command, args) = words.split_first().ok_or("a command is missing")?;
        let say = |error: std::io::Error| format!("control socket: {error}");
        let mut socket = UnixStream::connect(&self.socket).await.map_err(say)?;
        let request = json!({ "command": command, "args": args });
        socket
            .write_all(format!("{request}\n").as_bytes())
            .await
            .map_err(say)?;
        let mut lines = BufReader::new(socket).lines();
        while let Some(line) = lines.next_line().await.map_err(say)? {
            let answer: Value =
                serde_json::from_str(&line).map_err(|error| format!("{line}: {error}"))?;
            if let Some(text) = answer.get("text").and_then(Value::as_str) {
                return Ok(Asked::Output(text.to_owned()));
            }
            if let Some(error) = answer.get("error") {
                let message = error
                    .get("message")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                return Ok(Asked::Refused(message.to_owned()));
            }
        }
        Err(format!("{command}: no answer"))
    }
}

impl Server for Program {
    fn address(&self, door: Door) -> Result<SocketAddr, Unable> {
        match door {
            Door::Plain => Ok(self.addresses[0]),
            Door::StartTls => Ok(self.addresses[1]),
            Door::DirectTls => Ok(self.addresses[2]),
            Door::WebSocket | Door::Bosh => Err(NO_HTTP),
        }
    }

    fn roots(&self) -> RootCertStore {
        self.roots.clone()
    }

    fn authority_pem(&self) -> String {
        self.authority.clone()
    }

    fn register<'a>(
        &'a self,
        account: &'a str,
        password: &'a str,
    ) -> BoxFuture<'a, Result<(), String>> {
        async move {
            let (user, host) = account.split_once('@').ok_or("an account is user@host")?;
            let words = ["register", user, host, password].map(str::to_owned);
            match within(self.command(&words))
                .await
                .map_err(|_| "no answer in time")??
            {
                Asked::Output(_) => Ok(()),
                Asked::Refused(why) => Err(format!("registering {account}: {why}")),
            }
        }
        .boxed()
    }

    fn admin(&self, words: Vec<String>) -> BoxFuture<'_, Result<Asked, Unable>> {
        async move {
            match within(self.command(&words)).await {
                Ok(Ok(asked)) => Ok(asked),
                Ok(Err(why)) => Ok(Asked::Refused(why)),
                Err(_) => Ok(Asked::Refused("no answer in time".to_owned())),
            }
        }
        .boxed()
    }

    fn advance(&self, _by: Duration) -> BoxFuture<'_, Result<(), Unable>> {
        async { Err(Unable("its clock is the real one")) }.boxed()
    }

    fn tree(&self) -> BoxFuture<'_, Result<String, Unable>> {
        async {
            match self.admin(vec!["tree".to_owned()]).await? {
                Asked::Output(tree) | Asked::Refused(tree) => Ok(tree),
            }
        }
        .boxed()
    }

    fn trace(&self) -> Result<Vec<String>, Unable> {
        Err(Unable("its trace goes to its log"))
    }

    fn settle(&self) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, ()> {
        async move {
            // One that has ended already needs no order.
            let _ = self.signal(Signal::Term).await;
            let _ = self.ended().await;
        }
        .boxed()
    }
}
