//! Conditional requests (RFC 9110 §13).

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
        (
            |set| {
                tagged(set);
                set.types = vec!["text/html", "text/plain"];
                set.languages = Some(vec!["de"]);
                set.says = "no body";
            },
            "GET\nif-none-match: *",
            304,
            &["vary: accept\r\n", "etag: \"t\"\r\n", "!content-", "!no body"],
        ),
        // Lines of one header are one list.
        (
            tagged,
            "GET\nif-match: \"x\"\nif-match: \"t\"",
            200,
            &[],
        ),
        (
            tagged,
            "PUT\ncontent-type: text/plain\nif-match: \"t\"",
            204,
            &[],
        ),
        // What stands between the quotes is bytes: a backslash, or what is no ASCII.
        (
            |set| set.etag = Some(ETag::strong("\\")),
            "PUT\ncontent-type: text/plain\nif-match: \"\\\"",
            204,
            &[],
        ),
        (
            tagged,
            "PUT\ncontent-type: text/plain\nif-match: \"\u{e9}\"",
            412,
            &[],
        ),
        (
            |set| set.etag = Some(ETag::strong("\u{e9}")),
            "PUT\ncontent-type: text/plain\nif-match: \"\u{e9}\"",
            204,
            &[],
        ),
        (tagged, "GET\nif-match:", 400, &[]),
        (tagged, "GET\nif-match: \"t\" \"x\"", 400, &[]),
        (tagged, "GET\nif-none-match: *, \"t\"", 400, &[]),
        (tagged, "POST\nif-none-match: W/\"t\"", 412, &[]),
        (tagged, "DELETE\nif-none-match: \"x\"", 500, &[]),
        (
            |set| set.etag = Some(ETag::weak("t")),
            "GET\nif-none-match: \"t\"",
            304,
            &["etag: W/\"t\"\r\n"],
        ),
        (same, "GET\nif-none-match: *", 304, &["!etag"]),
        (same, "PUT\nif-match: *\ncontent-type: text/plain", 204, &[]),
        // Both tags: each has its say.
        (
            tagged,
            "GET\nif-match: \"t\"\nif-none-match: \"t\"",
            304,
            &[],
        ),
        (
            tagged,
            "GET\nif-match: \"x\"\nif-none-match: \"t\"",
            412,
            &[],
        ),
        (
            dated,
            "GET\nif-unmodified-since: Sun, 09 Sep 2001 01:46:40 GMT\nif-modified-since: Sun, 09 Sep 2001 01:46:40 GMT",
            304,
            &[],
        ),
        (
            dated,
            "PUT\ncontent-type: text/plain\nif-unmodified-since: Sun, 09 Sep 2001 01:46:39 GMT",
            412,
            &[],
        ),
        (
            dated,
            "PUT\ncontent-type: text/plain\nif-unmodified-since: yesterday",
            204,
            &[],
        ),
        (
            dated,
            "POST\ncontent-type: text/plain\nif-modified-since: Sun, 09 Sep 2001 01:46:40 GMT",
            204,
            &[],
        ),
        (
            dated,
            "HEAD\nif-modified-since: Sun, 09 Sep 2001 01:46:40 GMT",
            304,
            &[],
        ),
        // The forms of dates that are obsolete are read (RFC 9110 §5.6.7), a list of dates is none.
        (
            dated,
            "GET\nif-modified-since: Sunday, 09-Sep-01 01:46:40 GMT",
            304,
            &[],
        ),
        (
            dated,
            "GET\nif-modified-since: Sun Sep  9 01:46:40 2001",
            304,
            &[],
        ),
        (
            dated,
            "GET\nif-modified-since: Sun, 09 Sep 2001 01:46:40 GMT\nif-modified-since: Sun, 09 Sep 2001 01:46:40 GMT",
            200,
            &[],
        ),
        // Nothing has changed later than now, which is 2030 on the stage.
        (
            |set| set.modified = Some(2_000_000_000),
            "GET",
            200,
            &["last-modified: Tue, 01 Jan 2030 00:00:00 GMT\r\n"],
        ),
        (
            |set| set.modified = Some(2_000_000_000),
            "GET\nif-modified-since: Tue, 01 Jan 2030 00:00:00 GMT",
            304,
            &[],
        ),
    ])
    .await;
}
