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
async fn processes_share_a_route_and_a_slot_goes_with_its_process() {
    /// So few that a mailbox takes the share of one.
    const SENDERS: usize = 15;
    let stage = Stage::new().await;
    let holders = [
        Holder::start(&stage.system).await,
        Holder::start(&stage.system).await,
        Holder::start(&stage.system).await,
    ];
    let share = |number: usize, of: usize, by: BalanceBy| {
        let (pid, ..) = &holders[number];
        let post = Holder::post(pid);
        RouteSpec::slot("lb.example", None, by, number, of, post)
    };
    let join = async |spec: RouteSpec, holder: usize, name: &str| {
        let pid = holders[holder].0.any();
        stage.router.register_route(spec, &pid, name).await
    };
    let by = BalanceBy::Source;
    for number in 0..3 {
        assert_eq!(join(share(number, 3, by), number, "lb").await, Ok(()));
    }
    assert_eq!(
        domains(&stage.router),
        ["b.example inline", "lb.example balanced"]
    );
    let taken = Err(InstallError::DomainTaken {
        domain: "lb.example".into(),
        by: "lb".into(),
    });
    // A slot that is filled, another key, another number of slots, another name, or no slot at all.
    assert_eq!(join(share(1, 3, by), 2, "lb").await, taken);
    assert_eq!(join(share(1, 3, BalanceBy::Random), 1, "lb").await, taken);
    assert_eq!(join(share(1, 4, by), 1, "lb").await, taken);
    assert_eq!(join(share(1, 3, by), 1, "thief").await, taken);
    let whole = RouteSpec::new("lb.example", None, Holder::mode(&holders[1].0));
    assert_eq!(join(whole, 1, "lb").await, taken);

    let packet = |from: usize| {
        stage.packet(&format!(
            "<message from='u{from}@b.example/r' to='lb.example'><body/></message>"
        ))
    };
    for from in 0..SENDERS {
        stage.router.route(packet(from)).await;
    }
    let count = |holder: usize| holders[holder].1.lock().len();
    until("all are taken", || {
        (0..3).map(count).sum::<usize>() == SENDERS
    })
    .await;
    assert!((0..3).all(|holder| count(holder) > 0), "each takes some");
    let mut of_one: Vec<String> = holders[1]
        .1
        .lock()
        .iter()
        .map(|s| s.from().expect("from").to_string())
        .collect();

    let share_of_one = of_one.len();
    // No more than its mailbox holds.
    of_one.truncate(5);

    // One falls with packets in its mailbox: they are answered, and so is what comes for its slot. The others go on.
    holders[1].2.shut();
    let to_one = |from: &String| {
        stage.packet(&format!(
            "<message from='{from}' to='lb.example' id='x'><body/></message>"
        ))
    };
    for from in &of_one {
        stage.router.route(to_one(from)).await;
    }
    assert_eq!(stage.heard(), [] as [String; 0]);
    let before: usize = count(0) + count(2);
    holders[1].0.kill();
    holders[1].0.watch().await;
    let mut heard: Vec<String> = Vec::new();
    until("they are answered", || {
        heard.extend(stage.heard());
        heard.len() == of_one.len()
    })
    .await;
    assert!(
        heard
            .iter()
            .all(|told| told.ends_with("remote-server-timeout")),
        "{heard:?}"
    );
    for from in 0..SENDERS {
        stage.router.route(packet(from)).await;
    }
    until("the others go on", || {
        count(0) + count(2) == before + SENDERS - share_of_one
    })
    .await;
    assert_eq!(stage.heard().len(), share_of_one);
    assert_eq!(
        domains(&stage.router),
        ["b.example inline", "lb.example balanced"]
    );

    // A successor fills the slot again; with the last process the route is gone.
    let successor = Holder::start(&stage.system).await;
    let post = Holder::post(&successor.0);
    let spec = RouteSpec::slot("lb.example", None, by, 1, 3, post);
    let owner = successor.0.any();
    let joined = stage.router.register_route(spec, &owner, "lb").await;
    assert_eq!(joined, Ok(()));
    for from in &of_one {
        stage.router.route(to_one(from)).await;
    }
    until("the successor takes them", || {
        successor.1.lock().len() == of_one.len()
    })
    .await;
    for (pid, ..) in holders.iter().chain([&successor]) {
        stage.router.remove(pid.id()).await.expect("removed");
    }
    assert_eq!(domains(&stage.router), ["b.example inline"]);
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
