//! Our own server, in this process: a value with its own clock, names, certificates and data.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use otp::{Clock, ClockHand, TreeNode};
use parking_lot::Mutex;
use rustls::RootCertStore;
use serde_json::{Value, json};
use supervisors::settings::Place;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tracing::field::{Field, Visit};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, SubscriberExt};

use crate::authority::Authority;
use crate::binary::{certify, lay_out};
use crate::deadline::{until_seen, within};
use crate::run::tell;
use crate::stage::{Asked, Door, Failure, NO_HTTP, Server, Troupe, Unable, http_config};

/// Starts servers in this process.
pub struct Houses;

/// Servers of ours, each with its own data and clock.
///
/// # Errors
///
/// None; the shape is that of the other troupes.
pub fn troupe() -> Result<Box<dyn Troupe>, String> {
    listen_to_the_trace();
    Ok(Box::new(Houses))
}

impl Troupe for Houses {
    fn start<'a>(
        &'a self,
        extra: &'a str,
        http: bool,
    ) -> BoxFuture<'a, Result<Box<dyn Server>, Failure>> {
        async move {
            let started = match http {
                true => House::start(&http_config(extra)).await,
                false => House::start(extra).await,
            };
            let house = started.map_err(Failure::Failed)?;
            Ok(Box::new(house) as Box<dyn Server>)
        }
        .boxed()
    }

    fn at_once(&self) -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }
}

/// One server of ours. Crash tests look inside with [`House::server`].
pub struct House {
    server: supervisors::Server,
    hand: ClockHand,
    authority: Authority,
    folder: TempDir,
}

impl House {
    /// Starts a server with these lines added to the usual configuration; its clock stands until it is moved.
    ///
    /// # Errors
    ///
    /// A sentence when it does not start.
    pub async fn start(extra: &str) -> Result<House, String> {
        let folder =
            tempfile::tempdir().map_err(|error| format!("a folder for its data: {error}"))?;
        let authority = lay_out(folder.path(), extra)?;
        let (server, hand) = House::launch(&folder).await?;
        Ok(House {
            server,
            hand,
            authority,
            folder,
        })
    }

    async fn launch(folder: &TempDir) -> Result<(supervisors::Server, ClockHand), String> {
        let (clock, hand) = Clock::manual();
        let place = Place {
            file: Some(folder.path().join("natter.toml")),
            data_dir: None,
        };
        let server = supervisors::Server::start(place, clock)
            .await
            .map_err(|error| error.to_string())?;
        Ok((server, hand))
    }

    /// Stops the server in order and starts another on the same data and configuration.
    ///
    /// # Errors
    ///
    /// A sentence when it does not stop or start.
    pub async fn restart(self) -> Result<House, String> {
        let House {
            server,
            authority,
            folder,
            ..
        } = self;
        let stopped = within(server.stop()).await;
        stopped
            .map_err(|_| "it did not stop in time")?
            .map_err(|_| "it was cut short")?;
        drop(server);
        let (server, hand) = House::launch(&folder).await?;
        Ok(House {
            server,
            hand,
            authority,
            folder,
        })
    }

    /// Replaces the files of its certificates by those of a new authority. The server reads them when it reloads.
    ///
    /// # Errors
    ///
    /// A sentence when they cannot be written.
    pub fn renew_certificates(&self) -> Result<Authority, String> {
        certify(self.folder.path())
    }

    /// The server itself.
    pub fn server(&self) -> &supervisors::Server {
        &self.server
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("data").join("control.sock")
    }

    /// Runs a command over the control socket, as `natterctl` does.
    async fn command(&self, words: &[String]) -> Result<Asked, String> {
        let (command, args) = words.split_first().ok_or("a command is missing")?;
        let say = |error: std::io::Error| format!("control socket: {error}");
        let mut socket = UnixStream::connect(self.socket()).await.map_err(say)?;
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
        Err(format!("{command}: no answer on the control socket"))
    }

