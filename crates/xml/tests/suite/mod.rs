//! Bytes in, frames out: what the reader accepts, what it refuses, and where it stops.

use bytes::BytesMut;
use proptest::prelude::*;
use xml::{Error, Frame, Known, Limits, NS_XML, Reader};

use super::Subject;

const HEAD: &str = "<stream:stream xmlns='jabber:client' xmlns:stream='urn:s' xml:lang='de' \
                    to='a.example' version='1.0'>";

fn reader() -> Subject {
    Subject::new(Limits::default())
}

/// Tells the story of `text`, fed in the given pieces.
fn story(reader: &mut Subject, pieces: &[&[u8]]) -> Vec<String> {
    let (mut input, mut told) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match reader.feed(&mut input) {
                Ok(Some(Frame::Open(tag))) => told.push(format!("open {}", tag.name())),
                Ok(Some(Frame::Element(element))) => {
                    told.push(String::from_utf8_lossy(element.bytes()).into_owned());
                }
                Ok(Some(Frame::Close)) => told.push("close".into()),
                Ok(None) => break,
                Err(error) => {
                    told.push(format!("error: {error}"));
                    return told;
                }
            }
        }
    }
    told
}

fn read(text: &str) -> Vec<String> {
    story(&mut reader(), &[text.as_bytes()])
}

/// The error that `text` inside an open stream ends with.
fn error_in_stream(text: &[u8]) -> Error {
    let mut reader = reader();
    let mut input = BytesMut::from(HEAD.as_bytes());
    input.extend_from_slice(text);
    loop {
        match reader.feed(&mut input) {
            Ok(Some(_)) => {}
            Ok(None) => panic!("{:?} is accepted", String::from_utf8_lossy(text)),
            Err(error) => {
                assert_eq!(
                    reader.feed(&mut input).unwrap_err(),
                    error,
                    "an error stays"
                );
                assert_eq!(reader.end(), Err(error.clone()));
                return error;
            }
        }
    }
}

fn element(stream: &str, text: &str) -> xml::Element {
    let mut input = BytesMut::from(format!("{stream}{text}").as_bytes());
    let mut reader = reader();
    assert!(matches!(reader.feed(&mut input), Ok(Some(Frame::Open(_)))));
    match reader.feed(&mut input) {
        Ok(Some(Frame::Element(element))) => element,
        other => panic!("{text}: {other:?}"),
    }
}

//
#[test]
fn a_stream_is_its_head_its_elements_and_its_end() {
    let text = format!(
        "<?xml version='1.0'?>\n{HEAD} \n<a/> <b x='&lt;'>t</b>\t<c><d/></c>\n</stream:stream>"
    );
    let expected = [
        "open stream",
        "<a/>",
        "<b x='&lt;'>t</b>",
        "<c><d/></c>",
        "close",
    ];
    assert_eq!(read(&text), expected);
    let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
    assert_eq!(story(&mut reader(), &bytes), expected, "one byte at a time");
}

#[test]
fn a_hundred_elements_come_out_of_one_segment() {
    let many = "<message to='x'><body>hi</body></message>".repeat(100);
    assert_eq!(read(&format!("{HEAD}{many}")).len(), 101);
}

#[test]
fn an_empty_root_opens_and_closes() {
    assert_eq!(read("<stream/>"), ["open stream", "close"]);
}

#[test]
fn the_head_is_told_whole() {
    let mut input = BytesMut::from(HEAD.as_bytes());
    let Ok(Some(Frame::Open(tag))) = reader().feed(&mut input) else {
        panic!("a head")
    };
    assert_eq!(
        (tag.name(), tag.namespace(), tag.prefix()),
        ("stream", "urn:s", Some("stream"))
    );
    assert_eq!((tag.content(), tag.lang()), ("jabber:client", Some("de")));
    assert_eq!(
        (tag.attr("to"), tag.attr("from")),
        (Some("a.example"), None)
    );
    assert_eq!(tag.declarations().len(), 2);
}

// what stands behind a frame is untouched.
#[test]
fn input_starts_behind_the_frame() {
    let mut reader = reader();
    let mut input = BytesMut::from(format!("{HEAD}<auth>x</auth>\n{HEAD}<a/>").as_bytes());
    for rest in [
        format!("<auth>x</auth>\n{HEAD}<a/>"),
        format!("\n{HEAD}<a/>"),
    ] {
        assert!(matches!(reader.feed(&mut input), Ok(Some(_))));
        assert_eq!(input, rest.as_bytes());
    }
    reader.reset();
    assert!(matches!(reader.feed(&mut input), Ok(Some(Frame::Open(_)))));
    assert_eq!(input, b"<a/>"[..]);
}

