//! The kinds: what is sent, and how its refusal looks.

/// How a refusal looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum By {
    /// A status of 4xx or 5xx, or an end without a word.
    Http,
    /// As above, or a body that ends the session.
    Bosh,
    /// As above, or a fault.
    XmlRpc,
    /// These bytes follow the handshake; the answer is a close, or an error of the stream.
    WebSocket,
    /// Inside TLS, behind the preface: GOAWAY, RST_STREAM, a status that is none of success, or the end.
    Http2,
}

pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) by: By,
    pub(super) bytes: Vec<u8>,
}

fn kind(name: &'static str, by: By, bytes: impl Into<Vec<u8>>) -> Kind {
    Kind {
        name,
        by,
        bytes: bytes.into(),
    }
}

/// A request line and header lines, with a host.
pub(super) fn head(line: &str, headers: &str) -> String {
    format!("{line}\r\nHost: a.example\r\n{headers}\r\n")
}

fn get(headers: &str) -> String {
    head("GET /health/live HTTP/1.1", headers)
}

fn post(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    let line = format!("POST {path} HTTP/1.1");
    head(&line, &format!("Content-Length: {length}\r\n{headers}")) + body
}

pub(super) fn http() -> Vec<Kind> {
    let long = "x".repeat(200_000);
    let many = "X-One: more\r\n".repeat(500);
    let texts = [
        ("no host", "GET / HTTP/1.1\r\n\r\n".to_owned()),
        ("two hosts", get("Host: b.example\r\n")),
        ("another version", head("GET / HTTP/9.9", "")),
        ("no version", "GET /\r\n\r\n".to_owned()),
        (
            "a handshake of TLS",
            "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03\r\n\r\n".to_owned(),
        ),
        ("two spaces", head("GET  / HTTP/1.1", "")),
        ("no colon", get("What is this\r\n")),
        (
            "a space before the colon",
            post("/bosh", "Content-Length : 3\r\n", "abc"),
        ),
        ("a folded line", get("X-One: a\r\n b\r\n")),
        ("a NUL in a value", get("X-One: a\0b\r\n")),
        ("a CR in a value", get("X-One: a\rX-Two: b\r\n")),
        (
            "length and chunks",
            post("/bosh", "Transfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ),
        ("two lengths", post("/bosh", "Content-Length: 7\r\n", "abc")),
        (
            "a length with a sign",
            head("POST /bosh HTTP/1.1", "Content-Length: +3\r\n") + "abc",
        ),
        (
            "a length of no digits",
            head("POST /bosh HTTP/1.1", "Content-Length: 0x3\r\n") + "abc",
        ),
        (
            "a coding behind chunks",
            head(
                "POST /bosh HTTP/1.1",
                "Transfer-Encoding: chunked, identity\r\n",
            ) + "0\r\n\r\n",
        ),
        (
            "an unknown coding",
            head("POST /bosh HTTP/1.1", "Transfer-Encoding: xchunked\r\n") + "0\r\n\r\n",
        ),
        (
            "chunks in HTTP/1.0",
            head("POST /bosh HTTP/1.0", "Transfer-Encoding: chunked\r\n") + "0\r\n\r\n",
        ),
        (
            "a chunk beyond counting",
            head("POST /bosh HTTP/1.1", "Transfer-Encoding: chunked\r\n")
                + "FFFFFFFFFFFFFFFFF\r\nabc",
        ),
        (
            "a chunk of no size",
            head("POST /bosh HTTP/1.1", "Transfer-Encoding: chunked\r\n")
                + "zz\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "a chunk longer than said",
            head("POST /bosh HTTP/1.1", "Transfer-Encoding: chunked\r\n") + "1\r\nabc\r\n0\r\n\r\n",
        ),
        ("a long header", get(&format!("X-One: {long}\r\n"))),
        ("many headers", get(&many)),
        ("a long path", head(&format!("GET /{long} HTTP/1.1"), "")),
        ("a NUL in the path", head("GET /upload/%00/x HTTP/1.1", "")),
        (
            "a way out",
            head("GET /upload/../../etc/passwd HTTP/1.1", ""),
        ),
        (
            "a way out, encoded",
            head("GET /upload/%2e%2e%2f%2e%2e/x HTTP/1.1", ""),
        ),
        ("half an escape", head("GET /%z HTTP/1.1", "")),
        (
            "a proxy's request",
            head("CONNECT a.example:443 HTTP/1.1", ""),
        ),
        (
            "a great expectation",
            post("/bosh", "Expect: miracles\r\n", "abc"),
        ),
        (
            "a body without end",
            head("POST /bosh HTTP/1.1", "Content-Length: 999999999999999\r\n"),
        ),
    ];
    let kinds = texts.into_iter();
    kinds
        .map(|(name, text)| kind(name, By::Http, text))
        .collect()
}

pub(super) fn services(token: &str) -> Vec<Kind> {
    let own = format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
    let deep = "[".repeat(50_000);
    let xml = format!("Authorization: Bearer {token}\r\nContent-Type: text/xml\r\n");
    let bomb =
        "<!DOCTYPE a [<!ENTITY b \"bb\"><!ENTITY c \"&b;&b;&b;\">]><methodCall>&c;</methodCall>";
    let body = |attributes: &str, inside: &str| {
        let ns = crate::bosh::NS;
        post(
            "/bosh",
            "",
            &format!("<body {ns} {attributes}>{inside}</body>"),
        )
    };
    let strange = post("/api/kick_user", &own, "{\"user\": \"\u{1}\u{1}\"}");
    let strange: Vec<u8> = strange
        .bytes()
        .map(|byte| if byte == 1 { 0xff } else { byte })
        .collect();
    let nested = "<a xmlns='x'>".to_owned() + &"<a>".repeat(3000);
    vec![
        kind("API: nobody", By::Http, post("/api/status", "", "{}")),
        kind(
            "API: no Base64",
            By::Http,
            head("GET /api/status HTTP/1.1", "Authorization: Basic %%%\r\n"),
        ),
        kind(
            "API: another's token",
            By::Http,
            head("GET /api/status HTTP/1.1", "Authorization: Bearer abc\r\n"),
        ),
        kind(
            "API: half a JSON",
            By::Http,
            post("/api/kick_user", &own, "{\"user\": \"al"),
        ),
        kind(
            "API: a deep JSON",
            By::Http,
            post("/api/kick_user", &own, &deep),
        ),
        kind("API: not of UTF-8", By::Http, strange),
        kind(
            "API: another type",
            By::Http,
            post(
                "/api/kick_user",
                &own.replace("json", "x-www-form-urlencoded"),
                "user=al",
            ),
        ),
        kind(
            "API: unknown arguments",
            By::Http,
            post("/api/status", &own, "{\"what\": 1}"),
        ),
        kind(
            "API: no such command",
            By::Http,
            post("/api/no_such", &own, "{}"),
        ),
        kind(
            "API: another site",
            By::Http,
            post(
                "/api/status",
                &format!("{own}Origin: https://evil.example\r\n"),
                "{}",
            ),
        ),
        kind(
            "XML-RPC: no XML",
            By::XmlRpc,
            post("/xmlrpc", &xml, "hello"),
        ),
        kind("XML-RPC: a bomb", By::XmlRpc, post("/xmlrpc", &xml, bomb)),
        kind(
            "upload: no slot",
            By::Http,
            head("PUT /upload/none/x.txt HTTP/1.1", "Content-Length: 3\r\n") + "abc",
        ),
        kind(
            "upload: no length",
            By::Http,
            head(
                "PUT /upload/none/x.txt HTTP/1.1",
                "Transfer-Encoding: chunked\r\n",
            ) + "3\r\nabc\r\n0\r\n\r\n",
        ),
        kind(
            "upload: ranges of nothing",
            By::Http,
            head(
                "GET /upload/none/x.txt HTTP/1.1",
                "Range: bytes=9-1,-0,a-b\r\n",
            ),
        ),
        kind("BOSH: no XML", By::Bosh, post("/bosh", "", "hello")),
        kind(
            "BOSH: a DTD",
            By::Bosh,
            post("/bosh", "", "<!DOCTYPE body><body/>"),
        ),
        kind(
            "BOSH: nobody's session",
            By::Bosh,
            body("sid='nobody' rid='1' ver='1.10'", ""),
        ),
        kind(
            "BOSH: no number",
            By::Bosh,
            body("to='a.example' ver='1.10'", ""),
        ),
        kind(
            "BOSH: a number below 0",
            By::Bosh,
            body("to='a.example' rid='-1' ver='1.10'", ""),
        ),
        kind(
            "BOSH: a deep one",
            By::Bosh,
            body("to='a.example' rid='1' ver='1.10'", &nested),
        ),
        kind(
            "WebSocket: an old version",
            By::Http,
            head(
                "GET /ws HTTP/1.1",
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 7\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: xmpp\r\n",
            ),
        ),
        kind(
            "WebSocket: no key",
            By::Http,
            head(
                "GET /ws HTTP/1.1",
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: xmpp\r\n",
            ),
        ),
        kind(
            "WebSocket: another protocol",
            By::Http,
            head(
                "GET /ws HTTP/1.1",
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chat\r\n",
            ),
        ),
    ]
}

/// A frame of WebSocket, masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("a short one");
    assert!(length < 126);
    [&[first, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

pub(super) fn frames() -> Vec<Kind> {
    let huge = [&[0x81, 0xff][..], &(1_u64 << 62).to_be_bytes(), &[0; 4]].concat();
    let ns = "urn:ietf:params:xml:ns:xmpp-framing";
    let open = format!("<open xmlns='{ns}' to='a.example' version='1.0'/>");
    let two = [
        frame(0x81, open.as_bytes()),
        frame(0x81, b"<a xmlns='x'/><b xmlns='x'/>"),
    ]
    .concat();
    [
        ("WebSocket: not masked", vec![0x81, 2, b'h', b'i']),
        ("WebSocket: bits of no meaning", frame(0xf1, b"hi")),
        ("WebSocket: a frame of no type", frame(0x83, b"hi")),
        ("WebSocket: half a ping", frame(0x09, b"hi")),
        ("WebSocket: no UTF-8", frame(0x81, b"\xff\xfe\xfd")),
        ("WebSocket: a long frame", huge),
        ("WebSocket: bytes", frame(0x82, b"hi")),
        ("WebSocket: a part of nothing", frame(0x80, b"hi")),
        ("WebSocket: a close of one byte", frame(0x88, b"x")),
        (
            "WebSocket: TCP's framing",
            frame(0x81, b"<stream:stream to='a.example'>"),
        ),
        ("WebSocket: no XML", frame(0x81, b"hello")),
        ("WebSocket: two elements", two),
    ]
    .map(|(name, bytes)| kind(name, By::WebSocket, bytes))
    .into()
}

/// A frame of HTTP/2 (RFC 9113 §4.1).
pub(super) fn h2(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .expect("a short one")
        .to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Fields that no table knows (RFC 7541 §6.2.2).
fn fields(all: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    let field = |(name, value): &(&str, &str)| [vec![0], text(name), text(value)].concat();
    all.iter().flat_map(field).collect()
}

pub(super) fn second() -> Vec<Kind> {
    let usual = [
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/health/live"),
        (":authority", "a.example"),
    ];
    let asks = |more: &[(&str, &str)]| h2(1, 5, 1, &fields(&[&usual[..], more].concat()));
    [
        ("HTTP/2: a name in capitals", asks(&[("X-One", "a")])),
        (
            "HTTP/2: a header of HTTP/1",
            asks(&[("connection", "close")]),
        ),
        ("HTTP/2: no path", h2(1, 5, 1, &fields(&usual[..2]))),
        ("HTTP/2: a method twice", asks(&usual[..1])),
        (
            "HTTP/2: another length",
            [
                h2(
                    1,
                    4,
                    1,
                    &fields(&[&usual[..], &[("content-length", "9")]].concat()),
                ),
                h2(0, 1, 1, b"abc"),
            ]
            .concat(),
        ),
        ("HTTP/2: a stream of nobody", h2(0, 1, 0, b"abc")),
        ("HTTP/2: an even stream", h2(1, 5, 2, &fields(&usual))),
        ("HTTP/2: half a setting", h2(4, 0, 0, b"abc")),
        ("HTTP/2: a window of nothing", h2(8, 0, 0, &[0; 4])),
        (
            "HTTP/2: no table entry",
            h2(1, 5, 1, &[0xff, 0xff, 0xff, 0x0f]),
        ),
    ]
    .map(|(name, bytes)| kind(name, By::Http2, bytes))
    .into()
}
