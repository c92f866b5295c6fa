//! What the writer thread does: whatever waits goes into one transaction, then all are answered.
//!
//! While one transaction is being brought to the disk, the next requests gather: the slower the disk, the larger
//! the groups. Each request has a savepoint of its own, so that one that fails undoes only itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use otp::{Clock, Histogram};
use rusqlite::{Connection, ErrorCode};

use super::failure::of_sqlite;
use super::fault::{FaultPoint, Faults};
use super::queue::{Job, Queue, Token};
use super::schema;
use super::workers::Duty;
use crate::StorageError;

/// The most requests in one transaction.
const GROUP_REQUESTS: usize = 512;

/// How long one transaction gathers requests.
const GROUP_FOR: Duration = Duration::from_millis(2);

/// The writer's duty.
pub(super) struct Writer {
    pub(super) path: PathBuf,
    pub(super) queue: Arc<Queue>,
    pub(super) clock: Clock,
    pub(super) faults: Arc<Faults>,
    pub(super) hang_after: Duration,
    pub(super) max_bytes: Option<u64>,
    /// Transactions that were committed.
    pub(super) commits: Arc<AtomicU64>,
    pub(super) commit_times: Arc<Histogram>,
}

impl Writer {
    /// One transaction. The requests are taken after it has begun: whoever holds the write lock serves the
    /// queue's head, so that an old thread that wakes late can put nothing in a newer thread's past.
    fn group(&self, connection: &mut Connection, token: &Token) -> Result<(), StorageError> {
        self.faults.pass(FaultPoint::BeforeBegin);
        match execute(connection, "BEGIN IMMEDIATE") {
            Ok(()) => {}
            // Another connection writes, for example a predecessor that hangs: the requests keep waiting.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                return Ok(());
            }
            Err(error) => return self.refuse(token, &error),
        }
        let mut done: Vec<Box<dyn Job>> = Vec::new();
        let began = self.clock.now();
        for number in 0..GROUP_REQUESTS {
            if number > 0 && self.clock.now() - began >= GROUP_FOR {
                break;
            }
            let Some(mut job) = self.queue.take(token, |job| !job.is_long()) else {
                break;
            };
            match in_savepoint(connection, job.as_mut()) {
                Ok(()) => done.push(job),
                Err(_) if connection.is_autocommit() => {
                    // SQLite gave up the whole transaction: its neighbours are undone too.
                    done.push(job);
                    return one_by_one(connection, done, &self.commits);
                }
                Err(error) => job.answer(Err(error)),
            }
        }
        self.faults.pass(FaultPoint::BeforeCommit);
        let began = self.clock.now();
        let committed = execute(connection, "COMMIT");
        self.commit_times.add(self.clock.now() - began);
        self.faults.pass(FaultPoint::AfterCommit);
        match committed {
            Ok(()) => {
                self.commits.fetch_add(1, Ordering::Relaxed);
                for job in done {
                    job.answer(Ok(()));
                }
                Ok(())
            }
            Err(error) if is_surely_undone(&error) => {
                roll_back(connection)?;
                one_by_one(connection, done, &self.commits)
            }
            Err(error) => Err(give_up(done, &error)),
        }
    }

    /// Answers everything that waits with an error, because no transaction can begin.
    fn refuse(&self, token: &Token, error: &rusqlite::Error) -> Result<(), StorageError> {
        while let Some(job) = self.queue.take(token, |job| !job.is_long()) {
            let answer = of_sqlite(job.what(), error);
            job.answer(Err(answer));
        }
        Ok(())
    }
}

impl Duty for Writer {
    const KIND: &'static str = "storage_writer";

    fn threads(&self) -> usize {
        1
    }

    fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    fn hang_after(&self) -> Duration {
        self.hang_after
    }

    fn connect(&self) -> Result<Connection, StorageError> {
        let connection = schema::connect_to_write(&self.path)?;
        if let Some(bytes) = self.max_bytes {
            schema::limit(&connection, &self.path, bytes)?;
        }
        Ok(connection)
    }

    fn serve(&self, mut connection: Connection, token: &Token) -> Result<(), StorageError> {
        while self.queue.wait(token) {
            if let Some(mut job) = self.queue.take(token, |job| job.is_long()) {
                let outcome = job.run(&mut connection);
                job.answer(outcome);
                continue;
            }
            token.busy(self.clock.now());
            let outcome = self.group(&mut connection, token);
            token.idle();
            outcome?;
        }
        Ok(())
    }
}

/// Does a request so that its failure undoes it alone.
fn in_savepoint(connection: &mut Connection, job: &mut dyn Job) -> Result<(), StorageError> {
    let what = job.what();
    execute(connection, "SAVEPOINT request").map_err(|error| of_sqlite(what, &error))?;
    let outcome = job.run(connection).and_then(|()| {
        execute(connection, "RELEASE request").map_err(|error| of_sqlite(what, &error))
    });
    if outcome.is_err() && !connection.is_autocommit() {
        let undone = execute(connection, "ROLLBACK TO request")
            .and_then(|()| execute(connection, "RELEASE request"));
        if undone.is_err() {
            // Half a request must not be committed: give up the transaction instead.
            roll_back(connection)?;
        }
    }
    outcome
}

/// Does each request in a transaction of its own.
fn one_by_one(
    connection: &mut Connection,
    jobs: Vec<Box<dyn Job>>,
    commits: &AtomicU64,
) -> Result<(), StorageError> {
    let mut jobs = jobs.into_iter();
    while let Some(mut job) = jobs.next() {
        let what = job.what();
        let outcome = execute(connection, "BEGIN IMMEDIATE")
            .map_err(|error| of_sqlite(what, &error))
            .and_then(|()| job.run(connection));
        if outcome.is_err() {
            roll_back(connection)?;
            job.answer(outcome);
            continue;
        }
        match execute(connection, "COMMIT") {
            Ok(()) => {
                commits.fetch_add(1, Ordering::Relaxed);
                job.answer(Ok(()));
            }
            Err(error) if is_surely_undone(&error) => {
                roll_back(connection)?;
                job.answer(Err(of_sqlite(what, &error)));
            }
            Err(error) => {
                let end = give_up(vec![job], &error);
                for job in jobs {
                    let answer = of_sqlite(job.what(), &error);
                    job.answer(Err(answer));
                }
                return Err(end);
            }
        }
    }
    Ok(())
}

/// Nobody can tell what became of these: says so, and gives the reason for a new connection.
fn give_up(jobs: Vec<Box<dyn Job>>, error: &rusqlite::Error) -> StorageError {
    for job in jobs {
        let what = job.what();
        job.answer(Err(StorageError::Unknown { what }));
    }
    of_sqlite("COMMIT", error)
}

/// Whether a commit that failed like this left nothing behind. After an I/O error nobody can tell.
fn is_surely_undone(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::ConstraintViolation)
    )
}

/// Ends the transaction, if there still is one.
fn roll_back(connection: &Connection) -> Result<(), StorageError> {
    if connection.is_autocommit() {
        return Ok(());
    }
    execute(connection, "ROLLBACK").map_err(|error| of_sqlite("ROLLBACK", &error))
}

/// Runs a statement without parameters, which is prepared once.
pub(super) fn execute(connection: &Connection, sql: &'static str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}
