//! What was said, for those who ask for it: the archive of a room, a page at a time (XEP-0313, XEP-0059).

use minidom::Element;
use otp::Ctx;
use router::Outcome;
use storage::{
    Affiliation, ArchiveFilter, ArchiveMessage, ArchivePage, ArchivePlace, StorageError,
};
use xmpp::{
    Condition, Fragment, Jid, MessageType, Stanza, StanzaError, Target, format_date_time, ns,
    parse_date_time, parse_jid, push_attr,
};

use crate::disco::{Page, set};
use crate::form::{Filled, FormText, Kind};
use crate::room::{Heard, Note, Room};
use crate::rules::{Deed, Right, Role, has, may};
use crate::service::sender;
use crate::stanzas::{Item, x_user};

/// The feature of the fields beyond the first three, and of the ends of an archive.
pub(crate) const EXTENDED: &str = "urn:xmpp:mam:2#extended";

/// How many messages one answer holds, unless less is asked for, and at most.
const PAGE: usize = 50;
const MOST: usize = 250;

/// How many ids one question may name.
const IDS: usize = 250;

/// How many questions a room works on at a time.
const QUESTIONS: usize = 32;

impl Room {
    /// The fields of a question (§4.1.6).
    pub(crate) async fn archive_form(&self, stanza: &Stanza) -> Result<Fragment, StanzaError> {
        self.may_read(stanza).await?;
        let field = |form: FormText, var, kind| form.field(var, kind, var, &[]);
        let form = FormText::new("form", ns::MAM);
        let form = [
            ("with", Kind::Jid),
            ("start", Kind::Text),
            ("end", Kind::Text),
            ("before-id", Kind::Text),
            ("after-id", Kind::Text),
            ("ids", Kind::OpenList),
        ]
        .into_iter()
        .fold(form, |form, (var, kind)| field(form, var, kind));
        let mut out = String::from("<query");
        push_attr("xmlns", ns::MAM, &mut out);
        Ok(Fragment::from(format!("{out}>{}</query>", form.finish())))
    }

    /// The first and the last message (§5.2).
    pub(crate) async fn archive_ends(&self, stanza: &Stanza) -> Result<Fragment, StanzaError> {
        self.may_read(stanza).await?;
        let mut out = String::from("<metadata");
        push_attr("xmlns", ns::MAM, &mut out);
        out.push('>');
        let archive = &self.service.host.storage.archive;
        if let Some(ends) = archive.ends(&self.address).await? {
            for (name, (id, at)) in ["start", "end"].into_iter().zip(ends) {
                out.push('<');
                out.push_str(name);
                push_attr("id", &id, &mut out);
                push_attr("timestamp", &format_date_time(at), &mut out);
                out.push_str("/>");
            }
        }
        out.push_str("</metadata>");
        Ok(Fragment::from(out))
    }

    /// Who may read: those who are here, those who belong here, and where anybody may enter anybody who is not banned.
    async fn may_read(&self, stanza: &Stanza) -> Result<(), StanzaError> {
        if !self.config.archived {
            return Err(Condition::ServiceUnavailable.text("this room keeps no archive"));
        }
        let by = self.standing(sender(stanza)).await?;
        let open = !self.config.members_only && !self.config.protected;
        let may = by.role > Role::None
            || by.affiliation >= Affiliation::Member
            || (open && has(by.affiliation, Right::EnterOpen));
        match may {
            true => Ok(()),
            false => Err(Condition::Forbidden.into()),
        }
    }

    /// Answers a question with the messages that match, and the end of them (§4). The store is read beside the room.
    ///
    /// # Errors
    ///
    /// `forbidden`: not for that one, or by a sender that it may not know; `feature-not-implemented`: a field that
    /// nobody knows; `bad-request`; `item-not-found`: an id that is not there; `service-unavailable`: no archive;
    /// `resource-constraint`: too many ask at once.
    pub(crate) async fn search_archive(
        &mut self,
        stanza: &Stanza,
        query: &Element,
        ctx: &mut Ctx<Room>,
    ) -> Heard {
        self.may_read(stanza).await?;
        if self.reading >= QUESTIONS {
            return Err(Condition::ResourceConstraint.text("too many ask at once"));
        }
        let filter = filter(query)?;
        let by = self.standing(sender(stanza)).await?;
        // Those who are not here see who the others are where everybody does.
        let role = if by.role > Role::None {
            by.role
        } else {
            Role::Visitor
        };
        let sees = may(role, Deed::SeeAddresses, &self.config);
        if filter.with.is_some() && !sees {
            return Err(Condition::Forbidden.text("who said what is not told here"));
        }
        let page = Page::read(query).unwrap_or_default();
        let limit = page.max.unwrap_or(PAGE).min(MOST);
        let place = match (page.before, page.after, page.index) {
            (Some(before), ..) if before.is_empty() => ArchivePlace::Last,
            (Some(before), ..) => ArchivePlace::Before(before),
            (None, Some(after), _) => ArchivePlace::After(after),
            (None, None, Some(index)) => ArchivePlace::Index(index),
            (None, None, None) => ArchivePlace::First,
        };
        let answer = Answer {
            here: self.here(),
            request: stanza.clone(),
            query_id: query.attr("queryid").map(str::to_owned),
            sees,
            flipped: query.get_child("flip-page", ns::MAM).is_some(),
        };
        self.reading += 1;
        let service = std::sync::Arc::clone(&self.service);
        let (owner, pid) = (self.address.clone(), ctx.pid().clone());
        ctx.spawn(async move {
            let archive = &service.host.storage.archive;
            let page = archive.page(&owner, filter, place, limit).await;
            for stanza in answer.with(page) {
                service.send(stanza).await;
            }
            let _ = pid.info(Note::Read);
        });
        Ok(Outcome::Delivered)
    }
}