    async fn ask(&self, words: &[String]) -> Asked {
        match within(self.command(words)).await {
            Ok(Ok(asked)) => asked,
            Ok(Err(why)) => Asked::Refused(why),
            Err(_) => Asked::Refused("no answer in time".to_owned()),
        }
    }
}

/// What is waiting in mailboxes, and what was handled so far.
fn work(nodes: &[TreeNode]) -> (usize, u64) {
    nodes.iter().fold((0, 0), |(waiting, handled), node| {
        let (below_waiting, below_handled) = work(&node.children);
        (
            waiting + node.mailbox + below_waiting,
            handled + node.messages + below_handled,
        )
    })
}

impl Server for House {
    fn address(&self, door: Door) -> Result<SocketAddr, Unable> {
        let addresses = self.server.addresses();
        let found = match door {
            Door::Plain => addresses.first(),
            Door::StartTls => addresses.get(1),
            Door::DirectTls => addresses.get(2),
            Door::WebSocket | Door::Bosh => addresses.iter().find(|address| address.kind == "http"),
        };
        found.map(|address| address.at).ok_or(NO_HTTP)
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
            match self
                .ask(&["register", user, host, password].map(str::to_owned))
                .await
            {
                Asked::Output(_) => Ok(()),
                Asked::Refused(why) => Err(format!("registering {account}: {why}")),
            }
        }
        .boxed()
    }

    fn admin(&self, words: Vec<String>) -> BoxFuture<'_, Result<Asked, Unable>> {
        async move { Ok(self.ask(&words).await) }.boxed()
    }

    fn advance(&self, by: Duration) -> BoxFuture<'_, Result<(), Unable>> {
        async move {
            self.hand.advance(by).await;
            Ok(())
        }
        .boxed()
    }

    fn tree(&self) -> BoxFuture<'_, Result<String, Unable>> {
        async {
            match self.ask(&["tree".to_owned()]).await {
                Asked::Output(tree) | Asked::Refused(tree) => Ok(tree),
            }
        }
        .boxed()
    }

    fn trace(&self) -> Result<Vec<String>, Unable> {
        RECORDING.store(true, Ordering::SeqCst);
        Ok(std::mem::take(&mut *TRACE.lock()))
    }

    fn settle(&self) -> BoxFuture<'_, ()> {
        async {
            let observe = self.server.node().system.observe();
            let mut before = None;
            let quiet = until_seen(|| {
                let now = work(&observe.tree());
                let same = before.replace(now) == Some(now);
                (same && now.0 == 0).then_some(())
            });
            if quiet.await.is_err() {
                tell("the server's mailboxes did not become empty in time");
            }
        }
        .boxed()
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, ()> {
        async move {
            match within(self.server.stop()).await {
                Ok(Ok(())) => {}
                _ => tell("a server did not stop in order"),
            }
        }
        .boxed()
    }
}

/// Lines of `natter::stanza`; process-wide, which is why scenarios that read them run alone.
static TRACE: Mutex<Vec<String>> = Mutex::new(Vec::new());
static RECORDING: AtomicBool = AtomicBool::new(false);

struct Listener;

impl<S: tracing::Subscriber> Layer<S> for Listener {
    fn on_event(&self, event: &tracing::Event<'_>, _context: Context<'_, S>) {
        if !RECORDING.load(Ordering::SeqCst) {
            return;
        }
        let mut line = Line::default();
        event.record(&mut line);
        TRACE.lock().push(format!("{}{}", line.step, line.rest));
    }
}

/// A trace line: the step first, then the fields as `name=value`.
#[derive(Default)]
struct Line {
    step: String,
    rest: String,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "step" => self.step = value.to_owned(),
            name => write!(self.rest, " {name}={value}").expect("a String takes everything"),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

fn listen_to_the_trace() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let only = Targets::new().with_target("natter::stanza", LevelFilter::TRACE);
        let subscriber = tracing_subscriber::registry().with(Listener.with_filter(only));
        // A test program that has one already keeps its own, and its trace stays empty.
        let _ = tracing::subscriber::set_global_default(subscriber);
    });
}
