//! `/bosh`: XMPP over HTTP requests that are held until there is something to say (XEP-0124 v1.11.2, XEP-0206 v1.4).
//!
//! Each session is a process that orders its client's requests and answers them; a [`Wire`](wire::Wire) joins it to a
//! c2s as any other transport. What a response carried counts as written when the client shows that it has it: until
//! then it is given back if the session ends.
//!
//! Not spoken: several streams in one session, other encodings than UTF-8, compression of requests.

mod keys;
mod line;
mod process;
mod seats;
mod transport;
mod wire;
mod wrapper;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use httpd::http::{Method, StatusCode};
use httpd::{Error, Handler, Outcome, Request};
use otp::{Restart, Shards, Shutdown, Supervisor, System};
use session::{C2s, C2sArgs, C2sOptions};
use stream::IoOptions;
use tokio::sync::oneshot;

use crate::Web;
use crate::access::{BoshSettings, Clients, admit};
use line::Terms;
use process::{Answer, BoshSession, Cast, SessionArgs};
use seats::{Manners, Seat, Seats};
use transport::BoshTransport;
use wire::Wire;
use wrapper::{Condition, Opening, Wrapper, Written, open};

/// Bytes of a wrapper besides one element of the greatest size.
const WRAPPING: usize = 4096;

/// How many supervisors share the sessions.
const SHARDS: usize = 4;

const XML: &str = "text/xml; charset=utf-8";

/// All BOSH sessions of a node. Clones are the same.
#[derive(Clone)]
pub(crate) struct Bosh {
    seats: Seats,
    shards: Shards,
}

impl Bosh {
    pub(crate) fn new(system: &System) -> Bosh {
        Bosh {
            seats: Seats::default(),
            shards: Shards::new(system, "bosh", SHARDS),
        }
    }

    /// The supervisor of all sessions; `restarts` within `period` is the intensity of each shard.
    pub(crate) fn supervisor(&self, restarts: u32, period: Duration) -> Supervisor {
        // Its client comes again; and what it had said stands with its c2s, which has ended before.
        let shutdown = Shutdown::Timeout(Duration::from_secs(5));
        self.shards
            .supervisor::<BoshSession>(Restart::Temporary, shutdown, restarts, period)
    }
}

/// Serves the requests of all sessions.
#[derive(Clone)]
pub(crate) struct Door(pub(crate) Web);

impl Handler for Door {
    async fn init(&mut self, req: &mut Request) -> Result<Outcome, Error> {
        // A page of any site may log in: there are no cookies, who has no password gets nothing.
        req.set_header("access-control-allow-origin", "*")?;
        match *req.method() {
            Method::POST => self.post(req).await?,
            Method::OPTIONS => req.reply(
                204,
                [
                    ("access-control-allow-methods", "POST, OPTIONS"),
                    ("access-control-allow-headers", "Content-Type"),
                    ("access-control-max-age", "86400"),
                ],
                "",
            )?,
            _ => req.reply(
                405,
                [
                    ("allow", "POST, OPTIONS"),
                    ("content-type", "text/plain; charset=utf-8"),
                ],
                "Clients of XMPP post here (BOSH, XEP-0124).\n",
            )?,
        }
        Ok(Outcome::Done)
    }
}

/// A request that is not answered by a session.
struct Refused {
    condition: Condition,
    manners: Arc<Manners>,
}

impl Door {
    async fn post(&self, req: &mut Request) -> Result<(), Error> {
        let Some(clients) = self.0.clients() else {
            let unready = StatusCode::SERVICE_UNAVAILABLE;
            return Err(Error::new(unready, "clients are not let in yet"));
        };
        admit(&self.0.settings().bosh_clients, req)?;
        let most = clients.options.limits.bytes.saturating_add(WRAPPING);
        let bytes = req.body(most).await?;
        let answered = match open(&bytes, clients.before_login) {
            Ok(opening) => match opening.sid().map(|sid| self.0.bosh().seats.find(sid)) {
                Some(Some(seat)) => self.asks(req, opening, &seat).await?,
                Some(None) => Err(refused(Condition::ItemNotFound, manners(req, false))),
                None => self.begins(req, opening, &clients).await?,
            },
            Err(_) => Err(refused(Condition::BadRequest, manners(req, false))),
        };
        match answered {
            Ok((body, manners)) => reply(req, 200, &manners, body),
            Err(Refused { condition, manners }) => {
                let code = condition.code().filter(|_| manners.is_legacy);
                match code {
                    Some(code) => req.reply(code, (), "").map_err(Error::from),
                    None => {
                        let body = Written::end(Some(condition)).holding("");
                        reply(req, 200, &manners, body)
                    }
                }
            }
        }
    }

    /// A request in a session.
    async fn asks(
        &self,
        req: &Request,
        opening: Opening,
        seat: &Seat,
    ) -> Result<Result<(Bytes, Arc<Manners>), Refused>, Error> {
        let manners = Arc::clone(&seat.manners);
        if manners.is_secure && req.tls().is_none() {
            // §18: whoever sent it learns nothing, and harms nothing.
            let why = "the session was begun inside TLS";
            return Err(Error::new(StatusCode::FORBIDDEN, why).closing());
        }
        let Ok(wrapper) = opening.rest(seat.wire.limits()) else {
            // One that has ended meanwhile cannot end again.
            let _ = seat.session.cast(Cast::Malformed);
            return Ok(Err(refused(Condition::BadRequest, manners)));
        };
        let (reply, answer) = oneshot::channel();
        let request = Box::new(process::Request { wrapper, reply });
        // A session that is gone drops the request, and with it the place of the answer.
        let _ = seat.session.cast(Cast::Request(request));
        Ok(waits(answer, manners).await)
    }

