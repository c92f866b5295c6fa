//! The offline queue as rows: each refers to a message; triggers keep the totals.

use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, params};
use xmpp::BareJid;

use super::client::Client;
use super::failure::{Failure, from_millis, key, to_millis};
use crate::{Answer, OfflineEntry, OfflineId, OfflineLimits, OfflineMessage, OfflineStore, Stored};

/// How many messages one transaction of a clean-up removes, so that others get their turn.
const PORTION: i64 = 1000;

/// The store of messages for those who are away.
pub(super) struct SqliteOffline(pub(super) Client);

impl OfflineStore for SqliteOffline {
    fn store<'a>(
        &'a self,
        owner: &'a BareJid,
        message: OfflineMessage,
        limits: OfflineLimits,
    ) -> Answer<'a, Stored> {
        Box::pin(async move {
            let owner = owner.clone();
            let now = self.0.now();
            let doubt = self.0.known().no_offline.doubt(owner.as_str());
            self.0
                .write(
                    "store an offline message",
                    message.stanza.len(),
                    move |connection| {
                        let _held = &doubt;
                        store(connection, &owner, &message, limits, now)
                    },
                )
                .await
        })
    }

    fn page<'a>(
        &'a self,
        owner: &'a BareJid,
        after: Option<OfflineId>,
        limit: usize,
    ) -> Answer<'a, Vec<OfflineEntry>> {
        Box::pin(async move {
            let known = &self.0.known().no_offline;
            let asked = match known.ask(owner.as_str()) {
                Ok(()) => return Ok(Vec::new()),
                Err(asked) => asked,
            };
            let whose = owner.clone();
            let now = to_millis(self.0.now());
            let from_the_first = after.is_none() && limit > 0;
            let after = after.map_or(0, |id| id.0);
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let page = self
                .0
                .read("read offline messages", move |connection| {
                    let (host, local) = key(&whose);
                    let mut statement = connection.prepare_cached(
                        "SELECT m.id, m.public_id, m.stanza, m.received, o.expires
                         FROM offline o JOIN message m ON m.id = o.message
                         WHERE o.host = ?1 AND o.local = ?2 AND o.message > ?3
                           AND (o.expires IS NULL OR o.expires > ?4)
                         ORDER BY o.message LIMIT ?5",
                    )?;
                    let entries = statement
                        .query_map(params![host, local, after, now, limit], |row| {
                            Ok(OfflineEntry {
                                id: OfflineId(row.get(0)?),
                                public_id: row.get(1)?,
                                message: OfflineMessage {
                                    stanza: row.get(2)?,
                                    received: from_millis(row.get(3)?),
                                    expires: row.get::<_, Option<i64>>(4)?.map(from_millis),
                                    place: None,
                                },
                            })
                        })?
                        .collect::<rusqlite::Result<Vec<_>>>()?;
                    Ok(entries)
                })
                .await?;
            if page.is_empty() && from_the_first {
                known.note(asked, owner.as_str(), (), 1);
            }
            Ok(page)
        })
    }

    fn remove<'a>(&'a self, owner: &'a BareJid, ids: &'a [OfflineId]) -> Answer<'a, u64> {
        Box::pin(async move {
            let (owner, ids) = (owner.clone(), ids.to_vec());
            self.0
                .write(
                    "remove offline messages",
                    size_of_val(ids.as_slice()),
                    move |connection| remove(connection, &owner, &ids),
                )
                .await
        })
    }

    fn clear<'a>(&'a self, owner: &'a BareJid) -> Answer<'a, u64> {
        Box::pin(async move {
            let owner = owner.clone();
            self.0
                .write("clear an offline queue", 0, move |connection| {
                    let (host, local) = key(&owner);
                    let removed = connection
                        .prepare_cached("DELETE FROM offline WHERE host = ?1 AND local = ?2")?
                        .execute(params![host, local])?;
                    Ok(removed as u64)
                })
                .await
        })
    }

    fn count<'a>(&'a self, owner: &'a BareJid) -> Answer<'a, u64> {
        Box::pin(async move {
            let owner = owner.clone();
            let now = to_millis(self.0.now());
            self.0
                .read("count offline messages", move |connection| {
                    let (host, local) = key(&owner);
                    let count: i64 = connection
                        .prepare_cached(
                            "SELECT count(*) FROM offline
                             WHERE host = ?1 AND local = ?2 AND (expires IS NULL OR expires > ?3)",
                        )?
                        .query_row(params![host, local, now], |row| row.get(0))?;
                    Ok(count.unsigned_abs())
                })
                .await
        })
    }

    fn expire(&self, before: SystemTime) -> Answer<'_, u64> {
        Box::pin(async move {
            let before = to_millis(before);
            let portion = move |connection: &Connection| {
                let removed = connection
                    .prepare_cached(
                        "DELETE FROM offline WHERE message IN
                         (SELECT message FROM offline WHERE expires <= ?1 LIMIT ?2)",
                    )?
                    .execute(params![before, PORTION])?;
                Ok(removed as u64)
            };
            self.in_portions("expire offline messages", portion).await
        })
    }

    fn remove_older<'a>(&'a self, host: &'a str, before: SystemTime) -> Answer<'a, u64> {
        Box::pin(async move {
            let (host, before) = (host.to_owned(), to_millis(before));
            let portion = move |connection: &Connection| {
                let removed = connection
                    .prepare_cached(
                        "DELETE FROM offline WHERE message IN
                         (SELECT o.message FROM offline o JOIN message m ON m.id = o.message
                          WHERE o.host = ?1 AND m.received < ?2 LIMIT ?3)",
                    )?
                    .execute(params![host, before, PORTION])?;
                Ok(removed as u64)
            };
            self.in_portions("remove old offline messages", portion)
                .await
        })
    }
}

