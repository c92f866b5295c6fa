//! The file of hot changes: set, unset, written whole or not at all.

use crate::raw::{Node, Raw, Table};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use toml_edit::{DocumentMut, Item};

/// Why the hot changes could not be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum OverridesError {
    /// The file could not be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no TOML.
    #[error("{0}")]
    Syntax(crate::error::Errors),
    /// The file could not be written; the old one still stands.
    #[error("cannot write {path}: {source}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A value stands where a table would have to.
    #[error("{0} is no table")]
    NoTable(String),
}

/// The hot changes of a node: a TOML file that keeps its order and comments while values are set and unset.
///
/// Nothing is written before [`Overrides::save`].
pub struct Overrides {
    path: PathBuf,
    document: DocumentMut,
}

impl Overrides {
    /// Reads the file at `path`; one that does not exist is empty.
    ///
    /// # Errors
    ///
    /// The file cannot be read or is no TOML.
    pub fn open(path: &Path) -> Result<Overrides, OverridesError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => {
                let path = path.to_owned();
                return Err(OverridesError::Read { path, source });
            }
        };
        let checked = crate::document::Document::parse_overrides(&path.to_string_lossy(), &text);
        checked.map_err(OverridesError::Syntax)?;
        let document = text.parse().expect("a text that parsed once parses again");
        Ok(Overrides {
            path: path.to_owned(),
            document,
        })
    }

    /// Sets the value at `path`, making the tables on the way.
    ///
    /// # Errors
    ///
    /// A value stands where a table would have to.
    pub fn set(&mut self, path: &[&str], value: &Raw) -> Result<(), OverridesError> {
        let (Some((last, way)), false) = (path.split_last(), matches!(&value.node, Node::Table(_)))
        else {
            return self.set_table(path, value);
        };
        let mut table = self.document.as_table_mut();
        for (depth, step) in way.iter().enumerate() {
            let item = table.entry(step).or_insert_with(|| {
                let mut made = toml_edit::Table::new();
                made.set_implicit(true);
                Item::Table(made)
            });
            let Some(below) = item.as_table_mut() else {
                return Err(OverridesError::NoTable(path[..=depth].join(".")));
            };
            table = below;
        }
        match table.get_mut(last) {
            Some(Item::Value(old)) => {
                let decor = old.decor().clone();
                *old = value.to_item();
                *old.decor_mut() = decor;
            }
            _ => drop(table.insert(last, Item::Value(value.to_item()))),
        }
        Ok(())
    }

    fn set_table(&mut self, path: &[&str], value: &Raw) -> Result<(), OverridesError> {
        let nothing = Table::default();
        let table = value.as_table().unwrap_or(&nothing);
        for entry in &table.entries {
            let mut below = path.to_vec();
            below.push(&entry.key);
            self.set(&below, &entry.value)?;
        }
        Ok(())
    }

    /// Removes what stands at `path`, value or whole table, and the tables that become empty by it. Says whether
    /// anything stood there.
    pub fn unset(&mut self, path: &[&str]) -> bool {
        remove(self.document.as_table_mut(), path)
    }

    /// Says whether anything stands at `path`.
    pub fn contains(&self, path: &[&str]) -> bool {
        let mut item = self.document.as_item();
        for step in path {
            match item.get(step) {
                Some(below) => item = below,
                None => return false,
            }
        }
        true
    }

    /// The text as it would be written.
    pub fn text(&self) -> String {
        self.document.to_string()
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the file: a temporary one beside it, mode 0600, synced, then renamed over it, then the folder synced.
    /// A crash at any moment leaves the old text or the new one. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// The system refused a step; the old file still stands.
    pub fn save(&self) -> Result<(), OverridesError> {
        self.write().map_err(|source| OverridesError::Write {
            path: self.path.clone(),
            source,
        })
    }

    fn write(&self) -> io::Result<()> {
        let mut name = self.path.clone().into_os_string();
        name.push(".new");
        let temporary = PathBuf::from(name);
        // One left behind by a crash is of no use to anybody.
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(self.text().as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temporary, &self.path)?;
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        File::open(folder)?.sync_all()
    }
}

fn remove(table: &mut toml_edit::Table, path: &[&str]) -> bool {
    let Some((first, rest)) = path.split_first() else {
        return false;
    };
    if rest.is_empty() {
        return table.remove(first).is_some();
    }
    let Some(below) = table.get_mut(first).and_then(Item::as_table_mut) else {
        return false;
    };
    let removed = remove(below, rest);
    if removed && below.is_empty() {
        table.remove(first);
    }
    removed
}
