//! Routes: who owns a domain, and what becomes of what is sent there.

use std::sync::Arc;

use otp::Fault;
use parking_lot::Mutex;
use router::{BalanceBy, Change, InstallError, Mode, RouteSpec, Router};
use xmpp::Stanza;

use crate::stage::*;

fn domains(router: &Router) -> Vec<String> {
    router
        .route_list()
        .into_iter()
        .map(|row| format!("{} {}", row.domain, row.mode))
        .collect()
}

#[tokio::test]
async fn a_route_is_there_from_registration_to_removal() {
    let stage = Stage::new().await;
    let (owner, got, _) = Holder::start(&stage.system).await;
    assert_eq!(
        stage.say("echo.a.example").await,
        ["echo.a.example > x@b.example/r remote-server-not-found"]
    );
    stage
        .route_to(&owner, "echo.a.example", Holder::mode(&owner))
        .await;
    assert_eq!(
        domains(&stage.router),
        ["b.example inline", "echo.a.example actor"]
    );
    assert_eq!(
        stage.router.registrations_of(owner.id()),
        ["route echo.a.example"]
    );
    assert!(stage.say("echo.a.example").await.is_empty());
    until("the packet is taken", || got.lock().len() == 1).await;
    stage
        .router
        .remove(owner.id())
        .await
        .expect("the router answers");
    assert_eq!(
        stage.say("echo.a.example").await,
        ["echo.a.example > x@b.example/r remote-server-not-found"]
    );
    stage.settled(3);
}

#[tokio::test]
async fn a_domain_has_one_owner_and_a_refused_change_leaves_nothing() {
    let stage = Stage::new().await;
    let owner = Holder::start(&stage.system).await.0;
    let mut change = Change::new();
    change.route(RouteSpec::new("new.example", None, Holder::mode(&owner)));
    change.feature(A, router::To::Host, "urn:new");
    change.route(RouteSpec::new(B, None, Holder::mode(&owner)));
    let refused = stage.router.install(&owner.any(), "thief", change).await;
    let taken = InstallError::DomainTaken {
        domain: B.into(),
        by: B.into(),
    };
    assert_eq!(refused, Err(taken));
    assert_eq!(domains(&stage.router), ["b.example inline"]);
    assert!(stage.router.features(A, router::To::Host).is_empty());
}

#[tokio::test]
async fn the_death_of_an_owner_takes_its_routes_back() {
    let stage = Stage::new().await;
    let owner = Holder::start(&stage.system).await.0;
    stage
        .route_to(&owner, "echo.a.example", Holder::mode(&owner))
        .await;
    owner.any().fault(Fault::Panic);
    until("the route is gone", || domains(&stage.router).len() == 1).await;
    // And another may have it at once, also when the news of the death is still on its way.
    let (first, second) = (
        Holder::start(&stage.system).await.0,
        Holder::start(&stage.system).await.0,
    );
    stage
        .route_to(&first, "echo.a.example", Holder::mode(&first))
        .await;
    first.kill();
    first.watch().await;
    stage
        .route_to(&second, "echo.a.example", Holder::mode(&second))
        .await;
    assert_eq!(
        stage.router.registrations_of(second.id()),
        ["route echo.a.example"]
    );
}

#[tokio::test]
async fn a_restarted_router_keeps_the_living_and_purges_the_dead() {
    let stage = Stage::new().await;
    let (lives, dies) = (
        Holder::start(&stage.system).await.0,
        Holder::start(&stage.system).await.0,
    );
    stage
        .route_to(&lives, "lives.example", Holder::mode(&lives))
        .await;
    stage
        .route_to(&dies, "dies.example", Holder::mode(&dies))
        .await;
    let owner = stage
        .system
        .registry()
        .whereis_any(&router::owner_name())
        .expect("the router runs");
    // It hangs, so it does not hear of the death.
    owner.fault(Fault::Hang);
    dies.kill();
    dies.watch().await;
    owner.kill();
    until("the dead one's route is gone", || {
        domains(&stage.router) == ["b.example inline", "lives.example actor"]
    })
    .await;
    // The living are monitored again.
    lives.kill();
    until("its route is gone too", || {
        domains(&stage.router) == ["b.example inline"]
    })
    .await;
}

