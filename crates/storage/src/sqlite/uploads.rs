//! Uploads as rows.

use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OptionalExtension, Row, params};
use xmpp::BareJid;

use super::client::Client;
use super::failure::{Failure, from_millis, jid_of, key, to_millis};
use crate::{Answer, Reserved, Upload, UploadLimits, UploadStore};

/// The step of the schema that brings the table of this file.
pub(super) const SCHEMA: &str = "
    CREATE TABLE upload (
        id TEXT NOT NULL PRIMARY KEY,
        host TEXT NOT NULL,
        local TEXT NOT NULL,
        name TEXT NOT NULL,
        media TEXT NOT NULL,
        size INTEGER NOT NULL,
        created INTEGER NOT NULL,
        deadline INTEGER NOT NULL,                 -- of the slot
        stored INTEGER,                            -- none: nothing was put yet
        expires INTEGER NOT NULL,
        ends INTEGER AS (CASE WHEN stored IS NULL THEN deadline ELSE expires END) STORED
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX upload_owner ON upload (host, local, ends);
    CREATE INDEX upload_ends ON upload (host, ends);
";

const COLUMNS: &str = "id, host, local, name, media, size, created, deadline, stored, expires";

const DAY: Duration = Duration::from_secs(86_400);

/// The store of uploads.
pub(super) struct SqliteUploads(pub(super) Client);

impl UploadStore for SqliteUploads {
    fn reserve(&self, slot: Upload, limits: UploadLimits) -> Answer<'_, Reserved> {
        Box::pin(async move {
            let bytes = slot.name.len() + slot.media.len();
            self.0
                .write("open a slot for a file", bytes, move |connection| {
                    let reserved = room_for(connection, &slot, limits)?;
                    if reserved == Reserved::Yes {
                        insert(connection, &slot)?;
                    }
                    Ok(reserved)
                })
                .await
        })
    }

    fn find<'a>(&'a self, id: &'a str) -> Answer<'a, Option<Upload>> {
        Box::pin(async move {
            let id = id.to_owned();
            self.0
                .read("look up a file", move |connection| {
                    let found = connection
                        .prepare_cached(&format!("SELECT {COLUMNS} FROM upload WHERE id = ?1"))?
                        .query_row(params![id], |row| Ok(upload(row)))
                        .optional()?;
                    found.transpose()
                })
                .await
        })
    }

    fn stored<'a>(&'a self, id: &'a str, at: SystemTime) -> Answer<'a, bool> {
        Box::pin(async move {
            let id = id.to_owned();
            self.0
                .write("note a file", 0, move |connection| {
                    let changed = connection
                        .prepare_cached(
                            "UPDATE upload SET stored = ?2 WHERE id = ?1 AND stored IS NULL",
                        )?
                        .execute(params![id, to_millis(at)])?;
                    Ok(changed > 0)
                })
                .await
        })
    }

    fn list<'a>(
        &'a self,
        host: &'a str,
        owner: Option<&'a BareJid>,
        after: Option<&'a str>,
        limit: usize,
    ) -> Answer<'a, Vec<Upload>> {
        Box::pin(async move {
            let (host, after) = (host.to_owned(), after.unwrap_or_default().to_owned());
            let local = owner.map(|owner| key(owner).1.to_owned());
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            self.0
                .read("list files", move |connection| {
                    let mut statement = connection.prepare_cached(&format!(
                        "SELECT {COLUMNS} FROM upload
                         WHERE id > ?3 AND host = ?1 AND (?2 IS NULL OR local = ?2)
                         ORDER BY id LIMIT ?4"
                    ))?;
                    let mut rows = statement.query(params![host, local, after, limit])?;
                    let mut found = Vec::new();
                    while let Some(row) = rows.next()? {
                        found.push(upload(row)?);
                    }
                    Ok(found)
                })
                .await
        })
    }

    fn over<'a>(&'a self, host: &'a str, by: SystemTime, limit: usize) -> Answer<'a, Vec<Upload>> {
        Box::pin(async move {
            let host = host.to_owned();
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            self.0
                .read("look for old files", move |connection| {
                    let mut statement = connection.prepare_cached(&format!(
                        "SELECT {COLUMNS} FROM upload WHERE host = ?1 AND ends <= ?2 LIMIT ?3"
                    ))?;
                    let mut rows = statement.query(params![host, to_millis(by), limit])?;
                    let mut found = Vec::new();
                    while let Some(row) = rows.next()? {
                        found.push(upload(row)?);
                    }
                    Ok(found)
                })
                .await
        })
    }

    fn unknown(&self, ids: Vec<String>) -> Answer<'_, Vec<String>> {
        Box::pin(async move {
            self.0
                .read("look for files", move |connection| {
                    let mut known =
                        connection.prepare_cached("SELECT 1 FROM upload WHERE id = ?1")?;
                    let mut unknown = Vec::new();
                    for id in &ids {
                        if !known.exists(params![id])? {
                            unknown.push(id.clone());
                        }
                    }
                    Ok(unknown)
                })
                .await
        })
    }

    fn remove<'a>(&'a self, host: &'a str, ids: Vec<String>) -> Answer<'a, u64> {
        Box::pin(async move {
            let host = host.to_owned();
            let bytes = ids.iter().map(String::len).sum();
            self.0
                .write("forget files", bytes, move |connection| {
                    let mut removing = connection
                        .prepare_cached("DELETE FROM upload WHERE id = ?1 AND host = ?2")?;
                    let mut removed = 0;
                    for id in &ids {
                        removed += removing.execute(params![id, host])? as u64;
                    }
                    Ok(removed)
                })
                .await
        })
    }
}

