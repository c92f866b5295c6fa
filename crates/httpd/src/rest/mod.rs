//! Resources: the decision flow of HTTP's methods, negotiation and conditions, with a callback for each decision.

mod conditions;
mod flow;
mod media;
mod negotiate;
mod ranges;

use std::time::SystemTime;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Method;

pub use conditions::ETag;
pub use media::MediaType;
pub(crate) use media::weight;

use crate::{Error, HandlerType, Outcome, Reason, ReplyError, Request};

/// What a callback gives: a value for the flow, or its end.
pub type Decision<T> = Result<T, Halt>;

/// The end of a flow.
pub enum Halt {
    /// It ends here: whoever stops it has replied; else the reply is 204.
    Stop,
    /// The request goes on as another type.
    Switch(Box<dyn HandlerType>),
    /// It failed: the error's status is replied.
    Error(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Halt {
        Halt::Error(error)
    }
}

impl From<ReplyError> for Halt {
    fn from(error: ReplyError) -> Halt {
        Halt::Error(error.into())
    }
}

impl From<Outcome> for Halt {
    /// Goes on as a loop, a WebSocket: `Outcome::looping(…).into()`.
    fn from(outcome: Outcome) -> Halt {
        match outcome {
            Outcome::Done => Halt::Stop,
            Outcome::Switch(to) => Halt::Switch(to),
        }
    }
}

/// What stands at a new place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// The body was no good: 400.
    No,
    /// It was taken: 204 or, with a body set, 200; for a resource that was missing 201 where it is known by PUT or a
    /// `location` header that was set.
    Yes,
    /// POST only: it is new, and stands there: 201.
    Created(String),
    /// POST only: the answer stands there: 303.
    SeeOther(String),
}

/// The body of a representation.
pub enum Content {
    /// Nothing.
    None,
    /// Bytes.
    Bytes(Bytes),
    /// What is read as it is sent.
    Source(Box<dyn Source>),
}

impl From<&'static str> for Content {
    fn from(text: &'static str) -> Content {
        Content::Bytes(Bytes::from_static(text.as_bytes()))
    }
}

impl From<String> for Content {
    fn from(text: String) -> Content {
        Content::Bytes(text.into())
    }
}

/// A body that is read as it is sent: a file.
pub trait Source: Send + 'static {
    /// How many bytes it has.
    fn length(&self) -> u64;

    /// Reads from that byte on, at most so many; fewer only at its end.
    fn read(&mut self, from: u64, most: usize) -> BoxFuture<'_, Result<Bytes, Error>>;
}

/// A part of a body, in a unit of its owner's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangePart {
    /// `content-range` behind the unit: `0-1/9`.
    pub range: String,
    /// The part.
    pub body: Bytes,
}

/// Whether a wish for ranges can be met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Satisfiable {
    /// It can.
    Yes,
    /// It cannot: 416, with the size of the whole if it is known.
    No(Option<u64>),
}