/// What is asked for.
fn filter(query: &Element) -> Result<ArchiveFilter, StanzaError> {
    let mut filter = ArchiveFilter::default();
    let Some(filled) = Filled::within(query) else {
        return Ok(filter);
    };
    if filled.one("FORM_TYPE") != Some(ns::MAM) {
        return Err(Condition::BadRequest.text("expected a form of this type"));
    }
    let time = |value: &str| {
        parse_date_time(value)
            .ok_or_else(|| Condition::BadRequest.text(format!("{value} is no time")))
    };
    for (var, values) in &filled.fields {
        let Some(value) = values.first().filter(|value| !value.is_empty()) else {
            continue;
        };
        match var.as_str() {
            "FORM_TYPE" => {}
            "with" => {
                let jid = parse_jid(value);
                let jid = jid.map_err(|error| Condition::JidMalformed.text(error.to_string()))?;
                filter.with = Some(jid);
            }
            "start" => filter.start = Some(time(value)?),
            "end" => filter.end = Some(time(value)?),
            "before-id" => filter.before_id = Some(value.clone()),
            "after-id" => filter.after_id = Some(value.clone()),
            "ids" if values.len() > IDS => {
                return Err(Condition::NotAcceptable.text("too many ids at once"));
            }
            "ids" => filter.ids.clone_from(values),
            other => {
                let text = format!("nobody knows the field {other}");
                return Err(Condition::FeatureNotImplemented.text(text));
            }
        }
    }
    Ok(filter)
}

/// An answer in the making.
struct Answer {
    here: Jid,
    request: Stanza,
    query_id: Option<String>,
    /// Whether the asker is told who said what.
    sees: bool,
    /// Whether the page is told from its end.
    flipped: bool,
}

impl Answer {
    /// The messages and the end, or why there are none.
    fn with(&self, page: Result<Option<ArchivePage>, StorageError>) -> Vec<Stanza> {
        let refused = |error: StanzaError| self.request.error_reply(&error).into_iter().collect();
        let page = match page {
            Ok(Some(page)) => page,
            Ok(None) => return refused(Condition::ItemNotFound.into()),
            Err(error) => return refused(error.into()),
        };
        let mut told: Vec<Stanza> = page
            .messages
            .iter()
            .filter_map(|message| self.one(message))
            .collect();
        if self.flipped {
            told.reverse();
        }
        let mut fin = String::from("<fin");
        push_attr("xmlns", ns::MAM, &mut fin);
        if page.complete {
            push_attr("complete", "true", &mut fin);
        }
        let ends = page.messages.first().zip(page.messages.last());
        let ends = ends.map(|(first, last)| (first.id.as_str(), last.id.as_str()));
        let fin = format!("{fin}>{}</fin>", set(ends, page.index, page.count));
        told.push(Stanza::iq_result(&self.request, Fragment::from(fin)));
        told
    }

    fn one(&self, message: &ArchiveMessage) -> Option<Stanza> {
        let stanza = Stanza::parse(&message.stanza).ok()?;
        let stanza = match self.sees {
            // §7.2.1: from the occupant, and who that was.
            true => {
                let item = Item {
                    jid: Some(&message.peer),
                    ..Item::new(Affiliation::None, Role::None)
                };
                let item = Item { role: None, ..item };
                stanza.edit().append(x_user("", &[item], &[])).finish()
            }
            false => stanza,
        };
        let mut inner = bytes_of(&stanza);
        let mut out = String::from("<result");
        push_attr("xmlns", ns::MAM, &mut out);
        push_attr("id", &message.id, &mut out);
        if let Some(query_id) = &self.query_id {
            push_attr("queryid", query_id, &mut out);
        }
        out.push_str("><forwarded");
        push_attr("xmlns", ns::FORWARD, &mut out);
        out.push_str("><delay");
        push_attr("xmlns", ns::DELAY, &mut out);
        push_attr("stamp", &format_date_time(message.at), &mut out);
        out.push_str("/>");
        out.push_str(&std::mem::take(&mut inner));
        out.push_str("</forwarded></result>");
        let to = self.request.from().cloned();
        Some(
            Stanza::message(MessageType::Normal)
                .from(self.here.clone())
                .to(to)
                .id(xmpp::random_id())
                .append(Fragment::from(out))
                .finish(),
        )
    }
}

/// A stanza as it stands within another element.
fn bytes_of(stanza: &Stanza) -> String {
    let mut out = Default::default();
    stanza.serialise(Target::Embedded, &mut out);
    String::from_utf8(out.to_vec()).expect("stanzas are UTF-8")
}
