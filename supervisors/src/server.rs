//! A server: built from a configuration, started as one tree, stopped in order.
//!
//! It is a value: several live in one process, each with its own registry, clock, names and data.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use admin::{Commands, ControlSocket};
use auth::{Auth, AuthOptions, BudgetOptions};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use gen_mod::{Catalog, Services};
use net::{Accept, Admission, Certificates, Gate, PeerAddr, SelfSigned, Sources, Ticket};
use node::{HostTable, Node, NodeParts, Steering};
use otp::{App, Clock, ExitReason, Shards, System};
use router::Router;
use session::{AccountLogin, ByHooks, C2s, C2sArgs, C2sOptions, Conflict, SessionPolicy, Sessions};
use storage::{Storage, StorageError};
use stream::{
    Bind, Framing, IoOptions, LegacySession, Negotiable, Profile, Rate, Sasl, StartTls,
    TcpTransport, TlsPolicy,
};
use tokio::net::TcpStream;
use web::{Access, BoshSettings, Clients, HttpDoor, Rates, Web, WebParts, WebSettings};

use crate::catalog;
use crate::doors::{Doors, listen};
use crate::houses::{HouseParts, Houses};
use crate::reload::{MakeClients, Works};
use crate::settings::{
    ConflictPolicy, HttpSettings, KnownNetwork, Limits, Listener, ListenerKind, Loaded, Place,
    SettingsError, Standard, TlsMode,
};
use crate::steering::Steer;
use crate::tree::{Trunk, bosh_sessions, http_connections};

/// How long an orderly end may take.
pub const STOP_WITHIN: Duration = Duration::from_secs(60);

/// Sessions are spread over so many supervisors, so that none owns them all.
const SESSION_SHARDS: usize = 16;

/// All modules there are, and those that run by default.
pub const CATALOG: Catalog = Catalog(catalog::ALL);

/// What runs by default.
pub const STANDARD: Standard = Standard {
    always: modules::STANDARD,
    unconfigured: &["mod_register"],
};

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Its configuration is wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Its data directory cannot be made.
    #[error("cannot make the data directory {path}: {why}", path = path.display())]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// Its store cannot be opened.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Its certificates cannot be used.
    #[error("certificates: {0}")]
    Certificates(String),
    /// An address cannot be listened at.
    #[error("cannot listen at {address}: {why}")]
    Listen {
        /// The address, as configured.
        address: String,
        /// What the system said.
        why: io::Error,
    },
    /// The control socket cannot be made, mostly because another node runs on these data.
    #[error(transparent)]
    Control(#[from] admin::BindError),
    /// A process of the tree does not start.
    #[error("{0}")]
    Tree(String),
}

impl ServerError {
    /// Whether the configuration is at fault.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        matches!(
            self,
            ServerError::Settings(_) | ServerError::Certificates(_)
        )
    }
}

/// An open socket of a server.
#[derive(Clone, Debug)]
pub struct Address {
    /// What it speaks: `c2s`, `http`.
    pub kind: String,
    /// What it demands of TLS.
    pub tls: TlsMode,
    /// Where it listens, with the port that was picked.
    pub at: SocketAddr,
}

/// A running server.
pub struct Server {
    app: App,
    node: Node,
    steer: Steer,
    doors: Doors,
}

impl Server {
    /// Reads the configuration at `place` and starts a server. Every listener is open when this answers.
    ///
    /// # Errors
    ///
    /// See [`ServerError`]; nothing runs then.
    pub async fn start(place: Place, clock: Clock) -> Result<Server, ServerError> {
        let loaded = place.load(CATALOG, STANDARD)?;
        Server::start_loaded(place, loaded, clock).await
    }

