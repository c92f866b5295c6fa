//! Stanzas as pairs of text: what was sent, and what it is read, changed and written as.

use bytes::BytesMut;
use minidom::Node;
use proptest::prelude::*;
use xml::{Child, Frame, Limits, Reader, Scanner};
use xmpp::{
    BadPriority, Condition, Edit, ErrorType, Fragment, IqType, Jid, Kind, MessageType,
    PresenceType, Show, Stanza, StanzaFault, Target, ns, parse_jid,
};

const CLIENT: &str = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
                      xmlns:x='urn:x'>";

fn from_stream(head: &str, text: &str) -> Result<Stanza, StanzaFault> {
    let mut reader = Scanner::new(Limits::default()).known(ns::KNOWN);
    let mut input = BytesMut::from(format!("{head}{text}").as_bytes());
    assert!(matches!(reader.feed(&mut input), Ok(Some(Frame::Open(_)))));
    match reader.feed(&mut input) {
        Ok(Some(Frame::Element(element))) => Stanza::from_element(&element),
        other => panic!("{text}: {other:?}"),
    }
}

fn stanza(text: &str) -> Stanza {
    Stanza::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}"))
}

fn wire(stanza: &Stanza) -> &str {
    std::str::from_utf8(stanza.bytes()).expect("stanzas are UTF-8")
}

fn jid(text: &str) -> Jid {
    parse_jid(text).expect("an address")
}

/// What each child is called, and its bytes.
fn indexed(stanza: &Stanza) -> Vec<(&str, &str, &[u8])> {
    let children = stanza.children().iter();
    let child = |child| {
        (
            Child::namespace(child),
            Child::name(child),
            stanza.child_bytes(child),
        )
    };
    children.map(child).collect()
}

/// The index must always say what a fresh reading of the bytes would say.
fn assert_consistent(stanza: &Stanza) {
    let again = self::stanza(wire(stanza));
    assert_eq!(wire(&again), wire(stanza));
    assert_eq!(indexed(&again), indexed(stanza));
    assert_eq!(again.stanza_type(), stanza.stanza_type());
    assert_eq!(
        (again.from(), again.to(), again.id()),
        (stanza.from(), stanza.to(), stanza.id())
    );
    assert_eq!(again.dom(), stanza.dom());
}

//
#[test]
fn what_the_server_does_not_know_survives_in_order() {
    for (sent, canonical) in [
        (
            "<message to='B@a.example' z='1' y=\"&quot;\"><q xmlns='urn:q'/><body>1</body><body>2</body>text</message>",
            "<message to=\"b@a.example\" z=\"1\" y=\"&quot;\"><q xmlns='urn:q'/><body>1</body><body>2</body>text</message>",
        ),
        ("<presence/>", "<presence/>"),
        ("<presence></presence>", "<presence/>"),
        ("<message type='foo'/>", "<message type=\"foo\"/>"),
        (
            "<message type='normal' id=''/>",
            "<message id=\"\" type=\"normal\"/>",
        ),
        ("<message to='' from=''/>", "<message/>"),
        (
            "<message xml:lang='de' xml:space='preserve'/>",
            "<message xml:lang=\"de\" xml:space=\"preserve\"/>",
        ),
        (
            "<message x:k='v'/>",
            "<message xmlns:a0=\"urn:x\" a0:k=\"v\"/>",
        ),
        ("<message id='&lt;&apos;'/>", "<message id=\"&lt;&apos;\"/>"),
    ] {
        let read = from_stream(CLIENT, sent).expect(sent);
        assert_eq!(wire(&read), canonical, "{sent}");
        assert_consistent(&read);
    }
}

//
#[test]
fn canonical_bytes_lean_on_nothing_and_imply_the_content_namespace() {
    let server = "<s:stream xmlns='jabber:server' xmlns:s='http://etherx.jabber.org/streams' xmlns:x='urn:x'>";
    let component = "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' \
                     xmlns:x='urn:x'>";
    for head in [CLIENT, server, component] {
        for (sent, canonical) in [
            (
                "<message><body>hi</body><x:e/></message>",
                "<message><body>hi</body><e xmlns=\"urn:x\"/></message>",
            ),
            (
                "<message><body x:k='v'/></message>",
                "<message><body xmlns:a0=\"urn:x\" a0:k=\"v\"/></message>",
            ),
            (
                "<message><body>hi</body></message>",
                "<message><body>hi</body></message>",
            ),
        ] {
            let read = from_stream(head, sent).expect(sent);
            assert_eq!(wire(&read), canonical, "{sent}");
            assert!(read.has_child("body", ns::CLIENT));
            assert_consistent(&read);
        }
    }
    let named = "<message xmlns='jabber:server'><body xmlns='jabber:server'>hi</body></message>";
    assert_eq!(
        wire(&from_stream(CLIENT, named).expect(named)),
        "<message><body>hi</body></message>"
    );
    let forwarded = "<message><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'><body/></message>\
                     </forwarded></message>";
    assert_eq!(wire(&stanza(forwarded)), forwarded);
}

