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

#[tokio::test]
async fn what_is_said_oddly() {
    play(&[
        // Nothing wished is all wished.
        (same, "GET\naccept:", 200, &[]),
        (same, "GET\naccept: , ,", 200, &[]),
        (
            |set| {
                set.languages = Some(vec!["de"]);
                set.charsets = Some(vec!["utf-8"]);
            },
            "GET\naccept-language:\naccept-charset: ,",
            200,
            &["content-language: de\r\n", "charset=utf-8\r\n"],
        ),
        // Lines of one header are one list.
        (
            |set| set.types = vec!["text/html", "application/json"],
            "GET\naccept: application/json;q=0.1\naccept: text/html;q=0.2",
            200,
            &["content-type: text/html\r\n"],
        ),
        (same, "GET\naccept: image/png\naccept: x", 400, &[]),
        // What is no text is no token.
        (same, "GET\naccept: text/\u{e9}", 400, &[]),
        (
            |set| set.charsets = Some(vec!["utf-8"]),
            "GET\naccept-charset: utf-8;q=1.5",
            400,
            &[],
        ),
        (
            |set| set.charsets = Some(vec!["utf-8"]),
            "GET\naccept-charset: *",
            200,
            &["charset=utf-8\r\n"],
        ),
        (same, "GET\naccept: text/html;q=0", 406, &[]),
        (same, "GET\naccept: text/html;q=0, */*", 406, &[]),
        (same, "GET\naccept: */*;q=0.001", 200, &[]),
        // Parameters behind the weight are none of the type's.
        (same, "GET\naccept: text/html;q=0.5;level=1", 200, &[]),
        (same, "GET\naccept: text/html;level=1", 406, &[]),
        (same, "DELETE\naccept: image/png", 406, &[]),
        (same, "PUT\naccept: image/png", 406, &[]),
        (same, "OPTIONS\naccept: image/png", 200, &[]),
        (
            |set| set.languages = Some(vec!["en"]),
            "GET\naccept-language: en-GB",
            406,
            &[],
        ),
        (
            |set| set.languages = Some(vec!["de", "EN-gb"]),
            "GET\naccept-language: en-gb, de;q=0.9",
            200,
            &["content-language: EN-gb\r\n"],
        ),
        // A resource that does not choose.
        (
            |set| {
                set.asks = false;
                set.types = vec!["text/html", "application/json"];
            },
            "GET\naccept: application/json",
            200,
            &["content-type: text/html\r\n", "!vary"],
        ),
        (|set| set.asks = false, "GET\naccept: x", 200, &[]),
    ])
    .await;
}

#[tokio::test]
async fn charsets_and_what_is_told_of_the_choice() {
    play(&[
        (
            |set| {
                set.types = vec!["text/html", "application/json"];
                set.languages = Some(vec!["de", "en"]);
                set.charsets = Some(vec!["utf-8", "latin1"]);
                set.variances = vec!["x-a"];
            },
            "GET\naccept-language: en\naccept-charset: latin1",
            200,
            &[
                "vary: accept-charset, accept-language, accept, x-a\r\n",
                "x-chosen: text/html Some(\"en\") Some(\"latin1\")\r\n",
                "content-type: text/html; charset=latin1\r\n",
            ],
        ),
        // All of it stands before what is replied to other methods too.
        (
            |set| {
                set.types = vec!["text/html", "application/json"];
                set.says = "taken";
            },
            "POST\ncontent-type: text/plain\naccept: application/json",
            200,
            &["content-type: application/json\r\n", "vary: accept\r\n"],
        ),
        // The charset of a type is its own.
        (
            |set| {
                set.types = vec!["text/html; charset=utf-8"];
                set.charsets = Some(vec!["latin1"]);
            },
            "GET\naccept-charset: latin1",
            200,
            &[
                "content-type: text/html; charset=utf-8\r\n",
                "x-chosen: text/html; charset=utf-8 None Some(\"utf-8\")\r\n",
            ],
        ),
        (
            |set| set.types = vec!["text/html; charset=utf-8"],
            "GET\naccept: text/html;charset=UTF-8",
            200,
            &[],
        ),
        // A type that takes any parameter takes a charset that is provided, and none that nobody has heard of.
        (
            |set| {
                set.open_type = true;
                set.charsets = Some(vec!["latin1", "utf-8"]);
            },
            "GET\naccept: text/html;charset=utf-8",
            200,
            &[
                "content-type: text/html; charset=utf-8\r\n",
                "x-chosen: text/html; charset=utf-8 None Some(\"utf-8\")\r\n",
            ],
        ),
        (
            |set| {
                set.open_type = true;
                set.charsets = Some(vec!["utf-8"]);
            },
            "GET\naccept: text/html;charset=latin1",
            406,
            &[],
        ),
        (
            |set| set.open_type = true,
            "GET\naccept: text/html;charset=latin1;level=1",
            200,
            &[
                "content-type: text/html; level=1\r\n",
                "x-chosen: text/html; level=1 None None\r\n",
            ],
        ),
        (
            |set| {
                set.types = vec!["application/x"];
                set.open_type = true;
                set.charsets = Some(vec!["utf-8"]);
            },
            "GET\naccept: application/x;charset=latin1",
            200,
            &[
                "content-type: application/x; charset=latin1\r\n",
                "x-chosen: application/x; charset=latin1 None None\r\n",
            ],
        ),
        // Only texts have one.
        (
            |set| {
                set.types = vec!["image/png"];
                set.charsets = Some(vec!["utf-8"]);
            },
            "GET\naccept-charset: latin1",
            200,
            &["content-type: image/png\r\n"],
        ),
    ])
    .await;
}