#[test]
fn nothing_is_taken_after_the_end() {
    let mut reader = reader();
    let mut input = BytesMut::from("<s></s><t>".as_bytes());
    assert!(matches!(reader.feed(&mut input), Ok(Some(Frame::Open(_)))));
    assert_eq!(reader.end(), Err(Error::Truncated));
    assert!(matches!(reader.feed(&mut input), Ok(Some(Frame::Close))));
    assert!(matches!(reader.feed(&mut input), Ok(None)));
    assert_eq!((reader.end(), &input[..]), (Ok(()), &b"<t>"[..]));
}

//
#[test]
fn what_streams_may_not_use_is_restricted() {
    for text in [
        "<!-- x -->",
        "<a><!-- x --></a>",
        "<?pi x?>",
        "<a><?pi x?></a>",
        "<!DOCTYPE a>",
        "<a><!DOCTYPE a></a>",
        "<!ELEMENT a>",
        "<?xml version='1.0'?>",
        "<a>&foo;</a>",
        "<a x='&foo;'/>",
        "&foo;",
        "<a>&averyveryverylongname;</a>",
    ] {
        let error = error_in_stream(text.as_bytes());
        assert!(matches!(error, Error::Restricted(_)), "{text}: {error:?}");
    }
    for text in [
        "<!DOCTYPE s [<!ENTITY a 'b'>]><s>",
        "<!-- x --><s>",
        "<?xml version='1.0'?><?pi?><s>",
        "<?xml version='1.1'?><s>",
        "<?xml version='1.0'?><?xml version='1.0'?><s>",
    ] {
        assert!(
            read(text)[0].starts_with("error: restricted"),
            "{text}: {:?}",
            read(text)
        );
    }
}

//
#[test]
fn another_encoding_is_told_apart() {
    let told = read("<?xml version='1.0' encoding='ISO-8859-1'?><s>");
    assert_eq!(told, [format!("error: {}", Error::Encoding)]);
    assert_eq!(
        read("<?xml version='1.0' encoding='utf-8'?><s>"),
        ["open s"]
    );
}

//
#[test]
fn what_is_not_well_formed_is_refused() {
    let texts: &[&[u8]] = &[
        b"<a></b>",
        b"</a>",
        b"<a",
        b"<a x='1' x='2'/>",
        b"<a x=1/>",
        b"<a x/>",
        b"<a x='<'/>",
        b"< a/>",
        b"<p:a/>",
        b"<a p:x='1'/>",
        b"<a xmlns:p='u' xmlns:q='u' p:x='1' q:x='2'/>",
        b"<a:b:c/>",
        b"<a xmlns:p='u' xmlns:p='v'/>",
        b"<a xmlns='u' xmlns='v'/>",
        b"<a xmlns:xml='urn:x'/>",
        b"<a xmlns:p='http://www.w3.org/XML/1998/namespace'/>",
        b"<a xmlns:p=''/>",
        b"<a xmlns:xmlns='u'/>",
        b"<a xmlns:p='http://www.w3.org/2000/xmlns/'/>",
        b"<xmlns:a/>",
        b"<a>&#0;</a>",
        b"<a>&#xFFFE;</a>",
        b"<a>&#xD800;</a>",
        b"<a>&#1;</a>",
        b"<a>\x01</a>",
        b"<a>\xff</a>",
        b"<a>\xc3</a>",
        b"<a>\xed\xa0\x80</a>",
        b"<a x='\xc0\x80'/>",
        b"<a>]]></a>",
        b"<a x='1'y='2'/>",
    ];
    for text in texts {
        // An unfinished tag becomes wrong with the next one.
        let error = error_in_stream(&[text, &b"<"[..]].concat());
        assert!(
            matches!(error, Error::NotWellFormed(_)),
            "{:?}: {error:?}",
            String::from_utf8_lossy(text)
        );
    }
    for text in ["\u{feff}<s>", "x<s>", "<p:s>", "</s>"] {
        assert!(
            read(text)[0].starts_with("error: not well-formed"),
            "{text}"
        );
    }
}

