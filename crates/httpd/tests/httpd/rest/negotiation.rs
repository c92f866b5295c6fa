//! Types, languages and charsets by what is asked for.

use super::*;

#[tokio::test]
async fn negotiation() {
    play(&[
        (
            same,
            "GET",
            200,
            &["content-type: text/html\r\n", "0123456789", "!vary"],
        ),
        (
            same,
            "HEAD",
            200,
            &["content-type: text/html\r\n", "content-length: 10\r\n"],
        ),
        (|set| set.types = vec![], "GET", 406, &[]),
        (same, "GET\naccept: image/png", 406, &[]),
        (same, "GET\naccept: image", 400, &[]),
        (same, "POST\naccept: image/png", 406, &[]),
        (
            |set| set.types = vec!["text/html", "application/json"],
            "GET\naccept: application/json, text/html;q=0.5",
            200,
            &[
                "content-type: application/json\r\n",
                "x-number: 1\r\n",
                "vary: accept\r\n",
            ],
        ),
        (
            |set| set.types = vec!["text/html", "application/json"],
            "GET\naccept: text/*",
            200,
            &["content-type: text/html\r\n"],
        ),
        (
            |set| set.languages = Some(vec!["de", "en"]),
            "GET",
            200,
            &["content-language: de\r\n", "vary: accept-language\r\n"],
        ),
        (
            |set| set.languages = Some(vec!["de", "en-GB"]),
            "GET\naccept-language: en",
            200,
            &["content-language: en-GB\r\n"],
        ),
        (
            |set| set.languages = Some(vec!["de"]),
            "GET\naccept-language: en",
            406,
            &[],
        ),
        (
            |set| set.languages = Some(vec!["de"]),
            "GET\naccept-language: *",
            200,
            &["content-language: de\r\n"],
        ),
        (
            |set| set.languages = Some(vec!["de"]),
            "GET\naccept-language: e n",
            400,
            &[],
        ),
        (|set| set.languages = Some(vec![]), "GET", 406, &[]),
        (
            |set| set.charsets = Some(vec!["utf-8", "latin1"]),
            "GET\naccept-charset: latin1",
            200,
            &[
                "content-type: text/html; charset=latin1\r\n",
                "vary: accept-charset\r\n",
            ],
        ),
        (
            |set| set.charsets = Some(vec!["utf-8"]),
            "GET",
            200,
            &["content-type: text/html; charset=utf-8\r\n"],
        ),
        (
            |set| set.charsets = Some(vec!["utf-8"]),
            "GET\naccept-charset: latin1",
            406,
            &[],
        ),
        (
            |set| set.charsets = Some(vec!["utf-8"]),
            "GET\naccept-charset: utf-8;q=0",
            406,
            &[],
        ),
        (|set| set.charsets = Some(vec![]), "GET", 406, &[]),
        (
            |set| {
                set.types = vec!["application/json"];
                set.charsets = Some(vec!["utf-8"]);
            },
            "GET",
            200,
            &["content-type: application/json\r\n"],
        ),
        (
            |set| {
                set.open_type = true;
                set.charsets = Some(vec!["utf-8"]);
            },
            "GET\naccept: text/html;charset=latin1, text/html;level=1;q=0.5",
            200,
            &["content-type: text/html; level=1; charset=utf-8\r\n"],
        ),
        (
            |set| set.variances = vec!["x-a", "cookie"],
            "GET",
            200,
            &["vary: x-a, cookie\r\n"],
        ),
        (
            |set| set.ranges = Some(vec![]),
            "GET",
            200,
            &["accept-ranges: none\r\n"],
        ),
    ])
    .await;
}
