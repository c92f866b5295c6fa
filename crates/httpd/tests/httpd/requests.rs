//! What handlers learn of a request: its parts, fields and cookies, and its body in all the ways in which it is read.

use std::time::Duration;

use crate::stage::{Client, Served, Stage, any, body, status};
use httpd::{Host, Outcome, Path, Piece, ReadOpts, Request, field, handler_fn};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// A path whose handler is a function.
fn path(
    pattern: &str,
    function: impl for<'a> Fn(&'a mut Request) -> Served<'a> + Clone + Send + Sync + 'static,
) -> Path {
    Path::to(
        pattern,
        handler_fn((), move |req: &mut Request, (): &mut ()| function(req)),
    )
}

/// A path that replies with what a function makes of the request.
fn says(pattern: &str, of: fn(&mut Request) -> String) -> Path {
    path(pattern, move |req| {
        Box::pin(async move {
            let text = of(req);
            req.reply_text(200, text)?;
            Ok(Outcome::Done)
        })
    })
}

#[tokio::test]
async fn the_parts_of_a_request() {
    let stage = Stage::new(vec![Host::new("[...].example.org").paths(vec![
        says("/info/[...]", |req| {
            format!("{:?} {:?}", req.host_info(), req.path_info())
        }),
        says("/bound/:a/[:b]", |req| {
            let (bound, b) = (req.bindings(), req.binding_value("b"));
            format!("{bound:?} {b:?} {:?}", req.binding("none"))
        }),
        says("/about", |req| {
            let endpoint = req.endpoint().is_some();
            let local = req.local().ip();
            let (scheme, port) = (req.scheme(), req.port());
            format!(
                "{:?} {scheme} {} {port} {local} {} {:?} {:?} {endpoint}",
                req.version(),
                req.host(),
                req.target(),
                req.qs(),
                req.path_info(),
            )
        }),
        says("/headers", |req| {
            let all: Vec<_> = req.headers().get_all("x-y").iter().collect();
            let (first, bytes) = (req.header("X-Y"), req.header("x-bytes"));
            format!(
                "{all:?} {first:?} {bytes:?} {}",
                req.headers().contains_key("x-bytes")
            )
        }),
    ])])
    .await;
    let mut client = stage.connect().await;
    for (target, host, headers, wanted) in [
        (
            "/info/a/%2F/",
            "x.y.example.org",
            "",
            "Some([\"x\", \"y\"]) Some([[97], [47]])",
        ),
        ("/info", "example.org", "", "Some([]) Some([])"),
        (
            "/bound/1/%C3%A9",
            "example.org",
            "",
            "[(\"a\", \"1\"), (\"b\", \"é\")] Some(\"é\") None",
        ),
        ("/bound/1", "example.org", "", "[(\"a\", \"1\")] None None"),
        (
            "/about?a=%20b",
            "EXAMPLE.org:81",
            "",
            "HTTP/1.1 http example.org 81 127.0.0.1 /about?a=%20b \"a=%20b\" None true",
        ),
        (
            "/about",
            "example.org",
            "",
            "HTTP/1.1 http example.org 80 127.0.0.1 /about \"\" None true",
        ),
        (
            "/headers",
            "example.org",
            "X-Y: 1\r\nx-bytes: \u{e9}\r\nx-y: 2\r\n",
            "[\"1\", \"2\"] Some(\"1\") None true",
        ),
    ] {
        client
            .say(format!(
                "GET {target} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n"
            ))
            .await;
        assert_eq!(body(&client.reply().await), wanted, "{target}");
    }
}

