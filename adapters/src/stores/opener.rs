//! Opening stores one by one, each once, as they are asked for: so that a process opens what it stands on and nothing
//! else, and can try again the one that does not answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;

use super::files::{Files, Kind};
#[cfg(any(feature = "kafka", feature = "mongodb", feature = "cassandra", feature = "redis"))]
use super::on_server;
use super::{LIVE_BUFFER, MEMORY, NONE, OpenStoresError, Port, SQLITE, StoreUrls, Stores, failed, scheme, unsupported};
use crate::StoreError;
use crate::cache::{Cache, MemoryCache, NoCache};
use crate::checkpoints::{Checkpoints, SqliteCheckpoints};
use crate::content::{Content, SqliteContent};
use crate::event_log::{EventLog, SqliteEventLog};
use crate::live::{BroadcastLive, Live};
use crate::sqlite::{Database, Sharing};
use crate::timelines::{SqliteTimelines, Timelines};
#[cfg(feature = "redis")]
use crate::url::StoreUrl;
use crate::views::{SqliteViews, Views};

/// Stores by their URLs. What has been opened stays open for as long as this, or whoever was given it, is there.
pub struct Opener {
    urls: StoreUrls,
    partitions: u16,
    files: Mutex<Files>,
    embedded_log: OnceCell<Arc<SqliteEventLog>>,
    /// The truth, and whether the log shares its transactions.
    content: OnceCell<(Arc<dyn Content>, bool)>,
    event_log: OnceCell<Arc<dyn EventLog>>,
    views: OnceCell<Arc<dyn Views>>,
    timelines: OnceCell<Arc<dyn Timelines>>,
    checkpoints: OnceCell<Arc<dyn Checkpoints>>,
    cache: OnceCell<Arc<dyn Cache>>,
    live: OnceCell<Arc<dyn Live>>,
}

impl Opener {
    /// Opens nothing yet. `partitions` is for a log that is not there yet; `sharing` says who else is at work on files.
    pub fn new(urls: StoreUrls, partitions: u16, sharing: Sharing) -> Self {
        Self {
            urls,
            partitions,
            files: Mutex::new(Files::shared_as(sharing)),
            embedded_log: OnceCell::new(),
            content: OnceCell::new(),
            event_log: OnceCell::new(),
            views: OnceCell::new(),
            timelines: OnceCell::new(),
            checkpoints: OnceCell::new(),
            cache: OnceCell::new(),
            live: OnceCell::new(),
        }
    }

    /// Opens one store, if it is not open.
    ///
    /// # Errors
    /// What is wrong with it. After an error that [may pass](OpenStoresError::may_pass) it can be tried again.
    pub async fn open(&self, port: Port) -> Result<(), OpenStoresError> {
        match port {
            Port::Content => self.content().await.map(drop),
            Port::EventLog => self.event_log().await.map(drop),
            Port::Views => self.views().await.map(drop),
            Port::Timelines => self.timelines().await.map(drop),
            Port::Checkpoints => self.checkpoints().await.map(drop),
            Port::Cache => self.cache().await.map(drop),
            Port::Live => self.live().await.map(drop),
        }
    }

    /// Whether a store is open.
    pub fn is_open(&self, port: Port) -> bool {
        match port {
            Port::Content => self.content.initialized(),
            Port::EventLog => self.event_log.initialized(),
            Port::Views => self.views.initialized(),
            Port::Timelines => self.timelines.initialized(),
            Port::Checkpoints => self.checkpoints.initialized(),
            Port::Cache => self.cache.initialized(),
            Port::Live => self.live.initialized(),
        }
    }

    /// What a store's failure means to whoever is about to begin with it.
    pub fn failed(&self, port: Port, source: StoreError) -> OpenStoresError {
        failed(port.name(), self.urls.of(port), source)
    }

