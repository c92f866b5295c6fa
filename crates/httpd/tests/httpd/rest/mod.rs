//! The decision flow, by table: a resource as it is set, a request, and what must be replied.

mod conditions;
mod methods;
mod negotiation;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::stage::{Stage, any, body, status};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use httpd::http::Method;
use httpd::{
    Accepted, Chosen, Content, Decision, ETag, Error, Halt, Handler, HandlerType, MediaType,
    Outcome, Path, RangePart, Reason, Request, Rest, Satisfiable,
};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

/// A resource whose callbacks give what is set.
#[derive(Clone)]
struct Set {
    available: bool,
    known: Vec<Method>,
    too_long: bool,
    allowed: Vec<Method>,
    malformed: bool,
    challenge: Option<&'static str>,
    forbidden: bool,
    limited: Option<&'static str>,
    content_headers: bool,
    entity_length: bool,
    types: Vec<&'static str>,
    open_type: bool,
    languages: Option<Vec<&'static str>>,
    charsets: Option<Vec<&'static str>>,
    ranges: Option<Vec<&'static str>>,
    satisfiable: Satisfiable,
    variances: Vec<&'static str>,
    exists: bool,
    existed: bool,
    moved: Option<&'static str>,
    moved_for_now: Option<&'static str>,
    missing_post: bool,
    conflict: bool,
    etag: Option<ETag>,
    modified: Option<u64>,
    expires: Option<u64>,
    choices: bool,
    deletes: bool,
    completes: bool,
    takes: Vec<Option<&'static str>>,
    accepted: Accepted,
    located: Option<&'static str>,
    says: &'static str,
    content: Option<&'static str>,
    halt: Option<&'static str>,
    ends: Option<mpsc::UnboundedSender<Reason>>,
}

const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

fn usual() -> Set {
    Set {
        available: true,
        known: METHODS.to_vec(),
        too_long: false,
        allowed: METHODS.to_vec(),
        malformed: false,
        challenge: None,
        forbidden: false,
        limited: None,
        content_headers: true,
        entity_length: true,
        types: vec!["text/html"],
        open_type: false,
        languages: None,
        charsets: None,
        ranges: None,
        satisfiable: Satisfiable::Yes,
        variances: vec![],
        exists: true,
        existed: false,
        moved: None,
        moved_for_now: None,
        missing_post: true,
        conflict: false,
        etag: None,
        modified: None,
        expires: None,
        choices: false,
        deletes: false,
        completes: true,
        takes: vec![Some("text/plain")],
        accepted: Accepted::Yes,
        located: None,
        says: "",
        content: Some("0123456789"),
        halt: None,
        ends: None,
    }
}

