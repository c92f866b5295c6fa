//! Slots: what a client asks for before it puts a file (XEP-0363 §3 to §6).

use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use router::{Outcome, Packet};
use storage::{Reserved, StorageError, Upload};
use xmpp::payload::{DataForm, DataFormType, DiscoInfoResult, Field, FieldType, Identity};
use xmpp::{
    Condition, Fragment, IqType, Jid, Kind, Payload, Stanza, StanzaError, format_date_time, ns,
    parse_date_time, push_attr,
};

use super::name;
use super::service::{Service, Settings};

/// The namespace of slots.
pub(crate) const NS: &str = "urn:xmpp:http:upload:0";

/// The namespace of what a file is for.
const PURPOSE: &str = "urn:xmpp:http:upload:purpose:0";

/// What the service can do, beside what every entity can.
pub(crate) const FEATURES: [&str; 3] = [
    NS,
    "urn:xmpp:http:upload:purpose:0#message",
    "urn:xmpp:http:upload:purpose:0#ephemeral",
];

/// The type of a file of which none is said (§6).
const UNKNOWN: &str = "application/octet-stream";

/// How large a file may be, as a form of disco information (§3).
pub(crate) fn form(settings: &Settings) -> DataForm {
    let most = settings.opts.max_size.0.to_string();
    DataForm {
        type_: DataFormType::Result_,
        title: None,
        instructions: None,
        fields: vec![
            Field::new("FORM_TYPE", FieldType::Hidden).with_value(NS),
            Field::new("max-file-size", FieldType::TextSingle).with_value(&most),
        ],
    }
}

/// Answers what is sent to the service's own address.
pub(crate) async fn answer(service: Arc<Service>, packet: Packet) {
    let stanza = packet.stanza.clone();
    let answer = match stanza.kind() {
        Kind::Iq if stanza.iq_type() == IqType::Get => Some(get(&service, &stanza).await),
        Kind::Iq if stanza.iq_type() == IqType::Set => {
            Some(Err(Condition::ServiceUnavailable.into()))
        }
        // Nobody reads the service's mail (our choice).
        Kind::Message if !stanza.is_error() => Some(Err(Condition::ServiceUnavailable.into())),
        Kind::Message | Kind::Presence | Kind::Iq => None,
    };
    let reply = match answer {
        Some(Ok(payload)) => Some(Stanza::iq_result(&stanza, payload)),
        Some(Err(error)) => stanza.error_reply(&error),
        None => None,
    };
    if let Some(reply) = reply {
        let router = &service.host.router;
        router.route(router.answer(reply, &packet.meta)).await;
    }
    packet.receipt.resolve(Outcome::Delivered);
}

/// # Errors
///
/// - `item-not-found`: a part of the service, or a node of service discovery; it has none.
/// - `service-unavailable`: a namespace that nobody here knows.
/// - as [`slot`].
async fn get(service: &Arc<Service>, stanza: &Stanza) -> Result<Fragment, StanzaError> {
    let to = stanza.to();
    if to.is_some_and(|to| to.resource().is_some() || to.node().is_some()) {
        return Err(Condition::ItemNotFound.into());
    }
    let payload = stanza.dom().children().next();
    let has_node = payload.is_some_and(|query| query.attr("node").is_some());
    match stanza.payload_ns().unwrap_or_default() {
        NS => slot(service, stanza).await,
        ns::PING => Ok(Fragment::empty()),
        ns::DISCO_INFO | ns::DISCO_ITEMS if has_node => Err(Condition::ItemNotFound.into()),
        ns::DISCO_INFO => Ok(about(&service.settings())),
        ns::DISCO_ITEMS => {
            let mut out = String::from("<query");
            push_attr("xmlns", ns::DISCO_ITEMS, &mut out);
            out.push_str("/>");
            Ok(Fragment::from(out))
        }
        _ => Err(Condition::ServiceUnavailable.into()),
    }
}

fn about(settings: &Settings) -> Fragment {
    let own = [ns::DISCO_INFO, ns::DISCO_ITEMS, ns::PING];
    let features = own.into_iter().chain(FEATURES).map(str::to_owned);
    DiscoInfoResult {
        node: None,
        identities: vec![Identity::new("store", "file", "en", &settings.opts.name)],
        features: features.collect(),
        extensions: vec![form(settings)],
    }
    .to_fragment()
}

/// What a client wants to put.
struct Wanted {
    name: String,
    media: String,
    size: u64,
    /// When it must be gone.
    before: Option<SystemTime>,
}

