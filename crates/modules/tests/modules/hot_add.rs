//! Modules come, go and fall on a running host.

use crate::rig::{ELSEWHERE, HOST, Rig};
use futures_util::FutureExt;
use gen_mod::prelude::*;
use gen_mod::{Depends, ModuleKind, State, kind};
use otp::Fault;

/// Falls over every packet.
struct ModFragile;

impl Module for ModFragile {
    const NAME: &'static str = "mod_fragile";
    const SOURCES: &'static [Source] = &[];
    type Opts = NoOpts;

    async fn start(_ctx: &ModuleCtx, _opts: NoOpts) -> Result<(Self, Registrations), StartError> {
        Ok((
            ModFragile,
            Registrations::new().route(format!("fragile.{HOST}")),
        ))
    }

    async fn handle_info(&mut self, _info: Info, _ctx: &ModuleCtx) {
        panic!("fragile");
    }
}

/// Cannot do without another.
struct ModNeedy;

impl Module for ModNeedy {
    const NAME: &'static str = "mod_needy";
    const SOURCES: &'static [Source] = &[];
    const DEPENDS: &'static [Depends] = &[needs("mod_fragile")];
    type Opts = NoOpts;

    async fn start(_ctx: &ModuleCtx, _opts: NoOpts) -> Result<(Self, Registrations), StartError> {
        Ok((ModNeedy, Registrations::new()))
    }
}

/// Has more to say behind its answer.
struct ModTalkative;

impl Module for ModTalkative {
    const NAME: &'static str = "mod_talkative";
    const SOURCES: &'static [Source] = &[];
    type Opts = NoOpts;

    async fn start(_ctx: &ModuleCtx, _opts: NoOpts) -> Result<(Self, Registrations), StartError> {
        Ok((
            ModTalkative,
            Registrations::new().iq_get(To::Host, "urn:talk", talk),
        ))
    }
}

async fn talk(host: Host, iq: Iq) -> Result<(), StanzaError> {
    let refused = iq.child().name() == "refuse";
    let asker = iq.from.clone();
    iq.after_answer(move || {
        let more = Stanza::message(xmpp::MessageType::Normal)
            .from(asker.clone())
            .to(asker)
            .body("more")
            .finish();
        let told = host.router.route(host.router.packet(more)).now_or_never();
        told.expect("an inline route is done at once");
    });
    if refused {
        Err(Condition::NotAllowed.into())
    } else {
        Ok(())
    }
}

/// The module of that name, wherever it stands in the list.
const fn of_build(name: &str) -> ModuleKind {
    let mut at = 0;
    loop {
        let (here, wanted) = (modules::ALL[at].name.as_bytes(), name.as_bytes());
        let mut same = 0;
        while same < here.len() && same < wanted.len() && here[same] == wanted[same] {
            same += 1;
        }
        if same == here.len() && same == wanted.len() {
            return modules::ALL[at];
        }
        at += 1;
    }
}

static CATALOG: &[ModuleKind] = &[
    of_build("mod_disco"),
    of_build("mod_echo"),
    kind::<ModFragile>(),
    kind::<ModNeedy>(),
    kind::<ModTalkative>(),
];

fn message(to: &str) -> String {
    format!("<message from='s@{ELSEWHERE}/1' to='{to}.{HOST}' id='m'><body>hi</body></message>")
}

fn items() -> String {
    format!(
        "<iq type='get' id='i' from='s@{ELSEWHERE}/1' to='{HOST}'>\
         <query xmlns='http://jabber.org/protocol/disco#items'/></iq>"
    )
}

#[test]
fn the_catalogue_holds_what_these_tests_think() {
    let names: Vec<&str> = CATALOG.iter().map(|kind| kind.name).collect();
    assert_eq!(
        names,
        [
            "mod_disco",
            "mod_echo",
            "mod_fragile",
            "mod_needy",
            "mod_talkative"
        ]
    );
}

#[tokio::test]
async fn a_service_is_added_and_taken_away() {
    let mut rig = Rig::start(CATALOG, &["mod_disco"]).await;
    assert!(
        rig.asks(&message("echo"))
            .await
            .contains("<remote-server-not-found")
    );
    rig.start_module("mod_echo", &[])
        .await
        .expect("mod_echo starts");
    let echo = rig.asks(&message("echo")).await;
    assert!(
        echo.starts_with(&format!(
            "<message from=\"echo.{HOST}\" to=\"s@{ELSEWHERE}/1\" id=\"m\">"
        )),
        "{echo}"
    );
    assert!(rig.asks(&items()).await.contains(&format!("echo.{HOST}")));
    rig.modules.stop("mod_echo").await.expect("mod_echo stops");
    assert!(!rig.asks(&items()).await.contains("echo"));
    assert!(
        rig.asks(&message("echo"))
            .await
            .contains("<remote-server-not-found")
    );
    assert_eq!(rig.state("mod_echo"), None);
    rig.start_module("mod_echo", &["host=say.@HOST@"])
        .await
        .expect("mod_echo starts again");
    assert!(rig.asks(&message("say")).await.contains("<body>hi</body>"));
    rig.modules
        .restart("mod_echo")
        .await
        .expect("mod_echo restarts");
    assert!(
        rig.asks(&message("say")).await.contains("<body>hi</body>"),
        "its options are kept"
    );
    rig.stop().await;
}

