//! The Unix socket of the control door: bound once for a node, found by its clients.

use parking_lot::Mutex;
use std::fs::{File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The longest path the system takes for a socket: `sun_path` with its closing zero.
const LONGEST_PATH: usize = 107;

/// Why the control socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The path does not fit into a socket address.
    #[error("control socket {path}: the path has {bytes} bytes, the system takes {LONGEST_PATH}; set another control_socket", path = path.display())]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
    /// Another node runs with this socket.
    #[error("control socket {path}: another node is running with it", path = path.display())]
    Taken {
        /// The path.
        path: PathBuf,
    },
    /// Something that is no socket stands at the path; it is not touched.
    #[error("control socket {path}: there is something else of this name", path = path.display())]
    NoSocket {
        /// The path.
        path: PathBuf,
    },
    /// The system refused a step.
    #[error("control socket {path}: cannot {step}: {source}", path = path.display())]
    System {
        /// The path.
        path: PathBuf,
        /// What was tried.
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// A control socket, open from [`ControlSocket::bind`] until the last clone is dropped or its process is stopped.
/// Restarts of the process that serves it keep it open, so that no client is lost.
///
/// A file beside it, `NAME.lock`, is locked as long: a socket file whose lock is free was left behind by a node that
/// died, and is replaced.
#[derive(Clone, Debug)]
pub struct ControlSocket(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    listener: UnixListener,
    owner: u32,
    _lock: File,
}

impl ControlSocket {
    /// Opens the socket at `path`, readable and writable by this user alone (mode 0600).
    ///
    /// # Errors
    ///
    /// The path is too long or taken, or the system refuses.
    pub fn bind(path: &Path) -> Result<ControlSocket, BindError> {
        let open = open(path)?;
        Ok(ControlSocket(Arc::new(Inner {
            path: path.to_owned(),
            open: Mutex::new(Some(open)),
        })))
    }

    /// Where the socket is.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Gives the open listener, opening it again if it was closed, and the user it belongs to.
    pub(crate) fn listener(&self) -> Result<(UnixListener, u32), BindError> {
        let mut slot = self.0.open.lock();
        let open = match slot.take() {
            Some(open) => slot.insert(open),
            None => slot.insert(open(&self.0.path)?),
        };
        let listener = step(&self.0.path, "share it", open.listener.try_clone())?;
        Ok((listener, open.owner))
    }

    /// Closes the socket and removes its file.
    pub(crate) fn close(&self) {
        close(&self.0.path, self.0.open.lock().take());
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        close(&self.path, self.open.get_mut().take());
    }
}

/// The lock is held until the file is gone, so what is removed is ours.
fn close(path: &Path, open: Option<Open>) {
    if let Some(open) = open {
        // What cannot be removed is replaced by the next node, since its lock is free then.
        let _ = std::fs::remove_file(path);
        drop(open);
    }
}

fn open(path: &Path) -> Result<Open, BindError> {
    let bytes = path.as_os_str().len();
    if bytes > LONGEST_PATH {
        let path = path.to_owned();
        return Err(BindError::TooLong { path, bytes });
    }
    let lock = lock(path)?;
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {
            step(path, "replace it", std::fs::remove_file(path))?
        }
        Ok(_) => {
            return Err(BindError::NoSocket {
                path: path.to_owned(),
            });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return step(path, "look at it", Err(error)),
    }
    let listener = step(path, "bind it", UnixListener::bind(path))?;
    step(
        path,
        "set its mode",
        std::fs::set_permissions(path, Permissions::from_mode(0o600)),
    )?;
    step(
        path,
        "set it to non-blocking",
        listener.set_nonblocking(true),
    )?;
    let owner = step(path, "look at it", std::fs::metadata(path))?.uid();
    Ok(Open {
        listener,
        owner,
        _lock: lock,
    })
}

fn lock(path: &Path) -> Result<File, BindError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let mut options = File::options();
    let opened = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(PathBuf::from(name));
    let file = step(path, "open its lock", opened)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BindError::Taken {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(error)) => step(path, "lock it", Err(error)),
    }
}

fn step<T>(path: &Path, step: &'static str, done: io::Result<T>) -> Result<T, BindError> {
    done.map_err(|source| BindError::System {
        path: path.to_owned(),
        step,
        source,
    })
}

/// Dials the socket of a running node.
pub(crate) fn dial(path: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_nodes_socket_is_replaced_and_a_live_ones_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ctl");
        drop(UnixListener::bind(&path).expect("bound"));
        assert!(path.exists(), "left behind by a node that died");

        let socket = ControlSocket::bind(&path).expect("replaced");
        let mode = std::fs::metadata(&path)
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let told = ControlSocket::bind(&path).expect_err("taken").to_string();
        assert_eq!(
            told,
            format!(
                "control socket {}: another node is running with it",
                path.display()
            )
        );
        assert!(dial(&path).is_ok(), "the live socket is untouched");

        drop(socket);
        assert!(!path.exists());
        assert!(ControlSocket::bind(&path).is_ok());
    }

    #[test]
    fn a_closed_socket_opens_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ctl");
        let socket = ControlSocket::bind(&path).expect("bound");
        socket.close();
        assert!(!path.exists());
        let listener = socket.listener();
        assert!(listener.is_ok() && path.exists());
    }

    #[test]
    fn what_cannot_be_a_socket_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let long = folder.path().join("x".repeat(120));
        let told = ControlSocket::bind(&long)
            .expect_err("too long")
            .to_string();
        let bytes = long.as_os_str().len();
        assert_eq!(
            told,
            format!(
                "control socket {}: the path has {bytes} bytes, the system takes 107; set another control_socket",
                long.display()
            )
        );
        let file = folder.path().join("file");
        std::fs::write(&file, "kept").expect("written");
        let told = ControlSocket::bind(&file).expect_err("a file").to_string();
        assert_eq!(
            told,
            format!(
                "control socket {}: there is something else of this name",
                file.display()
            )
        );
        assert_eq!(std::fs::read_to_string(&file).expect("kept"), "kept");
        let nowhere = folder.path().join("no/ctl");
        let told = ControlSocket::bind(&nowhere)
            .expect_err("no folder")
            .to_string();
        assert_eq!(
            told,
            format!(
                "control socket {}: cannot open its lock: No such file or directory (os error 2)",
                nowhere.display()
            )
        );
    }
}
