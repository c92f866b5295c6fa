//! Roster items on the wire: what a set asks for, and how items are written (RFC 6121 §2.1.2).

use gen_mod::prelude::*;
use minidom::Element;
use storage::RosterItem;
use xmpp::{BareJid, Fragment, escape_text, parse_jid, push_attr};

/// The longest name and group, in bytes (our choice; the RFC leaves it to the server).
const MAX_TEXT: usize = 1023;

/// The most groups of one item (our choice).
const MAX_GROUPS: usize = 100;

/// What a roster set asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Add the contact, or change how it is called and grouped.
    Put {
        jid: BareJid,
        name: Option<String>,
        groups: Vec<String>,
    },
    /// Remove the contact.
    Remove(BareJid),
}

impl Wish {
    /// Whom it is about.
    pub(super) fn jid(&self) -> &BareJid {
        match self {
            Wish::Put { jid, .. } | Wish::Remove(jid) => jid,
        }
    }

    /// Reads the payload of a roster set. What it says of the subscription but `remove` is ignored (§2.1.2.5).
    ///
    /// # Errors
    ///
    /// - `bad-request`: not exactly one item, no JID, or a group twice (§2.3.3).
    /// - `jid-malformed`: the JID cannot be read.
    /// - `not-acceptable`: an empty group, or a text that is too long (§2.3.3).
    pub(super) fn read(query: &Element) -> Result<Wish, StanzaError> {
        if !query.is("query", ns::ROSTER) {
            return Err(Condition::BadRequest.text("not a roster query"));
        }
        let mut items = query
            .children()
            .filter(|child| child.is("item", ns::ROSTER));
        let (Some(item), None) = (items.next(), items.next()) else {
            return Err(Condition::BadRequest.text("a roster set holds exactly one item"));
        };
        let Some(jid) = item.attr("jid") else {
            return Err(Condition::BadRequest.text("an item needs a JID"));
        };
        let jid = parse_jid(jid)
            .map_err(|error| Condition::JidMalformed.text(error.to_string()))?
            .to_bare();
        if item.attr("subscription") == Some("remove") {
            return Ok(Wish::Remove(jid));
        }
        let name = item
            .attr("name")
            .filter(|name| !name.is_empty())
            .map(str::to_owned);
        if name.as_ref().is_some_and(|name| name.len() > MAX_TEXT) {
            return Err(Condition::NotAcceptable.text("the name is too long"));
        }
        Ok(Wish::Put {
            jid,
            name,
            groups: groups(item)?,
        })
    }

    /// The item after the change; none when the contact to remove is not in the roster.
    pub(super) fn applied(&self, before: Option<RosterItem>) -> Option<RosterItem> {
        match self {
            Wish::Remove(_) => before.filter(|item| item.listed),
            Wish::Put { jid, name, groups } => {
                let item = before.unwrap_or_else(|| RosterItem::new(jid.clone()));
                Some(RosterItem {
                    name: name.clone(),
                    groups: groups.clone(),
                    listed: true,
                    ..item
                })
            }
        }
    }
}

fn groups(item: &Element) -> Result<Vec<String>, StanzaError> {
    let mut groups: Vec<String> = Vec::new();
    for group in item
        .children()
        .filter(|child| child.is("group", ns::ROSTER))
    {
        let group = group.text();
        if group.is_empty() || group.len() > MAX_TEXT || groups.len() == MAX_GROUPS {
            return Err(Condition::NotAcceptable
                .text("a group is empty or too long, or there are too many"));
        }
        if groups.contains(&group) {
            return Err(Condition::BadRequest.text("a group is named twice"));
        }
        groups.push(group);
    }
    Ok(groups)
}

/// A roster query around `items`, with the roster's version where the client is to know it.
pub(super) fn query(version: Option<&str>, items: impl IntoIterator<Item = String>) -> Fragment {
    let mut query = format!("<query xmlns=\"{}\"", ns::ROSTER);
    if let Some(version) = version {
        push_attr("ver", version, &mut query);
    }
    query.push('>');
    query.extend(items);
    query.push_str("</query>");
    Fragment::from(query)
}

/// An item as its owner is shown it: an element for the inside of [`query`].
pub(super) fn element(item: &RosterItem) -> String {
    let attrs = [
        ("jid", Some(item.jid.as_str())),
        ("name", item.name.as_deref()),
        ("subscription", Some(item.subscription.as_str())),
        ("ask", item.ask.then_some("subscribe")),
        ("approved", item.approved.then_some("true")),
    ];
    let mut element = String::from("<item");
    for (name, value) in attrs {
        if let Some(value) = value {
            push_attr(name, value, &mut element);
        }
    }
    if item.groups.is_empty() {
        element.push_str("/>");
        return element;
    }
    element.push('>');
    for group in &item.groups {
        element.push_str("<group>");
        escape_text(group, &mut element);
        element.push_str("</group>");
    }
    element.push_str("</item>");
    element
}

