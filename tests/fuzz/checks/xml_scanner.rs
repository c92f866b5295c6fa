//! The scanner says what the reader over `rxml` says, of any bytes, cut anywhere.
//!
//! Both are fed byte by byte, so that it is known where each gives a frame or an error. They may
//! differ in this alone:
//!
//! - The scanner may refuse earlier. Then whatever follows must make the other refuse as well, and
//!   some continuation for the same reason.
//! - A byte that is wrong and one too many is one of the two.
//! - A byte that is no UTF-8 is `NotWellFormed` for the scanner, whatever it would have begun; and
//!   a character is looked at when it is whole.
//! - What docs/decisions/0009 lists: a bare carriage return in a value, one behind a bracket in
//!   CDATA, `standalone` without `encoding`, CDATA before the root.

use bytes::BytesMut;
use xml::{Error, Frame, Known, Limits, Reader, RxmlReader, Scanner};

const HEAD: &[u8] = b"<s:s xmlns='c' xmlns:s='s' xmlns:x='x' xml:lang='en'>";

const LIMITS: [Limits; 2] = [
    Limits {
        bytes: 4096,
        depth: 8,
        attributes: 8,
        children: 32,
    },
    Limits {
        bytes: 60,
        depth: 2,
        attributes: 2,
        children: 2,
    },
];

static KNOWN: &Known = &Known::new(&["c", "urn:known", "x"]);

/// What a reader made of some bytes: each frame and where it ended, and the error and where.
#[derive(Debug, PartialEq)]
struct Story {
    frames: Vec<(usize, String)>,
    error: Option<(usize, Error)>,
}

fn story(mut reader: impl Reader, pieces: &[&[u8]]) -> Story {
    let (mut input, mut fed) = (BytesMut::new(), 0);
    let mut frames = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        fed += piece.len();
        loop {
            match reader.feed(&mut input) {
                Ok(Some(frame)) => frames.push((fed - input.len(), facts(&frame))),
                Ok(None) => break,
                Err(error) => {
                    let error = Some((fed, error));
                    return Story { frames, error };
                }
            }
        }
    }
    Story {
        frames,
        error: None,
    }
}

/// All that can be asked of a frame.
fn facts(frame: &Frame) -> String {
    match frame {
        Frame::Open(tag) => format!(
            "open {:?} {} in {:?} {:?} {:?} {:?}",
            tag.prefix(),
            tag.name(),
            tag.namespace(),
            tag.attrs().collect::<Vec<_>>(),
            tag.declarations(),
            tag.lang()
        ),
        Frame::Element(element) => format!(
            "{} in {:?} {:?} {:?} {:?} {:?} {:?} {:?} {} {}",
            element.name(),
            element.namespace(),
            element.attrs().collect::<Vec<_>>(),
            element.children(),
            element.text(),
            element.content(),
            element.lang(),
            element.stream_lang(),
            element.portable(),
            String::from_utf8_lossy(element.bytes())
        ),
        Frame::Close => "close".to_owned(),
    }
}

fn singly(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.chunks(1).collect()
}

fn scanned(bytes: &[u8], limits: Limits) -> Story {
    story(Scanner::new(limits).known(KNOWN), &singly(bytes))
}

fn referred(bytes: &[u8], limits: Limits) -> Story {
    story(RxmlReader::new(limits).known(KNOWN), &singly(bytes))
}

/// Errors of one kind are answered alike; their words may differ.
fn alike(one: &Error, other: &Error) -> bool {
    match (one, other) {
        (Error::NotWellFormed(_), Error::NotWellFormed(_))
        | (Error::Restricted(_), Error::Restricted(_)) => true,
        _ => one == other,
    }
}

/// Whether the bytes end in a byte that no UTF-8 has there.
fn ends_wrongly(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_some())
}

