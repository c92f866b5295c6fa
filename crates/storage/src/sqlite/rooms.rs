//! Rooms as rows.

use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, Row, params};
use xmpp::BareJid;

use super::client::Client;
use super::failure::{Failure, from_millis, jid, key, to_millis};
use crate::{Affiliated, Affiliation, Answer, RoomFace, RoomStore, StoredRoom};

/// The step of the schema that brings the rooms. An account that is removed leaves every room that is not open.
pub(super) const SCHEMA: &str = "
    CREATE TABLE room (
        service TEXT NOT NULL,
        name TEXT NOT NULL,
        title TEXT NOT NULL,
        description TEXT NOT NULL,
        language TEXT NOT NULL,
        public INTEGER NOT NULL,
        persistent INTEGER NOT NULL,
        open INTEGER NOT NULL,
        nonanonymous INTEGER NOT NULL,
        used INTEGER NOT NULL,
        config TEXT NOT NULL,
        created INTEGER NOT NULL,
        version INTEGER NOT NULL,                      -- of its affiliations
        subject TEXT,
        vcard TEXT,
        PRIMARY KEY (service, name)
    ) STRICT;
    CREATE INDEX room_public ON room (service, name) WHERE public = 1;
    CREATE INDEX room_temporary ON room (service) WHERE persistent = 0;
    CREATE INDEX room_used ON room (service, used);
    CREATE TABLE room_affiliation (
        service TEXT NOT NULL,
        room TEXT NOT NULL,
        jid TEXT NOT NULL,
        affiliation TEXT NOT NULL,
        nick TEXT,
        reason TEXT,
        version INTEGER NOT NULL,
        PRIMARY KEY (service, room, jid)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX room_affiliation_jid ON room_affiliation (jid, service);
    CREATE TRIGGER room_member_removed AFTER UPDATE OF removed ON account
        WHEN NEW.removed IS NOT NULL
        BEGIN DELETE FROM room_affiliation WHERE jid = NEW.local || '@' || NEW.host; END;
    ";

/// What is set of a room that exists.
pub(super) type Column = &'static str;

pub(super) const SUBJECT: Column = "UPDATE room SET subject = ?3 WHERE service = ?1 AND name = ?2";
pub(super) const VCARD: Column = "UPDATE room SET vcard = ?3 WHERE service = ?1 AND name = ?2";

const FACE: &str =
    "name, title, description, language, public, persistent, open, nonanonymous, used";

/// The store of rooms.
pub(super) struct SqliteRooms(pub(super) Client);

impl RoomStore for SqliteRooms {
    fn get<'a>(&'a self, room: &'a BareJid) -> Answer<'a, Option<StoredRoom>> {
        Box::pin(async move {
            let room = room.clone();
            self.0
                .read("read a room", move |connection| read(connection, &room))
                .await
        })
    }

    fn list<'a>(
        &'a self,
        service: &'a str,
        only_public: bool,
        after: Option<&'a str>,
        limit: usize,
    ) -> Answer<'a, Vec<RoomFace>> {
        Box::pin(async move {
            let (service, after) = (service.to_owned(), after.unwrap_or_default().to_owned());
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            self.0
                .read("list rooms", move |connection| {
                    let only = if only_public { "AND public = 1" } else { "" };
                    let mut statement = connection.prepare_cached(&format!(
                        "SELECT {FACE} FROM room WHERE service = ?1 AND name > ?2 {only} ORDER BY name LIMIT ?3"
                    ))?;
                    let faces = statement
                        .query_map(params![service, after, limit], face)?
                        .collect::<rusqlite::Result<Vec<_>>>()?;
                    Ok(faces)
                })
                .await
        })
    }

    fn count<'a>(
        &'a self,
        service: &'a str,
        only_public: bool,
        before: Option<&'a str>,
    ) -> Answer<'a, (u64, u64)> {
        Box::pin(async move {
            let (service, before) = (service.to_owned(), before.unwrap_or_default().to_owned());
            self.0
                .read("count rooms", move |connection| {
                    let only = if only_public { "AND public = 1" } else { "" };
                    let count: (i64, i64) = connection
                        .prepare_cached(&format!(
                            "SELECT count(*), count(*) FILTER (WHERE name < ?2) FROM room WHERE service = ?1 {only}"
                        ))?
                        .query_row(params![service, before], |row| {
                            Ok((row.get(0)?, row.get(1)?))
                        })?;
                    Ok((count.0.unsigned_abs(), count.1.unsigned_abs()))
                })
                .await
        })
    }

    fn temporary<'a>(&'a self, service: &'a str) -> Answer<'a, Vec<String>> {
        Box::pin(async move {
            let service = service.to_owned();
            self.0
                .read("list temporary rooms", move |connection| {
                    let names = connection
                        .prepare_cached(
                            "SELECT name FROM room WHERE service = ?1 AND persistent = 0",
                        )?
                        .query_map([service.as_str()], |row| row.get(0))?
                        .collect::<rusqlite::Result<Vec<_>>>()?;
                    Ok(names)
                })
                .await
        })
    }

    fn unused<'a>(&'a self, service: &'a str, before: SystemTime) -> Answer<'a, Vec<RoomFace>> {
        Box::pin(async move {
            let (service, before) = (service.to_owned(), to_millis(before));
            self.0
                .read("list unused rooms", move |connection| {
                    let mut statement = connection.prepare_cached(&format!(
                        "SELECT {FACE} FROM room WHERE service = ?1 AND used < ?2 ORDER BY name"
                    ))?;
                    let faces = statement
                        .query_map(params![service, before], face)?
                        .collect::<rusqlite::Result<Vec<_>>>()?;
                    Ok(faces)
                })
                .await
        })
    }

    fn of_user<'a>(
        &'a self,
        service: &'a str,
        user: &'a BareJid,
    ) -> Answer<'a, Vec<(String, Affiliation)>> {
        Box::pin(async move {
            let (service, user) = (service.to_owned(), user.to_string());
            self.0
                .read("list the rooms of a user", move |connection| {
                    let rows = connection
                        .prepare_cached(
                            "SELECT room, affiliation FROM room_affiliation
                             WHERE jid = ?2 AND service = ?1 AND affiliation <> 'none' ORDER BY room",
                        )?
                        .query_map(params![service, user], |row| Ok((row.get(0)?, row.get(1)?)))?
                        .collect::<rusqlite::Result<Vec<(String, String)>>>()?;
                    rows.into_iter()
                        .map(|(room, word)| Ok((room, affiliation(&word)?)))
                        .collect()
                })
                .await
        })
    }

    fn touch<'a>(&'a self, room: &'a BareJid, at: SystemTime) -> Answer<'a, ()> {
        Box::pin(async move {
            let (room, at) = (room.clone(), to_millis(at));
            self.0
                .write("note a room's use", 0, move |connection| {
                    let (service, name) = key(&room);
                    connection
                        .prepare_cached(
                            "UPDATE room SET used = ?3 WHERE service = ?1 AND name = ?2",
                        )?
                        .execute(params![service, name, at])?;
                    Ok(())
                })
                .await
        })
    }

    fn vcard<'a>(&'a self, room: &'a BareJid) -> Answer<'a, Option<String>> {
        Box::pin(async move {
            let room = room.clone();
            self.0
                .read("read a room's vCard", move |connection| {
                    let (service, name) = key(&room);
                    let vcard: Option<Option<String>> = connection
                        .prepare_cached("SELECT vcard FROM room WHERE service = ?1 AND name = ?2")?
                        .query_row(params![service, name], |row| row.get(0))
                        .optional()?;
                    Ok(vcard.flatten())
                })
                .await
        })
    }
}

