//! Middlewares: their order, what they leave for each other, how each of them may end a request.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::stage::{Stage, any, body, status};
use futures_util::future::BoxFuture;
use httpd::http::StatusCode;
use httpd::{Error, Fixed, Middleware, Options, Outcome, Path, Request, Step, Verdict, handler_fn};
use tokio::sync::mpsc;

/// What the steps have written so far.
#[derive(Clone, Default)]
struct Written(String);

/// Writes its name, whether there is a route yet, and whether there is a reply.
struct Write(&'static str, mpsc::UnboundedSender<String>);

impl Middleware for Write {
    fn execute<'a>(&'a self, req: &'a mut Request) -> BoxFuture<'a, Result<Verdict, Error>> {
        Box::pin(async {
            let before = req.env_ref().get::<Written>().cloned().unwrap_or_default();
            let route = if req.endpoint().is_some() { "+" } else { "-" };
            let replied = if req.has_replied() { "!" } else { "" };
            let text = format!("{}{}{route}{replied}", before.0, self.0);
            let _ = self.1.send(text.clone());
            req.env().insert(Written(text));
            match req.path() {
                "/stop" => Ok(Verdict::Stop),
                "/reply" => {
                    req.reply_text(299, "replied")?;
                    Ok(Verdict::Stop)
                }
                "/refuse" => Err(Error::new(StatusCode::FORBIDDEN, "no")),
                "/panic" => panic!("fell"),
                "/from" => {
                    req.set_peer(SocketAddr::from(([192, 0, 2, 1], 7)));
                    Ok(Verdict::Go)
                }
                _ => Ok(Verdict::Go),
            }
        })
    }
}

/// A stage whose handler replies what was written, and from where the peer is said to come.
async fn stage(options: Options) -> Stage {
    let shows = handler_fn((), |req: &mut Request, (): &mut ()| {
        Box::pin(async {
            let written = req.env_ref().get::<Written>().cloned();
            let text = format!("{} {}", written.unwrap_or_default().0, req.peer().ip());
            req.reply_text(200, text)?;
            Ok(Outcome::Done)
        })
    });
    Stage::with(any(vec![Path::to("/[...]", shows)]), options, None).await
}

#[tokio::test]
async fn middlewares_come_in_order_and_may_stop() {
    let (said, mut heard) = mpsc::unbounded_channel();
    let options = Options::default()
        .before_router(Write("a", said.clone()))
        .before_router(Write("b", said.clone()))
        .after_router(Write("c", said));
    let stage = stage(options).await;
    let mut client = stage.connect().await;
    assert_eq!(body(&client.get("/").await), "a-b-c+ 127.0.0.1");
    assert_eq!(body(&client.get("/from").await), "a-b-c+ 192.0.2.1");
    while heard.try_recv().is_ok() {}
    for (path, code, text) in [
        ("/stop", 204, ""),
        ("/reply", 299, "replied"),
        ("/refuse", 403, ""),
        ("/panic", 500, ""),
    ] {
        let reply = client.get(path).await;
        assert_eq!((status(&reply), body(&reply)), (code, text), "{path}");
        assert_eq!(heard.recv().await.as_deref(), Some("a-"));
        assert!(heard.try_recv().is_err(), "no other step was made: {path}");
    }
    // Where there is no route the router is the last step.
    assert_eq!(status(&client.get("/%zz").await), 400);
    assert_eq!(heard.recv().await.as_deref(), Some("a-"));
    assert_eq!(heard.recv().await.as_deref(), Some("a-b-"));
    assert!(heard.try_recv().is_err());
}

#[tokio::test]
async fn any_list_of_steps_is_served() {
    let (said, mut heard) = mpsc::unbounded_channel();
    let write = |name| Step::Own(Arc::new(Write(name, said.clone())));
    for (steps, code, text, seen) in [
        (vec![], 204, "", None),
        (vec![Step::Router], 204, "", None),
        (vec![Step::Handler], 204, "", None),
        (vec![write("a")], 204, "", Some("a-")),
        (
            vec![Step::Router, Step::Handler, write("a")],
            200,
            " 127.0.0.1",
            Some("a+!"),
        ),
        (
            vec![write("a"), Step::Router, Step::Handler],
            200,
            "a- 127.0.0.1",
            Some("a-"),
        ),
    ] {
        let options = Options {
            middlewares: steps.clone(),
            ..Options::default()
        };
        let stage = stage(options).await;
        let reply = stage.connect().await.get("/x").await;
        assert_eq!((status(&reply), body(&reply)), (code, text), "{steps:?}");
        match seen {
            Some(seen) => assert_eq!(heard.recv().await.as_deref(), Some(seen)),
            None => assert!(heard.try_recv().is_err(), "{steps:?}"),
        }
    }
}

#[tokio::test]
async fn what_fails_behind_a_reply_takes_nothing_back() {
    let (said, mut heard) = mpsc::unbounded_channel();
    let options = Options {
        middlewares: vec![
            Step::Router,
            Step::Handler,
            Step::Own(Arc::new(Write("a", said))),
        ],
        ..Options::default()
    };
    let paths = ["/refuse", "/panic"].map(|path| Path::to(path, Fixed::text(200, "whole")));
    let stage = Stage::with(any(paths.to_vec()), options, None).await;
    let mut client = stage.connect().await;
    for path in ["/refuse", "/panic"] {
        let reply = client.get(path).await;
        assert_eq!((status(&reply), body(&reply)), (200, "whole"), "{path}");
        assert_eq!(heard.recv().await.as_deref(), Some("a+!"));
    }
}