//
#[test]
fn the_language_of_the_stream_becomes_explicit() {
    let head = "<s xmlns='jabber:client' xml:lang='de'>";
    for (sent, lang, canonical) in [
        ("<message/>", Some("de"), "<message xml:lang=\"de\"/>"),
        (
            "<message xml:lang='fr'/>",
            Some("fr"),
            "<message xml:lang=\"fr\"/>",
        ),
        ("<message xml:lang=''/>", None, "<message xml:lang=\"\"/>"),
        (
            "<message><x:e xmlns:x='urn:x'/></message>",
            Some("de"),
            "<message xml:lang=\"de\"><x:e xmlns:x='urn:x'/></message>",
        ),
    ] {
        let read = from_stream(head, sent).expect(sent);
        assert_eq!((read.lang(), wire(&read)), (lang, canonical), "{sent}");
        assert_consistent(&read);
    }
    let silent = from_stream(CLIENT, "<message/>").expect("a message");
    assert_eq!((silent.lang(), wire(&silent)), (None, "<message/>"));
}

//
#[test]
fn types_are_read() {
    use MessageType::*;
    for (word, type_) in [
        ("chat", Chat),
        ("groupchat", Groupchat),
        ("headline", Headline),
        ("normal", Normal),
        ("error", MessageType::Error),
        ("foo", Normal),
        ("", Normal),
    ] {
        let read = stanza(&format!("<message type='{word}'/>"));
        assert_eq!(
            (read.kind(), read.message_type()),
            (Kind::Message, type_),
            "{word}"
        );
    }
    use PresenceType::*;
    assert_eq!(stanza("<presence/>").presence_type(), Available);
    for type_ in [
        Unavailable,
        Subscribe,
        Subscribed,
        Unsubscribe,
        Unsubscribed,
        Probe,
        PresenceType::Error,
    ] {
        let read = stanza(&format!("<presence type='{}'/>", type_.as_str()));
        assert_eq!(read.presence_type(), type_);
        assert_eq!(
            wire(&read),
            format!("<presence type=\"{}\"/>", type_.as_str())
        );
    }
    for type_ in [IqType::Get, IqType::Set, IqType::Result, IqType::Error] {
        let read = stanza(&format!(
            "<iq id='1' type='{}'><q xmlns='urn:q'/></iq>",
            type_.as_str()
        ));
        assert_eq!(
            (read.iq_type(), read.is_error()),
            (type_, type_ == IqType::Error)
        );
        assert_eq!(read.payload_ns(), Some("urn:q"));
    }
}

/// What the sender of a faulty stanza is told.
fn told(text: &str) -> String {
    match Stanza::parse(text) {
        Ok(read) => panic!("accepted: {}", wire(&read)),
        Err(StanzaFault::Answer(faulty)) => {
            let Some(reply) = faulty.reply() else {
                return "nothing".into();
            };
            let error = reply
                .dom()
                .get_child("error", ns::CLIENT)
                .expect("an error")
                .clone();
            assert_eq!(error.attr("type"), Some(faulty.error.kind.as_str()));
            let address = |jid: Option<&Jid>| jid.map_or("-".to_owned(), Jid::to_string);
            let condition = error.children().next().expect("a condition");
            assert!(reply.is_error());
            format!(
                "{} {} from {} to {} id {}",
                reply.kind().as_str(),
                condition.name(),
                address(reply.from()),
                address(reply.to()),
                reply.id().unwrap_or("-"),
            )
        }
        Err(StanzaFault::InvalidFrom(_)) => "invalid-from".into(),
        Err(StanzaFault::Stream(error)) => format!("stream {}", error.condition),
    }
}

