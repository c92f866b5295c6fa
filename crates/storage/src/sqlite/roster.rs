//! Rosters as rows: items, unanswered requests, removals, and one version per owner.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, params};
use xmpp::BareJid;

use super::client::Client;
use super::failure::{Failure, jid, key};
use crate::{Answer, Roster, RosterChange, RosterItem, RosterStore, RosterVersion, Subscription};

/// Joins groups in one column; no XML document can carry it (XML 1.0 §2.2).
const BETWEEN_GROUPS: char = '\u{1f}';

/// The columns [`item_of`] reads.
macro_rules! select_items {
    ($rest:literal) => {
        concat!(
            "SELECT i.contact, i.name, i.groups, i.subscription, i.ask, i.approved, p.stanza, i.version
             FROM roster_item i
             LEFT JOIN roster_pending p ON p.host = i.host AND p.local = i.local AND p.contact = i.contact
             WHERE i.host = ?1 AND i.local = ?2 ",
            $rest
        )
    };
}

/// The store of rosters.
pub(super) struct SqliteRoster(pub(super) Client);

impl RosterStore for SqliteRoster {
    fn get<'a>(&'a self, owner: &'a BareJid) -> Answer<'a, Roster> {
        Box::pin(async move {
            let known = &self.0.known().rosters;
            let asked = match known.ask(owner.as_str()) {
                Ok(roster) => return Ok(Roster::clone(&roster)),
                Err(asked) => asked,
            };
            let whose = owner.clone();
            let roster = self
                .0
                .read("read a roster", move |connection| {
                    let items = items(connection, &whose)?;
                    let version = current(connection, &whose)?.version;
                    Ok(Roster {
                        version: unsigned(version),
                        items,
                    })
                })
                .await?;
            let takes = 1 + roster.items.len();
            known.note(asked, owner.as_str(), Arc::new(roster.clone()), takes);
            Ok(roster)
        })
    }

    fn item<'a>(
        &'a self,
        owner: &'a BareJid,
        contact: &'a BareJid,
    ) -> Answer<'a, Option<RosterItem>> {
        Box::pin(async move {
            let (owner, contact) = (owner.clone(), contact.clone());
            self.0
                .read("read a roster item", move |connection| {
                    Ok(item(connection, &owner, &contact)?.map(|(item, _)| item))
                })
                .await
        })
    }

    fn version<'a>(&'a self, owner: &'a BareJid) -> Answer<'a, u64> {
        Box::pin(async move {
            let owner = owner.clone();
            self.0
                .read("read a roster's version", move |connection| {
                    Ok(unsigned(current(connection, &owner)?.version))
                })
                .await
        })
    }

    fn changes_since<'a>(
        &'a self,
        owner: &'a BareJid,
        version: u64,
    ) -> Answer<'a, Option<Vec<RosterChange>>> {
        Box::pin(async move {
            let owner = owner.clone();
            self.0
                .read("read a roster's changes", move |connection| {
                    changes_since(connection, &owner, version)
                })
                .await
        })
    }

    fn pending<'a>(&'a self, owner: &'a BareJid) -> Answer<'a, Vec<(BareJid, String)>> {
        Box::pin(async move {
            let known = &self.0.known().no_requests;
            let asked = match known.ask(owner.as_str()) {
                Ok(()) => return Ok(Vec::new()),
                Err(asked) => asked,
            };
            let whose = owner.clone();
            let requests = self
                .0
                .read("read subscription requests", move |connection| {
                    pending(connection, &whose)
                })
                .await?;
            if requests.is_empty() {
                known.note(asked, owner.as_str(), (), 1);
            }
            Ok(requests)
        })
    }
}

/// The roster its owner sees, in the order of the contacts.
pub(super) fn items(connection: &Connection, owner: &BareJid) -> Result<Vec<RosterItem>, Failure> {
    let (host, local) = key(owner);
    let mut statement = connection.prepare_cached(select_items!("ORDER BY i.contact"))?;
    let mut rows = statement.query(params![host, local])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.push(item_of(row)?.0);
    }
    Ok(items)
}

/// Who has asked to see the owner, and how; the oldest first.
pub(super) fn pending(
    connection: &Connection,
    owner: &BareJid,
) -> Result<Vec<(BareJid, String)>, Failure> {
    let (host, local) = key(owner);
    let mut statement = connection.prepare_cached(
        "SELECT contact, stanza FROM roster_pending WHERE host = ?1 AND local = ?2 ORDER BY number",
    )?;
    let mut rows = statement.query(params![host, local])?;
    let mut pending = Vec::new();
    while let Some(row) = rows.next()? {
        let contact: String = row.get(0)?;
        pending.push((jid(&contact)?, row.get(1)?));
    }
    Ok(pending)
}

