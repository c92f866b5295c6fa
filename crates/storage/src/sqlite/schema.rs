//! Opening the file, and the numbered steps from an empty file to the present schema.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::failure::of_sqlite;
use super::{FILE_NAME, archive, backup, groups, hosts, invites, privacy, rooms, tokens, uploads};
use crate::StorageError;

/// How long a connection waits for another's write lock before it is told of it.
const LOCK_WAIT: Duration = Duration::from_millis(250);

/// One step of the schema: `MIGRATIONS[n]` leads from schema `n` to `n + 1`. A released step never changes.
pub(super) struct Migration {
    /// What it brings.
    pub(super) name: &'static str,
    /// Its statements.
    pub(super) sql: &'static str,
}

/// Triggers that keep rows of a removed account's name out of tables with an owner, however late a session or a
/// sender writes: who gets the name again begins with nothing.
macro_rules! owned_by_the_living {
    ($($table:literal)*) => { concat!($(
        "CREATE TRIGGER ", $table, "_owner BEFORE INSERT ON ", $table, "
            WHEN EXISTS (SELECT 1 FROM account
                         WHERE host = NEW.host AND local = NEW.local AND removed IS NOT NULL)
            BEGIN SELECT RAISE(ABORT, 'the account was removed'); END;
        "
    ),*) };
}

