//! What each service answers, asked from outside; clients' dialogues are in the scenarios.

use crate::rig::{ELSEWHERE, HOST, MINUTE, Rig};
use router::Folded;
use session::hooks::{
    OfflineDelivered, OfflinePage, RemoveUser, RosterInSubscription, RosterOutSubscription,
    SelfPresence, UnauthenticatedPacket,
};
use storage::Subscription;
use xmpp::{BareJid, PresenceType, Stanza, parse_bare, parse_full};

fn get(to: &str, payload: &str) -> String {
    format!("<iq type='get' id='g' from='s@{ELSEWHERE}/1' to='{to}'>{payload}</iq>")
}

/// The standard set, and open registration as on a server without a configuration.
async fn standard() -> Rig {
    let run = [modules::STANDARD, &["mod_register"]].concat();
    Rig::start(modules::ALL, &run).await
}

fn value<H>(folded: Folded<H>) -> H {
    folded.value().expect("neither dropped nor denied")
}

#[tokio::test]
async fn the_host_says_who_it_is() {
    let mut rig = standard().await;
    let info = rig
        .asks(&get(
            HOST,
            "<query xmlns='http://jabber.org/protocol/disco#info'/>",
        ))
        .await;
    for feature in [
        "http://jabber.org/protocol/disco#info",
        "http://jabber.org/protocol/disco#items",
        "jabber:iq:register",
        "jabber:iq:version",
        "msgoffline",
        "urn:xmpp:ping",
        "urn:xmpp:time",
    ] {
        assert!(
            info.contains(&format!("var='{feature}'"))
                || info.contains(&format!("var=\"{feature}\"")),
            "{info}"
        );
    }
    let node = get(
        HOST,
        "<query xmlns='http://jabber.org/protocol/disco#info' node='n'/>",
    );
    assert!(rig.asks(&node).await.contains("<item-not-found"));
    assert_eq!(
        rig.asks(&get(HOST, "<ping xmlns='urn:xmpp:ping'/>")).await,
        format!("<iq from=\"{HOST}\" to=\"s@{ELSEWHERE}/1\" id=\"g\" type=\"result\"/>")
    );
    let version = rig
        .asks(&get(HOST, "<query xmlns='jabber:iq:version'/>"))
        .await;
    assert!(
        version.contains(">Natter<") && !version.contains("os"),
        "{version}"
    );
    let time = rig.asks(&get(HOST, "<time xmlns='urn:xmpp:time'/>")).await;
    let now = xmpp::format_date_time(rig.host.clock.wall());
    assert!(
        time.contains(&format!("<tzo>+00:00</tzo><utc>{now}</utc>")),
        "{time}"
    );
    rig.stop().await;
}

//
#[tokio::test]
async fn a_stranger_cannot_tell_an_account_from_none() {
    let mut rig = standard().await;
    let alice = rig.account("alice").await;
    for payload in [
        "<query xmlns='http://jabber.org/protocol/disco#info'/>",
        "<query xmlns='http://jabber.org/protocol/disco#items'/>",
        "<ping xmlns='urn:xmpp:ping'/>",
        "<query xmlns='jabber:iq:roster'/>",
        "<query xmlns='jabber:iq:register'/>",
        "<query xmlns='urn:nobody-knows'/>",
    ] {
        let there = rig.asks(&get(alice.as_str(), payload)).await;
        let nowhere = rig.asks(&get(&format!("nobody@{HOST}"), payload)).await;
        assert_eq!(there.replace("alice@", "nobody@"), nowhere, "{payload}");
        assert!(there.contains("<service-unavailable"), "{payload}");
    }
    // A friend may know, and still not read the roster.
    befriend(&rig, &alice, &stranger()).await;
    let info = get(
        alice.as_str(),
        "<query xmlns='http://jabber.org/protocol/disco#info'/>",
    );
    assert!(rig.asks(&info).await.contains("registered"));
    let set = format!(
        "<iq type='set' id='s' from='s@{ELSEWHERE}/1' to='{alice}'><query xmlns='jabber:iq:roster'><item jid='x@y'/></query></iq>"
    );
    assert!(rig.asks(&set).await.contains("<forbidden"));
    assert_eq!(
        rig.host
            .storage
            .roster
            .get(&alice)
            .await
            .expect("a roster")
            .items
            .len(),
        1
    );
    rig.stop().await;
}

fn stranger() -> BareJid {
    parse_bare(&format!("s@{ELSEWHERE}")).expect("a JID")
}

