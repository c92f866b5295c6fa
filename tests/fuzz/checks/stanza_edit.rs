//! Any stanza, edited: the index says what a fresh reading of the bytes says, and the edit of the
//! bytes is the edit of the tree.

use bytes::BytesMut;
use xml::{Child, Frame, Limits, Reader, Scanner};
use xmpp::{Stanza, StanzaFault, Target, ns};

const HEAD: &[u8] = b"<s:s xmlns='jabber:client' xmlns:s='http://etherx.jabber.org/streams' \
                      xmlns:x='urn:x' xml:lang='de'>";

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

fn examine(stanza: &Stanza) {
    let text = std::str::from_utf8(stanza.bytes()).expect("stanzas are UTF-8");
    let again = Stanza::parse(text).expect("canonical bytes are a stanza");
    assert_eq!(again.bytes(), stanza.bytes());
    assert_eq!(indexed(&again), indexed(stanza));
    assert_eq!(stanza.len(), stanza.bytes().len());
    assert_eq!(again.dom(), stanza.dom());
    let mut framed = BytesMut::new();
    stanza.serialise(Target::Frame, &mut framed);
    let framed = std::str::from_utf8(&framed).expect("stanzas are UTF-8");
    assert_eq!(
        &Stanza::parse(framed).expect("a framed stanza is one"),
        stanza
    );
}

/// Checks one input.
pub fn check(data: &[u8]) {
    let Some((&mask, bytes)) = data.split_first() else {
        return;
    };
    let mut reader = Scanner::new(Limits {
        bytes: 8192,
        depth: 16,
        attributes: 16,
        children: 64,
    })
    .known(ns::KNOWN);
    let mut input = BytesMut::from(&[HEAD, bytes].concat()[..]);
    while let Ok(Some(frame)) = reader.feed(&mut input) {
        let Frame::Element(element) = frame else {
            continue;
        };
        let stanza = match Stanza::from_element(&element) {
            Ok(stanza) => stanza,
            Err(StanzaFault::Answer(faulty)) => {
                // Who sends an IQ without an id, or an empty one, gets an answer alike, which is no stanza to read.
                let reply = faulty.reply();
                let has_id = |r: &Stanza| r.id().is_some_and(|id| !id.is_empty());
                let reads = |r: &&Stanza| r.kind() != xmpp::Kind::Iq || has_id(r);
                reply.iter().filter(reads).for_each(examine);
                continue;
            }
            Err(_) => continue,
        };
        examine(&stanza);
        let mut number = 0;
        let edited = stanza
            .edit()
            .remove(|_| {
                number += 1;
                mask >> ((number - 1) % 8) & 1 == 1
            })
            .append("<added xmlns='urn:added'/>")
            .finish();
        // An IQ may have lost the one child that it needs, so look at messages and presences.
        if edited.kind() != xmpp::Kind::Iq {
            examine(&edited);
        }
        let kept = |n: usize| mask >> (n % 8) & 1 == 0;
        let expected: Vec<&minidom::Element> = stanza
            .dom()
            .children()
            .enumerate()
            .filter(|(n, _)| kept(*n))
            .map(|(_, child)| child)
            .collect();
        let found: Vec<&minidom::Element> = edited.dom().children().collect();
        assert_eq!(&found[..found.len() - 1], &expected[..]);
    }
}