//
#[test]
fn faulty_stanzas_have_their_answers() {
    let (q, to) = ("<q xmlns='urn:q'/>", "to='B@a.example'");
    for (text, answer) in [
        (
            format!("<iq type='get' {to}>{q}</iq>"),
            "iq bad-request from b@a.example to - id -",
        ),
        (
            format!("<iq type='get' id='' {to}>{q}</iq>"),
            "iq bad-request from b@a.example to - id ",
        ),
        (
            format!("<iq id='1' from='c@d/e' {to}>{q}</iq>"),
            "iq bad-request from b@a.example to c@d/e id 1",
        ),
        (
            format!("<iq id='1' type='foo'>{q}</iq>"),
            "iq bad-request from - to - id 1",
        ),
        (
            "<iq id='1' type='get'/>".into(),
            "iq bad-request from - to - id 1",
        ),
        (
            "<iq id='1' type='set'>text</iq>".into(),
            "iq bad-request from - to - id 1",
        ),
        (
            format!("<iq id='1' type='set'>{q}{q}</iq>"),
            "iq bad-request from - to - id 1",
        ),
        ("<iq type='result'/>".into(), "nothing"),
        ("<iq type='error'/>".into(), "nothing"),
        (
            format!("<presence type='foo' {to}/>"),
            "presence bad-request from b@a.example to - id -",
        ),
        (
            "<presence type='available'/>".into(),
            "presence bad-request from - to - id -",
        ),
        (
            "<message id='1' to='@d'/>".into(),
            "message jid-malformed from - to - id 1",
        ),
        (
            "<message to='a@b@c' from='me@d'/>".into(),
            "message jid-malformed from - to me@d id -",
        ),
        (
            format!("<message to='a@{}'/>", "x".repeat(1024)),
            "message jid-malformed from - to - id -",
        ),
        (
            "<presence to='a b@c'/>".into(),
            "presence jid-malformed from - to - id -",
        ),
        (
            format!("<iq type='get' id='1' to='@d'>{q}</iq>"),
            "iq jid-malformed from - to - id 1",
        ),
        ("<message to='@d' type='error'/>".into(), "nothing"),
        ("<presence to='@d' type='error'/>".into(), "nothing"),
        ("<iq type='result' id='1' to='@d'/>".into(), "nothing"),
        ("<message from='@d'/>".into(), "invalid-from"),
        ("<foo/>".into(), "stream unsupported-stanza-type"),
        (
            "<message xmlns='foo'/>".into(),
            "stream unsupported-stanza-type",
        ),
        ("<message".into(), "stream not-well-formed"),
    ] {
        assert_eq!(told(&text), answer, "{text}");
    }
    assert_eq!(stanza("<message to=''/>").to(), None);
    assert!(stanza("<iq type='result' id='1'/>").payload().is_none());
}

//
#[test]
fn priority_and_show_are_read_with_care() {
    for (text, priority) in [
        ("", Ok(0)),
        ("<priority>5</priority>", Ok(5)),
        ("<priority> -128\n</priority>", Ok(-128)),
        ("<priority>127</priority>", Ok(127)),
        ("<priority>128</priority>", Err(BadPriority)),
        ("<priority>-129</priority>", Err(BadPriority)),
        ("<priority>1e3</priority>", Err(BadPriority)),
        ("<priority/>", Err(BadPriority)),
        ("<priority xmlns='urn:other'>x</priority>", Ok(0)),
    ] {
        assert_eq!(
            stanza(&format!("<presence>{text}</presence>")).priority(),
            priority,
            "{text}"
        );
    }
    for (word, show) in [
        ("away", Some(Show::Away)),
        ("xa", Some(Show::Xa)),
        ("brb", None),
        ("", None),
    ] {
        assert_eq!(
            stanza(&format!("<presence><show>{word}</show></presence>")).show(),
            show
        );
    }
}

#[test]
fn stanzas_are_written_for_every_target() {
    let read = stanza("<message to='a@b'><body>hi</body></message>");
    let written = |target| {
        let mut out = BytesMut::from("before ");
        read.serialise(target, &mut out);
        String::from_utf8(out.to_vec()).expect("UTF-8")
    };
    for target in [Target::Client, Target::Server, Target::Component] {
        assert_eq!(
            written(target),
            "before <message to=\"a@b\"><body>hi</body></message>"
        );
    }
    for target in [Target::Frame, Target::Embedded] {
        assert_eq!(
            written(target),
            "before <message xmlns=\"jabber:client\" to=\"a@b\"><body>hi</body></message>"
        );
    }
    assert_eq!(stanza(&read.to_xml()), read);
}

