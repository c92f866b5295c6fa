//! The tree: child specs and reasons, no logic. docs/SUPERVISION.md tells it number by number.

use std::sync::Arc;
use std::time::Duration;

use gen_mod::{Catalog, Host, LoaderArgs, Wanted, loader_child_spec, modules_sup_name};
use httpd::Httpd;
use otp::{ChildSpec, Restart, Shards, Shutdown, Strategy, Supervisor};
use session::{C2s, LocalArgs, Sessions, local_child_spec};
use web::Web;

use crate::doors::listener_sup_name;
use crate::houses::hosts_sup_name;

/// A supervisor of infrastructure gives up after 10 restarts in 10 s: it is then not a stanza that
/// makes its children fall but something that a restart of the whole might mend.
const INTENSITY: (u32, Duration) = (10, Duration::from_secs(10));

/// A session may take this long to write what waits, say goodbye and send on what was not written.
const SESSION_END: Duration = Duration::from_secs(15);

/// The processes of the whole server, in start order. They stop in the reverse order: first nobody
/// comes in, then sessions end and what they had is sent on, then services, and the store last.
pub struct Trunk {
    /// The store's processes.
    pub storage: Vec<ChildSpec>,
    /// The router's table owner.
    pub router: ChildSpec,
    /// The session manager.
    pub sm: ChildSpec,
    /// Every host's subtree, as they are when their supervisor starts.
    pub hosts: Arc<dyn Fn() -> Vec<HostBranch> + Send + Sync>,
    /// What fell out of a mailbox is sent on.
    pub dead_letters: ChildSpec,
    /// The connections of HTTP.
    pub http: ChildSpec,
    /// The sessions of BOSH.
    pub bosh: ChildSpec,
    /// The shards of clients' sessions.
    pub c2s: Shards,
    /// The acceptors, as they are when their supervisor starts.
    pub listeners: Arc<dyn Fn() -> Vec<ChildSpec> + Send + Sync>,
    /// The control socket.
    pub control: ChildSpec,
}

impl Trunk {
    /// The root: one_for_one, because each child's state lies in tables that outlive it.
    pub fn supervisor(self) -> Supervisor {
        let Trunk {
            storage,
            router,
            sm,
            hosts,
            dead_letters,
            http,
            bosh,
            c2s,
            listeners,
            control,
        } = self;
        one_for_one()
            .child(ChildSpec::supervisor("storage_sup", group(storage)))
            .child(router)
            .child(sm)
            .child({
                // Registered, as the listeners' is: reloads add and remove their children.
                let spec = ChildSpec::supervisor("hosts_sup", move || {
                    hosts()
                        .iter()
                        .fold(one_for_one(), |sup, host| sup.child(host.child_spec()))
                });
                spec.registered(hosts_sup_name())
            })
            // Behind the hosts: at the end of the server it still needs their offline queues.
            .child(dead_letters)
            // Before the sessions: those that came by HTTP can say goodbye.
            .child(http)
            .child(bosh)
            .child(ChildSpec::supervisor("c2s_sup", move || {
                // A session is never restarted: its client comes again.
                let shutdown = Shutdown::Timeout(SESSION_END);
                c2s.supervisor::<C2s>(Restart::Temporary, shutdown, INTENSITY.0, INTENSITY.1)
            }))
            .child({
                let spec = ChildSpec::supervisor("listener_sup", move || group(listeners())());
                spec.registered(listener_sup_name())
            })
            .child(control)
    }
}

/// The supervisors of the connections of HTTP.
pub fn http_connections(httpd: &Httpd) -> ChildSpec {
    httpd.connections("http_sup", INTENSITY.0, INTENSITY.1)
}

/// The supervisors of the sessions of BOSH.
pub fn bosh_sessions(web: &Web) -> ChildSpec {
    let web = web.clone();
    ChildSpec::supervisor("bosh_sup", move || {
        web.bosh_supervisor(INTENSITY.0, INTENSITY.1)
    })
}

fn one_for_one() -> Supervisor {
    Supervisor::new(Strategy::OneForOne).intensity(INTENSITY.0, INTENSITY.1)
}

fn group(children: Vec<ChildSpec>) -> impl Fn() -> Supervisor + Send + Sync + 'static {
    move || {
        children
            .iter()
            .fold(one_for_one(), |sup, child| sup.child(child.clone()))
    }
}

/// A host and the modules that it is to run.
#[derive(Clone)]
pub struct HostBranch {
    /// The host.
    pub host: Host,
    /// The sessions of the server.
    pub sessions: Sessions,
    /// All modules there are.
    pub catalog: Catalog,
    /// Those that are to run.
    pub wanted: Arc<Wanted>,
}

impl HostBranch {
    /// rest_for_one: a loader whose `modules_sup` fell has to start the modules again. The host's own
    /// route comes last, so that nothing falls with it.
    pub(crate) fn child_spec(&self) -> ChildSpec {
        let branch = self.clone();
        ChildSpec::supervisor(self.host.name.to_string(), move || {
            let local = LocalArgs {
                host: Arc::clone(&branch.host.name),
                sessions: branch.sessions.clone(),
            };
            let loader = LoaderArgs {
                host: branch.host.clone(),
                catalog: branch.catalog,
                wanted: Arc::clone(&branch.wanted),
            };
            Supervisor::new(Strategy::RestForOne)
                .intensity(INTENSITY.0, INTENSITY.1)
                .child(
                    // Each module has a small supervisor of its own below, `temporary`: one that is
                    // given up does not touch the others.
                    ChildSpec::supervisor("modules_sup", one_for_one)
                        .registered(modules_sup_name(&branch.host.name)),
                )
                .child(loader_child_spec(loader))
                .child(local_child_spec(local))
        })
    }
}
