//! What a backup holds beside the database: kept changes, self-signed certificates, uploads.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::settings::OVERRIDES;

/// What of the data directory is copied, files and folders, where they are there.
const BESIDE: [&str; 3] = [OVERRIDES, "certificates", "uploads"];

/// The folder of files that are being written.
const UNFINISHED: &str = ".tmp";

/// Copies what is there into the folder of a backup; what was written. What an earlier backup left there and is no
/// more is removed: an absent file is part of the state.
pub(crate) fn out(data_dir: &Path, folder: &Path) -> Result<Vec<String>, String> {
    let mut written = Vec::new();
    for name in BESIDE {
        let (from, to) = (data_dir.join(name), folder.join(name));
        told(&to, remove(&to))?;
        if from.exists() {
            told(&from, copy(&from, &to))?;
            written.push(to.display().to_string());
        }
    }
    Ok(written)
}

/// Puts what a backup holds into the data directory; what is there now is kept under another name.
pub(crate) fn into(data_dir: &Path, folder: &Path) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    for name in BESIDE {
        let (from, to) = (folder.join(name), data_dir.join(name));
        // Under another name first: a copy that breaks off replaces nothing.
        let new = data_dir.join(format!("{name}.restored"));
        told(&new, remove(&new))?;
        if from.exists() {
            told(&from, copy(&from, &new))?;
        }
        if to.exists() {
            let saved = beside(data_dir, name);
            told(&to, fs::rename(&to, &saved))?;
            lines.push(format!("{name} of before is in {}", saved.display()));
        }
        if new.exists() {
            told(&new, fs::rename(&new, &to))?;
            lines.push(format!("{name} restored"));
        }
    }
    Ok(lines)
}

/// A name that nothing has yet: `NAME.before-restore.bak`, else `NAME.before-restore.2.bak` and so on.
fn beside(data_dir: &Path, name: &str) -> PathBuf {
    let first = data_dir.join(format!("{name}.before-restore.bak"));
    let more = (2_u64..).map(|number| data_dir.join(format!("{name}.before-restore.{number}.bak")));
    std::iter::once(first)
        .chain(more)
        .find(|path| !path.exists())
        .expect("some number is free")
}

/// Copies a file with its permissions, or a folder with all below it, to the disk.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        fs::copy(from, to)?;
        return fs::File::open(to)?.sync_all();
    }
    fs::create_dir_all(to)?;
    fs::set_permissions(to, from.metadata()?.permissions())?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_name() == UNFINISHED {
            continue;
        }
        match copy(&entry.path(), &to.join(entry.file_name())) {
            // Its time came meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => done?,
        }
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match path.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn told(path: &Path, done: io::Result<()>) -> Result<(), String> {
    done.map_err(|error| format!("{}: {error}", path.display()))
}