    /// All of them.
    ///
    /// # Errors
    /// Of the first that does not open.
    pub async fn all(&self) -> Result<Stores, OpenStoresError> {
        Ok(Stores {
            content: self.content().await?,
            event_log: self.event_log().await?,
            views: self.views().await?,
            timelines: self.timelines().await?,
            checkpoints: self.checkpoints().await?,
            cache: self.cache().await?,
            live: self.live().await?,
            log_shares_transactions: self.log_shares_transactions().await?,
        })
    }

    /// The truth.
    ///
    /// # Errors
    /// It does not open.
    pub async fn content(&self) -> Result<Arc<dyn Content>, OpenStoresError> {
        self.open_content().await.map(|(content, _)| Arc::clone(content))
    }

    /// Whether the log gets events in the documents' own transactions. Known once the truth is open.
    ///
    /// # Errors
    /// The truth does not open.
    pub async fn log_shares_transactions(&self) -> Result<bool, OpenStoresError> {
        self.open_content().await.map(|(_, shares)| *shares)
    }

    async fn open_content(&self) -> Result<&(Arc<dyn Content>, bool), OpenStoresError> {
        let url = &self.urls.content;
        let open = async || match scheme(url) {
            SQLITE => {
                // The two are opened together, for they may be one file.
                let log = self.embedded_log().await?;
                sqlite_content(&mut self.files(), url, log)
            }
            _ => Ok((content_on_a_server(url).await?, false)),
        };
        self.content.get_or_try_init(open).await
    }

    /// The log.
    ///
    /// # Errors
    /// It does not open.
    pub async fn event_log(&self) -> Result<Arc<dyn EventLog>, OpenStoresError> {
        self.event_log.get_or_try_init(|| self.open_event_log()).await.map(Arc::clone)
    }

    async fn open_event_log(&self) -> Result<Arc<dyn EventLog>, OpenStoresError> {
        let url = &self.urls.event_log;
        match self.embedded_log().await? {
            Some(log) => Ok(log),
            None => match scheme(url) {
                #[cfg(feature = "kafka")]
                "kafka" => Ok(Arc::new(on_server("event_log", url, crate::event_log::KafkaEventLog::open).await?)),
                _ => Err(unsupported("event_log", url, "sqlite:PATH")),
            },
        }
    }

    /// The log, where it is embedded.
    async fn embedded_log(&self) -> Result<Option<Arc<SqliteEventLog>>, OpenStoresError> {
        let url = &self.urls.event_log;
        if scheme(url) != SQLITE {
            return Ok(None);
        }
        let open = async || {
            let file = self.files().open("event_log", url, Kind::Truth)?;
            let log = SqliteEventLog::open(file, self.partitions).await;
            Ok(Arc::new(log.map_err(|source| failed("event_log", url, source))?))
        };
        self.embedded_log.get_or_try_init(open).await.map(|log| Some(Arc::clone(log)))
    }

    /// Read models in documents.
    ///
    /// # Errors
    /// They do not open.
    pub async fn views(&self) -> Result<Arc<dyn Views>, OpenStoresError> {
        self.views.get_or_try_init(|| self.open_views()).await.map(Arc::clone)
    }

    async fn open_views(&self) -> Result<Arc<dyn Views>, OpenStoresError> {
        let url = &self.urls.views;
        match scheme(url) {
            SQLITE => Ok(Arc::new(SqliteViews::new(self.files().open("views", url, Kind::ReadModels)?))),
            #[cfg(feature = "mongodb")]
            "mongodb" | "mongodb+srv" => Ok(Arc::new(on_server("views", url, crate::views::MongoViews::open).await?)),
            _ => Err(unsupported("views", url, "sqlite:PATH")),
        }
    }

    /// Homes and authors' timelines.
    ///
    /// # Errors
    /// They do not open.
    pub async fn timelines(&self) -> Result<Arc<dyn Timelines>, OpenStoresError> {
        self.timelines.get_or_try_init(|| self.open_timelines()).await.map(Arc::clone)
    }

