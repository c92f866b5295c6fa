//! Requests and header compression (RFC 9113 §8, RFC 7541).

use super::*;

/// A request with these fields behind its pseudo-headers.
fn with(fields: &[(&str, &str)]) -> Vec<u8> {
    let more: Vec<u8> = fields
        .iter()
        .flat_map(|(name, value)| field(name, value))
        .collect();
    let block = [block("GET", "/"), more].concat();
    frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)
}

/// A request of just these fields.
fn only(fields: &[(&str, &str)]) -> Vec<u8> {
    let block: Vec<u8> = fields
        .iter()
        .flat_map(|(name, value)| field(name, value))
        .collect();
    frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)
}

#[tokio::test]
async fn what_a_request_must_be() {
    // A malformed message is an error of its stream (§8.1.1); a status is as good.
    let bad: &[Found] = &[Reset(PROTOCOL_ERROR), Gone(PROTOCOL_ERROR), BAD_REQUEST];
    let usual = [(":method", "GET"), (":scheme", "https"), (":path", "/")];
    let length = |value: &str, data: &[u8]| {
        let head = [block("POST", "/echo"), field("content-length", value)].concat();
        [
            frame(HEADERS, END_HEADERS, 1, &head),
            frame(DATA, END_STREAM, 1, data),
        ]
        .concat()
    };
    play(vec![
        ("9113 8.1, usual", with(&[("x", "y")]), &[OK]),
        (
            "9113 8.1, headers within a body",
            [
                post(1, "/waits"),
                frame(HEADERS, END_HEADERS, 1, &field("x", "y")),
            ]
            .concat(),
            bad,
        ),
        (
            "9113 8.1, trailers",
            [
                post(1, "/echo"),
                frame(HEADERS, END_HEADERS | END_STREAM, 1, &field("x", "y")),
            ]
            .concat(),
            &[OK],
        ),
        (
            "9113 8.1, pseudo-headers in trailers",
            [
                post(1, "/echo"),
                frame(HEADERS, END_HEADERS | END_STREAM, 1, &field(":path", "/")),
            ]
            .concat(),
            // The library drops them: nothing behind the head says where a request goes.
            &[Reset(PROTOCOL_ERROR), ENDED, BAD_REQUEST, OK],
        ),
        ("9113 8.1.1, the length", length("3", b"xyz"), &[OK]),
        ("9113 8.1.1, less than the length", length("4", b"xyz"), bad),
        ("9113 8.1.1, more than the length", length("2", b"xyz"), bad),
        (
            "9113 8.1.1, a length that is none",
            length("x", b"xyz"),
            bad,
        ),
        ("9113 8.2.1, upper case", with(&[("X-Y", "z")]), bad),
        (
            "9113 8.2.1, a name with a space",
            with(&[("x y", "z")]),
            bad,
        ),
        (
            "9113 8.2.1, a name with a colon",
            with(&[("x:y", "z")]),
            bad,
        ),
        (
            "9113 8.2.1, a value with a line feed",
            with(&[("x", "y\nz")]),
            bad,
        ),
        (
            "9113 8.2.1, a value with a NUL",
            with(&[("x", "y\0z")]),
            bad,
        ),
        (
            "9113 8.2.2, connection",
            with(&[("connection", "keep-alive")]),
            bad,
        ),
        ("9113 8.2.2, keep-alive", with(&[("keep-alive", "5")]), bad),
        (
            "9113 8.2.2, proxy-connection",
            with(&[("proxy-connection", "close")]),
            bad,
        ),
        (
            "9113 8.2.2, transfer-encoding",
            with(&[("transfer-encoding", "chunked")]),
            bad,
        ),
        (
            "9113 8.2.2, upgrade",
            with(&[("upgrade", "websocket")]),
            bad,
        ),
        ("9113 8.2.2, te", with(&[("te", "gzip")]), bad),
        (
            "9113 8.2.2, te: trailers",
            with(&[("te", "trailers")]),
            &[OK],
        ),
        ("9113 8.3, an unknown one", with(&[(":name", "x")]), bad),
        ("9113 8.3, one of replies", with(&[(":status", "200")]), bad),
        (
            "9113 8.3, behind a field",
            only(&[
                ("x", "y"),
                (":method", "GET"),
                (":scheme", "https"),
                (":path", "/"),
                (":authority", "a"),
            ]),
            bad,
        ),
        (
            "9113 8.3.1, no method",
            only(&[(":scheme", "https"), (":path", "/"), (":authority", "a")]),
            bad,
        ),
        (
            "9113 8.3.1, no scheme",
            only(&[(":method", "GET"), (":path", "/"), (":authority", "a")]),
            bad,
        ),
        (
            "9113 8.3.1, no path",
            only(&[
                (":method", "GET"),
                (":scheme", "https"),
                (":authority", "a"),
            ]),
            bad,
        ),
        (
            "9113 8.3.1, an empty path",
            only(&[
                (":method", "GET"),
                (":scheme", "https"),
                (":path", ""),
                (":authority", "a"),
            ]),
            bad,
        ),
        (
            "9113 8.3.1, a path that is none",
            only(&[
                (":method", "GET"),
                (":scheme", "https"),
                (":path", "x y"),
                (":authority", "a"),
            ]),
            bad,
        ),
        (
            "9113 8.3.1, two methods",
            only(&[
                (":method", "GET"),
                usual[0],
                usual[1],
                usual[2],
                (":authority", "a"),
            ]),
            bad,
        ),
        (
            "9113 8.3.1, two schemes",
            only(&[
                (":scheme", "https"),
                usual[0],
                usual[1],
                usual[2],
                (":authority", "a"),
            ]),
            bad,
        ),
        (
            "9113 8.3.1, two paths",
            only(&[
                (":path", "/"),
                usual[0],
                usual[1],
                usual[2],
                (":authority", "a"),
            ]),
            bad,
        ),
        (
            "9113 8.3.1, no authority but a host",
            only(&[usual[0], usual[1], usual[2], ("host", "a")]),
            &[OK],
        ),
        ("9113 8.3.1, neither", only(&usual), bad),
        ("9113 8.3.1, another host", with(&[("host", "other")]), bad),
        (
            "9113 8.3.1, a user in the authority",
            only(&[usual[0], usual[1], usual[2], (":authority", "u@a")]),
            bad,
        ),
    ])
    .await;
}

