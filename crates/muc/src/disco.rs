//! What the service and its rooms say of themselves (XEP-0030; XEP-0045 §6, §7.12, §15.3).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use minidom::Element;
use storage::{Affiliation, RoomFace};
use xmpp::{Condition, Fragment, Stanza, StanzaError, escape_text, ns, push_attr};

use crate::form::{FormText, Kind, truth};
use crate::room::Room;
use crate::service::{Service, sender};

/// How many rooms one answer lists.
const PAGE: usize = 100;

const STABLE_ID: &str = "http://jabber.org/protocol/muc#stable_id";
const SELF_PING: &str = "http://jabber.org/protocol/muc#self-ping-optimization";
const ROOM_INFO: &str = "http://jabber.org/protocol/muc#roominfo";

/// What the service is.
pub(crate) fn service_info(
    service: &Arc<Service>,
    query: &Element,
) -> Result<Fragment, StanzaError> {
    if query.attr("node").is_some() {
        return Err(Condition::ItemNotFound.into());
    }
    let settings = service.settings();
    let features = [
        ns::DISCO_INFO,
        ns::DISCO_ITEMS,
        ns::MUC,
        STABLE_ID,
        ns::OCCUPANT_ID,
        ns::PING,
        ns::REGISTER,
        ns::RSM,
        ns::VCARD,
        crate::search::SEARCH,
        "muc_rooms",
    ];
    Ok(info(None, Some(&settings.opts.name), &features, ""))
}

/// A page of what there is, as somebody wants it (XEP-0059).
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Page {
    pub(crate) max: Option<usize>,
    pub(crate) after: Option<String>,
    /// The last before; of all where it is empty.
    pub(crate) before: Option<String>,
    pub(crate) index: Option<u64>,
}

impl Page {
    /// The page that a query asks for, if it asks for one.
    pub(crate) fn read(query: &Element) -> Option<Page> {
        let set = query.get_child("set", ns::RSM)?;
        let text = |name| set.get_child(name, ns::RSM).map(Element::text);
        Some(Page {
            max: text("max").and_then(|max| max.trim().parse().ok()),
            after: text("after").filter(|after| !after.is_empty()),
            before: text("before"),
            index: text("index").and_then(|index| index.trim().parse().ok()),
        })
    }
}

/// `<set/>`: what is shown of how much.
pub(crate) fn set(ends: Option<(&str, &str)>, index: u64, count: u64) -> String {
    let mut out = String::from("<set");
    push_attr("xmlns", ns::RSM, &mut out);
    out.push('>');
    if let Some((first, last)) = ends {
        out.push_str(&format!("<first index=\"{index}\">"));
        escape_text(first, &mut out);
        out.push_str("</first><last>");
        escape_text(last, &mut out);
        out.push_str("</last>");
    }
    out.push_str(&format!("<count>{count}</count></set>"));
    out
}

/// The public rooms, by name, a page at a time (§6.3).
pub(crate) async fn service_items(
    service: &Arc<Service>,
    query: &Element,
) -> Result<Fragment, StanzaError> {
    if query.attr("node").is_some() {
        return Err(Condition::ItemNotFound.into());
    }
    let asked = Page::read(query);
    let page = asked.unwrap_or_default();
    let most = page.max.unwrap_or(PAGE).min(PAGE);
    let (faces, index, count) = public_rooms(service, &page, most).await?;
    let mut out = String::from("<query");
    push_attr("xmlns", ns::DISCO_ITEMS, &mut out);
    out.push('>');
    let domain = service.domain();
    for face in &faces {
        out.push_str("<item");
        push_attr("jid", &format!("{}@{domain}", face.name), &mut out);
        push_attr("name", &shown_name(service, face), &mut out);
        out.push_str("/>");
    }
    if page != Page::default() || count > faces.len() as u64 {
        let ends = faces.first().zip(faces.last());
        let ends = ends.map(|(first, last)| (first.name.as_str(), last.name.as_str()));
        out.push_str(&set(ends, index, count));
    }
    out.push_str("</query>");
    Ok(Fragment::from(out))
}

