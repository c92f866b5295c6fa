//! Messages of HTTP/1.1 as a table, under the sections of RFC 9112 and RFC 9110: what is said on one connection, the
//! statuses that come, in order, and what must stand in the replies (with `!` before it: must not).

use crate::stage::{Stage, any, body, status, told};
use httpd::{Error, Fixed, Outcome, Path, Reason, Request, handler_fn};
use tokio::io::AsyncWriteExt;

type Case = (
    &'static str,
    &'static str,
    &'static [u16],
    &'static [&'static str],
);

/// A request behind which the connection is closed, so that all that was said can be heard.
const LAST: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

async fn stage() -> Stage {
    let echo = handler_fn((), |req: &mut Request, (): &mut ()| {
        Box::pin(async {
            let body = req.body(100_000).await?;
            let text = format!("<{}>", String::from_utf8_lossy(&body));
            req.reply_text(200, text)?;
            Ok(Outcome::Done)
        })
    });
    let about = handler_fn((), |req: &mut Request, (): &mut ()| {
        Box::pin(async {
            let x = req.header("x").unwrap_or("none").to_owned();
            let text = format!("{} {} {} {x}", req.method(), req.host(), req.path());
            req.reply_text(200, text)?;
            Ok(Outcome::Done)
        })
    });
    Stage::new(any(vec![
        Path::to("/", Fixed::text(200, "hello")),
        Path::to("/echo", echo),
        Path::to("/about/[...]", about.clone()),
        Path::to("*", about),
    ]))
    .await
}

/// The statuses of replies one behind the other.
fn statuses(said: &str) -> Vec<u16> {
    let replies = said.split("HTTP/1.1 ").skip(1);
    replies
        .map(|reply| reply[..3].parse().expect("a status"))
        .collect()
}

