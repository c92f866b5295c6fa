//! What a representation is chosen by: type, language, charset (RFC 9110 §12), and what is told of the choice.

use http::header::{self, HeaderName};

use super::media::{self, Wish};
use super::{Chosen, Decision, Halt, MediaType, Rest};
use crate::{Error, Request};

pub(super) fn malformed(name: &str) -> Halt {
    Error::bad_request(format!("the header {name} is malformed")).into()
}

/// A header as one line; none where there is none. Bytes that are no text stay what nobody has said.
pub(super) fn text_of(req: &Request, name: HeaderName) -> Option<String> {
    let lines = req.headers().get_all(name).iter();
    let lines: Vec<_> = lines
        .map(|line| String::from_utf8_lossy(line.as_bytes()))
        .collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}

/// A header that says what is wished; one that says nothing is as none.
fn wishes(req: &Request, name: HeaderName) -> Option<String> {
    text_of(req, name).filter(|text| !text.trim_matches([' ', '\t', ',']).is_empty())
}

/// The words of a header, those wished most first; none where there is no header.
fn words(req: &Request, name: HeaderName) -> Decision<Option<Vec<Wish<String>>>> {
    let Some(text) = wishes(req, name.clone()) else {
        return Ok(None);
    };
    let words = media::accept_words(&text);
    words.map(Some).ok_or_else(|| malformed(name.as_str()))
}

/// What was chosen, and the units of ranges that are provided.
type Negotiated = (Chosen, Option<Vec<String>>);

/// Chooses type, language and charset; none where nothing pleases.
pub(super) async fn negotiate<R: Rest>(
    of: &mut R,
    req: &mut Request,
) -> Decision<Option<Negotiated>> {
    let asks = of.negotiates_type(req).await?;
    let types = of.content_types_provided(req).await?;
    let Some(first) = types.first() else {
        return Ok(None);
    };
    // Whether a charset among a type's parameters is there must be known for texts that take any.
    let is_open = |of: &MediaType| of.any_params && of.kind == "text";
    let open = types.iter().any(is_open);
    let early = if open {
        of.charsets_provided(req).await?
    } else {
        None
    };
    let accept = wishes(req, header::ACCEPT).filter(|_| asks);
    let (number, mut media) = match accept {
        None => (0, first.clone()),
        Some(text) => {
            let wishes = media::accept(&text).ok_or_else(|| malformed("accept"))?;
            let fits = |of: &MediaType| match (of.param("charset"), &early) {
                (Some(charset), Some(provided)) if is_open(of) => provided
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
    if is_open(&media) && early.is_none() {
        // Nobody knows whether it is in that charset.
        media.params.retain(|(name, _)| name != "charset");
    }
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
    let is_text = media.kind == "text";
    let mut charset = media
        .param("charset")
        .filter(|_| is_text)
        .map(str::to_owned);
    let mut shown = media.clone();
    if let (None, Some(provided), true) = (&charset, &charsets, is_text) {
        let chosen = match words(req, header::ACCEPT_CHARSET)? {
            None => provided.first(),
            Some(wishes) => media::choose_charset(&wishes, provided),
        };
        let Some(chosen) = chosen.cloned() else {
            return Ok(None);
        };
        shown.params.push(("charset".to_owned(), chosen.clone()));
        charset = Some(chosen);
    }
    req.set_header(header::CONTENT_TYPE, shown.to_string())?;
    let units = of.ranges_provided(req).await?;
    if let Some(units) = &units {
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
    if asks && types.len() > 1 {
        vary.push("accept".to_owned());
    }
    vary.extend(of.variances(req).await?);
    if !vary.is_empty() {
        req.set_header(header::VARY, vary.join(", "))?;
    }
    let chosen = Chosen {
        number,
        media,
        language,
        charset,
    };
    Ok(Some((chosen, units)))
}
