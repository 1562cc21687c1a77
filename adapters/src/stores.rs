//! From URLs to open stores: which adapter serves which port.
//!
//! The scheme chooses the adapter. A file that several URLs name is opened once; content and log in one file share
//! their transactions.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::StoreError;
use crate::cache::Cache;
use crate::checkpoints::{Checkpoints, SqliteCheckpoints};
use crate::content::{Content, SqliteContent};
use crate::event_log::{EventLog, SqliteEventLog};
use crate::live::{BroadcastLive, Live};
use crate::sqlite::{Database, Durability, READ_MODELS, Schema, Sharing, TRUTH};
use crate::timelines::{SqliteTimelines, Timelines};
use crate::url;
#[cfg(any(feature = "kafka", feature = "mongodb", feature = "cassandra", feature = "redis"))]
use crate::url::StoreUrl;
use crate::views::{SqliteViews, Views};

mod migration;

pub use migration::{Migrated, Migration, migrate};

/// Messages that one slow listener may be behind.
const LIVE_BUFFER: usize = 256;

/// The scheme of embedded stores.
const SQLITE: &str = "sqlite";
/// The scheme of stores that go with their process.
const MEMORY: &str = "memory";

/// Schemes of stores on servers, and the cargo feature that each needs.
const ON_SERVERS: [(&str, &str); 5] = [
    ("kafka", "kafka"),
    ("mongodb", "mongodb"),
    ("mongodb+srv", "mongodb"),
    ("cassandra", "cassandra"),
    ("redis", "redis"),
];

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

