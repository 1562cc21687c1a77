//! A look into the files that a server leaves, and, while it is stopped, a hand in them.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, Row};

use crate::condition::eventually;

/// A server's files.
#[derive(Clone, Debug)]
pub struct TruthFiles {
    /// Documents, names, keys.
    pub content: PathBuf,
    /// The log.
    pub event_log: PathBuf,
    /// All that can be made again.
    pub read_models: PathBuf,
    /// The server's keys.
    pub secrets: PathBuf,
}

/// How much was ever written to the truth: unchanged means that a command had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Events in the log.
    pub events: i64,
    /// Events that wait for the log.
    pub outbox: i64,
    /// Documents.
    pub documents: i64,
    /// All revisions together.
    pub revisions: i64,
    /// Names that are taken.
    pub usernames: i64,
}

/// An event as the log's file holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// Its key.
    pub place: i64,
    /// The record key.
    pub lane: String,
    /// The type.
    pub kind: String,
    /// The stream.
    pub subject: String,
    /// Its number in the stream.
    pub sequence: i64,
    /// The data.
    pub data: String,
}

impl TruthFiles {
    /// The content's file, to be looked at while the server runs.
    pub fn content(&self) -> Connection {
        open(&self.content, false)
    }

    /// The log's file, to be looked at while the server runs.
    pub fn event_log(&self) -> Connection {
        open(&self.event_log, false)
    }

    /// The read models' file, to be looked at while the server runs.
    pub fn read_models(&self) -> Connection {
        open(&self.read_models, false)
    }

    /// A file to be changed while the server is stopped.
    pub fn changing(path: &Path) -> Connection {
        open(path, true)
    }

    /// How much was ever written.
    ///
    /// # Panics
    /// When the files are not what they should be.
    pub fn heads(&self) -> Heads {
        let (content, event_log) = (self.content(), self.event_log());
        let number = |file: &Connection, query: &str| file.query_row(query, [], |row| row.get(0)).expect("a number");
        Heads {
            events: number(&event_log, "SELECT count(*) FROM events"),
            outbox: number(&content, "SELECT count(*) FROM outbox"),
            documents: number(&content, "SELECT count(*) FROM documents"),
            revisions: number(&content, "SELECT coalesce(sum(revision), 0) FROM documents"),
            usernames: number(&content, "SELECT count(*) FROM usernames"),
        }
    }

    /// The same, once nothing waits for the log any more: until then, what is there still moves without any command.
    ///
    /// # Panics
    /// When it never is so.
    pub async fn settled(&self) -> Heads {
        eventually("the outbox is empty", async || match self.heads() {
            heads if heads.outbox == 0 => Ok(heads),
            heads => Err(format!("{} events wait", heads.outbox)),
        })
        .await
    }

    /// The log's events whose type is `kind`, or all, in the order of their places.
    ///
    /// # Panics
    /// When the file is not what it should be.
    pub fn events(&self, kind: Option<&str>) -> Vec<EventRow> {
        let file = self.event_log();
        let query = "SELECT place, lane, type, subject, sequence, data FROM events \
                     WHERE ?1 IS NULL OR type = ?1 ORDER BY place";
        let mut query = file.prepare(query).expect("a query");
        let rows = query.query_map([kind], EventRow::read).expect("rows");
        rows.collect::<Result<_, _>>().expect("events")
    }
}

impl EventRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            place: row.get(0)?,
            lane: row.get(1)?,
            kind: row.get(2)?,
            subject: row.get(3)?,
            sequence: row.get(4)?,
            data: row.get(5)?,
        })
    }
}

fn open(path: &Path, writes: bool) -> Connection {
    // Not read-only even for looking: a file in WAL mode is read with its neighbours, which must be written to.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags);
    let connection = connection.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    connection.busy_timeout(std::time::Duration::from_secs(30)).expect("a timeout");
    connection.pragma_update(None, "query_only", !writes).expect("a pragma");
    connection
}

/// An id's sixteen bytes, as the files hold it.
///
/// # Panics
/// When it is no id.
pub fn id_bytes(id: &str) -> Vec<u8> {
    uuid::Uuid::parse_str(id).expect("an id").as_bytes().to_vec()
}
