//! Finding public rooms by words (XEP-0433).

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use minidom::Element;
use storage::RoomFace;
use xmpp::{Condition, ErrorType, Fragment, StanzaError, escape_text, push_attr};

use crate::disco::{Page, set};
use crate::form::{Filled, FormText, Kind, truth};
use crate::service::Service;

/// What is asked.
pub(crate) const SEARCH: &str = "urn:xmpp:channel-search:0:search";
const PARAMS: &str = "urn:xmpp:channel-search:0:search-params";
const ERRORS: &str = "urn:xmpp:channel-search:0:error";
const BY_USERS: &str = "{urn:xmpp:channel-search:0:order}nusers";
const BY_ADDRESS: &str = "{urn:xmpp:channel-search:0:order}address";

/// How many rooms one answer lists at most, and how many one reading of the store brings.
const PAGE: usize = 100;
const READ: usize = 1000;

/// How many searches go on at a time; each reads all public rooms.
const SEARCHES: usize = 4;

/// The fewest letters that are searched for.
const SHORTEST: usize = 2;

/// What is asked for, read.
#[derive(Debug, PartialEq)]
struct Wanted {
    /// All have to be found; none: everything is wanted.
    words: Vec<String>,
    in_name: bool,
    in_description: bool,
    in_address: bool,
    least: usize,
    by_users: bool,
    /// Whether rooms of this kind are wanted at all.
    rooms: bool,
}

/// The form, or what was found.
///
/// # Errors
///
/// Those of §4.2.2, each with its own condition: `feature-not-implemented`, `bad-request`, `resource-constraint`.
pub(crate) async fn answer(
    service: &Arc<Service>,
    query: &Element,
) -> Result<Fragment, StanzaError> {
    let Some(filled) = Filled::within(query) else {
        return Ok(form());
    };
    let wanted = read(&filled)?;
    let _turn = Turn::take(&service.searching).ok_or_else(|| {
        let wait = Fragment::element("rate-limit", ERRORS, &[("retry-after", "5")], "");
        StanzaError::from(Condition::ResourceConstraint).with_extra(wait)
    })?;
    let page = Page::read(query).unwrap_or_default();
    let mut found = Vec::new();
    if wanted.rooms {
        found = matching(service, &wanted).await?;
    }
    if wanted.by_users {
        found.sort_by(|a, b| key(a).cmp(&key(b)));
    }
    Ok(result(service, &found, &page, wanted.by_users))
}

/// All public rooms that match, by address, with how many are there.
async fn matching(
    service: &Service,
    wanted: &Wanted,
) -> Result<Vec<(RoomFace, usize)>, StanzaError> {
    let (store, domain) = (&service.host.storage.rooms, service.domain());
    let mut found = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let faces = store.list(&domain, true, after.as_deref(), READ).await?;
        after = faces.last().map(|face| face.name.clone());
        let last = faces.len() < READ;
        for face in faces {
            let open = service.rooms.get(&face.name);
            let users = open.map_or(0, |entry| entry.occupants.load(Ordering::Relaxed));
            if wanted.takes(&face, users, &domain) {
                found.push((face, users));
            }
        }
        if last {
            return Ok(found);
        }
    }
}

/// The place of a room in the order by users: the most first.
fn key((face, users): &(RoomFace, usize)) -> (Reverse<usize>, &str) {
    (Reverse(*users), &face.name)
}

/// One of the searches that may go on at a time.
struct Turn<'a>(&'a AtomicUsize);

