//! Where the files lie: `uploads/HOST/OWNER/ID` in the data folder, and `uploads/.tmp` while they come in.
//!
//! A file is written under another name, brought to the disk, and only then takes its own: what has its name is whole.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use sha2::{Digest, Sha256};
use storage::Upload;
use xmpp::BareJid;

/// Where files are written before they have their name.
const DRAFTS: &str = ".tmp";

/// What writes the files. The system does, but in tests that need a disk that is full.
pub trait Disk: Send + Sync {
    /// Writes these bytes behind what was written.
    ///
    /// # Errors
    ///
    /// As the system's: there is no room, or the disk is broken. Some may have been written.
    fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    /// Brings what was written to where it outlasts a loss of power.
    ///
    /// # Errors
    ///
    /// As above.
    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }
}

/// The system's own.
struct Usual;

impl Disk for Usual {}

/// The folder of all files.
#[derive(Clone)]
pub(crate) struct Shelf {
    folder: Arc<PathBuf>,
    disk: Arc<RwLock<Arc<dyn Disk>>>,
}

impl Shelf {
    pub(crate) fn new(folder: PathBuf) -> Shelf {
        Shelf {
            folder: Arc::new(folder),
            disk: Arc::new(RwLock::new(Arc::new(Usual))),
        }
    }

    /// Has files that are begun from now on written by this.
    pub(crate) fn write_by(&self, disk: Arc<dyn Disk>) {
        *self.disk.write() = disk;
    }

    fn of_host(&self, host: &str) -> PathBuf {
        self.folder.join(host)
    }

    /// Names may hold what a file's cannot: a digest stands for them.
    fn of_owner(&self, owner: &BareJid) -> PathBuf {
        let digest = Sha256::digest(owner.as_str().as_bytes());
        let name: String = digest[..16].iter().map(|b| format!("{b:02x}")).collect();
        self.of_host(owner.domain().as_str()).join(name)
    }

    fn path(&self, upload: &Upload) -> PathBuf {
        self.of_owner(&upload.owner).join(&upload.id)
    }

    /// Opens a file to be written.
    pub(crate) async fn begin(&self, upload: &Upload) -> io::Result<Draft> {
        let folder = self.folder.join(DRAFTS);
        let disk = Arc::clone(&self.disk.read());
        let (path, place) = (folder.join(&upload.id), self.path(upload));
        blocking(move || {
            make(&folder)?;
            // Left by a run of the server that ended while it was written: whoever writes now is the only one.
            removed(fs::remove_file(&path))?;
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?;
            Ok(Draft {
                file: Some(Arc::new(file)),
                disk,
                path,
                place,
            })
        })
        .await
    }

    /// Opens a file to be read; with its length.
    pub(crate) async fn open(&self, upload: &Upload) -> io::Result<(File, u64)> {
        let path = self.path(upload);
        blocking(move || {
            let file = File::open(path)?;
            let length = file.metadata()?.len();
            Ok((file, length))
        })
        .await
    }

    /// Removes a file. One that is not there is removed.
    pub(crate) async fn remove(&self, upload: &Upload) -> io::Result<()> {
        let path = self.path(upload);
        blocking(move || removed(fs::remove_file(path))).await
    }

    /// Removes all files of an account.
    pub(crate) async fn remove_owner(&self, owner: &BareJid) -> io::Result<()> {
        let folder = self.of_owner(owner);
        blocking(move || removed(fs::remove_dir_all(folder))).await
    }

    /// Removes what was left of files that were being written, but those of which `is_written` is true.
    pub(crate) async fn remove_drafts(
        &self,
        is_written: impl Fn(&str) -> bool + Send + 'static,
    ) -> io::Result<()> {
        let folder = self.folder.join(DRAFTS);
        blocking(move || {
            for name in names(&folder)? {
                if !is_written(&name) {
                    removed(fs::remove_file(folder.join(name)))?;
                }
            }
            Ok(())
        })
        .await
    }

    /// The folders of a host's accounts, by their names.
    pub(crate) async fn owners(&self, host: &str) -> io::Result<Vec<String>> {
        let folder = self.of_host(host);
        blocking(move || names(&folder)).await
    }

    /// The ids of the files in one of them. An empty one is removed.
    pub(crate) async fn ids(&self, host: &str, owner: &str) -> io::Result<Vec<String>> {
        let folder = self.of_host(host).join(owner);
        blocking(move || {
            let ids = names(&folder)?;
            if ids.is_empty() {
                // One that has got a file meanwhile stays.
                let _ = fs::remove_dir(&folder);
            }
            Ok(ids)
        })
        .await
    }