/// The version of a roster and since when all its removals are remembered.
#[derive(Clone, Copy)]
pub(super) struct Current {
    pub(super) version: i64,
    complete_since: i64,
}

/// Reads the version of the owner's roster.
pub(super) fn current(connection: &Connection, owner: &BareJid) -> Result<Current, Failure> {
    let (host, local) = key(owner);
    let stored = connection
        .prepare_cached(
            "SELECT version, complete_since FROM roster_version WHERE host = ?1 AND local = ?2",
        )?
        .query_row(params![host, local], |row| {
            Ok(Current {
                version: row.get(0)?,
                complete_since: row.get(1)?,
            })
        })
        .optional()?;
    if let Some(current) = stored {
        return Ok(current);
    }
    let floor: Option<i64> = connection
        .prepare_cached("SELECT roster_floor FROM account WHERE host = ?1 AND local = ?2")?
        .query_row(params![host, local], |row| row.get(0))
        .optional()?;
    let floor = floor.unwrap_or(0);
    Ok(Current {
        version: floor,
        complete_since: floor,
    })
}

/// Sets all that is known of a contact.
pub(super) fn put(
    connection: &Connection,
    owner: &BareJid,
    item: &RosterItem,
    keep_removals: usize,
) -> Result<RosterVersion, Failure> {
    if let Some(group) = item
        .groups
        .iter()
        .find(|group| group.contains(BETWEEN_GROUPS))
    {
        return Err(Failure::Invalid(format!(
            "the group {group:?} has a control character"
        )));
    }
    put_pending(connection, owner, &item.jid, item.pending_in.as_deref())?;
    if !item.listed {
        return unlist(connection, owner, &item.jid, keep_removals);
    }
    let old = self::item(connection, owner, &item.jid)?;
    let now = current(connection, owner)?;
    let unchanged = old.filter(|(old, _)| old.looks_like(item));
    let changed = unchanged.is_none();
    let version = if changed {
        now.version + 1
    } else {
        now.version
    };
    let (host, local) = key(owner);
    if changed {
        set_current(connection, owner, Current { version, ..now })?;
        connection
            .prepare_cached(
                "DELETE FROM roster_removal WHERE host = ?1 AND local = ?2 AND contact = ?3",
            )?
            .execute(params![host, local, item.jid.as_str()])?;
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO roster_item
                 (host, local, contact, name, groups, subscription, ask, approved, version)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                host,
                local,
                item.jid.as_str(),
                item.name,
                joined(&item.groups),
                item.subscription.as_str(),
                item.ask,
                item.approved,
                version
            ])?;
    }
    Ok(RosterVersion {
        owner: owner.clone(),
        contact: item.jid.clone(),
        version: unsigned(version),
        changed,
    })
}

/// Forgets a contact and what it asked.
pub(super) fn remove(
    connection: &Connection,
    owner: &BareJid,
    contact: &BareJid,
    keep_removals: usize,
) -> Result<RosterVersion, Failure> {
    put_pending(connection, owner, contact, None)?;
    unlist(connection, owner, contact, keep_removals)
}

/// Takes a contact off the roster its owner sees, and remembers that.
fn unlist(
    connection: &Connection,
    owner: &BareJid,
    contact: &BareJid,
    keep_removals: usize,
) -> Result<RosterVersion, Failure> {
    let (host, local) = key(owner);
    let now = current(connection, owner)?;
    let was_listed = connection
        .prepare_cached("DELETE FROM roster_item WHERE host = ?1 AND local = ?2 AND contact = ?3")?
        .execute(params![host, local, contact.as_str()])?
        > 0;
    let mut version = now.version;
    if was_listed {
        version += 1;
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO roster_removal (host, local, contact, version) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![host, local, contact.as_str(), version])?;
        let forgotten = forget_removals(connection, owner, keep_removals)?;
        let complete_since = now.complete_since.max(forgotten.unwrap_or(0));
        set_current(
            connection,
            owner,
            Current {
                version,
                complete_since,
            },
        )?;
    }
    Ok(RosterVersion {
        owner: owner.clone(),
        contact: contact.clone(),
        version: unsigned(version),
        changed: was_listed,
    })
}

