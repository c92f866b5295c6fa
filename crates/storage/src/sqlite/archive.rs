//! Archives as rows, each with the stanza it keeps.

use std::time::SystemTime;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use xmpp::{BareJid, Jid};

use super::client::Client;
use super::failure::{Failure, from_millis, jid, key, to_millis};
use crate::{
    Answer, ArchiveEnds, ArchiveFilter, ArchiveMessage, ArchivePage, ArchivePlace, ArchiveStore,
    StorageError,
};

/// How many messages one transaction of a clean-up removes, so that others get their turn.
const PORTION: i64 = 1000;

/// The step of the schema that brings the archives.
pub(super) const SCHEMA: &str = "
    CREATE TABLE archive (
        number INTEGER PRIMARY KEY AUTOINCREMENT,      -- the order
        host TEXT NOT NULL,
        local TEXT NOT NULL,
        id TEXT NOT NULL,                              -- public
        at INTEGER NOT NULL,
        peer TEXT NOT NULL,                            -- bare
        peer_resource TEXT NOT NULL,
        history INTEGER NOT NULL,
        stanza TEXT NOT NULL,
        UNIQUE (host, local, id)
    ) STRICT;
    CREATE INDEX archive_order ON archive (host, local, number);
    CREATE INDEX archive_at ON archive (host, local, at);
    CREATE INDEX archive_peer ON archive (host, local, peer, number);
    CREATE INDEX archive_history ON archive (host, local, number) WHERE history = 1;
    ";

const COLUMNS: &str = "id, at, peer, peer_resource, history, stanza";

/// The store of archives.
pub(super) struct SqliteArchive(pub(super) Client);

impl ArchiveStore for SqliteArchive {
    fn page<'a>(
        &'a self,
        owner: &'a BareJid,
        filter: ArchiveFilter,
        place: ArchivePlace,
        limit: usize,
    ) -> Answer<'a, Option<ArchivePage>> {
        Box::pin(async move {
            let owner = owner.clone();
            self.0
                .read("read an archive", move |connection| {
                    page(connection, &owner, &filter, &place, limit)
                })
                .await
        })
    }

    fn history<'a>(&'a self, owner: &'a BareJid, limit: usize) -> Answer<'a, Vec<ArchiveMessage>> {
        Box::pin(async move {
            let owner = owner.clone();
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            self.0
                .read("read a room's history", move |connection| {
                    let (host, local) = key(&owner);
                    let mut statement = connection.prepare_cached(&format!(
                        "SELECT {COLUMNS} FROM archive WHERE host = ?1 AND local = ?2 AND history = 1
                         ORDER BY number DESC LIMIT ?3"
                    ))?;
                    let mut rows = statement.query(params![host, local, limit])?;
                    let mut found = Vec::new();
                    while let Some(row) = rows.next()? {
                        found.push(message(row)?);
                    }
                    found.reverse();
                    Ok(found)
                })
                .await
        })
    }

    fn get<'a>(&'a self, owner: &'a BareJid, id: &'a str) -> Answer<'a, Option<ArchiveMessage>> {
        Box::pin(async move {
            let (owner, id) = (owner.clone(), id.to_owned());
            self.0
                .read("read an archived message", move |connection| {
                    let (host, local) = key(&owner);
                    connection
                        .prepare_cached(&format!(
                            "SELECT {COLUMNS} FROM archive WHERE host = ?1 AND local = ?2 AND id = ?3"
                        ))?
                        .query_row(params![host, local, id], |row| Ok(message(row)))
                        .optional()?
                        .transpose()
                })
                .await
        })
    }

    fn ends<'a>(&'a self, owner: &'a BareJid) -> Answer<'a, ArchiveEnds> {
        Box::pin(async move {
            let owner = owner.clone();
            self.0
                .read("read the ends of an archive", move |connection| {
                    let (host, local) = key(&owner);
                    let end = |direction: &str| {
                        connection
                            .prepare_cached(&format!(
                                "SELECT id, at FROM archive WHERE host = ?1 AND local = ?2 ORDER BY number {direction} LIMIT 1"
                            ))?
                            .query_row(params![host, local], |row| {
                                Ok((row.get::<_, String>(0)?, from_millis(row.get(1)?)))
                            })
                            .optional()
                    };
                    let ends = end("ASC")?.zip(end("DESC")?);
                    Ok(ends.map(|(first, last)| [first, last]))
                })
                .await
        })
    }

    fn remove_older<'a>(&'a self, domain: &'a str, before: SystemTime) -> Answer<'a, u64> {
        Box::pin(async move {
            let (domain, before) = (domain.to_owned(), to_millis(before));
            let portion = move |connection: &Connection| {
                let removed = connection
                    .prepare_cached(
                        "DELETE FROM archive WHERE number IN
                         (SELECT number FROM archive WHERE host = ?1 AND at < ?2 LIMIT ?3)",
                    )?
                    .execute(params![domain, before, PORTION])?;
                Ok(removed as u64)
            };
            self.in_portions("remove old archived messages", portion)
                .await
        })
    }

    fn count<'a>(&'a self, owner: &'a BareJid) -> Answer<'a, u64> {
        Box::pin(async move {
            let owner = owner.clone();
            self.0
                .read("count archived messages", move |connection| {
                    let (host, local) = key(&owner);
                    let count: i64 = connection
                        .prepare_cached(
                            "SELECT count(*) FROM archive WHERE host = ?1 AND local = ?2",
                        )?
                        .query_row(params![host, local], |row| row.get(0))?;
                    Ok(count.unsigned_abs())
                })
                .await
        })
    }
}

