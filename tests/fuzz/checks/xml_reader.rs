//! Any bytes, cut anywhere: the reader never panics, gives the same frames however the bytes are
//! cut, and an element made to stand alone means what it meant.

use bytes::BytesMut;
use xml::{Frame, Limits, Reader, Scanner};

const LIMITS: Limits = Limits {
    bytes: 4096,
    depth: 8,
    attributes: 8,
    children: 32,
};

/// Frames as text, and the error at the end if there is one.
fn story(pieces: &[&[u8]]) -> Vec<String> {
    let mut reader = Scanner::new(LIMITS);
    let (mut input, mut told) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match reader.feed(&mut input) {
                Ok(Some(Frame::Open(tag))) => told.push(format!(
                    "open {} {:?}",
                    tag.name(),
                    tag.attrs().collect::<Vec<_>>()
                )),
                Ok(Some(Frame::Element(element))) => {
                    examine(&element);
                    told.push(String::from_utf8_lossy(element.bytes()).into_owned());
                }
                Ok(Some(Frame::Close)) => told.push("close".into()),
                Ok(None) => break,
                Err(error) => {
                    told.push(error.to_string());
                    return told;
                }
            }
        }
    }
    told
}

fn examine(element: &xml::Element) {
    assert!(element.bytes().starts_with(b"<") && element.bytes().ends_with(b">"));
    for child in element.children() {
        let bytes = element.child_bytes(child);
        assert!(bytes.starts_with(b"<") && bytes.ends_with(b">"));
    }
    let Ok(alone) = element.stand_alone(64 * 1024) else {
        return;
    };
    assert!(alone.portable());
    assert_eq!(
        (alone.name(), alone.namespace()),
        (element.name(), element.namespace())
    );
    assert_eq!(alone.children().len(), element.children().len());
    for (before, after) in element.children().iter().zip(alone.children()) {
        assert_eq!(
            (before.name(), before.namespace()),
            (after.name(), after.namespace())
        );
    }
}

/// Checks one input.
pub fn check(data: &[u8]) {
    let Some((&first, bytes)) = data.split_first() else {
        return;
    };
    let cut = usize::from(first) * bytes.len() / 256;
    let head = b"<s:s xmlns='c' xmlns:s='s' xmlns:x='x'>";
    let whole = [&head[..], bytes].concat();
    let expected = story(&[&whole]);
    assert_eq!(story(&[head, &bytes[..cut], &bytes[cut..]]), expected);
    let singly: Vec<&[u8]> = whole.chunks(1).collect();
    assert_eq!(story(&singly), expected);
    story(&[bytes]);
}
