//! Accounts as text.

use auth::ScramKeys;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use storage::{OfflineMessage, RosterItem, WholeAccount};
use xmpp::{Kind, Stanza, escape_text, format_date_time, ns, push_attr};

use super::{NS, NS_ACCOUNT, NS_SCRAM, NS_XINCLUDE};
use crate::builder::{inside, parse};
use crate::lists;

/// The beginning of a file of several hosts.
pub const HEAD: &str =
    "<?xml version='1.0' encoding='UTF-8'?>\n<server-data xmlns='urn:xmpp:pie:0'>\n";

/// The end of a file that [`HEAD`] begins.
pub const TAIL: &str = "</server-data>\n";

/// The opening tag of a host.
pub fn host_head(host: &str) -> String {
    let mut out = String::from("<host");
    push_attr("xmlns", NS, &mut out);
    push_attr("jid", host, &mut out);
    out.push_str(">\n");
    out
}

/// The closing tag of a host.
pub fn host_tail() -> &'static str {
    "</host>\n"
}

/// A reference to another file, relative to the one it stands in.
pub fn include(href: &str) -> String {
    let mut out = String::from("<include");
    push_attr("xmlns", NS_XINCLUDE, &mut out);
    push_attr("href", &encoded(href), &mut out);
    out.push_str("/>\n");
    out
}

/// A file name as part of a URI (RFC 3986 §2.1).
fn encoded(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte))
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// One account. What is stored and no XML is left out; how many such things there were is the second part.
pub fn user(account: &WholeAccount) -> (String, u64) {
    let mut out = String::from("<user");
    let name = account.address.node().map_or("", |node| node.as_str());
    push_attr("name", name, &mut out);
    out.push_str(">\n");
    let mut lost = 0;
    state(account, &mut out);
    for credential in &account.credentials {
        match ScramKeys::of(credential) {
            Some(keys) => scram(&credential.kind, &keys, &mut out),
            None => lost += 1,
        }
    }
    lost += roster(account, &mut out) + offline(account, &mut out) + private(account, &mut out);
    match account.vcard.as_deref().map(|card| parse(card, "")) {
        Some(Ok(card)) => {
            out.push_str(&String::from_utf8_lossy(card.bytes()));
            out.push('\n');
        }
        Some(Err(_)) => lost += 1,
        None => {}
    }
    lists::write(&account.privacy, &mut out);
    out.push_str("</user>\n");
    (out, lost)
}

fn state(account: &WholeAccount, out: &mut String) {
    out.push_str("<account");
    push_attr("xmlns", NS_ACCOUNT, out);
    if let Some(created) = account.created {
        push_attr("created", &format_date_time(created), out);
    }
    if account.disabled {
        push_attr("disabled", "true", out);
    }
    if let Some(last) = &account.last {
        push_attr("seen", &format_date_time(last.at), out);
    }
    out.push('>');
    if let Some(status) = account.last.as_ref().and_then(|last| last.status.as_ref()) {
        out.push_str("<status>");
        escape_text(status, out);
        out.push_str("</status>");
    }
    out.push_str("</account>\n");
}

fn scram(mechanism: &str, keys: &ScramKeys, out: &mut String) {
    out.push_str("<scram-credentials");
    push_attr("xmlns", NS_SCRAM, out);
    push_attr("mechanism", mechanism, out);
    out.push_str(&format!("><iter-count>{}</iter-count>", keys.iterations));
    for (name, bytes) in [
        ("salt", keys.salt.as_slice()),
        ("server-key", &keys.server_key),
        ("stored-key", &keys.stored_key),
    ] {
        out.push_str(&format!("<{name}>{}</{name}>", STANDARD.encode(bytes)));
    }
    out.push_str("</scram-credentials>\n");
}