impl SqliteArchive {
    /// Repeats a removal of up to [`PORTION`] messages until it finds fewer; how many they were.
    async fn in_portions(
        &self,
        what: &'static str,
        portion: impl FnMut(&Connection) -> Result<u64, Failure> + Clone + Send + 'static,
    ) -> Result<u64, StorageError> {
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

fn message(row: &Row<'_>) -> Result<ArchiveMessage, Failure> {
    let (peer, resource): (String, String) = (row.get(2)?, row.get(3)?);
    let bare = jid(&peer)?;
    let peer = match resource.as_str() {
        "" => Jid::from(bare),
        resource => Jid::new(&format!("{peer}/{resource}"))
            .map_err(|error| Failure::Damaged(format!("`{resource}` is no resource: {error}")))?,
    };
    Ok(ArchiveMessage {
        id: row.get(0)?,
        at: from_millis(row.get(1)?),
        peer,
        is_history: row.get(4)?,
        stanza: row.get(5)?,
    })
}

/// The number of the message of that id.
fn number_of(connection: &Connection, owner: &BareJid, id: &str) -> Result<Option<i64>, Failure> {
    let (host, local) = key(owner);
    let number = connection
        .prepare_cached("SELECT number FROM archive WHERE host = ?1 AND local = ?2 AND id = ?3")?
        .query_row(params![host, local, id], |row| row.get(0))
        .optional()?;
    Ok(number)
}

/// A condition being put together: SQL and the values it needs.
struct Where {
    sql: String,
    values: Vec<Value>,
}

impl Where {
    fn and(&mut self, condition: &str, value: impl Into<Value>) {
        self.values.push(value.into());
        self.sql
            .push_str(&format!(" AND {condition} ?{}", self.values.len()));
    }
}

fn page(
    connection: &Connection,
    owner: &BareJid,
    filter: &ArchiveFilter,
    place: &ArchivePlace,
    limit: usize,
) -> Result<Option<ArchivePage>, Failure> {
    let (host, local) = key(owner);
    let mut matching = Where {
        sql: "host = ?1 AND local = ?2".to_owned(),
        values: vec![host.to_owned().into(), local.to_owned().into()],
    };
    if let Some(with) = &filter.with {
        matching.and("peer =", with.to_bare().to_string());
        if let Some(resource) = with.resource() {
            matching.and("peer_resource =", resource.as_str().to_owned());
        }
    }
    if let Some(start) = filter.start {
        matching.and("at >=", to_millis(start));
    }
    if let Some(end) = filter.end {
        matching.and("at <=", to_millis(end));
    }
    for (id, condition) in [
        (&filter.after_id, "number >"),
        (&filter.before_id, "number <"),
    ] {
        if let Some(id) = id {
            let Some(number) = number_of(connection, owner, id)? else {
                return Ok(None);
            };
            matching.and(condition, number);
        }
    }
    if !filter.ids.is_empty() {
        let mut numbers = Vec::new();
        for id in &filter.ids {
            match number_of(connection, owner, id)? {
                Some(number) => numbers.push(number.to_string()),
                None => return Ok(None),
            }
        }
        matching
            .sql
            .push_str(&format!(" AND number IN ({})", numbers.join(",")));
    }
    let counted = |condition: &Where| -> Result<u64, Failure> {
        let count: i64 = connection
            .prepare(&format!(
                "SELECT count(*) FROM archive WHERE {}",
                condition.sql
            ))?
            .query_row(params_from_iter(&condition.values), |row| row.get(0))?;
        Ok(count.unsigned_abs())
    };
    let count = counted(&matching)?;
    let mut part = Where {
        sql: matching.sql.clone(),
        values: matching.values.clone(),
    };
    let (mut direction, mut offset) = ("ASC", 0);
    match place {
        ArchivePlace::First => {}
        ArchivePlace::Last => direction = "DESC",
        ArchivePlace::Index(index) => offset = i64::try_from(*index).unwrap_or(i64::MAX),
        ArchivePlace::After(id) => match number_of(connection, owner, id)? {
            Some(number) => part.and("number >", number),
            None => return Ok(None),
        },
        ArchivePlace::Before(id) => match number_of(connection, owner, id)? {
            Some(number) => {
                direction = "DESC";
                part.and("number <", number);
            }
            None => return Ok(None),
        },
    }
    // One more than wanted tells whether there are more.
    let more = i64::try_from(limit)
        .unwrap_or(i64::MAX - 1)
        .saturating_add(1);
    let mut statement = connection.prepare(&format!(
        "SELECT {COLUMNS}, number FROM archive WHERE {} ORDER BY number {direction} LIMIT {more} OFFSET {offset}",
        part.sql
    ))?;
    let mut rows = statement.query(params_from_iter(&part.values))?;
    let mut messages = Vec::new();
    let mut numbers: Vec<i64> = Vec::new();
    while let Some(row) = rows.next()? {
        messages.push(message(row)?);
        numbers.push(row.get(6)?);
    }
    let complete = messages.len() <= limit;
    messages.truncate(limit);
    numbers.truncate(limit);
    if direction == "DESC" {
        messages.reverse();
        numbers.reverse();
    }
    let index = match numbers.first() {
        Some(first) => {
            matching.and("number <", *first);
            counted(&matching)?
        }
        None => 0,
    };
    Ok(Some(ArchivePage {
        messages,
        count,
        index,
        complete,
    }))
}

/// Adds a message to the end of an archive.
pub(super) fn add(
    connection: &Connection,
    owner: &BareJid,
    message: &ArchiveMessage,
) -> Result<(), Failure> {
    let (host, local) = key(owner);
    connection
        .prepare_cached(
            "INSERT INTO archive (host, local, id, at, peer, peer_resource, history, stanza)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            host,
            local,
            message.id,
            to_millis(message.at),
            message.peer.to_bare().as_str(),
            message.peer.resource().map_or("", |r| r.as_str()),
            message.is_history,
            message.stanza
        ])?;
    Ok(())
}

/// Puts another stanza in the place of an archived one.
pub(super) fn replace(
    connection: &Connection,
    owner: &BareJid,
    id: &str,
    stanza: &str,
) -> Result<(), Failure> {
    let (host, local) = key(owner);
    connection
        .prepare_cached(
            "UPDATE archive SET stanza = ?4, history = 0 WHERE host = ?1 AND local = ?2 AND id = ?3",
        )?
        .execute(params![host, local, id, stanza])?;
    Ok(())
}

/// Forgets all but the last `keep` messages of an archive.
pub(super) fn trim(connection: &Connection, owner: &BareJid, keep: u64) -> Result<(), Failure> {
    let (host, local) = key(owner);
    let keep = i64::try_from(keep).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "DELETE FROM archive WHERE host = ?1 AND local = ?2 AND number <=
                 (SELECT number FROM archive WHERE host = ?1 AND local = ?2
                  ORDER BY number DESC LIMIT 1 OFFSET ?3)",
        )?
        .execute(params![host, local, keep])?;
    Ok(())
}
