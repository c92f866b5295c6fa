//! `natterd` as it is shipped, in a process of its own, with data of its own.
//!
//! Its clock is the real one and its trace goes to its log: scenarios that need either are skipped.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rustls::RootCertStore;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::authority::Authority;
use crate::deadline::within;
use crate::stage::{
    Asked, Door, Failure, HOSTS, NO_HTTP, Server, Troupe, Unable, http_config, usual_config,
};

/// Starts `natterd` processes.
pub struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    /// Takes `natterd` and `natterctl` from `folder`.
    pub fn from(folder: PathBuf) -> Binaries {
        Binaries { folder }
    }

    /// Takes them from where cargo put this program.
    ///
    /// # Errors
    ///
    /// A sentence when this program's own place cannot be known.
    pub fn beside_this_program() -> Result<Binaries, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let folder = program.parent().ok_or("this program lies nowhere")?;
        Ok(Binaries::from(folder.to_owned()))
    }

    async fn launch(&self, extra: &str) -> Result<Natterd, String> {
        let say = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
        let folder = tempfile::tempdir().map_err(|error| say("a folder for its data", &error))?;
        let authority = lay_out(folder.path(), extra)?;
        let mut child = Command::new(self.folder.join("natterd"))
            .arg("--config")
            .arg(folder.path().join("natter.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| say("starting natterd", &error))?;
        let stdout = child.stdout.take().ok_or("natterd has no stdout")?;
        let mut lines = BufReader::new(stdout).lines();
        let ready = within(async {
            loop {
                match lines.next_line().await {
                    Ok(Some(line)) if line.starts_with("natterd ready") => return Ok(line),
                    Ok(Some(_)) => {}
                    Ok(None) => return Err("natterd ended before it was ready".to_owned()),
                    Err(error) => return Err(error.to_string()),
                }
            }
        })
        .await
        .map_err(|_| "natterd was not ready in time".to_owned())??;
        let http = http_address(&ready);
        let addresses = addresses(&ready);
        if addresses.len() < 3 {
            return Err(format!("three addresses expected in {ready:?}"));
        }
        Ok(Natterd {
            child,
            folder,
            addresses,
            http,
            authority,
            natterctl: self.folder.join("natterctl"),
        })
    }
}

/// Writes configuration and certificates into `folder`.
///
/// # Errors
///
/// A sentence when a file cannot be written or no key can be made.
pub fn lay_out(folder: &Path, extra: &str) -> Result<Authority, String> {
    let write = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).map_err(|error| format!("writing {name}: {error}"))
    };
    std::fs::create_dir(folder.join("certs"))
        .map_err(|error| format!("creating certs: {error}"))?;
    let authority = certify(folder)?;
    write(
        "natter.toml",
        &format!("data_dir = \"data\"\n{}\n{extra}\n", usual_config()),
    )?;
    Ok(authority)
}

/// Founds an authority and writes certificates of its own for all hosts, over those there are.
pub(crate) fn certify(folder: &Path) -> Result<Authority, String> {
    let authority = Authority::new()?;
    for host in HOSTS {
        let service = format!("*.{host}");
        let path = folder.join(format!("certs/{host}.pem"));
        let text = authority.sign(&[host, &service])?;
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(authority)
}

/// All socket addresses in a line, in order.
fn addresses(line: &str) -> Vec<SocketAddr> {
    let apart = |character: char| character.is_whitespace() || ",;=()".contains(character);
    line.split(apart)
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// The first address for HTTP in a line.
fn http_address(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("http")?;
    addresses(rest).first().copied()
}

impl Troupe for Binaries {
    fn start<'a>(
        &'a self,
        extra: &'a str,
        http: bool,
    ) -> BoxFuture<'a, Result<Box<dyn Server>, Failure>> {
        async move {
            let launched = match http {
                true => self.launch(&http_config(extra)).await,
                false => self.launch(extra).await,
            };
            let natterd = launched.map_err(Failure::Failed)?;
            Ok(Box::new(natterd) as Box<dyn Server>)
        }
        .boxed()
    }

    fn at_once(&self) -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }
}

struct Natterd {
    child: Child,
    folder: TempDir,
    addresses: Vec<SocketAddr>,
    http: Option<SocketAddr>,
    authority: Authority,
    natterctl: PathBuf,
}

impl Natterd {
    async fn command(&self, words: &[String]) -> Result<Asked, Unable> {
        let run = Command::new(&self.natterctl)
            .arg("--config")
            .arg(self.folder.path().join("natter.toml"))
            .args(words)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        Ok(match within(run).await {
            Ok(Ok(output)) => {
                let printed = format!(
                    "{}{}",
                    String::from_utf8_lossy(&output.stdout),
                    String::from_utf8_lossy(&output.stderr)
                );
                match output.status.success() {
                    true => Asked::Output(printed),
                    false => Asked::Refused(printed),
                }
            }
            Ok(Err(error)) => Asked::Refused(format!("natterctl did not start: {error}")),
            Err(_) => Asked::Refused("natterctl did not answer in time".to_owned()),
        })
    }
}

impl Server for Natterd {
    fn address(&self, door: Door) -> Result<SocketAddr, Unable> {
        match door {
            Door::Plain => Ok(self.addresses[0]),
            Door::StartTls => Ok(self.addresses[1]),
            Door::DirectTls => Ok(self.addresses[2]),
            Door::WebSocket | Door::Bosh => self.http.ok_or(NO_HTTP),
        }
    }

    fn roots(&self) -> RootCertStore {
        self.authority.roots()
    }

    fn authority_pem(&self) -> String {
        self.authority.pem()
    }

    fn register<'a>(
        &'a self,
        account: &'a str,
        password: &'a str,
    ) -> BoxFuture<'a, Result<(), String>> {
        async move {
            let (user, host) = account.split_once('@').ok_or("an account is user@host")?;
            let words = ["register", user, host, password].map(str::to_owned);
            match self.command(&words).await {
                Ok(Asked::Output(_)) => Ok(()),
                Ok(Asked::Refused(why)) => Err(format!("registering {account}: {why}")),
                Err(Unable(why)) => Err(why.to_owned()),
            }
        }
        .boxed()
    }

    fn admin(&self, words: Vec<String>) -> BoxFuture<'_, Result<Asked, Unable>> {
        async move { self.command(&words).await }.boxed()
    }

    fn advance(&self, _by: Duration) -> BoxFuture<'_, Result<(), Unable>> {
        async { Err(Unable("its clock is the real one")) }.boxed()
    }

    fn tree(&self) -> BoxFuture<'_, Result<String, Unable>> {
        async {
            match self.command(&["tree".to_owned()]).await? {
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

    fn stop(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        async move {
            let _ = self.command(&["stop".to_owned()]).await;
            if within(self.child.wait()).await.is_err() {
                let _ = self.child.kill().await;
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_names_addresses() {
        let found = addresses("natterd ready c2s=127.0.0.1:5222, c2s=[::1]:5222 (0.1.0)");
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].port(), 5222);
    }
}
