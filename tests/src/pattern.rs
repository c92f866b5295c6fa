//! What a heard stanza must look like: XML with holes.
//!
//! A pattern says what must be there; what it does not mention may be there too. Attributes have no order;
//! given children must each be found among the heard ones, in any order, none used twice.

use std::collections::BTreeMap;

use crate::dom::{Element, Node};

/// What the names in braces stand for.
pub type Bindings = BTreeMap<String, String>;

/// Namespaces that have a short name in scripts.
const NAMESPACES: [(&str, &str); 6] = [
    ("stanzas", "urn:ietf:params:xml:ns:xmpp-stanzas"),
    ("streams", "urn:ietf:params:xml:ns:xmpp-streams"),
    ("sasl", "urn:ietf:params:xml:ns:xmpp-sasl"),
    ("tls", "urn:ietf:params:xml:ns:xmpp-tls"),
    ("bind", "urn:ietf:params:xml:ns:xmpp-bind"),
    ("disco", "http://jabber.org/protocol/disco"),
];

/// The bindings every script begins with.
pub fn first_bindings() -> Bindings {
    let own = |(name, namespace): (&str, &str)| (name.to_owned(), namespace.to_owned());
    NAMESPACES.into_iter().map(own).collect()
}

/// Puts what they stand for in the place of all `{names}`. A number and a star repeat: `{3*ab}` is `ababab`.
///
/// # Errors
///
/// A sentence when a name is bound to nothing.
pub fn fill(text: &str, bindings: &Bindings) -> Result<String, String> {
    let mut filled = String::new();
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => filled.push_str(&text),
            Piece::Hole(name) => match (bindings.get(&name), repeated(&name)) {
                (Some(value), _) => filled.push_str(value),
                (None, Some(repeated)) => filled.push_str(&repeated),
                (None, None) => return Err(format!("nothing is called {{{name}}}")),
            },
        }
    }
    Ok(filled)
}

fn repeated(hole: &str) -> Option<String> {
    let (count, what) = hole.split_once('*')?;
    Some(what.repeat(count.parse().ok()?))
}

/// Part of a text with holes.
enum Piece {
    Text(String),
    Hole(String),
}

fn pieces(text: &str) -> Vec<Piece> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let Some(length) = rest[open..].find('}') else {
            break;
        };
        let hole = &rest[open + 1..open + length];
        let (before, after) = (&rest[..open], &rest[open + length + 1..]);
        if !before.is_empty() {
            found.push(Piece::Text(before.to_owned()));
        }
        found.push(Piece::Hole(hole.to_owned()));
        rest = after;
    }
    if !rest.is_empty() {
        found.push(Piece::Text(rest.to_owned()));
    }
    found
}

/// Compares `heard` with `pattern`; what the pattern captures is bound only if all of it matches.
///
/// # Errors
///
/// A sentence that names the first difference.
pub fn compare(pattern: &Element, heard: &Element, bindings: &mut Bindings) -> Result<(), String> {
    let mut bound = bindings.clone();
    element(pattern, heard, &mut bound)?;
    *bindings = bound;
    Ok(())
}