    /// Removes files that nobody knows.
    pub(crate) async fn remove_ids(
        &self,
        host: &str,
        owner: &str,
        ids: Vec<String>,
    ) -> io::Result<()> {
        let folder = self.of_host(host).join(owner);
        blocking(move || {
            ids.iter()
                .try_for_each(|id| removed(fs::remove_file(folder.join(id))))
        })
        .await
    }
}

/// A file that is being written. Dropped before it is kept it leaves nothing.
pub(crate) struct Draft {
    file: Option<Arc<File>>,
    disk: Arc<dyn Disk>,
    path: PathBuf,
    place: PathBuf,
}

impl Draft {
    /// Writes more.
    pub(crate) async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        let (file, disk) = (self.file.clone(), Arc::clone(&self.disk));
        blocking(move || match file {
            Some(file) => disk.write(&file, &bytes),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        })
        .await
    }

    /// Brings it to the disk and gives it its name.
    pub(crate) async fn keep(mut self) -> io::Result<()> {
        let (file, disk) = (self.file.take(), Arc::clone(&self.disk));
        let (path, place) = (self.path.clone(), self.place.clone());
        blocking(move || {
            let Some(file) = file else {
                return Err(io::ErrorKind::BrokenPipe.into());
            };
            disk.sync(&file)?;
            let folder = place.parent().unwrap_or(Path::new("."));
            make(folder)?;
            if fs::rename(&path, &place).is_err() {
                // The folder was empty a moment ago, and may have been removed for that.
                make(folder)?;
                fs::rename(&path, &place)?;
            }
            File::open(folder)?.sync_all()
        })
        .await
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // That of one that was kept is not there any more.
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether there is no room for it: of the disk, or of what the system lets this user have.
pub(crate) fn is_full(error: &io::Error) -> bool {
    let kinds = [
        io::ErrorKind::StorageFull,
        io::ErrorKind::QuotaExceeded,
        io::ErrorKind::FileTooLarge,
    ];
    kinds.contains(&error.kind())
}

/// Makes a folder, for nobody else's eyes.
fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Names of what is in a folder; none of one that is not there.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        // What we put there has a name of ASCII; the rest is not ours to touch.
        names.extend(entry?.file_name().into_string());
    }
    Ok(names)
}

fn removed(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(io::Error::other(error)))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn upload() -> Upload {
        let at = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        Upload {
            id: "an-id".to_owned(),
            owner: xmpp::parse_bare("alice@a.example").expect("an address"),
            name: "x.png".to_owned(),
            media: "image/png".to_owned(),
            size: 4,
            created: at,
            deadline: at,
            stored: None,
            expires: at,
        }
    }

    #[tokio::test]
    async fn a_file_has_its_name_when_it_is_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let shelf = Shelf::new(folder.path().join("uploads"));
        let upload = upload();
        let drafts = folder.path().join("uploads/.tmp");
        let mut draft = shelf.begin(&upload).await.expect("a draft");
        draft.write(Bytes::from("half")).await.expect("written");
        assert_eq!(names(&drafts).expect("listed"), ["an-id"]);
        assert!(shelf.open(&upload).await.is_err(), "it has no name yet");
        drop(draft);
        assert!(names(&drafts).expect("listed").is_empty());

        let mut draft = shelf.begin(&upload).await.expect("a draft");
        draft.write(Bytes::from("whole")).await.expect("written");
        draft.keep().await.expect("kept");
        assert_eq!(shelf.open(&upload).await.expect("there").1, 5);
        let owners = shelf.owners("a.example").await.expect("listed");
        let ids = shelf.ids("a.example", &owners[0]).await.expect("listed");
        assert_eq!(ids, ["an-id"]);
        shelf.remove(&upload).await.expect("removed");
        shelf.remove(&upload).await.expect("removed already");
        let none = shelf.ids("a.example", &owners[0]).await.expect("listed");
        assert!(none.is_empty());
        assert!(shelf.owners("a.example").await.expect("listed").is_empty());
    }

    #[tokio::test]
    async fn a_full_disk_is_told_from_other_failures() {
        let full = OpenOptions::new().write(true).open("/dev/full");
        let mut draft = Draft {
            file: Some(Arc::new(full.expect("the system has it"))),
            disk: Arc::new(Usual),
            path: PathBuf::from("/nowhere/draft"),
            place: PathBuf::from("/nowhere/file"),
        };
        let error = draft.write(Bytes::from("x")).await.expect_err("full");
        assert!(is_full(&error), "{error}");
        assert!(!is_full(&io::ErrorKind::PermissionDenied.into()));
    }
}
