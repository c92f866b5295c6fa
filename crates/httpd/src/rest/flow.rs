//! The decisions in their order.

use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderName};

use super::conditions::{Ranges, Tags, byte_ranges, date, date_text};
use super::media::{self, Wish};
use super::{
    Accepted, Chosen, Content, Decision, ETag, Halt, MediaType, Rest, Satisfiable, Source,
};
use crate::{Error, Request};

/// Bytes of a source that are read at once.
const PIECE: usize = 64 * 1024;

/// Ends the flow with a status, and the body that was set.
fn end(req: &mut Request, status: u16) -> Decision<()> {
    let body = req.take_body();
    req.reply(status, (), body)?;
    Ok(())
}

fn text_of(req: &Request, name: HeaderName) -> Option<String> {
    let lines = req.headers().get_all(name).iter();
    let lines: Option<Vec<&str>> = lines.map(|line| line.to_str().ok()).collect();
    let lines = lines.unwrap_or_default();
    (!lines.is_empty()).then(|| lines.join(", "))
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
    let Some(chosen) = negotiate(of, req).await? else {
        return end(req, 406);
    };
    let exists = of.resource_exists(req).await?;
    if !exists {
        return missing(of, req, &method).await;
    }
    let etag = of.generate_etag(req).await?;
    if let Some(status) = preconditions(of, req, &method, etag.as_ref()).await? {
        if status == 304 {
            // A 304 has what a 200 would have had to be kept by (RFC 9110 §15.4.5).
            req.delete_header(header::CONTENT_TYPE);
            describe(of, req, etag.as_ref(), false).await?;
        }
        return end(req, status);
    }
    match method {
        Method::GET | Method::HEAD => provide(of, req, &method, &chosen, etag.as_ref()).await,
        Method::DELETE => delete(of, req).await,
        Method::PUT if of.is_conflict(req).await? => end(req, 409),
        Method::POST | Method::PATCH | Method::PUT => accept(of, req, &method, true).await,
        _ if of.multiple_choices(req).await? => end(req, 300),
        _ => end(req, 200),
    }
}

fn malformed(name: &str) -> Halt {
    Error::bad_request(format!("the header {name} is malformed")).into()
}

/// The words of a header, those wished most first; none where there is no header.
fn words(req: &Request, name: HeaderName) -> Decision<Option<Vec<Wish<String>>>> {
    let Some(text) = text_of(req, name.clone()) else {
        return Ok(None);
    };
    let wishes = media::accept_words(&text);
    wishes.map(Some).ok_or_else(|| malformed(name.as_str()))
}

/// Chooses type, language and charset; none where nothing pleases.
async fn negotiate<R: Rest>(of: &mut R, req: &mut Request) -> Decision<Option<Chosen>> {
    let asks = of.negotiates_type(req).await?;
    let types = of.content_types_provided(req).await?;
    let Some(first) = types.first() else {
        return Ok(None);
    };
    // Whether a charset among a type's parameters is there must be known for those that take any.
    let open = types.iter().any(|of| of.any_params);
    let early = if open {
        of.charsets_provided(req).await?
    } else {
        None
    };
    let accept = text_of(req, header::ACCEPT).filter(|_| asks);
    let (number, media) = match accept {
        None => (0, first.clone()),
        Some(text) => {
            let wishes = media::accept(&text).ok_or_else(|| malformed("accept"))?;
            let fits = |of: &MediaType| match (of.param("charset"), &early) {
                (Some(charset), Some(provided)) if of.any_params => provided
                    .iter()
                    .any(|name| name.eq_ignore_ascii_case(charset)),
                _ => true,
            };
            match media::choose(&wishes, &types, fits) {
                Some(chosen) => chosen,
                None => return Ok(None),
            }
        }
    };
    let mut vary = Vec::new();
    let languages = of.languages_provided(req).await?;
    let mut language = None;
    if let Some(provided) = &languages {
        let chosen = match words(req, header::ACCEPT_LANGUAGE)? {
            None => provided.first(),
            Some(wishes) => media::choose_language(&wishes, provided),
        };
        let Some(chosen) = chosen.cloned() else {
            return Ok(None);
        };
        req.set_header(header::CONTENT_LANGUAGE, chosen.as_str())?;
        language = Some(chosen);
    }
    let charsets = if open {
        early
    } else {
        of.charsets_provided(req).await?
    };
    let mut charset = media.param("charset").map(str::to_owned);
    if let (None, Some(provided), "text") = (&charset, &charsets, media.kind.as_str()) {
        let chosen = match words(req, header::ACCEPT_CHARSET)? {
            None => provided.first(),
            Some(wishes) => media::choose_charset(&wishes, provided),
        };
        let Some(chosen) = chosen.cloned() else {
            return Ok(None);
        };
        charset = Some(chosen);
    }
    let mut shown = media.clone();
    if let (Some(charset), None, "text") = (&charset, media.param("charset"), media.kind.as_str()) {
        shown.params.push(("charset".to_owned(), charset.clone()));
    }
    req.set_header(header::CONTENT_TYPE, shown.to_string())?;
    if let Some(units) = of.ranges_provided(req).await? {
        let units = if units.is_empty() {
            "none".to_owned()
        } else {
            units.join(", ")
        };
        req.set_header(header::ACCEPT_RANGES, units)?;
    }
    let several = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| list.len() > 1);
    if several(&charsets) {
        vary.push("accept-charset".to_owned());
    }
    if several(&languages) {
        vary.push("accept-language".to_owned());
    }
    if types.len() > 1 {
        vary.push("accept".to_owned());
    }
    vary.extend(of.variances(req).await?);
    if !vary.is_empty() {
        req.set_header(header::VARY, vary.join(", "))?;
    }
    Ok(Some(Chosen {
        number,
        media,
        language,
        charset,
    }))
}

