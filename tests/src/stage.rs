//! What a server under test is, whoever runs it.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rustls::RootCertStore;

/// The hosts every server under test serves.
pub const HOSTS: [&str; 3] = ["a.example", "b.example", "localhost"];

/// The listeners every server under test has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Door {
    /// TCP, `tls = "off"`: PLAIN is allowed without TLS.
    Plain,
    /// TCP, `tls = "required"`: STARTTLS first.
    StartTls,
    /// TLS from the first byte (XEP-0368).
    DirectTls,
    /// WebSocket, without TLS (RFC 7395).
    WebSocket,
    /// BOSH, without TLS (XEP-0206).
    Bosh,
}

impl Door {
    /// The word for it in scripts.
    pub fn named(word: &str) -> Option<Door> {
        match word {
            "plain" => Some(Door::Plain),
            "starttls" => Some(Door::StartTls),
            "direct" => Some(Door::DirectTls),
            "websocket" => Some(Door::WebSocket),
            "bosh" => Some(Door::Bosh),
            _ => None,
        }
    }

    /// Whether it lies behind HTTP.
    pub fn is_http(self) -> bool {
        matches!(self, Door::WebSocket | Door::Bosh)
    }
}

/// Why an admin command gave no result: what it printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(pub String);

/// This server cannot be asked for that from where the test stands; the scenario is skipped, loudly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unable(pub &'static str);

/// What was asked of a server: given, refused by the server, or out of the harness' reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// The command's output.
    Output(String),
    /// The command failed; what it printed.
    Refused(String),
}

/// A running server under test.
pub trait Server: Send + Sync {
    /// Where `door` listens.
    ///
    /// # Errors
    ///
    /// It has no such door.
    fn address(&self, door: Door) -> Result<SocketAddr, Unable>;

    /// The authority that signed the server's certificates.
    fn roots(&self) -> RootCertStore;

    /// The same authority as PEM, for clients that read files.
    fn authority_pem(&self) -> String;

    /// Creates an account.
    fn register<'a>(
        &'a self,
        account: &'a str,
        password: &'a str,
    ) -> BoxFuture<'a, Result<(), String>>;

    /// Runs an admin command as an operator would type it after `natterctl`.
    fn admin(&self, words: Vec<String>) -> BoxFuture<'_, Result<Asked, Unable>>;

    /// Moves the server's clock forward, firing what falls due.
    fn advance(&self, by: Duration) -> BoxFuture<'_, Result<(), Unable>>;

    /// The supervision tree as text.
    fn tree(&self) -> BoxFuture<'_, Result<String, Unable>>;

    /// Lines of target `natter::stanza` since the last call.
    fn trace(&self) -> Result<Vec<String>, Unable>;

    /// Waits until no process has anything left in its mailbox; at once where that cannot be seen.
    fn settle(&self) -> BoxFuture<'_, ()>;

    /// Ends the server and gives back everything it used.
    fn stop(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// Starts servers, each with its own data.
pub trait Troupe: Send + Sync {
    /// Starts a server with these lines of TOML added to the usual configuration; where `http` says so, it listens for
    /// clients by HTTP, too.
    fn start<'a>(
        &'a self,
        extra: &'a str,
        http: bool,
    ) -> BoxFuture<'a, Result<Box<dyn Server>, Failure>>;

    /// How many servers may run at once.
    fn at_once(&self) -> usize;
}

/// Why there is no server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// This troupe cannot do that; the scenario is skipped.
    Unable(&'static str),
    /// It did not start.
    Failed(String),
}

/// What is added for clients by HTTP. A client of BOSH that cannot come while the clock is turned is not taken for gone.
pub fn http_config(extra: &str) -> String {
    const LISTENER: &str =
        "[[listener]]\nkind = \"http\"\naddress = \"127.0.0.1:0\"\ntls = \"off\"\n";
    const BOSH: &str = "[http]\nbosh_wait = \"60 d\"\nbosh_inactivity = \"60 d\"\n";
    let lacks = |what: &str| !extra.contains(what);
    let listener = lacks("kind = \"http\"").then_some(LISTENER);
    let bosh = lacks("[http]").then_some(BOSH);
    [Some(extra), listener, bosh]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("\n")
}

/// No server of the harness listens there.
pub const NO_HTTP: Unable = Unable("it does not listen for clients by HTTP");

/// The usual configuration of a server under test. The listeners stand in the order of [`Door`];
/// what is added goes on in table `[tls]`.
pub fn usual_config() -> String {
    let hosts = HOSTS.map(|host| format!("{host:?}")).join(", ");
    format!(
        r#"hosts = [{hosts}]

[[listener]]
kind = "c2s"
address = "127.0.0.1:0"
tls = "off"

[[listener]]
kind = "c2s"
address = "127.0.0.1:0"
tls = "required"

[[listener]]
kind = "c2s"
address = "127.0.0.1:0"
tls = "direct"

[modules.mod_register]
enabled = true

[tls]
certificates = ["certs/*.pem"]
"#
    )
}