/// A page of the public rooms, where it begins, and how many there are.
async fn public_rooms(
    service: &Arc<Service>,
    page: &Page,
    most: usize,
) -> Result<(Vec<RoomFace>, u64, u64), StanzaError> {
    let (store, domain) = (&service.host.storage.rooms, service.domain());
    let (count, _) = store.count(&domain, true, None).await?;
    if most == 0 {
        return Ok((Vec::new(), 0, count));
    }
    let faces = match (&page.before, page.index) {
        (Some(before), _) => {
            // Forwards to where the last of them begin: names are few bytes, and rarely asked for so.
            let all = match before.as_str() {
                "" => count,
                name => store.count(&domain, true, Some(name)).await?.1,
            };
            let first = usize::try_from(all)
                .unwrap_or(usize::MAX)
                .saturating_sub(most);
            let faces = store.list(&domain, true, None, first + most).await?;
            let until = usize::try_from(all).unwrap_or(usize::MAX).min(faces.len());
            faces[first.min(until)..until].to_vec()
        }
        (None, Some(index)) => {
            let first = usize::try_from(index.min(count)).unwrap_or(usize::MAX);
            let mut faces = store
                .list(&domain, true, None, first.saturating_add(most))
                .await?;
            faces.split_off(first.min(faces.len()))
        }
        (None, None) => {
            store
                .list(&domain, true, page.after.as_deref(), most)
                .await?
        }
    };
    let index = match faces.first() {
        Some(first) => store.count(&domain, true, Some(&first.name)).await?.1,
        None => 0,
    };
    Ok((faces, index, count))
}

/// The name of a room with how many are there.
fn shown_name(service: &Service, face: &RoomFace) -> String {
    let name = match face.title.as_str() {
        "" => &face.name,
        title => title,
    };
    let open = service.rooms.get(&face.name);
    let there = open.map_or(0, |entry| entry.occupants.load(Ordering::Relaxed));
    match there {
        0 => name.to_owned(),
        there => format!("{name} ({there})"),
    }
}

/// The answer to a question of what something is.
fn info(node: Option<&str>, name: Option<&str>, features: &[&str], form: &str) -> Fragment {
    let mut out = String::from("<query");
    push_attr("xmlns", ns::DISCO_INFO, &mut out);
    if let Some(node) = node {
        push_attr("node", node, &mut out);
    }
    out.push('>');
    if let Some(name) = name {
        out.push_str("<identity category=\"conference\" type=\"text\"");
        push_attr("name", name, &mut out);
        out.push_str("/>");
    }
    for feature in features {
        out.push_str("<feature");
        push_attr("var", feature, &mut out);
        out.push_str("/>");
    }
    out.push_str(form);
    out.push_str("</query>");
    Fragment::from(out)
}

impl Room {
    /// What the room is; or the asker's reserved nickname (§7.12); or what traffic it lets pass: all.
    ///
    /// # Errors
    ///
    /// `service-unavailable`: nothing is kept from passing (§17.? allowable traffic); `item-not-found`: no such node.
    pub(crate) async fn disco_info(
        &mut self,
        stanza: &Stanza,
        query: &Element,
    ) -> Result<Fragment, StanzaError> {
        match query.attr("node") {
            None => Ok(self.about()),
            Some(node @ "x-roomuser-item") => {
                let nick = self.affiliations.nick_of(&sender(stanza).to_bare());
                Ok(info(Some(node), nick, &[], ""))
            }
            Some(node @ ns::COMMANDS) => Ok(info(Some(node), None, &[ns::COMMANDS], "")),
            Some("http://jabber.org/protocol/muc#traffic") => {
                Err(Condition::ServiceUnavailable.into())
            }
            Some(_) => Err(Condition::ItemNotFound.into()),
        }
    }

    fn about(&mut self) -> Fragment {
        let mut features = vec![
            ns::DISCO_INFO,
            ns::DISCO_ITEMS,
            ns::MUC,
            STABLE_ID,
            SELF_PING,
            ns::OCCUPANT_ID,
            ns::PING,
            ns::REGISTER,
            ns::SID,
            crate::versions::MAV,
            crate::moderate::MODERATE,
            ns::VCARD,
            ns::HATS,
            ns::COMMANDS,
        ];
        if self.config.archived {
            features.extend([
                ns::MAM,
                crate::archive::EXTENDED,
                crate::moderate::RETRACT,
                crate::moderate::TOMBSTONE,
            ]);
        }
        features.extend(self.config.features());
        let form = self.room_info();
        let name = match self.config.title.as_str() {
            "" => self.entry.name.as_str(),
            title => title,
        };
        info(None, Some(name), &features, &form)
    }

