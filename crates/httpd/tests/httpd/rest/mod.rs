//! The decision flow, by table: a resource as it is set, a request, and what must be replied.

mod conditions;
mod flow;
mod methods;
mod negotiation;
mod ranges;

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::stage::{Client, Stage, any, body, status};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use httpd::http::Method;
use httpd::{
    Accepted, Chosen, Content, Decision, ETag, Error, Halt, Handler, HandlerType, MediaType,
    Outcome, Path, RangePart, Reason, Request, Rest, Satisfiable, Source,
};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
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
    asks: bool,
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
    open_takes: bool,
    accepted: Accepted,
    located: Option<&'static str>,
    says: &'static str,
    content: Option<&'static str>,
    /// Its content is read as it is sent, and is said to have so many bytes.
    source: Option<u64>,
    /// The callback in which it halts, and how.
    halt: Option<(&'static str, &'static str)>,
    ends: Option<mpsc::UnboundedSender<Reason>>,
    /// The callbacks that were asked.
    asked: Arc<Mutex<Vec<&'static str>>>,
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
        asks: true,
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
        open_takes: false,
        accepted: Accepted::Yes,
        located: None,
        says: "",
        content: Some("0123456789"),
        source: None,
        halt: None,
        ends: None,
        asked: Arc::default(),
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

/// Bytes that are read four at a time, and the length that is said of them.
struct Slow(&'static str, u64);

impl Source for Slow {
    fn length(&self) -> u64 {
        self.1
    }

    fn read(&mut self, from: u64, most: usize) -> BoxFuture<'_, Result<Bytes, Error>> {
        let left = self.0.as_bytes().get(from as usize..).unwrap_or_default();
        let piece = left[..left.len().min(most).min(4)].to_vec();
        std::future::ready(Ok(piece.into())).boxed()
    }
}

impl Set {
    /// Notes that a callback is asked, and halts in it if that is set.
    async fn asked_for(&mut self, name: &'static str, req: &mut Request) -> Decision<()> {
        self.asked.lock().expect("nobody panics with it").push(name);
        match self.halt.filter(|(place, _)| *place == name) {
            None => Ok(()),
            Some((_, "stop")) => {
                req.reply_text(298, "stopped")?;
                Err(Halt::Stop)
            }
            Some((_, "silent")) => Err(Halt::Stop),
            Some((_, "switch")) => Err(Halt::Switch(Box::new(Elsewhere(self.ends.take())))),
            Some((_, "error")) => Err(Error::too_large("no").into()),
            Some((_, "fall")) => panic!("fell"),
            Some(_) => std::future::pending().await,
        }
    }
}

macro_rules! given {
    ($($name:ident: $value:ty = |$set:ident| $given:expr;)*) => {
        $(async fn $name(&mut self, req: &mut Request) -> Decision<$value> {
            self.asked_for(stringify!($name), req).await?;
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
        forbidden: bool = |set| set.forbidden;
        rate_limited: Option<String> = |set| set.limited.map(str::to_owned);
        valid_content_headers: bool = |set| set.content_headers;
        valid_entity_length: bool = |set| set.entity_length;
        negotiates_type: bool = |set| set.asks;
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
        content_types_accepted: Vec<Option<MediaType>> = |set| set.takes.iter().map(|of| {
            let of = of.map(MediaType::new);
            if set.open_takes { of.map(MediaType::any_params) } else { of }
        }).collect();
    }

    async fn options(&mut self, req: &mut Request) -> Decision<()> {
        self.asked_for("options", req).await?;
        req.set_body(self.says);
        Ok(())
    }

    async fn delete_resource(&mut self, req: &mut Request) -> Decision<bool> {
        self.asked_for("delete_resource", req).await?;
        req.set_body(self.says);
        Ok(self.deletes)
    }

    async fn provide(&mut self, chosen: &Chosen, req: &mut Request) -> Decision<Content> {
        self.asked_for("provide", req).await?;
        req.set_header("x-number", chosen.number.to_string())?;
        let (language, charset) = (chosen.language.as_deref(), chosen.charset.as_deref());
        let of_text = format!("{} {language:?} {charset:?}", chosen.media);
        req.set_header("x-chosen", of_text)?;
        Ok(match (self.content, self.source) {
            (None, _) => Content::None,
            (Some(text), None) => Content::from(text),
            (Some(text), Some(length)) => Content::Source(Box::new(Slow(text, length))),
        })
    }

    async fn provide_range(
        &mut self,
        _chosen: &Chosen,
        unit: &str,
        range: &str,
        req: &mut Request,
    ) -> Decision<Vec<RangePart>> {
        self.asked_for("provide_range", req).await?;
        assert_eq!(unit, "lines");
        let part = |range: &str| RangePart {
            range: format!("{range}/9"),
            body: "part".into(),
        };
        let wished = range.split(',').filter(|range| *range != "none");
        Ok(wished.map(part).collect())
    }

    async fn accept(&mut self, taken: usize, req: &mut Request) -> Decision<Accepted> {
        self.asked_for("accept", req).await?;
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
struct Current(Arc<Mutex<Set>>);

impl Handler for Current {
    async fn init(&mut self, _req: &mut Request) -> Result<Outcome, Error> {
        let set = self.0.lock().expect("nobody panics with it").clone();
        Ok(Outcome::rest(set))
    }
}

/// A resource, and somebody who asks for it over one connection.
struct Play {
    set: Arc<Mutex<Set>>,
    client: Client<TcpStream>,
    _stage: Stage,
}

impl Play {
    async fn new() -> Play {
        let set = Arc::new(Mutex::new(usual()));
        let stage = Stage::new(any(vec![Path::to("/", Current(set.clone()))])).await;
        Play {
            set,
            client: stage.connect().await,
            _stage: stage,
        }
    }

    /// The reply to a request, given by its method and its headers in lines, for a resource that is as usual but for
    /// `change`; and the callbacks that were asked for it.
    async fn ask(
        &mut self,
        change: impl FnOnce(&mut Set),
        request: &str,
    ) -> (String, Vec<&'static str>) {
        let mut changed = usual();
        change(&mut changed);
        let asked = changed.asked.clone();
        *self.set.lock().expect("nobody panics with it") = changed;
        let (method, headers) = request.split_once('\n').unwrap_or((request, ""));
        let headers: String = headers.lines().map(|line| format!("{line}\r\n")).collect();
        self.client
            .say(format!("{method} / HTTP/1.1\r\nHost: a\r\n{headers}\r\n"))
            .await;
        let reply = if method == "HEAD" {
            self.client.through("\r\n\r\n").await
        } else {
            self.client.reply().await
        };
        let asked = asked.lock().expect("nobody panics with it").clone();
        (reply, asked)
    }
}

/// What is changed in the usual resource.
type Change = fn(&mut Set);

/// What is changed in the usual resource, the request behind its host, the status, and what the reply must hold
/// (with `!` before it: must not).
type Case = (Change, &'static str, u16, &'static [&'static str]);

async fn play(cases: &[Case]) {
    let mut play = Play::new().await;
    let mut wrong = Vec::new();
    for (number, (change, request, code, wanted)) in cases.iter().enumerate() {
        let (reply, _) = play.ask(change, request).await;
        if status(&reply) != *code {
            wrong.push(format!("{number}: {request}: not {code}\n{reply}"));
        }
        for word in *wanted {
            let is_good = match word.strip_prefix('!') {
                Some(unwanted) => !reply.contains(unwanted),
                None => reply.contains(word),
            };
            if !is_good {
                wrong.push(format!("{number}: {request}: {word}\n{reply}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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
