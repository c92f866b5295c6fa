//! Delivery to accounts without any module: RFC 6121 §8.5.

use crate::rig::*;

fn ask(to: &str, kind: &str) -> String {
    format!("<iq to='{to}' type='{kind}' id='q'><q xmlns='urn:q'/></iq>")
}

#[tokio::test]
async fn takers_are_ordered_by_priority_then_by_age() {
    let rig = Rig::start().await;
    let mut clients = Vec::new();
    for (resource, priority) in [
        ("low", 1),
        ("high", 5),
        ("old", 3),
        ("young", 3),
        ("negative", -1),
    ] {
        clients.push(rig.available("bob", resource, priority).await);
    }
    clients.push(rig.login("bob", "silent").await);
    let bob = xmpp::parse_bare("bob@a.example").expect("a JID");
    let takers = rig.sessions.table.takers(&bob);
    let takers: Vec<&str> = takers.iter().map(|e| e.jid.resource().as_str()).collect();
    assert_eq!(takers, ["high", "young", "old", "low"]);
    assert_eq!(rig.sessions.table.available(&bob).len(), 5);
    assert_eq!(rig.sessions.table.sessions(&bob).len(), 6);
    assert!(rig.sessions.table.interested(&bob).is_empty());
    drop(clients);
    rig.until_no_sessions().await;
    assert!(rig.sessions.table.takers(&bob).is_empty());
    rig.stop().await;
}

#[tokio::test]
async fn a_message_to_the_account_goes_to_those_who_take_messages() {
    let rig = Rig::start().await;
    let mut alice = rig.login("alice", "desk").await;
    let mut high = rig.available("bob", "high", 5).await;
    let mut low = rig.available("bob", "low", 0).await;
    let mut negative = rig.available("bob", "negative", -1).await;
    for kind in ["chat", "normal", "headline"] {
        alice
            .says(&format!(
                "<message to='bob@a.example' type='{kind}'><body>1</body></message>"
            ))
            .await;
        assert_eq!(numbers(&high.hears("</message>").await), [1], "{kind}");
        assert_eq!(numbers(&low.hears("</message>").await), [1], "{kind}");
    }
    alice
        .says("<message to='bob@a.example' type='groupchat'><body>2</body></message>")
        .await;
    let heard = alice.hears("</message>").await;
    assert!(heard.contains("service-unavailable"), "{heard}");
    // A chat to a resource that is not there is treated as one to the account; nothing else is.
    alice
        .says("<message to='bob@a.example/gone' type='chat'><body>3</body></message>")
        .await;
    assert_eq!(numbers(&high.hears("</message>").await), [3]);
    alice
        .says("<message to='bob@a.example/gone' type='normal'><body>4</body></message>")
        .await;
    assert!(
        alice
            .hears("</message>")
            .await
            .contains("service-unavailable")
    );
    for silent in ["headline", "error"] {
        alice
            .says(&format!(
                "<message to='bob@a.example/gone' type='{silent}'><body>5</body></message>"
            ))
            .await;
    }
    assert_eq!(alice.sync().await, "");
    // To a full JID whatever the priority.
    alice.says(&chat("bob@a.example/negative", 6)).await;
    assert_eq!(numbers(&negative.hears("</message>").await), [6]);
    rig.stop().await;
}

#[tokio::test]
async fn who_is_not_there_looks_like_who_does_not_exist() {
    let rig = Rig::start().await;
    let mut alice = rig.login("alice", "desk").await;
    for to in [
        "bob@a.example",
        "bob@a.example/x",
        "nobody@a.example",
        "nobody@a.example/x",
    ] {
        alice.says(&chat(to, 1)).await;
        let message = alice.hears("</message>").await;
        assert!(message.contains("service-unavailable"), "{to}: {message}");
        for kind in ["get", "set"] {
            alice.says(&ask(to, kind)).await;
            let iq = alice.hears("</iq>").await;
            assert!(iq.contains("service-unavailable"), "{to}: {iq}");
        }
        alice.says(&ask(to, "result")).await;
        alice.says(&format!("<presence to='{to}'/>")).await;
        assert_eq!(alice.sync().await, "", "{to}");
    }
    rig.stop().await;
}

#[tokio::test]
async fn an_iq_to_a_resource_is_its_own_to_answer() {
    let rig = Rig::start().await;
    let mut alice = rig.login("alice", "desk").await;
    let mut bob = rig.login("bob", "phone").await;
    alice.says(&ask("bob@a.example/phone", "get")).await;
    assert!(bob.hears("</iq>").await.contains("urn:q"));
    bob.says("<iq to='alice@a.example/desk' type='result' id='q'/>")
        .await;
    let heard = alice.hears("/>").await;
    assert!(heard.contains(r#"from="bob@a.example/phone""#), "{heard}");
    rig.stop().await;
}

#[tokio::test]
async fn the_host_itself_answers_requests_and_refuses_mail() {
    let rig = Rig::start().await;
    let mut alice = rig.login("alice", "desk").await;
    alice.says(&ask(HOST, "get")).await;
    assert!(alice.hears("</iq>").await.contains("service-unavailable"));
    alice.says(&chat(HOST, 1)).await;
    assert!(
        alice
            .hears("</message>")
            .await
            .contains("service-unavailable")
    );
    alice.says(&format!("<presence to='{HOST}'/>")).await;
    assert_eq!(alice.sync().await, "");
    rig.stop().await;
}

#[tokio::test]
async fn a_host_whose_process_is_down_answers_on() {
    let rig = Rig::start().await;
    let mut alice = rig.login("alice", "desk").await;
    rig.root.terminate_child("local").await.expect("stopped");
    alice.says(&chat("nobody@none.example", 1)).await;
    let heard = alice.hears("</message>").await;
    assert!(heard.contains("remote-server-not-found"), "{heard}");
    alice.says(&chat("alice@a.example/desk", 2)).await;
    assert_eq!(numbers(&alice.hears("</message>").await), [2]);
    rig.root
        .restart_child("local")
        .await
        .expect("takes its place");
    alice.sync().await;
    rig.stop().await;
}
