//! Privacy lists as XEP-0016 §2.1 writes them, and block lists (XEP-0191) as privacy lists.

use storage::{
    PrivacyAction, PrivacyItem, PrivacyKinds, PrivacyList, PrivacyLists, PrivacyWho, Subscription,
};
use xml::Element;
use xmpp::{Jid, ns, parse_jid, push_attr};

use crate::builder::inside;

/// The name of the list that a block list becomes.
const BLOCKED: &str = "blocked";

/// Reads the `<query/>` that holds all lists of an account.
///
/// # Errors
///
/// In words: a list without a name, two of one name, a rule that does not say whom, what or where it stands.
pub(crate) fn read(query: &Element) -> Result<PrivacyLists, String> {
    let mut lists = PrivacyLists::default();
    for child in inside(query)? {
        let name = child.attr("name").map(str::to_owned);
        match (child.name(), name) {
            ("default", name) => lists.default = name,
            // Which list a session had chosen went with the session.
            ("active", _) => {}
            ("list", Some(name)) if lists.list(&name).is_some() => {
                return Err(format!("two privacy lists are named `{name}`"));
            }
            ("list", Some(name)) => {
                let items = items(&child).map_err(|why| format!("privacy list `{name}`: {why}"))?;
                // A list without rules cannot be set (§2.8).
                if !items.is_empty() {
                    lists.lists.push(PrivacyList { name, items });
                }
            }
            ("list", None) => return Err("a privacy list has no name".to_owned()),
            (other, _) => return Err(format!("<{other}/> is nothing that privacy lists hold")),
        }
    }
    finish(&mut lists);
    Ok(lists)
}

/// Sorts the lists, and forgets a default that is not there.
pub(crate) fn finish(lists: &mut PrivacyLists) {
    lists.lists.sort_by(|a, b| a.name.cmp(&b.name));
    if lists.default_list().is_none() {
        lists.default = None;
    }
}

fn items(list: &Element) -> Result<Vec<PrivacyItem>, String> {
    let mut items = Vec::new();
    for element in inside(list)? {
        let mut kinds = Vec::new();
        for kind in element.children() {
            kinds.push(kind.name().to_owned());
        }
        let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
        let attr = |name| element.attr(name);
        items.push(item(
            attr("type"),
            attr("value"),
            attr("action"),
            attr("order"),
            &kinds,
        )?);
    }
    in_order(items)
}

/// Sorts rules by their places.
///
/// # Errors
///
/// In words: two have one place.
pub(crate) fn in_order(mut items: Vec<PrivacyItem>) -> Result<Vec<PrivacyItem>, String> {
    items.sort_by_key(|item| item.order);
    match items.windows(2).find(|pair| pair[0].order == pair[1].order) {
        Some(pair) => Err(format!("two rules have the order {}", pair[0].order)),
        None => Ok(items),
    }
}

/// Reads a rule out of its parts.
///
/// # Errors
///
/// In words: which part says nothing.
pub(crate) fn item(
    type_: Option<&str>,
    value: Option<&str>,
    action: Option<&str>,
    order: Option<&str>,
    kinds: &[&str],
) -> Result<PrivacyItem, String> {
    let who = match (type_, value) {
        (None, _) => Some(PrivacyWho::Everyone),
        (Some("jid"), Some(value)) => parse_jid(value).ok().map(PrivacyWho::Jid),
        (Some("group"), Some(value)) => {
            (!value.is_empty()).then(|| PrivacyWho::Group(value.to_owned()))
        }
        (Some("subscription"), Some(value)) => {
            Subscription::from_word(value).map(PrivacyWho::Subscription)
        }
        _ => None,
    };
    let mut meant = PrivacyKinds::ALL;
    for kind in kinds {
        match *kind {
            "message" => meant.message = true,
            "iq" => meant.iq = true,
            "presence-in" => meant.presence_in = true,
            "presence-out" => meant.presence_out = true,
            other => return Err(format!("<{other}/> is no kind of stanza that a rule knows")),
        }
    }
    Ok(PrivacyItem {
        order: order
            .and_then(|order| order.trim().parse().ok())
            .ok_or("the order of a rule is a number from 0 on")?,
        who: who.ok_or("type and value do not say whom a rule is about")?,
        action: action
            .and_then(PrivacyAction::from_word)
            .ok_or("the action of a rule is allow or deny")?,
        kinds: meant,
    })
}

/// Lists in which these addresses are denied everything, before all else that the default list says.
pub(crate) fn block(lists: &mut PrivacyLists, blocked: Vec<Jid>) {
    if blocked.is_empty() {
        return;
    }
    let old = lists.default_list().map(|list| list.items.clone());
    let rules = blocked
        .into_iter()
        .map(|jid| (PrivacyWho::Jid(jid), PrivacyAction::Deny, PrivacyKinds::ALL));
    let old = old
        .into_iter()
        .flatten()
        .map(|item| (item.who, item.action, item.kinds));
    let mut items: Vec<PrivacyItem> = Vec::new();
    for (order, (who, action, kinds)) in (1..).zip(rules.chain(old)) {
        if items
            .iter()
            .all(|item| item.who != who || item.kinds != kinds)
        {
            items.push(PrivacyItem {
                order,
                who,
                action,
                kinds,
            });
        }
    }
    let name = lists
        .default
        .get_or_insert_with(|| BLOCKED.to_owned())
        .clone();
    lists.lists.retain(|list| list.name != name);
    lists.lists.push(PrivacyList { name, items });
    finish(lists);
}

