//! How many requests an address may make by HTTP.

use std::time::Duration;

use crate::browser::Browser;
use crate::house::House;
use crate::http::{HTTP, door};

/// Three at once and one a second, for those whom a proxy on this machine passes on.
fn strict(more: &str) -> String {
    format!(
        "{HTTP}[http]\nforwarders = [\"127.0.0.1\"]\nrequests_rate = 1\nrequests_burst = 3\n{more}"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_too_often_waits() {
    let house = House::start(&strict("commands_rate = 1\ncommands_burst = 1\n")).await;
    let mut browser = Browser::dial(door(&house)).await;
    let mut asks = async |path: &str, from: &str| {
        let header = format!("X-Forwarded-For: {from}");
        browser.asks("GET", "localhost", path, &[&header], "").await
    };
    let live = "/health/live";
    for expected in [200, 200, 200, 429, 429] {
        assert_eq!(asks(live, "192.0.2.1").await.status, expected);
    }
    assert_eq!(
        asks("/nowhere", "192.0.2.1").await.status,
        429,
        "whatever is asked for"
    );
    let late = asks(live, "192.0.2.1").await;
    assert_eq!(late.header("retry-after"), "1");
    assert_eq!(
        asks(live, "192.0.2.2").await.status,
        200,
        "others are others"
    );
    for expected in [200, 200, 200, 429] {
        // One customer's network.
        assert_eq!(
            asks(live, &format!("2001:db8::{expected}")).await.status,
            expected
        );
    }
    assert_eq!(asks(live, "2001:db8:0:1::1").await.status, 200);
    house.hand.advance(Duration::from_secs(1)).await;
    assert_eq!(asks(live, "192.0.2.1").await.status, 200);
    assert_eq!(asks(live, "192.0.2.1").await.status, 429);

    // Commands have a budget of their own, spent also by who is refused.
    assert_eq!(asks("/api/status", "192.0.2.9").await.status, 403);
    assert_eq!(asks("/%61pi/status", "192.0.2.9").await.status, 429);
    assert_eq!(asks(live, "192.0.2.9").await.status, 200);

    house.writes(&strict("commands_rate = 0\n").replace("burst = 3", "burst = 5"));
    let done = house.done("reload_config").await;
    assert!(done.contains("http.requests_burst"), "{done}");
    for expected in [200, 200, 200, 200, 200, 429] {
        assert_eq!(asks(live, "192.0.2.1").await.status, expected);
    }
    for _ in 0..3 {
        assert_eq!(asks("/api/status", "192.0.2.9").await.status, 403);
    }
    let mut own = Browser::dial(door(&house)).await;
    for _ in 0..20 {
        let reply = own.asks("GET", "localhost", live, &[], "").await;
        assert_eq!(reply.status, 200, "this machine is not counted");
    }
    house.stop().await;
}
