//! SQLite as every embedded store uses it: one writer with group commit, pooled readers, versioned migrations.
//!
//! All writes of a file pass through one thread. It takes what waits, runs it in one transaction and commits once:
//! while a commit waits for the disk, the next group gathers. Each write has a savepoint of its own, so that one that
//! fails takes nothing along. Readers see one moment of the file and never wait for the writer (WAL).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::sync::{mpsc, oneshot};

use crate::StoreError;

mod readers;
pub(crate) mod remembered;
#[cfg(test)]
mod tests;
pub(crate) mod values;

use readers::{Readers, at_one_moment, connect_reader};

/// Writes that wait, at most; more wait for room.
const QUEUE: usize = 1024;
/// Writes that share a commit, at most: bounds how long the first of them waits.
const GROUP: usize = 256;
/// How long one process waits for another's transaction on the same file.
const BUSY: Duration = Duration::from_secs(10);
/// Statements kept prepared per connection: more than there are queries in the code.
const PREPARED: usize = 256;
/// Pages that the writer and a reader keep, in KiB. Small: what is hot is in the system's page cache as well. Files are
/// not mapped: every connection's mapping would count as this process's memory, and a file cut short would kill it.
const WRITER_CACHE: i64 = 8 * 1024;
const READER_CACHE: i64 = 4 * 1024;

/// What a file holds, and how it came to that: one script per version, never changed once released.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// Stored in the file's header (`application_id`), so that one file is not taken for another.
    pub application_id: i32,
    /// The scripts that lead from version n to n + 1.
    pub migrations: &'static [&'static str],
}

/// The truth: content, log, keys, and what cannot be rebuilt.
pub const TRUTH: Schema = Schema {
    application_id: 0x484c_5431,
    migrations: &[
        include_str!("../../../schemas/sqlite/truth.1.sql"),
        include_str!("../../../schemas/sqlite/truth.2.sql"),
    ],
};

/// The read models with their positions and parked lanes: all of it can be rebuilt from the truth.
pub const READ_MODELS: Schema = Schema {
    application_id: 0x484c_5231,
    migrations: &[
        include_str!("../../../schemas/sqlite/read_models.1.sql"),
        include_str!("../../../schemas/sqlite/read_models.2.sql"),
        include_str!("../../../schemas/sqlite/read_models.3.sql"),
    ],
};

/// What an acknowledged write survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Loss of power (`synchronous=FULL`): every commit waits for the disk.
    Power,
    /// The process's death (`synchronous=NORMAL`). Loss of power may undo the newest commits, in order.
    Process,
}

/// Who else may be at work on a file meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Nobody; at most somebody who looks, or does one thing and goes. What others commit is seen a little later.
    Alone,
    /// Whoever is at work there, while this one looks, or does one thing and goes.
    Visiting,
    /// Other processes: what one of them has committed, everybody sees.
    Shared,
}

/// An open file.
#[derive(Debug)]
pub struct Database {
    path: PathBuf,
    durability: Durability,
    sharing: Sharing,
    jobs: Option<mpsc::Sender<Box<dyn Job>>>,
    writer: Option<JoinHandle<()>>,
    readers: Arc<Readers>,
}

impl Database {
    /// Opens a file for a process that is alone at work on it, making it if it is not there, and brings its schema up
    /// to date.
    ///
    /// # Errors
    /// The file cannot be opened, holds something else, or was written by a newer version.
    pub fn open(path: &Path, schema: &Schema, durability: Durability) -> Result<Arc<Self>, StoreError> {
        Self::open_as(path, schema, durability, Sharing::Alone)
    }

