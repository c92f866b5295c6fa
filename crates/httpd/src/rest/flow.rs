//! The decisions in their order.

use std::time::SystemTime;

use http::Method;
use http::header;

use super::conditions::{Tags, date, date_text};
use super::media::{MediaType, is_taken};
use super::negotiate::{malformed, negotiate, text_of};
use super::ranges::{self, Body};
use super::{Accepted, Chosen, Content, Decision, ETag, Rest, Satisfiable};
use crate::{Error, Request};

/// Ends the flow with a status, and the body that was set. Where there is none nothing is said of one.
pub(super) fn end(req: &mut Request, status: u16) -> Decision<()> {
    let body = req.take_body();
    if body.is_empty() {
        for name in [
            header::CONTENT_TYPE,
            header::CONTENT_LANGUAGE,
            header::CONTENT_ENCODING,
        ] {
            req.delete_header(name);
        }
    }
    req.reply(status, (), body)?;
    Ok(())
}

/// What of a resource is asked once, and only where it is needed.
#[derive(Default)]
struct Facts {
    etag: Option<Option<ETag>>,
    modified: Option<Option<SystemTime>>,
}

impl Facts {
    async fn etag<R: Rest>(&mut self, of: &mut R, req: &mut Request) -> Decision<Option<&ETag>> {
        if self.etag.is_none() {
            self.etag = Some(of.generate_etag(req).await?);
        }
        Ok(self.etag.as_ref().and_then(Option::as_ref))
    }

    async fn modified<R: Rest>(
        &mut self,
        of: &mut R,
        req: &mut Request,
    ) -> Decision<Option<SystemTime>> {
        if let Some(known) = self.modified {
            return Ok(known);
        }
        // Nothing changes later than now (RFC 9110 §8.8.2.1).
        let now = req.clock().wall();
        let modified = of.last_modified(req).await?.map(|at| at.min(now));
        self.modified = Some(modified);
        Ok(modified)
    }
}

/// Runs the flow to a reply.
pub(super) async fn run<R: Rest>(of: &mut R, req: &mut Request) -> Decision<()> {
    if !of.service_available(req).await? {
        return end(req, 503);
    }
    let method = req.method().clone();
    if !of.known_methods(req).await?.contains(&method) {
        return end(req, 501);
    }
    if of.uri_too_long(req).await? {
        return end(req, 414);
    }
    let allowed = of.allowed_methods(req).await?;
    let names: Vec<&str> = allowed.iter().map(Method::as_str).collect();
    req.set_header(header::ALLOW, names.join(", "))?;
    if !allowed.contains(&method) {
        return end(req, 405);
    }
    if of.malformed_request(req).await? {
        return end(req, 400);
    }
    if let Some(challenge) = of.is_authorized(req).await? {
        req.set_header(header::WWW_AUTHENTICATE, challenge)?;
        return end(req, 401);
    }
    if of.forbidden(req).await? {
        return end(req, 403);
    }
    if let Some(again) = of.rate_limited(req).await? {
        req.set_header(header::RETRY_AFTER, again)?;
        return end(req, 429);
    }
    if !of.valid_content_headers(req).await? {
        return end(req, 501);
    }
    if !of.valid_entity_length(req).await? {
        return end(req, 413);
    }
    if method == Method::OPTIONS {
        of.options(req).await?;
        return end(req, 200);
    }
    let Some((chosen, units)) = negotiate(of, req).await? else {
        return end(req, 406);
    };
    let exists = of.resource_exists(req).await?;
    if !exists {
        return missing(of, req, &method).await;
    }
    let mut facts = Facts::default();
    if let Some(status) = preconditions(of, req, &method, &mut facts).await? {
        if status == 304 {
            // A 304 has what a 200 would have had to be kept by (RFC 9110 §15.4.5), and no body.
            describe(of, req, &mut facts, false).await?;
            req.take_body();
        }
        return end(req, status);
    }
    match method {
        Method::GET | Method::HEAD => provide(of, req, &method, &chosen, units, facts).await,
        Method::DELETE => delete(of, req).await,
        Method::PUT if of.is_conflict(req).await? => end(req, 409),
        Method::POST | Method::PATCH | Method::PUT => accept(of, req, &method, true).await,
        _ if of.multiple_choices(req).await? => end(req, 300),
        _ => end(req, 200),
    }
}

