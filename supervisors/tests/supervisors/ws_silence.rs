//! Pings of WebSockets on a whole server, by its clock (features.md's check R-285).
//!
//! One thread runs the server and its client: all that a moment sets off is done before the clock goes on. On several the
//! clock could pass the time for a ping to be written before anybody has looked whether it was.

use std::time::Duration;

use crate::bosh::sessions;
use crate::house::House;
use crate::http::{HTTP, door};
use crate::ws::Socket;

/// `limits.keep_alive` and `limits.write_stall`, unless configured.
const BEAT: Duration = Duration::from_secs(120);
const STALL: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);

const PING: u8 = 9;
const PONG: u8 = 0x8a;

async fn alice() -> (House, Socket) {
    let house = House::start(HTTP).await;
    house.done("register alice a.example secret").await;
    let mut alice = Socket::open(door(&house)).await;
    alice.logs_in("alice", "web").await;
    (house, alice)
}

#[tokio::test]
async fn who_answers_pings_stays() {
    let (house, mut alice) = alice().await;
    // Longer than who is silent may stay, twice.
    for number in 1..=5 {
        house.hand.advance(BEAT).await;
        let (opcode, payload) = alice.next().await;
        assert_eq!(opcode, PING, "beat {number}: {payload:?}");
        alice.frame(PONG, &payload).await;
    }
    alice
        .says("<iq xmlns='jabber:client' type='get' id='p' to='a.example'><ping xmlns='urn:xmpp:ping'/></iq>")
        .await;
    let answer = alice.hears().await;
    assert!(answer.contains("type=\"result\""), "{answer}");
    drop(alice);
    sessions(&house, 0).await;
    house.stop().await;
}

#[tokio::test]
async fn who_says_something_is_asked_no_sooner() {
    let (house, mut alice) = alice().await;
    house.hand.advance(BEAT - SECOND).await;
    // What the server writes is a sign of life, too: the next ping is a whole beat behind it.
    alice
        .says("<iq xmlns='jabber:client' type='get' id='p' to='a.example'><ping xmlns='urn:xmpp:ping'/></iq>")
        .await;
    let answer = alice.hears().await;
    assert!(answer.contains("type=\"result\""), "{answer}");
    house.hand.advance(BEAT - SECOND).await;
    alice
        .says("<iq xmlns='jabber:client' type='get' id='q' to='a.example'><ping xmlns='urn:xmpp:ping'/></iq>")
        .await;
    let answer = alice.hears().await;
    assert!(answer.contains("id=\"q\""), "no ping before it: {answer}");
    house.hand.advance(BEAT).await;
    assert_eq!(alice.next().await.0, PING);
    drop(alice);
    sessions(&house, 0).await;
    house.stop().await;
}

#[tokio::test]
async fn who_stays_silent_is_closed() {
    let (house, mut alice) = alice().await;
    for number in 1..=2 {
        house.hand.advance(BEAT).await;
        let (opcode, payload) = alice.next().await;
        assert_eq!(opcode, PING, "beat {number}: {payload:?}");
    }
    house.hand.advance(STALL - SECOND).await;
    let table = house.server.node().sessions.table.clone();
    assert_eq!(table.count(), 1, "there is a second left");
    house.hand.advance(SECOND).await;
    assert_eq!(alice.closes().await, 1000);
    // The answer to that is waited for, not long.
    house.hand.advance(5 * SECOND).await;
    let (texts, code) = alice.ends().await;
    assert_eq!((texts, code), (Vec::new(), None), "the connection is cut");
    sessions(&house, 0).await;
    house.stop().await;
}