    /// As [`Server::start`], with a configuration that was read already.
    ///
    /// # Errors
    ///
    /// See [`ServerError`].
    pub async fn start_loaded(
        place: Place,
        loaded: Loaded,
        clock: Clock,
    ) -> Result<Server, ServerError> {
        make_data_dir(&loaded)?;
        let system = System::new("natter", clock.clone());
        // Before anything is opened: two nodes on one directory would spoil it.
        let control = ControlSocket::bind(&loaded.control_socket)?;
        let storage = {
            let (dir, system) = (loaded.data_dir.clone(), system.clone());
            let opening = tokio::task::spawn_blocking(move || Storage::open(&dir, &system));
            opening
                .await
                .map_err(|error| ServerError::Tree(error.to_string()))??
        };
        let certificates = certificates(&loaded, &clock)?;
        let listening = listen(&loaded)?;

        let router = Router::new(&system);
        router.count_from(storage.next_place().unsigned_abs());
        let auth = Auth::new(storage.clone(), &system, auth_options(&loaded));
        let sessions = Sessions::new(&system, router.clone(), auth.clone());
        sessions.set_policy(session_policy(&loaded.settings.limits));
        let surveyed = auth.clone();
        let commands = Commands::new(clock);
        let c2s = Shards::new(&system, "c2s", SESSION_SHARDS);
        let limits = &loaded.settings.limits;
        let admission = Admission::new(
            limits.connections_before_login,
            limits.connections_before_login_per_address,
        );
        let web = Web::new(
            WebParts {
                system: system.clone(),
                version: env!("CARGO_PKG_VERSION"),
                storage: storage.clone(),
                router: router.clone(),
                sessions: sessions.clone(),
                c2s: c2s.clone(),
                admission: admission.clone(),
                commands: commands.clone(),
                data_dir: loaded.data_dir.clone(),
            },
            web_settings(&loaded.settings.http),
        );
        let services = Services::new()
            .with(sessions.clone())
            .with(web.clone())
            .with(modules::Privacy::default());
        let houses = Houses::new(HouseParts {
            system: system.clone(),
            storage: storage.clone(),
            router: router.clone(),
            auth: auth.clone(),
            sessions: sessions.clone(),
            commands: commands.clone(),
            services,
            catalog: CATALOG,
        });
        houses.enter(&loaded);
        let clients: MakeClients = {
            let (sessions, certificates) = (sessions.clone(), certificates.clone());
            let (shards, hosts) = (c2s.clone(), houses.table().clone());
            Arc::new(move |loaded: &Loaded| {
                let below = Listener::below_http();
                let shards = shards.clone();
                let door = C2sDoor::new(&below, loaded, &sessions, &certificates, &hosts, shards);
                Clients {
                    options: door.options,
                    before_login: door.before_login,
                }
            })
        };
        web.set_clients(clients(&loaded));
        let doors = {
            let (sessions, certificates) = (sessions.clone(), certificates.clone());
            let (shards, hosts) = (c2s.clone(), houses.table().clone());
            let httpd = web.httpd().clone();
            let make = move |listener: &Listener, loaded: &Loaded| -> Arc<dyn Accept> {
                if listener.kind == ListenerKind::Http {
                    let tls = (listener.tls != TlsMode::Off)
                        .then(|| certificates.server_config(httpd::ALPN));
                    return httpd.door(tls);
                }
                let shards = shards.clone();
                let door = C2sDoor::new(listener, loaded, &sessions, &certificates, &hosts, shards);
                Arc::new(door)
            };
            Doors::new(&system, admission, Box::new(make))
        };
        doors.enter(listening, &loaded);
        {
            let doors = doors.clone();
            web.set_doors(move || {
                let open = doors.addresses().into_iter();
                let http = open.filter(|door| door.kind == ListenerKind::Http.to_string());
                let door = |door: Address| HttpDoor {
                    tls: door.tls != TlsMode::Off,
                    port: door.at.port(),
                };
                http.map(door).collect()
            });
        }
        let steer = Steer::new(place, loaded.clone(), CATALOG, STANDARD);
        steer.set_works(Works {
            certificates,
            houses: houses.clone(),
            doors: doors.clone(),
            sessions: sessions.clone(),
            web: web.clone(),
            clients,
            catalog: CATALOG,
        });
        let node = Node::new(NodeParts {
            started: system.clock().now(),
            system: system.clone(),
            version: env!("CARGO_PKG_VERSION"),
            commands: commands.clone(),
            storage: storage.clone(),
            router: router.clone(),
            auth,
            sessions: sessions.clone(),
            hosts: houses.table().clone(),
            catalog: CATALOG,
            steering: Arc::new(steer.clone()),
        });
        node::register_commands(&node);
        web::register_commands(&web);

        let acceptors = doors.clone();
        let trunk = Trunk {
            storage: storage.children(),
            router: router.child_spec(),
            sm: sessions.child_spec(),
            hosts: Arc::new(move || houses.branches()),
            dead_letters: router.dead_letters_child_spec(),
            http: http_connections(web.httpd()),
            bosh: bosh_sessions(&web),
            c2s,
            listeners: Arc::new(move || acceptors.children()),
            control: admin::child_spec("control", control, commands),
        };
        let app = App::start(trunk.supervisor(), &system, "natter").await;
        let app = app.map_err(|error| ServerError::Tree(error.to_string()))?;
        for host in &loaded.hosts {
            if let Err(error) = surveyed.survey(host).await {
                tracing::warn!(target: "natter::auth", host, %error, "mechanisms on offer not reviewed");
            }
        }
        for line in loaded.kept(CATALOG) {
            tracing::info!(target: "natter::node", "kept change: {line}");
        }
        Ok(Server {
            app,
            node,
            steer,
            doors,
        })
    }

