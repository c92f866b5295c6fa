//! XMPP over BOSH (XEP-0124, XEP-0206) on a whole server. How requests are ordered, `web`'s own tests tell.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokio::task::JoinHandle;

use crate::browser::{Browser, Reply};
use crate::house::House;
use crate::http::{HTTP, door};
use crate::peer::Peer;

pub const NS: &str = "xmlns='http://jabber.org/protocol/httpbind'";
pub const SECOND: Duration = Duration::from_secs(1);

/// What a test waits for at most.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Posts a body over a connection of its own.
pub async fn post(at: SocketAddr, body: String) -> Reply {
    let asked = async {
        let mut browser = Browser::dial(at).await;
        browser.asks("POST", "a.example", "/bosh", &[], &body).await
    };
    let answered = otp::Clock::real().timeout(PATIENCE, asked).await;
    answered.unwrap_or_else(|_| panic!("no answer to {body}"))
}

pub fn attribute<'a>(body: &'a str, name: &str) -> &'a str {
    let head = body.split('>').next().unwrap_or_default();
    let (_, value) = head
        .split_once(&format!(" {name}=\""))
        .unwrap_or_else(|| panic!("no {name} in {body}"));
    value.split('"').next().unwrap_or_default()
}

/// A client by hand.
pub struct Client {
    pub at: SocketAddr,
    pub sid: String,
    pub rid: u64,
}

impl Client {
    /// Asks for a session; the client and the first response.
    pub async fn begins(at: SocketAddr, attributes: &str) -> (Client, String) {
        let body = format!(
            "<body {NS} rid='1000' to='a.example' ver='1.10' xmlns:x='urn:xmpp:xbosh' x:version='1.0' {attributes}/>"
        );
        let reply = post(at, body).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert_eq!(reply.header("content-type"), "text/xml; charset=utf-8");
        assert_eq!(reply.header("access-control-allow-origin"), "*");
        let client = Client {
            at,
            sid: attribute(&reply.body, "sid").to_owned(),
            rid: 1000,
        };
        (client, reply.body)
    }

    /// The next request.
    pub fn wraps(&mut self, attributes: &str, payload: &str) -> String {
        self.rid += 1;
        self.wraps_as(self.rid, attributes, payload)
    }

    pub fn wraps_as(&self, rid: u64, attributes: &str, payload: &str) -> String {
        let sid = &self.sid;
        format!("<body {NS} sid='{sid}' rid='{rid}' {attributes}>{payload}</body>")
    }

    pub async fn asks(&mut self, payload: &str) -> String {
        let body = self.wraps("", payload);
        post(self.at, body).await.body
    }

    /// Makes a request whose answer is heard later.
    pub fn waits(&mut self, payload: &str) -> JoinHandle<Reply> {
        tokio::spawn(post(self.at, self.wraps("", payload)))
    }

    /// Makes a request whose answer is heard later; the server holds it by then.
    pub async fn holds(&mut self) -> JoinHandle<Reply> {
        let body = self.wraps("", "");
        let mut one = tokio::spawn(post(self.at, body.clone()));
        let mut other = tokio::spawn(post(self.at, body));
        // Whichever comes later takes the place of the first, which is told to come again.
        let (first, held) = tokio::select! {
            reply = &mut one => (reply, other),
            reply = &mut other => (reply, one),
        };
        let first = first.expect("it was asked").body;
        assert_eq!(attribute(&first, "type"), "error", "{first}");
        held
    }

    pub async fn logs_in(at: SocketAddr, user: &str, resource: &str) -> Client {
        let (mut client, first) = Client::begins(at, "wait='60' hold='1'").await;
        assert!(first.contains("PLAIN"), "{first}");
        assert!(!first.contains("starttls"), "{first}");
        let plain = BASE64_STANDARD.encode(format!("\0{user}\0secret"));
        let auth = format!(
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>"
        );
        let success = client.asks(&auth).await;
        assert!(success.contains("<success xmlns="), "{success}");
        let restart = client.wraps(
            "to='a.example' xmlns:x='urn:xmpp:xbosh' x:restart='true'",
            "",
        );
        let features = post(at, restart).await.body;
        assert!(
            features.contains("urn:ietf:params:xml:ns:xmpp-bind"),
            "{features}"
        );
        let bind = format!(
            "<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
             <resource>{resource}</resource></bind></iq>"
        );
        let bound = client.asks(&bind).await;
        assert!(bound.contains("<iq xmlns='jabber:client' type="), "{bound}");
        assert!(bound.contains(&format!("/{resource}</jid>")), "{bound}");
        client
    }

