//! Accounts into files.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use futures_util::{StreamExt, TryStreamExt, stream};
use storage::{Storage, StorageError, WholeAccount};
use xmpp::BareJid;

use crate::pie;

/// How many accounts one look at the list brings.
const PAGE: usize = 200;

/// How many accounts are read from the store at a time.
const AT_ONCE: usize = 4;

/// How much is gathered before it is written, in bytes.
const BUFFER: usize = 1024 * 1024;

/// The name of the file that names the others, where there is one for each host.
const INDEX: &str = "accounts.xml";

/// What is to be exported.
pub struct Export {
    /// The file to write; or a folder, which gets one file for each host, and one that names them.
    pub path: PathBuf,
    /// Whether `path` is a folder although nothing is there yet.
    pub folder: bool,
    /// The hosts whose accounts are written.
    pub hosts: Vec<String>,
    /// Only accounts of this name.
    pub user: Option<String>,
}

/// What was exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// How many accounts.
    pub accounts: u64,
    /// How many stored things were left out, because they are no XML.
    pub left_out: u64,
    /// The files that were written.
    pub files: Vec<PathBuf>,
}

/// Why an export failed. What was at its place before is still there.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(#[from] StorageError),
    /// The system refused a step.
    #[error("cannot {step} {path}: {source}", path = path.display())]
    System {
        /// What was tried.
        step: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Writing was broken off, because the program ends.
    #[error("broken off")]
    BrokenOff,
}

/// Writes accounts to files that only their owner can read (mode 0600), and tells `progress` how many of how many are
/// written. The files take their names when all are complete; until then they end in `.part`, and when the export fails
/// they are removed.
///
/// # Errors
///
/// As [`ExportError`] says.
pub async fn export(
    order: &Export,
    storage: &Storage,
    progress: impl Fn(u64, u64),
) -> Result<Exported, ExportError> {
    let total = count(order, storage).await?;
    let mut done = Exported {
        accounts: 0,
        left_out: 0,
        files: Vec::new(),
    };
    let mut writing = Writing::begin(order).await?;
    for host in &order.hosts {
        writing.begin_host(host).await?;
        let mut after = None;
        loop {
            let page = page(order, storage, host, after.as_deref()).await?;
            let Some(last) = page.last() else { break };
            after = last.node().map(|node| node.as_str().to_owned());
            let wholes = stream::iter(page)
                .map(|account: BareJid| async move { storage.whole(&account).await });
            let mut wholes = std::pin::pin!(wholes.buffered(AT_ONCE));
            while let Some(whole) = wholes.try_next().await? {
                // Removed since it was listed.
                let Some(whole) = whole else { continue };
                let (text, left_out) = text(&whole);
                writing.add(&text).await?;
                done.accounts += 1;
                done.left_out += left_out;
                progress(done.accounts, total.max(done.accounts));
            }
            if order.user.is_some() {
                break;
            }
        }
        writing.add(pie::host_tail()).await?;
    }
    done.files = writing.finish().await?;
    Ok(done)
}

fn text(whole: &WholeAccount) -> (String, u64) {
    let (text, left_out) = pie::user(whole);
    if left_out > 0 {
        tracing::warn!(target: "natter::port", account = %whole.address, left_out, "not exported: no XML");
    }
    (text, left_out)
}

async fn count(order: &Export, storage: &Storage) -> Result<u64, StorageError> {
    let mut total = 0;
    for host in &order.hosts {
        total += match &order.user {
            Some(_) => page(order, storage, host, None).await?.len() as u64,
            None => storage.accounts.count(host).await?,
        };
    }
    Ok(total)
}

/// The next accounts of a host.
async fn page(
    order: &Export,
    storage: &Storage,
    host: &str,
    after: Option<&str>,
) -> Result<Vec<BareJid>, StorageError> {
    let Some(user) = &order.user else {
        return storage.accounts.list(host, after, PAGE).await;
    };
    // A name that cannot be one is nobody's.
    let Ok(account) = xmpp::parse_bare(&format!("{user}@{host}")) else {
        return Ok(Vec::new());
    };
    let exists = account.node().is_some() && storage.accounts.exists(&account).await?;
    Ok(if exists { vec![account] } else { Vec::new() })
}

/// The files of an export, and what waits to be written to the last one.
struct Writing {
    files: Option<Files>,
    text: String,
    /// The folder, where each host has a file.
    folder: Option<PathBuf>,
}

