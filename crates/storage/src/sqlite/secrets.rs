//! Secrets as rows.

use rusqlite::{OptionalExtension, params};

use super::client::Client;
use super::failure::Failure;
use crate::{Answer, Secret, Secrets};

const SECRET_BYTES: usize = 32;

/// The store of secrets.
pub(super) struct SqliteSecrets(pub(super) Client);

impl Secrets for SqliteSecrets {
    fn get_or_create<'a>(&'a self, name: &'a str) -> Answer<'a, Secret> {
        Box::pin(async move {
            let name = name.to_owned();
            let write = move |connection: &rusqlite::Connection| {
                let found: Option<Vec<u8>> = connection
                    .prepare_cached("SELECT value FROM secret WHERE name = ?1")?
                    .query_row(params![name], |row| row.get(0))
                    .optional()?;
                if let Some(found) = found {
                    return Ok(Secret::new(found));
                }
                let mut fresh = vec![0; SECRET_BYTES];
                getrandom::fill(&mut fresh)
                    .map_err(|error| Failure::Invalid(format!("no random bytes: {error}")))?;
                let secret = Secret::new(fresh);
                connection
                    .prepare_cached("INSERT INTO secret (name, value) VALUES (?1, ?2)")?
                    .execute(params![name, secret.expose()])?;
                Ok(secret)
            };
            self.0.write("read or make a secret", 0, write).await
        })
    }
}
