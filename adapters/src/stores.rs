//! From URLs to open stores: which adapter serves which port.
//!
//! The scheme chooses the adapter. A file that several URLs name is opened once; content and log in one file share
//! their transactions. [`open`] opens all stores, [`Opener`] those that it is asked for.

use std::path::PathBuf;
use std::sync::Arc;

use crate::StoreError;
use crate::cache::{Cache, Limits};
use crate::checkpoints::Checkpoints;
use crate::content::Content;
use crate::event_log::EventLog;
use crate::live::Live;
use crate::sqlite::Sharing;
use crate::timelines::Timelines;
use crate::url;
#[cfg(any(feature = "kafka", feature = "mongodb", feature = "cassandra", feature = "redis"))]
use crate::url::StoreUrl;
use crate::views::Views;

mod files;
mod migration;
mod opener;

use files::{Files, Kind};
pub use migration::{Migrated, Migration, migrate};
pub use opener::Opener;

/// Messages that one slow listener may be behind.
const LIVE_BUFFER: usize = 256;

/// The scheme of embedded stores.
const SQLITE: &str = "sqlite";
/// The scheme of stores that go with their process.
const MEMORY: &str = "memory";
/// The scheme of no store at all.
const NONE: &str = "none";

/// Schemes of stores on servers, and the cargo feature that each needs.
const ON_SERVERS: [(&str, &str); 5] = [
    ("kafka", "kafka"),
    ("mongodb", "mongodb"),
    ("mongodb+srv", "mongodb"),
    ("cassandra", "cassandra"),
    ("redis", "redis"),
];

/// A kind of data that is kept somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Port {
    /// The truth.
    Content,
    /// The log.
    EventLog,
    /// What projections remember.
    Checkpoints,
    /// Read models in documents.
    Views,
    /// Homes and authors' timelines.
    Timelines,
    /// What is read all the time.
    Cache,
    /// Publish and subscribe.
    Live,
}

impl Port {
    /// Every one.
    pub const ALL: [Self; 7] =
        [Self::Content, Self::EventLog, Self::Checkpoints, Self::Views, Self::Timelines, Self::Cache, Self::Live];

    /// Its store's name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::EventLog => "event_log",
            Self::Checkpoints => "checkpoints",
            Self::Views => "views",
            Self::Timelines => "timelines",
            Self::Cache => "cache",
            Self::Live => "live",
        }
    }
}

/// Where each kind of data is: `sqlite:PATH`, and `memory:` for `cache` and `live`.
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
    /// What is read all the time.
    pub cache: String,
    /// How long it lives there, and how much of it.
    pub cached: Limits,
    /// What is cached in this process's memory, at most, in bytes.
    pub cache_bytes: u64,
    /// Publish and subscribe.
    pub live: String,
}

impl StoreUrls {
    /// Where one is.
    fn of(&self, port: Port) -> &str {
        match port {
            Port::Content => &self.content,
            Port::EventLog => &self.event_log,
            Port::Checkpoints => &self.checkpoints,
            Port::Views => &self.views,
            Port::Timelines => &self.timelines,
            Port::Cache => &self.cache,
            Port::Live => &self.live,
        }
    }

    /// Whether any store is in a file of this machine.
    pub fn use_files(&self) -> bool {
        Port::ALL.iter().any(|port| scheme(self.of(*port)) == SQLITE)
    }

    /// A store that no other process can see, if there is one: its name and its URL.
    pub fn in_memory(&self) -> Option<(&'static str, &str)> {
        let in_memory = Port::ALL.into_iter().find(|port| scheme(self.of(*port)) == MEMORY);
        in_memory.map(|port| (port.name(), self.of(port)))
    }

    /// Whether what is cached is in the memory of each process.
    pub fn caches_in_memory(&self) -> bool {
        scheme(&self.cache) == MEMORY
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

impl OpenStoresError {
    /// Whether waiting may help: the store is on a server that does not answer. A file that cannot be opened now is for
    /// whoever runs this to look at.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Store { url, source: StoreError::Unavailable(_), .. } if scheme(url) != SQLITE)
    }
}

/// Opens every store. `partitions` is for a log that is not there yet; `sharing` says who else is at work on files.
///
/// # Errors
/// Names the store and what is wrong with it.
pub async fn open(urls: &StoreUrls, partitions: u16, sharing: Sharing) -> Result<Stores, OpenStoresError> {
    Opener::new(urls.clone(), partitions, sharing).all().await
}

/// Opens the truth alone.
///
/// # Errors
/// Says what is wrong with it.
pub async fn open_content(urls: &StoreUrls) -> Result<Arc<dyn Content>, OpenStoresError> {
    let url = &urls.content;
    match scheme(url) {
        SQLITE => opener::sqlite_content(&mut Files::default(), url, None).map(|(content, _)| content),
        _ => opener::content_on_a_server(url).await,
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
    use std::path::Path;

    use super::*;
    use crate::sqlite::{READ_MODELS, TRUTH};

    fn urls(directory: &Path) -> StoreUrls {
        let file = |name: &str| format!("sqlite:{}", directory.join(name).display());
        StoreUrls {
            content: file("truth.db"),
            event_log: file("truth.db"),
            views: file("read_models.db"),
            timelines: file("read_models.db"),
            checkpoints: file("read_models.db"),
            cache: "memory:".to_owned(),
            cached: Limits::default(),
            cache_bytes: 1 << 20,
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
    async fn what_nobody_asks_for_is_not_opened_nor_missed() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut without = urls(directory.path());
        without.timelines = "nonsense".to_owned();
        let opener = Opener::new(without, 4, Sharing::Alone);
        for port in [Port::Content, Port::EventLog, Port::Checkpoints] {
            assert!(!opener.is_open(port), "{}", port.name());
            opener.open(port).await.expect("opens");
            assert!(opener.is_open(port), "{}", port.name());
        }
        assert!(!opener.is_open(Port::Views));
        assert!(opener.open(Port::Timelines).await.is_err());
        let (once, again) = (opener.content().await.expect("open"), opener.content().await.expect("open"));
        assert!(Arc::ptr_eq(&once, &again), "opened once");
    }

    #[test]
    fn only_a_server_that_does_not_answer_is_waited_for() {
        let opener = Opener::new(
            StoreUrls { content: "mongodb://truth/hybrid_live".to_owned(), ..urls(Path::new("/data")) },
            4,
            Sharing::Alone,
        );
        let away = || StoreError::Unavailable("nobody answers".to_owned());
        assert!(opener.failed(Port::Content, away()).may_pass());
        assert!(!opener.failed(Port::Views, away()).may_pass(), "a file");
        assert!(!opener.failed(Port::Content, StoreError::Unfit("another version".to_owned())).may_pass());
        assert!(!opener.failed(Port::Content, StoreError::Damaged("not readable".to_owned())).may_pass());
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
        assert_eq!(urls.in_memory(), Some(("cache", "memory:")));
        let cache = "none:".to_owned();
        assert_eq!(StoreUrls { cache: cache.clone(), ..urls.clone() }.in_memory(), Some(("live", "memory:")));
        let live = "redis://server".to_owned();
        assert_eq!(StoreUrls { cache, live, ..urls.clone() }.in_memory(), None);
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
