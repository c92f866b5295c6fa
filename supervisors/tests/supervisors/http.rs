//! HTTP on a whole server: its own paths, those of modules, its listeners.

use std::net::SocketAddr;

use supervisors::settings::Place;
use supervisors::{CATALOG, STANDARD};

use crate::authority::Authority;
use crate::browser::Browser;
use crate::house::House;

/// A listener of HTTP without TLS, behind the usual one.
pub const HTTP: &str = "[[listener]]\nkind = \"http\"\naddress = \"127.0.0.1:0\"\ntls = \"off\"\n";

/// Where a house listens for HTTP.
pub fn door(house: &House) -> SocketAddr {
    let addresses = house.server.addresses();
    let door = addresses.iter().find(|address| address.kind == "http");
    door.expect("it listens for HTTP").at
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_metrics_are_told() {
    let house = House::start(HTTP).await;
    let mut browser = Browser::dial(door(&house)).await;
    let ready = browser.asks("GET", "localhost", "/health", &[], "").await;
    assert_eq!(
        (ready.status, ready.body.as_str()),
        (200, r#"{"status":"ready","store":"ok"}"#)
    );
    assert_eq!(ready.header("cache-control"), "no-store");
    let live = browser
        .asks("GET", "anything", "/health/live", &[], "")
        .await;
    assert_eq!(live.body, r#"{"status":"live"}"#);
    let posted = browser.asks("POST", "localhost", "/health", &[], "").await;
    assert_eq!((posted.status, posted.header("allow")), (405, "get, head"));
    let nowhere = browser.asks("GET", "localhost", "/nowhere", &[], "").await;
    assert_eq!(nowhere.status, 404);

    let before = browser.asks("GET", "localhost", "/metrics", &[], "").await;
    assert_eq!(before.status, 200);
    assert!(
        before
            .header("content-type")
            .starts_with("application/openmetrics-text; version=1.0.0"),
        "{}",
        before.head
    );
    for line in [
        "# TYPE natter_sessions gauge",
        "natter_stanzas_total{direction=\"in\",kind=\"message\"} 0",
        "natter_processes{kind=\"storage_writer\"} 1",
        "natter_mailbox_messages{kind=\"storage_writer\"} 0",
        "natter_http_connections 1",
        "natter_http_requests_total 5",
        "natter_http_replies_total{handler=\"Health\",method=\"POST\",status=\"4xx\"} 1",
        "natter_http_replies_total{handler=\"none\",method=\"GET\",status=\"4xx\"} 1",
        "natter_http_seconds_count{handler=\"Health\"} 3",
        "natter_route_seconds_bucket{le=\"+Inf\"} ",
        "natter_iq_seconds_count 0",
    ] {
        assert!(before.body.contains(line), "no {line} in {}", before.body);
    }
    assert!(before.body.ends_with("\n# EOF\n"), "{}", before.body);

    house.done("register alice a.example secret").await;
    let mut alice = crate::peer::Peer::dial(house.server.addresses()[0].at).await;
    alice.logs_in("alice", "a.example", "secret").await;
    alice
        .says("<iq type='get' id='1' to='a.example'><ping xmlns='urn:xmpp:ping'/></iq>")
        .await;
    alice.hears("type=\"result\"/>").await;
    let expected = [
        "natter_sessions{host=\"a.example\"} 1",
        "natter_stanzas_total{direction=\"in\",kind=\"iq\"} 1",
        "natter_stanzas_total{direction=\"out\",kind=\"iq\"} 1",
        "natter_iq_seconds_count 1",
    ];
    // What is written is counted behind the writing: the client may hear it before.
    let mut asked = 0;
    let after = loop {
        let after = browser.asks("GET", "localhost", "/metrics", &[], "").await;
        asked += 1;
        if expected.iter().all(|line| after.body.contains(line)) {
            break after;
        }
        assert!(asked < 200, "not all of {expected:?} in {}", after.body);
    };
    let commits = |body: &str| -> u64 {
        let line = body
            .lines()
            .find_map(|line| line.strip_prefix("natter_storage_commits_total "));
        line.and_then(|count| count.parse().ok()).expect("a count")
    };
    assert!(commits(&after.body) > commits(&before.body));
    let timed = after
        .body
        .lines()
        .find_map(|line| line.strip_prefix("natter_storage_commit_seconds_count "));
    let timed: u64 = timed.and_then(|count| count.parse().ok()).expect("a count");
    assert!(timed > 0, "commits are timed");
    drop(alice);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_for_those_whom_the_configuration_admits() {
    let house = House::start(HTTP).await;
    let mut browser = Browser::dial(door(&house)).await;
    for header in [
        "X-Forwarded-For: 127.0.0.1",
        "Forwarded: for=x",
        "Via: 1.1 proxy",
    ] {
        let passed_on = browser
            .asks("GET", "localhost", "/metrics", &[header], "")
            .await;
        assert_eq!((passed_on.status, passed_on.body.as_str()), (403, ""));
    }
    house.writes(&format!(
        "{HTTP}[http]\nmetrics_from = [\"192.0.2.0/24\"]\n"
    ));
    let done = house.done("reload_config").await;
    assert!(done.contains("http.metrics_from"), "{done}");
    let shut = browser.asks("GET", "localhost", "/metrics", &[], "").await;
    assert_eq!(shut.status, 403, "on the connection that is open");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_paths_of_a_module_come_and_go_with_it() {
    const META: &str = "/.well-known/host-meta";
    let house = House::start(HTTP).await;
    let mut browser = Browser::dial(door(&house)).await;
    let none = browser.asks("GET", "a.example", META, &[], "").await;
    assert_eq!(none.status, 404);
    house
        .done("module_start a.example mod_host_meta websocket=wss://@HOST@/ws")
        .await;
    let xml = browser.asks("GET", "A.Example:5280", META, &[], "").await;
    assert_eq!(xml.status, 200, "on the connection that is open");
    assert!(
        xml.body.contains("href=\"wss://a.example/ws\""),
        "{}",
        xml.body
    );
    assert_eq!(xml.header("access-control-allow-origin"), "*");
    assert_eq!(xml.header("content-type"), "application/xrd+xml");
    let json = "/.well-known/host-meta.json";
    let told = browser.asks("GET", "a.example", json, &[], "").await;
    assert_eq!(told.json()["links"][0]["href"], "wss://a.example/ws");
    let asked = browser.asks("OPTIONS", "a.example", json, &[], "").await;
    assert_eq!(asked.status, 204);
    assert_eq!(asked.header("access-control-allow-origin"), "*");
    let other = browser.asks("GET", "b.example", META, &[], "").await;
    assert_eq!(other.status, 404, "each host has its own");
    let own = browser.asks("GET", "a.example", "/health", &[], "").await;
    assert_eq!(own.status, 200, "the server's paths are on every host");
    let routes = house.done("http_routes").await;
    let row = r#"{"handler":"Document","host":"a.example","path":"/.well-known/host-meta"}"#;
    assert!(routes.contains(row), "{routes}");

    let refused = house
        .refused("module_start b.example mod_host_meta bosh=ftp://b.example")
        .await;
    assert!(refused.contains("bosh"), "{refused}");
    house
        .done("module_start b.example mod_host_meta bosh=https://b.example/bosh")
        .await;
    let other = browser.asks("GET", "b.example", META, &[], "").await;
    assert_eq!(other.status, 200);
    house.done("restart_module a.example mod_host_meta").await;
    let again = browser.asks("GET", "a.example", META, &[], "").await;
    assert_eq!(again.body, xml.body);
    house.done("module_stop a.example mod_host_meta").await;
    let none = browser.asks("GET", "a.example", META, &[], "").await;
    assert_eq!(none.status, 404);
    let other = browser.asks("GET", "b.example", META, &[], "").await;
    assert_eq!(other.status, 200, "the other host's stay");
    assert!(!house.done("http_routes").await.contains("a.example"));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_of_http_come_and_go_and_have_tls() {
    let authority = Authority::new();
    let house = House::start("").await;
    let issued = authority.issues("a.example");
    let file = house.folder.path().join("a.pem");
    let pem = format!("{}{}", issued.chain, issued.key);
    std::fs::write(file, pem).expect("the folder is ours");
    let https = HTTP.replace("off", "required");
    house.writes(&format!("{HTTP}{https}[tls]\ncertificates = [\"a.pem\"]\n"));
    let done = house.done("reload_config").await;
    assert!(
        done.contains("listener http 127.0.0.1:0 (required): opened"),
        "{done}"
    );
    let addresses = house.server.addresses();
    let clear = addresses.iter().find(|a| a.kind == "http");
    let clear = clear.expect("opened").at;
    let shown = authority.trusts(addresses[2].at, "a.example").await;
    assert!(shown.is_some(), "HTTPS by the certificate of the host");
    let mut browser = Browser::dial(clear).await;
    let live = browser.asks("GET", "x", "/health/live", &[], "").await;
    assert_eq!(live.status, 200);
    house.writes("");
    let done = house.done("reload_config").await;
    assert!(
        done.contains("listener http 127.0.0.1:0 (off): closed"),
        "{done}"
    );
    assert!(tokio::net::TcpStream::connect(clear).await.is_err());
    let live = browser.asks("GET", "x", "/health/live", &[], "").await;
    assert_eq!(live.status, 200, "connections that stand are not touched");

    house.writes(&HTTP.replace("off", "optional"));
    let why = house.refused("reload_config").await;
    assert!(why.contains("TLS from the first byte"), "{why}");
    house.stop().await;
}

#[test]
fn without_configuration_http_is_for_this_machine_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let nothing = folder.path().join("natter.toml");
    std::fs::write(&nothing, "").expect("the folder is ours");
    let listeners = |place: Place| {
        let loaded = place.load(CATALOG, STANDARD).expect("good");
        let http = loaded.listeners.into_iter();
        let http = http.filter(|listener| listener.kind.to_string() == "http");
        http.flat_map(|listener| listener.address)
            .collect::<Vec<_>>()
    };
    let configured = Place {
        file: Some(nothing),
        data_dir: None,
    };
    assert!(listeners(configured).is_empty());
    if !std::path::Path::new(supervisors::settings::DEFAULT_FILE).exists() {
        let unconfigured = Place {
            file: None,
            data_dir: Some(folder.path().to_owned()),
        };
        assert_eq!(listeners(unconfigured), ["127.0.0.1:5280", "[::1]:5280"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_that_the_page_names_is_told_and_no_other() {
    let house = House::start(HTTP).await;
    let mut browser = Browser::dial(door(&house)).await;
    // Something of each: a request that has ended.
    browser.asks("GET", "x", "/health/live", &[], "").await;
    let told = browser.asks("GET", "x", "/metrics", &[], "").await.body;
    let families: std::collections::BTreeSet<&str> = told
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/HTTP.md"));
    let page = page.expect("the page of HTTP");
    let rows = page.lines().filter(|line| line.starts_with("| `natter_"));
    let names = rows.flat_map(|row| row.split('|').nth(1).unwrap_or_default().split(','));
    let named: std::collections::BTreeSet<&str> = names
        .map(|name| name.trim().trim_matches('`'))
        .map(|name| name.strip_suffix("_total").unwrap_or(name))
        .map(|name| name.strip_suffix("_info").unwrap_or(name))
        .collect();
    assert_eq!(named, families);
    house.stop().await;
}
