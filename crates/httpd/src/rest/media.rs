//! Media types, and the headers by which peers say what they want (RFC 9110 §12).

use std::fmt;

/// A media type that is provided or accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaType {
    /// `text` of `text/html`, in lower case.
    pub kind: String,
    /// `html` of `text/html`, in lower case.
    pub subtype: String,
    /// Its parameters, names in lower case.
    pub params: Vec<(String, String)>,
    /// Whether it stands for every parameter.
    pub any_params: bool,
}

impl MediaType {
    /// Reads a media type: `text/html`, `text/plain; charset=utf-8`. None if it is malformed.
    pub fn parse(text: &str) -> Option<MediaType> {
        let mut parts = split_quoted(text, ';').into_iter();
        let (kind, subtype) = parts.next()?.trim().split_once('/')?;
        if !is_token(kind) || !is_token(subtype) {
            return None;
        }
        let params = parts
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(param)
            .collect::<Option<Vec<_>>>()?;
        Some(MediaType {
            kind: kind.to_ascii_lowercase(),
            subtype: subtype.to_ascii_lowercase(),
            params,
            any_params: false,
        })
    }

    /// A type that is written in the program.
    ///
    /// # Panics
    ///
    /// If it is malformed.
    pub fn new(text: &str) -> MediaType {
        MediaType::parse(text).unwrap_or_else(|| panic!("{text:?} is no media type"))
    }

    /// Stands for every parameter.
    pub fn any_params(mut self) -> MediaType {
        self.any_params = true;
        self
    }

    /// A parameter.
    pub fn param(&self, name: &str) -> Option<&str> {
        let found = self.params.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.subtype)?;
        for (name, value) in &self.params {
            if is_token(value) {
                write!(f, "; {name}={value}")?;
            } else {
                let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
                write!(f, "; {name}=\"{escaped}\"")?;
            }
        }
        Ok(())
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(crate::h1::is_token)
}

/// Splits where `at` stands outside quotes.
fn split_quoted(text: &str, at: char) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(|c: char| {
        if escaped {
            escaped = false;
            return false;
        }
        match c {
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        c == at && !quoted
    })
    .collect()
}

fn param(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    if !is_token(name) {
        return None;
    }
    let value = match value.strip_prefix('"') {
        None if is_token(value) => value.to_owned(),
        None => return None,
        Some(inner) => {
            let inner = inner.strip_suffix('"')?;
            let mut plain = String::with_capacity(inner.len());
            let mut left = inner.chars();
            while let Some(c) = left.next() {
                plain.push(if c == '\\' { left.next()? } else { c });
            }
            plain
        }
    };
    Some((name.to_ascii_lowercase(), value))
}

/// One wish of a peer with its weight, in thousandths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish<T> {
    pub(crate) of: T,
    pub(crate) weight: u16,
}

/// A weight, RFC 9110 §12.4.2, in thousandths.
pub(crate) fn weight(text: &str) -> Option<u16> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 3 || !part.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{part:0<3}").parse().ok()?;
    match (whole, thousandths) {
        ("0", part) => Some(part),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

/// The ranges of an `accept` header, those wished most first; of equals the one that stands last. None if malformed.
pub(crate) fn accept(text: &str) -> Option<Vec<Wish<MediaType>>> {
    let mut wishes = Vec::new();
    for part in split_quoted(text, ',')
        .into_iter()
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let mut of = MediaType::parse(part)?;
        let at = of.params.iter().position(|(name, _)| name == "q");
        // What stands behind the weight is no parameter of the type.
        let weight = match at {
            None => 1000,
            Some(at) => weight(&of.params.split_off(at)[0].1)?,
        };
        if of.kind == "*" && of.subtype != "*" {
            return None;
        }
        wishes.push(Wish { of, weight });
    }
    wishes.reverse();
    wishes.sort_by_key(|wish| std::cmp::Reverse((wish.weight, specificity(&wish.of))));
    Some(wishes)
}

fn specificity(of: &MediaType) -> usize {
    match (of.kind.as_str(), of.subtype.as_str()) {
        ("*", _) => 0,
        (_, "*") => 1,
        _ => 2 + of.params.len(),
    }
}

/// The tags of `accept-language` and the names of `accept-charset`, in lower case, in the order of [`accept`].
pub(crate) fn accept_words(text: &str) -> Option<Vec<Wish<String>>> {
    let mut wishes = Vec::new();
    for part in text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let (word, rest) = part.split_once(';').unwrap_or((part, ""));
        let word = word.trim();
        let weight = match rest.trim() {
            "" if part.len() == word.len() => 1000,
            rest => weight(rest.strip_prefix("q=").or(rest.strip_prefix("Q="))?)?,
        };
        if !is_token(word) {
            return None;
        }
        wishes.push(Wish {
            of: word.to_ascii_lowercase(),
            weight,
        });
    }
    wishes.reverse();
    wishes.sort_by_key(|wish| std::cmp::Reverse(wish.weight));
    Some(wishes)
}

