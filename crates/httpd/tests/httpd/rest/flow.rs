//! The flow itself: which callbacks are asked, in which order, what each may do to end it, and what is where none is made.

use super::*;
use httpd::{Loop, LoopInfo, Mailbox, Next, Sender};

/// What is asked before a resource is looked at.
const FIRST: [&str; 10] = [
    "service_available",
    "known_methods",
    "uri_too_long",
    "allowed_methods",
    "malformed_request",
    "is_authorized",
    "forbidden",
    "rate_limited",
    "valid_content_headers",
    "valid_entity_length",
];

/// What is asked next, unless the method is OPTIONS.
const THEN: [&str; 7] = [
    "negotiates_type",
    "content_types_provided",
    "languages_provided",
    "charsets_provided",
    "ranges_provided",
    "variances",
    "resource_exists",
];

const POST: &str = "POST\ncontent-type: text/plain";
const PUT: &str = "PUT\ncontent-type: text/plain";

fn tagged_and_dated(set: &mut Set) {
    tagged(set);
    dated(set);
}

fn gone(set: &mut Set) {
    set.exists = false;
    set.existed = true;
}

fn in_ranges(set: &mut Set) {
    set.ranges = Some(vec!["bytes", "lines"]);
    tagged_and_dated(set);
}

#[tokio::test]
async fn callbacks_are_asked_in_their_order_and_no_more_than_needed() {
    let mut play = Play::new().await;
    // What makes each of the first end the flow, in their order.
    let ends: [Change; 10] = [
        |set| set.available = false,
        |set| set.known = vec![],
        |set| set.too_long = true,
        |set| set.allowed = vec![],
        |set| set.malformed = true,
        |set| set.challenge = Some("x"),
        |set| set.forbidden = true,
        |set| set.limited = Some("1"),
        |set| set.content_headers = false,
        |set| set.entity_length = false,
    ];
    for (number, change) in ends.into_iter().enumerate() {
        let (reply, asked) = play.ask(change, "GET").await;
        assert_eq!(asked, FIRST[..=number], "{reply}");
    }
    let (_, asked) = play.ask(same, "OPTIONS").await;
    assert_eq!(asked, [&FIRST[..], &["options"]].concat());
    // The charsets are asked for before the type is chosen where it may have one of them.
    let (_, asked) = play.ask(|set| set.open_type = true, "GET").await;
    let early = [
        "negotiates_type",
        "content_types_provided",
        "charsets_provided",
    ];
    assert_eq!(asked[FIRST.len()..][..3], early);
    let described = &["generate_etag", "last_modified", "expires"][..];
    let given = &["provide", "multiple_choices"][..];
    let taken = &["content_types_accepted", "accept"][..];
    let moved = &[
        "previously_existed",
        "moved_permanently",
        "moved_temporarily",
    ][..];
    let none = |set: &mut Set| set.exists = false;
    let cases: &[(Change, &str, &[&[&str]])] = &[
        (same, "GET", &[described, given]),
        (same, "HEAD", &[described, given]),
        (same, "DELETE", &[&["delete_resource"]]),
        (
            |set| set.deletes = true,
            "DELETE",
            &[&["delete_resource", "delete_completed"]],
        ),
        (same, POST, &[taken]),
        (same, "POST", &[&["content_types_accepted"]]),
        (
            |set| set.says = "x",
            "PATCH\ncontent-type: text/plain",
            &[taken, &["multiple_choices"]],
        ),
        (same, PUT, &[&["is_conflict"], taken]),
        (none, "GET", &[&["previously_existed"]]),
        (gone, "GET", &[moved]),
        (
            none,
            POST,
            &[&["previously_existed", "allow_missing_post"], taken],
        ),
        (gone, POST, &[moved, &["allow_missing_post"], taken]),
        (none, PUT, &[&["moved_permanently", "is_conflict"], taken]),
        (none, "GET\nif-match: x", &[]),
        // What a condition has asked is not asked again.
        (
            tagged_and_dated,
            "GET\nif-match: \"t\"",
            &[described, given],
        ),
        (
            tagged_and_dated,
            "GET\nif-none-match: \"t\"",
            &[&["generate_etag", "expires"]],
        ),
        (
            tagged_and_dated,
            "GET\nif-modified-since: Sun, 09 Sep 2001 01:46:40 GMT",
            &[&["last_modified", "generate_etag", "expires"]],
        ),
        (
            tagged_and_dated,
            "GET\nif-unmodified-since: Sun, 09 Sep 2001 01:46:40 GMT",
            &[&["last_modified", "generate_etag", "expires"], given],
        ),
        (
            tagged_and_dated,
            "PUT\ncontent-type: text/plain\nif-match: *",
            &[&["is_conflict"], taken],
        ),
        (
            in_ranges,
            "GET\nrange: bytes=0-1\nif-range: \"t\"",
            &[described, &["range_satisfiable"], given],
        ),
        (
            in_ranges,
            "GET\nrange: lines=1",
            &[described, &["range_satisfiable", "provide_range"]],
        ),
        (in_ranges, "GET\nrange: pages=1", &[described, given]),
    ];
    for (change, request, rest) in cases {
        let (reply, asked) = play.ask(change, request).await;
        let wanted = [&FIRST[..], &THEN, &rest.concat()].concat();
        assert_eq!(asked, wanted, "{request}\n{reply}");
    }
}