/// Whether the bytes end inside a character.
fn ends_inside(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

/// Whether text is out of place and may be forbidden besides: a bracket inside CDATA is known to be
/// text only with the character behind it.
fn twice_wrong(bytes: &[u8], error: &Error) -> bool {
    let last = bytes.iter().rposition(|byte| byte & 0xC0 != 0x80);
    *error == Error::TextOutside && bytes[..last.unwrap_or(0)].ends_with(b"]")
}

/// What may follow some bytes and be the end of what they began.
const CONTINUATIONS: &[&[u8]] = &[
    b"",
    b"<",
    b">",
    b"/>",
    b";",
    b";<",
    b";'>",
    b";\">",
    b"'>",
    b"\">",
    b"x>",
    b"x='y'>",
    b"='y'>",
    b" x='y'>",
    b"'?>",
    b"\"?>",
    b"]]><",
    b"\x80<",
    b"\x80\x80<",
    b"x><",
    b"x='",
    b"='",
    b"?><",
    b"\xbf",
    b"\x80\xbf",
];

/// Whether the other reader refuses `bytes` for the same reason, now or later.
fn dead(bytes: &[u8], limits: Limits, frames: usize, error: &Error) -> Result<(), String> {
    let roomy = Limits {
        bytes: limits.bytes + 64,
        ..limits
    };
    let mut reasons = Vec::new();
    for more in CONTINUATIONS {
        let other = referred(&[bytes, more].concat(), roomy);
        if other.frames.len() > frames {
            return Err(format!("refused too early: {error:?}, yet {other:?}"));
        }
        reasons.extend(other.error.map(|(_, reason)| reason));
    }
    let same = |reason: &Error| {
        let forbidden = matches!(reason, Error::NotWellFormed(_)) && twice_wrong(bytes, error);
        ends_wrongly(bytes) || alike(reason, error) || forbidden
    };
    match reasons.iter().any(same) {
        true => Ok(()),
        false => Err(format!("refused as {error:?}, yet {reasons:?}")),
    }
}

fn compare(bytes: &[u8], limits: Limits) -> Result<(), String> {
    let (ours, theirs) = (scanned(bytes, limits), referred(bytes, limits));
    let differ = |why: &str| Err(format!("{why}:\n{ours:?}\n{theirs:?}"));
    let Some((at, error)) = &ours.error else {
        let Some((at, _)) = theirs.error else {
            return match ours == theirs {
                true => Ok(()),
                false => differ("other frames"),
            };
        };
        // In the first bytes of a character that is not whole yet.
        let in_the_last = ends_inside(&bytes[..at]) && ends_inside(bytes) && bytes.len() - at < 3;
        return match in_the_last && ours.frames == theirs.frames {
            true => Ok(()),
            false => differ("accepted"),
        };
    };
    let until = &bytes[..*at];
    let before = theirs.frames.iter().take_while(|(end, _)| end <= at);
    if !before.eq(&ours.frames) {
        return differ("other frames before the error");
    }
    match &theirs.error {
        Some((there, other)) if there == at => {
            // A byte may be wrong, and one too many besides.
            let too_many = matches!(other, Error::TooBig { .. });
            let as_well = too_many || ends_wrongly(until) || twice_wrong(until, error);
            match alike(error, other) || as_well {
                true => Ok(()),
                false => differ("other errors"),
            }
        }
        Some((there, _)) if there < at => match ends_inside(&bytes[..*there]) && at - there < 4 {
            true => Ok(()),
            false => differ("refused too late"),
        },
        // Refused by us alone as yet. TooBig is no matter of what follows.
        _ if matches!(error, Error::TooBig { .. }) => differ("too big"),
        _ => dead(until, limits, ours.frames.len(), error),
    }
}

/// Whether the bytes have something that is told apart on purpose.
fn has_cdata_before_root(bytes: &[u8]) -> bool {
    let head = bytes.windows(9).position(|window| window == b"<![CDATA[");
    let root = bytes.windows(2).position(|pair| {
        pair[0] == b'<' && (pair[1].is_ascii_alphabetic() || matches!(pair[1], b'_' | 0x80..))
    });
    head.is_some_and(|head| root.is_none_or(|root| head < root))
}

/// The bytes without the carriage returns that the other reader takes for something else: those
/// that no line feed follows become one, those behind a bracket go.
fn with_plain_lines(bytes: &[u8]) -> Vec<u8> {
    let mut made = Vec::new();
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            b'\r' if bytes.get(at + 1) != Some(&b'\n') => made.push(b'\n'),
            b'\r' if made.ends_with(b"]") => {}
            _ => made.push(byte),
        }
    }
    made
}

fn examine(bytes: &[u8], limits: Limits) {
    if has_cdata_before_root(bytes) || bytes.windows(10).any(|word| word == b"standalone") {
        return;
    }
    if let Err(why) = compare(bytes, limits) {
        let made = with_plain_lines(bytes);
        let fine = made != bytes && compare(&made, limits).is_ok();
        assert!(fine, "{:?}\n{why}", String::from_utf8_lossy(bytes));
    }
}

/// Elements that stand alone are read by the other reader as they are by us.
fn examine_alone(bytes: &[u8], limits: Limits) {
    let mut reader = Scanner::new(limits).known(KNOWN);
    let mut input = BytesMut::from(bytes);
    while let Ok(Some(frame)) = reader.feed(&mut input) {
        let Frame::Element(element) = frame else {
            continue;
        };
        let Ok(alone) = element.stand_alone(64 * 1024) else {
            continue;
        };
        // Alone it declares what its stream had declared for it.
        let mut other = RxmlReader::new(Limits {
            bytes: 1 << 20,
            attributes: 4 * limits.attributes,
            ..limits
        });
        let mut root = BytesMut::from("<r>");
        assert!(matches!(other.feed(&mut root), Ok(Some(Frame::Open(_)))));
        let read = match other.feed(&mut BytesMut::from(alone.bytes().as_ref())) {
            Ok(Some(Frame::Element(read))) => read,
            other => panic!("{alone:?}: {other:?}"),
        };
        let meant = |element: &xml::Element| {
            let children = element.children().iter().map(|child| {
                let (namespace, name) = (child.namespace().to_owned(), child.name().to_owned());
                (namespace, name, element.child_text(child))
            });
            let mut attrs: Vec<_> = element.attrs().map(|attr| format!("{attr:?}")).collect();
            attrs.sort();
            let (name, text) = (element.name().to_owned(), element.text().to_owned());
            let namespace = element.namespace().to_owned();
            (name, namespace, text, attrs, children.collect::<Vec<_>>())
        };
        assert_eq!(meant(&read), meant(&element));
    }
}

/// Checks one input: a byte that chooses limits and context, one that chooses cuts, the bytes.
pub fn check(data: &[u8]) {
    let [mode, cuts, bytes @ ..] = data else {
        return;
    };
    let limits = LIMITS[usize::from(mode & 1)];
    let whole = match mode & 2 {
        0 => [HEAD, bytes].concat(),
        _ => bytes.to_vec(),
    };
    examine(&whole, limits);
    let expected = scanned(&whole, limits);
    let unplaced = |story: Story| (story.frames, story.error.map(|(_, error)| error));
    let expected = unplaced(expected);
    let at_once = story(Scanner::new(limits).known(KNOWN), &[&whole]);
    assert_eq!(unplaced(at_once), expected);
    let size = 2 + usize::from(*cuts) % 61;
    let pieces: Vec<&[u8]> = whole.chunks(size).collect();
    let in_pieces = story(Scanner::new(limits).known(KNOWN), &pieces);
    assert_eq!(unplaced(in_pieces), expected);
    examine_alone(&whole, limits);
}
