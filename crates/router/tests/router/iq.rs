//! IQs: every get and set is answered exactly once; our own are answered by whom we asked.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::Mutex;
use router::{
    ANSWER_WITHIN, Answer, Change, InstallError, Iq, IqError, IqHandler, IqKind, IqSpec, Mode,
    Outcome, Packet, Routing, To,
};
use xmpp::{Condition, Fragment, Jid, Stanza};

use crate::stage::*;

const ASKER: &str = "x@b.example/r";

fn handler(answer: fn(Iq) -> Answer) -> IqHandler {
    Arc::new(move |iq| async move { answer(iq) }.boxed())
}

/// A stage where `a.example` answers IQs from its host table.
async fn stage() -> Stage {
    let stage = Stage::new().await;
    let router = stage.router.clone();
    let take = move |packet: Packet| router.dispatch_iq(A, To::Host, packet);
    stage
        .route_to(&stage.home, A, Mode::Inline(Arc::new(take)))
        .await;
    let specs: [(&str, IqKind, IqHandler); 6] = [
        (
            "urn:ok",
            IqKind::Get,
            handler(|iq| {
                Ok(Fragment::from(format!(
                    "<ok xmlns='urn:ok' id='{}'/>",
                    iq.id()
                )))
            }),
        ),
        ("urn:ok", IqKind::Set, handler(|_| Ok(Fragment::empty()))),
        (
            "urn:no",
            IqKind::Get,
            handler(|_| Err(Condition::Forbidden.into())),
        ),
        (
            "urn:panic",
            IqKind::Get,
            Arc::new(|_| panic!("before it waits")),
        ),
        (
            "urn:panic",
            IqKind::Set,
            Arc::new(|_| async { panic!("while it waits") }.boxed()),
        ),
        (
            "urn:late",
            IqKind::Get,
            Arc::new(|_| std::future::pending().boxed()),
        ),
    ];
    let mut change = Change::new();
    for (namespace, kind, handler) in specs {
        change.iq(IqSpec::new(A, To::Host, namespace, kind, handler));
    }
    stage
        .router
        .install(&stage.home.any(), "tests", change)
        .await
        .expect("installed");
    stage
}

fn iq(kind: &str, namespace: &str) -> String {
    format!("<iq from='{ASKER}' to='{A}' type='{kind}' id='i1'><q xmlns='{namespace}'/></iq>")
}

#[tokio::test]
async fn every_request_is_answered_once() {
    let stage = stage().await;
    let cases = [
        ("get", "urn:ok", ""),
        ("set", "urn:ok", ""),
        ("get", "urn:no", " forbidden"),
        ("get", "urn:panic", " internal-server-error"),
        ("set", "urn:panic", " internal-server-error"),
        ("get", "urn:unknown", " service-unavailable"),
        ("set", "urn:no", " not-allowed"),
    ];
    for (kind, namespace, answer) in cases {
        stage.router.route(stage.packet(&iq(kind, namespace))).await;
        let back = stage.back.lock().clone();
        assert!(back.iter().all(|stanza| stanza.id() == Some("i1")));
        assert_eq!(
            stage.heard(),
            [format!("{A} > {ASKER}{answer}")],
            "{kind} {namespace}"
        );
    }
    stage.settled(cases.len() as u64);
}

#[tokio::test]
async fn a_result_carries_what_the_handler_gave() {
    let stage = stage().await;
    stage.router.route(stage.packet(&iq("get", "urn:ok"))).await;
    let back = stage.back.lock().pop().expect("one answer");
    assert_eq!(back.iq_type(), xmpp::IqType::Result);
    assert_eq!(back.payload_ns(), Some("urn:ok"));
    stage.router.route(stage.packet(&iq("set", "urn:ok"))).await;
    let back = stage.back.lock().pop().expect("one answer");
    assert_eq!(
        (back.iq_type(), back.payload_ns()),
        (xmpp::IqType::Result, None)
    );
}

#[tokio::test]
async fn a_late_handler_is_answered_for() {
    let stage = stage().await;
    let routing = tokio::spawn(stage.router.route(stage.packet(&iq("get", "urn:late"))));
    let clock = stage.system.clock();
    until("the handler waits", || clock.timers() > 0).await;
    stage
        .hand
        .advance(ANSWER_WITHIN - Duration::from_millis(1))
        .await;
    assert!(stage.heard().is_empty());
    stage.hand.advance(Duration::from_millis(1)).await;
    routing.await.expect("no panic");
    assert_eq!(
        stage.heard(),
        [format!("{A} > {ASKER} internal-server-error")]
    );
    stage.settled(1);
}

#[tokio::test]
async fn what_nobody_asked_for_ends() {
    let stage = stage().await;
    for kind in ["result", "error"] {
        stage.router.route(stage.packet(&iq(kind, "urn:ok"))).await;
        assert!(stage.heard().is_empty(), "{kind}");
    }
    stage.settled(2);
}

#[tokio::test]
async fn what_follows_an_answer_comes_behind_it() {
    let stage = stage().await;
    let order: Arc<Mutex<Vec<usize>>> = Arc::default();
    let (back, seen) = (Arc::clone(&stage.back), Arc::clone(&order));
    let after: IqHandler = Arc::new(move |iq: Iq| {
        let (back, seen) = (Arc::clone(&back), Arc::clone(&seen));
        iq.after_answer(move || seen.lock().push(back.lock().len()));
        async { Ok(Fragment::empty()) }.boxed()
    });
    let mut change = Change::new();
    change.iq(IqSpec::new(A, To::Host, "urn:after", IqKind::Set, after));
    stage
        .router
        .install(&stage.home.any(), "tests", change)
        .await
        .expect("installed");
    stage
        .router
        .route(stage.packet(&iq("set", "urn:after")))
        .await;
    assert_eq!(
        *order.lock(),
        [1],
        "one answer was there, and it was done once"
    );
}

