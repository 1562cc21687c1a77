//! The connections that read.
//!
//! Entering a moment of the file costs more than a page's query: half a dozen locks, each a call into the system. So a
//! reader that is done stays at its moment, and the next query goes on there as long as nothing has been committed
//! since. What this process commits is counted, and whoever is told of a commit sees it. What other processes commit
//! is seen once it is noticed ([`Watch`](super::Watch)), or after [`STAY`]; where several processes are at work on a
//! file, that is too late, and no reader stays.
//!
//! A reader at an old moment would keep the write-ahead log from starting over. So the writer sends idle readers home
//! before it begins, and none stays while it is at work.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use super::{READER_CACHE, Sharing, connect};
use crate::StoreError;

/// Queries at one time. They are short and come from memory, so a few more than cores are enough.
pub(super) const READERS: usize = 6;
/// How long a commit of another process may go unseen.
const STAY: Duration = Duration::from_millis(10);

/// Opens a connection that cannot write: that is enforced by SQLite, not by good behaviour.
pub(super) fn connect_reader(path: &Path) -> Result<Connection, StoreError> {
    let connection = connect(path, OpenFlags::empty(), READER_CACHE)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Runs `query` in one moment of its own.
pub(super) fn at_one_moment<T>(
    connection: &Connection,
    query: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    connection.prepare_cached("BEGIN DEFERRED")?.execute([])?;
    let answer = query(connection);
    leave(connection);
    answer
}

/// Nothing was written, so either end would do. Where neither is possible, the connection shows the moment still open.
fn leave(connection: &Connection) {
    let left = connection.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
    if let Err(error) = left {
        tracing::warn!(%error, "a query did not end as it should");
        let _ = connection.execute_batch("ROLLBACK");
    }
}

/// The pool of a file's readers.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Reader>>,
    reading: Semaphore,
    sharing: Sharing,
    /// Commits that this process knows of.
    commits: AtomicU64,
    /// Whether the writer is at work.
    writing: AtomicBool,
}

#[derive(Debug)]
struct Reader {
    connection: Connection,
    moment: Option<Moment>,
}

/// Where a reader stands.
#[derive(Clone, Copy, Debug)]
struct Moment {
    /// The commits that were known of when it began; it contains them.
    commits: u64,
    began: Instant,
}

impl Readers {
    pub(super) fn open(path: &Path, sharing: Sharing) -> Result<Self, StoreError> {
        let reader = |_| Ok(Reader { connection: connect_reader(path)?, moment: None });
        Ok(Self {
            path: path.to_owned(),
            idle: Mutex::new((0..READERS).map(reader).collect::<Result<_, StoreError>>()?),
            reading: Semaphore::new(READERS),
            sharing,
            commits: AtomicU64::new(0),
            writing: AtomicBool::new(false),
        })
    }

    /// Runs `query` where it is called, at a moment that contains every commit that this process knows of, or, where
    /// the file is shared, every commit.
    pub(super) async fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let permit = self.reading.acquire().await;
        let _permit = permit.map_err(|_| StoreError::Unavailable("the store is closed".to_owned()))?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // As many permits as readers: there is one, unless a query panicked and took its reader along.
        let mut reader = match idle {
            Some(reader) => reader,
            None => Reader { connection: connect_reader(&self.path)?, moment: None },
        };
        reader.enter(&self.commits)?;
        let answer = query(&reader.connection);
        // A writer that begins right after this look finds the reader with the idle ones next time.
        if self.sharing == Sharing::Shared || self.writing.load(Ordering::SeqCst) {
            reader.leave();
        }
        // One that is stuck in its moment would never see another.
        if reader.moment.is_some() || reader.connection.is_autocommit() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
        }
        answer
    }

    /// The writer begins: nobody stays at a moment from now on.
    pub(super) fn writer_begins(&self) {
        self.writing.store(true, Ordering::SeqCst);
        self.send_idle_home();
    }

    /// The writer has ended, and perhaps committed; called before it tells anybody.
    pub(super) fn writer_ended(&self) {
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.writing.store(false, Ordering::SeqCst);
    }

    /// Another process has committed; called before anybody is told what.
    pub(super) fn written_elsewhere(&self) {
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.send_idle_home();
    }

    fn send_idle_home(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).iter_mut().for_each(Reader::leave);
    }

    /// Closes those that are idle.
    pub(super) fn close(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Reader {
    /// Goes to the present, or stays if this is still it.
    fn enter(&mut self, commits: &AtomicU64) -> Result<(), StoreError> {
        // Counted before the moment begins: what is committed in between is in it all the same.
        let commits = commits.load(Ordering::SeqCst);
        let is_present = |moment: Moment| moment.commits == commits && moment.began.elapsed() < STAY;
        // An error in a query may have ended the moment.
        if self.moment.is_some_and(is_present) && !self.connection.is_autocommit() {
            return Ok(());
        }
        self.leave();
        self.connection.prepare_cached("BEGIN DEFERRED")?.execute([])?;
        self.moment = Some(Moment { commits, began: Instant::now() });
        Ok(())
    }

    fn leave(&mut self) {
        if self.moment.take().is_some() && !self.connection.is_autocommit() {
            leave(&self.connection);
        }
    }
}
