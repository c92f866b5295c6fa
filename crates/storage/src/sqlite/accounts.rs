//! Accounts and credentials as rows.

use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, params};
use xmpp::BareJid;

use super::client::Client;
use super::failure::{Failure, from_millis, jid_of, key, to_millis};
use super::roster;
use crate::{Account, Accounts, Answer, Credential, Role};

/// Every table whose rows belong to an owner, except `account` itself, in the order they can be emptied.
const OWNED: &[&str] = &[
    "credential",
    "roster_item",
    "roster_pending",
    "roster_removal",
    "roster_version",
    "offline",
    "offline_total",
    "archive",
    "message",
    "privacy_list",
    "privacy_item",
    "private",
    "vcard",
    "last",
    "welcomed",
    "shared_member",
    "motd_seen",
    "invite",
    "api_token",
    "upload",
];

/// The store of accounts.
pub(super) struct SqliteAccounts(pub(super) Client);

impl Accounts for SqliteAccounts {
    fn create<'a>(
        &'a self,
        account: &'a BareJid,
        credentials: Vec<Credential>,
    ) -> Answer<'a, bool> {
        Box::pin(async move {
            let account = account.clone();
            let now = self.0.now();
            let bytes = size_of(&credentials);
            let doubts = self.0.known().doubt_account(&account);
            self.0
                .write("create an account", bytes, move |connection| {
                    let _held = &doubts;
                    create(connection, &account, &credentials, now)
                })
                .await
        })
    }

    fn exists<'a>(&'a self, account: &'a BareJid) -> Answer<'a, bool> {
        Box::pin(async move {
            let known = &self.0.known().exists;
            let asked = match known.ask(account.as_str()) {
                Ok(()) => return Ok(true),
                Err(asked) => asked,
            };
            let whose = account.clone();
            let exists = self
                .0
                .read("look up an account", move |connection| {
                    exists(connection, &whose)
                })
                .await?;
            if exists {
                known.note(asked, account.as_str(), (), 1);
            }
            Ok(exists)
        })
    }

    fn remove<'a>(&'a self, account: &'a BareJid) -> Answer<'a, bool> {
        Box::pin(async move {
            let account = account.clone();
            let now = self.0.now();
            let doubts = self.0.known().doubt_account(&account);
            self.0.late().forget(&account);
            self.0
                .write("remove an account", 0, move |connection| {
                    let _held = &doubts;
                    remove(connection, &account, now)
                })
                .await
        })
    }

    fn removed<'a>(&'a self, account: &'a BareJid) -> Answer<'a, Option<SystemTime>> {
        Box::pin(async move {
            let account = account.clone();
            self.0
                .read("look up a removed account", move |connection| {
                    let (host, local) = key(&account);
                    let removed: Option<Option<i64>> = connection
                        .prepare_cached(
                            "SELECT removed FROM account WHERE host = ?1 AND local = ?2 AND released = 0",
                        )?
                        .query_row(params![host, local], |row| row.get(0))
                        .optional()?;
                    Ok(removed.flatten().map(from_millis))
                })
                .await
        })
    }

    fn release<'a>(&'a self, account: &'a BareJid) -> Answer<'a, bool> {
        Box::pin(async move {
            let account = account.clone();
            self.0
                .write("release a name", 0, move |connection| {
                    let (host, local) = key(&account);
                    let changed = connection
                        .prepare_cached(
                            "UPDATE account SET released = 1
                             WHERE host = ?1 AND local = ?2 AND removed IS NOT NULL AND released = 0",
                        )?
                        .execute(params![host, local])?;
                    Ok(changed > 0)
                })
                .await
        })
    }

    fn list<'a>(
        &'a self,
        host: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> Answer<'a, Vec<BareJid>> {
        Box::pin(async move {
            let (host, after) = (host.to_owned(), after.map(str::to_owned));
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            self.0
                .read("list accounts", move |connection| {
                    let mut statement = connection.prepare_cached(
                        "SELECT local FROM account
                         WHERE host = ?1 AND (?2 IS NULL OR local > ?2) AND removed IS NULL
                         ORDER BY local LIMIT ?3",
                    )?;
                    let locals = statement
                        .query_map(params![host, after, limit], |row| row.get(0))?
                        .collect::<rusqlite::Result<Vec<String>>>()?;
                    locals.iter().map(|local| jid_of(&host, local)).collect()
                })
                .await
        })
    }

    fn count<'a>(&'a self, host: &'a str) -> Answer<'a, u64> {
        Box::pin(async move {
            let host = host.to_owned();
            self.0
                .read("count accounts", move |connection| {
                    let count: i64 = connection
                        .prepare_cached(
                            "SELECT count(*) FROM account WHERE host = ?1 AND removed IS NULL",
                        )?
                        .query_row(params![host], |row| row.get(0))?;
                    Ok(count.unsigned_abs())
                })
                .await
        })
    }

    fn credentials<'a>(&'a self, account: &'a BareJid) -> Answer<'a, Option<Account>> {
        Box::pin(async move {
            let account = account.clone();
            self.0
                .read("read credentials", move |connection| {
                    read(connection, &account)
                })
                .await
        })
    }

    fn set_credentials<'a>(
        &'a self,
        account: &'a BareJid,
        credentials: Vec<Credential>,
    ) -> Answer<'a, bool> {
        Box::pin(async move {
            let account = account.clone();
            let bytes = size_of(&credentials);
            self.0
                .write("set credentials", bytes, move |connection| {
                    if !exists(connection, &account)? {
                        return Ok(false);
                    }
                    put_credentials(connection, &account, &credentials)?;
                    Ok(true)
                })
                .await
        })
    }

    fn upgrade_credentials<'a>(
        &'a self,
        account: &'a BareJid,
        seen: Credential,
        credentials: Vec<Credential>,
    ) -> Answer<'a, bool> {
        Box::pin(async move {
            let account = account.clone();
            let bytes = size_of(&credentials);
            self.0
                .write("upgrade credentials", bytes, move |connection| {
                    let found = read(connection, &account)?;
                    if !found.is_some_and(|found| found.credentials.contains(&seen)) {
                        return Ok(false);
                    }
                    put_credentials(connection, &account, &credentials)?;
                    Ok(true)
                })
                .await
        })
    }

    fn any_lacks<'a>(&'a self, host: &'a str, kind: &'a str) -> Answer<'a, bool> {
        Box::pin(async move {
            let (host, kind) = (host.to_owned(), kind.to_owned());
            self.0
                .read("look for missing credentials", move |connection| {
                    let lacks = connection
                        .prepare_cached(
                            "SELECT 1 FROM credential c WHERE c.host = ?1 AND NOT EXISTS (
                                 SELECT 1 FROM credential k
                                 WHERE k.host = c.host AND k.local = c.local AND k.kind = ?2)
                             LIMIT 1",
                        )?
                        .exists(params![host, kind])?;
                    Ok(lacks)
                })
                .await
        })
    }

    fn role<'a>(&'a self, account: &'a BareJid) -> Answer<'a, Option<Role>> {
        Box::pin(async move {
            let account = account.clone();
            self.0
                .read("read a role", move |connection| {
                    let (host, local) = key(&account);
                    let word: Option<String> = connection
                        .prepare_cached(
                            "SELECT role FROM account WHERE host = ?1 AND local = ?2 AND removed IS NULL",
                        )?
                        .query_row(params![host, local], |row| row.get(0))
                        .optional()?;
                    word.as_deref().map(role_of).transpose()
                })
                .await
        })
    }

    fn set_role<'a>(&'a self, account: &'a BareJid, role: Role) -> Answer<'a, bool> {
        Box::pin(async move {
            let account = account.clone();
            self.0
                .write("set a role", 0, move |connection| {
                    let (host, local) = key(&account);
                    let changed = connection
                        .prepare_cached(
                            "UPDATE account SET role = ?3 WHERE host = ?1 AND local = ?2 AND removed IS NULL",
                        )?
                        .execute(params![host, local, role.as_str()])?;
                    Ok(changed > 0)
                })
                .await
        })
    }

    fn set_disabled<'a>(&'a self, account: &'a BareJid, disabled: bool) -> Answer<'a, bool> {
        Box::pin(async move {
            let account = account.clone();
            self.0
                .write("disable an account", 0, move |connection| {
                    let (host, local) = key(&account);
                    let changed = connection
                        .prepare_cached(
                            "UPDATE account SET disabled = ?3 WHERE host = ?1 AND local = ?2 AND removed IS NULL",
                        )?
                        .execute(params![host, local, disabled])?;
                    Ok(changed > 0)
                })
                .await
        })
    }
}