/// Whether two values of a parameter are the same: those of `charset` in any case (RFC 9110 §8.3.2).
fn is_value(name: &str, one: &str, other: &str) -> bool {
    if name == "charset" {
        one.eq_ignore_ascii_case(other)
    } else {
        one == other
    }
}

/// Whether a type that is accepted takes a type that was sent. Parameters must be the same, in their order; a boundary is
/// no parameter of the type.
pub(crate) fn is_taken(taken: &MediaType, sent: &MediaType) -> bool {
    let is = |wanted: &str, found: &str| wanted == "*" || wanted == found;
    let params: Vec<_> = sent
        .params
        .iter()
        .filter(|(name, _)| sent.kind != "multipart" || name != "boundary")
        .collect();
    let are_same = || {
        let mut pairs = params.iter().zip(&taken.params);
        params.len() == taken.params.len()
            && pairs.all(|((name, value), (other, wanted))| {
                name == other && is_value(name, value, wanted)
            })
    };
    is(&taken.kind, &sent.kind)
        && is(&taken.subtype, &sent.subtype)
        && (taken.any_params || are_same())
}

fn covers(range: &MediaType, provided: &MediaType) -> bool {
    let is = |wanted: &str, found: &str| wanted == "*" || wanted == found;
    if !is(&range.kind, &provided.kind) || !is(&range.subtype, &provided.subtype) {
        return false;
    }
    // A range without parameters takes every one (RFC 9110 §12.5.1).
    let has = |(name, value): &(String, String)| {
        provided
            .param(name)
            .is_some_and(|found| is_value(name, found, value))
    };
    provided.any_params || range.params.iter().all(has)
}

/// What is said of a type that is provided.
#[derive(Clone, Copy)]
enum Spoken<'a> {
    /// By one wish.
    By(Option<&'a Wish<MediaType>>),
    /// How specific the most specific of the ranges is that refuse it.
    Refused(Option<usize>),
}

/// The type chosen of those provided, with the parameters of the wish where the type takes any. `fits` may refuse.
pub(crate) fn choose(
    wishes: &[Wish<MediaType>],
    provided: &[MediaType],
    fits: impl Fn(&MediaType) -> bool,
) -> Option<(usize, MediaType)> {
    // Of the ranges that speak of a type the most specific counts, of equals the one that is wished most (RFC 9110
    // §12.5.1). A type that takes any parameter is as many types as are wished: those no more specific than a refusal
    // are not. Found out once for each type, for there may be thousands of wishes.
    let spoken = provided.iter().map(|of| {
        let about = wishes.iter().filter(|wish| covers(&wish.of, of));
        if of.any_params {
            let refusals = about.filter(|wish| wish.weight == 0);
            Spoken::Refused(refusals.map(|wish| specificity(&wish.of)).max())
        } else {
            Spoken::By(about.min_by_key(|wish| std::cmp::Reverse(specificity(&wish.of))))
        }
    });
    let spoken: Vec<Spoken<'_>> = spoken.collect();
    let speaks = |wish: &Wish<MediaType>, at: usize| match spoken[at] {
        Spoken::By(best) => best.is_some_and(|best| std::ptr::eq(best, wish)),
        Spoken::Refused(most) => {
            covers(&wish.of, &provided[at]) && most.is_none_or(|most| most < specificity(&wish.of))
        }
    };
    let wanted = wishes.iter().filter(|wish| wish.weight > 0);
    wanted
        .flat_map(|wish| {
            provided
                .iter()
                .enumerate()
                .map(move |(at, of)| (wish, at, of))
        })
        .filter(|(wish, at, _)| speaks(wish, *at))
        .map(|(wish, at, of)| {
            let mut chosen = of.clone();
            if of.any_params {
                chosen.params.clone_from(&wish.of.params);
            }
            (at, chosen)
        })
        .find(|(_, chosen)| fits(chosen))
}

/// The language chosen of those provided: a range takes its own tag and longer ones, `*` every one.
pub(crate) fn choose_language<'a>(
    wishes: &[Wish<String>],
    provided: &'a [String],
) -> Option<&'a String> {
    let takes = |range: &str, tag: &str| {
        let tag = tag.to_ascii_lowercase();
        range == "*"
            || tag
                .strip_prefix(range)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    pick(wishes, provided, takes)
}

/// The charset chosen of those provided.
pub(crate) fn choose_charset<'a>(
    wishes: &[Wish<String>],
    provided: &'a [String],
) -> Option<&'a String> {
    pick(wishes, provided, |range, name| {
        range == "*" || name.eq_ignore_ascii_case(range)
    })
}