    /// `muc#roominfo` (§6.4). The subject of a room that only members enter is not told (§18.4).
    fn room_info(&mut self) -> String {
        let now = self.service.host.clock.now();
        let rate = self.activity.rate(now);
        let config = &self.config;
        let activity = rate.filter(|_| config.public && config.persistent);
        let activity = activity.map_or_else(Vec::new, |rate| vec![format!("{rate:.2}")]);
        let text = |text: &str| match text {
            "" => Vec::new(),
            text => vec![text.to_owned()],
        };
        let subject = self.subject.as_ref().filter(|_| !config.members_only);
        let subject = subject.and_then(|(message, _)| message.child_text("subject", ns::CLIENT));
        let owners = self.affiliations.with(Affiliation::Owner);
        let contacts: Vec<String> = match config.nonanonymous && config.public {
            true => owners.map(|row| row.jid.to_string()).collect(),
            false => Vec::new(),
        };
        let fields: Vec<(&str, Kind, &str, Vec<String>)> = vec![
            (
                "muc#roominfo_description",
                Kind::Text,
                "Description",
                text(&config.description),
            ),
            (
                "muc#roominfo_contactjid",
                Kind::JidMulti,
                "Contact Addresses",
                contacts,
            ),
            (
                "muc#roominfo_subject",
                Kind::Text,
                "Current Discussion Topic",
                text(&subject.unwrap_or_default()),
            ),
            (
                "muc#roominfo_subjectmod",
                Kind::Boolean,
                "Subject can be modified by participants",
                truth(config.change_subject),
            ),
            (
                "muc#roomconfig_changesubject",
                Kind::Boolean,
                "Subject can be modified",
                truth(config.change_subject),
            ),
            (
                "muc#roominfo_occupants",
                Kind::Text,
                "Number of occupants",
                vec![self.occupants.len().to_string()],
            ),
            (
                "muc#roominfo_lang",
                Kind::Text,
                "Language of discussion",
                text(&config.language),
            ),
            (
                "muc#maxhistoryfetch",
                Kind::Text,
                "Maximum Number of History Messages Returned by Room",
                vec![config.history.to_string()],
            ),
            (
                "muc#roominfo_avatarhash",
                Kind::TextMulti,
                "Avatar hash",
                self.avatars.clone(),
            ),
            (
                "hats#hash",
                Kind::Text,
                "Hats hash",
                self.hats_hash().into_iter().collect(),
            ),
            (
                "{urn:xmpp:muc-activity}message-activity",
                Kind::Text,
                "Messages per hour",
                activity,
            ),
            (
                "muc#roomconfig_pubsub",
                Kind::Text,
                "Associated pubsub node",
                text(&config.pubsub),
            ),
        ];
        fields
            .into_iter()
            .filter(|(.., values)| !values.is_empty())
            .fold(
                FormText::new("result", ROOM_INFO),
                |form, (var, kind, label, values)| form.shown(var, kind, label, &values),
            )
            .finish()
    }

    /// Who is there: told to those who are there as well (§6.5), for all others it is private.
    pub(crate) async fn disco_items(
        &mut self,
        stanza: &Stanza,
        query: &Element,
    ) -> Result<Fragment, StanzaError> {
        let mut out = String::from("<query");
        push_attr("xmlns", ns::DISCO_ITEMS, &mut out);
        match query.attr("node") {
            None => {}
            Some(ns::COMMANDS) => {
                push_attr("node", ns::COMMANDS, &mut out);
                let items = crate::hats::items(self.address.as_str());
                return Ok(Fragment::from(format!("{out}>{items}</query>")));
            }
            Some(_) => return Err(Condition::ItemNotFound.into()),
        }
        out.push('>');
        if self.number(sender(stanza)).is_some() {
            for (_, who) in self.occupants.iter() {
                if self.config.shows(who.role) {
                    out.push_str("<item");
                    push_attr("jid", self.at(&who.nick).as_str(), &mut out);
                    push_attr("name", &who.nick, &mut out);
                    out.push_str("/>");
                }
            }
        }
        out.push_str("</query>");
        Ok(Fragment::from(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_read() {
        let read = |text: &str| {
            let text = format!("<query xmlns='urn:q'>{text}</query>");
            Page::read(&text.parse().expect("well-formed"))
        };
        assert_eq!(read(""), None);
        let set = |inside: &str| read(&format!("<set xmlns='{}'>{inside}</set>", ns::RSM));
        assert_eq!(set(""), Some(Page::default()));
        assert_eq!(
            set("<max>3</max><after>x</after>"),
            Some(Page {
                max: Some(3),
                after: Some("x".into()),
                ..Page::default()
            })
        );
        assert_eq!(
            set("<before/>").and_then(|page| page.before),
            Some(String::new())
        );
        assert_eq!(
            set("<index>7</index><max>x</max>").map(|p| (p.index, p.max)),
            Some((Some(7), None))
        );
    }
}
