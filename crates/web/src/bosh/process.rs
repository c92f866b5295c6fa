//! A BOSH session: the requests of one client, and what they are answered (XEP-0124, XEP-0206).
//!
//! One per session, `temporary`, under a shard of `bosh_sup`. Owns the line of requests and the place under which they
//! find it; the session of XMPP itself is a c2s behind the wire. One that falls is not found by its client any more, and
//! its c2s loses its connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use otp::{Ctx, ExitReason, Flow, GenServer, Info, Init, Instant, TimerRef};
use stream::StreamHeader;
use tokio::sync::oneshot;
use xmpp::{StreamError, ns};

use super::line::{Arrived, Line, Terms};
use super::seats::Place;
use super::wire::{End, Heard, Load, Wire};
use super::wrapper::{Condition, Wrapper, Written};

/// The version of the protocol that is spoken here.
const VERSION: stream::Version = stream::Version {
    major: 1,
    minor: 11,
};

/// Within this time a client comes again after it was answered: longer nobody waits for it with the last words.
const COMES_AGAIN: Duration = Duration::from_secs(1);

/// What a request is answered.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    /// A whole `<body/>`.
    Body(Bytes),
    /// The session is over.
    Over(Condition),
}

/// Where a request waits for its answer.
pub(super) type Reply = oneshot::Sender<Answer>;

/// What a session can be told.
pub enum Cast {
    /// A request of its client.
    Request(Box<Request>),
    /// There is something to see on the wire.
    Tick,
    /// Its client sent what is no request.
    Malformed,
}

/// A request and where its answer goes.
pub struct Request {
    pub(super) wrapper: Wrapper,
    pub(super) reply: Reply,
}

/// What a session starts with.
pub struct SessionArgs {
    pub(super) place: Place,
    pub(super) wire: Arc<Wire>,
    pub(super) terms: Terms,
    pub(super) creation: Box<Request>,
}