#[tokio::test]
async fn a_namespace_has_one_owner_and_the_targets_are_apart() {
    let stage = stage().await;
    let owner = Holder::start(&stage.system).await.0;
    let spec = |to, kind| IqSpec::new(A, to, "urn:no", kind, handler(|_| Ok(Fragment::empty())));
    let taken = InstallError::NamespaceTaken {
        namespace: "urn:no".into(),
        by: "tests".into(),
    };
    for kind in [IqKind::Get, IqKind::Set] {
        let mut change = Change::new();
        change.iq(spec(To::Account, IqKind::Get));
        change.iq(spec(To::Host, kind));
        let refused = stage.router.install(&owner.any(), "other", change).await;
        assert_eq!(refused, Err(taken.clone()));
        assert!(stage.router.registrations_of(owner.id()).is_empty());
    }
    let mut change = Change::new();
    change.iq(spec(To::Account, IqKind::Get));
    stage
        .router
        .install(&owner.any(), "other", change)
        .await
        .expect("the account's are free");
    assert_eq!(
        stage.router.registrations_of(owner.id()),
        ["iq account urn:no"]
    );
}

/// Routes `peer.example` into a list of what it is asked.
async fn peer(stage: &Stage) -> Arc<Mutex<Vec<Stanza>>> {
    let asked: Arc<Mutex<Vec<Stanza>>> = Arc::default();
    let got = Arc::clone(&asked);
    let take = move |packet: Packet| {
        got.lock().push(packet.stanza.clone());
        packet.receipt.resolve(Outcome::Delivered);
        Routing::done()
    };
    stage
        .route_to(&stage.home, "peer.example", Mode::Inline(Arc::new(take)))
        .await;
    asked
}

fn jid(text: &str) -> Jid {
    xmpp::parse_jid(text).expect("a JID")
}

fn ask(stage: &Stage, to: &str) -> tokio::task::JoinHandle<Result<Stanza, IqError>> {
    let (router, to) = (stage.router.clone(), jid(to));
    let payload = Fragment::from("<q xmlns='urn:q'/>");
    tokio::spawn(async move {
        router
            .ask(&jid(A), &to, IqKind::Get, payload, Duration::from_secs(9))
            .await
    })
}

fn reply(from: &str, kind: &str, id: &str) -> String {
    format!("<iq from='{from}' to='{A}' type='{kind}' id='{id}'/>")
}

#[tokio::test]
async fn only_whom_we_asked_may_answer() {
    let stage = stage().await;
    let asked = peer(&stage).await;
    let answer = ask(&stage, "y@peer.example/z");
    until("the question is there", || asked.lock().len() == 1).await;
    let id = asked.lock()[0].id().expect("an id").to_owned();
    for stranger in [
        "y@peer.example",
        "y@peer.example/other",
        "mallory@peer.example/z",
    ] {
        stage
            .router
            .route(stage.packet(&reply(stranger, "result", &id)))
            .await;
    }
    stage
        .router
        .route(stage.packet(&reply("y@peer.example/z", "result", "guess")))
        .await;
    tokio::task::yield_now().await;
    assert!(!answer.is_finished());
    stage
        .router
        .route(stage.packet(&reply("y@peer.example/z", "result", &id)))
        .await;
    let got = answer.await.expect("no panic").expect("an answer");
    assert_eq!(got.from(), Some(&jid("y@peer.example/z")));
    // A second answer is one that nobody asked for.
    stage
        .router
        .route(stage.packet(&reply("y@peer.example/z", "result", &id)))
        .await;
    stage.settled(6);
}

#[tokio::test]
async fn an_error_and_a_silence_are_told_apart() {
    let stage = stage().await;
    let asked = peer(&stage).await;
    let refused = ask(&stage, "y@peer.example");
    until("the question is there", || asked.lock().len() == 1).await;
    let id = asked.lock()[0].id().expect("an id").to_owned();
    stage
        .router
        .route(stage.packet(&reply("y@peer.example", "error", &id)))
        .await;
    assert!(matches!(
        refused.await.expect("no panic"),
        Err(IqError::Answered(_))
    ));
    let nowhere = ask(&stage, "y@nowhere.example").await.expect("no panic");
    assert!(
        matches!(nowhere, Err(IqError::Answered(e)) if told(&e).ends_with("remote-server-not-found"))
    );
    let silent = ask(&stage, "y@peer.example");
    until("the question is there", || asked.lock().len() == 2).await;
    stage.hand.advance(Duration::from_secs(9)).await;
    assert!(matches!(
        silent.await.expect("no panic"),
        Err(IqError::Timeout(_))
    ));
    // One that comes too late finds nobody.
    let id = asked.lock()[1].id().expect("an id").to_owned();
    stage
        .router
        .route(stage.packet(&reply("y@peer.example", "result", &id)))
        .await;
    stage.settled(2);
}

#[tokio::test]
async fn ids_cannot_be_guessed() {
    let stage = stage().await;
    let asked = peer(&stage).await;
    let asking: Vec<_> = (0..100).map(|_| ask(&stage, "y@peer.example")).collect();
    until("all are there", || asked.lock().len() == 100).await;
    let mut ids: Vec<String> = asked
        .lock()
        .iter()
        .filter_map(|s| s.id().map(str::to_owned))
        .collect();
    assert!(
        ids.iter().all(|id| id.len() >= 21),
        "128 bits in base64: {}",
        ids[0]
    );
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 100);
    asking.iter().for_each(|task| task.abort());
}