fn face(row: &Row<'_>) -> rusqlite::Result<RoomFace> {
    Ok(RoomFace {
        name: row.get(0)?,
        title: row.get(1)?,
        description: row.get(2)?,
        language: row.get(3)?,
        public: row.get(4)?,
        persistent: row.get(5)?,
        open: row.get(6)?,
        nonanonymous: row.get(7)?,
        used: from_millis(row.get(8)?),
    })
}

fn affiliation(word: &str) -> Result<Affiliation, Failure> {
    Affiliation::from_word(word)
        .ok_or_else(|| Failure::Damaged(format!("`{word}` is no affiliation")))
}

fn read(connection: &Connection, room: &BareJid) -> Result<Option<StoredRoom>, Failure> {
    let (service, name) = key(room);
    let found = connection
        .prepare_cached(&format!(
            "SELECT {FACE}, config, subject, created, version FROM room WHERE service = ?1 AND name = ?2"
        ))?
        .query_row(params![service, name], |row| {
            Ok(StoredRoom {
                service: service.to_owned(),
                face: face(row)?,
                config: row.get(9)?,
                subject: row.get(10)?,
                created: from_millis(row.get(11)?),
                version: row.get(12)?,
                affiliations: Vec::new(),
            })
        })
        .optional()?;
    let Some(mut found) = found else {
        return Ok(None);
    };
    let mut statement = connection.prepare_cached(
        "SELECT jid, affiliation, nick, reason, version FROM room_affiliation
         WHERE service = ?1 AND room = ?2 ORDER BY jid",
    )?;
    let mut rows = statement.query(params![service, name])?;
    while let Some(row) = rows.next()? {
        let (who, word): (String, String) = (row.get(0)?, row.get(1)?);
        found.affiliations.push(Affiliated {
            jid: jid(&who)?,
            affiliation: affiliation(&word)?,
            nick: row.get(2)?,
            reason: row.get(3)?,
            version: row.get(4)?,
        });
    }
    Ok(Some(found))
}