    async fn open_timelines(&self) -> Result<Arc<dyn Timelines>, OpenStoresError> {
        let url = &self.urls.timelines;
        match scheme(url) {
            SQLITE => Ok(Arc::new(SqliteTimelines::new(self.files().open("timelines", url, Kind::ReadModels)?))),
            #[cfg(feature = "cassandra")]
            "cassandra" => Ok(Arc::new(on_server("timelines", url, crate::timelines::CassandraTimelines::open).await?)),
            _ => Err(unsupported("timelines", url, "sqlite:PATH")),
        }
    }

    /// What projections remember.
    ///
    /// # Errors
    /// It does not open.
    pub async fn checkpoints(&self) -> Result<Arc<dyn Checkpoints>, OpenStoresError> {
        self.checkpoints.get_or_try_init(|| self.open_checkpoints()).await.map(Arc::clone)
    }

    async fn open_checkpoints(&self) -> Result<Arc<dyn Checkpoints>, OpenStoresError> {
        let url = &self.urls.checkpoints;
        match scheme(url) {
            SQLITE => {
                let memory = self.files().open("checkpoints", url, Kind::ReadModels)?;
                // What operators have decided is not made again from the log, so it is with the truth.
                let truth = self.truth_file()?;
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

    /// The file of the truth, or of the log where the truth is elsewhere.
    fn truth_file(&self) -> Result<Arc<Database>, OpenStoresError> {
        let Some(port) = [Port::Content, Port::EventLog].into_iter().find(|port| scheme(self.urls.of(*port)) == SQLITE)
        else {
            return Err(OpenStoresError::NoTruthFile { url: self.urls.checkpoints.clone() });
        };
        self.files().open(port.name(), self.urls.of(port), Kind::Truth)
    }

    /// What is read all the time.
    ///
    /// # Errors
    /// It does not open. One that is only away does: it is disposable, and comes back by itself.
    pub async fn cache(&self) -> Result<Arc<dyn Cache>, OpenStoresError> {
        self.cache.get_or_try_init(|| self.open_cache()).await.map(Arc::clone)
    }

    async fn open_cache(&self) -> Result<Arc<dyn Cache>, OpenStoresError> {
        let StoreUrls { cache: url, cached, cache_bytes, .. } = &self.urls;
        match scheme(url) {
            MEMORY if url == "memory:" => Ok(Arc::new(MemoryCache::new(*cached, *cache_bytes))),
            NONE if url == "none:" => Ok(Arc::new(NoCache)),
            #[cfg(feature = "redis")]
            "redis" => {
                let open = async |url: &StoreUrl| crate::cache::RedisCache::open(url, *cached).await;
                Ok(Arc::new(on_server("cache", url, open).await?))
            }
            _ => Err(unsupported("cache", url, "memory: or none:")),
        }
    }

    /// Publish and subscribe.
    ///
    /// # Errors
    /// It does not open.
    pub async fn live(&self) -> Result<Arc<dyn Live>, OpenStoresError> {
        self.live.get_or_try_init(|| self.open_live()).await.map(Arc::clone)
    }

    async fn open_live(&self) -> Result<Arc<dyn Live>, OpenStoresError> {
        let url = &self.urls.live;
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

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The truth in a file, and whether the log shares its transactions.
pub(super) fn sqlite_content(
    files: &mut Files,
    url: &str,
    embedded_log: Option<Arc<SqliteEventLog>>,
) -> Result<(Arc<dyn Content>, bool), OpenStoresError> {
    let truth = files.open("content", url, Kind::Truth)?;
    let log_beside = embedded_log.filter(|log| Arc::ptr_eq(log.database(), &truth));
    let shares = log_beside.is_some();
    let content = SqliteContent::open(truth, log_beside);
    Ok((Arc::new(content.map_err(|source| failed("content", url, source))?), shares))
}

pub(super) async fn content_on_a_server(url: &str) -> Result<Arc<dyn Content>, OpenStoresError> {
    match scheme(url) {
        #[cfg(feature = "mongodb")]
        "mongodb" | "mongodb+srv" => Ok(Arc::new(on_server("content", url, crate::content::MongoContent::open).await?)),
        _ => Err(unsupported("content", url, "sqlite:PATH")),
    }
}