/// Writes the `<query/>` that holds all lists; nothing where there are none.
pub(crate) fn write(lists: &PrivacyLists, out: &mut String) {
    if lists.lists.is_empty() {
        return;
    }
    out.push_str("<query");
    push_attr("xmlns", ns::PRIVACY, out);
    out.push('>');
    if let Some(default) = &lists.default {
        out.push_str("<default");
        push_attr("name", default, out);
        out.push_str("/>");
    }
    for list in &lists.lists {
        out.push_str("<list");
        push_attr("name", &list.name, out);
        out.push('>');
        list.items.iter().for_each(|item| write_item(item, out));
        out.push_str("</list>");
    }
    out.push_str("</query>\n");
}

fn write_item(item: &PrivacyItem, out: &mut String) {
    out.push_str("<item");
    let who = match &item.who {
        PrivacyWho::Everyone => None,
        PrivacyWho::Jid(jid) => Some(("jid", jid.as_str())),
        PrivacyWho::Group(group) => Some(("group", group.as_str())),
        PrivacyWho::Subscription(word) => Some(("subscription", word.as_str())),
    };
    if let Some((type_, value)) = who {
        push_attr("type", type_, out);
        push_attr("value", value, out);
    }
    push_attr("action", item.action.as_str(), out);
    push_attr("order", &item.order.to_string(), out);
    out.push('>');
    for (kind, is_meant) in [
        ("message", item.kinds.message),
        ("iq", item.kinds.iq),
        ("presence-in", item.kinds.presence_in),
        ("presence-out", item.kinds.presence_out),
    ] {
        if is_meant {
            out.push('<');
            out.push_str(kind);
            out.push_str("/>");
        }
    }
    out.push_str("</item>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::parse;

    fn read_text(content: &str) -> Result<PrivacyLists, String> {
        read(&parse(
            &format!("<query xmlns='jabber:iq:privacy'>{content}</query>"),
            "",
        )?)
    }

    #[test]
    fn lists_come_back_as_they_were_written() {
        let lists = read_text(
            "<active name='a'/><default name='a'/><list name='b &amp; c'><item action='allow' order='7'/>\
             <item type='jid' value='X@B.example/r' action='deny' order='0'><message/><presence-in/></item></list>\
             <list name='a'><item type='subscription' value='none' action='deny' order='1'><iq/></item>\
             <item type='group' value='&lt;g&gt;' action='deny' order='4294967295'><presence-out/></item></list>\
             <list name='empty'/>",
        )
        .unwrap();
        assert_eq!(lists.default.as_deref(), Some("a"));
        let orders: Vec<u32> = lists
            .list("b & c")
            .unwrap()
            .items
            .iter()
            .map(|item| item.order)
            .collect();
        assert_eq!(orders, [0, 7]);
        let mut written = String::new();
        write(&lists, &mut written);
        assert_eq!(read(&parse(&written, "").unwrap()).unwrap(), lists);
        let mut nothing = String::new();
        write(&PrivacyLists::default(), &mut nothing);
        assert_eq!(nothing, "");
    }

    #[test]
    fn what_no_list_can_say_is_told() {
        for (content, why) in [
            ("<list/>", "a privacy list has no name"),
            (
                "<lists name='a'/>",
                "<lists/> is nothing that privacy lists hold",
            ),
            (
                "<list name='a'><item action='deny' order='1'/></list><list name='a'/>",
                "two privacy lists are named `a`",
            ),
            (
                "<list name='a'><item action='deny'/></list>",
                "privacy list `a`: the order of a rule is a number from 0 on",
            ),
            (
                "<list name='a'><item order='1'/></list>",
                "privacy list `a`: the action of a rule is allow or deny",
            ),
            (
                "<list name='a'><item type='jid' value='a@b@c' action='deny' order='1'/></list>",
                "privacy list `a`: type and value do not say whom a rule is about",
            ),
            (
                "<list name='a'><item action='deny' order='1'/><item action='allow' order='1'/></list>",
                "privacy list `a`: two rules have the order 1",
            ),
            (
                "<list name='a'><item action='deny' order='1'><presence/></item></list>",
                "privacy list `a`: <presence/> is no kind of stanza that a rule knows",
            ),
        ] {
            assert_eq!(read_text(content), Err(why.to_owned()), "{content}");
        }
        assert_eq!(
            read_text("<default name='gone'/>"),
            Ok(PrivacyLists::default())
        );
    }

    #[test]
    fn blocked_addresses_stand_before_the_other_rules() {
        let jid = |text: &str| parse_jid(text).unwrap();
        let mut lists = PrivacyLists::default();
        block(&mut lists, Vec::new());
        assert_eq!(lists, PrivacyLists::default());
        block(
            &mut lists,
            vec![jid("x@b.example"), jid("c.example"), jid("x@b.example")],
        );
        let list = lists.default_list().unwrap();
        assert_eq!((list.name.as_str(), list.items.len()), ("blocked", 2));
        assert!(
            list.items
                .iter()
                .all(|item| item.action == PrivacyAction::Deny && item.kinds.is_all())
        );
        let mut lists =
            read_text("<default name='p'/><list name='p'><item action='allow' order='9'/></list>")
                .unwrap();
        block(&mut lists, vec![jid("x@b.example")]);
        let items = &lists.list("p").unwrap().items;
        assert_eq!(
            items.iter().map(|item| item.order).collect::<Vec<_>>(),
            [1, 2]
        );
        assert_eq!(items[1].who, PrivacyWho::Everyone);
    }
}
