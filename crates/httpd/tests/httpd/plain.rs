//! Plain handlers: replies, streams, bodies, cookies, ends.

use std::time::Duration;

use crate::stage::{Served, Stage, any, body, status, told};
use httpd::{
    CookieOptions, Dispatch, Error, Fixed, Host, Outcome, Path, Piece, ReadOpts, Reason,
    ReplyError, Request, Routes, field, handler_fn,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

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

#[tokio::test]
async fn a_reply_is_whole_and_none_is_204() {
    let stage = Stage::new(any(vec![
        Path::to("/fixed", Fixed::text(200, "hello")),
        path("/none", |_req| Box::pin(async { Ok(Outcome::Done) })),
        path("/error", |_req| {
            Box::pin(async { Err(Error::too_large("no")) })
        }),
        path("/twice", |req| {
            Box::pin(async {
                req.reply_text(201, "one")?;
                assert_eq!(req.reply_text(200, "two"), Err(ReplyError::Replied));
                Ok(Outcome::Done)
            })
        }),
        path("/bad", |req| {
            Box::pin(async {
                assert_eq!(req.reply(204, (), "x"), Err(ReplyError::Body(204)));
                assert_eq!(req.reply(100, (), ""), Err(ReplyError::Status(100)));
                assert_eq!(
                    req.reply(200, [("set-cookie", "a=b")], ""),
                    Err(ReplyError::SetCookie)
                );
                assert!(matches!(
                    req.reply(200, [("x", "a\r\nb: c")], ""),
                    Err(ReplyError::Header(_))
                ));
                req.reply(304, [("x", "y")], "")?;
                Ok(Outcome::Done)
            })
        }),
    ]))
    .await;
    let mut client = stage.connect().await;
    let reply = client.get("/fixed").await;
    assert_eq!((status(&reply), body(&reply)), (200, "hello"));
    assert!(
        reply.contains("content-type: text/plain; charset=utf-8\r\n"),
        "{reply}"
    );
    for (path, code) in [
        ("/none", 204),
        ("/error", 413),
        ("/twice", 201),
        ("/bad", 304),
        ("/nowhere", 404),
        ("/%zz", 400),
    ] {
        assert_eq!(status(&client.get(path).await), code, "{path}");
    }
    client
        .say("HEAD /fixed HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    let reply = client.rest().await;
    assert!(
        reply.contains("content-length: 5\r\n") && body(&reply).is_empty(),
        "{reply}"
    );
}

#[tokio::test]
async fn what_a_request_says_of_itself() {
    let stage = Stage::new(vec![
        Host::new(":sub.example.org").path(
            path("/[a/:n/[...]]", |req| {
                Box::pin(async {
                    let pairs = req.parse_qs()?;
                    let text = format!(
                        "{} {} {} {:?} {:?} {:?} {} {:?}",
                        req.method(),
                        req.uri(),
                        req.binding("sub").unwrap_or_default(),
                        req.binding_int("n"),
                        req.path_info().map(|info| info.len()),
                        pairs,
                        req.peer().ip(),
                        req.header("x-y"),
                    );
                    req.reply_text(200, text)?;
                    Ok(Outcome::Done)
                })
            })
            .constrain(field("n").int()),
        ),
    ])
    .await;
    let mut client = stage.connect().await;
    client
        .say("GET /a/7/x/%2F?q=1&b+c=%C3%A9 HTTP/1.1\r\nHost: W.Example.org:8080\r\nX-Y: z\r\n\r\n")
        .await;
    let said = client.reply().await;
    let wanted = "GET http://w.example.org:8080/a/7/x/%2F?q=1&b+c=%C3%A9 w Some(7) Some(2) [(\"q\", \"1\"), (\"b c\", \"é\")] 127.0.0.1 Some(\"z\")";
    assert_eq!(body(&said), wanted);
    client
        .say("GET /?%zz HTTP/1.1\r\nHost: w.example.org\r\n\r\n")
        .await;
    assert_eq!(status(&client.reply().await), 400);
    client
        .say("GET / HTTP/1.1\r\nHost: elsewhere\r\n\r\n")
        .await;
    assert_eq!(status(&client.reply().await), 400);
}

#[tokio::test]
async fn typed_fields_of_headers_query_and_cookies() {
    let stage = Stage::new(any(vec![path("/", |req| {
        Box::pin(async {
            let range: Option<httpd::headers::Range> = req.typed_header()?;
            let fields = [field("n").int(), field("s").default("none")];
            let query = req.match_qs(&fields)?;
            let cookies = req.match_cookies(&[field("id").nonempty()])?;
            req.set_cookie("id", "1", &CookieOptions::default())?;
            let options = CookieOptions {
                http_only: true,
                ..CookieOptions::default()
            };
            req.set_cookie("id", "2", &options)?;
            req.set_header("x-a", "set")?;
            req.set_header("x-b", "set")?;
            let text = format!("{} {query:?} {cookies:?}", range.is_some());
            req.reply(200, [("x-b", "given")], text)?;
            Ok(Outcome::Done)
        })
    })]))
    .await;
    let mut client = stage.connect().await;
    client
        .say("GET /?n=-7 HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\nCookie: x=y; id=abc=\r\n\r\n")
        .await;
    let reply = client.reply().await;
    assert_eq!(body(&reply), "true [-7, \"none\"] [\"abc=\"]");
    assert!(
        reply.contains("set-cookie: id=2; HttpOnly\r\n") && !reply.contains("id=1"),
        "{reply}"
    );
    assert!(
        reply.contains("x-a: set\r\n") && reply.contains("x-b: given\r\n"),
        "{reply}"
    );
    for (query, headers) in [
        ("?n=x", "Cookie: id=1\r\n"),
        ("", "Cookie: id=1\r\n"),
        ("?n=1", ""),
        ("?n=1", "Cookie: id=1\r\nRange: x\r\n"),
    ] {
        client
            .say(format!("GET /{query} HTTP/1.1\r\nHost: a\r\n{headers}\r\n"))
            .await;
        assert_eq!(status(&client.reply().await), 400, "{query} {headers}");
    }
}

#[tokio::test]
async fn bodies_are_read_whole_in_pieces_and_as_forms() {
    let stage = Stage::new(any(vec![
        path("/whole", |req| {
            Box::pin(async {
                assert!(req.has_body());
                let body = req.body(10).await?;
                assert!(!req.has_body());
                assert_eq!(
                    req.read_body(ReadOpts::default()).await?,
                    Piece::Last("".into())
                );
                let sum = req.trailers().and_then(|t| t.get("x-sum").cloned());
                req.reply(
                    200,
                    (),
                    format!("{} {sum:?}", String::from_utf8_lossy(&body)),
                )?;
                Ok(Outcome::Done)
            })
        }),
        path("/pieces", |req| {
            Box::pin(async {
                let opts = ReadOpts {
                    length: 1,
                    ..ReadOpts::default()
                };
                req.stream(200, ())?;
                while let Piece::More(piece) = req.read_body(opts).await? {
                    req.send(piece).await?;
                    req.send("|").await?;
                }
                Ok(Outcome::Done)
            })
        }),
        path("/form", |req| {
            Box::pin(async {
                let form = req.urlencoded().await?;
                req.reply(200, (), format!("{form:?}"))?;
                Ok(Outcome::Done)
            })
        }),
        path("/json", |req| {
            Box::pin(async {
                let value: serde_json::Value = req.json(1000).await?;
                req.reply_json(200, &value["a"])?;
                Ok(Outcome::Done)
            })
        }),
        path("/multipart", |req| {
            Box::pin(async {
                let mut text = String::new();
                let mut parts = req.multipart(1000)?;
                while let Some(mut part) = parts.next_part().await? {
                    let name = part.name().unwrap_or_default().to_owned();
                    if name == "skipped" {
                        continue;
                    }
                    let file = part.file_name().map(str::to_owned);
                    let body = part.body(10).await?;
                    text += &format!("{name} {file:?} {}\n", String::from_utf8_lossy(&body));
                }
                drop(parts);
                req.reply(200, (), text)?;
                Ok(Outcome::Done)
            })
        }),
    ]))
    .await;
    let mut client = stage.connect().await;
    let post = |path: &str, headers: &str, body: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            body.len()
        )
    };
    client.say(post("/whole", "", "0123456789")).await;
    assert_eq!(body(&client.reply().await), "0123456789 None");
    client.say("POST /whole HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n").await;
    assert_eq!(body(&client.reply().await), "abcde Some(\"5\")");
    client.say(post("/whole", "", "0123456789a")).await;
    assert_eq!(status(&client.reply().await), 413);
    client.say("POST /whole HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n0123456789a\r\n0\r\n\r\n").await;
    assert_eq!(status(&client.reply().await), 413);
    client.say(post("/form", "", "a=b+c&d=%21")).await;
    assert_eq!(
        body(&client.reply().await),
        "[(\"a\", \"b c\"), (\"d\", \"!\")]"
    );
    client.say(post("/form", "", "a=%")).await;
    assert_eq!(status(&client.reply().await), 400);
    client.say(post("/json", "", "{\"a\": [1]}")).await;
    assert_eq!(body(&client.reply().await), "[1]");
    client.say(post("/json", "", "{")).await;
    assert_eq!(status(&client.reply().await), 400);

    let parts = "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n--B\r\nContent-Disposition: form-data; name=\"skipped\"\r\n\r\nx\r\n--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"n.txt\"\r\nContent-Type: text/plain\r\n\r\ntwo\r\n--B--\r\n";
    client
        .say(post(
            "/multipart",
            "Content-Type: multipart/form-data; boundary=B\r\n",
            parts,
        ))
        .await;
    assert_eq!(
        body(&client.reply().await),
        "a None one\nf Some(\"n.txt\") two\n"
    );
    let cut = parts.strip_suffix("--B--\r\n").expect("its end");
    client
        .say(post(
            "/multipart",
            "Content-Type: multipart/form-data; boundary=B\r\n",
            cut,
        ))
        .await;
    assert_eq!(status(&client.reply().await), 400, "no end");
    client
        .say(post("/multipart", "Content-Type: text/plain\r\n", parts))
        .await;
    assert_eq!(status(&client.reply().await), 400, "no boundary");
    let long = parts.replace("two", "more than ten bytes");
    client
        .say(post(
            "/multipart",
            "Content-Type: multipart/form-data; boundary=B\r\n",
            &long,
        ))
        .await;
    assert_eq!(status(&client.reply().await), 413);

    // Each piece is sent when it has come.
    client
        .say("POST /pieces HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    client.through("transfer-encoding: chunked\r\n").await;
    for piece in ["abc", "de"] {
        client
            .say(format!("{:x}\r\n{piece}\r\n", piece.len()))
            .await;
        client.through(&format!("{piece}\r\n1\r\n|\r\n")).await;
    }
    client.say("0\r\n\r\n").await;
    client.through("0\r\n\r\n").await;
}

#[tokio::test]
async fn a_body_that_is_slow_is_408_and_the_connection_closes() {
    let stage = Stage::new(any(vec![path("/", |req| {
        Box::pin(async {
            req.body(100).await?;
            Ok(Outcome::Done)
        })
    })]))
    .await;
    let mut client = stage.connect().await;
    client
        .say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
        .await;
    let (reply, after) = stage.until(client.rest()).await;
    assert_eq!(status(&reply), 408);
    assert!(reply.contains("connection: close\r\n"), "{reply}");
    assert!(after >= Duration::from_secs(30), "{after:?}");
}

#[tokio::test]
async fn who_expects_100_gets_it_when_the_body_is_read() {
    let stage = Stage::new(any(vec![
        path("/read", |req| {
            Box::pin(async {
                let body = req.body(100).await?;
                req.reply(200, (), body)?;
                Ok(Outcome::Done)
            })
        }),
        Path::to("/refuse", Fixed::text(401, "")),
    ]))
    .await;
    let head = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        )
    };
    let mut client = stage.connect().await;
    client.say(head("/read")).await;
    assert_eq!(
        client.through("\r\n\r\n").await,
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    client.say("ok").await;
    assert_eq!(body(&client.reply().await), "ok");
    client.say(head("/refuse")).await;
    let reply = client.rest().await;
    assert_eq!(status(&reply), 401, "{reply}");
}