impl Turn<'_> {
    fn take(searching: &AtomicUsize) -> Option<Turn<'_>> {
        let turn = Turn(searching);
        (searching.fetch_add(1, Ordering::AcqRel) < SEARCHES).then_some(turn)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn form() -> Fragment {
    let yes = truth(true);
    let no = truth(false);
    let form = FormText::new("form", PARAMS)
        .field("q", Kind::Text, "Search for", &[])
        .field(
            "all",
            Kind::Boolean,
            "Return all entries (ignore search terms)",
            &no,
        )
        .field("sinname", Kind::Boolean, "Search in name", &yes)
        .field(
            "sindescription",
            Kind::Boolean,
            "Search in description",
            &yes,
        )
        .field("sinaddress", Kind::Boolean, "Search in address", &yes)
        .field(
            "min_users",
            Kind::Text,
            "Minimum number of users",
            &["0".to_owned()],
        )
        .field(
            "types",
            Kind::ListMulti(&[("xep-0045", "XEP-0045 Multi User Chats")]),
            "Service types",
            &["xep-0045".to_owned()],
        )
        .field(
            "key",
            Kind::List(&[
                (BY_USERS, "Number of online users"),
                (BY_ADDRESS, "Address"),
            ]),
            "Sort results by",
            &[BY_ADDRESS.to_owned()],
        );
    let mut out = String::from("<search");
    push_attr("xmlns", SEARCH, &mut out);
    Fragment::from(format!("{out}>{}</search>", form.finish()))
}

fn error(condition: Condition, name: &str, text: &str) -> StanzaError {
    StanzaError::from(condition)
        .with_type(ErrorType::Modify)
        .with_text(text)
        .with_extra(Fragment::element(name, ERRORS, &[], ""))
}

fn read(filled: &Filled) -> Result<Wanted, StanzaError> {
    filled.of_type(PARAMS)?;
    let by_users = match filled.one("key") {
        Some(BY_USERS) => true,
        Some(BY_ADDRESS) | None => false,
        Some(_) => {
            let text = "no such order";
            return Err(error(
                Condition::FeatureNotImplemented,
                "invalid-sort-key",
                text,
            ));
        }
    };
    let (all, q) = (filled.truth("all"), filled.one("q"));
    let words: Vec<String> = q
        .unwrap_or_default()
        .split_whitespace()
        .map(str::to_lowercase)
        .filter(|word| word.chars().count() >= SHORTEST)
        .collect();
    match (all, q) {
        (true, Some(_)) => {
            let text = "Cannot both return all results and search by keywords.";
            let both = "<conflicting-fields xmlns='urn:xmpp:channel-search:0:error'><var>all</var><var>q</var></conflicting-fields>";
            return Err(Condition::BadRequest
                .text(text)
                .with_extra(Fragment::from(both)));
        }
        (false, None) => {
            let text = "What is searched for?";
            return Err(error(Condition::BadRequest, "no-search-conditions", text));
        }
        (false, Some(_)) if words.is_empty() => {
            let text = "Search terms must have at least two characters.";
            return Err(error(Condition::BadRequest, "invalid-search-terms", text));
        }
        _ => {}
    }
    let told = |var| filled.all(var).is_none() || filled.truth(var);
    let least = filled.one("min_users").map_or(Ok(0), str::parse);
    let least = least.map_err(|_| Condition::BadRequest.text("min_users is a whole number"))?;
    Ok(Wanted {
        words,
        in_name: told("sinname"),
        in_description: told("sindescription"),
        in_address: told("sinaddress"),
        least,
        by_users,
        rooms: filled
            .all("types")
            .is_none_or(|types| types.iter().any(|type_| type_ == "xep-0045")),
    })
}

impl Wanted {
    fn takes(&self, face: &RoomFace, users: usize, domain: &str) -> bool {
        let mut text = String::new();
        for (wanted, part) in [
            (self.in_name, &face.title),
            (self.in_description, &face.description),
        ] {
            if wanted {
                text.push_str(&part.to_lowercase());
                text.push('\n');
            }
        }
        if self.in_address {
            text.push_str(&format!("{}@{domain}", face.name));
        }
        users >= self.least && self.words.iter().all(|word| text.contains(word.as_str()))
    }
}