macro_rules! callbacks {
    ($($(#[doc = $doc:literal])+ $name:ident: $value:ty = $default:expr;)*) => {
        $(
            $(#[doc = $doc])+
            fn $name(&mut self, req: &mut Request) -> impl Future<Output = Decision<$value>> + Send {
                let _ = req;
                std::future::ready(Ok($default))
            }
        )*
    };
}

/// A resource. Every callback but [`provide`](Rest::provide) has a default; they are asked in this order.
pub trait Rest: Send + 'static {
    callbacks! {
        /// Whether it is there at all; else 503.
        service_available: bool = true;
        /// The methods that are known; others are 501.
        known_methods: Vec<Method> = KNOWN.to_vec();
        /// Whether the target is too long: 414.
        uri_too_long: bool = false;
        /// The methods that are served; others are 405. They are told in `allow`.
        allowed_methods: Vec<Method> = vec![Method::GET, Method::HEAD, Method::OPTIONS];
        /// Whether the request makes no sense: 400.
        malformed_request: bool = false;
        /// None: go on. A challenge for `www-authenticate`: 401.
        is_authorized: Option<String> = None;
        /// Whether it is forbidden to this peer: 403.
        forbidden: bool = false;
        /// What `retry-after` says, if the peer asks too often: 429.
        rate_limited: Option<String> = None;
        /// Whether the headers of the content are understood; else 501.
        valid_content_headers: bool = true;
        /// Whether the content is not too long; else 413.
        valid_entity_length: bool = true;
        /// OPTIONS: headers may be set and a body; then the flow ends with 200.
        options: () = ();
        /// Whether `accept` chooses the type; else everybody gets the first (RFC 9110 §12.5.1 leaves it to the server).
        negotiates_type: bool = true;
        /// The types it can be given in, the best first: 406 where none pleases.
        content_types_provided: Vec<MediaType> = vec![MediaType::new("text/html")];
        /// The languages, the best first; none: there is no choice. 406 where none pleases.
        languages_provided: Option<Vec<String>> = None;
        /// The charsets of text, the best first; none: there is no choice. 406 where none pleases.
        charsets_provided: Option<Vec<String>> = None;
        /// The units of its ranges: `bytes` is done by the flow, others by [`provide_range`](Rest::provide_range).
        ranges_provided: Option<Vec<String>> = None;
        /// Headers of the request on which it depends beside those that were negotiated, for `vary`.
        variances: Vec<String> = Vec::new();
        /// Whether it exists.
        resource_exists: bool = true;
        /// Whether it existed once: 410 or a redirection in place of 404.
        previously_existed: bool = false;
        /// Where it is for good: 301.
        moved_permanently: Option<String> = None;
        /// Where it is for now: 307.
        moved_temporarily: Option<String> = None;
        /// Whether POST is served where nothing exists; else 404 or 410.
        allow_missing_post: bool = true;
        /// Whether PUT would break something: 409.
        is_conflict: bool = false;
        /// Its entity tag. Asked once, where a condition or the reply needs it.
        generate_etag: Option<ETag> = None;
        /// When it changed last. A date that is yet to come is told as now (RFC 9110 §8.8.2.1).
        last_modified: Option<SystemTime> = None;
        /// When it is no longer good.
        expires: Option<SystemTime> = None;
        /// Whether the wish for ranges, of a unit that is provided, can be met; else 416.
        range_satisfiable: Satisfiable = Satisfiable::Yes;
        /// Whether there is more than one to choose from: 300.
        multiple_choices: bool = false;
        /// DELETE: whether it was, or will be, deleted; else 500.
        delete_resource: bool = false;
        /// Whether the deletion is done; else 202.
        delete_completed: bool = true;
        /// The types that are taken, the best first; none of a list is the catch-all, which also takes no type.
        content_types_accepted: Vec<Option<MediaType>> = Vec::new();
    }

    /// GET, HEAD: the body in the type that was chosen.
    fn provide(
        &mut self,
        chosen: &Chosen,
        req: &mut Request,
    ) -> impl Future<Output = Decision<Content>> + Send;

    /// As [`provide`](Rest::provide) for the parts that `range` wishes, in the unit `unit`. Asked for units other than
    /// `bytes`. No part at all is 416.
    fn provide_range(
        &mut self,
        chosen: &Chosen,
        unit: &str,
        range: &str,
        req: &mut Request,
    ) -> impl Future<Output = Decision<Vec<RangePart>>> + Send {
        let _ = (chosen, unit, range, req);
        std::future::ready(Err(Error::internal(
            "the unit of the ranges has no callback",
        )
        .into()))
    }

    /// POST, PATCH, PUT: takes the request's body; `taken` is the number of its type in `content_types_accepted`.
    fn accept(
        &mut self,
        taken: usize,
        req: &mut Request,
    ) -> impl Future<Output = Decision<Accepted>> + Send {
        let _ = (taken, req);
        std::future::ready(Ok(Accepted::No))
    }

    /// As [`Handler::terminate`](crate::Handler::terminate).
    fn terminate(&mut self, reason: &Reason, req: &Request) {
        let _ = (reason, req);
    }
}

const KNOWN: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

/// What was negotiated.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The number of the type in `content_types_provided`.
    pub number: usize,
    /// The type, with its parameters.
    pub media: MediaType,
    /// The language.
    pub language: Option<String>,
    /// The charset, of text.
    pub charset: Option<String>,
}

impl Outcome {
    /// Goes on as a resource.
    pub fn rest<R: Rest>(state: R) -> Outcome {
        Outcome::switch(Resource {
            of: state,
            switched: None,
        })
    }
}

struct Resource<R> {
    of: R,
    /// What the flow has switched to: from then on it is told of the end.
    switched: Option<Box<dyn HandlerType>>,
}

impl<R: Rest> HandlerType for Resource<R> {
    fn upgrade<'a>(&'a mut self, req: &'a mut Request) -> BoxFuture<'a, Result<Reason, Error>> {
        async move {
            match flow::run(&mut self.of, req).await {
                Ok(()) => Ok(Reason::Normal),
                Err(Halt::Stop) => Ok(Reason::Stop),
                Err(Halt::Error(error)) => Err(error),
                Err(Halt::Switch(to)) => self.switched.insert(to).upgrade(req).await,
            }
        }
        .boxed()
    }

    fn terminate(&mut self, reason: &Reason, req: &Request) {
        match &mut self.switched {
            Some(switched) => switched.terminate(reason, req),
            None => self.of.terminate(reason, req),
        }
    }
}
