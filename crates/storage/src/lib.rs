//! What must survive a restart: accounts, rosters, messages for those who are away.
//!
//! [`Storage`] is the handle everybody holds: one trait object per store, and [`Storage::commit`] for
//! changes that belong together. A write is answered after it is on the disk. A store that is slow, full or
//! restarting answers an error within a deadline, and only [`StorageError::Unknown`] leaves open whether the
//! change was made. `sqlite` holds the one implementation and all SQL of the project.

mod accounts;
mod archive;
mod batch;
mod caps;
mod error;
mod groups;
mod hosts;
mod invites;
mod offline;
mod personal;
mod privacy;
mod rooms;
mod roster;
mod secrets;
mod sqlite;
mod tokens;
mod uploads;
mod whole;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use otp::{ChildSpec, Counted, System};
use xmpp::BareJid;

pub use accounts::{Account, Accounts, Credential, Role};
pub use archive::{
    ArchiveEnds, ArchiveFilter, ArchiveMessage, ArchivePage, ArchivePlace, ArchiveStore,
};
pub(crate) use batch::Step;
pub use batch::{Batch, Committed, RosterVersion};
pub use caps::CapsStore;
pub use error::StorageError;
pub use groups::{GroupStore, SharedContact, SharedGroup};
pub use hosts::{HostList, HostStore, Motd};
pub use invites::{Invite, InviteKind, InviteStore};
pub use offline::{OfflineEntry, OfflineId, OfflineLimits, OfflineMessage, OfflineStore, Stored};
pub use personal::{LastSeen, LastStore, PrivateData, PrivateStore, VcardStore};
pub use privacy::{
    PrivacyAction, PrivacyItem, PrivacyKinds, PrivacyList, PrivacyLists, PrivacyStore, PrivacyWho,
};
pub use rooms::{Affiliated, Affiliation, RoomFace, RoomStore, StoredRoom};
pub use roster::{Roster, RosterChange, RosterItem, RosterStore, Subscription};
pub use secrets::{Secret, Secrets};
#[doc(hidden)]
pub use sqlite::{Fault, FaultPoint, HungThread};
pub use tokens::{ApiToken, TokenStore};
pub use uploads::{Reserved, Upload, UploadLimits, UploadStore};
pub use whole::{Brought, IfThere, WholeAccount};

/// The answer of a store, some time later.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, StorageError>>;

/// How the store works.
#[derive(Clone, Debug)]
pub struct StorageOptions {
    /// How long a caller waits for an answer. Default 5 s.
    pub deadline: Duration,
    /// How long one transaction or read may last before its thread counts as hung. Default 30 s.
    pub hang_after: Duration,
    /// How many connections read at a time. Default 2.
    pub readers: usize,
    /// The most requests that may wait, for writing and for reading each. Default 10,000.
    pub queued_requests: usize,
    /// The most bytes of requests that may wait, for writing and for reading each. Default 64 MiB.
    pub queued_bytes: usize,
    /// How many removals each roster remembers for those who come back with an old version. Default 200.
    pub roster_removals: usize,
    /// The largest the database may become, in bytes. Default: as large as the disk allows.
    pub max_bytes: Option<u64>,
}

impl Default for StorageOptions {
    fn default() -> StorageOptions {
        StorageOptions {
            deadline: Duration::from_secs(5),
            hang_after: Duration::from_secs(30),
            readers: 2,
            queued_requests: 10_000,
            queued_bytes: 64 * 1024 * 1024,
            roster_removals: 200,
            max_bytes: None,
        }
    }
}

/// The whole store of one server. A cheap clone.
#[derive(Clone)]
pub struct Storage {
    /// Accounts, credentials, roles.
    pub accounts: Arc<dyn Accounts>,
    /// Rosters.
    pub roster: Arc<dyn RosterStore>,
    /// Messages for those who are away.
    pub offline: Arc<dyn OfflineStore>,
    /// What hosts keep for themselves.
    pub hosts: Arc<dyn HostStore>,
    /// Invitations.
    pub invites: Arc<dyn InviteStore>,
    /// Privacy lists.
    pub privacy: Arc<dyn PrivacyStore>,
    /// Private data of accounts.
    pub private: Arc<dyn PrivateStore>,
    /// vCards.
    pub vcard: Arc<dyn VcardStore>,
    /// When accounts were last seen, and who was welcomed.
    pub last: Arc<dyn LastStore>,
    /// What clients can do, by the hash that they announce.
    pub caps: Arc<dyn CapsStore>,
    /// Shared roster groups.
    pub groups: Arc<dyn GroupStore>,
    /// Rooms.
    pub rooms: Arc<dyn RoomStore>,
    /// Archives of messages.
    pub archive: Arc<dyn ArchiveStore>,
    /// Tokens that open the HTTP API.
    pub tokens: Arc<dyn TokenStore>,
    /// Files that accounts have put on the server.
    pub uploads: Arc<dyn UploadStore>,
    /// The server's own secrets.
    pub secrets: Arc<dyn Secrets>,
    next_place: Arc<AtomicI64>,
    engine: Arc<dyn Engine>,
}

