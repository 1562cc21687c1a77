//! From URLs to open stores: which adapter serves which port.
//!
//! The scheme chooses the adapter. A file that several URLs name is opened once; content and log in one file share
//! their transactions.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::StoreError;
use crate::checkpoints::{Checkpoints, SqliteCheckpoints};
use crate::content::{Content, SqliteContent};
use crate::event_log::{EventLog, SqliteEventLog};
use crate::live::{BroadcastLive, Live};
use crate::sqlite::{Database, Durability, READ_MODELS, Schema, TRUTH};
use crate::timelines::{SqliteTimelines, Timelines};
use crate::views::{SqliteViews, Views};

/// Messages that one slow listener may be behind.
const LIVE_BUFFER: usize = 256;

/// Schemes that designs name and that this build has no adapter for.
const CLUSTER: [&str; 7] = ["kafka", "mongodb", "mongodb+srv", "cassandra", "scylla", "redis", "rediss"];

/// Where each kind of data is: `sqlite:PATH`, and `memory:` for `live`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreUrls {
    /// The truth.
    pub content: String,
    /// The log.
    pub event_log: String,
    /// Read models in documents.
    pub views: String,
    /// Homes and authors' timelines.
    pub timelines: String,
    /// What projections remember.
    pub checkpoints: String,
    /// Publish and subscribe.
    pub live: String,
}

/// Open stores.
#[derive(Clone)]
pub struct Stores {
    /// The truth.
    pub content: Arc<dyn Content>,
    /// The log.
    pub event_log: Arc<dyn EventLog>,
    /// Read models in documents.
    pub views: Arc<dyn Views>,
    /// Homes and authors' timelines.
    pub timelines: Arc<dyn Timelines>,
    /// What projections remember.
    pub checkpoints: Arc<dyn Checkpoints>,
    /// Publish and subscribe.
    pub live: Arc<dyn Live>,
    /// Whether the log gets events in the documents' own transactions, so that there is nothing for a relay to do.
    pub log_shares_transactions: bool,
}

/// Why the stores did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenStoresError {
    /// A URL that no adapter serves.
    #[error("the {port} store's URL `{url}` is not supported: {reason}")]
    Unsupported {
        /// Which store.
        port: &'static str,
        /// What was asked for.
        url: String,
        /// Why not, and what is.
        reason: String,
    },
    /// One file for the truth and for what can be rebuilt.
    #[error("the {port} store and the {other} store cannot share the file {}", path.display())]
    SharedFile {
        /// One store.
        port: &'static str,
        /// The other.
        other: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The store itself fails.
    #[error("the {port} store at {url} does not open: {source}")]
    Store {
        /// Which store.
        port: &'static str,
        /// Where it is.
        url: String,
        /// What it says.
        source: StoreError,
    },
}

/// Opens every store. `partitions` is for a log that is not there yet.
///
/// # Errors
/// Names the store and what is wrong with it.
pub async fn open(urls: &StoreUrls, partitions: u16) -> Result<Stores, OpenStoresError> {
    if urls.live != "memory:" {
        return Err(unsupported("live", &urls.live, "memory:"));
    }
    let mut files = Files::default();
    let truth = files.open("content", &urls.content, Kind::Truth)?;
    let log = files.open("event_log", &urls.event_log, Kind::Truth)?;
    let views = files.open("views", &urls.views, Kind::ReadModels)?;
    let timelines = files.open("timelines", &urls.timelines, Kind::ReadModels)?;
    let memory = files.open("checkpoints", &urls.checkpoints, Kind::ReadModels)?;

    let event_log = SqliteEventLog::open(Arc::clone(&log), partitions).await;
    let event_log = Arc::new(event_log.map_err(|source| failed("event_log", &urls.event_log, source))?);
    let log_shares_transactions = Arc::ptr_eq(&truth, &log);
    let log_beside = log_shares_transactions.then(|| Arc::clone(&event_log));
    let content = SqliteContent::open(Arc::clone(&truth), log_beside);
    let content = content.map_err(|source| failed("content", &urls.content, source))?;
    let checkpoints = SqliteCheckpoints::open(memory, truth);
    let checkpoints = checkpoints.map_err(|source| failed("checkpoints", &urls.checkpoints, source))?;
    Ok(Stores {
        content: Arc::new(content),
        event_log,
        views: Arc::new(SqliteViews::new(views)),
        timelines: Arc::new(SqliteTimelines::new(timelines)),
        checkpoints: Arc::new(checkpoints),
        live: Arc::new(BroadcastLive::new(LIVE_BUFFER)),
        log_shares_transactions,
    })
}

/// What a file holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Truth,
    ReadModels,
}