#[tokio::test]
async fn fields_of_the_query_and_of_cookies() {
    let shows = |what: &'static str| {
        path(what, move |req| {
            Box::pin(async move {
                let fields = [field("n").int(), field("s").default("none")];
                let text = match what {
                    "/qs" => format!("{:?}", req.parse_qs()?),
                    "/match" => format!("{:?}", req.match_qs(&fields)?),
                    "/cookies" => format!("{:?}", req.parse_cookies()?),
                    _ => format!("{:?}", req.match_cookies(&fields)?),
                };
                req.reply_text(200, text)?;
                Ok(Outcome::Done)
            })
        })
    };
    let paths = ["/qs", "/match", "/cookies", "/matched"].map(shows);
    let stage = Stage::new(any(paths.to_vec())).await;
    let mut client = stage.connect().await;
    let cookies = |count: usize| {
        let pairs: Vec<String> = (0..count).map(|n| format!("c{n}=v")).collect();
        format!("Cookie: {}\r\n", pairs.join("; "))
    };
    let (most, more) = (cookies(100), cookies(101));
    for (target, headers, wanted) in [
        ("/qs", "", Some("[]")),
        ("/qs?", "", Some("[]")),
        (
            "/qs?a=1&a=2&b&=c&&d=%26+e",
            "",
            Some(
                "[(\"a\", \"1\"), (\"a\", \"2\"), (\"b\", \"\"), (\"\", \"c\"), (\"d\", \"& e\")]",
            ),
        ),
        ("/qs?a=%ff", "", None),
        ("/qs?%4", "", None),
        // Of a name that comes twice the first counts.
        ("/match?n=+1&n=x&s=", "", None),
        ("/match?n=%2B1&n=x&s=", "", Some("[1, \"\"]")),
        ("/match?s=x&n=007", "", Some("[7, \"x\"]")),
        ("/match?s=x", "", None),
        ("/match?n=", "", None),
        ("/cookies", "", Some("[]")),
        (
            "/cookies",
            "Cookie: a=1; b = \"2\" ;c;; d=e=f\r\nCookie: a=\u{e9}\r\n",
            Some(
                "[(\"a\", \"1\"), (\"b\", \"\\\"2\\\"\"), (\"\", \"c\"), (\"d\", \"e=f\"), (\"a\", \"é\")]",
            ),
        ),
        (
            "/matched",
            "Cookie: n=5\r\nCookie: s=t\r\n",
            Some("[5, \"t\"]"),
        ),
        ("/matched", "Cookie: s=t\r\n", None),
        ("/matched", "Cookie: n=x\r\n", None),
        ("/cookies", &more, None),
    ] {
        client
            .say(format!("GET {target} HTTP/1.1\r\nHost: a\r\n{headers}\r\n"))
            .await;
        let reply = client.reply().await;
        match wanted {
            Some(wanted) => assert_eq!(body(&reply), wanted, "{target} {headers}"),
            None => assert_eq!(status(&reply), 400, "{target} {headers}"),
        }
    }
    client
        .say(format!("GET /cookies HTTP/1.1\r\nHost: a\r\n{most}\r\n"))
        .await;
    assert_eq!(status(&client.reply().await), 200, "a hundred are read");
}

#[tokio::test]
async fn what_is_known_of_a_body_before_it_is_read() {
    let about = path("/", |req| {
        Box::pin(async {
            let before = (req.has_body(), req.body_length());
            let body = req.body(100).await?;
            let after = (req.has_body(), req.body_length());
            let again = req.body(100).await?;
            let text = format!("{before:?} {} {after:?} {}", body.len(), again.len());
            req.reply_text(200, text)?;
            Ok(Outcome::Done)
        })
    });
    let stage = Stage::new(any(vec![about])).await;
    let mut client = stage.connect().await;
    for (rest, wanted) in [
        ("\r\n", "(false, Some(0)) 0"),
        ("Content-Length: 0\r\n\r\n", "(false, Some(0)) 0"),
        ("Content-Length: 3\r\n\r\nabc", "(true, Some(3)) 3"),
        (
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "(true, None) 3",
        ),
    ] {
        client
            .say(format!("POST / HTTP/1.1\r\nHost: a\r\n{rest}"))
            .await;
        let wanted = format!("{wanted} (false, Some(0)) 0");
        assert_eq!(body(&client.reply().await), wanted, "{rest}");
    }
}