#[tokio::test]
async fn header_compression() {
    let broken: &[Found] = &[Gone(COMPRESSION_ERROR), ENDED];
    // All by the static table (RFC 7541 appendix A), the authority encoded by Huffman (C.4.1).
    let short = b"\x82\x87\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";
    // A request that is not answered puts its authority into the table; another names it.
    let kept = b"\x83\x87\x04\x06/waits\x41\x01a";
    let again = b"\x82\x87\x84\xbe";
    play(vec![
        (
            "7541 C.4.1, indexed and Huffman",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, short),
            &[OK],
        ),
        (
            "7541 2.3.2, the dynamic table",
            [
                frame(HEADERS, END_HEADERS, 1, kept),
                frame(HEADERS, END_HEADERS | END_STREAM, 3, again),
            ]
            .concat(),
            &[OK],
        ),
        (
            "7541 2.3.3, an index beyond both tables",
            raw_block(b"\xc6"),
            broken,
        ),
        (
            "7541 2.3.3, the name's",
            raw_block(b"\x7f\x70\x01x"),
            broken,
        ),
        (
            "7541 4.2, a new size at the end",
            raw_block(b"\x20"),
            broken,
        ),
        (
            "7541 4.2, a new size at the beginning",
            frame(
                HEADERS,
                END_HEADERS | END_STREAM,
                1,
                &[b"\x20", &block("GET", "/")[..]].concat(),
            ),
            &[OK],
        ),
        (
            "7541 5.1, a number without end",
            raw_block(&[b"\xff", &[0xff; 20][..]].concat()),
            broken,
        ),
        (
            "7541 5.2, padding of a whole byte",
            raw_block(b"\x00\x01x\x82\x1f\xff"),
            broken,
        ),
        (
            "7541 5.2, padding of zeros",
            raw_block(b"\x00\x01x\x81\x18"),
            broken,
        ),
        (
            "7541 5.2, an end of string",
            raw_block(b"\x00\x01x\x84\xff\xff\xff\xff"),
            broken,
        ),
        ("7541 6.1, the index 0", raw_block(b"\x80"), broken),
        (
            "7541 6.3, a size beyond the limit",
            frame(
                HEADERS,
                END_HEADERS | END_STREAM,
                1,
                &[b"\x3f\xe2\x1f", &block("GET", "/")[..]].concat(),
            ),
            broken,
        ),
    ])
    .await;
}