/// Sets all of a room but what is set one by one.
pub(super) fn put(connection: &Connection, room: &StoredRoom) -> Result<(), Failure> {
    let face = &room.face;
    connection
        .prepare_cached(
            "INSERT INTO room (service, name, title, description, language, public, persistent, open, nonanonymous,
                               used, config, created, version)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
             ON CONFLICT DO UPDATE SET title = excluded.title, description = excluded.description,
                 language = excluded.language, public = excluded.public, persistent = excluded.persistent,
                 open = excluded.open, nonanonymous = excluded.nonanonymous, used = excluded.used,
                 config = excluded.config, version = excluded.version",
        )?
        .execute(params![
            room.service,
            face.name,
            face.title,
            face.description,
            face.language,
            face.public,
            face.persistent,
            face.open,
            face.nonanonymous,
            to_millis(face.used),
            room.config,
            to_millis(room.created),
            room.version
        ])?;
    Ok(())
}

/// Sets one column of a room that exists.
pub(super) fn set(
    connection: &Connection,
    room: &BareJid,
    column: Column,
    value: Option<&str>,
) -> Result<(), Failure> {
    let (service, name) = key(room);
    connection
        .prepare_cached(column)?
        .execute(params![service, name, value])?;
    Ok(())
}

/// Forgets a room and who is associated with it.
pub(super) fn remove(connection: &Connection, room: &BareJid) -> Result<(), Failure> {
    let (service, name) = key(room);
    for statement in [
        "DELETE FROM room_affiliation WHERE service = ?1 AND room = ?2",
        "DELETE FROM room WHERE service = ?1 AND name = ?2",
    ] {
        connection
            .prepare_cached(statement)?
            .execute(params![service, name])?;
    }
    Ok(())
}

/// Sets somebody's association and the version that it makes.
pub(super) fn set_affiliation(
    connection: &Connection,
    room: &BareJid,
    affiliated: &Affiliated,
) -> Result<(), Failure> {
    let (service, name) = key(room);
    connection
        .prepare_cached(
            "INSERT INTO room_affiliation (service, room, jid, affiliation, nick, reason, version)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT DO UPDATE SET affiliation = excluded.affiliation, nick = excluded.nick,
                 reason = excluded.reason, version = excluded.version",
        )?
        .execute(params![
            service,
            name,
            affiliated.jid.as_str(),
            affiliated.affiliation.as_str(),
            affiliated.nick,
            affiliated.reason,
            affiliated.version
        ])?;
    connection
        .prepare_cached(
            "UPDATE room SET version = ?3 WHERE service = ?1 AND name = ?2 AND version < ?3",
        )?
        .execute(params![service, name, affiliated.version])?;
    Ok(())
}