#[tokio::test]
async fn a_piece_is_given_when_its_time_is_over() {
    let (given, mut pieces) = mpsc::unbounded_channel();
    let reads = path("/", move |req| {
        let given = given.clone();
        Box::pin(async move {
            let opts = ReadOpts {
                length: 4,
                period: Duration::from_secs(3),
            };
            loop {
                let piece = req.read_body(opts).await?;
                let _ = given.send(piece.clone());
                if matches!(piece, Piece::Last(_)) {
                    return Ok(Outcome::Done);
                }
            }
        })
    });
    let stage = Stage::new(any(vec![reads])).await;
    let mut client = stage.connect().await;
    client
        .say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
        .await;
    let (first, after) = stage.until(pieces.recv()).await;
    assert_eq!(first, Some(Piece::More("".into())));
    assert!(after >= Duration::from_secs(3), "{after:?}");
    client.say("ab").await;
    let mut all = Vec::new();
    // Less than was wished, as its time is over; then the end.
    while all != b"ab" {
        match stage.until(pieces.recv()).await.0 {
            Some(Piece::More(piece)) => all.extend_from_slice(&piece),
            other => panic!("{other:?} behind {all:?}"),
        }
    }
    client.say("cde").await;
    loop {
        match stage.until(pieces.recv()).await.0 {
            Some(Piece::More(piece)) => all.extend_from_slice(&piece),
            Some(Piece::Last(piece)) => {
                all.extend_from_slice(&piece);
                break;
            }
            None => panic!("it ended behind {all:?}"),
        }
    }
    assert_eq!(all, b"abcde");
    assert_eq!(status(&client.reply().await), 204);
}

#[tokio::test]
async fn a_form_has_a_length_and_a_time() {
    let counts = path("/", |req| {
        Box::pin(async {
            let pairs = req.urlencoded().await?;
            let text = format!("{} {}", pairs.len(), pairs[0].1.len());
            req.reply_text(200, text)?;
            Ok(Outcome::Done)
        })
    });
    let stage = Stage::new(any(vec![counts])).await;
    for (length, code) in [(63_998, 200), (63_999, 413)] {
        let (value, whole) = ("v".repeat(length), length + 2);
        for body_of in [
            format!("Content-Length: {whole}\r\n\r\na={value}"),
            format!("Transfer-Encoding: chunked\r\n\r\n{whole:x}\r\na={value}\r\n0\r\n\r\n"),
        ] {
            let mut client = stage.connect().await;
            client
                .say(format!("POST / HTTP/1.1\r\nHost: a\r\n{body_of}"))
                .await;
            let reply = client.reply().await;
            assert_eq!(status(&reply), code, "{length}\n{reply}");
        }
    }
    let mut client = stage.connect().await;
    client
        .say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\na=b")
        .await;
    let (reply, after) = stage.until(client.rest()).await;
    assert_eq!(status(&reply), 408);
    assert!(reply.contains("connection: close\r\n"), "{reply}");
    assert!(after >= Duration::from_secs(5), "{after:?}");
}

/// Reads all parts; of `skipped` nothing, of `begun` one piece.
fn parts(limit: u64) -> Path {
    path("/", move |req| {
        Box::pin(async move {
            let mut text = String::new();
            let mut parts = req.multipart(limit)?;
            while let Some(mut part) = parts.next_part().await? {
                let name = part.name().unwrap_or("none").to_owned();
                let file = part.file_name().map(str::to_owned);
                let of = part.headers().get("content-type").cloned();
                let body = match name.as_str() {
                    "skipped" => continue,
                    "begun" => {
                        part.read().await?;
                        continue;
                    }
                    _ => part.body(20).await?,
                };
                text += &format!("{name} {file:?} {of:?} {body:?};");
            }
            drop(parts);
            req.reply_text(200, text)?;
            Ok(Outcome::Done)
        })
    })
}

async fn multipart(client: &mut Client<TcpStream>, boundary: &str, body_of: &str) -> String {
    client
        .say(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary={boundary}\r\nContent-Length: {}\r\n\r\n{body_of}",
            body_of.len()
        ))
        .await;
    client.reply().await
}