#[tokio::test]
async fn what_follows_an_answer_comes_behind_it() {
    let mut rig = Rig::start(CATALOG, &["mod_talkative"]).await;
    for (payload, type_) in [("talk", "result"), ("refuse", "error")] {
        let iq = format!(
            "<iq type='get' id='t' from='s@{ELSEWHERE}/1' to='{HOST}'><{payload} xmlns='urn:talk'/></iq>"
        );
        let answer = rig.asks(&iq).await;
        assert!(answer.contains(&format!("type=\"{type_}\"")), "{answer}");
        assert!(rig.hears().await.contains("<body>more</body>"));
        assert_eq!(rig.heard_already(), None);
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_module_that_falls_is_back_with_its_route() {
    let mut rig = Rig::start(CATALOG, &["mod_disco", "mod_echo"]).await;
    let process = |rig: &Rig| {
        let rows = rig.host.modules.list();
        rows.into_iter()
            .find(|row| row.name == "mod_echo")
            .and_then(|row| row.process)
    };
    let first = process(&rig).expect("mod_echo runs");
    let gone = first.watch();
    first.fault(Fault::Panic);
    assert!(matches!(gone.await, otp::ExitReason::Panic(_)));
    rig.until("mod_echo is back", |rig| {
        process(rig).is_some_and(|new| new.id() != first.id())
    })
    .await;
    rig.until("its route is back", |rig| {
        rig.host.router.services(HOST).len() == 1
    })
    .await;
    assert!(rig.asks(&message("echo")).await.contains("<body>hi</body>"));
    assert_eq!(rig.state("mod_echo"), Some(State::Running));
    rig.stop().await;
}

#[tokio::test]
async fn a_module_that_always_falls_is_given_up_alone() {
    let mut rig = Rig::start(CATALOG, &["mod_disco", "mod_echo", "mod_fragile"]).await;
    let mut tried = 0;
    while rig.state("mod_fragile") == Some(State::Running) {
        // Each packet comes back, however often the module fell over it.
        let answer = rig.asks(&message("fragile")).await;
        assert!(answer.contains("type=\"error\""), "{answer}");
        tried += 1;
        assert!(tried < 1000, "never given up");
    }
    let Some(State::Failed(why)) = rig.state("mod_fragile") else {
        panic!("not shown as failed")
    };
    assert!(!why.is_empty());
    assert!(
        rig.asks(&message("fragile"))
            .await
            .contains("<remote-server-timeout")
    );
    assert!(rig.asks(&message("echo")).await.contains("<body>hi</body>"));
    assert_eq!(rig.state("mod_echo"), Some(State::Running));
    // It can be brought back by hand, and taken away.
    rig.modules
        .restart("mod_fragile")
        .await
        .expect("a new start");
    assert_eq!(rig.state("mod_fragile"), Some(State::Running));
    rig.modules
        .stop("mod_fragile")
        .await
        .expect("mod_fragile stops");
    assert!(
        rig.asks(&message("fragile"))
            .await
            .contains("<remote-server-not-found")
    );
    rig.stop().await;
}

#[tokio::test]
async fn what_cannot_be_started_says_why_and_changes_nothing() {
    let rig = Rig::start(CATALOG, &["mod_disco", "mod_echo"]).await;
    let before = rig.host.router.route_list().len();
    assert_eq!(
        rig.start_fails("mod_echo", &[]).await,
        "mod_echo is already running; `restart_module` starts it anew"
    );
    assert_eq!(
        rig.start_fails("mod_fragil", &[]).await,
        "unknown module `mod_fragil`; did you mean `mod_fragile`?"
    );
    assert_eq!(
        rig.start_fails("mod_needy", &[]).await,
        "mod_needy needs mod_fragile, which is not running; start mod_fragile first"
    );
    rig.modules.stop("mod_echo").await.expect("mod_echo stops");
    let unknown = rig.start_fails("mod_echo", &["hots=x.example"]).await;
    assert!(
        unknown.contains("hots") && unknown.contains("did you mean `host`?"),
        "{unknown}"
    );
    let bad = rig.start_fails("mod_echo", &["host=no domain"]).await;
    assert!(
        bad.contains("option `host`: `no domain` is not a domain"),
        "{bad}"
    );
    let taken = rig
        .start_fails("mod_echo", &[&format!("host={ELSEWHERE}")])
        .await;
    assert!(
        taken.contains(&format!(
            "domain {ELSEWHERE} is already routed to strangers"
        )),
        "{taken}"
    );
    assert_eq!(rig.state("mod_echo"), None);
    assert_eq!(
        rig.host.router.route_list().len(),
        before - 1,
        "{:?}",
        rig.host.router.route_list()
    );
    rig.start_module("mod_echo", &[])
        .await
        .expect("mod_echo starts");
    rig.start_module("mod_fragile", &[])
        .await
        .expect("mod_fragile starts");
    rig.start_module("mod_needy", &[])
        .await
        .expect("mod_needy has what it needs");
    let needed = rig
        .modules
        .stop("mod_fragile")
        .await
        .expect_err("mod_needy needs it");
    assert_eq!(
        needed.to_string(),
        "mod_fragile is needed by mod_needy; stop mod_needy first"
    );
    assert_eq!(
        rig.modules
            .stop("mod_disco")
            .await
            .map_err(|error| error.to_string()),
        Ok(())
    );
    assert_eq!(
        rig.modules
            .stop("mod_disco")
            .await
            .map_err(|error| error.to_string()),
        Err("mod_disco is not running".to_owned())
    );
    rig.stop().await;
}
