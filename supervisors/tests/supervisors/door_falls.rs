//! What falls under a session by WebSocket or BOSH, or is closed before it: the client is told, and what it has not is
//! kept.

use std::collections::BTreeSet;

use otp::TreeNode;

use crate::bosh::{Client, attribute, bob, sessions, stage, stop};
use crate::house::House;
use crate::http::{HTTP, door};
use crate::peer::Peer;
use crate::ws::Socket;

/// Has the one process of that kind and detail fall; waits until it is gone.
async fn falls(house: &House, kind: &str, detail: Option<&str>) {
    let observe = house.server.node().system.observe().clone();
    let id = find(&observe.tree(), kind, detail);
    let id = id.unwrap_or_else(|| panic!("no {kind} {detail:?}"));
    let process = observe.process(id).expect("it lives");
    process.kill();
    let clock = otp::Clock::real();
    let gone = clock.timeout(crate::bosh::PATIENCE, process.watch());
    gone.await.expect("it ends");
}

fn find(nodes: &[TreeNode], kind: &str, detail: Option<&str>) -> Option<otp::ProcessId> {
    nodes.iter().find_map(|node| {
        let is_it = node.kind == kind && detail.is_none_or(|it| node.detail.as_deref() == Some(it));
        match is_it {
            true => Some(node.id),
            false => find(&node.children, kind, detail),
        }
    })
}

fn says(number: usize) -> String {
    format!(
        "<message to='alice@a.example/web' type='chat'><body>{number}</body><x xmlns='urn:x'>{}</x></message>",
        "x".repeat(500)
    )
}

/// The number that a message carries.
fn number(text: &str) -> Option<usize> {
    let (_, rest) = text.split_once("<body>")?;
    rest.split_once("</body>")?.0.parse().ok()
}

/// The server has taken all that bob said before.
async fn is_taken(bob: &mut Peer) {
    bob.says("<iq type='get' id='t' to='a.example'><ping xmlns='urn:xmpp:ping'/></iq>")
        .await;
    bob.hears("type=\"result\"").await;
}

/// Logs alice in elsewhere and waits until she has heard all of these.
async fn hears_all(house: &House, mut missing: BTreeSet<usize>) {
    let mut desk = Peer::dial(house.server.addresses()[0].at).await;
    desk.logs_in("alice", "a.example", "secret").await;
    desk.says("<presence/>").await;
    while !missing.is_empty() {
        let text = desk.hears("</message>").await;
        if let Some(number) = number(&text) {
            missing.remove(&number);
        }
    }
}

/// A WebSocket of alice, who is there.
async fn web(house: &House) -> Socket {
    let mut alice = Socket::open(door(house)).await;
    alice.logs_in("alice", "web").await;
    alice.says("<presence xmlns='jabber:client'/>").await;
    assert!(alice.hears().await.starts_with("<presence "));
    alice
}