    /// A request for a session.
    async fn begins(
        &self,
        req: &Request,
        opening: Opening,
        clients: &Clients,
    ) -> Result<Result<(Bytes, Arc<Manners>), Refused>, Error> {
        let is_legacy = !opening.has_version();
        let Ok(wrapper) = opening.rest(clients.before_login) else {
            return Ok(Err(refused(Condition::BadRequest, manners(req, is_legacy))));
        };
        let manners = Arc::new(Manners {
            content_type: content_type(wrapper.content.as_deref()),
            ..Manners::clone(&manners(req, is_legacy))
        });
        if wrapper.to.is_none() {
            return Ok(Err(refused(Condition::ImproperAddressing, manners)));
        }
        let Some(ticket) = self.0.admission().ticket_now(req.peer().ip()) else {
            let full = StatusCode::SERVICE_UNAVAILABLE;
            return Err(Error::new(full, "too many clients have not logged in"));
        };
        let settings = self.0.settings();
        let terms = terms(&settings.bosh, &wrapper);
        let wire = Wire::new(clients.before_login);
        let place = self.0.bosh().seats.place(&wire, &manners);
        let place = place.map_err(|error| Error::internal(error.to_string()))?;
        let transport = BoshTransport::new(Arc::clone(&wire), ticket);
        let c2s = C2sArgs::new(
            self.0.parts().sessions.clone(),
            options(clients, &settings.bosh),
            transport,
            Some(req.peer()),
        );
        let (reply, answer) = oneshot::channel();
        let args = SessionArgs {
            place,
            wire,
            terms,
            creation: Box::new(process::Request { wrapper, reply }),
        };
        // Whichever is there alone finds the other end of its wire gone.
        let begun = self.0.bosh().shards.start_one::<BoshSession>(args).await;
        let begun = match begun {
            Ok(_) => self.0.parts().c2s.start_one::<C2s>(c2s).await.map(|_| ()),
            Err(error) => Err(error),
        };
        if let Err(error) = begun {
            tracing::warn!(target: "natter::session", peer = %req.peer(), %error, "connection refused");
            return Ok(Err(refused(Condition::InternalServerError, manners)));
        }
        Ok(waits(answer, manners).await)
    }
}

fn refused(condition: Condition, manners: Arc<Manners>) -> Refused {
    Refused { condition, manners }
}

/// Waits for what the session answers.
async fn waits(
    answer: oneshot::Receiver<Answer>,
    manners: Arc<Manners>,
) -> Result<(Bytes, Arc<Manners>), Refused> {
    match answer.await {
        Ok(Answer::Body(body)) => Ok((body, manners)),
        Ok(Answer::Over(condition)) => Err(refused(condition, manners)),
        // It ended, or fell.
        Err(_) => Err(refused(Condition::ItemNotFound, manners)),
    }
}

fn reply(req: &mut Request, status: u16, manners: &Manners, body: Bytes) -> Result<(), Error> {
    let headers = [
        ("content-type", manners.content_type),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    ];
    req.reply(status, headers, body).map_err(Error::from)
}

/// How a request that belongs to no session yet is answered.
fn manners(req: &Request, is_legacy: bool) -> Arc<Manners> {
    Arc::new(Manners {
        is_secure: req.tls().is_some(),
        is_legacy,
        content_type: XML,
    })
}

/// The type that a client wants (§7.1), if no browser would take it for a page: what stands in responses is written by
/// strangers.
fn content_type(wanted: Option<&str>) -> &'static str {
    let wanted = wanted.unwrap_or_default();
    match wanted.split(';').next().unwrap_or_default().trim() {
        "application/xml" => "application/xml; charset=utf-8",
        "text/plain" => "text/plain; charset=utf-8",
        _ => XML,
    }
}

/// What a client is offered on what it asks for (§7).
fn terms(settings: &BoshSettings, wrapper: &Wrapper) -> Terms {
    let most = settings.wait;
    let wait = wrapper
        .wait
        .map_or(most, |wait| Duration::from_secs(wait).min(most));
    // §12: a client that lets nothing be held comes to ask.
    let polls = wait.is_zero() || wrapper.hold == Some(0);
    let inactivity = match polls {
        true => settings.inactivity + settings.polling,
        false => settings.inactivity,
    };
    Terms {
        wait: if polls { Duration::ZERO } else { wait },
        hold: usize::from(!polls),
        requests: if polls { 1 } else { 2 },
        inactivity,
        max_pause: settings.max_pause,
        polling: settings.polling,
        acks: wrapper.ack == Some(1),
    }
}

/// What such sessions are given: whether a client still reads is asked by the BOSH session, whose responses are also the
/// signs of life.
fn options(clients: &Clients, settings: &BoshSettings) -> Arc<C2sOptions> {
    let options = &clients.options;
    let longest = settings.wait + settings.inactivity + settings.max_pause;
    Arc::new(C2sOptions {
        profile: Arc::clone(&options.profile),
        io: IoOptions {
            write_stall: options.io.write_stall + longest,
            keep_alive: None,
            ..options.io.clone()
        },
        limits: options.limits,
    })
}