//
#[test]
fn text_between_elements_is_noticed_at_once() {
    for text in [
        "hello",
        "<a/>x",
        " x",
        "<![CDATA[x]]><a/>",
        "&#65;<a/>",
        "\u{e9}",
    ] {
        assert_eq!(
            error_in_stream(text.as_bytes()),
            Error::TextOutside,
            "{text}"
        );
    }
    assert_eq!(
        read(&format!("{HEAD}&#32;<![CDATA[]]><a/>")),
        ["open stream", "<a/>"]
    );
}

//
#[test]
fn references_and_cdata_are_text() {
    let read = element(
        HEAD,
        "<a x='&amp;&#65;&#x42;\n'>&lt;&quot;<![CDATA[<&>]]><b>no</b>&apos;&gt;</a>",
    );
    assert_eq!(read.attr("x"), Some("&AB "));
    assert_eq!(read.text(), "<\"<&>'>");
    assert_eq!(read.child_text(&read.children()[0]), "no");
}

#[test]
fn children_are_found_where_they_stand() {
    let text = "<iq type='set' xml:lang='en'> <query xmlns='urn:q'><item/>t</query  ><x:e xmlns:x='urn:x' x:k='v'/>\
                <body><![CDATA[</body>]]></body></iq >";
    let read = element(HEAD, text);
    assert_eq!(read.bytes(), text);
    assert_eq!((read.name(), read.namespace()), ("iq", "jabber:client"));
    assert_eq!((read.lang(), read.stream_lang()), (Some("en"), Some("de")));
    assert_eq!(read.attr_ns(NS_XML, "lang"), Some("en"));
    let children: Vec<_> = read
        .children()
        .iter()
        .map(|child| (child.name(), child.namespace()))
        .collect();
    assert_eq!(
        children,
        [
            ("query", "urn:q"),
            ("e", "urn:x"),
            ("body", "jabber:client")
        ]
    );
    let bytes: Vec<_> = read
        .children()
        .iter()
        .map(|child| read.child_bytes(child))
        .collect();
    assert_eq!(bytes[0], b"<query xmlns='urn:q'><item/>t</query  >");
    assert_eq!(bytes[1], b"<x:e xmlns:x='urn:x' x:k='v'/>");
    assert_eq!(bytes[2], b"<body><![CDATA[</body>]]></body>");
    assert!(read.portable());
    assert!(
        text[read.content()].starts_with(" <query") && text[read.content()].ends_with("</body>")
    );
    assert!(element(HEAD, "<a/>").content().is_empty());
    assert!(element(HEAD, "<a></a>").content().is_empty());
}

//
#[test]
fn what_leans_on_the_stream_is_known_and_can_stand_alone() {
    let root = "<s xmlns='jabber:client' xmlns:x='urn:x' xmlns:y='urn:y'>";
    for (text, portable, alone) in [
        ("<m><b/></m>", true, "<m xmlns=\"jabber:client\"><b/></m>"),
        (
            "<m xmlns='jabber:client'><b/></m>",
            true,
            "<m xmlns=\"jabber:client\"><b/></m>",
        ),
        (
            "<m><x:b/></m>",
            false,
            "<m xmlns=\"jabber:client\"><b xmlns=\"urn:x\"/></m>",
        ),
        (
            "<m xmlns:z='urn:z'><z:b><z:c/></z:b></m>",
            false,
            "<m xmlns=\"jabber:client\"><b xmlns=\"urn:z\"><c/></b></m>",
        ),
        (
            "<m><b x:k='1' l='2'/></m>",
            false,
            "<m xmlns=\"jabber:client\"><b l=\"2\" xmlns:a1=\"urn:x\" a1:k=\"1\"/></m>",
        ),
        (
            "<m x:k='1'/>",
            true,
            "<m xmlns=\"jabber:client\" xmlns:a0=\"urn:x\" a0:k=\"1\"/>",
        ),
        (
            "<m><b xmlns='jabber:client'/></m>",
            false,
            "<m xmlns=\"jabber:client\"><b/></m>",
        ),
        (
            "<m><f xmlns='urn:f'><m xmlns='jabber:client'><b>&amp;</b></m></f></m>",
            true,
            "<m xmlns=\"jabber:client\"><f xmlns=\"urn:f\"><m xmlns=\"jabber:client\"><b>&amp;</b></m></f></m>",
        ),
        (
            "<x:m><b/></x:m>",
            false,
            "<m xmlns=\"urn:x\"><b xmlns=\"jabber:client\"/></m>",
        ),
        (
            "<m><b xmlns=''/></m>",
            true,
            "<m xmlns=\"jabber:client\"><b xmlns=\"\"/></m>",
        ),
        (
            "<m><b xml:space='preserve'/></m>",
            true,
            "<m xmlns=\"jabber:client\"><b xml:space=\"preserve\"/></m>",
        ),
    ] {
        let read = element(root, text);
        assert_eq!(read.portable(), portable, "{text}");
        let rewritten = read.stand_alone(10_000).expect("it is short");
        assert_eq!(rewritten.bytes(), alone, "{text}");
        assert!(rewritten.portable(), "{alone}");
        assert_eq!(rewritten.namespace(), read.namespace());
    }
}

