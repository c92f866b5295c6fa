//! The scanner beside the reader over `rxml`: every rule by a document, and documents made up.

use proptest::prelude::*;
use proptest::sample::Index;

#[path = "../../../tests/fuzz/checks/xml_scanner.rs"]
mod xml_scanner;

/// Checks `text` inside a stream and alone, under both limits.
fn check(text: &[u8]) {
    for mode in 0..4 {
        xml_scanner::check(&[&[mode, 5], text].concat());
    }
}

#[test]
fn every_rule_is_kept_alike() {
    for text in include!("differential/documents.in") {
        check(text);
        check(&[b"<a>", text, b"</a>"].concat());
        check(&[b"<a x='", text, b"'/>"].concat());
    }
}

/// Pieces that mean something, alone or beside one another.
const PIECES: &[&str] = &[
    "<",
    ">",
    "/",
    "=",
    "'",
    "\"",
    "&",
    ";",
    "#",
    ":",
    "!",
    "?",
    "-",
    "]",
    "[",
    " ",
    "\t",
    "\r\n",
    "\r",
    "\n",
    "x",
    "a",
    "é",
    "\u{b7}",
    "\u{fffd}",
    "\u{ffff}",
    "\u{1}",
    "\u{7f}",
    "🤖",
    "<a>",
    "</a>",
    "<b/>",
    "<x:a>",
    "</x:a>",
    "<y:a/>",
    " a='b'",
    " x:a=\"b\"",
    " xmlns='c'",
    " xmlns='urn:known'",
    " xmlns=''",
    " xmlns:y='urn:y'",
    " xmlns:x='x'",
    " xml:lang='de'",
    " xmlns:xml='http://www.w3.org/XML/1998/namespace'",
    " xmlns:xmlns='http://www.w3.org/2000/xmlns/'",
    "xmlns",
    "&lt;",
    "&#65;",
    "&#x41;",
    "&#xD800;",
    "&#32;",
    "&foo;",
    "<![CDATA[",
    "]]>",
    "]]",
    "<!--",
    "-->",
    "<!DOCTYPE",
    "<?xml version='1.0'?>",
    "<?xml version=\"1.0\" encoding='UTF-8'?>",
    "<?pi ?>",
    "</s:s>",
    "<s:s xmlns:s='s'>",
    "<s>",
    "</s>",
    "text",
];

fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(PIECES)
}

/// A well-formed element.
fn element() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        "[a-zé🤖\\] >]{0,6}",
        Just("&amp;&#xe9;\r\n".to_owned()),
        Just("<![CDATA[]<&]]>".to_owned()),
    ];
    let attrs = prop::collection::vec(
        prop::sample::select(&[
            " k='1'",
            " l = \"&quot;\t'\"",
            " x:k='2'",
            " xml:space='default'",
            " xmlns='urn:known'",
            " xmlns:y='y'",
            " xmlns:x='x'",
            " é='é'",
            " xmlns='c'",
        ]),
        0..3,
    )
    .prop_map(|attrs| attrs.concat());
    let name = prop::sample::select(&["a", "b-1", "x:c", "é"]);
    let leaf = (name.clone(), attrs.clone()).prop_map(|(name, attrs)| format!("<{name}{attrs}/>"));
    leaf.prop_recursive(4, 12, 3, move |inner| {
        let content = prop::collection::vec(prop_oneof![inner, text.clone()], 0..4);
        (name.clone(), attrs.clone(), content).prop_map(|(name, attrs, content)| {
            format!("<{name}{attrs}>{}</{name} >", content.concat())
        })
    })
}

#[derive(Debug, Clone)]
enum Change {
    Insert(Index, &'static str),
    Remove(Index, usize),
    Byte(Index, u8),
    Swap(Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<Index>(), piece()).prop_map(|(at, piece)| Change::Insert(at, piece)),
        (any::<Index>(), 1..4usize).prop_map(|(at, count)| Change::Remove(at, count)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        (any::<Index>(), any::<Index>()).prop_map(|(one, other)| Change::Swap(one, other)),
    ]
}

fn change_all(text: String, changes: Vec<Change>) -> Vec<u8> {
    let mut bytes = text.into_bytes();
    for change in changes {
        let length = bytes.len().max(1);
        match change {
            Change::Insert(at, piece) => {
                let at = at.index(bytes.len() + 1);
                bytes.splice(at..at, piece.bytes());
            }
            Change::Remove(at, count) => {
                let at = at.index(length);
                let end = (at + count).min(bytes.len());
                bytes.drain(at.min(end)..end);
            }
            Change::Byte(at, byte) if !bytes.is_empty() => bytes[at.index(length)] = byte,
            Change::Swap(one, other) if !bytes.is_empty() => {
                bytes.swap(one.index(length), other.index(length));
            }
            _ => {}
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn valid_streams_and_spoilt_ones_are_read_alike(
        elements in prop::collection::vec(element(), 0..4),
        changes in prop::collection::vec(change(), 0..4),
        mode in 0..2u8,
        cuts in any::<u8>(),
    ) {
        let bytes = change_all(elements.join(" "), changes);
        xml_scanner::check(&[&[mode, cuts], &bytes[..]].concat());
    }

    #[test]
    fn heaps_of_pieces_are_read_alike(
        pieces in prop::collection::vec(piece(), 0..24),
        mode in 0..4u8,
        cuts in any::<u8>(),
    ) {
        xml_scanner::check(&[&[mode, cuts], pieces.concat().as_bytes()].concat());
    }
}