fn roster(account: &WholeAccount, out: &mut String) -> u64 {
    if account.roster.iter().any(|item| item.listed) {
        out.push_str("<query");
        push_attr("xmlns", ns::ROSTER, out);
        out.push_str(">\n");
        let listed = account.roster.iter().filter(|item| item.listed);
        listed.for_each(|item| contact(item, out));
        out.push_str("</query>\n");
    }
    let mut lost = 0;
    for item in &account.roster {
        let Some(request) = &item.pending_in else {
            continue;
        };
        match Stanza::parse(request) {
            Ok(request) if request.kind() == Kind::Presence => {
                let from = request.edit().from(xmpp::Jid::from(item.jid.clone()));
                out.push_str(&from.finish().to_xml());
                out.push('\n');
            }
            _ => lost += 1,
        }
    }
    lost
}

fn contact(item: &RosterItem, out: &mut String) {
    out.push_str("<item");
    push_attr("jid", item.jid.as_str(), out);
    if let Some(name) = &item.name {
        push_attr("name", name, out);
    }
    push_attr("subscription", item.subscription.as_str(), out);
    if item.ask {
        push_attr("ask", "subscribe", out);
    }
    if item.approved {
        push_attr("approved", "true", out);
    }
    out.push('>');
    for group in &item.groups {
        out.push_str("<group>");
        escape_text(group, out);
        out.push_str("</group>");
    }
    out.push_str("</item>\n");
}

fn offline(account: &WholeAccount, out: &mut String) -> u64 {
    if account.offline.is_empty() {
        return 0;
    }
    let host = account.address.domain().as_str();
    let mut lost = 0;
    out.push_str("<offline-messages>\n");
    for message in &account.offline {
        match stamped(message, host) {
            Some(text) => {
                out.push_str(&text);
                out.push('\n');
            }
            None => lost += 1,
        }
    }
    out.push_str("</offline-messages>\n");
    lost
}

/// The message with the host's `<delay/>` as its last child (XEP-0203 §4).
fn stamped(message: &OfflineMessage, host: &str) -> Option<String> {
    let stanza = Stanza::parse(&message.stanza).ok()?;
    let stamp = format_date_time(message.received);
    let attrs = [("from", host), ("stamp", stamp.as_str())];
    let delay = xmpp::Fragment::element("delay", ns::DELAY, &attrs, "");
    Some(stanza.edit().append(delay).finish().to_xml())
}

fn private(account: &WholeAccount, out: &mut String) -> u64 {
    let mut lost = 0;
    let mut query = String::new();
    for data in &account.private {
        // Checked, so that one row that is no XML does not spoil the file.
        let wrapped = format!("<query xmlns='{}'>{}</query>", ns::PRIVATE, data.xml);
        match parse(&wrapped, "").and_then(|wrapped| inside(&wrapped)) {
            Ok(_) => query.push_str(&data.xml),
            Err(_) => lost += 1,
        }
    }
    if !query.is_empty() {
        out.push_str("<query");
        push_attr("xmlns", ns::PRIVATE, out);
        out.push('>');
        out.push_str(&query);
        out.push_str("</query>\n");
    }
    lost
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_become_references() {
        assert!(include("a.example.xml").contains("href=\"a.example.xml\""));
        assert!(include("bücher [x].xml").contains("href=\"b%C3%BCcher%20%5Bx%5D.xml\""));
    }

    #[test]
    fn what_is_no_xml_is_left_out_and_counted() {
        let mut account = WholeAccount::new(xmpp::parse_bare("a@b.example").unwrap());
        account.vcard = Some("<vCard".to_owned());
        account.private.push(storage::PrivateData {
            name: "x".to_owned(),
            namespace: "urn:x".to_owned(),
            xml: "</query>".to_owned(),
        });
        account.roster.push(RosterItem::asking(
            account.address.clone(),
            "<iq/>".to_owned(),
        ));
        account.offline.push(OfflineMessage {
            stanza: "no stanza".to_owned(),
            received: std::time::UNIX_EPOCH,
            expires: None,
            place: None,
        });
        let (text, lost) = user(&account);
        assert_eq!(lost, 4);
        assert!(parse(&text, NS).is_ok(), "{text}");
    }
}