/// All steps in order.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration {
        name: "accounts",
        sql: "
            CREATE TABLE account (
                host TEXT NOT NULL,
                local TEXT NOT NULL,
                role TEXT NOT NULL DEFAULT 'user',
                disabled INTEGER NOT NULL DEFAULT 0,
                created INTEGER NOT NULL,
                removed INTEGER,                           -- set: a tombstone
                roster_floor INTEGER NOT NULL DEFAULT 0,   -- below it are versions of removed predecessors
                PRIMARY KEY (host, local)
            ) STRICT, WITHOUT ROWID;
            CREATE TABLE credential (
                host TEXT NOT NULL,
                local TEXT NOT NULL,
                kind TEXT NOT NULL,
                parameters BLOB NOT NULL,
                PRIMARY KEY (host, local, kind)
            ) STRICT, WITHOUT ROWID;
            CREATE TABLE secret (
                name TEXT PRIMARY KEY,
                value BLOB NOT NULL
            ) STRICT, WITHOUT ROWID;
        ",
    },
    Migration {
        name: "rosters",
        sql: "
            CREATE TABLE roster_item (
                host TEXT NOT NULL,
                local TEXT NOT NULL,
                contact TEXT NOT NULL,
                name TEXT,
                groups TEXT NOT NULL,                      -- joined by U+001F, which XML cannot carry
                subscription TEXT NOT NULL,
                ask INTEGER NOT NULL,
                approved INTEGER NOT NULL,
                version INTEGER NOT NULL,
                PRIMARY KEY (host, local, contact)
            ) STRICT, WITHOUT ROWID;
            CREATE INDEX roster_item_version ON roster_item (host, local, version);
            CREATE TABLE roster_pending (                  -- who has asked, in the roster or not
                number INTEGER PRIMARY KEY AUTOINCREMENT,
                host TEXT NOT NULL,
                local TEXT NOT NULL,
                contact TEXT NOT NULL,
                stanza TEXT NOT NULL,
                UNIQUE (host, local, contact)
            ) STRICT;
            CREATE TABLE roster_removal (
                host TEXT NOT NULL,
                local TEXT NOT NULL,
                contact TEXT NOT NULL,
                version INTEGER NOT NULL,
                PRIMARY KEY (host, local, contact)
            ) STRICT, WITHOUT ROWID;
            CREATE INDEX roster_removal_version ON roster_removal (host, local, version);
            CREATE TABLE roster_version (
                host TEXT NOT NULL,
                local TEXT NOT NULL,
                version INTEGER NOT NULL,
                complete_since INTEGER NOT NULL,           -- from here on all removals are remembered
                PRIMARY KEY (host, local)
            ) STRICT, WITHOUT ROWID;
        ",
    },
    Migration {
        name: "messages and the offline queue",
        sql: "
            CREATE TABLE message (                         -- once each; who needs it refers to it
                id INTEGER PRIMARY KEY AUTOINCREMENT,      -- the order
                public_id TEXT NOT NULL UNIQUE,
                host TEXT NOT NULL,
                local TEXT NOT NULL,
                received INTEGER NOT NULL,
                stanza TEXT NOT NULL
            ) STRICT;
            CREATE INDEX message_owner ON message (host, local, id);
            CREATE TABLE offline (
                host TEXT NOT NULL,
                local TEXT NOT NULL,
                message INTEGER NOT NULL REFERENCES message (id),
                expires INTEGER,
                bytes INTEGER NOT NULL,
                PRIMARY KEY (host, local, message)
            ) STRICT, WITHOUT ROWID;
            CREATE INDEX offline_message ON offline (message);
            CREATE INDEX offline_expires ON offline (expires) WHERE expires IS NOT NULL;
            CREATE TABLE offline_total (                   -- kept by the triggers
                host TEXT NOT NULL,
                local TEXT NOT NULL,
                messages INTEGER NOT NULL,
                bytes INTEGER NOT NULL,
                PRIMARY KEY (host, local)
            ) STRICT, WITHOUT ROWID;
            CREATE TRIGGER offline_added AFTER INSERT ON offline BEGIN
                INSERT INTO offline_total VALUES (NEW.host, NEW.local, 1, NEW.bytes)
                ON CONFLICT DO UPDATE SET messages = messages + 1, bytes = bytes + NEW.bytes;
            END;
            CREATE TRIGGER offline_removed AFTER DELETE ON offline BEGIN
                UPDATE offline_total SET messages = messages - 1, bytes = bytes - OLD.bytes
                    WHERE host = OLD.host AND local = OLD.local;
                DELETE FROM offline_total WHERE host = OLD.host AND local = OLD.local AND messages = 0;
                DELETE FROM message WHERE id = OLD.message;
            END;
        ",
    },
    Migration {
        name: "privacy lists",
        sql: privacy::SCHEMA,
    },
    Migration {
        name: "private data, vCards, last activity; removed accounts own nothing",
        sql: concat!(
            "
            ALTER TABLE account ADD COLUMN released INTEGER NOT NULL DEFAULT 0; -- set: the name may be given again
            CREATE TABLE private (
                host TEXT NOT NULL,
                local TEXT NOT NULL,
                namespace TEXT NOT NULL,
                name TEXT NOT NULL,
                xml TEXT NOT NULL,
                PRIMARY KEY (host, local, namespace, name)
            ) STRICT, WITHOUT ROWID;
            CREATE TABLE vcard (
                host TEXT NOT NULL,
                local TEXT NOT NULL,                       -- empty: the host's own
                xml TEXT NOT NULL,
                PRIMARY KEY (host, local)
            ) STRICT, WITHOUT ROWID;
            CREATE TABLE last (
                host TEXT NOT NULL,
                local TEXT NOT NULL,
                at INTEGER NOT NULL,
                status TEXT,
                PRIMARY KEY (host, local)
            ) STRICT, WITHOUT ROWID;
            CREATE TABLE welcomed (
                host TEXT NOT NULL,
                local TEXT NOT NULL,
                PRIMARY KEY (host, local)
            ) STRICT, WITHOUT ROWID;
            ",
            owned_by_the_living!(
                "credential" "roster_item" "roster_pending" "roster_removal" "roster_version"
                "message" "offline" "offline_total" "privacy_list" "privacy_item" "private" "vcard" "last" "welcomed"
            )
        ),
    },
    Migration {
        name: "entity capabilities",
        sql: "
            CREATE TABLE caps (
                hash TEXT NOT NULL,                        -- the function
                ver TEXT NOT NULL,
                info TEXT NOT NULL,                        -- verified against the two
                used INTEGER NOT NULL,
                PRIMARY KEY (hash, ver)
            ) STRICT, WITHOUT ROWID;
            CREATE INDEX caps_used ON caps (used);
        ",
    },
    Migration {
        name: "shared roster groups",
        sql: groups::SCHEMA,
    },
    Migration {
        name: "removed accounts are in no group",
        sql: owned_by_the_living!("shared_member"),
    },
    Migration {
        name: "what hosts keep",
        sql: hosts::SCHEMA,
    },
    Migration {
        name: "removed accounts are shown no message of the day",
        sql: owned_by_the_living!("motd_seen"),
    },
    Migration {
        name: "invitations",
        sql: invites::SCHEMA,
    },
    Migration {
        name: "removed accounts invite nobody",
        sql: owned_by_the_living!("invite"),
    },
    Migration {
        name: "rooms",
        sql: rooms::SCHEMA,
    },
    Migration {
        name: "archives",
        sql: archive::SCHEMA,
    },
    Migration {
        name: "removed accounts have no archive",
        sql: owned_by_the_living!("archive"),
    },
    Migration {
        name: "tokens",
        sql: tokens::SCHEMA,
    },
    Migration {
        name: "removed accounts have no tokens",
        sql: owned_by_the_living!("api_token"),
    },
    Migration {
        name: "uploads",
        sql: uploads::SCHEMA,
    },
    Migration {
        name: "removed accounts upload nothing",
        sql: owned_by_the_living!("upload"),
    },
];

