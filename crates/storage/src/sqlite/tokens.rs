//! Tokens as rows.

use rusqlite::{OptionalExtension, Row, params};

use super::client::Client;
use super::failure::{Failure, from_millis, jid_of, key, to_millis};
use crate::{Answer, ApiToken, TokenStore};

/// The step of the schema that brings the table of this file.
pub(super) const SCHEMA: &str = "
    CREATE TABLE api_token (
        id TEXT NOT NULL PRIMARY KEY,
        hash BLOB NOT NULL,
        host TEXT NOT NULL,
        local TEXT NOT NULL,
        commands TEXT,                             -- names with spaces between; none: all
        created INTEGER NOT NULL,
        expires INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX api_token_hash ON api_token (hash);
    CREATE INDEX api_token_host ON api_token (host, local);
";

const COLUMNS: &str = "id, hash, host, local, commands, created, expires";

/// The store of tokens.
pub(super) struct SqliteTokens(pub(super) Client);

impl TokenStore for SqliteTokens {
    fn create(&self, token: ApiToken) -> Answer<'_, ()> {
        Box::pin(async move {
            self.0
                .write("keep a token", 0, move |connection| {
                    let created = to_millis(token.created);
                    connection
                        .prepare_cached("DELETE FROM api_token WHERE expires <= ?1")?
                        .execute(params![created])?;
                    let (host, local) = key(&token.account);
                    let commands = token.commands.as_ref().map(|names| names.join(" "));
                    connection
                        .prepare_cached(&format!(
                            "INSERT INTO api_token ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"
                        ))?
                        .execute(params![
                            token.id,
                            token.hash,
                            host,
                            local,
                            commands,
                            created,
                            to_millis(token.expires)
                        ])?;
                    Ok(())
                })
                .await
        })
    }

    fn find<'a>(&'a self, hash: &'a [u8]) -> Answer<'a, Option<ApiToken>> {
        Box::pin(async move {
            let hash = hash.to_owned();
            self.0
                .read("look a token up", move |connection| {
                    let found = connection
                        .prepare_cached(&format!(
                            "SELECT {COLUMNS} FROM api_token WHERE hash = ?1"
                        ))?
                        .query_row(params![hash], |row| Ok(token(row)))
                        .optional()?;
                    found.transpose()
                })
                .await
        })
    }

    fn list<'a>(&'a self, host: &'a str) -> Answer<'a, Vec<ApiToken>> {
        Box::pin(async move {
            let host = host.to_owned();
            self.0
                .read("list tokens", move |connection| {
                    let mut statement = connection.prepare_cached(&format!(
                        "SELECT {COLUMNS} FROM api_token WHERE host = ?1 ORDER BY created, id"
                    ))?;
                    let mut rows = statement.query(params![host])?;
                    let mut found = Vec::new();
                    while let Some(row) = rows.next()? {
                        found.push(token(row)?);
                    }
                    Ok(found)
                })
                .await
        })
    }

    fn remove<'a>(&'a self, host: &'a str, id: &'a str) -> Answer<'a, bool> {
        Box::pin(async move {
            let (host, id) = (host.to_owned(), id.to_owned());
            self.0
                .write("take a token back", 0, move |connection| {
                    let removed = connection
                        .prepare_cached("DELETE FROM api_token WHERE id = ?1 AND host = ?2")?
                        .execute(params![id, host])?;
                    Ok(removed > 0)
                })
                .await
        })
    }
}

fn token(row: &Row<'_>) -> Result<ApiToken, Failure> {
    let (host, local): (String, String) = (row.get(2)?, row.get(3)?);
    let commands: Option<String> = row.get(4)?;
    Ok(ApiToken {
        id: row.get(0)?,
        hash: row.get(1)?,
        account: jid_of(&host, &local)?,
        commands: commands.map(|names| names.split(' ').map(str::to_owned).collect()),
        created: from_millis(row.get(5)?),
        expires: from_millis(row.get(6)?),
    })
}