/// How a contact's removal is told.
pub(super) fn removed(jid: &BareJid) -> String {
    let mut element = String::from("<item subscription=\"remove\"");
    push_attr("jid", jid.as_str(), &mut element);
    element.push_str("/>");
    element
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage::Subscription;

    fn read(items: &str) -> Result<Wish, Condition> {
        let query = format!("<query xmlns='jabber:iq:roster'>{items}</query>");
        Wish::read(&query.parse().expect("XML")).map_err(|error| error.condition)
    }

    //
    #[test]
    fn what_a_set_may_not_say() {
        let long = "x".repeat(1024);
        for (items, condition) in [
            (String::new(), Condition::BadRequest),
            ("<item/>".into(), Condition::BadRequest),
            (
                "<item jid='a@x'/><item jid='b@x'/>".into(),
                Condition::BadRequest,
            ),
            (
                "<item jid='a@x'><group>g</group><group>g</group></item>".into(),
                Condition::BadRequest,
            ),
            ("<item jid='a@b@x'/>".into(), Condition::JidMalformed),
            (
                "<item jid='a@x'><group/></item>".into(),
                Condition::NotAcceptable,
            ),
            (
                format!("<item jid='a@x'><group>{long}</group></item>"),
                Condition::NotAcceptable,
            ),
            (
                format!("<item jid='a@x' name='{long}'/>"),
                Condition::NotAcceptable,
            ),
        ] {
            assert_eq!(read(&items), Err(condition), "{items}");
        }
        assert_eq!(
            Wish::read(
                &"<x xmlns='jabber:iq:roster'><item jid='a@x'/></x>"
                    .parse()
                    .expect("XML")
            )
            .map_err(|error| error.condition),
            Err(Condition::BadRequest)
        );
    }

    //
    #[test]
    fn a_set_names_and_groups_and_nothing_else() {
        let wish = read("<item jid='A@X/res' name='Al' subscription='both' ask='subscribe'><group>g</group></item>")
            .expect("a wish");
        let jid = xmpp::parse_bare("a@x").expect("a JID");
        assert_eq!(
            wish,
            Wish::Put {
                jid: jid.clone(),
                name: Some("Al".into()),
                groups: vec!["g".into()]
            }
        );
        let item = wish.applied(None).expect("an item");
        assert_eq!(
            (item.subscription, item.ask, item.listed),
            (Subscription::None, false, true)
        );
        let known = RosterItem {
            subscription: Subscription::To,
            name: Some("old".into()),
            ..item
        };
        let bare = read("<item jid='a@x'/>")
            .expect("a wish")
            .applied(Some(known))
            .expect("an item");
        assert_eq!(
            (bare.subscription, bare.name, bare.groups),
            (Subscription::To, None, Vec::new())
        );
    }

    //
    #[test]
    fn only_listed_contacts_are_removed() {
        let wish = read("<item jid='a@x' subscription='remove'/>").expect("a wish");
        assert_eq!(wish.applied(None), None);
        let asking = RosterItem::asking(wish.jid().clone(), "<presence/>".into());
        assert_eq!(wish.applied(Some(asking)), None);
        assert!(
            wish.applied(Some(RosterItem::new(wish.jid().clone())))
                .is_some()
        );
    }

    #[test]
    fn items_are_written_as_the_rfc_has_them() {
        let item = RosterItem {
            name: Some("<Al>".into()),
            groups: vec!["a & b".into()],
            ask: true,
            approved: true,
            ..RosterItem::new(xmpp::parse_bare("a@x").expect("a JID"))
        };
        let written = query(Some("7"), [element(&item), removed(&item.jid)]);
        let query: Element = written.as_str().parse().expect("XML");
        assert_eq!(query.attr("ver"), Some("7"));
        let items: Vec<&Element> = query.children().collect();
        let attrs =
            ["jid", "name", "subscription", "ask", "approved"].map(|name| items[0].attr(name));
        assert_eq!(
            attrs,
            [
                Some("a@x"),
                Some("<Al>"),
                Some("none"),
                Some("subscribe"),
                Some("true")
            ]
        );
        assert_eq!(
            items[0].get_child("group", ns::ROSTER).map(Element::text),
            Some("a & b".into())
        );
        assert_eq!(items[1].attr("subscription"), Some("remove"));
        assert_eq!(items[1].attr("name"), None);
    }
}
