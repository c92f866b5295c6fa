//! A session from its first stanza to its end.

use std::time::Duration;

use otp::Fault;
use session::hooks::UnauthenticatedPacket;
use session::{Conflict, SessionPolicy};
use xmpp::StreamCondition;

use crate::rig::*;

#[tokio::test]
async fn a_stanza_is_stamped_with_its_session() {
    let rig = Rig::start().await;
    let mut alice = rig.login("alice", "desk").await;
    let mut bob = rig.login("bob", "phone").await;
    for from in [
        "",
        " from='alice@a.example/desk'",
        " from='alice@a.example'",
    ] {
        alice
            .says(&format!(
                "<message{from} to='bob@a.example/phone' type='chat'><body>1</body></message>"
            ))
            .await;
        let heard = bob.hears("</message>").await;
        assert!(heard.contains(r#"from="alice@a.example/desk""#), "{heard}");
        assert!(
            heard.contains(r#"xml:lang="de""#),
            "the stream's language: {heard}"
        );
    }
    // Without `to` it is for the account itself (RFC 6120 §10.3.3).
    alice
        .says("<iq type='get' id='1'><q xmlns='urn:none'/></iq>")
        .await;
    let heard = alice.hears("</iq>").await;
    assert!(
        heard.contains(r#"from="alice@a.example""#) && heard.contains("service-unavailable"),
        "{heard}"
    );
    alice.says("<message id='2'><body>2</body></message>").await;
    let heard = alice.hears("</message>").await;
    assert!(
        heard.contains("service-unavailable"),
        "nobody is available: {heard}"
    );
    rig.stop().await;
}

#[tokio::test]
async fn a_stranger_s_address_ends_the_stream() {
    let rig = Rig::start().await;
    for from in [
        "bob@a.example",
        "alice@a.example/other",
        "alice@b.example/desk",
    ] {
        let mut alice = rig.login("alice", "desk").await;
        alice
            .says(&format!(
                "<message from='{from}' to='bob@a.example'><body>1</body></message>"
            ))
            .await;
        let heard = alice.hears("</stream:stream>").await;
        assert!(heard.contains("<invalid-from "), "{heard}");
        drop(alice);
        rig.until_no_sessions().await;
    }
    rig.stop().await;
}

#[tokio::test]
async fn what_was_said_before_goodbye_is_done() {
    let rig = Rig::start().await;
    let mut bob = rig.login("bob", "phone").await;
    let mut alice = rig.login("alice", "desk").await;
    let mut all: String = (0..100)
        .map(|number| chat("bob@a.example/phone", number))
        .collect();
    all.push_str("</stream:stream>");
    alice.says(&all).await;
    drop(alice);
    let mut heard = String::new();
    for _ in 0..100 {
        heard += &bob.hears("</message>").await;
    }
    assert_eq!(numbers(&heard), (0..100).collect::<Vec<_>>());
    rig.stop().await;
}

#[tokio::test]
async fn a_new_session_takes_the_address_over() {
    let rig = Rig::start().await;
    let mut first = rig.available("alice", "desk", 1).await;
    first.says("<presence to='x@b.example'/>").await;
    first.sync().await;
    let number = rig.entry("alice@a.example/desk").expect("open").number;
    let mut second = rig.login("alice", "desk").await;
    // Its predecessor was withdrawn before it was bound.
    assert_eq!(
        rig.strangers(),
        [
            "Presence(Available) alice@a.example/desk",
            "Presence(Unavailable) alice@a.example/desk"
        ]
    );
    let heard = first.hears("</stream:stream>").await;
    assert!(heard.contains("<conflict "), "{heard}");
    assert!(rig.entry("alice@a.example/desk").expect("open").number > number);
    let mut bob = rig.login("bob", "phone").await;
    bob.says(&chat("alice@a.example/desk", 7)).await;
    assert_eq!(numbers(&second.hears("</message>").await), [7]);
    drop(first);
    rig.until("one session of alice is left", |rig| {
        rig.sessions.table.count() == 2
    })
    .await;
    assert!(rig.strangers().is_empty(), "told once");
    rig.stop().await;
}

#[tokio::test]
async fn a_resource_that_is_bound_is_had_by_policy() {
    let rig = Rig::start().await;
    let mut first = rig.login("alice", "desk").await;
    let number = rig.entry("alice@a.example/desk").expect("open").number;
    let policy = |conflict| SessionPolicy {
        conflict,
        ..SessionPolicy::default()
    };
    rig.sessions.set_policy(policy(Conflict::CloseNew));
    let mut second = rig.connect(64 * 1024, 1024 * 1024).await;
    let answer = second.login("alice", "desk").await;
    assert!(
        answer.contains("<error type=\"cancel\"><conflict "),
        "{answer}"
    );
    // It may ask for another.
    second
        .says(
            "<iq type='set' id='again'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
             <resource>phone</resource></bind></iq>",
        )
        .await;
    let answer = second.hears("</iq>").await;
    assert!(
        answer.contains("<jid>alice@a.example/phone</jid>"),
        "{answer}"
    );
    rig.sessions.set_policy(policy(Conflict::SetResource));
    let mut third = rig.connect(64 * 1024, 1024 * 1024).await;
    let answer = third.login("alice", "desk").await;
    assert!(answer.contains("<jid>alice@a.example/"), "{answer}");
    assert!(!answer.contains("/desk<"), "{answer}");
    assert_eq!(rig.sessions.table.count(), 3);
    assert_eq!(
        rig.entry("alice@a.example/desk").expect("open").number,
        number
    );
    first.sync().await;
    rig.stop().await;
}

#[tokio::test]
async fn one_session_too_many_ends_the_oldest() {
    let rig = Rig::start().await;
    rig.sessions.set_policy(SessionPolicy {
        most: 2,
        ..SessionPolicy::default()
    });
    let oldest = rig.login("alice", "1").await;
    let mut bob = rig.login("bob", "1").await;
    let mut older = rig.login("alice", "2").await;
    let mut newest = rig.login("alice", "3").await;
    let heard = oldest.hears_all().await;
    assert!(heard.contains("<policy-violation "), "{heard}");
    assert!(heard.ends_with("</stream:stream>"), "{heard}");
    for client in [&mut older, &mut newest, &mut bob] {
        client.sync().await;
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_session_is_ended_by_order() {
    let rig = Rig::start().await;
    let alice = rig.login("alice", "desk").await;
    let jid = xmpp::parse_full("alice@a.example/desk").expect("a JID");
    assert!(
        rig.sessions
            .kick(&jid, StreamCondition::PolicyViolation.text("enough"))
    );
    let heard = alice.hears_all().await;
    assert!(
        heard.contains("<policy-violation ") && heard.contains("enough"),
        "{heard}"
    );
    assert!(heard.ends_with("</stream:stream>"), "{heard}");
    rig.until_no_sessions().await;
    assert!(
        !rig.sessions
            .kick(&jid, StreamCondition::PolicyViolation.into())
    );
    let desk = rig.login("alice", "desk").await;
    let phone = rig.login("alice", "phone").await;
    let error = StreamCondition::NotAuthorized.into();
    assert_eq!(rig.sessions.kick_all(&jid.to_bare(), &error), 2);
    for client in [desk, phone] {
        assert!(client.hears_all().await.contains("<not-authorized "));
    }
    rig.stop().await;
}

#[tokio::test]
async fn at_the_server_s_end_what_waits_is_written() {
    let rig = Rig::start().await;
    let mut alice = rig.login("alice", "desk").await;
    let bob = rig.login("bob", "phone").await;
    for number in 0..50 {
        alice.says(&chat("bob@a.example/phone", number)).await;
    }
    alice.sync().await;
    // It goes on talking while it is being ended.
    alice.says(&chat("bob@a.example/phone", 50)).await;
    let stopping = tokio::spawn(rig.stop());
    let heard = bob.hears_all().await;
    assert_eq!(numbers(&heard)[..50], (0..50).collect::<Vec<_>>());
    assert!(
        heard.contains("<system-shutdown ") && heard.ends_with("</stream:stream>"),
        "{heard}"
    );
    let heard = alice.hears_all().await;
    assert!(
        heard.contains("<system-shutdown ") && heard.ends_with("</stream:stream>"),
        "{heard}"
    );
    stopping.await.expect("no panic");
}

#[tokio::test]
async fn a_client_that_does_not_read_ends_and_nothing_is_lost() {
    let rig = Rig::start().await.with_queue().await;
    let mut bob = rig.connect(2048, 8 * 1024).await;
    bob.login("bob", "phone").await;
    bob.says("<presence/>").await;
    bob.hears("/>").await;
    let mut alice = rig.login("alice", "desk").await;
    for number in 0..300 {
        alice.says(&chat("bob@a.example/phone", number)).await;
    }
    alice.sync().await;
    rig.until("bob is no place to deliver to", |rig| {
        rig.entry("bob@a.example/phone").is_none()
    })
    .await;
    let reading = tokio::spawn(bob.hears_all());
    let heard = reading.await.expect("no panic");
    assert!(heard.contains("<resource-constraint "), "{heard}");
    rig.until("its session ended", |rig| rig.sessions.table.count() == 1)
        .await;
    let last = 300;
    rig.until("all the rest is kept", |rig| {
        numbers(&heard).len() + rig.queue.numbers().len() >= last
    })
    .await;
    let mut all = numbers(&heard);
    assert_eq!(all, (0..all.len()).collect::<Vec<_>>(), "in order");
    all.extend(rig.queue.numbers());
    all.sort_unstable();
    assert_eq!(all, (0..last).collect::<Vec<_>>(), "each once");
    rig.stop().await;
}

#[tokio::test]
async fn a_session_that_falls_is_withdrawn_once_and_its_messages_go_on() {
    let rig = Rig::start().await.with_queue().await;
    let mut bob = rig.available("bob", "phone", 1).await;
    bob.says("<presence to='x@b.example'/>").await;
    bob.sync().await;
    let entry = rig.entry("bob@a.example/phone").expect("open");
    rig.strangers();
    entry.pid.any().fault(Fault::Hang);
    let mut alice = rig.login("alice", "desk").await;
    for number in 0..20 {
        alice.says(&chat("bob@a.example/phone", number)).await;
    }
    alice.sync().await;
    entry.pid.kill();
    bob.hears_all().await;
    rig.until("all are kept", |rig| rig.queue.numbers().len() == 20)
        .await;
    assert_eq!(rig.queue.numbers(), (0..20).collect::<Vec<_>>());
    rig.until("its presence is withdrawn", |rig| {
        !rig.heard.lock().is_empty()
    })
    .await;
    assert_eq!(
        rig.strangers(),
        ["Presence(Unavailable) bob@a.example/phone"]
    );
    assert!(rig.entry("bob@a.example/phone").is_none());
    rig.stop().await;
}

#[tokio::test]
async fn a_fallen_session_is_withdrawn_though_the_manager_falls_meanwhile() {
    let rig = Rig::start().await.with_roster().await;
    let bob = rig.available("bob", "phone", 1).await;
    assert_eq!(rig.strangers(), ["Presence(Available) bob@a.example/phone"]);
    rig.roster.shut();
    rig.entry("bob@a.example/phone").expect("open").pid.kill();
    rig.until("the manager asks who saw it", |rig| {
        rig.roster.arrived() == 1
    })
    .await;
    let sm = rig.sm();
    sm.kill();
    sm.watch().await;
    rig.until("its successor asks again", |rig| rig.roster.arrived() == 2)
        .await;
    rig.roster.open();
    rig.until("the friend is told", |rig| !rig.heard.lock().is_empty())
        .await;
    assert_eq!(
        rig.strangers(),
        ["Presence(Unavailable) bob@a.example/phone"]
    );
    drop(bob);
    rig.stop().await;
}

#[tokio::test]
async fn a_session_that_falls_in_its_goodbye_is_withdrawn_by_the_manager() {
    let rig = Rig::start().await.with_roster().await;
    let mut bob = rig.available("bob", "phone", 1).await;
    rig.strangers();
    rig.roster.shut();
    let pid = rig.entry("bob@a.example/phone").expect("open").pid.clone();
    bob.says("</stream:stream>").await;
    rig.until("it asks who saw it", |rig| rig.roster.arrived() == 1)
        .await;
    pid.kill();
    rig.until("the manager asks in its place", |rig| {
        rig.roster.arrived() == 2
    })
    .await;
    rig.roster.open();
    rig.until("the friend is told", |rig| !rig.heard.lock().is_empty())
        .await;
    assert_eq!(
        rig.strangers(),
        ["Presence(Unavailable) bob@a.example/phone"]
    );
    rig.stop().await;
}

#[tokio::test]
async fn the_manager_s_fall_touches_no_session() {
    let rig = Rig::start().await;
    let mut alice = rig.login("alice", "desk").await;
    let sm = rig.sm();
    sm.fault(Fault::Panic);
    sm.watch().await;
    rig.until("it is back", |rig| {
        rig.system
            .registry()
            .whereis_any(&session::sm_name())
            .is_some()
    })
    .await;
    alice.sync().await;
    rig.entry("alice@a.example/desk").expect("open").pid.kill();
    rig.until_no_sessions().await;
    rig.stop().await;
}

#[tokio::test]
async fn a_question_before_login_that_cannot_be_answered_now_ends_no_stream() {
    let rig = Rig::start().await;
    rig.hook(|_: UnauthenticatedPacket| async { panic!("a handler") })
        .await;
    let mut client = rig.connect(4096, 65536).await;
    client.open().await;
    client
        .says("<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>")
        .await;
    let answer = client.hears("</iq>").await;
    assert!(answer.contains("<internal-server-error "), "{answer}");
    let bound = client.login_here("alice", "desk").await;
    assert!(bound.contains("alice@a.example/desk"), "{bound}");
    rig.stop().await;
}

#[tokio::test]
async fn silence_before_login_ends_in_bounded_time() {
    let rig = Rig::start().await;
    let client = rig.connect(4096, 65536).await;
    rig.hand.advance(Duration::from_secs(61)).await;
    let heard = client.hears_all().await;
    assert!(heard.contains("<connection-timeout "), "{heard}");
    rig.stop().await;
}