/// The wire, which ends with the session.
struct Ending(Arc<Wire>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// State. Invariant: `timer` rings at the line's deadline.
pub struct BoshSession {
    /// Taken when it ends.
    line: Option<Line<Reply>>,
    wire: Ending,
    /// What the first response says of the session besides.
    offer: Option<Written>,
    timer: Option<(Instant, TimerRef)>,
    /// Given up with the session.
    _place: Place,
}

impl GenServer for BoshSession {
    const KIND: &'static str = "bosh";
    type Args = SessionArgs;
    type Call = ();
    type Reply = ();
    type Cast = Cast;
    type Info = ();

    async fn init(args: SessionArgs, ctx: &mut Ctx<Self>) -> Init<Self> {
        let SessionArgs {
            place,
            wire,
            terms,
            creation,
        } = args;
        let me = ctx.pid().clone();
        place.take(ctx.pid().clone());
        wire.attach(move || {
            // One that has ended has ended the wire.
            let _ = me.cast(Cast::Tick);
        });
        let Request { wrapper, reply } = *creation;
        let offer = offer(&place, &terms, &wrapper);
        let line = Line::new(terms, &wrapper, reply, ctx.clock().now());
        wire.hear(Heard::Open(header(wrapper)));
        let mut session = BoshSession {
            line: Some(line),
            wire: Ending(wire),
            offer: Some(offer),
            timer: None,
            _place: place,
        };
        session.arm(ctx);
        Init::Ok(session)
    }

    async fn handle_cast(&mut self, cast: Cast, ctx: &mut Ctx<Self>) -> Flow {
        match cast {
            Cast::Request(request) => {
                let Request { wrapper, reply } = *request;
                if let Some(condition) = self.arrived(wrapper, reply, ctx.clock().now()) {
                    return self.broken(condition);
                }
            }
            Cast::Tick => self.wire.0.looked(),
            Cast::Malformed => return self.broken(Condition::BadRequest),
        }
        self.turn(ctx)
    }

    async fn handle_info(&mut self, info: Info<()>, ctx: &mut Ctx<Self>) -> Flow {
        if let Info::Message(()) = info {
            self.timer = None;
        }
        let now = ctx.clock().now();
        if self.line.as_ref().is_none_or(|line| line.is_lost(now)) {
            tracing::debug!(target: "natter::session", "BOSH client silent for too long");
            return Flow::Stop(ExitReason::Normal);
        }
        self.turn(ctx)
    }
}

impl BoshSession {
    /// Acts on a request; the condition when it breaks the rules.
    fn arrived(&mut self, wrapper: Wrapper, reply: Reply, now: Instant) -> Option<Condition> {
        let line = self.line.as_mut()?;
        match line.arrives(wrapper, reply, now) {
            Arrived::InOrder(wrappers, items) => {
                self.wire.0.has(items);
                for wrapper in wrappers {
                    self.act(wrapper);
                }
            }
            Arrived::Early => {}
            Arrived::Again(reply, body) => send(reply, Answer::Body(body)),
            // §17.3.
            Arrived::Instead(reply) => {
                let again = Written::new().attr("type", "error").holding("");
                send(reply, Answer::Body(again));
            }
            Arrived::Broken(condition, reply) => {
                send(reply, Answer::Over(condition));
                return Some(condition);
            }
        }
        None
    }

    fn act(&self, wrapper: Wrapper) {
        let wire = &self.wire.0;
        if wrapper.restart {
            // XEP-0206 §5: what else it carries is not for anybody.
            return wire.hear(Heard::Open(header(wrapper)));
        }
        for element in wrapper.payload {
            wire.hear(Heard::Element(element));
        }
        if wrapper.terminate {
            wire.hear(Heard::Close);
        }
    }

    /// The client broke the rules: the session is over, and whoever waits is told.
    fn broken(&mut self, condition: Condition) -> Flow {
        for reply in self.line.take().into_iter().flat_map(Line::into_waiting) {
            send(reply, Answer::Over(condition));
        }
        Flow::Stop(ExitReason::Normal)
    }

    /// Answers all that is to be answered now.
    fn turn(&mut self, ctx: &mut Ctx<Self>) -> Flow {
        let now = ctx.clock().now();
        if self.last_words_due().is_some_and(|due| due <= now) {
            self.wire.0.nobody_comes();
        }
        while let Some(line) = &mut self.line {
            let wire = &self.wire.0;
            let carries = line.can_carry() && wire.has_load();
            if !carries && !line.is_due(wire.is_full(), now) {
                break;
            }
            let load = match line.can_carry() {
                true => wire.take(),
                false => Load::default(),
            };
            if let Some(end) = load.end {
                return self.last(load, end, now);
            }
            let body = match self.offer.take().filter(|_| line.is_creating()) {
                Some(offer) => introduced(offer, &load),
                None => Written::new(),
            };
            if let Some((reply, body)) = line.answer(body, &load.text, load.items, now) {
                send(reply, Answer::Body(body));
            }
        }
        self.arm(ctx);
        Flow::Go
    }

    /// The stream has ended: the oldest request is told so, all others are answered with nothing (§13).
    fn last(&mut self, load: Load, end: End, now: Instant) -> Flow {
        let Some(mut line) = self.line.take() else {
            return Flow::Stop(ExitReason::Normal);
        };
        let condition = match (&load.error, end) {
            (Some(error), _) => Some(Condition::of(error)),
            (None, End::Closed) => None,
            (None, End::Lost) => Some(Condition::RemoteConnectionFailed),
        };
        let wire = &self.wire.0;
        if load.text.is_empty() && !line.is_uncertain() {
            // What is left are words about the end, which nobody has to have.
            wire.has(load.items);
        }
        let error = load.error.as_ref().map(StreamError::to_framed_xml);
        let payload = load.text + &error.unwrap_or_default();
        let body = Written::end(condition);
        if let Some((reply, body)) = line.answer(body, &payload, load.items, now) {
            send(reply, Answer::Body(body));
        }
        while line.held() > 0 {
            if let Some((reply, body)) = line.answer(Written::new(), "", 0, now) {
                send(reply, Answer::Body(body));
            }
        }
        Flow::Stop(ExitReason::Normal)
    }

    /// Until when the end of the stream waits for a request to carry it, while none is held.
    fn last_words_due(&self) -> Option<Instant> {
        let since = self.line.as_ref()?.idle_since()?;
        self.wire.0.is_closing().then(|| since + COMES_AGAIN)
    }

    fn arm(&mut self, ctx: &mut Ctx<Self>) {
        let Some(due) = self.line.as_ref().map(Line::deadline) else {
            return;
        };
        let due = self.last_words_due().map_or(due, |words| words.min(due));
        if let Some((at, timer)) = self.timer {
            if at == due {
                return;
            }
            ctx.cancel(timer);
        }
        let rest = due.since(ctx.clock().now()).max(Duration::from_millis(1));
        self.timer = Some((due, ctx.send_after(rest, ())));
    }
}

/// The header that a request stands for.
fn header(wrapper: Wrapper) -> StreamHeader {
    StreamHeader {
        to: wrapper.to,
        from: wrapper.from,
        // XEP-0206 has the version in the first request alone; whoever speaks of none there speaks this one.
        version: wrapper.version.or(Some(stream::Version::ONE)),
        lang: wrapper.lang,
    }
}

/// What the first response says of the session (§7.2).
fn offer(place: &Place, terms: &Terms, creation: &Wrapper) -> Written {
    let mut body = Written::new()
        .attr("xmlns:xmpp", ns::XBOSH)
        .attr("xmlns:stream", ns::STREAM)
        .attr("sid", place.sid())
        .number("wait", terms.wait.as_secs())
        .number("hold", terms.hold as u64)
        .number("requests", terms.requests)
        .number("inactivity", terms.inactivity.as_secs())
        .number("polling", terms.polling.as_secs())
        .number("maxpause", terms.max_pause.as_secs())
        .attr("charsets", "UTF-8")
        // Between this and the session of XMPP there is no network.
        .attr("secure", "true");
    if let Some(ver) = creation.ver {
        let ver = ver.min(VERSION);
        body = body.attr("ver", &format!("{}.{}", ver.major, ver.minor));
    }
    if terms.acks {
        body = body.number("ack", creation.rid);
    }
    body
}

/// The offer, with what the stream's header adds (XEP-0206 §3).
fn introduced(offer: Written, load: &Load) -> Written {
    let Some(header) = &load.header else {
        return offer;
    };
    offer
        .attr("from", &header.from)
        .attr("authid", &header.id)
        .attr("xmpp:version", "1.0")
        .attr("xmpp:restartlogic", "true")
}

/// A client that is not there any more has the same request sent again, or none.
fn send(reply: Reply, answer: Answer) {
    let _ = reply.send(answer);
}