impl SqliteOffline {
    /// Repeats a removal of up to [`PORTION`] messages until it finds fewer; how many they were.
    async fn in_portions(
        &self,
        what: &'static str,
        portion: impl FnMut(&Connection) -> Result<u64, Failure> + Clone + Send + 'static,
    ) -> Result<u64, crate::StorageError> {
        let mut total = 0;
        loop {
            let removed = self.0.write(what, 0, portion.clone()).await?;
            total += removed;
            if removed < PORTION.unsigned_abs() {
                return Ok(total);
            }
        }
    }
}

/// Keeps a message if the owner's limits allow it.
pub(super) fn store(
    connection: &Connection,
    owner: &BareJid,
    message: &OfflineMessage,
    limits: OfflineLimits,
    now: SystemTime,
) -> Result<Stored, Failure> {
    let (host, local) = key(owner);
    let bytes = message.stanza.len() as u64;
    if !fits(total(connection, owner)?, bytes, limits) {
        connection
            .prepare_cached("DELETE FROM offline WHERE host = ?1 AND local = ?2 AND expires <= ?3")?
            .execute(params![host, local, to_millis(now)])?;
        if !fits(total(connection, owner)?, bytes, limits) {
            return Ok(Stored::Full);
        }
    }
    connection
        .prepare_cached(
            "INSERT INTO message (id, public_id, host, local, received, stanza)
             SELECT CASE WHEN EXISTS (SELECT 1 FROM message WHERE id = ?6) THEN NULL ELSE ?6 END,
                    ?1, ?2, ?3, ?4, ?5",
        )?
        .execute(params![
            xmpp::random_id(),
            host,
            local,
            to_millis(message.received),
            message.stanza,
            message.place
        ])?;
    let id = connection.last_insert_rowid();
    connection
        .prepare_cached("INSERT INTO offline (host, local, message, expires, bytes) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![
            host,
            local,
            id,
            message.expires.map(to_millis),
            i64::try_from(bytes).unwrap_or(i64::MAX)
        ])?;
    Ok(Stored::Yes(OfflineId(id)))
}

/// Removes messages of an owner; how many there were.
pub(super) fn remove(
    connection: &Connection,
    owner: &BareJid,
    ids: &[OfflineId],
) -> Result<u64, Failure> {
    let (host, local) = key(owner);
    let mut statement = connection
        .prepare_cached("DELETE FROM offline WHERE host = ?1 AND local = ?2 AND message = ?3")?;
    let mut removed = 0;
    for id in ids {
        removed += statement.execute(params![host, local, id.0])? as u64;
    }
    Ok(removed)
}

/// How many messages and bytes the owner has.
fn total(connection: &Connection, owner: &BareJid) -> Result<(u64, u64), Failure> {
    let (host, local) = key(owner);
    let total: Option<(i64, i64)> = connection
        .prepare_cached("SELECT messages, bytes FROM offline_total WHERE host = ?1 AND local = ?2")?
        .query_row(params![host, local], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (messages, bytes) = total.unwrap_or((0, 0));
    Ok((messages.unsigned_abs(), bytes.unsigned_abs()))
}

fn fits((messages, total_bytes): (u64, u64), bytes: u64, limits: OfflineLimits) -> bool {
    messages < limits.messages && total_bytes.saturating_add(bytes) <= limits.bytes
}
