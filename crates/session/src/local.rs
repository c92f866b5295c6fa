//! The route of a host: what is sent to its domain, and to its accounts.
//!
//! One process per host owns the route; the work is done where the packet is routed. Source:
//! RFC 6120 §10.5, RFC 6121 §8.

use std::sync::Arc;

use otp::{ChildSpec, Ctx, ExitReason, GenServer, Init, Name};
use router::{Change, Mode, Packet, RouteSpec, Routing, To, step};
use xmpp::{Condition, Kind};

use crate::deliver::deliver;
use crate::sm::Sessions;

/// Owns the route of a host. Permanent, first under the host's supervisor.
pub struct Local;

/// What it starts with.
#[derive(Clone)]
pub struct LocalArgs {
    /// The host's domain.
    pub host: Arc<str>,
    /// The sessions of the server.
    pub sessions: Sessions,
}

/// The child spec of a host's route.
#[must_use]
pub fn local_child_spec(args: LocalArgs) -> ChildSpec {
    let name = Name::new("local", args.host.to_string());
    ChildSpec::worker::<Local>("local", move || args.clone()).registered(name)
}

impl GenServer for Local {
    const KIND: &'static str = "local";
    type Args = LocalArgs;
    type Call = ();
    type Reply = ();
    type Cast = ();
    type Info = ();

    async fn init(args: LocalArgs, ctx: &mut Ctx<Self>) -> Init<Self> {
        ctx.set_kind_label(args.host.to_string());
        let router = args.sessions.router.clone();
        let host = Arc::clone(&args.host);
        let mut change = Change::new();
        let take = move |packet: Packet| local(&args.sessions, &args.host, packet);
        let route = RouteSpec::new(&host, None, Mode::Inline(Arc::new(take)));
        // What cannot be delivered while this process is down can still be bounced.
        change.route(route.lasting());
        // While this process is down the host is down, not foreign.
        let reserved = router.reserve(&host, "local").await;
        let installed = match reserved {
            Ok(()) => router.install(&ctx.pid().any(), "local", change).await,
            Err(error) => Err(error),
        };
        match installed {
            Ok(()) => Init::Ok(Local),
            Err(error) => Init::Stop(ExitReason::Error(error.to_string().into())),
        }
    }
}

/// Takes a packet for `host`: its accounts' go to the session manager's rules, its own to the host's IQ table.
fn local(sessions: &Sessions, host: &Arc<str>, packet: Packet) -> Routing {
    if packet.to().node().is_some() {
        return deliver(sessions, packet);
    }
    step!(packet.meta, "local", %host);
    match packet.stanza.kind() {
        Kind::Iq => sessions.router.dispatch_iq(host, To::Host, packet),
        // Nobody reads the server's mail (our choice; §10.5.3 leaves it open).
        Kind::Message => sessions
            .router
            .bounce(packet, Condition::ServiceUnavailable.into()),
        Kind::Presence => {
            packet.drop_by_rule();
            Routing::done()
        }
    }
}
