//! From the first header to a bound resource, over memory: what is answered to what.

use std::sync::Arc;
use std::time::Duration;

use crate::common::*;
use futures_util::future::BoxFuture;
use otp::Clock;
use stream::*;
use tokio::io::AsyncWriteExt;
use xml::{Element, Limits};

fn server(clock: &Clock) -> (Server, tokio::io::DuplexStream) {
    in_memory(profile(TlsPolicy::Off, None), clock)
}

/// Says `text` all at once and gives what the server answers until it closes.
async fn answer(policy: TlsPolicy, text: &[u8]) -> String {
    let (clock, _hand) = Clock::manual();
    let (server, mut peer) = in_memory(profile(policy, None), &clock);
    let watch = tokio::spawn(server.see_all());
    // The server may close before it has read everything.
    let _ = peer.write_all(text).await;
    let read = read_until(&mut peer, "</stream:stream>").await;
    drop(peer);
    let seen = watch.await.expect("no panic");
    assert!(
        matches!(seen.last(), Some(Seen::Detached(Detached::Closed))),
        "{seen:?}"
    );
    read
}

#[tokio::test]
async fn a_login_step_by_step() {
    let (clock, _hand) = Clock::manual();
    let (mut server, mut peer) = server(&clock);
    let watch = tokio::spawn(async move {
        let login = (server.see().await, server.see().await, server.see().await);
        (login, server)
    });
    let from = header("A.Example.").replace(" to=", " from='alice@a.example/old' to=");
    say(&mut peer, &from).await;
    let first = read_until(&mut peer, "</stream:features>").await;
    assert!(first.contains(" from=\"a.example\""), "{first}");
    assert!(first.contains(" to=\"alice@a.example\""), "{first}");
    assert!(first.contains(" version=\"1.0\""), "{first}");
    assert!(
        first.contains("<mechanism>WORD</mechanism></mechanisms>"),
        "{first}"
    );
    assert!(!first.contains("starttls"), "{first}");
    say(&mut peer, AUTH).await;
    let success = read_until(&mut peer, "</success>").await;
    assert_eq!(
        success,
        "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>dg==</success>"
    );
    say(&mut peer, &header("a.example")).await;
    let second = read_until(&mut peer, "</stream:features>").await;
    assert!(
        second.contains("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"),
        "{second}"
    );
    assert!(
        second.contains("<optional/>") && !second.contains("mechanisms"),
        "{second}"
    );
    let id = |text: &str| {
        text.split(" id=\"")
            .nth(1)
            .map(|rest| rest.split('"').next().map(str::to_owned))
    };
    assert_ne!(id(&first), id(&second));
    assert!(
        id(&first).flatten().is_some_and(|id| id.len() >= 22),
        "{first}"
    );
    say(&mut peer, &bind("b1", "desk")).await;
    let bound = read_until(&mut peer, "</iq>").await;
    assert!(bound.contains("<jid>alice@a.example/desk</jid>"), "{bound}");
    assert!(bound.contains("id=\"b1\""), "{bound}");
    say(
        &mut peer,
        "<iq type='set' id='s'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>",
    )
    .await;
    let session = read_until(&mut peer, "</iq>").await;
    assert_eq!(
        session,
        "<iq xmlns='jabber:client' type='result' id=\"s\"></iq>"
    );
    say(&mut peer, &bind("b2", "again")).await;
    assert!(
        read_until(&mut peer, "</iq>")
            .await
            .contains("<not-allowed ")
    );
    say(&mut peer, "<message/></stream:stream>").await;
    let ((authenticated, bound, stanza), mut server) = watch.await.expect("no panic");
    assert!(
        matches!(authenticated, Seen::Authenticated(account) if account.to_string() == "alice@a.example")
    );
    assert!(matches!(bound, Seen::Bound(jid) if jid.as_str() == "alice@a.example/desk"));
    assert!(matches!(stanza, Seen::Stanza(element) if element.name() == "message"));
    let end = tokio::spawn(async move { server.see().await });
    assert_eq!(read_all(&mut peer).await, "</stream:stream>");
    drop(peer);
    assert!(matches!(end.await, Ok(Seen::Detached(Detached::Closed))));
}

