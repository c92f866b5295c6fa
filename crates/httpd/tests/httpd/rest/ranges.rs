//! Ranges (RFC 9110 §14), of bodies in memory and of those that are read as they are sent.

use super::*;

fn ranged(set: &mut Set) {
    set.ranges = Some(vec!["bytes", "lines"]);
    tagged(set);
    dated(set);
}

#[tokio::test]
async fn ranges() {
    play(&[
        (ranged, "GET", 200, &["accept-ranges: bytes, lines\r\n"]),
        (same, "GET\nrange: bytes=0-1", 200, &["0123456789"]),
        (
            ranged,
            "GET\nrange: bytes=2-4",
            206,
            &[
                "content-range: bytes 2-4/10\r\n",
                "content-length: 3\r\n",
                "\r\n\r\n234",
            ],
        ),
        (
            ranged,
            "GET\nrange: bytes=-3",
            206,
            &["content-range: bytes 7-9/10\r\n", "\r\n\r\n789"],
        ),
        (
            ranged,
            "GET\nrange: bytes=8-10",
            206,
            &["content-range: bytes 8-9/10\r\n"],
        ),
        (
            ranged,
            "GET\nrange: bytes=10-",
            416,
            &["content-range: bytes */10\r\n"],
        ),
        (ranged, "GET\nrange: bytes=x", 416, &[]),
        (ranged, "GET\nrange: pages=1-2", 200, &[]),
        (ranged, "GET\nrange: nonsense", 200, &[]),
        (
            ranged,
            "HEAD\nrange: bytes=0-1",
            200,
            &["content-length: 10\r\n"],
        ),
        (
            ranged,
            "GET\nrange: bytes=0-1, 8-",
            206,
            &[
                "content-type: multipart/byteranges; boundary=",
                "content-type: text/html\r\ncontent-range: bytes 0-1/10\r\n\r\n01\r\n--",
                "content-range: bytes 8-9/10\r\n\r\n89\r\n--",
            ],
        ),
        (ranged, "GET\nrange: bytes=0-1\nif-range: \"t\"", 206, &[]),
        (ranged, "GET\nrange: bytes=0-1\nif-range: \"x\"", 200, &[]),
        (ranged, "GET\nrange: bytes=0-1\nif-range: W/\"t\"", 200, &[]),
        (
            ranged,
            "GET\nrange: bytes=0-1\nif-range: Sun, 09 Sep 2001 01:46:40 GMT",
            206,
            &[],
        ),
        (
            ranged,
            "GET\nrange: bytes=0-1\nif-range: Sun, 09 Sep 2001 01:46:41 GMT",
            200,
            &[],
        ),
        (
            ranged,
            "GET\nrange: lines=1",
            206,
            &["content-range: lines 1/9\r\n", "part"],
        ),
        (
            ranged,
            "GET\nrange: lines=1,2",
            206,
            &[
                "content-range: lines 1/9\r\n",
                "content-range: lines 2/9\r\n",
            ],
        ),
        (
            |set| {
                ranged(set);
                set.satisfiable = Satisfiable::No(Some(9));
            },
            "GET\nrange: lines=1",
            416,
            &["content-range: lines */9\r\n"],
        ),
        (
            |set| {
                ranged(set);
                set.satisfiable = Satisfiable::No(Some(9));
            },
            "GET\nrange: bytes=0-1",
            416,
            &["content-range: bytes */9\r\n", "!content-type"],
        ),
        (
            |set| {
                ranged(set);
                set.satisfiable = Satisfiable::No(None);
            },
            "GET\nrange: bytes=0-1",
            416,
            &["!content-range"],
        ),
        (ranged, "GET\nrange: lines=none", 416, &["!content-type"]),
        (
            ranged,
            "GET\nrange: lines=1\nif-range: \"x\"",
            200,
            &["0123456789"],
        ),
        // A part has what the whole would have.
        (
            |set| {
                ranged(set);
                set.variances = vec!["x-a"];
            },
            "GET\nrange: BYTES = 0-1",
            206,
            &[
                "etag: \"t\"\r\n",
                "last-modified: ",
                "expires: ",
                "vary: x-a\r\n",
                "accept-ranges: bytes, lines\r\n",
                "content-type: text/html\r\n",
                "content-length: 2\r\n",
            ],
        ),
        (
            ranged,
            "GET\nrange: bytes=-20",
            206,
            &["content-range: bytes 0-9/10\r\n"],
        ),
        (ranged, "GET\nrange: bytes=-0", 416, &[]),
        (ranged, "GET\nrange: bytes=3-2", 416, &[]),
        (ranged, "GET\nrange: bytes=", 416, &[]),
        (ranged, "GET\nrange: bytes=0-1\nrange: bytes=3-4", 416, &[]),
        (
            ranged,
            "GET\nrange: bytes=20-, 3-4, 30-40",
            206,
            &["content-range: bytes 3-4/10\r\n", "\r\n\r\n34"],
        ),
        // In the order in which they are wished; who wishes more than there is gets it once.
        (
            ranged,
            "GET\nrange: bytes=8-, 0-1,5-5",
            206,
            &[
                "content-range: bytes 8-9/10\r\n\r\n89\r\n--",
                "content-range: bytes 0-1/10\r\n\r\n01\r\n--",
                "content-range: bytes 5-5/10\r\n\r\n5\r\n--",
                "!content-range: bytes 8-9/10\r\n\r\n01",
            ],
        ),
        (
            ranged,
            "GET\nrange: bytes=0-,0-,0-,0-",
            200,
            &["content-length: 10\r\n", "!content-range"],
        ),
        (
            ranged,
            "GET\nrange: bytes=0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0",
            416,
            &[],
        ),
        // One tag, or one date.
        (
            ranged,
            "GET\nrange: bytes=0-1\nif-range: \"x\", \"t\"",
            200,
            &[],
        ),
        (ranged, "GET\nrange: bytes=0-1\nif-range: *", 200, &[]),
        (ranged, "GET\nrange: bytes=0-1\nif-range: t", 200, &[]),
        (
            |set| {
                ranged(set);
                set.etag = Some(ETag::weak("t"));
            },
            "GET\nrange: bytes=0-1\nif-range: W/\"t\"",
            200,
            &[],
        ),
        (
            |set| set.ranges = Some(vec!["bytes"]),
            "GET\nrange: bytes=0-1\nif-range: Sun, 09 Sep 2001 01:46:40 GMT",
            200,
            &[],
        ),
        // Without a range it is nothing.
        (ranged, "GET\nif-range: \"x\"", 200, &[]),
        // A condition that does not hold goes before a range.
        (
            ranged,
            "GET\nrange: bytes=0-1\nif-none-match: \"t\"",
            304,
            &["!content-range"],
        ),
        (
            ranged,
            "POST\nrange: bytes=0-1\ncontent-type: text/plain",
            204,
            &["!content-range"],
        ),
        (
            |set| {
                ranged(set);
                set.choices = true;
            },
            "GET\nrange: bytes=0-1",
            300,
            &["0123456789", "!content-range"],
        ),
        (
            |set| {
                ranged(set);
                set.content = None;
            },
            "GET\nrange: bytes=0-1",
            200,
            &["!content-range", "content-length: 0\r\n"],
        ),
        (
            |set| {
                ranged(set);
                set.content = Some("");
            },
            "GET\nrange: bytes=0-",
            416,
            &["content-range: bytes */0\r\n"],
        ),
        (
            |set| set.ranges = Some(vec![]),
            "GET\nrange: bytes=0-1",
            200,
            &["0123456789"],
        ),
    ])
    .await;
}