    /// The open sockets.
    #[must_use]
    pub fn addresses(&self) -> Vec<Address> {
        self.doors.addresses()
    }

    /// What to tell who starts a configured server for the first time, when none of its hosts has an account: how to
    /// make the first administrator.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn first_words(&self) -> Result<Option<String>, StorageError> {
        let Some(file) = self.steer.configuration() else {
            return Ok(None);
        };
        let hosts = self.node.hosts.all();
        for host in hosts.keys() {
            if self.node.storage.accounts.count(host).await? > 0 {
                return Ok(None);
            }
        }
        let host = hosts.keys().next().map_or("HOST", String::as_str);
        let config = file.display();
        Ok(Some(format!(
            "there are no accounts yet. To make the first administrator:\n  \
             natterctl --config {config} register NAME {host}\n  \
             natterctl --config {config} set_role NAME {host} admin"
        )))
    }

    /// Says who takes other directives for the log when a reload brings them. To be called once.
    pub fn on_log(&self, set: impl Fn(&str) + Send + Sync + 'static) {
        self.steer.set_log(Box::new(set));
    }

    /// The node, for commands and for tests that look inside.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Reads the configuration anew, as SIGHUP does.
    ///
    /// # Errors
    ///
    /// In words: everything is as before.
    pub async fn reload(&self) -> Result<Vec<String>, String> {
        self.steer.reload(false).await
    }

    /// Resolves when the command `stop` was given.
    pub async fn stop_ordered(&self) {
        self.steer.stopped().await;
    }

    /// Whether the end that was ordered is that of this run alone: the program is to start anew.
    #[must_use]
    pub fn starts_again(&self) -> bool {
        self.steer.starts_again()
    }

    /// Resolves when the root of the tree gave up.
    pub async fn failed(&self) -> ExitReason {
        self.app.watch().await
    }

    /// Ends it in order: no new connections, sessions closed with `system-shutdown`, storage last.
    ///
    /// # Errors
    ///
    /// It took longer than [`STOP_WITHIN`] and was cut short.
    pub async fn stop(&self) -> Result<(), otp::Elapsed> {
        self.app.stop(STOP_WITHIN).await
    }
}

fn make_data_dir(loaded: &Loaded) -> Result<(), ServerError> {
    use std::os::unix::fs::DirBuilderExt;
    let path = loaded.data_dir.clone();
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&path);
    made.map_err(|why| ServerError::DataDir { path, why })
}