async fn sends(rig: &Rig, account: &BareJid, kind: PresenceType) -> RosterOutSubscription {
    let stanza = Stanza::presence(kind)
        .from(xmpp::Jid::from(account.clone()))
        .to(xmpp::Jid::from(stranger()))
        .finish();
    let fold = RosterOutSubscription {
        account: account.clone(),
        contact: stranger(),
        kind,
        stanza,
        route: true,
        after: Vec::new(),
    };
    value(rig.host.router.fold_wait(fold).await)
}

/// The contact sees the account's presence from now on.
async fn befriend(rig: &Rig, account: &BareJid, contact: &BareJid) {
    rig.says(&format!(
        "<presence type='subscribe' from='{contact}' to='{account}'/>"
    ))
    .await;
    assert!(sends(rig, account, PresenceType::Subscribed).await.route);
}

//
#[tokio::test]
async fn a_request_waits_until_it_is_answered() {
    let mut rig = standard().await;
    let alice = rig.account("alice").await;
    let request = |status: &str| {
        format!(
            "<presence type='subscribe' from='s@{ELSEWHERE}/1' to='{alice}' id='r'><status>{status}</status></presence>"
        )
    };
    rig.says(&request("first")).await;
    rig.says(&request("second")).await;
    let user = parse_full(&format!("{alice}/1")).expect("a JID");
    let comes = |first| SelfPresence {
        user: user.clone(),
        presence: Stanza::presence(PresenceType::Available).finish(),
        first,
        deliver: Vec::new(),
    };
    for _ in 0..2 {
        let shown = value(rig.host.router.fold_wait(comes(true)).await);
        let texts: Vec<_> = shown
            .deliver
            .iter()
            .map(|s| s.child_text("status", xmpp::ns::CLIENT))
            .collect();
        assert_eq!(texts, [Some("second".to_owned())]);
        assert_eq!(
            shown.deliver[0].from().map(ToString::to_string),
            Some(stranger().to_string())
        );
    }
    assert!(
        value(rig.host.router.fold_wait(comes(false)).await)
            .deliver
            .is_empty()
    );
    assert!(sends(&rig, &alice, PresenceType::Subscribed).await.route);
    assert!(
        value(rig.host.router.fold_wait(comes(true)).await)
            .deliver
            .is_empty()
    );
    let item = rig
        .host
        .storage
        .roster
        .item(&alice, &stranger())
        .await
        .expect("a store")
        .expect("an item");
    assert_eq!((item.subscription, item.listed), (Subscription::From, true));
    assert_eq!(rig.heard_already(), None);
    rig.stop().await;
}

//
#[tokio::test]
async fn approval_comes_first_or_not_at_all() {
    let mut rig = standard().await;
    let alice = rig.account("alice").await;
    rig.says(&format!(
        "<presence type='subscribed' from='{}' to='{alice}'/>",
        stranger()
    ))
    .await;
    assert_eq!(
        rig.host
            .storage
            .roster
            .item(&alice, &stranger())
            .await
            .expect("a store"),
        None
    );
    assert!(!sends(&rig, &alice, PresenceType::Subscribed).await.route);
    let answer = rig
        .asks(&format!(
            "<presence type='subscribe' from='{}' to='{alice}'/>",
            stranger()
        ))
        .await;
    assert_eq!(
        answer,
        format!(
            "<presence from=\"{alice}\" to=\"{}\" type=\"subscribed\"/>",
            stranger()
        )
    );
    let item = rig
        .host
        .storage
        .roster
        .item(&alice, &stranger())
        .await
        .expect("a store")
        .expect("an item");
    assert_eq!(
        (item.subscription, item.approved, item.pending_in),
        (Subscription::From, true, None)
    );
    rig.stop().await;
}

#[tokio::test]
async fn too_many_requests_of_strangers_are_ignored() {
    let rig = Rig::start(modules::ALL, &[]).await;
    let alice = rig.account("alice").await;
    rig.start_module("mod_roster", &["max_requests=2", "max_items=1"])
        .await
        .expect("mod_roster starts");
    for number in 0..4 {
        rig.says(&format!(
            "<presence type='subscribe' from='s{number}@{ELSEWHERE}' to='{alice}'/>"
        ))
        .await;
    }
    assert_eq!(
        rig.host
            .storage
            .roster
            .pending(&alice)
            .await
            .expect("a store")
            .len(),
        2
    );
    // And a full roster takes no more of the account's own.
    assert!(sends(&rig, &alice, PresenceType::Subscribe).await.route);
    let other = RosterOutSubscription {
        account: alice.clone(),
        contact: parse_bare("other@else.example").expect("a JID"),
        kind: PresenceType::Subscribe,
        stanza: Stanza::presence(PresenceType::Subscribe).finish(),
        route: true,
        after: Vec::new(),
    };
    assert_eq!(
        rig.host
            .router
            .fold_wait(other)
            .await
            .value()
            .map(|fold| fold.route),
        None
    );
    rig.stop().await;
}