#[tokio::test]
async fn a_body_that_is_not_read_is_skipped_or_ends_the_connection() {
    let stage = Stage::new(any(vec![Path::to("/", Fixed::text(200, "no"))])).await;
    let mut client = stage.connect().await;
    client
        .say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n")
        .await;
    assert_eq!(status(&client.reply().await), 200);
    client.say("x".repeat(200_000)).await;
    assert_eq!(status(&client.get("/").await), 200);
    client
        .say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\nx")
        .await;
    assert_eq!(status(&client.reply().await), 200);
    let (rest, _) = stage.until(client.rest()).await;
    assert_eq!(rest, "");
}

#[tokio::test]
async fn a_stream_goes_as_fast_as_the_peer_reads() {
    let (handler, mut ends) = told(|req| {
        Box::pin(async {
            req.stream(200, ())?;
            let piece = vec![b'x'; 64 * 1024];
            for _ in 0..1000 {
                req.send(piece.clone()).await?;
            }
            Ok(Outcome::Done)
        })
    });
    let stage = Stage::new(any(vec![Path::to("/", handler)])).await;
    let mut client = stage.connect().await;
    client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.through("\r\n\r\n").await;
    // 64 MB fit nowhere: as long as nobody reads, the handler waits.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert!(ends.try_recv().is_err(), "it must not have ended");
    let reads = async {
        let mut space = vec![0; 1 << 20];
        while client
            .io
            .read(&mut space)
            .await
            .is_ok_and(|count| count > 0)
        {}
    };
    tokio::select! {
        reason = ends.recv() => assert_eq!(reason, Some(Reason::Normal)),
        () = reads => panic!("the connection stays"),
    }
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_given_up() {
    let (handler, mut ends) = told(|req| {
        Box::pin(async {
            req.stream(200, ())?;
            loop {
                req.send(vec![b'x'; 64 * 1024]).await?;
            }
        })
    });
    let stage = Stage::new(any(vec![Path::to("/", handler)])).await;
    let mut client = stage.connect().await;
    client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (reason, after) = stage.until(ends.recv()).await;
    assert_eq!(reason, Some(Reason::TimedOut));
    assert!(after >= Duration::from_secs(30), "{after:?}");
}

#[tokio::test]
async fn streams_with_a_length_with_trailers_for_head_and_for_http_1_0() {
    let stage = Stage::new(any(vec![
        path("/length", |req| {
            Box::pin(async {
                req.stream(200, [("content-length", "4")])?;
                req.send("ab").await?;
                req.send("").await?;
                req.send("cd").await?;
                req.finish()?;
                assert_eq!(req.send("x").await, Err(ReplyError::NotStreaming));
                Ok(Outcome::Done)
            })
        }),
        path("/trailers", |req| {
            Box::pin(async {
                req.stream(200, [("trailer", "x-sum")])?;
                req.send("ab").await?;
                req.finish_with([("x-sum", "2")])?;
                Ok(Outcome::Done)
            })
        }),
    ]))
    .await;
    let mut client = stage.connect().await;
    assert_eq!(body(&client.get("/length").await), "abcd");
    client
        .say("GET /trailers HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: te\r\n\r\n")
        .await;
    client.through("2\r\nab\r\n0\r\nx-sum: 2\r\n\r\n").await;
    client
        .say("HEAD /trailers HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    let head = client.through("\r\n\r\n").await;
    assert_eq!(status(&head), 200);
    assert_eq!(
        status(&client.get("/length").await),
        200,
        "nothing came behind the head"
    );
    let reply = stage.talk("GET /trailers HTTP/1.0\r\n\r\n").await;
    assert_eq!(body(&reply), "ab", "{reply}");
}

#[tokio::test]
async fn terminate_is_called_once_whatever_happens() {
    let (normal, mut normal_ends) =
        told(|req| Box::pin(async { Ok(req.reply_text(200, "x").map(|()| Outcome::Done)?) }));
    let (error, mut error_ends) = told(|_req| Box::pin(async { Err(Error::bad_request("no")) }));
    let (panics, mut panic_ends) = told(|_req| Box::pin(async { panic!("fell") }));
    let (waits, mut waits_ends) = told(|_req| Box::pin(std::future::pending()));
    let (cut, mut cut_ends) = told(|req| {
        Box::pin(async {
            req.stream(200, ())?;
            req.send("begun").await?;
            req.body(1).await?;
            panic!("in the middle")
        })
    });
    let (later, mut later_ends) = told(|req| {
        Box::pin(async {
            req.reply_text(200, "first")?;
            tokio::task::yield_now().await;
            Ok(Outcome::Done)
        })
    });
    let stage = Stage::new(any(vec![
        Path::to("/normal", normal),
        Path::to("/error", error),
        Path::to("/panics", panics),
        Path::to("/waits", waits),
        Path::to("/cut", cut),
        Path::to("/later", later),
    ]))
    .await;
    let mut client = stage.connect().await;
    for (path, code) in [
        ("/normal", 200),
        ("/error", 400),
        ("/panics", 500),
        ("/later", 200),
    ] {
        assert_eq!(status(&client.get(path).await), code, "{path}");
    }
    assert_eq!(normal_ends.recv().await, Some(Reason::Normal));
    assert_eq!(
        error_ends.recv().await,
        Some(Reason::Error(Error::bad_request("no")))
    );
    assert_eq!(panic_ends.recv().await, Some(Reason::Panic("fell".into())));
    assert_eq!(later_ends.recv().await, Some(Reason::Normal));

    // A reply that is cut must not look whole.
    client
        .say("POST /cut HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n")
        .await;
    client.through("5\r\nbegun\r\n").await;
    client.say("x").await;
    assert_eq!(client.rest().await, "");
    let mut client = stage.connect().await;
    assert_eq!(
        cut_ends.recv().await,
        Some(Reason::Panic("in the middle".into()))
    );

    client.say("GET /waits HTTP/1.1\r\nHost: a\r\n\r\n").await;
    // It has begun when the connection is no longer idle; then the peer goes.
    while stage.httpd.connections_now() != 1 {
        tokio::task::yield_now().await;
    }
    client.io.shutdown().await.expect("shut");
    assert_eq!(waits_ends.recv().await, Some(Reason::Disconnected));
    for ends in [
        &mut normal_ends,
        &mut error_ends,
        &mut panic_ends,
        &mut waits_ends,
        &mut cut_ends,
        &mut later_ends,
    ] {
        assert!(ends.try_recv().is_err(), "told once");
    }
}

#[tokio::test]
async fn routes_change_under_open_connections() {
    let table = |text: &'static str| any(vec![Path::to("/", Fixed::text(200, text))]);
    let stage = Stage::new(table("one")).await;
    let mut client = stage.connect().await;
    assert_eq!(body(&client.get("/").await), "one");
    stage
        .httpd
        .set_routes(Dispatch::compile(table("two")).expect("compiles"));
    assert_eq!(body(&client.get("/").await), "two");
    let routes = Routes::new(&stage.httpd);
    routes
        .add("mod_x", 0, any(vec![Path::to("/x", Fixed::text(200, "x"))]))
        .expect("added");
    assert_eq!(status(&client.get("/").await), 404);
    assert_eq!(body(&client.get("/x").await), "x");
    assert!(routes.remove("mod_x"));
    assert_eq!(status(&client.get("/x").await), 400, "no host is left");
}
