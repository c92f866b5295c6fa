//! How sessions by BOSH end on a whole server, and what becomes of what was in them; and who is let in at all.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::authority::Authority;
use crate::bosh::{Client, NS, PATIENCE, SECOND, attribute, bob, post, sessions, stage, stop};
use crate::browser::Browser;
use crate::house::{House, folder};
use crate::http::{HTTP, door};
use crate::peer::Peer;
use crate::ws::Socket;

/// What alice hears who logs in at her desk, and leaves again: what waited for her.
async fn waited(house: &House, last: &str) -> String {
    let others = house.server.node().sessions.table.count();
    let mut desk = Peer::dial(house.server.addresses()[0].at).await;
    desk.logs_in("alice", "a.example", "secret").await;
    desk.says("<presence/>").await;
    let mut heard = desk.hears(last).await;
    heard += &desk.hears("</message>").await;
    drop(desk);
    // Who comes next does not see her there.
    sessions(house, others).await;
    heard
}

fn says(text: &str) -> String {
    format!("<message to='alice@a.example/web' type='chat'><body>{text}</body></message>")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_last_response_carried_is_not_lost_with_it() {
    let (house, at) = stage(&["alice", "bob"]).await;
    let mut bob = bob(&house).await;
    let mut alice = Client::logs_in(at, "alice", "web").await;
    alice.shows().await;
    for text in ["one", "two"] {
        bob.says(&says(text)).await;
    }
    bob.says("<iq type='get' id='1' to='a.example'><ping xmlns='urn:xmpp:ping'/></iq>")
        .await;
    bob.hears("type=\"result\"").await;
    // The response that ends the session carries both; nothing ever shows that it came.
    house.done("kick_session alice a.example web bye").await;
    sessions(&house, 1).await;
    let over = alice.asks("").await;
    assert!(
        over.contains("<body>one") && over.contains("<body>two"),
        "{over}"
    );
    if !over.contains("terminate") {
        // She came before the words about the end were there: they wait for her no longer than a second.
        house.hand.advance(2 * SECOND).await;
    }
    let kept = waited(&house, "<body>two").await;
    assert!(
        kept.contains("<body>one") && kept.contains("urn:xmpp:delay"),
        "{kept}"
    );

    // The connection on which a request is held is cut; what it is answered goes nowhere.
    let mut alice = Client::logs_in(at, "alice", "web").await;
    alice.shows().await;
    let held = alice.holds().await;
    held.abort();
    assert!(held.await.is_err_and(|error| error.is_cancelled()));
    bob.says(&says("three")).await;
    bob.says("<iq type='get' id='2' to='a.example'><ping xmlns='urn:xmpp:ping'/></iq>")
        .await;
    bob.hears("type=\"result\"").await;
    house.done("kick_session alice a.example web bye").await;
    sessions(&house, 1).await;
    house.hand.advance(2 * SECOND).await;
    let kept = waited(&house, "<body>three").await;
    assert!(!kept.contains("<body>two"), "what came is not kept: {kept}");
    drop(bob);
    stop(house).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_come_delays_no_shutdown() {
    let (house, at) = stage(&["alice", "bob"]).await;
    let mut alice = Client::logs_in(at, "alice", "web").await;
    alice.shows().await;
    let mut bob = bob(&house).await;
    bob.says(&says("still here?")).await;
    bob.says("<iq type='get' id='1' to='a.example'><ping xmlns='urn:xmpp:ping'/></iq>")
        .await;
    bob.hears("type=\"result\"").await;
    drop(bob);
    sessions(&house, 1).await;
    let House {
        server,
        folder,
        hand,
    } = house;
    let table = server.node().sessions.table.clone();
    let stopping = tokio::spawn(async move { server.stop().await.expect("an orderly end") });
    let leaves = async {
        while table.count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    let left = otp::Clock::real().timeout(PATIENCE, leaves).await;
    left.expect("her session is closed");
    // She asks for nothing. One second, and no more, is for one that is on its way.
    hand.advance(SECOND).await;
    let stopped = otp::Clock::real().timeout(PATIENCE, stopping).await;
    stopped.expect("it waits no longer").expect("it stops");
    let house = House::open(folder).await.expect("the server starts again");
    let kept = waited(&house, "<body>still here?").await;
    assert!(kept.contains("urn:xmpp:delay"), "{kept}");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_was_begun_by_https_goes_on_by_it_alone() {
    let authority = Authority::new();
    let folder = folder(&format!(
        "{HTTP}{}[tls]\ncertificates = [\"a.pem\"]\n",
        HTTP.replace("off", "direct")
    ));
    let issued = authority.issues("a.example");
    let pem = format!("{}{}", issued.chain, issued.key);
    std::fs::write(folder.path().join("a.pem"), pem).expect("the folder is ours");
    let house = House::open(folder).await.expect("the server starts");
    let addresses = house.server.addresses();
    let (clear, secure) = (addresses[1].at, addresses[2].at);
    let begin = format!("<body {NS} rid='1' to='a.example' ver='1.10'/>");
    let mut browser = Browser::over(authority.connects(secure, "a.example").await);
    let begun = browser
        .asks("POST", "a.example", "/bosh", &[], &begin)
        .await;
    let sid = attribute(&begun.body, "sid").to_owned();
    let next = |rid: u64| format!("<body {NS} rid='{rid}' sid='{sid}'><a xmlns='x'/></body>");
    let stolen = post(clear, next(2)).await;
    assert_eq!(stolen.status, 403, "{stolen:?}");
    assert!(!stolen.body.contains("<body "), "{stolen:?}");
    // It has done no harm: the number is still the next.
    let mut other = Browser::over(authority.connects(secure, "a.example").await);
    let own = other
        .asks("POST", "a.example", "/bosh", &[], &next(2))
        .await;
    assert_eq!(own.status, 200);
    assert!(own.body.contains("unsupported-stanza-type"), "{}", own.body);
    drop((browser, other));
    stop(house).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_by_http_have_the_places_that_all_strangers_have() {
    let house = House::start(&format!(
        "{HTTP}[http]\nforwarders = [\"127.0.0.1\"]\n[limits]\nconnections_before_login_per_address = 2\n\
         connections_before_login = 5\nlogin_within = \"60 s\"\n"
    ))
    .await;
    house.done("register alice a.example secret").await;
    let at = door(&house);
    let socket =
        |from: &str| format!("Sec-WebSocket-Protocol: xmpp\r\nX-Forwarded-For: {from}\r\n");
    let begins = async |from: &str| {
        let begin = format!("<body {NS} rid='1' to='a.example' ver='1.10'/>");
        let from = format!("X-Forwarded-For: {from}");
        let mut browser = Browser::dial(at).await;
        browser
            .asks("POST", "a.example", "/bosh", &[&from], &begin)
            .await
            .status
    };
    let (mut one, head) = Socket::dial(at, &socket("192.0.2.1")).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert_eq!(begins("192.0.2.1").await, 200);
    assert_eq!(
        begins("192.0.2.1").await,
        503,
        "two are one address's share"
    );
    let (_, head) = Socket::dial(at, &socket("192.0.2.1")).await;
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    // Whoever logs in gives his place back.
    one.logs_in("alice", "web").await;
    assert_eq!(begins("192.0.2.1").await, 200);
    assert_eq!(begins("192.0.2.1").await, 503);
    assert_eq!(begins("192.0.2.2").await, 200, "others have theirs");
    let (two, head) = Socket::dial(at, &socket("192.0.2.3")).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    // Four strangers are there; the fifth place is that of the connection that asks.
    assert_eq!(begins("192.0.2.4").await, 200);
    let crowded = TcpStream::connect(at).await.expect("the system takes it");
    let mut crowded = Browser::over(crowded);
    let refused = async {
        let headers = ["X-Forwarded-For: 192.0.2.5"];
        crowded
            .asks("GET", "a.example", "/health/live", &headers, "")
            .await
    };
    // Nobody has a place for it until one is given back: the time for a login is over.
    let waited = async {
        house.hand.advance(61 * SECOND).await;
    };
    let (reply, ()) = tokio::join!(refused, waited);
    assert_eq!(reply.status, 200);
    assert_eq!(begins("192.0.2.5").await, 200);
    drop((one, two));
    stop(house).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_silent_for_too_long_or_asks_too_often_is_out() {
    let (house, at) = stage(&["alice"]).await;
    // Silence: the time agreed, or that of a pause.
    for (pause, longest) in [("", 90), ("pause='20'", 20)] {
        let mut alice = Client::logs_in(at, "alice", "web").await;
        if !pause.is_empty() {
            let paused = alice.wraps(pause, "");
            let bare = post(at, paused).await.body;
            assert_eq!(
                bare,
                "<body xmlns=\"http://jabber.org/protocol/httpbind\"/>"
            );
        }
        house.hand.advance((longest - 1) * SECOND).await;
        assert_eq!(house.server.node().sessions.table.count(), 1, "{pause}");
        house.hand.advance(2 * SECOND).await;
        sessions(&house, 0).await;
        let gone = alice.asks("").await;
        assert_eq!(attribute(&gone, "condition"), "item-not-found");
    }
    // Too often: an empty request while one is held, sooner than the server lets it.
    let mut alice = Client::logs_in(at, "alice", "web").await;
    let held = alice.holds().await;
    let refused = alice.asks("").await;
    assert_eq!(attribute(&refused, "condition"), "policy-violation");
    let told = held.await.expect("it was asked").body;
    assert_eq!(attribute(&told, "condition"), "policy-violation");
    sessions(&house, 0).await;
    let mut alice = Client::logs_in(at, "alice", "web").await;
    let held = alice.holds().await;
    house.hand.advance(6 * SECOND).await;
    let next = alice.waits("");
    let bare = held.await.expect("it was asked").body;
    assert!(!bare.contains("terminate"), "late enough: {bare}");
    // More at once than were agreed.
    let body = alice.wraps_as(alice.rid + 9, "", "<a xmlns='x'/>");
    let refused = post(at, body).await.body;
    assert_eq!(attribute(&refused, "condition"), "item-not-found");
    let told = next.await.expect("it was asked").body;
    assert_eq!(attribute(&told, "condition"), "item-not-found");
    sessions(&house, 0).await;
    // A client that vanishes in the middle of a request leaves nothing.
    let mut half = TcpStream::connect(at).await.expect("somebody listens");
    let head = "POST /bosh HTTP/1.1\r\nHost: a.example\r\nContent-Length: 100\r\n\r\n<body";
    half.write_all(head.as_bytes()).await.expect("written");
    drop(half);
    stop(house).await;
}
