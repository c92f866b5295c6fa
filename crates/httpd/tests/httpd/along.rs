//! Stream handlers of somebody else, and the access log.

use std::sync::{Arc, Mutex};

use crate::stage::{Stage, any, body};
use bytes::Bytes;
use httpd::http::{HeaderMap, HeaderValue, StatusCode};
use httpd::{
    AccessLog, Along, Error, Fixed, Inbound, Metrics, Opening, Options, Outbound, Outcome, Path,
    Request, StreamHandler, Summary, handler_fn,
};
use tokio::sync::mpsc;

/// Puts all that passes in brackets of its own.
#[derive(Clone, Copy)]
struct Brackets(&'static str, &'static str);

impl StreamHandler for Brackets {
    fn open(&self, opening: &mut Opening<'_>) -> Along {
        let seen = opening.headers.entry("x-seen");
        let seen = seen.or_insert(HeaderValue::from_static(""));
        let text = format!("{}{}", seen.to_str().expect("text"), self.0);
        *seen = text.parse().expect("a value");
        Along {
            inbound: Some(Box::new(*self)),
            outbound: Some(Box::new(*self)),
        }
    }
}

impl Inbound for Brackets {
    fn data(&mut self, piece: Bytes) -> Result<Bytes, Error> {
        Ok([self.0.as_bytes(), &piece].concat().into())
    }

    fn finish(&mut self) -> Result<Bytes, Error> {
        Ok(self.1.into())
    }
}

impl Outbound for Brackets {
    fn head(&mut self, _status: StatusCode, headers: &mut HeaderMap, length: Option<u64>) -> bool {
        let text = format!("{}{length:?}", self.0);
        headers.append("x-head", text.parse().expect("a value"));
        true
    }

    fn data(&mut self, piece: Bytes) -> Bytes {
        [self.0.as_bytes(), &piece].concat().into()
    }

    fn finish(&mut self) -> Bytes {
        self.1.into()
    }
}

#[tokio::test]
async fn stream_handlers_wrap_each_other_the_first_nearest_to_the_peer() {
    let echo = handler_fn((), |req: &mut Request, (): &mut ()| {
        Box::pin(async {
            let body = req.body(100).await?;
            let seen = req.header("x-seen").unwrap_or_default().to_owned();
            let headers = [("x-seen", seen), ("content-length", body.len().to_string())];
            if req.path() == "/whole" {
                req.reply(200, headers, body)?;
            } else {
                req.stream(200, headers)?;
                req.send(body).await?;
            }
            Ok(Outcome::Done)
        })
    });
    let paths = ["/whole", "/stream"].map(|path| Path::to(path, echo.clone()));
    let options = Options::default()
        .stream(Brackets("(", ")"))
        .stream(Brackets("[", "]"));
    let stage = Stage::with(any(paths.to_vec()), options, None).await;
    for path in ["/whole", "/stream"] {
        let said = format!("POST {path} HTTP/1.0\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
        let reply = stage.talk(said).await;
        // In: the first changes what has come, the second what the first has made of it; what is left of the first
        // goes through the second too. Out: the other way round.
        let taken = "[(x[)]";
        assert_eq!(body(&reply), format!("([{taken}(])"), "{reply}");
        assert!(reply.contains("x-seen: ([\r\n"), "{reply}");
        let length = if path == "/whole" { "Some(6)" } else { "None" };
        let heads = format!("x-head: [{length}\r\nx-head: (None\r\n");
        assert!(reply.contains(&heads), "{reply}");
    }
}

/// The lines of the access log that are written on this thread.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Fields<'a>(&'a mut String);

impl tracing::field::Visit for Fields<'_> {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        *self.0 += &format!("{field}={value:?} ");
    }
}

impl tracing::Subscriber for Lines {
    fn enabled(&self, about: &tracing::Metadata<'_>) -> bool {
        about.target() == "natter::httpd::access"
    }

    fn new_span(&self, _span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _span: &tracing::span::Id, _values: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _span: &tracing::span::Id, _follows: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = format!("{} ", event.metadata().level());
        event.record(&mut Fields(&mut line));
        self.0.lock().expect("nobody panics with it").push(line);
    }

    fn enter(&self, _span: &tracing::span::Id) {}

    fn exit(&self, _span: &tracing::span::Id) {}
}

#[tokio::test]
async fn each_request_is_a_line_of_the_log() {
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    let (ended, mut seen) = mpsc::unbounded_channel::<Summary>();
    // Behind the log: it is told after it.
    let metrics = Metrics::new(move |summary| {
        let _ = ended.send(summary.clone());
    });
    let options = Options::default().stream(AccessLog).stream(metrics);
    let paths = vec![Path::to("/hello", Fixed::text(200, "hello"))];
    let stage = Stage::with(any(paths), options, None).await;
    let mut client = stage.connect().await;
    for (said, wanted) in [
        (
            "GET /hello?secret=1 HTTP/1.1\r\nHost: a",
            "method=GET path=\"/hello\" version=HTTP/1.1 status=200 bytes=5 ",
        ),
        (
            "HEAD /hello HTTP/1.1\r\nHost: a",
            "method=HEAD path=\"/hello\" version=HTTP/1.1 status=200 bytes=0 ",
        ),
        (
            "GET /%7e HTTP/1.1\r\nHost: a",
            "method=GET path=\"/%7e\" version=HTTP/1.1 status=404 bytes=0 ",
        ),
        ("GET / HTTP/1.1", "status=400 bytes=0 "),
    ] {
        client.say(format!("{said}\r\n\r\n")).await;
        let summary = seen.recv().await.expect("told");
        assert!(summary.whole, "{summary:?}");
        let line = lines.0.lock().expect("nobody panics with it").pop();
        let line = line.expect("a line");
        assert!(line.starts_with("INFO ") && line.contains(wanted), "{line}");
        for word in ["peer=127.0.0.1:", "whole=true", "took="] {
            assert!(line.contains(word), "{word}: {line}");
        }
        assert!(!line.contains("secret"), "{line}");
    }
}