/// Where certificates come from; where none are configured, self-signed ones for every host.
pub(crate) fn certificate_sources(loaded: &Loaded) -> Sources {
    let patterns = loaded.certificate_patterns();
    let own = if patterns.is_empty() {
        loaded.hosts.clone()
    } else {
        loaded
            .hosts
            .iter()
            .filter(|host| *host == "localhost")
            .cloned()
            .collect()
    };
    Sources {
        domains: loaded.hosts.clone(),
        self_signed: (!own.is_empty()).then(|| SelfSigned {
            directory: loaded.data_dir.join("certificates"),
            domains: own,
        }),
        client_authorities: loaded.client_authority_patterns(),
        patterns,
    }
}

fn certificates(loaded: &Loaded, clock: &Clock) -> Result<Certificates, ServerError> {
    let sources = certificate_sources(loaded);
    if let Some(own) = &sources.self_signed
        && sources.patterns.is_empty()
    {
        tracing::warn!(
            target: "natter::node",
            domains = ?own.domains,
            "self-signed certificates: clients must trust them by hand"
        );
    }
    let handshakes = loaded.settings.limits.tls_handshakes;
    let certificates = Certificates::load_for(sources, clock, handshakes)
        .map_err(|errors| ServerError::Certificates(errors.to_string()))?;
    for domain in certificates.report().uncovered {
        tracing::warn!(target: "natter::node", domain, "no certificate covers this domain");
    }
    Ok(certificates)
}

fn auth_options(loaded: &Loaded) -> AuthOptions {
    let limits = &loaded.settings.limits;
    let usual = AuthOptions::default();
    AuthOptions {
        hashing: limits.password_hashes.unwrap_or(usual.hashing),
        budgets: budget_options(limits),
        ..usual
    }
}

/// How failed logins are borne.
pub(crate) fn budget_options(limits: &Limits) -> BudgetOptions {
    BudgetOptions {
        per_account: limits.failed_logins_per_account,
        per_address: limits.failed_logins_per_address,
        delay: limits.failed_login_delay,
        longest: limits.failed_login_delay_max,
        forget_after: limits.failed_logins_forgotten,
    }
}

/// Whom a listener lets in.
pub(crate) fn gate(listener: &Listener, loaded: &Loaded, admission: &Admission) -> Gate {
    let networks = listener.proxies.iter().map(|network| network.0);
    let forwarders = loaded.settings.http.forwarders.iter();
    Gate {
        admission: admission.clone(),
        proxies: listener.proxy_protocol.then(|| networks.collect()),
        forwarders: match listener.kind {
            ListenerKind::Http => forwarders.map(|network| network.0).collect(),
            // There nobody says whose stream it is that he passes on.
            ListenerKind::C2s => Arc::default(),
        },
    }
}

/// So many a second; none for 0.
fn per_second(rate: u32, burst: u32) -> Option<Rate> {
    (rate > 0).then(|| Rate {
        bytes_per_second: rate.into(),
        burst: burst.into(),
    })
}

/// What the paths of the HTTP server decide by.
pub(crate) fn web_settings(http: &HttpSettings) -> WebSettings {
    let from = |networks: &[KnownNetwork]| {
        let networks = networks.to_vec();
        Access::new(move |address| networks.iter().any(|network| network.0.contains(address)))
    };
    WebSettings {
        metrics: from(&http.metrics_from),
        api: from(&http.api_from),
        health: from(&http.health_from),
        websocket: from(&http.websocket_from),
        bosh_clients: from(&http.bosh_from),
        upload: from(&http.upload_from),
        names: http.names.clone(),
        rates: Rates {
            requests: per_second(http.requests_rate, http.requests_burst),
            commands: per_second(http.commands_rate, http.commands_burst),
            websocket: per_second(http.websocket_rate, http.websocket_burst),
            bosh: per_second(http.bosh_rate, http.bosh_burst),
            upload: per_second(http.upload_rate, http.upload_burst),
        },
        forwarders: from(&http.forwarders),
        bosh: BoshSettings {
            wait: http.bosh_wait,
            inactivity: http.bosh_inactivity,
            max_pause: http.bosh_max_pause,
            polling: http.bosh_polling,
        },
    }
}

