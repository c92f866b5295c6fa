//! Shared roster groups as rows. Who sees whom is worked out by the database, at the moment it is asked.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};
use xmpp::BareJid;

use super::client::Client;
use super::failure::{Failure, jid_of, key};
use crate::{Answer, GroupStore, SharedContact, SharedGroup, Subscription};

/// The step of the schema that brings the groups.
pub(super) const SCHEMA: &str = "
    CREATE TABLE shared_group (
        host TEXT NOT NULL,
        name TEXT NOT NULL,
        label TEXT NOT NULL,
        everybody INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (host, name)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX shared_group_everybody ON shared_group (host) WHERE everybody = 1;
    CREATE TABLE shared_display (                      -- members of `name` see those of `displayed`
        host TEXT NOT NULL,
        name TEXT NOT NULL,
        displayed TEXT NOT NULL,
        PRIMARY KEY (host, name, displayed)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX shared_display_displayed ON shared_display (host, displayed);
    CREATE TABLE shared_member (
        host TEXT NOT NULL,
        local TEXT NOT NULL,
        name TEXT NOT NULL,
        PRIMARY KEY (host, local, name)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX shared_member_name ON shared_member (host, name);
    ";

/// The groups that an account is in, as `mine`.
const MINE: &str = "WITH mine AS (
        SELECT name FROM shared_member WHERE host = ?1 AND local = ?2
        UNION SELECT g.name FROM shared_group g INDEXED BY shared_group_everybody CROSS JOIN account a ON a.host = g.host AND a.local = ?2
            WHERE g.host = ?1 AND g.everybody = 1 AND a.removed IS NULL
    )";

/// The groups whose members the account sees.
const SEEN: &str = "SELECT displayed FROM shared_display WHERE host = ?1 AND name IN mine";

/// The groups whose members see the account.
const SEEING: &str = "SELECT name FROM shared_display WHERE host = ?1 AND displayed IN mine";

/// The store of groups.
pub(super) struct SqliteGroups(pub(super) Client);

impl GroupStore for SqliteGroups {
    fn all<'a>(&'a self, host: &'a str) -> Answer<'a, Vec<SharedGroup>> {
        Box::pin(async move {
            let host = host.to_owned();
            self.0
                .read("read shared groups", move |connection| {
                    all(connection, &host)
                })
                .await
        })
    }

    fn put<'a>(
        &'a self,
        host: &'a str,
        name: &'a str,
        label: &'a str,
        displays: Vec<String>,
    ) -> Answer<'a, bool> {
        Box::pin(async move {
            let doubt = self.0.known().no_groups.doubt(host);
            let (host, name, label) = (host.to_owned(), name.to_owned(), label.to_owned());
            self.0
                .write("keep a shared group", 0, move |connection| {
                    let _held = &doubt;
                    let is_new = !is_there(connection, &host, &name)?;
                    connection
                        .prepare_cached(
                            "INSERT INTO shared_group (host, name, label) VALUES (?1, ?2, ?3)
                             ON CONFLICT DO UPDATE SET label = excluded.label",
                        )?
                        .execute(params![host, name, label])?;
                    connection
                        .prepare_cached("DELETE FROM shared_display WHERE host = ?1 AND name = ?2")?
                        .execute(params![host, name])?;
                    let mut insert = connection.prepare_cached(
                        "INSERT OR IGNORE INTO shared_display (host, name, displayed) VALUES (?1, ?2, ?3)",
                    )?;
                    for displayed in &displays {
                        insert.execute(params![host, name, displayed])?;
                    }
                    Ok(is_new)
                })
                .await
        })
    }

    fn remove<'a>(&'a self, host: &'a str, name: &'a str) -> Answer<'a, bool> {
        Box::pin(async move {
            let (host, name) = (host.to_owned(), name.to_owned());
            self.0
                .write("remove a shared group", 0, move |connection| {
                    let mut removed = 0;
                    for statement in [
                        "DELETE FROM shared_member WHERE host = ?1 AND name = ?2",
                        "DELETE FROM shared_display WHERE host = ?1 AND (name = ?2 OR displayed = ?2)",
                        "DELETE FROM shared_group WHERE host = ?1 AND name = ?2",
                    ] {
                        removed = connection
                            .prepare_cached(statement)?
                            .execute(params![host, name])?;
                    }
                    Ok(removed > 0)
                })
                .await
        })
    }

    fn set_everybody<'a>(
        &'a self,
        host: &'a str,
        name: &'a str,
        everybody: bool,
    ) -> Answer<'a, bool> {
        Box::pin(async move {
            let (host, name) = (host.to_owned(), name.to_owned());
            self.0
                .write("change a shared group", 0, move |connection| {
                    let changed = connection
                        .prepare_cached(
                            "UPDATE shared_group SET everybody = ?3 WHERE host = ?1 AND name = ?2",
                        )?
                        .execute(params![host, name, everybody])?;
                    Ok(changed > 0)
                })
                .await
        })
    }

    fn add<'a>(&'a self, name: &'a str, member: &'a BareJid) -> Answer<'a, bool> {
        Box::pin(async move {
            let (name, member) = (name.to_owned(), member.clone());
            self.0
                .write("add to a shared group", 0, move |connection| {
                    let (host, local) = key(&member);
                    if !is_there(connection, host, &name)? {
                        return Ok(false);
                    }
                    connection
                        .prepare_cached(
                            "INSERT OR IGNORE INTO shared_member (host, local, name) VALUES (?1, ?2, ?3)",
                        )?
                        .execute(params![host, local, name])?;
                    Ok(true)
                })
                .await
        })
    }

    fn take<'a>(&'a self, name: &'a str, member: &'a BareJid) -> Answer<'a, bool> {
        Box::pin(async move {
            let (name, member) = (name.to_owned(), member.clone());
            self.0
                .write("take from a shared group", 0, move |connection| {
                    let (host, local) = key(&member);
                    let taken = connection
                        .prepare_cached(
                            "DELETE FROM shared_member WHERE host = ?1 AND local = ?2 AND name = ?3",
                        )?
                        .execute(params![host, local, name])?;
                    Ok(taken > 0)
                })
                .await
        })
    }

    fn contacts<'a>(
        &'a self,
        account: &'a BareJid,
        only: Option<&'a BareJid>,
    ) -> Answer<'a, Vec<SharedContact>> {
        Box::pin(async move {
            let known = &self.0.known().no_groups;
            let host = account.domain();
            let asked = match known.ask(host.as_str()) {
                Ok(()) => return Ok(Vec::new()),
                Err(asked) => asked,
            };
            let (account, only) = (account.clone(), only.cloned());
            if only
                .as_ref()
                .is_some_and(|only| only.domain() != account.domain())
            {
                return Ok(Vec::new());
            }
            let (contacts, no_groups) = self
                .0
                .read("work out shared contacts", move |connection| {
                    let contacts = contacts(connection, &account, only.as_ref())?;
                    let no_groups = contacts.is_empty() && is_without(connection, &account)?;
                    Ok((contacts, no_groups))
                })
                .await?;
            if no_groups {
                known.note(asked, host.as_str(), (), 1);
            }
            Ok(contacts)
        })
    }
}

