//! The configuration file: its keys, and how file and kept changes are read.
//!
//! Only this crate opens it. Order of look-up: `--config`, then `/etc/natter/natter.toml`, then none.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::{Bytes, Document, Errors, Layers, Overrides, Raw, Section, Value, choice, options};
use gen_mod::{Catalog, Wanted};
use net::Network;
use node::Configured;
use tracing_subscriber::EnvFilter;

/// Where the configuration is looked for when no file is named.
pub const DEFAULT_FILE: &str = "/etc/natter/natter.toml";

/// Where data are kept when nothing says otherwise.
pub const DEFAULT_DATA_DIR: &str = "natter-data";

/// The kept hot changes, in the data directory.
pub const OVERRIDES: &str = "overrides.toml";

choice! {
    /// What a listener speaks.
    pub enum ListenerKind {
        /// XMPP with clients.
        C2s = "c2s",
        /// HTTP: the paths of the server and of its modules.
        Http = "http",
    }
}

choice! {
    /// What a listener demands of TLS.
    pub enum TlsMode {
        /// STARTTLS first, before anything else.
        Required = "required",
        /// STARTTLS is offered.
        Optional = "optional",
        /// TLS from the first byte (XEP-0368).
        Direct = "direct",
        /// None: passwords may travel in clear.
        Off = "off",
    }
}

/// A network: where proxies stand, or from where something may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownNetwork(pub Network);

impl KnownNetwork {
    pub(crate) fn loopback() -> Vec<KnownNetwork> {
        let parse = |text: &str| text.parse().map(KnownNetwork).expect("a network");
        ["127.0.0.0/8", "::1"].map(parse).into()
    }

    pub(crate) fn all() -> Vec<KnownNetwork> {
        let parse = |text: &str| text.parse().map(KnownNetwork).expect("a network");
        ["0.0.0.0/0", "::/0"].map(parse).into()
    }
}

impl Value for KnownNetwork {
    const TYPE: &'static str = "network";

    fn read(raw: &Raw) -> Result<KnownNetwork, String> {
        String::read(raw)?.parse().map(KnownNetwork)
    }

    fn show(&self) -> String {
        self.0.to_string().show()
    }

    fn resolve(text: &str) -> Raw {
        Raw::text(text)
    }
}

options! {
    /// A socket that clients reach the server by.
    pub struct Listener {
        /// What it speaks.
        pub kind: ListenerKind = ListenerKind::C2s => NewConnections,
        /// Where it listens: one address with port, or a list of them; port 0 picks a free one.
        pub address: Vec<String>,
        /// What it demands of TLS; `off` permits PLAIN without TLS. HTTP has no STARTTLS: `required` and `direct` are HTTPS there.
        pub tls: TlsMode = TlsMode::Required => NewConnections,
        /// Connections that may wait to be accepted.
        pub backlog: u32 [1..] = 1024,
        /// Whether each connection begins with a header of the PROXY protocol, version 1 or 2, that names the client's address.
        pub proxy_protocol: bool = false => NewConnections,
        /// Networks in which the proxies stand; with `proxy_protocol` all others are turned away.
        pub proxies: Vec<KnownNetwork> = KnownNetwork::loopback() => NewConnections,
    }
}

impl Listener {
    /// What holds for clients of XMPP that come by HTTP: whoever speaks without TLS there has been let by the
    /// listener's own `tls`.
    pub(crate) fn below_http() -> Listener {
        Listener {
            kind: ListenerKind::C2s,
            address: Vec::new(),
            tls: TlsMode::Off,
            backlog: 1,
            proxy_protocol: false,
            proxies: Vec::new(),
        }
    }
}

choice! {
    /// What becomes of a session whose resource is bound already.
    pub enum ConflictPolicy {
        /// The older session ends.
        CloseOld = "closeold",
        /// The newer one is refused and may ask for another resource.
        CloseNew = "closenew",
        /// The newer one gets a resource of the server's making.
        SetResource = "setresource",
    }
}

options! {
    /// Certificates of the hosts and their services.
    pub struct TlsSettings {
        /// PEM files: chain and key in one, `NAME.crt` beside `NAME.key`, or `fullchain.pem` beside `privkey.pem`; matched to domains by their alternative names.
        pub certificates: Vec<String> = Vec::new(),
        /// PEM files with the authorities that vouch for clients: who shows a certificate of theirs with an XmppAddr may log in by EXTERNAL; clients are not asked for one when there are none.
        pub client_authorities: Vec<String> = Vec::new(),
    }
}