/// What every implementation does besides its stores.
pub(crate) trait Engine: Send + Sync {
    fn commit(&self, batch: Batch) -> Answer<'_, Committed>;
    fn backup(&self, into: PathBuf) -> Answer<'_, PathBuf>;
    /// Where the present content was saved, and the first place that none has in what was restored.
    fn restore(&self, from: PathBuf) -> Answer<'_, (PathBuf, i64)>;
    fn whole(&self, account: BareJid) -> Answer<'_, Option<WholeAccount>>;
    /// What became of it, and the first place that no message has had.
    fn bring(&self, account: WholeAccount, if_there: IfThere) -> Answer<'_, (Brought, i64)>;
    fn touch(&self) -> Answer<'_, ()>;
    fn commits(&self) -> u64;
    fn commit_times(&self) -> Counted;
    fn children(&self) -> Vec<ChildSpec>;
    fn fault(&self, fault: Fault, at: FaultPoint) -> HungThread;
}

impl Storage {
    /// Opens the database `natter.db` in a folder, which is made if it is not there, with default options.
    ///
    /// Blocks. Brings an older database to the present schema, after a backup beside it for each step
    /// (`natter.db.v3.bak`). Requests wait until the processes of [`Storage::children`] run.
    ///
    /// # Errors
    ///
    /// [`StorageError::Newer`], [`StorageError::Corrupt`], [`StorageError::Open`], [`StorageError::Full`].
    pub fn open(data_dir: &Path, system: &System) -> Result<Storage, StorageError> {
        Storage::open_with(data_dir, system, StorageOptions::default())
    }

    /// [`Storage::open`] with other options.
    pub fn open_with(
        data_dir: &Path,
        system: &System,
        options: StorageOptions,
    ) -> Result<Storage, StorageError> {
        sqlite::open(data_dir, system, options)
    }

    /// The processes that do the work, in start order: `storage_writer`, `storage_readers`.
    ///
    /// Stopping them finishes what waits; what comes later answers [`StorageError::Closed`].
    pub fn children(&self) -> Vec<ChildSpec> {
        self.engine.children()
    }

    /// Answers when the writer has come to this and could begin a transaction: it lives, and the database can be written.
    /// Nothing is changed, nothing is brought to the disk.
    ///
    /// # Errors
    ///
    /// Any [`StorageError`]. It has no deadline of its own worth speaking of: whoever asks gives it one.
    pub async fn touch(&self) -> Result<(), StorageError> {
        self.engine.touch().await
    }

    /// How many transactions were committed since the store was opened.
    pub fn commits(&self) -> u64 {
        self.engine.commits()
    }

    /// How long transactions took to reach the disk since the store was opened: the commit alone, not what it holds.
    pub fn commit_times(&self) -> Counted {
        self.engine.commit_times()
    }

    /// The first place in the order of messages that none had when the store was opened, or since it was
    /// restored or an account was brought; see [`OfflineMessage::place`].
    pub fn next_place(&self) -> i64 {
        self.next_place.load(Ordering::Relaxed)
    }

    /// Applies a batch in one transaction and answers when it is on the disk.
    ///
    /// # Errors
    ///
    /// Any [`StorageError`]; nothing of the batch was applied, except perhaps all of it after
    /// [`StorageError::Unknown`].
    pub async fn commit(&self, batch: Batch) -> Result<Committed, StorageError> {
        if batch.is_empty() {
            return Ok(Committed::default());
        }
        self.engine.commit(batch).await
    }

    /// Copies the database, as it is at one moment, into a folder; its file there. Writing goes on meanwhile.
    ///
    /// An earlier backup there is replaced when the new one is complete.
    pub async fn backup(&self, folder: &Path) -> Result<PathBuf, StorageError> {
        self.engine.backup(folder.to_owned()).await
    }

    /// Replaces everything stored by what a backup in a folder holds; where the present content was saved before.
    ///
    /// An older backup is brought to the present schema first, on a copy. Sessions keep what they have
    /// already read: end them before.
    pub async fn restore(&self, folder: &Path) -> Result<PathBuf, StorageError> {
        let (saved, next_place) = self.engine.restore(folder.to_owned()).await?;
        self.next_place.fetch_max(next_place, Ordering::Relaxed);
        Ok(saved)
    }

    /// Reads all that an account owns, as it is at one moment; `None` if there is no such account.
    pub async fn whole(&self, account: &BareJid) -> Result<Option<WholeAccount>, StorageError> {
        self.engine.whole(account.clone()).await
    }

    /// Puts an account with all it owns in one transaction, and answers when it is on the disk.
    ///
    /// Limits of the offline queue and of private data do not hold. Sessions of an account that is replaced keep what
    /// they have read: end them behind it.
    ///
    /// # Errors
    ///
    /// Any [`StorageError`]; nothing of the account was put, except perhaps all of it after
    /// [`StorageError::Unknown`].
    pub async fn bring(
        &self,
        account: WholeAccount,
        if_there: IfThere,
    ) -> Result<Brought, StorageError> {
        let (brought, next_place) = self.engine.bring(account, if_there).await?;
        self.next_place.fetch_max(next_place, Ordering::Relaxed);
        Ok(brought)
    }

    /// Makes the next thread that comes to `at` fail once, for crash tests.
    #[doc(hidden)]
    pub fn fault(&self, fault: Fault, at: FaultPoint) -> HungThread {
        self.engine.fault(fault, at)
    }
}