#[test]
fn edits_change_what_they_name() {
    let sent = "<message to='a@b' id='1' k='v'> <a xmlns='urn:a'/>x<b xmlns='urn:b'>t</b> <body>hi</body></message>";
    let base = stanza(sent);
    for (edit, expected) in [
        (
            base.edit(),
            "<message to=\"a@b\" id=\"1\" k=\"v\"> <a xmlns='urn:a'/>x<b xmlns='urn:b'>t</b> <body>hi</body></message>",
        ),
        (
            base.edit()
                .from(jid("c@d/e"))
                .remove(|child| child.is("b", "urn:b")),
            "<message from=\"c@d/e\" to=\"a@b\" id=\"1\" k=\"v\"> <a xmlns='urn:a'/>x <body>hi</body></message>",
        ),
        (
            base.edit()
                .to(None)
                .id(None)
                .lang("en".to_owned())
                .type_(MessageType::Chat)
                .remove(|_| true),
            "<message type=\"chat\" xml:lang=\"en\" k=\"v\"> x </message>",
        ),
        (
            base.edit()
                .remove(|child| child.namespace() != "urn:a")
                .append("<c xmlns='urn:c'/>")
                .body("<&>"),
            "<message to=\"a@b\" id=\"1\" k=\"v\"> <a xmlns='urn:a'/>x <c xmlns='urn:c'/><body>&lt;&amp;&gt;</body></message>",
        ),
    ] {
        let edited = edit.finish();
        assert_eq!(wire(&edited), expected);
        assert_consistent(&edited);
    }
    assert_eq!(
        wire(
            &stanza("<message type='foo'/>")
                .edit()
                .type_(MessageType::Normal)
                .finish()
        ),
        "<message/>"
    );
    assert_eq!(
        wire(
            &stanza("<presence><a xmlns='u'/></presence>")
                .edit()
                .remove(|_| true)
                .finish()
        ),
        "<presence/>"
    );
    assert_eq!(
        wire(&base),
        sent.replace('\'', "\"")
            .replace("\"urn:a\"", "'urn:a'")
            .replace("\"urn:b\"", "'urn:b'")
    );
}

//
#[test]
fn answers_go_back_with_the_same_id() {
    let request =
        stanza("<iq type='get' id='7' from='a@b/c' to='d.example'><q xmlns='urn:q'/></iq>");
    let result = Stanza::iq_result(&request, Fragment::from("<q xmlns='urn:q'>42</q>"));
    assert_eq!(
        wire(&result),
        "<iq from=\"d.example\" to=\"a@b/c\" id=\"7\" type=\"result\"><q xmlns='urn:q'>42</q></iq>"
    );
    assert_eq!(
        wire(&Stanza::iq_result(&request, None)),
        "<iq from=\"d.example\" to=\"a@b/c\" id=\"7\" type=\"result\"/>"
    );
    let error = Condition::ServiceUnavailable.into();
    let tail = "type=\"error\"><error type=\"cancel\"><service-unavailable xmlns=\"urn:ietf:params:xml:ns:xmpp-stanzas\"/></error></";
    let reply = request.error_reply(&error).expect("a request is answered");
    assert_eq!(
        wire(&reply),
        format!("<iq from=\"d.example\" to=\"a@b/c\" id=\"7\" {tail}iq>")
    );
    assert_consistent(&reply);
    let bounced =
        stanza("<message type='chat' id='m' from='a@b/c' to='x@y'><body>hi</body></message>")
            .error_reply(&error);
    assert_eq!(
        wire(&bounced.expect("bounced")),
        format!("<message from=\"x@y\" to=\"a@b/c\" id=\"m\" {tail}message>")
    );
    for text in [
        "<message type='error'/>",
        "<presence type='error'/>",
        "<iq type='error' id='1'/>",
        "<iq type='result' id='1'/>",
    ] {
        assert!(stanza(text).error_reply(&error).is_none(), "{text}");
    }
    let wait = Condition::NotAllowed
        .text("later")
        .with_type(ErrorType::Wait);
    let dom = request.error_reply(&wait).expect("answered").dom().clone();
    assert_eq!(
        dom.get_child("error", ns::CLIENT)
            .and_then(|error| error.attr("type")),
        Some("wait")
    );
}

#[test]
fn the_server_makes_its_own_stanzas() {
    let message = Stanza::message(MessageType::Headline)
        .to(jid("a@b"))
        .subject("s")
        .body("1 < 2")
        .finish();
    assert_eq!(
        wire(&message),
        "<message to=\"a@b\" type=\"headline\"><subject>s</subject><body>1 &lt; 2</body></message>"
    );
    let presence = Stanza::presence(PresenceType::Unavailable)
        .from(jid("a@b/c"))
        .status("bye")
        .finish();
    assert_eq!(
        wire(&presence),
        "<presence from=\"a@b/c\" type=\"unavailable\"><status>bye</status></presence>"
    );
    let ask = || {
        Stanza::iq(IqType::Get, "<ping xmlns='urn:xmpp:ping'/>")
            .to(jid("a@b/c"))
            .finish()
    };
    let (one, two) = (ask(), ask());
    assert_ne!(one.id(), two.id());
    assert_eq!(
        (one.payload_ns(), one.iq_type()),
        (Some(ns::PING), IqType::Get)
    );
    for made in [message, presence, one] {
        assert_consistent(&made);
    }
}