impl Kind {
    fn schema(self) -> &'static Schema {
        match self {
            Self::Truth => &TRUTH,
            Self::ReadModels => &READ_MODELS,
        }
    }

    fn durability(self) -> Durability {
        match self {
            Self::Truth => Durability::Power,
            // What the newest commits held is made again from the log.
            Self::ReadModels => Durability::Process,
        }
    }
}

/// Files that are open already.
#[derive(Default)]
struct Files(Vec<OpenFile>);

struct OpenFile {
    port: &'static str,
    path: PathBuf,
    kind: Kind,
    database: Arc<Database>,
}

impl Files {
    fn open(&mut self, port: &'static str, url: &str, kind: Kind) -> Result<Arc<Database>, OpenStoresError> {
        let path = match url.strip_prefix("sqlite:") {
            Some(path) if !path.is_empty() => resolved(Path::new(path)),
            _ => return Err(unsupported(port, url, "sqlite:PATH")),
        };
        if let Some(open) = self.0.iter().find(|open| open.path == path) {
            if open.kind != kind {
                return Err(OpenStoresError::SharedFile { port: open.port, other: port, path });
            }
            return Ok(Arc::clone(&open.database));
        }
        let database = Database::open(&path, kind.schema(), kind.durability());
        let database = database.map_err(|source| failed(port, url, source))?;
        self.0.push(OpenFile { port, path, kind, database: Arc::clone(&database) });
        Ok(database)
    }
}

/// One spelling per file, whether it exists or not: its directory's real path and its name.
fn resolved(path: &Path) -> PathBuf {
    let directory = match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    match (directory.canonicalize(), path.file_name()) {
        (Ok(directory), Some(name)) => directory.join(name),
        // It cannot be opened either, and opening says why.
        _ => path.to_owned(),
    }
}

fn unsupported(port: &'static str, url: &str, supported: &str) -> OpenStoresError {
    let scheme = url.split(':').next().unwrap_or_default();
    let reason = if CLUSTER.contains(&scheme) {
        format!("this build has no `{scheme}` adapter; use {supported}")
    } else {
        format!("use {supported}")
    };
    OpenStoresError::Unsupported { port, url: url.to_owned(), reason }
}

fn failed(port: &'static str, url: &str, source: StoreError) -> OpenStoresError {
    OpenStoresError::Store { port, url: url.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(directory: &Path) -> StoreUrls {
        let file = |name: &str| format!("sqlite:{}", directory.join(name).display());
        StoreUrls {
            content: file("truth.db"),
            event_log: file("truth.db"),
            views: file("read_models.db"),
            timelines: file("read_models.db"),
            checkpoints: file("read_models.db"),
            live: "memory:".to_owned(),
        }
    }

    async fn refusal(urls: &StoreUrls) -> String {
        open(urls, 4).await.err().expect("refused").to_string()
    }

    #[tokio::test]
    async fn content_and_log_in_one_file_share_transactions_however_it_is_spelled() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut spelled = urls(directory.path());
        spelled.event_log = format!("sqlite:{}/./truth.db", directory.path().display());
        assert!(open(&spelled, 4).await.expect("opens").log_shares_transactions);
    }

    #[tokio::test]
    async fn content_and_log_in_two_files_do_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut apart = urls(directory.path());
        apart.event_log = format!("sqlite:{}", directory.path().join("log.db").display());
        assert!(!open(&apart, 4).await.expect("opens").log_shares_transactions);
    }

    #[tokio::test]
    async fn an_existing_log_keeps_its_partitions() {
        let directory = tempfile::tempdir().expect("a directory");
        let urls = urls(directory.path());
        drop(open(&urls, 4).await.expect("opens"));
        assert_eq!(open(&urls, 9).await.expect("opens").event_log.partitions(), 4);
    }

    #[tokio::test]
    async fn schemes_without_an_adapter_are_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut cluster = urls(directory.path());
        cluster.event_log = "kafka://broker:9092".to_owned();
        let refusal = refusal(&cluster).await;
        assert!(refusal.contains("event_log") && refusal.contains("no `kafka` adapter"), "{refusal}");
    }

    #[tokio::test]
    async fn unknown_schemes_are_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut unknown = urls(directory.path());
        unknown.views = "sqlite3:x".to_owned();
        let refusal = refusal(&unknown).await;
        assert!(refusal.contains("views") && refusal.contains("use sqlite:PATH"), "{refusal}");
    }

    #[tokio::test]
    async fn the_truth_and_the_read_models_do_not_share_a_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut shared = urls(directory.path());
        shared.timelines.clone_from(&shared.content);
        let refusal = refusal(&shared).await;
        assert!(refusal.contains("cannot share the file"), "{refusal}");
    }

    #[tokio::test]
    async fn a_missing_directory_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let missing = urls(&directory.path().join("missing"));
        assert!(refusal(&missing).await.contains("missing/truth.db"));
    }
}