#[tokio::test]
async fn every_callback_may_end_the_flow() {
    let mut places: Vec<(&str, Change, &str)> = Vec::new();
    places.extend(FIRST.map(|name| (name, same as Change, "GET")));
    places.extend(THEN.map(|name| (name, same as Change, "GET")));
    let others: [(&str, Change, &str); 17] = [
        ("options", same, "OPTIONS"),
        ("generate_etag", same, "GET\nif-match: \"t\""),
        ("generate_etag", same, "GET"),
        ("last_modified", same, "GET"),
        ("expires", same, "GET"),
        ("provide", same, "GET"),
        ("multiple_choices", same, "GET"),
        ("range_satisfiable", in_ranges, "GET\nrange: bytes=0-1"),
        ("provide_range", in_ranges, "GET\nrange: lines=1"),
        ("previously_existed", |set| set.exists = false, "GET"),
        ("moved_permanently", gone, "GET"),
        ("moved_temporarily", gone, "GET"),
        ("allow_missing_post", gone, POST),
        ("is_conflict", same, "PUT"),
        ("delete_resource", same, "DELETE"),
        ("content_types_accepted", same, POST),
        ("accept", same, POST),
    ];
    places.extend(others);
    places.push(("delete_completed", |set| set.deletes = true, "DELETE"));
    let mut play = Play::new().await;
    for (place, change, request) in places {
        for (how, code, said) in [
            ("stop", 298, "stopped"),
            ("silent", 204, ""),
            ("switch", 299, "elsewhere"),
            ("error", 413, ""),
            ("fall", 500, ""),
        ] {
            let halting = |set: &mut Set| {
                change(set);
                set.halt = Some((place, how));
            };
            let (reply, asked) = play.ask(halting, request).await;
            let found = (status(&reply), body(&reply));
            assert_eq!(found, (code, said), "{place} {how}\n{reply}");
            assert_eq!(asked.last(), Some(&place), "{how}");
        }
    }
}

