//! Replies and what is said around them: lengths, HEAD, trailers, cookies, what fails behind a reply.

use crate::stage::{Served, Stage, any, body, status, told};
use httpd::http::HeaderMap;
use httpd::{
    CookieOptions, Error, Metrics, Options, Outcome, Path, Reason, ReplyError, Request, Summary,
    handler_fn,
};
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

/// A path that replies as a function does.
fn replies(pattern: &str, with: fn(&mut Request) -> Result<(), ReplyError>) -> Path {
    path(pattern, move |req| {
        Box::pin(async move { Ok(with(req).map(|()| Outcome::Done)?) })
    })
}

#[tokio::test]
async fn the_length_is_the_bodys() {
    let stage = Stage::new(any(vec![
        replies("/wrong", |req| {
            req.reply(200, [("content-length", "99")], "x")
        }),
        replies("/none", |req| {
            req.reply(200, [("content-length", "99")], "")
        }),
        replies("/204", |req| req.reply(204, [("content-length", "9")], "")),
        replies("/304", |req| req.reply(304, [("content-length", "9")], "")),
        replies("/stream-204", |req| {
            req.stream(204, [("content-length", "9")])
        }),
        replies("/stream-0", |req| {
            req.stream(200, [("content-length", "0")])
        }),
        replies("/stream-x", |req| {
            req.stream(200, [("content-length", "+1")])
        }),
    ]))
    .await;
    let mut client = stage.connect().await;
    for (method, path, code, length, wanted) in [
        ("GET", "/wrong", 200, Some("1"), "x"),
        ("HEAD", "/wrong", 200, Some("1"), ""),
        ("GET", "/none", 200, Some("0"), ""),
        // What a reply to GET would be like.
        ("HEAD", "/none", 200, Some("99"), ""),
        ("GET", "/204", 204, None, ""),
        ("HEAD", "/204", 204, None, ""),
        ("GET", "/304", 304, None, ""),
        ("GET", "/stream-204", 204, None, ""),
        ("GET", "/stream-0", 200, Some("0"), ""),
        ("GET", "/stream-x", 500, Some("0"), ""),
    ] {
        client
            .say(format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .await;
        let reply = if method == "HEAD" {
            client.through("\r\n\r\n").await
        } else {
            client.reply().await
        };
        assert_eq!((status(&reply), body(&reply)), (code, wanted), "{path}");
        let told = reply
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        assert_eq!(told, length, "{method} {path}\n{reply}");
        assert!(!reply.contains("transfer-encoding"), "{reply}");
    }
}

#[tokio::test]
async fn headers_cookies_and_what_no_reply_may_be() {
    let stage = Stage::new(any(vec![
        path("/headers", |req| {
            Box::pin(async {
                let mut map = HeaderMap::new();
                map.append("x-c", "1".parse().expect("a value"));
                map.append("x-c", "2".parse().expect("a value"));
                req.set_header("server", "mine")?;
                req.set_header("date", "then")?;
                req.set_header("x-c", "0")?;
                req.set_header("x-d", "gone")?;
                assert!(req.delete_header("x-d") && !req.delete_header("x-d"));
                assert_eq!(req.reply_headers().len(), 3);
                let wrong = req.set_header("set-cookie", "a=b");
                assert_eq!(wrong, Err(ReplyError::SetCookie));
                assert!(req.set_header("x y", "z").is_err());
                assert!(req.set_header("x", "a\0b").is_err());
                req.set_cookie("a", "1", &CookieOptions::default())?;
                req.set_cookie("b", "2", &CookieOptions::default())?;
                assert!(
                    req.set_cookie("a", "1;2", &CookieOptions::default())
                        .is_err()
                );
                req.reply(200, map, "")?;
                Ok(Outcome::Done)
            })
        }),
        path("/misused", |req| {
            Box::pin(async {
                assert_eq!(req.send("x").await, Err(ReplyError::NotStreaming));
                assert_eq!(req.finish(), Err(ReplyError::NotStreaming));
                assert_eq!(req.reply(1000, (), ""), Err(ReplyError::Status(1000)));
                assert_eq!(req.stream(101 - 1, ()), Err(ReplyError::Status(100)));
                let mut cookies = HeaderMap::new();
                cookies.insert("set-cookie", "a=b".parse().expect("a value"));
                assert_eq!(req.reply(200, cookies, ""), Err(ReplyError::SetCookie));
                assert!(!req.has_replied());
                req.stream(299, ())?;
                assert!(req.has_replied());
                assert_eq!(req.reply(200, (), ""), Err(ReplyError::Replied));
                assert_eq!(req.stream(200, ()), Err(ReplyError::Replied));
                let bad = req.finish_with([("x", "a\nb")]);
                assert!(matches!(bad, Err(ReplyError::Header(_))));
                req.send("good").await?;
                req.finish()?;
                assert_eq!(req.finish(), Err(ReplyError::NotStreaming));
                Ok(Outcome::Done)
            })
        }),
    ]))
    .await;
    let mut client = stage.connect().await;
    let reply = client.get("/headers").await;
    for wanted in [
        "HTTP/1.1 200 OK\r\n",
        "server: mine\r\n",
        "date: then\r\n",
        "x-c: 1\r\nx-c: 2\r\n",
        "set-cookie: a=1\r\nset-cookie: b=2\r\n",
    ] {
        assert!(reply.contains(wanted), "{wanted}\n{reply}");
    }
    assert!(
        !reply.contains("gone") && !reply.contains("x-c: 0"),
        "{reply}"
    );
    client.say("GET /misused HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let reply = client.through("0\r\n\r\n").await;
    assert_eq!(status(&reply), 299, "{reply}");
    assert!(reply.ends_with("4\r\ngood\r\n0\r\n\r\n"), "{reply}");
}

#[tokio::test]
async fn a_reply_that_has_its_length_is_whole_whatever_its_handler_still_does() {
    let (full, mut full_ends) = told(|req| {
        Box::pin(async {
            req.stream(200, [("content-length", "4")])?;
            req.send("ab").await?;
            req.send("cd").await?;
            // The connection has asked for the last time by then.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            req.send("no more").await?;
            req.finish()?;
            Ok(Outcome::Done)
        })
    });
    let (over, mut over_ends) = told(|req| {
        Box::pin(async {
            req.stream(200, [("content-length", "3")])?;
            req.send("abcdef").await?;
            Ok(Outcome::Done)
        })
    });
    let (short, mut short_ends) = told(|req| {
        Box::pin(async {
            req.stream(200, [("content-length", "9")])?;
            req.send("abc").await?;
            Ok(Outcome::Done)
        })
    });
    let (ended, mut summaries) = mpsc::unbounded_channel::<Summary>();
    let metrics = Metrics::new(move |summary| {
        let _ = ended.send(summary.clone());
    });
    let paths = vec![
        Path::to("/full", full),
        Path::to("/over", over),
        Path::to("/short", short),
    ];
    for options in [Options::default(), Options::default().stream(metrics)] {
        let counts = !options.streams.is_empty();
        let stage = Stage::with(any(paths.clone()), options, None).await;
        let mut client = stage.connect().await;
        assert_eq!(body(&client.get("/full").await), "abcd");
        assert_eq!(full_ends.recv().await, Some(Reason::Normal));
        // What is beyond the length is not sent: the connection stays in step.
        assert_eq!(body(&client.get("/over").await), "abc");
        assert_eq!(over_ends.recv().await, Some(Reason::Normal));
        client.say("HEAD /full HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let head = client.through("\r\n\r\n").await;
        assert!(head.contains("content-length: 4\r\n"), "{head}");
        assert_eq!(full_ends.recv().await, Some(Reason::Normal));
        client.say("GET /short HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let reply = client.rest().await;
        assert!(body(&reply).len() <= 3, "it is cut: {reply}");
        assert_eq!(short_ends.recv().await, Some(Reason::Normal));
        if counts {
            for (path, sent) in [("/full", 4), ("/over", 6), ("/full", 0), ("/short", 3)] {
                let summary = summaries.recv().await.expect("counted");
                let found = (summary.path.as_str(), summary.sent);
                assert_eq!(found, (path, sent));
                assert!(summary.whole || path == "/short", "{summary:?}");
            }
        }
    }
}

#[tokio::test]
async fn trailers_go_to_those_who_take_them() {
    let sums = path("/", |req| {
        Box::pin(async {
            req.stream(200, [("trailer", "x-sum")])?;
            req.send("ab").await?;
            req.finish_with([("x-sum", "2"), ("x-other", "3")])?;
            Ok(Outcome::Done)
        })
    });
    let stage = Stage::new(any(vec![sums])).await;
    for (headers, end) in [
        (
            "TE: trailers\r\nConnection: te\r\n",
            "0\r\nx-sum: 2\r\n\r\n",
        ),
        ("", "0\r\n\r\n"),
    ] {
        let said = format!("GET / HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        let mut client = stage.connect().await;
        client.say(said).await;
        let reply = client.through("\r\n\r\n").await;
        assert_eq!(status(&reply), 200);
        let rest = client.through("\r\n\r\n").await;
        assert_eq!(rest, format!("2\r\nab\r\n{end}"));
    }
}

#[tokio::test]
async fn what_fails_behind_a_reply_changes_nothing_of_it() {
    let (panics, mut panic_ends) = told(|req| {
        Box::pin(async {
            req.reply_text(200, "whole")?;
            panic!("fell")
        })
    });
    let (fails, mut fail_ends) = told(|req| {
        Box::pin(async {
            req.stream(200, [("content-length", "5")])?;
            req.send("whole").await?;
            req.finish()?;
            Err(Error::internal("too late"))
        })
    });
    let paths = vec![Path::to("/panics", panics), Path::to("/fails", fails)];
    let stage = Stage::new(any(paths)).await;
    let mut client = stage.connect().await;
    for path in ["/panics", "/fails", "/panics"] {
        let reply = client.get(path).await;
        assert_eq!((status(&reply), body(&reply)), (200, "whole"), "{path}");
    }
    let fell = Some(Reason::Panic("fell".into()));
    assert_eq!(panic_ends.recv().await, fell);
    assert_eq!(panic_ends.recv().await, fell);
    let failed = Some(Reason::Error(Error::internal("too late")));
    assert_eq!(fail_ends.recv().await, failed);
}