/// Makes the folder and the file if they are not there, and brings the file to the present schema; its path.
pub(super) fn prepare(data_dir: &Path) -> Result<PathBuf, StorageError> {
    make_folder(data_dir).map_err(|error| cannot_open(data_dir, &error))?;
    let path = data_dir.join(FILE_NAME);
    make_file(&path).map_err(|error| cannot_open(&path, &error))?;
    let mut connection = connect_to_write(&path)?;
    migrate(&mut connection, &path, MIGRATIONS, Saved::Before)?;
    Ok(path)
}

/// The first place in the order of messages that none has had.
pub(super) fn next_place(path: &Path) -> Result<i64, StorageError> {
    place_after(&connect_to_read(path)?, path)
}

/// The first place in the order of messages that none has had, as this connection sees it.
pub(super) fn place_after(connection: &Connection, path: &Path) -> Result<i64, StorageError> {
    first_free_place(connection).map_err(|error| while_opening(path, &error))
}

/// The first place in the order of messages that none has had.
pub(super) fn first_free_place(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached(
            "SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence WHERE name = 'message'",
        )?
        .query_row([], |row| row.get(0))
}

/// Opens the connection of the writer.
pub(super) fn connect_to_write(path: &Path) -> Result<Connection, StorageError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = connect(path, flags)?;
    let settings =
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;";
    connection
        .execute_batch(settings)
        .map_err(|error| while_opening(path, &error))?;
    Ok(connection)
}

/// Keeps a connection from making the database larger than `bytes`.
pub(super) fn limit(connection: &Connection, path: &Path, bytes: u64) -> Result<(), StorageError> {
    let set = || -> rusqlite::Result<()> {
        let page: i64 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        let pages = bytes / page.unsigned_abs().max(1);
        let pages = i64::try_from(pages)
            .unwrap_or(i64::MAX)
            .clamp(1, 0xFFFF_FFFE);
        connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
    };
    set().map_err(|error| while_opening(path, &error))
}

/// Opens a connection that can only read.
pub(super) fn connect_to_read(path: &Path) -> Result<Connection, StorageError> {
    connect(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, StorageError> {
    let connection =
        Connection::open_with_flags(path, flags).map_err(|error| while_opening(path, &error))?;
    connection
        .busy_timeout(LOCK_WAIT)
        .map_err(|error| while_opening(path, &error))?;
    connection.set_prepared_statement_cache_capacity(128);
    // Without it a statement whose plan might be better with the values bound is prepared again each time that they
    // change, which costs several times what it does.
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .map_err(|error| while_opening(path, &error))?;
    Ok(connection)
}

/// Whether the content is saved in a file beside it before each migration.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Saved {
    /// It is, unless the database is empty.
    Before,
    /// It is a copy itself.
    Not,
}

/// Takes the steps from the schema the database has to the last, each in a transaction of its own.
pub(super) fn migrate(
    connection: &mut Connection,
    path: &Path,
    migrations: &[Migration],
    saved: Saved,
) -> Result<(), StorageError> {
    let found: u32 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(|error| while_opening(path, &error))?;
    let known = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
    if found > known {
        return Err(StorageError::Newer {
            path: path.to_owned(),
            found,
            known,
        });
    }
    for (number, migration) in (1..).zip(migrations).skip(found as usize) {
        if saved == Saved::Before && !is_empty(connection, path)? {
            let copy = backup::beside(path, &format!("v{}", number - 1));
            backup::copy(connection, &copy)?;
            tracing::info!(target: "natter::storage", copy = %copy.display(), "the database is saved before it changes");
        }
        take(connection, number, migration).map_err(|error| while_opening(path, &error))?;
        tracing::info!(target: "natter::storage", schema = number, name = migration.name, "the database has a new schema");
    }
    Ok(())
}

fn take(connection: &mut Connection, number: u32, migration: &Migration) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(migration.sql)?;
    transaction.pragma_update(None, "user_version", number)?;
    transaction.commit()
}

/// Whether every table is without rows, as in a database just made.
fn is_empty(connection: &Connection, path: &Path) -> Result<bool, StorageError> {
    let look = || -> rusqlite::Result<bool> {
        let mut statement = connection
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'")?;
        let tables = statement
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<Vec<String>>>()?;
        for table in tables {
            let quoted = table.replace('"', "\"\"");
            let has_rows: bool = connection.query_row(
                &format!("SELECT EXISTS (SELECT 1 FROM \"{quoted}\")"),
                [],
                |row| row.get(0),
            )?;
            if has_rows {
                return Ok(false);
            }
        }
        Ok(true)
    };
    look().map_err(|error| while_opening(path, &error))
}

