//! An open file as the body of a reply.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::{Error, Source};

/// An open file that is read as it is sent, from any byte on.
#[derive(Debug)]
pub struct FileSource {
    file: Arc<File>,
    size: u64,
}

impl FileSource {
    /// A file of so many bytes.
    pub fn new(file: File, size: u64) -> FileSource {
        FileSource::shared(Arc::new(file), size)
    }

    pub(crate) fn shared(file: Arc<File>, size: u64) -> FileSource {
        FileSource { file, size }
    }
}

impl Source for FileSource {
    fn length(&self) -> u64 {
        self.size
    }

    fn read(&mut self, from: u64, most: usize) -> BoxFuture<'_, Result<Bytes, Error>> {
        let file = self.file.clone();
        let work = move || {
            let mut bytes = vec![0; most];
            let mut filled = 0;
            while filled < most {
                let read = file.read_at(&mut bytes[filled..], from + filled as u64);
                match read {
                    Ok(0) => break,
                    Ok(count) => filled += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => {
                        return Err(Error::internal(format!("a file was not read: {error}")));
                    }
                }
            }
            bytes.truncate(filled);
            Ok(Bytes::from(bytes))
        };
        blocking(work).boxed()
    }
}

/// Does what waits for the disk where nobody else waits.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(Error::internal("a file was not read")))
}