async fn play(cases: &[Case]) {
    let stage = stage().await;
    let mut wrong = Vec::new();
    for (section, said, codes, wanted) in cases {
        let heard = stage.talk(format!("{said}{LAST}")).await;
        let found = statuses(&heard);
        if found != *codes {
            wrong.push(format!("{section}: {found:?} and not {codes:?}\n{heard}"));
        }
        for word in *wanted {
            let is_good = match word.strip_prefix('!') {
                Some(unwanted) => !heard.contains(unwanted),
                None => heard.contains(word),
            };
            if !is_good {
                wrong.push(format!("{section}: {word}\n{heard}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn request_lines_and_fields() {
    play(&[
        (
            "9112 2.2, empty lines first",
            "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            &[200, 200],
            &[],
        ),
        (
            "9112 2.2, a bare CR",
            "GET / HTTP/1.1\r\nHost: a\r\nX: y\rz\r\n\r\n",
            &[400],
            &[],
        ),
        (
            "9112 2.2, a CR behind a value",
            "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\r\n\r\n",
            &[400],
            &[],
        ),
        (
            "9112 2.2, a space before the first field",
            "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
            &[400],
            &[],
        ),
        (
            "9112 2.3, a later version",
            "GET / HTTP/1.9\r\nHost: a\r\n\r\n",
            &[505],
            &[],
        ),
        (
            "9112 3.2.1, with a query",
            "GET /about/x?y=/z HTTP/1.1\r\nHost: a\r\n\r\n",
            &[200, 200],
            &["GET a /about/x none"],
        ),
        (
            "9112 3.2.2, absolute",
            "GET http://A.example:80/about HTTP/1.1\r\nHost: A.example:80\r\n\r\n",
            &[200, 200],
            &["GET a.example /about none"],
        ),
        (
            "9112 3.2.2, absolute, without a path",
            "GET http://a HTTP/1.1\r\nHost: a\r\n\r\n",
            &[200, 200],
            &["hello"],
        ),
        (
            "9112 3.2.3, a tunnel",
            "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
            &[501],
            &[],
        ),
        (
            "9112 3.2.4, asterisk",
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
            &[200, 200],
            &["OPTIONS a * none"],
        ),
        (
            "9112 3.2.4, asterisk of another method",
            "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
            &[400],
            &[],
        ),
        (
            "9112 5.1, no space behind the colon",
            "GET /about HTTP/1.1\r\nHost:a\r\nX:y\r\n\r\n",
            &[200, 200],
            &["/about y"],
        ),
        (
            "9112 5.1, spaces and tabs around a value",
            "GET /about HTTP/1.1\r\nHost: a\r\nX: \t y \t\r\n\r\n",
            &[200, 200],
            &["/about y"],
        ),
        (
            "9112 5.1, an empty value",
            "GET /about HTTP/1.1\r\nHost: a\r\nX:\r\n\r\n",
            &[200, 200],
            &["/about "],
        ),
        (
            "9112 5.2, folded",
            "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\tz\r\n\r\n",
            &[400],
            &[],
        ),
        (
            "9110 5.1, a name in any case",
            "GET /about HTTP/1.1\r\nhOST: a\r\nx: y\r\n\r\n",
            &[200, 200],
            &["GET a /about y"],
        ),
        (
            "9110 5.6.2, a name that is no token",
            "GET / HTTP/1.1\r\nHost: a\r\nX@: y\r\n\r\n",
            &[400],
            &[],
        ),
        (
            "9110 7.2, an empty host",
            "GET /about HTTP/1.1\r\nHost:\r\n\r\n",
            &[200, 200],
            &["GET  /about"],
        ),
        (
            "9110 9.1, a method nobody knows",
            "BREW /about HTTP/1.1\r\nHost: a\r\n\r\n",
            &[200, 200],
            &["BREW a /about"],
        ),
        (
            "9110 9.1, a method in another case",
            "get /about HTTP/1.1\r\nHost: a\r\n\r\n",
            &[200, 200],
            &["get a /about"],
        ),
        (
            "9110 9.3.2, HEAD",
            "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
            &[200, 200],
            &["content-length: 5\r\n", "!hellohello"],
        ),
        ("9110 6.6.1, a date", "", &[200], &["date: "]),
    ])
    .await;
}

#[tokio::test]
async fn bodies_and_chunks() {
    play(&[
        ("9112 6.3, no length is no body", "POST /echo HTTP/1.1\r\nHost: a\r\n\r\n", &[200, 200], &["<>"]),
        ("9112 6.3, a length of nothing", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", &[200, 200], &["<>"]),
        ("9112 6.3, a length with zeros before it", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 003\r\n\r\nxyz", &[200, 200], &["<xyz>"]),
        ("9110 9.3.1, a body of GET", "GET /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nxyz", &[200, 200], &["<xyz>"]),
        ("9110 9.3.1, a body of GET that nobody reads", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nxyz", &[200, 200], &[]),
        ("9112 7.1, chunks", "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\nA\r\n0123456789\r\n0\r\n\r\n", &[200, 200], &["<xyz0123456789>"]),
        ("9112 7.1, sizes in any case, with zeros", "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n00a\r\n0123456789\r\n000\r\n\r\n", &[200, 200], &["<0123456789>"]),
        ("9112 7.1.1, extensions", "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;a;b=c;d=\"e;\"\r\nx\r\n0;last\r\n\r\n", &[200, 200], &["<x>"]),
        ("9112 7.1.2, trailers", "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX: y\r\nHost: b\r\n\r\n", &[200, 200], &["<x>"]),
        ("9112 7.1, a chunk longer than its size", "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n", &[400], &["!<x"]),
        ("9112 7.1, a size of too many digits", "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n00000000000000001\r\nx\r\n0\r\n\r\n", &[400], &["!<x"]),
        ("9112 7.1, a size as programs write it", "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\nx\r\n0\r\n\r\n", &[400], &["!<x"]),
        ("9112 7.1, no size", "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\r\nx\r\n0\r\n\r\n", &[400], &["!<x"]),
        ("9112 7.1.1, a line feed in an extension", "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;a=\"\n\"\r\nx\r\n0\r\n\r\n", &[400], &["!<x"]),
        ("9112 7.1.2, a trailer that is none", "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nGET / HTTP/1.1\r\n\r\n", &[400], &["!<>"]),
    ])
    .await;
}

#[tokio::test]
async fn smuggled_requests() {
    // Each is what two servers that stand in a row have been seen to read differently.
    const HEAD: &str = "POST /echo HTTP/1.1\r\nHost: a\r\n";
    let stage = stage().await;
    for fields in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Content-Length: 4\r\nContent-Length: 5",
        "Content-Length: 4\r\nContent-Length: 4",
        "Content-Length: 4, 4",
        "Content-Length: 4 4",
        "Content-Length: +4",
        "Content-Length: -4",
        "Content-Length: 4.0",
        "Content-Length: 4e0",
        "Content-Length: 0x4",
        "Content-Length: 4\x0b",
        "Content-Length: 4\0",
        "Content-Length: \u{664}",
        "Content-Length : 4",
        "Content-Length\t: 4",
        "\x0bContent-Length: 4",
        "Content-Length: 18446744073709551620",
        "X: y\nContent-Length: 4",
        "X: y\rContent-Length: 4",
        "X: y\r\n Content-Length: 4",
        "Content-Length:\r\n 4",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked-",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding:\x0bchunked",
        "Transfer-Encoding: \x0cchunked",
        "Transfer-Encoding: chunked\x0c",
        "Transfer-Encoding: chunked\r",
        "Transfer-Encoding: ",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\x0b: chunked",
        "X: y\nTransfer-Encoding: chunked",
        "X: y\r\n\tTransfer-Encoding: chunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding: chun\r\n ked",
        "Transfer-Encoding: chunk\u{e9}d",
        "Transfer-Encoding chunked",
        "Host: b",
    ] {
        let said =
            format!("{HEAD}{fields}\r\n\r\n0\r\n\r\nGET /about HTTP/1.1\r\nHost: a\r\n\r\n{LAST}");
        let heard = stage.talk(said).await;
        assert_eq!(statuses(&heard), [400], "{fields:?}\n{heard}");
        assert!(
            heard.contains("connection: close\r\n"),
            "{fields:?}\n{heard}"
        );
    }
    // A body that is a request is a body, whatever is said of it elsewhere.
    for fields in [
        "Content-Length: 35\r\nX-Transfer-Encoding: chunked",
        "Content-Length: 35\r\nContent_Length: 0\r\nTransfer_Encoding: chunked",
        "Content-Length: 35\r\nConnection: content-length",
        "Content-Length: 35\r\nConnection: x, transfer-encoding",
    ] {
        let said = format!("{HEAD}{fields}\r\n\r\nGET /about HTTP/1.1\r\nHost: evil\r\n\r\n{LAST}");
        let heard = stage.talk(said).await;
        assert_eq!(statuses(&heard), [200, 200], "{fields:?}\n{heard}");
        assert!(
            heard.contains("<GET /about HTTP/1.1\r\nHost: evil"),
            "{heard}"
        );
    }
}

#[tokio::test]
async fn expectations_and_reuse() {
    play(&[
        (
            "9110 10.1.1, another expectation",
            "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: wonders\r\nContent-Length: 1\r\n\r\nx",
            &[417],
            &[],
        ),
        (
            "9110 10.1.1, the body is there already",
            "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
            &[100, 200, 200],
            &["<x>"],
        ),
        (
            "9110 10.1.1, of no body",
            "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
            &[200, 200],
            &[],
        ),
        (
            "9110 10.1.1, of HTTP/1.0",
            "POST /echo HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
            &[],
            &["!100 Continue", "HTTP/1.0 200 OK", "<x>"],
        ),
        (
            "9112 9.3, close",
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n",
            &[200],
            &["connection: close\r\n"],
        ),
        (
            "9112 9.3, close among others",
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, close\r\n\r\n",
            &[200],
            &["connection: close\r\n"],
        ),
        (
            "9112 9.3, keep-alive",
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
            &[200, 200],
            &[],
        ),
        (
            "9112 9.3, HTTP/1.0",
            "GET / HTTP/1.0\r\n\r\n",
            &[],
            &["HTTP/1.0 200 OK", "hello"],
        ),
        (
            "9112 9.3.2, pipelined behind an error",
            "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n",
            &[404, 200],
            &["!content-type: text/plain\r\ncontent-length: 0"],
        ),
    ])
    .await;
}

/// RFC 9112 §8 and §9.6: what ends too early, and who has said all but still listens.
#[tokio::test]
async fn what_is_incomplete() {
    let stage = stage().await;
    let mut half = stage.connect().await;
    half.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    half.io.shutdown().await.expect("shut");
    let reply = half.rest().await;
    assert_eq!((status(&reply), body(&reply)), (200, "hello"));
    for cut in ["GET / HTTP/1.1\r\nHost: a\r\n", "GET", "\r\n"] {
        let mut half = stage.connect().await;
        half.say(cut).await;
        half.io.shutdown().await.expect("shut");
        let reply = half.rest().await;
        assert!(!reply.contains("200"), "{cut:?}: {reply}");
    }
    let (reads, mut ends) = told(|req| {
        Box::pin(async {
            req.body(100).await?;
            req.reply_text(200, "never")?;
            Ok(Outcome::Done)
        })
    });
    let stage = Stage::new(any(vec![Path::to("/", reads)])).await;
    for cut in [
        "Content-Length: 3\r\n\r\nxy",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\n",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\n0\r\nX: y\r\n",
    ] {
        let mut half = stage.connect().await;
        half.say(format!("POST / HTTP/1.1\r\nHost: a\r\n{cut}"))
            .await;
        half.io.shutdown().await.expect("shut");
        let reply = half.rest().await;
        assert!(!reply.contains("never"), "{cut:?}: {reply}");
        let reason = ends.recv().await.expect("it ended");
        assert!(
            matches!(&reason, Reason::Disconnected)
                || matches!(&reason, Reason::Error(error) if error.status() == 400),
            "{cut:?}: {reason:?}"
        );
        assert!(ends.try_recv().is_err(), "told once");
    }
}

/// RFC 9110 §15: statuses without a body, and what they may not say of one.
#[tokio::test]
async fn statuses_without_a_body() {
    let by_path = handler_fn((), |req: &mut Request, (): &mut ()| {
        Box::pin(async {
            let number = req.binding_int("status").unwrap_or_default() as u16;
            let done = req.reply(number, (), "");
            match done {
                Ok(()) => Ok(Outcome::Done),
                Err(error) => Err(Error::internal(error.to_string())),
            }
        })
    });
    let path = Path::to("/:status", by_path).constrain(httpd::field("status").int());
    let stage = Stage::new(any(vec![path])).await;
    for (number, has_length) in [
        (200, true),
        (201, true),
        (204, false),
        (304, false),
        (404, true),
        (599, true),
    ] {
        let reply = stage.get(&format!("/{number}")).await;
        assert_eq!(status(&reply), number);
        assert_eq!(body(&reply), "");
        let found = reply.contains("content-length: 0\r\n");
        assert_eq!(found, has_length, "{reply}");
        assert!(!reply.contains("transfer-encoding"), "{reply}");
    }
    // No interim status is a reply.
    for number in [100, 103, 199] {
        assert_eq!(status(&stage.get(&format!("/{number}")).await), 500);
    }
}
