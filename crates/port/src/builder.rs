//! An account that is put together out of what is found of it, whichever server wrote that.

use std::collections::HashMap;
use std::time::SystemTime;

use auth::{Password, ScramKeys};
use storage::{Credential, OfflineMessage, PrivateData, RosterItem, Subscription, WholeAccount};
use xml::{Element, Limits};
use xmpp::{BareJid, Jid, Kind, PresenceType, Stanza, ns, parse_bare, parse_date_time, parse_jid};

use crate::found::Draft;

/// The most that one account may hold, in bytes as written: 64 MiB.
pub(crate) const MOST_BYTES: usize = 64 * 1024 * 1024;

/// Bounds of an element that is held whole: 16 MiB, such as a roster of 100,000 contacts.
pub(crate) const LIMITS: Limits = Limits {
    bytes: 16 * 1024 * 1024,
    depth: 100,
    attributes: 100,
    children: 1_000_000,
};

/// Reads an element that stands alone, but for the default namespace.
pub(crate) fn parse(text: &str, namespace: &str) -> Result<Element, String> {
    xml::parse_element(text.as_bytes(), namespace, ns::KNOWN, LIMITS)
        .map_err(|error| error.to_string())
}

/// The elements in an element, each read.
pub(crate) fn inside(element: &Element) -> Result<Vec<Element>, String> {
    let read = |child| {
        let bytes = element.child_bytes(child);
        xml::parse_element(bytes, element.namespace(), ns::KNOWN, LIMITS)
            .map_err(|error| error.to_string())
    };
    element.children().iter().map(read).collect()
}

/// An account in the making. Invariant: every contact is in the roster once.
pub(crate) struct Builder {
    account: WholeAccount,
    /// Its address where it comes from.
    theirs: BareJid,
    password: Option<Password>,
    contacts: HashMap<BareJid, usize>,
    at: String,
    bytes: usize,
    now: SystemTime,
}

/// Something that does not come along, in words that are the same for all of its kind.
pub(crate) type LeftOut = String;

impl Builder {
    /// An account of that name, on a host that is called `theirs` where it comes from and `ours` here.
    ///
    /// # Errors
    ///
    /// In words: it cannot be a name.
    pub(crate) fn new(
        name: &str,
        (theirs, ours): &(String, String),
        at: String,
        now: SystemTime,
    ) -> Result<Builder, String> {
        let address = |host: &str| match parse_bare(&format!("{name}@{host}")) {
            Ok(jid) if jid.node().is_some() && jid.domain().as_str() == host => Ok(jid),
            Ok(_) => Err(format!("`{name}` is not the name of an account")),
            Err(error) => Err(format!("`{name}` is not the name of an account: {error}")),
        };
        Ok(Builder {
            account: WholeAccount::new(address(ours)?),
            theirs: address(theirs)?,
            password: None,
            contacts: HashMap::new(),
            at,
            bytes: 0,
            now,
        })
    }

    /// The address it will have.
    pub(crate) fn address(&self) -> &BareJid {
        &self.account.address
    }

    /// What it has so far.
    pub(crate) fn account(&mut self) -> &mut WholeAccount {
        &mut self.account
    }

    /// Counts what was read of it.
    ///
    /// # Errors
    ///
    /// It is more than an account may hold.
    pub(crate) fn weigh(&mut self, bytes: usize) -> Result<(), String> {
        self.bytes += bytes;
        if self.bytes > MOST_BYTES {
            return Err(format!("the account holds more than {MOST_BYTES} bytes"));
        }
        Ok(())
    }

    /// Sets its password. An empty one is none.
    pub(crate) fn password(&mut self, password: Password) {
        self.password = Some(password);
    }

    /// Adds the keys of a mechanism.
    ///
    /// # Errors
    ///
    /// In words: the keys cannot be used, or there are some of that mechanism already.
    pub(crate) fn keys(&mut self, mechanism: &str, keys: &ScramKeys) -> Result<(), String> {
        let credential = keys.credential(mechanism)?;
        let same = |other: &Credential| other.kind == credential.kind;
        if self.account.credentials.iter().any(same) {
            return Err(format!("two credentials for {mechanism}"));
        }
        self.account.credentials.push(credential);
        Ok(())
    }