/// Makes a file only its owner can read, if there is none; SQLite's other files take its mode.
pub(super) fn make_file(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

fn make_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

pub(super) fn cannot_open(path: &Path, error: &io::Error) -> StorageError {
    StorageError::Open {
        path: path.to_owned(),
        detail: error.to_string(),
    }
}

/// What SQLite said about a file as a whole.
pub(super) fn while_opening(path: &Path, error: &rusqlite::Error) -> StorageError {
    match of_sqlite("open the database", error) {
        StorageError::Corrupt { detail, .. } => StorageError::Corrupt {
            what: format!("open {}", path.display()),
            detail,
        },
        StorageError::Io { detail, .. } => StorageError::Open {
            path: path.to_owned(),
            detail,
        },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A database whose schema is numbered 0 although it has content, as before the first step.
    fn old(folder: &Path) -> PathBuf {
        let path = folder.join(FILE_NAME);
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch("CREATE TABLE note (word TEXT); INSERT INTO note VALUES ('kept');")
            .unwrap();
        path
    }

    const STEPS: &[Migration] = &[
        Migration {
            name: "notes have a number",
            sql: "ALTER TABLE note ADD COLUMN number INTEGER NOT NULL DEFAULT 7;",
        },
        Migration {
            name: "notes have an author",
            sql: "ALTER TABLE note ADD COLUMN author TEXT;",
        },
    ];

    fn version(path: &Path) -> u32 {
        let connection = Connection::open(path).unwrap();
        connection
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .unwrap()
    }

    fn columns(path: &Path) -> usize {
        let connection = Connection::open(path).unwrap();
        connection
            .prepare("SELECT * FROM note")
            .unwrap()
            .column_count()
    }

    #[test]
    fn each_step_is_taken_after_a_backup() {
        let folder = tempfile::tempdir().unwrap();
        let path = old(folder.path());
        let mut connection = connect_to_write(&path).unwrap();
        migrate(&mut connection, &path, STEPS, Saved::Before).unwrap();
        let row: (String, i64) = connection
            .query_row("SELECT word, number FROM note", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap();
        assert_eq!(row, ("kept".to_owned(), 7));
        assert_eq!((version(&path), columns(&path)), (2, 3));
        let backups = [
            folder.path().join("natter.db.v0.bak"),
            folder.path().join("natter.db.v1.bak"),
        ];
        assert_eq!((version(&backups[0]), columns(&backups[0])), (0, 1));
        assert_eq!((version(&backups[1]), columns(&backups[1])), (1, 2));
    }

    #[test]
    fn a_step_that_fails_leaves_the_schema_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = old(folder.path());
        let mut connection = connect_to_write(&path).unwrap();
        let broken = &[
            Migration {
                name: STEPS[0].name,
                sql: STEPS[0].sql,
            },
            Migration {
                name: "half",
                sql: "ALTER TABLE note ADD COLUMN author TEXT; CREATE TABLE note (word TEXT);",
            },
        ];
        let refused = migrate(&mut connection, &path, broken, Saved::Before);
        assert!(
            matches!(refused, Err(StorageError::Open { .. })),
            "{refused:?}"
        );
        drop(connection);
        assert_eq!((version(&path), columns(&path)), (1, 2));
    }

    #[test]
    fn a_new_database_needs_no_backup() {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path()).unwrap();
        prepare(folder.path()).unwrap();
        let files = fs::read_dir(folder.path()).unwrap();
        assert!(
            files
                .map(|file| file.unwrap().file_name())
                .all(|name| !name.to_string_lossy().ends_with(".bak")),
            "nothing to save"
        );
    }

    #[test]
    fn an_unknown_newer_schema_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = prepare(folder.path()).unwrap();
        let known = u32::try_from(MIGRATIONS.len()).unwrap();
        let connection = Connection::open(&path).unwrap();
        connection
            .pragma_update(None, "user_version", known + 1)
            .unwrap();
        drop(connection);
        let refused = prepare(folder.path()).unwrap_err();
        assert_eq!(
            refused,
            StorageError::Newer {
                path,
                found: known + 1,
                known
            }
        );
    }

    #[test]
    fn a_file_that_is_no_database_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        fs::write(
            &path,
            "this is a letter and no database, but it is long enough to be looked at ".repeat(100),
        )
        .unwrap();
        let refused = prepare(folder.path()).unwrap_err();
        assert!(
            matches!(&refused, StorageError::Corrupt { what, .. } if what.contains(FILE_NAME)),
            "{refused:?}"
        );
    }

    #[cfg(unix)]
    #[test]
    fn only_its_owner_can_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = prepare(&folder.path().join("data")).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            fs::metadata(path.parent().unwrap())
                .unwrap()
                .permissions()
                .mode()
                & 0o777,
            0o700
        );
    }
}