fn element(pattern: &Element, heard: &Element, bindings: &mut Bindings) -> Result<(), String> {
    let namespace = fill(&pattern.namespace, bindings)?;
    if pattern.name != heard.name || namespace != heard.namespace {
        return Err(format!(
            "<{} xmlns={:?}> expected, <{} xmlns={:?}> heard",
            pattern.name, namespace, heard.name, heard.namespace
        ));
    }
    for attr in &pattern.attrs {
        let found = heard.attr_ns(&attr.namespace, &attr.name);
        match (attr.value.as_str(), found) {
            ("{none}", None) => {}
            ("{none}", Some(value)) => {
                return Err(format!(
                    "<{}> must have no {}, but has {value:?}",
                    heard.name, attr.name
                ));
            }
            (wanted, Some(value)) => text(wanted, value, bindings)
                .map_err(|difference| format!("<{}> {}: {difference}", heard.name, attr.name))?,
            (wanted, None) => {
                return Err(format!(
                    "<{}> has no {}, expected {wanted:?}",
                    heard.name, attr.name
                ));
            }
        }
    }
    let words: String = pattern.text();
    let (only, words) = match words.trim().strip_prefix("{only}") {
        Some(rest) => (true, rest.trim()),
        None => (false, words.trim()),
    };
    if words == "{nothing}" {
        return match heard.nodes.is_empty() {
            true => Ok(()),
            false => Err(format!("<{}> must be empty: {heard}", heard.name)),
        };
    }
    if !words.is_empty() {
        text(words, heard.text().trim(), bindings)
            .map_err(|difference| format!("text of <{}>: {difference}", heard.name))?;
    }
    let wanted: Vec<&Element> = pattern.children().collect();
    let present: Vec<&Element> = heard.children().collect();
    if only && wanted.len() != present.len() {
        return Err(format!(
            "<{}> must hold exactly {} elements: {heard}",
            heard.name,
            wanted.len()
        ));
    }
    children(&wanted, &present, bindings).map_err(|difference| match difference {
        Some(difference) => difference,
        None => format!("not all expected children are in {heard}"),
    })
}

/// Finds a place for each wanted child. The difference is told when only one child could have been meant.
fn children(
    wanted: &[&Element],
    present: &[&Element],
    bindings: &mut Bindings,
) -> Result<(), Option<String>> {
    let Some((first, others)) = wanted.split_first() else {
        return Ok(());
    };
    let mut differences = Vec::new();
    for (at, candidate) in present.iter().enumerate() {
        let mut bound = bindings.clone();
        match element(first, candidate, &mut bound) {
            Ok(()) => {
                let mut left = present.to_vec();
                left.remove(at);
                if children(others, &left, &mut bound).is_ok() {
                    *bindings = bound;
                    return Ok(());
                }
            }
            Err(difference) if candidate.name == first.name => differences.push(difference),
            Err(_) => {}
        }
    }
    match differences.len() {
        0 => Err(Some(format!("no {first} there"))),
        1 => Err(differences.pop()),
        _ => Err(None),
    }
}

/// Compares text with holes: `{any}`, `{any=name}` (captures), `{stamp}`, `{id}`, and bound names.
///
/// # Errors
///
/// A sentence that tells both.
pub fn text(wanted: &str, heard: &str, bindings: &mut Bindings) -> Result<(), String> {
    let parts = pieces(wanted);
    match walk(&parts, heard, bindings)? {
        true => Ok(()),
        false => {
            let filled = fill(wanted, bindings).unwrap_or_else(|_| wanted.to_owned());
            Err(format!("{filled:?} expected, {heard:?} heard"))
        }
    }
}