fn size_of(credentials: &[Credential]) -> usize {
    credentials
        .iter()
        .map(|credential| credential.kind.len() + credential.parameters.len())
        .sum()
}

fn role_of(word: &str) -> Result<Role, Failure> {
    Role::from_word(word).ok_or_else(|| Failure::Damaged(format!("`{word}` is no role")))
}

pub(super) fn exists(connection: &Connection, account: &BareJid) -> Result<bool, Failure> {
    let (host, local) = key(account);
    let exists = connection
        .prepare_cached("SELECT 1 FROM account WHERE host = ?1 AND local = ?2 AND removed IS NULL")?
        .exists(params![host, local])?;
    Ok(exists)
}

pub(super) fn create(
    connection: &Connection,
    account: &BareJid,
    credentials: &[Credential],
    now: SystemTime,
) -> Result<bool, Failure> {
    let (host, local) = key(account);
    if local.is_empty() {
        return Err(Failure::Invalid(format!("`{account}` has no local part")));
    }
    let taken = connection
        .prepare_cached(
            "SELECT 1 FROM account WHERE host = ?1 AND local = ?2 AND (removed IS NULL OR released = 0)",
        )?
        .exists(params![host, local])?;
    if taken {
        return Ok(false);
    }
    // Something may have been written for the name before anybody had it; its owner must not see it.
    empty(connection, account)?;
    connection
        .prepare_cached(
            "INSERT INTO account (host, local, created) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET role = 'user', disabled = 0, created = excluded.created,
                 removed = NULL, released = 0",
        )?
        .execute(params![host, local, to_millis(now)])?;
    put_credentials(connection, account, credentials)?;
    Ok(true)
}