//
#[tokio::test]
async fn everything_in_one_segment_or_byte_by_byte() {
    let text = [
        &header("a.example"),
        AUTH,
        &header("a.example"),
        &bind("b", ""),
        "<message id='1'/><message id='2'/></stream:stream>",
    ]
    .concat();
    for piece in [1, 3, text.len()] {
        let (clock, _hand) = Clock::manual();
        let (server, mut peer) = server(&clock);
        let watch = tokio::spawn(server.see_all());
        for piece in text.as_bytes().chunks(piece) {
            peer.write_all(piece).await.expect("the server reads");
            tokio::task::yield_now().await;
        }
        let read = read_until(&mut peer, "</stream:stream>").await;
        drop(peer);
        assert!(read.contains("<jid>alice@a.example/r1</jid>"), "{read}");
        let seen = watch.await.expect("no panic");
        let ids: Vec<_> = seen
            .iter()
            .filter_map(|seen| match seen {
                Seen::Stanza(element) => element.attr("id"),
                _ => None,
            })
            .collect();
        assert_eq!(ids, ["1", "2"]);
    }
}

/// First bytes, and the stream error they earn: always after a header of ours.
#[tokio::test]
async fn a_bad_start_is_answered_with_header_error_and_end() {
    let good = header("a.example");
    let doctype = "<!DOCTYPE x [<!ENTITY a 'b'>]>";
    for (text, condition) in [
        //
        (good.replace(" to='a.example'", ""), "host-unknown"),
        (header("unserved.example"), "host-unknown"),
        (header("alice@a.example"), "host-unknown"),
        //
        (
            good.replace("etherx.jabber.org", "example.org"),
            "invalid-namespace",
        ),
        (
            good.replace("jabber:client", "jabber:server"),
            "invalid-namespace",
        ),
        ("<foo/>".into(), "invalid-namespace"),
        (
            "<s:foo xmlns:s='http://etherx.jabber.org/streams'>".into(),
            "bad-format",
        ),
        ("<stream:stream>".into(), "not-well-formed"),
        //
        (good.replace(" version='1.0'>", ">"), "unsupported-version"),
        (
            good.replace(" version='1.0'>", " version='0.9'>"),
            "unsupported-version",
        ),
        (
            good.replace(" version='1.0'>", " version='x'>"),
            "unsupported-version",
        ),
        //
        (
            "<?xml version='1.0' encoding='ISO-8859-1'?>".to_owned() + &good,
            "unsupported-encoding",
        ),
        //
        (good.clone() + "text", "bad-format"),
        //
        (good.clone() + "<!-- x -->", "restricted-xml"),
        (good.clone() + "<?pi x?>", "restricted-xml"),
        (doctype.to_owned() + &good, "restricted-xml"),
        (good.clone() + "<a>&foo;</a>", "restricted-xml"),
        (good.clone() + "<a>&#0;</a>", "not-well-formed"),
        (good.clone() + "<p:a/>", "not-well-formed"),
        (good.clone() + "<a></b>", "not-well-formed"),
        //
        (
            good.clone() + "<a>" + &"x".repeat(20_000),
            "policy-violation",
        ),
        (good.clone() + &"<a>".repeat(100), "policy-violation"),
        //
        (
            good.clone() + "<message to='b@b.example'/>",
            "not-authorized",
        ),
        (good.clone() + &bind("b", "x"), "not-authorized"),
        (
            good.clone() + "<foo xmlns='bar'/>",
            "unsupported-stanza-type",
        ),
        (good.clone() + "<message xmlns='foo'/>", "invalid-namespace"),
    ] {
        let read = answer(TlsPolicy::Off, text.as_bytes()).await;
        let head = "<?xml version='1.0'?><stream:stream xmlns=\"jabber:client\"";
        assert!(read.starts_with(head), "{text}: {read}");
        assert_eq!(read.matches("<stream:stream").count(), 1, "{text}: {read}");
        let error = format!("<stream:error><{condition} ");
        assert!(read.contains(&error), "{text}: {read}");
    }
    //
    let read = answer(
        TlsPolicy::Off,
        &[good.as_bytes(), b"<a>\xff\xfe</a>"].concat(),
    )
    .await;
    assert!(read.contains("<not-well-formed "), "{read}");
}