//
#[tokio::test]
async fn a_removed_contact_hears_the_end() {
    let mut rig = standard().await;
    let alice = rig.account("alice").await;
    befriend(&rig, &alice, &stranger()).await;
    sends(&rig, &alice, PresenceType::Subscribe).await;
    rig.says(&format!(
        "<presence type='subscribed' from='{}' to='{alice}'/>",
        stranger()
    ))
    .await;
    let item = rig
        .host
        .storage
        .roster
        .item(&alice, &stranger())
        .await
        .expect("a store")
        .expect("an item");
    assert_eq!(item.subscription, Subscription::Both);
    rig.says(&format!(
        "<iq type='set' id='r' from='{alice}/1' to='{alice}'><query xmlns='jabber:iq:roster'>\
         <item jid='{}' subscription='remove'/></query></iq>",
        stranger()
    ))
    .await;
    assert!(rig.hears().await.contains("type=\"unsubscribe\""));
    assert!(rig.hears().await.contains("type=\"unsubscribed\""));
    assert_eq!(rig.heard_already(), None);
    assert_eq!(
        rig.host
            .storage
            .roster
            .item(&alice, &stranger())
            .await
            .expect("a store"),
        None
    );
    rig.stop().await;
}

#[tokio::test]
async fn an_account_that_goes_ends_its_subscriptions() {
    let mut rig = standard().await;
    let alice = rig.account("alice").await;
    befriend(&rig, &alice, &stranger()).await;
    value(
        rig.host
            .router
            .fold_wait(RemoveUser {
                account: alice.clone(),
            })
            .await,
    );
    assert!(rig.hears().await.contains("type=\"unsubscribed\""));
    assert_eq!(rig.heard_already(), None);
    rig.stop().await;
}

#[tokio::test]
async fn an_inbound_request_names_its_hearers() {
    let rig = standard().await;
    let alice = rig.account("alice").await;
    let fold = |kind| RosterInSubscription {
        account: alice.clone(),
        contact: stranger(),
        kind,
        stanza: Stanza::presence(kind).finish(),
        hearers: session::hooks::Hearers::Nobody,
        after: Vec::new(),
    };
    let first = value(
        rig.host
            .router
            .fold_wait(fold(PresenceType::Subscribe))
            .await,
    );
    assert_eq!(first.hearers, session::hooks::Hearers::Available);
    let again = value(
        rig.host
            .router
            .fold_wait(fold(PresenceType::Subscribe))
            .await,
    );
    assert_eq!(again.hearers, session::hooks::Hearers::Nobody);
    rig.stop().await;
}

#[tokio::test]
async fn messages_wait_in_order_until_they_are_written() {
    let mut rig = Rig::start(modules::ALL, &[]).await;
    let alice = rig.account("alice").await;
    rig.start_module("mod_offline", &["max_messages=3"])
        .await
        .expect("mod_offline starts");
    let message = |number: u32| {
        format!(
            "<message type='chat' id='{number}' from='s@{ELSEWHERE}/1' to='{alice}'><body>hi</body></message>"
        )
    };
    let sent = xmpp::format_date_time(rig.host.clock.wall());
    for number in 0..3 {
        rig.says(&message(number)).await;
        rig.hand.advance(MINUTE).await;
    }
    assert_eq!(rig.heard_already(), None);
    let full = rig.asks(&message(3)).await;
    assert!(
        full.contains("id=\"3\"") && full.contains("<service-unavailable"),
        "{full}"
    );
    let page = |after| OfflinePage {
        account: alice.clone(),
        after,
        page: Vec::new(),
        unreadable: false,
    };
    let waiting = value(rig.host.router.fold_wait(page(None)).await).page;
    let ids: Vec<_> = waiting.iter().map(|waiting| waiting.stanza.id()).collect();
    assert_eq!(ids, [Some("0"), Some("1"), Some("2")]);
    let first = waiting[0].stanza.to_xml();
    assert!(
        first.contains(&format!(
            "<delay xmlns=\"urn:xmpp:delay\" from=\"{HOST}\" stamp=\"{sent}\"/>"
        )),
        "{first}"
    );
    let places = vec![waiting[0].place, waiting[1].place];
    let behind = value(rig.host.router.fold_wait(page(Some(places[1]))).await).page;
    assert_eq!(behind.len(), 1);
    value(
        rig.host
            .router
            .fold_wait(OfflineDelivered {
                account: alice.clone(),
                places,
            })
            .await,
    );
    assert_eq!(rig.host.storage.offline.count(&alice).await, Ok(1));
    rig.stop().await;
}

