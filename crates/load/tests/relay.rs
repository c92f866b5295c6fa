//! The workloads in small against the floor: what the generator sends is answered, what it counts adds up.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use load::failure::Failure;
use load::outcome::Outcome;
use load::proc::Watched;
use load::relay;
use load::scram::{KeyCache, Mechanism};
use load::target::{Target, Tls};
use load::work::{self, Run};
use tokio::net::TcpListener;
use tokio::task::{LocalSet, spawn_local};

/// The generator's side of a run against `address`.
fn against(address: SocketAddr) -> Run {
    Run {
        target: Rc::new(Target {
            address,
            domains: vec!["floor.example".to_owned(), "other.example".to_owned()],
            muc_domain: "rooms.floor.example".to_owned(),
            tls: Tls::Off,
            connector: None,
            mechanism: Mechanism::Plain,
            prefix: "t".to_owned(),
            password: "secret".to_owned(),
            within: Duration::from_secs(30),
            keys: KeyCache::default(),
        }),
        server: Some(Watched::own()),
        register: true,
        at_once: 4,
    }
}

/// Runs `work` beside a floor of its own.
fn with_floor<T>(work: impl AsyncFnOnce(Run) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let run = against(listener.local_addr().expect("it is bound"));
        let floor = spawn_local(relay::serve(listener));
        let result = work(run).await;
        floor.abort();
        result
    })
}

fn only(outcomes: Result<Vec<Outcome>, Failure>) -> Outcome {
    let mut outcomes = outcomes.expect("the floor answers all");
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

/// Every unit was timed, and cost something.
fn whole(outcome: &Outcome, units: u64) {
    assert_eq!(outcome.units, units, "{}", outcome.workload);
    let latency = outcome.latency.expect("it was timed");
    assert_eq!(latency.count, units, "{}", outcome.workload);
    assert!(latency.p50 > 0.0 && latency.p50 <= latency.p99 && latency.p99 <= latency.max);
    assert!(outcome.spent.wall > Duration::ZERO);
}

fn chat(pairs: usize, window: u64, count: u64) -> work::chat::Options {
    work::chat::Options {
        pairs,
        window,
        count,
        rate: None,
        body: 160,
        idle: 0,
        per_account: 1,
        resources: 1,
    }
}

#[test]
fn logins_are_counted() {
    let options = work::login::Options {
        count: 25,
        bind_only: false,
    };
    let outcome = with_floor(async |run| only(work::login::run(&run, &options).await));
    whole(&outcome, 25);
    assert_eq!(outcome.workload, "login PLAIN plain");
}

#[test]
fn every_message_of_a_window_arrives() {
    for window in [1, 10] {
        // A count that the pairs cannot share evenly.
        let options = chat(7, window, 1003);
        let outcome = with_floor(async |run| only(work::chat::run(&run, &options).await));
        whole(&outcome, 1003);
    }
}

#[test]
fn a_message_longer_than_any_read_arrives() {
    let options = work::chat::Options {
        body: 200_000,
        ..chat(2, 2, 40)
    };
    let outcome = with_floor(async |run| only(work::chat::run(&run, &options).await));
    whole(&outcome, 40);
}

#[test]
fn messages_come_at_their_rate() {
    let options = work::chat::Options {
        rate: Some(5000.0),
        idle: 6,
        per_account: 3,
        ..chat(3, 1, 1000)
    };
    let outcome = with_floor(async |run| only(work::chat::run(&run, &options).await));
    whole(&outcome, 1000);
    // A thousand at five thousand a second: the last is not due before.
    assert!(
        outcome.spent.wall >= Duration::from_millis(199),
        "{:?}",
        outcome.spent.wall
    );
    assert_eq!(outcome.figures[0].0, "generator_late_p99_us");
}

#[test]
fn questions_are_answered() {
    use work::iq::Kind;
    for kind in [Kind::Ping, Kind::Disco, Kind::RosterSet, Kind::RosterGet] {
        let options = work::iq::Options {
            kind,
            sessions: 5,
            window: 2,
            count: 333,
            contacts: 7,
        };
        let outcome = with_floor(async |run| only(work::iq::run(&run, &options).await));
        whole(&outcome, 333);
    }
}

#[test]
fn everybody_in_a_room_hears_everything() {
    let options = work::muc::Options {
        rooms: 2,
        occupants: 6,
        senders: 3,
        window: 2,
        count: 50,
        body: 160,
    };
    let outcomes = with_floor(async |run| work::muc::run(&run, &options).await)
        .expect("the floor answers all");
    assert_eq!(outcomes.len(), 2);
    whole(&outcomes[0], 12);
    whole(&outcomes[1], 300);
}

#[test]
fn idle_sessions_are_weighed() {
    let options = work::idle::Options {
        sessions: 10,
        per_account: 2,
        seconds: 0,
        lived: false,
        contacts: 20,
        messages: 100,
    };
    let outcome = with_floor(async |run| only(work::idle::run(&run, &options).await));
    assert_eq!(outcome.units, 10);
    let names: Vec<&str> = outcome
        .figures
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert!(names.contains(&"server_kB_per_session"), "{names:?}");
}

#[test]
fn whoever_drops_everything_does_not_disturb_who_comes_next() {
    let options = work::churn::Options {
        count: 40,
        accounts: 4,
    };
    let outcome = with_floor(async |run| only(work::churn::run(&run, &options).await));
    whole(&outcome, 40);
}

#[test]
fn a_storm_has_witnesses() {
    let options = work::storm::Options {
        sessions: 30,
        observers: 3,
        rate: 2000.0,
        calm: 0,
    };
    let outcome = with_floor(async |run| only(work::storm::run(&run, &options).await));
    whole(&outcome, 30);
    let seen = |name: &str| outcome.figures.iter().any(|(figure, _)| figure == name);
    assert!(seen("others_storm_p99_us"), "{:?}", outcome.figures);
}

#[test]
fn a_mechanism_that_is_not_offered_is_named() {
    let options = chat(1, 1, 10);
    let failure = with_floor(async |run| {
        let target = Rc::into_inner(run.target).expect("nobody else has it");
        let target = Target {
            mechanism: Mechanism::ScramSha256,
            ..target
        };
        let run = Run {
            target: Rc::new(target),
            ..run
        };
        work::chat::run(&run, &options).await
    })
    .expect_err("the floor has PLAIN alone");
    let said = failure.to_string();
    assert!(
        said.contains("does not offer SCRAM-SHA-256, but PLAIN"),
        "{said}"
    );
    assert!(said.contains("t0@floor.example"), "{said}");
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let options = work::login::Options {
        count: 1,
        bind_only: false,
    };
    let failure = with_floor(async |mut run| {
        let target = Rc::get_mut(&mut run.target).expect("nobody else has it");
        // Nothing listens on the discard port of this address.
        target.address = "127.0.0.2:9".parse().expect("an address");
        work::login::run(&run, &options).await
    })
    .expect_err("nobody is there");
    assert!(
        failure.to_string().contains("connecting to 127.0.0.2:9"),
        "{failure}"
    );
}

#[test]
fn what_cannot_be_is_a_usage_error() {
    let options = chat(0, 1, 10);
    let failure =
        with_floor(async |run| work::chat::run(&run, &options).await).expect_err("no pairs");
    assert!(matches!(failure, Failure::Usage(_)));
}