const FIRST: usize = 60;
const ALL: usize = 80;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_loses_a_session_by_websocket_loses_nothing_else() {
    // The session, then the connection: in both cases messages are on their way.
    for kind in ["c2s", "http_connection"] {
        let (house, _) = stage(&["alice", "bob"]).await;
        let mut alice = web(&house).await;
        let mut bob = bob(&house).await;
        for number in 0..FIRST {
            bob.says(&says(number)).await;
        }
        let mut heard = Vec::new();
        while heard.len() < 10 {
            heard.push(alice.hears().await);
        }
        let detail = match kind {
            "c2s" => "alice@a.example/web".to_owned(),
            _ => alice.own_address().to_string(),
        };
        falls(&house, kind, Some(&detail)).await;
        for number in FIRST..ALL {
            bob.says(&says(number)).await;
        }
        is_taken(&mut bob).await;
        let (texts, code) = alice.ends().await;
        // What falls with its process may still see that it is gone.
        let told: &[Option<u16>] = match kind {
            "c2s" => &[Some(1011)],
            _ => &[Some(1001), None],
        };
        assert!(told.contains(&code), "{kind}: {code:?}");
        heard.extend(texts);
        let heard: BTreeSet<usize> = heard.iter().filter_map(|text| number(text)).collect();
        assert!(!heard.contains(&(ALL - 1)), "{kind}: it ended before");
        sessions(&house, 1).await;
        hears_all(&house, (0..ALL).filter(|n| !heard.contains(n)).collect()).await;
        drop((alice, bob));
        sessions(&house, 0).await;
        house.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_sent_away_by_websocket_is_told_why() {
    let (house, _) = stage(&["alice"]).await;
    let mut alice = web(&house).await;
    house.done("kick_session alice a.example web enough").await;
    let error = alice.hears().await;
    assert!(
        error.starts_with("<stream:error ") && error.contains("enough"),
        "{error}"
    );
    let close = alice.hears().await;
    assert!(close.starts_with("<close "), "{close}");
    alice
        .says("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>")
        .await;
    assert_eq!(alice.ends().await, (Vec::new(), Some(1000)));
    sessions(&house, 0).await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_loses_a_session_by_bosh_loses_nothing_else() {
    for (kind, condition) in [
        ("c2s", "remote-connection-failed"),
        ("bosh", "item-not-found"),
    ] {
        let (house, at) = stage(&["alice", "bob"]).await;
        let mut alice = Client::logs_in(at, "alice", "web").await;
        alice.shows().await;
        let mut bob = bob(&house).await;
        // The first is carried by a response of which nothing shows that it came; the others lie there.
        let held = alice.holds().await;
        bob.says(&says(0)).await;
        let first = crate::bosh::heard(held).await;
        assert_eq!(number(&first), Some(0), "{kind}: {first}");
        for number in 1..4 {
            bob.says(&says(number)).await;
        }
        is_taken(&mut bob).await;
        let detail = Some("alice@a.example/web").filter(|_| kind == "c2s");
        falls(&house, kind, detail).await;
        sessions(&house, 1).await;
        let over = alice.asks("").await;
        assert_eq!(attribute(&over, "condition"), condition, "{kind}");
        assert!(!over.contains("<body>"), "what is kept is not told: {over}");
        hears_all(&house, (0..4).collect()).await;
        drop(bob);
        stop(house).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_outlive_the_listener_they_came_by() {
    let (house, at) = stage(&["alice", "bob", "carol"]).await;
    let mut alice = web(&house).await;
    let mut carol = Client::logs_in(at, "carol", "web").await;
    carol.shows().await;
    let mut bob = bob(&house).await;
    house.writes("");
    let done = house.done("reload_config").await;
    assert!(done.contains("closed"), "{done}");
    assert!(tokio::net::TcpStream::connect(at).await.is_err());
    bob.says(&says(1)).await;
    assert_eq!(number(&alice.hears().await), Some(1));
    alice
        .says("<message xmlns='jabber:client' to='bob@a.example/desk'><body>2</body></message>")
        .await;
    bob.hears("<body>2</body>").await;
    bob.says(&says(3).replace("alice", "carol")).await;
    is_taken(&mut bob).await;
    // Where the listener comes back, so does the client, to the same session.
    house.writes(HTTP);
    house.done("reload_config").await;
    carol.at = door(&house);
    let heard = carol.asks("").await;
    assert_eq!(number(&heard), Some(3), "{heard}");
    assert_eq!(house.server.node().sessions.table.count(), 3);
    drop((alice, bob));
    sessions(&house, 1).await;
    stop(house).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_paths_of_a_module_that_falls_come_back_with_it() {
    let (house, at) = stage(&[]).await;
    house
        .done("module_start a.example mod_host_meta websocket=wss://@HOST@/ws")
        .await;
    let mut browser = crate::browser::Browser::dial(at).await;
    for round in 0..3 {
        falls(&house, "module", Some("mod_host_meta a.example")).await;
        // Between the fall and the new start there is no path; there is never a wrong answer.
        let is_back = async {
            loop {
                let path = "/.well-known/host-meta";
                let told = browser.asks("GET", "a.example", path, &[], "").await;
                match told.status {
                    200 => return told.body,
                    404 => tokio::task::yield_now().await,
                    other => panic!("round {round}: {other}"),
                }
            }
        };
        let clock = otp::Clock::real();
        let back = clock.timeout(crate::bosh::PATIENCE, is_back).await;
        let body = back.expect("it comes back");
        assert!(body.contains("wss://a.example/ws"), "round {round}: {body}");
    }
    let routes = house.done("http_routes").await;
    assert_eq!(
        routes.matches("/.well-known/host-meta\"").count(),
        1,
        "{routes}"
    );
    house.stop().await;
}
