//! Invitations: who may make an account here, or become a contact, without being asked (XEP-0401, XEP-0445).

use std::time::SystemTime;

use xmpp::BareJid;

use crate::Answer;

/// What an invitation is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InviteKind {
    /// To be a contact of whoever made it.
    Contact {
        /// It is good for an account as well.
        may_register: bool,
    },
    /// To make an account.
    Account {
        /// The one name it is for; nobody else gets it meanwhile.
        name: Option<String>,
        /// The new account and whoever made the invitation become contacts.
        befriend: bool,
    },
}

/// An invitation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    /// What proves it; nobody can guess it.
    pub token: String,
    /// The host that it is to.
    pub host: String,
    /// The account that made it; none: the host's operator.
    pub inviter: Option<BareJid>,
    /// What it is good for.
    pub kind: InviteKind,
    /// When it was made.
    pub created: SystemTime,
    /// When it ends.
    pub expires: SystemTime,
    /// How often it can be used.
    pub max_uses: u32,
    /// How often it was used.
    pub uses: u32,
}

impl Invite {
    /// Whether it can be used at this time.
    pub fn is_good(&self, now: SystemTime) -> bool {
        self.uses < self.max_uses && now < self.expires
    }

    /// Whether it lets somebody make an account.
    pub fn registers(&self) -> bool {
        match self.kind {
            InviteKind::Contact { may_register } => may_register,
            InviteKind::Account { .. } => true,
        }
    }
}

impl Invite {
    /// Its link (XEP-0401 §4.1, §4.4).
    pub fn uri(&self) -> String {
        let token = &self.token;
        match &self.kind {
            InviteKind::Contact { may_register } => {
                let who = self.inviter.as_ref().map(BareJid::to_string);
                let who = who.unwrap_or_else(|| self.host.clone());
                let ibr = if *may_register { ";ibr=y" } else { "" };
                format!("xmpp:{}?roster;preauth={token}{ibr}", escaped(&who))
            }
            InviteKind::Account { name, .. } => {
                let who = match name {
                    Some(name) => format!("{name}@{}", self.host),
                    None => self.host.clone(),
                };
                format!("xmpp:{}?register;preauth={token}", escaped(&who))
            }
        }
    }
}

/// An address as it stands in a link (RFC 5122 §2.2).
fn escaped(jid: &str) -> String {
    let mut out = String::with_capacity(jid.len());
    for byte in jid.bytes() {
        match byte {
            b'a'..=b'z'
            | b'A'..=b'Z'
            | b'0'..=b'9'
            | b'-'
            | b'.'
            | b'_'
            | b'~'
            | b'@'
            | b'!'
            | b'$'
            | b'('
            | b')'
            | b'*'
            | b'+'
            | b','
            | b'['
            | b']'
            | b':' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// The store of invitations.
pub trait InviteStore: Send + Sync {
    /// Keeps a new invitation. One that an account made goes with the account.
    fn create(&self, invite: Invite) -> Answer<'_, ()>;

    /// The invitation of that token to the host, used up, expired or not.
    fn get<'a>(&'a self, host: &'a str, token: &'a str) -> Answer<'a, Option<Invite>>;

    /// Counts a use, if one is left; `false` if none is. Expiry is not asked.
    fn take<'a>(&'a self, host: &'a str, token: &'a str) -> Answer<'a, bool>;

    /// Takes a use back that came to nothing.
    fn give_back<'a>(&'a self, host: &'a str, token: &'a str) -> Answer<'a, ()>;

    /// Whether a good invitation at this time is for that name.
    fn reserves<'a>(&'a self, host: &'a str, name: &'a str, now: SystemTime) -> Answer<'a, bool>;

    /// The invitations to a host, the oldest first.
    fn list<'a>(&'a self, host: &'a str) -> Answer<'a, Vec<Invite>>;

    /// Takes an invitation back; `false` if there was none.
    fn remove<'a>(&'a self, host: &'a str, token: &'a str) -> Answer<'a, bool>;

    /// Removes what expired at or before `before`; how many there were.
    fn expire(&self, before: SystemTime) -> Answer<'_, u64>;
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn links_say_what_an_invitation_is_good_for() {
        let link = |inviter: Option<&str>, kind| {
            Invite {
                token: "T".into(),
                host: "x.example".into(),
                inviter: inviter.map(|jid| xmpp::parse_bare(jid).expect("a JID")),
                kind,
                created: UNIX_EPOCH,
                expires: UNIX_EPOCH,
                max_uses: 1,
                uses: 0,
            }
            .uri()
        };
        let contact = |may_register| InviteKind::Contact { may_register };
        let account = |name: Option<&str>| InviteKind::Account {
            name: name.map(str::to_owned),
            befriend: false,
        };
        for (is, expected) in [
            (
                link(Some("romeo@x.example"), contact(true)),
                "xmpp:romeo@x.example?roster;preauth=T;ibr=y",
            ),
            (
                link(Some("r?meo#ä@x.example"), contact(false)),
                "xmpp:r%3Fmeo%23%C3%A4@x.example?roster;preauth=T",
            ),
            (
                link(None, account(Some("juliet"))),
                "xmpp:juliet@x.example?register;preauth=T",
            ),
            (
                link(None, account(None)),
                "xmpp:x.example?register;preauth=T",
            ),
        ] {
            assert_eq!(is, expected);
        }
    }
}