    /// The same, beside whoever `sharing` says.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_as(
        path: &Path,
        schema: &Schema,
        durability: Durability,
        sharing: Sharing,
    ) -> Result<Arc<Self>, StoreError> {
        let (connection, _) = connect_and_migrate(path, schema, durability)?;
        let readers = Arc::new(Readers::open(path, sharing)?);

        let (jobs, queue) = mpsc::channel(QUEUE);
        let writers_readers = Arc::clone(&readers);
        let writer = std::thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || write_in_groups(&connection, &writers_readers, queue))
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let (path, jobs, writer) = (path.to_owned(), Some(jobs), Some(writer));
        Ok(Arc::new(Self { path, durability, sharing, jobs, writer, readers }))
    }

    /// Brings a file's schema up to date, making the file if it is not there, and answers which version was there
    /// before: 0 where there was none.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn migrate(path: &Path, schema: &Schema, durability: Durability) -> Result<usize, StoreError> {
        connect_and_migrate(path, schema, durability).map(|(_, before)| before)
    }

    /// Who else may be at work on it.
    pub fn sharing(&self) -> Sharing {
        self.sharing
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` in the next group commit and answers once that is durable. An error undoes this write alone.
    ///
    /// The write happens even if the caller stops waiting.
    ///
    /// # Errors
    /// What `work` answers, or the failed commit.
    pub async fn write<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.write_then(work, |_| {}).await
    }

    /// Like [`Self::write`], and calls `committed` with the result on the writer's thread once the commit is durable
    /// and before the next begins: also if the caller stops waiting.
    ///
    /// # Errors
    /// As [`Self::write`]; `committed` is not called then.
    pub async fn write_then<T, W, C>(&self, work: W, committed: C) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
        C: FnOnce(&T) + Send + 'static,
    {
        let closed = || StoreError::Unavailable("the writer has stopped".to_owned());
        let (reply, answer) = oneshot::channel();
        let job = Pending { work: Some(work), committed, outcome: None, reply };
        self.jobs.as_ref().ok_or_else(closed)?.send(Box::new(job)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Like [`Self::write`], and drops `held` where [`Self::write_then`] calls `committed`, or with a write that fails.
    pub(crate) async fn write_holding<T, W, H>(&self, held: H, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
        H: Send + 'static,
    {
        self.write_then(work, move |_| drop(held)).await
    }

    /// Runs `query` on a reader; all its statements see one moment of the file, which contains every write of this
    /// process that was answered before, and every one of other processes: those that are 10 ms old where the file is
    /// opened for one that is alone.
    ///
    /// It runs where it is called: a query of a bounded page takes less time than handing it to another thread, so
    /// `query` must be bounded.
    ///
    /// # Errors
    /// What `query` answers.
    pub async fn read<T, Q>(&self, query: Q) -> Result<T, StoreError>
    where
        Q: FnOnce(&Connection) -> Result<T, StoreError> + Send,
    {
        self.readers.read(query).await
    }

    /// A connection of its own that may write, for work at the start that must be done before anybody waits for it.
    /// After each commit, [`Self::written_elsewhere`] must be called.
    pub(crate) fn connect(&self) -> Result<Connection, StoreError> {
        let connection = connect(&self.path, OpenFlags::empty(), READER_CACHE)?;
        synchronise(&connection, self.durability)?;
        Ok(connection)
    }

    /// Something was committed, and not by the writer: from now on readers see it.
    pub(crate) fn written_elsewhere(&self) {
        self.readers.written_elsewhere();
    }

    /// What tells that the file was written, by this process or another.
    pub(crate) fn watch(&self) -> Result<Watch, StoreError> {
        Ok(Watch { connection: connect_reader(&self.path)?, seen: None, readers: Arc::clone(&self.readers) })
    }
}

/// Notices commits. SQLite counts what *others* commit, so this is a connection on which nobody does.
#[derive(Debug)]
pub(crate) struct Watch {
    connection: Connection,
    seen: Option<i64>,
    readers: Arc<Readers>,
}

impl Watch {
    /// What `query` sees, if anything was committed since it last saw something; at the first call in any case. All
    /// its statements see one moment.
    pub(crate) fn look<T>(
        &mut self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        // Before the query: what is committed in between is looked at twice, not missed.
        let version = self.connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
        if self.seen == Some(version) {
            return Ok(None);
        }
        // Whoever is told of what `query` sees must see it, too.
        self.readers.written_elsewhere();
        let seen = at_one_moment(&self.connection, query)?;
        self.seen = Some(version);
        Ok(Some(seen))
    }
}

impl Drop for Database {
    // Waits for writes under way, so that whoever opens the file next finds it whole and without a log to replay.
    fn drop(&mut self) {
        self.readers.close();
        self.jobs = None;
        // A write may hold the last handle of its own database: a thread cannot wait for itself.
        if let Some(writer) = self.writer.take().filter(|writer| writer.thread().id() != std::thread::current().id()) {
            // A writer that panicked has nothing left to wait for.
            let _ = writer.join();
        }
    }
}

/// The connection that writes, and the version of the schema that was there before.
fn connect_and_migrate(
    path: &Path,
    schema: &Schema,
    durability: Durability,
) -> Result<(Connection, usize), StoreError> {
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_CREATE, WRITER_CACHE)?;
    // Before anything is changed: another program's file stays as it is.
    check_identity(&connection, schema, path)?;
    enter_wal(&connection, path)?;
    synchronise(&connection, durability)?;
    let before = migrate(&mut connection, schema, path)?;
    Ok((connection, before))
}

fn connect(path: &Path, create: OpenFlags, cache: i64) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | create;
    let connection = Connection::open_with_flags(path, flags)
        .map_err(|error| StoreError::Unavailable(format!("{}: {error}", path.display())))?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(PREPARED);
    // Without this guarantee, a statement whose plan might depend on a bound value (as near a partial index) is
    // prepared again at each execution, which costs more than the query.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // Negative: KiB and not pages.
    connection.pragma_update(None, "cache_size", -cache)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(connection)
}

fn synchronise(connection: &Connection, durability: Durability) -> Result<(), StoreError> {
    let synchronous = match durability {
        Durability::Power => "FULL",
        Durability::Process => "NORMAL",
    };
    Ok(connection.pragma_update(None, "synchronous", synchronous)?)
}

fn enter_wal(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let started = Instant::now();
    loop {
        let mode = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0));
        match mode {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => {
                let refused = format!("{}: the file system allows {mode} only, not WAL", path.display());
                return Err(StoreError::Unavailable(refused));
            }
            // SQLite does not wait here where two open a new file at once.
            Err(error) if is_busy(&error) && started.elapsed() < BUSY => std::thread::yield_now(),
            Err(error) => return Err(error.into()),
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Refuses what is not a file of this schema, or of a newer program. Answers the version, 0 for a new file.
fn check_identity(connection: &Connection, schema: &Schema, path: &Path) -> Result<usize, StoreError> {
    // One statement, one moment: somebody else may be making the file just now.
    let (version, application_id, tables): (i64, i32, i64) = connection.query_row(
        "SELECT user_version, application_id, (SELECT count(*) FROM sqlite_schema)
         FROM pragma_user_version, pragma_application_id",
        [],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    let is_new = version == 0 && application_id == 0 && tables == 0;
    if !is_new && application_id != schema.application_id {
        return Err(StoreError::Damaged(format!("{} is another program's file", path.display())));
    }
    let (version, newest) = (usize::try_from(version).unwrap_or(usize::MAX), schema.migrations.len());
    if version > newest {
        return Err(StoreError::Damaged(format!(
            "{} has schema version {version}, and this program knows versions up to {newest}",
            path.display()
        )));
    }
    Ok(version)
}

/// Answers the version that was there.
fn migrate(connection: &mut Connection, schema: &Schema, path: &Path) -> Result<usize, StoreError> {
    let newest = schema.migrations.len();
    // Immediate: of two processes that open a new file, one migrates and the other finds it done.
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let version = check_identity(&transaction, schema, path)?;
    for script in &schema.migrations[version..] {
        transaction.execute_batch(script)?;
    }
    if version < newest {
        transaction.pragma_update(None, "application_id", schema.application_id)?;
        transaction.pragma_update(None, "user_version", newest as i64)?;
    }
    transaction.commit()?;
    Ok(version)
}

/// A write that waits for its group.
trait Job: Send {
    /// Does the work; false if it failed and must be undone.
    fn run(&mut self, connection: &Connection) -> bool;
    /// Tells the caller, once the group is committed or lost.
    fn finish(self: Box<Self>, commit: Result<(), &StoreError>);
}

struct Pending<T, W, C> {
    work: Option<W>,
    committed: C,
    outcome: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, W, C> Job for Pending<T, W, C>
where
    T: Send,
    W: FnOnce(&Connection) -> Result<T, StoreError> + Send,
    C: FnOnce(&T) + Send,
{
    fn run(&mut self, connection: &Connection) -> bool {
        self.outcome = self.work.take().map(|work| {
            // A panic is a defect of one write and must not end the others'.
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(connection)))
                .unwrap_or_else(|_| Err(StoreError::Damaged("a write panicked".to_owned())))
        });
        matches!(self.outcome, Some(Ok(_)))
    }

    fn finish(self: Box<Self>, commit: Result<(), &StoreError>) {
        let answer = match (self.outcome, commit) {
            (Some(Ok(value)), Ok(())) => {
                let committed = self.committed;
                // As with the work: the thread must go on for the others.
                if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| committed(&value))).is_err() {
                    tracing::error!("what follows a commit panicked");
                }
                Ok(value)
            }
            (Some(Err(error)), _) => Err(error),
            // It was undone with its group, or its group ended before its turn.
            (Some(Ok(_)) | None, Err(error)) => Err(StoreError::Unavailable(error.to_string())),
            (None, Ok(())) => Err(StoreError::Unavailable("the write did not run".to_owned())),
        };
        // The caller may have stopped waiting.
        let _ = self.reply.send(answer);
    }
}

fn write_in_groups(connection: &Connection, readers: &Readers, mut queue: mpsc::Receiver<Box<dyn Job>>) {
    let mut group = Vec::with_capacity(GROUP);
    while queue.blocking_recv_many(&mut group, GROUP) > 0 {
        readers.writer_begins();
        let commit = write_group(connection, &mut group);
        if let Err(error) = &commit {
            tracing::error!(%error, writes = group.len(), "group commit failed");
            // Where the commit failed half-way, the transaction is still open.
            let _ = connection.execute_batch("ROLLBACK");
        }
        readers.writer_ended();
        for job in group.drain(..) {
            job.finish(commit.as_ref().copied());
        }
    }
}

fn write_group(connection: &Connection, group: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    for job in group {
        connection.prepare_cached("SAVEPOINT job")?.execute([])?;
        if !job.run(connection) {
            connection.prepare_cached("ROLLBACK TO job")?.execute([])?;
        }
        connection.prepare_cached("RELEASE job")?.execute([])?;
    }
    connection.prepare_cached("COMMIT")?.execute([])?;
    Ok(())
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(
                ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::ConstraintViolation
                | ErrorCode::TypeMismatch
                // A statement that does not fit the file's tables: retrying would be for ever.
                | ErrorCode::Unknown,
            ) => Self::Damaged(error.to_string()),
            Some(_) => Self::Unavailable(error.to_string()),
            // No SQLite code: a column that is not what the query expects.
            None => Self::Damaged(error.to_string()),
        }
    }
}
