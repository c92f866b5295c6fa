//! Files whose time has come, slots that nobody filled, and files that no row knows.

use std::io;

use storage::StorageError;

use super::service::Service;

/// How many are looked at together: between two slices others have their turn.
const SLICE: usize = 100;

/// Why not all was removed.
#[derive(Debug, thiserror::Error)]
enum CleanError {
    #[error(transparent)]
    Store(#[from] StorageError),
    #[error(transparent)]
    Disk(#[from] io::Error),
}

/// Removes what is over.
pub(crate) async fn over(service: &Service) {
    match remove_over(service).await {
        Ok(0) => {}
        Ok(count) => {
            tracing::debug!(target: "natter::web", host = &*service.host.name, count, "old files and slots were removed");
        }
        Err(error) => {
            tracing::warn!(target: "natter::web", host = &*service.host.name, %error, "old files were not removed");
        }
    }
}

async fn remove_over(service: &Service) -> Result<u64, CleanError> {
    let (host, uploads) = (&service.host, service.web().uploads());
    let mut count = 0;
    loop {
        let now = host.clock.wall();
        let over = host.storage.uploads.over(&host.name, now, SLICE).await?;
        let is_last = over.len() < SLICE;
        // What comes in now was begun in time.
        let is_over = |upload: &storage::Upload| !uploads.is_coming(&upload.id);
        let mut ids = Vec::with_capacity(over.len());
        for upload in over.into_iter().filter(is_over) {
            // The file first: a row without a file is found again, a file without a row is not.
            uploads.shelf.remove(&upload).await?;
            ids.push(upload.id);
        }
        if ids.is_empty() {
            return Ok(count);
        }
        count += host.storage.uploads.remove(&host.name, ids).await?;
        if is_last {
            return Ok(count);
        }
    }
}

/// Removes files that no row knows: of accounts that were removed while the service did not run, of a database that was
/// restored, of a server that ended between the two.
pub(crate) async fn strays(service: &Service) {
    match remove_strays(service).await {
        Ok(0) => {}
        Ok(count) => {
            tracing::info!(target: "natter::web", host = &*service.host.name, count, "files that nobody knew were removed");
        }
        Err(error) => {
            tracing::warn!(target: "natter::web", host = &*service.host.name, %error, "files that nobody knows were not removed");
        }
    }
}

async fn remove_strays(service: &Service) -> Result<usize, CleanError> {
    let (host, uploads) = (&service.host, service.web().uploads());
    uploads.shelf.remove_drafts(uploads.coming()).await?;
    let mut count = 0;
    for owner in uploads.shelf.owners(&host.name).await? {
        let ids = uploads.shelf.ids(&host.name, &owner).await?;
        for slice in ids.chunks(SLICE) {
            let unknown = host.storage.uploads.unknown(slice.to_vec()).await?;
            count += unknown.len();
            uploads
                .shelf
                .remove_ids(&host.name, &owner, unknown)
                .await?;
        }
    }
    Ok(count)
}