#[tokio::test]
async fn parts_are_read_skipped_and_refused() {
    let stage = Stage::new(any(vec![parts(400_000)])).await;
    let field = "Content-Disposition: form-data; name=";
    let long = "x".repeat(150_000);
    let many: String = (0..33).map(|n| format!("x-{n}: y\r\n")).collect();
    for (body_of, code, wanted) in [
        (
            format!("--B\r\n{field}\"a\"\r\n\r\none\r\n--B--\r\n"),
            200,
            "a None None b\"one\";",
        ),
        // What stands before and behind the parts is nothing.
        (
            format!("before\r\n--B \t\r\n{field}a\r\n\r\n\r\n--B--\r\nbehind"),
            200,
            "a None None b\"\";",
        ),
        // A boundary within a line is none.
        (
            format!("--B\r\n{field}\"a\"\r\n\r\nx--B\r\ny\r\n--B--"),
            200,
            "a None None b\"x--B\\r\\ny\";",
        ),
        (
            format!(
                "--B\r\n{field}\"f\"; filename=\"../x\"\r\nContent-Type: a/b\r\n\r\nz\r\n--B--"
            ),
            200,
            "f Some(\"../x\") Some(\"a/b\") b\"z\";",
        ),
        (
            "--B\r\nX: y\r\n\r\nz\r\n--B--".into(),
            200,
            "none None None b\"z\";",
        ),
        ("--B--\r\n".into(), 200, ""),
        // However long what is skipped is, it is no head.
        (
            format!(
                "--B\r\n{field}\"skipped\"\r\n\r\n{long}\r\n--B\r\n{field}\"begun\"\r\n\r\n{long}\r\n--B\r\n{field}\"b\"\r\n\r\ntwo\r\n--B--"
            ),
            200,
            "b None None b\"two\";",
        ),
        (format!("--B\r\nX: {long}\r\n\r\nz\r\n--B--"), 400, ""),
        (format!("{long}\r\n--B\r\nX: y\r\n\r\nz\r\n--B--"), 400, ""),
        (format!("--B\r\n{many}\r\nz\r\n--B--"), 400, ""),
        ("--B\r\nno colon\r\n\r\nz\r\n--B--".into(), 400, ""),
        ("--B\r\nX: y\r\n\r\nz".into(), 400, ""),
        ("--B\r\nX: y".into(), 400, ""),
        ("--C--".into(), 400, ""),
        ("".into(), 400, ""),
        (
            format!("--B\r\n{field}\"a\"\r\n\r\nmore than twenty bytes\r\n--B--"),
            413,
            "",
        ),
        (
            format!(
                "--B\r\n{field}\"skipped\"\r\n\r\n{}\r\n--B--",
                long.repeat(3)
            ),
            413,
            "",
        ),
    ] {
        let shown: String = body_of.chars().take(100).collect();
        let mut client = stage.connect().await;
        let reply = multipart(&mut client, "B", &body_of).await;
        assert_eq!((status(&reply), body(&reply)), (code, wanted), "{shown}");
    }
    let mut client = stage.connect().await;
    let quoted = "--a b\r\nX: y\r\n\r\nz\r\n--a b--";
    let reply = multipart(&mut client, "\"a b\"", quoted).await;
    assert_eq!(body(&reply), "none None None b\"z\";");
    for of in [
        "multipart/form-data",
        "text/plain; boundary=B",
        "multipart/form-data; boundary=\"\"",
    ] {
        let said = format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: {of}\r\nContent-Length: 5\r\n\r\n--B--"
        );
        client.say(said).await;
        assert_eq!(status(&client.reply().await), 400, "{of}");
    }
    // A part that does not come.
    client
        .say("POST / HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=B\r\nContent-Length: 50\r\n\r\n--B\r\nX: y\r\n")
        .await;
    let (reply, after) = stage.until(client.rest()).await;
    assert_eq!(status(&reply), 408);
    assert!(after >= Duration::from_secs(30), "{after:?}");
}
