//! Invitations as rows.

use std::time::SystemTime;

use rusqlite::{OptionalExtension, Row, params};
use xmpp::BareJid;

use super::client::Client;
use super::failure::{Failure, from_millis, jid_of, key, to_millis};
use crate::{Answer, Invite, InviteKind, InviteStore};

/// The step of the schema that brings the table of this file. `host` and `local` are the inviter's; without one
/// `local` is empty.
pub(super) const SCHEMA: &str = "
    CREATE TABLE invite (
        token TEXT NOT NULL PRIMARY KEY,
        host TEXT NOT NULL,
        local TEXT NOT NULL,
        kind TEXT NOT NULL,                        -- contact, account
        registers INTEGER NOT NULL,
        name TEXT,
        befriend INTEGER NOT NULL,
        created INTEGER NOT NULL,
        expires INTEGER NOT NULL,
        max_uses INTEGER NOT NULL,
        uses INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX invite_host ON invite (host, local);
    CREATE INDEX invite_expires ON invite (expires);
";

const COLUMNS: &str =
    "token, host, local, kind, registers, name, befriend, created, expires, max_uses, uses";

/// The store of invitations.
pub(super) struct SqliteInvites(pub(super) Client);

impl InviteStore for SqliteInvites {
    fn create(&self, invite: Invite) -> Answer<'_, ()> {
        Box::pin(async move {
            self.0
                .write("keep an invitation", 0, move |connection| {
                    let local = match &invite.inviter {
                        Some(inviter) if key(inviter).0 == invite.host => key(inviter).1,
                        Some(inviter) => {
                            return Err(Failure::Invalid(format!(
                                "{inviter} is not of {}",
                                invite.host
                            )));
                        }
                        None => "",
                    };
                    let (kind, name, befriend) = match &invite.kind {
                        InviteKind::Contact { .. } => ("contact", None, true),
                        InviteKind::Account { name, befriend } => {
                            ("account", name.as_deref(), *befriend)
                        }
                    };
                    let (created, expires) = (to_millis(invite.created), to_millis(invite.expires));
                    connection
                        .prepare_cached(&format!(
                            "INSERT INTO invite ({COLUMNS})
                             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
                        ))?
                        .execute(params![
                            invite.token,
                            invite.host,
                            local,
                            kind,
                            invite.registers(),
                            name,
                            befriend,
                            created,
                            expires,
                            invite.max_uses,
                            invite.uses
                        ])?;
                    Ok(())
                })
                .await
        })
    }

    fn get<'a>(&'a self, host: &'a str, token: &'a str) -> Answer<'a, Option<Invite>> {
        Box::pin(async move {
            let (host, token) = (host.to_owned(), token.to_owned());
            self.0
                .read("read an invitation", move |connection| {
                    let found = connection
                        .prepare_cached(&format!(
                            "SELECT {COLUMNS} FROM invite WHERE token = ?1 AND host = ?2"
                        ))?
                        .query_row(params![token, host], |row| Ok(invite(row)))
                        .optional()?;
                    found.transpose()
                })
                .await
        })
    }

    fn take<'a>(&'a self, host: &'a str, token: &'a str) -> Answer<'a, bool> {
        self.change(
            "use an invitation",
            "UPDATE invite SET uses = uses + 1 WHERE token = ?1 AND host = ?2 AND uses < max_uses",
            host,
            token,
        )
    }

    fn give_back<'a>(&'a self, host: &'a str, token: &'a str) -> Answer<'a, ()> {
        let changed = self.change(
            "give an invitation back",
            "UPDATE invite SET uses = uses - 1 WHERE token = ?1 AND host = ?2 AND uses > 0",
            host,
            token,
        );
        Box::pin(async move { changed.await.map(drop) })
    }

    fn reserves<'a>(&'a self, host: &'a str, name: &'a str, now: SystemTime) -> Answer<'a, bool> {
        Box::pin(async move {
            let (host, name, now) = (host.to_owned(), name.to_owned(), to_millis(now));
            self.0
                .read("ask whether a name is kept", move |connection| {
                    let kept = connection
                        .prepare_cached(
                            "SELECT 1 FROM invite
                             WHERE host = ?1 AND name = ?2 AND expires > ?3 AND uses < max_uses",
                        )?
                        .exists(params![host, name, now])?;
                    Ok(kept)
                })
                .await
        })
    }

    fn list<'a>(&'a self, host: &'a str) -> Answer<'a, Vec<Invite>> {
        Box::pin(async move {
            let host = host.to_owned();
            self.0
                .read("list invitations", move |connection| {
                    let mut statement = connection.prepare_cached(&format!(
                        "SELECT {COLUMNS} FROM invite WHERE host = ?1 ORDER BY created, token"
                    ))?;
                    let mut rows = statement.query(params![host])?;
                    let mut found = Vec::new();
                    while let Some(row) = rows.next()? {
                        found.push(invite(row)?);
                    }
                    Ok(found)
                })
                .await
        })
    }

    fn remove<'a>(&'a self, host: &'a str, token: &'a str) -> Answer<'a, bool> {
        self.change(
            "take an invitation back",
            "DELETE FROM invite WHERE token = ?1 AND host = ?2",
            host,
            token,
        )
    }

    fn expire(&self, before: SystemTime) -> Answer<'_, u64> {
        Box::pin(async move {
            let before = to_millis(before);
            self.0
                .write("remove expired invitations", 0, move |connection| {
                    let removed = connection
                        .prepare_cached("DELETE FROM invite WHERE expires <= ?1")?
                        .execute(params![before])?;
                    Ok(removed as u64)
                })
                .await
        })
    }
}

impl SqliteInvites {
    /// Changes the row of a token; whether there was one to change.
    fn change<'a>(
        &'a self,
        what: &'static str,
        sql: &'static str,
        host: &'a str,
        token: &'a str,
    ) -> Answer<'a, bool> {
        Box::pin(async move {
            let (host, token) = (host.to_owned(), token.to_owned());
            self.0
                .write(what, 0, move |connection| {
                    let changed = connection
                        .prepare_cached(sql)?
                        .execute(params![token, host])?;
                    Ok(changed > 0)
                })
                .await
        })
    }
}

fn invite(row: &Row<'_>) -> Result<Invite, Failure> {
    let (host, local, kind): (String, String, String) = (row.get(1)?, row.get(2)?, row.get(3)?);
    let inviter: Option<BareJid> = match local.as_str() {
        "" => None,
        local => Some(jid_of(&host, local)?),
    };
    let kind = match kind.as_str() {
        "contact" => InviteKind::Contact {
            may_register: row.get(4)?,
        },
        "account" => InviteKind::Account {
            name: row.get(5)?,
            befriend: row.get(6)?,
        },
        other => return Err(Failure::Damaged(format!("`{other}` is no invitation"))),
    };
    Ok(Invite {
        token: row.get(0)?,
        inviter,
        kind,
        created: from_millis(row.get(7)?),
        expires: from_millis(row.get(8)?),
        max_uses: row.get(9)?,
        uses: row.get(10)?,
        host,
    })
}
