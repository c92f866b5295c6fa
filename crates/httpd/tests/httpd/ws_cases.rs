//! Cases of RFC 6455 as a table, under the numbers that the Autobahn test suite gives them: framing (1), pings and
//! pongs (2), reserved bits (3), opcodes (4), fragments (5), UTF-8 (6), closes (7). `make interop` runs that suite
//! itself, with its great messages (9) too.

use crate::frames::{BINARY, CLOSE, FIN, HANDSHAKE, PING, PONG, TEXT, frame, hear};
use crate::stage::{Stage, any, status};
use httpd::{Commands, Error, Flow, Frame, Handler, Outcome, Path, Request, WebSocket, WsOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Says what it hears.
#[derive(Clone)]
struct Echo;

impl Handler for Echo {
    async fn init(&mut self, _req: &mut Request) -> Result<Outcome, Error> {
        Ok(Outcome::websocket(Echo))
    }
}

impl WebSocket for Echo {
    type Info = ();

    fn options(&self) -> WsOptions {
        WsOptions {
            max_frame: LARGEST,
            max_message: LARGEST,
            ..WsOptions::default()
        }
    }

    async fn handle(&mut self, frame: Frame, out: &mut Commands) -> Flow {
        if matches!(frame, Frame::Text(_) | Frame::Binary(_)) {
            out.send(frame);
        }
        Flow::Go
    }
}

/// The largest message that is taken, and bytes of a message that is too large.
const LARGEST: usize = 0x2_0000;

/// How the bytes of a case are cut when they are sent.
#[derive(Clone, Copy)]
enum Cut {
    Whole,
    Frames,
    /// So many bytes at a time.
    Bytes(usize),
}

/// How a case ends.
enum End {
    /// All is well: we close with 1000, and it is answered.
    Well,
    /// We have closed, and are answered with this code; none if we gave none.
    Answered(Option<u16>),
    /// It closes, with this code.
    Fails(u16),
}

struct Case {
    id: String,
    frames: Vec<Vec<u8>>,
    cut: Cut,
    heard: Vec<(u8, Vec<u8>)>,
    end: End,
}

/// A case that is sent whole, of which nothing is heard before it ends well.
fn case(id: impl Into<String>, frames: Vec<Vec<u8>>) -> Case {
    Case {
        id: id.into(),
        frames,
        cut: Cut::Whole,
        heard: Vec::new(),
        end: End::Well,
    }
}

impl Case {
    fn hears(mut self, first: u8, payload: &[u8]) -> Case {
        self.heard.push((FIN | first, payload.to_vec()));
        self
    }

    fn fails(mut self, code: u16) -> Case {
        self.end = End::Fails(code);
        self
    }

    fn answered(mut self, code: Option<u16>) -> Case {
        self.end = End::Answered(code);
        self
    }

    fn cut(mut self, cut: Cut) -> Case {
        self.cut = cut;
        self
    }
}

async fn play(cases: Vec<Case>) {
    let stage = Stage::new(any(vec![Path::to("/", Echo)])).await;
    for case in cases {
        let id = &case.id;
        let mut client = stage.connect().await;
        client.io.set_nodelay(true).expect("a socket");
        client.say(format!("{HANDSHAKE}\r\n")).await;
        assert_eq!(status(&client.through("\r\n\r\n").await), 101);
        let mut socket = client.into_io();
        let chunks: Vec<Vec<u8>> = match case.cut {
            Cut::Whole => vec![case.frames.concat()],
            Cut::Frames => case.frames,
            Cut::Bytes(count) => case
                .frames
                .concat()
                .chunks(count)
                .map(<[u8]>::to_vec)
                .collect(),
        };
        for chunk in chunks {
            // A peer that has been failed may be gone before it has said all.
            if socket.write_all(&chunk).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        for wanted in case.heard {
            assert_eq!(hear(&mut socket).await, wanted, "{id}");
        }
        if matches!(case.end, End::Well) {
            let close = frame(FIN | CLOSE, &1000_u16.to_be_bytes());
            socket.write_all(&close).await.expect("written");
        }
        let code = match case.end {
            End::Well => Some(1000),
            End::Answered(code) => code,
            End::Fails(code) => Some(code),
        };
        let (first, payload) = hear(&mut socket).await;
        assert_eq!(first, FIN | CLOSE, "{id}: {payload:?}");
        let said = payload
            .first_chunk::<2>()
            .map(|code| u16::from_be_bytes(*code));
        assert_eq!(said, code, "{id}");
        if matches!(case.end, End::Fails(_)) {
            let _ = socket.write_all(&frame(FIN | CLOSE, &payload)).await;
        }
        let mut rest = Vec::new();
        // What was in flight when it closed may make the system reset.
        let _ = socket.read_to_end(&mut rest).await;
        assert_eq!(rest, b"", "{id}: something behind the close");
    }
}

#[tokio::test]
async fn framing() {
    let mut cases = Vec::new();
    for (group, opcode, byte) in [("1.1", TEXT, b'*'), ("1.2", BINARY, 0xfe)] {
        for (number, length) in [0, 125, 126, 127, 128, 65535, 65536].iter().enumerate() {
            let payload = vec![byte; *length];
            let number = number + 1;
            let sent = vec![frame(FIN | opcode, &payload)];
            cases.push(case(format!("{group}.{number}"), sent).hears(opcode, &payload));
        }
        let payload = vec![byte; 65536];
        let sent = vec![frame(FIN | opcode, &payload)];
        cases.push(
            case(format!("{group}.8"), sent)
                .hears(opcode, &payload)
                .cut(Cut::Bytes(997)),
        );
        // As 9.1 and 9.2, scaled down; and one byte more than is taken.
        let payload = vec![byte; LARGEST];
        let sent = vec![frame(FIN | opcode, &payload)];
        cases.push(case(format!("9, {group}"), sent).hears(opcode, &payload));
        let sent = vec![frame(FIN | opcode, &vec![byte; LARGEST + 1])];
        cases.push(case(format!("too large, {group}"), sent).fails(1009));
    }
    play(cases).await;
}

#[tokio::test]
async fn pings_and_pongs() {
    let long = vec![0xfe; 125];
    let ping = |payload: &[u8]| frame(FIN | PING, payload);
    let mut ten = case("2.10", (0..10).map(|n| ping(&[b'0' + n])).collect());
    let mut ten_by_byte =
        case("2.11", (0..10).map(|n| ping(&[b'0' + n])).collect()).cut(Cut::Bytes(1));
    for n in 0..10 {
        ten = ten.hears(PONG, &[b'0' + n]);
        ten_by_byte = ten_by_byte.hears(PONG, &[b'0' + n]);
    }
    play(vec![
        case("2.1", vec![ping(b"")]).hears(PONG, b""),
        case("2.2", vec![ping(b"Hello")]).hears(PONG, b"Hello"),
        case("2.3", vec![ping(b"\0\xff\xfe\xfd")]).hears(PONG, b"\0\xff\xfe\xfd"),
        case("2.4", vec![ping(&long)]).hears(PONG, &long),
        case("2.5", vec![ping(&[0xfe; 126])]).fails(1002),
        case("2.6", vec![ping(&long)])
            .hears(PONG, &long)
            .cut(Cut::Bytes(1)),
        case("2.7", vec![frame(FIN | PONG, b"")]),
        case("2.8", vec![frame(FIN | PONG, b"unsolicited")]),
        case("2.9", vec![frame(FIN | PONG, b"unsolicited"), ping(b"p")]).hears(PONG, b"p"),
        ten,
        ten_by_byte,
    ])
    .await;
}

#[tokio::test]
async fn reserved_bits_and_opcodes() {
    let hello = || frame(FIN | TEXT, b"Hello");
    let ping = || frame(FIN | PING, b"");
    let mut cases = vec![case("3.1", vec![frame(FIN | 0x10 | TEXT, b"Hello")]).fails(1002)];
    for (id, bits, cut) in [
        ("3.2", 0x20, Cut::Whole),
        ("3.3", 0x30, Cut::Frames),
        ("3.4", 0x40, Cut::Bytes(1)),
    ] {
        let sent = vec![hello(), frame(FIN | bits | TEXT, b"Hello"), ping()];
        cases.push(case(id, sent).hears(TEXT, b"Hello").fails(1002).cut(cut));
    }
    cases.push(case("3.5", vec![frame(FIN | 0x50 | BINARY, &[0xff; 8])]).fails(1002));
    cases.push(case("3.6", vec![frame(FIN | 0x60 | PING, b"Hello")]).fails(1002));
    cases.push(case("3.7", vec![frame(FIN | 0x70 | CLOSE, b"\x03\xe8")]).fails(1002));
    for (group, first) in [("4.1", 3), ("4.2", 11)] {
        for number in 1..=5 {
            let opcode = first + number - 1;
            let id = format!("{group}.{number}");
            cases.push(match number {
                1 => case(id, vec![frame(FIN | opcode, b"")]).fails(1002),
                2 => case(id, vec![frame(FIN | opcode, b"reserved")]).fails(1002),
                _ => {
                    let cut = if number == 3 {
                        Cut::Frames
                    } else {
                        Cut::Bytes(1)
                    };
                    let sent = vec![hello(), frame(FIN | opcode, b"reserved"), ping()];
                    case(id, sent).hears(TEXT, b"Hello").fails(1002).cut(cut)
                }
            });
        }
    }
    play(cases).await;
}

#[tokio::test]
async fn fragments() {
    let start = |text: &[u8]| frame(TEXT, text);
    let more = |text: &[u8]| frame(0, text);
    let last = |text: &[u8]| frame(FIN, text);
    let ping = |text: &[u8]| frame(FIN | PING, text);
    let hello = || frame(FIN | TEXT, b"Hello");
    let cuts = [Cut::Whole, Cut::Frames, Cut::Bytes(1)];
    let mut cases = vec![
        case("5.1", vec![frame(PING, b"a"), last(b"b")]).fails(1002),
        case("5.2", vec![frame(PONG, b"a"), last(b"b")]).fails(1002),
    ];
    for (at, cut) in cuts.into_iter().enumerate() {
        let sent = vec![start(b"one "), last(b"two")];
        let id = format!("5.{}", 3 + at);
        cases.push(case(id, sent).hears(TEXT, b"one two").cut(cut));
        let sent = vec![start(b"one "), ping(b"ping"), last(b"two")];
        let id = format!("5.{}", 6 + at);
        cases.push(
            case(id, sent)
                .hears(PONG, b"ping")
                .hears(TEXT, b"one two")
                .cut(cut),
        );
        let id = format!("5.{}", 9 + at);
        cases.push(
            case(id, vec![last(b"nothing before"), hello()])
                .fails(1002)
                .cut(cut),
        );
        let id = format!("5.{}", 12 + at);
        cases.push(
            case(id, vec![more(b"nothing before"), hello()])
                .fails(1002)
                .cut(cut),
        );
    }
    let sent = vec![
        start(b"one "),
        last(b"two"),
        more(b"nothing before"),
        hello(),
    ];
    cases.push(case("5.15", sent).hears(TEXT, b"one two").fails(1002));
    for (id, first) in [("5.16", more(b"x")), ("5.17", last(b"x"))] {
        let sent = vec![first.clone(), hello(), first, hello()];
        cases.push(case(id, sent).fails(1002));
    }
    cases.push(case("5.18", vec![start(b"one "), frame(FIN | TEXT, b"two")]).fails(1002));
    for (id, cut) in [("5.19", Cut::Frames), ("5.20", Cut::Bytes(1))] {
        let sent = vec![
            start(b"1"),
            more(b"2"),
            ping(b"first"),
            more(b"3"),
            more(b"4"),
            ping(b"second"),
            last(b"5"),
        ];
        cases.push(
            case(id, sent)
                .hears(PONG, b"first")
                .hears(PONG, b"second")
                .hears(TEXT, b"12345")
                .cut(cut),
        );
    }
    play(cases).await;
}

/// Texts by the group of their cases: `κόσμε` cut at each byte; the first and the last of each length; the ends of what
/// there is; sequences that no character begins or ends; overlong ones; surrogates; what is no character but may be
/// written.
const TEXTS: &[(&str, bool, &[&[u8]])] = &[
    (
        "6.5",
        true,
        &[
            b"hello$world",
            b"hello\xc2\xa2world",
            b"hello\xe2\x82\xacworld",
            b"hello\xf0\xa4\xad\xa2world",
            b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5",
        ],
    ),
    (
        "6.6, whole",
        true,
        &[
            b"\xce\xba",
            b"\xce\xba\xe1\xbd\xb9",
            b"\xce\xba\xe1\xbd\xb9\xcf\x83",
            b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc",
        ],
    ),
    (
        "6.6, cut",
        false,
        &[
            b"\xce",
            b"\xce\xba\xe1",
            b"\xce\xba\xe1\xbd",
            b"\xce\xba\xe1\xbd\xb9\xcf",
            b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce",
            b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce",
        ],
    ),
    (
        "6.7",
        true,
        &[b"\0", b"\xc2\x80", b"\xe0\xa0\x80", b"\xf0\x90\x80\x80"],
    ),
    (
        "6.8",
        false,
        &[b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"],
    ),
    (
        "6.9",
        true,
        &[b"\x7f", b"\xdf\xbf", b"\xef\xbf\xbf", b"\xf4\x8f\xbf\xbf"],
    ),
    (
        "6.10",
        false,
        &[
            b"\xf7\xbf\xbf\xbf",
            b"\xfb\xbf\xbf\xbf\xbf",
            b"\xfd\xbf\xbf\xbf\xbf\xbf",
        ],
    ),
    (
        "6.11",
        true,
        &[
            b"\xed\x9f\xbf",
            b"\xee\x80\x80",
            b"\xef\xbf\xbd",
            b"\xf4\x8f\xbf\xbf",
        ],
    ),
    ("6.11, beyond", false, &[b"\xf4\x90\x80\x80"]),
    (
        "6.12",
        false,
        &[
            b"\x80",
            b"\xbf",
            b"\x80\xbf",
            b"\x80\xbf\x80",
            b"\x80\xbf\x80\xbf",
        ],
    ),
    (
        "6.13",
        false,
        &[
            b"\xc0 \xc1 \xdf ",
            b"\xe0 \xe1 \xef ",
            b"\xf0 \xf1 \xf6 ",
            b"\xf8 ",
            b"\xfc ",
        ],
    ),
    (
        "6.14",
        false,
        &[
            b"\xc0",
            b"\xe0\x80",
            b"\xf0\x80\x80",
            b"\xf8\x80\x80\x80",
            b"\xfc\x80\x80\x80\x80",
            b"\xdf",
            b"\xef\xbf",
            b"\xf7\xbf\xbf",
            b"\xfb\xbf\xbf\xbf",
            b"\xfd\xbf\xbf\xbf\xbf",
        ],
    ),
    (
        "6.15",
        false,
        &[b"\xc0\xe0\x80\xf0\x80\x80\xf8\x80\x80\x80\xfc\x80\x80\x80\x80\xdf\xef\xbf\xf7\xbf\xbf"],
    ),
    ("6.16", false, &[b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"]),
    (
        "6.17",
        false,
        &[
            b"\xc0\xaf",
            b"\xe0\x80\xaf",
            b"\xf0\x80\x80\xaf",
            b"\xf8\x80\x80\x80\xaf",
            b"\xfc\x80\x80\x80\x80\xaf",
        ],
    ),
    (
        "6.18",
        false,
        &[
            b"\xc1\xbf",
            b"\xe0\x9f\xbf",
            b"\xf0\x8f\xbf\xbf",
            b"\xf8\x87\xbf\xbf\xbf",
            b"\xfc\x83\xbf\xbf\xbf\xbf",
        ],
    ),
    (
        "6.19",
        false,
        &[
            b"\xc0\x80",
            b"\xe0\x80\x80",
            b"\xf0\x80\x80\x80",
            b"\xf8\x80\x80\x80\x80",
            b"\xfc\x80\x80\x80\x80\x80",
        ],
    ),
    (
        "6.20",
        false,
        &[
            b"\xed\xa0\x80",
            b"\xed\xad\xbf",
            b"\xed\xae\x80",
            b"\xed\xaf\xbf",
            b"\xed\xb0\x80",
            b"\xed\xbe\x80",
            b"\xed\xbf\xbf",
        ],
    ),
    (
        "6.21",
        false,
        &[
            b"\xed\xa0\x80\xed\xb0\x80",
            b"\xed\xad\xbf\xed\xbf\xbf",
            b"\xed\xae\x80\xed\xb0\x80",
            b"\xed\xaf\xbf\xed\xbf\xbf",
        ],
    ),
    (
        "6.22",
        true,
        &[
            b"\xef\xbf\xbe",
            b"\xef\xbf\xbf",
            b"\xf0\x9f\xbf\xbe",
            b"\xf1\x8f\xbf\xbf",
            b"\xf3\xbf\xbf\xbe",
            b"\xf4\x8f\xbf\xbf",
        ],
    ),
    (
        "6.23",
        true,
        &[b"\xef\xbf\xb9", b"\xef\xbf\xbb", b"\xef\xbf\xbd"],
    ),
];

#[tokio::test]
async fn texts() {
    let bytewise = |text: &[u8]| {
        let last = text.len() - 1;
        let first = |at| if at == 0 { TEXT } else { 0 };
        let fin = |at| if at == last { FIN } else { 0 };
        let each = text.iter().enumerate();
        each.map(|(at, byte)| frame(first(at) | fin(at), &[*byte]))
            .collect::<Vec<_>>()
    };
    let mut cases = vec![
        case("6.1.1", vec![frame(FIN | TEXT, b"")]).hears(TEXT, b""),
        case(
            "6.1.2",
            vec![frame(TEXT, b""), frame(0, b""), frame(FIN, b"")],
        )
        .hears(TEXT, b""),
        case(
            "6.1.3",
            vec![frame(TEXT, b""), frame(0, b"middle"), frame(FIN, b"")],
        )
        .hears(TEXT, b"middle"),
    ];
    // A text is failed in the frame that breaks it, not only at its end.
    let parts: [&[u8]; 3] = [
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5",
        b"\xf4\x90\x80\x80",
        b"edited",
    ];
    let broken = vec![frame(TEXT, parts[0]), frame(0, parts[1])];
    cases.push(case("6.4.1", broken).fails(1007).cut(Cut::Frames));
    let broken = vec![
        frame(TEXT, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4"),
        frame(0, b"\x90"),
    ];
    cases.push(case("6.4.2", broken).fails(1007).cut(Cut::Frames));
    // Within a frame it is failed when the frame is whole.
    let broken = vec![frame(FIN | TEXT, &parts.concat())];
    cases.push(case("6.4.3", broken).fails(1007).cut(Cut::Bytes(17)));
    for (group, is_good, texts) in TEXTS {
        for text in *texts {
            for (how, sent) in [
                ("whole", vec![frame(FIN | TEXT, text)]),
                ("by byte", bytewise(text)),
            ] {
                let case = case(format!("{group} {text:02x?} {how}"), sent);
                cases.push(if *is_good {
                    case.hears(TEXT, text)
                } else {
                    case.fails(1007)
                });
            }
            // What is no text may be bytes.
            let sent = vec![frame(FIN | BINARY, text)];
            cases.push(case(format!("{group} {text:02x?} binary"), sent).hears(BINARY, text));
        }
    }
    play(cases).await;
}

#[tokio::test]
async fn closes() {
    let close = |code: u16, text: &[u8]| frame(FIN | CLOSE, &[&code.to_be_bytes(), text].concat());
    let normal = || close(1000, b"");
    let hello = || frame(FIN | TEXT, b"Hello");
    let large = vec![b'*'; LARGEST];
    let mut cases = vec![
        case("7.1.1", vec![hello(), normal()])
            .hears(TEXT, b"Hello")
            .answered(Some(1000)),
        case("7.1.2", vec![normal(), normal()]).answered(Some(1000)),
        case("7.1.3", vec![normal(), frame(FIN | PING, b"")]).answered(Some(1000)),
        case("7.1.4", vec![normal(), hello()]).answered(Some(1000)),
        case(
            "7.1.5",
            vec![frame(TEXT, b"one"), normal(), frame(FIN, b"two")],
        )
        .answered(Some(1000)),
        case(
            "7.1.6",
            vec![frame(FIN | TEXT, &large), normal(), frame(FIN | PING, b"")],
        )
        .hears(TEXT, &large)
        .answered(Some(1000)),
        case("7.3.1", vec![frame(FIN | CLOSE, b"")]).answered(None),
        case("7.3.2", vec![frame(FIN | CLOSE, b"a")]).fails(1002),
        case("7.3.3", vec![normal()]).answered(Some(1000)),
        case("7.3.4", vec![close(1000, b"Hello")]).answered(Some(1000)),
        case("7.3.5", vec![close(1000, &[b'*'; 123])]).answered(Some(1000)),
        case("7.3.6", vec![close(1000, &[b'*'; 124])]).fails(1002),
        case("7.5.1", vec![close(1000, b"\xce\xba\xed\xa0\x80")]).fails(1007),
    ];
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999,
    ] {
        cases.push(case(format!("7.7, {code}"), vec![close(code, b"")]).answered(Some(code)));
    }
    for code in [
        0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535,
    ] {
        cases.push(case(format!("7.9, 7.13, {code}"), vec![close(code, b"")]).fails(1002));
    }
    play(cases).await;
}