#[tokio::test]
async fn messages_expire_and_are_swept_out() {
    let rig = Rig::start(modules::ALL, &[]).await;
    let alice = rig.account("alice").await;
    rig.start_module("mod_offline", &["expire_after=2 min"])
        .await
        .expect("mod_offline starts");
    rig.says(&format!(
        "<message from='s@{ELSEWHERE}/1' to='{alice}'><body>hi</body></message>"
    ))
    .await;
    rig.hand.advance(MINUTE).await;
    assert_eq!(rig.host.storage.offline.count(&alice).await, Ok(1));
    rig.hand.advance(2 * MINUTE).await;
    assert_eq!(rig.host.storage.offline.count(&alice).await, Ok(0));
    // Expired, and still on the disk until the next sweep, one hour after the start. No further: the
    // store's deadline runs on the same clock.
    rig.hand.advance(57 * MINUTE).await;
    rig.until("the sweep has begun", |rig| {
        rig.messages_of("mod_offline") == 1
    })
    .await;
    // A process that is told to stop finishes what it has begun.
    rig.modules
        .stop("mod_offline")
        .await
        .expect("mod_offline stops");
    assert_eq!(rig.host.storage.offline.clear(&alice).await, Ok(0));
    rig.stop().await;
}

#[tokio::test]
async fn accounts_are_made_before_login_one_at_a_time() {
    let rig = standard().await;
    let ask = |address: &str, type_: &str, fields: &str| UnauthenticatedPacket {
        host: HOST.to_owned(),
        address: Some(address.parse().expect("an address")),
        stanza: Stanza::parse(&format!(
            "<iq type='{type_}' id='r'><query xmlns='jabber:iq:register'>{fields}</query></iq>"
        ))
        .expect("an IQ"),
        answer: None,
    };
    let answer = async |packet: UnauthenticatedPacket| {
        let fold = value(rig.host.router.fold_wait(packet).await);
        fold.answer.expect("an answer").to_xml()
    };
    let fields = |name: &str| format!("<username>{name}</username><password>secret</password>");
    let far = "192.0.2.1:1000";
    let form = answer(ask(far, "get", "")).await;
    assert!(
        form.contains("<username/><password/>") && form.contains(&format!("from=\"{HOST}\"")),
        "{form}"
    );
    assert!(
        answer(ask(far, "set", "<username>a</username>"))
            .await
            .contains("<not-acceptable")
    );
    assert!(
        answer(ask(far, "set", "<remove/>"))
            .await
            .contains("<registration-required")
    );
    assert!(
        answer(ask(far, "set", &fields("alice")))
            .await
            .contains("type=\"result\"")
    );
    assert!(
        answer(ask(far, "set", &fields("bob")))
            .await
            .contains("<resource-constraint")
    );
    assert!(
        answer(ask("192.0.2.2:1000", "set", &fields("Alice")))
            .await
            .contains("<conflict")
    );
    assert!(
        answer(ask("192.0.2.2:1000", "set", &fields("bob")))
            .await
            .contains("type=\"result\"")
    );
    assert!(
        answer(ask("127.0.0.1:1", "set", &fields("carol")))
            .await
            .contains("type=\"result\"")
    );
    assert!(
        answer(ask("127.0.0.1:1", "set", &fields("dave")))
            .await
            .contains("type=\"result\"")
    );
    rig.hand.advance(10 * MINUTE).await;
    assert!(
        answer(ask(far, "set", &fields("erin")))
            .await
            .contains("type=\"result\"")
    );
    assert_eq!(rig.host.storage.accounts.count(HOST).await, Ok(5));
    // The name of a removed account is nobody's until it is released.
    let erin = xmpp::parse_bare(&format!("erin@{HOST}")).expect("a JID");
    let sessions = rig.host.service::<session::Sessions>();
    assert_eq!(sessions.remove_account(&erin, None).await, Ok(true));
    assert_eq!(sessions.remove_account(&erin, None).await, Ok(false));
    assert!(
        answer(ask("127.0.0.1:1", "set", &fields("erin")))
            .await
            .contains("<conflict")
    );
    assert_eq!(rig.host.storage.accounts.release(&erin).await, Ok(true));
    assert!(
        answer(ask("127.0.0.1:1", "set", &fields("erin")))
            .await
            .contains("type=\"result\"")
    );
    // What is no registration is left to others.
    let mut other = ask(far, "get", "");
    other.stanza =
        Stanza::parse("<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>").expect("an IQ");
    assert!(
        value(rig.host.router.fold_wait(other).await)
            .answer
            .is_none()
    );
    rig.stop().await;
}
