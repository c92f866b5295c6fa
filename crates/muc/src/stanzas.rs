//! What rooms send: occupants' presence and what the room says of itself (XEP-0045 §7 to §10).

use std::fmt::Write as _;

use storage::Affiliation;
use xmpp::{Edit, Fragment, Jid, PresenceType, Stanza, escape_text, ns, push_attr};

use crate::rules::Role;

/// What is told of somebody.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item<'a> {
    pub(crate) affiliation: Affiliation,
    /// Left out where only an affiliation is told.
    pub(crate) role: Option<Role>,
    pub(crate) jid: Option<&'a Jid>,
    pub(crate) nick: Option<&'a str>,
    /// The nickname of whoever did it.
    pub(crate) actor: Option<&'a str>,
    pub(crate) reason: Option<&'a str>,
}

impl<'a> Item<'a> {
    pub(crate) fn new(affiliation: Affiliation, role: Role) -> Item<'a> {
        Item {
            affiliation,
            role: Some(role),
            jid: None,
            nick: None,
            actor: None,
            reason: None,
        }
    }

    pub(crate) fn write(&self, out: &mut String) {
        out.push_str("<item");
        push_attr("affiliation", self.affiliation.as_str(), out);
        if let Some(role) = self.role {
            push_attr("role", role.as_str(), out);
        }
        if let Some(jid) = self.jid {
            push_attr("jid", jid.as_str(), out);
        }
        if let Some(nick) = self.nick {
            push_attr("nick", nick, out);
        }
        if self.actor.is_none() && self.reason.is_none() {
            out.push_str("/>");
            return;
        }
        out.push('>');
        if let Some(actor) = self.actor {
            out.push_str("<actor");
            push_attr("nick", actor, out);
            out.push_str("/>");
        }
        if let Some(reason) = self.reason {
            out.push_str("<reason>");
            escape_text(reason, out);
            out.push_str("</reason>");
        }
        out.push_str("</item>");
    }
}

/// The `<x/>` of `muc#user`: what else, items, status codes.
pub(crate) fn x_user(extra: &str, items: &[Item<'_>], statuses: &[u16]) -> Fragment {
    let mut out = String::from("<x");
    push_attr("xmlns", ns::MUC_USER, &mut out);
    out.push('>');
    out.push_str(extra);
    for item in items {
        item.write(&mut out);
    }
    for status in statuses {
        let _ = write!(out, "<status code=\"{status}\"/>");
    }
    out.push_str("</x>");
    Fragment::from(out)
}

/// What a client said of itself, without what only the room may say, and without addresses.
pub(crate) fn bare_presence(stanza: &Stanza) -> Stanza {
    let edit = stanza.edit().from(None).to(None).id(None);
    without_ours(edit).finish()
}

/// Takes away what only a room may say (§17.3), and what is meant for the room alone.
pub(crate) fn without_ours(edit: Edit) -> Edit {
    edit.remove(|child| {
        matches!(
            child.namespace(),
            ns::MUC | ns::MUC_USER | ns::OCCUPANT_ID | ns::HATS
        )
    })
}

/// The element that says who somebody is in this room (XEP-0421 §4).
pub(crate) fn occupant_id(id: &str) -> Fragment {
    Fragment::element("occupant-id", ns::OCCUPANT_ID, &[("id", id)], "")
}

/// Somebody who is not there is told so (§7.2.18, §7.14, §12).
pub(crate) fn gone(from: &Jid, to: &Jid, statuses: &[u16]) -> Stanza {
    let nobody = Item::new(Affiliation::None, Role::None);
    Stanza::presence(PresenceType::Unavailable)
        .from(from.clone())
        .to(to.clone())
        .append(x_user("", &[nobody], statuses))
        .finish()
}