fn insert(connection: &Connection, slot: &Upload) -> Result<(), Failure> {
    let (host, local) = key(&slot.owner);
    connection
        .prepare_cached(&format!(
            "INSERT INTO upload ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
        ))?
        .execute(params![
            slot.id,
            host,
            local,
            slot.name,
            slot.media,
            i64::try_from(slot.size).unwrap_or(i64::MAX),
            to_millis(slot.created),
            to_millis(slot.deadline),
            slot.stored.map(to_millis),
            to_millis(slot.expires)
        ])?;
    Ok(())
}

/// What an account has that counts: when it ends, when it came, its bytes.
struct Held {
    ends: i64,
    created: i64,
    size: u64,
}

/// Whether there is room for one more, else when there will be.
fn room_for(
    connection: &Connection,
    slot: &Upload,
    limits: UploadLimits,
) -> Result<Reserved, Failure> {
    if slot.size > limits.bytes || slot.size > limits.daily || limits.files == 0 {
        return Ok(Reserved::Full(None));
    }
    let (host, local) = key(&slot.owner);
    let now = to_millis(slot.created);
    let mut statement = connection.prepare_cached(
        "SELECT ends, created, size FROM upload
         WHERE host = ?1 AND local = ?2 AND ends > ?3 ORDER BY ends",
    )?;
    let held = statement
        .query_map(params![host, local, now], |row| {
            let size: i64 = row.get(2)?;
            Ok(Held {
                ends: row.get(0)?,
                created: row.get(1)?,
                size: size.unsigned_abs(),
            })
        })?
        .collect::<rusqlite::Result<Vec<Held>>>()?;

    let day = i64::try_from(DAY.as_millis()).unwrap_or(i64::MAX);
    let mut today: Vec<(i64, u64)> = held
        .iter()
        .filter(|held| held.created > now - day)
        // What ends sooner is forgotten sooner.
        .map(|held| (held.ends.min(held.created + day), held.size))
        .collect();
    today.sort_unstable();
    let all: Vec<(i64, u64)> = held.iter().map(|held| (held.ends, held.size)).collect();
    let each: Vec<(i64, u64)> = held.iter().map(|held| (held.ends, 1)).collect();
    let again = [
        again(&all, slot.size, limits.bytes),
        again(&today, slot.size, limits.daily),
        again(&each, 1, limits.files),
    ];
    Ok(match again.into_iter().flatten().max() {
        None => Reserved::Yes,
        Some(at) => Reserved::Full(Some(from_millis(at))),
    })
}

/// When so much more will fit beside what ends in this order; none: it fits now.
fn again(held: &[(i64, u64)], more: u64, most: u64) -> Option<i64> {
    let amount = |sum: u64, size: u64| sum.saturating_add(size);
    let mut sum = held.iter().map(|(_, size)| *size).fold(more, amount);
    let mut at = None;
    for (ends, size) in held {
        if sum <= most {
            break;
        }
        sum -= size;
        at = Some(*ends);
    }
    at
}

fn upload(row: &Row<'_>) -> Result<Upload, Failure> {
    let (host, local): (String, String) = (row.get(1)?, row.get(2)?);
    let size: i64 = row.get(5)?;
    let stored: Option<i64> = row.get(8)?;
    Ok(Upload {
        id: row.get(0)?,
        owner: jid_of(&host, &local)?,
        name: row.get(3)?,
        media: row.get(4)?,
        size: size.unsigned_abs(),
        created: from_millis(row.get(6)?),
        deadline: from_millis(row.get(7)?),
        stored: stored.map(from_millis),
        expires: from_millis(row.get(9)?),
    })
}