/// Tells whether the account's host has no groups.
fn is_without(connection: &Connection, account: &BareJid) -> Result<bool, Failure> {
    let (host, _) = key(account);
    let found = connection
        .prepare_cached("SELECT 1 FROM shared_group WHERE host = ?1")?
        .exists([host])?;
    Ok(!found)
}

fn is_there(connection: &Connection, host: &str, name: &str) -> Result<bool, Failure> {
    let found = connection
        .prepare_cached("SELECT 1 FROM shared_group WHERE host = ?1 AND name = ?2")?
        .exists(params![host, name])?;
    Ok(found)
}

fn all(connection: &Connection, host: &str) -> Result<Vec<SharedGroup>, Failure> {
    let mut groups = connection
        .prepare_cached(
            "SELECT name, label, everybody FROM shared_group WHERE host = ?1 ORDER BY name",
        )?
        .query_map([host], |row| {
            Ok(SharedGroup {
                name: row.get(0)?,
                label: row.get(1)?,
                everybody: row.get(2)?,
                members: Vec::new(),
                displays: Vec::new(),
            })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut members = connection.prepare_cached(
        "SELECT local FROM shared_member WHERE host = ?1 AND name = ?2 ORDER BY local",
    )?;
    let mut displays = connection.prepare_cached(
        "SELECT displayed FROM shared_display WHERE host = ?1 AND name = ?2 ORDER BY displayed",
    )?;
    for group in &mut groups {
        let locals = members
            .query_map(params![host, group.name], |row| row.get(0))?
            .collect::<rusqlite::Result<Vec<String>>>()?;
        group.members = locals
            .iter()
            .map(|local| jid_of(host, local))
            .collect::<Result<_, _>>()?;
        group.displays = displays
            .query_map(params![host, group.name], |row| row.get(0))?
            .collect::<rusqlite::Result<Vec<_>>>()?;
    }
    Ok(groups)
}

/// Names and labels of the members of the groups that `groups` selects; of the one account alone where `one` is.
/// The joins are crossed so that the few groups are looked at before the many members.
fn members_of(groups: &str, one: bool) -> String {
    let (member, account) = if one {
        ("AND m.local = ?3", "AND a.local = ?3")
    } else {
        ("", "")
    };
    format!(
        "{MINE}
         SELECT m.local, g.label FROM shared_group g
             CROSS JOIN shared_member m ON m.host = g.host AND m.name = g.name {member}
             WHERE g.host = ?1 AND g.name IN ({groups})
         UNION
         SELECT a.local, g.label FROM shared_group g
             CROSS JOIN account a ON a.host = g.host AND a.removed IS NULL {account}
             WHERE g.host = ?1 AND g.everybody = 1 AND g.name IN ({groups})
         ORDER BY 1, 2"
    )
}

fn contacts(
    connection: &Connection,
    account: &BareJid,
    only: Option<&BareJid>,
) -> Result<Vec<SharedContact>, Failure> {
    let (host, local) = key(account);
    let select = |groups: &str| -> Result<Vec<(String, String)>, Failure> {
        let mut statement = connection.prepare_cached(&members_of(groups, only.is_some()))?;
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let rows = match only {
            Some(only) => statement.query_map(params![host, local, key(only).1], row)?,
            None => statement.query_map(params![host, local], row)?,
        };
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    };
    let mut found: BTreeMap<String, (Vec<String>, bool)> = BTreeMap::new();
    for (local, label) in select(SEEN)? {
        let labels = &mut found.entry(local).or_default().0;
        if !labels.contains(&label) {
            labels.push(label);
        }
    }
    for (local, _) in select(SEEING)? {
        found.entry(local).or_default().1 = true;
    }
    found.remove(local);
    let contact = |(local, (labels, sees)): (String, (Vec<String>, bool))| {
        let subscription = match (labels.is_empty(), sees) {
            (false, true) => Subscription::Both,
            (false, false) => Subscription::To,
            (true, _) => Subscription::From,
        };
        Ok(SharedContact {
            jid: jid_of(host, &local)?,
            labels,
            subscription,
        })
    };
    found.into_iter().map(contact).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::sqlite::schema;

    const HOST: &str = "a.example";
    const ACCOUNTS: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];
    const NAMES: [&str; 4] = ["one", "two", "three", "four"];

    /// Numbers that look random and are the same each time.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (self.0 >> 33) % bound
        }

        fn some<'a>(&mut self, of: &[&'a str]) -> Vec<&'a str> {
            of.iter().copied().filter(|_| self.below(3) == 0).collect()
        }
    }

    /// Who sees whom, worked out from the groups alone.
    fn expected(groups: &[SharedGroup], account: &str) -> Vec<SharedContact> {
        let is_in = |group: &SharedGroup, name: &str| {
            let named = group.members.iter().any(|jid| key(jid).1 == name);
            group.everybody || named
        };
        let labels = |viewer: &str, seen: &str| -> BTreeSet<String> {
            let mine = groups.iter().filter(|group| is_in(group, viewer));
            let shown: BTreeSet<&String> = mine.flat_map(|group| &group.displays).collect();
            let holds = |group: &&SharedGroup| shown.contains(&group.name) && is_in(group, seen);
            groups
                .iter()
                .filter(holds)
                .map(|group| group.label.clone())
                .collect()
        };
        let others = ACCOUNTS.iter().filter(|other| **other != account);
        others
            .filter_map(|other| {
                let (sees, seen) = (labels(account, other), labels(other, account));
                let subscription = match (sees.is_empty(), seen.is_empty()) {
                    (true, true) => return None,
                    (false, false) => Subscription::Both,
                    (false, true) => Subscription::To,
                    (true, false) => Subscription::From,
                };
                Some(SharedContact {
                    jid: jid_of(HOST, other).unwrap(),
                    labels: sees.into_iter().collect(),
                    subscription,
                })
            })
            .collect()
    }

    #[test]
    fn the_database_finds_what_the_groups_say() {
        let folder = tempfile::tempdir().unwrap();
        let path = schema::prepare(folder.path()).unwrap();
        let connection = schema::connect_to_write(&path).unwrap();
        connection
            .execute_batch("PRAGMA synchronous = OFF")
            .unwrap();
        for account in ACCOUNTS {
            let insert = "INSERT INTO account (host, local, created) VALUES (?1, ?2, 0)";
            connection.execute(insert, [HOST, account]).unwrap();
        }
        let mut numbers = Numbers(1);
        let mut both = 0;
        for round in 0..30 {
            connection
                .execute_batch("BEGIN; DELETE FROM shared_member; DELETE FROM shared_display; DELETE FROM shared_group;")
                .unwrap();
            for name in NAMES {
                // Two groups may bear one label.
                let label = ["L", "M", "N"][usize::try_from(numbers.below(3)).unwrap()];
                let everybody = numbers.below(8) == 0;
                let insert = "INSERT INTO shared_group VALUES (?1, ?2, ?3, ?4)";
                connection
                    .execute(insert, params![HOST, name, label, everybody])
                    .unwrap();
                for displayed in numbers.some(&NAMES) {
                    let insert = "INSERT INTO shared_display VALUES (?1, ?2, ?3)";
                    connection.execute(insert, [HOST, name, displayed]).unwrap();
                }
                for member in numbers.some(&ACCOUNTS) {
                    let insert = "INSERT INTO shared_member VALUES (?1, ?2, ?3)";
                    connection.execute(insert, [HOST, member, name]).unwrap();
                }
            }
            connection.execute_batch("COMMIT").unwrap();
            let groups = all(&connection, HOST).unwrap();
            for account in ACCOUNTS {
                let account_jid = jid_of(HOST, account).unwrap();
                let found = contacts(&connection, &account_jid, None).unwrap();
                assert_eq!(
                    found,
                    expected(&groups, account),
                    "round {round}: {account} in {groups:?}"
                );
                both += found
                    .iter()
                    .filter(|c| c.subscription == Subscription::Both)
                    .count();
                for other in ACCOUNTS.iter().filter(|other| **other != account) {
                    let only = jid_of(HOST, other).unwrap();
                    let one = contacts(&connection, &account_jid, Some(&only)).unwrap();
                    let of_all: Vec<_> = found.iter().filter(|c| c.jid == only).cloned().collect();
                    assert_eq!(one, of_all, "round {round}: {account} and {other}");
                }
            }
        }
        assert!(both > 50, "the groups are not empty");
    }
}