//
#[tokio::test]
async fn odd_but_right_starts_are_accepted() {
    let good = header("a.example");
    for text in [
        good.replace("stream:stream", "s:stream")
            .replace("xmlns:stream", "xmlns:s"),
        good.replace(" version='1.0'>", " version='2.0'>"),
        good.replace(" version='1.0'>", " version='1.10'>"),
        good.replace(" version='1.0'>", " version='1.0' id='mine'>"),
        "<?xml version='1.0' encoding='utf-8'?>\n".to_owned()
            + good.split_once("?>").expect("declared").1,
    ] {
        let (clock, _hand) = Clock::manual();
        let (server, mut peer) = server(&clock);
        let watch = tokio::spawn(server.see_all());
        say(&mut peer, &text).await;
        let read = read_until(&mut peer, "</stream:features>").await;
        assert!(
            read.contains(" version=\"1.0\"") && !read.contains("mine"),
            "{text}: {read}"
        );
        assert!(!read.contains(" to="), "no `from`, no `to`: {read}");
        say(&mut peer, " \n \t ").await;
        say(&mut peer, AUTH).await;
        read_until(&mut peer, "</success>").await;
        drop(peer);
        watch.await.expect("no panic");
    }
}

#[tokio::test]
async fn failed_logins_leave_the_stream_open() {
    let sasl =
        |name: &str, rest: &str| format!("<{name} xmlns='urn:ietf:params:xml:ns:xmpp-sasl'{rest}");
    for (text, condition) in [
        //
        (sasl("auth", " mechanism='NONE'/>"), "invalid-mechanism"),
        (sasl("auth", "/>"), "invalid-mechanism"),
        (
            sasl("auth", " mechanism='WORD'>cGFzcw</auth>"),
            "incorrect-encoding",
        ),
        (
            sasl("auth", " mechanism='WORD'>cGFz\ncw==</auth>"),
            "incorrect-encoding",
        ),
        (sasl("auth", " mechanism='WORD'>=</auth>"), "not-authorized"),
        (
            sasl("response", ">cGFzcw==</response>"),
            "malformed-request",
        ),
        (sasl("abort", "/>"), "aborted"),
    ] {
        let (clock, _hand) = Clock::manual();
        let (server, mut peer) = server(&clock);
        let watch = tokio::spawn(server.see_all());
        say(&mut peer, &(header("a.example") + &text)).await;
        let read = read_until(&mut peer, "</failure>").await;
        assert!(read.contains(&format!("<{condition}/>")), "{text}: {read}");
        // Asked for the initial response, and for one more.
        say(&mut peer, &sasl("auth", " mechanism='TWICE'/>")).await;
        assert_eq!(read_until(&mut peer, "/>").await, sasl("challenge", "/>"));
        say(&mut peer, &sasl("response", ">eA==</response>")).await;
        assert_eq!(
            read_until(&mut peer, "</challenge>").await,
            sasl("challenge", ">YWdhaW4=</challenge>")
        );
        say(&mut peer, &sasl("response", ">cGFzcw==</response>")).await;
        read_until(&mut peer, "</success>").await;
        drop(peer);
        watch.await.expect("no panic");
    }
}

//
#[tokio::test]
async fn the_sixth_failure_ends_the_stream() {
    let wrong = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='WORD'>eA==</auth>";
    let read = answer(
        TlsPolicy::Off,
        (header("a.example") + &wrong.repeat(7)).as_bytes(),
    )
    .await;
    assert_eq!(read.matches("<not-authorized/>").count(), 6, "{read}");
    assert!(
        read.contains("<text xml:lang='en'>no &amp; no</text>"),
        "{read}"
    );
    assert!(read.contains("<policy-violation "), "{read}");
}

//
#[tokio::test]
async fn after_the_login_only_bind_is_heard() {
    let start = header("a.example") + AUTH + &header("a.example");
    for (text, condition) in [
        (AUTH.to_owned(), "policy-violation"),
        ("<message to='b@b.example'/>".to_owned(), "not-authorized"),
        ("<foo xmlns='bar'/>".to_owned(), "unsupported-stanza-type"),
    ] {
        let read = answer(TlsPolicy::Off, (start.clone() + &text).as_bytes()).await;
        assert!(
            read.contains(&format!("<stream:error><{condition} ")),
            "{text}: {read}"
        );
    }
    let other = header("a.example") + AUTH + &header("b.example");
    let read = answer(TlsPolicy::Off, other.as_bytes()).await;
    assert!(read.contains("<host-unknown "), "{read}");
}

//
#[tokio::test]
async fn a_refused_bind_may_be_tried_again() {
    let start = header("a.example") + AUTH + &header("a.example");
    let text = start + &bind("1", "bad") + &bind("2", "good") + "</stream:stream>";
    let read = answer(TlsPolicy::Off, text.as_bytes()).await;
    let (refused, bound) = read.split_once("id=\"2\"").expect("two answers");
    assert!(
        refused.contains("type='error' id=\"1\"><error type=\"modify\"><bad-request "),
        "{read}"
    );
    assert!(bound.contains("<jid>alice@a.example/good</jid>"), "{read}");
}

