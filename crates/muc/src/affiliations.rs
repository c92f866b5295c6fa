//! Who belongs to a room, there or not: affiliations, reserved nicknames and their versions (XEP-0045 §5.2, XEP-0463).

use std::collections::{BTreeMap, HashMap};

use ahash::RandomState;
use storage::{Affiliated, Affiliation};
use xmpp::BareJid;

/// The affiliations of a room.
///
/// Invariant: `nicks` names exactly those of `rows` that reserve a nickname, and no nickname is reserved twice.
#[derive(Debug, Default)]
pub(crate) struct Affiliations {
    /// By address. Those with [`Affiliation::None`] are marks of what was, kept for XEP-0463.
    rows: BTreeMap<BareJid, Affiliated>,
    nicks: HashMap<String, BareJid, RandomState>,
    version: i64,
}

impl Affiliations {
    /// Those that were stored, of that version.
    pub(crate) fn restored(rows: Vec<Affiliated>, version: i64) -> Affiliations {
        let mut affiliations = Affiliations {
            version,
            ..Affiliations::default()
        };
        for row in rows {
            affiliations.put(row);
        }
        affiliations
    }

    /// The affiliation of an account: its own, else that of its whole domain (§9.2).
    pub(crate) fn of(&self, who: &BareJid) -> Affiliation {
        let own = self.rows.get(who).map(|row| row.affiliation);
        match own {
            Some(own) if own != Affiliation::None => own,
            _ => match BareJid::new(who.domain().as_str()) {
                Ok(domain) if domain != *who => self
                    .rows
                    .get(&domain)
                    .map_or(Affiliation::None, |row| row.affiliation),
                _ => Affiliation::None,
            },
        }
    }

    /// All that is known of an account.
    pub(crate) fn row(&self, who: &BareJid) -> Option<&Affiliated> {
        self.rows
            .get(who)
            .filter(|row| row.affiliation != Affiliation::None)
    }

    /// The nickname that is an account's alone.
    pub(crate) fn nick_of(&self, who: &BareJid) -> Option<&str> {
        self.row(who)?.nick.as_deref()
    }

    /// Whose nickname it is.
    pub(crate) fn owner_of(&self, nick: &str) -> Option<&BareJid> {
        self.nicks.get(nick)
    }

    /// Those with that affiliation, by address.
    pub(crate) fn with(&self, affiliation: Affiliation) -> impl Iterator<Item = &Affiliated> {
        self.rows
            .values()
            .filter(move |row| row.affiliation == affiliation)
    }

    /// How many have one.
    pub(crate) fn len(&self) -> usize {
        self.rows
            .values()
            .filter(|row| row.affiliation != Affiliation::None)
            .count()
    }

    /// What changed behind a version, by address; `None` if it is none of ours.
    pub(crate) fn since(&self, version: i64) -> Option<Vec<&Affiliated>> {
        (0..=self.version).contains(&version).then(|| {
            let changed = self.rows.values().filter(|row| row.version > version);
            changed.collect()
        })
    }

    /// All that there are.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Affiliated> {
        self.rows
            .values()
            .filter(|row| row.affiliation != Affiliation::None)
    }

    /// The version they are of.
    pub(crate) fn version(&self) -> i64 {
        self.version
    }

    /// Takes a row in; its version becomes the room's if it is later.
    pub(crate) fn put(&mut self, row: Affiliated) {
        if let Some(before) = self.rows.get(&row.jid)
            && let Some(nick) = &before.nick
        {
            self.nicks.remove(nick);
        }
        if let Some(nick) = &row.nick {
            self.nicks.insert(nick.clone(), row.jid.clone());
        }
        self.version = self.version.max(row.version);
        self.rows.insert(row.jid.clone(), row);
    }

    /// How many owners there are but for these.
    pub(crate) fn owners_without(&self, but: &[&BareJid]) -> usize {
        self.with(Affiliation::Owner)
            .filter(|row| !but.contains(&&row.jid))
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jid(text: &str) -> BareJid {
        BareJid::new(text).expect("an address")
    }

    fn row(who: &str, affiliation: Affiliation, nick: Option<&str>, version: i64) -> Affiliated {
        Affiliated {
            jid: jid(who),
            affiliation,
            nick: nick.map(str::to_owned),
            reason: None,
            version,
        }
    }

    #[test]
    fn an_account_comes_before_its_domain() {
        let rows = vec![
            row("bad.example", Affiliation::Outcast, None, 1),
            row("good@bad.example", Affiliation::Member, None, 2),
        ];
        let all = Affiliations::restored(rows, 2);
        assert_eq!(all.of(&jid("x@bad.example")), Affiliation::Outcast);
        assert_eq!(all.of(&jid("bad.example")), Affiliation::Outcast);
        assert_eq!(all.of(&jid("good@bad.example")), Affiliation::Member);
        assert_eq!(all.of(&jid("x@c.example")), Affiliation::None);
    }

    #[test]
    fn nicknames_go_with_their_rows() {
        let mut all = Affiliations::default();
        all.put(row("a@x", Affiliation::Member, Some("Al"), 1));
        assert_eq!(all.owner_of("Al"), Some(&jid("a@x")));
        all.put(row("a@x", Affiliation::Member, Some("Alf"), 2));
        assert_eq!(all.owner_of("Al"), None);
        assert_eq!(all.owner_of("Alf"), Some(&jid("a@x")));
        all.put(row("a@x", Affiliation::None, None, 3));
        assert_eq!(
            (all.owner_of("Alf"), all.nick_of(&jid("a@x"))),
            (None, None)
        );
        assert_eq!(all.len(), 0);
        let since = |version| all.since(version).map(|rows| rows.len());
        assert_eq!((since(2), since(3), since(4)), (Some(1), Some(0), None));
    }
}
