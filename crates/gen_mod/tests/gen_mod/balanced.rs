//! A module that serves with several processes.

use std::sync::Arc;

use gen_mod::prelude::*;
use gen_mod::{ModuleKind, kind};
use otp::Name;
use router::{BalanceBy, Mode, Outcome, RouteSpec};
use xmpp::Kind;

use crate::rig::{HOST, Rig, Script, section};

pub struct ModMany;

options! {
    /// How many serve.
    pub struct ManyOpts {
        /// Processes.
        pub instances: usize = 3,
        /// Key.
        pub by: Balancing = Balancing::Source,
    }
}

impl Module for ModMany {
    const NAME: &'static str = "mod_many";
    const SOURCES: &'static [Source] = &[];
    type Opts = ManyOpts;

    fn instances(opts: &ManyOpts) -> usize {
        opts.instances
    }

    async fn start(_ctx: &ModuleCtx, opts: ManyOpts) -> Result<(Self, Registrations), StartError> {
        let registrations = Registrations::new()
            .feature("urn:many")
            .route_balanced(format!("many.{HOST}"), opts.by.into());
        Ok((ModMany, registrations))
    }

    async fn handle_info(&mut self, info: Info, ctx: &ModuleCtx) {
        let Info::Route(parcel) = info else { return };
        let script = ctx.host.service::<Script>();
        let order = format!("fall {}", ctx.instance);
        if script.is_ordered(&order) {
            script.revoke(&order);
            panic!("ordered");
        }
        let packet = parcel.take();
        if packet.stanza.kind() == Kind::Message {
            let from = packet.from().to_string();
            script.say(format!(
                "{} of {} takes {from}",
                ctx.instance, ctx.instances
            ));
        }
        packet.receipt.resolve(Outcome::Delivered);
    }

    async fn reload(&mut self, _new: &ManyOpts, _old: &ManyOpts, ctx: &ModuleCtx) -> Reload {
        ctx.host
            .service::<Script>()
            .say(format!("{} reloads", ctx.instance));
        Reload::Done
    }
}

static CATALOG: &[ModuleKind] = &[kind::<ModMany>()];

async fn say(rig: &Rig, from: &str) {
    let text = format!("<message from='{from}' to='many.{HOST}'><body/></message>");
    let stanza = Stanza::parse(&text).expect("a stanza");
    rig.host.router.route(rig.host.router.packet(stanza)).await;
}

/// The senders' own server: it notes what comes back to them.
async fn bounces_are_heard(rig: &Rig) {
    let script = rig.script.clone();
    let take = move |packet: Packet| {
        assert!(packet.stanza.is_error());
        script.say(format!("answered {}", packet.to()));
        packet.receipt.resolve(Outcome::Delivered);
        Routing::done()
    };
    let route = RouteSpec::new("b.example", None, Mode::Inline(Arc::new(take)));
    let routed = rig
        .host
        .router
        .register_route(route, &rig.root.any(), "b")
        .await;
    routed.expect("the domain is free");
}

/// Says something from each and waits until all of it is taken; who took what, in the order of senders.
async fn all_taken(rig: &Rig, senders: &[String]) -> Vec<String> {
    for from in senders {
        say(rig, from).await;
    }
    let said = parking_lot::Mutex::new(Vec::new());
    rig.until("all are taken", |rig| {
        said.lock().extend(rig.script.take());
        said.lock().len() == senders.len()
    })
    .await;
    let mut said = said.into_inner();
    said.sort_by_key(|line| line.rsplit(' ').next().map(str::to_owned));
    said
}

#[tokio::test]
async fn each_takes_its_share_and_one_that_falls_takes_it_again() {
    let rig = Rig::start(CATALOG, &["mod_many"]).await;
    let senders: Vec<String> = (0..24).map(|n| format!("u{n:02}@b.example/r")).collect();
    let first = all_taken(&rig, &senders).await;
    for instance in ["0 of 3", "1 of 3", "2 of 3"] {
        assert!(
            first.iter().any(|line| line.starts_with(instance)),
            "{first:?}"
        );
    }
    assert_eq!(
        rig.registered(),
        ["many.a.example balanced", "feature urn:many"],
        "each thing once"
    );

    // What the one that falls had in hand is sent to its successor, or answered while there is none; the others
    // never notice.
    bounces_are_heard(&rig).await;
    rig.script.order("fall 1");
    let fallen = all_taken(&rig, &senders).await;
    assert!(!rig.script.is_ordered("fall 1"), "it fell");
    for (then, now) in first.iter().zip(&fallen) {
        let sender = then.rsplit(' ').next().expect("a word");
        let answered = then.starts_with("1 of 3") && *now == format!("answered {sender}");
        assert!(now == then || answered, "{then}, then {now}");
    }
    rig.until("it is back", |rig| {
        let name = Name::new("mod_many", format!("{HOST}#2"));
        let process = rig.host.system.registry().whereis_any(&name);
        process.is_some_and(|pid| !rig.host.router.registrations_of(pid.id()).is_empty())
    })
    .await;
    assert_eq!(
        all_taken(&rig, &senders).await,
        first,
        "the same keys as before"
    );
    rig.modules.stop("mod_many").await.expect("stops");
    let left = rig.registered();
    assert_eq!(left, ["b.example inline"]);
    rig.stop().await;
}

#[tokio::test]
async fn options_reach_every_process_and_another_number_is_a_restart() {
    let rig = Rig::start(CATALOG, &["mod_many"]).await;
    rig.modules
        .reload("mod_many", section(&["by=bare_source"]))
        .await
        .expect("live");
    assert_eq!(rig.script.take(), ["0 reloads", "1 reloads", "2 reloads"]);
    rig.modules
        .reload("mod_many", section(&["instances=2"]))
        .await
        .expect("restarts");
    assert_eq!(rig.script.take(), [] as [String; 0]);
    let senders: Vec<String> = (0..24).map(|n| format!("u{n:02}@b.example/r")).collect();
    let taken = all_taken(&rig, &senders).await;
    assert!(
        taken.iter().all(|line| line.contains(" of 2 ")),
        "{taken:?}"
    );
    assert_eq!(BalanceBy::from(Balancing::Random), BalanceBy::Random);
    rig.stop().await;
}