/// Keeps only the last removals; the version of the latest that is forgotten now.
fn forget_removals(
    connection: &Connection,
    owner: &BareJid,
    keep: usize,
) -> Result<Option<i64>, Failure> {
    let (host, local) = key(owner);
    let keep = i64::try_from(keep).unwrap_or(i64::MAX);
    let last: Option<i64> = connection
        .prepare_cached(
            "SELECT version FROM roster_removal WHERE host = ?1 AND local = ?2
             ORDER BY version DESC LIMIT 1 OFFSET ?3",
        )?
        .query_row(params![host, local, keep], |row| row.get(0))
        .optional()?;
    if let Some(last) = last {
        connection
            .prepare_cached(
                "DELETE FROM roster_removal WHERE host = ?1 AND local = ?2 AND version <= ?3",
            )?
            .execute(params![host, local, last])?;
    }
    Ok(last)
}

fn set_current(connection: &Connection, owner: &BareJid, current: Current) -> Result<(), Failure> {
    let (host, local) = key(owner);
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO roster_version (host, local, version, complete_since) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![host, local, current.version, current.complete_since])?;
    Ok(())
}

fn put_pending(
    connection: &Connection,
    owner: &BareJid,
    contact: &BareJid,
    stanza: Option<&str>,
) -> Result<(), Failure> {
    let (host, local) = key(owner);
    match stanza {
        Some(stanza) => connection
            .prepare_cached(
                "INSERT INTO roster_pending (host, local, contact, stanza) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (host, local, contact) DO UPDATE SET stanza = excluded.stanza",
            )?
            .execute(params![host, local, contact.as_str(), stanza])?,
        None => connection
            .prepare_cached(
                "DELETE FROM roster_pending WHERE host = ?1 AND local = ?2 AND contact = ?3",
            )?
            .execute(params![host, local, contact.as_str()])?,
    };
    Ok(())
}

/// What is known of a contact, and the version of its listed item.
fn item(
    connection: &Connection,
    owner: &BareJid,
    contact: &BareJid,
) -> Result<Option<(RosterItem, i64)>, Failure> {
    let (host, local) = key(owner);
    let mut statement = connection.prepare_cached(select_items!("AND i.contact = ?3"))?;
    let mut rows = statement.query(params![host, local, contact.as_str()])?;
    if let Some(row) = rows.next()? {
        return Ok(Some(item_of(row)?));
    }
    let asked: Option<String> = connection
        .prepare_cached(
            "SELECT stanza FROM roster_pending WHERE host = ?1 AND local = ?2 AND contact = ?3",
        )?
        .query_row(params![host, local, contact.as_str()], |row| row.get(0))
        .optional()?;
    Ok(asked.map(|stanza| (RosterItem::asking(contact.clone(), stanza), 0)))
}

fn changes_since(
    connection: &Connection,
    owner: &BareJid,
    version: u64,
) -> Result<Option<Vec<RosterChange>>, Failure> {
    let now = current(connection, owner)?;
    let Ok(since) = i64::try_from(version) else {
        return Ok(None);
    };
    if since > now.version || since < now.complete_since {
        return Ok(None);
    }
    let (host, local) = key(owner);
    let mut changes = Vec::new();
    let mut items = connection.prepare_cached(select_items!("AND i.version > ?3"))?;
    let mut rows = items.query(params![host, local, since])?;
    while let Some(row) = rows.next()? {
        let (item, version) = item_of(row)?;
        changes.push(RosterChange::Put(item, unsigned(version)));
    }
    let mut removals = connection.prepare_cached(
        "SELECT contact, version FROM roster_removal WHERE host = ?1 AND local = ?2 AND version > ?3",
    )?;
    let mut rows = removals.query(params![host, local, since])?;
    while let Some(row) = rows.next()? {
        let contact: String = row.get(0)?;
        changes.push(RosterChange::Removed(jid(&contact)?, unsigned(row.get(1)?)));
    }
    changes.sort_by_key(RosterChange::version);
    Ok(Some(changes))
}

/// The item of a row of [`select_items`], and its version.
fn item_of(row: &Row<'_>) -> Result<(RosterItem, i64), Failure> {
    let contact: String = row.get(0)?;
    let groups: String = row.get(2)?;
    let word: String = row.get(3)?;
    let subscription = Subscription::from_word(&word)
        .ok_or_else(|| Failure::Damaged(format!("`{word}` is no subscription")))?;
    let item = RosterItem {
        jid: jid(&contact)?,
        name: row.get(1)?,
        groups: split(&groups),
        subscription,
        ask: row.get(4)?,
        approved: row.get(5)?,
        pending_in: row.get(6)?,
        listed: true,
    };
    Ok((item, row.get(7)?))
}

/// The column of these groups: each followed by the separator, so that one empty group is not none.
fn joined(groups: &[String]) -> String {
    groups
        .iter()
        .flat_map(|group| group.chars().chain([BETWEEN_GROUPS]))
        .collect()
}

