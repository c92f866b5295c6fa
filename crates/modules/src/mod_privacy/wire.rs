//! Privacy lists on the wire: what a query asks for, and how lists are written (XEP-0016 §2.1).

use gen_mod::prelude::*;
use minidom::Element;
use storage::{
    PrivacyAction, PrivacyItem, PrivacyKinds, PrivacyList, PrivacyLists, PrivacyWho, Subscription,
};
use xmpp::{Fragment, parse_jid, push_attr};

/// The longest name of a list or a group, in bytes (our choice; the source is silent).
const MAX_TEXT: usize = 1023;

/// What a query asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// That list as the session's active one, or none.
    Active(Option<String>),
    /// That list as the account's default, or none.
    Default(Option<String>),
    /// The list of that name with these rules, in ascending order; without rules: the name alone.
    List(String, Vec<PrivacyItem>),
}

impl Wish {
    /// Reads the query; an empty one asks for nothing in particular.
    ///
    /// # Errors
    ///
    /// `bad-request`: more than one wish, an unknown one, a list without a name, two rules of one order, or a
    /// rule that does not say whom, what or where it stands (§2.1).
    pub(super) fn read(query: &Element) -> Result<Option<Wish>, StanzaError> {
        let mut children = query.children();
        let (Some(child), None) = (children.next(), children.next()) else {
            return match query.children().next() {
                None => Ok(None),
                Some(_) => Err(Condition::BadRequest.text("one wish at a time")),
            };
        };
        let name = child.attr("name").map(str::to_owned);
        if name.as_ref().is_some_and(|name| name.len() > MAX_TEXT) {
            return Err(Condition::BadRequest.text("the name is too long"));
        }
        match (child.name(), name) {
            _ if child.ns() != ns::PRIVACY => Err(Condition::BadRequest.text("an unknown wish")),
            ("active", name) => Ok(Some(Wish::Active(name))),
            ("default", name) => Ok(Some(Wish::Default(name))),
            ("list", Some(name)) => Ok(Some(Wish::List(name, items(child)?))),
            ("list", None) => Err(Condition::BadRequest.text("a list has a name")),
            _ => Err(Condition::BadRequest.text("an unknown wish")),
        }
    }
}

fn items(list: &Element) -> Result<Vec<PrivacyItem>, StanzaError> {
    let mut items = list
        .children()
        .map(item)
        .collect::<Result<Vec<_>, StanzaError>>()?;
    items.sort_by_key(|item| item.order);
    if items.windows(2).any(|pair| pair[0].order == pair[1].order) {
        return Err(Condition::BadRequest.text("two rules have one order"));
    }
    Ok(items)
}

fn item(element: &Element) -> Result<PrivacyItem, StanzaError> {
    let wrong = |what: &str| Condition::BadRequest.text(what);
    if !element.is("item", ns::PRIVACY) {
        return Err(wrong("a list holds items"));
    }
    let action = element.attr("action").and_then(PrivacyAction::from_word);
    let order = element
        .attr("order")
        .and_then(|order| order.trim().parse().ok());
    let who = match (element.attr("type"), element.attr("value")) {
        (None, _) => Some(PrivacyWho::Everyone),
        (Some("jid"), Some(value)) => parse_jid(value).ok().map(PrivacyWho::Jid),
        (Some("group"), Some(value)) => Some(value)
            .filter(|value| !value.is_empty() && value.len() <= MAX_TEXT)
            .map(|value| PrivacyWho::Group(value.to_owned())),
        (Some("subscription"), Some(value)) => {
            Subscription::from_word(value).map(PrivacyWho::Subscription)
        }
        _ => None,
    };
    let mut kinds = PrivacyKinds::ALL;
    for child in element.children() {
        let kind = match child.name() {
            "message" => &mut kinds.message,
            "iq" => &mut kinds.iq,
            "presence-in" => &mut kinds.presence_in,
            "presence-out" => &mut kinds.presence_out,
            _ => return Err(wrong("an unknown kind of stanza")),
        };
        *kind = true;
    }
    Ok(PrivacyItem {
        order: order.ok_or_else(|| wrong("order is a number from 0 on"))?,
        who: who.ok_or_else(|| wrong("type and value do not say whom the rule is about"))?,
        action: action.ok_or_else(|| wrong("action is allow or deny"))?,
        kinds,
    })
}

fn named(element: &str, name: &str, out: &mut String) {
    out.push('<');
    out.push_str(element);
    push_attr("name", name, out);
}

