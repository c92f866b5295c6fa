//! What hosts keep, as rows.

use rusqlite::{OptionalExtension, params};
use xmpp::{BareJid, Jid};

use super::client::Client;
use super::failure::{Failure, jid_of, key};
use crate::{Answer, HostList, HostStore, Motd, Role};

/// The step of the schema that brings the tables of this file. A column `domain` is not an owner's.
pub(super) const SCHEMA: &str = "
    CREATE TABLE motd (
        domain TEXT PRIMARY KEY,
        number INTEGER NOT NULL,
        subject TEXT,
        text TEXT                                  -- none: deleted; the numbers go on
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE motd_seen (
        host TEXT NOT NULL,
        local TEXT NOT NULL,
        number INTEGER NOT NULL,
        PRIMARY KEY (host, local)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE host_list (
        domain TEXT NOT NULL,
        list TEXT NOT NULL,                        -- black, white
        address TEXT NOT NULL,
        PRIMARY KEY (domain, list, address)
    ) STRICT, WITHOUT ROWID;
";

/// The store of what hosts keep.
pub(super) struct SqliteHosts(pub(super) Client);

impl HostStore for SqliteHosts {
    fn motd<'a>(&'a self, host: &'a str) -> Answer<'a, Option<Motd>> {
        Box::pin(async move {
            let host = host.to_owned();
            self.0
                .read("read the message of the day", move |connection| {
                    let found = connection
                        .prepare_cached(
                            "SELECT number, subject, text FROM motd
                             WHERE domain = ?1 AND text IS NOT NULL",
                        )?
                        .query_row(params![host], |row| {
                            Ok(Motd {
                                number: row.get(0)?,
                                subject: row.get(1)?,
                                text: row.get(2)?,
                            })
                        })
                        .optional()?;
                    Ok(found)
                })
                .await
        })
    }

    fn set_motd<'a>(
        &'a self,
        host: &'a str,
        subject: Option<String>,
        text: String,
        anew: bool,
    ) -> Answer<'a, Motd> {
        Box::pin(async move {
            let host = host.to_owned();
            self.0
                .write(
                    "set the message of the day",
                    text.len(),
                    move |connection| {
                        let number = connection
                        .prepare_cached(
                            "INSERT INTO motd (domain, number, subject, text) VALUES (?1, 1, ?2, ?3)
                             ON CONFLICT DO UPDATE SET
                                 number = number + (?4 OR text IS NULL),
                                 subject = excluded.subject, text = excluded.text
                             RETURNING number",
                        )?
                        .query_row(params![host, subject, text, anew], |row| row.get(0))?;
                        Ok(Motd {
                            number,
                            subject: subject.clone(),
                            text: text.clone(),
                        })
                    },
                )
                .await
        })
    }

    fn delete_motd<'a>(&'a self, host: &'a str) -> Answer<'a, bool> {
        Box::pin(async move {
            let host = host.to_owned();
            self.0
                .write("delete the message of the day", 0, move |connection| {
                    let changed = connection
                        .prepare_cached(
                            "UPDATE motd SET text = NULL, subject = NULL
                             WHERE domain = ?1 AND text IS NOT NULL",
                        )?
                        .execute(params![host])?;
                    Ok(changed > 0)
                })
                .await
        })
    }

    fn see_motd<'a>(&'a self, account: &'a BareJid, number: i64) -> Answer<'a, bool> {
        Box::pin(async move {
            let account = account.clone();
            self.0
                .write(
                    "note who saw the message of the day",
                    0,
                    move |connection| {
                        let (host, local) = key(&account);
                        let changed = connection
                            .prepare_cached(
                                "INSERT INTO motd_seen (host, local, number) VALUES (?1, ?2, ?3)
                             ON CONFLICT DO UPDATE SET number = excluded.number
                             WHERE number < excluded.number",
                            )?
                            .execute(params![host, local, number])?;
                        Ok(changed > 0)
                    },
                )
                .await
        })
    }

    fn addresses<'a>(&'a self, host: &'a str, list: HostList) -> Answer<'a, Vec<Jid>> {
        Box::pin(async move {
            let host = host.to_owned();
            self.0
                .read("read a host's list", move |connection| {
                    let mut statement = connection.prepare_cached(
                        "SELECT address FROM host_list WHERE domain = ?1 AND list = ?2 ORDER BY address",
                    )?;
                    let found = statement
                        .query_map(params![host, list.as_str()], |row| row.get(0))?
                        .collect::<rusqlite::Result<Vec<String>>>()?;
                    let jid = |text: &String| {
                        Jid::new(text)
                            .map_err(|error| Failure::Damaged(format!("`{text}` is no JID: {error}")))
                    };
                    found.iter().map(jid).collect()
                })
                .await
        })
    }

    fn set_addresses<'a>(
        &'a self,
        host: &'a str,
        list: HostList,
        addresses: Vec<Jid>,
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            let host = host.to_owned();
            let bytes = addresses.iter().map(|jid| jid.as_str().len()).sum();
            self.0
                .write("write a host's list", bytes, move |connection| {
                    connection
                        .prepare_cached("DELETE FROM host_list WHERE domain = ?1 AND list = ?2")?
                        .execute(params![host, list.as_str()])?;
                    let mut add = connection.prepare_cached(
                        "INSERT OR IGNORE INTO host_list (domain, list, address) VALUES (?1, ?2, ?3)",
                    )?;
                    for jid in &addresses {
                        add.execute(params![host, list.as_str(), jid.as_str()])?;
                    }
                    Ok(())
                })
                .await
        })
    }

    fn disabled<'a>(&'a self, host: &'a str) -> Answer<'a, Vec<BareJid>> {
        Box::pin(async move {
            let host = host.to_owned();
            self.0
                .read("list disabled accounts", move |connection| {
                    let mut statement = connection.prepare_cached(
                        "SELECT local FROM account
                         WHERE host = ?1 AND disabled <> 0 AND removed IS NULL ORDER BY local",
                    )?;
                    let locals = statement
                        .query_map(params![host], |row| row.get(0))?
                        .collect::<rusqlite::Result<Vec<String>>>()?;
                    locals.iter().map(|local| jid_of(&host, local)).collect()
                })
                .await
        })
    }

    fn privileged(&self) -> Answer<'_, Vec<(BareJid, Role)>> {
        Box::pin(async move {
            self.0
                .read("list privileged accounts", move |connection| {
                    let mut statement = connection.prepare_cached(
                        "SELECT host, local, role FROM account
                         WHERE role <> 'user' AND removed IS NULL ORDER BY host, local",
                    )?;
                    let mut rows = statement.query([])?;
                    let mut found = Vec::new();
                    while let Some(row) = rows.next()? {
                        let (host, local, word): (String, String, String) =
                            (row.get(0)?, row.get(1)?, row.get(2)?);
                        let role = Role::from_word(&word)
                            .ok_or_else(|| Failure::Damaged(format!("`{word}` is no role")))?;
                        found.push((jid_of(&host, &local)?, role));
                    }
                    Ok(found)
                })
                .await
        })
    }
}