/// A resource that becomes a loop, which says what it hears.
#[derive(Clone)]
struct Waits(mpsc::UnboundedSender<Sender<&'static str>>);

impl Handler for Waits {
    async fn init(&mut self, _req: &mut Request) -> Result<Outcome, Error> {
        Ok(Outcome::rest(self.clone()))
    }
}

impl Rest for Waits {
    async fn provide(&mut self, _chosen: &Chosen, _req: &mut Request) -> Decision<Content> {
        Err(Outcome::looping(self.clone()).into())
    }

    fn terminate(&mut self, _reason: &Reason, _req: &Request) {
        panic!("it is the loop that is told");
    }
}

impl Loop for Waits {
    type Info = &'static str;

    async fn start(
        &mut self,
        mailbox: &Mailbox<&'static str>,
        _req: &mut Request,
    ) -> Result<Next, Error> {
        let _ = self.0.send(mailbox.sender());
        Ok(Next::Go)
    }

    async fn info(
        &mut self,
        info: LoopInfo<&'static str>,
        req: &mut Request,
    ) -> Result<Next, Error> {
        if let LoopInfo::Message(text) = info {
            // What was negotiated stands.
            req.reply(200, (), text)?;
        }
        Ok(Next::Stop)
    }
}

#[tokio::test]
async fn a_resource_may_become_a_loop() {
    let (began, mut heard) = mpsc::unbounded_channel();
    let stage = Stage::new(any(vec![Path::to("/", Waits(began))])).await;
    let mut client = stage.connect().await;
    for text in ["one", "two"] {
        client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let sender = heard.recv().await.expect("it has begun");
        sender.send(text).expect("taken");
        let reply = client.reply().await;
        assert_eq!((status(&reply), body(&reply)), (200, text));
        assert!(reply.contains("content-type: text/html\r\n"), "{reply}");
    }
}

/// Resources that have no more than what must be made.
#[derive(Clone, Copy)]
enum Bare {
    Usual,
    AnyMethod,
    Missing,
    InLines,
    Taking,
}

impl Handler for Bare {
    async fn init(&mut self, _req: &mut Request) -> Result<Outcome, Error> {
        Ok(match self {
            Bare::Usual => Outcome::rest(Usual),
            other => Outcome::rest(*other),
        })
    }
}

struct Usual;

impl Rest for Usual {
    async fn provide(&mut self, _chosen: &Chosen, _req: &mut Request) -> Decision<Content> {
        Ok("bare".into())
    }
}

impl Rest for Bare {
    async fn allowed_methods(&mut self, _req: &mut Request) -> Decision<Vec<Method>> {
        Ok(METHODS.to_vec())
    }

    async fn resource_exists(&mut self, _req: &mut Request) -> Decision<bool> {
        Ok(!matches!(self, Bare::Missing))
    }

    async fn ranges_provided(&mut self, _req: &mut Request) -> Decision<Option<Vec<String>>> {
        Ok(matches!(self, Bare::InLines).then(|| vec!["lines".to_owned()]))
    }

    async fn content_types_accepted(
        &mut self,
        _req: &mut Request,
    ) -> Decision<Vec<Option<MediaType>>> {
        Ok(vec![None; usize::from(matches!(self, Bare::Taking))])
    }

    async fn provide(&mut self, _chosen: &Chosen, _req: &mut Request) -> Decision<Content> {
        Ok("bare".into())
    }
}

#[tokio::test]
async fn what_is_where_no_callback_is_made() {
    let paths = vec![
        Path::to("/usual", Bare::Usual),
        Path::to("/any", Bare::AnyMethod),
        Path::to("/missing", Bare::Missing),
        Path::to("/lines", Bare::InLines),
        Path::to("/taking", Bare::Taking),
    ];
    let stage = Stage::new(any(paths)).await;
    for (request, headers, code) in [
        ("GET /usual", "", 200),
        ("HEAD /usual", "", 200),
        ("OPTIONS /usual", "", 200),
        ("POST /usual", "", 405),
        ("PUT /usual", "", 405),
        ("PATCH /usual", "", 405),
        ("DELETE /usual", "", 405),
        ("BREW /usual", "", 501),
        ("GET /usual", "Accept: image/png\r\n", 406),
        // What is not provided is not looked at.
        (
            "GET /usual",
            "Accept-Language: !\r\nAccept-Charset: !\r\n",
            200,
        ),
        ("GET /usual", "Range: bytes=0-1\r\n", 200),
        ("GET /usual", "If-None-Match: \"x\"\r\n", 200),
        ("GET /usual", "If-None-Match: *\r\n", 304),
        ("GET /usual", "If-Match: *\r\n", 200),
        ("POST /any", "Content-Type: text/plain\r\n", 415),
        ("PUT /any", "Content-Type: text/plain\r\n", 415),
        ("PATCH /any", "Content-Type: text/plain\r\n", 415),
        ("DELETE /any", "", 500),
        ("GET /missing", "", 404),
        ("HEAD /missing", "", 404),
        ("PATCH /missing", "", 404),
        ("DELETE /missing", "", 404),
        ("POST /missing", "", 415),
        ("PUT /missing", "", 415),
        ("GET /lines", "Range: lines=1\r\n", 500),
        ("POST /taking", "", 400),
    ] {
        let said = format!("{request} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n");
        let reply = stage.talk(said).await;
        assert_eq!(status(&reply), code, "{request} {headers}\n{reply}");
        let has_body = code == 200 && request.starts_with("GET");
        assert_eq!(body(&reply), if has_body { "bare" } else { "" });
        let is_typed = code == 200 && !request.starts_with("OPTIONS");
        let found = reply.contains("content-type: text/html\r\n");
        assert_eq!(found, is_typed, "{reply}");
        for unsaid in [
            "etag",
            "last-modified",
            "expires",
            "vary",
            "content-language",
        ] {
            assert!(!reply.contains(unsaid), "{unsaid}\n{reply}");
        }
        let methods = if request.ends_with("/usual") {
            "GET, HEAD, OPTIONS"
        } else {
            "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
        };
        // Failures of the handler say nothing of it.
        if !matches!(code, 500 | 501) {
            let allow = format!("allow: {methods}\r\n");
            assert!(reply.contains(&allow), "{reply}");
        }
    }
}

#[tokio::test]
async fn before_there_is_a_resource() {
    play(&[
        (|set| set.available = false, "GET", 503, &[]),
        (same, "BREW", 501, &[]),
        (|set| set.too_long = true, "GET", 414, &["!allow"]),
        (
            |set| set.allowed = vec![Method::GET, Method::HEAD],
            "POST",
            405,
            &["allow: GET, HEAD\r\n"],
        ),
        (|set| set.malformed = true, "GET", 400, &["allow: "]),
        (
            |set| set.challenge = Some("Basic realm=\"x\""),
            "GET",
            401,
            &["www-authenticate: Basic realm=\"x\"\r\n"],
        ),
        (|set| set.forbidden = true, "GET", 403, &[]),
        (
            |set| set.limited = Some("7"),
            "GET",
            429,
            &["retry-after: 7\r\n"],
        ),
        (|set| set.content_headers = false, "GET", 501, &[]),
        (|set| set.entity_length = false, "GET", 413, &[]),
        (
            same,
            "OPTIONS",
            200,
            &[
                "allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n",
                "content-length: 0",
            ],
        ),
        (|set| set.says = "said", "OPTIONS", 200, &["said"]),
    ])
    .await;
}

#[tokio::test]
async fn the_end_is_told_once() {
    let (ends, mut heard) = mpsc::unbounded_channel();
    for (halt, reason) in [
        (None, Reason::Normal),
        (Some(("forbidden", "stop")), Reason::Stop),
        (Some(("forbidden", "switch")), Reason::Stop),
        (
            Some(("forbidden", "error")),
            Reason::Error(Error::too_large("no")),
        ),
        (Some(("forbidden", "fall")), Reason::Panic("fell".into())),
        (Some(("forbidden", "wait")), Reason::Disconnected),
    ] {
        let set = Set {
            halt,
            ends: Some(ends.clone()),
            ..usual()
        };
        let current = Current(Arc::new(Mutex::new(set)));
        let stage = Stage::new(any(vec![Path::to("/", current)])).await;
        if reason == Reason::Disconnected {
            let mut client = stage.connect().await;
            client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            client.io.shutdown().await.expect("shut");
            assert_eq!(client.rest().await, "");
        } else {
            stage.get("/").await;
        }
        assert_eq!(heard.recv().await, Some(reason), "{halt:?}");
        assert!(heard.try_recv().is_err(), "{halt:?}");
    }
    // Also where it is the flow that fails, outside the callbacks.
    for header in [
        "Accept: x",
        "Accept-Language: d e",
        "Accept-Charset: u;q=2",
        "If-Match: x",
        "If-None-Match: x",
    ] {
        let set = Set {
            languages: Some(vec!["de"]),
            charsets: Some(vec!["utf-8"]),
            ends: Some(ends.clone()),
            ..usual()
        };
        let current = Current(Arc::new(Mutex::new(set)));
        let stage = Stage::new(any(vec![Path::to("/", current)])).await;
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{header}\r\nConnection: close\r\n\r\n");
        let reply = stage.talk(request).await;
        assert_eq!((status(&reply), body(&reply)), (400, ""), "{header}");
        let reason = heard.recv().await;
        assert!(matches!(reason, Some(Reason::Error(_))), "{reason:?}");
        assert!(heard.try_recv().is_err(), "{header}");
    }
}