impl Writing {
    async fn begin(order: &Export) -> Result<Writing, ExportError> {
        let path = order.path.clone();
        let is_folder = order.folder;
        let (files, folder) = blocking(move || {
            let mut files = Files::default();
            let folder = (is_folder || path.is_dir()).then(|| path.clone());
            match &folder {
                Some(folder) => {
                    make_folder(folder)?;
                    files.open(&folder.join(INDEX))?;
                }
                None => files.open(&path)?,
            }
            Ok((files, folder))
        })
        .await?;
        let mut writing = Writing {
            files: Some(files),
            text: pie::HEAD.to_owned(),
            folder,
        };
        if writing.folder.is_some() {
            for host in &order.hosts {
                let name = pie::include(&file_of(host));
                writing.text.push_str(&name);
            }
            writing.text.push_str(pie::TAIL);
        }
        Ok(writing)
    }

    async fn begin_host(&mut self, host: &str) -> Result<(), ExportError> {
        if let Some(folder) = &self.folder {
            let path = folder.join(file_of(host));
            self.write(move |files| files.open(&path)).await?;
            self.text
                .push_str("<?xml version='1.0' encoding='UTF-8'?>\n");
        }
        self.text.push_str(&pie::host_head(host));
        Ok(())
    }

    async fn add(&mut self, text: &str) -> Result<(), ExportError> {
        self.text.push_str(text);
        if self.text.len() < BUFFER {
            return Ok(());
        }
        self.write(|_| Ok(())).await
    }

    /// Writes what waits, and then does something else with the files.
    async fn write(
        &mut self,
        then: impl FnOnce(&mut Files) -> Result<(), ExportError> + Send + 'static,
    ) -> Result<(), ExportError> {
        let text = std::mem::take(&mut self.text);
        let mut files = self.files.take().expect("files are given back");
        let files = blocking(move || {
            files.write(text.as_bytes())?;
            then(&mut files)?;
            Ok(files)
        });
        self.files = Some(files.await?);
        Ok(())
    }

    async fn finish(mut self) -> Result<Vec<PathBuf>, ExportError> {
        if self.folder.is_none() {
            self.text.push_str(pie::TAIL);
        }
        self.write(|_| Ok(())).await?;
        let files = self.files.take().expect("files are given back");
        blocking(move || files.finish()).await
    }
}

/// The name of a host's file. A domain has no slash; an IPv6 address has colons, which a name may have.
fn file_of(host: &str) -> String {
    format!("{host}.xml")
}

/// Does what may wait for a disk away from the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ExportError> + Send + 'static,
) -> Result<T, ExportError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(_) => Err(ExportError::BrokenOff),
    }
}

/// Files that are being written under other names. Dropped, they are removed.
#[derive(Default)]
struct Files {
    /// The name each has now, and the one it is to have.
    names: Vec<(PathBuf, PathBuf)>,
    last: Option<File>,
}

impl Files {
    fn open(&mut self, path: &Path) -> Result<(), ExportError> {
        self.sync()?;
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        match fs::remove_file(&part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(refused("replace", &part, error));
            }
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options
            .open(&part)
            .map_err(|error| refused("write", &part, error))?;
        self.names.push((part, path.to_owned()));
        self.last = Some(file);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        let (Some(file), Some((part, _))) = (&mut self.last, self.names.last()) else {
            return Ok(());
        };
        file.write_all(bytes)
            .map_err(|error| refused("write", part, error))
    }

    fn sync(&mut self) -> Result<(), ExportError> {
        let (Some(file), Some((part, _))) = (self.last.take(), self.names.last()) else {
            return Ok(());
        };
        file.sync_all()
            .map_err(|error| refused("write", part, error))
    }

    fn finish(mut self) -> Result<Vec<PathBuf>, ExportError> {
        self.sync()?;
        let mut done = Vec::new();
        for (part, path) in &self.names {
            fs::rename(part, path).map_err(|error| refused("replace", path, error))?;
            done.push(path.clone());
        }
        self.names.clear();
        Ok(done)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for (part, _) in &self.names {
            // One that took its name already is no longer there.
            let _ = fs::remove_file(part);
        }
    }
}

fn make_folder(path: &Path) -> Result<(), ExportError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(path)
        .map_err(|error| refused("make", path, error))
}

fn refused(step: &'static str, path: &Path, source: io::Error) -> ExportError {
    let path = path.to_owned();
    ExportError::System { step, path, source }
}
