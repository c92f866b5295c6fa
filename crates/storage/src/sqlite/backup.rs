//! Whole copies of the database: out, beside, and back in.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::FILE_NAME;
use super::failure::Failure;
use super::schema::{self, MIGRATIONS, Saved};
use crate::StorageError;

/// How long a copy waits for a lock that another connection holds.
const LOCK_WITHIN: Duration = Duration::from_secs(5);

/// A name beside the database that no file has yet: `natter.db.LABEL.bak`, else `natter.db.LABEL.2.bak` and so on.
pub(super) fn beside(path: &Path, label: &str) -> PathBuf {
    let first = path.with_file_name(format!("{FILE_NAME}.{label}.bak"));
    if !first.exists() {
        return first;
    }
    (2..)
        .map(|number: u64| path.with_file_name(format!("{FILE_NAME}.{label}.{number}.bak")))
        .find(|candidate| !candidate.exists())
        .expect("some number is free")
}

/// Copies the content of one moment into a file, which appears when it is complete and on the disk.
pub(super) fn copy(from: &Connection, into: &Path) -> Result<(), StorageError> {
    let mut name = into.as_os_str().to_owned();
    name.push(".partial");
    let partial = PathBuf::from(name);
    let done = fill(from, &partial).and_then(|()| {
        fs::rename(&partial, into)
            .and_then(|()| sync_folder(into))
            .map_err(|error| schema::cannot_open(into, &error))
    });
    if done.is_err() {
        clear_away(&partial);
    }
    done
}

/// Writes a backup into a folder, which is made if it is not there.
pub(super) fn write(connection: &Connection, folder: &Path) -> Result<PathBuf, Failure> {
    fs::create_dir_all(folder).map_err(|error| schema::cannot_open(folder, &error))?;
    let file = folder.join(FILE_NAME);
    copy(connection, &file)?;
    Ok(file)
}

/// Replaces the content of `live`, whose writer's connection this is, by a backup's; where the old content is.
pub(super) fn restore(
    connection: &mut Connection,
    live: &Path,
    folder: &Path,
) -> Result<PathBuf, Failure> {
    let source = folder.join(FILE_NAME);
    let sound = live.with_file_name(format!("{FILE_NAME}.restore.partial"));
    clear_away(&sound);
    let outcome = prepare_copy(&source, &sound).and_then(|prepared| {
        let saved = beside(live, "before-restore");
        copy(connection, &saved)?;
        transfer(&prepared, connection).map_err(|error| schema::while_opening(live, &error))?;
        Ok(saved)
    });
    clear_away(&sound);
    Ok(outcome?)
}

/// A copy of the backup that is whole and has the present schema.
fn prepare_copy(source: &Path, sound: &Path) -> Result<Connection, StorageError> {
    let backup = schema::connect_to_read(source)?;
    fill(&backup, sound)?;
    let mut prepared = schema::connect_to_write(sound)?;
    let verdict: String = prepared
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| schema::while_opening(source, &error))?;
    if verdict != "ok" {
        return Err(StorageError::Corrupt {
            what: format!("restore {}", source.display()),
            detail: verdict,
        });
    }
    schema::migrate(&mut prepared, source, MIGRATIONS, Saved::Not)?;
    Ok(prepared)
}

/// Fills a new file and brings it to the disk.
fn fill(from: &Connection, path: &Path) -> Result<(), StorageError> {
    clear_away(path);
    schema::make_file(path).map_err(|error| schema::cannot_open(path, &error))?;
    let mut copy = Connection::open(path).map_err(|error| schema::while_opening(path, &error))?;
    transfer(from, &mut copy).map_err(|error| schema::while_opening(path, &error))?;
    copy.close()
        .map_err(|(_, error)| schema::while_opening(path, &error))?;
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|error| schema::cannot_open(path, &error))
}

/// Copies all pages in one step: one moment's content, and writers are not waited for.
fn transfer(from: &Connection, into: &mut Connection) -> rusqlite::Result<()> {
    // SQLite itself waits for a lock that another connection holds.
    from.busy_timeout(LOCK_WITHIN)?;
    into.busy_timeout(LOCK_WITHIN)?;
    if Backup::new(from, into)?.step(-1)? == StepResult::Done {
        return Ok(());
    }
    Err(rusqlite::Error::SqliteFailure(
        rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
        Some("another connection holds the database".to_owned()),
    ))
}

/// Brings a renaming to the disk.
fn sync_folder(file: &Path) -> io::Result<()> {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

/// Removes a file of ours and what SQLite may have put beside it.
fn clear_away(path: &Path) {
    for end in ["", "-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        let name = PathBuf::from(name);
        match fs::remove_file(&name) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(target: "natter::storage", file = %name.display(), %error, "a temporary file stays");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_backup_is_brought_to_the_present_schema() {
        let folder = tempfile::tempdir().unwrap();
        let backup = folder.path().join("backup");
        fs::create_dir(&backup).unwrap();
        let old = backup.join(FILE_NAME);
        schema::make_file(&old).unwrap();
        let mut connection = schema::connect_to_write(&old).unwrap();
        schema::migrate(&mut connection, &old, &MIGRATIONS[..1], Saved::Not).unwrap();
        connection
            .execute_batch(
                "INSERT INTO account (host, local, created) VALUES ('a.example', 'alice', 0)",
            )
            .unwrap();
        drop(connection);
        let before = fs::read(&old).unwrap();

        let live = schema::prepare(&folder.path().join("data")).unwrap();
        let mut writer = schema::connect_to_write(&live).unwrap();
        let saved = restore(&mut writer, &live, &backup).unwrap();
        let reader = schema::connect_to_read(&live).unwrap();
        let version: u32 = reader
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .unwrap();
        assert_eq!(version as usize, MIGRATIONS.len());
        let name: String = reader
            .query_row("SELECT local FROM account", [], |row| row.get(0))
            .unwrap();
        assert_eq!(name, "alice");
        assert!(reader.prepare("SELECT * FROM offline").is_ok());
        assert_eq!(saved, live.with_file_name("natter.db.before-restore.bak"));
        assert_eq!(
            fs::read(&old).unwrap(),
            before,
            "the backup itself stays as it is"
        );
        let again = restore(&mut writer, &live, &backup).unwrap();
        assert_eq!(again, live.with_file_name("natter.db.before-restore.2.bak"));
    }

    #[test]
    fn a_newer_backup_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let backup = folder.path().join("backup");
        let newer = schema::prepare(&backup).unwrap();
        let connection = schema::connect_to_write(&newer).unwrap();
        connection
            .pragma_update(None, "user_version", 9999)
            .unwrap();
        drop(connection);
        let live = schema::prepare(&folder.path().join("data")).unwrap();
        let mut writer = schema::connect_to_write(&live).unwrap();
        let refused = restore(&mut writer, &live, &backup).unwrap_err();
        assert!(
            matches!(
                refused,
                Failure::Told(StorageError::Newer { found: 9999, .. })
            ),
            "{refused:?}"
        );
    }
}