pub(crate) fn session_policy(limits: &Limits) -> SessionPolicy {
    SessionPolicy {
        conflict: match limits.resource_conflict {
            ConflictPolicy::CloseOld => Conflict::CloseOld,
            ConflictPolicy::CloseNew => Conflict::CloseNew,
            ConflictPolicy::SetResource => Conflict::SetResource,
        },
        most: limits.sessions_per_account,
    }
}

/// Takes clients' connections: one session each.
struct C2sDoor {
    sessions: Sessions,
    shards: Shards,
    options: Arc<C2sOptions>,
    before_login: xml::Limits,
}

impl C2sDoor {
    fn new(
        listener: &Listener,
        loaded: &Loaded,
        sessions: &Sessions,
        certificates: &Certificates,
        hosts: &HostTable,
        shards: Shards,
    ) -> C2sDoor {
        let limits = &loaded.settings.limits;
        let bounds = |bytes: config::Bytes| xml::Limits {
            bytes: usize::try_from(bytes.0).unwrap_or(usize::MAX),
            depth: limits.depth,
            attributes: limits.attributes,
            children: limits.children,
        };
        let policy = match listener.tls {
            TlsMode::Required => TlsPolicy::Required,
            TlsMode::Optional => TlsPolicy::Optional,
            TlsMode::Direct => TlsPolicy::Direct,
            TlsMode::Off => TlsPolicy::Off,
        };
        let starttls = || certificates.server_config(&[]);
        let login = AccountLogin {
            auth: sessions.auth.clone(),
            plain_without_tls: listener.tls == TlsMode::Off,
        };
        let negotiables: Vec<Arc<dyn Negotiable>> = vec![
            Arc::new(StartTls::new(
                policy,
                (listener.tls != TlsMode::Off).then(starttls),
            )),
            Arc::new(Sasl::new(Arc::new(login), policy)),
            Arc::new(ByHooks {
                sessions: sessions.clone(),
                needs_tls: matches!(policy, TlsPolicy::Required | TlsPolicy::Direct),
            }),
            Arc::new(Bind),
            Arc::new(LegacySession),
        ];
        let hosts = hosts.clone();
        let profile = Profile {
            negotiables,
            default_host: loaded.hosts[0].clone(),
            // As it is then, not as it was when the listener was opened.
            serves: Box::new(move |domain| hosts.contains(domain)),
        };
        let direct = listener.tls == TlsMode::Direct;
        let io = IoOptions {
            direct_tls: direct.then(|| certificates.server_config(&[net::ALPN_CLIENT])),
            negotiate_within: limits.login_within,
            outbox_bytes: usize::try_from(limits.outbox_bytes.0).unwrap_or(usize::MAX),
            write_stall: limits.write_stall,
            keep_alive: Some(limits.keep_alive),
            rate: Some(Rate {
                bytes_per_second: limits.read_rate.0,
                burst: limits.read_burst.0,
            }),
            ..IoOptions::default()
        };
        C2sDoor {
            sessions: sessions.clone(),
            shards,
            options: Arc::new(C2sOptions {
                profile: Arc::new(profile),
                io,
                limits: bounds(limits.stanza_bytes),
            }),
            before_login: bounds(limits.stanza_bytes_before_login),
        }
    }
}

impl Accept for C2sDoor {
    fn accepted(
        &self,
        socket: TcpStream,
        peer: PeerAddr,
        ticket: Ticket,
    ) -> BoxFuture<'static, ()> {
        let transport = TcpTransport::new(socket, Framing::Client, self.before_login);
        let transport = transport.with_ticket(ticket);
        let options = Arc::clone(&self.options);
        let args = C2sArgs::new(self.sessions.clone(), options, transport, Some(peer.remote));
        let shards = self.shards.clone();
        async move {
            if let Err(error) = shards.start_one::<C2s>(args).await {
                tracing::warn!(target: "natter::session", peer = %peer.remote, %error, "connection refused");
            }
        }
        .boxed()
    }
}