/// The groups of a column.
fn split(column: &str) -> Vec<String> {
    column
        .split_terminator(BETWEEN_GROUPS)
        .map(str::to_owned)
        .collect()
}

/// A version as others see it: never negative.
fn unsigned(version: i64) -> u64 {
    version.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_survive_their_column() {
        for groups in [vec![], vec![""], vec!["Friends"], vec!["", "a b", "\n", ""]] {
            let groups: Vec<String> = groups.into_iter().map(str::to_owned).collect();
            assert_eq!(split(&joined(&groups)), groups);
        }
    }

    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use crate::sqlite::schema;

    #[derive(Clone, Debug)]
    enum Step {
        Put {
            contact: u8,
            name: u8,
            ask: bool,
            pending: bool,
        },
        Ask {
            contact: u8,
        },
        Remove {
            contact: u8,
        },
    }

    fn step() -> impl Strategy<Value = Step> {
        let contact = 0..4_u8;
        prop_oneof![
            (contact.clone(), 0..3_u8, any::<bool>(), any::<bool>()).prop_map(
                |(contact, name, ask, pending)| Step::Put {
                    contact,
                    name,
                    ask,
                    pending
                }
            ),
            contact.clone().prop_map(|contact| Step::Ask { contact }),
            contact.prop_map(|contact| Step::Remove { contact }),
        ]
    }

    fn address(contact: u8) -> BareJid {
        jid(&format!("c{contact}@b.example")).unwrap()
    }

    fn listed(connection: &Connection, owner: &BareJid) -> BTreeMap<String, RosterItem> {
        (0..4)
            .filter_map(|contact| item(connection, owner, &address(contact)).unwrap())
            .filter(|(item, _)| item.listed)
            .map(|(item, _)| (item.jid.to_string(), item))
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

        /// Whoever knows the roster of any version and hears what changed since knows the present one.
        #[test]
        fn changes_lead_from_any_version_to_the_present(
            steps in proptest::collection::vec(step(), 1..40),
            keep in 0..5_usize,
        ) {
            let mut connection = Connection::open_in_memory().unwrap();
            schema::migrate(&mut connection, "memory".as_ref(), schema::MIGRATIONS, schema::Saved::Not).unwrap();
            let owner = jid("alice@a.example").unwrap();
            let mut seen = BTreeMap::from([(0, BTreeMap::new())]);
            for step in steps {
                let before = current(&connection, &owner).unwrap().version;
                let shown = listed(&connection, &owner);
                let change = match step {
                    Step::Put { contact, name, ask, pending } => {
                        let item = RosterItem {
                            name: (name > 0).then(|| name.to_string()),
                            ask,
                            pending_in: pending.then(|| "<presence/>".to_owned()),
                            ..RosterItem::new(address(contact))
                        };
                        put(&connection, &owner, &item, keep).unwrap()
                    }
                    Step::Ask { contact } => {
                        let asking = RosterItem::asking(address(contact), "<presence/>".to_owned());
                        put(&connection, &owner, &asking, keep).unwrap()
                    }
                    Step::Remove { contact } => remove(&connection, &owner, &address(contact), keep).unwrap(),
                };
                let version = current(&connection, &owner).unwrap().version;
                prop_assert_eq!(change.version, unsigned(version));
                prop_assert_eq!(version - before, i64::from(change.changed));
                let mut now = listed(&connection, &owner);
                let without_requests = |roster: &mut BTreeMap<String, RosterItem>| {
                    roster.values_mut().for_each(|item| item.pending_in = None);
                };
                let mut then = shown;
                without_requests(&mut now);
                without_requests(&mut then);
                prop_assert_eq!(now != then, change.changed);
                seen.insert(unsigned(version), now);
            }
            let newest = unsigned(current(&connection, &owner).unwrap().version);
            for (version, mut roster) in seen.clone() {
                let Some(changes) = changes_since(&connection, &owner, version).unwrap() else {
                    continue;
                };
                let mut last = version;
                for change in changes {
                    prop_assert!(change.version() > last);
                    last = change.version();
                    match change {
                        RosterChange::Put(mut item, _) => {
                            item.pending_in = None;
                            roster.insert(item.jid.to_string(), item);
                        }
                        RosterChange::Removed(jid, _) => drop(roster.remove(jid.as_str())),
                    }
                }
                prop_assert_eq!(&roster, &seen[&newest]);
            }
            prop_assert_eq!(changes_since(&connection, &owner, newest).unwrap(), Some(Vec::new()));
        }
    }
}
