//! `/health` while the store's threads hang or fall: it says so, and says when all is well again.

use std::net::SocketAddr;
use std::time::Duration;

use supervisors::{StorageFault, StorageFaultPoint};

use crate::browser::{Browser, Reply};
use crate::house::House;
use crate::http::{HTTP, door};

const SECOND: Duration = Duration::from_secs(1);

/// How many threads read, as long as it is not said otherwise.
const READERS: usize = 2;

async fn asks(at: SocketAddr, path: &str) -> Reply {
    let mut browser = Browser::dial(at).await;
    browser.asks("GET", "localhost", path, &[], "").await
}

/// What `/health` says while the server's time passes, second by second: it waits for two of them.
async fn asks_in_time(house: &House) -> Reply {
    let at = door(house);
    let mut asking = tokio::spawn(asks(at, "/health"));
    for _ in 0..20 {
        house.hand.advance(SECOND).await;
        let soon = Duration::from_millis(100);
        if let Ok(reply) = otp::Clock::real().timeout(soon, &mut asking).await {
            return reply.expect("it was asked");
        }
    }
    panic!("no answer in twenty seconds");
}

fn told(reply: &Reply) -> (u16, &str) {
    (reply.status, reply.body.as_str())
}

const READY: (u16, &str) = (200, r#"{"status":"ready","store":"ok"}"#);

/// Has all threads that read stand still, each with a request in its hands. They go on when what is given is dropped.
async fn readers_hang(house: &House) -> Vec<impl Sized> {
    let mut hanging = Vec::new();
    for _ in 0..READERS {
        let storage = house.server.node().storage.clone();
        let hung = storage.fault(StorageFault::Hang, StorageFaultPoint::BeforeRead);
        tokio::spawn(async move { storage.accounts.list("", None, 1).await });
        let reached = otp::Clock::real()
            .timeout(30 * SECOND, hung.reached())
            .await;
        reached.expect("somebody reads");
        hanging.push(hung);
    }
    hanging
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_cannot_be_read_is_told_until_it_can() {
    let house = House::start(HTTP).await;
    house.done("register alice a.example secret").await;
    let at = door(&house);
    assert_eq!(told(&asks(at, "/health").await), READY);

    let hanging = readers_hang(&house).await;
    let unready = asks_in_time(&house).await;
    let why = r#"{"status":"unready","store":"reading: no answer within 2 s"}"#;
    assert_eq!(told(&unready), (503, why));
    assert_eq!(unready.header("cache-control"), "no-store");
    let live = asks(at, "/health/live").await;
    assert_eq!(live.status, 200, "the process lives");
    drop(hanging);
    assert_eq!(told(&asks(at, "/health").await), READY, "they go on");

    // Nobody lets them go on: they count as hung after thirty seconds, and others take their place.
    let hanging = readers_hang(&house).await;
    assert_eq!(asks_in_time(&house).await.status, 503);
    house.hand.advance(40 * SECOND).await;
    assert_eq!(told(&asks(at, "/health").await), READY, "there are others");
    let listed = house.done("registered_users a.example").await;
    assert!(listed.contains("alice"), "{listed}");
    drop(hanging);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_that_falls_while_it_reads_is_told_once() {
    let house = House::start(HTTP).await;
    let at = door(&house);
    let storage = house.server.node().storage.clone();
    let fallen = storage.fault(StorageFault::Panic, StorageFaultPoint::BeforeRead);
    let unready = asks(at, "/health").await;
    let why = r#"{"status":"unready","store":"reading failed"}"#;
    assert_eq!(told(&unready), (503, why));
    drop(fallen);
    assert_eq!(told(&asks(at, "/health").await), READY, "it is back");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_cannot_be_written_is_told_until_it_can() {
    let house = House::start(HTTP).await;
    let at = door(&house);
    let storage = house.server.node().storage.clone();
    let hung = storage.fault(StorageFault::Hang, StorageFaultPoint::BeforeCommit);
    let commands = house.server.node().commands.clone();
    let registering = tokio::spawn(async move {
        let given = admin::Given::words(["alice", "a.example", "secret"].into_iter());
        let caller = admin::Caller::admin("tests", admin::Door::Ctl);
        commands.execute(&caller, "register", &given).await.is_ok()
    });
    let reached = otp::Clock::real()
        .timeout(30 * SECOND, hung.reached())
        .await;
    reached.expect("somebody writes");
    let why = r#"{"status":"unready","store":"writing: no answer within 2 s"}"#;
    assert_eq!(told(&asks_in_time(&house).await), (503, why));
    hung.release();
    assert!(registering.await.expect("it was given"), "it waited");
    assert_eq!(told(&asks(at, "/health").await), READY);
    // To ask is to change nothing.
    let commits = house.server.node().storage.commits();
    assert_eq!(told(&asks(at, "/health").await), READY);
    assert_eq!(house.server.node().storage.commits(), commits);
    house.stop().await;
}