/// The status that a precondition leads to (RFC 9110 §13.2.2); none: go on.
async fn preconditions<R: Rest>(
    of: &mut R,
    req: &mut Request,
    method: &Method,
    facts: &mut Facts,
) -> Decision<Option<u16>> {
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    let since = |req: &Request, name| text_of(req, name).and_then(|text| date(&text));
    if let Some(text) = text_of(req, header::IF_MATCH) {
        let tags = Tags::parse(&text).ok_or_else(|| malformed("if-match"))?;
        if !tags.is_any() && !tags.holds_strong(facts.etag(of, req).await?) {
            return Ok(Some(412));
        }
    } else if let Some(since) = since(req, header::IF_UNMODIFIED_SINCE)
        && let Some(modified) = facts.modified(of, req).await?
        && seconds(modified) > seconds(since)
    {
        return Ok(Some(412));
    }
    if let Some(text) = text_of(req, header::IF_NONE_MATCH) {
        let tags = Tags::parse(&text).ok_or_else(|| malformed("if-none-match"))?;
        let held = tags.is_any() || tags.holds_weak(facts.etag(of, req).await?);
        return Ok(held.then_some(if is_read { 304 } else { 412 }));
    }
    if is_read
        && let Some(since) = since(req, header::IF_MODIFIED_SINCE)
        && since <= req.clock().wall()
        && let Some(modified) = facts.modified(of, req).await?
        && seconds(modified) <= seconds(since)
    {
        return Ok(Some(304));
    }
    Ok(None)
}