//
#[tokio::test]
async fn tls_that_is_required_or_impossible() {
    let text = header("a.example") + AUTH + "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
    let read = answer(TlsPolicy::Required, text.as_bytes()).await;
    assert!(!read.contains("mechanism"), "{read}");
    assert!(read.contains("<encryption-required/>"), "{read}");
    assert!(
        read.ends_with("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>"),
        "{read}"
    );
}

//
#[tokio::test]
async fn sixty_seconds_for_everything() {
    let (clock, hand) = Clock::manual();
    let (mut server, mut peer) = server(&clock);
    let text = header("a.example");
    let mut bytes = text.bytes();
    for _ in 0..59 {
        peer.write_all(&[bytes.next().expect("long enough")])
            .await
            .expect("read");
        hand.advance(Duration::from_secs(1)).await;
        assert!(server.events.try_recv().is_err());
    }
    let watch = tokio::spawn(server.see_all());
    hand.advance(Duration::from_millis(1001)).await;
    let read = read_until(&mut peer, "</stream:stream>").await;
    assert!(
        read.starts_with("<?xml version='1.0'?><stream:stream "),
        "{read}"
    );
    assert!(read.contains("<connection-timeout "), "{read}");
    // It does not even close its side.
    hand.advance(Duration::from_secs(3)).await;
    let seen = watch.await.expect("no panic");
    assert!(
        matches!(
            &seen[..],
            [Seen::Failed(why), Seen::Detached(Detached::Closed)] if why == "connection-timeout"
        ),
        "{seen:?}"
    );
}

#[tokio::test]
async fn a_bound_stream_has_no_such_limit() {
    let (clock, hand) = Clock::manual();
    let (mut server, mut peer) = server(&clock);
    let text = header("a.example") + AUTH + &header("a.example") + &bind("b", "x");
    say(&mut peer, &text).await;
    server.see().await;
    assert!(matches!(server.see().await, Seen::Bound(_)));
    hand.advance(Duration::from_secs(3600)).await;
    assert!(server.events.try_recv().is_err());
    // And larger stanzas than before.
    say(
        &mut peer,
        &format!("<message>{}</message>", "x".repeat(30_000)),
    )
    .await;
    assert!(matches!(server.see().await, Seen::Stanza(..)));
}

/// Answers one IQ before anybody logs in, as in-band registration does.
struct Early;

impl Negotiable for Early {
    fn phases(&self) -> &'static [Phase] {
        &[Phase::Connected]
    }

    fn feature(&self, _state: &mut State) -> Option<Feature> {
        Some(Feature::new("<early xmlns='urn:example:early'/>"))
    }

    fn claims(&self, element: &Element, _state: &State) -> bool {
        element.is("iq", "jabber:client") && element.child("query", "urn:example:early").is_some()
    }

    fn inline<'a>(&'a self, state: &'a mut State, iq: Element) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let asked = state.slot::<u32>();
            *asked += 1;
            Outcome::answer(stanza_answer(&iq, &format!("<asked n='{asked}'/>")))
        })
    }
}

#[tokio::test]
async fn an_iq_before_the_login_where_somebody_claims_it() {
    let (clock, _hand) = Clock::manual();
    let profile = Arc::new(Profile {
        negotiables: vec![Arc::new(Early)],
        serves: Box::new(|host| host == "a.example"),
        default_host: "a.example".into(),
    });
    let (transport, mut peer) = memory(Framing::Client, Limits::BEFORE_LOGIN, 4096);
    let server = Server::start(transport, profile, &clock, IoOptions::default());
    let watch = tokio::spawn(server.see_all());
    let iq = "<iq type='get' id='&quot;'><query xmlns='urn:example:early'/></iq>";
    say(&mut peer, &(header("a.example") + iq + iq)).await;
    let features = read_until(&mut peer, "</stream:features>").await;
    assert!(
        features.contains("<early xmlns='urn:example:early'/>"),
        "{features}"
    );
    for n in [1, 2] {
        let result = read_until(&mut peer, "</iq>").await;
        assert!(
            result.contains(&format!("id=\"&quot;\"><asked n='{n}'/>")),
            "{result}"
        );
    }
    drop(peer);
    watch.await.expect("no panic");
}