/// The names of all lists, of the active and of the default one (§2.3).
pub(super) fn names_element(lists: &PrivacyLists, active: Option<&str>) -> Fragment {
    let mut query = format!("<query xmlns='{}'>", ns::PRIVACY);
    let all = lists.lists.iter().map(|list| ("list", list.name.as_str()));
    let active = active.map(|name| ("active", name));
    let default = lists.default.as_deref().map(|name| ("default", name));
    for (element, name) in active.into_iter().chain(default).chain(all) {
        named(element, name, &mut query);
        query.push_str("/>");
    }
    query.push_str("</query>");
    Fragment::from(query)
}

/// A list with its rules (§2.3).
pub(super) fn list_element(list: &PrivacyList) -> Fragment {
    let mut query = format!("<query xmlns='{}'>", ns::PRIVACY);
    named("list", &list.name, &mut query);
    query.push('>');
    for item in &list.items {
        query.push_str("<item");
        let who = match &item.who {
            PrivacyWho::Everyone => None,
            PrivacyWho::Jid(jid) => Some(("jid", jid.as_str())),
            PrivacyWho::Group(group) => Some(("group", group.as_str())),
            PrivacyWho::Subscription(word) => Some(("subscription", word.as_str())),
        };
        if let Some((type_, value)) = who {
            push_attr("type", type_, &mut query);
            push_attr("value", value, &mut query);
        }
        push_attr("action", item.action.as_str(), &mut query);
        push_attr("order", &item.order.to_string(), &mut query);
        query.push('>');
        for (kind, is_meant) in [
            ("message", item.kinds.message),
            ("iq", item.kinds.iq),
            ("presence-in", item.kinds.presence_in),
            ("presence-out", item.kinds.presence_out),
        ] {
            if is_meant {
                query.push_str(&format!("<{kind}/>"));
            }
        }
        query.push_str("</item>");
    }
    query.push_str("</list></query>");
    Fragment::from(query)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &str) -> Result<Option<Wish>, Condition> {
        let query = format!("<query xmlns='jabber:iq:privacy'>{content}</query>");
        Wish::read(&query.parse().expect("XML")).map_err(|error| error.condition)
    }

    #[test]
    fn what_a_query_may_not_say() {
        for content in [
            "<list/>",
            "<lists name='a'/>",
            "<list xmlns='urn:x' name='a'/>",
            "<list name='a'/><list name='b'/>",
            "<active/><default/>",
            "<list name='a'><item order='1'/></list>",
            "<list name='a'><item action='deny'/></list>",
            "<list name='a'><item action='deny' order='-1'/></list>",
            "<list name='a'><item action='deny' order='x'/></list>",
            "<list name='a'><item action='block' order='1'/></list>",
            "<list name='a'><item action='deny' order='1'/><item action='allow' order='1'/></list>",
            "<list name='a'><item type='jid' action='deny' order='1'/></list>",
            "<list name='a'><item type='jid' value='a@b@c' action='deny' order='1'/></list>",
            "<list name='a'><item type='group' value='' action='deny' order='1'/></list>",
            "<list name='a'><item type='subscription' value='all' action='deny' order='1'/></list>",
            "<list name='a'><item type='age' value='7' action='deny' order='1'/></list>",
            "<list name='a'><item action='deny' order='1'><presence/></item></list>",
            "<list name='a'><rule action='deny' order='1'/></list>",
        ] {
            assert_eq!(read(content), Err(Condition::BadRequest), "{content}");
        }
        assert_eq!(read(""), Ok(None));
        assert_eq!(read("<active/>"), Ok(Some(Wish::Active(None))));
        assert_eq!(
            read("<default name='a'/>"),
            Ok(Some(Wish::Default(Some("a".into()))))
        );
    }

    #[test]
    fn lists_come_back_as_they_were_written() {
        let text = "<item type='jid' value='A@X/r' action='deny' order='3'/>\
             <item action='allow' order='4294967295'/>\
             <item type='group' value='a &amp; b' action='deny' order='0'><message/><presence-out/></item>\
             <item type='subscription' value='none' action='deny' order='2'><iq/><presence-in/></item>";
        let Ok(Some(Wish::List(name, items))) =
            read(&format!("<list name='&lt;l&gt;'>{text}</list>"))
        else {
            panic!("a list");
        };
        let orders: Vec<u32> = items.iter().map(|item| item.order).collect();
        assert_eq!(orders, [0, 2, 3, u32::MAX]);
        let list = PrivacyList { name, items };
        let written: Element = list_element(&list).as_str().parse().expect("XML");
        let again = Wish::read(&written).expect("a query");
        assert_eq!(again, Some(Wish::List(list.name, list.items)));
    }
}