    pub async fn shows(&mut self) {
        let heard = self.asks("<presence xmlns='jabber:client'/>").await;
        assert!(heard.contains("<presence"), "{heard}");
    }
}

pub async fn heard(waiting: JoinHandle<Reply>) -> String {
    waiting.await.expect("it was asked").body
}

/// Waits until so many clients have a session.
pub async fn sessions(house: &House, count: usize) {
    let table = house.server.node().sessions.table.clone();
    let left = async {
        while table.count() != count {
            tokio::task::yield_now().await;
        }
    };
    let left = otp::Clock::real().timeout(PATIENCE, left).await;
    left.unwrap_or_else(|_| panic!("{} sessions, not {count}", table.count()));
}

pub async fn stage(users: &[&str]) -> (House, SocketAddr) {
    let house = House::start(HTTP).await;
    for user in users {
        house
            .done(&format!("register {user} a.example secret"))
            .await;
    }
    let at = door(&house);
    (house, at)
}

/// Stops the server once the sessions of clients that do not ask any more are over.
pub async fn stop(house: House) {
    house.hand.advance(200 * SECOND).await;
    let observe = house.server.node().system.observe().clone();
    let is_of_client = |kind: &str| ["bosh", "c2s"].contains(&kind);
    let over = async {
        while observe
            .processes()
            .iter()
            .any(|one| is_of_client(one.kind()))
        {
            tokio::task::yield_now().await;
        }
    };
    let over = otp::Clock::real().timeout(PATIENCE, over).await;
    over.expect("sessions end with their clients");
    house.stop().await;
}

