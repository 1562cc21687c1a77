//! Bringing the schemas of all stores up to date, which servers never do by themselves.

#[cfg(any(feature = "kafka", feature = "mongodb", feature = "cassandra", feature = "redis"))]
use super::on_server;
use super::{Files, Kind, OpenStoresError, SQLITE, StoreUrls, failed, scheme, unsupported};
use crate::event_log::SqliteEventLog;
use crate::sqlite::Database;
use crate::url;
#[cfg(feature = "kafka")]
use crate::url::StoreUrl;

/// What bringing a store's schema up to date came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migration {
    /// The version that was there; 0 where there was none.
    pub from: u32,
    /// The version that is there now.
    pub to: u32,
}

/// A store whose schema was looked after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// Which store, as the configuration calls it.
    pub port: &'static str,
    /// Where it is, without what is secret.
    pub url: String,
    /// What came of it.
    pub migration: Migration,
}

/// Brings the schemas of all stores up to date, one store after the other, and makes what is not there: also a log,
/// with `partitions` of every topic. Each store keeps others away meanwhile. Doing it again changes nothing.
///
/// # Errors
/// Names the store and what is wrong with it; those before it are done.
pub async fn migrate(urls: &StoreUrls, partitions: u16) -> Result<Vec<Migrated>, OpenStoresError> {
    let mut migrated = Vec::new();
    let mut note = |port, url: &str, migration| migrated.push(Migrated { port, url: url::shown(url), migration });
    note("content", &urls.content, migrate_content(&urls.content).await?);
    note("event_log", &urls.event_log, migrate_event_log(&urls.event_log, partitions).await?);
    note("views", &urls.views, migrate_views(&urls.views).await?);
    note("timelines", &urls.timelines, migrate_timelines(&urls.timelines).await?);
    note("checkpoints", &urls.checkpoints, migrate_checkpoints(&urls.checkpoints).await?);
    // Messages that go by have no schema.
    Ok(migrated)
}

async fn migrate_content(url: &str) -> Result<Migration, OpenStoresError> {
    match scheme(url) {
        SQLITE => migrate_file("content", url, Kind::Truth),
        #[cfg(feature = "mongodb")]
        "mongodb" | "mongodb+srv" => on_server("content", url, crate::content::MongoContent::migrate).await,
        _ => Err(unsupported("content", url, "sqlite:PATH")),
    }
}

async fn migrate_event_log(url: &str, partitions: u16) -> Result<Migration, OpenStoresError> {
    match scheme(url) {
        SQLITE => {
            let migration = migrate_file("event_log", url, Kind::Truth)?;
            // From here on it has its partitions, and no process that happens to be first decides on them.
            let file = Files::default().open("event_log", url, Kind::Truth)?;
            let log = SqliteEventLog::open_deaf(file, partitions).await;
            log.map(|_| migration).map_err(|source| failed("event_log", url, source))
        }
        #[cfg(feature = "kafka")]
        "kafka" => {
            let migrate = async |url: &StoreUrl| crate::event_log::KafkaEventLog::migrate(url, partitions).await;
            on_server("event_log", url, migrate).await
        }
        _ => Err(unsupported("event_log", url, "sqlite:PATH")),
    }
}

async fn migrate_views(url: &str) -> Result<Migration, OpenStoresError> {
    match scheme(url) {
        SQLITE => migrate_file("views", url, Kind::ReadModels),
        #[cfg(feature = "mongodb")]
        "mongodb" | "mongodb+srv" => on_server("views", url, crate::views::MongoViews::migrate).await,
        _ => Err(unsupported("views", url, "sqlite:PATH")),
    }
}

async fn migrate_timelines(url: &str) -> Result<Migration, OpenStoresError> {
    match scheme(url) {
        SQLITE => migrate_file("timelines", url, Kind::ReadModels),
        #[cfg(feature = "cassandra")]
        "cassandra" => on_server("timelines", url, crate::timelines::CassandraTimelines::migrate).await,
        _ => Err(unsupported("timelines", url, "sqlite:PATH")),
    }
}

async fn migrate_checkpoints(url: &str) -> Result<Migration, OpenStoresError> {
    match scheme(url) {
        SQLITE => migrate_file("checkpoints", url, Kind::ReadModels),
        #[cfg(feature = "mongodb")]
        "mongodb" | "mongodb+srv" => on_server("checkpoints", url, crate::checkpoints::MongoCheckpoints::migrate).await,
        _ => Err(unsupported("checkpoints", url, "sqlite:PATH")),
    }
}

fn migrate_file(port: &'static str, url: &str, kind: Kind) -> Result<Migration, OpenStoresError> {
    let path = Files::path(port, url)?;
    let schema = kind.schema();
    let before = Database::migrate(&path, schema, kind.durability()).map_err(|source| failed(port, url, source))?;
    let version = |version: usize| u32::try_from(version).unwrap_or(u32::MAX);
    Ok(Migration { from: version(before), to: version(schema.migrations.len()) })
}
