//! Entity capabilities as rows.

use rusqlite::{OptionalExtension, params};

use super::client::Client;
use super::failure::to_millis;
use crate::{Answer, CapsStore};

/// The store of entity capabilities.
pub(super) struct SqliteCaps(pub(super) Client);

impl CapsStore for SqliteCaps {
    fn find<'a>(&'a self, hash: &'a str, ver: &'a str) -> Answer<'a, Option<String>> {
        Box::pin(async move {
            let (hash, ver) = (hash.to_owned(), ver.to_owned());
            let now = to_millis(self.0.now());
            self.0
                .write("look up capabilities", 0, move |connection| {
                    let found = connection
                        .prepare_cached(
                            "UPDATE caps SET used = ?3 WHERE hash = ?1 AND ver = ?2 RETURNING info",
                        )?
                        .query_row(params![hash, ver, now], |row| row.get(0))
                        .optional()?;
                    Ok(found)
                })
                .await
        })
    }

    fn keep<'a>(&'a self, hash: &'a str, ver: &'a str, info: String, most: u64) -> Answer<'a, ()> {
        Box::pin(async move {
            let (hash, ver) = (hash.to_owned(), ver.to_owned());
            let now = to_millis(self.0.now());
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            self.0
                .write("keep capabilities", info.len(), move |connection| {
                    connection
                        .prepare_cached(
                            "INSERT INTO caps (hash, ver, info, used) VALUES (?1, ?2, ?3, ?4)
                             ON CONFLICT DO UPDATE SET info = excluded.info, used = excluded.used",
                        )?
                        .execute(params![hash, ver, info, now])?;
                    connection
                        .prepare_cached(
                            "DELETE FROM caps WHERE (hash, ver) IN
                                 (SELECT hash, ver FROM caps ORDER BY used DESC, hash, ver LIMIT -1 OFFSET ?1)",
                        )?
                        .execute([most])?;
                    Ok(())
                })
                .await
        })
    }

    fn count(&self) -> Answer<'_, u64> {
        Box::pin(async move {
            self.0
                .read("count capabilities", |connection| {
                    let count: i64 = connection
                        .prepare_cached("SELECT count(*) FROM caps")?
                        .query_row([], |row| row.get(0))?;
                    Ok(count.unsigned_abs())
                })
                .await
        })
    }
}