fn slow(set: &mut Set) {
    ranged(set);
    set.source = Some(10);
}

#[tokio::test]
async fn bodies_that_are_read_as_they_are_sent() {
    play(&[
        (
            slow,
            "GET",
            200,
            &[
                "content-length: 10\r\n",
                "content-type: text/html\r\n",
                "\r\n\r\n0123456789",
            ],
        ),
        (slow, "HEAD", 200, &["content-length: 10\r\n"]),
        (
            slow,
            "GET\nrange: bytes=2-8",
            206,
            &["content-length: 7\r\n", "\r\n\r\n2345678"],
        ),
        (
            slow,
            "GET\nrange: bytes=0-5, 9-",
            206,
            &[
                "content-range: bytes 0-5/10\r\n\r\n012345\r\n--",
                "content-range: bytes 9-9/10\r\n\r\n9\r\n--",
            ],
        ),
        (slow, "GET\nrange: bytes=0-,1-", 200, &["0123456789"]),
        (
            |set| {
                slow(set);
                set.content = Some("");
                set.source = Some(0);
            },
            "GET",
            200,
            &["content-length: 0\r\n", "content-type: text/html\r\n"],
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_body_of_parts_has_the_length_that_is_said_and_its_boundary_is_new() {
    let mut play = Play::new().await;
    let mut boundaries = Vec::new();
    for change in [ranged, slow] {
        let (reply, _) = play.ask(change, "GET\nrange: bytes=0-1,8-").await;
        let boundary = reply.split_once("boundary=").expect("a boundary").1;
        let boundary = boundary.split_once("\r\n").expect("a line").0.to_owned();
        let wanted = format!(
            "\r\n--{boundary}\r\ncontent-type: text/html\r\ncontent-range: bytes 0-1/10\r\n\r\n01\
             \r\n--{boundary}\r\ncontent-type: text/html\r\ncontent-range: bytes 8-9/10\r\n\r\n89\
             \r\n--{boundary}--\r\n"
        );
        assert_eq!(body(&reply), wanted);
        boundaries.push(boundary);
    }
    assert_ne!(boundaries[0], boundaries[1]);
}

#[tokio::test]
async fn a_body_that_is_shorter_than_it_said_is_cut() {
    for request in [
        "GET",
        "GET\nrange: bytes=0-11",
        "GET\nrange: bytes=0-1,8-11",
    ] {
        let (ends, mut heard) = mpsc::unbounded_channel();
        let set = Set {
            source: Some(12),
            ranges: Some(vec!["bytes"]),
            ends: Some(ends),
            ..usual()
        };
        let current = Current(Arc::new(Mutex::new(set)));
        let stage = Stage::new(any(vec![Path::to("/", current)])).await;
        let (method, headers) = request.split_once('\n').unwrap_or((request, "x: y"));
        let said = format!("{method} / HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n");
        let reply = stage.talk(said).await;
        // The end of the connection may come before the head was written.
        let told = reply.split_once("content-length: ");
        let told = told.and_then(|(_, rest)| rest.split_once("\r\n"));
        let told = told.map_or(1, |(length, _)| length.parse().expect("a number"));
        assert!(body(&reply).len() < told, "{request}\n{reply}");
        let reason = heard.recv().await;
        assert!(matches!(reason, Some(Reason::Error(_))), "{reason:?}");
    }
}
