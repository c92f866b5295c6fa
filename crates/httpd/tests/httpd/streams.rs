//! Stream handlers: compression both ways, the log of accesses, metrics.

use std::io::{Read, Write};
use std::sync::Arc;

use crate::stage::{Stage, any, status};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use httpd::{
    AccessLog, Compress, Decompress, Fixed, Metrics, Options, Outcome, Path, Request, Static,
    Summary, handler_fn,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

/// A reply as bytes: its head and, if its length is told, its body.
async fn reply(stage: &Stage, request: &str) -> (String, Vec<u8>) {
    let mut client = stage.connect().await;
    client.say(request).await;
    let mut all = Vec::new();
    client.io.read_to_end(&mut all).await.expect("read");
    let at = all
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .expect("a head")
        + 4;
    (
        String::from_utf8(all[..at].to_vec()).expect("text"),
        all[at..].to_vec(),
    )
}

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n")
}

fn gunzip(bytes: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(bytes)
        .read_to_string(&mut text)
        .expect("gzip");
    text
}

fn unbrotli(bytes: &[u8]) -> String {
    let mut text = String::new();
    brotli::Decompressor::new(bytes, 4096)
        .read_to_string(&mut text)
        .expect("brotli");
    text
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("written");
    encoder.finish().expect("written")
}

const LONG: &str = "All work and no play makes Jack a dull boy. ";

async fn compressing() -> Stage {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("a.txt"), LONG.repeat(20)).expect("written");
    let paths = vec![
        Path::to("/long", Fixed::text(200, LONG.repeat(20))),
        Path::to("/short", Fixed::text(200, "short")),
        Path::to("/image", Fixed::new(200, "image/png", LONG.repeat(20))),
        Path::to("/tagged", Static::file(folder.path().join("a.txt"))),
        // With the headers that the query names.
        Path::to(
            "/with",
            handler_fn((), |req: &mut Request, (): &mut ()| {
                Box::pin(async {
                    req.set_header("content-type", "text/plain")?;
                    for (name, value) in req.parse_qs()? {
                        req.set_header(name, value)?;
                    }
                    match req.header("x-status") {
                        None => req.reply(200, (), LONG.repeat(20))?,
                        Some(_) => req.reply(204, (), "")?,
                    }
                    Ok(Outcome::Done)
                })
            }),
        ),
        Path::to("/300", Fixed::text(200, "x".repeat(300))),
        Path::to("/301", Fixed::text(200, "x".repeat(301))),
        Path::to(
            "/stream",
            handler_fn((), |req: &mut Request, (): &mut ()| {
                Box::pin(async {
                    req.stream(
                        200,
                        [("content-type", "text/event-stream"), ("trailer", "x-sum")],
                    )?;
                    req.send("one\n").await?;
                    // The second is sent when the first has been read.
                    let went_on = req.body(10).await?;
                    req.send(went_on).await?;
                    req.finish_with([("x-sum", "2")])?;
                    Ok(Outcome::Done)
                })
            }),
        ),
    ];
    Stage::with(
        any(paths),
        Options::default().stream(Compress::default()),
        None,
    )
    .await
}