fn pick<'a>(
    wishes: &[Wish<String>],
    provided: &'a [String],
    takes: impl Fn(&str, &str) -> bool,
) -> Option<&'a String> {
    // Of the ranges that speak of a word the longest counts, `*` last, of equals the one that is wished most.
    let length = |wish: &Wish<String>| if wish.of == "*" { 0 } else { wish.of.len() };
    let spoken = provided.iter().filter_map(|word| {
        let about = wishes.iter().enumerate();
        let about = about.filter(|(_, wish)| takes(&wish.of, word));
        let best = about.min_by_key(|(_, wish)| std::cmp::Reverse(length(wish)))?;
        Some((best, word))
    });
    spoken
        .filter(|((_, wish), _)| wish.weight > 0)
        .min_by_key(|((at, _), _)| *at)
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_and_written() {
        let plain = MediaType::new("Text/Plain; Charset=\"utf-8\"; x=\"a b\\\"\"");
        assert_eq!(
            plain.to_string(),
            "text/plain; charset=utf-8; x=\"a b\\\"\""
        );
        assert_eq!(plain.param("charset"), Some("utf-8"));
        for wrong in ["", "text", "text/", "/x", "a b/c", "a/b; c", "a/b; c=\"x"] {
            assert_eq!(MediaType::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_best_wish_is_chosen() {
        let provided =
            ["text/html", "application/json", "text/plain; charset=utf-8"].map(MediaType::new);
        for (header, chosen) in [
            ("*/*", Some(0)),
            ("application/*", Some(1)),
            ("text/html;q=0.1, application/json;q=0.2", Some(1)),
            ("text/html, application/json", Some(1)),
            ("*/*, text/plain", Some(2)),
            ("text/plain; charset=UTF-8", Some(2)),
            ("text/plain; charset=latin1", None),
            ("text/html;q=0, */*;q=0.5", Some(1)),
            ("text/html;q=0", None),
            ("image/png", None),
            // The most specific range speaks for a type, whatever weighs more.
            ("text/*;q=0.3, text/html;q=0.2", Some(2)),
            ("text/html;q=0.1, */*", Some(1)),
            ("*/*, text/html;q=0.1, application/*;q=0.2", Some(2)),
            (
                "text/plain;q=0.1, text/plain;charset=utf-8;q=0.3, */*;q=0.2",
                Some(2),
            ),
            ("text/html;q=0.1, text/html;q=0.9, */*;q=0.5", Some(0)),
            ("text/html;q=0, text/*", Some(2)),
            ("text/*;q=0, text/html", Some(0)),
        ] {
            let wishes = accept(header).expect("good");
            let found = choose(&wishes, &provided, |_| true).map(|(at, _)| at);
            assert_eq!(found, chosen, "{header}");
        }
        // As many as a head holds: each is looked at once for each type.
        let many = "text/*,".repeat(20_000) + "text/html;q=0.1";
        let found = choose(&accept(&many).expect("good"), &provided, |_| true);
        assert_eq!(found.map(|(at, _)| at), Some(2));
        // The example of RFC 9110 §12.5.1, two by two.
        let example = "text/*;q=0.3, text/plain;q=0.7, text/plain;format=flowed, \
                       text/plain;format=fixed;q=0.4, */*;q=0.5";
        let wishes = accept(example).expect("good");
        for (less, more) in [
            ("text/plain", "text/plain;format=flowed"),
            ("image/jpeg", "text/plain"),
            ("text/plain;format=fixed", "image/jpeg"),
            ("text/html", "text/plain;format=fixed"),
        ] {
            let provided = [less, more].map(MediaType::new);
            let found = choose(&wishes, &provided, |_| true).map(|(at, _)| at);
            assert_eq!(found, Some(1), "{less} and {more}");
        }
        for wrong in [
            "text",
            "*/html",
            "text/html;q=2",
            "text/html;q=0.1234",
            "text/html;q=x",
            "a/b, ;",
        ] {
            assert_eq!(accept(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn languages_and_charsets() {
        let provided = ["de", "en-GB", "fr"].map(str::to_owned);
        for (header, chosen) in [
            ("en", Some("en-GB")),
            ("EN-gb", Some("en-GB")),
            ("*", Some("de")),
            ("de;q=0, *", Some("en-GB")),
            ("e", None),
            ("de;q=0.5, fr;q=0.6", Some("fr")),
            ("*, de;q=0.1", Some("en-GB")),
            ("en;q=0.9, en-gb;q=0.1, de;q=0.2", Some("de")),
            ("en;q=0, en-gb;q=0.1", Some("en-GB")),
            ("en-gb;q=0, en", None),
            ("*;q=0, fr;q=0.1", Some("fr")),
            ("*;q=0", None),
            ("de, fr", Some("fr")),
            ("it", None),
        ] {
            let wishes = accept_words(header).expect("good");
            let found = choose_language(&wishes, &provided).map(String::as_str);
            assert_eq!(found, chosen, "{header}");
        }
        let provided = ["utf-8", "iso-8859-1"].map(str::to_owned);
        for (header, chosen) in [
            ("ISO-8859-1", Some("iso-8859-1")),
            ("*;q=0.1, utf-8;q=0", Some("iso-8859-1")),
            ("x", None),
        ] {
            let wishes = accept_words(header).expect("good");
            let found = choose_charset(&wishes, &provided).map(String::as_str);
            assert_eq!(found, chosen, "{header}");
        }
        for wrong in ["de;q", "de;x=1", "d e", "de;q=1.1"] {
            assert_eq!(accept_words(wrong), None, "{wrong}");
        }
    }
}