pub async fn bob(house: &House) -> Peer {
    let mut bob = Peer::dial(house.server.addresses()[0].at).await;
    bob.logs_in("bob", "a.example", "secret").await;
    bob
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_offered_by_its_terms() {
    let (house, at) = stage(&[]).await;
    let (client, first) = Client::begins(at, "wait='600' hold='3' ack='1' xml:lang='de'").await;
    for (name, value) in [
        ("wait", "60"),
        ("hold", "1"),
        ("requests", "2"),
        ("inactivity", "90"),
        ("polling", "5"),
        ("maxpause", "120"),
        ("ver", "1.10"),
        ("ack", "1000"),
        ("secure", "true"),
        ("from", "a.example"),
        ("xmpp:version", "1.0"),
        ("xmpp:restartlogic", "true"),
    ] {
        assert_eq!(attribute(&first, name), value, "{name}");
    }
    assert!(!attribute(&first, "authid").is_empty());
    assert!(first.contains("<stream:features xmlns:stream="), "{first}");
    assert!(client.sid.len() >= 32, "{}", client.sid);
    let (_, polls) = Client::begins(at, "wait='0' hold='1' content='text/html'").await;
    for (name, value) in [
        ("wait", "0"),
        ("hold", "0"),
        ("requests", "1"),
        ("inactivity", "95"),
    ] {
        assert_eq!(attribute(&polls, name), value, "{name}");
    }
    stop(house).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_logs_in_and_chats() {
    let (house, at) = stage(&["alice", "bob"]).await;
    let mut alice = Client::logs_in(at, "alice", "web").await;
    alice.shows().await;
    let mut bob = bob(&house).await;
    let waiting = alice.waits("");
    bob.says("<message to='alice@a.example/web' type='chat'><body>a &lt; b</body></message>")
        .await;
    let message = heard(waiting).await;
    assert!(
        message.contains("<message xmlns=\"jabber:client\""),
        "{message}"
    );
    assert!(message.contains("<body>a &lt; b</body>"), "{message}");
    // The response was lost: the same request brings the same bytes.
    let again = alice.wraps_as(alice.rid, "", "");
    assert_eq!(post(at, again).await.body, message);
    // One is held; the next lets it go.
    let first = alice.waits("");
    let second = alice.waits(
        "<message xmlns='jabber:client' to='bob@a.example/desk'><body>hello</body></message>",
    );
    assert_eq!(
        heard(first).await,
        "<body xmlns=\"http://jabber.org/protocol/httpbind\"/>"
    );
    bob.hears("<body>hello</body>").await;
    // Much, in order, in as many responses as it takes.
    for number in 0..200 {
        let padding = "x".repeat(1000);
        bob.says(&format!(
            "<message to='alice@a.example/web'><body>{number} {padding}</body></message>"
        ))
        .await;
    }
    let mut all = heard(second).await;
    while !all.contains("<body>199 ") {
        all += &alice.asks("").await;
    }
    let numbers: Vec<usize> = all
        .split("<body>")
        .filter_map(|part| part.split(' ').next()?.parse().ok())
        .collect();
    assert_eq!(numbers, (0..200).collect::<Vec<usize>>());
    // The end, by the client: what is last said is heard.
    let waiting = alice.waits("");
    let bye = "<message xmlns='jabber:client' to='bob@a.example/desk'><body>bye</body></message>";
    let ending = alice.wraps("type='terminate'", bye);
    let last = post(at, ending).await.body;
    bob.hears("<body>bye</body>").await;
    let ended = "<body xmlns=\"http://jabber.org/protocol/httpbind\" type=\"terminate\"/>";
    assert_eq!(heard(waiting).await, ended, "on the oldest");
    assert_eq!(
        last,
        "<body xmlns=\"http://jabber.org/protocol/httpbind\"/>"
    );
    let gone = alice.asks("").await;
    assert!(gone.contains("item-not-found"), "{gone}");
    sessions(&house, 1).await;
    drop(bob);
    stop(house).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_request_is_refused() {
    let (house, at) = stage(&[]).await;
    let begin = format!("<body {NS} rid='1' to='a.example' ver='1.6'");
    for (body, condition) in [
        (String::new(), "bad-request"),
        ("hello".to_owned(), "bad-request"),
        (format!("<!DOCTYPE body>{begin}/>"), "bad-request"),
        (format!("{begin}><!-- c --></body>"), "bad-request"),
        (format!("{begin}><?pi?></body>"), "bad-request"),
        (format!("{begin}>text</body>"), "bad-request"),
        (
            format!("<body {NS} to='a.example' ver='1.6'/>"),
            "bad-request",
        ),
        (
            format!("<body {NS} rid='1' ver='1.6'/>"),
            "improper-addressing",
        ),
        (
            format!("<body {NS} rid='1' ver='1.6' to='x.example'/>"),
            "host-unknown",
        ),
        (
            format!("<body {NS} rid='1' sid='nobody'/>"),
            "item-not-found",
        ),
    ] {
        let reply = post(at, body.clone()).await;
        let is_end = attribute(&reply.body, "type") == "terminate";
        assert!(is_end && reply.status == 200, "{body}: {reply:?}");
        assert_eq!(attribute(&reply.body, "condition"), condition, "{body}");
    }
    let unknown = post(at, format!("<body {NS} rid='1' ver='1.6' to='x.example'/>")).await;
    assert!(
        unknown.body.contains("<stream:error xmlns:stream="),
        "{}",
        unknown.body
    );
    // A client without a version knows codes alone.
    let legacy = post(at, format!("<body {NS} rid='1' to='a.example' wait='x'/>")).await;
    assert_eq!((legacy.status, legacy.body.as_str()), (400, ""));
    let legacy = post(at, format!("<body {NS} rid='1' to='a.example'/>")).await;
    assert!(!legacy.body.contains(" ver="), "{}", legacy.body);
    let sid = attribute(&legacy.body, "sid");
    let far = post(at, format!("<body {NS} rid='9' sid='{sid}'/>")).await;
    assert_eq!((far.status, far.body.as_str()), (404, ""));

    let mut browser = Browser::dial(at).await;
    let read = browser.asks("GET", "a.example", "/bosh", &[], "").await;
    assert_eq!((read.status, read.header("allow")), (405, "post, options"));
    assert!(read.body.contains("BOSH"), "{}", read.body);
    let asked = browser.asks("OPTIONS", "a.example", "/bosh", &[], "").await;
    assert_eq!(asked.status, 204);
    assert_eq!(asked.header("access-control-allow-origin"), "*");
    assert_eq!(asked.header("access-control-allow-headers"), "content-type");
    let big = format!("{begin}>{}</body>", " ".repeat(300_000));
    assert_eq!(post(at, big).await.status, 413);
    // Before the login an element may cost less than behind it.
    let (mut client, _) = Client::begins(at, "").await;
    let big = format!("<a xmlns='x'>{}</a>", "x".repeat(20_000));
    let refused = client.asks(&big).await;
    assert!(refused.contains("bad-request"), "{refused}");
    let gone = client.asks("").await;
    assert!(gone.contains("item-not-found"), "{gone}");
    stop(house).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_has_not_shown_to_have_is_given_back() {
    let (house, at) = stage(&["alice", "bob"]).await;
    let mut alice = Client::logs_in(at, "alice", "web").await;
    alice.shows().await;
    let mut bob = bob(&house).await;
    for text in ["one", "two", "three"] {
        let waiting = alice.waits("");
        bob.says(&format!(
            "<message to='alice@a.example' type='chat'><body>{text}</body></message>"
        ))
        .await;
        let message = heard(waiting).await;
        assert!(message.contains(text), "{message}");
    }
    // The request for `three` showed that `two` had come. Nothing shows that `three` has.
    house.hand.advance(89 * SECOND).await;
    assert_eq!(house.server.node().sessions.table.count(), 2);
    house.hand.advance(2 * SECOND).await;
    sessions(&house, 1).await;
    let mut desk = Peer::dial(house.server.addresses()[0].at).await;
    desk.logs_in("alice", "a.example", "secret").await;
    desk.says("<presence/>").await;
    let kept = desk.hears("</message>").await;
    assert!(
        kept.contains("three") && kept.contains("urn:xmpp:delay"),
        "{kept}"
    );
    assert!(
        !kept.contains("<body>one") && !kept.contains("<body>two"),
        "{kept}"
    );
    drop((desk, bob));
    stop(house).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_falls_is_not_found_any_more() {
    let (house, at) = stage(&["alice"]).await;
    let mut alice = Client::logs_in(at, "alice", "web").await;
    let waiting = alice.waits("");
    let processes = house.server.node().system.observe().processes();
    let fallen = processes.iter().filter(|process| process.kind() == "bosh");
    assert_eq!(fallen.map(|process| process.kill()).count(), 1);
    let over = heard(waiting).await;
    assert_eq!(attribute(&over, "condition"), "item-not-found");
    sessions(&house, 0).await;
    // The other way round: a c2s that falls.
    let mut alice = Client::logs_in(at, "alice", "web").await;
    let waiting = alice.waits("");
    let processes = house.server.node().system.observe().processes();
    let fallen = processes.iter().filter(|process| process.kind() == "c2s");
    assert_eq!(fallen.map(|process| process.kill()).count(), 1);
    let over = heard(waiting).await;
    assert_eq!(attribute(&over, "condition"), "remote-connection-failed");
    stop(house).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_stream_is_told_with_its_reason() {
    let (house, at) = stage(&["alice", "bob"]).await;
    let mut old = Client::logs_in(at, "alice", "web").await;
    let waiting = old.waits("");
    let mut new = Client::logs_in(at, "alice", "web").await;
    let over = heard(waiting).await;
    assert_eq!(attribute(&over, "condition"), "remote-stream-error");
    assert!(over.contains("<conflict xmlns="), "{over}");
    // Nothing is held when the reason comes: it is told when the client asks.
    let latest = Client::logs_in(at, "alice", "web").await;
    sessions(&house, 1).await;
    let over = new.asks("").await;
    assert_eq!(attribute(&over, "condition"), "remote-stream-error");
    assert!(over.contains("<conflict xmlns="), "{over}");
    let mut latest = latest;
    let waiting = latest.holds().await;
    let (_, over) = tokio::join!(house.stop(), heard(waiting));
    assert_eq!(attribute(&over, "condition"), "system-shutdown");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_held_no_longer_than_agreed() {
    let (house, at) = stage(&["alice"]).await;
    let mut alice = Client::logs_in(at, "alice", "web").await;
    let waiting = alice.holds().await;
    house.hand.advance(59 * SECOND).await;
    assert!(!waiting.is_finished());
    house.hand.advance(SECOND).await;
    let bare = "<body xmlns=\"http://jabber.org/protocol/httpbind\"/>";
    assert_eq!(heard(waiting).await, bare);
    let paused = alice.wraps("pause='120'", "");
    assert_eq!(post(at, paused).await.body, bare);
    house.hand.advance(100 * SECOND).await;
    assert_eq!(house.server.node().sessions.table.count(), 1);
    let too_long = alice.wraps("pause='121'", "");
    let refused = post(at, too_long).await.body;
    assert_eq!(attribute(&refused, "condition"), "policy-violation");
    sessions(&house, 0).await;
    stop(house).await;
}