options! {
    /// Bounds of what one peer may cost.
    pub struct Limits {
        /// Bytes of one stanza of a client that has logged in.
        pub stanza_bytes: Bytes [Bytes(10_000)..] = Bytes(256 * 1024) => NewConnections,
        /// Bytes of one element of a client that has not logged in.
        pub stanza_bytes_before_login: Bytes [Bytes(10_000)..] = Bytes(10_000) => NewConnections,
        /// Levels of nesting in a stanza.
        pub depth: usize [4..] = 64 => NewConnections,
        /// Attributes of one element.
        pub attributes: usize [8..] = 64 => NewConnections,
        /// Child elements of one element.
        pub children: usize [8..] = 4096 => NewConnections,
        /// Bytes that may wait to be written to one client, before its session ends.
        pub outbox_bytes: Bytes [Bytes(65_536)..] = Bytes(1024 * 1024) => NewConnections,
        /// Time from the connection to a bound resource.
        pub login_within: Duration [Duration::from_secs(1)..] = Duration::from_secs(60) => NewConnections,
        /// Connections at once that have not logged in; further ones wait until one has, or has gone.
        pub connections_before_login: usize [1..] = 4096 => NewConnections,
        /// Of these, the most from one address (in IPv6 from one /64 network); further ones are closed. Addresses of this machine have no such limit.
        pub connections_before_login_per_address: usize [1..] = 256 => NewConnections,
        /// TLS handshakes at once; further ones wait for their turn.
        pub tls_handshakes: usize [1..] = 256 => Restart,
        /// Passwords hashed at once; half of the processors unless said.
        pub password_hashes: Option<usize> => Restart,
        /// Failed logins of one account before the next has to wait.
        pub failed_logins_per_account: u32 = 10,
        /// Failed logins from one address (in IPv6 from one /64 network) before the next has to wait. Addresses of this machine never wait.
        pub failed_logins_per_address: u32 = 30,
        /// How long the first of them waits; each further failure doubles it.
        pub failed_login_delay: Duration [Duration::from_millis(1)..] = Duration::from_secs(1),
        /// How long a login waits at most.
        pub failed_login_delay_max: Duration [Duration::from_secs(1)..] = Duration::from_secs(15 * 60),
        /// Time without a failed login after which all are forgotten.
        pub failed_logins_forgotten: Duration [Duration::from_secs(1)..] = Duration::from_secs(3600),
        /// How long a client may take nothing of what it is written.
        pub write_stall: Duration [Duration::from_secs(1)..] = Duration::from_secs(30) => NewConnections,
        /// Bytes a second that one client may send in the long run; what is more is read later.
        pub read_rate: Bytes [Bytes(1000)..] = Bytes(1024 * 1024) => NewConnections,
        /// Bytes that a client may send at once after it was silent.
        pub read_burst: Bytes [Bytes(1000)..] = Bytes(8 * 1024 * 1024) => NewConnections,
        /// Sessions of one account; one more ends the oldest.
        pub sessions_per_account: usize [1..] = 50,
        /// What becomes of a session whose resource is bound already (RFC 6120 §7.7.2.2).
        pub resource_conflict: ConflictPolicy = ConflictPolicy::CloseOld,
        /// Silence of the server after which it writes a space, so that a dead connection is noticed.
        pub keep_alive: Duration [Duration::from_secs(10)..] = Duration::from_secs(120) => NewConnections,
    }
}

