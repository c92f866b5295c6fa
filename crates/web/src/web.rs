//! The HTTP server of a node: one for all its listeners.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use admin::Commands;
use futures_util::future::BoxFuture;
use httpd::{Dispatch, Error, Host, Httpd, Middleware, Options, Path, Request, Routes, Verdict};
use net::Admission;
use otp::{Shards, Supervisor, System};
use parking_lot::RwLock;
use router::Router;
use session::Sessions;
use storage::Storage;

use crate::access::{Clients, HttpDoor, WebSettings, site};
use crate::api::{Api, OpenApi};
use crate::bosh::{self, Bosh};
use crate::forwarded::Forwarders;
use crate::health::Health;
use crate::metrics::Metrics;
use crate::offline::Posts;
use crate::tally::Tally;
use crate::throttle::{Class, Throttle};
use crate::upload::{Disk, Uploads};
use crate::ws;
use crate::xmlrpc::XmlRpc;

/// Whose paths those of the server itself are.
const OWN: &str = "server";

/// What the HTTP server of a node is made of.
pub struct WebParts {
    /// The server that it is part of.
    pub system: System,
    /// Its version.
    pub version: &'static str,
    /// What survives a restart.
    pub storage: Storage,
    /// Which domains are served.
    pub router: Router,
    /// Clients.
    pub sessions: Sessions,
    /// The supervisors of their sessions.
    pub c2s: Shards,
    /// Places for clients that have not logged in.
    pub admission: Admission,
    /// The commands of the node.
    pub commands: Commands,
    /// The folder of its data.
    pub data_dir: PathBuf,
}

/// The HTTP server of a node. Clones are the same.
#[derive(Clone)]
pub struct Web(Arc<Inner>);

/// Where the server listens now.
type Doors = Arc<dyn Fn() -> Vec<HttpDoor> + Send + Sync>;

struct Inner {
    parts: WebParts,
    httpd: Httpd,
    routes: Routes,
    settings: Arc<RwLock<Arc<WebSettings>>>,
    bosh: Bosh,
    clients: RwLock<Option<Clients>>,
    doors: RwLock<Option<Doors>>,
    uploads: Uploads,
    posts: Arc<Posts>,
    tally: Arc<Tally>,
    requests: Arc<AtomicU64>,
}

impl Web {
    /// A server with the paths of its own.
    #[must_use]
    pub fn new(parts: WebParts, settings: WebSettings) -> Web {
        let requests: Arc<AtomicU64> = Arc::default();
        let settings = Arc::new(RwLock::new(Arc::new(settings)));
        let tally: Arc<Tally> = Arc::default();
        let clock = parts.system.clock();
        let options = Options::default()
            .before_router(Count(Arc::clone(&requests)))
            .before_router(Forwarders(Arc::clone(&settings)))
            .before_router(Throttle::new(Class::ALL, &settings, clock))
            .after_router(Throttle::new(Class::COMMANDS, &settings, clock))
            .after_router(Throttle::new(Class::WEBSOCKET, &settings, clock))
            .after_router(Throttle::new(Class::BOSH, &settings, clock))
            .after_router(Throttle::new(Class::UPLOAD, &settings, clock))
            .stream(httpd::Metrics::new({
                let tally = Arc::clone(&tally);
                move |summary| tally.add(summary)
            }));
        let httpd = Httpd::new(&parts.system, "http", options);
        let web = Web(Arc::new(Inner {
            routes: Routes::new(&httpd),
            settings,
            bosh: Bosh::new(&parts.system),
            clients: RwLock::default(),
            doors: RwLock::default(),
            uploads: Uploads::new(parts.data_dir.join("uploads")),
            posts: Arc::default(),
            tally,
            parts,
            httpd,
            requests,
        }));
        let own = Host::any()
            .path(Path::to("/health", Health::ready(&web)))
            .path(Path::to("/health/live", Health::live(&web)))
            .path(Path::to("/metrics", Metrics(web.clone())))
            .path(Path::to("/api/openapi.json", OpenApi(web.clone())))
            .path(Path::to("/api/:command/[:version]", Api(web.clone())))
            .path(Path::to("/ws", ws::Door(web.clone())))
            .path(Path::to("/bosh", bosh::Door(web.clone())))
            .path(Path::to("/xmlrpc", XmlRpc(web.clone())));
        let added = web.routes().add(OWN, 0, vec![own]);
        added.expect("the paths of the server itself are well formed");
        web
    }

    /// What serves the connections of listeners.
    #[must_use]
    pub fn httpd(&self) -> &Httpd {
        &self.0.httpd
    }

    /// Supervises the sessions of clients that come by BOSH; `restarts` within `period` is the intensity of each shard.
    pub fn bosh_supervisor(&self, restarts: u32, period: Duration) -> Supervisor {
        self.0.bosh.supervisor(restarts, period)
    }

    pub(crate) fn bosh(&self) -> &Bosh {
        &self.0.bosh
    }

    /// Decides by these from the next request on.
    pub fn set(&self, settings: WebSettings) {
        *self.0.settings.write() = Arc::new(settings);
    }

    /// Gives this to clients of XMPP that come from now on. Before it is called none is let in.
    pub fn set_clients(&self, clients: Clients) {
        *self.0.clients.write() = Some(clients);
    }

    /// Has files that are put written by this, from the next one on.
    pub fn set_disk(&self, disk: Arc<dyn Disk>) {
        self.0.uploads.shelf.write_by(disk);
    }

    /// Asks this where the server listens, from now on.
    pub fn set_doors(&self, doors: impl Fn() -> Vec<HttpDoor> + Send + Sync + 'static) {
        *self.0.doors.write() = Some(Arc::new(doors));
    }

    /// The site of a host, `https://example.org:5443`, as clients reach it; `None` while the server listens for no HTTP.
    pub(crate) fn site(&self, host: &str) -> Option<String> {
        let doors = self.0.doors.read().clone();
        site(host, &doors?())
    }

    /// What the upload services of all hosts share.
    pub(crate) fn uploads(&self) -> &Uploads {
        &self.0.uploads
    }

    pub(crate) fn clients(&self) -> Option<Clients> {
        self.0.clients.read().clone()
    }

    /// The table of paths as it is served now.
    #[must_use]
    pub fn table(&self) -> Arc<Dispatch> {
        self.0.routes.current()
    }

    pub(crate) fn settings(&self) -> Arc<WebSettings> {
        Arc::clone(&self.0.settings.read())
    }

    pub(crate) fn routes(&self) -> &Routes {
        &self.0.routes
    }

    pub(crate) fn parts(&self) -> &WebParts {
        &self.0.parts
    }

    /// Places for clients that have not logged in.
    pub(crate) fn admission(&self) -> &Admission {
        &self.0.parts.admission
    }

    /// What became of the posts of waiting messages.
    pub(crate) fn posts(&self) -> &Arc<Posts> {
        &self.0.posts
    }

    /// What became of requests.
    pub(crate) fn tally(&self) -> &Tally {
        &self.0.tally
    }

    /// How many requests came.
    pub(crate) fn requests(&self) -> u64 {
        self.0.requests.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Web({:?})", self.0.httpd)
    }
}

/// Counts requests.
struct Count(Arc<AtomicU64>);

impl Middleware for Count {
    fn execute<'a>(&'a self, _req: &'a mut Request) -> BoxFuture<'a, Result<Verdict, Error>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::ready(Ok(Verdict::Go)))
    }
}