fn result(service: &Service, found: &[(RoomFace, usize)], page: &Page, by_users: bool) -> Fragment {
    // What stands for a room's place in the order.
    let place = |(face, users): &(RoomFace, usize)| match by_users {
        true => format!("{users}:{}", face.name),
        false => face.name.clone(),
    };
    let most = page.max.unwrap_or(PAGE).min(PAGE);
    let at = |text: &String| found.iter().position(|room| place(room) == *text);
    let begin = match (&page.before, &page.after, page.index) {
        (Some(before), ..) => {
            let end = if before.is_empty() {
                found.len()
            } else {
                at(before).unwrap_or(0)
            };
            end.saturating_sub(most)..end
        }
        (None, Some(after), _) => {
            let begin = at(after).map_or(found.len(), |at| at + 1);
            begin..found.len().min(begin + most)
        }
        (None, None, index) => {
            let begin = index
                .and_then(|index| usize::try_from(index).ok())
                .unwrap_or(0);
            let begin = begin.min(found.len());
            begin..found.len().min(begin + most)
        }
    };
    let (index, shown) = (begin.start as u64, &found[begin]);
    let mut out = String::from("<result");
    push_attr("xmlns", SEARCH, &mut out);
    out.push('>');
    let domain = service.domain();
    for (face, users) in shown {
        out.push_str("<item");
        push_attr("address", &format!("{}@{domain}", face.name), &mut out);
        out.push('>');
        let users = users.to_string();
        let anonymity = match face.nonanonymous {
            true => "{urn:xmpp:channel-search:0:anonymity}none",
            false => "muc_semianonymous",
        };
        let name = if face.title.is_empty() {
            &face.name
        } else {
            &face.title
        };
        for (element, text) in [
            ("name", name.as_str()),
            ("description", face.description.as_str()),
            ("language", face.language.as_str()),
            ("nusers", users.as_str()),
            ("service-type", "xep-0045"),
            ("anonymity-mode", anonymity),
        ] {
            if !text.is_empty() {
                out.push_str(&format!("<{element}>"));
                escape_text(text, &mut out);
                out.push_str(&format!("</{element}>"));
            }
        }
        if face.open {
            out.push_str("<is-open/>");
        }
        out.push_str("</item>");
    }
    let ends = shown.first().zip(shown.last());
    let ends = ends.map(|(first, last)| (place(first), place(last)));
    let ends = ends
        .as_ref()
        .map(|(first, last)| (first.as_str(), last.as_str()));
    out.push_str(&set(ends, index, found.len() as u64));
    out.push_str("</result>");
    Fragment::from(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(fields: &[(&str, &str)]) -> Filled {
        let field = |(var, value): &(&str, &str)| ((*var).to_owned(), vec![(*value).to_owned()]);
        Filled {
            type_: "submit".into(),
            fields: fields.iter().map(field).collect(),
        }
    }

    #[test]
    fn what_cannot_be_searched_for_is_told_by_its_condition() {
        for (fields, condition, name) in [
            (
                &[("key", "x"), ("all", "1")][..],
                Condition::FeatureNotImplemented,
                "invalid-sort-key",
            ),
            (&[("q", "x")], Condition::BadRequest, "invalid-search-terms"),
            (
                &[("q", "xmpp"), ("all", "true")],
                Condition::BadRequest,
                "conflicting-fields",
            ),
            (
                &[("sinname", "1")],
                Condition::BadRequest,
                "no-search-conditions",
            ),
        ] {
            let error = read(&filled(fields)).expect_err(name);
            assert_eq!(error.condition, condition, "{name}");
            assert!(error.to_fragment().as_str().contains(name), "{name}");
        }
    }

    #[test]
    fn all_words_are_found_where_they_are_sought() {
        let face = RoomFace {
            name: "coven".into(),
            title: "A Dark Cave".into(),
            description: "Witches only".into(),
            language: String::new(),
            public: true,
            persistent: true,
            open: true,
            nonanonymous: false,
            used: std::time::SystemTime::UNIX_EPOCH,
        };
        let takes = |fields: &[(&str, &str)]| {
            read(&filled(fields))
                .expect("a search")
                .takes(&face, 3, "c.example")
        };
        assert!(takes(&[("q", "dark WITCHES")]));
        assert!(takes(&[("q", "coven@c.example")]));
        assert!(!takes(&[("q", "dark"), ("sinname", "0")]));
        assert!(!takes(&[("q", "coven"), ("sinaddress", "0")]));
        assert!(takes(&[("all", "1"), ("min_users", "3")]));
        assert!(!takes(&[("all", "1"), ("min_users", "4")]));
    }
}