fn remove(connection: &Connection, account: &BareJid, now: SystemTime) -> Result<bool, Failure> {
    if !exists(connection, account)? {
        return Ok(false);
    }
    start_over(connection, account)?;
    let (host, local) = key(account);
    connection
        .prepare_cached(
            "UPDATE account SET removed = ?3, released = 0, role = 'user', disabled = 0
             WHERE host = ?1 AND local = ?2",
        )?
        .execute(params![host, local, to_millis(now)])?;
    Ok(true)
}

/// Removes everything an account has but its name and role.
pub(super) fn start_over(connection: &Connection, account: &BareJid) -> Result<(), Failure> {
    // A client of the old account may come back with a version of the old roster; the new roster's
    // versions must not meet it.
    let floor = roster::current(connection, account)?.version + 1;
    empty(connection, account)?;
    let (host, local) = key(account);
    connection
        .prepare_cached("UPDATE account SET roster_floor = ?3 WHERE host = ?1 AND local = ?2")?
        .execute(params![host, local, floor])?;
    Ok(())
}

/// Removes everything the owner has, in all tables but `account`.
fn empty(connection: &Connection, owner: &BareJid) -> Result<(), Failure> {
    let (host, local) = key(owner);
    for table in OWNED {
        connection
            .prepare_cached(&format!(
                "DELETE FROM {table} WHERE host = ?1 AND local = ?2"
            ))?
            .execute(params![host, local])?;
    }
    Ok(())
}

pub(super) fn put_credentials(
    connection: &Connection,
    account: &BareJid,
    credentials: &[Credential],
) -> Result<(), Failure> {
    let (host, local) = key(account);
    connection
        .prepare_cached("DELETE FROM credential WHERE host = ?1 AND local = ?2")?
        .execute(params![host, local])?;
    let mut insert = connection.prepare_cached(
        "INSERT OR REPLACE INTO credential (host, local, kind, parameters) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for credential in credentials {
        insert.execute(params![host, local, credential.kind, credential.parameters])?;
    }
    Ok(())
}