/// Dates of HTTP have seconds and nothing below.
fn seconds(date: SystemTime) -> u64 {
    date.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Sets what describes the representation.
async fn describe<R: Rest>(
    of: &mut R,
    req: &mut Request,
    facts: &mut Facts,
    with_date: bool,
) -> Decision<()> {
    if let Some(etag) = facts.etag(of, req).await? {
        req.set_header(header::ETAG, etag.to_string())?;
    }
    if with_date && let Some(modified) = facts.modified(of, req).await? {
        req.set_header(header::LAST_MODIFIED, date_text(modified))?;
    }
    if let Some(expires) = of.expires(req).await? {
        req.set_header(header::EXPIRES, date_text(expires))?;
    }
    Ok(())
}

/// A resource that does not exist.
async fn missing<R: Rest>(of: &mut R, req: &mut Request, method: &Method) -> Decision<()> {
    if req.headers().contains_key(header::IF_MATCH) {
        return end(req, 412);
    }
    if *method == Method::PUT {
        if let Some(to) = of.moved_permanently(req).await? {
            return redirect(req, 301, to);
        }
        if of.is_conflict(req).await? {
            return end(req, 409);
        }
        return accept(of, req, method, false).await;
    }
    let is_post = *method == Method::POST;
    let gone = of.previously_existed(req).await?;
    if gone {
        if let Some(to) = of.moved_permanently(req).await? {
            return redirect(req, 301, to);
        }
        if let Some(to) = of.moved_temporarily(req).await? {
            return redirect(req, 307, to);
        }
    }
    if is_post && of.allow_missing_post(req).await? {
        return accept(of, req, method, false).await;
    }
    end(req, if gone { 410 } else { 404 })
}

fn redirect(req: &mut Request, status: u16, to: String) -> Decision<()> {
    req.set_header(header::LOCATION, to)?;
    end(req, status)
}

async fn delete<R: Rest>(of: &mut R, req: &mut Request) -> Decision<()> {
    if !of.delete_resource(req).await? {
        return end(req, 500);
    }
    if !of.delete_completed(req).await? {
        return end(req, 202);
    }
    let status = if req.has_set_body() { 200 } else { 204 };
    end(req, status)
}

/// POST, PATCH and PUT: takes the body.
async fn accept<R: Rest>(
    of: &mut R,
    req: &mut Request,
    method: &Method,
    exists: bool,
) -> Decision<()> {
    let types = of.content_types_accepted(req).await?;
    let sent = match req.headers().get(header::CONTENT_TYPE) {
        None => None,
        Some(value) => match value.to_str().ok().and_then(MediaType::parse) {
            Some(media) => Some(media),
            None => return end(req, 415),
        },
    };
    let takes = |taken: &Option<MediaType>| match (taken, &sent) {
        (None, _) => true,
        (Some(taken), Some(sent)) => is_taken(taken, sent),
        (Some(_), None) => false,
    };
    let Some(taken) = types.iter().position(takes) else {
        return end(req, 415);
    };
    let located = |req: &Request| req.reply_headers().contains_key(header::LOCATION);
    match of.accept(taken, req).await? {
        Accepted::No => end(req, 400),
        Accepted::Created(_) | Accepted::SeeOther(_) if *method != Method::POST => {
            Err(Error::internal("only what is posted has a new place").into())
        }
        Accepted::Created(to) => redirect(req, 201, to),
        Accepted::SeeOther(to) => redirect(req, 303, to),
        Accepted::Yes if !exists && (*method == Method::PUT || located(req)) => end(req, 201),
        Accepted::Yes if !req.has_set_body() => end(req, 204),
        Accepted::Yes if of.multiple_choices(req).await? => end(req, 300),
        Accepted::Yes => end(req, 200),
    }
}

async fn provide<R: Rest>(
    of: &mut R,
    req: &mut Request,
    method: &Method,
    chosen: &Chosen,
    units: Option<Vec<String>>,
    mut facts: Facts,
) -> Decision<()> {
    describe(of, req, &mut facts, true).await?;
    let mut wish = None;
    if let Some(units) = units
        && *method == Method::GET
    {
        wish = wished_range(of, req, &units, &mut facts).await?;
    }
    if let Some((unit, range)) = &wish {
        if let Satisfiable::No(size) = of.range_satisfiable(req).await? {
            let whole = size.map(|size| format!("{unit} */{size}"));
            return ranges::unsatisfiable(req, whole);
        }
        if unit != "bytes" {
            return ranges::own(of, req, chosen, unit, range).await;
        }
    }
    let content = of.provide(chosen, req).await?;
    let status = if of.multiple_choices(req).await? {
        300
    } else {
        200
    };
    let mut body = match content {
        Content::None => return end(req, status),
        Content::Bytes(bytes) => Body::Bytes(bytes),
        Content::Source(source) => Body::Source(source),
    };
    match wish {
        Some((_, range)) if status == 200 => body.cut(req, &range).await,
        _ => body.whole(req, status, method).await,
    }
}

/// The unit and the ranges that are wished and may be given; none: the whole.
async fn wished_range<R: Rest>(
    of: &mut R,
    req: &mut Request,
    units: &[String],
    facts: &mut Facts,
) -> Decision<Option<(String, String)>> {
    let Some(text) = text_of(req, header::RANGE) else {
        return Ok(None);
    };
    let Some((unit, range)) = text.split_once('=') else {
        return Ok(None);
    };
    let unit = unit.trim().to_ascii_lowercase();
    if !units.contains(&unit) {
        return Ok(None);
    }
    if let Some(text) = text_of(req, header::IF_RANGE) {
        let holds = match (date(&text), ETag::parse(text.trim())) {
            // A date is compared to the second, and to nothing else (RFC 9110 §13.1.5).
            (Some(date), _) => facts
                .modified(of, req)
                .await?
                .is_some_and(|at| seconds(at) == seconds(date)),
            (None, Some(tag)) => !tag.weak && facts.etag(of, req).await? == Some(&tag),
            (None, None) => false,
        };
        if !holds {
            return Ok(None);
        }
    }
    Ok(Some((unit, range.to_owned())))
}