fn walk(parts: &[Piece], heard: &str, bindings: &mut Bindings) -> Result<bool, String> {
    let Some((first, others)) = parts.split_first() else {
        return Ok(heard.is_empty());
    };
    let hole = match first {
        Piece::Text(text) => {
            return match heard.strip_prefix(text.as_str()) {
                Some(rest) => walk(others, rest, bindings),
                None => Ok(false),
            };
        }
        Piece::Hole(hole) => hole,
    };
    if let Some(value) = bindings.get(hole).cloned().or_else(|| repeated(hole)) {
        return match heard.strip_prefix(value.as_str()) {
            Some(rest) => walk(others, rest, bindings),
            None => Ok(false),
        };
    }
    let (form, capture) = match hole.split_once('=') {
        Some((form, name)) => (form, Some(name)),
        None => (hole.as_str(), None),
    };
    let fits: fn(&str) -> bool = match form {
        "any" => |_| true,
        "id" => |text| !text.is_empty(),
        "number" => |text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()),
        "stamp" => is_stamp,
        unknown => return Err(format!("nothing is called {{{unknown}}}")),
    };
    let ends = heard.char_indices().map(|(at, _)| at).chain([heard.len()]);
    for end in ends {
        if !fits(&heard[..end]) {
            continue;
        }
        let mut bound = bindings.clone();
        if let Some(name) = capture {
            bound.insert(name.to_owned(), heard[..end].to_owned());
        }
        if walk(others, &heard[end..], &mut bound)? {
            *bindings = bound;
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether `text` is a time in UTC as XEP-0082 §3.2 writes it.
fn is_stamp(text: &str) -> bool {
    let shape = "0000-00-00T00:00:00";
    let Some((main, rest)) = text.split_at_checked(shape.len()) else {
        return false;
    };
    let alike = |(shape, byte): (u8, u8)| {
        if shape == b'0' {
            byte.is_ascii_digit()
        } else {
            shape == byte
        }
    };
    let fraction = rest
        .strip_suffix('Z')
        .or_else(|| rest.strip_suffix("+00:00"));
    let fraction_fits = |fraction: &str| {
        fraction.is_empty()
            || fraction.strip_prefix('.').is_some_and(|digits| {
                !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
            })
    };
    shape.bytes().zip(main.bytes()).all(alike) && fraction.is_some_and(fraction_fits)
}

/// Whether `printed` fits `wanted`, where `…` stands for any text, also none.
pub fn fits_line(wanted: &str, printed: &str) -> bool {
    let mut rest = printed;
    let mut parts = wanted.split('…');
    let first = parts.next().expect("split gives at least one part");
    let Some(after) = rest.strip_prefix(first) else {
        return false;
    };
    rest = after;
    let mut last = None;
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
        last = Some(part);
    }
    match last {
        None => rest.is_empty(),
        Some("") => true,
        Some(part) => printed.ends_with(part),
    }
}

/// The holes of an element's names, values and text that mean something special in patterns.
pub fn captures(pattern: &Element) -> Vec<String> {
    let mut found = Vec::new();
    let mut look = |text: &str| {
        for piece in pieces(text) {
            if let Piece::Hole(hole) = piece
                && let Some((_, name)) = hole.split_once('=')
            {
                found.push(name.to_owned());
            }
        }
    };
    for attr in &pattern.attrs {
        look(&attr.value);
    }
    for node in &pattern.nodes {
        if let Node::Text(text) = node {
            look(text);
        }
    }
    for child in pattern.children() {
        found.extend(captures(child));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, heard: &str) -> Result<Bindings, String> {
        let mut bindings = first_bindings();
        bindings.insert("alice".into(), "alice@a.example/desk".into());
        let pattern = Element::parse(pattern).expect("a pattern");
        let heard = Element::parse(heard).expect("a stanza");
        compare(&pattern, &heard, &mut bindings).map(|()| bindings)
    }

    #[test]
    fn what_is_not_mentioned_may_be_there() {
        let heard = "<message from='alice@a.example/desk' id='7'><x xmlns='urn:x'/><body>hi</body></message>";
        check("<message from='{alice}'><body>hi</body></message>", heard).expect("fits");
        check("<message><body/><x xmlns='urn:x'/></message>", heard).expect("order is free");
        check("<message><body>ho</body></message>", heard).expect_err("other text");
        check("<message id='{none}'/>", heard).expect_err("there is an id");
        check("<message><body/><body/></message>", heard).expect_err("one body only");
        check("<message>{only}<body/></message>", heard).expect_err("there is more");
        check("<presence/>", heard).expect_err("another stanza");
    }

    #[test]
    fn what_is_captured_can_be_used() {
        let bindings = check(
            "<iq id='{id=x}' ver='a{any}c'/>",
            "<iq id='42' ver='abbc'/>",
        )
        .expect("fits");
        assert_eq!(bindings["x"], "42");
        assert_eq!(fill("[{x}{2*ab}]", &bindings).as_deref(), Ok("[42abab]"));
        fill("{y}", &bindings).expect_err("not bound");
    }

    #[test]
    fn stamps_and_lines() {
        check("<a s='{stamp}'/>", "<a s='2026-11-21T11:00:00.123Z'/>").expect("a stamp");
        check("<a s='{stamp}'/>", "<a s='yesterday'/>").expect_err("no stamp");
        assert!(fits_line("a…c", "abbbc") && fits_line("…", "") && fits_line("x", "x"));
        assert!(!fits_line("a…c", "abbb") && !fits_line("x", "xy"));
    }
}
