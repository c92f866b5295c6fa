//! Private data, vCards and last activity as rows.

use rusqlite::{Connection, OptionalExtension, params};
use xmpp::BareJid;

use super::accounts;
use super::client::Client;
use super::failure::{Failure, from_millis, key, to_millis};
use crate::{Answer, LastSeen, LastStore, PrivateData, PrivateStore, VcardStore};

/// The store of private data.
pub(super) struct SqlitePrivate(pub(super) Client);

impl PrivateStore for SqlitePrivate {
    fn get<'a>(
        &'a self,
        owner: &'a BareJid,
        name: &'a str,
        namespace: &'a str,
    ) -> Answer<'a, Option<String>> {
        Box::pin(async move {
            let owner = owner.clone();
            let (name, namespace) = (name.to_owned(), namespace.to_owned());
            self.0
                .read("read private data", move |connection| {
                    let (host, local) = key(&owner);
                    let found = connection
                        .prepare_cached(
                            "SELECT xml FROM private
                             WHERE host = ?1 AND local = ?2 AND namespace = ?3 AND name = ?4",
                        )?
                        .query_row(params![host, local, namespace, name], |row| row.get(0))
                        .optional()?;
                    Ok(found)
                })
                .await
        })
    }

    fn all<'a>(&'a self, owner: &'a BareJid) -> Answer<'a, Vec<PrivateData>> {
        Box::pin(async move {
            let owner = owner.clone();
            self.0
                .read("read all private data", move |connection| {
                    all_private(connection, &owner)
                })
                .await
        })
    }

    fn put<'a>(
        &'a self,
        owner: &'a BareJid,
        data: Vec<PrivateData>,
        max_bytes: u64,
    ) -> Answer<'a, bool> {
        Box::pin(async move {
            let owner = owner.clone();
            let bytes = data.iter().map(|data| data.xml.len()).sum();
            self.0
                .write("keep private data", bytes, move |connection| {
                    put_private(connection, &owner, &data, max_bytes)
                })
                .await
        })
    }
}