pub(super) fn read(connection: &Connection, account: &BareJid) -> Result<Option<Account>, Failure> {
    let (host, local) = key(account);
    let found = connection
        .prepare_cached(
            "SELECT role, disabled, created FROM account WHERE host = ?1 AND local = ?2 AND removed IS NULL",
        )?
        .query_row(params![host, local], |row| {
            Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    let Some((role, disabled, created)) = found else {
        return Ok(None);
    };
    let mut statement = connection.prepare_cached(
        "SELECT kind, parameters FROM credential WHERE host = ?1 AND local = ?2 ORDER BY kind",
    )?;
    let credentials = statement
        .query_map(params![host, local], |row| {
            Ok(Credential {
                kind: row.get(0)?,
                parameters: row.get(1)?,
            })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(Some(Account {
        credentials,
        role: role_of(&role)?,
        disabled,
        created: from_millis(created),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::schema;

    /// A table with an owner that is not emptied would leave a removed account's data to its successor.
    #[test]
    fn every_table_with_an_owner_is_emptied() {
        let folder = tempfile::tempdir().unwrap();
        let path = schema::prepare(folder.path()).unwrap();
        let connection = schema::connect_to_read(&path).unwrap();
        let mut statement = connection
            .prepare(
                "SELECT t.name FROM sqlite_schema t
                 WHERE t.type = 'table'
                   AND EXISTS (SELECT 1 FROM pragma_table_info(t.name) WHERE name = 'host')
                   AND EXISTS (SELECT 1 FROM pragma_table_info(t.name) WHERE name = 'local')
                   AND t.name <> 'account'
                 ORDER BY t.name",
            )
            .unwrap();
        let with_owner = statement
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<rusqlite::Result<Vec<String>>>()
            .unwrap();
        for table in &with_owner {
            let guarded: bool = connection
                .prepare("SELECT 1 FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1 AND name = ?1 || '_owner'")
                .unwrap()
                .exists([table])
                .unwrap();
            assert!(
                guarded,
                "a removed account could still be written to in {table}"
            );
        }
        let mut emptied: Vec<String> = OWNED.iter().map(|table| (*table).to_owned()).collect();
        emptied.sort();
        assert_eq!(with_owner, emptied);
    }

    /// The tables whose rows have an owner: all of them, also those of stores that come later.
    fn with_owner(connection: &Connection) -> Vec<String> {
        connection
            .prepare(
                "SELECT t.name FROM sqlite_schema t
                 WHERE t.type = 'table'
                   AND EXISTS (SELECT 1 FROM pragma_table_info(t.name) WHERE name = 'host')
                   AND EXISTS (SELECT 1 FROM pragma_table_info(t.name) WHERE name = 'local')
                 ORDER BY t.name <> 'account', t.name <> 'message', t.name",
            )
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<rusqlite::Result<Vec<String>>>()
            .unwrap()
    }

    /// Writes a row of this owner: some value in every column that has to have one.
    fn fill(connection: &Connection, table: &str, owner: &BareJid) -> rusqlite::Result<usize> {
        let (host, local) = key(owner);
        let columns = connection
            .prepare("SELECT name, type FROM pragma_table_info(?1) WHERE \"notnull\" = 1")?
            .query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<Vec<(String, String)>>>()?;
        let value = |(name, kind): &(String, String)| match (name.as_str(), kind.as_str()) {
            ("host", _) => format!("'{host}'"),
            ("local", _) => format!("'{local}'"),
            ("message", "INTEGER") => "(SELECT max(id) FROM message)".to_owned(),
            ("role", _) => "'user'".to_owned(),
            (_, "INTEGER") => "0".to_owned(),
            (_, "BLOB") => "x'00'".to_owned(),
            _ => format!("'{local}'"),
        };
        let values: Vec<String> = columns.iter().map(value).collect();
        let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
        let (names, values) = (names.join(", "), values.join(", "));
        connection.execute(
            &format!("INSERT OR REPLACE INTO {table} ({names}) VALUES ({values})"),
            [],
        )
    }

    fn rows(connection: &Connection, table: &str, owner: &BareJid) -> i64 {
        let (host, local) = key(owner);
        connection
            .query_row(
                &format!("SELECT count(*) FROM {table} WHERE host = ?1 AND local = ?2"),
                [host, local],
                |row| row.get(0),
            )
            .unwrap()
    }

    #[test]
    fn a_removed_account_leaves_a_tombstone_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = schema::prepare(folder.path()).unwrap();
        let connection = schema::connect_to_write(&path).unwrap();
        let [alice, bob] =
            ["alice@a.example", "bob@a.example"].map(|jid| BareJid::new(jid).unwrap());
        let tables = with_owner(&connection);
        assert!(tables.len() > 10, "{tables:?}");
        for owner in [&bob, &alice] {
            for table in &tables {
                fill(&connection, table, owner).unwrap_or_else(|error| panic!("{table}: {error}"));
                assert!(rows(&connection, table, owner) > 0, "{table}");
            }
        }
        assert!(remove(&connection, &alice, SystemTime::UNIX_EPOCH).unwrap());
        for table in &tables {
            let left = i64::from(table == "account");
            assert_eq!(rows(&connection, table, &alice), left, "{table}");
            assert!(rows(&connection, table, &bob) > 0, "{table}");
            if table != "account" {
                assert!(
                    fill(&connection, table, &alice).is_err(),
                    "{table} takes more"
                );
            }
        }
        assert!(!exists(&connection, &alice).unwrap());
        assert!(!create(&connection, &alice, &[], SystemTime::UNIX_EPOCH).unwrap());
    }
}