    /// Adds a contact; of two for one address the later one holds.
    pub(crate) fn contact(&mut self, item: RosterItem) {
        let asked = self
            .entry(&item.jid)
            .and_then(|item| item.pending_in.take());
        let pending_in = item.pending_in.clone().or(asked);
        let pending_in = pending_in.filter(|_| !item.subscription.has_from());
        let item = RosterItem { pending_in, ..item };
        match self.contacts.get(&item.jid) {
            Some(number) => self.account.roster[*number] = item,
            None => {
                self.contacts
                    .insert(item.jid.clone(), self.account.roster.len());
                self.account.roster.push(item);
            }
        }
    }

    /// Notes that somebody has asked to see the account: a `<presence type='subscribe'/>`.
    ///
    /// # Errors
    ///
    /// It is left out: nobody can tell who asked.
    pub(crate) fn asked(&mut self, presence: &str) -> Result<(), LeftOut> {
        let unreadable = || "subscription requests that cannot be read".to_owned();
        let stanza = Stanza::parse(presence).map_err(|_| unreadable())?;
        let subscribes =
            stanza.kind() == Kind::Presence && stanza.presence_type() == PresenceType::Subscribe;
        let Some(contact) = stanza.from().map(Jid::to_bare).filter(|_| subscribes) else {
            return Err(unreadable());
        };
        let request = stanza
            .edit()
            .from(Jid::from(contact.clone()))
            .to(Jid::from(self.account.address.clone()));
        let request = request.finish().to_xml();
        match self.entry(&contact) {
            Some(item) if item.subscription.has_from() => {}
            Some(item) => item.pending_in = Some(request),
            None => self.contact(RosterItem::asking(contact, request)),
        }
        Ok(())
    }

    fn entry(&mut self, contact: &BareJid) -> Option<&mut RosterItem> {
        let number = *self.contacts.get(contact)?;
        self.account.roster.get_mut(number)
    }

    /// Adds a message that waits for the account. `received` is when it came; where that is not told, the `<delay/>`
    /// of the host says so.
    ///
    /// # Errors
    ///
    /// It is left out: it cannot be read.
    pub(crate) fn message(
        &mut self,
        message: &str,
        received: Option<SystemTime>,
    ) -> Result<(), LeftOut> {
        let stanza = Stanza::parse(message).ok();
        let stanza = stanza.filter(|stanza| stanza.kind() == Kind::Message);
        let stanza = stanza.ok_or("messages that cannot be read")?;
        let hosts = [self.theirs.domain(), self.account.address.domain()];
        // The host's own stamp goes: it is written anew when the message is handed out.
        let mut stamp = None;
        let mut own = Vec::new();
        let children = stanza.dom().children().enumerate();
        for (number, delay) in children.filter(|(_, child)| child.is("delay", ns::DELAY)) {
            let from = delay.attr("from");
            if from.is_none_or(|from| hosts.iter().any(|host| host.as_str() == from)) {
                own.push(number);
                stamp = delay.attr("stamp").and_then(parse_date_time).or(stamp);
            }
        }
        let mut number = 0;
        let is_own = |_: &xmpp::Child| {
            number += 1;
            own.contains(&(number - 1))
        };
        let to = self.reached(stanza.to());
        let stanza = stanza.edit().remove(is_own).to(to).finish();
        self.account.offline.push(OfflineMessage {
            stanza: stanza.to_xml(),
            received: received.or(stamp).unwrap_or(self.now),
            expires: None,
            place: None,
        });
        Ok(())
    }

    /// The address that a message to the account had, here.
    fn reached(&self, to: Option<&Jid>) -> Jid {
        let ours = &self.account.address;
        let resource = to
            .filter(|to| to.to_bare() == self.theirs)
            .and_then(Jid::resource);
        match resource {
            Some(resource) => Jid::from(ours.with_resource(resource)),
            None => Jid::from(ours.clone()),
        }
    }

    /// Adds private data: an element that stands alone. Several of one name are kept together.
    ///
    /// # Errors
    ///
    /// It is left out: it has no namespace of its own.
    pub(crate) fn private(
        &mut self,
        name: &str,
        namespace: &str,
        xml: &str,
    ) -> Result<(), LeftOut> {
        if ["", ns::PRIVATE, ns::CLIENT].contains(&namespace) {
            return Err("private data without a namespace of its own".to_owned());
        }
        let mut all = self.account.private.iter_mut();
        match all.find(|data| data.name == name && data.namespace == namespace) {
            Some(same) => same.xml.push_str(xml),
            None => self.account.private.push(PrivateData {
                name: name.to_owned(),
                namespace: namespace.to_owned(),
                xml: xml.to_owned(),
            }),
        }
        Ok(())
    }