#[tokio::test]
async fn replies_are_compressed_for_those_who_take_it() {
    let stage = compressing().await;
    for (path, headers, coding) in [
        ("/long", "Accept-Encoding: gzip\r\n", Some("gzip")),
        ("/long", "Accept-Encoding: gzip, br\r\n", Some("br")),
        (
            "/long",
            "Accept-Encoding: br;q=0, gzip;q=0.1\r\n",
            Some("gzip"),
        ),
        ("/long", "Accept-Encoding: *\r\n", None),
        ("/long", "", None),
        ("/short", "Accept-Encoding: gzip\r\n", None),
        ("/image", "Accept-Encoding: gzip\r\n", None),
    ] {
        let (head, body) = reply(&stage, &get(path, headers)).await;
        let said = head
            .lines()
            .find_map(|line| line.strip_prefix("content-encoding: "));
        assert_eq!(said, coding, "{path} {headers}\n{head}");
        assert!(head.contains("vary: accept-encoding\r\n"), "{head}");
        assert!(
            head.contains(&format!("content-length: {}\r\n", body.len())),
            "{head}"
        );
        match coding {
            Some("gzip") => assert_eq!(gunzip(&body), LONG.repeat(20)),
            Some(_) => assert_eq!(unbrotli(&body), LONG.repeat(20)),
            None => assert!(path == "/short" || body == LONG.repeat(20).as_bytes()),
        }
    }
    let (head, _) = reply(
        &stage,
        &get("/long", "Accept-Encoding: gzip\r\n").replace("GET", "HEAD"),
    )
    .await;
    assert!(
        !head.contains("content-encoding") && head.contains("content-length: 880\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn what_is_compressed_and_what_it_says_it_varies_by() {
    let stage = compressing().await;
    const VARY: &[&str] = &["accept-encoding"];
    const GZIP: &str = "Accept-Encoding: gzip\r\n";
    for (target, headers, coding, vary) in [
        ("/300", GZIP, None, VARY),
        ("/301", GZIP, Some("gzip"), VARY),
        ("/tagged", GZIP, None, VARY),
        ("/nowhere", GZIP, None, VARY),
        (
            "/with",
            "Accept-Encoding: gzip\r\nX-Status: 204\r\n",
            None,
            VARY,
        ),
        ("/with?etag=W/%22x%22", GZIP, None, VARY),
        ("/with?content-range=bytes+0-1/2", GZIP, None, VARY),
        ("/with?content-encoding=x", GZIP, Some("x"), VARY),
        ("/with?cache-control=no-transform", GZIP, None, VARY),
        ("/with?cache-control=public,+No-Transform", GZIP, None, VARY),
        (
            "/with?cache-control=x-no-transform",
            GZIP,
            Some("gzip"),
            VARY,
        ),
        (
            "/with?content-type=Application/JSON;x=y",
            GZIP,
            Some("gzip"),
            VARY,
        ),
        (
            "/with?content-type=application/problem%2Bjson",
            GZIP,
            Some("gzip"),
            VARY,
        ),
        (
            "/with?content-type=image/svg%2Bxml",
            GZIP,
            Some("gzip"),
            VARY,
        ),
        ("/with?content-type=application/zip", GZIP, None, VARY),
        ("/with?content-length=7", GZIP, Some("gzip"), VARY),
        // What is said already is not said again.
        ("/with?vary=*", GZIP, Some("gzip"), &["*"]),
        (
            "/with?vary=x,+Accept-Encoding",
            GZIP,
            Some("gzip"),
            &["x, Accept-Encoding"],
        ),
        (
            "/with?vary=accept",
            GZIP,
            Some("gzip"),
            &["accept", "accept-encoding"],
        ),
        // By what is wished most; all lines of the header are one.
        (
            "/long",
            "Accept-Encoding: br;q=0.1, gzip\r\n",
            Some("gzip"),
            VARY,
        ),
        (
            "/long",
            "Accept-Encoding: gzip;q=0.5\r\nAccept-Encoding: br\r\n",
            Some("br"),
            VARY,
        ),
        (
            "/long",
            "Accept-Encoding: gzip\r\nAccept-Encoding: x;q=y\r\n",
            None,
            VARY,
        ),
        (
            "/long",
            "Accept-Encoding: gzip;q=0.5, identity\r\n",
            None,
            VARY,
        ),
    ] {
        let (head, body) = reply(&stage, &get(target, headers)).await;
        let line = |name: &str| -> Vec<String> {
            let values = head.lines().filter_map(|line| line.strip_prefix(name));
            values.map(str::to_owned).collect()
        };
        let found = line("content-encoding: ");
        assert_eq!(found, Vec::from_iter(coding), "{target} {headers}\n{head}");
        assert_eq!(line("vary: "), vary, "{target}\n{head}");
        if head.starts_with("HTTP/1.1 200") {
            assert_eq!(line("content-length: "), [body.len().to_string()], "{head}");
        }
        if coding == Some("gzip") {
            assert!(gunzip(&body).len() > 300, "{target}");
        }
    }
    // A text like that has few words.
    let (_, long) = reply(&stage, &get("/long", GZIP)).await;
    assert!(long.len() * 4 < LONG.len() * 20, "{}", long.len());
}

#[tokio::test]
async fn each_piece_of_a_stream_comes_through_at_once() {
    let stage = compressing().await;
    for coding in ["gzip", "br"] {
        let mut client = stage.connect().await;
        let head = format!(
            "POST /stream HTTP/1.0\r\nHost: a\r\nAccept-Encoding: {coding}\r\nContent-Length: 4\r\n\r\n"
        );
        client.say(head).await;
        client.through("\r\n\r\n").await;
        let mut got = Vec::new();
        let has_one = |got: &[u8]| {
            let mut text = vec![0; 4];
            let read = match coding {
                "gzip" => GzDecoder::new(got).read(&mut text),
                _ => brotli::Decompressor::new(got, 4096).read(&mut text),
            };
            read.is_ok_and(|count| &text[..count] == b"one\n")
        };
        // The head may have taken the first bytes of the body with it.
        got.extend(client.taken());
        while !has_one(&got) {
            let mut space = [0; 512];
            let count = client.io.read(&mut space).await.expect("read");
            assert_ne!(count, 0, "it ended");
            got.extend_from_slice(&space[..count]);
        }
        client.say("two\n").await;
        client.io.read_to_end(&mut got).await.expect("read");
        let text = if coding == "gzip" {
            gunzip(&got)
        } else {
            unbrotli(&got)
        };
        assert_eq!(text, "one\ntwo\n");
    }
}

#[tokio::test]
async fn requests_are_decompressed_and_bombs_are_found() {
    let echo = Path::to(
        "/",
        handler_fn((), |req: &mut Request, (): &mut ()| {
            Box::pin(async {
                assert!(!req.headers().contains_key("content-encoding"));
                let body = req.body(10_000_000).await?;
                req.reply(200, (), format!("{} {:?}", body.len(), body.first()))?;
                Ok(Outcome::Done)
            })
        }),
    );
    let stage = Stage::with(
        any(vec![echo]),
        Options::default().stream(Decompress::default()),
        None,
    )
    .await;
    let text = LONG.repeat(1000);
    let bomb = vec![0; 5_000_000];
    let mut cut = gzip(text.as_bytes());
    cut.truncate(cut.len() - 4);
    for (bytes, code) in [
        (gzip(text.as_bytes()), 200),
        (gzip(b""), 200),
        (gzip(&bomb), 413),
        (b"this is no gzip at all".to_vec(), 400),
        (cut, 400),
    ] {
        let mut client = stage.connect().await;
        let head = format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
            bytes.len()
        );
        client.say(head).await;
        client.io.write_all(&bytes).await.expect("written");
        let reply = client.reply().await;
        assert_eq!(status(&reply), code, "{reply}");
        assert!(reply.contains("accept-encoding: gzip\r\n"), "{reply}");
        if code == 200 && bytes.len() > 100 {
            assert!(
                reply.ends_with(&format!("{} Some(65)", text.len())),
                "{reply}"
            );
        }
    }
}

#[tokio::test]
async fn the_end_of_each_request_is_counted() {
    let (ended, mut seen) = mpsc::unbounded_channel::<Summary>();
    let never = handler_fn((), |_req: &mut Request, (): &mut ()| {
        Box::pin(std::future::pending())
    });
    let gate = Arc::new(tokio::sync::Notify::new());
    let cut = handler_fn(
        gate.clone(),
        |req: &mut Request, gate: &mut Arc<tokio::sync::Notify>| {
            Box::pin(async {
                req.stream(200, ())?;
                req.send("begun").await?;
                gate.notified().await;
                panic!("fell")
            })
        },
    );
    let metrics = Metrics::new(move |summary| {
        let _ = ended.send(summary.clone());
    });
    let paths = vec![
        Path::to("/", Fixed::text(200, "hello")),
        Path::to("/never", never),
        Path::to("/cut", cut),
    ];
    let options = Options::default().stream(AccessLog).stream(metrics);
    let stage = Stage::with(any(paths), options, None).await;
    let mut client = stage.connect().await;
    client.get("/?secret=1").await;
    let summary = seen.recv().await.expect("counted");
    assert_eq!(
        (
            summary.path.as_str(),
            summary.status,
            summary.sent,
            summary.whole
        ),
        ("/", Some(200), 5, true)
    );
    client.get("/nowhere").await;
    let summary = seen.recv().await.expect("counted");
    assert_eq!(
        (summary.status, summary.sent, summary.whole),
        (Some(404), 0, true)
    );
    client.say("GET /cut HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.through("begun\r\n").await;
    gate.notify_one();
    let summary = seen.recv().await.expect("counted");
    assert_eq!(
        (summary.status, summary.sent, summary.whole),
        (Some(200), 5, false)
    );
    let mut client = stage.connect().await;
    client.say("GET /never HTTP/1.1\r\nHost: a\r\n\r\n").await;
    drop(client);
    let summary = seen.recv().await.expect("counted");
    assert_eq!((summary.status, summary.whole), (None, false));
    let refused = stage.talk("GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(status(&refused), 400);
    assert_eq!(seen.recv().await.expect("counted").status, Some(400));
}

#[tokio::test]
async fn how_well_a_body_may_be_compressed_is_said() {
    let counts = handler_fn((), |req: &mut Request, (): &mut ()| {
        Box::pin(async {
            let body = req.body(10_000_000).await?;
            req.reply(200, (), body.len().to_string())?;
            Ok(Outcome::Done)
        })
    });
    let zeros = gzip(&vec![0; 1_000_000]);
    for (ratio, code) in [(20, 413), (100, 413), (2000, 200)] {
        let options = Options::default().stream(Decompress { ratio });
        let stage = Stage::with(any(vec![Path::to("/", counts.clone())]), options, None).await;
        // Told by their length or in chunks: what is measured is what has come.
        let (size, head) = (zeros.len(), "Content-Encoding: gzip\r\n");
        for (told, end) in [
            (format!("Content-Length: {size}\r\n\r\n"), ""),
            (
                format!("Transfer-Encoding: chunked\r\n\r\n{size:x}\r\n"),
                "\r\n0\r\n\r\n",
            ),
        ] {
            let said = format!("POST / HTTP/1.1\r\nHost: a\r\n{head}{told}");
            let mut client = stage.connect().await;
            client
                .say([said.as_bytes(), &zeros, end.as_bytes()].concat())
                .await;
            let reply = client.reply().await;
            assert_eq!(status(&reply), code, "{ratio}\n{reply}");
            let closes = reply.contains("connection: close\r\n");
            assert_eq!(closes, code == 413, "{reply}");
        }
    }
}

#[tokio::test]
async fn requests_of_other_codings_are_left_to_the_handler() {
    let shows = handler_fn((), |req: &mut Request, (): &mut ()| {
        Box::pin(async {
            let codings = req.headers().get_all("content-encoding").iter();
            let codings: Vec<_> = codings.collect();
            let text = format!("{codings:?} {:?} ", req.body_length());
            let body = req.body(1000).await?;
            req.reply(200, (), text + &String::from_utf8_lossy(&body))?;
            Ok(Outcome::Done)
        })
    });
    let options = Options::default().stream(Decompress::default());
    let stage = Stage::with(any(vec![Path::to("/", shows)]), options, None).await;
    let (zipped, two) = (gzip(b"text"), [gzip(b"te"), gzip(b"xt")].concat());
    let behind = [&zipped[..], b"and more"].concat();
    for (headers, bytes, code, wanted) in [
        ("", &b"text"[..], 200, "[] Some(4) text"),
        (
            "Content-Encoding: br\r\n",
            b"text",
            200,
            "[\"br\"] Some(4) text",
        ),
        (
            "Content-Encoding: gzip, br\r\n",
            b"text",
            200,
            "[\"gzip, br\"] Some(4) text",
        ),
        (
            "Content-Encoding: gzip\r\nContent-Encoding: br\r\n",
            b"text",
            200,
            "[\"gzip\", \"br\"] Some(4) text",
        ),
        ("Content-Encoding: GZip\r\n", &zipped, 200, "[] None text"),
        ("Content-Encoding: x-gzip\r\n", &zipped, 200, "[] None text"),
        // One member behind the other is one text (RFC 1952 §2.2); what is no member is none.
        ("Content-Encoding: gzip\r\n", &two, 200, "[] None text"),
        ("Content-Encoding: gzip\r\n", &behind, 400, ""),
    ] {
        let mut client = stage.connect().await;
        let length = bytes.len();
        let head =
            format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}Content-Length: {length}\r\n\r\n");
        client.say([head.as_bytes(), bytes].concat()).await;
        let reply = client.reply().await;
        assert_eq!(status(&reply), code, "{headers}\n{reply}");
        assert!(reply.ends_with(wanted), "{headers}\n{reply}");
        assert!(reply.contains("accept-encoding: gzip\r\n"), "{reply}");
    }
}