options! {
    /// What is served by HTTP.
    pub struct HttpSettings {
        /// Networks from which `/metrics` may be read. What a proxy on this machine passes on does not count as this machine's.
        pub metrics_from: Vec<KnownNetwork> = KnownNetwork::loopback(),
        /// Networks from which commands may be given at `/api` and `/xmlrpc`, always with credentials. As above for proxies.
        pub api_from: Vec<KnownNetwork> = KnownNetwork::loopback(),
        /// Networks from which it may be asked at `/health` and `/health/live` how the server is.
        pub health_from: Vec<KnownNetwork> = KnownNetwork::all(),
        /// Networks from which clients of XMPP may come by WebSocket.
        pub websocket_from: Vec<KnownNetwork> = KnownNetwork::all(),
        /// Networks from which they may come by BOSH; also those of sessions that stand.
        pub bosh_from: Vec<KnownNetwork> = KnownNetwork::all(),
        /// Networks from which files may be put; they may be got from everywhere.
        pub upload_from: Vec<KnownNetwork> = KnownNetwork::all(),
        /// The longest that a request of BOSH is held; clients may ask for less. This and what follows is told in whole seconds.
        pub bosh_wait: Duration [Duration::from_secs(1)..] = Duration::from_secs(60) => NewConnections,
        /// How long a client of BOSH may be silent while no request of it is held; browsers let pages in the background act once a minute.
        pub bosh_inactivity: Duration [Duration::from_secs(5)..] = Duration::from_secs(90) => NewConnections,
        /// The longest pause that a client of BOSH may ask for.
        pub bosh_max_pause: Duration [Duration::from_secs(1)..] = Duration::from_secs(120) => NewConnections,
        /// The shortest time between requests of a client of BOSH that ask for nothing.
        pub bosh_polling: Duration = Duration::from_secs(5) => NewConnections,
        /// Names under which commands may be given, besides those of the hosts, `localhost` and addresses.
        pub names: Vec<String> = Vec::new(),
        /// Requests a second that one address, in IPv6 one /64, may make in the long run; more are answered 429. 0: as many as it likes. This machine's own addresses are not counted.
        pub requests_rate: u32 = 50,
        /// Requests that it may make at once after it was silent.
        pub requests_burst: u32 [1..] = 1000,
        /// As `requests_rate`, for requests that give commands, at `/api` and `/xmlrpc`.
        pub commands_rate: u32 = 10,
        /// As `requests_burst`, for requests that give commands.
        pub commands_burst: u32 [1..] = 100,
        /// As `requests_rate`, for WebSockets that are opened.
        pub websocket_rate: u32 = 5,
        /// As `requests_burst`, for WebSockets that are opened.
        pub websocket_burst: u32 [1..] = 100,
        /// As `requests_rate`, for requests of BOSH: a client makes one or two for each stanza.
        pub bosh_rate: u32 = 30,
        /// As `requests_burst`, for requests of BOSH.
        pub bosh_burst: u32 [1..] = 500,
        /// As `requests_rate`, for files that are put.
        pub upload_rate: u32 = 5,
        /// As `requests_burst`, for files that are put.
        pub upload_burst: u32 [1..] = 100,
        /// Networks in which trusted proxies stand: of their requests the client's address is what `Forwarded` or `X-Forwarded-For` says; from all others these headers are not believed.
        pub forwarders: Vec<KnownNetwork> = Vec::new(),
    }
}

options! {
    /// Settings of one host.
    pub struct HostSettings {
        /// Whether the host is served, whatever `hosts` says; kept by `host_add` and `host_remove`.
        pub served: Option<bool>,
        /// Options of its modules, over those for every host; `enabled = true | false` starts or stops one against the standard set.
        pub modules: BTreeMap<String, Section>,
    }
}

options! {
    /// The whole file.
    pub struct Settings {
        /// Domains that this server serves.
        pub hosts: Vec<String> = vec!["localhost".into()],
        /// Where data are kept.
        pub data_dir: Option<String> => Restart,
        /// The socket that natterctl speaks to; in the data directory unless said.
        pub control_socket: Option<String> => Restart,
        /// What is logged, as directives of `tracing`; the environment's NATTER_LOG wins.
        pub log: String = "info,ractor=warn".into(),
        /// Sockets.
        pub listener: Vec<Listener> = Vec::new(),
        /// Certificates.
        pub tls: TlsSettings,
        /// Bounds.
        pub limits: Limits,
        /// HTTP.
        pub http: HttpSettings,
        /// Options of modules on every host; `enabled = true | false` starts or stops one against the standard set.
        pub modules: BTreeMap<String, Section>,
        /// Settings of single hosts.
        pub host: BTreeMap<String, HostSettings>,
    }
}

/// Where a configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// The file; none: the default file if there is one, else no configuration.
    pub file: Option<PathBuf>,
    /// The data directory, when the command line names it.
    pub data_dir: Option<PathBuf>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {why}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: std::io::Error,
    },
    /// Something in it is wrong.
    #[error("{0}")]
    Faults(Errors),
    /// Two settings do not go together.
    #[error("{0}")]
    Unfit(String),
}

impl From<Errors> for SettingsError {
    fn from(errors: Errors) -> Self {
        SettingsError::Faults(errors)
    }
}

