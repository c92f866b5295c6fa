//! Paths that come and go while others ask: no request is answered wrongly, and none is left without an answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::browser::Browser;
use crate::house::House;
use crate::http::{HTTP, door};

/// Clients, each with a connection of its own, and how often each asks for three paths: a connection has a thousand.
const CLIENTS: usize = 4;
const REQUESTS: usize = 300;

const META: &str = "/.well-known/host-meta";

/// Asks in turn for what is always there, what comes and goes, and what never is. How often what came was there.
async fn asks(at: SocketAddr, progress: Arc<AtomicUsize>) -> usize {
    let mut browser = Browser::dial(at).await;
    let mut found = 0;
    for number in 0..REQUESTS {
        let host = "a.example";
        let stays = browser.asks("GET", host, "/health/live", &[], "").await;
        assert_eq!(stays.status, 200, "request {number}");
        assert_eq!(stays.body, r#"{"status":"live"}"#, "request {number}");
        let comes = browser.asks("GET", host, META, &[], "").await;
        match comes.status {
            200 => {
                assert!(comes.body.contains("wss://a.example/ws"), "{comes:?}");
                found += 1;
            }
            404 => {}
            other => panic!("request {number}: {other}"),
        }
        let other = browser.asks("GET", "b.example", META, &[], "").await;
        assert_eq!(other.status, 404, "request {number}");
        progress.fetch_add(1, Ordering::Relaxed);
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_notices_that_others_paths_come_and_go() {
    let house = House::start(HTTP).await;
    let at = door(&house);
    let progress: Arc<AtomicUsize> = Arc::default();
    let is_done = Arc::new(AtomicBool::new(false));
    let crowd = {
        let (progress, is_done) = (Arc::clone(&progress), Arc::clone(&is_done));
        tokio::spawn(async move {
            let clients = (0..CLIENTS).map(|_| asks(at, Arc::clone(&progress)));
            let found = futures_util::future::join_all(clients).await;
            is_done.store(true, Ordering::Relaxed);
            found.into_iter().sum::<usize>()
        })
    };
    let mut swaps = 0;
    while !is_done.load(Ordering::Relaxed) && !crowd.is_finished() {
        house
            .done("module_start --transient a.example mod_host_meta websocket=wss://@HOST@/ws")
            .await;
        // Somebody asks in between, so that both tables are seen.
        let seen = progress.load(Ordering::Relaxed);
        while progress.load(Ordering::Relaxed) == seen && !crowd.is_finished() {
            tokio::task::yield_now().await;
        }
        house
            .done("module_stop --transient a.example mod_host_meta")
            .await;
        swaps += 2;
    }
    let found = crowd.await.expect("every answer is right");
    assert!(swaps >= 20, "{swaps} swaps while they asked");
    let all = CLIENTS * REQUESTS;
    assert!(
        found > 0 && found < all,
        "{found} of {all} with {swaps} swaps"
    );
    house.stop().await;
}