/// The status that a precondition leads to (RFC 9110 §13.2.2); none: go on.
async fn preconditions<R: Rest>(
    of: &mut R,
    req: &mut Request,
    method: &Method,
    etag: Option<&ETag>,
) -> Decision<Option<u16>> {
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    let since = |req: &Request, name| text_of(req, name).and_then(|text| date(&text));
    if let Some(text) = text_of(req, header::IF_MATCH) {
        let tags = Tags::parse(&text).ok_or_else(|| malformed("if-match"))?;
        if !tags.holds_strong(etag) {
            return Ok(Some(412));
        }
    } else if let Some(since) = since(req, header::IF_UNMODIFIED_SINCE)
        && let Some(modified) = of.last_modified(req).await?
        && seconds(modified) > seconds(since)
    {
        return Ok(Some(412));
    }
    if let Some(text) = text_of(req, header::IF_NONE_MATCH) {
        let tags = Tags::parse(&text).ok_or_else(|| malformed("if-none-match"))?;
        let held = tags.holds_weak(etag);
        return Ok(held.then_some(if is_read { 304 } else { 412 }));
    }
    if is_read
        && let Some(since) = since(req, header::IF_MODIFIED_SINCE)
        && since <= req.clock().wall()
        && let Some(modified) = of.last_modified(req).await?
        && seconds(modified) <= seconds(since)
    {
        return Ok(Some(304));
    }
    Ok(None)
}