#[tokio::test]
async fn a_reserved_domain_that_is_down_is_not_foreign() {
    let stage = Stage::new().await;
    let (elsewhere, got, _) = Holder::start(&stage.system).await;
    stage
        .router
        .reserve("echo.a.example", "mod_echo")
        .await
        .expect("free");
    stage
        .router
        .reserve("echo.a.example", "mod_echo")
        .await
        .expect("its own");
    let refused = stage.router.reserve("echo.a.example", "mod_other").await;
    assert_eq!(
        refused,
        Err(InstallError::DomainTaken {
            domain: "echo.a.example".into(),
            by: "mod_echo".into()
        })
    );
    stage
        .router
        .set_default_route(Holder::mode(&elsewhere), &elsewhere.any())
        .await
        .expect("set");
    assert!(stage.router.is_local("echo.a.example"));
    assert_eq!(
        stage.say("echo.a.example").await,
        ["echo.a.example > x@b.example/r remote-server-timeout"]
    );
    assert_eq!(
        domains(&stage.router),
        ["b.example inline", "echo.a.example down"]
    );
    stage
        .router
        .release("echo.a.example")
        .await
        .expect("released");
    assert!(stage.say("echo.a.example").await.is_empty());
    until("it went elsewhere", || got.lock().len() == 1).await;
    elsewhere.kill();
    until("the default route is gone", || !elsewhere.is_alive()).await;
    elsewhere.watch().await;
    let gone = "echo.a.example > x@b.example/r remote-server-not-found";
    let mut last = Vec::new();
    for _ in 0..1000 {
        last = stage.say("echo.a.example").await;
        if last == [gone] {
            break;
        }
        // Its entry is still there: it is told that the taker is down.
        assert_eq!(
            last,
            ["echo.a.example > x@b.example/r remote-server-timeout"]
        );
        tokio::task::yield_now().await;
    }
    assert_eq!(last, [gone]);
    assert_eq!(stage.ledger.lost_count(), 0);
}

#[tokio::test]
async fn a_balanced_route_keeps_to_its_key_and_bounces_at_an_empty_slot() {
    let stage = Stage::new().await;
    let owner = Holder::start(&stage.system).await.0;
    let from_to = |from: usize, to: usize| {
        format!(
            "<message from='u{from}@b.example/r{from}' to='s{to}@lb.example/t{to}'><body/></message>"
        )
    };
    for by in [
        BalanceBy::Random,
        BalanceBy::Source,
        BalanceBy::Destination,
        BalanceBy::BareSource,
        BalanceBy::BareDestination,
    ] {
        let takers: Vec<Arc<Mutex<Vec<Stanza>>>> = (0..4).map(|_| Arc::default()).collect();
        let slots = takers.iter().map(|got| {
            let got = Arc::clone(got);
            Some(Arc::new(move |parcel: router::Parcel| {
                let packet = parcel.take();
                got.lock().push(packet.stanza.clone());
                packet.drop_by_rule();
                Ok(())
            }) as router::Post)
        });
        stage
            .route_to(&owner, "lb.example", Mode::Balanced(by, slots.collect()))
            .await;
        for round in 0..64 {
            // The key stays, the other address changes.
            let text = match by {
                BalanceBy::Source | BalanceBy::BareSource => from_to(7, round),
                _ => from_to(round, 7),
            };
            stage.router.route(stage.packet(&text)).await;
        }
        let used = takers.iter().filter(|got| !got.lock().is_empty()).count();
        match by {
            BalanceBy::Random => assert!(used > 1, "64 by chance to one of 4"),
            _ => assert_eq!(used, 1, "{by:?}"),
        }
        for round in 0..64 {
            stage
                .router
                .route(stage.packet(&from_to(round, round)))
                .await;
        }
        assert!(
            takers.iter().all(|got| !got.lock().is_empty()),
            "{by:?} uses every slot"
        );
        stage.router.remove(owner.id()).await.expect("removed");
    }
    for slots in [Vec::new(), vec![None, None]] {
        stage
            .route_to(
                &owner,
                "lb.example",
                Mode::Balanced(BalanceBy::Source, slots),
            )
            .await;
        assert_eq!(
            stage.say("lb.example").await,
            ["lb.example > x@b.example/r remote-server-timeout"]
        );
        stage.router.remove(owner.id()).await.expect("removed");
    }
    stage.settled(5 * 128 + 2);
}

#[tokio::test]
async fn a_full_mailbox_is_a_resource_constraint_and_loses_nothing() {
    let stage = Stage::new().await;
    let (owner, got, gate) = Holder::start(&stage.system).await;
    stage
        .route_to(&owner, "echo.a.example", Holder::mode(&owner))
        .await;
    gate.shut();
    let mut refused = 0;
    for _ in 0..40 {
        let heard = stage.say("echo.a.example").await;
        if !heard.is_empty() {
            assert_eq!(
                heard,
                ["echo.a.example > x@b.example/r resource-constraint"]
            );
            refused += 1;
        }
    }
    assert!((1..40).contains(&refused), "{refused} of 40 refused");
    gate.open();
    until("the rest is taken", || got.lock().len() == 40 - refused).await;
    stage.settled(40);
}

#[tokio::test]
async fn what_may_not_be_answered_ends_silently() {
    let stage = Stage::new().await;
    for silent in [
        "<message from='x@b.example/r' to='y@none.example' type='error'/>",
        "<presence from='x@b.example/r' to='y@none.example'/>",
        "<presence from='x@b.example/r' to='y@none.example' type='probe'/>",
        "<iq from='x@b.example/r' to='y@none.example' type='result' id='1'/>",
    ] {
        stage.router.route(stage.packet(silent)).await;
        assert!(stage.heard().is_empty(), "{silent}");
    }
    let asks = "<presence from='x@b.example/r' to='y@none.example' type='subscribe'/>";
    stage.router.route(stage.packet(asks)).await;
    assert_eq!(
        stage.heard(),
        ["y@none.example > x@b.example/r remote-server-not-found"]
    );
    stage.settled(5);
}