/// All private data of an owner, by namespace and name.
pub(super) fn all_private(
    connection: &Connection,
    owner: &BareJid,
) -> Result<Vec<PrivateData>, Failure> {
    let (host, local) = key(owner);
    let mut statement = connection.prepare_cached(
        "SELECT name, namespace, xml FROM private
         WHERE host = ?1 AND local = ?2 ORDER BY namespace, name",
    )?;
    let data = statement
        .query_map(params![host, local], |row| {
            Ok(PrivateData {
                name: row.get(0)?,
                namespace: row.get(1)?,
                xml: row.get(2)?,
            })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(data)
}

pub(super) fn put_private(
    connection: &Connection,
    owner: &BareJid,
    data: &[PrivateData],
    max_bytes: u64,
) -> Result<bool, Failure> {
    let (host, local) = key(owner);
    let mut kept = connection.prepare_cached(
        "SELECT name, namespace, length(CAST(xml AS BLOB)) FROM private WHERE host = ?1 AND local = ?2",
    )?;
    let kept = kept
        .query_map(params![host, local], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?
        .collect::<rusqlite::Result<Vec<(String, String, i64)>>>()?;
    let is_replaced = |name: &str, namespace: &str| {
        data.iter()
            .any(|new| new.name == name && new.namespace == namespace)
    };
    let staying: u64 = kept
        .iter()
        .filter(|(name, namespace, _)| !is_replaced(name, namespace))
        .map(|(.., bytes)| bytes.unsigned_abs())
        .sum();
    let coming: u64 = data.iter().map(|new| new.xml.len() as u64).sum();
    if staying + coming > max_bytes {
        return Ok(false);
    }
    let mut insert = connection.prepare_cached(
        "INSERT INTO private (host, local, namespace, name, xml) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO UPDATE SET xml = excluded.xml",
    )?;
    for new in data {
        insert.execute(params![host, local, new.namespace, new.name, new.xml])?;
    }
    Ok(true)
}

/// The store of vCards.
pub(super) struct SqliteVcard(pub(super) Client);

impl VcardStore for SqliteVcard {
    fn get<'a>(&'a self, owner: &'a BareJid) -> Answer<'a, Option<String>> {
        Box::pin(async move {
            let owner = owner.clone();
            self.0
                .read("read a vCard", move |connection| {
                    self::vcard(connection, &owner)
                })
                .await
        })
    }

    fn put<'a>(&'a self, owner: &'a BareJid, vcard: String) -> Answer<'a, ()> {
        Box::pin(async move {
            let owner = owner.clone();
            self.0
                .write("keep a vCard", vcard.len(), move |connection| {
                    put_vcard(connection, &owner, &vcard)
                })
                .await
        })
    }
}

/// The owner's vCard.
pub(super) fn vcard(connection: &Connection, owner: &BareJid) -> Result<Option<String>, Failure> {
    let (host, local) = key(owner);
    let found = connection
        .prepare_cached("SELECT xml FROM vcard WHERE host = ?1 AND local = ?2")?
        .query_row(params![host, local], |row| row.get(0))
        .optional()?;
    Ok(found)
}

/// Replaces the owner's vCard.
pub(super) fn put_vcard(
    connection: &Connection,
    owner: &BareJid,
    vcard: &str,
) -> Result<(), Failure> {
    let (host, local) = key(owner);
    connection
        .prepare_cached(
            "INSERT INTO vcard (host, local, xml) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET xml = excluded.xml",
        )?
        .execute(params![host, local, vcard])?;
    Ok(())
}

/// The store of last activity.
pub(super) struct SqliteLast(pub(super) Client);

impl LastStore for SqliteLast {
    fn seen<'a>(&'a self, account: &'a BareJid) -> Answer<'a, Option<LastSeen>> {
        Box::pin(async move {
            let late = self.0.late().get(account);
            let account = account.clone();
            self.0
                .read("read last activity", move |connection| match &late {
                    Some(seen) if accounts::exists(connection, &account)? => Ok(Some(seen.clone())),
                    _ => last_seen(connection, &account),
                })
                .await
        })
    }

    fn remember<'a>(&'a self, account: &'a BareJid, seen: LastSeen) -> Answer<'a, ()> {
        Box::pin(async move { self.0.late().note(account, seen) })
    }

    fn welcome<'a>(&'a self, account: &'a BareJid) -> Answer<'a, bool> {
        Box::pin(async move {
            let account = account.clone();
            let (reading, writing) = (account.clone(), account);
            let known = self
                .0
                .read("look up a welcome", move |connection| {
                    let (host, local) = key(&reading);
                    let known = connection
                        .prepare_cached("SELECT 1 FROM welcomed WHERE host = ?1 AND local = ?2")?
                        .exists(params![host, local])?;
                    Ok(known)
                })
                .await?;
            if known {
                return Ok(false);
            }
            self.0
                .write("note a welcome", 0, move |connection| {
                    let (host, local) = key(&writing);
                    let changed = connection
                        .prepare_cached(
                            "INSERT INTO welcomed (host, local)
                             SELECT host, local FROM account
                             WHERE host = ?1 AND local = ?2 AND removed IS NULL
                             ON CONFLICT DO NOTHING",
                        )?
                        .execute(params![host, local])?;
                    Ok(changed > 0)
                })
                .await
        })
    }
}

/// When an account was last seen.
pub(super) fn last_seen(
    connection: &Connection,
    account: &BareJid,
) -> Result<Option<LastSeen>, Failure> {
    let (host, local) = key(account);
    let found = connection
        .prepare_cached("SELECT at, status FROM last WHERE host = ?1 AND local = ?2")?
        .query_row(params![host, local], |row| {
            Ok(LastSeen {
                at: from_millis(row.get(0)?),
                status: row.get(1)?,
            })
        })
        .optional()?;
    Ok(found)
}

/// Notes when an account was last seen, unless it was removed: its last session ends behind that.
pub(super) fn remember(
    connection: &Connection,
    account: &BareJid,
    seen: &LastSeen,
) -> Result<(), Failure> {
    let (host, local) = key(account);
    connection
        .prepare_cached(
            "INSERT INTO last (host, local, at, status)
             SELECT host, local, ?3, ?4 FROM account
             WHERE host = ?1 AND local = ?2 AND removed IS NULL
             ON CONFLICT DO UPDATE SET at = excluded.at, status = excluded.status",
        )?
        .execute(params![host, local, to_millis(seen.at), seen.status])?;
    Ok(())
}