// A short prefix for a long name must not become a way to fill our memory.
#[test]
fn standing_alone_has_a_bound() {
    let root = format!("<s xmlns='c' xmlns:x='{}'>", "u".repeat(5000));
    let read = element(&root, &format!("<m>{}</m>", "<x:b/>".repeat(1000)));
    assert_eq!(
        read.stand_alone(100_000).err(),
        Some(Error::TooBig { limit: 100_000 })
    );
}

const SMALL: Limits = Limits {
    bytes: 200,
    depth: 3,
    attributes: 3,
    children: 4,
};

fn limited(text: &str) -> Vec<String> {
    let mut reader = Subject::new(SMALL);
    story(&mut reader, &[b"<s>", text.as_bytes()])
}

//
#[test]
fn limits_hold_exactly() {
    let sized = |length: usize| format!("<a>{}</a>", "x".repeat(length - 7));
    let error = |error: Error| format!("error: {error}");
    for (allowed, refused, why) in [
        (sized(200), sized(201), Error::TooBig { limit: 200 }),
        (
            "<a><b><c/></b></a>".into(),
            "<a><b><c><d/></c></b></a>".into(),
            Error::TooDeep { limit: 3 },
        ),
        (
            "<a x='' y='' z=''/>".into(),
            "<a x='' y='' z='' xmlns:q='q'/>".into(),
            Error::TooManyAttributes { limit: 3 },
        ),
        (
            "<a><b/><b/><b/><b/></a>".into(),
            "<a><b/><b/><b/><b/><b/></a>".into(),
            Error::TooManyChildren { limit: 4 },
        ),
    ] {
        assert_eq!(limited(&allowed), ["open s", allowed.as_str()]);
        assert_eq!(limited(&refused), ["open s".to_owned(), error(why)]);
    }
    assert_eq!(
        limited(&format!("<{}", "x".repeat(300))).last(),
        Some(&error(Error::TooBig { limit: 200 }))
    );
    let head = format!("<s x='{}'>", "y".repeat(300));
    assert_eq!(
        story(&mut Subject::new(SMALL), &[head.as_bytes()]),
        [error(Error::TooBig { limit: 200 })]
    );
}

// an endless element is stopped at the limit, however it comes.
#[test]
fn endless_elements_are_stopped_in_constant_memory() {
    for (opening, more) in [
        ("<a>", "text"),
        ("<a>", "<b>"),
        ("<a>", "<b/>"),
        ("<a ", "x='' "),
        ("<a x='", "yyy"),
        ("<a", "a"),
    ] {
        let limits = Limits {
            bytes: 50_000,
            ..Limits::default()
        };
        let mut reader = Subject::new(limits);
        let mut input = BytesMut::from(format!("<s>{opening}").as_bytes());
        let mut fed = 0;
        while reader.feed(&mut input).is_ok() {
            input.extend_from_slice(more.as_bytes());
            fed += more.len();
            assert!(fed <= limits.bytes, "{opening}{more}");
        }
    }
}

//
#[test]
fn limits_may_change_in_mid_stream() {
    let big = format!("<a>{}</a>", "x".repeat(9_990));
    let mut reader = Subject::new(Limits::BEFORE_LOGIN);
    assert_eq!(
        story(&mut reader, &[b"<s>", big.as_bytes()]),
        ["open s", &big]
    );
    reader.set_limits(SMALL);
    assert_eq!(story(&mut reader, &[big.as_bytes()]).len(), 1);
    reader.reset();
    reader.set_limits(Limits::default());
    assert_eq!(
        story(&mut reader, &[b"<s>", big.as_bytes()]),
        ["open s", &big]
    );
}

#[test]
fn long_tokens_are_refused_and_long_text_is_not() {
    let text = format!("<a>{}</a>", "é".repeat(20_000));
    assert_eq!(read(&format!("{HEAD}{text}")), ["open stream", &text]);
    let attribute = format!("<a x='{}'/>", "x".repeat(20_000));
    assert_eq!(
        error_in_stream(attribute.as_bytes()),
        Error::TokenTooLong {
            limit: xml::MAX_TOKEN
        }
    );
}

