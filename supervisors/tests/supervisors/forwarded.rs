//! Proxies in front of HTTP: whose address counts.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::browser::Browser;
use crate::house::House;
use crate::http::{HTTP, door};
use crate::ws::Socket;

/// This machine's addresses are trusted forwarders, and commands are given from one network alone.
fn behind_a_proxy() -> String {
    format!(
        "{HTTP}[http]\nforwarders = [\"127.0.0.1\", \"10.0.0.0/8\"]\napi_from = [\"192.0.2.0/24\"]\n\
         metrics_from = [\"192.0.2.7\", \"127.0.0.0/8\"]\n[limits]\nfailed_logins_per_address = 2\n"
    )
}

fn basic(password: &str) -> String {
    let encoded = BASE64_STANDARD.encode(format!("root@a.example:{password}"));
    format!("Authorization: Basic {encoded}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clients_address_opens_doors_and_not_the_proxys() {
    let house = House::start(&behind_a_proxy()).await;
    house.done("register root a.example secret").await;
    house.done("set_role root a.example admin").await;
    let mut browser = Browser::dial(door(&house)).await;
    let root = basic("secret");
    let mut status = async |path: &str, header: &str| {
        let headers: &[&str] = if header.is_empty() {
            &[&root]
        } else {
            &[&root, header]
        };
        browser.asks("GET", "localhost", path, headers, "").await
    };
    for (path, header, code) in [
        ("/api/status", "X-Forwarded-For: 6.6.6.6, 192.0.2.9", 200),
        ("/api/status", "X-Forwarded-For: 192.0.2.9, 6.6.6.6", 403),
        ("/api/status", "X-Forwarded-For: 192.0.2.9, 10.1.1.1", 200),
        ("/api/status", "Forwarded: for=\"192.0.2.9:4711\"", 200),
        ("/api/status", "Forwarded: for=unknown", 403),
        // The proxy itself, which may not give commands but read metrics.
        ("/api/status", "", 403),
        ("/metrics", "", 200),
        ("/metrics", "X-Forwarded-For: 192.0.2.7", 200),
        ("/metrics", "X-Forwarded-For: 192.0.2.8", 403),
        // Whom it passes on is never of this machine.
        ("/metrics", "X-Forwarded-For: 127.0.0.1", 403),
        ("/metrics", "Forwarded: for=\"[::1]\"", 403),
        ("/metrics", "X-Real-IP: 192.0.2.7", 403),
        ("/metrics", "Via: 1.1 proxy", 403),
    ] {
        let reply = status(path, header).await;
        assert_eq!(reply.status, code, "{path} {header}: {reply:?}");
    }
    let refused = status("/health", "X-Forwarded-For: 192.0.2.300").await;
    assert_eq!(refused.status, 400);
    assert_eq!(
        refused.body,
        "in x-forwarded-for is `192.0.2.300`, which is no address\n"
    );
    let doubted = browser
        .asks(
            "GET",
            "localhost",
            "/health",
            &["X-Forwarded-For: 192.0.2.9", "Forwarded: for=192.0.2.8"],
            "",
        )
        .await;
    assert_eq!(doubted.status, 400);
    assert!(
        doubted.body.contains("name different clients"),
        "{doubted:?}"
    );

    // From the next request on the headers are anybody's talk again, on the same connection.
    house.writes(&format!(
        "{HTTP}[http]\napi_from = [\"192.0.2.0/24\", \"127.0.0.1\"]\n"
    ));
    let done = house.done("reload_config").await;
    assert!(done.contains("http.forwarders"), "{done}");
    for (header, code) in [
        ("X-Forwarded-For: 192.0.2.9", 403),
        ("X-Forwarded-For: nonsense", 403),
        ("Accept: */*", 200),
    ] {
        let reply = browser
            .asks("GET", "localhost", "/api/status", &[&root, header], "")
            .await;
        assert_eq!(reply.status, code, "{header}: {reply:?}");
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_passwords_are_counted_by_the_clients_address() {
    let house = House::start(&behind_a_proxy()).await;
    house.done("register root a.example secret").await;
    let mut browser = Browser::dial(door(&house)).await;
    let mut codes = async |password: &str, from: &str| {
        let from = format!("X-Forwarded-For: {from}");
        let headers: &[&str] = &[&basic(password), &from];
        let reply = browser
            .asks("GET", "localhost", "/api/help", headers, "")
            .await;
        reply.status
    };
    for _ in 0..3 {
        assert_eq!(codes("wrong", "192.0.2.1").await, 401);
    }
    assert_eq!(codes("secret", "192.0.2.1").await, 503, "he has to wait");
    assert_eq!(codes("secret", "192.0.2.2").await, 200, "she has not");
    let listed = house.done("failed_login_list").await;
    assert!(listed.contains("192.0.2.1"), "{listed}");
    assert!(!listed.contains("127.0.0.1"), "{listed}");

    // How many are free is said anew, and holds from the next one on.
    let stricter = behind_a_proxy().replace("per_address = 2", "per_address = 0");
    house.writes(&stricter);
    let done = house.done("reload_config").await;
    assert!(
        done.contains("limits.failed_logins_per_address: 2 → 0") && !done.contains("restart"),
        "{done}"
    );
    assert_eq!(codes("wrong", "192.0.2.3").await, 401);
    assert_eq!(codes("secret", "192.0.2.3").await, 503);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_has_its_clients_address() {
    let house = House::start(&behind_a_proxy()).await;
    house.done("register alice a.example secret").await;
    let headers = "Sec-WebSocket-Protocol: xmpp\r\nX-Forwarded-For: 6.6.6.6, 2001:db8::1\r\n";
    let (mut alice, head) = Socket::dial(door(&house), headers).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    alice.logs_in("alice", "web").await;
    let listed = house.done("connected_users").await;
    assert!(listed.contains("[2001:db8::1]:0"), "{listed}");
    let malformed = "Sec-WebSocket-Protocol: xmpp\r\nX-Forwarded-For: me\r\n";
    let (_, head) = Socket::dial(door(&house), malformed).await;
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");
    drop(alice);
    house.stop().await;
}
