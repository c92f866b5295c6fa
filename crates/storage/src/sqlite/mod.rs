//! The store in one SQLite file: WAL, `synchronous=FULL`, one thread that writes, a few that read.
//!
//! A request waits in a [`queue`], which outlives the processes that serve it ([`workers`]); [`writer`] and
//! [`reader`] are what their threads do. The other files are the stores: each a set of functions on a connection.

mod accounts;
mod archive;
mod backup;
mod caps;
mod client;
mod failure;
mod fault;
mod groups;
mod hosts;
mod invites;
mod known;
mod late;
mod offline;
mod personal;
mod privacy;
mod queue;
mod reader;
mod rooms;
mod roster;
mod schema;
mod secrets;
mod tokens;
mod uploads;
mod whole;
mod workers;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use otp::{ChildSpec, Counted, Histogram, Shutdown, System};
use rusqlite::Connection;
use xmpp::BareJid;

use self::client::Client;
use self::fault::Faults;
use self::known::Known;
use self::queue::Queue;
use self::reader::Reader;
use self::workers::Workers;
use self::writer::Writer;
use crate::{
    Answer, Batch, Brought, Committed, Engine, IfThere, Step, Storage, StorageError,
    StorageOptions, WholeAccount,
};

pub use self::fault::{Fault, FaultPoint, HungThread};

/// The name of the database in the data folder, and in a backup's.
const FILE_NAME: &str = "natter.db";

/// How long a stop may take to finish what waits.
const DRAIN_WITHIN: Duration = Duration::from_secs(30);

/// Opens the database and prepares what its processes need.
pub(crate) fn open(
    data_dir: &Path,
    system: &System,
    options: StorageOptions,
) -> Result<Storage, StorageError> {
    let path = schema::prepare(data_dir)?;
    let next_place = schema::next_place(&path)?;
    let writes = Arc::new(Queue::new(options.queued_requests, options.queued_bytes));
    let reads = Arc::new(Queue::new(options.queued_requests, options.queued_bytes));
    let faults = Arc::new(Faults::default());
    let commits: Arc<AtomicU64> = Arc::default();
    let commit_times: Arc<Histogram> = Arc::default();
    let client = Client::new(
        Arc::clone(&writes),
        Arc::clone(&reads),
        system.clock().clone(),
        options.deadline,
    );
    let engine = Sqlite {
        client: client.clone(),
        writer: Arc::new(Writer {
            path: path.clone(),
            queue: writes,
            clock: system.clock().clone(),
            faults: Arc::clone(&faults),
            hang_after: options.hang_after,
            max_bytes: options.max_bytes,
            commits: Arc::clone(&commits),
            commit_times: Arc::clone(&commit_times),
        }),
        reader: Arc::new(Reader {
            path: path.clone(),
            queue: reads,
            clock: system.clock().clone(),
            faults: Arc::clone(&faults),
            threads: options.readers,
            hang_after: options.hang_after,
        }),
        faults,
        commits,
        commit_times,
        path,
        roster_removals: options.roster_removals,
    };
    Ok(Storage {
        accounts: Arc::new(accounts::SqliteAccounts(client.clone())),
        roster: Arc::new(roster::SqliteRoster(client.clone())),
        offline: Arc::new(offline::SqliteOffline(client.clone())),
        hosts: Arc::new(hosts::SqliteHosts(client.clone())),
        invites: Arc::new(invites::SqliteInvites(client.clone())),
        privacy: Arc::new(privacy::SqlitePrivacy(client.clone())),
        private: Arc::new(personal::SqlitePrivate(client.clone())),
        vcard: Arc::new(personal::SqliteVcard(client.clone())),
        last: Arc::new(personal::SqliteLast(client.clone())),
        caps: Arc::new(caps::SqliteCaps(client.clone())),
        groups: Arc::new(groups::SqliteGroups(client.clone())),
        rooms: Arc::new(rooms::SqliteRooms(client.clone())),
        archive: Arc::new(archive::SqliteArchive(client.clone())),
        tokens: Arc::new(tokens::SqliteTokens(client.clone())),
        uploads: Arc::new(uploads::SqliteUploads(client.clone())),
        secrets: Arc::new(secrets::SqliteSecrets(client)),
        next_place: Arc::new(next_place.into()),
        engine: Arc::new(engine),
    })
}

/// What the stores share.
struct Sqlite {
    client: Client,
    writer: Arc<Writer>,
    reader: Arc<Reader>,
    faults: Arc<Faults>,
    commits: Arc<AtomicU64>,
    commit_times: Arc<Histogram>,
    path: PathBuf,
    roster_removals: usize,
}