fn strings(list: &[&'static str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn time(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

struct Elsewhere(Option<mpsc::UnboundedSender<Reason>>);

impl HandlerType for Elsewhere {
    fn upgrade<'a>(&'a mut self, req: &'a mut Request) -> BoxFuture<'a, Result<Reason, Error>> {
        async move {
            req.reply_text(299, "elsewhere")?;
            Ok(Reason::Stop)
        }
        .boxed()
    }

    fn terminate(&mut self, reason: &Reason, _req: &Request) {
        if let Some(ends) = &self.0 {
            let _ = ends.send(reason.clone());
        }
    }
}

macro_rules! given {
    ($($name:ident: $value:ty = |$set:ident| $given:expr;)*) => {
        $(async fn $name(&mut self, _req: &mut Request) -> Decision<$value> {
            let $set = &*self;
            Ok($given)
        })*
    };
}

impl Rest for Set {
    given! {
        service_available: bool = |set| set.available;
        known_methods: Vec<Method> = |set| set.known.clone();
        uri_too_long: bool = |set| set.too_long;
        allowed_methods: Vec<Method> = |set| set.allowed.clone();
        malformed_request: bool = |set| set.malformed;
        is_authorized: Option<String> = |set| set.challenge.map(str::to_owned);
        rate_limited: Option<String> = |set| set.limited.map(str::to_owned);
        valid_content_headers: bool = |set| set.content_headers;
        valid_entity_length: bool = |set| set.entity_length;
        content_types_provided: Vec<MediaType> = |set| set.types.iter().map(|of| {
            let of = MediaType::new(of);
            if set.open_type { of.any_params() } else { of }
        }).collect();
        languages_provided: Option<Vec<String>> = |set| set.languages.as_deref().map(strings);
        charsets_provided: Option<Vec<String>> = |set| set.charsets.as_deref().map(strings);
        ranges_provided: Option<Vec<String>> = |set| set.ranges.as_deref().map(strings);
        range_satisfiable: Satisfiable = |set| set.satisfiable.clone();
        variances: Vec<String> = |set| strings(&set.variances);
        resource_exists: bool = |set| set.exists;
        previously_existed: bool = |set| set.existed;
        moved_permanently: Option<String> = |set| set.moved.map(str::to_owned);
        moved_temporarily: Option<String> = |set| set.moved_for_now.map(str::to_owned);
        allow_missing_post: bool = |set| set.missing_post;
        is_conflict: bool = |set| set.conflict;
        generate_etag: Option<ETag> = |set| set.etag.clone();
        last_modified: Option<SystemTime> = |set| set.modified.map(time);
        expires: Option<SystemTime> = |set| set.expires.map(time);
        multiple_choices: bool = |set| set.choices;
        delete_completed: bool = |set| set.completes;
        content_types_accepted: Vec<Option<MediaType>> = |set| set.takes.iter().map(|of| of.map(MediaType::new)).collect();
    }

    async fn forbidden(&mut self, req: &mut Request) -> Decision<bool> {
        match self.halt {
            Some("stop") => {
                req.reply_text(298, "stopped")?;
                Err(Halt::Stop)
            }
            Some("silent") => Err(Halt::Stop),
            Some("switch") => Err(Halt::Switch(Box::new(Elsewhere(self.ends.take())))),
            Some("error") => Err(Error::too_large("no").into()),
            Some("fall") => panic!("fell"),
            Some("wait") => std::future::pending().await,
            _ => Ok(self.forbidden),
        }
    }

    async fn options(&mut self, req: &mut Request) -> Decision<()> {
        req.set_body(self.says);
        Ok(())
    }

    async fn delete_resource(&mut self, req: &mut Request) -> Decision<bool> {
        req.set_body(self.says);
        Ok(self.deletes)
    }

    async fn provide(&mut self, chosen: &Chosen, req: &mut Request) -> Decision<Content> {
        req.set_header("x-number", chosen.number.to_string())?;
        Ok(self.content.map_or(Content::None, Content::from))
    }

    async fn provide_range(
        &mut self,
        _chosen: &Chosen,
        unit: &str,
        range: &str,
        _req: &mut Request,
    ) -> Decision<Vec<RangePart>> {
        assert_eq!(unit, "lines");
        let part = |range: &str| RangePart {
            range: format!("{range}/9"),
            body: "part".into(),
        };
        Ok(range.split(',').map(part).collect())
    }

    async fn accept(&mut self, taken: usize, req: &mut Request) -> Decision<Accepted> {
        req.set_header("x-taken", taken.to_string())?;
        if let Some(to) = self.located {
            req.set_header("location", to)?;
        }
        req.set_body(self.says);
        Ok(self.accepted.clone())
    }

    fn terminate(&mut self, reason: &Reason, _req: &Request) {
        if let Some(ends) = &self.ends {
            let _ = ends.send(reason.clone());
        }
    }
}

/// Serves the resource that is set at the moment.
#[derive(Clone)]
struct Current(Arc<std::sync::Mutex<Set>>);

impl Handler for Current {
    async fn init(&mut self, _req: &mut Request) -> Result<Outcome, Error> {
        let set = self.0.lock().expect("nobody panics with it").clone();
        Ok(Outcome::rest(set))
    }
}

/// What is changed in the usual resource, the request behind its host, the status, and what the reply must hold
/// (with `!` before it: must not).
type Case = (fn(&mut Set), &'static str, u16, &'static [&'static str]);

async fn play(cases: &[Case]) {
    let set = Arc::new(std::sync::Mutex::new(usual()));
    let stage = Stage::new(any(vec![Path::to("/", Current(set.clone()))])).await;
    let mut client = stage.connect().await;
    for (number, (change, request, code, wanted)) in cases.iter().enumerate() {
        let mut changed = usual();
        change(&mut changed);
        *set.lock().expect("nobody panics with it") = changed;
        let (method, headers) = request.split_once('\n').unwrap_or((request, ""));
        let headers: String = headers.lines().map(|line| format!("{line}\r\n")).collect();
        client
            .say(format!("{method} / HTTP/1.1\r\nHost: a\r\n{headers}\r\n"))
            .await;
        let reply = if method == "HEAD" {
            client.through("\r\n\r\n").await
        } else {
            client.reply().await
        };
        assert_eq!(status(&reply), *code, "{number}: {request}\n{reply}");
        for wanted in *wanted {
            match wanted.strip_prefix('!') {
                Some(unwanted) => assert!(
                    !reply.contains(unwanted),
                    "{number}: {request}: {unwanted}\n{reply}"
                ),
                None => assert!(
                    reply.contains(wanted),
                    "{number}: {request}: {wanted}\n{reply}"
                ),
            }
        }
    }
}

fn same(_set: &mut Set) {}

/// 2001-09-09T01:46:40Z, and a second before and behind it.
const AT: u64 = 1_000_000_000;

fn dated(set: &mut Set) {
    set.modified = Some(AT);
    set.expires = Some(AT);
}

fn tagged(set: &mut Set) {
    set.etag = Some(ETag::strong("t"));
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
        (|set| set.halt = Some("stop"), "GET", 298, &["stopped"]),
        (|set| set.halt = Some("silent"), "GET", 204, &[]),
        (|set| set.halt = Some("switch"), "GET", 299, &["elsewhere"]),
        (|set| set.halt = Some("error"), "GET", 413, &[]),
    ])
    .await;
}

#[tokio::test]
async fn the_end_is_told_once() {
    let (ends, mut heard) = mpsc::unbounded_channel();
    for (halt, reason) in [
        (None, Reason::Normal),
        (Some("stop"), Reason::Stop),
        (Some("switch"), Reason::Stop),
        (Some("error"), Reason::Error(Error::too_large("no"))),
        (Some("fall"), Reason::Panic("fell".into())),
        (Some("wait"), Reason::Disconnected),
    ] {
        let set = Set {
            halt,
            ends: Some(ends.clone()),
            ..usual()
        };
        let current = Current(Arc::new(std::sync::Mutex::new(set)));
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
    let malformed = Set {
        ends: Some(ends),
        ..usual()
    };
    let current = Current(Arc::new(std::sync::Mutex::new(malformed)));
    let stage = Stage::new(any(vec![Path::to("/", current)])).await;
    let reply = stage
        .talk("GET / HTTP/1.1\r\nHost: a\r\nAccept: x\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!((status(&reply), body(&reply)), (400, ""));
    assert!(matches!(heard.recv().await, Some(Reason::Error(_))));
}
