//! What a reader thread does: one request after the other, each on the content of one moment.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use otp::Clock;
use rusqlite::Connection;

use super::failure::of_sqlite;
use super::fault::{FaultPoint, Faults};
use super::queue::{Job, Queue, Token};
use super::schema;
use super::workers::Duty;
use super::writer::execute;
use crate::StorageError;

/// The readers' duty.
pub(super) struct Reader {
    pub(super) path: PathBuf,
    pub(super) queue: Arc<Queue>,
    pub(super) clock: Clock,
    pub(super) faults: Arc<Faults>,
    pub(super) threads: usize,
    pub(super) hang_after: Duration,
}

impl Duty for Reader {
    const KIND: &'static str = "storage_readers";

    fn threads(&self) -> usize {
        self.threads.max(1)
    }

    fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    fn hang_after(&self) -> Duration {
        self.hang_after
    }

    fn connect(&self) -> Result<Connection, StorageError> {
        schema::connect_to_read(&self.path)
    }

    fn serve(&self, mut connection: Connection, token: &Token) -> Result<(), StorageError> {
        while self.queue.wait(token) {
            let Some(mut job) = self.queue.take(token, |_| true) else {
                continue;
            };
            if !job.is_long() {
                token.busy(self.clock.now());
            }
            self.faults.pass(FaultPoint::BeforeRead);
            let outcome = in_one_moment(&mut connection, job.as_mut());
            token.idle();
            job.answer(outcome);
        }
        Ok(())
    }
}

/// Runs a request in a transaction of its own, which ends whatever comes of it.
fn in_one_moment(connection: &mut Connection, job: &mut dyn Job) -> Result<(), StorageError> {
    if job.is_long() {
        return job.run(connection);
    }
    let what = job.what();
    execute(connection, "BEGIN").map_err(|error| of_sqlite(what, &error))?;
    let outcome = job.run(connection);
    if !connection.is_autocommit() {
        execute(connection, "COMMIT").map_err(|error| of_sqlite(what, &error))?;
    }
    outcome
}