impl Engine for Sqlite {
    fn commit(&self, batch: Batch) -> Answer<'_, Committed> {
        let removals = self.roster_removals;
        Box::pin(async move {
            let now = self.client.now();
            let doubts = doubts(self.client.known(), &batch);
            self.client
                .write("commit", batch.bytes(), move |connection| {
                    let _held = &doubts;
                    apply(connection, &batch, removals, now)
                })
                .await
        })
    }

    fn backup(&self, into: PathBuf) -> Answer<'_, PathBuf> {
        Box::pin(async move {
            self.client
                .read_long("backup", move |connection| backup::write(connection, &into))
                .await
        })
    }

    fn restore(&self, from: PathBuf) -> Answer<'_, (PathBuf, i64)> {
        let live = self.path.clone();
        Box::pin(async move {
            let doubts = self.client.known().doubt_all();
            self.client
                .write_alone("restore", move |connection| {
                    let _held = &doubts;
                    let saved = backup::restore(connection, &live, &from)?;
                    Ok((saved, schema::place_after(connection, &live)?))
                })
                .await
        })
    }

    fn whole(&self, account: BareJid) -> Answer<'_, Option<WholeAccount>> {
        Box::pin(async move {
            let now = self.client.now();
            let late = self.client.late().get(&account);
            let mut whole = self
                .client
                .read("read an account as a whole", move |connection| {
                    whole::get(connection, &account, now)
                })
                .await?;
            if let (Some(whole), Some(late)) = (&mut whole, late) {
                whole.last = Some(late);
            }
            Ok(whole)
        })
    }

    fn bring(&self, account: WholeAccount, if_there: IfThere) -> Answer<'_, (Brought, i64)> {
        Box::pin(async move {
            let now = self.client.now();
            let bytes = account.bytes();
            let doubts = self.client.known().doubt_account(&account.address);
            self.client.late().forget(&account.address);
            self.client
                .write("bring an account", bytes, move |connection| {
                    let _held = &doubts;
                    whole::put(connection, &account, if_there, now)
                })
                .await
        })
    }

    fn touch(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            self.client
                .write_alone("begin to write", |connection| {
                    writer::execute(connection, "BEGIN IMMEDIATE")?;
                    writer::execute(connection, "ROLLBACK")?;
                    Ok(())
                })
                .await
        })
    }

    fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    fn commit_times(&self) -> Counted {
        self.commit_times.read()
    }

    fn children(&self) -> Vec<ChildSpec> {
        let writer = Arc::clone(&self.writer);
        let reader = Arc::clone(&self.reader);
        vec![
            ChildSpec::worker::<Workers<Writer>>("storage_writer", move || Arc::clone(&writer))
                .shutdown(Shutdown::Timeout(DRAIN_WITHIN)),
            ChildSpec::worker::<Workers<Reader>>("storage_readers", move || Arc::clone(&reader))
                .shutdown(Shutdown::Timeout(DRAIN_WITHIN)),
        ]
    }

    fn fault(&self, fault: Fault, at: FaultPoint) -> HungThread {
        self.faults.arm(fault, at)
    }
}

/// What a batch may change of what is known.
fn doubts(known: &Known, batch: &Batch) -> Vec<Box<dyn Send>> {
    let mut doubts: Vec<Box<dyn Send>> = Vec::new();
    for step in batch.steps() {
        match step {
            Step::PutRosterItem { owner, .. } | Step::RemoveRosterItem { owner, .. } => {
                doubts.push(Box::new(known.rosters.doubt(owner.as_str())));
                doubts.push(Box::new(known.no_requests.doubt(owner.as_str())));
            }
            Step::StoreOffline { owner, .. } => {
                doubts.push(Box::new(known.no_offline.doubt(owner.as_str())));
            }
            // A queue that was empty stays so.
            Step::RemoveOffline { .. }
            | Step::PutRoom(_)
            | Step::RemoveRoom(_)
            | Step::SetAffiliation { .. }
            | Step::SetSubject { .. }
            | Step::SetVcard { .. }
            | Step::Archive { .. }
            | Step::ReplaceArchived { .. }
            | Step::TrimArchive { .. } => {}
        }
    }
    doubts
}

/// Does all steps of a batch; the caller's transaction holds them together.
fn apply(
    connection: &Connection,
    batch: &Batch,
    roster_removals: usize,
    now: std::time::SystemTime,
) -> Result<Committed, failure::Failure> {
    let mut committed = Committed::default();
    for step in batch.steps() {
        match step {
            Step::PutRosterItem { owner, item } => {
                committed
                    .roster
                    .push(roster::put(connection, owner, item, roster_removals)?);
            }
            Step::RemoveRosterItem { owner, contact } => {
                committed
                    .roster
                    .push(roster::remove(connection, owner, contact, roster_removals)?);
            }
            Step::StoreOffline {
                owner,
                message,
                limits,
            } => {
                committed
                    .offline
                    .push(offline::store(connection, owner, message, *limits, now)?);
            }
            Step::RemoveOffline { owner, ids } => {
                committed
                    .offline_removed
                    .push(offline::remove(connection, owner, ids)?);
            }
            Step::PutRoom(room) => rooms::put(connection, room)?,
            Step::RemoveRoom(room) => {
                rooms::remove(connection, room)?;
                archive::trim(connection, room, 0)?;
            }
            Step::SetAffiliation { room, affiliated } => {
                rooms::set_affiliation(connection, room, affiliated)?;
            }
            Step::SetSubject { room, subject } => {
                rooms::set(connection, room, rooms::SUBJECT, subject.as_deref())?;
            }
            Step::SetVcard { room, vcard } => {
                rooms::set(connection, room, rooms::VCARD, vcard.as_deref())?;
            }
            Step::Archive { owner, message } => archive::add(connection, owner, message)?,
            Step::ReplaceArchived { owner, id, stanza } => {
                archive::replace(connection, owner, id, stanza)?;
            }
            Step::TrimArchive { owner, keep } => archive::trim(connection, owner, *keep)?,
        }
    }
    Ok(committed)
}
