//! Conditional requests (RFC 9110 §13) and ranges (§14).

use super::*;

#[tokio::test]
async fn conditions() {
    play(&[
        (tagged, "GET", 200, &["etag: \"t\"\r\n"]),
        (
            dated,
            "GET",
            200,
            &[
                "last-modified: Sun, 09 Sep 2001 01:46:40 GMT\r\n",
                "expires: Sun, 09 Sep 2001 01:46:40 GMT\r\n",
            ],
        ),
        (tagged, "GET\nif-match: \"t\"", 200, &[]),
        (tagged, "GET\nif-match: \"x\", \"t\"", 200, &[]),
        (tagged, "GET\nif-match: *", 200, &[]),
        (tagged, "GET\nif-match: \"x\"", 412, &[]),
        (tagged, "GET\nif-match: W/\"t\"", 412, &[]),
        (
            |set| set.etag = Some(ETag::weak("t")),
            "GET\nif-match: W/\"t\"",
            412,
            &[],
        ),
        (same, "GET\nif-match: \"t\"", 412, &[]),
        (tagged, "GET\nif-match: t", 400, &[]),
        (tagged, "DELETE\nif-match: \"x\"", 412, &[]),
        (
            tagged,
            "GET\nif-none-match: \"t\"",
            304,
            &["etag: \"t\"\r\n", "!content-type", "!last-modified"],
        ),
        (tagged, "GET\nif-none-match: W/\"t\"", 304, &[]),
        (tagged, "HEAD\nif-none-match: *", 304, &[]),
        (tagged, "GET\nif-none-match: \"x\"", 200, &[]),
        (tagged, "PUT\nif-none-match: *", 412, &[]),
        (same, "GET\nif-none-match: \"t\"", 200, &[]),
        (tagged, "GET\nif-none-match: t", 400, &[]),
        (
            dated,
            "GET\nif-modified-since: Sun, 09 Sep 2001 01:46:40 GMT",
            304,
            &["expires: "],
        ),
        (
            dated,
            "GET\nif-modified-since: Sun, 09 Sep 2001 01:46:39 GMT",
            200,
            &[],
        ),
        (
            dated,
            "GET\nif-modified-since: Sun, 09 Sep 2999 01:46:39 GMT",
            200,
            &[],
        ),
        (dated, "GET\nif-modified-since: yesterday", 200, &[]),
        (
            same,
            "GET\nif-modified-since: Sun, 09 Sep 2001 01:46:40 GMT",
            200,
            &[],
        ),
        (
            dated,
            "DELETE\nif-modified-since: Sun, 09 Sep 2001 01:46:40 GMT",
            500,
            &[],
        ),
        (
            dated,
            "GET\nif-unmodified-since: Sun, 09 Sep 2001 01:46:39 GMT",
            412,
            &[],
        ),
        (
            dated,
            "GET\nif-unmodified-since: Sun, 09 Sep 2001 01:46:40 GMT",
            200,
            &[],
        ),
        (
            same,
            "GET\nif-unmodified-since: Sun, 09 Sep 2001 01:46:40 GMT",
            200,
            &[],
        ),
        // The tag goes before the date.
        (
            |set| {
                dated(set);
                tagged(set);
            },
            "GET\nif-match: \"t\"\nif-unmodified-since: Sun, 09 Sep 2001 01:46:39 GMT",
            200,
            &[],
        ),
        (
            |set| {
                dated(set);
                tagged(set);
            },
            "GET\nif-none-match: \"x\"\nif-modified-since: Sun, 09 Sep 2001 01:46:40 GMT",
            200,
            &[],
        ),
    ])
    .await;
}

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
    ])
    .await;
}