/// A configuration that was read and found good.
#[derive(Clone)]
pub struct Loaded {
    /// What it says.
    pub settings: Settings,
    /// The same with the origin of each value.
    pub section: Section,
    /// Hosts, in canonical form; the first is the default.
    pub hosts: Vec<String>,
    /// Where data are kept.
    pub data_dir: PathBuf,
    /// The control socket.
    pub control_socket: PathBuf,
    /// The file, when there is one.
    pub file: Option<PathBuf>,
    /// The listeners, those of a server without configuration where none are named.
    pub listeners: Vec<Listener>,
    source: Source,
}

/// What runs by default: on a server with a file, and on one without.
#[derive(Clone, Copy)]
pub struct Standard {
    /// Every host's modules.
    pub always: &'static [&'static str],
    /// Those that run besides where there is no configuration file: open registration.
    pub unconfigured: &'static [&'static str],
}

/// A file that was read, before the kept changes are laid over it.
#[derive(Clone)]
struct Source {
    document: Document,
    file: Option<PathBuf>,
    base: PathBuf,
    data_dir: PathBuf,
    standard: Standard,
}

impl Source {
    fn lay(self, catalog: Catalog) -> Result<Loaded, SettingsError> {
        let overrides = self.data_dir.join(OVERRIDES);
        let kept = match std::fs::read_to_string(&overrides) {
            Ok(text) => Document::parse_overrides(&overrides.display().to_string(), &text)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Document::empty(),
            Err(why) => {
                return Err(SettingsError::Read {
                    path: overrides,
                    why,
                });
            }
        };
        self.lay_over(kept, catalog)
    }

    fn lay_over(self, kept: Document, catalog: Catalog) -> Result<Loaded, SettingsError> {
        let layers = Layers::new().file(self.document.clone()).overrides(kept);
        let section = layers.section();
        let settings = section.read::<Settings>()?;
        let listeners = listeners(&settings, self.file.is_some());
        let control = settings
            .control_socket
            .as_ref()
            .map(|socket| self.base.join(socket));
        let loaded = Loaded {
            hosts: hosts(&settings, &section)?,
            control_socket: control.unwrap_or_else(|| self.data_dir.join("control.sock")),
            data_dir: self.data_dir.clone(),
            file: self.file.clone(),
            settings,
            section,
            listeners,
            source: self,
        };
        loaded.check(catalog)?;
        Ok(loaded)
    }
}

impl Place {
    /// Reads the configuration and lays the kept changes over it.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, each with its position.
    pub fn load(&self, catalog: Catalog, standard: Standard) -> Result<Loaded, SettingsError> {
        let file = self.find_file();
        let base = match &file {
            Some(path) => path.parent().map(Path::to_owned).unwrap_or_default(),
            None => PathBuf::new(),
        };
        let text = match &file {
            Some(path) => read(path)?,
            None => String::new(),
        };
        let name = file
            .as_ref()
            .map_or_else(|| "natter.toml".into(), |path| path.display().to_string());
        let document = Document::parse(&name, &text)?;
        // The data directory is the file's to name, so the file is read before what is kept there.
        let first = Layers::new()
            .file(document.clone())
            .section()
            .read::<Settings>()?;
        let data_dir = self
            .data_dir
            .clone()
            .or_else(|| first.data_dir.as_ref().map(|d| base.join(d)));
        let data_dir = data_dir.unwrap_or_else(|| base.join(DEFAULT_DATA_DIR));
        let file = Source {
            document,
            file,
            base,
            data_dir,
            standard,
        };
        file.lay(catalog)
    }

    fn find_file(&self) -> Option<PathBuf> {
        self.file.clone().or_else(|| {
            let default = PathBuf::from(DEFAULT_FILE);
            default.exists().then_some(default)
        })
    }

    /// The control socket of the node that runs with this configuration, for `natterctl`.
    ///
    /// # Errors
    ///
    /// In words: the configuration cannot be read.
    pub fn control_socket(&self, catalog: Catalog, standard: Standard) -> Result<PathBuf, String> {
        if self.file.is_none()
            && let Some(data_dir) = &self.data_dir
        {
            return Ok(data_dir.join("control.sock"));
        }
        self.load(catalog, standard)
            .map(|loaded| loaded.control_socket)
            .map_err(|error| error.to_string())
    }
}

fn read(path: &Path) -> Result<String, SettingsError> {
    std::fs::read_to_string(path).map_err(|why| SettingsError::Read {
        path: path.to_owned(),
        why,
    })
}