    /// The account as it was found.
    pub(crate) fn finish(mut self) -> Draft {
        let by_kind = |a: &Credential, b: &Credential| a.kind.cmp(&b.kind);
        self.account.credentials.sort_by(by_kind);
        Draft {
            account: self.account,
            password: self.password,
            at: self.at,
        }
    }
}

/// A contact out of its parts. An address with a resource stands for its account or gateway.
///
/// # Errors
///
/// It is left out: its address cannot be read, or its subscription is not known.
pub(crate) fn contact(
    address: Option<&str>,
    name: Option<&str>,
    subscription: Option<&str>,
) -> Result<RosterItem, LeftOut> {
    let jid = address.and_then(|address| parse_jid(address).ok());
    let jid = jid.ok_or("contacts whose address cannot be read")?;
    let subscription = match subscription {
        None => Subscription::None,
        Some(word) => {
            Subscription::from_word(word).ok_or("contacts whose subscription is not known")?
        }
    };
    Ok(RosterItem {
        name: name.map(clean).filter(|name| !name.is_empty()),
        subscription,
        ..RosterItem::new(jid.to_bare())
    })
}

/// A text without characters that XML cannot carry.
pub(crate) fn clean(text: &str) -> String {
    let can_be = |c: &char| !matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
    text.chars().filter(can_be).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder() -> Builder {
        let hosts = ("old.example".to_owned(), "a.example".to_owned());
        let built = Builder::new("alice", &hosts, "here".to_owned(), SystemTime::UNIX_EPOCH);
        built.unwrap_or_else(|why| panic!("{why}"))
    }

    #[test]
    fn an_account_is_bounded() {
        let mut builder = builder();
        assert_eq!(builder.weigh(MOST_BYTES), Ok(()));
        let told = builder.weigh(1).unwrap_err();
        assert_eq!(told, "the account holds more than 67108864 bytes");
    }

    #[test]
    fn a_contact_is_there_once_whatever_it_asked() {
        let mut builder = builder();
        let request = |from: &str| format!("<presence type='subscribe' from='{from}'/>");
        builder.asked(&request("bob@b.example/r")).unwrap();
        builder.asked(&request("dan@b.example")).unwrap();
        let bob = contact(Some("bob@b.example"), Some("Bob"), Some("to")).unwrap();
        builder.contact(bob.clone());
        builder.contact(RosterItem {
            name: Some("Robert".to_owned()),
            ..bob
        });
        let dan = contact(Some("Dan@B.example/gate"), None, Some("both")).unwrap();
        builder.contact(dan);
        builder.asked(&request("dan@b.example")).unwrap();
        let roster = builder.finish().account.roster;
        assert_eq!(roster.len(), 2);
        let asked = roster[0].pending_in.as_deref().unwrap_or_default();
        assert!(
            asked.contains("from=\"bob@b.example\" to=\"alice@a.example\""),
            "{asked}"
        );
        assert_eq!(
            (roster[0].name.as_deref(), roster[0].listed),
            (Some("Robert"), true)
        );
        // Who is seen already need not ask.
        assert_eq!(
            (roster[1].jid.as_str(), &roster[1].pending_in),
            ("dan@b.example", &None)
        );
    }

    #[test]
    fn a_message_is_from_when_its_host_says() {
        let delay = |from: &str, stamp: u8| {
            format!("<delay xmlns='urn:xmpp:delay'{from} stamp='1970-01-01T00:00:{stamp:02}Z'/>")
        };
        let host = " from='old.example'";
        for (delays, received, kept) in [
            (String::new(), 0, 0),
            (delay(host, 5), 5, 0),
            (delay("", 6), 6, 0),
            (delay(" from='room@c.example'", 7), 0, 1),
            (delay(" from='room@c.example'", 7) + &delay(host, 8), 8, 1),
            (delay(host, 9) + &delay(host, 10), 10, 0),
        ] {
            let mut builder = builder();
            let message = format!(
                "<message to='alice@old.example/r' from='x@y'>{delays}<body>b</body></message>"
            );
            builder.message(&message, None).unwrap();
            let message = builder.finish().account.offline.remove(0);
            let since = message
                .received
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap();
            assert_eq!(since.as_secs(), received, "{delays}");
            assert_eq!(message.stanza.matches("<delay").count(), kept, "{delays}");
            assert!(
                message.stanza.contains("to=\"alice@a.example/r\""),
                "{}",
                message.stanza
            );
        }
    }

    #[test]
    fn control_characters_go() {
        assert_eq!(clean("a\u{0}b\u{1f}\tc\n\u{ffff}é"), "ab\tc\né");
    }
}
