//! How many requests an address may make by HTTP.

use std::time::Duration;

use crate::bosh::NS;
use crate::browser::Browser;
use crate::house::House;
use crate::http::{HTTP, door};
use crate::ws::Socket;

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

/// A body that asks for a session of BOSH.
fn begins(rid: u64) -> String {
    format!("<body {NS} rid='{rid}' to='a.example' ver='1.10'/>")
}

/// What a handshake for a WebSocket from there is answered.
async fn handshake(house: &House, from: &str) -> u16 {
    let headers = format!("Sec-WebSocket-Protocol: xmpp\r\nX-Forwarded-For: {from}\r\n");
    let (_, head) = Socket::dial(door(house), &headers).await;
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    code.unwrap_or_else(|| panic!("no status: {head}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_door_has_a_rate_of_its_own() {
    let more = "websocket_rate = 1\nwebsocket_burst = 2\nbosh_rate = 1\nbosh_burst = 2\nupload_rate = 1\nupload_burst = 2\n\
                [modules.mod_http_upload]\nenabled = true\n";
    let config = strict(more).replace("burst = 3", "burst = 100");
    let house = House::start(&config).await;
    let mut browser = Browser::dial(door(&house)).await;
    let mut asks = async |method: &str, path: &str, from: &str, body: &str| {
        let header = format!("X-Forwarded-For: {from}");
        let reply = browser
            .asks(method, "a.example", path, &[&header], body)
            .await;
        (reply.status, reply.header("retry-after").to_owned())
    };
    let file = "/upload/an-id/name";
    for from in ["192.0.2.1", "192.0.2.2"] {
        for expected in [101, 101, 429, 429] {
            assert_eq!(handshake(&house, from).await, expected, "{from}");
        }
        // Each is a class by itself: the one that is spent spends no other.
        for (rid, expected) in [(1, 200), (2, 200), (3, 429)] {
            let (status, after) = asks("POST", "/bosh", from, &begins(rid)).await;
            assert_eq!(status, expected, "{from}");
            assert_eq!(after, if expected == 429 { "1" } else { "" });
        }
        for expected in [404, 404, 429] {
            assert_eq!(asks("PUT", file, from, "x").await.0, expected);
        }
        // What is got is none that is put.
        for _ in 0..5 {
            assert_eq!(asks("GET", file, from, "").await.0, 404);
        }
        assert_eq!(asks("GET", "/health/live", from, "").await.0, 200);
    }
    house.hand.advance(Duration::from_secs(1)).await;
    assert_eq!(handshake(&house, "192.0.2.1").await, 101);
    assert_eq!(handshake(&house, "192.0.2.1").await, 429);
    assert_eq!(asks("PUT", file, "192.0.2.1", "x").await.0, 404);
    assert_eq!(asks("PUT", file, "192.0.2.1", "x").await.0, 429);
    assert_eq!(asks("POST", "/bosh", "192.0.2.1", &begins(9)).await.0, 200);
    // None is counted where the rate is 0, from the reload on.
    house.writes(&config.replace("rate = 1\n", "rate = 0\n"));
    house.done("reload_config").await;
    for _ in 0..5 {
        assert_eq!(handshake(&house, "192.0.2.1").await, 101);
        assert_eq!(asks("PUT", file, "192.0.2.1", "x").await.0, 404);
    }
    crate::bosh::stop(house).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_door_is_open_to_those_whom_the_configuration_admits() {
    let doors = "health_from = [\"192.0.2.1\"]\nwebsocket_from = [\"192.0.2.2\"]\nbosh_from = [\"192.0.2.3\"]\n\
                 upload_from = [\"192.0.2.4\"]\n[modules.mod_http_upload]\nenabled = true\n";
    let house = House::start(&strict(doors).replace("burst = 3", "burst = 100")).await;
    for at in 1..=5 {
        let from = format!("192.0.2.{at}");
        let header = format!("X-Forwarded-For: {from}");
        let mut browser = Browser::dial(door(&house)).await;
        let mut asks = async |method: &str, path: &str, body: &str| {
            let headers: &[&str] = &[&header];
            browser
                .asks(method, "a.example", path, headers, body)
                .await
                .status
        };
        let or = |is: bool, status: u16| if is { status } else { 403 };
        assert_eq!(asks("GET", "/health", "").await, or(at == 1, 200), "{from}");
        assert_eq!(asks("GET", "/health/live", "").await, or(at == 1, 200));
        assert_eq!(handshake(&house, &from).await, or(at == 2, 101), "{from}");
        assert_eq!(asks("POST", "/bosh", &begins(1)).await, or(at == 3, 200));
        let file = "/upload/an-id/name";
        assert_eq!(asks("PUT", file, "x").await, or(at == 4, 404), "{from}");
        assert_eq!(asks("GET", file, "").await, 404, "files are for everybody");
    }
    // As for the metrics: nobody whom some proxy passed on is of this machine.
    house.writes(&format!("{HTTP}[http]\nhealth_from = [\"127.0.0.1\"]\n"));
    house.done("reload_config").await;
    let mut browser = Browser::dial(door(&house)).await;
    for (headers, status) in [(&[][..], 200), (&["Via: 1.1 proxy"][..], 403)] {
        let reply = browser.asks("GET", "x", "/health/live", headers, "").await;
        assert_eq!(reply.status, status);
    }
    crate::bosh::stop(house).await;
}