#[test]
fn children_become_typed_values_and_text() {
    let read = from_stream(
        CLIENT,
        "<iq type='result' id='1'><query xmlns='jabber:iq:version'><name>N</name>\
        <version>1</version></query></iq>",
    )
    .expect("an IQ");
    let child = read.payload().expect("a payload");
    let version: xmpp::payload::VersionResult = read.parse_child(child).expect("a version");
    assert_eq!(version.name, "N");
    assert!(read.parse_child::<xmpp::payload::Ping>(child).is_err());
    let message = stanza("<message><body>a&amp;<![CDATA[b]]></body><body>c</body></message>");
    assert_eq!(
        message.child_text("body", ns::CLIENT).as_deref(),
        Some("a&b")
    );
    assert_eq!(message.child_text("subject", ns::CLIENT), None);
    assert_eq!(message.dom().children().count(), 2);
}

#[test]
fn debug_shows_no_words_of_people() {
    let shown = format!(
        "{:?}",
        stanza("<message to='a@b'><body>secret</body></message>")
    );
    assert!(
        shown.contains("body") && !shown.contains("secret"),
        "{shown}"
    );
}

/// Children of a stanza: name, namespace, text; prefixed, plain, or naming the content namespace.
fn any_child() -> impl Strategy<Value = String> {
    let text = "[a-z é]{0,6}";
    prop_oneof![
        text.prop_map(|text| format!("<body>{text}</body>")),
        (0..4u8, text)
            .prop_map(|(n, text)| format!("<e{n} xmlns='urn:{n}'><sub>{text}</sub></e{n}>")),
        (0..4u8).prop_map(|n| format!("<e{n} xmlns=\"urn:{n}\" />")),
        text.prop_map(|text| format!("<x:p x:k='v'>{text}<x:q/></x:p>")),
        text.prop_map(|text| format!("<body xmlns='jabber:client'>{text}</body>")),
        "[a-z ]{1,6}",
    ]
}

// What the reader lets in, every parser behind it takes.
#[test]
fn long_values_reach_the_tree_and_the_payload() {
    let long = "x".repeat(xml::MAX_TOKEN);
    let text = format!("<message><ping xmlns='urn:xmpp:ping' x='{long}'/></message>");
    let message = Stanza::parse(&text).expect("a message");
    let child = message.dom().children().next().expect("a child");
    assert_eq!(child.attr("x").map(str::len), Some(xml::MAX_TOKEN));
    let ping = &message.children()[0];
    assert!(message.parse_child::<xmpp::payload::Ping>(ping).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// An edit of the bytes gives the tree that the same edit of the tree gives.
    #[test]
    fn an_edit_then_read_is_as_expected(
        children in prop::collection::vec(any_child(), 0..6),
        extra in prop_oneof![Just(""), Just(" k='v'"), Just(" x:k='v'")],
        gone in prop::collection::hash_set("e[0-3]|body|p", 0..3),
        added in prop::collection::vec((0..4u8, "[a-z<&]{0,4}"), 0..3),
        again in any::<bool>(),
    ) {
        let base = from_stream(CLIENT, &format!("<message to='a@b'{extra}>{}</message>", children.join("")))
            .expect("a message");
        let unwanted = |name: &str| gone.iter().any(|gone| gone == name);
        let fragments = added.iter().map(|(n, text)| Fragment::element(&format!("n{n}"), "urn:n", &[("k", text)], text));
        let mut edit: Edit = base.edit().from(jid("c@d/e")).remove(|child| unwanted(child.name()));
        for fragment in fragments.clone() {
            edit = edit.append(fragment);
        }
        let mut edited = edit.finish();
        if again {
            edited = edited.edit().finish();
        }

        let from = rxml::NcName::try_from("from").expect("an XML name");
        let mut expected = base.dom().clone();
        expected.set_attr(rxml::Namespace::NONE, from, "c@d/e");
        let nodes = expected.take_nodes();
        for node in nodes {
            match node {
                Node::Text(text) => expected.append_text(text),
                Node::Element(element) if unwanted(element.name()) => {}
                kept => expected.append_node(kept),
            }
        }
        for fragment in fragments {
            let element: minidom::Element = fragment.as_str().parse().expect("it stands alone");
            expected.append_child(element);
        }
        prop_assert_eq!(edited.dom(), &expected);
        assert_consistent(&edited);
    }
}
