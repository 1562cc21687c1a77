//! Mixes of stores: the same scenarios run once with each.

use std::path::{Path, PathBuf};

use adapters::cache::Limits;
use adapters::stores::StoreUrls;

use crate::servers::{Names, Servers};

/// The environment variable that picks the mix for a whole run.
const CHOICE: &str = "HYBRID_LIVE_TEST_STORES";

/// Which stores a server stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stores {
    /// The default: content and log in one SQLite file, so that they share transactions.
    Embedded,
    /// Content and log in two SQLite files, so that the outbox and its relay do the work.
    EmbeddedApart,
    /// Everything on servers: MongoDB, Kafka, Cassandra, Redis.
    Cluster,
    /// Everything in SQLite but what is published live: Redis, so that processes share it.
    SqliteRedis,
    /// Documents in MongoDB; the log and what is made of it in SQLite.
    MongodbSqlite,
}

impl Stores {
    /// Every mix, with the name that the environment knows it by.
    const ALL: [(&str, Self); 5] = [
        ("embedded", Self::Embedded),
        ("embedded-apart", Self::EmbeddedApart),
        ("cluster", Self::Cluster),
        ("sqlite-redis", Self::SqliteRedis),
        ("mongodb-sqlite", Self::MongodbSqlite),
    ];

    /// What `HYBRID_LIVE_TEST_STORES` names; without it, `embedded`.
    ///
    /// # Panics
    /// When it names something else.
    pub fn of_this_run() -> Self {
        let Ok(named) = std::env::var(CHOICE) else { return Self::Embedded };
        let found = Self::ALL.iter().find(|(name, _)| *name == named);
        let (_, stores) = found.unwrap_or_else(|| panic!("{CHOICE}={named}: no such mix of stores"));
        *stores
    }

    /// Its name.
    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, stores)| *stores == self).map_or("", |(name, _)| name)
    }

    /// Whether nothing of it is on a server.
    pub fn are_embedded(self) -> bool {
        matches!(self, Self::Embedded | Self::EmbeddedApart)
    }

    /// Whether several processes can share them.
    pub fn cross_processes(self) -> bool {
        matches!(self, Self::Cluster | Self::SqliteRedis)
    }

    /// Whether the log gets events in the documents' own transactions.
    pub fn share_transactions(self) -> bool {
        matches!(self, Self::Embedded | Self::SqliteRedis)
    }

    /// For scenarios that are made for some mixes alone: in another they must not seem to have passed.
    /// `tests/run` leaves them out there, as `tests/mixes` says.
    ///
    /// # Panics
    /// When this run has another mix.
    pub fn only(mixes: &[Self]) {
        let this = Self::of_this_run();
        let names: Vec<&str> = mixes.iter().map(|mix| mix.name()).collect();
        assert!(mixes.contains(&this), "made for {names:?} and not for {}: see tests/mixes", this.name());
    }

    /// Those of the servers that it stands on.
    pub(crate) fn of(self, servers: &Servers) -> Servers {
        let Servers { mongodb, redis, .. } = servers.clone();
        match self {
            Self::Embedded | Self::EmbeddedApart => Servers::default(),
            Self::Cluster => servers.clone(),
            Self::SqliteRedis => Servers { redis, ..Servers::default() },
            Self::MongodbSqlite => Servers { mongodb, ..Servers::default() },
        }
    }

    /// Where each kind of data is, the files being in the directory `data`.
    pub(crate) fn urls(self, data: &str, names: &Names) -> StoreUrls {
        let file = |name: &str| format!("sqlite:{data}/{name}.db");
        let embedded = StoreUrls {
            content: file("truth"),
            event_log: file("truth"),
            views: file("read_models"),
            timelines: file("read_models"),
            checkpoints: file("read_models"),
            cache: "memory:".to_owned(),
            cached: Limits::default(),
            cache_bytes: 1 << 24,
            live: "memory:".to_owned(),
        };
        let mongodb = || names.mongodb();
        match self {
            Self::Embedded => embedded,
            Self::EmbeddedApart => StoreUrls { content: file("content"), event_log: file("log"), ..embedded },
            Self::SqliteRedis => StoreUrls { cache: names.redis(), live: names.redis(), ..embedded },
            Self::MongodbSqlite => {
                StoreUrls { content: mongodb(), views: mongodb(), event_log: file("log"), ..embedded }
            }
            Self::Cluster => StoreUrls {
                content: mongodb(),
                event_log: names.kafka(),
                views: mongodb(),
                timelines: names.cassandra(),
                checkpoints: mongodb(),
                cache: names.redis(),
                live: names.redis(),
                ..embedded
            },
        }
    }

    /// The settings that make it so. The default mix needs none, and so tests the defaults.
    pub(crate) fn settings(self, names: &Names) -> String {
        if self == Self::Embedded {
            return String::new();
        }
        let StoreUrls { content, event_log, views, timelines, checkpoints, cache, live, .. } =
            self.urls("{data_dir}", names);
        format!(
            "[stores]\ncontent = \"{content}\"\nevent_log = \"{event_log}\"\nviews = \"{views}\"\n\
             timelines = \"{timelines}\"\ncheckpoints = \"{checkpoints}\"\ncache = \"{cache}\"\nlive = \"{live}\"\n"
        )
    }

    /// The file with documents, names and keys, where they are in one.
    pub(crate) fn content(self, data: &Path) -> PathBuf {
        match self {
            Self::EmbeddedApart => data.join("content.db"),
            _ => data.join("truth.db"),
        }
    }

    /// The file with the log, where it is in one.
    pub(crate) fn event_log(self, data: &Path) -> PathBuf {
        match self {
            Self::EmbeddedApart | Self::MongodbSqlite => data.join("log.db"),
            _ => data.join("truth.db"),
        }
    }
}