/// Opens a slot for a file and tells the URLs by which it is put and got.
///
/// # Errors
///
/// - `bad-request`: no name of a file, no size above 0, or no media type where one is said.
/// - `forbidden`: who asks has no account at this host.
/// - `not-acceptable`: the file is larger than the `<max-file-size/>` that is told; its type or its name is not taken;
///   it would have to be gone already.
/// - `feature-not-implemented`: a purpose that was not announced.
/// - `resource-constraint`: the account has as much as it may; `<retry/>` says when there is room.
/// - `service-unavailable`: the server listens for no HTTP.
pub(crate) async fn slot(service: &Arc<Service>, stanza: &Stanza) -> Result<Fragment, StanzaError> {
    let settings = service.settings();
    let owner = stanza.from().map(Jid::to_bare);
    let owner = owner
        .filter(|owner| owner.node().is_some() && owner.domain().as_str() == &*service.host.name);
    let Some(owner) = owner else {
        return Err(Condition::Forbidden.text("only accounts of this server may upload files"));
    };
    let now = service.host.clock.wall();
    let wanted = read(stanza)?;
    allow(&settings, &wanted, now)?;

    let mut random = [0; 24];
    getrandom::fill(&mut random).map_err(|_| Condition::InternalServerError)?;
    let id = BASE64_URL_SAFE_NO_PAD.encode(random);
    let Some((put, got)) = service.urls(&id, &wanted.name) else {
        tracing::warn!(
            target: "natter::web",
            host = &*service.host.name,
            "no slot was given: there is no listener of kind http, and mod_http_upload has no put_url"
        );
        let why = "the server takes no files at the moment";
        return Err(Condition::ServiceUnavailable.text(why));
    };
    let kept = now.checked_add(settings.opts.keep_for).unwrap_or(now);
    let expires = wanted.before.map_or(kept, |before| before.min(kept));
    let slot = Upload {
        id,
        owner,
        name: wanted.name,
        media: wanted.media,
        size: wanted.size,
        created: now,
        deadline: (now + settings.opts.slot_for).min(expires),
        stored: None,
        expires,
    };
    let store = &service.host.storage.uploads;
    match store.reserve(slot, settings.limits()).await {
        Ok(Reserved::Yes) => Ok(told(&put, &got)),
        Ok(Reserved::Full(again)) => Err(full(again)),
        // The account was removed a moment ago.
        Err(StorageError::Invalid { .. }) => Err(Condition::Forbidden.into()),
        Err(error) => Err(error.into()),
    }
}

fn read(stanza: &Stanza) -> Result<Wanted, StanzaError> {
    let request = stanza.dom().children().next();
    let request = request.filter(|request| request.name() == "request");
    let request = request.ok_or(Condition::BadRequest)?;
    let said = request.attr("filename").filter(|said| !said.is_empty());
    let said = said.ok_or_else(|| Condition::BadRequest.text("filename is missing"))?;
    let size = request
        .attr("size")
        .and_then(|size| size.trim().parse().ok());
    let size = size.filter(|size| *size > 0);
    let size = size.ok_or_else(|| Condition::BadRequest.text("size is no number above 0"))?;
    let media = match request.attr("content-type") {
        None => UNKNOWN.to_owned(),
        Some(said) => name::media_of(said)
            .ok_or_else(|| Condition::BadRequest.text("content-type is no media type"))?,
    };
    let name = name::name_of(said)
        .ok_or_else(|| Condition::NotAcceptable.text("no file can be called so"))?;
    let mut before = None;
    for purpose in request.children().filter(|child| child.ns() == PURPOSE) {
        match purpose.name() {
            "message" => {}
            "ephemeral" => {
                let until = purpose.attr("expire-before").and_then(parse_date_time);
                let until = until.ok_or_else(|| {
                    Condition::BadRequest.text("expire-before is no date and time")
                })?;
                before = Some(until);
            }
            other => {
                let why = format!("files for `{other}` are not taken here");
                return Err(Condition::FeatureNotImplemented.text(why));
            }
        }
    }
    Ok(Wanted {
        name,
        media,
        size,
        before,
    })
}

fn allow(settings: &Settings, wanted: &Wanted, now: SystemTime) -> Result<(), StanzaError> {
    let most = settings.opts.max_size.0;
    if wanted.size > most {
        let mut extra = String::from("<file-too-large");
        push_attr("xmlns", NS, &mut extra);
        extra.push_str(&format!(
            "><max-file-size>{most}</max-file-size></file-too-large>"
        ));
        let error = Condition::NotAcceptable.text(format!(
            "The file is too large. The largest may have {most} bytes"
        ));
        return Err(error.with_extra(Fragment::from(extra)));
    }
    if !name::is_one_of(&wanted.media, &settings.opts.types) {
        let why = format!("files of type {} are not taken", wanted.media);
        return Err(Condition::NotAcceptable.text(why));
    }
    if wanted.before.is_some_and(|before| before <= now) {
        return Err(Condition::NotAcceptable.text("expire-before has passed"));
    }
    Ok(())
}

fn told(put: &str, got: &str) -> Fragment {
    let mut out = String::from("<slot");
    push_attr("xmlns", NS, &mut out);
    out.push_str("><put");
    push_attr("url", put, &mut out);
    out.push_str("/><get");
    push_attr("url", got, &mut out);
    out.push_str("/></slot>");
    Fragment::from(out)
}

fn full(again: Option<SystemTime>) -> StanzaError {
    let error = Condition::ResourceConstraint.text("you have as many files here as you may");
    let Some(at) = again else { return error };
    let mut retry = String::from("<retry");
    push_attr("xmlns", NS, &mut retry);
    push_attr("stamp", &format_date_time(at), &mut retry);
    retry.push_str("/>");
    error.with_extra(Fragment::from(retry))
}
