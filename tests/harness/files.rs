//! A look into the files that a server leaves, and, while it is stopped, a hand in them: for what no port would do, such
//! as damage. What scenarios ask of every mix of stores is in [`Look`](crate::Look).

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, Row};

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