#[test]
fn an_element_alone_is_read_with_its_inherited_namespace() {
    let read = |text: &str| {
        xml::parse_element(
            text.as_bytes(),
            "urn:c",
            const { &Known::new(&["urn:c"]) },
            Limits::default(),
        )
    };
    let element = read(" <m><b/></m>\n").expect("one element");
    assert_eq!(
        (element.namespace(), element.bytes().as_ref()),
        ("urn:c", &b"<m><b/></m>"[..])
    );
    assert_eq!(read("<m>").err(), Some(Error::Truncated));
    assert_eq!(read("").err(), Some(Error::Truncated));
    assert!(matches!(read("<m/><n/>"), Err(Error::NotWellFormed(_))));
    assert!(matches!(read("</r>"), Err(Error::NotWellFormed(_))));
}

/// Any element, with text, attributes, prefixes, CDATA.
fn any_element() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        "[a-zé🤖 ]{0,9}",
        Just("&lt;&amp;&#65;".to_owned()),
        Just("<![CDATA[<x>&]]>".to_owned()),
        Just("\r\n\t".to_owned()),
    ];
    let attrs = prop_oneof![
        Just(String::new()),
        "[ -%'(-;=?-~]{0,9}"
            .prop_map(|value| format!(" k=\"{}\"", value.replace('&', "&amp;").replace('"', ""))),
        Just(" xmlns='urn:other'".to_owned()),
        Just(" xmlns:p='urn:p' p:k='v'".to_owned()),
        Just(" stream:k='v'".to_owned()),
    ];
    let name = prop_oneof![Just("a"), Just("message"), Just("stream:b"), Just("é")];
    let leaf = (name.clone(), attrs.clone(), text.clone())
        .prop_map(|(name, attrs, text)| format!("<{name}{attrs}>{text}</{name} >"));
    let empty =
        (name.clone(), attrs.clone()).prop_map(|(name, attrs)| format!("<{name}{attrs} />"));
    prop_oneof![leaf, empty].prop_recursive(4, 24, 4, move |inner| {
        (
            name.clone(),
            attrs.clone(),
            text.clone(),
            prop::collection::vec(inner, 0..4),
        )
            .prop_map(|(name, attrs, text, inner)| {
                format!("<{name}{attrs}>{text}{}</{name}>", inner.join(&text))
            })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_gives_the_same_frames(
        elements in prop::collection::vec(any_element(), 0..5),
        space in "[ \n]{0,3}",
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let stream = format!("{HEAD}{space}{}{space}</stream:stream>", elements.join(&space));
        let mut expected = vec!["open stream".to_owned()];
        expected.extend(elements);
        expected.push("close".into());
        prop_assert_eq!(&read(&stream), &expected);
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
        at.extend([0, stream.len()]);
        at.sort_unstable();
        let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &stream.as_bytes()[pair[0]..pair[1]]).collect();
        prop_assert_eq!(&story(&mut reader(), &pieces), &expected);
    }

    #[test]
    fn garbage_never_panics_and_splits_alike(
        garbage in "(<|>|/|a|b|'|\"|=| |&|;|x|\\[|\\]|!|-|\\?|xmlns|:|\u{e9}|#|CDATA){0,40}",
        at in any::<prop::sample::Index>(),
    ) {
        let bytes = [HEAD.as_bytes(), garbage.as_bytes()].concat();
        let whole = story(&mut reader(), &[&bytes]);
        let (left, right) = bytes.split_at(at.index(bytes.len()));
        prop_assert_eq!(&story(&mut reader(), &[left, right]), &whole);
    }

    #[test]
    fn standing_alone_changes_no_meaning(text in any_element()) {
        let read = element(HEAD, &text);
        let once = read.stand_alone(100_000).expect("it is short");
        prop_assert!(once.portable());
        let twice = once.stand_alone(100_000).expect("it is short");
        prop_assert_eq!(once.bytes(), twice.bytes());
        prop_assert_eq!(read.children().len(), once.children().len());
        for (before, after) in read.children().iter().zip(once.children()) {
            prop_assert_eq!((before.name(), before.namespace()), (after.name(), after.namespace()));
            prop_assert_eq!(read.child_text(before), once.child_text(after));
        }
        prop_assert_eq!(read.text(), once.text());
    }
}