/// The hosts named, then those of which it is said by themselves that they are served; less those that are not.
fn hosts(settings: &Settings, section: &Section) -> Result<Vec<String>, Errors> {
    let mut errors = Errors::new();
    let mut hosts: Vec<String> = Vec::new();
    let mut known: HashSet<String> = HashSet::new();
    let by_themselves = settings.host.iter();
    let added = by_themselves.filter(|(_, settings)| settings.served == Some(true));
    let named = settings.hosts.iter().map(|host| (host, "hosts"));
    for (host, key) in named.chain(added.map(|(host, _)| (host, "host"))) {
        match xmpp::canonical_domain(host) {
            Ok(domain) if key == "hosts" && known.contains(&*domain) => {
                errors.push(section.error(key, format!("`{host}` is named twice")));
            }
            Ok(domain) if known.insert(domain.to_string()) => hosts.push(domain.into_owned()),
            Ok(_) => {}
            Err(error) => {
                errors.push(section.error(key, format!("`{host}` is not a domain: {error}")));
            }
        }
    }
    hosts.retain(|host| settings.host.get(host).and_then(|s| s.served) != Some(false));
    if hosts.is_empty() && errors.is_empty() {
        errors.push(section.error("hosts", "at least one host is needed"));
    }
    errors.or(hosts)
}

/// The listeners named; where none is, STARTTLS and direct TLS at the standard ports: on all addresses
/// of a configured server, on loopback without configuration; there HTTP without TLS, too.
fn listeners(settings: &Settings, configured: bool) -> Vec<Listener> {
    if !settings.listener.is_empty() {
        return settings.listener.clone();
    }
    let addresses = if configured {
        ["0.0.0.0", "[::]"]
    } else {
        ["127.0.0.1", "[::1]"]
    };
    let (c2s, http) = (ListenerKind::C2s, ListenerKind::Http);
    let mut ports = vec![(c2s, 5222, TlsMode::Required), (c2s, 5223, TlsMode::Direct)];
    if !configured {
        ports.push((http, 5280, TlsMode::Off));
    }
    let made = ports.into_iter().map(|(kind, port, tls)| Listener {
        kind,
        address: addresses
            .iter()
            .map(|address| format!("{address}:{port}"))
            .collect(),
        tls,
        backlog: 1024,
        proxy_protocol: false,
        proxies: KnownNetwork::loopback(),
    });
    made.collect()
}

impl Loaded {
    /// The same file, with the changes that are kept now laid over it. Edits of the file since it was
    /// read stay out: they are a reload's to apply.
    ///
    /// # Errors
    ///
    /// What is wrong with the kept changes.
    pub fn with_kept(&self, catalog: Catalog) -> Result<Loaded, SettingsError> {
        self.source.clone().lay(catalog)
    }

