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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;
    use std::os::unix::fs::PermissionsExt;

    fn number(n: i64) -> Raw {
        Raw::made(Node::Integer(n))
    }

    #[test]
    fn values_are_set_and_unset_and_the_rest_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("overrides.toml");
        std::fs::write(&path, "# kept\n[modules.mod_x]\nmax = 1 # why\n").expect("written");
        let mut overrides = Overrides::open(&path).expect("opened");
        overrides
            .set(&["modules", "mod_x", "max"], &number(2))
            .expect("set");
        overrides
            .set(
                &["host", "a.b", "modules", "mod_echo", "enabled"],
                &Raw::made(Node::Bool(true)),
            )
            .expect("set");
        overrides.save().expect("saved");
        let text = std::fs::read_to_string(&path).expect("read");
        let expected = "# kept\n[modules.mod_x]\nmax = 2 # why\n\n[host.\"a.b\".modules.mod_echo]\nenabled = true\n";
        assert_eq!(text, expected);
        let mode = std::fs::metadata(&path)
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            std::fs::read_dir(folder.path()).expect("a folder").count(),
            1
        );

        let mut again = Overrides::open(&path).expect("opened");
        assert!(again.contains(&["host", "a.b"]));
        assert!(again.unset(&["host", "a.b", "modules", "mod_echo"]));
        assert!(!again.contains(&["host"]));
        assert!(!again.unset(&["host", "a.b", "modules", "mod_echo"]));
        again.save().expect("saved");
        assert_eq!(
            std::fs::read_to_string(&path).expect("read"),
            "# kept\n[modules.mod_x]\nmax = 2 # why\n"
        );
    }

    #[test]
    fn a_whole_table_can_be_set() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut overrides = Overrides::open(&folder.path().join("none.toml")).expect("opened");
        let table =
            Document::parse("x", "a = 1\nb = ['x']\n[c]\nd = '2 s'\n").expect("well-formed");
        let table = Raw::made(Node::Table(table.root().clone()));
        overrides.set(&["m"], &table).expect("set");
        assert_eq!(
            overrides.text(),
            "[m]\na = 1\nb = [\"x\"]\n\n[m.c]\nd = \"2 s\"\n"
        );
        let told = overrides
            .set(&["m", "a", "x"], &number(1))
            .expect_err("refused");
        assert_eq!(told.to_string(), "m.a is no table");
    }

    #[test]
    fn what_cannot_be_read_or_written_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("overrides.toml");
        std::fs::write(&path, "x = = 1").expect("written");
        let told = Overrides::open(&path).err().expect("no TOML").to_string();
        assert!(
            told.starts_with(&format!("{}:1:5: ", path.display())),
            "{told}"
        );
        let nowhere = folder.path().join("no/overrides.toml");
        let told = Overrides::open(&nowhere)
            .expect("empty")
            .save()
            .expect_err("no folder")
            .to_string();
        assert_eq!(
            told,
            format!(
                "cannot write {}: No such file or directory (os error 2)",
                nowhere.display()
            )
        );
        let told = Overrides::open(folder.path())
            .err()
            .expect("a folder")
            .to_string();
        assert_eq!(
            told,
            format!(
                "cannot read {}: Is a directory (os error 21)",
                folder.path().display()
            )
        );
    }
}