impl StoreUrls {
    /// Each store's name in the configuration, and where it is.
    fn all(&self) -> [(&'static str, &str); 6] {
        let Self { content, event_log, views, timelines, checkpoints, live } = self;
        [
            ("content", content),
            ("event_log", event_log),
            ("views", views),
            ("timelines", timelines),
            ("checkpoints", checkpoints),
            ("live", live),
        ]
    }

    /// Whether any store is in a file of this machine.
    pub fn use_files(&self) -> bool {
        self.all().iter().any(|(_, url)| scheme(url) == SQLITE)
    }

    /// A store that no other process can see, if there is one: its name and its URL.
    pub fn in_memory(&self) -> Option<(&'static str, &str)> {
        self.all().into_iter().find(|(_, url)| scheme(url) == MEMORY)
    }

    /// Whether the truth is on a server, where processes on several machines reach it.
    pub fn content_is_on_a_server(&self) -> bool {
        scheme(&self.content) != SQLITE
    }
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
    /// What is read all the time.
    pub cache: Arc<dyn Cache>,
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
    /// Checkpoints in a file without a file for the truth beside them.
    #[error("the checkpoints store at {url} needs content or event_log in SQLite, too: what operators decide is there")]
    NoTruthFile {
        /// Where the checkpoints are.
        url: String,
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

/// Opens every store. `partitions` is for a log that is not there yet; `sharing` says who else is at work on files.
///
/// # Errors
/// Names the store and what is wrong with it.
pub async fn open(urls: &StoreUrls, partitions: u16, sharing: Sharing) -> Result<Stores, OpenStoresError> {
    let mut files = Files { sharing, ..Files::default() };
    let embedded_log = embedded_log(&mut files, urls, partitions).await?;
    let event_log = match &embedded_log {
        Some(log) => Arc::clone(log) as Arc<dyn EventLog>,
        None => open_event_log(&urls.event_log).await?,
    };
    let (content, log_shares_transactions) = content(&mut files, urls, embedded_log).await?;
    Ok(Stores {
        content,
        event_log,
        views: open_views(&mut files, urls).await?,
        timelines: open_timelines(&mut files, urls).await?,
        checkpoints: open_checkpoints(&mut files, urls).await?,
        cache: Arc::new(crate::cache::NoCache),
        live: open_live(urls).await?,
        log_shares_transactions,
    })
}

/// Opens the truth alone.
///
/// # Errors
/// Says what is wrong with it.
pub async fn open_content(urls: &StoreUrls) -> Result<Arc<dyn Content>, OpenStoresError> {
    content(&mut Files::default(), urls, None).await.map(|(content, _)| content)
}

/// The log, where it is embedded.
async fn embedded_log(
    files: &mut Files,
    urls: &StoreUrls,
    partitions: u16,
) -> Result<Option<Arc<SqliteEventLog>>, OpenStoresError> {
    let url = &urls.event_log;
    if scheme(url) != SQLITE {
        return Ok(None);
    }
    let file = files.open("event_log", url, Kind::Truth)?;
    let log = SqliteEventLog::open(file, partitions).await;
    Ok(Some(Arc::new(log.map_err(|source| failed("event_log", url, source))?)))
}

async fn open_event_log(url: &str) -> Result<Arc<dyn EventLog>, OpenStoresError> {
    match scheme(url) {
        #[cfg(feature = "kafka")]
        "kafka" => Ok(Arc::new(on_server("event_log", url, crate::event_log::KafkaEventLog::open).await?)),
        _ => Err(unsupported("event_log", url, "sqlite:PATH")),
    }
}

/// The truth, and whether the log shares its transactions.
async fn content(
    files: &mut Files,
    urls: &StoreUrls,
    embedded_log: Option<Arc<SqliteEventLog>>,
) -> Result<(Arc<dyn Content>, bool), OpenStoresError> {
    let url = &urls.content;
    match scheme(url) {
        SQLITE => {
            let truth = files.open("content", url, Kind::Truth)?;
            let log_beside = embedded_log.filter(|log| Arc::ptr_eq(log.database(), &truth));
            let shares = log_beside.is_some();
            let content = SqliteContent::open(truth, log_beside);
            Ok((Arc::new(content.map_err(|source| failed("content", url, source))?), shares))
        }
        #[cfg(feature = "mongodb")]
        "mongodb" | "mongodb+srv" => {
            Ok((Arc::new(on_server("content", url, crate::content::MongoContent::open).await?), false))
        }
        _ => Err(unsupported("content", url, "sqlite:PATH")),
    }
}

async fn open_views(files: &mut Files, urls: &StoreUrls) -> Result<Arc<dyn Views>, OpenStoresError> {
    let url = &urls.views;
    match scheme(url) {
        SQLITE => Ok(Arc::new(SqliteViews::new(files.open("views", url, Kind::ReadModels)?))),
        #[cfg(feature = "mongodb")]
        "mongodb" | "mongodb+srv" => Ok(Arc::new(on_server("views", url, crate::views::MongoViews::open).await?)),
        _ => Err(unsupported("views", url, "sqlite:PATH")),
    }
}

async fn open_timelines(files: &mut Files, urls: &StoreUrls) -> Result<Arc<dyn Timelines>, OpenStoresError> {
    let url = &urls.timelines;
    match scheme(url) {
        SQLITE => Ok(Arc::new(SqliteTimelines::new(files.open("timelines", url, Kind::ReadModels)?))),
        #[cfg(feature = "cassandra")]
        "cassandra" => Ok(Arc::new(on_server("timelines", url, crate::timelines::CassandraTimelines::open).await?)),
        _ => Err(unsupported("timelines", url, "sqlite:PATH")),
    }
}

async fn open_checkpoints(files: &mut Files, urls: &StoreUrls) -> Result<Arc<dyn Checkpoints>, OpenStoresError> {
    let url = &urls.checkpoints;
    match scheme(url) {
        SQLITE => {
            let memory = files.open("checkpoints", url, Kind::ReadModels)?;
            // What operators have decided is not made again from the log, so it is with the truth.
            let Some(truth) = files.truth() else { return Err(OpenStoresError::NoTruthFile { url: url.clone() }) };
            let checkpoints = SqliteCheckpoints::open(memory, truth);
            Ok(Arc::new(checkpoints.map_err(|source| failed("checkpoints", url, source))?))
        }
        #[cfg(feature = "mongodb")]
        "mongodb" | "mongodb+srv" => {
            Ok(Arc::new(on_server("checkpoints", url, crate::checkpoints::MongoCheckpoints::open).await?))
        }
        _ => Err(unsupported("checkpoints", url, "sqlite:PATH")),
    }
}

async fn open_live(urls: &StoreUrls) -> Result<Arc<dyn Live>, OpenStoresError> {
    let url = &urls.live;
    match scheme(url) {
        MEMORY if url == "memory:" => Ok(Arc::new(BroadcastLive::new(LIVE_BUFFER))),
        #[cfg(feature = "redis")]
        "redis" => {
            let open = async |url: &StoreUrl| crate::live::RedisLive::open(url, LIVE_BUFFER).await;
            Ok(Arc::new(on_server("live", url, open).await?))
        }
        _ => Err(unsupported("live", url, "memory:")),
    }
}

/// Speaks to a server as its URL says.
#[cfg(any(feature = "kafka", feature = "mongodb", feature = "cassandra", feature = "redis"))]
async fn on_server<T>(
    port: &'static str,
    url: &str,
    call: impl AsyncFnOnce(&StoreUrl) -> Result<T, StoreError>,
) -> Result<T, OpenStoresError> {
    let parsed = StoreUrl::parse(url).map_err(|error| failed(port, url, StoreError::Unfit(error.to_string())))?;
    call(&parsed).await.map_err(|source| failed(port, url, source))
}

/// Which kind of store a URL names.
fn scheme(url: &str) -> &str {
    url.split(':').next().unwrap_or_default()
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
struct Files {
    sharing: Sharing,
    open: Vec<OpenFile>,
}

impl Default for Files {
    fn default() -> Self {
        Self { sharing: Sharing::Alone, open: Vec::new() }
    }
}

struct OpenFile {
    port: &'static str,
    path: PathBuf,
    kind: Kind,
    database: Arc<Database>,
}

impl Files {
    /// The file that a URL names.
    fn path(port: &'static str, url: &str) -> Result<PathBuf, OpenStoresError> {
        match url.strip_prefix("sqlite:") {
            Some(path) if !path.is_empty() => Ok(resolved(Path::new(path))),
            _ => Err(unsupported(port, url, "sqlite:PATH")),
        }
    }

    /// The file of the truth, or of the log where the truth is elsewhere.
    fn truth(&self) -> Option<Arc<Database>> {
        let is_truth = |kind| move |open: &&OpenFile| open.kind == Kind::Truth && open.port == kind;
        let of = |port| self.open.iter().find(is_truth(port));
        of("content").or_else(|| of("event_log")).map(|open| Arc::clone(&open.database))
    }

    fn open(&mut self, port: &'static str, url: &str, kind: Kind) -> Result<Arc<Database>, OpenStoresError> {
        let path = Self::path(port, url)?;
        if let Some(open) = self.open.iter().find(|open| open.path == path) {
            if open.kind != kind {
                return Err(OpenStoresError::SharedFile { port: open.port, other: port, path });
            }
            return Ok(Arc::clone(&open.database));
        }
        let database = Database::open_as(&path, kind.schema(), kind.durability(), self.sharing);
        let database = database.map_err(|source| failed(port, url, source))?;
        self.open.push(OpenFile { port, path, kind, database: Arc::clone(&database) });
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
    let scheme = scheme(url);
    let reason = match ON_SERVERS.iter().find(|(known, _)| *known == scheme) {
        Some((_, feature)) => {
            format!("this build has no `{scheme}` adapter for it (cargo feature `{feature}`); use {supported}")
        }
        None => format!("use {supported}"),
    };
    OpenStoresError::Unsupported { port, url: url::shown(url), reason }
}
fn failed(port: &'static str, url: &str, source: StoreError) -> OpenStoresError {
    OpenStoresError::Store { port, url: url::shown(url), source }
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
        open(urls, 4, Sharing::Alone).await.err().expect("refused").to_string()
    }

    #[tokio::test]
    async fn content_and_log_in_one_file_share_transactions_however_it_is_spelled() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut spelled = urls(directory.path());
        spelled.event_log = format!("sqlite:{}/./truth.db", directory.path().display());
        assert!(open(&spelled, 4, Sharing::Alone).await.expect("opens").log_shares_transactions);
    }

    #[tokio::test]
    async fn content_and_log_in_two_files_do_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut apart = urls(directory.path());
        apart.event_log = format!("sqlite:{}", directory.path().join("log.db").display());
        assert!(!open(&apart, 4, Sharing::Alone).await.expect("opens").log_shares_transactions);
    }

    #[tokio::test]
    async fn an_existing_log_keeps_its_partitions() {
        let directory = tempfile::tempdir().expect("a directory");
        let urls = urls(directory.path());
        drop(open(&urls, 4, Sharing::Alone).await.expect("opens"));
        assert_eq!(open(&urls, 9, Sharing::Alone).await.expect("opens").event_log.partitions(), 4);
    }

    #[tokio::test]
    async fn schemes_without_an_adapter_are_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut cluster = urls(directory.path());
        cluster.timelines = "kafka://broker:9092".to_owned();
        let refusal = refusal(&cluster).await;
        assert!(refusal.contains("timelines") && refusal.contains("no `kafka` adapter"), "{refusal}");
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
    async fn migrating_makes_what_is_not_there_and_changes_nothing_the_second_time() {
        let directory = tempfile::tempdir().expect("a directory");
        let urls = urls(directory.path());
        let versions = |migrated: &[Migrated]| -> Vec<(&'static str, u32, u32)> {
            migrated.iter().map(|one| (one.port, one.migration.from, one.migration.to)).collect()
        };
        let (truth, models) = (TRUTH.migrations.len() as u32, READ_MODELS.migrations.len() as u32);
        let first = migrate(&urls, 7).await.expect("migrates");
        let made = [("content", 0, truth), ("event_log", truth, truth), ("views", 0, models)];
        assert_eq!(versions(&first)[..3], made);
        assert_eq!(first[0].url, urls.content);
        let second = migrate(&urls, 9).await.expect("migrates");
        assert!(second.iter().all(|one| one.migration.from == one.migration.to), "{second:?}");
        let stores = open(&urls, 11, Sharing::Shared).await.expect("opens");
        assert_eq!(stores.event_log.partitions(), 7, "those of the first time");
    }

    #[test]
    fn what_does_not_leave_the_process_or_the_machine_is_known() {
        let urls = urls(Path::new("/data"));
        assert!(urls.use_files() && !urls.content_is_on_a_server());
        assert_eq!(urls.in_memory(), Some(("live", "memory:")));
        let live = "redis://cache".to_owned();
        assert_eq!(StoreUrls { live, ..urls.clone() }.in_memory(), None);
        let content = "mongodb://truth".to_owned();
        assert!(StoreUrls { content, ..urls }.content_is_on_a_server());
    }

    #[tokio::test]
    async fn a_missing_directory_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let missing = urls(&directory.path().join("missing"));
        assert!(refusal(&missing).await.contains("missing/truth.db"));
    }
}