    /// The same file, with these changes laid over it.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub fn with_overrides(
        &self,
        overrides: &Overrides,
        catalog: Catalog,
    ) -> Result<Loaded, SettingsError> {
        let name = overrides.path().display().to_string();
        let kept = Document::parse_overrides(&name, &overrides.text())?;
        self.source.clone().lay_over(kept, catalog)
    }

    /// Where it is said of a host by itself that it is served or not, if it is.
    #[must_use]
    pub fn served(&self, host: &str) -> Option<config::Origin> {
        let said = self.section.section("host").ok()?.section(host).ok()?;
        Some(said.raw("served")?.origin.clone())
    }

    /// Whether the listeners are those that nobody named: one that this machine has no address for may
    /// then be left out.
    #[must_use]
    pub fn has_default_listeners(&self) -> bool {
        self.settings.listener.is_empty()
    }

    /// Certificate patterns, relative ones below the file's folder.
    #[must_use]
    pub fn certificate_patterns(&self) -> Vec<String> {
        self.below_file(&self.settings.tls.certificates)
    }

    /// Patterns of the authorities that vouch for clients, relative ones below the file's folder.
    #[must_use]
    pub fn client_authority_patterns(&self) -> Vec<String> {
        self.below_file(&self.settings.tls.client_authorities)
    }

    fn below_file(&self, patterns: &[String]) -> Vec<String> {
        let patterns = patterns.iter();
        patterns
            .map(|pattern| self.source.base.join(pattern).display().to_string())
            .collect()
    }

    fn check(&self, catalog: Catalog) -> Result<(), Errors> {
        let mut errors = Errors::new();
        self.check_names(&self.settings.modules, "modules", catalog, &mut errors);
        for (host, settings) in &self.settings.host {
            let path = format!("host.{host}.modules");
            self.check_names(&settings.modules, &path, catalog, &mut errors);
            if settings.served.is_none() && !self.hosts.contains(host) {
                let near = config::nearest(host, self.hosts.iter().map(String::as_str));
                let error = self
                    .section
                    .error("host", format!("`{host}` is not among the hosts"));
                errors.push(error.suggest(near));
            }
        }
        for listener in &self.listeners {
            if listener.kind == ListenerKind::Http && listener.tls == TlsMode::Optional {
                let why = "a listener of kind `http` has TLS from the first byte (`direct`) or none (`off`)";
                errors.push(self.section.error("listener", why));
            }
        }
        if let Err(error) = EnvFilter::try_new(&self.settings.log) {
            errors.push(self.section.error("log", error.to_string()));
        }
        for host in &self.hosts {
            for kind in catalog.0 {
                let configured = self.module(host, kind.name);
                if let Err(faults) = (kind.check)(&configured.section, host)
                    && !faults.iter().all(|fault| {
                        errors
                            .iter()
                            .any(|known| known.to_string() == fault.to_string())
                    })
                {
                    errors.extend(faults);
                }
            }
        }
        errors.or(())
    }

    fn check_names(
        &self,
        modules: &BTreeMap<String, Section>,
        path: &str,
        catalog: Catalog,
        errors: &mut Errors,
    ) {
        for (name, section) in modules {
            if catalog.find(name).is_none() {
                let error =
                    config::Error::at(section.origin(), path, format!("unknown module `{name}`"));
                errors.push(error.suggest(catalog.nearest(name)));
            }
            if let Err(faults) = section.get::<bool>("enabled") {
                errors.extend(faults);
            }
        }
    }

    /// What is configured for a module on a host.
    #[must_use]
    pub fn module(&self, host: &str, module: &str) -> Configured {
        let empty = || Section::empty(&format!("modules.{module}"));
        let general = self
            .settings
            .modules
            .get(module)
            .cloned()
            .unwrap_or_else(empty);
        let special = self
            .settings
            .host
            .get(host)
            .and_then(|h| h.modules.get(module));
        let section = match special {
            Some(special) => general.under(special),
            None => general,
        };
        let said = section.get::<bool>("enabled").ok().flatten();
        let enabled = said.unwrap_or_else(|| self.runs_by_default(module));
        Configured {
            section: section.without(&["enabled"]),
            enabled,
        }
    }

    fn runs_by_default(&self, module: &str) -> bool {
        let open = self.file.is_none() && self.source.standard.unconfigured.contains(&module);
        open || self.source.standard.always.contains(&module)
    }

    /// The modules that are to run on a host.
    #[must_use]
    pub fn wanted(&self, host: &str, catalog: Catalog) -> Wanted {
        let all = catalog
            .0
            .iter()
            .map(|kind| (kind.name, self.module(host, kind.name)));
        all.filter(|(_, module)| module.enabled)
            .map(|(name, module)| (name.to_owned(), module.section))
            .collect()
    }

    /// The kept changes in one line each, for the log at start.
    #[must_use]
    pub fn kept(&self, catalog: Catalog) -> Vec<String> {
        let is_kept = |origin: &config::Origin| origin.to_string().contains(OVERRIDES);
        let mut lines = Vec::new();
        for (host, settings) in &self.settings.host {
            if let (Some(origin), Some(served)) = (self.served(host), settings.served)
                && is_kept(&origin)
            {
                lines.push(format!("host {host}: served = {served} ({origin})"));
            }
            for kind in catalog.0 {
                let Some(section) = settings.modules.get(kind.name) else {
                    continue;
                };
                let said = |key: &str, value: &str, origin: &config::Origin| {
                    format!("{} of {host}: {key} = {value} ({origin})", kind.name)
                };
                if let Some(raw) = section.raw("enabled")
                    && is_kept(&raw.origin)
                {
                    let enabled = section.get::<bool>("enabled").ok().flatten();
                    let enabled = enabled.unwrap_or_default().to_string();
                    lines.push(said("enabled", &enabled, &raw.origin));
                }
                let options = section.without(&["enabled"]);
                let shown = config::effective(&options, (kind.options)());
                for value in shown.iter().filter(|value| is_kept(&value.origin)) {
                    let key = value.path.rsplit('.').next().unwrap_or_default();
                    lines.push(said(key, &value.value, &value.origin));
                }
            }
        }
        lines
    }
}
