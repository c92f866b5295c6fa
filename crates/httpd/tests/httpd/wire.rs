//! HTTP/1.1 byte by byte: RFC 9112 and RFC 9110, pipelining, refusals, time-outs, limits, drains.

use std::time::Duration;

use crate::stage::{Stage, any, body, echo, status, told};
use httpd::{Fixed, Limits, Options, Outcome, Path, Reason, Request, handler_fn};
use tokio::io::AsyncWriteExt;

fn hello() -> Path {
    Path::to("/", Fixed::text(200, "hello"))
}

const PLAIN: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn pipelined_requests_are_answered_in_turn_however_they_are_cut() {
    let stage = Stage::new(any(vec![hello(), echo()])).await;
    let all = [
        PLAIN,
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "\r\nPOST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\r\n\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ]
    .concat();
    let whole = stage.talk(&all).await;
    assert_eq!(whole.matches("HTTP/1.1 200 OK").count(), 4, "{whole}");
    assert!(
        whole.contains("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        "the body is no request: {whole}"
    );
    assert!(whole.ends_with("hello"));
    // One byte at a time.
    let mut client = stage.connect().await;
    client.io.set_nodelay(true).expect("a socket");
    for byte in all.as_bytes() {
        client.say([*byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.rest().await.matches("HTTP/1.1 200 OK").count(), 4);
}

#[tokio::test]
async fn what_is_ambiguous_is_refused_in_its_turn_and_closes() {
    let stage = Stage::new(any(vec![hello(), echo()])).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let cases = [
        (
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
            400,
        ),
        (
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx",
            400,
        ),
        (
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            "POST /echo HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n folded\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: a\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 501),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        ("\r\n\r\n\r\n\r\n\r\n\r\n", 400),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03\n\n", 400),
    ];
    for (case, code) in cases {
        // Behind a good request, before a smuggled one.
        let reply = stage.talk(format!("{PLAIN}{case}{smuggled}")).await;
        let second = reply.find("helloHTTP/1.1 ").map(|at| &reply[at + 5..]);
        let second = second.unwrap_or_else(|| panic!("{case:?}: {reply}"));
        assert_eq!(status(second), code, "{case:?}");
        assert!(
            second.contains("connection: close\r\n"),
            "{case:?}: {second}"
        );
        assert_eq!(reply.matches("HTTP/1.1 ").count(), 2, "{case:?}: {reply}");
    }
}

#[tokio::test]
async fn chunks_that_break_end_the_body_and_the_connection() {
    let stage = Stage::new(any(vec![echo()])).await;
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for chunks in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "-1\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "0\r\nX: y\r\n z\r\n\r\n",
        "11111111111111111\r\n",
    ] {
        let reply = stage.talk(format!("{head}{chunks}{PLAIN}")).await;
        assert_eq!(status(&reply), 400, "{chunks:?}: {reply}");
        assert_eq!(reply.matches("HTTP/1.1 ").count(), 1, "{chunks:?}: {reply}");
    }
}

#[tokio::test]
async fn heads_have_limits() {
    let stage = Stage::new(any(vec![hello()])).await;
    let long = |n: usize| "x".repeat(n);
    for (request, code) in [
        (
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", long(8000)),
            414,
        ),
        (format!("GET /{}", long(70_000)), 414),
        (
            format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", long(8193)),
            431,
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", long(70_000)),
            431,
        ),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
                "x: y\r\n".repeat(100)
            ),
            431,
        ),
        (format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", long(33)), 501),
    ] {
        assert_eq!(
            status(&stage.talk(&request).await),
            code,
            "{}",
            &request[..40]
        );
    }
    let most = format!(
        "GET /?{} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{}\r\n",
        long(7000),
        "x: y\r\n".repeat(98)
    );
    assert_eq!(status(&stage.talk(most).await), 200);
}

#[tokio::test]
async fn a_head_that_is_slow_is_408_and_silence_is_closed_in_silence() {
    let stage = Stage::new(any(vec![hello()])).await;
    let mut silent = stage.connect().await;
    let (said, after) = stage.until(silent.rest()).await;
    assert_eq!(said, "");
    assert!(after >= Duration::from_secs(10), "{after:?}");

    let mut slow = stage.connect().await;
    slow.say("GET / HTTP/1.1\r\nHo").await;
    let (said, after) = stage.until(slow.rest()).await;
    assert_eq!(status(&said), 408, "{said}");
    assert!(after >= Duration::from_secs(10), "{after:?}");

    let mut idle = stage.connect().await;
    assert_eq!(status(&idle.get("/").await), 200);
    let (said, after) = stage.until(idle.rest()).await;
    assert_eq!(said, "");
    assert!(after >= Duration::from_secs(60), "{after:?}");
    let mut again = stage.connect().await;
    assert_eq!(status(&again.get("/").await), 200);
    again.say("GET / HTTP/1.1\r\n").await;
    let (said, _) = stage.until(again.rest()).await;
    assert_eq!(status(&said), 408, "{said}");
}

#[tokio::test]
async fn the_last_request_of_a_connection_is_told() {
    let limits = Limits {
        requests: 3,
        ..Limits::default()
    };
    let stage = Stage::limited(any(vec![hello()]), limits).await;
    let reply = stage.talk(PLAIN.repeat(4)).await;
    assert_eq!(reply.matches("HTTP/1.1 200").count(), 3);
    assert_eq!(reply.matches("connection: close").count(), 1);
}

#[tokio::test]
async fn there_are_so_many_connections_and_no_more() {
    let limits = Limits {
        connections: 2,
        ..Limits::default()
    };
    let stage = Stage::limited(any(vec![hello()]), limits).await;
    let (mut one, mut two) = (stage.connect().await, stage.connect().await);
    assert_eq!(status(&one.get("/").await), 200);
    assert_eq!(status(&two.get("/").await), 200);
    let mut three = stage.connect().await;
    assert_eq!(three.rest().await, "");
    drop(one);
    while stage.httpd.connections_now() > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(status(&stage.connect().await.get("/").await), 200);
}

#[tokio::test]
async fn versions_and_connection_headers() {
    let stage = Stage::new(any(vec![hello()])).await;
    let reply = stage.talk("GET / HTTP/1.0\r\n\r\n").await;
    assert!(
        reply.starts_with("HTTP/1.0 200") || reply.starts_with("HTTP/1.1 200"),
        "{reply}"
    );
    let reply = stage
        .talk("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n")
        .await;
    assert_eq!(reply.matches("hello").count(), 2, "{reply}");
    let reply = stage
        .talk("GET http://A/ HTTP/1.1\r\nHost: A\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!((status(&reply), body(&reply)), (200, "hello"));
    let options = Options {
        name: Some(httpd::http::HeaderValue::from_static("hats")),
        ..Options::default()
    };
    let stage = Stage::with(any(vec![hello()]), options, None).await;
    let reply = stage.get("/").await;
    assert!(
        reply.contains("server: hats\r\n") && reply.contains("date: "),
        "{reply}"
    );
}

#[tokio::test]
async fn an_upgrade_that_is_not_made_leaves_the_connection_as_it_was() {
    let stage = Stage::new(any(vec![hello()])).await;
    let asks = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let reply = stage
        .talk(format!(
            "{asks}GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        ))
        .await;
    assert_eq!(reply.matches("hello").count(), 2, "{reply}");
}

#[tokio::test]
async fn a_stop_lets_requests_finish_and_closes_the_idle() {
    let go = std::sync::Arc::new(tokio::sync::Notify::new());
    let waits = handler_fn(
        go.clone(),
        |req: &mut Request, go: &mut std::sync::Arc<tokio::sync::Notify>| {
            Box::pin(async {
                go.notify_one();
                go.notified().await;
                req.reply_text(200, "late")?;
                Ok(Outcome::Done)
            })
        },
    );
    // The first notice says that it has begun, the second lets it go.
    let stage = Stage::new(any(vec![hello(), Path::to("/waits", waits)])).await;
    let (mut idle, mut busy) = (stage.connect().await, stage.connect().await);
    assert_eq!(status(&idle.get("/").await), 200);
    busy.say("GET /waits HTTP/1.1\r\nHost: a\r\n\r\n").await;
    go.notified().await;
    let app = stage.app.clone();
    let stopping = tokio::spawn(async move { app.stop(Duration::from_secs(60)).await });
    assert_eq!(idle.rest().await, "");
    go.notify_one();
    let reply = busy.rest().await;
    assert_eq!((status(&reply), body(&reply)), (200, "late"));
    assert!(reply.contains("connection: close\r\n"), "{reply}");
    stopping.await.expect("no panic").expect("in time");
    assert!(tokio::net::TcpStream::connect(stage.address).await.is_err());
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let (waits, mut ends) = told(|_req| Box::pin(std::future::pending()));
    let stage = Stage::new(any(vec![Path::to("/", waits)])).await;
    let mut client = stage.connect().await;
    client.say(PLAIN).await;
    client.io.flush().await.expect("flushed");
    while stage.httpd.connections_now() != 1 {
        tokio::task::yield_now().await;
    }
    stage.hand.advance(Duration::from_secs(1)).await;
    let (stopped, after) = stage.until(stage.app.stop(Duration::from_secs(60))).await;
    stopped.expect("in time");
    assert!(after >= Duration::from_secs(10), "{after:?}");
    assert_eq!(ends.recv().await, Some(Reason::Shutdown));
}