/// Dates of HTTP have seconds and nothing below.
fn seconds(date: std::time::SystemTime) -> u64 {
    date.duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Sets what describes the representation.
async fn describe<R: Rest>(
    of: &mut R,
    req: &mut Request,
    etag: Option<&ETag>,
    with_date: bool,
) -> Decision<()> {
    if let Some(etag) = etag {
        req.set_header(header::ETAG, etag.to_string())?;
    }
    if with_date && let Some(modified) = of.last_modified(req).await? {
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
    req.delete_header(header::CONTENT_TYPE);
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

/// Parameters must be the same, in their order; a boundary is no parameter of the type.
fn is_taken(taken: &MediaType, sent: &MediaType) -> bool {
    let is = |wanted: &str, found: &str| wanted == "*" || wanted == found;
    let params = sent
        .params
        .iter()
        .filter(|(name, _)| sent.kind != "multipart" || name != "boundary");
    is(&taken.kind, &sent.kind)
        && is(&taken.subtype, &sent.subtype)
        && (taken.any_params || params.eq(taken.params.iter()))
}

async fn provide<R: Rest>(
    of: &mut R,
    req: &mut Request,
    method: &Method,
    chosen: &Chosen,
    etag: Option<&ETag>,
) -> Decision<()> {
    describe(of, req, etag, true).await?;
    let wish = if *method == Method::GET {
        wished_range(of, req, etag).await?
    } else {
        None
    };
    if let Some((unit, range)) = wish.as_ref().filter(|(unit, _)| unit != "bytes") {
        return own_ranges(of, req, chosen, unit, range).await;
    }
    let content = of.provide(chosen, req).await?;
    let status = if of.multiple_choices(req).await? {
        300
    } else {
        200
    };
    let mut body = match content {
        Content::None => {
            req.delete_header(header::CONTENT_TYPE);
            return end(req, status);
        }
        Content::Bytes(bytes) => Body::Bytes(bytes),
        Content::Source(source) => Body::Source(source),
    };
    let Some((_, range)) = wish.filter(|_| status == 200) else {
        let size = body.length();
        return body.send(req, status, &[(0, size)], method).await;
    };
    let size = body.length();
    match byte_ranges(&range, size) {
        Ranges::Unsatisfiable => {
            req.set_header(header::CONTENT_RANGE, format!("bytes */{size}"))?;
            req.delete_header(header::CONTENT_TYPE);
            end(req, 416)
        }
        Ranges::Of(ranges) => match ranges.as_slice() {
            [(first, last)] => {
                req.set_header(
                    header::CONTENT_RANGE,
                    format!("bytes {first}-{last}/{size}"),
                )?;
                body.send(req, 206, &[(*first, last + 1 - first)], method)
                    .await
            }
            several => {
                let mut parts = Vec::with_capacity(several.len());
                for (first, last) in several {
                    let bytes = body.whole(*first, last + 1 - first).await?;
                    parts.push((format!("bytes {first}-{last}/{size}"), bytes));
                }
                multipart(req, parts)
            }
        },
    }
}

/// The unit and the ranges that are wished and may be given; none: the whole.
async fn wished_range<R: Rest>(
    of: &mut R,
    req: &mut Request,
    etag: Option<&ETag>,
) -> Decision<Option<(String, String)>> {
    let Some(text) = text_of(req, header::RANGE) else {
        return Ok(None);
    };
    let Some(units) = of.ranges_provided(req).await? else {
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
        let holds = match date(&text) {
            // A date is compared to the second, and to nothing else (RFC 9110 §13.1.5).
            Some(date) => of
                .last_modified(req)
                .await?
                .is_some_and(|m| seconds(m) == seconds(date)),
            None => Tags::parse(&text)
                .is_some_and(|tags| matches!(tags, Tags::Of(_)) && tags.holds_strong(etag)),
        };
        if !holds {
            return Ok(None);
        }
    }
    Ok(Some((unit, range.to_owned())))
}

/// Ranges in a unit of the resource's own.
async fn own_ranges<R: Rest>(
    of: &mut R,
    req: &mut Request,
    chosen: &Chosen,
    unit: &str,
    range: &str,
) -> Decision<()> {
    if let Satisfiable::No(size) = of.range_satisfiable(req).await? {
        if let Some(size) = size {
            req.set_header(header::CONTENT_RANGE, format!("{unit} */{size}"))?;
        }
        req.delete_header(header::CONTENT_TYPE);
        return end(req, 416);
    }
    let mut parts = of.provide_range(chosen, unit, range, req).await?;
    if parts.len() == 1 {
        let part = parts.remove(0);
        req.set_header(header::CONTENT_RANGE, format!("{unit} {}", part.range))?;
        return Ok(req.reply(206, (), part.body)?);
    }
    let named = parts
        .into_iter()
        .map(|part| (format!("{unit} {}", part.range), part.body));
    let parts = named.collect();
    multipart(req, parts)
}

/// Several ranges in one body (RFC 9110 §14.6).
fn multipart(req: &mut Request, parts: Vec<(String, Bytes)>) -> Decision<()> {
    let of = req.reply_headers().get(header::CONTENT_TYPE).cloned();
    // A boundary that no part holds.
    let boundary = (0_u64..)
        .map(|number| format!("part-{number:016x}"))
        .find(|boundary| !parts.iter().any(|(_, body)| holds(body, boundary)))
        .expect("there are more boundaries than places in a body");
    let mut body = Vec::new();
    for (range, part) in &parts {
        body.extend_from_slice(format!("\r\n--{boundary}\r\n").as_bytes());
        if let Some(of) = &of {
            body.extend_from_slice(b"content-type: ");
            body.extend_from_slice(of.as_bytes());
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("content-range: {range}\r\n\r\n").as_bytes());
        body.extend_from_slice(part);
    }
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    let content_type = format!("multipart/byteranges; boundary={boundary}");
    Ok(req.reply(206, [(header::CONTENT_TYPE, content_type)], body)?)
}

fn holds(body: &[u8], text: &str) -> bool {
    memchr::memmem::find(body, text.as_bytes()).is_some()
}

/// A body that is cut and sent.
enum Body {
    Bytes(Bytes),
    Source(Box<dyn Source>),
}

impl Body {
    fn length(&self) -> u64 {
        match self {
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::Source(source) => source.length(),
        }
    }

    /// A part of it, in memory.
    async fn whole(&mut self, from: u64, length: u64) -> Decision<Bytes> {
        let end = from + length;
        match self {
            Body::Bytes(bytes) => Ok(bytes.slice(from as usize..end as usize)),
            Body::Source(source) => {
                let mut all = Vec::new();
                let mut at = from;
                while at < end {
                    let most = (end - at).min(PIECE as u64) as usize;
                    let piece = source.read(at, most).await?;
                    if piece.is_empty() {
                        return Err(Error::internal("a body is shorter than it said").into());
                    }
                    at += piece.len() as u64;
                    all.extend_from_slice(&piece);
                }
                Ok(all.into())
            }
        }
    }

    /// Sends one part of it.
    async fn send(
        &mut self,
        req: &mut Request,
        status: u16,
        part: &[(u64, u64); 1],
        method: &Method,
    ) -> Decision<()> {
        let [(from, length)] = *part;
        let Body::Source(source) = self else {
            let bytes = self.whole(from, length).await?;
            return Ok(req.reply(status, (), bytes)?);
        };
        req.stream(status, [(header::CONTENT_LENGTH, length.to_string())])?;
        let (mut at, end) = (from, from + length);
        while at < end && *method != Method::HEAD {
            let most = (end - at).min(PIECE as u64) as usize;
            let piece = source.read(at, most).await?;
            if piece.is_empty() {
                return Err(Error::internal("a body is shorter than it said").into());
            }
            at += piece.len() as u64;
            req.send(piece).await?;
        }
        Ok(req.finish()?)
    }
}
